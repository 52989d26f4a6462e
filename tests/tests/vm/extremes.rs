// SPDX-License-Identifier: GPL-2.0
//! Sizes (issue 3 line 5): the smallest and the largest backing devices, and devices whose blocks and limits differ.

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};
use std::time::{Duration, Instant};

/// Blocks of 4 KiB in 16 TiB, and the same in sectors.
const LARGE_BLOCKS: u64 = 1 << 32;
const LARGE: u64 = LARGE_BLOCKS * 8;
/// Sectors that internal metadata leaves of 1 MiB.
const SMALL_NET: u64 = 2048 - 80;

/// Volume 0 has 16 TiB of data exactly: a file system in memory holds what is written of it; the metadata, half a GiB, is on a disk of its own at
/// one node and behind the data at the other. Volume 1 has 1 MiB, metadata internal and in a slot.
const LARGEST: &str = "global { usage-count no; }
resource big {
 net { protocol C; connect-int 3; ping-int 10; ping-timeout 100; timeout 600; }
 disk { c-plan-ahead 0; resync-rate 200M; }
 on node1 { address 10.0.0.1:7790;
  volume 0 { device minor 0; disk /dev/loop0; flexible-meta-disk /dev/vda; }
  volume 1 { device minor 1; disk /dev/loop1; meta-disk internal; }
 }
 on node2 { address 10.0.0.2:7790;
  volume 0 { device minor 0; disk /dev/mapper/back; meta-disk internal; }
  volume 1 { device minor 1; disk /dev/loop1; meta-disk /dev/vdb[0]; }
 }
}
";

/// The backing devices of [`LARGEST`].
const FILES: &str = "modprobe loop; modprobe dm-mod; mkdir -p /big && mount -t tmpfs -o size=64m tmpfs /big && truncate -s 17592186044416 /big/large && \
    truncate -s 1048576 /big/small && losetup /dev/loop0 /big/large && losetup /dev/loop1 /big/small";

/// Runs a long command on both nodes at once, and says how long it took.
fn both(pair: &mut Pair, what: &str, command: &str) -> Result<()> {
    let begun = Instant::now();
    for node in [&mut pair.a, &mut pair.b] {
        node.start_command(command)?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        let done = node.finish_command(Duration::from_secs(600))?;
        ensure!(done.code == 0, "{what}: {}", done.text);
    }
    println!("{what}: {:.1} s", begun.elapsed().as_secs_f32());
    Ok(())
}

/// Waits until every volume is in sync.
fn in_sync(pair: &mut Pair, volumes: usize) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_until(200, "cat /proc/drbd", "in sync", |text| {
            text.matches("cs:Connected").count() == volumes && text.matches("ds:UpToDate/UpToDate").count() == volumes
                && text.matches("oos:0\n").count() == volumes
        })?;
    }
    Ok(())
}

/// A block of both backing devices is the same, and not empty.
fn same_block(pair: &mut Pair, left: &str, right: &str, block: u64) -> Result<()> {
    let read = |node: &mut Vm, device: &str| {
        node.ok(&format!("echo 3 > /proc/sys/vm/drop_caches; dd if={device} bs=4k skip={block} count=1 iflag=direct 2>/dev/null | md5sum; \
            dd if={device} bs=4k skip={block} count=1 2>/dev/null | tr -d '\\0' | wc -c"))
    };
    let (left, right) = (read(&mut pair.a, left)?, read(&mut pair.b, right)?);
    ensure!(left == right && !left.ends_with("\n0\n"), "block {block}: {left} {right}");
    Ok(())
}

/// The number of KiB out of sync of a volume.
fn out_of_sync(node: &mut Vm, minor: u32) -> Result<u64> {
    let text = node.ok(&format!("grep -A1 '^ *{minor}: ' /proc/drbd"))?;
    let number = text.split("oos:").nth(1).unwrap_or("").split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    Ok(number.parse().unwrap_or(u64::MAX))
}

#[test]
fn devices_of_one_mib_and_of_sixteen_tib_attach_skip_the_first_sync_resync_and_detach() {
    check(largest());
}

fn largest() -> Result<()> {
    let mut options = PairOptions::new("largest");
    (options.disk_mib, options.disks) = (544, 2);
    options.our_tools = [false, true];
    options.files = vec![("root/big.conf".into(), LARGEST.into())];
    let mut pair = Pair::boot(&bed(), &options)?;
    both(&mut pair, "devices", FILES)?;
    let table = format!("printf '0 {LARGE} linear /dev/loop0 0\\n{LARGE} 1114112 linear /dev/vda 0\\n'");
    pair.b.ok(&format!("{table} | dmsetup create back --noudevsync --noudevrules && dmsetup mknodes && ls /dev/mapper/back"))?;
    both(&mut pair, "create-md", "modprobe drbd; cp /root/big.conf /etc/drbd.conf; drbdadm -- --force create-md big 2>&1")?;
    both(&mut pair, "attach for the first time", "drbdadm up big 2>&1")?;
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_until(60, "cat /proc/drbd", "connected", |text| text.matches("cs:Connected").count() == 2)?;
        let sizes = node.ok("cat /sys/block/drbd0/size /sys/block/drbd1/size")?;
        ensure!(sizes == format!("{LARGE}\n{SMALL_NET}\n"), "{sizes}");
    }
    // 2^32 bits, all set
    let found = out_of_sync(&mut pair.a, 0)?;
    ensure!(found == LARGE_BLOCKS * 4, "{found} KiB out of sync");
    // UU-13: no resync of 16 TiB
    for minor in [0, 1] {
        let begun = Instant::now();
        pair.a.ok(&format!("drbdsetup-84 new-current-uuid {minor} --clear-bitmap"))?;
        println!("new-current-uuid --clear-bitmap of minor {minor}: {:.1} s", begun.elapsed().as_secs_f32());
    }
    in_sync(&mut pair, 2)?;
    pair.a.ok("drbdadm primary big")?;
    // the first and the last block, and the middle
    let small_end = SMALL_NET / 8 - 1;
    for block in [0, LARGE_BLOCKS / 2, LARGE_BLOCKS - 1] {
        scribble(&mut pair.a, "/dev/drbd0", block, 1)?;
    }
    for block in [0, small_end] {
        scribble(&mut pair.a, "/dev/drbd1", block, 1)?;
    }
    pair.a.exits(1, &format!("dd if=/dev/zero of=/dev/drbd0 bs=4k seek={LARGE_BLOCKS} count=1 oflag=direct 2>&1"))?;
    pair.a.exits(1, &format!("dd if=/dev/zero of=/dev/drbd1 bs=4k seek={} count=1 oflag=direct 2>&1", small_end + 1))?;
    // alone: the first blocks, across the middle, the last 64 blocks; they are still known after a detach
    pair.b.ok("drbdadm down big")?;
    pair.a.wait_for(60, "cat /proc/drbd", "cs:WFConnection")?;
    for (block, count) in [(7, 3), (LARGE_BLOCKS / 2 - 1, 2), (LARGE_BLOCKS - 64, 64)] {
        scribble(&mut pair.a, "/dev/drbd0", block, count)?;
    }
    scribble(&mut pair.a, "/dev/drbd1", small_end - 9, 10)?;
    for round in 0..2 {
        for (minor, wanted) in [(0, 69 * 4), (1, 10 * 4)] {
            let found = out_of_sync(&mut pair.a, minor)?;
            ensure!(found == wanted, "round {round}: minor {minor} has {found} KiB out of sync, not {wanted}");
        }
        if round == 0 {
            pair.a.ok("drbdadm secondary big && drbdadm detach big")?;
            pair.a.wait_until(60, "cat /proc/drbd", "detached", |text| text.matches("ds:Diskless").count() == 2)?;
            let begun = Instant::now();
            pair.a.ok("drbdadm apply-al big && drbdadm attach big")?;
            println!("attach: {:.1} s", begun.elapsed().as_secs_f32());
        }
    }
    pair.b.ok("drbdadm up big")?;
    in_sync(&mut pair, 2)?;
    // the other way: written there, with what a crash leaves in the activity log
    pair.b.ok("drbdadm primary big")?;
    for block in [1, LARGE_BLOCKS / 4, LARGE_BLOCKS - 2] {
        scribble(&mut pair.b, "/dev/drbd0", block, 1)?;
    }
    pair.b.ok("drbdadm secondary big")?;
    for block in [0, 1, 7, LARGE_BLOCKS / 4, LARGE_BLOCKS / 2 - 1, LARGE_BLOCKS / 2, LARGE_BLOCKS - 64, LARGE_BLOCKS - 2, LARGE_BLOCKS - 1] {
        same_block(&mut pair, "/dev/loop0", "/dev/mapper/back", block)?;
    }
    for block in [0, small_end - 9, small_end] {
        same_block(&mut pair, "/dev/loop1", "/dev/loop1", block)?;
    }
    both(&mut pair, "down", "drbdadm down big && rmmod drbd")?;
    pair.finish()
}

/// Sectors of the backing devices of [`unequal`] at first, and when they have grown.
const BEFORE: u64 = 65_536;
const AFTER: u64 = 98_304;

/// Volume 0: blocks of 512 bytes, discards and flexible metadata on one node, blocks of 4096 bytes, requests of 8 KiB at most, no discards and
/// internal metadata on the other; volume 1 the other way round; volume 2: a metadata slot and flexible metadata.
const UNEQUAL: &str = "global { usage-count no; }
resource u {
 net { protocol C; connect-int 3; ping-int 3; ping-timeout 20; timeout 60; }
 disk { c-plan-ahead 0; resync-rate 200M; }
 on node1 { address 10.0.0.1:7790;
  volume 0 { device minor 0; disk /dev/mapper/soft; flexible-meta-disk /dev/mapper/meta; }
  volume 1 { device minor 1; disk /dev/mapper/hard; meta-disk internal; }
  volume 2 { device minor 2; disk /dev/mapper/more; meta-disk /dev/vdb[0]; }
 }
 on node2 { address 10.0.0.2:7790;
  volume 0 { device minor 0; disk /dev/mapper/hard; meta-disk internal; }
  volume 1 { device minor 1; disk /dev/mapper/soft; flexible-meta-disk /dev/mapper/meta; }
  volume 2 { device minor 2; disk /dev/mapper/more; flexible-meta-disk /dev/vdb; }
 }
}
";

/// Makes or grows the devices.
fn slices(node: &mut Vm, how: &str, sectors: u64) -> Result<()> {
    for (name, device, at) in [("soft", "/dev/vda", 0), ("hard", "/dev/nullb0", 0), ("more", "/dev/vda", 131_072), ("meta", "/dev/vda", 262_144)] {
        let table = format!("0 {sectors} linear {device} {at}");
        node.ok(&match how {
            "create" => format!("dmsetup create {name} --noudevsync --noudevrules --table '{table}' && dmsetup mknodes && ls /dev/mapper/{name}"),
            _ => format!("dmsetup load {name} --table '{table}' && dmsetup resume {name} --noudevsync"),
        })?;
    }
    Ok(())
}

/// What lies behind a volume on node1 and on node2.
const BEHIND: [(&str, &str); 3] = [("soft", "hard"), ("hard", "soft"), ("more", "more")];

/// The first `sectors` of both backing devices of each volume are the same.
fn equal(pair: &mut Pair, sectors: u64) -> Result<()> {
    for (left, right) in BEHIND {
        let sum = |name: &str| format!("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/mapper/{name} bs=4k count={} iflag=direct 2>/dev/null | md5sum", sectors / 8);
        let (a, b) = (pair.a.ok(&sum(left))?, pair.b.ok(&sum(right))?);
        ensure!(a == b, "{left} and {right} differ in their first {sectors} sectors");
    }
    Ok(())
}

#[test]
fn peers_with_other_block_sizes_limits_and_metadata_replicate_and_grow_assumed_clean_beside_the_c_driver() {
    check(unequal());
}

fn unequal() -> Result<()> {
    let mut options = PairOptions::new("unequal").drivers(Driver::Rust, Driver::C);
    (options.disk_mib, options.disks) = (256, 2);
    options.files = vec![("root/u.conf".into(), UNEQUAL.into())];
    let mut pair = Pair::boot(&bed(), &options)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("modprobe dm-mod; modprobe null_blk nr_devices=1 memory_backed=1 bs=4096 gb=1 max_sectors=16 discard=0 && cp /root/u.conf /etc/drbd.conf")?;
        slices(node, "create", BEFORE)?;
        node.ok("modprobe drbd; drbdadm -- --force create-md u 2>&1; drbdadm up u")?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_until(40, "cat /proc/drbd", "connected", |text| text.matches("cs:Connected").count() == 3)?;
        let sizes = node.ok("cat /sys/block/drbd?/size")?;
        ensure!(sizes == format!("{0}\n{0}\n{BEFORE}\n", BEFORE - 80), "{sizes}");
    }
    pair.a.ok("for m in 0 1 2; do drbdsetup-84 new-current-uuid $m --clear-bitmap || exit 1; done")?;
    in_sync(&mut pair, 3)?;
    pair.a.ok("drbdadm primary u")?;
    // SZ-14: what the local disk can do, SZ-15: not what the peer's can
    let limits = "cd /sys/block/drbd$m/queue && cat logical_block_size discard_max_bytes";
    for node in [&mut pair.a, &mut pair.b] {
        let told: Vec<String> = [0, 1].map(|m| node.ok(&format!("m={m}; {limits}"))).into_iter().collect::<Result<_>>()?;
        println!("{}: {told:?}", node.options.name);
    }
    for minor in 0..3 {
        pair.a.ok(&format!("dd if=/dev/urandom of=/dev/drbd{minor} bs=1M count=6 oflag=direct 2>&1"))?;
        scribble(&mut pair.a, &format!("/dev/drbd{minor}"), (BEFORE - 80) / 8 - 3, 3)?;
    }
    // a discard that the peer's disk does not know is written there as zeros
    pair.a.ok("blkdiscard -o 1048576 -l 2097152 /dev/drbd0")?;
    pair.a.exits(1, "blkdiscard -o 1048576 -l 2097152 /dev/drbd1 2>&1")?;
    in_sync(&mut pair, 3)?;
    equal(&mut pair, BEFORE - 80)?;
    // a request too small for the peer's disk fails there alone
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=512 seek=4097 count=1 oflag=direct 2>&1")?;
    pair.a.wait_for(30, "cat /proc/drbd", "ds:UpToDate/Diskless")?;
    pair.b.ok("drbdadm attach u/0")?;
    in_sync(&mut pair, 3)?;
    equal(&mut pair, BEFORE - 80)?;
    // and the other way round, with the C driver as Primary
    pair.a.ok("drbdadm secondary u")?;
    pair.b.ok("drbdadm primary u && dd if=/dev/urandom of=/dev/drbd1 bs=512 seek=4097 count=1 oflag=direct 2>&1")?;
    pair.b.wait_for(30, "cat /proc/drbd", "ds:UpToDate/Diskless")?;
    pair.a.ok("drbdadm attach u/1")?;
    in_sync(&mut pair, 3)?;
    pair.b.ok("blkdiscard -o 3145728 -l 1048576 /dev/drbd1")?;
    equal(&mut pair, BEFORE - 80)?;
    // a C driver forgets the last 64 bits of volume 2 (their number is a multiple of 64) when it attaches; it is sent them all the same, as ours
    // keeps its own across an attach
    pair.b.ok("drbdadm secondary u && drbdadm down u")?;
    pair.a.ok("drbdadm primary u")?;
    scribble(&mut pair.a, "/dev/drbd2", BEFORE / 8 - 64, 64)?;
    pair.a.ok("drbdadm secondary u && drbdadm detach u/2 && drbdadm apply-al u/2 && drbdadm attach u/2")?;
    ensure!(out_of_sync(&mut pair.a, 2)? == 256);
    pair.b.ok("drbdadm up u")?;
    in_sync(&mut pair, 3)?;
    equal(&mut pair, BEFORE - 80)?;
    for block in [BEFORE / 8 - 64, BEFORE / 8 - 1] {
        same_block(&mut pair, "/dev/mapper/more", "/dev/mapper/more", block)?;
    }
    pair.b.ok("drbdadm primary u")?;
    // SZ-9: the new area is assumed clean, whichever node is asked and wherever the metadata is
    for node in [&mut pair.a, &mut pair.b] {
        slices(node, "grow", AFTER)?;
    }
    let beyond = (BEFORE + 8000) / 8;
    scribble(&mut pair.a, "/dev/mapper/more", beyond, 4)?;
    pair.a.ok("drbdsetup resize 0 --assume-clean && drbdsetup resize 2 --assume-clean")?;
    pair.b.ok("drbdsetup resize 1 --assume-clean")?;
    for node in [&mut pair.a, &mut pair.b] {
        let wanted = format!("{0}\n{0}\n{AFTER}\n", AFTER - 80);
        node.wait_for(30, "cat /sys/block/drbd?/size", &wanted)?;
        node.wait_until(30, "dmesg", "suppressed", |text| text.matches("suppressed with --assume-clean").count() == 3)?;
        ensure!(!node.ok("dmesg")?.contains("Resync of new storage after online grow"));
    }
    in_sync(&mut pair, 3)?;
    let block = format!("dd if=/dev/mapper/more bs=4k skip={beyond} count=4 iflag=direct 2>/dev/null | md5sum");
    ensure!(pair.a.ok(&block)? != pair.b.ok(&block)?, "a resync took place");
    scribble(&mut pair.b, "/dev/drbd2", beyond, 4)?;
    for minor in 0..3 {
        scribble(&mut pair.b, &format!("/dev/drbd{minor}"), (BEFORE - 80) / 8, 10)?;
        scribble(&mut pair.b, &format!("/dev/drbd{minor}"), (AFTER - 80) / 8 - 5, 5)?;
    }
    pair.b.ok("drbdadm secondary u")?;
    in_sync(&mut pair, 3)?;
    for (left, right) in BEHIND {
        for block in [beyond, (AFTER - 80) / 8 - 1] {
            if block != beyond || left == "more" {
                same_block(&mut pair, &format!("/dev/mapper/{left}"), &format!("/dev/mapper/{right}"), block)?;
            }
        }
    }
    // the metadata is found where it is now
    pair.a.ok("drbdadm down u && drbdadm up u")?;
    in_sync(&mut pair, 3)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdadm down u && rmmod drbd")?;
    }
    pair.finish()
}
