// SPDX-License-Identifier: GPL-2.0
//! Epochs of the writes this node receives (behaviour.md EP-3, EP-4).
//!
//! Writes of a later epoch are held until the earlier ones are finished and, where the disk has a volatile cache, flushed: then
//! the order on stable storage is the order of the epochs. A barrier is acknowledged after the flush, so an acknowledged epoch
//! survives a crash of this node. Nothing here waits: each event says what may happen next.

/// How the order of epochs is kept on the disks (EP-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ordering {
    /// Not at all; barriers are acknowledged when their writes are finished.
    None,
    /// Later writes wait for earlier epochs to finish.
    Drain,
    /// As drain, and the disks are flushed between epochs.
    #[default]
    Flush,
}

/// Epochs of a connection that may be open at once.
pub const OPEN_EPOCHS: usize = 256;

#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    number: [u8; 4],
    writes: u32,
    active: u32,
    closed: bool,
}

/// A P_BARRIER_ACK to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarrierAck {
    /// The opaque number of the P_BARRIER.
    pub number: [u8; 4],
    /// Writes of the epoch.
    pub set_size: u32,
}

/// A write has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Its epoch, for [`ReceiverEpochs::write_finished`] and [`ReceiverEpochs::may_submit`].
    pub epoch: u32,
    /// It may be submitted now; otherwise hold it until its epoch [`ReceiverEpochs::may_submit`].
    pub submit: bool,
}

/// What follows from an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct AfterWrite {
    /// Flush all disks of the resource, then call [`ReceiverEpochs::flushed`].
    pub flush: bool,
    /// Barrier acks may be due: call [`ReceiverEpochs::next_ack`] until `None`; then held writes may have been released.
    pub progress: bool,
}

/// Epochs of the receiving side.
#[derive(Debug)]
pub struct ReceiverEpochs {
    ring: [Epoch; OPEN_EPOCHS],
    oldest: u32,
    current: u32,
    ordering: Ordering,
    flushing: bool,
    /// Number of the flush asked for last.
    flush_number: u32,
    flushed: bool,
}

impl Default for ReceiverEpochs {
    fn default() -> Self {
        Self::new()
    }
}

impl ReceiverEpochs {
    /// One empty epoch.
    pub const fn new() -> Self {
        const EMPTY: Epoch = Epoch { number: [0; 4], writes: 0, active: 0, closed: false };
        Self { ring: [EMPTY; OPEN_EPOCHS], oldest: 0, current: 0, ordering: Ordering::Flush, flushing: false, flush_number: 0, flushed: false }
    }

    /// The method in force.
    pub const fn ordering(&self) -> Ordering {
        self.ordering
    }

    /// Changes the method (an option changed, a disk came or went, a flush failed).
    pub fn set_ordering(&mut self, ordering: Ordering) -> AfterWrite {
        self.ordering = ordering;
        self.advance()
    }

    /// Epochs not acknowledged, the current one included.
    pub const fn open(&self) -> u32 {
        self.current.wrapping_sub(self.oldest) + 1
    }

    fn at(&mut self, epoch: u32) -> &mut Epoch {
        let index = epoch as usize % OPEN_EPOCHS;
        // The index is below the length of the array.
        &mut self.ring[index]
    }

    /// The ring is full: stop reading the data socket until an ack went out.
    pub const fn is_full(&self) -> bool {
        self.open() as usize >= OPEN_EPOCHS
    }

    /// A write of the peer has arrived (data, discard or zero-out; also one that will be answered P_NEG_ACK for lack of a disk).
    pub fn write_received(&mut self) -> Received {
        let epoch = self.current;
        let entry = self.at(epoch);
        entry.writes = entry.writes.saturating_add(1);
        entry.active = entry.active.saturating_add(1);
        Received { epoch, submit: self.may_submit(epoch) }
    }

    /// Writes of this epoch may go to the disk.
    pub fn may_submit(&self, epoch: u32) -> bool {
        self.ordering == Ordering::None || epoch == self.oldest
    }

    /// A write is finished, well or badly, and its own ack is queued.
    pub fn write_finished(&mut self, epoch: u32) -> AfterWrite {
        let entry = self.at(epoch);
        entry.active = entry.active.saturating_sub(1);
        if entry.active == 0 && entry.closed {
            self.advance()
        } else {
            AfterWrite::default()
        }
    }

    /// A P_BARRIER closes the current epoch. Not to be called while [`Self::is_full`].
    pub fn barrier(&mut self, number: [u8; 4]) -> AfterWrite {
        let current = self.current;
        let entry = self.at(current);
        entry.number = number;
        entry.closed = true;
        self.current = current.wrapping_add(1);
        *self.at(current.wrapping_add(1)) = Epoch::default();
        self.advance()
    }

    fn advance(&mut self) -> AfterWrite {
        let oldest = self.oldest;
        let Epoch { closed, active, writes, .. } = *self.at(oldest);
        if !closed || active != 0 {
            return AfterWrite::default();
        }
        if self.ordering != Ordering::Flush || writes == 0 || self.flushed {
            return AfterWrite { flush: false, progress: true };
        }
        let start = !self.flushing;
        self.flush_number = self.flush_number.wrapping_add(u32::from(start));
        self.flushing = true;
        AfterWrite { flush: start, progress: false }
    }

    /// The flush asked for has ended.
    pub fn flushed(&mut self) -> AfterWrite {
        self.flushing = false;
        self.flushed = true;
        self.advance()
    }

    /// Number of the flush asked for last, to be read before the disks are flushed.
    pub const fn flush_number(&self) -> u32 {
        self.flush_number
    }

    /// A flush has ended that began when [`Self::flush_number`] was `number`. One that began before the flush that is wanted now, for a
    /// connection that is gone, does not count.
    pub fn flush_ended(&mut self, number: u32) -> AfterWrite {
        if self.flushing && number == self.flush_number {
            self.flushed()
        } else {
            AfterWrite::default()
        }
    }

    /// Takes the next barrier ack that is due. After the last one [`Self::needs_flush`] may ask for the flush of the next epoch.
    pub fn next_ack(&mut self) -> Option<BarrierAck> {
        let oldest = self.oldest;
        let Epoch { number, writes, active, closed } = *self.at(oldest);
        // A flush that is due is not begun here, but by who asks [`Self::needs_flush`].
        let stable = self.ordering != Ordering::Flush || writes == 0 || self.flushed;
        if oldest == self.current || !closed || active != 0 || !stable {
            return None;
        }
        self.oldest = oldest.wrapping_add(1);
        self.flushed = false;
        Some(BarrierAck { number, set_size: writes })
    }

    /// Whether the epoch that is oldest now is finished and has to be flushed; starts that flush.
    pub fn needs_flush(&mut self) -> bool {
        !self.flushing && self.oldest != self.current && self.advance().flush
    }

    /// The connection is gone and all its writes have ended. Numbers go on: the end of a write whose acknowledgement was dropped
    /// may still be on its way here.
    pub fn reset(&mut self) {
        for entry in self.ring.iter_mut() {
            *entry = Epoch::default();
        }
        let next = self.current.wrapping_add(1);
        self.oldest = next;
        self.current = next;
        self.flushing = false;
        self.flushed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain_acks(epochs: &mut ReceiverEpochs) -> Vec<(u8, u32)> {
        core::iter::from_fn(|| epochs.next_ack()).map(|ack| (ack.number[0], ack.set_size)).collect()
    }

    #[test]
    fn a_barrier_is_acknowledged_after_its_writes_and_the_flush() {
        let mut epochs = ReceiverEpochs::new();
        let a = epochs.write_received();
        let b = epochs.write_received();
        assert!(a.submit && b.submit);
        assert_eq!(epochs.barrier([7, 0, 0, 0]), AfterWrite::default());
        let c = epochs.write_received();
        assert!(!c.submit, "the next epoch is held");
        let _ = epochs.write_finished(a.epoch);
        assert_eq!(epochs.write_finished(b.epoch), AfterWrite { flush: true, progress: false });
        assert!(epochs.next_ack().is_none());
        assert!(!epochs.may_submit(c.epoch));
        assert!(epochs.flushed().progress);
        assert_eq!(drain_acks(&mut epochs), [(7, 2)]);
        assert!(epochs.may_submit(c.epoch));
    }

    #[test]
    fn without_flushes_a_finished_epoch_is_acknowledged_at_its_barrier() {
        let mut epochs = ReceiverEpochs::new();
        let _ = epochs.set_ordering(Ordering::Drain);
        let a = epochs.write_received();
        let _ = epochs.write_finished(a.epoch);
        assert!(epochs.barrier([1; 4]).progress);
        assert_eq!(drain_acks(&mut epochs), [(1, 1)]);
    }

    #[test]
    fn epochs_that_were_finished_before_flushes_came_into_force_are_flushed() {
        let mut epochs = ReceiverEpochs::new();
        let _ = epochs.set_ordering(Ordering::None);
        let first = epochs.write_received();
        let _ = epochs.barrier([1; 4]);
        let second = epochs.write_received();
        let _ = epochs.barrier([2; 4]);
        assert_eq!(epochs.write_finished(second.epoch), AfterWrite::default());
        let _ = epochs.set_ordering(Ordering::Flush);
        assert!(epochs.write_finished(first.epoch).flush);
        assert!(epochs.flushed().progress);
        assert_eq!(drain_acks(&mut epochs), [(1, 1)]);
        assert!(epochs.needs_flush(), "the second");
        assert!(epochs.flushed().progress);
        assert_eq!(drain_acks(&mut epochs), [(2, 1)]);
    }

    #[test]
    fn what_is_left_of_a_lost_connection_does_not_count_for_the_next() {
        let mut epochs = ReceiverEpochs::new();
        let old = epochs.write_received();
        let _ = epochs.barrier([1; 4]);
        assert!(epochs.write_finished(old.epoch).flush);
        let number = epochs.flush_number();
        epochs.reset();
        // The flush ends before the first epoch of the next connection is finished ...
        assert_eq!(epochs.flush_ended(number), AfterWrite::default());
        let new = epochs.write_received();
        let _ = epochs.barrier([2; 4]);
        // ... a write of the old one while one of the new is at the disk ...
        assert_eq!(epochs.write_finished(old.epoch), AfterWrite::default());
        assert!(epochs.write_finished(new.epoch).flush, "flushed for itself");
        // ... and another flush after that, which may have begun before.
        assert_eq!(epochs.flush_ended(number), AfterWrite::default());
        assert!(epochs.next_ack().is_none());
        assert!(epochs.flush_ended(epochs.flush_number()).progress);
        assert_eq!(drain_acks(&mut epochs), [(2, 1)]);
    }

    /// Random events: acks in order with exact counts, and no write is submitted before every earlier epoch was flushed.
    #[test]
    fn no_write_overtakes_an_epoch_that_is_not_flushed() {
        for seed in 1..200u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut random = move |limit: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % limit
            };
            let mut epochs = ReceiverEpochs::new();
            let mut held: Vec<u32> = Vec::new();
            let mut active: Vec<u32> = Vec::new();
            let mut sizes: Vec<u32> = vec![0];
            let mut stable = 0u32;
            let mut acked = 0u32;
            let mut flushing = false;
            for _ in 0..500 {
                let after = match random(4) {
                    0 | 1 => {
                        let received = epochs.write_received();
                        *sizes.last_mut().unwrap() += 1;
                        if received.submit {
                            assert_eq!(received.epoch, stable, "earlier epochs are stable");
                            active.push(received.epoch);
                        } else {
                            held.push(received.epoch);
                        }
                        AfterWrite::default()
                    }
                    2 if !epochs.is_full() && *sizes.last().unwrap() > 0 => {
                        let number = (sizes.len() - 1) as u32;
                        sizes.push(0);
                        epochs.barrier(number.to_le_bytes())
                    }
                    3 if !active.is_empty() => {
                        let epoch = active.swap_remove(random(active.len() as u64) as usize);
                        epochs.write_finished(epoch)
                    }
                    _ if flushing => {
                        flushing = false;
                        assert!(active.iter().all(|epoch| *epoch != stable));
                        stable += 1;
                        epochs.flushed()
                    }
                    _ => AfterWrite::default(),
                };
                flushing |= after.flush;
                if after.progress {
                    while let Some(ack) = epochs.next_ack() {
                        assert_eq!(u32::from_le_bytes(ack.number), acked);
                        assert_eq!(ack.set_size, sizes[acked as usize]);
                        acked += 1;
                        assert!(acked <= stable);
                    }
                    flushing |= epochs.needs_flush();
                    held.retain(|epoch| {
                        let go = epochs.may_submit(*epoch);
                        if go {
                            assert_eq!(*epoch, stable);
                            active.push(*epoch);
                        }
                        !go
                    });
                }
            }
        }
    }
}
