// SPDX-License-Identifier: GPL-2.0
//! Lost nodes, lost cables, frozen peers, split brain (issue lines 3, 5, 7).

use crate::{attach_again, bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Pair, PairOptions, Vm};
use std::time::Duration;

#[test]
fn a_frozen_peer_is_noticed_and_writes_go_on() {
    check(frozen_peer());
}

fn frozen_peer() -> Result<()> {
    let mut pair = Pair::synced(&bed(), &PairOptions::new("frozen"))?;
    pair.b.freeze(true)?;
    // a write waits for the peer, then for the detection, never for ever
    scribble(&mut pair.a, "/dev/drbd0", 100, 5)?;
    pair.a.wait_for(5, "cat /proc/drbd", "cs:WFConnection")?;
    pair.b.freeze(false)?;
    pair.wait_synced(60)?;
    pair.a.ok("sync; sleep 0.5")?;
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn split_brain_is_detected_and_reported_on_both_nodes() {
    check(split_brain());
}

fn split_brain() -> Result<()> {
    // nobody waits for the other one to close first: that would be four times the ping-timeout (CO-9)
    let mut pair = Pair::synced(&bed(), &PairOptions::new("split-brain").with_net("ping-timeout 300; socket-check-timeout 5; "))?;
    pair.a.ok("drbdadm disconnect r0")?;
    pair.b.ok("drbdadm disconnect r0; drbdadm primary r0")?;
    scribble(&mut pair.a, "/dev/drbd0", 10, 10)?;
    scribble(&mut pair.b, "/dev/drbd0", 20, 10)?;
    pair.b.ok("drbdadm secondary r0; drbdadm connect r0")?;
    pair.a.ok("drbdadm connect r0")?;
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_for(30, "cat /proc/drbd; dmesg | grep -i split-brain", "Split-Brain detected")?;
    }
    pair.a.wait_for(20, "cat /proc/drbd", "cs:StandAlone")?;
    // the administrator's choice: node2's changes are given up
    pair.b.wait_until(20, "cat /proc/drbd", "not connected", |t| {
        t.contains("cs:StandAlone") || t.contains("cs:WFConnection")
    })?;
    pair.b.ok("drbdadm disconnect r0; drbdadm -- --discard-my-data connect r0")?;
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    pair.a.ok("drbdadm secondary r0")?;
    std::thread::sleep(Duration::from_millis(500));
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn plug_pulled_twenty_times_during_writes() {
    check(plug_pulled());
}

/// Each round the Primary loses power while it writes; the survivor takes over, holds every
/// acknowledged write, and the returned node is resynced.
fn plug_pulled() -> Result<()> {
    let mut options = PairOptions::new("plug");
    options.net = "protocol C; connect-int 1; ping-int 1; ping-timeout 10; timeout 20;".into();
    let mut pair = Pair::synced(&bed(), &options)?;
    for round in 0..20u64 {
        let (primary, survivor) = if round % 2 == 0 {
            (&mut pair.a, &mut pair.b)
        } else {
            (&mut pair.b, &mut pair.a)
        };
        // blocks that are acknowledged before the plug is pulled
        let seek = 200 + round * 50;
        scribble(primary, "/dev/drbd0", seek, 20)?;
        let region = format!("dd if=/dev/drbd0 bs=4k skip={seek} count=20 2>/dev/null | md5sum");
        let promised = primary.ok(&region)?;
        primary.start_command(
            "i=0; while :; do i=$((i+1)); dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=$((4000 + i % 9000)) count=3 oflag=direct 2>/dev/null; done",
        )?;
        std::thread::sleep(Duration::from_millis(200 + 37 * (round % 7)));
        primary.power_cut();
        survivor.wait_for(40, "cat /proc/drbd", "cs:WFConnection")?;
        survivor.ok("drbdadm primary r0")?;
        let kept = survivor.ok(&format!("echo 3 > /proc/sys/vm/drop_caches; {region}"))?;
        ensure!(kept == promised, "round {round}: an acknowledged write is lost");
        scribble(survivor, "/dev/drbd0", 14000, 30)?;
        primary.boot()?;
        primary.ok("modprobe drbd && drbdadm up r0")?;
        pair.wait_synced(60)?;
        pair.compare_disks()
            .map_err(|e| e.context(format!("round {round}")))?;
    }
    pair.finish()
}

/// The whole backing disk, through the device mapper.
const WRAPPED: &str = "0 131072 linear /dev/vda 0";

/// Puts a device-mapper target between the node's disk and its resource.
pub fn wrap_disk(node: &mut Vm) -> Result<()> {
    node.ok(&format!(
        "modprobe dm-mod; dmsetup create back --noudevsync --noudevrules --table '{WRAPPED}' && dmsetup mknodes && ls /dev/mapper/back"
    ))?;
    node.ok("sed -i 's#/dev/vda#/dev/mapper/back#' /etc/drbd.conf")?;
    Ok(())
}

#[test]
fn a_failing_disk_is_detached_and_the_peer_serves() {
    check(disk_errors());
}

/// The backing disk turns into one that fails every request: nothing is noticed above the
/// device, and after its replacement only the difference is resynced.
fn disk_errors() -> Result<()> {
    let bed = bed();
    let mut pair = Pair::boot(&bed, &PairOptions::new("io-error"))?;
    wrap_disk(&mut pair.a)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("modprobe drbd && drbdadm -- --force create-md r0 && drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(60)?;
    scribble(&mut pair.a, "/dev/drbd0", 0, 100)?;
    let sum = pair.a.ok("dd if=/dev/drbd0 bs=4k count=100 iflag=direct 2>/dev/null | md5sum")?;
    pair.a.ok("dmsetup suspend back && dmsetup load back --table '0 131072 error' && dmsetup resume back")?;
    // a read that fails here is served by the peer, a write that fails here succeeds there
    ensure!(pair.a.ok("dd if=/dev/drbd0 bs=4k count=100 iflag=direct 2>/dev/null | md5sum")? == sum);
    scribble(&mut pair.a, "/dev/drbd0", 4000, 50)?;
    pair.a.wait_for(20, "cat /proc/drbd", "ds:Diskless/UpToDate")?;
    pair.b.wait_for(20, "cat /proc/drbd", "ds:UpToDate/Diskless")?;
    scribble(&mut pair.a, "/dev/drbd0", 9000, 50)?;
    pair.a.ok(&format!("dmsetup suspend back && dmsetup load back --table '{WRAPPED}' && dmsetup resume back"))?;
    attach_again(&mut pair.a, "r0")?;
    pair.wait_synced(60)?;
    pair.a.ok("sync; drbdadm secondary r0")?;
    std::thread::sleep(Duration::from_millis(500));
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn a_hanging_disk_stops_no_command_for_ever() {
    check(hanging_disk());
}

/// The backing disk does not answer any more: forced detach, the peer takes over, down ends.
fn hanging_disk() -> Result<()> {
    let bed = bed();
    let mut pair = Pair::boot(&bed, &PairOptions::new("hang"))?;
    wrap_disk(&mut pair.a)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("modprobe drbd && drbdadm -- --force create-md r0 && drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(60)?;
    pair.a.ok("dmsetup suspend --noflush --nolockfs back")?;
    pair.a.ok("(dd if=/dev/urandom of=/dev/drbd0 bs=4k count=1 oflag=direct; echo done) > /tmp/dd 2>&1 &")?;
    std::thread::sleep(Duration::from_secs(1));
    pair.a.ok("drbdadm detach --force r0")?;
    pair.a.wait_until(30, "cat /proc/drbd", "detaching or diskless", |t| {
        t.contains("ds:Failed") || t.contains("ds:Diskless")
    })?;
    // the cause ends: everything comes to an end
    pair.a.ok("dmsetup resume back")?;
    pair.a.wait_for(30, "cat /tmp/dd", "done")?;
    pair.a.wait_for(30, "cat /proc/drbd", "ds:Diskless/UpToDate")?;
    attach_again(&mut pair.a, "r0")?;
    pair.wait_synced(60)?;
    pair.a.ok("drbdadm secondary r0 && drbdadm down r0 && rmmod drbd")?;
    pair.finish()
}
