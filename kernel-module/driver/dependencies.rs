// SPDX-License-Identifier: GPL-2.0
//! Resyncs that wait for another one: resync-after (behaviour.md RX-16, RX-17).
//!
//! The devices of a chain may belong to different resources. Their control mutexes are taken one after the other, never two at once; the
//! `dependencies` mutex of the registry keeps two evaluations apart. Devices without such an option, which nobody names in one, are not
//! looked at: a busy resource does not hold up others.

use super::attach::Refused;
use super::device::Device;
use super::prelude::*;
use super::registry::{Registry, REGISTRY};
use super::resource::Resource;
use drbd_core::genl::ret;
use drbd_core::resync::dependency::{check, may_sync, BadDependency, Node};
use drbd_core::state::vector::word;
use drbd_core::state::{Conn, Disk, Request};

/// No resync-after.
pub(crate) const NONE: i32 = -1;

/// A device that is part of a chain.
struct Row {
    minor: u32,
    after: i32,
    device: Arc<Device>,
    attached: bool,
    busy: bool,
    waits: bool,
    unconfigured: bool,
}

impl Row {
    /// Looks at the device; takes its control mutex.
    fn refresh(&mut self) {
        let mut control = self.device.resource.control.lock();
        let Some(volume) = control.volume(self.device.volume) else {
            (self.attached, self.unconfigured) = (false, true);
            return;
        };
        let state = volume.state;
        self.attached = volume.disk.is_some() && state.disk != Disk::Diskless;
        self.busy = state.conn.may_set_in_sync() || state.is_paused();
        self.waits = state.aftr_isp;
        self.unconfigured = state.conn == Conn::StandAlone && state.disk == Disk::Diskless;
    }
}

fn node(rows: &[Row], minor: u32) -> Option<Node> {
    let at = rows.binary_search_by_key(&minor, |row| row.minor).ok()?;
    rows.get(at).filter(|row| row.attached).map(|row| Node { after: row.after, busy: row.busy })
}

/// Every device that waits for another one or is waited for, ascending.
fn rows(registry: &Registry) -> KVec<Row> {
    let mut rows = KVec::new();
    let lists = registry.lists.lock();
    let is_named = |minor: u32| lists.devices.iter().any(|other| u32::try_from(other.resync_after.load(Relaxed)) == Ok(minor));
    if lists.devices.iter().all(|device| device.resync_after.load(Relaxed) == NONE && !device.waits_for_other.load(Relaxed)) {
        return rows;
    }
    for device in lists.devices.iter() {
        let after = device.resync_after.load(Relaxed);
        if after == NONE && !device.waits_for_other.load(Relaxed) && !is_named(device.minor) {
            continue;
        }
        let row =
            Row { minor: device.minor, after, device: device.clone(), attached: false, busy: false, waits: false, unconfigured: false };
        if rows.push(row, GFP_KERNEL).is_err() {
            break;
        }
    }
    drop(lists);
    rows.iter_mut().for_each(Row::refresh);
    rows
}

/// Whether a resync of this device may start now (RS-4). Holds no control mutex.
pub(crate) fn may_start(device: &Device) -> bool {
    let after = device.resync_after.load(Relaxed);
    if after == NONE {
        return true;
    }
    let Some(registry) = REGISTRY.get() else { return true };
    let _one_at_a_time = registry.dependencies.lock();
    let rows = rows(&registry);
    may_sync(after, |minor| node(&rows, minor))
}

/// RX-17: pauses what has to wait now and lets go on what may, until nothing changes any more. Holds no control mutex.
pub(crate) fn reconsider() {
    let Some(registry) = REGISTRY.get() else { return };
    let _one_at_a_time = registry.dependencies.lock();
    let mut rows = rows(&registry);
    for _ in 0..=rows.len() {
        let mut changed = false;
        for at in 0..rows.len() {
            let Some(row) = rows.get(at).filter(|row| !row.unconfigured || row.waits) else { continue };
            let waits = row.attached && !may_sync(row.after, |minor| node(&rows, minor));
            if waits == row.waits {
                continue;
            }
            let device = row.device.clone();
            {
                let mut control = device.resource.control.lock();
                if let Some(index) = control.index(device.volume) {
                    device.resource.hard(&mut control, index, Request::none().flag(word::AFTR_ISP, waits));
                }
            }
            device.waits_for_other.store(waits, Relaxed);
            if let Some(row) = rows.get_mut(at) {
                row.refresh();
                changed |= row.waits == waits;
            }
        }
        if !changed {
            break;
        }
    }
}

/// Checks a resync-after that is about to be configured: 132, 133.
pub(crate) fn accept(device: &Device, after: i32) -> Result<(), Refused> {
    let Some(registry) = REGISTRY.get() else { return Ok(()) };
    let _one_at_a_time = registry.dependencies.lock();
    let rows = rows(&registry);
    check(device.minor, after, |minor| node(&rows, minor)).map_err(|bad| match bad {
        BadDependency::Minor => Refused::code(ret::RESYNC_AFTER),
        BadDependency::Cycle => Refused::code(ret::RESYNC_AFTER_CYCLE),
    })
}

impl Resource {
    /// The resync-after in force for a device changes. Holds no control mutex.
    pub(crate) fn set_resync_after(&self, device: &Device, after: i32) {
        let old = device.resync_after.xchg(after, Relaxed);
        if old != after || device.waits_for_other.load(Relaxed) {
            reconsider();
        }
    }
}
