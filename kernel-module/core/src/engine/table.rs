// SPDX-License-Identifier: GPL-2.0
//! The table of everything in flight on one volume: slots, their free list, and the queues
//! threaded through them.
//!
//! A slot is handed out for every application write, every read served by the peer, and every
//! range that is being written or read for the peer or for a resync. Slots are numbered, so the
//! shell keeps its own payload (bios, pages) in an array of the same length. Nothing here
//! allocates: the storage is lent once, and its length is the limit of requests in flight.

/// "No slot": the end of a list.
pub const NIL: u32 = u32::MAX;

/// What a slot stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Operation {
    /// On the free list.
    #[default]
    Free,
    /// An application read that the peer serves.
    RemoteRead,
    /// An application write with data.
    Write,
    /// An application discard.
    Discard,
    /// An application request to write zeroes; the flag of the entry says whether it may unmap.
    WriteZeroes,
    /// A write (or discard, or zero-out) on behalf of the peer.
    PeerWrite,
    /// A range being read as source of a resync.
    ResyncRead,
    /// A range requested from, or being written for, the source of a resync.
    ResyncWrite,
    /// VerifyS: a block whose digest the peer was asked for, or that is being compared.
    VerifyCompare,
    /// VerifyT: a block that is being read for its digest, or waits for the verdict.
    VerifyRead,
    /// Notice that a range went out of sync; carries no data.
    OutOfSyncNotice,
}

impl Operation {
    /// An application request that changes data.
    pub const fn is_application_write(self) -> bool {
        matches!(self, Operation::Write | Operation::Discard | Operation::WriteZeroes)
    }
}

/// One slot. Fields are meaningful only while `operation` is not `Free`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry {
    /// First sector (512 bytes) of the range.
    pub sector: u64,
    /// Identity on the wire (`block_id`): generation in the high half, slot in the low half.
    pub id: u64,
    /// Position in the order of packets of the connection; set when queued for sending.
    pub order: u64,
    /// Length in bytes.
    pub size_bytes: u32,
    /// Progress and properties, see [`super::request::Flags`].
    pub flags: super::request::Flags,
    /// Write epoch on the sending side, once sent.
    pub epoch: u32,
    /// When it was queued to the peer, in jiffies of the shell (for the request timer).
    pub queued_at: u32,
    /// When it came, in jiffies of the shell.
    pub begun_at: u32,
    /// What the slot stands for.
    pub operation: Operation,
    /// Link of the one queue the slot is on (free, activity-log wait, send).
    pub(super) next: u32,
    /// Link of the transfer log.
    pub(super) log_next: u32,
    /// Links of the range index.
    pub(super) range_next: u32,
    pub(super) range_prev: u32,
    pub(super) bucket: u16,
}

/// A first-in first-out queue through `Entry::next`.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    head: u32,
    tail: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self::new()
    }
}

impl Queue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { head: NIL, tail: NIL }
    }

    /// No element.
    pub const fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// The oldest element.
    pub const fn front(&self) -> Option<u32> {
        if self.head == NIL {
            None
        } else {
            Some(self.head)
        }
    }
}

/// The slots of one volume.
#[derive(Debug)]
pub struct Table<S> {
    slots: S,
    free: u32,
    used: u32,
}

impl<S: AsRef<[Entry]> + AsMut<[Entry]>> Table<S> {
    /// Takes over `slots`; their old contents are overwritten.
    pub fn new(mut slots: S) -> Self {
        let all = slots.as_mut();
        let count = all.len().min(NIL as usize) as u32;
        for (index, entry) in (0u32..).zip(all.iter_mut()) {
            *entry = Entry { next: if index + 1 < count { index + 1 } else { NIL }, id: u64::from(index), ..Entry::default() };
        }
        Self { slots, free: if count == 0 { NIL } else { 0 }, used: 0 }
    }

    /// Slots in use.
    pub const fn used(&self) -> u32 {
        self.used
    }

    /// Slots in all.
    pub fn capacity(&self) -> u32 {
        self.slots.as_ref().len().min(NIL as usize) as u32
    }

    /// Goes on in a longer storage, where what is in use keeps its slot; gives back the old one. One that is no longer comes back unused.
    pub fn grow(&mut self, mut longer: S) -> S {
        let old = self.slots.as_ref();
        let count = longer.as_ref().len().min(NIL as usize);
        let Some(fresh) = count.checked_sub(old.len()).filter(|more| *more > 0) else { return longer };
        let first = (count - fresh) as u32;
        if let Some(place) = longer.as_mut().get_mut(..old.len()) {
            place.copy_from_slice(old);
        }
        for (slot, entry) in (first..).zip(longer.as_mut().iter_mut().skip(first as usize)) {
            let next = if slot as usize + 1 < count { slot + 1 } else { self.free };
            *entry = Entry { next, id: u64::from(slot), ..Entry::default() };
        }
        self.free = first;
        core::mem::replace(&mut self.slots, longer)
    }

    /// Takes a slot, with a new identity. `None`: all are in use; the caller waits.
    pub fn take(&mut self, operation: Operation, sector: u64, size_bytes: u32) -> Option<u32> {
        let slot = self.free;
        let entry = self.slots.as_mut().get_mut(slot as usize)?;
        self.free = entry.next;
        self.used += 1;
        let generation = (entry.id >> 32).wrapping_add(1) & 0x7fff_ffff;
        *entry = Entry {
            sector,
            size_bytes,
            operation,
            id: generation << 32 | u64::from(slot),
            next: NIL,
            log_next: NIL,
            range_next: NIL,
            range_prev: NIL,
            ..Entry::default()
        };
        Some(slot)
    }

    /// The oldest entry of the transfer log for which `wanted` says yes.
    pub fn find_in_log(&self, queue: &Queue, wanted: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let mut next = queue.front();
        while let Some(slot) = next {
            let entry = self.get(slot);
            if wanted(&entry) {
                return Some(entry);
            }
            next = (slot != queue.tail && entry.log_next != NIL).then_some(entry.log_next);
        }
        None
    }

    /// A new identity for a slot in use: what the peer says about the old one is void.
    pub fn renew(&mut self, slot: u32) {
        if let Some(entry) = self.get_mut(slot) {
            let generation = (entry.id >> 32).wrapping_add(1) & 0x7fff_ffff;
            entry.id = generation << 32 | u64::from(slot);
        }
    }

    /// Gives a slot back. It must be on no queue and in no index.
    pub fn release(&mut self, slot: u32) {
        let free = self.free;
        if let Some(entry) = self.slots.as_mut().get_mut(slot as usize) {
            entry.operation = Operation::Free;
            entry.next = free;
            self.free = slot;
            self.used = self.used.saturating_sub(1);
        }
    }

    /// The entry of a slot in use. A slot number that is not in use yields an empty entry, so that no
    /// caller can index out of bounds.
    pub fn get(&self, slot: u32) -> Entry {
        self.slots.as_ref().get(slot as usize).copied().unwrap_or_default()
    }

    /// The entry of a slot; `None` for a slot number out of range.
    pub fn peek(&self, slot: u32) -> Option<&Entry> {
        self.slots.as_ref().get(slot as usize)
    }

    /// Mutable access; `None` for a slot number out of range.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.as_mut().get_mut(slot as usize)
    }

    /// Finds the slot of a wire identity (`block_id`), refusing stale and invented ones.
    pub fn find(&self, id: u64) -> Option<u32> {
        let slot = (id & 0xffff_ffff) as u32;
        let entry = self.slots.as_ref().get(slot as usize)?;
        (entry.id == id && entry.operation != Operation::Free).then_some(slot)
    }

    /// Appends a slot to a queue. It must be on no other queue.
    pub fn push(&mut self, queue: &mut Queue, slot: u32) {
        if let Some(entry) = self.get_mut(slot) {
            entry.next = NIL;
        }
        if queue.tail == NIL {
            queue.head = slot;
        } else if let Some(last) = self.get_mut(queue.tail) {
            last.next = slot;
        }
        queue.tail = slot;
    }

    /// Slots on a queue that stand for `operation`.
    pub fn count(&self, queue: &Queue, operation: Operation) -> u32 {
        let (mut slot, mut count) = (queue.head, 0);
        while let Some(entry) = self.peek(slot) {
            count += u32::from(entry.operation == operation);
            slot = entry.next;
        }
        count
    }

    /// Some slot on a queue is such a one.
    pub fn any(&self, queue: &Queue, wanted: impl Fn(&Entry) -> bool) -> bool {
        let mut slot = queue.head;
        while let Some(entry) = self.peek(slot) {
            if wanted(entry) {
                return true;
            }
            slot = entry.next;
        }
        false
    }

    /// Puts all of `first` before what is on `queue`.
    pub fn put_before(&mut self, first: Queue, queue: &mut Queue) {
        if first.is_empty() {
            return;
        }
        let rest = core::mem::replace(queue, first);
        if rest.is_empty() {
            return;
        }
        if let Some(last) = self.get_mut(first.tail) {
            last.next = rest.head;
        }
        queue.tail = rest.tail;
    }

    /// Takes the oldest slot off a queue.
    pub fn pop(&mut self, queue: &mut Queue) -> Option<u32> {
        let slot = queue.front()?;
        queue.head = self.get(slot).next;
        if queue.head == NIL {
            queue.tail = NIL;
        }
        if let Some(entry) = self.get_mut(slot) {
            entry.next = NIL;
        }
        Some(slot)
    }

    /// Appends to the transfer log, a queue of its own through `Entry::log_next`.
    pub fn push_log(&mut self, queue: &mut Queue, slot: u32) {
        if let Some(entry) = self.get_mut(slot) {
            entry.log_next = NIL;
        }
        if queue.tail == NIL {
            queue.head = slot;
        } else if let Some(last) = self.get_mut(queue.tail) {
            last.log_next = slot;
        }
        queue.tail = slot;
    }

    /// Takes a slot out of the transfer log, wherever it stands there; a walk, for what is rare. False: it is not there.
    pub fn unlink_log(&mut self, queue: &mut Queue, slot: u32) -> bool {
        let mut rest = Queue::new();
        let mut found = false;
        while let Some(other) = self.pop_log(queue) {
            if other == slot {
                found = true;
            } else {
                self.push_log(&mut rest, other);
            }
        }
        *queue = rest;
        found
    }

    /// Takes the oldest slot off the transfer log.
    pub fn pop_log(&mut self, queue: &mut Queue) -> Option<u32> {
        let slot = queue.front()?;
        queue.head = self.get(slot).log_next;
        if queue.head == NIL {
            queue.tail = NIL;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_run_out_and_come_back_with_a_new_identity() {
        let mut table = Table::new([Entry::default(); 2]);
        let a = table.take(Operation::Write, 0, 4096).unwrap();
        let b = table.take(Operation::Write, 8, 4096).unwrap();
        assert!(table.take(Operation::Write, 16, 4096).is_none());
        let id = table.get(a).id;
        assert_eq!(table.find(id), Some(a));
        table.release(a);
        assert_eq!(table.find(id), None);
        let c = table.take(Operation::Write, 16, 512).unwrap();
        assert_eq!(c, a);
        assert_ne!(table.get(c).id, id);
        assert_eq!(table.find(id), None);
        assert_eq!(table.find(u64::MAX), None);
        assert_eq!((table.used(), b), (2, 1));
    }

    #[test]
    fn a_longer_storage_keeps_what_is_in_flight_and_its_identities() {
        let mut table = Table::new(vec![Entry::default(); 3]);
        let (mut queue, mut log) = (Queue::new(), Queue::new());
        let slots: Vec<u32> = (0..3).map(|sector| table.take(Operation::Write, sector, 512).unwrap()).collect();
        for slot in &slots {
            table.push(&mut queue, *slot);
            table.push_log(&mut log, *slot);
        }
        let ids: Vec<u64> = slots.iter().map(|slot| table.get(*slot).id).collect();
        assert_eq!(table.grow(vec![Entry::default(); 3]).len(), 3, "no longer: comes back");
        assert_eq!(table.grow(vec![Entry::default(); 7]).len(), 3);
        assert_eq!((table.capacity(), table.used()), (7, 3));
        assert_eq!(ids.iter().map(|id| table.find(*id)).collect::<Vec<_>>(), slots.iter().copied().map(Some).collect::<Vec<_>>());
        let more: Vec<u32> = std::iter::from_fn(|| table.take(Operation::Write, 9, 512)).collect();
        assert_eq!(more, [3, 4, 5, 6]);
        assert_eq!(std::iter::from_fn(|| table.pop(&mut queue)).collect::<Vec<_>>(), slots);
        assert_eq!(std::iter::from_fn(|| table.pop_log(&mut log)).collect::<Vec<_>>(), slots);
        // what is free stays free behind the new ones
        let mut table = Table::new(vec![Entry::default(); 2]);
        table.take(Operation::Write, 0, 512).unwrap();
        table.grow(vec![Entry::default(); 4]);
        assert_eq!(std::iter::from_fn(|| table.take(Operation::Write, 9, 512)).collect::<Vec<_>>(), [2, 3, 1]);
    }

    #[test]
    fn queues_keep_order_and_a_slot_may_be_on_a_queue_and_in_the_log() {
        let mut table = Table::new([Entry::default(); 8]);
        let (mut queue, mut log) = (Queue::new(), Queue::new());
        for sector in 0..5 {
            let slot = table.take(Operation::Write, sector, 512).unwrap();
            table.push(&mut queue, slot);
            table.push_log(&mut log, slot);
        }
        for sector in 0..5 {
            let slot = table.pop(&mut queue).unwrap();
            assert_eq!(table.get(slot).sector, sector);
            assert_eq!(table.pop_log(&mut log), Some(slot));
        }
        assert!(queue.is_empty() && log.is_empty());
        assert_eq!(table.pop(&mut queue), None);
        let mut first = Queue::new();
        for slot in [3, 1] {
            table.push(&mut queue, slot);
        }
        table.put_before(first, &mut queue);
        for slot in [2, 0] {
            table.push(&mut first, slot);
        }
        table.put_before(first, &mut queue);
        table.push(&mut queue, 4);
        let order: Vec<u32> = std::iter::from_fn(|| table.pop(&mut queue)).collect();
        assert_eq!(order, [2, 0, 3, 1, 4]);
    }
}
