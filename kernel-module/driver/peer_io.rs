// SPDX-License-Identifier: GPL-2.0
//! Disk I/O on behalf of the peer: replicated writes, reads it asked for, resync reads and writes.
//!
//! Each is one bio with pages of its own: received into, or sent from, directly. Completions come in any context; they only
//! touch the data plane, the epochs and the ring of acknowledgements.

use super::acks::Ack;
use super::device::Device;
use super::prelude::*;
use super::queue::Outgoing;
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
    /// The data of a resync request of ours.
    ResyncWrite,
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
            failed: Atomic::new(false),
        }
    }

    /// What to erase, for a discard or write-zeroes.
    pub(crate) fn erase_order(&self) -> super::erase::Order {
        let discard = self.kind == Kind::Write(Op::Discard);
        let may_unmap = discard || self.flags & data_flags::DISCARD != 0;
        super::erase::Order { sector: self.sector, size_bytes: self.size_bytes, may_unmap, discard }
    }

    fn ack(&self, command: Command) -> Ack {
        Ack::Block { command: command.number(), volume: self.device.volume, id: self.id, sector: self.sector, size_bytes: self.size_bytes }
    }
}

impl IoClient for PeerIo {
    fn completed(io: Io<Self>, status: BlkStatus) {
        let device = io.device.clone();
        let erase = matches!(io.kind, Kind::Write(Op::Discard | Op::WriteZeroes));
        if !status.is_ok() && !erase {
            let kind = if matches!(io.kind, Kind::Write(_) | Kind::ResyncWrite) { super::device::ERROR_WRITE } else { super::device::ERROR_READ };
            device.report_error(kind);
        }
        match io.kind {
            Kind::Write(_) => write_ended(&device, &io, status.is_ok()),
            Kind::ResyncWrite => resync_write_ended(&device, &io, status.is_ok()),
            Kind::Read | Kind::ResyncRead => read_ended(&device, io, status.is_ok()),
        }
    }
}

/// Starts a write whose epoch may run: range and log permitting (wire-protocol.md 9.2).
pub(crate) fn begin_write(device: &Arc<Device>, io: &Io<PeerIo>) {
    let may_set = io.flags & data_flags::MAY_SET_IN_SYNC != 0;
    let mut plane = device.plane.lock();
    match plane.core.peer_write_begin(io.sector, io.size_bytes, may_set) {
        Begin::Go(slot) => {
            plane.keep_peer(slot, io);
            let backing = plane.backing.clone();
            drop(plane);
            submit_write(device, io, backing);
        }
        Begin::LogWait(slot) => {
            plane.keep_peer(slot, io);
            drop(plane);
            device.kick_log_writer();
        }
        Begin::Wait | Begin::Conflict(_) => {
            plane.core.peer_write_arrived(io.sector, io.size_bytes);
            let kept = plane.deferred.push_within_capacity(io.clone()).is_ok();
            drop(plane);
            device.deferred.fetch_add(1, Full);
            if !kept {
                refuse_write(device, io);
            }
        }
        Begin::NoDisk => {
            drop(plane);
            refuse_write(device, io);
        }
    }
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
    answer_write(device, io, Some(Command::NegAck));
}

fn write_ended(device: &Arc<Device>, io: &Io<PeerIo>, ok: bool) {
    let slot = io.slot.load(Relaxed);
    let end = {
        let mut plane = device.plane.lock();
        let held = plane.take_peer(slot);
        let end = plane.core.peer_write_done(slot, ok);
        drop(plane);
        drop(held);
        end
    };
    let wants = io.flags & data_flags::SEND_WRITE_ACK != 0 || device.resource.connection.always_ack.load(Relaxed);
    let answer = match (ok, wants) {
        (false, _) => Some(Command::NegAck),
        (true, true) if end.in_sync => Some(Command::RsWriteAck),
        (true, true) => Some(Command::WriteAck),
        (true, false) => None,
    };
    answer_write(device, io, answer);
    device.follow(&end.actions);
}

/// Queues the acknowledgement of a write, then accounts for it in its epoch.
fn answer_write(device: &Arc<Device>, io: &Io<PeerIo>, command: Option<Command>) {
    let connection = &device.resource.connection;
    let answered = match command {
        Some(command) => connection.answer(io.generation, &[io.ack(command)]),
        None => connection.answer(io.generation, &[]),
    };
    if !answered {
        return;
    }
    let after = connection.epochs_in.lock().write_finished(io.epoch);
    super::receiver::follow_epoch(&device.resource, after);
    connection.acks_waiting(&device.resource);
}

fn resync_write_ended(device: &Arc<Device>, io: &Io<PeerIo>, ok: bool) {
    let slot = io.slot.load(Relaxed);
    let (_, actions) = {
        let mut plane = device.plane.lock();
        let held = plane.take_peer(slot);
        let done = plane.core.resync_write_done(slot, ok);
        drop(plane);
        drop(held);
        done
    };
    let connection = &device.resource.connection;
    let command = if ok { Command::RsWriteAck } else { Command::NegAck };
    if connection.answer(io.generation, &[io.ack(command)]) {
        connection.acks_waiting(&device.resource);
    }
    if device.resync_pending.fetch_add(-1, Full) == 1 {
        device.resource.wake_worker();
    }
    device.follow(&actions);
}

/// A read is done: its reply leaves with the data stream, so later writes cannot overtake it.
fn read_ended(device: &Arc<Device>, io: Io<PeerIo>, ok: bool) {
    io.failed.store(!ok, Relaxed);
    let connection = &device.resource.connection;
    let slot = io.slot.load(Relaxed);
    let resync = io.kind == Kind::ResyncRead;
    device.statistics.read.add(u64::from(io.size_bytes / 512));
    if !ok {
        let command = if resync { Command::NegRsDReply } else { Command::NegDReply };
        if connection.answer(io.generation, &[io.ack(command)]) {
            connection.acks_waiting(&device.resource);
        }
    } else if connection.generation() == io.generation {
        connection.enqueue(device.volume, Outgoing::Reply { io });
    }
    let actions = {
        let mut plane = device.plane.lock();
        let held = plane.take_peer(slot);
        let actions = plane.core.resync_read_done(slot);
        drop(plane);
        drop(held);
        actions
    };
    device.follow(&actions);
}

/// Starts a read for the peer when no write is active in its range.
pub(crate) fn begin_read(device: &Arc<Device>, io: &Io<PeerIo>) {
    let mut plane = device.plane.lock();
    if !plane.core.gate().local_up_to_date {
        drop(plane);
        refuse_read(device, io);
        return;
    }
    match plane.core.resync_read_begin(io.sector, io.size_bytes) {
        Begin::Go(slot) => {
            plane.keep_peer(slot, io);
            let backing = plane.backing.clone();
            drop(plane);
            let submitted = backing.map(|dev| io.submit(&dev, Op::Read, OpFlags::default(), io.sector));
            if !matches!(submitted, Some(Ok(()))) {
                read_ended(device, io.clone(), false);
            }
        }
        Begin::Wait | Begin::LogWait(_) | Begin::Conflict(_) => {
            let kept = plane.deferred.push_within_capacity(io.clone()).is_ok();
            drop(plane);
            device.deferred.fetch_add(1, Full);
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

fn refuse_read(device: &Arc<Device>, io: &Io<PeerIo>) {
    let command = if io.kind == Kind::ResyncRead { Command::NegRsDReply } else { Command::NegDReply };
    let connection = &device.resource.connection;
    if connection.answer(io.generation, &[io.ack(command)]) {
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
            device.statistics.written.add(u64::from(io.size_bytes / 512));
            let submitted = backing.map(|dev| io.submit(&dev, Op::Write, OpFlags::default(), io.sector));
            if !matches!(submitted, Some(Ok(()))) {
                resync_write_ended(device, io, false);
            }
        }
        Begin::Wait | Begin::LogWait(_) | Begin::Conflict(_) => {
            let kept = plane.deferred.push_within_capacity(io.clone()).is_ok();
            drop(plane);
            device.deferred.fetch_add(1, Full);
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
        if io.kind == Kind::ResyncWrite {
            resync_write_ended(device, &io, false);
        }
    }
}

/// Tries again what met an overlapping range; in order, once each.
pub(crate) fn retry_deferred(device: &Arc<Device>) {
    let count = device.deferred.load(Acquire);
    for _ in 0..count.max(0) {
        let io = {
            let mut plane = device.plane.lock();
            if plane.deferred.is_empty() {
                break;
            }
            plane.deferred.remove(0).ok()
        };
        let Some(io) = io else { break };
        device.deferred.fetch_add(-1, Full);
        match io.kind {
            Kind::Write(_) => begin_write(device, &io),
            Kind::Read | Kind::ResyncRead => begin_read(device, &io),
            Kind::ResyncWrite => begin_resync_write(device, &io),
        }
    }
}
