// SPDX-License-Identifier: GPL-2.0
//! The C driver as peer, and its disks under ours and back (issue line 6).

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions};

/// node1 Primary and sync source, then a cut with writes and a bitmap resync, then node2.
fn interop(name: &str, node1: Driver, node2: Driver, net: &str) -> Result<()> {
    let mut options = PairOptions::new(name).drivers(node1, node2);
    options.net = options.net.replace("protocol C;", net);
    let mut pair = Pair::synced(&bed(), &options)?;
    let compare = |pair: &mut Pair| -> Result<()> {
        for node in [&mut pair.a, &mut pair.b] {
            node.wait_for(20, "sync; cat /proc/drbd", "pe:0 ua:0 ap:0")?;
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        pair.compare_disks()
    };
    compare(&mut pair)?;
    scribble(&mut pair.a, "/dev/drbd0", 0, 300)?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=1M seek=10 count=10 oflag=direct 2>&1")?;
    compare(&mut pair)?;
    // the cable is pulled: noticed by ping, written on, resynced by bitmap
    pair.a.set_link(false)?;
    for seek in [0u64, 1, 17, 4000, 4001, 9000, 16000] {
        scribble(&mut pair.a, "/dev/drbd0", seek, 1)?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_for(40, "cat /proc/drbd", "cs:WFConnection")?;
    }
    pair.a.set_link(true)?;
    pair.wait_synced(60)?;
    ensure!(pair.a.ok("cat /proc/drbd")?.contains("oos:0"));
    compare(&mut pair)?;
    // the other way round
    pair.a.ok("drbdadm secondary r0")?;
    pair.b.ok("drbdadm primary r0")?;
    scribble(&mut pair.b, "/dev/drbd0", 2000, 100)?;
    pair.a.ok("drbdadm disconnect r0")?;
    pair.b.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    scribble(&mut pair.b, "/dev/drbd0", 7000, 100)?;
    if net == "protocol C;" {
        // a node that looks at its sockets for 8 s, and one that would not wait for half of that: of the C driver two such never connect
        pair.a.ok("sed -i 's/ping-timeout [0-9]*;/ping-timeout 80;/' /etc/drbd.conf")?;
    }
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    compare(&mut pair)?;
    for node in [&mut pair.b, &mut pair.a] {
        node.ok("drbdadm secondary r0 && drbdadm down r0 && rmmod drbd")?;
    }
    pair.finish()
}

#[test]
fn rust_source_c_target_protocol_c() {
    check(interop("rust-c-C", Driver::Rust, Driver::C, "protocol C;"));
}

#[test]
fn c_source_rust_target_protocol_c() {
    check(interop("c-rust-C", Driver::C, Driver::Rust, "protocol C;"));
}

#[test]
fn rust_source_c_target_protocol_a() {
    check(interop("rust-c-A", Driver::Rust, Driver::C, "protocol A;"));
}

#[test]
fn c_source_rust_target_protocol_a_plain_bitmap() {
    check(interop("c-rust-A", Driver::C, Driver::Rust, "protocol A; use-rle no;"));
}

#[test]
fn rust_source_c_target_authenticated_plain_bitmap() {
    let net = "protocol B; use-rle no; cram-hmac-alg sha1; shared-secret secret;";
    check(interop("rust-c-B", Driver::Rust, Driver::C, net));
}

#[test]
fn a_crashed_disk_changes_drivers_without_losing_anything() {
    check(swap());
}

/// Written under one driver, plug pulled, attached under the other: the data and the bits of
/// what the absent peer lacks are all there; both ways.
fn swap() -> Result<()> {
    let bed = bed();
    for (first, second) in [(Driver::Rust, Driver::C), (Driver::C, Driver::Rust)] {
        let options = PairOptions::new("swap").drivers(first, Driver::C);
        let mut pair = Pair::synced(&bed, &options)?;
        pair.b.power_cut();
        pair.a.wait_for(40, "cat /proc/drbd", "cs:WFConnection")?;
        for seek in [5u64, 6000, 15000] {
            scribble(&mut pair.a, "/dev/drbd0", seek, 20)?;
        }
        let sum = pair.a.ok("md5sum < /dev/drbd0")?;
        pair.a.power_cut();
        pair.a.options.module = match second {
            Driver::Rust => bed.module.clone(),
            Driver::C => bed.c_module(),
        };
        pair.a.boot()?;
        pair.a.ok("modprobe drbd && drbdadm up r0 && drbdadm primary r0")?;
        ensure!(pair.a.ok("md5sum < /dev/drbd0")? == sum, "data changed from {first:?} to {second:?}");
        pair.b.boot()?;
        pair.b.ok("modprobe drbd && drbdadm up r0")?;
        pair.wait_synced(60)?;
        pair.a.ok("drbdadm secondary r0")?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        pair.compare_disks()?;
        pair.finish()?;
    }
    Ok(())
}
