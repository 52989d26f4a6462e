// SPDX-License-Identifier: GPL-2.0
//! Several volumes in one connection, over IPv6, beside the C driver; and 256 resources at once (issue 3 line 7).

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Driver, Pair, PairOptions, Vm};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// A command that cuts `count` pieces of `sectors` from /dev/vda, named with `prefix` and a number.
fn slices(prefix: &str, count: u64, sectors: u64) -> Vec<u8> {
    let one = |n: u64| format!("{prefix}{n},,,rw,0 {sectors} linear /dev/vda {}", n * sectors);
    let all: Vec<String> = (0..count).map(one).collect();
    format!("modprobe dm-mod; dmsetup create --noudevsync --noudevrules --concise '{}' && dmsetup mknodes\n", all.join(";")).into_bytes()
}

/// The data of a piece, without its metadata.
fn digest(vm: &mut Vm, piece: &str, kib: u64) -> Result<String> {
    vm.ok(&format!("dd if=/dev/mapper/{piece} bs=1k count={kib} iflag=direct 2>/dev/null | md5sum"))
}

/// Volume numbers with a gap, and their minors.
const VOLUMES: [(u16, u32); 3] = [(0, 10), (1, 11), (7, 12)];

fn three_volumes(options: &PairOptions) -> Vec<u8> {
    let mut text = format!("global {{ usage-count no; }}\nresource v {{\n net {{ {} }}\n disk {{ {} }}\n", options.net, options.disk);
    for (place, (volume, minor)) in VOLUMES.iter().enumerate() {
        let _ = writeln!(text, " volume {volume} {{ device minor {minor}; disk /dev/mapper/v{place}; meta-disk internal; }}");
    }
    for own in [1, 2] {
        let _ = writeln!(text, " on node{own} {{ address ipv6 [fd00::{own}]:7799; }}");
    }
    text.push_str("}\n");
    text.into_bytes()
}

#[test]
fn three_volumes_share_a_connection_over_ipv6_with_the_c_driver() {
    check(volumes());
}

fn volumes() -> Result<()> {
    let mut options = PairOptions::new("volumes").drivers(Driver::Rust, Driver::C);
    options.files = vec![("root/v.conf".into(), three_volumes(&options)), ("root/slices".into(), slices("v", 3, 32768))];
    let mut pair = Pair::boot(&bed(), &options)?;
    for (own, node) in [(1, &mut pair.a), (2, &mut pair.b)] {
        node.ok(&format!("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip -6 addr add fd00::{own}/64 dev eth0"))?;
        node.ok("sh /root/slices && modprobe drbd && drbdadm -c /root/v.conf -- --force create-md v && drbdadm -c /root/v.conf up v")?;
    }
    let states = |vm: &mut Vm, wanted: &'static str| {
        vm.wait_until(60, "cat /proc/drbd", wanted, |text| text.matches(wanted).count() == 3).map(drop)
    };
    states(&mut pair.a, "cs:Connected")?;
    pair.a.ok("drbdadm -c /root/v.conf primary --force v")?;
    for node in [&mut pair.a, &mut pair.b] {
        states(node, "ds:UpToDate/UpToDate")?;
    }
    // every volume is written at once: one sequence of epochs for all of them, which the C driver counts
    pair.a.ok("for m in 10 11 12; do dd if=/dev/urandom of=/dev/drbd$m bs=4k count=200 seek=100 oflag=direct 2>/dev/null & done; wait")?;
    // one of them loses its disk, the others do not mind; it comes back with what it missed
    pair.a.ok("drbdadm -c /root/v.conf detach v/1")?;
    pair.b.wait_until(20, "cat /proc/drbd", "one diskless", |text| text.matches("ds:UpToDate/Diskless").count() == 1)?;
    for (_, minor) in VOLUMES {
        scribble(&mut pair.a, &format!("/dev/drbd{minor}"), 700, 30)?;
    }
    pair.a.ok("drbdadm -c /root/v.conf attach v/1")?;
    for node in [&mut pair.a, &mut pair.b] {
        states(node, "ds:UpToDate/UpToDate")?;
    }
    // the connection is lost and comes back: every volume resyncs by itself
    pair.b.ok("drbdadm -c /root/v.conf disconnect v")?;
    for (volume, minor) in VOLUMES {
        scribble(&mut pair.a, &format!("/dev/drbd{minor}"), 1000 + u64::from(volume), 50)?;
    }
    pair.b.ok("drbdadm -c /root/v.conf connect v")?;
    for node in [&mut pair.a, &mut pair.b] {
        states(node, "ds:UpToDate/UpToDate")?;
    }
    // the other way round
    pair.a.ok("drbdadm -c /root/v.conf secondary v")?;
    pair.b.ok("drbdadm -c /root/v.conf primary v")?;
    pair.b.ok("for m in 10 11 12; do dd if=/dev/urandom of=/dev/drbd$m bs=16k count=100 seek=50 oflag=direct 2>/dev/null & done; wait")?;
    pair.b.ok("drbdadm -c /root/v.conf secondary v")?;
    for node in [&mut pair.a, &mut pair.b] {
        states(node, "ro:Secondary/Secondary")?;
    }
    let told = pair.a.ok("drbdsetup-84 show v")?;
    ensure!(told.contains("ipv6 [fd00::1]:7799") && told.contains("ipv6 [fd00::2]:7799"), "{told}");
    for piece in ["v0", "v1", "v2"] {
        let (left, right) = (digest(&mut pair.a, piece, 16000)?, digest(&mut pair.b, piece, 16000)?);
        ensure!(left == right, "{piece} differs: {left} {right}");
    }
    // a volume less and one more in the live connection
    pair.a.ok("drbdsetup-84 detach 12 && drbdsetup-84 del-minor 12 && drbdsetup-84 new-minor v 13 9")?;
    pair.a.wait_until(10, "cat /proc/drbd", "still connected", |text| text.matches("cs:Connected").count() >= 2)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdsetup-84 down v && rmmod drbd")?;
    }
    pair.finish()
}

/// How many resources.
const COUNT: u64 = 256;

/// The end of a command that takes long.
fn finished(vm: &mut Vm, command: &str) -> Result<()> {
    let begun = Instant::now();
    let done = vm.finish_command(Duration::from_secs(900))?;
    println!("{} s more: {command}", begun.elapsed().as_secs());
    ensure!(done.code == 0, "{command}: {}", done.text);
    Ok(())
}

#[test]
fn two_hundred_fifty_six_resources_are_connected_at_once() {
    check(resources());
}

fn resources() -> Result<()> {
    let mut options = PairOptions::new("many");
    options.our_tools = [true, true];
    options.disk_mib = COUNT;
    let driver = std::fs::read(env!("CARGO_BIN_EXE_many_resources"))?;
    options.files = vec![("bin/many-resources".into(), driver), ("root/slices".into(), slices("m", COUNT, 2048))];
    let mut pair = Pair::boot(&bed(), &options)?;
    for (node, own, peer) in [(&mut pair.a, 1, 2), (&mut pair.b, 2, 1)] {
        node.start_command(&format!(
            "sh /root/slices && modprobe drbd && drbdmeta --force 0 v08 /dev/mapper/m0 internal create-md >/dev/null && \
             many-resources up 10.0.0.{own} 10.0.0.{peer} {COUNT} 2>&1"
        ))?;
    }
    finished(&mut pair.a, "up")?;
    finished(&mut pair.b, "up")?;
    let all = |vm: &mut Vm, wanted: &'static str| {
        vm.wait_until(240, "cat /proc/drbd", wanted, |text| text.matches(wanted).count() as u64 == COUNT).map(drop)
    };
    for node in [&mut pair.a, &mut pair.b] {
        all(node, "cs:Connected")?;
        println!("{}", node.ok("grep -E 'MemFree|Slab|KernelStack' /proc/meminfo; ls -d /proc/[0-9]* | wc -l")?);
    }
    let each = |vm: &mut Vm, what: &str| -> Result<()> {
        vm.start_command(&format!("many-resources {what} {COUNT} 2>&1"))?;
        let done = finished(vm, what);
        if let Err(error) = &done {
            let name = error.to_string().split_whitespace().filter_map(|word| word.trim_end_matches(':').parse::<u32>().ok()).next().unwrap_or(0);
            let stacks = format!("for p in /proc/[0-9]*; do grep -q 'drbd_._m{name}$' $p/comm && cat $p/comm $p/stack; done; cat /proc/drbd_waits");
            println!("{}", vm.run(&stacks)?.text);
        }
        done
    };
    // without a first sync, so that all of them are up to date at once
    each(&mut pair.a, "skip-initial-sync")?;
    for node in [&mut pair.a, &mut pair.b] {
        all(node, "ds:UpToDate/UpToDate")?;
    }
    each(&mut pair.a, "primary")?;
    each(&mut pair.a, "write")?;
    // what they tell is complete
    let status = pair.b.ok("drbdsetup status | grep -c 'role:'")?;
    ensure!(status.trim() == (2 * COUNT).to_string(), "{status}");
    each(&mut pair.a, "secondary")?;
    for piece in ["m0", "m77", "m255"] {
        let (left, right) = (digest(&mut pair.a, piece, 960)?, digest(&mut pair.b, piece, 960)?);
        ensure!(left == right, "{piece} differs");
    }
    // all of them down, and nothing is left
    each(&mut pair.a, "down")?;
    each(&mut pair.b, "down")?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("rmmod drbd && ! ls /dev/drbd[0-9]* 2>/dev/null")?;
    }
    pair.finish()
}
