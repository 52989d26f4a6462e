// SPDX-License-Identifier: GPL-2.0
//! Storage of the data plane on the heap.

use drbd_core::activity_log::{self, Slot};
use drbd_core::bitmap::{Bitmap, NoMemory, PageStore, PageView, Words};
use drbd_core::engine::table::Entry;
use drbd_core::engine::volume::Storage;
use drbd_core::wire::bitmap_transfer::{Sink, Source};

/// What the data plane of a simulated node lives in.
pub struct Heap;

impl Storage for Heap {
    type Slots = Vec<Entry>;
    type Log = LogSlots;
    type Pages = Pages;
}

/// Slots of the activity log.
pub struct LogSlots(Vec<Slot>, Vec<u16>);

impl LogSlots {
    pub fn new(count: usize) -> Self {
        Self(vec![Slot::default(); count], vec![0; count.next_power_of_two()])
    }
}

impl activity_log::Storage for LogSlots {
    fn slots(&self) -> &[Slot] {
        &self.0
    }
    fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.0
    }
    fn buckets(&self) -> &[u16] {
        &self.1
    }
    fn buckets_mut(&mut self) -> &mut [u16] {
        &mut self.1
    }
}

#[derive(Default)]
struct Page {
    words: Option<Box<Words>>,
    all_set: bool,
    weight: u32,
    dirty: bool,
}

/// Pages of the bitmap.
pub struct Pages(Vec<Page>);

impl Pages {
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Page::default()).collect())
    }
}

impl PageStore for Pages {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn view(&self, index: usize) -> PageView<'_> {
        match self.0.get(index) {
            Some(Page { words: Some(words), .. }) => PageView::Present(words),
            Some(Page { all_set: true, .. }) => PageView::AllSet,
            _ => PageView::Clean,
        }
    }
    fn present(&mut self, index: usize) -> Result<&mut Words, NoMemory> {
        let page = &mut self.0[index];
        let fill = if page.all_set { u64::MAX } else { 0 };
        Ok(page.words.get_or_insert_with(|| Box::new([fill; 512])))
    }
    fn set_uniform(&mut self, index: usize, all_set: bool) {
        (self.0[index].words, self.0[index].all_set) = (None, all_set);
    }
    fn weight(&self, index: usize) -> u32 {
        self.0.get(index).map_or(0, |page| page.weight)
    }
    fn record(&mut self, index: usize, weight: u32, dirty: bool) {
        (self.0[index].weight, self.0[index].dirty) = (weight, dirty);
    }
    fn is_dirty(&self, index: usize) -> bool {
        self.0[index].dirty
    }
    fn swap_page(&mut self, other: &mut Self, index: usize) {
        std::mem::swap(&mut self.0[index], &mut other.0[index]);
    }
}

/// The bitmap as the source of a transfer.
pub struct Sent<'a>(pub &'a Bitmap<Pages>);

impl Source for Sent<'_> {
    fn bits(&self) -> u64 {
        self.0.bits()
    }
    fn run(&self, from: u64) -> Option<(u64, bool)> {
        self.0.run(from)
    }
    fn word(&self, index: u64) -> u64 {
        self.0.word(index)
    }
}

/// The bitmap as the target of a transfer.
pub struct Merged<'a>(pub &'a mut Bitmap<Pages>);

impl Sink for Merged<'_> {
    fn set(&mut self, first: u64, end: u64) {
        self.0.set_bits(first, end);
    }
    fn or_word(&mut self, index: u64, word: u64) {
        self.0.or_word(index, word);
    }
}
