// SPDX-License-Identifier: GPL-2.0
//! Pace, pauses and order of resyncs, what starts a full one, and pulling ahead of a slow peer (issue lines 3 and 4).

use crate::verify::settle;
use crate::{bed, check, scribble};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};

/// Two resources; the second is synced after the first. The pace is fixed and slow.
fn configuration() -> String {
    let resource = |name: &str, minor: u32, disk: &str, more: &str| {
        format!(
            "resource {name} {{\n net {{ protocol C; connect-int 3; ping-int 3; ping-timeout 10; timeout 30; }}\n\
             disk {{ c-plan-ahead 0; c-min-rate 0; resync-rate 250; {more} }}\n device /dev/drbd{minor}; disk {disk}; meta-disk internal;\n\
             on node1 {{ address 10.0.0.1:{port}; }}\n on node2 {{ address 10.0.0.2:{port}; }}\n}}\n",
            port = 7788 + minor
        )
    };
    let (first, second) = (resource("r0", 0, "/dev/vda", ""), resource("r1", 1, "/dev/vdb", "resync-after r0;"));
    format!("global {{ usage-count no; }}\n{first}{second}")
}

/// The first 64 bits of the bitmap of r0 on disk: in front of activity log and superblock.
const FIRST_BITS: &str = "dd if=/dev/vda bs=4k skip=$(($(blockdev --getsize64 /dev/vda) / 4096 - 10)) count=1 iflag=direct 2>/dev/null | od -An -tx1 -N8 | tr -d ' '";

/// The command fails with this error code of the driver.
fn refused(node: &mut Vm, command: &str, code: u32) -> Result<()> {
    let said = node.run(command)?;
    ensure!(said.code == 10 && said.text.contains(&format!("({code})")), "{command}: {}: {}", said.code, said.text);
    Ok(())
}

/// Waits for a word in the line of a minor in /proc/drbd.
fn wait_minor(node: &mut Vm, minor: u32, what: &str) -> Result<String> {
    node.wait_for(90, &format!("awk '/^ *[0-9]+: cs:/ {{ on = ($1 == \"{minor}:\") }} on' /proc/drbd"), what)
}

fn options_of(pair: &mut Pair, minor: u32, options: &str) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        node.ok(&format!("drbdsetup disk-options {minor} {options}"))?;
    }
    Ok(())
}

/// KiB synced on node2 in a few seconds, per second.
fn pace(pair: &mut Pair) -> Result<f64> {
    let mut sample = || -> Result<(f64, f64)> {
        let text = pair.b.ok("cut -d' ' -f1 /proc/uptime; sed -n 's/.* oos:\\([0-9]*\\).*/\\1/p' /proc/drbd | head -1")?;
        let mut lines = text.lines().map(|line| line.trim().parse::<f64>().context("a number"));
        Ok((lines.next().context("uptime")??, lines.next().context("oos")??))
    };
    let first = sample()?;
    std::thread::sleep(std::time::Duration::from_secs(8));
    let second = sample()?;
    Ok((first.1 - second.1) / (second.0 - first.0))
}

#[test]
fn a_resync_is_paced_paused_ordered_and_steps_aside() {
    check(paced());
}

fn paced() -> Result<()> {
    let mut options = PairOptions::new("paced");
    options.disks = 2;
    options.files = vec![("etc/both.conf".into(), configuration().into_bytes())];
    let mut pair = Pair::boot(&bed(), &options)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("cp /etc/both.conf /etc/drbd.conf; modprobe drbd")?;
        node.ok("drbdadm -- --force create-md all && drbdadm up all")?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        wait_minor(node, 0, "cs:Connected")?;
        wait_minor(node, 1, "cs:Connected")?;
    }
    // the pace is the fixed one (RX-6)
    pair.a.ok("drbdadm primary --force r0")?;
    wait_minor(&mut pair.b, 0, "want: 250 K/sec")?;
    wait_minor(&mut pair.a, 0, "cs:SyncSource")?;
    // RX-21: what is done of it is on disk before it ends, on both nodes
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_until(90, FIRST_BITS, "the first blocks are in sync on disk", |text| text.trim() == "0000000000000000")?;
        ensure!(node.ok("cat /proc/drbd")?.contains("cs:Sync"), "the resync is over");
    }
    // RX-16, RX-17: the second resource waits for the first one
    pair.a.ok("drbdadm primary --force r1")?;
    ensure!(wait_minor(&mut pair.b, 1, "cs:PausedSyncT")?.contains("C ra"), "the reason is shown");
    wait_minor(&mut pair.a, 1, "cs:PausedSyncS")?;
    refused(&mut pair.b, "drbdsetup resume-sync 1", 156)?;
    refused(&mut pair.b, "drbdsetup disk-options 0 --resync-after=1", 133)?;
    refused(&mut pair.b, "drbdsetup disk-options 1 --resync-after=1", 133)?;
    // RX-18: pauses of the administrator, on the one node and on the other
    pair.a.ok("drbdsetup pause-sync 0")?;
    wait_minor(&mut pair.a, 0, "cs:PausedSyncS")?;
    wait_minor(&mut pair.b, 0, "cs:PausedSyncT")?;
    refused(&mut pair.a, "drbdsetup pause-sync 0", 134)?;
    refused(&mut pair.b, "drbdsetup resume-sync 0", 157)?;
    pair.b.ok("drbdsetup pause-sync 0")?;
    pair.a.ok("drbdsetup resume-sync 0")?;
    refused(&mut pair.a, "drbdsetup resume-sync 0", 157)?;
    wait_minor(&mut pair.b, 0, "cs:PausedSyncT")?;
    pair.b.ok("drbdsetup resume-sync 0")?;
    refused(&mut pair.b, "drbdsetup resume-sync 0", 135)?;
    wait_minor(&mut pair.a, 0, "cs:SyncSource")?;
    wait_minor(&mut pair.b, 1, "cs:PausedSyncT")?;
    // 7.3: the controller goes up to c-max-rate, and the peer takes the values over (RX-15)
    pair.a.ok("drbdsetup disk-options 0 --c-plan-ahead=20 --c-fill-target=100 --c-max-rate=600")?;
    wait_minor(&mut pair.b, 0, "want: 600 K/sec")?;
    // RX-14: a fast resync leaves the disk to an application, one at c-min-rate does not
    options_of(&mut pair, 0, "--c-plan-ahead=0 --resync-rate=2M --c-min-rate=250")?;
    let alone = pace(&mut pair)?;
    pair.a.ok(
        "(while [ ! -e /tmp/stop ]; do dd if=/dev/zero of=/dev/drbd0 bs=64k count=64 oflag=direct conv=notrunc 2>/dev/null; done) >/dev/null 2>&1 &",
    )?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let beside = pace(&mut pair)?;
    pair.a.ok("touch /tmp/stop")?;
    ensure!(alone > 0.0 && beside < alone / 2.0, "{beside} KiB/s beside an application, {alone} KiB/s without");
    // the end of the first lets the second one go on
    options_of(&mut pair, 0, "--resync-rate=200M --c-min-rate=0")?;
    wait_minor(&mut pair.b, 0, "ds:UpToDate/UpToDate")?;
    wait_minor(&mut pair.b, 1, "cs:SyncTarget")?;
    // and a dependency that is taken away or put back does so at once
    pair.b.ok("drbdadm invalidate r0")?;
    wait_minor(&mut pair.b, 0, "ds:UpToDate/UpToDate")?;
    options_of(&mut pair, 1, "--resync-after=-1 --resync-rate=200M")?;
    wait_minor(&mut pair.b, 1, "ds:UpToDate/UpToDate")?;
    started_by_hand(&mut pair)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdadm secondary all; drbdadm down all && rmmod drbd")?;
    }
    pair.finish()
}

/// UU-16: what a full resync can be asked for with.
fn started_by_hand(pair: &mut Pair) -> Result<()> {
    pair.b.ok("dmesg -c > /dev/null")?;
    pair.a.ok("drbdadm invalidate-remote r0")?;
    pair.b.wait_for(40, "dmesg", "Resync done")?;
    wait_minor(&mut pair.b, 0, "ds:UpToDate/UpToDate")?;
    // alone: a Secondary gives up its own data, a Primary that of its peer
    pair.b.ok("drbdadm disconnect r0")?;
    wait_minor(&mut pair.a, 0, "cs:WFConnection")?;
    let said = pair.a.run("drbdadm invalidate-remote r0")?;
    ensure!(said.code != 0 && said.text.contains("(-15)"), "{}", said.text);
    pair.b.ok("drbdadm invalidate r0")?;
    let text = wait_minor(&mut pair.b, 0, "ds:Inconsistent/")?;
    ensure!(!text.contains("oos:0\n"), "{text}");
    pair.a.ok("drbdadm disconnect r0 && drbdadm invalidate-remote r0")?;
    let text = wait_minor(&mut pair.a, 0, "ds:UpToDate/Inconsistent")?;
    ensure!(text.contains("----s") && !text.contains("oos:0\n"), "the log is not needed: {text}");
    scribble(&mut pair.a, "/dev/drbd0", 10, 10)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdadm connect r0")?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        wait_minor(node, 0, "ds:UpToDate/UpToDate")?;
    }
    settle(pair)?;
    pair.compare_disks()
}

/// CG-1 to CG-3 (issue line 3): a link that cannot take what is written is left behind, and the peer gets what it missed.
fn pulled_ahead(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let mut options = PairOptions::new(name).drivers(node1, node2);
    options.net = options.net.replace("protocol C;", "protocol A;");
    options.net.push_str(" on-congestion pull-ahead; congestion-fill 8;");
    let mut pair = Pair::synced(&bed(), &options)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("dmesg -c > /dev/null")?;
    }
    pair.a.ok("for i in 0 1 2 3 4; do dd if=/dev/urandom of=/dev/drbd0 bs=64k count=64 seek=$((i*100)) oflag=direct conv=notrunc 2>&1; done")?;
    pair.a.wait_for(40, "dmesg", "conn( Connected -> Ahead )")?;
    pair.b.wait_for(40, "dmesg", "conn( Connected -> Behind )")?;
    let (source, target) = (pair.a.wait_for(60, "dmesg", "conn( Ahead -> SyncSource )"), pair.b.wait_for(60, "dmesg", "SyncTarget"));
    ensure!(!target?.contains("out of sync"), "{:?}", source?);
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_until(90, "cat /proc/drbd", "back to plain replication", |text| {
            text.contains("cs:Connected") && text.contains("ds:UpToDate/UpToDate") && text.contains("oos:0")
        })?;
    }
    settle(&mut pair)?;
    pair.compare_disks()?;
    if node1 == Driver::C {
        // Its on-congestion disconnect never gets beyond cs:Disconnecting.
        return pair.finish();
    }
    // CG-2: or the connection is given up
    pair.a.ok("drbdsetup net-options ipv4:10.0.0.1:7788 ipv4:10.0.0.2:7788 --on-congestion=disconnect")?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=64k count=64 oflag=direct conv=notrunc 2>&1")?;
    pair.a.wait_for(40, "cat /proc/drbd", "cs:StandAlone")?;
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    settle(&mut pair)?;
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn debug_congestion_pulls_ahead_rust_rust() {
    check(pulled_ahead("ahead-rr", Driver::Rust, Driver::Rust));
}

#[test]
fn congestion_pulls_ahead_rust_c() {
    check(pulled_ahead("ahead-rc", Driver::Rust, Driver::C));
}

#[test]
fn congestion_pulls_ahead_c_rust() {
    check(pulled_ahead("ahead-cr", Driver::C, Driver::Rust));
}
