// SPDX-License-Identifier: GPL-2.0
//! The bitmap against a list of booleans.

use super::*;

/// Pages on the heap; `budget` limits how many may be present at once.
pub(crate) struct HeapPages {
    pages: Vec<(u8, Option<Box<Words>>, u32, bool)>,
    budget: usize,
}

impl HeapPages {
    pub(crate) fn new(bits: u64, budget: usize) -> Self {
        Self { pages: (0..pages_for_bits(bits)).map(|_| (0, None, 0, false)).collect(), budget }
    }
}

impl PageStore for HeapPages {
    fn len(&self) -> usize {
        self.pages.len()
    }
    fn view(&self, index: usize) -> PageView<'_> {
        match self.pages.get(index) {
            Some((_, Some(words), _, _)) => PageView::Present(words),
            Some((1, None, _, _)) => PageView::AllSet,
            _ => PageView::Clean,
        }
    }
    fn present(&mut self, index: usize) -> Result<&mut Words, NoMemory> {
        let used = self.pages.iter().filter(|page| page.1.is_some()).count();
        let page = &mut self.pages[index];
        if page.1.is_none() {
            if used >= self.budget {
                return Err(NoMemory);
            }
            page.1 = Some(Box::new([if page.0 == 1 { u64::MAX } else { 0 }; 512]));
        }
        Ok(page.1.as_mut().unwrap())
    }
    fn set_uniform(&mut self, index: usize, all_set: bool) {
        self.pages[index].0 = u8::from(all_set);
        self.pages[index].1 = None;
    }
    fn weight(&self, index: usize) -> u32 {
        self.pages.get(index).map_or(0, |page| page.2)
    }
    fn record(&mut self, index: usize, weight: u32, dirty: bool) {
        self.pages[index].2 = weight;
        self.pages[index].3 = dirty;
    }
    fn is_dirty(&self, index: usize) -> bool {
        self.pages[index].3
    }
    fn swap_page(&mut self, other: &mut Self, index: usize) {
        core::mem::swap(&mut self.pages[index], &mut other.pages[index]);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn check(map: &Bitmap<HeapPages>, model: &[bool]) {
    assert_eq!(map.weight(), model.iter().filter(|bit| **bit).count() as u64);
    let mut position = 0;
    while let Some((length, value)) = map.run(position) {
        assert!(length > 0);
        assert!(model[position as usize..(position + length) as usize].iter().all(|bit| *bit == value));
        position += length;
    }
    assert_eq!(position, model.len() as u64);
}

#[test]
fn random_changes_agree_with_a_list_of_booleans() {
    for seed in 1..20u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let sectors = 700_000 + random.below(100_000);
        let bits = bits_for_sectors(sectors);
        let mut map = Bitmap::new(HeapPages::new(bits, 100), sectors);
        let mut model = vec![false; bits as usize];
        for _ in 0..400 {
            let first = random.below(bits);
            let length = if random.below(4) == 0 { random.below(70_000) } else { random.below(200) };
            let end = (first + length).min(bits);
            let set = random.below(2) == 0;
            let changed = if set { map.set_bits(first, end) } else { map.clear_bits(first, end) };
            let slice = &mut model[first as usize..end as usize];
            assert_eq!(changed as usize, slice.iter().filter(|bit| **bit != set).count());
            slice.fill(set);
            assert_eq!(map.next_set(first), (first..bits).find(|bit| model[*bit as usize]));
        }
        check(&map, &model);
        for _ in 0..6 {
            let bits = 1 + random.below(200_000);
            let set_new = random.below(2) == 0;
            map = map.resized(HeapPages::new(bits, 100), bits * 8, set_new).0;
            model.resize(bits as usize, set_new);
            check(&map, &model);
            let (from, to) = (random.below(bits), random.below(bits));
            map.clear_bits(from, to.max(from));
            model[from as usize..to.max(from) as usize].fill(false);
            check(&map, &model);
        }
    }
}

/// SZ-8: what has to be written when only the size changes, and what a full page without memory becomes.
#[test]
fn sz_8_a_new_size_dirties_the_page_at_the_border_and_the_new_ones() {
    let mut map = Bitmap::new(HeapPages::new(3 * BITS_PER_PAGE, 9), 3 * BITS_PER_PAGE * 8);
    map.fill(true);
    for page in 0..3 {
        map.clean_page(page);
    }
    let bits = 2 * BITS_PER_PAGE - 10;
    let mut map = map.resized(HeapPages::new(bits, 9), bits * 8, true).0;
    assert_eq!((map.weight(), map.next_dirty_page(0)), (bits, Some(1)));
    map.clean_page(1);
    let bits = 4 * BITS_PER_PAGE;
    let map = map.resized(HeapPages::new(bits, 9), bits * 8, false).0;
    assert_eq!(map.weight(), 2 * BITS_PER_PAGE - 10);
    assert_eq!((0..5).filter(|page| map.next_dirty_page(*page) == Some(*page)).collect::<Vec<_>>(), [1, 2, 3]);
    let mut full = Bitmap::new(HeapPages::new(100, 0), 800);
    full.fill(true);
    let bigger = full.resized(HeapPages::new(200, 0), 1600, false).0;
    assert_eq!(bigger.weight(), 200, "without memory more is out of sync, never less");
}

#[test]
fn without_memory_setting_marks_more_and_clearing_marks_nothing() {
    let sectors = 3 * BITS_PER_PAGE * 8;
    let mut map = Bitmap::new(HeapPages::new(3 * BITS_PER_PAGE, 1), sectors);
    map.set_bits(5, 6);
    assert_eq!(map.set_bits(BITS_PER_PAGE + 5, BITS_PER_PAGE + 6), BITS_PER_PAGE as u32);
    assert!(map.any_set((BITS_PER_PAGE + 9) * 8, 512));
    assert_eq!(map.clear_bits(BITS_PER_PAGE + 5, BITS_PER_PAGE + 6), 0);
    assert_eq!(map.weight(), BITS_PER_PAGE + 1);
    assert_eq!(map.clear_bits(BITS_PER_PAGE, 2 * BITS_PER_PAGE), BITS_PER_PAGE as u32);
}

#[test]
fn the_last_64_bits_survive_loading_when_the_number_of_bits_is_a_multiple_of_64() {
    let sectors = 24576 * 8;
    let mut map = Bitmap::new(HeapPages::new(24576, 1), sectors);
    let mut page = vec![0u8; 4096];
    for bit in [24512usize, 24574, 24575, 24576, 24600] {
        page[bit / 8] |= 1 << (bit % 8);
    }
    map.load_page(0, &page);
    assert_eq!(map.weight(), 3);
    let mut out = vec![0xffu8; 4096];
    map.store_page(0, &mut out);
    page[24576 / 8] = 0;
    page[24600 / 8] = 0;
    assert_eq!(out, page);
    assert_eq!(map.next_dirty_page(0), None);
    map.set_bits(0, 1);
    assert_eq!(map.next_dirty_page(0), Some(0));
}

#[test]
fn received_words_are_merged() {
    let mut map = Bitmap::new(HeapPages::new(1000, 1), 8000);
    map.set_bits(64, 66);
    assert_eq!(map.or_word(1, 0x8000_0000_0000_0007), 2);
    assert_eq!(map.word(1), 0x8000_0000_0000_0007);
    assert_eq!(map.or_word(15, u64::MAX), 40);
    assert_eq!(map.word(15), (1 << 40) - 1);
}

/// Whole pages of one value take another way than mixed ones and the last.
#[test]
fn a_page_on_disk_holds_the_words_and_comes_back_as_it_was() {
    let bits = 3 * BITS_PER_PAGE + 100;
    let mut map = Bitmap::new(HeapPages::new(bits, 4), bits * 8);
    map.set_bits(BITS_PER_PAGE, 2 * BITS_PER_PAGE + 77);
    map.set_bits(3 * BITS_PER_PAGE, bits);
    let mut again = Bitmap::new(HeapPages::new(bits, 4), bits * 8);
    for page in 0..4 {
        let mut image = vec![0x55u8; 4096];
        map.store_page(page, &mut image);
        for (index, word) in (0u64..).zip(image.chunks_exact(8)) {
            assert_eq!(word, map.word(page as u64 * 512 + index).to_le_bytes(), "page {page} word {index}");
        }
        again.load_page(page, &image);
    }
    let mut junk = vec![0xffu8; 4096];
    again.load_page(3, &junk);
    assert_eq!((again.weight(), again.run(BITS_PER_PAGE)), (map.weight(), map.run(BITS_PER_PAGE)));
    junk.fill(0);
    again.load_page(1, &junk);
    assert_eq!(again.weight(), 77 + 100);
}
