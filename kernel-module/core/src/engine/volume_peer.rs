// SPDX-License-Identifier: GPL-2.0
//! The part of the data plane that works for the peer and for a resync: writes received, resync reads and writes.
//!
//! Exclusion between a resync and application writes is by range: a range being read as source, or requested and
//! written as target, and a local application write never overlap (RX-1, RX-12). A replicated write from the peer overlaps a
//! requested range freely, because the data stream orders both; it only waits once the reply has arrived and until it is written.

use super::request::Flags;
use super::table::{Entry, Operation};
use super::volume::{Actions, DataPlane, Storage};

/// May a write or resync of the peer start?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// It runs under this slot.
    Go(u32),
    /// An overlapping range is active: try again when an event says `retry`.
    Wait,
    /// It runs under this slot after the activity log holds its extents: wake the log writer.
    LogWait(u32),
    /// There is no usable local disk.
    NoDisk,
}

/// How a write of the peer ended, for its acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerWriteEnd {
    /// It was written, and the range is in sync now: answer P_RS_WRITE_ACK.
    pub in_sync: bool,
    /// Writes of the application are to be written (again): wake the log writer.
    pub restarted: bool,
    /// Follow-up.
    pub actions: Actions,
}

impl<T: Storage> DataPlane<T> {
    pub(super) fn wait_peer(&mut self) -> Begin {
        self.has_waiters = true;
        Begin::Wait
    }

    pub(super) fn start(&mut self, operation: Operation, sector: u64, size_bytes: u32, flags: Flags) -> Option<u32> {
        if !self.has_room(1) {
            return None;
        }
        let slot = self.table.take(operation, sector, size_bytes)?;
        self.ranges.insert(&mut self.table, slot);
        self.set_flags(slot, flags.with(Flags::IN_RANGES));
        Some(slot)
    }

    pub(super) fn finish(&mut self, slot: u32) -> Actions {
        let entry = self.table.get(slot);
        if entry.flags.has(Flags::IN_RANGES) {
            self.ranges.remove(&mut self.table, slot);
        }
        self.table.release(slot);
        let log_freed = entry.flags.has(Flags::LOG_HELD) && !self.log_waiting.is_empty();
        Actions { retry: core::mem::take(&mut self.has_waiters) || log_freed, ..Actions::default() }
    }

    /// A replicated write was read from the data stream, and may have to wait for its epoch. What the peer's disk misses is noted now: by the
    /// time the write begins, a later packet may have said that the peer has a disk again (AL-8).
    pub fn peer_write_arrived(&mut self, sector: u64, size_bytes: u32) {
        if self.gate.local && self.gate.log_peer_writes {
            self.bitmap.set_range(sector, size_bytes);
        }
    }

    /// AL-8: where a write of the peer goes that may begin.
    pub(super) fn log_or_go(&mut self, slot: u32, sector: u64, size_bytes: u32) -> Begin {
        if self.gate.log_activity && self.gate.log_peer_writes {
            self.bitmap.set_range(sector, size_bytes);
        }
        if self.gate.log_activity && (self.gate.log_peer_writes || self.gate.log_until_stored) {
            self.table.push(&mut self.log_waiting, slot);
            return Begin::LogWait(slot);
        }
        self.local_references += 1;
        Begin::Go(slot)
    }

    /// The local disk finished (or failed) a write of the peer (wire 9.3, ER-4).
    pub fn peer_write_done(&mut self, slot: u32, ok: bool) -> PeerWriteEnd {
        let entry = self.table.get(slot);
        let in_sync = ok && self.gate.in_sync_states && entry.flags.has(Flags::MAY_SET_IN_SYNC);
        if in_sync {
            self.bitmap.clear_range(entry.sector, entry.size_bytes);
        } else if !ok {
            self.missed_write = true;
            self.bitmap.set_range(entry.sector, entry.size_bytes);
        }
        if entry.flags.has(Flags::LOG_HELD) {
            self.put_extents(entry.sector, entry.size_bytes);
        }
        let mut actions = self.finish(slot);
        let restarted = self.overwritten | (!self.postponed.is_empty() && self.restart_postponed(entry.sector, entry.size_bytes));
        self.drop_local_reference(&mut actions);
        PeerWriteEnd { in_sync, restarted, actions }
    }

    /// Source: a resync (or verify) read of this range may start when no write is active in it. New application
    /// writes of the range wait until [`Self::resync_read_done`].
    pub fn resync_read_begin(&mut self, sector: u64, size_bytes: u32) -> Begin {
        if !self.gate.local {
            return Begin::NoDisk;
        }
        let busy = |op: Operation| op.is_application_write() || op == Operation::PeerWrite;
        if self.ranges.find(&self.table, sector, size_bytes, busy).is_some() {
            return self.wait_peer();
        }
        match self.start(Operation::ResyncRead, sector, size_bytes, Flags::NONE) {
            Some(slot) => {
                self.local_references += 1;
                Begin::Go(slot)
            }
            None => self.wait_peer(),
        }
    }

    /// The reply to a resync read stands in the send queue (or will never): application writes may pass.
    pub fn resync_read_done(&mut self, slot: u32) -> Actions {
        let mut actions = self.finish(slot);
        self.drop_local_reference(&mut actions);
        actions
    }

    /// Target: reserves a range for a resync request. `Wait` means "busy now, take another range or try next turn"; nobody
    /// is woken for it.
    pub fn resync_request_begin(&mut self, sector: u64, size_bytes: u32) -> Begin {
        self.reserve(Operation::ResyncWrite, sector, size_bytes)
    }

    /// Reserves a range that nobody works on now; `Wait` without being woken.
    pub(super) fn reserve(&mut self, operation: Operation, sector: u64, size_bytes: u32) -> Begin {
        if !self.gate.local {
            return Begin::NoDisk;
        }
        if self.ranges.find(&self.table, sector, size_bytes, |_| true).is_some() {
            return Begin::Wait;
        }
        match self.start(operation, sector, size_bytes, Flags::NONE) {
            Some(slot) => Begin::Go(slot),
            None => Begin::Wait,
        }
    }

    /// Target: finds the request that a resync answer belongs to; only exact ranges count. A size of 0 stands for any.
    pub fn find_resync_request(&self, sector: u64, size_bytes: u32) -> Option<u32> {
        let slot = self.ranges.find(&self.table, sector, size_bytes.max(512), |op| op == Operation::ResyncWrite)?;
        let entry = self.table.get(slot);
        let exact = entry.sector == sector && (entry.size_bytes == size_bytes || size_bytes == 0);
        (exact && !entry.flags.has(Flags::ARRIVED)).then_some(slot)
    }

    /// Target: the data of a request has arrived; may it be written now? From here on later writes of the peer wait for it, and
    /// [`Self::take_unanswered_resync_request`] leaves it to the caller.
    pub fn resync_write_begin(&mut self, slot: u32) -> Begin {
        if !self.gate.local || self.table.get(slot).flags.has(Flags::ABANDONED) {
            return Begin::NoDisk;
        }
        if !self.table.get(slot).flags.has(Flags::ARRIVED) {
            self.stamp_arrival(slot);
        }
        let entry = self.table.get(slot);
        let flags = entry.flags.with(Flags::ARRIVED);
        self.set_flags(slot, flags);
        if self.is_held_up(&entry) {
            return self.wait_peer();
        }
        self.set_flags(slot, flags.with(Flags::WRITING));
        self.local_references += 1;
        Begin::Go(slot)
    }

    /// A write is in the way of an answer of the peer. One of the peer that has its range but came after the answer waits for it.
    pub(super) fn is_held_up(&self, answer: &Entry) -> bool {
        let busy = |other: &Entry| match other.operation {
            Operation::PeerWrite => !other.flags.has(Flags::WAITS) || other.order < answer.order,
            operation => operation.is_application_write(),
        };
        self.ranges.find_entry(&self.table, answer.sector, answer.size_bytes, busy).is_some()
    }

    /// A resync begins, and nothing of it has failed.
    pub fn resync_begins(&mut self) {
        self.resync_failed_bits = 0;
    }

    /// Blocks of the last resync that could not be read or written, as often as that was tried (RX-21).
    pub fn resync_failed_bits(&self) -> u64 {
        self.resync_failed_bits
    }

    /// A range could not be read for a resync, or written by it, here or at the peer: it stays out of sync (RX-9, RX-10).
    pub fn resync_failed(&mut self, size_bytes: u32) {
        self.resync_failed_bits = self.resync_failed_bits.saturating_add(u64::from(size_bytes.div_ceil(4096)));
    }

    /// Target: a request is given up that was not sent, or that the source will not answer now (P_RS_CANCEL).
    pub fn resync_request_dropped(&mut self, slot: u32) -> Actions {
        self.finish(slot)
    }

    /// Target: a resync write ended, or will never run, as its data could not be read. Says whether the range is in sync now, for its
    /// acknowledgement. On a disk that has been given up since the request it is not: newer writes of the range may have been refused already, or
    /// made by the peer alone, and the peer would take the older data for them.
    pub fn resync_write_done(&mut self, slot: u32, ok: bool) -> (bool, Actions) {
        let entry = self.table.get(slot);
        let abandoned = entry.flags.has(Flags::ABANDONED);
        let in_sync = ok && !abandoned;
        if in_sync {
            self.bitmap.clear_range(entry.sector, entry.size_bytes);
        } else if !abandoned {
            self.resync_failed(entry.size_bytes);
        }
        let mut actions = self.finish(slot);
        if entry.flags.has(Flags::WRITING) {
            self.drop_local_reference(&mut actions);
        }
        (in_sync, actions)
    }

    /// The disk here is being given up: what was asked for to be written to it is too old for the next one.
    pub(super) fn abandon_resync(&mut self) {
        for slot in 0..self.table.capacity() {
            let entry = self.table.get(slot);
            if entry.operation == Operation::ResyncWrite {
                self.set_flags(slot, entry.flags.with(Flags::ABANDONED));
            }
        }
    }

    /// Forgets every resync request that has no answer yet (connection lost, resync ended). Returns one slot; the caller
    /// repeats until `None`.
    pub fn take_unanswered_resync_request(&mut self) -> Option<Entry> {
        let found = self.ranges.first(&self.table, |entry| entry.operation == Operation::ResyncWrite && !entry.flags.has(Flags::ARRIVED))?;
        let entry = self.table.get(found);
        let _ = self.finish(found);
        Some(entry)
    }

    /// A write, or work for a resync, is under way that reaches behind `sector` (SZ-8).
    pub fn is_active_behind(&self, sector: u64) -> bool {
        self.ranges.first(&self.table, |entry| entry.sector.saturating_add(u64::from(entry.size_bytes.div_ceil(512))) > sector).is_some()
    }

    /// Source: the peer has a range as it was read here (P_RS_WRITE_ACK of a resync, or an equal checksum). Returns bits cleared: none when the
    /// resync is over. It may have been overtaken by the report of the peer's disk that failed, and the range been written since.
    pub fn mark_in_sync(&mut self, sector: u64, size_bytes: u32) -> u32 {
        if self.gate.in_sync_states {
            self.bitmap.clear_range(sector, size_bytes)
        } else {
            0
        }
    }

    /// A range is out of sync (P_OUT_OF_SYNC, a failed write whose request is gone, a verify difference). Returns bits set.
    pub fn mark_out_of_sync(&mut self, sector: u64, size_bytes: u32) -> u32 {
        self.bitmap.set_range(sector, size_bytes)
    }
}
