// SPDX-License-Identifier: GPL-2.0
//! Writes of the peer, and how they meet those of this node; with two primaries, so that both disks end equal (behaviour.md section 8,
//! wire-protocol.md section 10).
//!
//! A write of the peer gets its range when it arrives ([`DataPlane::peer_write_register`]); whatever comes later waits for it. Where it meets local
//! writes that were there before, and that the peer has not answered for, it depends on the node. The one that does not resolve conflicts lets it wait
//! until its own writes are done. So on that node the order is: its own write, then the resolver's. The resolver makes the same order: its own write
//! being on its way, it executes that of the peer as soon as its disk is free, and then writes its own once more ([`Launched::Again`]), on its own disk
//! only. Both are acknowledged as ever: nothing is turned down.
//!
//! A C resolver turns a write of ours down instead: *superseded* when one of its own covers it all, else *retry*. The first is over when the
//! covering write has arrived; any other is postponed until a write of the peer is done in its range, and then starts anew. The C driver also does so
//! because of a write that is done here already: then none comes, and it starts anew after a while.
//!
//! Why this ends: what the resolver starts waits only for its own disk, never for an answer; the other node waits for the resolver alone. A local write
//! that has not been launched yet is later than any write of the peer that arrives, and waits for it in [`DataPlane::take_launchable`].
//!
//! | what waits | for what |
//! |---|---|
//! | write of the peer, resolver | earlier writes of the peer and resync answers in its range; own disk, for writes the peer has not answered for; the end of those it has |
//! | write of the peer, other node | the same, and the end, or the verdict, of every own write that was launched before |
//! | second write of the resolver's own | writes of the peer in its range that are at the disk |
//! | postponed write | a write of the peer in its range, or a while |
//! | own write not launched | every write of the peer in its range, and the log |
//! | new write | everything in its range |
//!
//! [`Launched::Again`]: super::volume_log::Launched::Again

use super::request::Flags;
use super::table::{Entry, Operation};
use super::volume::{Actions, DataPlane, Storage, UnknownRequest};
use super::volume_peer::Begin;

/// What becomes of a write of the peer when it arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Register {
    /// It has its slot and its range; start it with [`DataPlane::peer_write_continue`].
    Slot(u32),
    /// There is no slot: try again when an event says `retry`.
    NotNow,
    /// There is no usable local disk.
    NoDisk,
}

/// What the peer decided about a write of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// P_SUPERSEDED: a write of the peer covers it.
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
        let flags = Flags::WAITS.with_if(Flags::MAY_SET_IN_SYNC, may_set_in_sync);
        let Some(slot) = self.start(Operation::PeerWrite, sector, size_bytes, flags) else {
            self.has_waiters = true;
            return Register::NotNow;
        };
        self.stamp_arrival(slot);
        Register::Slot(slot)
    }

    /// The resolver: the range of a local write that a registered write of the peer meets, for the log.
    pub fn conflicting_write(&self, slot: u32) -> Option<(u64, u32)> {
        if !self.resolves() {
            return None;
        }
        let entry = self.table.get(slot);
        let other = self.table.get(self.ranges.find_entry(&self.table, entry.sector, entry.size_bytes, undecided)?);
        Some((other.sector, other.size_bytes))
    }

    const fn resolves(&self) -> bool {
        self.gate.two_primaries && self.gate.resolver
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
        let resolves = self.resolves();
        let blocks = |other: &Entry| match other.operation {
            Operation::PeerWrite => other.order < entry.order,
            Operation::ResyncWrite | Operation::VerifyCompare => other.flags.has(Flags::ARRIVED) && other.order < entry.order,
            operation if operation.is_application_write() && other.flags.is_launched() => {
                if resolves && undecided(other) {
                    return other.flags.has(Flags::LOCAL_PENDING);
                }
                !other.flags.has(Flags::POSTPONED) || other.flags.has(Flags::LOCAL_PENDING.with(Flags::SENDING))
            }
            _ => false,
        };
        if self.ranges.find_entry(&self.table, entry.sector, entry.size_bytes, blocks).is_some() {
            self.has_waiters = true;
            return Begin::Wait;
        }
        if resolves {
            self.note_overwritten(&entry);
        }
        self.set_flags(slot, entry.flags.without(Flags::WAITS));
        self.log_or_go(slot, entry.sector, entry.size_bytes)
    }

    /// The peer will have the local writes that overlap after this one of its own: they are to be on our disk after it as well.
    fn note_overwritten(&mut self, entry: &Entry) {
        let fresh = |other: &Entry| undecided(other) && other.flags.has(Flags::LOCAL_USED) && !other.flags.has(Flags::OVERWRITTEN);
        while let Some(other) = self.ranges.find_entry(&self.table, entry.sector, entry.size_bytes, fresh) {
            self.set_flags(other, self.table.get(other).flags.with(Flags::OVERWRITTEN));
            self.overwritten = true;
        }
    }

    /// Takes a write that writes of the peer have overwritten, and that has to be written once more to the local disk, now that they are done.
    pub(super) fn take_overwritten(&mut self) -> Option<u32> {
        if !self.overwritten {
            return None;
        }
        let at_disk = |other: &Entry| other.operation == Operation::PeerWrite && !other.flags.has(Flags::WAITS);
        let ready = |entry: &Entry| {
            let open = entry.flags.has(Flags::OVERWRITTEN) && !entry.flags.has(Flags::LOCAL_PENDING);
            open && self.ranges.find_entry(&self.table, entry.sector, entry.size_bytes, at_disk).is_none()
        };
        let Some(slot) = self.ranges.first(&self.table, ready) else {
            self.overwritten = self.ranges.first(&self.table, |entry| entry.flags.has(Flags::OVERWRITTEN)).is_some();
            return None;
        };
        let flags = self.table.get(slot).flags.without(Flags::OVERWRITTEN.with(Flags::LOCAL_OK));
        self.set_flags(slot, flags.with(Flags::LOCAL_PENDING));
        self.local_references += 1;
        Some(slot)
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
        let covering = |other: &Entry| other.operation == Operation::PeerWrite && covers(other, entry.sector, entry.size_bytes);
        let covered = verdict == Verdict::Superseded && self.ranges.find_entry(&self.table, entry.sector, entry.size_bytes, covering).is_some();
        if covered {
            self.set_flags(slot, flags.with(Flags::NET_OK));
        } else {
            self.set_flags(slot, flags.with(Flags::POSTPONED));
            self.table.push_log(&mut self.postponed, slot);
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
        self.restart_where(|_, entry| overlaps(entry, sector, size_bytes))
    }

    /// Postponed writes that nothing has come for in `limit` ticks start anew (see the module text). True: wake the log writer.
    pub fn restart_forgotten(&mut self, now: u32, limit: u32) -> bool {
        let late = |entry: &Entry| now.wrapping_sub(entry.queued_at) as i32 >= limit as i32;
        !self.postponed.is_empty() && self.restart_where(|plane, entry| late(entry) && !plane.meets_peer_write(entry))
    }

    fn restart_where(&mut self, wanted: impl Fn(&Self, &Entry) -> bool) -> bool {
        let mut restarted = false;
        let mut kept = super::table::Queue::new();
        while let Some(slot) = self.table.pop_log(&mut self.postponed) {
            let entry = self.table.get(slot);
            let busy = entry.flags.has(Flags::LOCAL_PENDING.with(Flags::SENDING));
            if busy || !wanted(self, &entry) {
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
