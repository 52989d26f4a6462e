// SPDX-License-Identifier: GPL-2.0
//! Roles: promotion, demotion, and who may open the device (behaviour.md 2.9).

use super::attach::Refused;
use super::control::Changed;
use super::device::Device;
use super::prelude::*;
use super::resource::Resource;
use drbd_core::state::{Conn, Disk, Refusal, Request, Role};

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

impl Resource {
    /// PRIMARY and SECONDARY. The caller holds `admin`.
    pub(crate) fn set_role(&self, device: &Arc<Device>, role: Role, force: bool) -> Result<i32, Refused> {
        let number = device.volume;
        let mut request = Request::none().role(role);
        let mut forced = false;
        if role == Role::Primary {
            self.ping_peer();
        }
        if role == Role::Secondary {
            device.primary.store(false, Release);
        }
        let mut attempt = 0;
        let outcome = loop {
            attempt += 1;
            match self.change_by_admin(number, request) {
                Ok(changed) => break Ok(changed),
                Err(Refusal::NoUpToDateDisk) if force && !forced && self.may_force(number) => {
                    request = request.disk(Disk::UpToDate);
                    forced = true;
                }
                Err(Refusal::TwoPrimaries) if attempt == 1 => {
                    // A dead peer may be noticed in this time (RO-2).
                    let deciseconds = self.control.lock().net.as_ref().map_or(5, |net| net.ping_timeout_deciseconds());
                    crate::kapi::wait::sleep_interruptible(jiffies_from_deciseconds(deciseconds + 1));
                }
                Err(refusal) => break Err(refusal),
            }
            if attempt > 4 {
                break Err(Refusal::InTransientState);
            }
        };
        let primary = self.control.lock().volume(number).is_some_and(|volume| volume.state.role == Role::Primary);
        match outcome {
            Ok(Changed::Yes) => self.finish_role(device, role, forced),
            _ => device.primary.store(primary, Release),
        }
        outcome.map(Changed::code).map_err(|refusal| {
            pr_info!("drbd{}: State change failed: {}\n", device.minor, refusal.text());
            Refused::code(refusal.code())
        })
    }

    fn may_force(&self, number: u16) -> bool {
        let mut control = self.control.lock();
        control.volume(number).is_some_and(|volume| volume.state.disk >= Disk::Inconsistent && volume.state.disk < Disk::UpToDate)
    }

    /// RO-3 to RO-5.
    fn finish_role(&self, device: &Arc<Device>, role: Role, forced: bool) {
        let number = device.volume;
        let primary = role == Role::Primary;
        {
            let mut control = self.control.lock();
            if primary {
                control.discard_my_data = false;
                if let Some(net) = control.net.as_mut() {
                    net.clear_one_shots();
                }
            }
            if let Some(volume) = control.volume(number) {
                let alone = volume.state.conn < Conn::Connected || volume.state.pdsk <= Disk::Failed;
                if let Some(disk) = volume.disk.as_mut() {
                    if primary && ((alone && disk.uuids.bitmap == 0) || forced) {
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
        if let Some(node) = device.node() {
            node.set_read_only(!primary);
            node.uevent_change();
        }
    }

    /// RO-1: notices a dead peer before it is asked.
    pub(crate) fn ping_peer(&self) {
        if self.connection.link().is_none() {
            return;
        }
        // What has been written is acknowledged first, so that the answer says the peer knows of it.
        super::ack_receiver::send_acks(self);
        let seen = self.connection.pings_answered.load(Acquire);
        self.connection.ping_wanted.store(true, Release);
        super::ack_receiver::send_ping(self);
        let answered = || self.connection.pings_answered.load(Acquire) != seen || self.connection.link().is_none();
        self.connection.ping_wait.wait_interruptible_timeout(10 * HZ, answered);
    }
}
