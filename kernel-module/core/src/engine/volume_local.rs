// SPDX-License-Identifier: GPL-2.0
//! References on the local disk, and writes that a disk could not do: here, and at the peer (behaviour.md ER-1, WR-5).
//!
//! A write of the application that fails here while the peer has it is a success (WR-1), and from then on the copy here lacks data that counts.
//! So it is not completed before the superblock says so, or a power failure in between would bring the old copy back as the good one, with the
//! whole authority of a Primary that has crashed: [`DataPlane::local_failed`] keeps it until the shell asks for it.

use super::request::Flags;
use super::volume::{Actions, DataPlane, Storage};

impl<T: Storage> DataPlane<T> {
    pub(super) fn drop_local_reference(&mut self, actions: &mut Actions) {
        self.local_references = self.local_references.saturating_sub(1);
        actions.idle |= self.is_drained();
    }

    /// Takes a reference on the local disk for other work (metadata, bitmap). `None` when there is no usable disk.
    pub fn get_local(&mut self) -> Option<()> {
        if !self.gate.local {
            return None;
        }
        self.local_references += 1;
        Some(())
    }

    /// Drops a reference taken by [`Self::get_local`].
    pub fn put_local(&mut self) -> Actions {
        let mut actions = Actions::default();
        self.drop_local_reference(&mut actions);
        actions
    }

    /// The local disk has failed a write, and the shell will look at the error: it stays unfinished until [`Self::take_failed_write`].
    pub fn local_failed(&mut self, slot: u32) -> Actions {
        let entry = self.table.get(slot);
        if !entry.flags.has(Flags::LOCAL_PENDING) || entry.flags.has(Flags::LOCAL_FAILED) {
            return Actions::default();
        }
        // Now, because the bitmap is stored for the last time when the disk has no other access left.
        self.bitmap.set_range(entry.sector, entry.size_bytes);
        self.set_flags(slot, entry.flags.with(Flags::LOCAL_FAILED).with(Flags::BITS_SET));
        self.failed_writes += 1;
        Actions { idle: self.is_drained(), ..Actions::default() }
    }

    /// Takes one write that has failed, now that the disk is known to lack it. The caller repeats until `None`.
    pub fn take_failed_write(&mut self) -> Option<(u32, Actions)> {
        if self.failed_writes == 0 {
            return None;
        }
        let slot = (0..self.table.capacity()).find(|slot| self.table.get(*slot).flags.has(Flags::LOCAL_FAILED))?;
        self.missed_write = self.missed_write();
        self.failed_writes = self.failed_writes.saturating_sub(1);
        self.set_flags(slot, self.table.get(slot).flags.without(Flags::LOCAL_FAILED));
        Some((slot, self.local_done(slot, false)))
    }

    /// Writes that failed wait for what is done about that; this node had better not leave its peer behind meanwhile.
    pub const fn has_failed_writes(&self) -> bool {
        self.failed_writes > 0
    }

    /// No access to the local disk is under way; writes that failed may still wait for what is done about that.
    pub const fn is_drained(&self) -> bool {
        self.local_references <= self.failed_writes
    }

    /// The local disk has failed a write that the peer may have, and has not become UpToDate again since: one of the peer, or one that is in
    /// [`Self::local_failed`] and will end well.
    pub fn missed_write(&self) -> bool {
        const ASKED: Flags = Flags::WANT_RECEIVE_ACK.with(Flags::WANT_WRITE_ACK);
        const ON_ITS_WAY: Flags = Flags::NET_QUEUED.with(Flags::NET_PENDING).with(Flags::SENDING);
        let there = |flags: Flags| flags.has(ON_ITS_WAY) || (flags.has(Flags::NET_OK) && flags.has(ASKED));
        let failed = |slot: u32| Some(self.table.get(slot).flags).filter(|flags| flags.has(Flags::LOCAL_FAILED)).is_some_and(there);
        self.missed_write || (self.failed_writes > 0 && (0..self.table.capacity()).any(failed))
    }

    /// The same, or the peer may get one later: while writes are `suspended`, one that failed is frozen instead of passed up.
    pub fn lacks_write(&self, suspended: bool) -> bool {
        self.missed_write() || (suspended && self.has_failed_writes())
    }

    /// The connection is gone. A write that the peer has reported as in sync, and the disk here is slow with, clears no bit when it ends: by then
    /// the bits may be those of another resync, with newer data of the peer in that range.
    pub(super) fn forget_in_sync(&mut self) {
        for slot in 0..self.table.capacity() {
            let flags = self.table.get(slot).flags;
            if flags.has(Flags::PEER_IN_SYNC) {
                self.set_flags(slot, flags.without(Flags::PEER_IN_SYNC));
            }
        }
    }

    /// The peer said that its disk could not do a write of this node, and has not become UpToDate again since: if contact to that disk is
    /// lost, a new generation has to begin whoever is Primary then, or the next handshake takes both copies for equal.
    pub fn peer_missed_write(&self) -> bool {
        self.peer_missed && self.bitmap.weight() > 0
    }

    /// The same for a write that is not known any more (WR-5).
    pub fn peer_missed_range(&mut self, sector: u64, size_bytes: u32) {
        self.peer_missed = true;
        self.mark_out_of_sync(sector, size_bytes);
    }
}
