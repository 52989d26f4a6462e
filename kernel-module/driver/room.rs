// SPDX-License-Identifier: GPL-2.0
//! Room for requests in flight: a volume begins with little, and gets more when it is half full.
//!
//! The worker looks after it, so nobody allocates memory on the way of a request. Who finds no slot free waits as for any other reason, and wakes
//! the worker.

use super::device::{Device, Plane, SLOTS};
use super::prelude::*;
use super::resource::Resource;
use super::storage::Slots;

impl Plane {
    /// More than half of the slots are in use, and there may be more of them.
    pub(crate) fn wants_room(&self) -> bool {
        let slots = self.core.slots() as usize;
        slots < SLOTS && self.core.slots_in_use() as usize > slots / 2
    }
}

impl Device {
    /// There is a slot for one more request of a resync or verify. A volume that has none free gets more of them: a turn may ask for many blocks at
    /// once, and by the next look all of them may be answered. Worker.
    pub(crate) fn has_slot(self: &Arc<Self>) -> bool {
        let full = |plane: &Plane| (!plane.core.has_room(1)).then(|| plane.core.slots() as usize);
        let slots = full(&self.plane.lock());
        slots.is_none_or(|slots| slots < SLOTS && double(self, slots))
    }
}

/// Twice the slots, for whoever waits for one too. Without memory it goes on with what there is.
fn double(device: &Arc<Device>, slots: usize) -> bool {
    let grown = grow(device, (2 * slots).min(SLOTS)).is_ok();
    if grown {
        device.retry_waiting();
    }
    grown
}

impl Resource {
    /// Gives volumes that are half full twice the slots. Worker.
    pub(crate) fn make_room(&self) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let wants = |plane: &Plane| plane.wants_room().then(|| plane.core.slots() as usize);
            let wanted = wants(&device.plane.lock());
            if let Some(slots) = wanted {
                // If it fails, the next look tries again.
                double(device, slots);
            }
        }
    }
}

/// Makes it `count` slots. What is in flight keeps its own.
fn grow(device: &Device, count: usize) -> Result {
    let slots = Slots::new(count)?;
    let (mut requests, mut peer_requests) = (super::queue::places(count)?, super::queue::places(count)?);
    let old = {
        let mut plane = device.plane.lock();
        let Plane { core, requests: own, peer_requests: peers, .. } = &mut *plane;
        let old = core.grow(slots);
        if core.slots() as usize == count && own.len() < count {
            replace(own, &mut requests);
            replace(peers, &mut peer_requests);
        }
        old
    };
    // Freed without the lock.
    drop((old, requests, peer_requests));
    Ok(())
}

/// Moves all to the longer list, which the short one becomes.
fn replace<T>(short: &mut KVVec<Option<T>>, long: &mut KVVec<Option<T>>) {
    for (from, to) in short.iter_mut().zip(long.iter_mut()) {
        *to = from.take();
    }
    core::mem::swap(short, long);
}
