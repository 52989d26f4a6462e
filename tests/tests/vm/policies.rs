// SPDX-License-Identifier: GPL-2.0
//! Policies for disks that fail or hang, for data that is nowhere, and for reads with a choice (issue 3 item 3; behaviour.md 6.6, 6.7,
//! TO-3, ER-7). The same expectations hold with the C driver as node1.

use crate::fencing::{answer, calls, current_uuid, with_helper};
use crate::{attach_again, bed, check, scribble};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};
use std::time::Duration;

/// The whole backing disk, through the device mapper.
const WRAPPED: &str = "0 131072 linear /dev/vda 0";

/// A pair in sync, node1 Primary; the disks of both nodes are behind the device mapper.
fn wrapped(options: &PairOptions) -> Result<Pair> {
    let mut pair = Pair::boot(&bed(), options)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok(&format!(
            "modprobe dm-mod; dmsetup create back --noudevsync --noudevrules --table '{WRAPPED}' && dmsetup mknodes && ls /dev/mapper/back"
        ))?;
        node.ok("sed -i 's#/dev/vda#/dev/mapper/back#' /etc/drbd.conf")?;
        node.ok("modprobe drbd usermode_helper=/sbin/helper && touch /tmp/helper.log")?;
        node.ok("drbdadm -- --force create-md r0 && drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(120)?;
    Ok(pair)
}

/// The data of the node's disk, but not the metadata behind it, fails every request; or works again.
fn break_disk(node: &mut Vm, broken: bool) -> Result<()> {
    let table = if broken { r"0 120000 error\n120000 11072 linear /dev/vda 120000\n" } else { WRAPPED };
    node.ok(&format!("dmsetup suspend back && printf '{table}' | dmsetup load back && dmsetup resume back"))?;
    Ok(())
}

fn option(node: &mut Vm, text: &str) -> Result<()> {
    node.ok(&format!("drbdsetup disk-options 0 --{text}"))?;
    Ok(())
}

/// A write in the background; its result is in /tmp/dd.
fn write_later(node: &mut Vm, block: u64) -> Result<()> {
    node.ok(&format!(
        "rm -f /tmp/dd; (dd if=/dev/urandom of=/dev/drbd0 bs=4k seek={block} count=3 oflag=direct 2>&1 && echo done || echo failed) > /tmp/dd 2>&1 &"
    ))?;
    Ok(())
}

fn state(node: &mut Vm) -> Result<String> {
    Ok(node.ok("drbdadm dstate r0")?.trim().to_string())
}

/// Node1 gives its disk up; the peer makes a new generation, and node1 knows it (UU-6, UU-8).
fn work_without_disk(pair: &mut Pair) -> Result<()> {
    let before = current_uuid(&mut pair.b)?;
    pair.a.ok("drbdadm detach r0")?;
    pair.a.wait_for(20, "drbdadm dstate r0", "Diskless/UpToDate")?;
    pair.b.wait_until(20, "drbdsetup get-gi 0", "a new generation", |text| {
        u64::from_str_radix(text.split(':').next().unwrap_or(""), 16).is_ok_and(|current| current & !1 != before)
    })?;
    scribble(&mut pair.a, "/dev/drbd0", 1000, 1)?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

/// Gives the (replaced) disk of node1 back to it.
fn reattach(pair: &mut Pair) -> Result<()> {
    break_disk(&mut pair.a, false)?;
    if state(&mut pair.a)?.starts_with("Inconsistent") {
        pair.a.ok("drbdadm detach r0")?;
    }
    pair.a.wait_for(30, "drbdadm dstate r0", "Diskless/UpToDate")?;
    attach_again(&mut pair.a, "r0")?;
    pair.wait_synced(60)
}

/// The `dr` (disk) and `nr` (net) counters of node1, in KiB.
fn read_counters(node: &mut Vm) -> Result<(u64, u64)> {
    let text = node.ok("cat /proc/drbd")?;
    let value = |key: &str| -> Result<u64> {
        let word = text.split_whitespace().find_map(|word| word.strip_prefix(key)).context("no counter")?;
        Ok(word.parse()?)
    };
    Ok((value("dr:")?, value("nr:")?))
}

/// RD-3: reads 1 MiB in pieces of 4 KiB, one after the other, and says how many KiB came from the disk and from the peer.
fn balanced(node: &mut Vm, mode: &str) -> Result<(u64, u64)> {
    option(node, &format!("read-balancing={mode}"))?;
    let before = read_counters(node)?;
    node.ok("dd if=/dev/drbd0 of=/dev/null bs=4k count=256 iflag=direct 2>&1")?;
    let after = read_counters(node)?;
    Ok((after.0 - before.0, after.1 - before.1))
}

/// A resync of which the source could not read blocks, or the target not write them, ends on both nodes, and the target stays Inconsistent; the
/// next connection brings the rest (RX-9, RX-10, RX-21, UU-12). The C driver as source would stay SyncSource.
fn incomplete_resyncs(pair: &mut Pair) -> Result<()> {
    for round in 1..=2 {
        for node in [&mut pair.a, &mut pair.b] {
            option(node, "on-io-error=pass_on")?;
        }
        pair.b.ok("drbdadm disconnect r0")?;
        scribble(&mut pair.a, "/dev/drbd0", 8000, 20)?;
        break_disk(if round == 1 { &mut pair.a } else { &mut pair.b }, true)?;
        pair.b.ok("drbdadm connect r0")?;
        for (node, dstate) in [(&mut pair.a, "UpToDate/Inconsistent"), (&mut pair.b, "Inconsistent/UpToDate")] {
            node.wait_for(60, "echo $(dmesg | grep -c 'failed blocks')", &round.to_string())?;
            node.wait_until(60, "drbdadm cstate r0; drbdadm dstate r0", "the end of the resync", |text| text.trim() == format!("Connected\n{dstate}"))?;
        }
        break_disk(if round == 1 { &mut pair.a } else { &mut pair.b }, false)?;
        pair.b.ok("drbdadm disconnect r0 && drbdadm connect r0")?;
        pair.wait_synced(60)?;
    }
    Ok(())
}

fn broken_disks(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let mut pair = wrapped(&with_helper(name).drivers(node1, node2))?;
    scribble(&mut pair.a, "/dev/drbd0", 0, 300)?;
    let contents = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/drbd0 bs=4k count=300 iflag=direct 2>/dev/null | md5sum";
    let sum = pair.a.ok(contents)?;

    // read-balancing: whoever is asked, the data is the same
    for (mode, disk, net) in [
        ("prefer-local", 1024, 0),
        ("prefer-remote", 0, 1024),
        ("round-robin", 512, 512),
        ("least-pending", 0, 1024),
        ("when-congested-remote", 1024, 0),
        ("32K-striping", 512, 512),
        ("512K-striping", 512, 512),
        ("1M-striping", 1024, 0),
    ] {
        let got = balanced(&mut pair.a, mode)?;
        ensure!(got == (disk, net), "{mode}: {got:?} KiB from disk and peer, expected {:?}", (disk, net));
        ensure!(pair.a.ok(contents)? == sum, "{mode}: other data");
    }
    option(&mut pair.a, "read-balancing=prefer-local")?;

    // pass_on: the disk stays, Inconsistent; nothing is noticed above as long as the peer is there (ER-1)
    option(&mut pair.a, "on-io-error=pass_on")?;
    break_disk(&mut pair.a, true)?;
    scribble(&mut pair.a, "/dev/drbd0", 4000, 20)?;
    ensure!(pair.a.ok(contents)? == sum);
    pair.a.wait_for(20, "drbdadm dstate r0", "Inconsistent/UpToDate")?;
    pair.b.wait_for(20, "drbdadm dstate r0", "UpToDate/Inconsistent")?;
    reattach(&mut pair)?;

    if node1 == Driver::Rust && node2 == Driver::Rust {
        incomplete_resyncs(&mut pair)?;
    }

    // call-local-io-error: detached, and the helper is told (AC-19)
    option(&mut pair.a, "on-io-error=call-local-io-error")?;
    answer(&mut pair.a, "local-io-error", 0)?;
    break_disk(&mut pair.a, true)?;
    scribble(&mut pair.a, "/dev/drbd0", 5000, 20)?;
    pair.a.wait_for(20, "cat /tmp/helper.log", "local-io-error minor-0")?;
    pair.a.wait_for(20, "drbdadm dstate r0", "Diskless/UpToDate")?;
    pair.b.wait_for(20, "drbdadm dstate r0", "UpToDate/Diskless")?;
    ensure!(calls(&mut pair.a, "local-io-error")? == 1);
    reattach(&mut pair)?;

    // disk-timeout (ER-6). The C driver panics when an aborted request ends after all.
    if node1 == Driver::Rust {
        option(&mut pair.a, "disk-timeout=10")?;
        pair.a.ok("dmsetup suspend --noflush --nolockfs back")?;
        write_later(&mut pair.a, 6000)?;
        pair.a.wait_until(30, "drbdadm dstate r0", "given up", |text| text.starts_with("Diskless") || text.starts_with("Failed"))?;
        scribble(&mut pair.a, "/dev/drbd0", 6100, 20)?;
        pair.a.ok("dmsetup resume back")?;
        pair.a.wait_for(30, "cat /tmp/dd", "done")?;
        option(&mut pair.a, "disk-timeout=0").ok();
        reattach(&mut pair)?;
    }

    // a peer whose disk does not answer is given up after ko-count x timeout (TO-3), though it answers every ping
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdsetup net-options ipv4:10.0.0.1:7788 ipv4:10.0.0.2:7788 --timeout=20 --ko-count=2 2>/dev/null || drbdsetup net-options ipv4:10.0.0.2:7788 ipv4:10.0.0.1:7788 --timeout=20 --ko-count=2")?;
    }
    pair.b.ok("dmsetup suspend --noflush --nolockfs back")?;
    write_later(&mut pair.a, 7000)?;
    pair.a.wait_for(30, "cat /tmp/dd", "done")?;
    pair.a.wait_for(30, "dmesg", "Remote failed to finish a request within")?;
    scribble(&mut pair.a, "/dev/drbd0", 7100, 20)?;
    pair.b.ok("dmsetup resume back")?;
    pair.wait_synced(60)?;
    pair.a.ok("sync; drbdadm secondary r0")?;
    std::thread::sleep(Duration::from_millis(500));
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn debug_policies_for_broken_disks_and_reads() {
    check(broken_disks("policies", Driver::Rust, Driver::Rust));
}

/// I/O does not move: `s` in the flags, and the background write waits.
fn is_frozen(node: &mut Vm) -> Result<()> {
    node.wait_for(20, "cat /proc/drbd", " s-----")?;
    node.ok("sleep 1")?;
    ensure!(!node.ok("cat /tmp/dd")?.contains("done"), "a write went through frozen I/O");
    Ok(())
}

fn no_data(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let mut pair = wrapped(&with_helper(name).drivers(node1, node2))?;

    // suspend-io, resume-io
    pair.a.ok("drbdadm suspend-io r0")?;
    write_later(&mut pair.a, 100)?;
    is_frozen(&mut pair.a)?;
    pair.a.ok("drbdadm resume-io r0")?;
    pair.a.wait_for(20, "cat /tmp/dd", "done")?;
    ensure!(!pair.a.ok("cat /proc/drbd")?.contains(" s-----"));

    // outdate: no effect while connected; alone the mark stays until the next connection; a Primary cannot be outdated (10.5, FE-12)
    pair.b.ok("drbdadm outdate r0")?;
    ensure!(state(&mut pair.b)? == "UpToDate/UpToDate");
    pair.b.ok("drbdadm disconnect r0 && drbdadm outdate r0")?;
    ensure!(state(&mut pair.b)? == "Outdated/DUnknown");
    pair.b.ok("drbdadm down r0; drbdsetup new-resource r0; drbdsetup new-minor r0 0 0; drbdadm attach r0")?;
    ensure!(state(&mut pair.b)?.starts_with("Outdated/"), "the mark is gone: {}", state(&mut pair.b)?);
    let text = pair.b.exits(17, "drbdadm primary r0")?;
    ensure!(text.contains("(-2)"), "{text}");
    let text = pair.a.exits(17, "drbdsetup outdate 0")?;
    ensure!(text.contains("(-2)"), "{text}");
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;

    // on-no-data-accessible suspend-io: a diskless Primary loses its peer, and gets it back (AC-4, ER-7)
    pair.a.ok("drbdsetup resource-options r0 --on-no-data-accessible=suspend-io")?;
    work_without_disk(&mut pair)?;
    let before = current_uuid(&mut pair.b)?;
    pair.b.ok("drbdadm disconnect --force r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    write_later(&mut pair.a, 200)?;
    is_frozen(&mut pair.a)?;
    pair.b.ok("drbdadm connect r0")?;
    pair.a.wait_for(30, "cat /tmp/dd", "done")?;
    pair.a.wait_for(20, "cat /proc/drbd", " r-----")?;
    ensure!(current_uuid(&mut pair.b)? == before, "the data has not changed without its Primary");
    attach_again(&mut pair.a, "r0")?;
    pair.wait_synced(60)?;

    // the last disk fails, and comes back: frozen requests start anew
    pair.b.ok("drbdadm disconnect r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    break_disk(&mut pair.a, true)?;
    write_later(&mut pair.a, 300)?;
    pair.a.wait_for(20, "drbdadm dstate r0", "Diskless/")?;
    is_frozen(&mut pair.a)?;
    break_disk(&mut pair.a, false)?;
    attach_again(&mut pair.a, "r0")?;
    pair.a.wait_for(30, "cat /tmp/dd", "done")?;
    pair.a.wait_for(20, "cat /proc/drbd", " r-----")?;
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;

    // io-error: requests fail at once
    pair.a.ok("drbdsetup resource-options r0 --on-no-data-accessible=io-error")?;
    work_without_disk(&mut pair)?;
    pair.b.ok("drbdadm disconnect --force r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    write_later(&mut pair.a, 400)?;
    pair.a.wait_for(20, "cat /tmp/dd", "failed")?;
    pair.b.ok("drbdadm connect r0")?;
    pair.a.wait_for(30, "drbdadm dstate r0", "Diskless/UpToDate")?;
    attach_again(&mut pair.a, "r0")?;
    pair.wait_synced(60)?;

    // resume-io without any data: what waits fails, and the node has to be torn down before it joins data again (UU-7)
    pair.a.ok("drbdsetup resource-options r0 --on-no-data-accessible=suspend-io")?;
    work_without_disk(&mut pair)?;
    pair.b.ok("drbdadm disconnect --force r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    write_later(&mut pair.a, 500)?;
    is_frozen(&mut pair.a)?;
    pair.a.ok("drbdadm resume-io r0")?;
    pair.a.wait_for(20, "cat /tmp/dd", "failed")?;
    pair.a.ok("drbdadm down r0 && drbdadm up r0")?;
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    pair.a.ok("drbdadm primary r0")?;
    scribble(&mut pair.a, "/dev/drbd0", 600, 10)?;
    pair.a.ok("drbdadm secondary r0; sync")?;
    std::thread::sleep(Duration::from_millis(500));
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn debug_data_that_is_nowhere_suspends_or_fails() {
    check(no_data("no-data", Driver::Rust, Driver::Rust));
}

/// on-congestion disconnect: a peer that cannot take what is written is left alone (CG-2); vm/resync.rs has pull-ahead.
fn congestion() -> Result<()> {
    let mut options = with_helper("congested");
    options.net = options.net.replace("protocol C;", "protocol A; on-congestion disconnect; congestion-fill 1M; sndbuf-size 8M; ko-count 0;");
    let mut pair = wrapped(&options)?;
    pair.b.ok("dmsetup suspend --noflush --nolockfs back")?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=64k count=160 oflag=direct 2>&1")?;
    pair.a.wait_for(30, "drbdadm cstate r0", "StandAlone")?;
    pair.b.ok("dmsetup resume back")?;
    pair.b.wait_for(30, "drbdadm cstate r0", "WFConnection")?;
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    pair.a.ok("drbdadm secondary r0; sync")?;
    std::thread::sleep(Duration::from_millis(500));
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn congestion_may_end_the_connection() {
    check(congestion());
}
