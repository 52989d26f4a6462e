// SPDX-License-Identifier: GPL-2.0
//! Roles: promotion, demotion, and who may open the device (behaviour.md 2.9).

use super::attach::Refused;
use super::control::Changed;
use super::device::Device;
use super::prelude::*;
use super::resource::Resource;
use drbd_core::md::uuids::same;
use drbd_core::state::promotion::{Next, Promotion};
use drbd_core::state::{Conn, Disk, Refusal, Request, Role, State};

/// EMEDIUMTYPE, "Wrong medium type": how an open on a Secondary is refused.
const EMEDIUMTYPE: i32 = 124;

/// RO-6. Process context, under the block layer's open lock.
pub(crate) fn open(device: &Device, write: bool) -> Result {
    // Counted first: a demotion that looks now sees us and refuses.
    device.openers.fetch_add(1, Full);
    let allowed = device.primary.load(Acquire) || (!write && crate::kapi::params::allow_oos());
    if allowed {
        return Ok(());
    }
    device.openers.fetch_add(-1, Full);
    Err(if write { EROFS } else { Error::from_errno(-EMEDIUMTYPE) })
}

/// An opener is gone.
pub(crate) fn release(device: &Device) {
    device.openers.fetch_add(-1, Full);
}

/// How long a demotion waits for the peer's answers; a dead peer is noticed long before.
const SETTLE_TIMEOUT_SECONDS: Jiffies = 60;

impl Resource {
    /// PRIMARY and SECONDARY. The caller has the turn. Waits for the fence-peer helper where RO-2 asks for it.
    pub(crate) fn set_role(self: &Arc<Self>, device: &Arc<Device>, role: Role, force: bool) -> Result<i32, Refused> {
        let number = device.volume;
        let current = self.control.lock().volume(number).map(|volume| volume.uuids().current);
        let outcome = match role {
            Role::Primary => self.promote(number, force),
            _ => {
                device.primary.store(false, Release);
                self.settle_writes(device);
                self.change_by_admin(number, Request::none().role(role)).map(|changed| (changed, false))
            }
        };
        let primary = self.control.lock().volume(number).is_some_and(|volume| volume.state.role == Role::Primary);
        match outcome {
            Ok((Changed::Yes, forced)) => self.finish_role(device, role, forced, current),
            _ => device.primary.store(primary, Release),
        }
        outcome.map(|(changed, _)| changed.code()).map_err(|refusal| {
            pr_info!("drbd{}: State change failed: {}\n", device.minor, refusal.text());
            Refused::code(refusal.code())
        })
    }

    /// RO-1, RO-2: whether the promotion was forced.
    fn promote(self: &Arc<Self>, number: u16, force: bool) -> Result<(Changed, bool), Refusal> {
        self.ping_peer();
        let mut promotion = Promotion::new(force);
        let mut next = Next::Attempt { verbose: false };
        loop {
            next = match next {
                Next::Attempt { .. } => match self.change_by_admin(number, promotion.request()) {
                    Ok(changed) => {
                        if promotion.risks_split_brain() {
                            pr_warn!("{}: Forced into split brain situation!\n", self.display_name());
                        }
                        return Ok((changed, promotion.is_forced()));
                    }
                    Err(refusal) => {
                        let state = self.control.lock().volume(number).map_or(State::default(), |volume| volume.state);
                        promotion.refused(refusal, &state)
                    }
                },
                // FE-2.
                Next::Fence => promotion.fenced(self.fence_peer()),
                Next::Pause => {
                    let deciseconds = self.control.lock().net.as_ref().map_or(5, |net| net.ping_timeout_deciseconds());
                    crate::kapi::wait::sleep_interruptible(jiffies_from_deciseconds(deciseconds + 1));
                    Next::Attempt { verbose: false }
                }
                Next::GiveUp(refusal) => return Err(refusal),
            };
        }
    }

    /// RO-3 to RO-5. `before`: the current UUID as it was before the change.
    fn finish_role(&self, device: &Arc<Device>, role: Role, forced: bool, before: Option<u64>) {
        let number = device.volume;
        let primary = role == Role::Primary;
        // RO-3; and the change itself may have made a new generation, which a forced promotion does not do again (FE-11).
        device.resource.connection.ping_wait.wait_timeout(HZ / 10, || device.plane.lock().core.pending_at_peer() == 0);
        self.flush_worker(10 * HZ);
        {
            let mut control = self.control.lock();
            if primary {
                control.discard_my_data = false;
                if let Some(net) = control.net.as_mut() {
                    net.clear_one_shot();
                }
            }
            if let Some(volume) = control.volume(number) {
                let alone = volume.state.conn < Conn::Connected || volume.state.pdsk <= Disk::Failed;
                if let Some(disk) = volume.disk.as_mut() {
                    let rotated = before.is_some_and(|before| !same(before, disk.uuids.current));
                    // UU-4.
                    if primary && !rotated && ((alone && disk.uuids.bitmap == 0) || forced) {
                        disk.uuids.new_current(random_u64(), true);
                    }
                    disk.uuids.set_primary(primary);
                    volume.effective_uuid = disk.uuids.current;
                }
            }
        }
        let _ = self.write_superblock(number);
        {
            let mut control = self.control.lock();
            let (version, connected) = (control.version, control.cstate == Conn::WFReportParams);
            if let Some(volume) = control.volume(number).filter(|_| connected) {
                let state = volume.state;
                let greeting = if forced { Some(super::packets::uuids(version, volume, false, 0)) } else { None };
                if let Some(packet) = greeting {
                    self.send(number, packet);
                }
                self.send(number, super::packets::state(version, number, &state));
            }
        }
        device.primary.store(primary, Release);
        self.control.lock().role_unfinished = false;
        self.changed.wake_all();
        if let Some(node) = device.node() {
            node.set_read_only(!primary);
            node.uevent_change();
        }
    }

    /// RO-3 before a demotion: the peer has every write on stable storage, so that the activity log need not speak for it any more. Nothing to
    /// wait for when the device is open, when requests are frozen, or without a peer.
    fn settle_writes(&self, device: &Arc<Device>) {
        let number = device.volume;
        let moot = || {
            let frozen = self.control.lock().volume(number).is_none_or(|volume| volume.state.is_suspended());
            frozen || self.connection.link().is_none() || device.openers.load(Acquire) > 0
        };
        let deadline = jiffies().wrapping_add(SETTLE_TIMEOUT_SECONDS * HZ);
        while device.plane.lock().core.has_unacknowledged() && !moot() && crate::kapi::time::is_before(jiffies(), deadline) {
            crate::kapi::wait::sleep_interruptible(jiffies_from_ms(10));
            if crate::kapi::wait::signal_pending() {
                return;
            }
        }
    }

    /// RO-1: notices a dead peer before it is asked.
    pub(crate) fn ping_peer(&self) {
        if self.connection.link().is_none() {
            return;
        }
        // What has been written is acknowledged first, so that the answer says the peer knows of it.
        super::ack_receiver::send_acks(self);
        let number = super::ack_receiver::send_ping(self);
        // It may have settled down to wait for ping-int: from here on ping-timeout counts.
        self.wake_ack_receiver();
        let answered = || self.connection.is_answered(number) || self.connection.link().is_none();
        let limit = 10 * HZ + 2 * jiffies_from_deciseconds(self.connection.ping_timeout.load(Relaxed));
        self.connection.ping_wait.wait_interruptible_timeout(limit, answered);
    }
}
