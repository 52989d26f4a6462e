// SPDX-License-Identifier: GPL-2.0
//! Fencing and the helper program (behaviour.md sections 11 and 12; issue 3 item 3): the observed tables, on our driver
//! and on the C driver, so that a difference shows.

use crate::{bed, check, scribble};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};

/// Notes every call with its environment; the exit code is what `/tmp/exit-EVENT` says.
const HELPER: &str = r#"#!/bin/sh
echo "$1 $2 $DRBD_PEER_AF $DRBD_PEER_ADDRESS $HOME $TERM $PATH" >> /tmp/helper.log
[ -f /tmp/sleep-$1 ] && sleep $(cat /tmp/sleep-$1)
exit $(cat /tmp/exit-$1 2>/dev/null || echo 0)
"#;

/// Options of a pair whose nodes use [`HELPER`].
pub fn with_helper(name: &str) -> PairOptions {
    let mut options = PairOptions::new(name);
    options.files.push(("sbin/helper".into(), HELPER.as_bytes().to_vec()));
    options
}

/// Boots a pair that calls the helper, in sync, node1 Primary.
pub fn synced_with_helper(options: &PairOptions) -> Result<Pair> {
    let mut pair = Pair::boot(&bed(), options)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("modprobe drbd usermode_helper=/sbin/helper && touch /tmp/helper.log")?;
        node.ok("drbdadm -- --force create-md r0 && drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(120)?;
    Ok(pair)
}

/// The helper's answer from now on, and its log begins anew.
pub fn answer(node: &mut Vm, event: &str, code: i32) -> Result<()> {
    node.ok(&format!("echo {code} > /tmp/exit-{event}; : > /tmp/helper.log"))?;
    Ok(())
}

/// Calls of an event since the log began.
pub fn calls(node: &mut Vm, event: &str) -> Result<usize> {
    Ok(node.ok("cat /tmp/helper.log")?.lines().filter(|line| line.starts_with(event)).count())
}

pub fn current_uuid(node: &mut Vm) -> Result<u64> {
    let text = node.ok("drbdsetup-84 get-gi 0")?;
    let first = text.trim().split(':').next().context("no generations")?;
    Ok(u64::from_str_radix(first, 16)? & !1)
}

/// Frozen I/O shows as `s` in the flags of /proc/drbd.
fn frozen(node: &mut Vm) -> Result<bool> {
    Ok(node.ok("cat /proc/drbd")?.contains(" s-----"))
}

fn peer_disk(node: &mut Vm) -> Result<String> {
    let text = node.ok("drbdadm dstate r0")?;
    Ok(text.trim().split('/').nth(1).unwrap_or("?").into())
}

/// One row of the first table: the link to a Secondary is lost, the helper answers `exit`.
fn lost_peer(pair: &mut Pair, stonith: bool, exit: i32, block: u64) -> Result<()> {
    let before = current_uuid(&mut pair.a)?;
    answer(&mut pair.a, "fence-peer", exit)?;
    pair.b.ok("drbdadm disconnect --force r0")?;
    pair.a.wait_for(30, "cat /proc/drbd", "cs:WFConnection")?;
    let expected = match exit {
        3 => "Inconsistent",
        4 | 5 | 7 => "Outdated",
        _ => "DUnknown",
    };
    pair.a.wait_for(30, "cat /tmp/helper.log", "fence-peer r0 ipv4 10.0.0.2 / linux /sbin:/usr/sbin:/bin:/usr/bin")?;
    let stays = stonith && expected == "DUnknown";
    pair.a.wait_for(30, "drbdadm dstate r0", expected)?;
    let write = format!("rm -f /tmp/dd; (dd if=/dev/urandom of=/dev/drbd0 bs=4k seek={block} count=3 oflag=direct && echo done) > /tmp/dd 2>&1 &");
    pair.a.ok(&write)?;
    if stays {
        pair.a.ok("sleep 1")?;
        ensure!(frozen(&mut pair.a)?, "I/O is not frozen");
        ensure!(!pair.a.ok("cat /tmp/dd")?.contains("done"), "a write went through frozen I/O");
        ensure!(current_uuid(&mut pair.a)? == before, "the UUID was rotated while frozen");
    } else {
        pair.a.wait_for(30, "cat /tmp/dd", "done")?;
        ensure!(!frozen(&mut pair.a)?, "I/O is frozen");
        ensure!(current_uuid(&mut pair.a)? != before, "the UUID was not rotated");
    }
    ensure!(peer_disk(&mut pair.a)? == expected);
    ensure!(calls(&mut pair.a, "fence-peer")? == 1);
    // the peer returns: frozen requests are sent to it (FE-9), the others were marked
    answer(&mut pair.a, "unfence-peer", 0)?;
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    pair.a.wait_for(30, "cat /tmp/dd", "done")?;
    ensure!(!frozen(&mut pair.a)?);
    if stays {
        ensure!(current_uuid(&mut pair.a)? == before, "the UUID was rotated although the peer came back");
        ensure!(calls(&mut pair.a, "unfence-peer")? == 0, "nothing was resynced");
    } else {
        pair.a.wait_for(30, "cat /tmp/helper.log", "unfence-peer r0 ipv4 10.0.0.2")?;
    }
    Ok(())
}

fn lost_peers(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let mut options = with_helper(name).drivers(node1, node2);
    options.disk.push_str(" fencing resource-only;");
    let mut pair = synced_with_helper(&options)?;
    for (round, stonith) in [false, true].into_iter().enumerate() {
        if stonith {
            for node in [&mut pair.a, &mut pair.b] {
                node.ok("sed -i s/resource-only/resource-and-stonith/ /etc/drbd.conf && drbdadm adjust r0")?;
            }
        }
        for exit in [3, 4, 5, 7, 6, 0, 1] {
            lost_peer(&mut pair, stonith, exit, 100 + 50 * round as u64 + exit as u64)
                .with_context(|| format!("exit code {exit}, {}", if stonith { "resource-and-stonith" } else { "resource-only" }))?;
        }
    }
    // frozen until the administrator says go on: rotation, and the write is local only
    let before = current_uuid(&mut pair.a)?;
    answer(&mut pair.a, "fence-peer", 1)?;
    pair.b.ok("drbdadm disconnect --force r0")?;
    pair.a.wait_for(30, "cat /tmp/helper.log", "fence-peer")?;
    pair.a.ok("rm -f /tmp/dd; (dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=900 count=3 oflag=direct && echo done) > /tmp/dd 2>&1 &")?;
    pair.a.ok("sleep 1")?;
    ensure!(frozen(&mut pair.a)? && current_uuid(&mut pair.a)? == before);
    pair.a.ok("drbdadm resume-io r0")?;
    pair.a.wait_for(30, "cat /tmp/dd", "done")?;
    ensure!(!frozen(&mut pair.a)? && current_uuid(&mut pair.a)? != before);
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    // a graceful leave needs no helper, the one who leaves is Outdated (DC-3)
    answer(&mut pair.a, "fence-peer", 4)?;
    pair.b.ok("drbdadm disconnect r0")?;
    ensure!(pair.b.ok("drbdadm dstate r0")?.trim() == "Outdated/DUnknown", "a Secondary that leaves is Outdated");
    pair.a.wait_for(20, "drbdadm dstate r0", "UpToDate/Outdated")?;
    ensure!(calls(&mut pair.a, "fence-peer")? == 0);
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    // the Primary leaves: the same disk states
    pair.a.ok("drbdadm disconnect r0")?;
    ensure!(pair.a.ok("drbdadm dstate r0")?.trim() == "UpToDate/Outdated");
    pair.b.wait_for(20, "drbdadm dstate r0", "Outdated/DUnknown")?;
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    // dont-care: no helper, I/O never stops, nobody is outdated (FE-3)
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("sed -i s/resource-and-stonith/dont-care/ /etc/drbd.conf && drbdadm adjust r0")?;
    }
    answer(&mut pair.a, "fence-peer", 4)?;
    pair.b.ok("drbdadm disconnect --force r0")?;
    pair.a.wait_for(20, "drbdadm dstate r0", "UpToDate/DUnknown")?;
    scribble(&mut pair.a, "/dev/drbd0", 1000, 5)?;
    ensure!(calls(&mut pair.a, "fence-peer")? == 0);
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    pair.a.ok("drbdadm secondary r0; sync; sleep 0.5")?;
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn debug_fencing_table_of_a_lost_peer() {
    check(lost_peers("fencing", Driver::Rust, Driver::Rust));
}

#[test]
fn fencing_table_of_a_lost_peer_is_that_of_the_c_driver() {
    check(lost_peers("fencing-c", Driver::C, Driver::Rust));
}

/// Both are Secondary and in sync: the link dies, and node1 attaches anew without it.
fn alone(pair: &mut Pair) -> Result<()> {
    pair.b.ok("drbdadm disconnect --force r0; drbdadm down r0")?;
    pair.a.ok("drbdadm down r0; drbdsetup-84 new-resource r0; drbdsetup-84 new-minor r0 0 0; drbdadm attach r0")?;
    Ok(())
}

/// One row of the second table: promotion of a StandAlone, Consistent node.
fn promotion(pair: &mut Pair, exit: i32, force: bool) -> Result<()> {
    alone(pair)?;
    ensure!(pair.a.ok("drbdadm dstate r0")?.trim() == "Consistent/DUnknown");
    let before = current_uuid(&mut pair.a)?;
    answer(&mut pair.a, "fence-peer", exit)?;
    let ok = matches!(exit, 3 | 4 | 7) || force;
    if ok {
        pair.a.ok(&format!("drbdadm primary{} r0", if force { " --force" } else { "" }))?;
    } else {
        let text = pair.a.exits(17, "drbdadm primary r0")?;
        ensure!(text.contains("(-2)"), "{text}");
    }
    let (state, times) = match (exit, force) {
        (3, _) => ("UpToDate/Inconsistent", 1),
        (4 | 7, _) => ("UpToDate/Outdated", 1),
        (6, _) => ("Outdated/DUnknown", 1),
        (_, true) => ("UpToDate/Outdated", 1),
        _ => ("Consistent/DUnknown", 4),
    };
    ensure!(pair.a.ok("drbdadm dstate r0")?.trim() == state, "{}", pair.a.ok("cat /proc/drbd")?);
    let times_called = calls(&mut pair.a, "fence-peer r0")?;
    ensure!(times_called == times, "the helper was called {times_called} times");
    ensure!((current_uuid(&mut pair.a)? != before) == ok, "rotation");
    if ok {
        pair.a.ok("drbdadm secondary r0")?;
    }
    pair.a.ok("drbdadm down r0 && drbdadm up r0")?;
    pair.b.ok("drbdadm up r0")?;
    pair.wait_synced(60)
}

#[test]
fn fencing_table_of_a_promotion() {
    check(promotions());
}

fn promotions() -> Result<()> {
    let mut options = with_helper("promotion");
    options.disk.push_str(" fencing resource-only;");
    let mut pair = synced_with_helper(&options)?;
    pair.a.ok("drbdadm secondary r0")?;
    for (exit, force) in [(3, false), (4, false), (7, false), (5, false), (6, false), (1, false), (1, true)] {
        promotion(&mut pair, exit, force).with_context(|| format!("exit code {exit}, force {force}"))?;
    }
    // A helper that is slow blocks its own resource only, and may ask about it (parallel requests).
    alone(&mut pair)?;
    pair.a.ok("echo 6 > /tmp/sleep-fence-peer")?;
    answer(&mut pair.a, "fence-peer", 4)?;
    pair.a.ok("(drbdadm primary r0; echo ended) > /tmp/primary 2>&1 &")?;
    pair.a.wait_for(20, "cat /tmp/helper.log", "fence-peer")?;
    pair.a.ok("drbdsetup-84 new-resource other && drbdsetup-84 new-minor other 7 0 && drbdadm dstate r0")?;
    pair.a.ok("drbdsetup-84 secondary 7 && drbdsetup-84 down other")?;
    ensure!(!pair.a.ok("cat /tmp/primary")?.contains("ended"), "the helper had ended before: nothing is proved");
    pair.a.wait_for(30, "cat /tmp/primary", "ended")?;
    ensure!(pair.a.ok("drbdadm role r0")?.trim() == "Primary/Unknown");
    pair.finish()
}
