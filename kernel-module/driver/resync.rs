// SPDX-License-Identifier: GPL-2.0
//! Resynchronisation: start, requests of the target, end (behaviour.md section 7).

use super::prelude::*;
use super::queue::Outgoing;
use super::resource::{Control, Resource};
use drbd_core::engine::volume_peer::Begin;
use drbd_core::resync::{next_request, Limits};
use drbd_core::state::{Conn, Disk, Request};

/// Largest resync request.
const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// A steady clock in milliseconds.
pub(crate) fn now_ms() -> u64 {
    crate::kapi::time::monotonic_ns() / 1_000_000
}

impl Resource {
    /// RS-4: a volume becomes source or target; counters start.
    pub(crate) fn begin_resync(&self, control: &mut Control, index: usize, source: bool) {
        let Some(volume) = control.volumes.get_mut(index) else { return };
        let bits = volume.device.plane.lock().core.bitmap.weight();
        volume.resync.start(bits, now_ms());
        volume.resync_cursor = 0;
        pr_info!("drbd{}: Began resync as {} (will sync {} KB [{} bits set]).\n",
            volume.device.minor, if source { "SyncSource" } else { "SyncTarget" }, bits * 4, bits);
        let request = if source {
            Request::none().conn(Conn::SyncSource).pdsk(Disk::Inconsistent)
        } else {
            Request::none().conn(Conn::SyncTarget).disk(Disk::Inconsistent)
        };
        self.hard(control, index, request);
        self.wake_worker();
    }

    /// A resync runs, so the worker has turns to make.
    pub(crate) fn has_resync(&self) -> bool {
        self.control.lock().volumes.iter().any(|volume| volume.state.conn == Conn::SyncTarget)
    }

    /// One turn of every target (RX-6): asks for as many blocks as the pace allows.
    pub(crate) fn resync_turn(&self) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let (blocks, mut cursor) = {
                let mut control = self.control.lock();
                let max_buffers = control.net.as_ref().map_or(2048, |net| net.max_buffers());
                let Some(volume) = control.volume(device.volume) else { continue };
                if volume.state.conn != Conn::SyncTarget {
                    continue;
                }
                let left = device.plane.lock().core.bitmap.weight();
                volume.resync.advance(left, now_ms());
                let rate = volume.disk.as_ref().map_or(250, |disk| {
                    if disk.conf.plan_ahead_deciseconds() == 0 { disk.conf.resync_rate_kib() } else { disk.conf.max_rate_kib() }
                });
                // KiB/s for a tenth of a second in blocks of 4 KiB, never more than half of the buffers in flight.
                let in_flight = device.resync_in_flight.load(Relaxed) / 4096;
                ((rate / 40).min((max_buffers / 2).saturating_sub(in_flight)), volume.resync_cursor)
            };
            let mut asked = 0;
            let mut wrapped = cursor == 0;
            while asked < blocks && self.connection.room_for_requests() > 0 {
                let range = next_request(&device.plane.lock().core.bitmap, cursor, Limits { max_bytes: MAX_REQUEST_BYTES });
                let Some(range) = range else {
                    if wrapped {
                        break;
                    }
                    wrapped = true;
                    cursor = 0;
                    continue;
                };
                cursor = range.next_bit;
                let begun = device.plane.lock().core.resync_request_begin(range.sector, range.size_bytes);
                if let Begin::Go(_) = begun {
                    device.resync_in_flight.fetch_add(range.size_bytes, Relaxed);
                    device.resync_pending.fetch_add(1, Relaxed);
                    self.connection.enqueue(device.volume, Outgoing::ResyncRequest { sector: range.sector, size_bytes: range.size_bytes });
                    asked += range.size_bytes / 4096;
                }
            }
            if let Some(volume) = self.control.lock().volume(device.volume) {
                volume.resync_cursor = cursor;
            }
        }
    }

    /// RX-21, RX-22: a target whose last bit is clear tells the source.
    pub(crate) fn check_resync_end(self: &Arc<Self>) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let finished = {
                let mut control = self.control.lock();
                let Some(volume) = control.volume(device.volume) else { continue };
                let left = device.plane.lock().core.bitmap.weight();
                volume.state.conn == Conn::SyncTarget && left <= volume.resync.failed_bits && device.resync_pending.load(Relaxed) == 0
            };
            if finished {
                self.finish_target(device.volume);
            }
        }
    }

    fn finish_target(self: &Arc<Self>, number: u16) {
        self.ping_peer();
        let failed = self.control.lock().volume(number).map_or(0, |volume| volume.resync.failed_bits);
        if failed == 0 {
            self.finish_target_uuids(number);
        }
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        if control.volumes.get(index).is_none_or(|volume| volume.state.conn != Conn::SyncTarget) {
            return;
        }
        let disk = if failed == 0 { Disk::UpToDate } else { Disk::Inconsistent };
        pr_info!("drbd{}: Resync done ({} bits failed)\n", control.volumes.get(index).map_or(0, |volume| volume.device.minor), failed);
        self.hard(&mut control, index, Request::none().conn(Conn::Connected).disk(disk).pdsk(Disk::UpToDate));
    }

    /// The target reports the end (wire-protocol.md 13.3): the source follows when no bit is left.
    pub(crate) fn finish_source(self: &Arc<Self>, number: u16) {
        let left = self.control.lock().volume(number).map_or(0, |volume| volume.device.plane.lock().core.bitmap.weight());
        if left > 0 {
            pr_info!("{}/{}: {} bits left at the end of the resync\n", self.display_name(), number, left);
            return;
        }
        self.finish_source_uuids(number);
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        self.hard(&mut control, index, Request::none().conn(Conn::Connected).pdsk(Disk::UpToDate));
    }
}
