// SPDX-License-Identifier: GPL-2.0
//! Shape of resync requests (behaviour.md RX-7, wire-protocol.md 13.2).

use crate::bitmap::{Bitmap, PageStore, SECTORS_PER_BIT};

/// Bits of a resync extent (16 MiB), which no request crosses.
const EXTENT_BITS: u64 = 4096;

/// Bounds of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest request in bytes, a multiple of 4096, at least 4096.
    pub max_bytes: u32,
}

/// A range to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First sector.
    pub sector: u64,
    /// Length in bytes.
    pub size_bytes: u32,
    /// First bit behind it: where to go on.
    pub next_bit: u64,
}

/// The next range at or after bit `from`: adjacent set bits, grown by powers of two as far as the alignment of the start allows.
/// `None`: no set bit is left there.
pub fn next_request<P: PageStore>(bitmap: &Bitmap<P>, from: u64, limits: Limits) -> Option<Range> {
    let first = bitmap.next_set(from)?;
    let run = bitmap.run(first).map_or(1, |(length, _)| length);
    let most = u64::from(limits.max_bytes / 4096).max(1);
    let extent_end = (first / EXTENT_BITS + 1) * EXTENT_BITS;
    let available = run.min(most).min(extent_end - first);
    let mut count = 1u64;
    while count < available {
        // Beyond a power of two only from a start aligned to the next.
        if count.is_power_of_two() && first % (count * 2) != 0 {
            break;
        }
        count += 1;
    }
    let sector = first * SECTORS_PER_BIT;
    let end = ((first + count) * SECTORS_PER_BIT).min(bitmap.device_sectors());
    let size_bytes = u32::try_from(end.saturating_sub(sector) * 512).ok()?;
    Some(Range { sector, size_bytes, next_bit: first + count })
}
