// SPDX-License-Identifier: GPL-2.0
//! Frozen I/O and its end (behaviour.md AC-4, AC-5, FE-9, UU-7, EP-6 to EP-8).
//!
//! The suspension bits are those of the resource; each volume's vector carries them. Requests that were frozen go on in one step with
//! the bits that kept them, under the control mutex, so that neither a new connection nor its loss comes in between; they are completed
//! to the application after it is dropped.

use super::control::publish;
use super::device::{now, AppIo, Device};
use super::prelude::*;
use super::resource::{AfterChange, Control, Resource};
use drbd_core::engine::volume::Actions;
use drbd_core::state::vector::word;
use drbd_core::state::{resource_effects, Conn, Disk, Kind, Refusal, Request, Role, State, Thaw};

/// Longest wait for the end of a handshake; a silent peer is given up long before.
const HANDSHAKE_LIMIT: Jiffies = 60 * HZ;

/// What is to be completed once the lock is dropped.
struct Finished {
    device: Arc<Device>,
    held: Option<Io<AppIo>>,
    actions: Actions,
}

impl Resource {
    /// AC-4, AC-5, FE-9: whether a change that has come into force ends a suspension. Worker context.
    pub(crate) fn reconsider_suspension(&self, change: &AfterChange) {
        let effects = {
            let mut control = self.control.lock();
            if !control.volumes.iter().any(|volume| volume.state.susp_nod || volume.state.susp_fen) {
                return;
            }
            let mut changes: KVec<(State, State)> = KVec::new();
            for volume in control.volumes.iter() {
                let old = if volume.number() == change.volume { change.old } else { volume.state };
                if changes.push((old, volume.state), GFP_KERNEL).is_err() {
                    return;
                }
            }
            let effects = resource_effects(&changes);
            if effects.drop_deferred_uuids {
                control.volumes.iter_mut().for_each(|volume| volume.uuid_deferred = false);
            }
            effects
        };
        let Some(thaw) = effects.thaw else { return };
        if effects.create_deferred_uuids {
            self.create_deferred_uuids();
        }
        let mut request = Request::none();
        if effects.clear_susp_nod {
            request = request.flag(word::SUSP_NOD, false);
        }
        if effects.clear_susp_fen {
            request = request.flag(word::SUSP_FEN, false);
        }
        self.resume(thaw, request);
    }

    /// UU-7: the generations that a suspension had put off.
    fn create_deferred_uuids(&self) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let deferred = self.control.lock().volume(device.volume).is_some_and(|volume| core::mem::take(&mut volume.uuid_deferred));
            if deferred {
                self.rotate_uuid(device.volume);
            }
        }
    }

    /// Frozen requests go on, and the suspension bits named in `request` are cleared.
    pub(crate) fn resume(&self, thaw: Thaw, request: Request) {
        let mut finished = KVec::new();
        {
            let mut control = self.control.lock();
            self.thaw_all(&mut control, thaw, &mut finished);
            let _ = self.change_all(&mut control, request, Kind::Hard);
        }
        self.finish_thawed(finished);
    }

    fn thaw_all(&self, control: &mut Control, thaw: Thaw, finished: &mut KVec<Finished>) {
        for volume in control.volumes.iter() {
            self.thaw_requests(&volume.device, thaw, finished);
        }
    }

    fn thaw_requests(&self, device: &Arc<Device>, thaw: Thaw, finished: &mut KVec<Finished>) {
        loop {
            let (held, actions) = {
                let mut plane = device.plane.lock();
                let Some((slot, actions)) = plane.core.take_frozen(thaw, now(), || self.connection.stamp()) else { break };
                (actions.complete.and_then(|_| plane.take(slot)), actions)
            };
            if held.is_none() && !actions.retry && !actions.idle {
                continue;
            }
            let entry = Finished { device: device.clone(), held, actions };
            if finished.reserve(1, GFP_KERNEL).is_ok() {
                let _ = finished.push_within_capacity(entry);
            } else {
                entry.device.finish(entry.held, &entry.actions);
            }
        }
    }

    /// Requests that are frozen although nothing is suspended go on where good data is known. Worker context, at every look.
    pub(crate) fn release_stranded(&self) {
        let mut finished = KVec::new();
        let mut any = false;
        {
            let control = self.control.lock();
            for volume in control.volumes.iter() {
                let stranded = volume.device.plane.lock().core.stranded();
                if let Some(thaw) = stranded {
                    self.thaw_requests(&volume.device, thaw, &mut finished);
                    any = true;
                }
            }
        }
        if any {
            self.finish_thawed(finished);
        }
    }

    fn finish_thawed(&self, finished: KVec<Finished>) {
        for entry in finished {
            entry.device.finish(entry.held, &entry.actions);
        }
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            device.retry_waiting();
            device.kick_log_writer();
        }
        self.connection.wake_sender();
    }

    /// After disk errors were dealt with: whatever was kept for a suspension that did not come (ER-7) goes on with the result it has.
    pub(crate) fn release_unsuspended(&self) {
        let mut finished = KVec::new();
        {
            let mut control = self.control.lock();
            let suspended = control.volumes.iter().any(|volume| volume.state.is_suspended());
            if !suspended {
                self.thaw_all(&mut control, Thaw::LocalOnly, &mut finished);
            }
        }
        self.finish_thawed(finished);
    }

    /// Writes that the disk could not do go on: it is known to lack them, or lacks nothing that counts. Worker context.
    pub(crate) fn release_failed_writes(&self, device: &Arc<Device>) {
        let mut any = false;
        loop {
            let (held, actions) = {
                let mut plane = device.plane.lock();
                let Some((slot, actions)) = plane.core.take_failed_write() else { break };
                (actions.complete.and_then(|_| plane.take(slot)), actions)
            };
            device.finish(held, &actions);
            any = true;
        }
        if any {
            self.release_unsuspended();
        }
    }

    /// RESUME_IO (UU-7, FE-9). The caller has the turn. Codes 1 and 2.
    pub(crate) fn resume_io(&self, number: u16) -> Result<i32, Refusal> {
        // The peer has been told of the generation as it is, and decides by that.
        self.wait_control(HANDSHAKE_LIMIT, |control| !control.state_sent);
        let suspended = self.control.lock().volumes.iter().any(|volume| volume.state.is_suspended());
        self.settle_deferred_uuids()?;
        let request = Request::none().flag(word::SUSP, false).flag(word::SUSP_NOD, false).flag(word::SUSP_FEN, false);
        if !suspended {
            return self.change_by_admin(number, request).map(|changed| changed.code());
        }
        let connected = self.control.lock().cstate == Conn::WFReportParams;
        self.resume(if connected { Thaw::Resend } else { Thaw::LocalOnly }, request);
        Ok(1)
    }

    /// UU-7 by the administrator: a new generation where there is a disk; without one the node works with data that exists nowhere, and has
    /// to be torn down before it can join any again.
    fn settle_deferred_uuids(&self) -> Result<(), Refusal> {
        {
            let mut control = self.control.lock();
            if control.state_sent {
                return Err(Refusal::InTransientState);
            }
            for volume in control.volumes.iter_mut() {
                let usable = volume.disk.is_some() && volume.state.disk >= Disk::Attaching;
                // No connection comes before it.
                volume.uuid_pending |= volume.uuid_deferred && usable;
                if volume.uuid_deferred && !usable {
                    volume.uuid_deferred = false;
                    volume.effective_uuid = random_u64() & !1;
                    pr_warn!("drbd{}: Resumed without access to data; please tear down before attempting to re-configure.\n", volume.device.minor);
                }
            }
        }
        self.create_deferred_uuids();
        Ok(())
    }

    /// HS-9: the peer is only Consistent, so it was restarted, and requests frozen since can not be sent again: they end without it, under a
    /// new generation.
    pub(crate) fn abandon_frozen(&self, number: u16) {
        let minor = self.control.lock().volume(number).map_or(0, |volume| volume.device.minor);
        pr_err!("drbd{}: Aborting Connect, can not thaw IO with an only Consistent peer\n", minor);
        let deferred = self.control.lock().volume(number).is_some_and(|volume| core::mem::take(&mut volume.uuid_deferred));
        if deferred {
            self.rotate_uuid(number);
        }
        self.resume(Thaw::LocalOnly, Request::none().flag(word::SUSP, false));
    }

    /// AC-9, UU-1: the new generation is on disk before any write completes without the peer.
    pub(crate) fn rotate_uuid(&self, number: u16) {
        {
            let mut control = self.control.lock();
            if let Some(volume) = control.volume(number) {
                let primary = volume.state.role == Role::Primary;
                let usable = volume.state.disk != Disk::Failed;
                if let Some(disk) = volume.disk.as_mut().filter(|disk| usable && disk.uuids.bitmap == 0) {
                    disk.uuids.new_current(random_u64(), primary);
                    volume.effective_uuid = disk.uuids.current;
                    pr_info!("drbd{}: new current UUID {:016X}\n", volume.device.minor, disk.uuids.current & !1);
                }
            }
        }
        let _ = self.write_superblock(number);
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        let (version, connected) = (control.version, control.cstate == Conn::WFReportParams);
        if let Some(volume) = control.volumes.get_mut(index) {
            volume.uuid_pending = false;
            if connected && volume.state.conn >= Conn::Connected {
                self.send(number, super::packets::uuids(version, volume, false, 0));
            }
        }
        publish(&control, index, true);
        drop(control);
        self.changed.wake_all();
    }
}
