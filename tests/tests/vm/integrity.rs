// SPDX-License-Identifier: GPL-2.0
//! data-integrity-alg (issue line 4): digests in both directions on everything that carries data, with our driver and with the C driver.

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};

const ENDS: &str = "ipv4:10.0.0.1:7788 ipv4:10.0.0.2:7788";

/// Waits until nothing is on its way, then compares both disks.
fn compare(pair: &mut Pair) -> Result<()> {
    for node in [&mut pair.a, &mut pair.b] {
        node.wait_for(40, "sync; cat /proc/drbd", "pe:0 ua:0 ap:0")?;
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    pair.compare_disks()
}

/// The connection has stood since the last call: nothing was refused, nothing resynced behind our back.
fn undisturbed(node: &mut Vm) -> Result<()> {
    let text = node.ok("dmesg | grep -c 'Connected -> ' ; dmesg | grep -i 'integrity check failed\\|ProtocolError' ; true")?;
    ensure!(!text.contains("FAILED") && !text.contains("ProtocolError"), "{text}");
    Ok(())
}

fn integrity(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let options = PairOptions::new(name).drivers(node1, node2).with_net(" data-integrity-alg sha1;");
    let mut pair = Pair::synced(&bed(), &options)?;
    compare(&mut pair)?;
    // writes of all sizes, discards, zero-outs with and without giving up the blocks
    scribble(&mut pair.a, "/dev/drbd0", 0, 100)?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=1M seek=4 count=8 oflag=direct 2>&1")?;
    pair.a.ok("dd if=/dev/urandom of=/dev/drbd0 bs=512 seek=3 count=5 oflag=direct conv=notrunc 2>&1")?;
    pair.a.ok("/usr/sbin/blkdiscard -o 4194304 -l 2097152 /dev/drbd0")?;
    pair.a.ok("/usr/sbin/blkdiscard -z -o 7340032 -l 3145728 /dev/drbd0")?;
    let zero = pair.a.ok("echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/drbd0 bs=1M skip=7 count=3 2>/dev/null | tr -d '\\000' | wc -c")?;
    ensure!(zero.trim() == "0", "{zero} bytes are not zero");
    compare(&mut pair)?;
    // answers to reads and to resync requests carry digests as well
    let before = pair.a.ok("echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/drbd0")?;
    pair.a.ok("drbdadm detach r0")?;
    ensure!(pair.a.ok("echo 3 > /proc/sys/vm/drop_caches; md5sum < /dev/drbd0")? == before);
    scribble(&mut pair.a, "/dev/drbd0", 500, 20)?;
    pair.a.ok("drbdadm attach r0")?;
    pair.wait_synced(60)?;
    for node in [&mut pair.a, &mut pair.b] {
        undisturbed(node)?;
    }
    // each direction changes its algorithm on the live connection, then the other
    pair.a.ok(&format!("drbdsetup net-options {ENDS} --data-integrity-alg=md5"))?;
    scribble(&mut pair.a, "/dev/drbd0", 1000, 50)?;
    pair.b.wait_for(20, "dmesg", "peer data-integrity-alg: md5")?;
    pair.a.ok(&format!("drbdsetup net-options {ENDS} --data-integrity-alg="))?;
    scribble(&mut pair.a, "/dev/drbd0", 1100, 50)?;
    pair.b.wait_for(20, "dmesg", "peer data-integrity-alg: (none)")?;
    pair.a.ok("/usr/sbin/blkdiscard -z -o 12582912 -l 4194304 /dev/drbd0")?;
    compare(&mut pair)?;
    for node in [&mut pair.a, &mut pair.b] {
        undisturbed(node)?;
    }
    // CO-7: without agreement there is no connection
    pair.a.ok("drbdadm disconnect r0; sed -i 's/sha1/md5/' /etc/drbd.conf; drbdadm connect r0")?;
    let said = "incompatible data-integrity-alg settings";
    let noticed = |node: &mut Vm| node.ok("dmesg").map(|text| text.contains(said));
    std::thread::sleep(std::time::Duration::from_secs(4));
    ensure!(noticed(&mut pair.a)? || noticed(&mut pair.b)?, "neither node refuses the other's algorithm");
    for node in [&mut pair.a, &mut pair.b] {
        ensure!(!node.ok("cat /proc/drbd")?.contains("cs:Connected"));
    }
    pair.finish()
}

#[test]
fn debug_data_integrity_rust_rust() {
    check(integrity("integrity-rr", Driver::Rust, Driver::Rust));
}

#[test]
fn data_integrity_rust_c() {
    check(integrity("integrity-rc", Driver::Rust, Driver::C));
}

#[test]
fn data_integrity_c_rust() {
    // Zero-outs of the C driver end the connection between two of its kind; ours reads them as they are.
    check(integrity("integrity-cr", Driver::C, Driver::Rust));
}
