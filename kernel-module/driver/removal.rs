// SPDX-License-Identifier: GPL-2.0
//! DOWN, DEL_MINOR and DEL_RESOURCE (behaviour.md 10.4). The caller has the turn of the resource.

use super::admin::Done;
use super::attach::Refused;
use super::device::Device;
use super::prelude::*;
use super::registry::Registry;
use super::resource::Resource;
use super::status::{self, Notify};
use drbd_core::genl::ret;
use drbd_core::state::{Conn, Disk, Role};

/// How long `down` waits for a disk or a connection before it gives the disks up.
const PATIENCE: Jiffies = 30 * HZ;
/// How long a deletion waits for the worker.
const WORKER_LIMIT: Jiffies = 10 * HZ;

/// DN-2: only StandAlone and without volumes.
pub(super) fn delete_resource(registry: &Registry, resource: &Arc<Resource>) -> Result<Done, Refused> {
    {
        let mut control = resource.control.lock();
        if control.cstate != Conn::StandAlone {
            return Err(Refused::code(ret::NET_CONFIGURED));
        }
        if !control.volumes.is_empty() {
            return Err(Refused::code(ret::RES_IN_USE));
        }
        control.deleted = true;
    }
    status::notify_resource(resource, Notify::Destroy);
    registry.lists.lock().resources.retain(|other| !Arc::ptr_eq(other, resource));
    resource.stop_threads();
    Done::ok()
}

/// DN-1. Disks that do not answer are given up after [`PATIENCE`]: what they miss is the same as after a crash, and their metadata tells.
pub(super) fn down(registry: &Arc<Registry>, resource: &Arc<Resource>) -> Result<Done, Refused> {
    let list = resource.connection.volume_list();
    for device in list.volumes.iter() {
        resource
            .set_role(device, Role::Secondary, false)
            .map_err(|refused| Refused { code: refused.code, info: "failed to demote" })?;
    }
    let ended = resource.disconnect_within(false, PATIENCE).map_err(|refusal| Refused { code: refusal.code(), info: "failed to disconnect" })?;
    if !ended {
        give_up_disks(resource);
        if !resource.wait_stand_alone(PATIENCE) {
            return Err(Refused { code: ret::INTR, info: "failed to disconnect" });
        }
    }
    for device in list.volumes.iter() {
        detach(resource, device).map_err(|refused| Refused { code: refused.code, info: "failed to detach" })?;
    }
    for device in list.volumes.iter() {
        delete_minor(registry, device).map_err(|refused| Refused { code: refused.code, info: "failed to delete volume" })?;
    }
    delete_resource(registry, resource)
}

fn detach(resource: &Resource, device: &Arc<Device>) -> Result<(), Refused> {
    if !device.given_up.is_set() && resource.detach_within(device, PATIENCE)?.is_some() {
        return Ok(());
    }
    if crate::kapi::wait::signal_pending() {
        return Err(Refused::code(ret::INTR));
    }
    pr_err!("drbd{}: the disk does not answer, it is given up\n", device.minor);
    resource.detach(device, true).map(drop)
}

fn give_up_disks(resource: &Resource) {
    let list = resource.connection.volume_list();
    for device in list.volumes.iter() {
        if device.plane.lock().core.local_references() > 0 {
            pr_err!("drbd{}: the disk does not answer, it is given up\n", device.minor);
            device.given_up.set(true);
        }
    }
    resource.connection.hurry.store(true, Release);
    resource.connection.peer_work_done.wake_all();
    resource.changed.wake_all();
}

/// DN-2: only Diskless and Secondary, even in a live connection.
pub(super) fn delete_minor(registry: &Registry, device: &Arc<Device>) -> Result<Done, Refused> {
    let resource = &device.resource;
    resource.flush_worker(WORKER_LIMIT);
    {
        let mut control = resource.control.lock();
        let idle = control.volume(device.volume).is_some_and(|volume| {
            volume.state.disk == Disk::Diskless && volume.state.role == Role::Secondary
        });
        if !idle {
            return Err(Refused::code(ret::MINOR_CONFIGURED));
        }
    }
    status::notify_device(resource, device.volume, Notify::Destroy);
    {
        let mut control = resource.control.lock();
        control.volumes.retain(|volume| volume.number() != device.volume);
        resource.connection.set_volumes(&control).map_err(|_| Refused::code(ret::NOMEM))?;
    }
    // The minor is free again when its node is gone.
    let _configuring = registry.configuring.lock();
    registry.lists.lock().devices.retain(|other| !Arc::ptr_eq(other, device));
    let node = device.disk.lock().take();
    if let Some(node) = node {
        node.remove();
    }
    Done::ok()
}
