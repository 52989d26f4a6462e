// SPDX-License-Identifier: GPL-2.0
//! Sizes (issue 3 line 5): the smallest and the largest backing devices.

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Pair, PairOptions, Vm};
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
pub fn in_sync(pair: &mut Pair, volumes: usize) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_until(200, "cat /proc/drbd", "in sync", |text| {
            text.matches("cs:Connected").count() == volumes && text.matches("ds:UpToDate/UpToDate").count() == volumes
                && text.matches("oos:0\n").count() == volumes
        })?;
    }
    Ok(())
}

/// A block of both backing devices is the same, and not empty.
pub fn same_block(pair: &mut Pair, left: &str, right: &str, block: u64) -> Result<()> {
    let read = |node: &mut Vm, device: &str| {
        node.ok(&format!("echo 3 > /proc/sys/vm/drop_caches; dd if={device} bs=4k skip={block} count=1 iflag=direct 2>/dev/null | md5sum; \
            dd if={device} bs=4k skip={block} count=1 2>/dev/null | tr -d '\\0' | wc -c"))
    };
    let (left, right) = (read(&mut pair.a, left)?, read(&mut pair.b, right)?);
    ensure!(left == right && !left.ends_with("\n0\n"), "block {block}: {left} {right}");
    Ok(())
}

/// The number of KiB out of sync of a volume.
pub fn out_of_sync(node: &mut Vm, minor: u32) -> Result<u64> {
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
