// SPDX-License-Identifier: GPL-2.0
//! Acknowledgements waiting to go out on the meta socket.
//!
//! Ends of bios put them here from interrupt context: a ring of fixed size that never allocates. A request of the peer is only taken up when
//! there are places for its answers beside those that wait to be sent ([`AckQueue::reserve`]). Whoever finds the meta
//! socket free sends all that has gathered in one message: the receiver before it sleeps, else a work item.
//!
//! Order: acks leave in the order they were put, so the ack of a write precedes the barrier ack of its epoch.

use super::prelude::*;
use super::queue::Ring;

/// Requests of the peer in work at most, per connection.
pub(crate) const CAPACITY: usize = 1024;

/// As many have room in a new connection; [`super::connection::Connection::grow`] makes more.
pub(crate) const FIRST_LIMIT: usize = 64;

/// What a request of the peer may put here: that it was received (protocol B), how it ended, and the end of its epoch.
const ACKS_OF_A_REQUEST: usize = 3;

/// Epochs whose requests have all ended, and are acknowledged after a flush.
const EPOCHS: usize = drbd_core::epoch::OPEN_EPOCHS;

/// One acknowledgement.
#[derive(Clone, Copy)]
pub(crate) enum Ack {
    /// A block_ack-shaped packet (wire-protocol.md 3.1).
    Block { command: u16, volume: u16, id: [u8; 8], sector: u64, size_bytes: u32, sequence: u32 },
    /// P_BARRIER_ACK.
    Barrier { number: [u8; 4], set_size: u32 },
}

impl Ack {
    /// The same with a number.
    pub(crate) fn numbered(mut self, number: u32) -> Self {
        if let Ack::Block { sequence, .. } = &mut self {
            *sequence = number;
        }
        self
    }
}

/// The ring.
pub(crate) struct AckQueue {
    ring: Ring<Ack>,
    /// Requests of the peer that have room.
    limit: usize,
    reserved: usize,
    /// Which connection the requests in work belong to.
    generation: u32,
}

impl AckQueue {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { ring: Ring::new(Self::places(FIRST_LIMIT)?), limit: FIRST_LIMIT, reserved: 0, generation: 0 })
    }

    /// Memory for up to `limit` requests of the peer.
    pub(crate) fn places(limit: usize) -> Result<KVVec<Option<Ack>>> {
        super::queue::places(ACKS_OF_A_REQUEST * limit + EPOCHS)
    }

    /// Goes on in these places, which are for `limit` requests of the peer. Gives back what is to be freed; an error: these, which are no more.
    pub(crate) fn grow(&mut self, places: KVVec<Option<Ack>>, limit: usize) -> Result<KVVec<Option<Ack>>, KVVec<Option<Ack>>> {
        if limit <= self.limit {
            return Err(places);
        }
        self.limit = limit;
        Ok(self.ring.grow(places))
    }

    /// Requests of the peer that have room.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Makes room for one more request of the peer; `false`: too many are in work, or too many answers wait to be sent.
    pub(crate) fn reserve(&mut self) -> bool {
        if self.reserved >= self.limit || self.ring.room() < ACKS_OF_A_REQUEST * (self.reserved + 1) + EPOCHS {
            return false;
        }
        self.reserved += 1;
        true
    }

    /// A request of the peer is finished.
    pub(crate) fn unreserve(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Of the requests that begin now.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The connection is gone and what is still at the disks is not waited for: it ends without an answer.
    pub(crate) fn abandon(&mut self) {
        self.clear();
        self.reserved = 0;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Requests of the peer in work.
    pub(crate) fn in_work(&self) -> usize {
        self.reserved
    }

    /// Appends. The reservations keep a place for it.
    pub(crate) fn put(&mut self, ack: Ack) {
        if self.ring.put(ack).is_err() {
            pr_err!("an acknowledgement has no place: {} requests of the peer in work, room for {}\n", self.reserved, self.limit);
        }
    }

    /// Takes the oldest.
    pub(crate) fn take(&mut self) -> Option<Ack> {
        self.ring.take()
    }

    /// Nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Forgets everything (the connection is gone).
    pub(crate) fn clear(&mut self) {
        while self.take().is_some() {}
    }
}
