// SPDX-License-Identifier: GPL-2.0
//! Random I/O on a device that is being tortured, each block checked against a journal.
//!
//! `torture-load DEVICE JOURNAL RUN THREADS STOPFILE` writes, zeroes, discards and reads until
//! STOPFILE appears or a request fails. RUN (1..2^20) must be new for each start: it makes the
//! writes of this run unique. What is wrong goes to the kernel log (which the host keeps) and to
//! standard output; the last line is `done` with the counts.

use drbd_tests::torture::{
    fill, read_record, recorded_groups, verify, write_record, Promise, Record, ANYTHING, BLOCK, GROUP, SCRATCH_GROUPS,
    SECTOR, ZEROES,
};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

const O_DIRECT: i32 = 0o40000;
/// Groups that get half of all requests, so that blocks are rewritten soon.
const HOT_GROUPS: u64 = 24;

/// Memory at a page boundary, as direct I/O wants it.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let memory = vec![0; length + BLOCK];
        let start = (BLOCK - memory.as_ptr() as usize % BLOCK) % BLOCK;
        Self { memory, start, length }
    }

    fn get(&mut self, length: usize) -> &mut [u8] {
        &mut self.memory[self.start..self.start + length.min(self.length)]
    }
}

#[derive(Default)]
struct Counts {
    writes: AtomicU64,
    reads: AtomicU64,
    erases: AtomicU64,
    errors: AtomicU64,
    mismatches: AtomicU64,
}

struct Thread {
    name: String,
    number: u64,
    threads: u64,
    device: File,
    journal: File,
    /// Groups with a record; the scratch area begins behind them.
    groups: u64,
    random: u64,
    next_write: u64,
    counts: Arc<Counts>,
    data: Aligned,
    sector: Aligned,
}

fn complain(text: &str) {
    println!("{text}");
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(format!("torture: {text}\n").as_bytes());
    }
}

impl Thread {
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % limit.max(1)
    }

    /// One of the groups that belong to this thread.
    fn group(&mut self) -> u64 {
        let own = self.groups / self.threads;
        let limit = if self.below(2) == 0 { own.min(HOT_GROUPS) } else { own };
        self.below(limit) * self.threads + self.number
    }

    fn save(&mut self, group: u64, record: &Record) -> io::Result<()> {
        write_record(&self.journal, group, record, self.sector.get(SECTOR))
    }

    /// Reads blocks and checks each; those that a broken-off write left open are settled.
    fn check(&mut self, group: u64, record: &mut Record, first: usize, count: usize) -> io::Result<()> {
        let at = (group * GROUP as u64 + first as u64) * BLOCK as u64;
        self.device.read_exact_at(self.data.get(count * BLOCK), at)?;
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        let mut settled = false;
        for index in 0..count {
            let block = group * GROUP as u64 + (first + index) as u64;
            let promise = record[first + index];
            let content = &self.data.get(count * BLOCK)[index * BLOCK..][..BLOCK];
            match verify(block, promise, content) {
                Ok(_) if promise.acknowledged == promise.begun => {}
                Ok(shown) => {
                    let shown = shown.unwrap_or(ANYTHING);
                    record[first + index] = Promise { acknowledged: shown, begun: shown };
                    settled = true;
                }
                Err(text) => {
                    self.counts.mismatches.fetch_add(1, Ordering::Relaxed);
                    complain(&format!("MISMATCH {text}"));
                    record[first + index] = Promise { acknowledged: ANYTHING, begun: ANYTHING };
                    settled = true;
                }
            }
        }
        if settled {
            self.save(group, record)?;
        }
        Ok(())
    }

    /// A write of whole blocks: recorded as begun, done, recorded as acknowledged.
    fn change(&mut self, mark: u64) -> io::Result<()> {
        let group = self.group();
        let count = if self.below(4) == 0 { 1 + self.below(GROUP as u64) } else { 1 + self.below(3) } as usize;
        let first = self.below((GROUP - count + 1) as u64) as usize;
        let mut record = read_record(&self.journal, group, self.sector.get(SECTOR))?;
        if record[first..first + count].iter().any(|p| p.acknowledged != p.begun) {
            self.check(group, &mut record, first, count)?;
        }
        self.next_write += 1;
        let write = self.next_write | mark;
        for promise in &mut record[first..first + count] {
            promise.begun = write;
        }
        self.save(group, &record)?;
        let block = group * GROUP as u64 + first as u64;
        let at = block * BLOCK as u64;
        if mark == 0 {
            for index in 0..count {
                fill(block + index as u64, write, &mut self.data.get(count * BLOCK)[index * BLOCK..][..BLOCK]);
            }
            self.device.write_all_at(self.data.get(count * BLOCK), at)?;
            self.counts.writes.fetch_add(1, Ordering::Relaxed);
        } else {
            self.erase(mark == ZEROES, at, count * BLOCK)?;
        }
        for promise in &mut record[first..first + count] {
            promise.acknowledged = write;
        }
        self.save(group, &record)
    }

    fn erase(&mut self, zeroes: bool, at: u64, length: usize) -> io::Result<()> {
        self.counts.erases.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new("/usr/sbin/blkdiscard");
        // without claiming the device for itself
        command.arg("-f");
        if zeroes {
            command.arg("-z");
        }
        let status =
            command.arg("-o").arg(at.to_string()).arg("-l").arg(length.to_string()).arg(&self.name).output()?;
        if status.status.success() || (!zeroes && String::from_utf8_lossy(&status.stderr).contains("not supported")) {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&status.stderr).trim().to_owned()))
    }

    /// Several threads write the same few sectors at once, at any boundary.
    fn scratch(&mut self) -> io::Result<()> {
        let sectors = SCRATCH_GROUPS * (GROUP * BLOCK / SECTOR) as u64;
        let count = 1 + self.below(96);
        let at = self.groups * (GROUP * BLOCK) as u64 + self.below(sectors - count) * SECTOR as u64;
        let value = self.random as u8;
        let data = self.data.get(count as usize * SECTOR);
        data.fill(value);
        self.device.write_all_at(data, at)
    }

    fn step(&mut self) -> io::Result<()> {
        match self.below(1000) {
            0..=549 => self.change(0),
            550..=559 => self.change(ZEROES),
            560..=564 => self.change(ANYTHING),
            565..=569 => self.device.sync_data(),
            570..=629 => self.scratch(),
            _ => {
                let group = self.group();
                let mut record = read_record(&self.journal, group, self.sector.get(SECTOR))?;
                let count = 1 + self.below(GROUP as u64) as usize;
                let first = self.below((GROUP - count + 1) as u64) as usize;
                self.check(group, &mut record, first, count)
            }
        }
    }

    fn run(&mut self, stop: &Path) {
        while !stop.exists() {
            if let Err(error) = self.step() {
                self.counts.errors.fetch_add(1, Ordering::Relaxed);
                complain(&format!("ERROR thread {}: {error}", self.number));
                return;
            }
        }
    }
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(O_DIRECT).open(path)
}

fn torture(arguments: &[String]) -> Result<bool, String> {
    let [device, journal, run, threads, stop] = arguments else {
        return Err("usage: torture-load DEVICE JOURNAL RUN THREADS STOPFILE".into());
    };
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
    let (run, threads) = (number(run)?, number(threads)?);
    let bytes = open(device).and_then(|mut f| f.seek(SeekFrom::End(0))).map_err(|e| format!("{device}: {e}"))?;
    let counts = Arc::new(Counts::default());
    let mut running = Vec::new();
    for number in 0..threads {
        let mut thread = Thread {
            name: device.clone(),
            number,
            threads,
            device: open(device).map_err(|e| format!("{device}: {e}"))?,
            journal: open(journal).map_err(|e| format!("{journal}: {e}"))?,
            groups: recorded_groups(bytes),
            random: (run << 8 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            next_write: run << 40 | number << 32,
            counts: counts.clone(),
            data: Aligned::new(GROUP * BLOCK),
            sector: Aligned::new(SECTOR),
        };
        let stop = stop.clone();
        running.push(std::thread::spawn(move || thread.run(Path::new(&stop))));
    }
    for thread in running {
        thread.join().map_err(|_| "a thread panicked".to_owned())?;
    }
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "done writes {} reads {} erases {} errors {} mismatches {}",
        of(&counts.writes),
        of(&counts.reads),
        of(&counts.erases),
        of(&counts.errors),
        of(&counts.mismatches)
    );
    Ok(of(&counts.mismatches) == 0 && of(&counts.errors) == 0)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match torture(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => {
            complain(&text);
            ExitCode::from(2)
        }
    }
}
