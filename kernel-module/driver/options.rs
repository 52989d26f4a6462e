// SPDX-License-Identifier: GPL-2.0
//! Options of resources and disks, changed while they are in use. Those of a connection are in `network.rs`.
//!
//! An option that is refused leaves all of them as they were.

use super::admin::{container_of, mandatory, Done};
use super::attach::Refused;
use super::control::publish;
use super::device::Device;
use super::prelude::*;
use super::resource::Resource;
use super::storage::LogSlots;
use crate::kapi::genl::Request as Message;
use drbd_core::activity_log::ActivityLog;
use drbd_core::genl::{container, ret, DiskConf, ResourceOptions, FLAG_SET_DEFAULTS};
use drbd_core::state::Conn;

/// How long a change of al-extents waits for the writes under way.
const IDLE_LIMIT: Jiffies = 10 * HZ;

/// RESOURCE_OPTS. The caller has the turn.
pub(super) fn change_resource(message: &Message<'_>, resource: &Arc<Resource>) -> Result<Done, Refused> {
    let defaults = message.flags & FLAG_SET_DEFAULTS != 0;
    let mut options = if defaults { ResourceOptions::default() } else { resource.control.lock().options };
    if let Some(found) = container_of(message, container::RESOURCE_OPTS) {
        options.read(found.payload).map_err(mandatory)?;
    }
    {
        let mut control = resource.control.lock();
        control.options = options;
        for index in 0..control.volumes.len() {
            publish(&control, index, true);
        }
    }
    resource.follow_cpu_mask();
    Done::ok()
}

/// CHG_DISK_OPTS. The caller has the turn.
pub(super) fn change_disk(message: &Message<'_>, device: &Arc<Device>) -> Result<Done, Refused> {
    let resource = &device.resource;
    let (old, most_extents, backing) = {
        let mut control = resource.control.lock();
        let volume = control.volume(device.volume).ok_or(Refused::code(ret::MINOR_INVALID))?;
        let disk = volume.disk.as_ref().ok_or(Refused::code(ret::NO_DISK))?;
        (disk.conf, disk.layout.geometry.max_slots().max(67), disk.backing.clone())
    };
    let table = drbd_core::genl::attributes::DISK_CONF;
    let mut conf = old;
    if message.flags & FLAG_SET_DEFAULTS != 0 {
        conf.numbers = DiskConf::default().numbers;
        for invariant in [4, 5] {
            conf.numbers.set(table, invariant, old.numbers.get(table, invariant));
        }
    }
    if let Some(found) = container_of(message, container::DISK_CONF) {
        conf.read(found.payload, false).map_err(mandatory)?;
    }
    super::checksum::sanitize(device.minor, &mut conf, &backing);
    if conf.resync_after() != old.resync_after() {
        super::dependencies::accept(device, conf.resync_after())?;
    }
    let extents = conf.al_extents().clamp(67, most_extents);
    conf.numbers.set(table, 10, u64::from(extents));
    if extents == old.al_extents() {
        store(resource, device, conf)?;
    } else {
        resource.freeze_volume(device.volume);
        let changed = change_extents(resource, device, extents).and_then(|()| store(resource, device, conf));
        resource.thaw_volume(device.volume);
        changed?;
    }
    resource.wake_worker();
    resource.reconsider_limits(device);
    resource.set_resync_after(device, conf.resync_after());
    let mut control = resource.control.lock();
    if let Some(index) = control.index(device.volume) {
        publish(&control, index, true);
    }
    let version = control.version;
    let net = control.net.as_ref().and_then(|net| KBox::new(**net, GFP_KERNEL).ok());
    // The peer takes over what concerns the pace of a resync (CO-8).
    if let (Some(volume), Some(net)) = (control.volume(device.volume), net) {
        if volume.state.conn >= Conn::Connected {
            resource.send(device.volume, super::packets::sync_param(version, volume, &net));
        }
    }
    Done::ok()
}

fn store(resource: &Resource, device: &Device, conf: DiskConf) -> Result<(), Refused> {
    let mut control = resource.control.lock();
    let disk = control.volume(device.volume).and_then(|volume| volume.disk.as_mut());
    disk.ok_or(Refused::code(ret::NO_DISK))?.conf = conf;
    Ok(())
}

/// Another number of hot extents: a new set, and a new log on disk. The caller has frozen the volume; a crash on the way costs a full sync
/// at most.
fn change_extents(resource: &Resource, device: &Device, extents: u32) -> Result<(), Refused> {
    let busy = Refused { code: ret::NOMEM, info: "Try again without changing current al-extents setting" };
    let deadline = jiffies().wrapping_add(IDLE_LIMIT);
    while !device.plane.lock().core.log.is_idle() {
        if !crate::kapi::time::is_before(jiffies(), deadline) || !crate::kapi::wait::sleep_interruptible(HZ / 50 + 1) {
            return Err(busy);
        }
    }
    let slots = LogSlots::new(extents as usize).map_err(|_| Refused::code(ret::NOMEM))?;
    let _one_at_a_time = device.log.lock();
    let old = {
        let mut plane = device.plane.lock();
        if !plane.core.log.is_idle() {
            return Err(busy);
        }
        core::mem::replace(&mut plane.core.log, ActivityLog::new(slots))
    };
    drop(old);
    if let Some(disk) = resource.control.lock().volume(device.volume).and_then(|volume| volume.disk.as_mut()) {
        disk.moving = true;
    }
    // An error of the disk gives the disk up, not the setting.
    let _ = resource.store_metadata(device);
    Ok(())
}
