// SPDX-License-Identifier: GPL-2.0
//! Two primaries: writes of the peer that meet writes of this node, and the order of data and acknowledgements (behaviour.md DP-2 to DP-5,
//! wire-protocol.md section 10). The decisions are those of [`drbd_core::engine::volume_conflict`].

use super::connection::Link;
use super::device::{Device, Plane};
use super::peer_io::PeerIo;
use super::prelude::*;
use super::receiver::End;
use super::resource::Resource;
use drbd_core::engine::volume_conflict::{Register, Verdict};
use drbd_core::wire::packet::{data_flags, BlockAck};

/// Concurrent writes are reported that often at most.
const REPORT_EVERY: Jiffies = HZ;

/// A postponed write that no write of the peer has come for starts anew after that time.
const FORGOTTEN_AFTER: Jiffies = HZ;

/// `number` is later than `seen`; numbers wrap around.
fn is_later(number: u32, seen: u32) -> bool {
    (number.wrapping_sub(seen) as i32) > 0
}

impl Device {
    /// A packet of the peer with this number has been dealt with.
    pub(crate) fn saw_sequence(&self, number: u32) {
        let mut seen = self.peer_sequence.load(Relaxed);
        while is_later(number, seen) {
            match self.peer_sequence.cmpxchg(seen, number, Full) {
                Ok(_) => break,
                Err(now) => seen = now,
            }
        }
        let connection = &self.resource.connection;
        if connection.sequence_waits.load(Acquire) {
            connection.peer_work_done.wake_all();
        }
    }
}

/// DP-2: the resolver deals with the acknowledgements that the peer sent before this write first. Receiver thread; waits at most ping-timeout for
/// the next of them. Gives the reservation of the write back on failure.
pub(crate) fn wait_for_sequence(resource: &Arc<Resource>, link: &Link, device: &Device, sequence: u32) -> Result<(), End> {
    let connection = &resource.connection;
    let before = sequence.wrapping_sub(1);
    if link.resolver && is_later(before, device.peer_sequence.load(Acquire)) && device.plane.lock().core.gate().two_primaries {
        let limit = resource.control.lock().net.as_ref().map_or(HZ, |net| jiffies_from_deciseconds(net.ping_timeout_deciseconds()));
        connection.sequence_waits.xchg(true, Full);
        let outcome = loop {
            super::ack_receiver::send_acks(resource);
            let seen = device.peer_sequence.load(Acquire);
            if !is_later(before, seen) {
                break Ok(());
            }
            let moved = || device.peer_sequence.load(Acquire) != seen;
            match connection.peer_work_done.wait_interruptible_timeout(limit, moved) {
                Wait::Ready => {}
                _ if moved() => {}
                Wait::TimedOut => {
                    pr_err!("drbd{}: Timed out waiting for missing ack packets; disconnecting\n", device.minor);
                    break Err(End::Protocol);
                }
                _ => break Err(End::Broken),
            }
        };
        connection.sequence_waits.store(false, Release);
        if outcome.is_err() {
            connection.put_acks(&[], 1);
            return outcome;
        }
    }
    device.saw_sequence(sequence);
    Ok(())
}

impl Plane {
    /// Gives a write of the peer its slot and its range, and keeps it there.
    pub(crate) fn register(&mut self, io: &Io<PeerIo>) -> Register {
        let may_set = io.flags & data_flags::MAY_SET_IN_SYNC != 0;
        let registered = self.core.peer_write_register(io.sector, io.size_bytes, may_set);
        if let Register::Slot(slot) = registered {
            self.keep_peer(slot, io);
        }
        registered
    }
}

/// Gives a write of the peer its place among the writes of both nodes; without room, it gets that later.
pub(crate) fn register(device: &Device, io: &Io<PeerIo>) {
    let conflict = {
        let mut plane = device.plane.lock();
        let Register::Slot(slot) = plane.register(io) else { return };
        plane.core.conflicting_write(slot)
    };
    if let Some(local) = conflict {
        report(device, io, local);
    }
}

/// DP-3: overlapping writes of different ranges are no accident of a cluster file system.
fn report(device: &Device, io: &PeerIo, (sector, size_bytes): (u64, u32)) {
    if (sector, size_bytes) == (io.sector, io.size_bytes) {
        return;
    }
    let (now, last) = (super::device::now(), device.conflict_reported.load(Relaxed));
    if last != 0 && now.wrapping_sub(last) < REPORT_EVERY as u32 {
        return;
    }
    device.conflict_reported.store(now | 1, Relaxed);
    pr_alert!(
        "drbd{}: Concurrent writes detected: local={}s +{}, remote={}s +{}, assuming remote came first\n",
        device.minor,
        sector,
        size_bytes,
        io.sector,
        io.size_bytes
    );
}

/// The peer has turned a write of ours down.
pub(crate) fn decided(resource: &Arc<Resource>, device: &Arc<Device>, ack: &BlockAck, verdict: Verdict) -> Result<(), &'static str> {
    let (actions, held, epoch) = {
        let mut plane = device.plane.lock();
        let decided = plane.core.decided(u64::from_be_bytes(ack.id), ack.sector, verdict);
        let (slot, epoch, actions) = decided.map_err(|_| "no such write")?;
        (actions, actions.complete.and_then(|_| plane.take(slot)), epoch)
    };
    resource.connection.epochs_out.lock().resolved(epoch);
    for device in resource.connection.volume_list().volumes.iter() {
        device.plane.lock().core.epoch_had_conflict(epoch);
    }
    device.finish(held, &actions);
    Ok(())
}

/// Writes that a C peer has turned down for no write that would still come. Called now and then.
pub(crate) fn restart_forgotten(device: &Arc<Device>) {
    let restarted = device.plane.lock().core.restart_forgotten(super::device::now(), FORGOTTEN_AFTER as u32);
    if restarted {
        device.kick_log_writer();
    }
}
