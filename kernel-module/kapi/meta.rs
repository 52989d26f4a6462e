// SPDX-License-Identifier: GPL-2.0
//! Blocks of on-disk metadata, read and written one at a time with a time limit.

use super::bdev::BlockDev;
use super::bio::{BlkStatus, Io, IoClient, IoKind, IoSet, Op, OpFlags};
use super::page::{Page, PagePool, PAGE_BYTES};
use super::sync::{Arc, Atomic, Relaxed};
use super::time::{jiffies, Jiffies, HZ};
use super::wait::{new_completion, Completion};
use kernel::prelude::*;

/// Bytes of a metadata block.
pub(crate) const META_BLOCK_BYTES: usize = PAGE_BYTES;

/// Why metadata was not read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MetaError {
    /// The disk reported this.
    Status(BlkStatus),
    /// The disk did not answer in time, or was given up while it was waited for.
    TimedOut,
}

/// Said by anyone, at any time: nobody waits for this disk any more. And seen by anyone: what is waited for.
pub(crate) struct GivenUp {
    given_up: Atomic<bool>,
    /// When the access that runs began, in jiffies; 0: none runs.
    since: Atomic<u64>,
    sector: Atomic<u64>,
    write: Atomic<bool>,
}

/// An access to metadata that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningAccess {
    /// Place on the device in sectors.
    pub(crate) sector: u64,
    /// A write, or a flush.
    pub(crate) write: bool,
    /// When it began.
    pub(crate) since: Jiffies,
}

impl Default for GivenUp {
    fn default() -> Self {
        Self { given_up: Atomic::new(false), since: Atomic::new(0), sector: Atomic::new(0), write: Atomic::new(false) }
    }
}

impl GivenUp {
    /// Sets or takes back the word. Any context.
    pub(crate) fn set(&self, given_up: bool) {
        self.given_up.store(given_up, Relaxed);
    }

    /// Whether the disk is given up.
    pub(crate) fn is_set(&self) -> bool {
        self.given_up.load(Relaxed)
    }

    /// The access that runs, if any; a mix of two when one has just followed the other.
    pub(crate) fn running(&self) -> Option<RunningAccess> {
        let since = self.since.load(Relaxed);
        (since != 0).then(|| RunningAccess { sector: self.sector.load(Relaxed), write: self.write.load(Relaxed), since: since as Jiffies })
    }
}

/// What a metadata write guarantees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MetaFlags {
    /// Everything written to the device before is durable first.
    pub(crate) flush_before: bool,
    /// The block itself is durable when the write returns.
    pub(crate) fua: bool,
}

/// How often a wait looks whether the disk has been given up.
const GIVEN_UP_CHECK: Jiffies = HZ / 4;

/// The end of one transfer.
#[pin_data]
struct Transfer {
    #[pin]
    done: Completion,
    status: Atomic<i32>,
}

impl IoClient for Transfer {
    fn completed(io: Io<Self>, status: BlkStatus) {
        io.status.store(status.errno(), Relaxed);
        io.done.complete();
    }
}

/// One block in memory with what it takes to move it: nothing is allocated when it is used.
///
/// A transfer that times out keeps its own page until the disk lets go of it.
pub(crate) struct MetaBuffer {
    set: Arc<IoSet<Transfer>>,
    pool: Arc<PagePool>,
    io: Io<Transfer>,
    page: Page,
    given_up: Arc<GivenUp>,
}

impl MetaBuffer {
    /// A block of zeros; transfers end early when `given_up` is set. Process context; fails with ENOMEM.
    pub(crate) fn new(given_up: Arc<GivenUp>) -> Result<Self> {
        let set = IoSet::new(IoKind::Pages, 3)?;
        let pool = PagePool::new(2)?;
        let io = new_transfer(&set, &pool);
        Ok(Self {
            set,
            pool,
            io,
            page: Page::zeroed()?,
            given_up,
        })
    }

    /// The block.
    pub(crate) fn bytes(&self) -> &[u8; META_BLOCK_BYTES] {
        self.page.bytes()
    }

    /// The block, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; META_BLOCK_BYTES] {
        self.page.bytes_mut()
    }

    /// Reads the block at `sector` (512-byte units). Process context; waits at most `timeout`,
    /// or until the disk is given up. The contents are unchanged after an error.
    pub(crate) fn read(
        &mut self,
        dev: &BlockDev,
        sector: u64,
        timeout: Jiffies,
    ) -> Result<(), MetaError> {
        let flags = OpFlags {
            sync: true,
            meta: true,
            prio: true,
            ..OpFlags::default()
        };
        self.transfer(dev, Op::Read, flags, sector, timeout)?;
        self.io.read_bytes(0, self.page.bytes_mut());
        Ok(())
    }

    /// Reads `blocks` blocks from `sector` (512-byte units) on in one access, into pages of `pool`, and hands each with its number to `each`. Process
    /// context; waits as [`Self::read`]. Overwrites the block.
    pub(crate) fn read_run(
        &mut self,
        dev: &BlockDev,
        pool: &Arc<PagePool>,
        sector: u64,
        blocks: usize,
        timeout: Jiffies,
        mut each: impl FnMut(usize, &[u8; META_BLOCK_BYTES]),
    ) -> Result<(), MetaError> {
        let flags = OpFlags {
            meta: true,
            ..OpFlags::default()
        };
        let io = self.set.with_pages(pool, (blocks * META_BLOCK_BYTES) as u32, transfer());
        self.carry(&io, dev, Op::Read, flags, sector, io.size_bytes(), timeout)?;
        for block in 0..blocks {
            io.read_bytes(block * META_BLOCK_BYTES, self.page.bytes_mut());
            each(block, self.page.bytes());
        }
        Ok(())
    }

    /// Room for up to `blocks` blocks that are to be written together: as many as `pool` has at hand, at least one. Process context; waits
    /// for nothing.
    pub(crate) fn run(&self, pool: &Arc<PagePool>, blocks: usize) -> MetaRun {
        let many = (blocks > 1).then(|| self.set.with_pages_at_hand(pool, (blocks * META_BLOCK_BYTES) as u32, transfer()));
        let io = many.filter(|io| io.size_bytes() > 0).unwrap_or_else(|| self.io.clone());
        MetaRun { io, bytes: 0 }
    }

    /// Writes a run to `sector` (512-byte units) and what follows. Process context; waits as [`Self::write`]. Guarantees nothing about what a
    /// power cut leaves: [`Self::flush`] afterwards.
    pub(crate) fn write_run(&mut self, dev: &BlockDev, run: MetaRun, sector: u64, timeout: Jiffies) -> Result<(), MetaError> {
        let flags = OpFlags { sync: true, meta: true, prio: true, ..OpFlags::default() };
        self.carry(&run.io, dev, Op::Write, flags, sector, run.bytes as u32, timeout)
    }

    /// Writes the block to `sector` (512-byte units). Process context; waits at most `timeout`,
    /// or until the disk is given up.
    pub(crate) fn write(
        &mut self,
        dev: &BlockDev,
        sector: u64,
        guarantees: MetaFlags,
        timeout: Jiffies,
    ) -> Result<(), MetaError> {
        let flags = OpFlags {
            sync: true,
            meta: true,
            prio: true,
            preflush: guarantees.flush_before,
            fua: guarantees.fua,
            ..OpFlags::default()
        };
        self.io.write_bytes(0, self.page.bytes());
        self.transfer(dev, Op::Write, flags, sector, timeout)
    }

    /// Makes durable what `dev` has completed so far. Process context; waits at most `timeout`, or until the disk is given up.
    pub(crate) fn flush(&mut self, dev: &BlockDev, timeout: Jiffies) -> Result<(), MetaError> {
        self.transfer(dev, Op::Flush, OpFlags { sync: true, ..OpFlags::default() }, 0, timeout)
    }

    fn transfer(
        &mut self,
        dev: &BlockDev,
        op: Op,
        flags: OpFlags,
        sector: u64,
        timeout: Jiffies,
    ) -> Result<(), MetaError> {
        let io = self.io.clone();
        self.carry(&io, dev, op, flags, sector, META_BLOCK_BYTES as u32, timeout)
    }

    /// Moves `bytes` of `io`; a flush none.
    #[allow(clippy::too_many_arguments)]
    fn carry(
        &mut self,
        io: &Io<Transfer>,
        dev: &BlockDev,
        op: Op,
        flags: OpFlags,
        sector: u64,
        bytes: u32,
        timeout: Jiffies,
    ) -> Result<(), MetaError> {
        let bytes = if op == Op::Flush { 0 } else { bytes };
        io.done.reinit();
        io.submit_sized(dev, op, flags, sector, bytes).map_err(|_| MetaError::Status(BlkStatus::IOERR))?;
        let watch = self.given_up.clone();
        watch.sector.store(sector, Relaxed);
        watch.write.store(op != Op::Read, Relaxed);
        watch.since.store(jiffies() as u64 | 1, Relaxed);
        let done = self.wait_done(io, timeout);
        watch.since.store(0, Relaxed);
        done
    }

    /// Waits for the transfer that was submitted.
    fn wait_done(&mut self, io: &Io<Transfer>, timeout: Jiffies) -> Result<(), MetaError> {
        let mut waited = 0;
        while !io.done.wait_timeout(GIVEN_UP_CHECK) {
            waited += GIVEN_UP_CHECK;
            if waited >= timeout || self.given_up.is_set() {
                // The disk may still have it.
                self.io = new_transfer(&self.set, &self.pool);
                return Err(MetaError::TimedOut);
            }
        }
        match BlkStatus::from_errno(io.status.load(Relaxed)) {
            BlkStatus::OK => Ok(()),
            status => Err(MetaError::Status(status)),
        }
    }
}

/// Blocks to be written together.
pub(crate) struct MetaRun {
    io: Io<Transfer>,
    bytes: usize,
}

impl MetaRun {
    /// Blocks in it.
    pub(crate) fn blocks(&self) -> usize {
        self.bytes / META_BLOCK_BYTES
    }

    /// Whether there is no room for another.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.saturating_add(META_BLOCK_BYTES) > self.io.size_bytes() as usize
    }

    /// Adds a block; without room, nothing happens.
    pub(crate) fn push(&mut self, block: &[u8; META_BLOCK_BYTES]) {
        if !self.is_full() {
            self.bytes += self.io.write_bytes(self.bytes, block);
        }
    }
}

fn new_transfer(set: &Arc<IoSet<Transfer>>, pool: &Arc<PagePool>) -> Io<Transfer> {
    set.with_pages(pool, META_BLOCK_BYTES as u32, transfer())
}

fn transfer() -> impl PinInit<Transfer> {
    pin_init!(Transfer {
        done <- new_completion!("drbd_meta_transfer"),
        status: Atomic::new(0),
    })
}
