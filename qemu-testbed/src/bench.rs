// SPDX-License-Identifier: GPL-2.0
//! `make bench`: what an operation costs, for our module and for the C module.
//!
//! Both nodes of the pair are in one machine with one processor, joined over loopback, on
//! ramdisks. A figure is the number of instructions the guest executes per operation, kernel
//! and user space, plus one for every 32 bytes that string instructions move. Such counts repeat
//! within a few per cent whatever else the host does; times do not.

use crate::testbed::Testbed;
use crate::vm::{Clock, Vm, VmOptions};
use anyhow::{bail, Context, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Bytes of string instructions that weigh as one instruction.
const BYTES_PER_INSTRUCTION: f64 = 32.0;
/// Version of the JSON form.
const SCHEMA: u32 = 1;

/// A window: start code, name, operations in it, unit, and the most of the C driver's cost that
/// is aimed at.
struct Window {
    code: u32,
    name: &'static str,
    operations: f64,
    unit: &'static str,
    aim: Option<f64>,
}

const fn window(
    code: u32,
    name: &'static str,
    operations: f64,
    unit: &'static str,
    aim: Option<f64>,
) -> Window {
    Window {
        code,
        name,
        operations,
        unit,
        aim,
    }
}

const WINDOWS: &[Window] = &[
    window(1, "C: 4k write, depth 1", 1000.0, "op", Some(0.8)),
    window(3, "C: 4k random write, depth 32", 2000.0, "op", Some(1.05)),
    window(5, "C: 64k write, depth 1", 200.0, "op", None),
    window(7, "C: 1M write, depth 1", 48.0, "op", None),
    window(9, "C: 4k read, depth 1", 1000.0, "op", None),
    window(11, "C: 1M read, depth 1", 32.0, "op", None),
    window(13, "C: 4k write with dsync", 500.0, "op", None),
    window(15, "peer away: 4k write, depth 1", 500.0, "op", Some(0.6)),
    window(17, "A: 4k write, depth 1", 1000.0, "op", None),
    window(19, "A: 4k random write, depth 32", 2000.0, "op", None),
    window(21, "A: 64k write, depth 1", 200.0, "op", None),
    window(23, "full resync", 128.0, "MiB", Some(0.8)),
    window(25, "bitmap resync of 1000 blocks", 1.0, "run", Some(1.0)),
    window(27, "verify with crc32c", 128.0, "MiB", Some(0.8)),
    window(29, "attach of 256 GiB", 1.0, "run", Some(1.0)),
];

/// What the machine does, in the order of the windows.
const SCRIPT: &str = r#"
set -e
S=drbdsetup-84
modprobe -q crc32c-cryptoapi || true
insmod $(find /lib/modules -name brd.ko) rd_nr=2 rd_size=131072 max_part=0
modprobe drbd
for i in 0 1; do
    drbdmeta --force $i v08 /dev/ram$i internal create-md > /dev/null 2>&1
    $S new-resource r$i; $S new-minor r$i $i 0
    $S attach $i /dev/ram$i /dev/ram$i internal --c-plan-ahead=0 --resync-rate=200M --c-min-rate=0
done
A=ipv4:127.0.0.1:7789; B=ipv4:127.0.0.1:7790
connect() { for p in "r0 $A $B" "r1 $B $A"; do $S connect $p --protocol=$1 --max-buffers=8000 --max-epoch-size=8000; done; }
wait_for() {
    n=0
    until grep -q "^ *$1: .*$2" /proc/drbd; do n=$((n+1)); [ $n -lt 600 ] || { cat /proc/drbd; dmesg | tail -n 40; exit 1; }; sleep 0.1; done
}
away() { $S disconnect $A $B --force; $S disconnect $B $A --force || true; wait_for 0 StandAlone; sleep 1; }
connect C
wait_for 0 cs:Connected; wait_for 1 cs:Connected
$S new-current-uuid --clear-bitmap 0
wait_for 0 UpToDate/UpToDate; wait_for 1 UpToDate/UpToDate
$S primary 0
D=/dev/drbd0
load 37 $D write 1048576 1 120
load 1 $D write 4096 1 1000
load 3 $D write 4096 32 2000 random
load 5 $D write 65536 1 200
load 7 $D write 1048576 1 48
load 9 $D read 4096 1 1000
load 11 $D read 1048576 1 32
load 13 $D write 4096 1 500 dsync
away
load 15 $D write 4096 1 500
connect A
wait_for 0 "cs:Connected.*UpToDate/UpToDate"
load 17 $D write 4096 1 1000
load 19 $D write 4096 32 2000 random
load 21 $D write 65536 1 200
sleep 1
load mark 23
$S invalidate-remote 0
sleep 1; wait_for 0 "cs:Connected.*UpToDate/UpToDate"
load mark 24
away
load 37 $D write 4096 1 1000 random
$S connect r1 $B $A --protocol=C --max-buffers=8000 --max-epoch-size=8000
load mark 25
$S connect r0 $A $B --protocol=C --max-buffers=8000 --max-epoch-size=8000
wait_for 0 "cs:Connected.*UpToDate/UpToDate"
load mark 26
for p in "$A $B" "$B $A"; do $S net-options $p --verify-alg=crc32c; done
load mark 27
$S verify 0
sleep 1; wait_for 0 "cs:Connected"
load mark 28
$S secondary 0; away
$S down r0; $S down r1
rmmod drbd; rmmod brd
insmod $(find /lib/modules -name brd.ko) rd_nr=1 rd_size=268435456 max_part=0
drbdmeta --force 0 v08 /dev/ram0 internal create-md > /dev/null 2>&1
modprobe drbd
$S new-resource r0; $S new-minor r0 0 0; $S attach 0 /dev/ram0 /dev/ram0 internal
$S primary 0 --force; $S secondary 0; $S detach 0; sleep 1
drbdmeta --force 0 v08 /dev/ram0 internal apply-al > /dev/null 2>&1
load mark 29
$S attach 0 /dev/ram0 /dev/ram0 internal
load mark 30
$S down r0
rmmod drbd
"#;

/// Cost per operation by start code.
type Costs = BTreeMap<u32, f64>;

fn measure(bed: &Testbed, module: &Path, plugin: &Path, load: &Path) -> Result<Costs> {
    let folder = bed.run_folder("bench")?;
    let out = folder.join("counts");
    let mut vm = Vm::start(
        bed,
        VmOptions {
            name: "bench".into(),
            folder: folder.clone(),
            module: module.into(),
            our_tools: false,
            disks_mib: Vec::new(),
            scsi: false,
            links: Vec::new(),
            memory_mib: 1024,
            processors: 1,
            append: "nokaslr".into(),
            files: vec![(
                "bin/load".into(),
                std::fs::read(load).context("reading the load generator")?,
            )],
            tree: None,
            clock: Clock::Counted { plugin: plugin.into(), out: out.clone() },
        },
    )?;
    // Self-tests of the kernel run on after the boot.
    vm.ok("sleep 10; echo 1 > /proc/sys/kernel/printk")?;
    let output = vm.run_within(SCRIPT, Duration::from_secs(900))?;
    vm.power_cut();
    if output.code != 0 {
        bail!(
            "the measurement ended with exit code {}:\n{}\n{}",
            output.code,
            output.text,
            vm.console()
        );
    }
    vm.check_kernel_log()?;
    let counts = std::fs::read_to_string(&out).context("reading the counts")?;
    let _ = std::fs::remove_dir_all(&folder);
    let mut costs = Costs::new();
    for line in counts.lines() {
        let numbers: Vec<f64> = line
            .split_whitespace()
            .filter_map(|w| w.parse().ok())
            .collect();
        let [code, instructions, bytes] = numbers[..] else {
            continue;
        };
        if let Some(window) = WINDOWS.iter().find(|w| f64::from(w.code) == code) {
            costs.insert(
                window.code,
                (instructions + bytes / BYTES_PER_INSTRUCTION) / window.operations,
            );
        }
    }
    Ok(costs)
}

fn median(runs: &[Costs], code: u32) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(|r| r.get(&code).copied()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Measures both modules and prints the comparison.
pub fn run(plugin: &Path, load: &Path, repeats: usize, as_json: bool) -> Result<()> {
    let bed = Testbed::open()?;
    let (ours_path, c_path) = (bed.module.clone(), bed.c_module());
    let (mut ours, mut c) = (Vec::new(), Vec::new());
    for round in 1..=repeats.max(1) {
        eprintln!("run {round} of {repeats}, about two minutes ...");
        let other = {
            let (bed, module, plugin, load) = (
                bed.clone(),
                c_path.clone(),
                plugin.to_path_buf(),
                load.to_path_buf(),
            );
            std::thread::spawn(move || measure(&bed, &module, &plugin, &load))
        };
        let own = measure(&bed, &ours_path, plugin, load);
        // Also when ours has failed: its machine would go on without us.
        match other.join() {
            Ok(costs) => c.push(costs?),
            Err(_) => bail!("the thread that measures the C module panicked"),
        }
        ours.push(own?);
    }
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    if !as_json {
        println!(
            "{:<32} {:>12} {:>12} {:>6} {:>6}  per",
            "window", "ours", "C driver", "ratio", "aim"
        );
    }
    for window in WINDOWS {
        let (Some(own), Some(theirs)) = (median(&ours, window.code), median(&c, window.code))
        else {
            bail!("no figure for '{}'", window.name);
        };
        let ratio = own / theirs;
        if window.aim.is_some_and(|aim| ratio > aim) {
            missed.push(window.name);
        }
        let aim = window.aim.map_or("-".into(), |a| a.to_string());
        if !as_json {
            println!(
                "{:<32} {own:>12.0} {theirs:>12.0} {ratio:>6.2} {aim:>6}  {}",
                window.name, window.unit
            );
        }
        rows.push(json!({"window": window.name, "unit": window.unit, "ours": own, "c": theirs, "ratio": ratio, "aim": window.aim}));
    }
    if as_json {
        println!(
            "{}",
            json!({"schema": SCHEMA, "repeats": repeats, "unit": "instruction equivalents", "windows": rows})
        );
    } else if missed.is_empty() {
        println!("all aims are met");
    } else {
        println!("missed: {}", missed.join(", "));
    }
    Ok(())
}
