// SPDX-License-Identifier: GPL-2.0
//! Bios of applications.

use super::segments::Segments;
use super::status::{BlkStatus, Op, OpFlags};
use crate::kapi::raw::{b, x};
use crate::kapi::sync::{Atomic, Full, Relaxed};
use core::ptr::{null_mut, NonNull};

/// A bio that an application sent to our disk. It is ended exactly once: by [`ParentBio::end`],
/// or with an I/O error when dropped. Accounting of the disk's statistics is part of it.
pub(crate) struct ParentBio {
    bio: NonNull<b::bio>,
    op: Op,
    started: usize,
}

// SAFETY: the bio is owned; the block layer lets any thread end it.
unsafe impl Send for ParentBio {}
// SAFETY: shared access only reads.
unsafe impl Sync for ParentBio {}

impl ParentBio {
    /// Takes over a bio from `submit_bio`. An operation that we don't have is refused here.
    ///
    /// # Safety
    ///
    /// The bio was handed to our disk, is within its limits, and is not used by the caller
    /// afterwards.
    pub(in crate::kapi) unsafe fn from_raw(bio: *mut b::bio) -> Option<Self> {
        // SAFETY: the bio is valid and ours.
        unsafe {
            let Some(op) = Op::from_raw((*bio).bi_opf, (*bio).bi_iter.bi_size) else {
                (*bio).bi_status = BlkStatus::NOTSUPP.0;
                b::bio_endio(bio);
                return None;
            };
            Some(Self {
                bio: NonNull::new(bio)?,
                op,
                started: b::bio_start_io_acct(bio),
            })
        }
    }

    pub(super) fn as_ptr(&self) -> *mut b::bio {
        self.bio.as_ptr()
    }

    /// What is to be done.
    #[inline]
    pub(crate) fn op(&self) -> Op {
        self.op
    }

    /// How it is to be done.
    #[inline]
    pub(crate) fn flags(&self) -> OpFlags {
        // SAFETY: the bio is ours.
        OpFlags::from_raw(unsafe { (*self.as_ptr()).bi_opf })
    }

    /// First sector on our disk, in units of 512 bytes.
    #[inline]
    pub(crate) fn sector(&self) -> u64 {
        // SAFETY: the bio is ours; nobody advances its iterator.
        unsafe { (*self.as_ptr()).bi_iter.bi_sector }
    }

    /// Length in bytes: of the data, or of the range of a discard or write-zeroes.
    #[inline]
    pub(crate) fn size_bytes(&self) -> u32 {
        // SAFETY: the bio is ours; nobody advances its iterator.
        unsafe { (*self.as_ptr()).bi_iter.bi_size }
    }

    /// The data; empty for operations without data.
    pub(crate) fn segments(&self) -> Segments<'_> {
        if !self.op.has_data() {
            return Segments::EMPTY;
        }
        let bio = self.as_ptr();
        // SAFETY: the bio is ours, its vectors stay until it is ended and cover its iterator.
        unsafe {
            Segments::new(
                (*bio).bi_io_vec.add((*bio).bi_iter.bi_idx as usize),
                x::kapi_bio_skip(bio) as usize,
                (*bio).bi_iter.bi_size as usize,
                self.op == Op::Read,
            )
        }
    }

    /// Fills a read with zeros. Does nothing to other operations.
    pub(crate) fn zero_fill(&self) {
        self.segments().zero_fill();
    }

    /// Answers the application. Any context.
    pub(crate) fn end(self, status: BlkStatus) {
        let bio = self.as_ptr();
        let started = self.started;
        core::mem::forget(self);
        // SAFETY: `self` owned the bio and is gone.
        unsafe { end_bio(bio, started, status) }
    }
}

impl Drop for ParentBio {
    fn drop(&mut self) {
        // SAFETY: `self` owns the bio.
        unsafe { end_bio(self.as_ptr(), self.started, BlkStatus::IOERR) }
    }
}

/// Ends accounting and bio.
///
/// # Safety
///
/// The caller owns the bio; it is gone afterwards.
unsafe fn end_bio(bio: *mut b::bio, started: usize, status: BlkStatus) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        b::bio_end_io_acct_remapped(bio, started, (*bio).bi_bdev);
        (*bio).bi_status = status.0;
        b::bio_endio(bio);
    }
}

/// A bio several parties look at. It is ended when it was finished *and* nobody holds it:
/// the local disk and a zero-copy send hold it, so its pages stay as long as they are read.
pub(super) struct ParentCell {
    /// Null if there is none; never changes.
    bio: *mut b::bio,
    op: Op,
    started: usize,
    /// One until finished, and one per hold.
    holds: Atomic<i32>,
    finished: Atomic<bool>,
    status: Atomic<i32>,
}

impl ParentCell {
    pub(super) fn new(parent: Option<ParentBio>) -> Self {
        let (bio, op, started) = match parent {
            Some(parent) => {
                let fields = (parent.as_ptr(), parent.op, parent.started);
                core::mem::forget(parent);
                fields
            }
            None => (null_mut(), Op::Flush, 0),
        };
        Self {
            bio,
            op,
            started,
            holds: Atomic::new(i32::from(!bio.is_null())),
            finished: Atomic::new(false),
            status: Atomic::new(0),
        }
    }

    /// Whether there is a bio at all.
    #[inline]
    pub(super) fn exists(&self) -> bool {
        !self.bio.is_null()
    }

    /// Takes a hold, unless the bio has been ended.
    #[inline]
    pub(super) fn hold(&self) -> bool {
        let mut holds = self.holds.load(Relaxed);
        while holds > 0 {
            match self.holds.cmpxchg(holds, holds + 1, Full) {
                Ok(_) => return true,
                Err(now) => holds = now,
            }
        }
        false
    }

    /// Gives up a hold (or, from `finish`, the owner's share).
    #[inline]
    pub(super) fn release(&self) {
        if self.holds.fetch_sub(1, Full) == 1 {
            // SAFETY: the last share of the bio is gone, and nobody gets a new one.
            unsafe {
                end_bio(
                    self.bio,
                    self.started,
                    BlkStatus(self.status.load(Relaxed) as u8),
                )
            }
        }
    }

    /// Decides the outcome; false if that was done before or there is no bio.
    pub(super) fn finish(&self, status: BlkStatus) -> bool {
        if !self.exists() || self.finished.xchg(true, Full) {
            return false;
        }
        self.status.store(i32::from(status.0), Relaxed);
        self.release();
        true
    }

    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Relaxed)
    }

    /// The bio, for someone with a hold. `ManuallyDrop`, because it is not theirs to end.
    pub(super) fn view(&self) -> Option<core::mem::ManuallyDrop<ParentBio>> {
        Some(core::mem::ManuallyDrop::new(ParentBio {
            bio: NonNull::new(self.bio)?,
            op: self.op,
            started: self.started,
        }))
    }
}
