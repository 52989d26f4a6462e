// SPDX-License-Identifier: GPL-2.0
//! Two nodes with our driver: sync, protocols, roles, disconnects (issue line 3).

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Pair, PairOptions};

/// Writes of several sizes at the device's both ends, then both disks must be equal.
fn write_and_compare(pair: &mut Pair) -> Result<()> {
    scribble(&mut pair.a, "/dev/drbd0", 0, 200)?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=1M seek=10 count=20 oflag=direct 2>&1")?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=64k seek=700 count=300 2>&1; sync")?;
    settle(pair)?;
    pair.compare_disks()
}

/// With protocols A and B the last writes may still be on their way.
fn settle(pair: &mut Pair) -> Result<()> {
    pair.a.wait_for(20, "cat /proc/drbd", "lo:0 pe:0 ua:0 ap:0")?;
    pair.b.wait_for(20, "cat /proc/drbd", "lo:0 pe:0 ua:0 ap:0")?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("sync; sleep 0.3")?;
    }
    Ok(())
}

fn protocol(letter: &str) -> Result<()> {
    let mut options = PairOptions::new(&format!("protocol-{letter}"));
    options.net = options.net.replace("protocol C", &format!("protocol {letter}"));
    let mut pair = Pair::synced(&bed(), &options)?;
    ensure!(pair.a.ok("cat /proc/drbd")?.contains(&format!(" {letter} r-----")));
    write_and_compare(&mut pair)?;
    pair.finish()
}

#[test]
fn protocol_a_mirrors_every_write() {
    check(protocol("A"));
}

#[test]
fn protocol_b_mirrors_every_write() {
    check(protocol("B"));
}

#[test]
fn debug_protocol_c_full_sync_writes_roles_disconnect_resync() {
    check(all_of_c());
}

fn all_of_c() -> Result<()> {
    let mut pair = Pair::synced(&bed(), &PairOptions::new("protocol-c"))?;
    write_and_compare(&mut pair)?;
    // a graceful disconnect, writes, and the resync of just those
    pair.b.ok("drbdadm disconnect r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    scribble(&mut pair.a, "/dev/drbd0", 3000, 50)?;
    scribble(&mut pair.a, "/dev/drbd0", 12000, 50)?;
    let shown = pair.a.ok("cat /proc/drbd")?;
    ensure!(shown.contains("oos:400"), "not 400 KiB out of sync: {shown}");
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(40)?;
    settle(&mut pair)?;
    pair.compare_disks()?;
    // the other direction
    pair.a.ok("drbdadm secondary r0")?;
    pair.b.ok("drbdadm primary r0")?;
    scribble(&mut pair.b, "/dev/drbd0", 100, 100)?;
    settle(&mut pair)?;
    pair.compare_disks()?;
    // both demoted, both down, module gone
    for node in [&mut pair.b, &mut pair.a] {
        node.ok("drbdadm secondary r0 && drbdadm down r0 && rmmod drbd")?;
    }
    pair.finish()
}

#[test]
fn writes_during_a_resync_end_up_on_both_disks() {
    check(write_during_resync());
}

fn write_during_resync() -> Result<()> {
    let mut options = PairOptions::new("resync-writes");
    options.disk = "c-plan-ahead 0; resync-rate 1M;".into();
    let mut pair = Pair::up(&bed(), &options)?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:SyncSource")?;
    let text = pair.a.wait_for(20, "cat /proc/drbd", "sync'ed:")?;
    ensure!(text.contains("finish:") && text.contains("K/sec"), "{text}");
    for round in 0..8u64 {
        scribble(&mut pair.a, "/dev/drbd0", round * 2000, 40)?;
    }
    ensure!(
        pair.a.ok("cat /proc/drbd")?.contains("cs:SyncSource"),
        "the resync was over before the writes"
    );
    pair.a.ok("drbdsetup disk-options 0 --c-plan-ahead=0 --resync-rate=100M")?;
    pair.wait_synced(60)?;
    settle(&mut pair)?;
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn shared_secret_is_asked_for_and_a_wrong_one_is_refused() {
    check(authentication());
}

fn authentication() -> Result<()> {
    let options = PairOptions::new("auth").with_net(" cram-hmac-alg sha256; shared-secret \"correct horse\";");
    let mut pair = Pair::up(&bed(), &options)?;
    pair.b.ok("drbdadm disconnect r0")?;
    pair.b.ok("sed -i 's/correct horse/wrong horse/' /etc/drbd.conf && drbdadm connect r0")?;
    std::thread::sleep(std::time::Duration::from_secs(3));
    for node in [&mut pair.a, &mut pair.b] {
        let text = node.ok("cat /proc/drbd")?;
        ensure!(!text.contains("cs:Connected"), "{text}");
    }
    pair.finish()
}

#[test]
fn a_diskless_primary_reads_and_writes_through_its_peer() {
    check(diskless());
}

fn diskless() -> Result<()> {
    let mut pair = Pair::synced(&bed(), &PairOptions::new("diskless"))?;
    scribble(&mut pair.a, "/dev/drbd0", 0, 500)?;
    let before = pair.a.ok("md5sum < /dev/drbd0")?;
    pair.a.ok("drbdadm detach r0")?;
    ensure!(pair.a.ok("drbdadm dstate r0")?.trim() == "Diskless/UpToDate");
    let drop_caches = "echo 3 > /proc/sys/vm/drop_caches";
    ensure!(pair.a.ok(&format!("{drop_caches}; md5sum < /dev/drbd0"))? == before);
    scribble(&mut pair.a, "/dev/drbd0", 700, 100)?;
    let after = pair.a.ok(&format!("{drop_caches}; md5sum < /dev/drbd0"))?;
    ensure!(after != before);
    pair.a.ok("drbdadm attach r0")?;
    pair.wait_synced(40)?;
    ensure!(pair.a.ok(&format!("{drop_caches}; md5sum < /dev/drbd0"))? == after);
    settle(&mut pair)?;
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn discards_and_zeroes_reach_both_disks() {
    check(discards());
}

fn discards() -> Result<()> {
    let mut pair = Pair::synced(&bed(), &PairOptions::new("discard"))?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=1M count=60 oflag=direct 2>&1")?;
    ensure!(pair.a.ok("cat /sys/block/drbd0/queue/discard_max_bytes")?.trim() != "0");
    pair.a.ok("/usr/sbin/blkdiscard -o 1048576 -l 9437184 /dev/drbd0")?;
    pair.a.ok("/usr/sbin/blkdiscard -z -o 20971520 -l 12582912 /dev/drbd0")?;
    // not aligned to anything but sectors
    pair.a.ok("/usr/sbin/blkdiscard -o 41943552 -l 1049088 /dev/drbd0")?;
    let zero = pair.a.ok("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/drbd0 bs=1M skip=20 count=12 2>/dev/null | tr -d '\\000' | wc -c")?;
    ensure!(zero.trim() == "0", "{zero} bytes are not zero");
    settle(&mut pair)?;
    pair.compare_disks()?;
    // a file system with online discard
    pair.a.ok("/usr/sbin/mke2fs -q -F -t ext4 /dev/drbd0 && mkdir -p /m && mount -o discard /dev/drbd0 /m && cp -a /usr/sbin /m && sync && rm -rf /m/sbin && sync && /usr/sbin/fstrim /m && umount /m && /usr/sbin/e2fsck -fn /dev/drbd0")?;
    settle(&mut pair)?;
    pair.compare_disks()?;
    pair.finish()
}
