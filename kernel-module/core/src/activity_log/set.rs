// SPDX-License-Identifier: GPL-2.0
//! See the parent module.

/// "No extent": a free slot. The same number stands for it on disk.
pub const FREE: u32 = u32::MAX;
/// Slot changes a transaction block has room for.
pub const CHANGES_PER_TRANSACTION: usize = 64;
/// Context entries a transaction block has room for.
pub const CONTEXT_PER_TRANSACTION: u16 = 919;

const NONE: u16 = u16::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    /// No extent.
    #[default]
    Free,
    /// On disk: writes may run.
    Hot,
    /// In the transaction that is filling.
    Open,
    /// In the transaction that is being written.
    Sealed,
}

/// One slot of the set.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    extent: u32,
    /// What the slot holds on disk while a change is under way.
    on_disk: u32,
    references: u32,
    phase: Phase,
    hash_next: u16,
    /// Links of the least-recently-used list (hot, unreferenced) or of the free list.
    next: u16,
    previous: u16,
}

impl Default for Slot {
    fn default() -> Self {
        Self { extent: FREE, on_disk: FREE, references: 0, phase: Phase::Free, hash_next: NONE, next: NONE, previous: NONE }
    }
}

/// What the set lives in.
pub trait Storage {
    /// The slots; 67 to 65534 of them.
    fn slots(&self) -> &[Slot];
    /// The slots.
    fn slots_mut(&mut self) -> &mut [Slot];
    /// Heads of the hash chains; at least one.
    fn buckets(&self) -> &[u16];
    /// Heads of the hash chains.
    fn buckets_mut(&mut self) -> &mut [u16];
}

/// Outcome of asking for an extent on behalf of a write. `Hot` and `Pending` took a reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// The write may run.
    Hot,
    /// The write has to wait for the commit of the open transaction.
    Pending,
    /// The open transaction has no room: commit it first.
    Full,
    /// Every slot is referenced by writes in flight: wait for some to finish (AL-5).
    Starving,
}

/// A slot change of the sealed transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Slot number.
    pub slot: u16,
    /// Extent that enters.
    pub extent: u32,
    /// Extent that leaves, or [`FREE`].
    pub leaving: u32,
}

/// The set of hot extents.
pub struct ActivityLog<S> {
    storage: S,
    free: u16,
    oldest: u16,
    newest: u16,
    open: [u16; CHANGES_PER_TRANSACTION],
    open_count: u8,
    sealed: [u16; CHANGES_PER_TRANSACTION],
    sealed_count: u8,
    is_sealed: bool,
    number: u32,
    context_start: u16,
    used: u16,
    referenced: u16,
    /// Writes that found their extent in the set.
    pub hits: u64,
    /// Writes that needed a transaction.
    pub misses: u64,
    /// Times the set was exhausted.
    pub starving: u64,
}

impl<S: Storage> ActivityLog<S> {
    /// An empty set. Free slots are handed out from the highest number down.
    pub fn new(mut storage: S) -> Self {
        storage.buckets_mut().fill(NONE);
        let count = storage.slots().len().min(usize::from(NONE)) as u16;
        for (index, slot) in (0u16..count).zip(storage.slots_mut().iter_mut()) {
            *slot = Slot { next: if index == 0 { NONE } else { index - 1 }, ..Slot::default() };
        }
        Self {
            storage,
            free: if count == 0 { NONE } else { count - 1 },
            oldest: NONE,
            newest: NONE,
            open: [NONE; CHANGES_PER_TRANSACTION],
            open_count: 0,
            sealed: [NONE; CHANGES_PER_TRANSACTION],
            sealed_count: 0,
            is_sealed: false,
            number: 0,
            context_start: 0,
            used: 0,
            referenced: 0,
            hits: 0,
            misses: 0,
            starving: 0,
        }
    }

    /// Slots of the set ("al-extents").
    pub fn capacity(&self) -> u16 {
        self.storage.slots().len().min(usize::from(NONE)) as u16
    }

    /// Slots that hold an extent.
    pub const fn used(&self) -> u16 {
        self.used
    }

    /// Slots whose extent a write in flight refers to.
    pub const fn referenced(&self) -> u16 {
        self.referenced
    }

    /// Number of the next transaction.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Slots that changed their extent by a committed transaction, since the start.
    pub const fn changed(&self) -> u64 {
        self.misses.saturating_sub(self.open_count as u64 + self.sealed_count as u64)
    }

    /// The line of /proc/drbd with proc_details (netlink-and-tools.md section 9). Nobody finds the set locked, as the next
    /// transaction fills while one is written.
    pub fn write_statistics(&self, out: &mut impl core::fmt::Write) -> core::fmt::Result {
        let (hits, misses, starving, changed) = (self.hits, self.misses, self.starving, self.changed());
        let (used, all) = (self.referenced, self.capacity());
        writeln!(out, "\tact_log: used:{used}/{all} hits:{hits} misses:{misses} starving:{starving} locked:0 changed:{changed}")
    }

    /// No write is in flight: no slot is referenced.
    pub fn is_idle(&self) -> bool {
        self.storage.slots().iter().all(|slot| slot.references == 0)
    }

    fn slot(&self, index: u16) -> Slot {
        self.storage.slots().get(usize::from(index)).copied().unwrap_or_default()
    }

    fn with(&mut self, index: u16, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.storage.slots_mut().get_mut(usize::from(index)) {
            change(slot);
        }
    }

    fn bucket(&self, extent: u32) -> usize {
        let count = self.storage.buckets().len().max(1);
        (extent.wrapping_mul(0x9e37_79b1) >> 7) as usize % count
    }

    fn find(&self, extent: u32) -> Option<u16> {
        let mut index = self.storage.buckets().get(self.bucket(extent)).copied().unwrap_or(NONE);
        while index != NONE {
            let slot = self.slot(index);
            if slot.extent == extent {
                return Some(index);
            }
            index = slot.hash_next;
        }
        None
    }

    fn hash_insert(&mut self, index: u16, extent: u32) {
        let bucket = self.bucket(extent);
        let head = self.storage.buckets().get(bucket).copied().unwrap_or(NONE);
        self.with(index, |slot| slot.hash_next = head);
        if let Some(place) = self.storage.buckets_mut().get_mut(bucket) {
            *place = index;
        }
    }

    fn hash_remove(&mut self, index: u16, extent: u32) {
        let bucket = self.bucket(extent);
        let next = self.slot(index).hash_next;
        let mut at = self.storage.buckets().get(bucket).copied().unwrap_or(NONE);
        if at == index {
            if let Some(place) = self.storage.buckets_mut().get_mut(bucket) {
                *place = next;
            }
            return;
        }
        while at != NONE {
            let following = self.slot(at).hash_next;
            if following == index {
                self.with(at, |slot| slot.hash_next = next);
                return;
            }
            at = following;
        }
    }

    fn lru_append(&mut self, index: u16) {
        let last = self.newest;
        self.with(index, |slot| {
            slot.previous = last;
            slot.next = NONE;
        });
        if last == NONE {
            self.oldest = index;
        } else {
            self.with(last, |slot| slot.next = index);
        }
        self.newest = index;
    }

    fn lru_remove(&mut self, index: u16) {
        let Slot { next, previous, .. } = self.slot(index);
        if previous == NONE {
            self.oldest = next;
        } else {
            self.with(previous, |slot| slot.next = next);
        }
        if next == NONE {
            self.newest = previous;
        } else {
            self.with(next, |slot| slot.previous = previous);
        }
    }

    fn reference(&mut self, index: u16) {
        let slot = self.slot(index);
        if slot.references == 0 && slot.phase == Phase::Hot {
            self.lru_remove(index);
        }
        self.referenced += u16::from(slot.references == 0);
        self.with(index, |slot| slot.references = slot.references.saturating_add(1));
    }

    /// The fast path: a reference on an extent that is hot now.
    pub fn get_if_hot(&mut self, extent: u32) -> Option<u16> {
        let index = self.find(extent)?;
        if self.slot(index).phase != Phase::Hot {
            return None;
        }
        self.reference(index);
        self.hits += 1;
        Some(index)
    }

    /// A reference on an extent, entering it into the open transaction when it is cold.
    pub fn begin(&mut self, extent: u32) -> Begin {
        if let Some(index) = self.find(extent) {
            let phase = self.slot(index).phase;
            self.reference(index);
            self.hits += 1;
            return if phase == Phase::Hot { Begin::Hot } else { Begin::Pending };
        }
        if usize::from(self.open_count) >= CHANGES_PER_TRANSACTION {
            return Begin::Full;
        }
        let index = if self.free != NONE {
            let index = self.free;
            self.free = self.slot(index).next;
            self.used += 1;
            index
        } else if self.oldest != NONE {
            let index = self.oldest;
            self.lru_remove(index);
            let leaving = self.slot(index).extent;
            self.hash_remove(index, leaving);
            index
        } else {
            self.starving += 1;
            return Begin::Starving;
        };
        self.with(index, |slot| {
            slot.on_disk = slot.extent;
            slot.extent = extent;
            slot.references = 1;
            slot.phase = Phase::Open;
        });
        self.referenced += 1;
        self.hash_insert(index, extent);
        if let Some(place) = self.open.get_mut(usize::from(self.open_count)) {
            *place = index;
        }
        self.open_count += 1;
        self.misses += 1;
        Begin::Pending
    }

    /// Drops a reference. An extent that is not in the set is ignored (the set was cleared meanwhile).
    pub fn put(&mut self, extent: u32) {
        let Some(index) = self.find(extent) else { return };
        let slot = self.slot(index);
        if slot.references == 0 {
            return;
        }
        self.with(index, |slot| slot.references -= 1);
        self.referenced -= u16::from(slot.references == 1);
        if slot.references == 1 && slot.phase == Phase::Hot {
            self.lru_append(index);
        }
    }

    /// The open transaction has changes.
    pub const fn has_changes(&self) -> bool {
        self.open_count > 0
    }

    /// A transaction is being written.
    pub const fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// Closes the open transaction for writing; `false` while another one is being written. It may be empty.
    pub fn seal(&mut self) -> bool {
        if self.is_sealed {
            return false;
        }
        self.sealed = self.open;
        self.sealed_count = self.open_count;
        self.open_count = 0;
        self.is_sealed = true;
        for position in 0..usize::from(self.sealed_count) {
            let index = self.sealed.get(position).copied().unwrap_or(NONE);
            self.with(index, |slot| slot.phase = Phase::Sealed);
        }
        true
    }

    /// Change `position` of the sealed transaction.
    pub fn change(&self, position: usize) -> Option<Change> {
        if position >= usize::from(self.sealed_count) {
            return None;
        }
        let index = self.sealed.get(position).copied()?;
        let slot = self.slot(index);
        Some(Change { slot: index, extent: slot.extent, leaving: slot.on_disk })
    }

    /// First slot of the context of the sealed transaction.
    pub const fn context_start(&self) -> u16 {
        self.context_start
    }

    /// What a slot holds on disk before the sealed transaction; [`FREE`] behind the last slot.
    pub fn context(&self, slot: u16) -> u32 {
        if usize::from(slot) >= self.storage.slots().len() {
            return FREE;
        }
        let slot = self.slot(slot);
        match slot.phase {
            Phase::Hot | Phase::Free => slot.extent,
            Phase::Open | Phase::Sealed => slot.on_disk,
        }
    }

    /// The sealed transaction is on stable storage: its extents are hot.
    pub fn committed(&mut self) {
        if !self.is_sealed {
            return;
        }
        for position in 0..usize::from(self.sealed_count) {
            let index = self.sealed.get(position).copied().unwrap_or(NONE);
            self.with(index, |slot| slot.phase = Phase::Hot);
            if self.slot(index).references == 0 {
                self.lru_append(index);
            }
        }
        self.sealed_count = 0;
        self.is_sealed = false;
        self.number = self.number.wrapping_add(1);
        let next = u32::from(self.context_start) + u32::from(CONTEXT_PER_TRANSACTION);
        self.context_start = if next >= u32::from(self.capacity()) { 0 } else { next as u16 };
    }

    /// Forgets every extent (AL suspended, disk gone). Only while nothing is referenced that will be put by slot; later
    /// [`Self::put`] calls for forgotten extents are ignored. The numbering goes on.
    pub fn clear(self) -> Self {
        let (number, hits, misses, starving) = (self.number, self.hits, self.misses, self.starving);
        let mut new = Self::new(self.storage);
        new.number = number;
        new.hits = hits;
        new.misses = misses;
        new.starving = starving;
        new
    }
}
