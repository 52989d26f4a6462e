// SPDX-License-Identifier: GPL-2.0
//! Online verify in the driver (behaviour.md 7.6, wire-protocol.md section 15).
//!
//! OV-2. VerifyS: the worker asks in its turns; answers come to the receiver, are read here and compared by the sender thread, which is where all
//! digests are made; the verdict leaves on the meta socket. VerifyT: the receiver reads, the sender answers, the ack receiver hears the verdict.
//! Position and counts are part of the data plane, so that they change together with the ranges and bits.

use super::acks::Ack;
use super::admin::{container_of, Done};
use super::attach::Refused;
use super::checksum::receive_with_digest;
use super::connection::Link;
use super::device::Device;
use super::helper::{self, Event};
use super::peer_io::{Kind, PeerIo};
use super::prelude::*;
use super::queue::Outgoing;
use super::receiver::{check, find, reserve, End};
use super::resource::{Control, Resource};
use super::resync::now_ms;
use super::volume::Volume;
use crate::kapi::genl::Request as Message;
use drbd_core::engine::volume_peer::Begin;
use drbd_core::engine::volume_verify::Verdict;
use drbd_core::genl::container;
use drbd_core::resync::verify::{Difference, NO_STOP};
use drbd_core::state::effects::supports_stop_sector;
use drbd_core::state::{Conn, Request, State};
use drbd_core::wire::command::MAX_DATA_BYTES;
use drbd_core::wire::packet::{BlockAck, BlockRequest, VERIFY_DIFFERENT_ID, VERIFY_EQUAL_ID};
use drbd_core::wire::{Command, Header};

/// START_OV (OV-1). The caller has the turn.
pub(super) fn start(message: &Message<'_>, resource: &Arc<Resource>, device: &Arc<Device>) -> Result<Done, Refused> {
    let found = container_of(message, container::START_OV_PARMS);
    let number = |attribute: u16| found.as_ref().and_then(|found| found.inner().find(attribute)).and_then(|attribute| attribute.u64());
    let before = device.plane.lock().core.verify;
    device.plane.lock().core.verify.plan(number(1).unwrap_or(before.next_start()), number(2).unwrap_or(NO_STOP));
    let changed = resource.change_by_admin(device.volume, Request::none().conn(Conn::VerifyS));
    changed.map_err(|refusal| {
        // The next run begins where it would have begun without this command.
        device.plane.lock().core.verify.plan(before.next_start(), NO_STOP);
        Refused::code(refusal.code())
    })
    .and_then(|changed| Done::code(changed.code()))
}

fn log_difference(minor: u32, difference: Option<Difference>) {
    if let Some((sector, sectors)) = difference {
        pr_info!("drbd{}: Out of sync: start={}, size={} (sectors)\n", minor, sector, sectors);
    }
}

/// SC-3, SC-5, OV-5: the state of a volume is changing from `old`; it is in `volume` already.
pub(crate) fn state_changes(volume: &mut Volume, old: &State, version: u32) {
    let new = volume.state;
    if old.conn.is_verify() && !new.conn.is_verify() {
        leave(volume);
    }
    if new.conn.is_verify() && !old.conn.is_verify() {
        let device = volume.device.clone();
        let total = {
            let mut plane = device.plane.lock();
            let bits = plane.core.bitmap.bits();
            let verify = &mut plane.core.verify;
            if new.conn == Conn::VerifyS { verify.begin_source(bits, version) } else { verify.begin_target(bits) }
        };
        volume.resync.start(total, now_ms());
        volume.pacer.reset(&device, volume.disk.as_ref().map(|disk| &disk.backing));
        if new.conn == Conn::VerifyS {
            let start = device.plane.lock().core.verify.next_start();
            pr_info!("drbd{}: Starting Online Verify from sector {}\n", device.minor, start);
        }
    }
}

fn leave(volume: &Volume) {
    let device = &volume.device;
    let (reached, difference) = {
        let mut plane = device.plane.lock();
        let difference = plane.core.verify.take_difference();
        (plane.core.verify_end(), difference)
    };
    log_difference(device.minor, difference);
    if let Some(sector) = reached {
        pr_info!("drbd{}: Online Verify reached sector {}\n", device.minor, sector);
    }
    loop {
        let abandoned = device.plane.lock().core.take_abandoned_verify();
        let Some((size_bytes, actions)) = abandoned else { break };
        if let Some(size_bytes) = size_bytes {
            device.answered(size_bytes);
        }
        device.settled();
        device.follow(&actions);
    }
}

impl Resource {
    /// VerifyS: asks for up to `blocks` blocks; for how many it did.
    pub(crate) fn verify_turn(&self, device: &Arc<Device>, blocks: u32) -> u32 {
        let stops = supports_stop_sector(self.control.lock().version);
        let mut asked = 0;
        while asked < blocks && self.may_ask() && device.has_slot() {
            let (sector, size_bytes) = {
                let mut plane = device.plane.lock();
                let sectors = plane.core.bitmap.device_sectors();
                let Some((sector, size_bytes)) = plane.core.verify.next_block(sectors, stops) else { break };
                let Begin::Go(slot) = plane.core.verify_request_begin(sector, size_bytes) else { break };
                plane.core.begun(slot, super::device::now());
                plane.core.verify.block_asked();
                (sector, size_bytes)
            };
            device.asked(size_bytes);
            self.connection.enqueue(device.volume, Outgoing::Request { command: Command::OvRequest, sector, size_bytes });
            asked += 1;
        }
        asked
    }

    /// A verify in which no verdict is missing ends (OV-4); the generations stay (UU-14).
    pub(crate) fn check_verify_end(self: &Arc<Self>, device: &Arc<Device>) {
        let (ended, report) = {
            let mut control = self.control.lock();
            let stops = supports_stop_sector(control.version);
            let Some(volume) = control.volume(device.volume) else { return };
            let plane = device.plane.lock();
            let ended = volume.state.conn.is_verify() && plane.core.verify.is_finished(plane.core.bitmap.device_sectors(), stops);
            (ended, volume.verified)
        };
        if ended {
            self.ping_peer();
            self.end_verify(device.volume);
        }
        if ended || report {
            self.report_verify(device);
        }
    }

    /// The run has come to its end, here or (by its report) at the peer.
    pub(crate) fn end_verify(&self, number: u16) {
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        let Some(volume) = control.volumes.get_mut(index).filter(|volume| volume.state.conn.is_verify()) else { return };
        volume.verified = true;
        let left = volume.device.plane.lock().core.verify.left_bits();
        let (seconds, paused) = (volume.resync.seconds(now_ms()), volume.resync.paused_seconds());
        let pace = volume.resync.total_bits.saturating_sub(left).saturating_mul(4).checked_div(seconds).unwrap_or(0);
        let minor = volume.device.minor;
        pr_info!("drbd{}: Online verify done (total {} sec; paused {} sec; {} K/sec)\n", minor, seconds + paused, paused, pace);
        self.hard(&mut control, index, Request::none().conn(Conn::Connected));
        self.wake_worker();
    }

    /// OV-4: what was found, for the administrator. From the worker.
    fn report_verify(self: &Arc<Self>, device: &Arc<Device>) {
        self.carry_out_changes();
        let reports = self.control.lock().volume(device.volume).is_some_and(|volume| core::mem::take(&mut volume.verified));
        let bits = device.plane.lock().core.bitmap.weight();
        if reports && bits > 0 {
            pr_alert!("drbd{}: Online verify found {} 4k block out of sync!\n", device.minor, bits);
            helper::call(self, device, Event::OutOfSync);
        }
    }
}

/// VerifyT: P_OV_REQUEST.
pub(crate) fn receive_request(resource: &Arc<Resource>, link: &Link, volume: u16, body: &[u8]) -> Result<(), End> {
    let request = BlockRequest::decode(Command::OvRequest, body).map_err(|_| End::Protocol)?;
    let device = find(resource, volume)?;
    check(&device, request.sector, request.size_bytes, MAX_DATA_BYTES)?;
    if resource.connection.digests.verify.bytes() == 0 {
        pr_err!("drbd{}: P_OV_REQUEST, but there is no verify-alg\n", device.minor);
        return Err(End::Protocol);
    }
    reserve(resource)?;
    let first = device.plane.lock().core.verify.first_request(request.sector, link.version);
    if let Some(total) = first {
        pr_info!("drbd{}: Online Verify start sector: {}\n", device.minor, request.sector);
        if let Some(volume) = resource.control.lock().volume(volume) {
            volume.resync.start(total, now_ms());
        }
    }
    let io = PeerIo::new(&device, Kind::VerifyRead, request.sector, request.size_bytes, request.id);
    let io = device.peer_ios.with_pages(&device.pages, request.size_bytes, io);
    if !device.keep_waiting(&io) {
        super::receiver::run_read(resource, &device, &io);
    }
    Ok(())
}

/// VerifyS: P_OV_REPLY.
pub(crate) fn receive_reply(resource: &Arc<Resource>, link: &Link, header: &Header) -> Result<(), End> {
    let bytes = resource.connection.digests.verify.bytes();
    let (request, digest) = receive_with_digest(link, Command::OvReply, header, bytes)?;
    let device = find(resource, header.volume)?;
    check(&device, request.sector, request.size_bytes, MAX_DATA_BYTES)?;
    reserve(resource)?;
    let Some(slot) = device.plane.lock().core.find_verify_request(request.sector, request.size_bytes) else {
        // Asked for by a run that was given up meanwhile; the peer waits for a verdict.
        let ack = result(&device, request.sector, request.size_bytes, false);
        let connection = &resource.connection;
        connection.answer(&device, connection.generation(), Some(ack));
        resource.connection.acks_waiting(resource);
        return Ok(());
    };
    device.answered(request.size_bytes);
    let mut io = PeerIo::new(&device, Kind::VerifyCompare, request.sector, request.size_bytes, request.id);
    io.slot = Atomic::new(slot);
    io.digest = KBox::new(digest, GFP_KERNEL).ok();
    let io = device.peer_ios.with_pages(&device.pages, request.size_bytes, io);
    super::receiver::run_read(resource, &device, &io);
    Ok(())
}

fn result(device: &Device, sector: u64, size_bytes: u32, differs: bool) -> Ack {
    let id = if differs { VERIFY_DIFFERENT_ID } else { VERIFY_EQUAL_ID };
    Ack::Block { command: Command::OvResult.number(), volume: device.volume, id, sector, size_bytes, sequence: 0 }
}

/// VerifyS: the verdict about a block; any context.
pub(crate) fn verdict(device: &Arc<Device>, io: &Io<PeerIo>, differs: bool) {
    let (Verdict { difference, actions }, finished) = {
        let mut plane = device.plane.lock();
        let verdict = plane.core.verify_compared(io.slot.load(Relaxed), differs);
        let sectors = plane.core.bitmap.device_sectors();
        (verdict, plane.core.verify.is_finished(sectors, true))
    };
    log_difference(device.minor, difference);
    let connection = &device.resource.connection;
    if connection.answer(device, io.generation, Some(result(device, io.sector, io.size_bytes, differs))) {
        connection.acks_waiting(&device.resource);
    }
    device.settled();
    device.follow(&actions);
    if finished {
        device.resource.wake_worker();
    }
}

/// VerifyS: the connection is gone before the comparison.
pub(crate) fn give_up(io: &Io<PeerIo>) {
    let device = io.device.clone();
    let verdict = device.plane.lock().core.verify_compared(io.slot.load(Relaxed), false);
    device.settled();
    device.follow(&verdict.actions);
}

/// VerifyT: P_OV_RESULT.
pub(crate) fn receive_result(device: &Arc<Device>, ack: &BlockAck) -> Result<(), &'static str> {
    let sectors = device.plane.lock().core.bitmap.device_sectors();
    drbd_core::wire::check_range(ack.sector, u64::from(ack.size_bytes), u64::from(MAX_DATA_BYTES), sectors).map_err(|_| "bad range")?;
    let (Verdict { difference, actions }, waited, left) = {
        let mut plane = device.plane.lock();
        let (verdict, waited) = plane.core.verify_result(ack.sector, ack.size_bytes, ack.id == VERIFY_DIFFERENT_ID);
        (verdict, waited, plane.core.verify.left_bits())
    };
    log_difference(device.minor, difference);
    if waited {
        device.settled();
    }
    device.follow(&actions);
    if left == 0 {
        device.resource.wake_worker();
    }
    Ok(())
}

/// VerifyT has no disk for a request of ours, or VerifyS is told so (P_NEG_RS_DREPLY): the block counts as equal (OV-3).
pub(crate) fn refused(device: &Arc<Device>, ack: &BlockAck) -> bool {
    let Verdict { difference, actions } = {
        let mut plane = device.plane.lock();
        let Some(slot) = plane.core.find_verify_request(ack.sector, ack.size_bytes) else { return false };
        plane.core.verify_compared(slot, false)
    };
    log_difference(device.minor, difference);
    device.answered(ack.size_bytes);
    device.settled();
    device.follow(&actions);
    device.resource.wake_worker();
    true
}

/// Whether the worker has something to do for a verify.
pub(crate) fn is_busy(control: &Control) -> bool {
    control.volumes.iter().any(|volume| volume.state.conn.is_verify() || volume.verified)
}

