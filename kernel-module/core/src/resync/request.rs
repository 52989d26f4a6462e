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
    /// A request of this size may be answered "all zero" (RX-8): growing stops there. 0: none.
    pub thin_bytes: u32,
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
    next_request_before(bitmap, from, bitmap.bits(), limits)
}

/// The same for a start before bit `end`.
pub fn next_request_before<P: PageStore>(bitmap: &Bitmap<P>, from: u64, end: u64, limits: Limits) -> Option<Range> {
    let first = bitmap.next_before(from, end, true)?;
    let most = u64::from(limits.max_bytes / 4096).max(1);
    let extent_end = (first / EXTENT_BITS + 1) * EXTENT_BITS;
    let available = bitmap.run_before(first, extent_end.min(first.saturating_add(most))).map_or(1, |(length, _)| length);
    let mut count = 1u64;
    while count < available {
        if limits.thin_bytes != 0 && count * 4096 == u64::from(limits.thin_bytes) {
            break;
        }
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

/// The longest range that may be asked for next in a turn of `blocks` blocks (RX-6) of which `asked` are asked for already, in bytes. As in
/// the C driver the last range of a turn may be one block longer: where answers come within the turn, that is half of what makes the pace
/// grow under a small c-fill-target.
pub const fn longest(blocks: u32, asked: u32, largest_bytes: u32) -> u32 {
    let bytes = blocks.saturating_sub(asked).saturating_add(1).saturating_mul(4096);
    if bytes < largest_bytes { bytes } else { largest_bytes }
}

/// rs-discard-granularity as a backing device can serve it (RX-8): 0 without discards, else raised to its unit, a multiple of that, and no more
/// than its largest discard. All in bytes.
pub fn sane_granularity(wanted: u32, max_discard_bytes: u64, unit_bytes: u32) -> u32 {
    if wanted == 0 || max_discard_bytes == 0 {
        return 0;
    }
    let unit = unit_bytes.max(1);
    let rounded = wanted.max(unit).checked_next_multiple_of(unit).unwrap_or(wanted);
    u32::try_from(max_discard_bytes).map_or(rounded, |most| rounded.min(most))
}

/// Whether a target asks with checksums (RX-11): an algorithm is set, and it is wanted for every resync, or this node crashed as Primary.
pub const fn uses_checksums(version: u32, has_algorithm: bool, after_crash_only: bool, crashed_primary: bool) -> bool {
    version >= 89 && has_algorithm && (!after_crash_only || crashed_primary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitmap::arithmetic::pages_for_bits;

    struct Pages(Vec<(Option<Box<crate::bitmap::Words>>, u32, bool)>);

    impl PageStore for Pages {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn view(&self, index: usize) -> crate::bitmap::PageView<'_> {
            match self.0.get(index) {
                Some((Some(words), ..)) => crate::bitmap::PageView::Present(words),
                Some((None, _, true)) => crate::bitmap::PageView::AllSet,
                _ => crate::bitmap::PageView::Clean,
            }
        }
        fn present(&mut self, index: usize) -> Result<&mut crate::bitmap::Words, crate::bitmap::NoMemory> {
            let page = self.0.get_mut(index).ok_or(crate::bitmap::NoMemory)?;
            let fill = if page.2 { u64::MAX } else { 0 };
            Ok(page.0.get_or_insert_with(|| Box::new([fill; 512])))
        }
        fn set_uniform(&mut self, index: usize, all_set: bool) {
            let weight = self.0[index].1;
            self.0[index] = (None, weight, all_set);
        }
        fn weight(&self, index: usize) -> u32 {
            self.0[index].1
        }
        fn record(&mut self, index: usize, weight: u32, _: bool) {
            self.0[index].1 = weight;
        }
        fn is_dirty(&self, _: usize) -> bool {
            false
        }
        fn swap_page(&mut self, other: &mut Self, index: usize) {
            core::mem::swap(&mut self.0[index], &mut other.0[index]);
        }
    }

    fn bitmap(sectors: u64, set: &[(u64, u64)]) -> Bitmap<Pages> {
        let pages = (0..pages_for_bits(sectors.div_ceil(8))).map(|_| (None, 0, false)).collect();
        let mut map = Bitmap::new(Pages(pages), sectors);
        for (from, to) in set {
            map.set_bits(*from, *to);
        }
        map
    }

    /// Sectors and bytes of all requests.
    fn all(map: &Bitmap<Pages>, limits: Limits) -> Vec<(u64, u32)> {
        let mut from = 0;
        core::iter::from_fn(|| {
            let range = next_request(map, from, limits)?;
            from = range.next_bit;
            Some((range.sector, range.size_bytes))
        })
        .collect()
    }

    #[test]
    fn rx_7_requests_grow_as_far_as_their_start_is_aligned() {
        let map = bitmap(80_001, &[(4, 9), (30, 31), (10_000, 10_001)]);
        let plain = Limits { max_bytes: 1 << 20, thin_bytes: 0 };
        assert_eq!(all(&map, plain), [(32, 16_384), (64, 4096), (240, 4096), (80_000, 512)]);
        let extents = bitmap(1 << 20, &[(4032, 4400)]);
        assert_eq!(all(&extents, plain), [(4032 * 8, 64 * 4096), (4096 * 8, 256 * 4096), (4352 * 8, 48 * 4096)]);
    }

    #[test]
    fn rx_7_growing_stops_at_the_discard_granularity() {
        let map = bitmap(80_000, &[(0, 64)]);
        let thin = Limits { max_bytes: 1 << 20, thin_bytes: 65_536 };
        assert_eq!(all(&map, thin), [(0, 65_536), (128, 65_536), (256, 65_536), (384, 65_536)]);
    }

    #[test]
    fn rx_6_the_last_range_of_a_turn_may_be_one_block_longer() {
        let map = bitmap(80_000, &[(0, 10_000)]);
        let turn = |mut from: u64, blocks: u32| {
            let (mut asked, mut sizes) = (0, Vec::new());
            while asked < blocks {
                let limits = Limits { max_bytes: longest(blocks, asked, 1 << 20), thin_bytes: 0 };
                let range = next_request(&map, from, limits).expect("set bits");
                asked += range.size_bytes / 4096;
                from = range.next_bit;
                sizes.push(range.size_bytes / 4096);
            }
            sizes
        };
        // what make_resync_request of the C driver asks for in two turns
        assert_eq!(turn(0, 6), [7]);
        assert_eq!(turn(7, 6), [1, 6]);
        // a last range that cannot grow
        assert_eq!(turn(7, 1), [1]);
        assert_eq!(turn(0, 1000), [256, 256, 256, 233]);
    }

    #[test]
    fn rx_8_the_granularity_is_what_the_backing_device_can_serve() {
        assert_eq!(sane_granularity(0, 1 << 30, 4096), 0);
        assert_eq!(sane_granularity(65_536, 0, 4096), 0);
        assert_eq!(sane_granularity(512, 1 << 30, 4096), 4096);
        assert_eq!(sane_granularity(10_000, 1 << 30, 4096), 12_288);
        assert_eq!(sane_granularity(1 << 20, 65_536, 4096), 65_536);
        assert_eq!(sane_granularity(65_536, 1 << 40, 0), 65_536);
    }

    #[test]
    fn rx_11_checksums_for_every_resync_or_after_a_crash_of_this_primary() {
        assert!(uses_checksums(101, true, false, false));
        assert!(uses_checksums(89, true, true, true));
        assert!(!uses_checksums(101, true, true, false));
        assert!(!uses_checksums(101, false, false, true));
        assert!(!uses_checksums(88, true, false, true));
    }
}
