// SPDX-License-Identifier: GPL-2.0
//! Requests that are frozen while I/O is suspended, and how they go on (behaviour.md EP-6 to EP-8, FE-9).
//!
//! A request freezes when it loses its connection while I/O is suspended, or when it finds no good data and the policy is to wait for
//! some. It keeps its slot, its range and its bio until [`DataPlane::take_frozen`].

use super::request::Flags;
use super::table::Entry;
use super::volume::{Actions, DataPlane, Stamp, Storage};
use crate::state::Thaw;

impl<T: Storage> DataPlane<T> {
    /// Requests are frozen.
    pub fn has_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    /// Keeps a request that is on no queue, once.
    pub(super) fn freeze(&mut self, slot: u32, flags: Flags) {
        let already = flags.has(Flags::FROZEN);
        self.set_flags(slot, flags.with(Flags::FROZEN));
        if !already {
            self.table.push(&mut self.frozen, slot);
        }
    }

    /// Takes one frozen request and lets it go on. The caller repeats until `None`, then publishes a gate that is not suspended.
    ///
    /// With [`Thaw::Resend`] it is queued for the peer again, unless the peer has said that it has it. With [`Thaw::RestartLocal`], and where the
    /// disk here is good by now, a request without any local copy starts anew. With [`Thaw::LocalOnly`] the local result is what counts.
    pub fn take_frozen(&mut self, thaw: Thaw, now: u32, stamp: impl FnOnce() -> Stamp) -> Option<(u32, Actions)> {
        let slot = self.table.pop(&mut self.frozen)?;
        let entry = self.table.get(slot);
        let flags = entry.flags.without(Flags::FROZEN);
        self.set_flags(slot, flags);
        let off_log = !flags.has(Flags::ON_LOG);
        // A disk that is good by now takes part again.
        let starts_anew = off_log && (thaw == Thaw::RestartLocal || self.gate.local_up_to_date);
        match thaw {
            // A peer that comes back without its disk, or with one that is behind, may have had it in memory alone; and when a resync to this node
            // follows, the bits had better be set.
            // Without a disk here nothing tells whether the peer has rebooted meanwhile (HS-9): what the application waits for is sent again.
            Thaw::Resend if flags.peer_has_it() && self.gate.remote_read && (self.gate.local_up_to_date || (!self.gate.local && flags.has(Flags::COMPLETED))) => {
                Some((slot, self.settle_finally(slot)))
            }
            Thaw::RestartLocal | Thaw::Resend if starts_anew && !flags.has(Flags::COMPLETED.with(Flags::LOCAL_PENDING).with(Flags::LOCAL_OK)) => {
                self.restart(slot, &entry);
                Some((slot, Actions { retry: true, ..Actions::default() }))
            }
            Thaw::Resend if off_log && !flags.has(Flags::COMPLETED) => {
                let flags = flags.without(Flags::NET_OK.with(Flags::NET_FAILED).with(Flags::PEER_IN_SYNC)).with(Flags::NET_QUEUED);
                let flags = flags
                    .with_if(Flags::WANT_WRITE_ACK, self.gate.want_write_ack)
                    .with_if(Flags::WANT_RECEIVE_ACK, self.gate.want_receive_ack)
                    .with_if(Flags::MAY_SET_IN_SYNC, self.gate.in_sync_states);
                // What was admitted without a disk has no local part; a disk that is there by now lacks it.
                let lacks = self.gate.local && !flags.has(Flags::LOCAL_PENDING.with(Flags::LOCAL_OK));
                if lacks {
                    self.bitmap.set_range(entry.sector, entry.size_bytes);
                }
                self.set_flags(slot, flags.with_if(Flags::BITS_SET, lacks));
                self.queue_send(slot, now, stamp);
                Some((slot, Actions::default()))
            }
            _ => {
                self.fail_network_part(slot, flags);
                Some((slot, self.settle_finally(slot)))
            }
        }
    }

    /// How frozen requests go on that no end of a suspension will release, because there is none: a write of a Primary whose copy ceased to
    /// count while the write was under way (it became a target, SB-4), or one that froze while a suspension ended.
    ///
    /// Where good data is known again they are written there (EP-7, EP-8); a node that is Ahead waits until the peer may have them.
    pub fn stranded(&self) -> Option<Thaw> {
        let gate = &self.gate;
        if self.frozen.is_empty() || gate.suspended || !gate.open || gate.notify_out_of_sync || self.has_failed_writes() {
            return None;
        }
        match (gate.replicate, gate.local_up_to_date) {
            (true, _) => Some(Thaw::Resend),
            (false, true) => Some(Thaw::RestartLocal),
            // More may be heard of the data that was there when the state last changed.
            (false, false) if gate.hold_failed => None,
            (false, false) => Some(Thaw::LocalOnly),
        }
    }

    /// The bitmap is about to be sent to the peer: it shows the ranges of frozen requests too, for they may come after it.
    pub fn mark_frozen(&mut self) {
        for slot in 0..self.table.capacity() {
            let entry = self.table.get(slot);
            if entry.flags.has(Flags::FROZEN) {
                self.bitmap.set_range(entry.sector, entry.size_bytes);
            }
        }
    }

    /// Back to where admission left it: waits for the activity log, or for its launch.
    pub(super) fn restart(&mut self, slot: u32, entry: &Entry) {
        if entry.flags.has(Flags::LOG_HELD) {
            self.put_extents(entry.sector, entry.size_bytes);
        }
        self.set_flags(slot, entry.flags.as_admitted());
        let logged = self.gate.local && self.gate.log_activity;
        let queue = if logged { &mut self.log_waiting } else { &mut self.launchable };
        self.table.push(queue, slot);
        self.unlaunched += 1;
    }

    /// A new disk with a new activity log: references on extents of the old one are void. What has not started takes new ones first.
    pub fn forget_log_references(&mut self) {
        for slot in 0..self.table.capacity() {
            let flags = self.table.get(slot).flags;
            if flags.has(Flags::LOG_HELD) {
                self.set_flags(slot, flags.without(Flags::LOG_HELD));
            }
        }
    }
}
