// SPDX-License-Identifier: GPL-2.0
//! Sizes (issue 3 line 5): online grow and shrink, layout of the activity log, metadata that moves, refusals; alone and with the
//! C driver as peer.

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};

/// Sectors of the backing devices at first, and when they have grown.
const SMALL: u64 = 65_536;
const LARGE: u64 = 131_072;
/// What internal metadata leaves of them.
const SMALL_NET: u64 = SMALL - 80;
const LARGE_NET: u64 = LARGE - 80;

/// A pair over device-mapper devices, which can grow while they are open.
fn growing_pair(name: &str, node1: Driver, node2: Driver, disk: &str) -> Result<Pair> {
    let mut options = PairOptions::new(name).drivers(node1, node2);
    options.disk_mib = 96;
    options.disk.push_str(disk);
    let mut pair = Pair::boot(&bed(), &options)?;
    for node in [&mut pair.a, &mut pair.b] {
        map(node, "create", SMALL)?;
        node.ok("sed -i 's#disk /dev/vda#disk /dev/mapper/back#' /etc/drbd.conf; modprobe drbd")?;
        node.ok("drbdadm -- --force create-md r0 2>&1; drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(120)?;
    Ok(pair)
}

/// Makes or changes the device below.
fn map(node: &mut Vm, how: &str, sectors: u64) -> Result<()> {
    let table = format!("0 {sectors} linear /dev/vda 0");
    match how {
        "create" => node.ok(&format!(
            "modprobe dm-mod; dmsetup create back --noudevsync --noudevrules --table '{table}' && dmsetup mknodes && ls /dev/mapper/back"
        ))?,
        _ => node.ok(&format!("dmsetup load back --table '{table}' && dmsetup resume back --noudevsync"))?,
    };
    Ok(())
}

/// Waits until both nodes have this size in KiB and are in sync.
fn settled(pair: &mut Pair, sectors: u64) -> Result<()> {
    pair.wait_synced(90)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_for(30, "cat /sys/block/drbd0/size", &format!("{sectors}\n"))?;
        node.wait_for(30, "sync; cat /proc/drbd", "lo:0 pe:0 ua:0 ap:0")?;
        ensure!(node.ok("cat /proc/drbd")?.contains("oos:0"));
    }
    Ok(())
}

/// The first `sectors` of both backing devices are the same.
fn equal(pair: &mut Pair, sectors: u64) -> Result<()> {
    let sum = format!("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/mapper/back bs=8k count={} iflag=direct 2>/dev/null | md5sum", sectors / 16);
    let (left, right) = (pair.a.ok(&sum)?, pair.b.ok(&sum)?);
    ensure!(left == right, "the disks differ in their first {sectors} sectors");
    Ok(())
}

fn online(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let mut pair = growing_pair(name, node1, node2, "")?;
    settled(&mut pair, SMALL_NET)?;
    // SZ-2: a size that does not fit is kept as a wish and changes nothing
    pair.a.ok("drbdsetup resize 0 --size=300000s")?;
    settled(&mut pair, SMALL_NET)?;
    // SZ-5, SZ-6: an explicit size shrinks while connected, on both nodes
    pair.a.ok("drbdsetup resize 0 --size=40000s")?;
    settled(&mut pair, 40_000)?;
    for node in [&mut pair.a, &mut pair.b] {
        ensure!(node.ok("drbdsetup show r0")?.contains("40000s"));
    }
    pair.a.exits(1, "dd if=/dev/zero of=/dev/drbd0 bs=4k seek=5000 count=1 oflag=direct 2>&1")?;
    // SZ-9: back again; what was beyond the end is synced
    pair.b.ok("dd if=/dev/urandom of=/dev/vda bs=4k seek=6250 count=12 oflag=direct conv=notrunc 2>&1; sync")?;
    pair.a.ok("drbdsetup resize 0")?;
    pair.a.wait_for(30, "dmesg", "Resync of new storage after online grow")?;
    settled(&mut pair, SMALL_NET)?;
    equal(&mut pair, SMALL_NET)?;
    // both devices below grow, with writes under way; the metadata moves to the new ends
    for node in [&mut pair.a, &mut pair.b] {
        map(node, "grow", LARGE)?;
    }
    pair.a.ok("(for i in $(seq 25); do dd if=/dev/urandom of=/dev/drbd0 bs=64k seek=$((i * 7 % 400)) count=2 oflag=direct conv=notrunc 2>/tmp/writer.err || exit 1; done; echo good >/tmp/writer) </dev/null >/dev/null 2>&1 &")?;
    pair.a.ok("drbdsetup resize 0")?;
    pair.a.wait_for(120, "cat /tmp/writer /tmp/writer.err", "good")?;
    settled(&mut pair, LARGE_NET)?;
    scribble(&mut pair.a, "/dev/drbd0", 15_000, 200)?;
    settled(&mut pair, LARGE_NET)?;
    equal(&mut pair, LARGE_NET)?;
    ensure!(pair.a.ok("drbdsetup events2 --now --statistics")?.contains(&format!("size:{}", LARGE_NET / 2)));
    if node1 == Driver::Rust {
        // the old superblock is gone, so no tool takes it for a real one; the C driver leaves it
        let magic = format!("dd if=/dev/mapper/back bs=512 skip={} count=1 iflag=direct 2>/dev/null | hexdump -C | grep -c '83 74 02 6[bc]'; true", SMALL - 8);
        ensure!(pair.a.ok(&magic)?.trim() == "0", "an old superblock is left");
        log_layout(&mut pair)?;
    }
    // the power fails: everything is where the next attach looks for it
    pair.a.power_cut();
    pair.b.wait_for(40, "cat /proc/drbd", "cs:WFConnection")?;
    pair.b.ok("drbdadm primary r0")?;
    scribble(&mut pair.b, "/dev/drbd0", 9_000, 100)?;
    pair.a.boot()?;
    map(&mut pair.a, "create", LARGE)?;
    pair.a.ok("sed -i 's#disk /dev/vda#disk /dev/mapper/back#' /etc/drbd.conf; modprobe drbd; drbdadm up r0")?;
    pair.wait_synced(60)?;
    let now = pair.b.ok("cat /sys/block/drbd0/size")?.trim().parse()?;
    settled(&mut pair, now)?;
    equal(&mut pair, now)?;
    pair.finish()
}

/// SZ-8, SZ-10: another activity log, whose codes stand for what is wrong with it.
fn log_layout(pair: &mut Pair) -> Result<()> {
    for (options, code) in [
        ("--al-stripes=1 --al-stripe-size=16", 168),
        ("--al-stripes=1024 --al-stripe-size=16777216", 167),
        ("--al-stripes=4 --al-stripe-size=64", 170),
        ("--al-stripes=64 --al-stripe-size=1024 --size=40000s", 169),
    ] {
        let text = pair.a.exits(10, &format!("drbdsetup resize 0 {options}"))?;
        ensure!(text.contains(&format!("({code})")), "{options}: {text}");
    }
    pair.a.ok("drbdsetup resize 0 --al-stripes=4 --al-stripe-size=64 --size=120000s")?;
    settled(pair, 120_000)?;
    // the new log works: writes all over the device, each to a cold extent
    for extent in 0..14 {
        scribble(&mut pair.a, "/dev/drbd0", extent * 1024 + 7, 3)?;
    }
    settled(pair, 120_000)?;
    equal(pair, 120_000)
}

#[test]
fn debug_a_pair_grows_shrinks_and_moves_its_metadata_online() {
    check(online("size", Driver::Rust, Driver::Rust));
}

#[test]
fn a_pair_with_a_c_peer_grows_and_shrinks_when_asked_here() {
    check(online("size-rc", Driver::Rust, Driver::C));
}

#[test]
fn a_pair_with_a_c_peer_grows_and_shrinks_when_asked_there() {
    check(online("size-cr", Driver::C, Driver::Rust));
}
