// SPDX-License-Identifier: GPL-2.0
//! Bytes received from a socket before anyone asked for them.
//!
//! Packets are small (8 to 40 bytes with their header) unless they carry data, and a call into the network costs more than a packet: what
//! has come is fetched together.

/// Bytes fetched at most. Of a packet with data, so much is copied once more.
const CAPACITY: usize = 512;

/// What was fetched and not yet taken.
pub(super) struct ReadAhead {
    bytes: [u8; CAPACITY],
    first: usize,
    end: usize,
}

impl ReadAhead {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; CAPACITY], first: 0, end: 0 }
    }

    /// Whether a request of `bytes` bytes is served by fetching ahead: larger ones go to their place directly.
    pub(super) const fn serves(bytes: usize) -> bool {
        bytes <= CAPACITY
    }

    /// Bytes not yet taken.
    pub(super) const fn len(&self) -> usize {
        self.end - self.first
    }

    /// What is not yet taken.
    pub(super) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.first..self.end).unwrap_or(&[])
    }

    /// Forgets the first `bytes` bytes that wait.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.first += bytes.min(self.len());
    }

    /// Takes up to `out.len()` bytes; how many.
    pub(super) fn take(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), self.waiting().get(..count)) {
            to.copy_from_slice(from);
        }
        self.skip(count);
        count
    }

    /// Has `fetch` put more behind what waits; it says how much that was. There is always room for a request that [`Self::serves`].
    pub(super) fn fill<E>(&mut self, fetch: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        let waiting = self.len();
        self.bytes.copy_within(self.first..self.end, 0);
        (self.first, self.end) = (0, waiting);
        let room = self.bytes.get_mut(waiting..).unwrap_or(&mut []);
        let most = room.len();
        self.end += fetch(room)?.min(most);
        Ok(())
    }
}
