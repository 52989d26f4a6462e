// SPDX-License-Identifier: GPL-2.0
//! Online verify, checksum and thin resync (issue line 4), with our driver and with the C driver as peer.

use crate::lifecycle::{end, single_options};
use crate::{bed, check, scribble};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Clock, Driver, Pair, PairOptions, Vm};

/// The helper program writes what it is told.
const HELPER: &str = "#!/bin/sh\necho \"$1 $2\" >> /tmp/helper\n";
const ENDS: &str = "ipv4:10.0.0.1:7788 ipv4:10.0.0.2:7788";

fn options(name: &str, node1: Driver, node2: Driver) -> PairOptions {
    let mut options = PairOptions::new(name).drivers(node1, node2).with_net(" verify-alg crc32c; csums-alg sha1;");
    options.disk = "c-plan-ahead 0; resync-rate 200M; rs-discard-granularity 65536;".into();
    options.files = vec![("sbin/told".into(), HELPER.as_bytes().to_vec())];
    options
}

/// Waits until nothing is on its way.
pub(crate) fn settle(pair: &mut Pair) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_for(40, "sync; cat /proc/drbd", "pe:0 ua:0 ap:0")?;
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    Ok(())
}

fn forget(node: &mut Vm) -> Result<()> {
    node.ok("dmesg -c > /dev/null; rm -f /tmp/helper").map(drop)
}

/// Waits for the end of a verify and returns what the kernel said.
fn verified(node: &mut Vm) -> Result<String> {
    node.wait_for(90, "dmesg", "Online verify done")?;
    node.wait_for(20, "cat /proc/drbd", "cs:Connected")?;
    node.ok("sleep 0.3; dmesg")
}

/// Changes blocks of 4 KiB on the backing disk behind the driver's back.
fn damage(node: &mut Vm, blocks: &[u64]) -> Result<()> {
    for block in blocks {
        node.ok(&format!("dd if=/dev/urandom of=/dev/vda bs=4k seek={block} count=1 oflag=direct conv=notrunc 2>&1"))?;
    }
    Ok(())
}

/// What the log names as out of sync, as ranges `[start, end)` of sectors, neighbours joined.
fn reported(log: &str) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = log
        .lines()
        .filter_map(|line| {
            let (start, size) = line.split_once("Out of sync: start=")?.1.strip_suffix(" (sectors)")?.split_once(", size=")?;
            let start = start.parse::<u64>().ok()?;
            Some((start, start + size.parse::<u64>().ok()?))
        })
        .collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| next.0 == last.1 && { last.1 = next.1; true });
    ranges
}

fn verify(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let mut pair = Pair::synced(&bed(), &options(name, node1, node2))?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("echo -n /sbin/told > /sys/module/drbd/parameters/usermode_helper")?;
    }
    scribble(&mut pair.a, "/dev/drbd0", 0, 300)?;
    settle(&mut pair)?;
    // equal disks: nothing found, nobody told, the next run begins at 0
    for node in [&mut pair.a, &mut pair.b] {
        forget(node)?;
    }
    pair.a.ok("drbdadm verify r0")?;
    for node in [&mut pair.a, &mut pair.b] {
        let text = verified(node)?;
        ensure!(!text.contains("Out of sync") && !text.contains("out of sync"), "{text}");
        ensure!(node.ok("cat /proc/drbd")?.contains("oos:0"));
        ensure!(node.run("cat /tmp/helper")?.code != 0, "the helper was called");
    }
    // differences are found, logged as ranges, marked and reported on both nodes (OV-2, OV-4); nothing is repaired
    damage(&mut pair.b, &[100, 101, 102, 5000, 16000])?;
    for node in [&mut pair.a, &mut pair.b] {
        forget(node)?;
    }
    pair.a.ok("drbdadm verify r0")?;
    let damaged = [(800, 824), (40000, 40008), (128_000, 128_008)];
    for (node, driver) in [(&mut pair.a, node1), (&mut pair.b, node2)] {
        let text = verified(node)?;
        // Neighbours are joined into one line when their answers come in order, which nothing promises; when they do not, the C driver
        // names the last ones alone.
        let named = reported(&text);
        let within = |part: &(u64, u64), whole: &(u64, u64)| whole.0 <= part.0 && part.1 <= whole.1;
        let all_within = named.iter().all(|part| damaged.iter().any(|whole| within(part, whole)));
        let each_named = damaged.iter().all(|whole| named.iter().any(|part| within(part, whole)));
        ensure!(named == damaged || (driver == Driver::C && all_within && each_named), "{text}");
        ensure!(text.contains("Online verify found 5 4k block out of sync!"), "{text}");
        ensure!(node.ok("cat /proc/drbd")?.contains("oos:20"));
        node.wait_for(10, "cat /tmp/helper", "out-of-sync minor-0")?;
    }
    ensure!(pair.compare_disks().is_err());
    // OV-1: from a start to a stop sector, asked for by the other node
    damage(&mut pair.b, &[2000, 3000, 4000])?;
    for node in [&mut pair.a, &mut pair.b] {
        forget(node)?;
    }
    pair.b.ok("drbdsetup verify 0 --start=20003s --stop=30000s")?;
    let text = verified(&mut pair.b)?;
    ensure!(text.contains("Starting Online Verify from sector 20000"), "{text}");
    ensure!(text.contains("Online Verify reached sector 30000"), "{text}");
    let text = verified(&mut pair.a)?;
    ensure!(text.contains("Online Verify start sector: 20000"), "{text}");
    for node in [&mut pair.a, &mut pair.b] {
        let text = node.ok("dmesg")?;
        ensure!(text.contains("start=24000, size=8") && !text.contains("start=16000") && !text.contains("start=32000"), "{text}");
        ensure!(node.ok("cat /proc/drbd")?.contains("oos:24"));
    }
    // bits alone do not resync (HS-15); after a disconnect with a write they all do, and checksums spare what is equal (RX-9, RX-11)
    for node in [&mut pair.a, &mut pair.b] {
        forget(node)?;
    }
    pair.a.ok("drbdadm disconnect r0")?;
    scribble(&mut pair.a, "/dev/drbd0", 7000, 64)?;
    pair.a.ok("dd if=/dev/drbd0 of=/tmp/same bs=1M count=4 skip=40 iflag=direct 2>&1 && dd if=/tmp/same of=/dev/drbd0 bs=1M seek=40 oflag=direct 2>&1")?;
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    pair.b.wait_for(20, "dmesg", "had equal checksums, eliminated: 4096K")?;
    settle(&mut pair)?;
    // blocks 2000 and 4000 were damaged outside of the verified range and are still different
    ensure!(pair.compare_disks().is_err());
    pair.a.ok("drbdsetup verify 0 --start=0")?;
    for node in [&mut pair.a, &mut pair.b] {
        let text = verified(node)?;
        ensure!(text.contains("start=16000, size=8") && text.contains("start=32000, size=8"), "{text}");
        forget(node)?;
    }
    // thin resync: what is all zero at the source is discarded at the target, and arrives as zeros (RX-8, RX-9)
    for (node, ends) in [(&mut pair.a, ENDS.into()), (&mut pair.b, swapped())] {
        node.ok(&format!("drbdsetup net-options {ends} --csums-alg="))?;
    }
    pair.a.ok("/usr/sbin/blkdiscard -z -o 8388608 -l 8388608 /dev/drbd0; sync")?;
    damage(&mut pair.b, &[2100, 2200])?;
    pair.b.ok("drbdadm invalidate r0")?;
    pair.b.wait_for(20, "dmesg", "Began resync as SyncTarget")?;
    pair.wait_synced(60)?;
    settle(&mut pair)?;
    pair.compare_disks()?;
    pair.finish()
}

fn swapped() -> String {
    ENDS.split(' ').rev().collect::<Vec<_>>().join(" ")
}

#[test]
fn debug_verify_checksums_and_thin_resync_rust_rust() {
    check(verify("verify-rr", Driver::Rust, Driver::Rust));
}

#[test]
fn verify_checksums_and_thin_resync_rust_c() {
    check(verify("verify-rc", Driver::Rust, Driver::C));
}

#[test]
fn verify_checksums_and_thin_resync_c_rust() {
    check(verify("verify-cr", Driver::C, Driver::Rust));
}

#[test]
fn a_verify_survives_second_commands_writes_and_a_lost_connection() {
    check(disturbed().context("disturbed verify"));
}

/// A slow run is left alone by a second command (the C driver loses it), goes on under writes without false findings, and is taken up where
/// it was cut off (SC-3, OV-5).
fn disturbed() -> Result<()> {
    let mut options = options("verify-disturbed", Driver::Rust, Driver::Rust);
    options.net = options.net.replace("protocol C;", "protocol A;");
    options.disk = "c-plan-ahead 0; resync-rate 200M;".into();
    let mut pair = Pair::synced(&bed(), &options)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdsetup disk-options 0 --resync-rate=1500")?;
        forget(node)?;
    }
    pair.a.ok("drbdsetup verify 0 --start=0")?;
    let text = pair.a.wait_for(20, "cat /proc/drbd", "verified:")?;
    ensure!(text.contains("cs:VerifyS") && text.contains("want: 1,500 K/sec"), "{text}");
    ensure!(pair.b.wait_for(20, "cat /proc/drbd", "verified:")?.contains("cs:VerifyT"));
    // nothing to do, and nothing disturbed
    pair.a.ok("drbdsetup verify 0 --start=100000s --stop=100008s")?;
    let refused = pair.b.run("drbdsetup verify 0")?;
    ensure!(refused.code == 11 && refused.text.contains("-8"), "{}: {}", refused.code, refused.text);
    let changed = pair.a.run(&format!("drbdsetup net-options {ENDS} --verify-alg=sha1"))?;
    ensure!(changed.text.contains("(149)"), "{}", changed.text);
    for round in 0..12u64 {
        scribble(&mut pair.a, "/dev/drbd0", round * 300, 40)?;
    }
    let text = pair.a.ok("echo 1 > /sys/module/drbd/parameters/proc_details; cat /proc/drbd; echo 0 > /sys/module/drbd/parameters/proc_details")?;
    ensure!(text.contains("cs:VerifyS") && text.contains("% sector pos: "), "{text}");
    // the cable is pulled: the position is kept on both nodes
    pair.a.set_link(false)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_for(40, "cat /proc/drbd", "cs:WFConnection")?;
        let text = node.ok("dmesg")?;
        ensure!(text.contains("Online Verify reached sector") && !text.contains("Out of sync"), "{text}");
    }
    let text = pair.a.ok("dmesg | grep 'reached sector'")?;
    let reached: u64 = text.trim().rsplit(' ').next().and_then(|n| n.parse().ok()).context("no sector")?;
    ensure!(reached > 0 && reached % 8 == 0, "{reached}");
    pair.a.set_link(true)?;
    pair.wait_synced(60)?;
    for node in [&mut pair.a, &mut pair.b] {
        forget(node)?;
        node.ok("drbdsetup disk-options 0 --resync-rate=200M")?;
    }
    pair.a.ok("drbdsetup verify 0")?;
    let text = verified(&mut pair.a)?;
    ensure!(text.contains(&format!("Starting Online Verify from sector {reached}")), "{text}");
    ensure!(verified(&mut pair.b)?.contains(&format!("Online Verify start sector: {reached}")));
    // to the end: the next one begins at 0, without anything found by any of them
    forget(&mut pair.a)?;
    pair.a.ok("drbdsetup verify 0")?;
    let text = verified(&mut pair.a)?;
    ensure!(text.contains("Starting Online Verify from sector 0") && !text.contains("ut of sync"), "{text}");
    settle(&mut pair)?;
    pair.compare_disks()?;
    for node in [&mut pair.b, &mut pair.a] {
        node.ok("drbdadm secondary r0 && drbdadm down r0 && rmmod drbd")?;
    }
    pair.finish()
}

#[test]
fn a_burst_of_answers_is_acknowledged_and_a_turn_asks_for_more_than_there_is_room_for_at_first() {
    check(pace_of_fast_disks());
}

/// A fast pair: both nodes in one machine with one processor, on ramdisks; its time is that of its instructions. RX-10: no acknowledgement is lost
/// when a thousand blocks are written before any is sent. RX-6: a turn of 100 ms asks for as much as the rate and max-buffers allow, also when
/// everything is answered long before the next one: a volume begins with room for 256 requests.
fn pace_of_fast_disks() -> Result<()> {
    let mut options = single_options("fast-disks")?;
    (options.clock, options.processors) = (Clock::Instructions, 1);
    let mut vm = Vm::start(&bed(), options)?;
    vm.ok(TWO_NODES_ON_RAMDISKS)?;
    // RX-10: every block of a burst of answers is acknowledged, though the one processor has no time to send the acknowledgements meanwhile
    vm.ok(BURST)?;
    vm.wait_for(60, "cat /proc/drbd", "0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate")?;
    // RX-6: 256 blocks in a turn would be 10240 KiB/s
    vm.ok(&format!("drbdsetup-84 net-options {LOOP} --verify-alg=crc32c; drbdsetup-84 net-options {LOOP_BACK} --verify-alg=crc32c; drbdsetup-84 verify 0"))?;
    let log = verified(&mut vm)?;
    // `Online verify done (total 1 sec; paused 0 sec; 65532 K/sec)`
    let pace = log.split_once("Online verify done").and_then(|(_, text)| text.split_once(" K/sec)")?.0.rsplit(' ').next()?.parse::<u64>().ok());
    ensure!(pace > Some(16_000), "{log}");
    vm.ok("drbdsetup-84 secondary 0; drbdsetup-84 down r0; drbdsetup-84 down r1; rmmod drbd")?;
    end(vm)
}

/// Writes 1300 blocks, every other one, while the peer is away, and lets it come back.
const BURST: &str = "set -e
A=ipv4:127.0.0.1:7789; B=ipv4:127.0.0.1:7790
drbdsetup-84 primary 0; drbdsetup-84 disconnect $A $B --force; drbdsetup-84 disconnect $B $A --force || true
until grep -q '0: cs:StandAlone' /proc/drbd && grep -q '1: cs:StandAlone' /proc/drbd; do sleep 0.1; done
i=0; while [ $i -lt 2600 ]; do dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=$i count=1 2> /dev/null; i=$((i+2)); done; sync
grep -q 'oos:5200' /proc/drbd
for p in \"r1 $B $A\" \"r0 $A $B\"; do drbdsetup-84 connect $p --protocol=C --max-buffers=8000 --max-epoch-size=8000; done";

const LOOP: &str = "ipv4:127.0.0.1:7789 ipv4:127.0.0.1:7790";
const LOOP_BACK: &str = "ipv4:127.0.0.1:7790 ipv4:127.0.0.1:7789";

const TWO_NODES_ON_RAMDISKS: &str = "set -e
modprobe brd rd_nr=2 rd_size=65536 max_part=0; modprobe drbd
for i in 0 1; do
    drbdmeta --force $i v08 /dev/ram$i internal create-md > /dev/null 2>&1
    drbdsetup-84 new-resource r$i; drbdsetup-84 new-minor r$i $i 0
    drbdsetup-84 attach $i /dev/ram$i /dev/ram$i internal --c-plan-ahead=0 --resync-rate=200M --c-min-rate=0
done
A=ipv4:127.0.0.1:7789; B=ipv4:127.0.0.1:7790
for p in \"r0 $A $B\" \"r1 $B $A\"; do drbdsetup-84 connect $p --verify-alg=crc32c; done
until grep -q '0: cs:Connected' /proc/drbd; do sleep 0.1; done
drbdsetup-84 new-current-uuid --clear-bitmap 0
until grep -q '0: cs:Connected.*UpToDate/UpToDate' /proc/drbd; do sleep 0.1; done";
