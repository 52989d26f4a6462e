// SPDX-License-Identifier: GPL-2.0
//! The meta socket: acknowledgements in and out, and keepalive (behaviour.md TO-1).
//!
//! The ack receiver is a thread of its own with raised priority, so that load on the machine never looks like a dead peer.

use super::acks::Ack;
use super::connection::{Connection, Link};
use super::device::Device;
use super::prelude::*;
use super::registry::REGISTRY;
use super::resource::{Control, Resource};
use crate::kapi::thread::NoIoScope;
use drbd_core::engine::volume_conflict::Verdict;
use drbd_core::engine::volume::{Acknowledgement, UnknownRequest};
use drbd_core::state::{Conn, Kind, Request};
use drbd_core::wire::header::header_bytes;
use drbd_core::wire::packet::{decode_barrier_ack, decode_word, encode_barrier_ack, BlockAck, SYNCER_ID};
use drbd_core::wire::{Command, Header, Socket as Side};

/// Bytes of acknowledgements sent in one message.
const BATCH_BYTES: usize = 1024;

/// Why the thread ends.
enum Failure {
    /// The connection is to be torn down and made anew.
    Network,
    /// The peer sends what belongs nowhere: no new attempt (wire-protocol.md section 18).
    Protocol,
}

/// Body of the thread.
pub(crate) fn run(resource: &Arc<Resource>, link: &Arc<Link>, thread: &ThisThread) {
    thread.set_fifo_low();
    let failure = receive(resource, link, thread);
    let conn = match failure {
        Failure::Network => Conn::NetworkFailure,
        Failure::Protocol => Conn::Disconnecting,
    };
    {
        let mut control = resource.control.lock();
        if control.cstate >= Conn::Connected || control.cstate == Conn::WFReportParams {
            control.cstate = conn;
            let _ = resource.change_all(&mut control, Request::none().conn(conn), Kind::Hard);
        }
    }
    resource.changed.wake_all();
    link.data.shutdown();
    link.meta.shutdown();
}

fn receive(resource: &Arc<Resource>, link: &Arc<Link>, thread: &ThisThread) -> Failure {
    let head_bytes = header_bytes(link.version);
    let connection = &resource.connection;
    loop {
        if thread.should_stop() {
            return Failure::Network;
        }
        thread.flush_signals();
        if connection.ping_wanted.xchg(false, Full) && !connection.awaits_answer() {
            send_ping(resource);
        }
        // As they are configured now.
        let ping_int = connection.ping_int.load(Relaxed) as Jiffies * HZ;
        let ping_timeout = jiffies_from_deciseconds(connection.ping_timeout.load(Relaxed));
        let awaited = connection.awaits_answer();
        link.meta.set_receive_timeout(if awaited { ping_timeout } else { ping_int });
        let mut head = [0u8; 16];
        let Some(place) = head.get_mut(..head_bytes) else { return Failure::Network };
        let began = super::device::now();
        match link.meta.receive_exact(place) {
            Ok(()) => {}
            Err(NetError::TimedOut) => {
                let heard = (connection.data_received_at.load(Relaxed).wrapping_sub(began) as i32) >= 0;
                if heard {
                    continue;
                }
                if awaited {
                    pr_info!("{}: PingAck did not arrive in time.\n", resource.display_name());
                    return Failure::Network;
                }
                connection.ping_wanted.store(true, Release);
                continue;
            }
            Err(NetError::Interrupted) => continue,
            Err(_) => {
                // The peer closed both sockets; what it said last is still to be read from the other one.
                let read_to_the_end = |control: &mut Control| thread.should_stop() || control.cstate != Conn::WFReportParams;
                resource.wait_control(ping_timeout.min(HZ), read_to_the_end);
                return Failure::Network;
            }
        }
        match handle(resource, link, place, thread) {
            Ok(Command::PingAck) if connection.awaits_answer() => {
                connection.pings_answered.fetch_add(1, Full);
                connection.ping_wait.wake_all();
            }
            Ok(_) => {}
            Err(failure) => return failure,
        }
    }
}

/// One packet of the meta socket.
fn handle(resource: &Arc<Resource>, link: &Link, head: &[u8], thread: &ThisThread) -> Result<Command, Failure> {
    let name = resource.display_name();
    let header = Header::decode(link.version, head).map_err(|error| {
        pr_err!("{}: meta socket: {}\n", name, Text(error));
        Failure::Network
    })?;
    let known = Command::from_number(header.command).filter(|command| command.socket() != Some(Side::Data));
    let Some(command) = known else {
        pr_err!("{}: unexpected packet {:#06x} on the meta socket\n", name, header.command);
        return Err(Failure::Protocol);
    };
    let (least, most) = command.length_limits();
    if header.length < least || header.length > most {
        pr_err!("{}: {} of {} bytes, expected {}\n", name, command.name(), header.length, least);
        return Err(Failure::Network);
    }
    let mut payload = [0u8; 32];
    let Some(body) = payload.get_mut(..header.length as usize) else { return Err(Failure::Network) };
    // A signal that brings other times leaves a packet that has come in part where it is.
    while let Err(error) = if body.is_empty() { Ok(()) } else { link.meta.receive_exact(body) } {
        if error != NetError::Interrupted || thread.should_stop() {
            return Err(Failure::Network);
        }
        thread.flush_signals();
    }
    dispatch(resource, command, header.volume, body).map_err(|text| {
        pr_err!("{}: {}: {}\n", name, command.name(), text);
        Failure::Network
    })?;
    Ok(command)
}

fn dispatch(resource: &Arc<Resource>, command: Command, volume: u16, body: &[u8]) -> Result<(), &'static str> {
    match command {
        Command::Ping => {
            note_possible_ends(resource);
            send_meta(resource, Command::PingAck);
            Ok(())
        }
        Command::PingAck | Command::DelayProbe => Ok(()),
        Command::BarrierAck => barrier_ack(resource, body),
        Command::StateChgReply | Command::ConnStChgReply => state_reply(resource, command, volume, body),
        _ => {
            let ack = BlockAck::decode(command, body).map_err(|_| "bad length")?;
            let list = resource.connection.volume_list();
            let device = list.find(volume).ok_or("unknown volume")?;
            let outcome = block_ack(resource, device, command, &ack);
            device.saw_sequence(ack.sequence);
            outcome
        }
    }
}

/// A peer asks once more before it ends a resync or verify (TO-4). If the connection is lost before it reports the end, nobody knows whether it did.
fn note_possible_ends(resource: &Arc<Resource>) {
    let mut control = resource.control.lock();
    for volume in control.volumes.iter_mut() {
        volume.left_behind = false;
        let source = matches!(volume.state.conn, Conn::SyncSource | Conn::PausedSyncS);
        volume.may_be_finished |= source && volume.device.plane.lock().core.bitmap.weight() == 0;
    }
}

fn state_reply(resource: &Arc<Resource>, command: Command, volume: u16, body: &[u8]) -> Result<(), &'static str> {
    let code = decode_word(command, body).map_err(|_| "bad length")? as i32;
    {
        let mut control = resource.control.lock();
        let whole = command == Command::ConnStChgReply || (control.version < 100 && matches!(control.pending_change, Some(None)));
        if whole {
            control.pending_change = Some(Some(code));
            // In force at once: the peer closes the connection right after its answer.
            if let Some(asked) = control.asked.take().filter(|_| code > 0) {
                if asked.conn_value() == Some(Conn::Disconnecting) {
                    control.cstate = Conn::Disconnecting;
                }
                let _ = resource.change_all(&mut control, asked, Kind::Hard);
            }
        } else if let Some(volume) = control.volume(volume) {
            volume.pending_change = Some(Some(code));
        }
    }
    resource.changed.wake_all();
    Ok(())
}

fn barrier_ack(resource: &Arc<Resource>, body: &[u8]) -> Result<(), &'static str> {
    let (number, set_size) = decode_barrier_ack(body).map_err(|_| "bad length")?;
    let acknowledged = resource.connection.epochs_out.lock().acknowledged(u32::from_le_bytes(number), set_size);
    let epoch = acknowledged.map_err(|mismatch| {
        pr_err!("{}: barrier ack {:?}, expected {:?}\n", resource.display_name(), mismatch.got, mismatch.expected);
        "number or count does not match"
    })?;
    let list = resource.connection.volume_list();
    for device in list.volumes.iter() {
        loop {
            let (actions, held) = {
                let mut plane = device.plane.lock();
                match plane.core.take_acknowledged_epoch(epoch) {
                    Ok(Some((slot, actions))) => (actions, actions.complete.and_then(|_| plane.take(slot))),
                    Ok(None) => break,
                    Err(_) => return Err("a write of the epoch was not acknowledged"),
                }
            };
            device.finish(held, &actions);
        }
    }
    resource.connection.wake_sender();
    Ok(())
}

fn block_ack(resource: &Arc<Resource>, device: &Arc<Device>, command: Command, ack: &BlockAck) -> Result<(), &'static str> {
    let syncer = ack.id == SYNCER_ID;
    let what = match command {
        Command::RecvAck => Acknowledgement::Received,
        Command::WriteAck => Acknowledgement::Written,
        Command::RsWriteAck if !syncer => Acknowledgement::WrittenInSync,
        Command::NegAck if !syncer => Acknowledgement::Failed,
        Command::RsIsInSync => return super::checksum::in_sync(device, ack),
        Command::OvResult => return super::verify::receive_result(device, ack),
        Command::RsWriteAck => {
            device.plane.lock().core.mark_in_sync(ack.sector, ack.size_bytes);
            return Ok(());
        }
        Command::NegAck => {
            // The target could not write it: the block stays out of sync (RX-20).
            device.plane.lock().core.resync_failed(ack.size_bytes);
            return Ok(());
        }
        Command::Superseded => return super::conflicts::decided(resource, device, ack, Verdict::Superseded),
        Command::RetryWrite => return super::conflicts::decided(resource, device, ack, Verdict::Retry),
        Command::NegDReply => return neg_read(device, ack),
        Command::NegRsDReply if super::verify::refused(device, ack) => return Ok(()),
        Command::NegRsDReply | Command::RsCancel => {
            forget_request(resource, device, ack, command == Command::NegRsDReply);
            return Ok(());
        }
        _ => return Err("not expected now"),
    };
    let id = u64::from_be_bytes(ack.id);
    let (actions, held) = {
        let mut plane = device.plane.lock();
        match plane.core.acknowledged(id, ack.sector, what) {
            Ok((slot, actions)) => (actions, actions.complete.and_then(|_| plane.take(slot))),
            Err(UnknownRequest { .. }) if what == Acknowledgement::Failed => {
                // WR-5.
                plane.core.peer_missed_range(ack.sector, ack.size_bytes);
                return Ok(());
            }
            Err(_) => return Err("no such request"),
        }
    };
    device.finish(held, &actions);
    Ok(())
}

fn neg_read(device: &Arc<Device>, ack: &BlockAck) -> Result<(), &'static str> {
    let (actions, held) = {
        let mut plane = device.plane.lock();
        let slot = plane.core.find_remote_read(u64::from_be_bytes(ack.id), ack.sector, 0).map_err(|_| "no such read")?;
        let held = plane.take(slot);
        (plane.core.remote_read_done(slot), held)
    };
    if let Some(io) = held {
        device.fail_or_retry_read(io);
    }
    device.follow(&actions);
    Ok(())
}

/// The source will not answer a resync request; `failed`: it could not read.
fn forget_request(resource: &Arc<Resource>, device: &Arc<Device>, ack: &BlockAck, failed: bool) {
    let done = {
        let mut plane = device.plane.lock();
        plane.core.find_resync_request(ack.sector, 0).map(|slot| {
            let size = plane.entry(slot).size_bytes;
            (size, if failed { plane.core.resync_write_done(slot, false).1 } else { plane.core.resync_request_dropped(slot) })
        })
    };
    if let Some((size, actions)) = done {
        device.answered(size);
        device.settled();
        device.follow(&actions);
    }
    resource.wake_worker();
}

/// Sends a packet without payload on the meta socket.
pub(crate) fn send_meta(resource: &Resource, command: Command) {
    let Some(link) = resource.connection.link() else { return };
    let mut out = [0u8; 16];
    let length = Header::new(0, command, 0).encode(link.header_format(0), &mut out);
    let _one_at_a_time = resource.connection.meta_send.lock();
    let sent = link.meta.send(out.get(..length).unwrap_or(&[]), More::No, &mut || false);
    if sent.is_err() {
        link.meta.shutdown();
    }
}

/// Asks the peer for a sign of life; the number of the ping.
pub(crate) fn send_ping(resource: &Resource) -> u32 {
    let number = resource.connection.pings_sent.fetch_add(1, Full).wrapping_add(1);
    send_meta(resource, Command::Ping);
    number
}

impl Connection {
    /// Acknowledgements are waiting: a work item sends them, unless the receiver is about to.
    pub(crate) fn acks_waiting(&self, resource: &Arc<Resource>) {
        if !self.receiver_submits.load(Acquire) {
            resource.kick_acks();
        }
    }
}

impl Resource {
    /// Has the ack work item run; any context.
    pub(crate) fn kick_acks(self: &Arc<Self>) {
        if let Some(registry) = REGISTRY.get() {
            let _ = registry.ack_queue.enqueue::<Arc<Resource>, 2>(self.clone());
        }
    }
}

impl WorkItem<2> for Resource {
    type Pointer = Arc<Resource>;

    fn run(resource: Arc<Resource>) {
        let _no_io = NoIoScope::enter();
        if resource.connection.take_flush() {
            let number = resource.connection.epochs_in.lock().flush_number();
            flush_disks(&resource);
            let after = resource.connection.epochs_in.lock().flush_ended(number);
            super::receiver::follow_epoch(&resource, after);
        }
        super::receiver::release_held(&resource);
        send_acks(&resource);
    }
}

/// EP-3: everything written so far becomes durable. A disk that cannot flush falls back to draining for good (EP-4).
fn flush_disks(resource: &Arc<Resource>) {
    let list = resource.connection.volume_list();
    for device in list.volumes.iter() {
        let backing = device.plane.lock().backing.clone();
        if let Some(backing) = backing {
            if backing.facts().write_cache && backing.flush().is_err() {
                pr_err!("drbd{}: flush failed, write ordering falls back to drain\n", device.minor);
                let _ = resource.connection.epochs_in.lock().set_ordering(drbd_core::epoch::Ordering::Drain);
            }
        }
    }
}

/// Sends all acknowledgements that have gathered, in as few messages as possible. Process context.
pub(crate) fn send_acks(resource: &Resource) {
    let connection = &resource.connection;
    if !connection.has_acks() {
        return;
    }
    let one_at_a_time = connection.meta_send.lock();
    let link = connection.link();
    let mut batch = [0u8; BATCH_BYTES];
    let mut used = 0;
    loop {
        let ack = connection.take_ack();
        let Some(link) = link.as_ref() else {
            match ack {
                Some(_) => continue,
                None => break,
            }
        };
        if used > 0 && (ack.is_none() || used + 64 > BATCH_BYTES) {
            let sent = link.meta.send(batch.get(..used).unwrap_or(&[]), More::No, &mut || false);
            used = 0;
            if sent.is_err() {
                link.meta.shutdown();
            }
        }
        let Some(ack) = ack else { break };
        if let Some(place) = batch.get_mut(used..) {
            used += encode(link, &ack, place);
        }
    }
    drop(one_at_a_time);
    connection.peer_work_done.wake_all();
}

fn encode(link: &Link, ack: &Ack, out: &mut [u8]) -> usize {
    let mut packet = [0u8; 64];
    let (volume, command, payload): (u16, u16, [u8; 24]);
    let length;
    match *ack {
        Ack::Block { command: number, volume: of, id, sector, size_bytes, sequence } => {
            (volume, command, payload) = (of, number, BlockAck { sector, id, size_bytes, sequence }.encode());
            length = 24;
        }
        Ack::Barrier { number, set_size } => {
            let mut padded = [0u8; 24];
            padded[..8].copy_from_slice(&encode_barrier_ack(number, set_size));
            (volume, command, payload) = (0, Command::BarrierAck.number(), padded);
            length = 8;
        }
    }
    let header = Header { volume, command, length: length as u32 };
    let head = header.encode(link.header_format(length as u32), &mut packet);
    packet[head..head + length].copy_from_slice(&payload[..length]);
    let total = head + length;
    if let (Some(place), Some(bytes)) = (out.get_mut(..total), packet.get(..total)) {
        place.copy_from_slice(bytes);
    }
    total
}
