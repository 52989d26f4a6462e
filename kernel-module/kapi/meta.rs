// SPDX-License-Identifier: GPL-2.0
//! Blocks of on-disk metadata, read and written one at a time with a time limit.

use super::bdev::BlockDev;
use super::bio::{BlkStatus, Io, IoClient, IoKind, IoSet, Op, OpFlags};
use super::page::{Page, PagePool, PAGE_BYTES};
use super::sync::{Arc, Atomic, Relaxed};
use super::time::Jiffies;
use super::wait::{new_completion, Completion};
use kernel::prelude::*;

/// Bytes of a metadata block.
pub(crate) const META_BLOCK_BYTES: usize = PAGE_BYTES;

/// Why metadata was not read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MetaError {
    /// The disk reported this.
    Status(BlkStatus),
    /// The disk did not answer in time.
    TimedOut,
}

/// What a metadata write guarantees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct MetaFlags {
    /// Everything written to the device before is durable first.
    pub(crate) flush_before: bool,
    /// The block itself is durable when the write returns.
    pub(crate) fua: bool,
}

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
}

impl MetaBuffer {
    /// A block of zeros. Process context; fails with ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        let set = IoSet::new(IoKind::Pages, 2)?;
        let pool = PagePool::new(2)?;
        let io = new_transfer(&set, &pool);
        Ok(Self {
            set,
            pool,
            io,
            page: Page::zeroed()?,
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
    /// or as long as it takes. The contents are unchanged after an error.
    pub(crate) fn read(
        &mut self,
        dev: &BlockDev,
        sector: u64,
        timeout: Option<Jiffies>,
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

    /// Writes the block to `sector` (512-byte units). Process context; waits at most `timeout`,
    /// or as long as it takes.
    pub(crate) fn write(
        &mut self,
        dev: &BlockDev,
        sector: u64,
        guarantees: MetaFlags,
        timeout: Option<Jiffies>,
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

    fn transfer(
        &mut self,
        dev: &BlockDev,
        op: Op,
        flags: OpFlags,
        sector: u64,
        timeout: Option<Jiffies>,
    ) -> Result<(), MetaError> {
        self.io.done.reinit();
        self.io
            .submit(dev, op, flags, sector)
            .map_err(|_| MetaError::Status(BlkStatus::IOERR))?;
        match timeout {
            None => self.io.done.wait(),
            Some(limit) => {
                if !self.io.done.wait_timeout(limit) {
                    self.io = new_transfer(&self.set, &self.pool);
                    return Err(MetaError::TimedOut);
                }
            }
        }
        match BlkStatus::from_errno(self.io.status.load(Relaxed)) {
            BlkStatus::OK => Ok(()),
            status => Err(MetaError::Status(status)),
        }
    }
}

fn new_transfer(set: &Arc<IoSet<Transfer>>, pool: &Arc<PagePool>) -> Io<Transfer> {
    set.with_pages(
        pool,
        META_BLOCK_BYTES as u32,
        pin_init!(Transfer {
            done <- new_completion!("drbd_meta_transfer"),
            status: Atomic::new(0),
        }),
    )
}
