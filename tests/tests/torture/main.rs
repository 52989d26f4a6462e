// SPDX-License-Identifier: GPL-2.0
//! Torture: random I/O on the Primary, every block checked against a journal, while faults drawn
//! by a seed befall the pair. `make torture PAIRING=rust-rust` (or rust-c, c-rust; MINUTES, SEED).
//!
//! Faults: short and long cuts of the cable, a frozen node, either node or both without power, a
//! disk that fails or hangs on either node, roles exchanged, administrative disconnects, detaches,
//! invalidates, paused resyncs, module reloads; the next one often comes before the resync of the
//! last has ended. Not included, because no driver can survive them: the loss of the only node
//! whose disk is up to date (also by cable, while the Primary is its sync target), and two nodes that both believe to be alone and are both promoted.
//!
//! Every few faults the load stops, the nodes sync, and then both disks must be equal and show what
//! was promised: the last acknowledged write of every block, or of a block whose write was
//! broken off that one or the broken-off one, sector by sector.

mod faults;

use anyhow::{bail, ensure, Context, Result};
use drbd_tests::torture::{read_record, recorded_groups, verify, BLOCK, GROUP, SECTOR};
use qemu_testbed::testbed::Flavour;
use qemu_testbed::{Driver, Pair, PairOptions, Testbed, Vm};
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// The testbed, or the reason why there is none.
fn bed() -> Testbed {
    match Testbed::open() {
        Ok(bed) => bed,
        Err(error) => panic!("virtual machines cannot run: {error:#}"),
    }
}

/// Fails with the whole chain of reasons.
fn check(result: Result<()>) {
    if let Err(error) = result {
        panic!("{error:?}");
    }
}

/// Size of the data disk: more activity log extents than the log is configured to hold. A kernel with checkers resyncs 2 MiB in a second, and after
/// a loss of power all that was hot; there the time goes into faults instead.
fn disk_mib(flavour: Flavour) -> u64 {
    if flavour == Flavour::Stock { 384 } else { 48 }
}

const THREADS: u64 = 4;

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }

    /// Sleeps between `low` and `high` milliseconds.
    pub(crate) fn pause(&mut self, low: u64, high: u64) {
        std::thread::sleep(Duration::from_millis(low + self.below(high - low + 1)));
    }
}

/// A pair under torture.
pub(crate) struct Torture {
    pub(crate) pair: Pair,
    /// The table of a node's intact disk.
    pub(crate) whole: String,
    pub(crate) random: Random,
    /// Index of the node that is Primary and holds the journal.
    pub(crate) primary: usize,
    drivers: [Driver; 2],
    runs: u64,
    loading: bool,
    started: Instant,
    totals: [u64; 3],
    faults: u64,
}

impl Torture {
    fn start(pairing: &str, drivers: [Driver; 2], seed: u64) -> Result<Self> {
        let mut random = Random(seed);
        let mut pick = |choices: &[&str]| choices[random.below(choices.len() as u64) as usize].to_owned();
        let mut options = PairOptions::new(&format!("torture-{pairing}")).drivers(drivers[0], drivers[1]);
        let bed = bed();
        options.disk_mib = disk_mib(bed.flavour);
        options.disks = 2;
        options.net = format!(
            "protocol {}; connect-int 2; ping-int 2; ping-timeout 20; timeout 40; {} {} {}",
            pick(&["C", "C", "B"]),
            pick(&["", "data-integrity-alg md5;", "data-integrity-alg sha1;"]),
            pick(&["", "use-rle no;", "max-epoch-size 20;"]),
            pick(&["", "csums-alg sha1;", "max-buffers 64;", "cram-hmac-alg sha256; shared-secret s;"]),
        );
        options.disk = format!(
            "al-extents 67; {} {} {}",
            pick(&["c-plan-ahead 0; resync-rate 100M;", "c-plan-ahead 0; resync-rate 8M;", "c-min-rate 4M;"]),
            pick(&["", "disk-flushes no;", "md-flushes no;"]),
            pick(&["", "rs-discard-granularity 65536;", "read-balancing round-robin;", "read-balancing 64K-striping;"]),
        );
        options.files = vec![("bin/torture-load".into(), fs::read(env!("CARGO_BIN_EXE_torture_load"))?)];
        println!("net {{ {} }} disk {{ {} }}", options.net, options.disk);
        let mut torture = Self {
            pair: Pair::boot(&bed, &options)?,
            whole: format!("0 {} linear /dev/vda 0", options.disk_mib * 2048),
            random,
            primary: 0,
            drivers,
            runs: 0,
            loading: false,
            started: Instant::now(),
            totals: [0; 3],
            faults: 0,
        };
        for index in 0..2 {
            torture.prepare(index)?;
            torture.node(index).ok("drbdadm -- --force create-md r0 && drbdadm up r0")?;
        }
        torture.pair.wait_connected()?;
        // both disks are new and all zeros
        torture.node(0).ok("drbdsetup new-current-uuid --clear-bitmap 0 && drbdadm primary r0")?;
        torture.pair.wait_synced(60)?;
        torture.begin_load()?;
        Ok(torture)
    }

    /// node1 or node2.
    pub(crate) fn node(&mut self, index: usize) -> &mut Vm {
        match index {
            0 => &mut self.pair.a,
            _ => &mut self.pair.b,
        }
    }

    /// Device-mapper table, configuration and module of a node that has just booted.
    pub(crate) fn prepare(&mut self, index: usize) -> Result<()> {
        let whole = self.whole.clone();
        self.node(index).ok(&format!(
            "modprobe dm-mod; dmsetup create back --noudevsync --noudevrules --table '{whole}' && dmsetup mknodes && \
             sed -i 's#/dev/vda#/dev/mapper/back#' /etc/drbd.conf && modprobe drbd"
        ))?;
        Ok(())
    }

    pub(crate) fn say(&self, text: &str) {
        println!("{:7.1} {text}", self.started.elapsed().as_secs_f32());
    }

    /// Content of a node's status file.
    pub(crate) fn status(&mut self, index: usize) -> Result<String> {
        Ok(self.node(index).run("cat /proc/drbd")?.text)
    }

    /// Starts the load on the Primary.
    pub(crate) fn begin_load(&mut self) -> Result<()> {
        self.runs += 1;
        let command = format!(
            "rm -f /run/stop; (setsid torture-load /dev/drbd0 /dev/vdb {} {THREADS} /run/stop > /run/load 2>&1 &)",
            self.runs
        );
        self.loading = true;
        self.node(self.primary).ok(&command)?;
        Ok(())
    }

    /// Ends the load, which must not have seen anything wrong.
    pub(crate) fn end_load(&mut self) -> Result<()> {
        if !self.loading {
            return Ok(());
        }
        self.loading = false;
        let node = self.node(self.primary);
        node.ok("touch /run/stop")?;
        let text = node.wait_for(90, "cat /run/load; ps | grep -v grep | grep torture-load | head -n 1", "done writes")?;
        ensure!(text.contains("errors 0 mismatches 0"), "{text}");
        let numbers = text.split_whitespace().filter_map(|w| w.parse::<u64>().ok());
        for (total, number) in self.totals.iter_mut().zip(numbers) {
            *total += number;
        }
        Ok(())
    }

    /// The load ended with its machine, or will be looked at no more.
    pub(crate) fn load_is_gone(&mut self) {
        self.loading = false;
    }

    /// The other node becomes the one that writes: it gets the journal.
    pub(crate) fn hand_over(&mut self) -> Result<()> {
        let other = 1 - self.primary;
        let (from, to) = (self.node(self.primary).disk(1), self.node(other).disk(1));
        let content = fs::read(from)?;
        let file = fs::OpenOptions::new().write(true).open(to)?;
        file.write_all_at(&content, 0)?;
        self.primary = other;
        Ok(())
    }

    /// Boots a node without power and brings its resource up.
    pub(crate) fn return_to_life(&mut self, index: usize) -> Result<()> {
        self.node(index).boot()?;
        self.prepare(index)?;
        self.node(index).ok("drbdadm up r0")?;
        Ok(())
    }

    /// Waits until both nodes are connected, syncing or not.
    pub(crate) fn wait_connected(&mut self) -> Result<()> {
        for index in 0..2 {
            self.node(index).wait_until(90, "cat /proc/drbd", "connected", |t| {
                ["cs:Connected", "cs:Sync", "cs:Paused", "cs:Ahead", "cs:Behind"].iter().any(|s| t.contains(s))
            })?;
        }
        Ok(())
    }

    /// Until the next `adjust` a resync is as fast as it can be: what was drawn for the resyncs under load is not for those that are
    /// waited for (32 blocks in a tenth of a second with max-buffers 64), and a C driver steps aside for ever when its application
    /// has discarded blocks while it had no disk (docs/differences.md).
    pub(crate) fn hurry(&mut self) -> Result<()> {
        for index in 0..2 {
            let (own, peer) = (index + 1, 2 - index);
            self.node(index).run(&format!(
                "drbdsetup disk-options 0 --c-plan-ahead=0 --resync-rate=200M --c-min-rate=0; \
                 drbdsetup net-options 10.0.0.{own}:7788 10.0.0.{peer}:7788 --max-buffers=2048"
            ))?;
        }
        Ok(())
    }

    /// No load, everything synced, both disks equal and as the journal says.
    fn settle(&mut self) -> Result<()> {
        self.end_load()?;
        self.hurry()?;
        for index in 0..2 {
            self.node(index).run("drbdadm resume-sync r0")?;
        }
        self.pair.wait_synced(180)?;
        for index in 0..2 {
            self.node(index).wait_for(30, "sync; cat /proc/drbd", "lo:0 pe:0 ua:0 ap:0")?;
            let text = self.status(index)?;
            ensure!(text.contains("oos:0\n") || text.contains("oos:0 "), "{text}");
        }
        self.pair.compare_disks()?;
        self.check_promises()?;
        self.check_consoles()?;
        self.node(0).run("drbdadm adjust r0")?;
        self.node(1).run("drbdadm adjust r0")?;
        self.begin_load()
    }

    /// The data disk against the journal, both read on the host.
    fn check_promises(&mut self) -> Result<()> {
        let data = fs::File::open(self.pair.a.disk(0))?;
        let journal = fs::File::open(self.node(self.primary).disk(1))?;
        let bytes = self.node(self.primary).ok("cat /sys/block/drbd0/size")?;
        let bytes = bytes.trim().parse::<u64>().context("the size of the device")? * SECTOR as u64;
        let (mut content, mut sector, mut written) = (vec![0; GROUP * BLOCK], [0; SECTOR], 0u64);
        for group in 0..recorded_groups(bytes) {
            let record = read_record(&journal, group, &mut sector)?;
            data.read_exact_at(&mut content, group * (GROUP * BLOCK) as u64)?;
            for (index, promise) in record.iter().enumerate() {
                let block = group * GROUP as u64 + index as u64;
                written += u64::from(promise.acknowledged != 0);
                if let Err(text) = verify(block, *promise, &content[index * BLOCK..][..BLOCK]) {
                    bail!("a promise is broken on the disk of node1: {text}");
                }
            }
        }
        self.say(&format!(
            "settled after {} faults: disks equal, {written} blocks written so far are as promised; {} writes, {} reads, {} erases",
            self.faults, self.totals[0], self.totals[1], self.totals[2]
        ));
        Ok(())
    }

    fn check_consoles(&self) -> Result<()> {
        for node in [&self.pair.a, &self.pair.b] {
            let console = node.console();
            if let Some(line) = console.lines().find(|l| l.contains("torture: MISMATCH") || l.contains("torture: ERROR")) {
                bail!("{}: {line}", node.options.name);
            }
            node.check_kernel_log()?;
        }
        Ok(())
    }

    fn run(&mut self, minutes: u64) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(minutes * 60);
        while Instant::now() < end {
            self.random.pause(500, 4000);
            self.faults += 1;
            self.fault()?;
            self.check_consoles()?;
            if self.random.below(4) == 0 {
                self.settle()?;
            }
        }
        self.settle()?;
        self.end_load()
    }

    /// What both nodes say, for the report of a failure.
    fn describe(&mut self) -> String {
        let mut text = String::new();
        for index in 0..2 {
            let driver = self.drivers[index];
            let node = self.node(index);
            if node.is_running() {
                let _ = node.freeze(false);
                let said = node.run_within(
                    "cat /proc/drbd /run/load; drbdsetup show-gi 0 | tail -n 20; ps | grep drbd; for p in $(pidof torture-load) ; do for t in /proc/$p/task/*; do cat $t/stack; done; done; for p in $(ps | grep drbd_ | awk '{print $1}'); do cat /proc/$p/comm /proc/$p/stack; done; dmesg | tail -n 40",
                    Duration::from_secs(30),
                );
                let said = said.map_or_else(|e| e.to_string(), |o| o.text);
                text.push_str(&format!("--- node{} ({driver:?})\n{said}\n", index + 1));
            }
        }
        text
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn torture() {
    let pairing = std::env::var("TORTURE_PAIRING").unwrap_or_else(|_| "rust-rust".into());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_secs());
    let (minutes, seed) = (number("TORTURE_MINUTES", 10), number("TORTURE_SEED", clock));
    println!("repeat with: make torture PAIRING={pairing} MINUTES={minutes} SEED={seed}");
    check(tortured(&pairing, minutes, seed));
}

fn tortured(pairing: &str, minutes: u64, seed: u64) -> Result<()> {
    let drivers = match pairing {
        "rust-rust" => [Driver::Rust, Driver::Rust],
        "rust-c" => [Driver::Rust, Driver::C],
        "c-rust" => [Driver::C, Driver::Rust],
        "c-c" => [Driver::C, Driver::C],
        _ => bail!("PAIRING is rust-rust, rust-c or c-rust, not {pairing}"),
    };
    let mut torture = Torture::start(pairing, drivers, seed)?;
    if let Err(error) = torture.run(minutes) {
        let described = torture.describe();
        return Err(error.context(format!("seed {seed}, fault {}\n{described}", torture.faults)));
    }
    println!(
        "tortured {pairing} for {minutes} minutes, seed {seed}: {} faults, {} writes, {} reads, {} erases",
        torture.faults, torture.totals[0], torture.totals[1], torture.totals[2]
    );
    torture.pair.finish()
}
