// SPDX-License-Identifier: GPL-2.0
//! The memory that the data plane of a volume works on.

use super::prelude::*;
use drbd_core::activity_log::{self, Slot};
use drbd_core::bitmap::{NoMemory, PageStore, PageView, Words};
use drbd_core::engine::table::Entry;

/// Slots of requests in flight.
pub(crate) struct Slots(KVVec<Entry>);

impl Slots {
    /// `count` free slots.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut slots = KVVec::with_capacity(count, GFP_KERNEL)?;
        slots.extend_with(count, Entry::default(), GFP_KERNEL)?;
        Ok(Self(slots))
    }
}

impl AsRef<[Entry]> for Slots {
    fn as_ref(&self) -> &[Entry] {
        &self.0
    }
}

impl AsMut<[Entry]> for Slots {
    fn as_mut(&mut self) -> &mut [Entry] {
        &mut self.0
    }
}

/// Slots of the activity log.
pub(crate) struct LogSlots {
    slots: KVVec<Slot>,
    buckets: KVVec<u16>,
}

impl LogSlots {
    /// Room for `count` extents.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut slots = KVVec::with_capacity(count, GFP_KERNEL)?;
        slots.extend_with(count, Slot::default(), GFP_KERNEL)?;
        let mut buckets = KVVec::new();
        buckets.extend_with(count.next_power_of_two().max(64), 0, GFP_KERNEL)?;
        Ok(Self { slots, buckets })
    }
}

impl activity_log::Storage for LogSlots {
    fn slots(&self) -> &[Slot] {
        &self.slots
    }
    fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }
    fn buckets(&self) -> &[u16] {
        &self.buckets
    }
    fn buckets_mut(&mut self) -> &mut [u16] {
        &mut self.buckets
    }
}

struct BitmapPage {
    words: Option<KBox<Words>>,
    weight: u32,
    all_set: bool,
    dirty: bool,
}

/// Pages of the bitmap; made present without sleeping, because this happens under a spinlock.
pub(crate) struct BitmapPages(KVVec<BitmapPage>);

impl BitmapPages {
    /// `count` clean pages.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut pages = KVVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            pages.push(BitmapPage { words: None, weight: 0, all_set: false, dirty: false }, GFP_KERNEL)?;
        }
        Ok(Self(pages))
    }
}

impl PageStore for BitmapPages {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn view(&self, index: usize) -> PageView<'_> {
        match self.0.get(index) {
            Some(BitmapPage { words: Some(words), .. }) => PageView::Present(words),
            Some(BitmapPage { all_set: true, .. }) => PageView::AllSet,
            _ => PageView::Clean,
        }
    }

    fn present(&mut self, index: usize) -> core::result::Result<&mut Words, NoMemory> {
        let page = self.0.get_mut(index).ok_or(NoMemory)?;
        if page.words.is_none() {
            // In place: a page of words is too large for the stack.
            let mut fresh = KBox::init(pin_init::init_zeroed::<Words>(), GFP_NOWAIT | __GFP_NOWARN).map_err(|_: Error| NoMemory)?;
            if page.all_set {
                fresh.fill(u64::MAX);
            }
            page.words = Some(fresh);
        }
        page.words.as_deref_mut().ok_or(NoMemory)
    }

    fn set_uniform(&mut self, index: usize, all_set: bool) {
        if let Some(page) = self.0.get_mut(index) {
            page.words = None;
            page.all_set = all_set;
        }
    }

    fn weight(&self, index: usize) -> u32 {
        self.0.get(index).map_or(0, |page| page.weight)
    }

    fn record(&mut self, index: usize, weight: u32, dirty: bool) {
        if let Some(page) = self.0.get_mut(index) {
            page.weight = weight;
            page.dirty = dirty;
        }
    }

    fn is_dirty(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|page| page.dirty)
    }

    fn swap_page(&mut self, other: &mut Self, index: usize) {
        if let (Some(own), Some(theirs)) = (self.0.get_mut(index), other.0.get_mut(index)) {
            core::mem::swap(own, theirs);
        }
    }
}
