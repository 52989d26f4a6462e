// SPDX-License-Identifier: GPL-2.0
//! The machines of the tests themselves.

use crate::{bed, check};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Pair, PairOptions};
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// Machines are woken from one file: what they draw at random must differ all the same (the UUIDs of the driver depend on it).
#[test]
fn woken_machines_are_not_twins() {
    check(not_twins());
}

fn not_twins() -> Result<()> {
    let bed = bed();
    let mut pair = Pair::boot(&bed, &PairOptions::new("machines"))?;
    let mut drawn = BTreeSet::new();
    let draw = "cat /proc/sys/kernel/random/uuid; head -c 8 /dev/urandom | hexdump -C | head -n 1";
    for (node, other) in [(0, 1), (1, 0), (0, 1)] {
        let vm = if node == 0 { &mut pair.a } else { &mut pair.b };
        drawn.extend(vm.ok(draw)?.lines().map(str::to_owned));
        let renewed = vm.ok("dmesg")?.contains("crng reseeded due to virtual machine fork");
        ensure!(renewed == bed.wakes, "woken machines, and only they, draw new random numbers at once");
        ensure!(vm.ok("hostname")? == format!("node{}\n", node + 1));
        ensure!(vm.ok("cat /sys/class/net/eth0/address")? == format!("52:54:00:00:00:0{}\n", node + 1));
        vm.ok(&format!("ping -c 1 10.0.0.{}", other + 1))?;
        let seconds: u64 = vm.ok("date +%s")?.trim().parse().context("seconds")?;
        let here = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        ensure!(here.abs_diff(seconds) < 60, "the machine believes it is {seconds}, not {here}");
        if node == 1 {
            pair.a.power_cut();
            pair.a.boot()?;
        }
    }
    ensure!(drawn.len() == 6, "not every number differs: {drawn:?}");
    pair.finish()
}
