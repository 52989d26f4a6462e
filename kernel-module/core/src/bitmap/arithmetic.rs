// SPDX-License-Identifier: GPL-2.0
//! Conversions between sectors and bits: a block touched is out of sync, only one that is covered is in sync (behaviour.md RX-5).

/// Storage per bit: 4 KiB = 8 sectors.
pub const SECTORS_PER_BIT: u64 = 8;
/// Bits in a page of the bitmap (4096 bytes).
pub const BITS_PER_PAGE: u64 = 32768;

/// Bits for a device of `sectors`; the last may stand for less than 4 KiB.
pub const fn bits_for_sectors(sectors: u64) -> u64 {
    sectors.div_ceil(SECTORS_PER_BIT)
}

/// Pages for a number of bits.
pub const fn pages_for_bits(bits: u64) -> usize {
    bits.div_ceil(BITS_PER_PAGE) as usize
}

/// Cuts bits `first..end` at every `pages` pages: who changes or looks at many pages under a lock lets go of it in between.
pub fn pieces(first: u64, end: u64, pages: u64) -> impl Iterator<Item = (u64, u64)> {
    let size = pages.max(1).saturating_mul(BITS_PER_PAGE);
    let mut at = first;
    core::iter::from_fn(move || {
        let from = at;
        at = (from / size).saturating_add(1).saturating_mul(size).min(end);
        (from < end).then_some((from, at))
    })
}

const fn sectors_of(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(512)
}

/// The bits a range touches: `first..end`, for marking out of sync.
pub fn touched(sector: u64, size_bytes: u64, bits: u64) -> (u64, u64) {
    let end = sector.saturating_add(sectors_of(size_bytes)).div_ceil(SECTORS_PER_BIT).min(bits);
    let first = (sector / SECTORS_PER_BIT).min(end);
    if size_bytes == 0 {
        (first, first)
    } else {
        (first, end)
    }
}

/// The bits a range covers fully: `first..end`, for marking in sync. A range that reaches the end of the
/// device covers the last bit too.
pub fn covered(sector: u64, size_bytes: u64, device_sectors: u64) -> (u64, u64) {
    let bits = bits_for_sectors(device_sectors);
    let stop = sector.saturating_add(size_bytes / 512);
    let end = if stop >= device_sectors { bits } else { stop / SECTORS_PER_BIT };
    let first = sector.div_ceil(SECTORS_PER_BIT);
    (first.min(end), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_rounds_out_and_clearing_rounds_in() {
        assert_eq!(touched(7, 1024, 100), (0, 2));
        assert_eq!(touched(8, 4096, 100), (1, 2));
        assert_eq!(touched(8, 0, 100), (1, 1));
        assert_eq!(covered(7, 1024, 800), (1, 1));
        assert_eq!(covered(7, 9 * 512, 800), (1, 2));
        assert_eq!(covered(8, 4096, 800), (1, 2));
    }

    #[test]
    fn pieces_join_to_the_whole_and_are_cut_at_pages() {
        let cut = |first, end| pieces(first, end, 2).collect::<Vec<_>>();
        assert_eq!(cut(5, 3 * BITS_PER_PAGE), [(5, 2 * BITS_PER_PAGE), (2 * BITS_PER_PAGE, 3 * BITS_PER_PAGE)]);
        assert_eq!(cut(2 * BITS_PER_PAGE, 2 * BITS_PER_PAGE + 1), [(2 * BITS_PER_PAGE, 2 * BITS_PER_PAGE + 1)]);
        assert_eq!((cut(7, 7), cut(9, 7)), (vec![], vec![]));
    }

    #[test]
    fn the_last_partial_block_is_cleared_by_a_range_reaching_the_end() {
        assert_eq!(bits_for_sectors(803), 101);
        assert_eq!(covered(800, 3 * 512, 803), (100, 101));
        assert_eq!(covered(800, 2 * 512, 803), (100, 100));
    }
}
