// SPDX-License-Identifier: GPL-2.0
//! Two primaries: writes of the peer that meet writes of this node, and the order of data and acknowledgements (behaviour.md DP-2 to DP-5,
//! wire-protocol.md section 10). The decisions are those of [`drbd_core::engine::volume_conflict`].

use super::connection::Link;
use super::device::Device;
use super::peer_io::PeerIo;
use super::prelude::*;
use super::receiver::{follow_epoch, End};
use super::resource::Resource;
use drbd_core::engine::volume_conflict::{Register, TurnedDown, Verdict};
use drbd_core::wire::packet::{data_flags, BlockAck};
use drbd_core::wire::Command;

/// Concurrent writes are reported that often at most.
const REPORT_EVERY: Jiffies = HZ;

/// A write of the peer that was turned down. A C peer takes the acknowledgement of its epoch amiss until it has dealt with the verdict (wire-protocol.md
/// 19.6): one that is superseded is gone there when it answers for the local write, one to be retried when it comes back.
pub(crate) struct Rejected {
    /// The local write that it met; `None` when the peer has answered for that one.
    local_id: Option<u64>,
    epoch: u32,
    sector: u64,
    size_bytes: u32,
    retry: bool,
}

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

/// Gives a write of the peer its place among the writes of both nodes. False: it was turned down, and answered.
pub(crate) fn register(device: &Arc<Device>, io: &Io<PeerIo>) -> bool {
    let connection = &device.resource.connection;
    let old_peer = connection.link().is_some_and(|link| link.version < 100);
    let may_set = io.flags & data_flags::MAY_SET_IN_SYNC != 0;
    settle_verdicts(device, |rejected| {
        rejected.local_id.is_none() && (rejected.sector, rejected.size_bytes) == (io.sector, io.size_bytes)
    });
    let mut plane = device.plane.lock();
    let verdict = match plane.core.peer_write_register(io.sector, io.size_bytes, may_set) {
        Register::Slot(slot) => {
            plane.keep_peer(slot, io);
            return true;
        }
        Register::NotNow | Register::NoDisk => return true,
        Register::TurnedDown(verdict) => verdict,
    };
    // With the lock held: the answer to the local write, which settles this, is dealt with afterwards.
    let mut after = connection.epochs_in.lock().write_turned_down(io.epoch);
    let retry = !verdict.superseded && !old_peer;
    let (epoch, sector, size_bytes) = (io.epoch, io.sector, io.size_bytes);
    let rejected = Rejected { local_id: Some(verdict.local_id), epoch, sector, size_bytes, retry };
    if plane.turned_down.push_within_capacity(rejected).is_err() {
        after = connection.epochs_in.lock().verdict_settled(io.epoch);
    }
    let command = if retry { Command::RetryWrite } else { Command::Superseded };
    let answered = connection.answer(device, io.generation, Some(io.ack(command)));
    drop(plane);
    if !answered {
        return false;
    }
    follow_epoch(&device.resource, after);
    connection.acks_waiting(&device.resource);
    report(device, io, &verdict);
    false
}

/// DP-3: overlapping writes of different ranges are no accident of a cluster file system.
fn report(device: &Device, io: &PeerIo, verdict: &TurnedDown) {
    let (sector, size_bytes) = verdict.local;
    if (sector, size_bytes) == (io.sector, io.size_bytes) {
        return;
    }
    let (now, last) = (super::device::now(), device.conflict_reported.load(Relaxed));
    if last != 0 && now.wrapping_sub(last) < REPORT_EVERY as u32 {
        return;
    }
    device.conflict_reported.store(now | 1, Relaxed);
    pr_alert!(
        "drbd{}: Concurrent writes detected: local={}s +{}, remote={}s +{}, assuming {} came first\n",
        device.minor,
        sector,
        size_bytes,
        io.sector,
        io.size_bytes,
        if verdict.superseded { "local" } else { "remote" }
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

/// The peer has answered for the write with this identity.
pub(crate) fn answered(device: &Arc<Device>, id: u64) {
    for rejected in device.plane.lock().turned_down.iter_mut().filter(|rejected| rejected.local_id == Some(id)) {
        rejected.local_id = None;
    }
    settle_verdicts(device, |rejected| rejected.local_id.is_none() && !rejected.retry);
}

/// The peer has dealt with these verdicts: the epochs of its writes may be acknowledged.
fn settle_verdicts(device: &Arc<Device>, settled: impl Fn(&Rejected) -> bool) {
    loop {
        let epoch = {
            let mut plane = device.plane.lock();
            let place = plane.turned_down.iter().position(&settled);
            let Some(rejected) = place.and_then(|place| plane.turned_down.remove(place).ok()) else { return };
            rejected.epoch
        };
        let after = device.resource.connection.epochs_in.lock().verdict_settled(epoch);
        follow_epoch(&device.resource, after);
    }
}
