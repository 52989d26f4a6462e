// SPDX-License-Identifier: GPL-2.0
//! What leaves on the data socket besides application requests: control packets, resync requests, replies with data.
//!
//! Filled by process context and by ends of bios, emptied by the sender thread. Entries carry an order number from the same
//! counter as application requests ([`super::connection::Connection::next_order`]), so the sender keeps
//! the order in which the control plane and the requests were queued. Putting never allocates; replies are bounded by the requests
//! of the peer in work, resync requests by the pace of the resync, control packets by the few places that send them.

use super::peer_io::PeerIo;
use super::prelude::*;
use drbd_core::wire::Command;

/// Entries for control packets, at least. Beside them each request of the peer in work has one for its reply, and resync requests have as many.
const CONTROL_PACKETS: usize = 256;
/// Entries for control packets of each volume.
const CONTROL_PACKETS_OF_A_VOLUME: usize = 16;

/// A packet encoded in full. Boxed, like all that is rare in the ring, to keep its entries small.
pub(crate) struct Packet {
    pub(crate) bytes: KBox<KVec<u8>>,
}

/// P_PROTOCOL_UPDATE; what is sent after it carries digests of this algorithm.
pub(crate) struct ProtocolUpdate {
    pub(crate) packet: Packet,
    pub(crate) integrity: Option<KBox<crate::kapi::crypto::Digest>>,
}

/// One thing to send.
pub(crate) enum Outgoing {
    /// A whole packet, header included.
    Packet(Packet),
    /// P_RS_DATA_REQUEST, P_RS_THIN_REQ or P_OV_REQUEST for a range reserved in the data plane.
    Request { command: Command, sector: u64, size_bytes: u32 },
    /// What was read and now leaves as data or as a digest, or is compared with the peer's (`payload.rs`).
    Reply { io: Io<PeerIo> },
    /// The whole bitmap of the volume.
    Bitmap,
    /// The options of the connection have changed.
    ProtocolUpdate(KBox<ProtocolUpdate>),
}

/// An entry.
pub(crate) struct Item {
    pub(crate) order: u64,
    pub(crate) volume: u16,
    pub(crate) what: Outgoing,
}

// A connection has memory for all entries.
const _: () = assert!(core::mem::size_of::<Option<Item>>() == 32);

/// A ring of entries. It grows when somebody brings a longer one; it never allocates.
pub(super) struct Ring<T> {
    places: KVVec<Option<T>>,
    head: usize,
    len: usize,
}

/// Memory for so many entries.
pub(super) fn places<T>(count: usize) -> Result<KVVec<Option<T>>> {
    let mut places = KVVec::with_capacity(count, GFP_KERNEL)?;
    for _ in 0..count {
        places.push(None, GFP_KERNEL)?;
    }
    Ok(places)
}

impl<T> Ring<T> {
    pub(super) fn new(places: KVVec<Option<T>>) -> Self {
        Self { places, head: 0, len: 0 }
    }

    /// Appends; gives the entry back when the ring is full.
    pub(super) fn put(&mut self, entry: T) -> Result<(), T> {
        let capacity = self.places.len();
        let at = (self.head + self.len) % capacity.max(1);
        match self.places.get_mut(at) {
            Some(place) if self.len < capacity => {
                *place = Some(entry);
                self.len += 1;
                Ok(())
            }
            _ => Err(entry),
        }
    }

    /// The oldest.
    pub(super) fn front(&self) -> Option<&T> {
        if self.len == 0 {
            return None;
        }
        self.places.get(self.head).and_then(|place| place.as_ref())
    }

    /// Takes the oldest.
    pub(super) fn take(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let entry = self.places.get_mut(self.head).and_then(|place| place.take());
        self.head = (self.head + 1) % self.places.len().max(1);
        self.len -= 1;
        entry
    }

    /// Nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places in all.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Free places.
    pub(super) fn room(&self) -> usize {
        self.places.len() - self.len
    }

    /// Goes on in these places if they are more; gives back what is not needed, which is empty.
    pub(super) fn grow(&mut self, places: KVVec<Option<T>>) -> KVVec<Option<T>> {
        if places.len() <= self.places.len() {
            return places;
        }
        let mut longer = Self::new(places);
        while let Some(entry) = self.take() {
            let _ = longer.put(entry);
        }
        core::mem::replace(self, longer).places
    }
}

/// The queue.
pub(crate) struct SendQueue {
    ring: Ring<Item>,
    /// Places for control packets, and for replies; resync requests leave them free.
    control: usize,
    replies: usize,
}

impl SendQueue {
    pub(crate) fn new() -> Result<Self> {
        let mut queue = Self { ring: Ring::new(KVVec::new()), control: CONTROL_PACKETS, replies: super::acks::FIRST_LIMIT };
        queue.ring = Ring::new(places(queue.control + 2 * queue.replies)?);
        Ok(queue)
    }

    /// How many places it takes for so many volumes and requests of the peer in work, and no fewer than now.
    pub(crate) fn size_for(&self, volumes: usize, limit: usize) -> (usize, usize) {
        (self.control.max(volumes * CONTROL_PACKETS_OF_A_VOLUME), self.replies.max(limit))
    }

    /// Memory of a size.
    pub(crate) fn places((control, replies): (usize, usize)) -> Result<KVVec<Option<Item>>> {
        places(control + 2 * replies)
    }

    /// Goes on in these places, which have this size; gives back what is not needed.
    pub(crate) fn grow(&mut self, places: KVVec<Option<Item>>, (control, replies): (usize, usize)) -> KVVec<Option<Item>> {
        if places.len() > self.ring.len() {
            (self.control, self.replies) = (control, replies);
        }
        self.ring.grow(places)
    }

    /// Appends; gives the item back when the queue is full.
    pub(crate) fn put(&mut self, item: Item) -> Result<(), Item> {
        self.ring.put(item)
    }

    /// The order number of the oldest entry.
    pub(crate) fn peek_order(&self) -> Option<u64> {
        self.ring.front().map(|item| item.order)
    }

    /// Takes the oldest.
    pub(crate) fn take(&mut self) -> Option<Item> {
        self.ring.take()
    }

    /// Free places for resync requests.
    pub(crate) fn room_for_requests(&self) -> usize {
        self.ring.room().saturating_sub(self.control + self.replies)
    }
}
