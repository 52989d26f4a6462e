// SPDX-License-Identifier: GPL-2.0
//! Two primaries: overlapping writes of both nodes, so that both disks end equal (behaviour.md section 8, wire-protocol.md section 10).
//!
//! A write of the peer gets its range when it arrives ([`DataPlane::peer_write_register`]); local writes that come later wait for it. What
//! overlaps local writes that were there before depends on the node. The resolver turns it down while the peer has not answered for one of them:
//! *superseded* when that one covers it all, else *retry*. The other node lets it wait until its own writes have their verdict: one that is
//! superseded is over, one that is to be retried is postponed until the peer's write is done, and then starts anew.
//!
//! Why this ends: what the resolver starts waits only for its own disk, never for a verdict; the other node waits for the resolver alone. A local write
//! that has not been launched yet is later than any write of the peer that arrives, and waits for it in [`DataPlane::take_launchable`].

use super::request::Flags;
use super::table::{Entry, Operation};
use super::volume::{Actions, DataPlane, Storage, UnknownRequest};
use super::volume_peer::Begin;

/// A write of the peer that is not executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnedDown {
    /// The local write covers it: P_SUPERSEDED, else P_RETRY_WRITE (below version 100 always P_SUPERSEDED).
    pub superseded: bool,
    /// Identity of the local write. Until the peer has answered for it, the epoch of the peer's write must not be acknowledged.
    pub local_id: u64,
    /// Range of the local write: sector and bytes.
    pub local: (u64, u32),
}

/// What becomes of a write of the peer when it arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// It has its slot and its range; start it with [`DataPlane::peer_write_continue`].
    Slot(u32),
    /// It is not executed.
    TurnedDown(TurnedDown),
    /// There is no slot: try again when an event says `retry`.
    NotNow,
    /// There is no usable local disk.
    NoDisk,
}

/// What the peer decided about a write of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// P_SUPERSEDED: the peer's own write takes its place.
    Superseded,
    /// P_RETRY_WRITE: to be written again, here and there, after the peer's write.
    Retry,
}

fn overlaps(entry: &Entry, sector: u64, size_bytes: u32) -> bool {
    let end = |first: u64, bytes: u32| first.saturating_add(u64::from(bytes.div_ceil(512)));
    entry.sector < end(sector, size_bytes) && sector < end(entry.sector, entry.size_bytes)
}

fn covers(entry: &Entry, sector: u64, size_bytes: u32) -> bool {
    let end = |first: u64, bytes: u32| first.saturating_add(u64::from(bytes / 512));
    entry.sector <= sector && end(entry.sector, entry.size_bytes) >= end(sector, size_bytes)
}

/// An application write whose outcome at the peer is open.
fn undecided(entry: &Entry) -> bool {
    entry.operation.is_application_write() && entry.flags.has(Flags::NET_QUEUED.with(Flags::NET_PENDING))
}

impl<T: Storage> DataPlane<T> {
    /// A write of the peer has arrived, in the order of the data stream and of the acknowledgements sent before it (DP-2, DP-3).
    pub fn peer_write_register(&mut self, sector: u64, size_bytes: u32, may_set_in_sync: bool) -> Register {
        if !self.gate.local {
            return Register::NoDisk;
        }
        if self.gate.resolver {
            if let Some(verdict) = self.turn_down(sector, size_bytes) {
                return Register::TurnedDown(verdict);
            }
        }
        let flags = Flags::WAITS.with_if(Flags::MAY_SET_IN_SYNC, may_set_in_sync);
        let Some(slot) = self.start(Operation::PeerWrite, sector, size_bytes, flags) else {
            self.has_waiters = true;
            return Register::NotNow;
        };
        self.stamp_arrival(slot);
        Register::Slot(slot)
    }

    fn turn_down(&mut self, sector: u64, size_bytes: u32) -> Option<TurnedDown> {
        let covering = |entry: &Entry| undecided(entry) && covers(entry, sector, size_bytes);
        let found = self.ranges.find_entry(&self.table, sector, size_bytes, covering);
        let slot = found.or_else(|| self.ranges.find_entry(&self.table, sector, size_bytes, undecided))?;
        let entry = self.table.get(slot);
        self.set_flags(slot, entry.flags.with(Flags::DECIDES));
        Some(TurnedDown { superseded: found.is_some(), local_id: entry.id, local: (entry.sector, entry.size_bytes) })
    }

    /// Gives work for the peer its place in the order of arrival.
    pub(super) fn stamp_arrival(&mut self, slot: u32) {
        self.arrivals = self.arrivals.wrapping_add(1);
        let order = self.arrivals;
        if let Some(entry) = self.table.get_mut(slot) {
            entry.order = order;
        }
    }

    /// A registered write wants to start; [`Begin::Wait`]: call again on `retry`. After [`Begin::NoDisk`] the slot is still to be given back
    /// by [`Self::drop_peer_write`].
    pub fn peer_write_continue(&mut self, slot: u32) -> Begin {
        if !self.gate.local {
            return Begin::NoDisk;
        }
        let entry = self.table.get(slot);
        let blocks = |other: &Entry| match other.operation {
            Operation::PeerWrite => other.order < entry.order,
            Operation::ResyncWrite => other.flags.has(Flags::ARRIVED) && other.order < entry.order,
            operation if operation.is_application_write() => {
                let settled_here = other.flags.has(Flags::POSTPONED) && !other.flags.has(Flags::LOCAL_PENDING.with(Flags::SENDING));
                other.flags.is_launched() && !settled_here
            }
            _ => false,
        };
        if self.ranges.find_entry(&self.table, entry.sector, entry.size_bytes, blocks).is_some() {
            self.has_waiters = true;
            return Begin::Wait;
        }
        self.set_flags(slot, entry.flags.without(Flags::WAITS));
        if self.gate.log_peer_writes && self.gate.log_activity {
            self.bitmap.set_range(entry.sector, entry.size_bytes);
            self.table.push(&mut self.log_waiting, slot);
            return Begin::LogWait(slot);
        }
        self.local_references += 1;
        Begin::Go(slot)
    }

    /// A write of the peer is active, or waits, in the range of this one.
    pub(super) fn meets_peer_write(&self, entry: &Entry) -> bool {
        self.ranges.find(&self.table, entry.sector, entry.size_bytes, |operation| operation == Operation::PeerWrite).is_some()
    }

    /// The peer has decided about a write of ours. Also returns its epoch, which is one write smaller now.
    pub fn decided(&mut self, id: u64, sector: u64, verdict: Verdict) -> Result<(u32, u32, Actions), UnknownRequest> {
        let unknown = UnknownRequest { id, sector };
        let slot = self.table.find(id).ok_or(unknown)?;
        let entry = self.table.get(slot);
        let open = entry.operation.is_application_write() && entry.flags.has(Flags::NET_PENDING) && entry.sector == sector;
        if !open || !self.gate.two_primaries || !self.table.unlink_log(&mut self.transfer_log, slot) {
            return Err(unknown);
        }
        self.pending_at_peer = self.pending_at_peer.saturating_sub(1);
        self.count_at_peer(slot, false);
        let flags = self.table.get(slot).flags.without(Flags::NET_PENDING.with(Flags::ON_LOG));
        match verdict {
            Verdict::Superseded => self.set_flags(slot, flags.with(Flags::NET_OK)),
            Verdict::Retry => {
                self.set_flags(slot, flags.with(Flags::POSTPONED));
                self.table.push_log(&mut self.postponed, slot);
            }
        }
        let mut actions = self.settle(slot);
        actions.retry |= self.take_waiters();
        Ok((slot, entry.epoch, actions))
    }

    /// A write of this epoch, of this volume or of another one of the connection, was turned down: the C driver never acknowledges the epoch
    /// (wire 19.6), so nobody waits for that. Its other writes stay on the transfer log until a later epoch is acknowledged.
    pub fn epoch_had_conflict(&mut self, epoch: u32) {
        self.conflict_epoch = Some(epoch);
        let mut rest = super::table::Queue::new();
        while let Some(slot) = self.table.pop_log(&mut self.transfer_log) {
            let entry = self.table.get(slot);
            if entry.epoch == epoch {
                self.set_flags(slot, entry.flags.with(Flags::UNAWAITED));
            }
            self.table.push_log(&mut rest, slot);
        }
        self.transfer_log = rest;
    }

    /// A write of the peer is done: postponed local writes of its range start anew, as new requests of the peer (DP-3). Whether there were any:
    /// the log writer launches them.
    pub(super) fn restart_postponed(&mut self, sector: u64, size_bytes: u32) -> bool {
        let mut restarted = false;
        let mut kept = super::table::Queue::new();
        while let Some(slot) = self.table.pop_log(&mut self.postponed) {
            let entry = self.table.get(slot);
            let busy = entry.flags.has(Flags::LOCAL_PENDING.with(Flags::SENDING));
            if busy || !overlaps(&entry, sector, size_bytes) {
                self.table.push_log(&mut kept, slot);
                continue;
            }
            self.table.renew(slot);
            self.restart(slot, &entry);
            restarted = true;
        }
        self.postponed = kept;
        restarted
    }
}
