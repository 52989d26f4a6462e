// SPDX-License-Identifier: GPL-2.0
//! Peers whose blocks, limits and kinds of metadata differ, with the C driver as peer; growth that is assumed clean (issue 3 line 5).

use crate::extremes::{in_sync, out_of_sync, same_block};
use crate::{attach_again, bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};

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

/// SZ-15: a disk of larger blocks may fail the last write of the Primary; then it is attached again.
fn taken_or_repaired(primary: &mut Vm, peer: &mut Vm, minor: u32) -> Result<()> {
    let taken = out_of_sync(primary, minor)? == 0;
    println!("the write of 512 bytes to minor {minor} was {}", if taken { "taken" } else { "failed" });
    if !taken {
        peer.wait_for(30, "cat /proc/drbd", "ds:Diskless/UpToDate")?;
        attach_again(peer, &format!("u/{minor}"))?;
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
    for (node, soft) in [(&mut pair.a, 0), (&mut pair.b, 1)] {
        let told = node.ok(&format!("cd /sys/block && cat drbd{soft}/queue/logical_block_size drbd{soft}/queue/discard_max_bytes \
            drbd{0}/queue/logical_block_size drbd{0}/queue/discard_max_bytes", 1 - soft))?;
        ensure!(told == "512\n134217728\n4096\n0\n", "{told}");
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
    // a request smaller than a block of the peer's disk: it does it or fails it there alone, and the disks are equal afterwards
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=512 seek=4097 count=1 oflag=direct 2>&1")?;
    taken_or_repaired(&mut pair.a, &mut pair.b, 0)?;
    in_sync(&mut pair, 3)?;
    equal(&mut pair, BEFORE - 80)?;
    // and the other way round, with the C driver as Primary
    pair.a.ok("drbdadm secondary u")?;
    pair.b.ok("drbdadm primary u && dd if=/dev/urandom of=/dev/drbd1 bs=512 seek=4097 count=1 oflag=direct 2>&1")?;
    taken_or_repaired(&mut pair.b, &mut pair.a, 1)?;
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
