// SPDX-License-Identifier: GPL-2.0
//! The log writer of a volume: commits activity-log transactions and starts the writes that waited for them (behaviour.md AL-3, AL-6).
//!
//! A work item per volume; never runs twice at once for the same volume. It also retries what could not run before: requests of
//! the peer that met an overlapping range, and local reads that failed.

use super::bitmap_io;
use super::device::{now, Device, Plane};
use super::metadata::RELAXED;
use super::prelude::*;
use super::registry::REGISTRY;
use crate::kapi::thread::NoIoScope;
use drbd_core::activity_log::FREE;
use drbd_core::engine::volume_log::Launched;
use drbd_core::md::log_block::encode_transaction;

/// Extents of a page of the bitmap (128 MiB of 4 MiB).
const EXTENTS_PER_PAGE: u32 = 32;

/// Wakes the log writer; any context.
pub(crate) fn kick(device: &Arc<Device>) {
    if let Some(registry) = REGISTRY.get() {
        let _ = registry.log_queue.enqueue::<Arc<Device>, 1>(device.clone());
    }
}

impl WorkItem<1> for Device {
    type Pointer = Arc<Device>;

    fn run(device: Arc<Device>) {
        let _no_io = NoIoScope::enter();
        device.retry_failed_reads();
        device.launch_pending.store(false, Release);
        loop {
            let one_at_a_time = device.log.lock();
            let changes = {
                let mut plane = device.plane.lock();
                let Plane { core, .. } = &mut *plane;
                core.collect_transaction() && core.log.seal()
            };
            if changes {
                device.commit();
            }
            drop(one_at_a_time);
            device.launch_ready();
            if !changes && !device.plane.lock().core.has_unlogged() {
                break;
            }
        }
        super::peer_io::retry_deferred(&device);
    }
}

impl Device {
    /// Writes the sealed transaction; failing that, the disk is given up, and then the writes go on without it.
    fn commit(self: &Arc<Self>) {
        if self.write_transaction(true).is_err() {
            pr_err!("drbd{}: writing the activity log failed\n", self.minor);
            self.plane.lock().core.transaction_failed();
        } else {
            self.plane.lock().core.transaction_committed();
        }
    }

    /// Fills the ring with transactions that say what is hot now. The caller holds `log`.
    pub(crate) fn fill_log(&self) -> Result {
        let blocks = {
            let _stays = self.meta.lock();
            self.metadata_place().map_or(0, |place| place.layout.geometry.blocks())
        };
        for _ in 0..blocks {
            self.plane.lock().core.log.seal();
            let written = self.write_transaction(false);
            self.plane.lock().core.transaction_committed();
            written?;
        }
        Ok(())
    }

    /// Bitmap pages of the extents that leave, then the transaction block; `durable` unless md-flushes is off. Does nothing without a disk.
    fn write_transaction(&self, durable: bool) -> Result {
        let (mut position, mut leaving, mut settled) = (0, false, false);
        loop {
            let change = self.plane.lock().core.log.change(position);
            let Some(change) = change else { break };
            if change.leaving != FREE {
                bitmap_io::write_page(self, (change.leaving / EXTENTS_PER_PAGE) as usize, &mut settled)?;
                leaving = true;
            }
            position += 1;
        }
        let mut buffer = self.meta.lock();
        let Some(place) = self.metadata_place() else { return Ok(()) };
        if leaving && !settled {
            place.settle_data_apart(&mut buffer).map_err(|error| self.metadata_failed(error))?;
        }
        let sector = {
            let plane = self.plane.lock();
            encode_transaction(&plane.core.log, buffer.bytes_mut());
            place.layout.transaction_sector(plane.core.log.number())
        };
        let guarantees = if durable { place.guarantees } else { RELAXED };
        buffer.write(&place.meta, sector, guarantees, place.limit).map_err(|error| self.metadata_failed(error))?;
        self.statistics.log_writes.add(1);
        Ok(())
    }

    /// Starts every write that has passed the log.
    fn launch_ready(self: &Arc<Self>) {
        loop {
            let mut plane = self.plane.lock();
            let launched = plane.core.take_launchable(now(), || self.resource.connection.stamp());
            let backing = plane.backing.clone();
            match launched {
                None => {
                    // With the lock held: whoever makes it possible to go on afterwards sees this.
                    self.launch_pending.store(plane.core.log_work_waiting(), Release);
                    return;
                }
                Some(Launched::Application(launch)) => {
                    let io = plane.request(launch.slot);
                    drop(plane);
                    if let Some(io) = io {
                        self.start(&io, launch, backing);
                    }
                }
                Some(Launched::Again { slot, local }) => {
                    let io = plane.request(slot);
                    drop(plane);
                    if let Some(io) = io {
                        self.submit_local(&io, backing.filter(|_| local));
                    }
                }
                Some(Launched::Peer(slot)) => {
                    let io = plane.peer_request(slot);
                    drop(plane);
                    if let Some(io) = io {
                        super::peer_io::submit_write(self, &io, backing);
                    }
                }
                Some(Launched::PeerWithoutDisk(slot)) => {
                    let io = plane.take_peer(slot);
                    let actions = plane.core.drop_peer_write(slot);
                    drop(plane);
                    self.follow(&actions);
                    if let Some(io) = io {
                        super::peer_io::refuse_write(self, &io);
                    }
                }
            }
        }
    }
}
