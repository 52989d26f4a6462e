// SPDX-License-Identifier: GPL-2.0
//! The device that holds the metadata: opening, reading, writing.
//!
//! Block devices are read and written past the page cache: the driver writes past it too, so a page
//! that an earlier look left there would be old, and written back it would undo what the driver wrote.

use super::found::{self, Found};
use super::options::BitmapFill;
use super::{ask, Call, Failure, USAGE, VALUE};
use crate::busy;
use drbd_core::md::{Index, Superblock, BLOCK_BYTES};
use rustix::fs::{fallocate, fcntl_setfl, FallocateFlags, OFlags};
use std::fs::File;
use std::io::{Error, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::time::Duration;

/// Smallest device the tool works on.
const MIN_BYTES: u64 = 68 << 10;
/// EBUSY.
const BUSY: i32 = 16;
/// Attempts to open exclusively; something that only looks at a new device lets go soon.
const OPEN_ATTEMPTS: u32 = 5;

/// An open device.
#[derive(Debug)]
pub struct Device {
    file: File,
    /// Path as given.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Where the metadata is.
    pub index: Index,
    verbose: bool,
    dry_run: bool,
    /// Remarks may go to standard output.
    remarks: bool,
    /// Everything written, for tests of crashes.
    #[cfg(test)]
    pub trace: std::rc::Rc<std::cell::RefCell<Vec<Step>>>,
}

/// A step of a trace.
#[cfg(test)]
#[derive(Clone, Debug)]
pub enum Step {
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// What was written before is durable.
    Flush,
}

/// A buffer that begins at a multiple of a block in memory, as direct I/O wants it.
struct Aligned {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    fn new(length: usize) -> Self {
        let memory = vec![0; length + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        Self {
            memory,
            start,
            length,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.memory
            .get_mut(self.start..self.start + self.length)
            .unwrap_or_default()
    }
}

/// The text of an error without its number.
fn reason(error: &Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or("").to_string()
}

impl Device {
    /// Opens it, exclusively where nobody else may use it meanwhile; slots share their device.
    pub fn open(call: &Call) -> Result<Self, Failure> {
        let mut file = open_file(call)?;
        let is_block = file
            .metadata()
            .is_ok_and(|m| m.file_type().is_block_device());
        if !is_block && !call.force {
            return Err(Failure::new(
                USAGE,
                format!("'{}' is not a block device!", call.path),
            ));
        }
        if is_block {
            fcntl_setfl(&file, OFlags::DIRECT).map_err(|e| {
                Failure::new(USAGE, format!("open({}) for direct I/O: {e}", call.path))
            })?;
        }
        let bytes = file
            .seek(SeekFrom::End(0))
            .map_err(|e| Failure::new(VALUE, format!("{}: {}", call.path, reason(&e))))?;
        if bytes < MIN_BYTES {
            let text = format!("{} is only {bytes} bytes. That's not enough.", call.path);
            return Err(Failure::new(VALUE, text));
        }
        let at = Superblock::sector(call.index, bytes / 512) * 512;
        if at + BLOCK_BYTES as u64 > bytes {
            let text = format!(
                "Device too small: expecting meta data block at\nbyte offset {at}, but {} is only {bytes} bytes.",
                call.path
            );
            return Err(Failure::new(VALUE, text));
        }
        Ok(Self {
            file,
            path: call.path.clone(),
            bytes,
            index: call.index,
            verbose: call.verbose > 0,
            dry_run: call.dry_run,
            remarks: !call.json,
            #[cfg(test)]
            trace: Default::default(),
        })
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.bytes / 512
    }

    fn failed(&self, what: &str, length: u64, at: u64, error: &Error) -> Failure {
        let text = format!(
            "{}: {what} {length} bytes at {at}: {}",
            self.path,
            reason(error)
        );
        Failure::new(VALUE, text)
    }

    /// Whole blocks around a range, as far as the device goes.
    fn blocks_around(&self, at: u64, length: u64) -> (u64, u64) {
        let block = BLOCK_BYTES as u64;
        let end = at.saturating_add(length).min(self.bytes);
        let start = (at / block * block).min(end);
        (start, (end.div_ceil(block) * block).min(self.bytes))
    }

    fn read_blocks(&self, start: u64, end: u64) -> Result<Aligned, Failure> {
        let mut buffer = Aligned::new((end - start) as usize);
        self.file
            .read_exact_at(buffer.bytes(), start)
            .map_err(|e| self.failed("reading", end - start, start, &e))?;
        Ok(buffer)
    }

    /// Reads a range; what lies behind the end reads as zeros.
    pub fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, Failure> {
        let (start, end) = self.blocks_around(at, length as u64);
        let mut buffer = self.read_blocks(start, end)?;
        let skipped = at.saturating_sub(start).min(end - start) as usize;
        let mut bytes: Vec<u8> = buffer
            .bytes()
            .iter()
            .skip(skipped)
            .take(length)
            .copied()
            .collect();
        bytes.resize(length, 0);
        Ok(bytes)
    }

    /// Writes a range within the device; `what` names it in a dry run.
    pub fn write(&self, what: &str, at: u64, bytes: &[u8]) -> Result<(), Failure> {
        let length = bytes.len() as u64;
        if self.skipped(what, at, length) {
            return Ok(());
        }
        if at.saturating_add(length) > self.bytes {
            let text = format!(
                "{}: {length} bytes at {at} are behind the end of the device",
                self.path
            );
            return Err(Failure::new(VALUE, text));
        }
        let (start, end) = self.blocks_around(at, length);
        let mut buffer = match (start, end) == (at, at + length) {
            true => Aligned::new(bytes.len()),
            false => self.read_blocks(start, end)?,
        };
        let skipped = (at - start) as usize;
        for (place, byte) in buffer.bytes().iter_mut().skip(skipped).zip(bytes) {
            *place = *byte;
        }
        #[cfg(test)]
        self.trace
            .borrow_mut()
            .push(Step::Write(start, buffer.bytes().to_vec()));
        self.file
            .write_all_at(buffer.bytes(), start)
            .map_err(|e| self.failed("writing", end - start, start, &e))
    }

    fn skipped(&self, what: &str, at: u64, length: u64) -> bool {
        if self.dry_run {
            eprintln!(" {what:<26}: pwrite({length:6} bytes at {at:12}) SKIPPED DUE TO DRY-RUN");
        }
        self.dry_run
    }

    /// Fills a range with zeros, by the device's own means where it has them.
    pub fn zero(&self, at: u64, length: u64, fill: BitmapFill) -> Result<(), Failure> {
        if fill == BitmapFill::Skip || self.skipped("bitmap", at, length) {
            return Ok(());
        }
        if fill != BitmapFill::Write && !cfg!(test) {
            match self.zero_by_device(at, length) {
                Ok(()) => return Ok(()),
                Err(error) if fill == BitmapFill::ZeroOut => {
                    return Err(self.failed("zeroing", length, at, &error));
                }
                Err(_) => {}
            }
        }
        let zeros = vec![0u8; 1 << 20];
        let mut done = 0;
        while done < length {
            let part = (length - done).min(zeros.len() as u64);
            self.write("bitmap", at + done, &zeros[..part as usize])?;
            done += part;
        }
        Ok(())
    }

    /// Block devices zero ranges; file systems know one of the two ways.
    fn zero_by_device(&self, at: u64, length: u64) -> Result<(), Error> {
        let keep = FallocateFlags::KEEP_SIZE;
        fallocate(&self.file, FallocateFlags::ZERO_RANGE | keep, at, length)
            .or_else(|_| fallocate(&self.file, FallocateFlags::PUNCH_HOLE | keep, at, length))
            .map_err(Error::from)
    }

    /// Makes what was written durable; later steps depend on it.
    pub fn flush(&self) -> Result<(), Failure> {
        #[cfg(test)]
        self.trace.borrow_mut().push(Step::Flush);
        self.file
            .sync_all()
            .map_err(|e| Failure::new(VALUE, format!("{}: fsync: {}", self.path, reason(&e))))
    }

    /// The superblock at its place, whatever it says.
    pub fn superblock(&self) -> Result<Superblock, Failure> {
        let at = Superblock::sector(self.index, self.sectors()) * 512;
        Ok(Superblock::decode(&self.read(at, BLOCK_BYTES)?))
    }

    /// Valid metadata at its place, or why not.
    pub fn find(&self) -> Result<Found, Vec<String>> {
        let superblock = self.superblock().map_err(|f| vec![f.text])?;
        found::check(
            superblock,
            self.index,
            self.sectors(),
            self.verbose,
            self.remarks,
        )
    }

    /// Writes the superblock of found metadata, durably.
    pub fn write_superblock(&self, found: &Found) -> Result<(), Failure> {
        let mut block = [0u8; BLOCK_BYTES];
        found.superblock.encode(&mut block);
        self.write("superblock", found.layout.superblock * 512, &block)?;
        self.flush()
    }
}

fn open_file(call: &Call) -> Result<File, Failure> {
    let fail =
        |e: &Error| Failure::new(USAGE, format!("open({}) failed: {}", call.path, reason(e)));
    let open = |flags: OFlags| {
        File::options()
            .read(true)
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(&call.path)
    };
    if matches!(call.index, Index::Slot(_)) {
        return open(OFlags::empty()).map_err(|e| fail(&e));
    }
    let mut attempts = 1;
    let error = loop {
        match open(OFlags::EXCL) {
            Ok(file) => return Ok(file),
            Err(error) if error.raw_os_error() == Some(BUSY) && attempts < OPEN_ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => break error,
        }
    };
    if error.raw_os_error() != Some(BUSY) {
        return Err(fail(&error));
    }
    let busy = format!("{}{}", fail(&error).text, busy::explain(&call.path));
    if call.json {
        return Err(Failure::new(USAGE, busy));
    }
    eprintln!("{busy}");
    let ask = call.command != "apply-al" || call.force;
    if ask && ask::confirm("Exclusive open failed. Do it anyways?", call.force) {
        return open(OFlags::empty()).map_err(|e| fail(&e));
    }
    println!("Operation canceled.");
    Err(Failure::new(USAGE, ""))
}
