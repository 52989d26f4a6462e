// SPDX-License-Identifier: GPL-2.0
//! Activity-log transactions of a volume: which waiting writes join the next one, and who runs after it.
//!
//! The shell's log writer loops: [`DataPlane::collect_transaction`]; if it says so, write the bitmap pages of the evicted
//! extents and then the transaction block; [`DataPlane::transaction_committed`]; then submit what
//! [`DataPlane::take_launchable`] gives (behaviour.md AL-3, AL-6; metadata.md 6.3). Requests that arrive meanwhile
//! queue up for the next transaction.

use super::request::Flags;
use super::table::{Entry, Operation, Queue};
use super::volume::{DataPlane, Launch, Stamp, Storage};
use crate::activity_log::Begin;

/// Sectors of an activity-log extent (4 MiB), as a shift.
const EXTENT_SHIFT: u32 = 13;

/// First and last extent a range touches.
pub fn extents(sector: u64, size_bytes: u32) -> (u32, u32) {
    let last = sector.saturating_add(u64::from(size_bytes.div_ceil(512))).saturating_sub(1).max(sector);
    let extent = |sector: u64| u32::try_from(sector >> EXTENT_SHIFT).unwrap_or(u32::MAX - 1);
    (extent(sector), extent(last))
}

/// What to start for a slot that has passed the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Launched {
    /// An application write.
    Application(Launch),
    /// An application write that is to be written to the local disk once more, after a write of the peer.
    Again {
        /// Its slot.
        slot: u32,
        /// There is a disk; else it ends as if that had failed.
        local: bool,
    },
    /// A write of the peer; submit it to the local disk.
    Peer(u32),
    /// A write of the peer, but the local disk is gone: answer P_NEG_ACK.
    PeerWithoutDisk(u32),
}

impl<T: Storage> DataPlane<T> {
    /// Drops the references of a range on its extents.
    pub(super) fn put_extents(&mut self, sector: u64, size_bytes: u32) {
        let (first, last) = extents(sector, size_bytes);
        for extent in first..=last {
            self.log.put(extent);
        }
    }

    /// Application writes wait for their extents (RX-14).
    pub fn waits_for_log(&self) -> bool {
        !self.log_waiting.is_empty() || !self.log_committing.is_empty()
    }

    /// How many application writes wait for their extents ("blocked on activity log" in /proc/drbd).
    pub fn waiting_for_log(&self) -> u32 {
        self.table.count(&self.log_waiting, Operation::Write) + self.table.count(&self.log_committing, Operation::Write)
    }

    /// Writes wait for a transaction, or for the log writer to start them.
    pub fn log_work_waiting(&self) -> bool {
        self.overwritten || !self.log_waiting.is_empty() || (self.gate.open && !self.launchable.is_empty())
    }

    /// Moves waiting writes into the next transaction, oldest first, until it is full or the set is exhausted by
    /// referenced extents (AL-5). Returns whether there are changes to commit; writes whose extents turned out hot are
    /// launchable at once.
    pub fn collect_transaction(&mut self) -> bool {
        if !self.gate.log_activity || !self.gate.local {
            // The log is off, or the disk is gone: nobody needs a reference.
            while let Some(slot) = self.table.pop(&mut self.log_waiting) {
                self.table.push(&mut self.launchable, slot);
            }
            return false;
        }
        self.send_back_unlogged();
        while let Some(slot) = self.log_waiting.front() {
            let entry = self.table.get(slot);
            let Some(pending) = self.take_extents(entry.sector, entry.size_bytes) else { break };
            self.table.pop(&mut self.log_waiting);
            self.set_flags(slot, entry.flags.with(Flags::LOG_HELD));
            let queue = if pending { &mut self.log_committing } else { &mut self.launchable };
            self.table.push(queue, slot);
        }
        self.log.has_changes()
    }

    /// A write that has passed a log which was off, or is gone with its disk, and would start on a disk whose log counts.
    fn is_unlogged(&self, entry: &Entry) -> bool {
        let gate = &self.gate;
        let counts = entry.operation != Operation::PeerWrite || gate.log_peer_writes || gate.log_until_stored;
        counts && gate.local && gate.log_activity && !entry.flags.has(Flags::LOG_HELD)
    }

    /// Writes have to pass the log once more: the log writer makes another turn.
    pub fn has_unlogged(&self) -> bool {
        self.table.any(&self.launchable, |entry| self.is_unlogged(entry))
    }

    fn send_back_unlogged(&mut self) {
        let (mut unlogged, mut others) = (Queue::new(), Queue::new());
        while let Some(slot) = self.table.pop(&mut self.launchable) {
            let queue = if self.is_unlogged(&self.table.get(slot)) { &mut unlogged } else { &mut others };
            self.table.push(queue, slot);
        }
        self.table.put_before(others, &mut self.launchable);
        self.table.put_before(unlogged, &mut self.log_waiting);
    }

    /// References on all extents of a range, or on none. `Some(true)`: some of them are part of the pending transaction.
    fn take_extents(&mut self, sector: u64, size_bytes: u32) -> Option<bool> {
        let (first, last) = extents(sector, size_bytes);
        let mut pending = false;
        for extent in first..=last {
            match self.log.begin(extent) {
                Begin::Hot => {}
                Begin::Pending => pending = true,
                Begin::Full | Begin::Starving => {
                    for taken in first..extent {
                        self.log.put(taken);
                    }
                    return None;
                }
            }
        }
        Some(pending)
    }

    /// The transaction could not be written, so the disk is about to be given up. Its writes wait for that: one that went to the disk without
    /// the log would differ there unmarked, should the power fail before the peer has it.
    pub fn transaction_failed(&mut self) {
        if self.gate.local {
            self.log_broken = true;
        } else {
            self.transaction_committed();
        }
    }

    /// The transaction is on stable storage (or the disk was given up): its writes may run.
    pub fn transaction_committed(&mut self) {
        self.log.committed();
        while let Some(slot) = self.table.pop(&mut self.log_committing) {
            self.table.push(&mut self.launchable, slot);
        }
    }

    /// Takes one write that may run now. `None` when there is none, or while the gate is closed (IO-4).
    pub fn take_launchable(&mut self, now: u32, stamp: impl FnOnce() -> Stamp) -> Option<Launched> {
        if let Some(slot) = self.take_overwritten() {
            return Some(Launched::Again { slot, local: self.gate.local });
        }
        // What has to wait lets the others pass: the write of the peer that it waits for may be among them.
        let mut waiting = Queue::new();
        let mut found = None;
        while let Some(slot) = self.table.pop(&mut self.launchable) {
            let entry = self.table.get(slot);
            let free = entry.operation == Operation::PeerWrite || (self.gate.open && !self.meets_peer_write(&entry));
            if free && !self.is_unlogged(&entry) {
                found = Some((slot, entry.operation));
                break;
            }
            self.table.push(&mut waiting, slot);
        }
        self.has_waiters |= self.gate.open && !waiting.is_empty();
        self.table.put_before(waiting, &mut self.launchable);
        let (slot, operation) = found?;
        if operation == Operation::PeerWrite {
            if !self.gate.local {
                return Some(Launched::PeerWithoutDisk(slot));
            }
            self.local_references += 1;
            return Some(Launched::Peer(slot));
        }
        self.unlaunched = self.unlaunched.saturating_sub(1);
        Some(Launched::Application(self.launch(slot, now, stamp)))
    }

    /// A peer write that got its turn without a disk: free the slot.
    pub fn drop_peer_write(&mut self, slot: u32) -> super::volume::Actions {
        let entry = self.table.get(slot);
        if entry.flags.has(Flags::LOG_HELD) {
            self.put_extents(entry.sector, entry.size_bytes);
        }
        self.finish(slot)
    }
}
