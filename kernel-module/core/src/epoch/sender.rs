// SPDX-License-Identifier: GPL-2.0
//! Epochs of the writes this node sends.
//!
//! A write gets its epoch when the sender thread puts it on the wire. Two writes may share an epoch unless one was
//! submitted after the other had been completed to the application. Completion therefore publishes "this epoch is closed"
//! *before* it completes, and every write notes what is published *when it is submitted*: a write that could depend on a
//! completed one has seen that one's epoch closed, and writes that were submitted together share an epoch whatever completes
//! before they are sent (EP-1).

/// Epochs sent and not yet acknowledged at most; the sender stalls beyond.
const OPEN_EPOCHS: usize = 1024;

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
    writes: u32,
    /// Writes of epochs whose barrier was sent, oldest first, as a ring.
    sent: [u32; OPEN_EPOCHS],
    oldest: u32,
    count: u32,
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
        Self { current: 0, writes: 0, sent: [0; OPEN_EPOCHS], oldest: 0, count: 0 }
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
        self.writes > 0 && (is_past(closed, self.current) || self.writes >= max_epoch_size)
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
        if let Some(place) = self.sent.get_mut(at) {
            *place = self.writes;
        }
        self.count += 1;
        self.current = self.current.wrapping_add(1);
        self.writes = 0;
        Some(number)
    }

    /// A P_BARRIER_ACK. The number is checked against the oldest unacknowledged epoch, the count against its writes.
    pub fn acknowledged(&mut self, number: u32, set_size: u32) -> Result<u32, Mismatch> {
        let expected_number = self.current.wrapping_sub(self.count);
        let expected_size = self.sent.get(self.oldest as usize % OPEN_EPOCHS).copied().unwrap_or(0);
        if self.count == 0 {
            return Err(Mismatch { expected: None, got: (number, set_size) });
        }
        if number != expected_number || set_size != expected_size {
            return Err(Mismatch { expected: Some((expected_number, expected_size)), got: (number, set_size) });
        }
        self.oldest = self.oldest.wrapping_add(1) % OPEN_EPOCHS as u32;
        self.count -= 1;
        Ok(number)
    }

    /// The connection is gone: nothing is unacknowledged any more. Numbers go on (wire 19.8).
    pub fn reset(&mut self) {
        self.count = 0;
        self.oldest = 0;
        if self.writes > 0 {
            self.current = self.current.wrapping_add(1);
            self.writes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
