// SPDX-License-Identifier: GPL-2.0
//! Two primaries (issue 3 line 6): refusals, and writes of both nodes to the same place at the same time, which end with equal disks; alone
//! and with the C driver as peer.

use crate::{bed, check};
use anyhow::{bail, ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};

const ENDS: &str = "ipv4:10.0.0.1:7788 ipv4:10.0.0.2:7788";
const BACK: &str = "ipv4:10.0.0.2:7788 ipv4:10.0.0.1:7788";

/// Loops of direct writes with blocks of several sizes over the first 64 KiB, whose ranges overlap those of the other node in every way. Each
/// leaves "good" or what failed in its file.
const WRITERS: &str = r#"
rm -f /tmp/writer.*; head -c 300000 /dev/urandom >/tmp/noise
for bs in 1536 4096 6656; do
    (   i=0; result=good
        while [ $i -lt 6 ]; do
            dd if=/tmp/noise of=/dev/drbd0 bs=$bs skip=$i count=$((65536 / bs)) oflag=direct conv=notrunc 2>/tmp/writer.err.$bs || { result=failed; break; }
            i=$((i + 1))
        done
        echo $result >/tmp/writer.$bs ) </dev/null >/dev/null 2>&1 &
done
"#;

/// Both nodes write at once, until they have met; then everything has come through, on one connection, and the disks are the same.
fn fight(pair: &mut Pair) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("dmesg -c >/dev/null")?;
    }
    for _ in 0..10 {
        for node in [&mut pair.a, &mut pair.b] {
            node.ok(WRITERS)?;
        }
        for node in [&mut pair.a, &mut pair.b] {
            let finished = "cat /tmp/writer.1536 /tmp/writer.4096 /tmp/writer.6656 2>/dev/null | wc -l";
            node.wait_for(300, finished, "3\n")?;
            let results = node.ok("cat /tmp/writer.[1-9]*; cat /tmp/writer.err.*")?;
            ensure!(!results.contains("failed"), "{results}");
        }
        let logs = [pair.a.ok("dmesg")?, pair.b.ok("dmesg")?];
        for log in &logs {
            ensure!(!log.contains("conn( Connected ->"), "the connection was lost: {log}");
        }
        if logs.iter().any(|log| log.contains("Concurrent writes detected")) {
            return settled(pair);
        }
    }
    bail!("there was no conflict")
}

fn settled(pair: &mut Pair) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_for(30, "sync; cat /proc/drbd", "lo:0 pe:0 ua:0 ap:0")?;
        let shown = node.ok("cat /proc/drbd")?;
        ensure!(shown.contains("ro:Primary/Primary ds:UpToDate/UpToDate C") && shown.contains("oos:0"), "{shown}");
    }
    pair.compare_disks()
}

fn counters(node: &mut Vm) -> Result<()> {
    // nothing is left behind in the data plane: an invalidate exchanges bitmaps, which waits for every open acknowledgement
    node.ok("drbdadm secondary r0 && drbdadm invalidate r0")?;
    Ok(())
}

fn both(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    // Longer than a busy machine may keep an acknowledgement from its reader (DP-2).
    let net = "protocol C; connect-int 7; ping-int 7; ping-timeout 50; timeout 60;".into();
    let options = PairOptions { net, disk_mib: 16, ..PairOptions::new(name).drivers(node1, node2) };
    let mut pair = Pair::synced(&bed(), &options)?;
    let text = pair.b.exits(11, "drbdadm primary r0")?;
    ensure!(text.contains("(-1)"), "{text}");
    let text = pair.a.exits(10, &format!("drbdsetup net-options {ENDS} --protocol=A --allow-two-primaries=yes"))?;
    ensure!(text.contains("(139)"), "DP-1: {text}");
    // allowed here, adopted there (CO-7)
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("sed -i 's/protocol C;/protocol C; allow-two-primaries yes;/' /etc/drbd.conf")?;
    }
    pair.a.ok("drbdadm adjust r0")?;
    pair.b.wait_for(20, "drbdsetup show r0", "allow-two-primaries\tyes")?;
    pair.b.ok("drbdadm primary r0")?;
    for (node, ends) in [(&mut pair.a, ENDS), (&mut pair.b, BACK)] {
        let text = node.exits(10, &format!("drbdsetup net-options {ends} --allow-two-primaries=no"))?;
        ensure!(text.contains("(164)"), "DP-1: {text}");
    }
    fight(&mut pair)?;
    // the node that comes later decides (CO-2): the other one now
    pair.a.ok("drbdadm secondary r0 && drbdadm disconnect r0")?;
    pair.b.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(40)?;
    pair.a.ok("drbdadm primary r0")?;
    fight(&mut pair)?;
    counters(&mut pair.a)?;
    pair.wait_synced(60)?;
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn debug_two_primaries_that_write_to_the_same_place_end_with_equal_disks() {
    check(both("dual", Driver::Rust, Driver::Rust));
}

#[test]
fn two_primaries_with_a_c_peer_end_with_equal_disks_started_here() {
    check(both("dual-rc", Driver::Rust, Driver::C));
}

#[test]
fn two_primaries_with_a_c_peer_end_with_equal_disks_started_there() {
    check(both("dual-cr", Driver::C, Driver::Rust));
}
