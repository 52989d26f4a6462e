// SPDX-License-Identifier: GPL-2.0
//! Our tools drive our module and the C module, alone and mixed with Debian's on one pair
//! (issue lines 4 and 6c).

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions};

fn whole_life(name: &str, drivers: [Driver; 2], ours: [bool; 2]) -> Result<()> {
    let mut options = PairOptions::new(name).drivers(drivers[0], drivers[1]);
    options.our_tools = ours;
    let mut pair = Pair::up(&bed(), &options)?;
    for node in [&mut pair.a, &mut pair.b] {
        ensure!(node.ok("drbdadm role r0")?.trim() == "Secondary/Secondary");
        ensure!(node.ok("drbdadm cstate r0")?.trim() == "Connected");
        ensure!(node.ok("drbdadm dstate r0")?.trim() == "Inconsistent/Inconsistent");
    }
    pair.a.exits(17, "drbdadm primary r0")?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(60)?;
    let status = pair.a.ok("drbdadm status r0")?;
    ensure!(
        status == "r0 role:Primary\n  disk:UpToDate\n  peer role:Secondary\n    replication:Established peer-disk:UpToDate\n\n",
        "{status}"
    );
    scribble(&mut pair.a, "/dev/drbd0", 100, 100)?;
    // a changed option is noticed and applied while connected
    pair.a.ok("sed -i 's/connect-int 3/connect-int 5/' /etc/drbd.conf")?;
    ensure!(pair.a.ok("drbdadm -d adjust r0")?.contains("net-options"));
    pair.a.ok("drbdadm adjust r0")?;
    ensure!(pair.a.ok("drbdsetup show r0")?.contains("connect-int     \t5;"));
    ensure!(pair.a.ok("drbdadm -d adjust r0")?.is_empty());
    // disconnect and connect, detach and attach, roles
    pair.b.ok("drbdadm disconnect r0")?;
    pair.a.wait_for(20, "drbdadm cstate r0", "WFConnection")?;
    scribble(&mut pair.a, "/dev/drbd0", 3000, 30)?;
    pair.b.ok("drbdadm connect r0")?;
    pair.wait_synced(40)?;
    pair.b.ok("drbdadm detach r0")?;
    ensure!(pair.b.ok("drbdadm dstate r0")?.trim() == "Diskless/UpToDate");
    pair.b.ok("drbdadm attach r0")?;
    pair.wait_synced(40)?;
    pair.a.ok("drbdadm secondary r0")?;
    pair.b.ok("drbdadm primary r0")?;
    ensure!(pair.b.ok("drbdadm role r0")?.trim() == "Primary/Secondary");
    ensure!(pair.b.exits(20, "drbdadm create-md r0 < /dev/null 2>&1")?.contains("Device '0' is configured!"));
    pair.b.ok("drbdadm secondary r0")?;
    for node in [&mut pair.a, &mut pair.b] {
        let running = node.ok("drbdadm get-gi r0")?;
        node.ok("drbdadm down r0")?;
        node.ok("drbdadm apply-al r0 && drbdadm dump-md r0 | grep -q la-size-sect")?;
        let offline = node.ok("drbdadm get-gi r0")?;
        ensure!(running[..67] == offline[..67], "{running} became {offline}");
        node.ok("rmmod drbd")?;
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn our_tools_drive_our_module_through_its_whole_life() {
    check(whole_life("tools-rust", [Driver::Rust; 2], [true, true]));
}

#[test]
fn our_tools_drive_the_c_module_through_its_whole_life() {
    check(whole_life("tools-c", [Driver::C; 2], [true, true]));
}

#[test]
fn both_tools_and_both_drivers_on_one_pair() {
    check(whole_life("tools-mixed", [Driver::Rust, Driver::C], [false, true]));
}
