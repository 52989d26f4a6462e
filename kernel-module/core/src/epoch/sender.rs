// SPDX-License-Identifier: GPL-2.0
//! Epochs of the writes this node sends.
//!
//! A write gets its epoch when the sender thread puts it on the wire. Two writes may share an epoch unless one was
//! submitted after the other had been completed to the application. Completion therefore publishes "this epoch is closed"
//! *before* it completes, and every write notes what is published *when it is submitted*: a write that could depend on a
//! completed one has seen that one's epoch closed, and writes that were submitted together share an epoch whatever completes
//! before they are sent (EP-1).

/// Epochs sent and not yet acknowledged at most; the sender stalls beyond.
const OPEN_EPOCHS: usize = 512;

/// After a conflict of two primaries this many epochs have one write each: the C driver never acknowledges an epoch with a conflict in it, so
/// the fewer writes share one, the better.
const SINGLE_EPOCHS: u32 = 256;

/// An epoch whose barrier was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sent {
    number: u32,
    writes: u16,
    /// Writes among them that a conflict of two primaries has taken out (wire 19.6).
    resolved: u16,
}

/// A barrier acknowledgement that does not fit: the peer is at fault, the connection ends (EP-5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// The epoch that had to be acknowledged next and its number of writes; `None`: no barrier is out.
    pub expected: Option<(u32, u32)>,
    /// What came.
    pub got: (u32, u32),
}

/// Epochs of the sending side.
#[derive(Debug)]
pub struct SenderEpochs {
    /// Number of the current epoch.
    current: u32,
    /// Writes sent in it.
    writes: u16,
    /// Writes of it that a conflict has taken out.
    resolved: u16,
    /// Epochs whose barrier was sent, oldest first, as a ring.
    sent: [Sent; OPEN_EPOCHS],
    oldest: u32,
    count: u32,
    /// Epochs to come that have one write each.
    single: u32,
}

/// Whether `closed` (one more than an epoch) covers epoch `current`; numbers wrap around.
const fn is_past(closed: u32, current: u32) -> bool {
    closed.wrapping_sub(current).wrapping_sub(1) < 1 << 31
}

impl Default for SenderEpochs {
    fn default() -> Self {
        Self::new()
    }
}

impl SenderEpochs {
    /// Epoch 0 is current, and empty.
    pub const fn new() -> Self {
        const NONE: Sent = Sent { number: 0, writes: 0, resolved: 0 };
        Self { current: 0, writes: 0, resolved: 0, sent: [NONE; OPEN_EPOCHS], oldest: 0, count: 0, single: 0 }
    }

    /// Number of the epoch the next write joins, unless it has to be closed first.
    pub const fn current(&self) -> u32 {
        self.current
    }

    /// Epochs whose barrier was sent and not acknowledged, plus the current one ("ep" in /proc/drbd).
    pub const fn open(&self) -> u32 {
        self.count + 1
    }

    /// Whether the current epoch has to end before the next write is sent. `closed` is one more than the youngest epoch of which a
    /// write was completed, 0 for none.
    pub const fn must_close(&self, closed: u32, max_epoch_size: u32) -> bool {
        let full = self.writes as u32 >= max_epoch_size || self.writes == u16::MAX;
        self.writes > 0 && (is_past(closed, self.current) || full || self.single > 0)
    }

    /// There is a closed epoch whose barrier has not been sent (the queue ran empty, EP-2).
    pub const fn idle_barrier_due(&self, closed: u32) -> bool {
        self.writes > 0 && is_past(closed, self.current)
    }

    /// Writes of the current epoch were sent, and its barrier was not.
    pub const fn has_open_writes(&self) -> bool {
        self.writes > 0
    }

    /// A write joins the current epoch; its number.
    pub fn join(&mut self) -> u32 {
        self.writes = self.writes.saturating_add(1);
        self.current
    }

    /// Closes the current epoch; returns the number for its P_BARRIER. `None`: too many epochs are unacknowledged, wait.
    pub fn close(&mut self) -> Option<u32> {
        let at = (self.oldest.wrapping_add(self.count)) as usize % OPEN_EPOCHS;
        if self.count as usize >= OPEN_EPOCHS {
            return None;
        }
        let number = self.current;
        let closed = Sent { number, writes: self.writes, resolved: self.resolved };
        self.current = self.current.wrapping_add(1);
        (self.writes, self.resolved) = (0, 0);
        self.single = self.single.saturating_sub(1);
        // One that lost all its writes is never acknowledged.
        if closed.resolved < closed.writes || closed.writes == 0 {
            if let Some(place) = self.sent.get_mut(at) {
                *place = closed;
            }
            self.count += 1;
        }
        Some(number)
    }

    fn place(&self, position: u32) -> usize {
        self.oldest.wrapping_add(position) as usize % OPEN_EPOCHS
    }

    fn sent_at(&self, position: u32) -> Sent {
        self.sent.get(self.place(position)).copied().unwrap_or_default()
    }

    /// The peer has resolved a conflict: a write of this epoch is not written there, and not counted (wire 19.6). An epoch without other writes
    /// is not waited for any more.
    pub fn resolved(&mut self, epoch: u32) {
        self.single = SINGLE_EPOCHS;
        if epoch == self.current {
            self.resolved = self.resolved.saturating_add(1).min(self.writes);
            return;
        }
        let Some(position) = (0..self.count).find(|position| self.sent_at(*position).number == epoch) else { return };
        let mut sent = self.sent_at(position);
        sent.resolved = sent.resolved.saturating_add(1);
        let place = self.place(position);
        if sent.resolved < sent.writes {
            if let Some(kept) = self.sent.get_mut(place) {
                *kept = sent;
            }
            return;
        }
        for position in position..self.count.saturating_sub(1) {
            let (place, next) = (self.place(position), self.sent_at(position + 1));
            if let Some(kept) = self.sent.get_mut(place) {
                *kept = next;
            }
        }
        self.count = self.count.saturating_sub(1);
    }

    /// A P_BARRIER_ACK. The number is checked against the oldest unacknowledged epoch, the count against its writes. Older epochs with a
    /// conflict in them may have been left out: whatever the peer wrote of them is as durable as the one it names.
    pub fn acknowledged(&mut self, number: u32, set_size: u32) -> Result<u32, Mismatch> {
        let got = (number, set_size);
        for position in 0..self.count {
            let sent = self.sent_at(position);
            let expected = u32::from(sent.writes - sent.resolved.min(sent.writes));
            if sent.number == number && expected == set_size {
                self.oldest = self.oldest.wrapping_add(position + 1) % OPEN_EPOCHS as u32;
                self.count -= position + 1;
                return Ok(number);
            }
            if sent.number == number || sent.resolved == 0 {
                return Err(Mismatch { expected: Some((sent.number, expected)), got });
            }
        }
        Err(Mismatch { expected: None, got })
    }

    /// The connection is gone: nothing is unacknowledged any more. Numbers go on (wire 19.8).
    pub fn reset(&mut self) {
        self.count = 0;
        self.oldest = 0;
        self.single = 0;
        self.resolved = 0;
        if self.writes > 0 {
            self.current = self.current.wrapping_add(1);
            self.writes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl SenderEpochs {
        fn clone_for_test(&self) -> Self {
            Self { ..*self }
        }
    }

    #[test]
    fn writes_share_an_epoch_until_one_of_them_completes() {
        let mut epochs = SenderEpochs::new();
        assert_eq!((epochs.join(), epochs.join()), (0, 0));
        assert!(!epochs.must_close(0, 2048));
        assert!(epochs.must_close(1, 2048));
        assert_eq!(epochs.close(), Some(0));
        assert!(!epochs.must_close(1, 2048), "an old completion does not close a new epoch");
        assert_eq!(epochs.join(), 1);
        assert!(epochs.must_close(1, 1));
    }

    #[test]
    fn acknowledgements_come_in_order_with_the_right_count() {
        let mut epochs = SenderEpochs::new();
        for _ in 0..3 {
            epochs.join();
        }
        epochs.close();
        epochs.join();
        epochs.close();
        assert_eq!(epochs.acknowledged(1, 1), Err(Mismatch { expected: Some((0, 3)), got: (1, 1) }));
        assert_eq!(epochs.acknowledged(0, 2), Err(Mismatch { expected: Some((0, 3)), got: (0, 2) }));
        assert_eq!(epochs.acknowledged(0, 3), Ok(0));
        assert_eq!(epochs.acknowledged(1, 1), Ok(1));
        assert_eq!(epochs.acknowledged(2, 0), Err(Mismatch { expected: None, got: (2, 0) }));
    }

    #[test]
    fn the_ring_of_open_epochs_is_bounded() {
        let mut epochs = SenderEpochs::new();
        for _ in 0..OPEN_EPOCHS {
            epochs.join();
            assert!(epochs.close().is_some());
        }
        epochs.join();
        assert_eq!(epochs.close(), None);
        assert_eq!(epochs.acknowledged(0, 1), Ok(0));
        assert_eq!(epochs.close(), Some(OPEN_EPOCHS as u32));
    }

    #[test]
    fn an_epoch_with_a_conflict_may_stay_without_acknowledgement() {
        let mut epochs = SenderEpochs::new();
        // 0: one of two writes resolved; 1: its only write; 2: none
        let _ = (epochs.join(), epochs.join());
        assert_eq!(epochs.close(), Some(0));
        epochs.resolved(0);
        let _ = epochs.join();
        epochs.resolved(1);
        assert!(epochs.must_close(0, 2048), "one write for each epoch from now on");
        assert_eq!(epochs.close(), Some(1));
        let _ = epochs.join();
        assert_eq!(epochs.close(), Some(2));
        assert!(epochs.clone_for_test().acknowledged(1, 0).is_err(), "nobody waits for an epoch that lost all its writes");
        assert_eq!(epochs.clone_for_test().acknowledged(0, 1), Ok(0), "ours acknowledges the rest of it");
        assert!(epochs.clone_for_test().acknowledged(0, 2).is_err());
        assert_eq!(epochs.acknowledged(2, 1), Ok(2), "the C driver leaves it out");
        assert_eq!(epochs.open(), 1);
        for _ in 0..4 * OPEN_EPOCHS {
            let epoch = epochs.join();
            let _ = epochs.close().expect("never full of them");
            epochs.resolved(epoch);
        }
        epochs.reset();
        let _ = epochs.join();
        assert!(!epochs.must_close(0, 2048));
    }
}
