// SPDX-License-Identifier: GPL-2.0
//! What is left to do when a connection has ended: everything that waits for the peer is settled without it (behaviour.md DC-4, EP-6).

use super::device::Device;
use super::peer_io::{self, Kind as PeerKind};
use super::prelude::*;
use super::resource::Resource;
use drbd_core::state::Role;

/// DC-4: after the sockets are closed. For the receiver, which has no more packets to read.
pub(super) fn clean_up(resource: &Arc<Resource>) {
    let connection = &resource.connection;
    if let Some(link) = connection.set_link(None) {
        link.data.shutdown();
        link.meta.shutdown();
    }
    // Protocol B has acknowledged what is still held here. In order: the ack work item may be about to submit the oldest.
    let in_order = connection.release.lock();
    while let Some(io) = connection.take_any_held() {
        if matches!(io.kind, PeerKind::Write(_)) {
            let device = io.device.clone();
            peer_io::begin_write(&device, &io);
        } else {
            peer_io::abandon(&io);
            connection.put_acks(&[], 1);
        }
    }
    drop(in_order);
    {
        let mut control = resource.control.lock();
        let verdict_missed = core::mem::take(&mut control.state_sent);
        control.pending_change = None;
        control.asked = None;
        for volume in control.volumes.iter_mut() {
            volume.pending_change = None;
            volume.verdict_missed |= verdict_missed;
            volume.peer_uuids = None;
            volume.peer_sizes = None;
            volume.receiving = None;
            volume.consider_resync = false;
            volume.starting = None;
            volume.target_finished = false;
        }
    }
    connection.ping_wait.wake_all();
    connection.clear_queues();
    // The new generation is on disk before anything completes without the peer.
    let limit = super::metadata::METADATA_TIMEOUT_SECONDS * HZ;
    resource.wait_for_worker(limit);
    let list = connection.volume_list();
    for device in list.volumes.iter() {
        connection.put_acks(&[], device.forget_waiting());
        lose_requests(device);
    }
    // Work of the peer that is still at the disks belongs to the old epochs.
    let hurry = || connection.hurry.load(Acquire) || list.volumes.iter().any(|device| device.given_up.is_set());
    let done = connection.peer_work_done.wait_timeout(limit, || {
        super::ack_receiver::send_acks(resource);
        // Replies that were queued meanwhile have nobody to go to.
        connection.clear_queues();
        connection.peer_requests_in_work() == 0 || hurry()
    });
    if !done || connection.peer_requests_in_work() > 0 {
        pr_warn!("{}: {} requests of the peer are left to the disks\n", resource.display_name(), connection.peer_requests_in_work());
        connection.abandon_peer_requests();
        list.volumes.iter().for_each(peer_io::drop_deferred);
    }
    connection.clear_queues();
    connection.epochs_in.lock().reset();
    connection.epochs_out.lock().reset();
    for device in list.volumes.iter() {
        device.sequence.store(0, Relaxed);
        device.peer_sequence.store(0, Relaxed);
        if !hurry() {
            let _ = resource.write_bitmap(device.volume); // RX-23
        }
    }
    resource.control.lock().peer_role = Role::Unknown;
    resource.fence_lost_peer();
}

/// EP-6: every request that the peer had is settled without it.
fn lose_requests(device: &Arc<Device>) {
    loop {
        let (actions, held, read) = {
            let mut plane = device.plane.lock();
            let Some((slot, entry, actions)) = plane.core.take_lost() else { break };
            let read = entry.operation == drbd_core::engine::table::Operation::RemoteRead;
            let held = if actions.complete.is_some() { plane.take(slot) } else { None };
            (actions, held, read)
        };
        match held {
            Some(io) if read => device.fail_or_retry_read(io),
            held => device.finish(held, &actions),
        }
    }
    loop {
        let request = device.plane.lock().core.take_unanswered_resync_request();
        let Some(request) = request else { break };
        device.answered(request.size_bytes);
        device.settled();
    }
    device.retry_waiting();
}
