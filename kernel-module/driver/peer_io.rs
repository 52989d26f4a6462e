// SPDX-License-Identifier: GPL-2.0
//! Disk I/O on behalf of the peer: replicated writes, reads it asked for, resync reads and writes.
//!
//! Each is one bio with pages of its own: received into, or sent from, directly. Completions come in any context; they only
//! touch the data plane, the epochs and the ring of acknowledgements.

use super::acks::Ack;
use super::device::Device;
use super::digest::DigestValue;
use super::prelude::*;
use super::queue::Outgoing;
use drbd_core::engine::volume_conflict::Register;
use drbd_core::engine::volume_peer::Begin;
use drbd_core::wire::packet::data_flags;
use drbd_core::wire::Command;

/// What a request of the peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A replicated write, discard or zero-out.
    Write(Op),
    /// A read of the peer's application.
    Read,
    /// A read as source of a resync.
    ResyncRead,
    /// The same for a request that may be answered "all zero" (P_RS_THIN_REQ).
    ThinRead,
    /// The same for a request that came with the digest of the target's block (P_CSUM_RS_REQUEST).
    ChecksumCompare,
    /// A read as target, for the digest to ask with.
    ChecksumRead,
    /// VerifyT: a read for the digest the peer asked for.
    VerifyRead,
    /// VerifyS: a read for the comparison with the peer's digest.
    VerifyCompare,
    /// The data of a resync request of ours.
    ResyncWrite,
    /// A resync request of ours was answered "all zero".
    ResyncErase,
}

impl Kind {
    /// Part of a resync or verify, so not what makes those step aside (RX-14).
    const fn is_background(self) -> bool {
        !matches!(self, Kind::Write(_) | Kind::Read)
    }
}

/// The driver's part of such a request.
pub(crate) struct PeerIo {
    pub(crate) device: Arc<Device>,
    pub(crate) kind: Kind,
    pub(crate) sector: u64,
    pub(crate) size_bytes: u32,
    /// The peer's identity, echoed.
    pub(crate) id: [u8; 8],
    /// dp_flags of a write.
    pub(crate) flags: u32,
    /// The connection it came by (see [`super::acks::AckQueue::abandon`]).
    pub(crate) generation: u32,
    /// Receiver epoch of a write.
    pub(crate) epoch: u32,
    pub(crate) slot: Atomic<u32>,
    /// The peer's digest of the same block.
    pub(crate) digest: Option<KBox<DigestValue>>,
    /// Result of a read, for its reply.
    pub(crate) failed: Atomic<bool>,
}

impl PeerIo {
    /// A request without slot.
    pub(crate) fn new(device: &Arc<Device>, kind: Kind, sector: u64, size_bytes: u32, id: [u8; 8]) -> Self {
        Self {
            device: device.clone(),
            kind,
            sector,
            size_bytes,
            id,
            flags: 0,
            generation: device.resource.connection.generation(),
            epoch: 0,
            slot: Atomic::new(u32::MAX),
            digest: None,
            failed: Atomic::new(false),
        }
    }

    /// What to erase, for a discard or write-zeroes.
    pub(crate) fn erase_order(&self) -> super::erase::Order {
        let discard = matches!(self.kind, Kind::Write(Op::Discard) | Kind::ResyncErase);
        let may_unmap = discard || self.flags & data_flags::DISCARD != 0;
        super::erase::Order { sector: self.sector, size_bytes: self.size_bytes, may_unmap, discard }
    }

    pub(crate) fn ack(&self, command: Command) -> Ack {
        let (command, volume) = (command.number(), self.device.volume);
        Ack::Block { command, volume, id: self.id, sector: self.sector, size_bytes: self.size_bytes, sequence: 0 }
    }
}

impl IoClient for PeerIo {
    fn completed(io: Io<Self>, status: BlkStatus) {
        let device = io.device.clone();
        let erase = matches!(io.kind, Kind::Write(Op::Discard | Op::WriteZeroes) | Kind::ResyncErase);
        if !status.is_ok() && !erase {
            let kind = if matches!(io.kind, Kind::Write(_) | Kind::ResyncWrite) { super::device::ERROR_WRITE } else { super::device::ERROR_READ };
            device.report_error(kind);
        }
        match io.kind {
            Kind::Write(_) => write_ended(&device, &io, status.is_ok()),
            Kind::ResyncWrite | Kind::ResyncErase => resync_write_ended(&device, &io, status.is_ok()),
            _ => read_ended(&device, io, status.is_ok()),
        }
    }
}

/// Starts a write whose epoch may run: range and log permitting (wire-protocol.md 9.2). While it waits it has its range, so that nothing later
/// passes it.
pub(crate) fn begin_write(device: &Arc<Device>, io: &Io<PeerIo>) {
    let mut plane = device.plane.lock();
    let mut slot = io.slot.load(Relaxed);
    let begin = match slot {
        u32::MAX => match plane.register(io) {
            Register::Slot(taken) => {
                slot = taken;
                plane.core.peer_write_continue(slot)
            }
            Register::NotNow => Begin::Wait,
            Register::NoDisk => Begin::NoDisk,
        },
        slot => plane.core.peer_write_continue(slot),
    };
    match begin {
        Begin::Go(_) => {
            let backing = plane.backing.clone();
            drop(plane);
            submit_write(device, io, backing);
        }
        Begin::LogWait(_) => {
            drop(plane);
            device.kick_log_writer();
        }
        Begin::Wait => {
            plane.core.peer_write_arrived(io.sector, io.size_bytes);
            let kept = device.defer(&mut plane, io);
            drop(plane);
            if !kept {
                unregister(device, slot);
                refuse_write(device, io);
            }
        }
        Begin::NoDisk => {
            drop(plane);
            unregister(device, slot);
            refuse_write(device, io);
        }
    }
}

/// Gives back the range of a write that will not run.
fn unregister(device: &Arc<Device>, slot: u32) {
    if slot == u32::MAX {
        return;
    }
    let (held, actions) = {
        let mut plane = device.plane.lock();
        (plane.take_peer(slot), plane.core.drop_peer_write(slot))
    };
    drop(held);
    device.follow(&actions);
}

/// Submits a write that has its slot.
pub(crate) fn submit_write(device: &Arc<Device>, io: &Io<PeerIo>, backing: Option<BlockDev>) {
    let Kind::Write(op) = io.kind else { return };
    let flags = OpFlags {
        sync: io.flags & data_flags::RW_SYNC != 0,
        fua: io.flags & data_flags::FUA != 0,
        preflush: io.flags & data_flags::FLUSH != 0,
        ..OpFlags::default()
    };
    device.statistics.written.add(u64::from(io.size_bytes / 512));
    if op != Op::Write {
        device.erase(super::erase::Erase::Peer(io.clone()));
        return;
    }
    let submitted = match backing {
        Some(dev) => io.submit_sized(&dev, op, flags, io.sector, io.size_bytes),
        None => Err(EIO),
    };
    if submitted.is_err() {
        write_ended(device, io, false);
    }
}

/// There is no disk for it: P_NEG_ACK, and it still counts in its epoch (ER-5).
pub(crate) fn refuse_write(device: &Arc<Device>, io: &Io<PeerIo>) {
    if answer_write(device, io, Some(Command::NegAck)) {
        account_write(device, io);
    }
}

fn write_ended(device: &Arc<Device>, io: &Io<PeerIo>, ok: bool) {
    let slot = io.slot.load(Relaxed);
    let wants = io.flags & data_flags::SEND_WRITE_ACK != 0 || device.resource.connection.always_ack.load(Relaxed);
    let (end, answered) = {
        let mut plane = device.plane.lock();
        let held = plane.take_peer(slot);
        let end = plane.core.peer_write_done(slot, ok);
        let answer = match (ok, wants) {
            (false, _) => Some(Command::NegAck),
            (true, true) if end.in_sync => Some(Command::RsWriteAck),
            (true, true) => Some(Command::WriteAck),
            (true, false) => None,
        };
        // With the lock held: it has its number before a write of ours starts in the range (wire-protocol.md 9.1, DP-2).
        let answered = answer_write(device, io, answer);
        drop(plane);
        drop(held);
        (end, answered)
    };
    if answered {
        account_write(device, io);
    }
    device.follow(&end.actions);
    if end.restarted {
        device.kick_log_writer();
    }
}

/// Queues the acknowledgement of a write; false: its connection is gone.
fn answer_write(device: &Device, io: &Io<PeerIo>, command: Option<Command>) -> bool {
    device.resource.connection.answer(device, io.generation, command.map(|command| io.ack(command)))
}

/// A write is over, and its acknowledgement queued: accounts for it in its epoch.
fn account_write(device: &Arc<Device>, io: &Io<PeerIo>) {
    let connection = &device.resource.connection;
    let after = connection.epochs_in.lock().write_finished(io.epoch);
    super::receiver::follow_epoch(&device.resource, after);
    connection.acks_waiting(&device.resource);
}

fn resync_write_ended(device: &Arc<Device>, io: &Io<PeerIo>, ok: bool) {
    let slot = io.slot.load(Relaxed);
    let connection = &device.resource.connection;
    let (actions, answered) = {
        let mut plane = device.plane.lock();
        let held = plane.take_peer(slot);
        let (in_sync, actions) = plane.core.resync_write_done(slot, ok);
        let command = if in_sync { Command::RsWriteAck } else { Command::NegAck }; // RX-10
        // With the lock held: it leaves before a newer write of the range can be refused.
        let answered = connection.answer(device, io.generation, Some(io.ack(command)));
        drop(plane);
        drop(held);
        (actions, answered)
    };
    if answered {
        connection.acks_waiting(&device.resource);
    }
    if device.settled() {
        device.resource.wake_worker();
    }
    device.follow(&actions);
}

/// A read is done: its reply leaves with the data stream, so later writes cannot overtake it.
fn read_ended(device: &Arc<Device>, io: Io<PeerIo>, ok: bool) {
    io.failed.store(!ok, Relaxed);
    let connection = &device.resource.connection;
    let (slot, kind) = (io.slot.load(Relaxed), io.kind);
    device.statistics.read.add(u64::from(io.size_bytes / 512));
    let current = connection.generation() == io.generation;
    // Those who only wanted a digest have an answer without data as well.
    let answerable = matches!(kind, Kind::VerifyCompare | Kind::ChecksumRead);
    if kind == Kind::VerifyRead {
        // Before the answer can be on its way: the verdict ends what begins here.
        let (waits, actions) = {
            let mut plane = device.plane.lock();
            let held = plane.take_peer(slot);
            let done = plane.core.verify_read_done(slot);
            drop(plane);
            drop(held);
            done
        };
        if waits {
            device.resync_pending.fetch_add(1, Relaxed);
        }
        if current {
            connection.enqueue(device.volume, Outgoing::Reply { io });
        }
        device.follow(&actions);
        return;
    }
    if !current {
        abandon(&io);
    } else if ok || answerable {
        connection.enqueue(device.volume, Outgoing::Reply { io });
    } else {
        let command = if kind == Kind::Read { Command::NegDReply } else { Command::NegRsDReply };
        if kind != Kind::Read {
            // Before the target can hear of it, and end the resync without this block.
            device.plane.lock().core.resync_failed(io.size_bytes);
        }
        if connection.answer(&device, io.generation, Some(io.ack(command))) {
            connection.acks_waiting(&device.resource);
        }
    }
    if kind == Kind::ChecksumRead {
        // The range stays reserved for the answer to come.
        return;
    }
    let actions = {
        let mut plane = device.plane.lock();
        let held = plane.take_peer(slot);
        let actions = match kind {
            Kind::VerifyCompare => plane.core.verify_compare_read(slot),
            _ => plane.core.resync_read_done(slot),
        };
        drop(plane);
        drop(held);
        actions
    };
    device.follow(&actions);
}

/// The connection is gone before a read that was done could be answered or compared.
pub(crate) fn abandon(io: &Io<PeerIo>) {
    if io.kind == Kind::VerifyCompare {
        super::verify::give_up(io);
    }
}

/// Starts a read for the peer when no write is active in its range.
pub(crate) fn begin_read(device: &Arc<Device>, io: &Io<PeerIo>) {
    let mut plane = device.plane.lock();
    if !plane.core.gate().local_up_to_date {
        drop(plane);
        refuse_read(device, io);
        return;
    }
    let begin = match io.kind {
        Kind::VerifyRead => plane.core.verify_read_begin(io.sector, io.size_bytes),
        Kind::VerifyCompare => plane.core.verify_compare_begin(io.slot.load(Relaxed)),
        _ => plane.core.resync_read_begin(io.sector, io.size_bytes),
    };
    match begin {
        Begin::Go(slot) => {
            account(device, io);
            plane.keep_peer(slot, io);
            let backing = plane.backing.clone();
            drop(plane);
            let submitted = backing.map(|dev| io.submit(&dev, Op::Read, OpFlags::default(), io.sector));
            if !matches!(submitted, Some(Ok(()))) {
                read_ended(device, io.clone(), false);
            }
        }
        Begin::Wait | Begin::LogWait(_) => {
            let kept = device.defer(&mut plane, io);
            drop(plane);
            if !kept {
                refuse_read(device, io);
            }
        }
        Begin::NoDisk => {
            drop(plane);
            refuse_read(device, io);
        }
    }
}

/// Traffic that is not an application's.
pub(crate) fn account(device: &Device, io: &Io<PeerIo>) {
    if io.kind.is_background() {
        device.pace.background_sectors.fetch_add(u64::from(io.size_bytes / 512), Relaxed);
    }
}

fn refuse_read(device: &Arc<Device>, io: &Io<PeerIo>) {
    if io.kind == Kind::VerifyCompare {
        // OV-3: what cannot be compared counts as equal.
        super::verify::verdict(device, io, false);
        return;
    }
    let command = if io.kind == Kind::Read { Command::NegDReply } else { Command::NegRsDReply };
    let connection = &device.resource.connection;
    if connection.answer(device, io.generation, Some(io.ack(command))) {
        connection.acks_waiting(&device.resource);
    }
}

/// Starts to write the data of a resync answer.
pub(crate) fn begin_resync_write(device: &Arc<Device>, io: &Io<PeerIo>) {
    let slot = io.slot.load(Relaxed);
    let mut plane = device.plane.lock();
    match plane.core.resync_write_begin(slot) {
        Begin::Go(slot) => {
            plane.keep_peer(slot, io);
            let backing = plane.backing.clone();
            drop(plane);
            account(device, io);
            device.statistics.written.add(u64::from(io.size_bytes / 512));
            if io.kind == Kind::ResyncErase {
                device.erase(super::erase::Erase::Peer(io.clone()));
                return;
            }
            let submitted = backing.map(|dev| io.submit(&dev, Op::Write, OpFlags::default(), io.sector));
            if !matches!(submitted, Some(Ok(()))) {
                resync_write_ended(device, io, false);
            }
        }
        Begin::Wait | Begin::LogWait(_) => {
            let kept = device.defer(&mut plane, io);
            drop(plane);
            if !kept {
                resync_write_ended(device, io, false);
            }
        }
        Begin::NoDisk => {
            drop(plane);
            resync_write_ended(device, io, false);
        }
    }
}

/// Drops what met an overlapping range: its connection is gone, and it must not overtake what the next one brings. Nothing of it was
/// done or acknowledged.
pub(crate) fn drop_deferred(device: &Arc<Device>) {
    loop {
        let io = device.plane.lock().deferred.pop();
        let Some(io) = io else { break };
        device.deferred.fetch_add(-1, Full);
        match io.kind {
            Kind::ResyncWrite | Kind::ResyncErase => resync_write_ended(device, &io, false),
            Kind::Write(_) => unregister(device, io.slot.load(Relaxed)),
            _ => abandon(&io),
        }
    }
}

impl Device {
    /// Keeps what met an overlapping range for [`retry_deferred`]; false: it waits for something else. Counted with the lock held: whoever ends in that range looks at the
    /// count afterwards, and must not miss this.
    fn defer(&self, plane: &mut super::device::Plane, io: &Io<PeerIo>) -> bool {
        let kept = plane.deferred.push(io.clone()).is_ok();
        if plane.wants_room() {
            self.resource.wake_worker();
        }
        self.deferred.fetch_add(i32::from(kept), Full);
        kept
    }
}

/// Tries again what met an overlapping range; in order, once each.
pub(crate) fn retry_deferred(device: &Arc<Device>) {
    let count = device.deferred.load(Acquire);
    for _ in 0..count.max(0) {
        let io = device.plane.lock().deferred.pop();
        let Some(io) = io else { break };
        device.deferred.fetch_add(-1, Full);
        match io.kind {
            Kind::Write(_) => begin_write(device, &io),
            Kind::ResyncWrite | Kind::ResyncErase => begin_resync_write(device, &io),
            _ => begin_read(device, &io),
        }
    }
}
