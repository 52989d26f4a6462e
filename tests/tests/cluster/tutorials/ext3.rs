// SPDX-License-Identifier: GPL-2.0
//! Tutorial 3: two servers, one resource r0 on /dev/drbd1, ext3, by hand.

use super::{boot_with, partition, refuses, shows, watch_sync, Setting};
use crate::{bed, check};
use anyhow::Result;

#[test]
fn tutorial_3_by_hand_with_ext3() {
    check(tutorial);
}

fn tutorial() -> Result<()> {
    let setting = Setting {
        name: "tutorial-ext3",
        case: "seed-3-r0",
        hosts: ["DRDB01", "DRDB02"],
        networks: [["192.168.110.22", "192.168.110.23"], ["10.0.1.1", "10.0.1.2"]],
        disks_mib: vec![104, 104],
    };
    let mut machines = boot_with(&bed(), &setting, Ok)?;
    for vm in [&mut machines.a, &mut machines.b] {
        partition(vm, "/dev/sdb")?;
        shows(vm, "modprobe drbd && lsmod | grep drbd", &["drbd "])?;
        // a disk with old content, as the text begins with one
        vm.ok("mkfs.ext3 -q /dev/sdb1")?;
        refuses(
            vm,
            40,
            "drbdadm create-md r0 </dev/null",
            &["Found ext3 filesystem", "Device size would be truncated"],
        )?;
        shows(vm, "dd if=/dev/zero of=/dev/sdb1 bs=1M count=100 2>&1", &["100+0 records"])?;
        shows(
            vm,
            "drbdadm create-md r0 2>&1",
            &["initializing activity log", "New drbd meta data block successfully created."],
        )?;
    }
    // a backing disk that is in use
    let a = &mut machines.a;
    a.ok("mkdir -p /data && dmsetup create other --table '0 2048 linear /dev/sdb1 0'")?;
    refuses(a, 1, "drbdadm up r0 2>&1", &["/dev/sdb1"])?;
    a.ok("dmsetup remove other; drbdadm down r0")?;
    machines.both("drbdadm up r0")?;
    machines.a.wait_for(60, "cat /proc/drbd", " 1: cs:Connected ro:Secondary/Secondary ds:Inconsistent/Inconsistent C r-----")?;
    shows(&mut machines.a, "cat /proc/drbd", &["version: 8.4.11 (api:1/proto:86-101)", " 1: cs:", "ns:", "nr:", "wo:", "oos:"])?;
    machines.a.ok("drbdadm primary --force r0")?;
    watch_sync(&mut machines)?;
    let a = &mut machines.a;
    a.ok("mkfs.ext3 -q /dev/drbd1 && mount /dev/drbd1 /data")?;
    a.ok("for i in 1 2 3 4 5; do echo file $i > /data/$i; done; ls /data")?;
    refuses(a, 11, "drbdadm secondary r0 2>&1", &["State change failed: (-12) Device is held open by someone"])?;
    a.ok("umount /data && drbdadm secondary r0")?;
    let b = &mut machines.b;
    b.ok("drbdadm primary r0 && mkdir -p /data && mount /dev/drbd1 /data")?;
    shows(b, "cat /data/[1-6]", &["file 1", "file 5"])?;
    shows(b, "cat /proc/drbd", &[" 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----"])?;
    // the row of a node that was taken off its peer
    b.ok("drbdadm disconnect r0")?;
    shows(b, "cat /proc/drbd", &[" 1: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----"])?;
    b.ok("echo alone > /data/6; drbdadm connect r0")?;
    watch_sync(&mut machines)?;
    machines.b.ok("umount /data && drbdadm secondary r0")?;
    machines.a.ok("drbdadm primary r0 && mount /dev/drbd1 /data && grep alone /data/6 && umount /data")?;
    machines.finish()
}
