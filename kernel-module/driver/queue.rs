// SPDX-License-Identifier: GPL-2.0
//! What leaves on the data socket besides application requests: control packets, resync requests, replies with data.
//!
//! Filled by process context and by ends of bios, emptied by the sender thread. Entries carry an order number from the same
//! counter as application requests ([`super::connection::Connection::next_order`]), so the sender keeps
//! the order in which the control plane and the requests were queued. The ring never grows; replies are bounded by the requests
//! of the peer in work, resync requests by the pace of the resync, control packets by the few places that send them.

use super::peer_io::PeerIo;
use super::prelude::*;
use drbd_core::wire::Command;

/// Entries at most.
pub(crate) const CAPACITY: usize = 2048;
/// Entries kept free for control packets and for replies (one for each request of the peer in work) when resync requests are queued.
pub(crate) const HEADROOM: usize = 1280;

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

// Each connection has memory for all entries.
const _: () = assert!(core::mem::size_of::<Option<Item>>() == 32);

/// The ring.
pub(crate) struct SendQueue {
    ring: KVVec<Option<Item>>,
    head: usize,
    len: usize,
}

impl SendQueue {
    pub(crate) fn new() -> Result<Self> {
        let mut ring = KVVec::with_capacity(CAPACITY, GFP_KERNEL)?;
        for _ in 0..CAPACITY {
            ring.push(None, GFP_KERNEL)?;
        }
        Ok(Self { ring, head: 0, len: 0 })
    }

    /// Appends; gives the item back when the ring is full.
    pub(crate) fn put(&mut self, item: Item) -> Result<(), Item> {
        let capacity = self.ring.len();
        let at = (self.head + self.len) % capacity.max(1);
        match self.ring.get_mut(at) {
            Some(place) if self.len < capacity => {
                *place = Some(item);
                self.len += 1;
                Ok(())
            }
            _ => Err(item),
        }
    }

    /// The order number of the oldest entry.
    pub(crate) fn peek_order(&self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        self.ring.get(self.head).and_then(|place| place.as_ref()).map(|item| item.order)
    }

    /// Takes the oldest.
    pub(crate) fn take(&mut self) -> Option<Item> {
        if self.len == 0 {
            return None;
        }
        let item = self.ring.get_mut(self.head).and_then(|place| place.take());
        self.head = (self.head + 1) % self.ring.len().max(1);
        self.len -= 1;
        item
    }

    /// Free places.
    pub(crate) fn room(&self) -> usize {
        self.ring.len() - self.len
    }
}
