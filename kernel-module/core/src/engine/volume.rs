// SPDX-License-Identifier: GPL-2.0
//! The data plane of one volume: admission, overlap, activity log, transfer log, bits.
//!
//! One value of [`DataPlane`] sits behind one spinlock of its volume. Every method is short, allocates nothing
//! and is called with that lock held, some of them from interrupt context. None submits I/O or sends a packet:
//! each says what the shell has to do after it has dropped the lock ([`Admit`], [`Actions`]).
//!
//! Life of a write: [`DataPlane::admit_write`] registers its range, takes its activity-log reference and
//! queues it for the peer; the shell submits the local bio; [`DataPlane::local_done`],
//! [`DataPlane::begin_send`], [`DataPlane::acknowledged`] and [`DataPlane::take_acknowledged_epoch`] report progress; the last
//! of them settles the bits and frees the slot. Requests of the peer and of a resync are in
//! [`super::volume_peer`], activity-log transactions in [`super::volume_log`].

use super::gate::Gate;
use super::ranges::Ranges;
use super::request::{Bits, Flags};
use super::table::{Entry, Operation, Queue, Table};
use crate::activity_log::ActivityLog;
use crate::bitmap::{Bitmap, PageStore};
use crate::resync::verify::Verify;

/// The storage a data plane works on, lent by the shell.
pub trait Storage {
    /// Slots of requests in flight.
    type Slots: AsRef<[Entry]> + AsMut<[Entry]>;
    /// Storage of the set of hot extents.
    type Log: crate::activity_log::Storage;
    /// Pages of the bitmap.
    type Pages: PageStore;
}

/// The data plane of a volume; see the module text.
pub struct DataPlane<T: Storage> {
    pub(super) table: Table<T::Slots>,
    pub(super) ranges: Ranges,
    /// The set of hot extents.
    pub log: ActivityLog<T::Log>,
    /// Out-of-sync bits.
    pub bitmap: Bitmap<T::Pages>,
    /// Online verify.
    pub verify: Verify,
    pub(super) gate: Gate,
    pub(super) send_queue: Queue,
    pub(super) transfer_log: Queue,
    /// Reads sent to the peer, oldest first; answered ones leave when they reach the head.
    pub(super) read_log: Queue,
    pub(super) log_waiting: Queue,
    pub(super) log_committing: Queue,
    pub(super) launchable: Queue,
    pub(super) frozen: Queue,
    /// Writes to be done again after a write of the peer (DP-3).
    pub(super) postponed: Queue,
    /// Some write may have to be written once more after writes of the peer (DP-3).
    pub(super) overwritten: bool,
    /// The epoch that had a conflict last.
    pub(super) conflict_epoch: Option<u32>,
    /// Registered writes of the peer and resync answers so far: their order.
    pub(super) arrivals: u64,
    pub(super) has_waiters: bool,
    /// Admitted writes that have not been launched; each may still need a slot for a notice.
    pub(super) unlaunched: u32,
    pub(super) in_flight: u32,
    pub(super) local_references: u32,
    /// Requests that wait for an answer of the peer ("pe" in /proc/drbd).
    pub(super) pending_at_peer: u32,
    /// Sectors sent in writes and not yet safe with the peer (CG-1).
    pub(super) sectors_at_peer: u64,
    /// The next of alternating reads goes to the peer (RD-3).
    pub(super) next_read_remote: bool,
    /// As [`Stamp::closed`], for this volume alone and without delay: a write that waited for the range of a completed one may be stamped
    /// before the shell has told the others.
    pub(super) closed: u32,
    /// See [`DataPlane::peer_missed_write`], [`DataPlane::missed_write`].
    pub(super) peer_missed: bool,
    pub(super) missed_write: bool,
    /// Writes in [`DataPlane::local_failed`].
    pub(super) failed_writes: u32,
    /// See [`DataPlane::transaction_failed`].
    pub(super) log_broken: bool,
    pub(super) resync_failed_bits: u64,
}

/// An application write as it arrives.
#[derive(Clone, Copy, Debug)]
pub struct WriteRequest {
    /// First sector.
    pub sector: u64,
    /// Length in bytes, a multiple of 512, not 0.
    pub size_bytes: u32,
    /// Write, discard or write-zeroes.
    pub operation: Operation,
    /// `SYNC`, `FUA`, `PREFLUSH`, `MAY_UNMAP`.
    pub flags: Flags,
}

/// Outcome of admission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admit {
    /// The request runs; see [`Launch`].
    Go(Launch),
    /// It has a slot but its activity-log extent is cold: keep the bio with the slot and wake the log writer.
    LogWait(u32),
    /// It has to wait: keep the bio aside, in order, and admit it again when [`Actions::retry`] says so.
    Wait,
    /// Neither disk can take it: fail it.
    Fail,
}

/// What to do with a request that runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Launch {
    /// Its slot.
    pub slot: u32,
    /// Submit the local bio.
    pub local: bool,
    /// It (or a notice about it) was queued for the peer: wake the sender.
    pub wake_sender: bool,
    /// Nothing to wait for: complete it at once with this result.
    pub complete: Option<bool>,
    /// The link is congested (CG-1): the control plane has to act on it.
    pub congested: bool,
}

/// Where a read goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdmitRead {
    /// To the local disk; report with [`DataPlane::local_read_done`].
    Local,
    /// To the peer: it was queued with this slot, wake the sender.
    Remote(u32),
    /// Keep it aside and try again on [`Actions::retry`].
    Wait,
    /// Nobody has the data.
    Fail,
}

/// What the shell does after an event, with the lock dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Actions {
    /// End the application request of the slot: success or I/O error.
    pub complete: Option<bool>,
    /// Before that, tell the sender that this epoch must end (its write is about to be visible, EP-1).
    pub close_epoch: Option<u32>,
    /// Requests kept aside may be admitted again.
    pub retry: bool,
    /// No local I/O is left: whoever drains the disk may go on.
    pub idle: bool,
}

impl Actions {
    /// Both together, for callers that collect several events.
    pub fn merge(&mut self, other: Actions) {
        self.retry |= other.retry;
        self.idle |= other.idle;
    }
}

/// Where a request stands among all packets of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// Position in the order of packets on the data socket.
    pub order: u64,
    /// One more than the youngest epoch of which a write had been completed to the application when this request came;
    /// 0 for none. It must not share an epoch with such a write (EP-1).
    pub closed: u32,
}

/// What the peer said about a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledgement {
    /// P_RECV_ACK.
    Received,
    /// P_WRITE_ACK.
    Written,
    /// P_RS_WRITE_ACK: written, and in sync there.
    WrittenInSync,
    /// P_NEG_ACK.
    Failed,
}

/// A packet about a request that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownRequest {
    /// The `block_id` that came.
    pub id: u64,
    /// The sector that came.
    pub sector: u64,
}

/// The later of two values of [`Stamp::closed`]; they wrap around.
const fn later(one: u32, other: u32) -> u32 {
    if one.wrapping_sub(other).wrapping_sub(1) < 1 << 31 {
        one
    } else {
        other
    }
}

impl<T: Storage> DataPlane<T> {
    /// A data plane with a closed gate over lent storage.
    pub fn new(slots: T::Slots, log: ActivityLog<T::Log>, bitmap: Bitmap<T::Pages>) -> Self {
        Self {
            table: Table::new(slots),
            ranges: Ranges::new(),
            log,
            bitmap,
            verify: Verify::new(),
            gate: Gate::default(),
            send_queue: Queue::new(),
            transfer_log: Queue::new(),
            read_log: Queue::new(),
            log_waiting: Queue::new(),
            log_committing: Queue::new(),
            launchable: Queue::new(),
            frozen: Queue::new(),
            postponed: Queue::new(),
            overwritten: false,
            conflict_epoch: None,
            arrivals: 0,
            has_waiters: false,
            unlaunched: 0,
            in_flight: 0,
            local_references: 0,
            pending_at_peer: 0,
            sectors_at_peer: 0,
            next_read_remote: false,
            closed: 0,
            peer_missed: false,
            missed_write: false,
            failed_writes: 0,
            log_broken: false,
            resync_failed_bits: 0,
        }
    }

    /// The facts in force.
    pub const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Application requests not completed ("ap" in /proc/drbd).
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Local I/O not finished ("lo").
    pub const fn local_references(&self) -> u32 {
        self.local_references
    }

    /// Requests waiting for the peer ("pe").
    pub const fn pending_at_peer(&self) -> u32 {
        self.pending_at_peer
    }

    /// The peer still owes an answer about writes it was sent, if only that of their epoch. A bitmap sent before all have come may miss blocks
    /// the peer turns out not to have.
    pub fn has_unacknowledged(&self) -> bool {
        !self.postponed.is_empty() || self.oldest_awaited().is_some()
    }

    /// Replaces the published facts. When the gate opens, requests kept aside are admitted again.
    pub fn publish(&mut self, gate: Gate) -> Actions {
        let opened = gate.open && !self.gate.open;
        self.peer_missed &= !gate.remote_read || self.gate.remote_read;
        self.missed_write &= !gate.local_up_to_date || self.gate.local_up_to_date;
        let given_up = self.gate.local && !gate.local;
        self.gate = gate;
        if given_up {
            self.abandon_resync();
        }
        if !gate.local && core::mem::take(&mut self.log_broken) {
            self.transaction_committed();
        }
        Actions { retry: opened && (self.take_waiters() || !self.launchable.is_empty()), ..Actions::default() }
    }

    /// The entry of a slot, for building a packet or a bio.
    pub fn entry(&self, slot: u32) -> Entry {
        self.table.get(slot)
    }

    pub(super) fn take_waiters(&mut self) -> bool {
        core::mem::take(&mut self.has_waiters)
    }

    fn wait(&mut self) -> Admit {
        self.has_waiters = true;
        Admit::Wait
    }

    /// Admits an application write (IO-1, IO-3, AL-1, AL-2). `now` is the shell's clock in jiffies, `stamp` gives
    /// out its place among the packets of the connection.
    pub fn admit_write(&mut self, request: &WriteRequest, now: u32, stamp: impl FnOnce() -> Stamp) -> Admit {
        if !self.gate.open || self.in_flight >= self.gate.max_in_flight {
            return self.wait();
        }
        if !self.gate.writable {
            return Admit::Fail;
        }
        // One slot for itself, one for a notice about it.
        if !self.has_room(2) || self.ranges.find(&self.table, request.sector, request.size_bytes, |_| true).is_some() {
            return self.wait();
        }
        let Some(slot) = self.table.take(request.operation, request.sector, request.size_bytes) else {
            return self.wait();
        };
        self.in_flight += 1;
        self.begun(slot, now);
        self.ranges.insert(&mut self.table, slot);
        let mut flags = request.flags.with(Flags::IN_RANGES);
        let logged = self.gate.local && self.gate.log_activity;
        if logged {
            if !self.take_hot(request) {
                self.set_flags(slot, flags);
                self.table.push(&mut self.log_waiting, slot);
                self.unlaunched += 1;
                return Admit::LogWait(slot);
            }
            flags = flags.with(Flags::LOG_HELD);
        }
        self.set_flags(slot, flags);
        Admit::Go(self.launch(slot, now, stamp))
    }

    /// Requests were kept aside and may be admitted again. For the sender, after [`Self::begin_send`] gave out a notice, which frees its
    /// slot; every other event says it in its [`Actions`].
    pub fn take_retry(&mut self) -> bool {
        self.take_waiters()
    }

    /// The fast path of the activity log: one extent, hot already (AL-2).
    fn take_hot(&mut self, request: &WriteRequest) -> bool {
        let (first, last) = super::volume_log::extents(request.sector, request.size_bytes);
        request.operation == Operation::Write && first == last && self.log_waiting.is_empty() && self.log.get_if_hot(first).is_some()
    }

    /// Starts a write that has passed admission and the log: the gate decides where it goes.
    pub(super) fn launch(&mut self, slot: u32, now: u32, stamp: impl FnOnce() -> Stamp) -> Launch {
        let gate = self.gate;
        let entry = self.table.get(slot);
        let mut flags = entry.flags;
        let mut launch = Launch { slot, local: gate.local, wake_sender: false, complete: None, congested: false };
        if gate.local {
            flags = flags.with(Flags::LOCAL_PENDING).with(Flags::LOCAL_USED);
            self.local_references += 1;
        }
        if gate.replicate {
            flags = flags
                .with(Flags::NET_QUEUED)
                .with_if(Flags::MAY_SET_IN_SYNC, gate.in_sync_states)
                .with_if(Flags::WANT_RECEIVE_ACK, gate.want_receive_ack)
                .with_if(Flags::WANT_WRITE_ACK, gate.want_write_ack);
            self.queue_send(slot, now, stamp);
            launch.wake_sender = true;
            launch.congested = self.is_congested();
        } else if gate.local {
            // Set before the disk is written: a bitmap sent to the peer meanwhile already shows it.
            let newly = self.bitmap.set_range(entry.sector, entry.size_bytes);
            flags = flags.with(Flags::BITS_SET);
            launch.wake_sender = gate.notify_out_of_sync && newly > 0 && self.queue_notice(&entry, now, stamp);
        }
        if gate.replicate && !gate.local {
            // A disk that is being given up misses this, and the peer may not know that yet.
            self.bitmap.set_range(entry.sector, entry.size_bytes);
        }
        self.set_flags(slot, flags);
        if !gate.local && !gate.replicate {
            launch.complete = self.settle(slot).complete;
        }
        launch
    }

    /// CG-1: too much is on its way to the peer, or too many extents are hot.
    fn is_congested(&self) -> bool {
        let gate = &self.gate;
        let fill = gate.congestion_fill > 0 && self.sectors_at_peer >= u64::from(gate.congestion_fill);
        let extents = gate.congestion_extents > 0 && u32::from(self.log.referenced()) >= gate.congestion_extents;
        gate.local_up_to_date && !self.has_failed_writes() && (fill || extents)
    }

    /// Nothing that was sent waits for the peer any more (CG-3).
    pub const fn peer_has_everything(&self) -> bool {
        self.sectors_at_peer == 0 && self.pending_at_peer == 0
    }

    /// A write leaves for the peer, or is safe there, or lost.
    pub(super) fn count_at_peer(&mut self, slot: u32, on_its_way: bool) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        let sectors = u64::from(entry.size_bytes / 512);
        match (on_its_way, entry.flags.has(Flags::AT_PEER)) {
            (true, false) => self.sectors_at_peer += sectors,
            (false, true) => self.sectors_at_peer = self.sectors_at_peer.saturating_sub(sectors),
            _ => return,
        }
        entry.flags = entry.flags.without(Flags::AT_PEER).with_if(Flags::AT_PEER, on_its_way);
    }

    fn queue_notice(&mut self, about: &Entry, now: u32, stamp: impl FnOnce() -> Stamp) -> bool {
        let Some(notice) = self.table.take(Operation::OutOfSyncNotice, about.sector, about.size_bytes) else {
            return false;
        };
        self.queue_send(notice, now, stamp);
        true
    }

    pub(super) fn queue_send(&mut self, slot: u32, now: u32, stamp: impl FnOnce() -> Stamp) {
        if let Some(entry) = self.table.get_mut(slot) {
            let stamp = stamp();
            entry.order = stamp.order;
            entry.epoch = later(stamp.closed, self.closed);
            entry.queued_at = now;
        }
        self.table.push(&mut self.send_queue, slot);
    }

    /// Notes when the request of a slot came. The shell does so for those of the peer and of a resync.
    pub fn begun(&mut self, slot: u32, now: u32) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.begun_at = now;
        }
    }

    pub(super) fn set_flags(&mut self, slot: u32, flags: Flags) {
        if let Some(entry) = self.table.get_mut(slot) {
            entry.flags = flags;
        }
    }

    /// The local disk has finished (or failed) a write.
    pub fn local_done(&mut self, slot: u32, ok: bool) -> Actions {
        let entry = self.table.get(slot);
        if !entry.flags.has(Flags::LOCAL_PENDING) {
            return Actions::default();
        }
        let flags = entry.flags.without(Flags::LOCAL_PENDING).with_if(Flags::LOCAL_OK, ok);
        if !ok {
            // Now, because the bitmap is stored for the last time when the disk that failed has no access left.
            self.bitmap.set_range(entry.sector, entry.size_bytes);
        }
        self.set_flags(slot, flags.with_if(Flags::BITS_SET, !ok));
        let mut actions = self.settle(slot);
        // A write of the peer may wait for just this, although the peer has not answered for ours.
        actions.retry |= self.gate.two_primaries && self.take_waiters();
        self.drop_local_reference(&mut actions);
        actions
    }

    /// The next request to send, without taking it: its slot and order. The slot's `epoch` holds the stamp's `closed`.
    pub fn peek_send(&self) -> Option<(u32, u64)> {
        let slot = self.send_queue.front()?;
        Some((slot, self.table.get(slot).order))
    }

    /// Takes the next request off the send queue; the sender now reads its pages. Writes with data join `epoch`.
    pub fn begin_send(&mut self, epoch: u32) -> Option<(u32, Entry)> {
        let slot = self.table.pop(&mut self.send_queue)?;
        let entry = self.table.get_mut(slot)?;
        match entry.operation {
            Operation::OutOfSyncNotice => {
                let notice = *entry;
                self.table.release(slot);
                return Some((slot, notice));
            }
            Operation::RemoteRead => {
                entry.flags = entry.flags.without(Flags::NET_QUEUED).with(Flags::NET_PENDING).with(Flags::ON_LOG);
                self.pending_at_peer += 1;
            }
            _ => {
                entry.epoch = epoch;
                let waits = entry.flags.has(Flags::WANT_RECEIVE_ACK.with(Flags::WANT_WRITE_ACK));
                entry.flags = entry
                    .flags
                    .without(Flags::NET_QUEUED.with(Flags::UNAWAITED))
                    .with(Flags::SENDING)
                    .with(Flags::ON_LOG)
                    .with_if(Flags::NET_PENDING, waits);
                self.pending_at_peer += u32::from(waits);
            }
        }
        let read = self.table.get(slot).operation == Operation::RemoteRead;
        if !read {
            self.count_at_peer(slot, true);
        }
        if !read && self.conflict_epoch == Some(epoch) {
            self.set_flags(slot, self.table.get(slot).flags.with(Flags::UNAWAITED));
        }
        let log = if read { &mut self.read_log } else { &mut self.transfer_log };
        self.table.push_log(log, slot);
        Some((slot, self.table.get(slot)))
    }

    /// The sender has handed a write to the socket (or failed to: the connection is then about to be lost).
    pub fn sent(&mut self, slot: u32, ok: bool) -> Actions {
        let entry = self.table.get(slot);
        if !entry.flags.has(Flags::SENDING) {
            return Actions::default();
        }
        let handed_over = ok && !entry.flags.has(Flags::WANT_RECEIVE_ACK.with(Flags::WANT_WRITE_ACK).with(Flags::NET_FAILED));
        self.set_flags(slot, entry.flags.without(Flags::SENDING).with_if(Flags::NET_OK, handed_over));
        self.settle(slot)
    }

    /// An acknowledgement of the peer for a write of ours. The identity has to match; the range reported is not trusted.
    pub fn acknowledged(&mut self, id: u64, sector: u64, what: Acknowledgement) -> Result<(u32, Actions), UnknownRequest> {
        let slot = self.table.find(id).ok_or(UnknownRequest { id, sector })?;
        let entry = self.table.get(slot);
        let sent = entry.flags.has(Flags::ON_LOG) && entry.operation.is_application_write();
        if !sent || entry.sector != sector {
            return Err(UnknownRequest { id, sector });
        }
        let mut flags = entry.flags;
        let final_answer = match what {
            Acknowledgement::Received => !flags.has(Flags::WANT_WRITE_ACK),
            _ => true,
        };
        flags = match what {
            Acknowledgement::Failed => {
                self.peer_missed = true;
                self.fail_network_part(slot, flags.without(Flags::NET_OK));
                self.table.get(slot).flags
            }
            Acknowledgement::WrittenInSync => flags.with(Flags::NET_OK).with(Flags::PEER_IN_SYNC),
            _ => flags.with(Flags::NET_OK),
        };
        if final_answer && flags.has(Flags::NET_PENDING) {
            flags = flags.without(Flags::NET_PENDING);
            self.pending_at_peer = self.pending_at_peer.saturating_sub(1);
        }
        self.set_flags(slot, flags);
        if final_answer {
            self.count_at_peer(slot, false);
        }
        let mut actions = self.settle(slot);
        // A write of the peer that is later than this one may only wait for the local disk now.
        actions.retry |= self.gate.two_primaries && self.take_waiters();
        Ok((slot, actions))
    }

    /// Takes one write of an acknowledged epoch (or an older one) off the transfer log. The caller repeats until `None`.
    /// `Err`: the peer acknowledged the epoch although it still owes an answer for this write.
    pub fn take_acknowledged_epoch(&mut self, epoch: u32) -> Result<Option<(u32, Actions)>, UnknownRequest> {
        let Some(slot) = self.transfer_log.front() else { return Ok(None) };
        let entry = self.table.get(slot);
        if (epoch.wrapping_sub(entry.epoch) as i32) < 0 {
            return Ok(None);
        }
        if entry.flags.has(Flags::NET_PENDING) {
            return Err(UnknownRequest { id: entry.id, sector: entry.sector });
        }
        self.table.pop_log(&mut self.transfer_log);
        self.set_flags(slot, entry.flags.without(Flags::ON_LOG));
        self.count_at_peer(slot, false);
        Ok(Some((slot, self.settle(slot))))
    }

    /// The connection is gone: takes one request off the transfer log or the send queue and fails its network part
    /// (EP-6). The caller repeats until `None`. While I/O is suspended, unfinished writes are frozen instead.
    pub fn take_lost(&mut self) -> Option<(u32, Entry, Actions)> {
        let slot = match self.table.pop_log(&mut self.transfer_log) {
            Some(slot) => slot,
            None => match self.table.pop_log(&mut self.read_log).or_else(|| self.table.pop_log(&mut self.postponed)) {
                Some(slot) => slot,
                None => match self.table.pop(&mut self.send_queue) {
                    Some(slot) => slot,
                    None => {
                        self.forget_in_sync();
                        return None;
                    }
                },
            },
        };
        self.count_at_peer(slot, false);
        let entry = self.table.get(slot);
        if entry.flags.has(Flags::NET_PENDING) {
            self.pending_at_peer = self.pending_at_peer.saturating_sub(1);
        }
        let flags = entry.flags.without(Flags::NET_QUEUED.with(Flags::NET_PENDING).with(Flags::ON_LOG).with(Flags::POSTPONED));
        match entry.operation {
            Operation::OutOfSyncNotice => {
                self.table.release(slot);
                return Some((slot, entry, Actions { retry: self.take_waiters(), ..Actions::default() }));
            }
            Operation::RemoteRead => {
                let unanswered = !entry.flags.has(Flags::COMPLETED);
                self.in_flight = self.in_flight.saturating_sub(u32::from(unanswered));
                self.table.release(slot);
                let retry = self.take_waiters();
                return Some((slot, entry, Actions { complete: unanswered.then_some(false), retry, ..Actions::default() }));
            }
            _ => {}
        }
        if self.gate.suspended && (!entry.flags.has(Flags::COMPLETED) || entry.flags.peer_has_it()) {
            self.freeze(slot, flags);
            return Some((slot, entry, Actions::default()));
        }
        // Even if acked, its epoch may not be on stable storage there (EP-6).
        self.fail_network_part(slot, flags);
        let actions = self.settle(slot);
        Some((slot, entry, actions))
    }

    /// The peer does not have this write for certain. Its bits are set at once and not when it dies: the local disk may take long, and
    /// a bitmap sent to the peer meanwhile has to show them.
    pub(super) fn fail_network_part(&mut self, slot: u32, flags: Flags) {
        let mut flags = flags.with(Flags::NET_FAILED);
        if flags.has(Flags::LOCAL_USED) {
            let entry = self.table.get(slot);
            self.bitmap.set_range(entry.sector, entry.size_bytes);
            flags = flags.with(Flags::BITS_SET);
        }
        self.set_flags(slot, flags);
    }

    /// Completes and buries a request as far as its flags allow; one without any good copy may be kept for later ([`Gate::hold_failed`]).
    pub(super) fn settle(&mut self, slot: u32) -> Actions {
        let hold = self.gate.hold_failed;
        self.settle_or(slot, hold)
    }

    /// The same, whatever the outcome.
    pub(super) fn settle_finally(&mut self, slot: u32) -> Actions {
        self.settle_or(slot, false)
    }

    fn settle_or(&mut self, slot: u32, hold: bool) -> Actions {
        let mut actions = Actions::default();
        let mut entry = self.table.get(slot);
        if !entry.operation.is_application_write() {
            return actions;
        }
        if entry.flags.has(Flags::POSTPONED) {
            // A write of the peer may wait for just this.
            actions.retry = self.take_waiters();
            return actions;
        }
        if entry.flags.may_complete() {
            // A copy on a disk that is being given up, or that a resync will overwrite, is none: the data that counts does not have it.
            // Nor is one with a peer that is known to lack something.
            let lacks = self.failed_writes > 0 && self.missed_write();
            let there = entry.flags.has(Flags::NET_OK) && !self.gate.peer_lacks;
            let good = there || (entry.flags.has(Flags::LOCAL_OK) && self.gate.local_up_to_date && !lacks);
            if !good && hold {
                self.freeze(slot, entry.flags);
                return actions;
            }
            actions.complete = Some(good);
            if entry.flags.has(Flags::ON_LOG) {
                actions.close_epoch = Some(entry.epoch);
                self.closed = later(self.closed, entry.epoch.wrapping_add(1));
            }
            if entry.flags.has(Flags::IN_RANGES) {
                self.ranges.remove(&mut self.table, slot);
            }
            let in_sync = entry.flags.bits_at_death() == Bits::Clear;
            if in_sync {
                self.bitmap.clear_range(entry.sector, entry.size_bytes);
            }
            self.set_flags(slot, entry.flags.with(Flags::COMPLETED).without(Flags::IN_RANGES).with_if(Flags::BITS_SET, in_sync));
            entry = self.table.get(slot);
            self.in_flight = self.in_flight.saturating_sub(1);
            actions.retry |= self.take_waiters();
        }
        if entry.flags.is_dead() {
            self.bury(slot, &entry);
            // Writes may be waiting because every slot of the log was referenced.
            actions.retry |= self.take_waiters() || (entry.flags.has(Flags::LOG_HELD) && !self.log_waiting.is_empty());
        }
        actions
    }

    fn bury(&mut self, slot: u32, entry: &Entry) {
        if entry.flags.bits_at_death() == Bits::Set {
            self.bitmap.set_range(entry.sector, entry.size_bytes);
        }
        if entry.flags.has(Flags::LOG_HELD) {
            self.put_extents(entry.sector, entry.size_bytes);
        }
        self.table.release(slot);
    }

    /// The oldest write on the transfer log about which the peer will still say something.
    fn oldest_awaited(&self) -> Option<Entry> {
        let awaited = |flags: Flags| flags.has(Flags::NET_PENDING.with(Flags::SENDING)) || !flags.has(Flags::UNAWAITED);
        self.table.find_in_log(&self.transfer_log, |entry| awaited(entry.flags))
    }

    /// The oldest write that waits for the peer, for the request timer (TO-3): jiffies when it was queued.
    pub fn oldest_waiting_for_peer(&self) -> Option<u32> {
        let older = |a: Option<u32>, b: Option<u32>| match (a, b) {
            (Some(a), Some(b)) => Some(if (a.wrapping_sub(b) as i32) < 0 { a } else { b }),
            (a, b) => a.or(b),
        };
        let since = |queue: &Queue| queue.front().map(|slot| self.table.get(slot).queued_at);
        let write = self.oldest_awaited().map(|entry| entry.queued_at).or(since(&self.send_queue));
        older(older(write, since(&self.read_log)), since(&self.postponed))
    }
}
