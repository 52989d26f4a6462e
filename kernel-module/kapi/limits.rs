// SPDX-License-Identifier: GPL-2.0
//! The limits of our disks: what I/O may look like when it reaches us.

use super::bdev::BlockDev;
use super::raw::{b, x};
use kernel::prelude::*;

/// Limits in the making. Start from [`Limits::stacking`], stack the lower device on top if there
/// is one, then set what the peer or the configuration demands.
///
/// A volatile write cache, forced unit access and stable pages are always announced: pages go to
/// two places, and flushes have to reach both.
#[derive(Clone)]
pub(crate) struct Limits {
    raw: b::queue_limits,
}

impl Limits {
    /// No restriction yet; blocks of 512 bytes, no discard, no write-zeroes.
    pub(crate) fn stacking() -> Self {
        let mut raw = b::queue_limits::default();
        // SAFETY: fills the structure.
        unsafe { b::blk_set_stacking_limits(&raw mut raw) };
        let mut limits = Self { raw };
        limits.discard(0, 0).write_zeroes(0).complete();
        limits
    }

    /// Forgets what was there: limits can only get tighter otherwise.
    pub(crate) fn reset(&mut self) -> &mut Self {
        *self = Self::stacking();
        self
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut b::queue_limits {
        &raw mut self.raw
    }

    /// Sets what holds for all our disks, whatever was stacked.
    pub(super) fn complete(&mut self) {
        self.raw.features &= b::BLK_FEAT_ROTATIONAL | x::BLK_FEAT_RAID_PARTIAL_STRIPES_EXPENSIVE;
        self.raw.features |= x::BLK_FEAT_WRITE_CACHE
            | x::BLK_FEAT_FUA
            | x::BLK_FEAT_STABLE_WRITES
            | x::BLK_FEAT_IO_STAT;
        self.raw.max_secure_erase_sectors = 0;
    }

    /// Adds the restrictions of a lower device; our sector 0 is its sector `offset_sectors`.
    /// Its limits for discard and write-zeroes are not taken over, see [`Self::discard`].
    pub(crate) fn stack(&mut self, lower: &BlockDev, offset_sectors: u64) -> &mut Self {
        // SAFETY: the limits are initialised, the device is open, the prefix lives for ever.
        unsafe {
            b::queue_limits_stack_bdev(
                &raw mut self.raw,
                lower.as_ptr(),
                offset_sectors,
                c"drbd".as_char_ptr(),
            )
        };
        self.discard(0, 0).write_zeroes(0).complete();
        self
    }

    /// Unit of addressing in bytes, a power of two from 512 to the page size.
    pub(crate) fn logical_block_bytes(&mut self, bytes: u32) -> &mut Self {
        self.raw.logical_block_size = bytes;
        self.raw.io_min = self.raw.io_min.max(bytes);
        self.raw.physical_block_size = self.raw.physical_block_size.max(bytes);
        self
    }

    /// Unit of writing without a read before, in bytes.
    pub(crate) fn physical_block_bytes(&mut self, bytes: u32) -> &mut Self {
        self.raw.physical_block_size = bytes;
        self.raw.io_min = self.raw.io_min.max(bytes);
        self
    }

    /// Unit of addressing of the limits as they are, in bytes.
    pub(crate) fn current_logical_block_bytes(&self) -> u32 {
        self.raw.logical_block_size
    }

    /// Largest request in bytes; takes effect if it is smaller than what there is.
    pub(crate) fn max_io_bytes(&mut self, bytes: u32) -> &mut Self {
        self.raw.max_hw_sectors = self.raw.max_hw_sectors.min(bytes >> 9);
        self
    }

    /// Largest number of separate pieces of memory in a request.
    pub(crate) fn max_segments(&mut self, count: u16) -> &mut Self {
        self.raw.max_segments = self.raw.max_segments.min(count);
        self
    }

    /// Smallest efficient and best size of I/O in bytes; 0: unknown.
    pub(crate) fn io_hints(&mut self, min_bytes: u32, opt_bytes: u32) -> &mut Self {
        self.raw.io_min = min_bytes.max(self.raw.physical_block_size);
        self.raw.io_opt = opt_bytes;
        self
    }

    /// Largest discard in sectors (0: none) and its unit in bytes.
    pub(crate) fn discard(&mut self, max_sectors: u32, granularity_bytes: u32) -> &mut Self {
        self.raw.max_hw_discard_sectors = max_sectors;
        self.raw.max_discard_sectors = max_sectors;
        self.raw.max_user_discard_sectors = u32::MAX;
        self.raw.discard_granularity = granularity_bytes;
        self.raw.discard_alignment = 0;
        self
    }

    /// Largest write-zeroes in sectors; 0: the block layer writes zeros instead.
    pub(crate) fn write_zeroes(&mut self, max_sectors: u32) -> &mut Self {
        self.raw.max_write_zeroes_sectors = max_sectors;
        self.raw.max_wzeroes_unmap_sectors = 0;
        self.raw.max_hw_wzeroes_unmap_sectors = 0;
        self
    }
}
