// SPDX-License-Identifier: GPL-2.0
//! Resynchronisation: start, requests of the target, end (behaviour.md section 7).

use super::helper::{self, Event};
use super::prelude::*;
use super::queue::Outgoing;
use super::resource::{Control, Resource};
use drbd_core::engine::volume_peer::Begin;
use drbd_core::resync::{next_request, Limits};
use drbd_core::state::{Conn, Disk, Kind, Request};

/// Largest resync request.
const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// A steady clock in milliseconds.
pub(crate) fn now_ms() -> u64 {
    crate::kapi::time::monotonic_ns() / 1_000_000
}

impl Resource {
    /// RS-1: both sides are ready. The worker goes on, because the helper is asked first.
    pub(crate) fn begin_resync(&self, control: &mut Control, index: usize, source: bool) {
        if let Some(volume) = control.volumes.get_mut(index) {
            volume.starting = Some(source);
            self.wake_worker();
        }
    }

    /// RS-2: the helper may forbid what is about to start, which ends the connection.
    pub(crate) fn start_resyncs(self: &Arc<Self>) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let starting = self.control.lock().volume(device.volume).and_then(|volume| volume.starting.take());
            let Some(source) = starting else { continue };
            // What the handshake has to say comes before what follows from it.
            self.call_helpers();
            let event = if source { Event::BeforeResyncSource } else { Event::BeforeResyncTarget };
            let code = helper::call(self, device, event);
            // The merged bitmap is on disk before the first bit of it is cleared.
            let _ = self.write_bitmap(device.volume);
            let mut control = self.control.lock();
            let Some(index) = control.index(device.volume) else { continue };
            let ready = control.volumes.get_mut(index).is_some_and(|volume| {
                let conn = volume.state.conn;
                let new_area = core::mem::take(&mut volume.new_area_due);
                if source {
                    matches!(conn, Conn::WFBitMapS | Conn::StartingSyncS | Conn::Ahead) || (new_area && conn == Conn::Connected)
                } else {
                    matches!(conn, Conn::WFSyncUUID | Conn::StartingSyncT | Conn::Behind)
                }
            });
            if !ready {
                continue;
            }
            let forbidden = code > 0 && !(source && code == 3);
            if forbidden {
                pr_info!("drbd{}: {} handler returned {}, dropping connection.\n", device.minor, event.name(), code);
                control.cstate = Conn::Disconnecting;
                let _ = self.change_all(&mut control, Request::none().conn(Conn::Disconnecting), Kind::Hard);
                drop(control);
                self.interrupt_receiver();
                continue;
            }
            self.resync_starts(&mut control, index, source);
        }
    }

    /// RS-4: a volume becomes source or target; counters start.
    fn resync_starts(&self, control: &mut Control, index: usize, source: bool) {
        let Some(volume) = control.volumes.get_mut(index) else { return };
        let bits = volume.device.plane.lock().core.bitmap.weight();
        volume.resync.start(bits, now_ms());
        volume.resync_cursor = 0;
        volume.target_finished = false;
        volume.progress_shown = (bits, now_ms());
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
        let busy = |volume: &super::volume::Volume| matches!(volume.state.conn, Conn::SyncTarget | Conn::Ahead) || volume.target_finished;
        self.control.lock().volumes.iter().any(busy)
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
                let max_bytes = MAX_REQUEST_BYTES.min((blocks - asked).saturating_mul(4096));
                let range = next_request(&device.plane.lock().core.bitmap, cursor, Limits { max_bytes });
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
                if let Begin::Go(slot) = begun {
                    device.plane.lock().core.begun(slot, super::device::now());
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

    /// Tells listeners of progress, every two seconds at most.
    pub(crate) fn show_progress(&self) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let due = {
                let mut control = self.control.lock();
                let Some(volume) = control.volume(device.volume) else { continue };
                let left = device.plane.lock().core.bitmap.weight();
                let (shown, at) = volume.progress_shown;
                let due = matches!(volume.state.conn, Conn::SyncSource | Conn::SyncTarget) && left < shown && now_ms().saturating_sub(at) > 2000;
                if due {
                    volume.progress_shown = (left, now_ms());
                }
                due
            };
            if due {
                super::status::notify_progress(self, device.volume);
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
            if self.control.lock().volume(device.volume).is_some_and(|volume| volume.target_finished) {
                self.finish_source(device.volume);
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
        let device = control.volumes.get(index).map(|volume| volume.device.clone());
        self.hard(&mut control, index, Request::none().conn(Conn::Connected).disk(disk).pdsk(Disk::UpToDate));
        drop(control);
        self.carry_out_changes();
        super::status::notify_progress(self, number);
        if let Some(device) = device {
            helper::call(self, &device, Event::AfterResyncTarget);
        }
    }

    /// The target reports the end (wire-protocol.md 13.3): the source follows when no bit is left.
    pub(crate) fn finish_source(self: &Arc<Self>, number: u16) {
        {
            let mut control = self.control.lock();
            let Some(volume) = control.volume(number) else { return };
            let left = volume.device.plane.lock().core.bitmap.weight();
            volume.target_finished = volume.state.conn == Conn::SyncSource && left > volume.resync.failed_bits;
            if volume.target_finished {
                // The acknowledgements travel on the other socket; the worker looks again.
                return;
            }
        }
        self.finish_source_uuids(number);
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        self.hard(&mut control, index, Request::none().conn(Conn::Connected).pdsk(Disk::UpToDate));
        if let Some(volume) = control.volumes.get(index) {
            volume.device.note_helper_calls(super::device::UNFENCE);
        }
    }
}
