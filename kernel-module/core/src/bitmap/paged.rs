// SPDX-License-Identifier: GPL-2.0
//! The paged, sparse bitmap in memory.

use super::arithmetic::{bits_for_sectors, covered, pages_for_bits, touched, BITS_PER_PAGE};

/// A page: 512 words of 64 bits, bit n of the page is bit `n % 64` of word `n / 64`. On disk and on the wire the
/// words are little endian.
pub type Words = [u64; 512];

/// No memory for a page; the bits keep their old value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

/// What a page holds.
pub enum PageView<'a> {
    /// No bit is set.
    Clean,
    /// Every bit is set.
    AllSet,
    /// Both kinds.
    Present(&'a Words),
}

/// Storage of the pages. Lent by the shell.
pub trait PageStore {
    /// Number of pages.
    fn len(&self) -> usize;
    /// No page at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// A look at page `index`; `Clean` beyond the end.
    fn view(&self, index: usize) -> PageView<'_>;
    /// The words of page `index`, made present with every bit as before. Must not sleep.
    fn present(&mut self, index: usize) -> Result<&mut Words, NoMemory>;
    /// Makes a page uniform and frees its memory.
    fn set_uniform(&mut self, index: usize, all_set: bool);
    /// Number of set bits of page `index`, as last recorded.
    fn weight(&self, index: usize) -> u32;
    /// Records the number of set bits, and whether the page now differs from the disk.
    fn record(&mut self, index: usize, weight: u32, dirty: bool);
    /// The page differs from the disk.
    fn is_dirty(&self, index: usize) -> bool;
    /// Page `index` of both changes places, with its record. Both have it.
    fn swap_page(&mut self, other: &mut Self, index: usize);
}

/// The bitmap of a volume.
pub struct Bitmap<P> {
    pages: P,
    device_sectors: u64,
    bits: u64,
    weight: u64,
}

const fn page_bits(bits: u64, page: usize) -> u32 {
    let start = page as u64 * BITS_PER_PAGE;
    let left = bits.saturating_sub(start);
    if left < BITS_PER_PAGE {
        left as u32
    } else {
        BITS_PER_PAGE as u32
    }
}

/// Mask of bits `from..to` of a word, with `from < to <= 64`.
const fn mask(from: u32, to: u32) -> u64 {
    (u64::MAX << from) & (u64::MAX >> (64 - to))
}

/// Changes bits `from..to` of a page; returns how many changed.
fn change(words: &mut Words, from: u32, to: u32, set: bool) -> u32 {
    let mut changed = 0;
    let mut bit = from;
    while bit < to {
        let in_word = bit % 64;
        let stop = (64 - in_word).min(to - bit);
        let mask = mask(in_word, in_word + stop);
        if let Some(word) = words.get_mut((bit / 64) as usize) {
            let new = if set { *word | mask } else { *word & !mask };
            changed += (*word ^ new).count_ones();
            *word = new;
        }
        bit += stop;
    }
    changed
}

impl<P: PageStore> Bitmap<P> {
    /// A bitmap over `pages`, all clean, for a device of `device_sectors`. `pages` must hold
    /// [`pages_for_bits`] of them; bits without a page are not tracked.
    pub fn new(pages: P, device_sectors: u64) -> Self {
        let bits = bits_for_sectors(device_sectors);
        debug_assert!(pages.len() >= pages_for_bits(bits));
        Self { pages, device_sectors, bits, weight: 0 }
    }

    /// The storage, to be replaced by another of the right length.
    pub fn into_pages(self) -> P {
        self.pages
    }

    /// Number of bits.
    pub const fn bits(&self) -> u64 {
        self.bits
    }

    /// Number of set bits.
    pub const fn weight(&self) -> u64 {
        self.weight
    }

    /// Size of the device in sectors.
    pub const fn device_sectors(&self) -> u64 {
        self.device_sectors
    }

    /// Pages in use.
    pub fn page_count(&self) -> usize {
        pages_for_bits(self.bits).min(self.pages.len())
    }

    /// Marks every block the range touches out of sync. Returns the bits newly set.
    pub fn set_range(&mut self, sector: u64, size_bytes: u32) -> u32 {
        let (first, end) = touched(sector, u64::from(size_bytes), self.bits);
        self.set_bits(first, end)
    }

    /// Marks blocks fully covered in sync. Returns the bits newly cleared. Without memory for a partial page they stay set.
    pub fn clear_range(&mut self, sector: u64, size_bytes: u32) -> u32 {
        let (first, end) = covered(sector, u64::from(size_bytes), self.device_sectors);
        self.clear_bits(first, end)
    }

    /// Any block the range touches is out of sync.
    pub fn any_set(&self, sector: u64, size_bytes: u32) -> bool {
        let (first, end) = touched(sector, u64::from(size_bytes), self.bits);
        self.next_before(first, end, true).is_some()
    }

    /// Sets bits `first..end`; returns how many were clear.
    pub fn set_bits(&mut self, first: u64, end: u64) -> u32 {
        self.for_pages(first, end, |map, page, from, to| map.set_in_page(page, from, to))
    }

    /// Clears bits `first..end`; returns how many were set.
    pub fn clear_bits(&mut self, first: u64, end: u64) -> u32 {
        self.for_pages(first, end, |map, page, from, to| map.clear_in_page(page, from, to))
    }

    fn for_pages(&mut self, first: u64, end: u64, mut each: impl FnMut(&mut Self, usize, u32, u32) -> u32) -> u32 {
        let end = end.min(self.bits);
        let mut bit = first;
        let mut changed = 0u32;
        while bit < end {
            let page = (bit / BITS_PER_PAGE) as usize;
            let from = (bit % BITS_PER_PAGE) as u32;
            let to = u64::from(from).saturating_add(end - bit).min(BITS_PER_PAGE) as u32;
            changed = changed.saturating_add(each(self, page, from, to));
            bit += u64::from(to - from);
        }
        changed
    }

    fn set_in_page(&mut self, page: usize, from: u32, to: u32) -> u32 {
        let limit = page_bits(self.bits, page);
        let old = self.pages.weight(page);
        if old >= limit || page >= self.pages.len() {
            return 0;
        }
        let changed = if from == 0 && to >= limit {
            self.pages.set_uniform(page, true);
            limit - old
        } else {
            match self.pages.present(page) {
                Ok(words) => change(words, from, to, true),
                Err(NoMemory) => {
                    self.pages.set_uniform(page, true);
                    limit - old
                }
            }
        };
        self.account(page, old, old + changed);
        changed
    }

    fn clear_in_page(&mut self, page: usize, from: u32, to: u32) -> u32 {
        let limit = page_bits(self.bits, page);
        let old = self.pages.weight(page);
        if old == 0 {
            return 0;
        }
        let changed = if from == 0 && to >= limit {
            self.pages.set_uniform(page, false);
            old
        } else {
            match self.pages.present(page) {
                Ok(words) => change(words, from, to.min(limit), false),
                Err(NoMemory) => return 0,
            }
        };
        if changed == old {
            self.pages.set_uniform(page, false);
        }
        self.account(page, old, old - changed);
        changed
    }

    fn account(&mut self, page: usize, old: u32, new: u32) {
        if old == new {
            return;
        }
        self.weight = self.weight.saturating_sub(u64::from(old)).saturating_add(u64::from(new));
        self.pages.record(page, new, true);
    }

    /// The first set bit at or after `from`.
    pub fn next_set(&self, from: u64) -> Option<u64> {
        self.next(from, true)
    }

    /// The first clear bit at or after `from`.
    pub fn next_clear(&self, from: u64) -> Option<u64> {
        self.next(from, false)
    }

    fn next(&self, from: u64, set: bool) -> Option<u64> {
        self.next_before(from, self.bits, set)
    }

    /// The first set (or clear) bit of `from..end`. Takes a look at each page on the way.
    pub fn next_before(&self, from: u64, end: u64, set: bool) -> Option<u64> {
        let end = end.min(self.bits);
        let mut bit = from;
        while bit < end {
            let page = (bit / BITS_PER_PAGE) as usize;
            let start = page as u64 * BITS_PER_PAGE;
            let found = match self.pages.view(page) {
                PageView::Clean => (!set).then_some(bit),
                PageView::AllSet => set.then_some(bit),
                PageView::Present(words) => next_in(words, (bit - start) as u32, set).map(|found| start + u64::from(found)),
            };
            if let Some(found) = found {
                return (found < end).then_some(found);
            }
            bit = start + BITS_PER_PAGE;
        }
        None
    }

    /// Length of the run of equal bits that starts at `from`, and their value; `None` at the end.
    pub fn run(&self, from: u64) -> Option<(u64, bool)> {
        self.run_before(from, self.bits)
    }

    /// The same of what lies before `end`.
    pub fn run_before(&self, from: u64, end: u64) -> Option<(u64, bool)> {
        let end = end.min(self.bits);
        if from >= end {
            return None;
        }
        let value = self.next_before(from, from + 1, true).is_some();
        let stop = self.next_before(from, end, !value).unwrap_or(end);
        Some((stop - from, value))
    }

    /// Word `index` of the whole bitmap (64 bits, bit 0 first); padding is zero.
    pub fn word(&self, index: u64) -> u64 {
        let first = index.saturating_mul(64);
        if first >= self.bits {
            return 0;
        }
        let page = (first / BITS_PER_PAGE) as usize;
        let word = match self.pages.view(page) {
            PageView::Clean => 0,
            PageView::AllSet => u64::MAX,
            PageView::Present(words) => words.get((index % 512) as usize).copied().unwrap_or(0),
        };
        let left = self.bits - first;
        if left < 64 {
            word & (u64::MAX >> (64 - left))
        } else {
            word
        }
    }

    /// ORs a received word in; returns the bits newly set.
    pub fn or_word(&mut self, index: u64, word: u64) -> u32 {
        let first = index.saturating_mul(64);
        let mut set = 0u32;
        let mut rest = word;
        while rest != 0 {
            let from = rest.trailing_zeros();
            let run = (rest >> from).trailing_ones();
            set = set.saturating_add(self.set_bits(first + u64::from(from), first + u64::from(from + run)));
            if from + run >= 64 {
                break;
            }
            rest &= u64::MAX << (from + run);
        }
        set
    }

    /// Sets or clears every bit. Takes long with many pages: who holds a lock goes by [`pieces`](super::arithmetic::pieces).
    pub fn fill(&mut self, set: bool) {
        let bits = self.bits;
        if set {
            self.set_bits(0, bits);
        } else {
            self.clear_bits(0, bits);
        }
    }

    /// Writes page `index` as it stands on disk (4096 bytes, little endian, padding clear).
    pub fn store_page(&self, index: usize, out: &mut [u8]) {
        let whole = page_bits(self.bits, index) == BITS_PER_PAGE as u32;
        match self.pages.view(index) {
            PageView::Clean => return out.fill(0),
            PageView::AllSet if whole => return out.fill(0xff),
            PageView::Present(words) if whole => {
                for (word, chunk) in words.iter().zip(out.chunks_exact_mut(8)) {
                    chunk.copy_from_slice(&word.to_le_bytes());
                }
                return;
            }
            _ => {}
        }
        let base = index as u64 * 512;
        for (offset, chunk) in (0u64..).zip(out.chunks_exact_mut(8).take(512)) {
            chunk.copy_from_slice(&self.word(base + offset).to_le_bytes());
        }
    }

    /// Reads page `index` from its disk image. Bits behind the end of the device are ignored (metadata.md 7); the page is clean
    /// with respect to the disk afterwards. Without memory the whole page counts as set.
    pub fn load_page(&mut self, index: usize, bytes: &[u8]) {
        let limit = page_bits(self.bits, index);
        let old = self.pages.weight(index);
        let uniform = |value: u64| bytes.chunks_exact(8).all(|chunk| chunk == value.to_ne_bytes());
        let mut weight = 0u32;
        let word_at = |offset: u32, chunk: &[u8]| {
            let mut raw = [0u8; 8];
            raw.copy_from_slice(chunk);
            let left = limit.saturating_sub(offset.saturating_mul(64));
            let word = u64::from_le_bytes(raw);
            match left {
                0 => 0,
                1..=63 => word & (u64::MAX >> (64 - left)),
                _ => word,
            }
        };
        if uniform(u64::MAX) {
            weight = limit;
        } else if !uniform(0) {
            for (offset, chunk) in (0u32..).zip(bytes.chunks_exact(8).take(512)) {
                weight += word_at(offset, chunk).count_ones();
            }
        }
        if weight == 0 || weight == limit {
            self.pages.set_uniform(index, weight != 0);
        } else {
            match self.pages.present(index) {
                Ok(words) => {
                    words.fill(0);
                    for ((offset, chunk), word) in (0u32..).zip(bytes.chunks_exact(8)).zip(words.iter_mut()) {
                        *word = word_at(offset, chunk);
                    }
                }
                Err(NoMemory) => {
                    self.pages.set_uniform(index, true);
                    weight = limit;
                }
            }
        }
        self.weight = self.weight.saturating_sub(u64::from(old)).saturating_add(u64::from(weight));
        self.pages.record(index, weight, false);
    }

    /// Page `index` differs from the disk.
    pub fn is_dirty(&self, index: usize) -> bool {
        index < self.page_count() && self.pages.is_dirty(index)
    }

    /// The first page at or after `from` that differs from the disk.
    pub fn next_dirty_page(&self, from: usize) -> Option<usize> {
        self.next_dirty_page_before(from, self.page_count())
    }

    /// The same of the pages before `end`.
    pub fn next_dirty_page_before(&self, from: usize, end: usize) -> Option<usize> {
        (from..self.page_count().min(end)).find(|&index| self.pages.is_dirty(index))
    }

    /// Page `index` is about to be written: what changes from now on makes it dirty again.
    pub fn clean_page(&mut self, index: usize) {
        let weight = self.pages.weight(index);
        self.pages.record(index, weight, false);
    }

    /// Page `index` has to be written again.
    pub fn dirty_page(&mut self, index: usize) {
        let weight = self.pages.weight(index);
        self.pages.record(index, weight, true);
    }

    /// Every page has to be written (the bitmap moved on disk).
    pub fn dirty_all(&mut self) {
        for index in 0..self.page_count() {
            self.dirty_page(index);
        }
    }

    /// The same bits over other storage for a device of another size; the pages themselves move, so this takes no longer than a look at
    /// each. New bits take `set_new`; `pages` must be clean and long enough. What has to be written at the old place is dirty; the storage given back is
    /// to be dropped where memory may be freed.
    pub fn resized(mut self, pages: P, device_sectors: u64, set_new: bool) -> (Self, P) {
        let mut new = Self::new(pages, device_sectors);
        let kept_bits = self.bits.min(new.bits);
        let kept_pages = pages_for_bits(kept_bits).min(self.pages.len()).min(new.pages.len());
        for index in 0..kept_pages {
            new.pages.swap_page(&mut self.pages, index);
            new.weight = new.weight.saturating_add(u64::from(new.pages.weight(index)));
        }
        if self.bits == new.bits {
            return (new, self.pages);
        }
        if let Some(last) = kept_pages.checked_sub(1) {
            new.trim_page(last, page_bits(kept_bits, last));
        }
        for index in kept_pages..new.page_count() {
            new.dirty_page(index);
        }
        if set_new {
            let bits = new.bits;
            new.set_bits(kept_bits, bits);
        }
        (new, self.pages)
    }

    /// Leaves only the first `keep` bits of a page, which is then dirty. Without memory bits behind them stay set as far as the device goes.
    fn trim_page(&mut self, index: usize, keep: u32) {
        let old = self.pages.weight(index);
        let limit = page_bits(self.bits, index);
        let uniform = match self.pages.view(index) {
            PageView::Clean => Some(0),
            PageView::AllSet if keep == limit => Some(keep),
            _ => None,
        };
        let new = uniform.unwrap_or_else(|| match self.pages.present(index) {
            Ok(words) => {
                if u64::from(keep) < BITS_PER_PAGE {
                    change(words, keep, BITS_PER_PAGE as u32, false);
                }
                words.iter().map(|word| word.count_ones()).sum()
            }
            Err(NoMemory) => limit,
        });
        self.weight = self.weight.saturating_sub(u64::from(old)).saturating_add(u64::from(new));
        self.pages.record(index, new, true);
    }
}

fn next_in(words: &Words, from: u32, set: bool) -> Option<u32> {
    let mut index = (from / 64) as usize;
    let mut keep = u64::MAX << (from % 64);
    while let Some(word) = words.get(index) {
        let word = if set { *word } else { !*word } & keep;
        if word != 0 {
            return Some(index as u32 * 64 + word.trailing_zeros());
        }
        keep = u64::MAX;
        index += 1;
    }
    None
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
