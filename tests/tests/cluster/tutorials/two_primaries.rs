// SPDX-License-Identifier: GPL-2.0
//! Tutorial 1: two resources, one with two primaries for OCFS2; every display explained, and
//! the way out of a split brain.

use super::{answering, boot_with, partition, refuses, shows, slowly, watch_sync, Setting};
use crate::ocfs2::with_o2cb;
use crate::{bed, check};
use anyhow::{ensure, Result};
use qemu_testbed::Systems;

const HOSTS: [&str; 2] = ["test-vm03.hyperdc.net", "test-vm04.hyperdc.net"];

#[test]
fn tutorial_1_two_primaries_with_ocfs2_and_a_split_brain() {
    check(tutorial);
}

fn tutorial() -> Result<()> {
    let setting = Setting {
        name: "tutorial-two",
        case: "seed-1-r0-r1",
        hosts: HOSTS,
        networks: [["192.168.1.3", "192.168.1.4"], ["122.213.181.233", "122.213.181.234"]],
        disks_mib: vec![340, 340],
    };
    let mut machines = boot_with(&bed(), &setting, |mut options| {
        // r0 is of the other pair of the text, with short names; the limits of r1 are those for slow machines
        for (name, content) in &mut options.files {
            if name == "etc/drbd.conf" {
                let text = String::from_utf8_lossy(content)
                    .replace("on test03 ", "on test-vm03.hyperdc.net ")
                    .replace("on test04 ", "on test-vm04.hyperdc.net ")
                    .replace("allow-two-primaries;", "allow-two-primaries; ping-timeout 200; timeout 90;");
                *content = text.into_bytes();
            }
        }
        // the nodes by name, on the cable of r1; heartbeat time-outs for slow machines
        Ok(with_o2cb(options, "ocfs2", [(HOSTS[0], "122.213.181.233"), (HOSTS[1], "122.213.181.234")], 121, 120_000))
    })?;
    for vm in [&mut machines.a, &mut machines.b] {
        partition(vm, "/dev/sdb")?;
        vm.ok("pvcreate -qq /dev/sda && vgcreate -qq VG /dev/sda && lvcreate -qq -y -L 200M -n OCFS2 VG")?;
        for resource in ["r0", "r1"] {
            let text = answering(vm, &format!("drbdadm create-md {resource}"), "yes")?;
            ensure!(text.contains("success"), "{text}");
        }
    }
    started_alone(&mut machines)?;
    first_sync(&mut machines)?;
    displays(&mut machines)?;
    split_brain(&mut machines)?;
    two_primaries(&mut machines)?;
    machines.finish()
}

/// The peer is not there yet: the start script waits, and `yes` ends that.
fn started_alone(machines: &mut Systems) -> Result<()> {
    let text = answering(&mut machines.a, "/etc/init.d/drbd start", "yes")?;
    ensure!(text.contains("Starting DRBD resources") && text.contains("To abort waiting enter 'yes'"), "{text}");
    shows(&mut machines.a, "drbdadm cstate r0", &["WFConnection"])?;
    slowly(&mut machines.b, "/etc/init.d/drbd start </dev/null")?;
    Ok(())
}

fn first_sync(machines: &mut Systems) -> Result<()> {
    let a = &mut machines.a;
    refuses(
        a,
        17,
        "drbdadm primary r0 2>&1",
        &["State change failed: (-2)", "Command 'drbdsetup", "terminated with exit code 17"],
    )?;
    a.ok("drbdadm -- -o primary r0")?;
    // -o behind the name is of older tools; those of 8.4 refuse it, ours say what to write
    refuses(a, 1, "drbdadm primary r1 -o 2>&1", &["invalid option -- 'o'", "--force"])?;
    a.ok("drbdadm primary r1 --force")?;
    shows(a, "drbd-overview", &["0:r0/0", "1:r1/0"])?;
    watch_sync(machines)?;
    let a = &mut machines.a;
    a.ok("mkfs.xfs -q /dev/drbd0 && mkdir -p /xfs && mount /dev/drbd0 /xfs && echo first > /xfs/file && sync")?;
    machines.both("drbdadm adjust r1")
}

/// The displays the text explains field by field.
fn displays(machines: &mut Systems) -> Result<()> {
    let a = &mut machines.a;
    shows(
        a,
        "drbd-overview",
        &["0:r0/0", "Connected", "Primary/Secondary", "UpToDate/UpToDate", "A r-----", "/xfs xfs", "1:r1/0", "C r-----"],
    )?;
    shows(
        a,
        "cat /proc/drbd",
        &[" 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate A r-----", "ns:", "nr:", "dw:", "dr:", "al:", "bm:", "lo:", "pe:", "ua:", "ap:", "ep:", "wo:", "oos:0", " 1: cs:"],
    )?;
    refuses(a, 1, "drbdadm dstate 2>&1", &["dstate"])?;
    shows(a, "drbdadm dstate r0", &["UpToDate/UpToDate"])?;
    shows(a, "drbdadm role r0", &["Primary/Secondary"])?;
    shows(a, "drbdadm cstate r0", &["Connected"])?;
    shows(a, "drbdadm state r0 2>&1", &["Primary/Secondary"])?;
    shows(&mut machines.b, "drbdadm role r0", &["Secondary/Primary"])?;
    Ok(())
}

/// Both nodes were Primary without seeing each other; the text's commands repair it.
fn split_brain(machines: &mut Systems) -> Result<()> {
    machines.a.set_link_number(0, false)?;
    for vm in [&mut machines.a, &mut machines.b] {
        vm.wait_for(120, "drbdadm cstate r0", "WFConnection")?;
    }
    machines.a.ok("echo of the first > /xfs/file && sync")?;
    machines.b.ok("drbdadm primary r0 && mkdir -p /xfs && mount /dev/drbd0 /xfs && echo of the second > /xfs/file && umount /xfs")?;
    machines.a.set_link_number(0, true)?;
    machines.a.wait_for(180, "dmesg", "Split-Brain detected")?;
    machines.b.wait_for(60, "dmesg", "Split-Brain detected")?;
    for vm in [&mut machines.a, &mut machines.b] {
        vm.wait_until(60, "drbdadm cstate r0", "the connection is dropped", |t| t.contains("StandAlone") || t.contains("WFConnection"))?;
    }
    // the second gives its changes up
    machines.b.ok("drbdadm secondary r0; drbdadm disconnect r0 2>/dev/null; drbdadm -- --discard-my-data connect r0")?;
    machines.a.ok("test $(drbdadm cstate r0) != StandAlone || drbdadm connect r0")?;
    watch_sync(machines)?;
    shows(&mut machines.a, "cat /xfs/file", &["of the first"])?;
    machines.a.ok("umount /xfs && drbdadm secondary r0")?;
    machines.b.ok("drbdadm primary r0 && mount /dev/drbd0 /xfs")?;
    shows(&mut machines.b, "cat /xfs/file", &["of the first"])?;
    machines.b.ok("umount /xfs && drbdadm secondary r0")?;
    Ok(())
}

/// r1 is Primary on both nodes and carries a file system for both.
fn two_primaries(machines: &mut Systems) -> Result<()> {
    machines.b.ok("drbdadm primary r1")?;
    shows(&mut machines.a, "cat /proc/drbd", &[" 1: cs:Connected ro:Primary/Primary ds:UpToDate/UpToDate C r-----"])?;
    machines.both("systemctl start o2cb.service && mkdir -p /shared")?;
    machines.a.ok("mkfs.ocfs2 -q -N 2 -L shared --cluster-stack=o2cb --cluster-name=ocfs2 -x /dev/drbd1 </dev/null")?;
    machines.both("mount -t ocfs2 /dev/drbd1 /shared")?;
    machines.a.ok("echo one > /shared/of-the-first && sync")?;
    shows(&mut machines.b, "cat /shared/of-the-first", &["one"])?;
    machines.b.ok("echo two > /shared/of-the-second && sync")?;
    shows(&mut machines.a, "cat /shared/of-*", &["one", "two"])?;
    Ok(())
}
