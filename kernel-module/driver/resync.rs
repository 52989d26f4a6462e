// SPDX-License-Identifier: GPL-2.0
//! Resynchronisation: start, requests of the target, end (behaviour.md section 7).

use super::device::Device;
use super::helper::{self, Event};
use super::prelude::*;
use super::resource::{Control, Resource};
use drbd_core::engine::volume_peer::Begin;
use drbd_core::bitmap::pieces;
use drbd_core::resync::{longest, next_request_before, Limits};
use drbd_core::state::vector::word;
use drbd_core::state::{Conn, Disk, Kind, Request, State};
use drbd_core::wire::params::max_bio_bytes;

/// Largest resync request.
const MAX_REQUEST_BYTES: u32 = 1 << 20;

/// A steady clock in milliseconds.
pub(crate) fn now_ms() -> u64 {
    crate::kapi::time::monotonic_ns() / 1_000_000
}

/// SC-4: a resync pauses or goes on; the new state is in `volume` already.
pub(crate) fn state_changes(volume: &mut super::volume::Volume, old: &State) {
    let runs = |conn: Conn| matches!(conn, Conn::SyncSource | Conn::SyncTarget);
    let pauses = |conn: Conn| matches!(conn, Conn::PausedSyncS | Conn::PausedSyncT);
    let new = volume.state;
    if runs(old.conn) && pauses(new.conn) {
        pr_info!("drbd{}: Resync suspended\n", volume.device.minor);
        volume.resync.pause(now_ms());
    } else if pauses(old.conn) && runs(new.conn) {
        pr_info!("drbd{}: Syncer continues.\n", volume.device.minor);
        volume.resync.resume(now_ms());
        volume.device.resource.wake_worker();
    }
}

/// RX-22: the totals of a resync that ends, for the log.
fn report_end(volume: &super::volume::Volume) {
    let (minor, resync) = (volume.device.minor, &volume.resync);
    let (seconds, paused) = (resync.seconds(now_ms()), resync.paused_seconds());
    let pace = resync.total_bits.saturating_mul(4).checked_div(seconds).unwrap_or(0);
    pr_info!("drbd{}: Resync done (total {} sec; paused {} sec; {} K/sec)\n", minor, seconds + paused, paused, pace);
    let failed = volume.device.plane.lock().core.resync_failed_bits();
    if failed > 0 {
        pr_alert!("drbd{}: {} failed blocks\n", minor, failed);
    }
    let equal = volume.device.pace.equal_bits.load(Relaxed);
    if volume.checksums && resync.total_bits > 0 {
        let share = equal.saturating_mul(100).checked_div(resync.total_bits).unwrap_or(0);
        let moved = resync.total_bits.saturating_sub(equal);
        pr_info!("drbd{}: {} % had equal checksums, eliminated: {}K; transferred {}K total {}K\n",
            minor, share, equal * 4, moved * 4, resync.total_bits * 4);
    }
}

/// Nothing is out of sync but blocks that failed (RX-21): how many those are.
fn is_through(device: &Device) -> Option<u64> {
    let plane = device.plane.lock();
    let left = plane.core.bitmap.weight();
    (left <= plane.core.resync_failed_bits()).then_some(left)
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
            let starting = self.control.lock().volume(device.volume).and_then(|volume| volume.starting);
            let Some(source) = starting else { continue };
            // What the handshake has to say comes before what follows from it.
            self.call_helpers();
            let event = if source { Event::BeforeResyncSource } else { Event::BeforeResyncTarget };
            let code = helper::call(self, device, event);
            // The merged bitmap is on disk before the first bit of it is cleared.
            let _ = self.write_bitmap(device.volume);
            let waits = !super::dependencies::may_start(device);
            let mut control = self.control.lock();
            let Some(index) = control.index(device.volume) else { continue };
            let ready = control.volumes.get_mut(index).is_some_and(|volume| {
                let conn = volume.state.conn;
                let new_area = core::mem::take(&mut volume.new_area_due);
                if volume.starting.take() != Some(source) {
                    // The connection is another one, or the source went ahead again, while the helper ran.
                    false
                } else if source {
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
            device.waits_for_other.store(waits, Relaxed);
            self.resync_starts(&mut control, index, source, waits);
            drop(control);
            // RX-17: others may have to wait for this one.
            super::dependencies::reconsider();
        }
    }

    /// RS-4: a volume becomes source or target; counters start. `waits`: another device has to be synced first.
    fn resync_starts(&self, control: &mut Control, index: usize, source: bool, waits: bool) {
        let checksums = control.volumes.get(index).is_some_and(|volume| super::checksum::use_checksums(control, volume));
        let Some(volume) = control.volumes.get_mut(index) else { return };
        let bits = {
            let mut plane = volume.device.plane.lock();
            plane.core.resync_begins();
            plane.core.bitmap.weight()
        };
        volume.checksums = checksums;
        let device = volume.device.clone();
        volume.pacer.reset(&device, volume.disk.as_ref().map(|disk| &disk.backing));
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
        self.hard(control, index, request.flag(word::AFTR_ISP, waits));
        self.wake_worker();
    }

    /// A resync or verify runs, so the worker has turns to make.
    pub(crate) fn has_resync(&self) -> bool {
        let busy = |volume: &super::volume::Volume| matches!(volume.state.conn, Conn::SyncTarget | Conn::SyncSource | Conn::Ahead) || volume.target_finished;
        let control = self.control.lock();
        control.volumes.iter().any(busy) || super::verify::is_busy(&control)
    }

    /// The turn under way may ask for more than there were places for.
    pub(crate) fn turn_goes_on(&self) -> bool {
        self.control.lock().volumes.iter().any(|volume| volume.turn_left > 0)
    }

    /// A turn of 100 ms: answers go out that had to wait, and those that ask do so as far as the pace allows (RX-6).
    pub(crate) fn resync_turn(self: &Arc<Self>) {
        self.throttle_turn();
        self.ask_in_turn(super::throttle::blocks_for_turn);
    }

    /// What this turn had no places for is asked for now.
    pub(crate) fn go_on_with_turn(self: &Arc<Self>) {
        self.ask_in_turn(|control, number| control.volume(number).map_or(0, |volume| volume.turn_left));
    }

    fn ask_in_turn(self: &Arc<Self>, allowed: impl Fn(&mut Control, u16) -> u32) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let (verify, blocks) = {
                let mut control = self.control.lock();
                let conn = control.volume(device.volume).map_or(Conn::StandAlone, |volume| volume.state.conn);
                let asks = matches!(conn, Conn::SyncTarget | Conn::VerifyS);
                let blocks = if asks { allowed(&mut control, device.volume) } else { 0 };
                if let Some(volume) = control.volume(device.volume) {
                    volume.turn_left = 0;
                }
                (conn == Conn::VerifyS, blocks)
            };
            if blocks == 0 {
                continue;
            }
            let asked = if verify { self.verify_turn(device, blocks) } else { self.target_turn(device, blocks) };
            let no_places = asked < blocks && (self.connection.room_for_requests() == 0 || !device.has_slot());
            if let Some(volume) = self.control.lock().volume(device.volume).filter(|_| no_places) {
                volume.turn_left = blocks.saturating_sub(asked);
            }
        }
    }

    /// Requests may be queued: there is room, and less than half of the send buffer is in use (RX-7).
    pub(crate) fn may_ask(&self) -> bool {
        let quiet = self.connection.link().is_some_and(|link| {
            let (queued, size) = link.data.send_queue();
            queued <= size / 2
        });
        quiet && (self.connection.room_for_requests() > 0 || self.connection.grow())
    }

    /// Asks for up to `blocks` blocks that are out of sync; for how many it did.
    fn target_turn(&self, device: &Arc<Device>, blocks: u32) -> u32 {
        let (manner, largest, mut cursor) = {
            let mut control = self.control.lock();
            let manner = super::checksum::manner(&mut control, device.volume);
            let largest = MAX_REQUEST_BYTES.min(max_bio_bytes(control.version));
            let Some(volume) = control.volume(device.volume) else { return 0 };
            (manner, largest, volume.resync_cursor)
        };
        let mut asked = 0;
        let mut wrapped = cursor == 0;
        while asked < blocks && self.may_ask() && device.has_slot() {
            let limits = Limits { max_bytes: longest(blocks, asked, largest), thin_bytes: manner.thin_bytes };
            let bits = device.plane.lock().core.bitmap.bits();
            let range = pieces(cursor, bits, super::bitmap_io::LOOK_PAGES)
                .find_map(|(from, end)| next_request_before(&device.plane.lock().core.bitmap, from, end, limits));
            let Some(range) = range else {
                if wrapped {
                    break;
                }
                wrapped = true;
                cursor = 0;
                continue;
            };
            let (sector, size_bytes) = (range.sector, range.size_bytes);
            let begun = device.plane.lock().core.resync_request_begin(sector, size_bytes);
            if let Begin::Go(slot) = begun {
                device.plane.lock().core.begun(slot, super::device::now());
                device.asked(size_bytes);
                if !self.ask_for(device, manner, sector, size_bytes) {
                    let actions = device.plane.lock().core.resync_request_dropped(slot);
                    device.answered(size_bytes);
                    device.settled();
                    device.follow(&actions);
                    break;
                }
                asked += size_bytes.div_ceil(4096);
            }
            cursor = range.next_bit;
        }
        if let Some(volume) = self.control.lock().volume(device.volume) {
            volume.resync_cursor = cursor;
        }
        asked
    }

    /// RX-21: tells listeners of progress, and brings it on disk, every two seconds at most: a node that loses its power does not begin again.
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
                // An error gives the disk up.
                let _ = super::bitmap_io::write_changed(device);
                super::status::notify_progress(self, device.volume);
            }
        }
    }

    /// RX-21, RX-22: a target whose last bit is clear tells the source; one without any bit right after its start (RS-5).
    pub(crate) fn check_resync_end(self: &Arc<Self>) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let finished = {
                let mut control = self.control.lock();
                let Some(volume) = control.volume(device.volume) else { continue };
                volume.state.conn == Conn::SyncTarget && is_through(device).is_some() && device.resync_pending.load(Relaxed) == 0
            };
            if finished {
                self.finish_target(device.volume);
            }
            if self.control.lock().volume(device.volume).is_some_and(|volume| volume.target_finished) {
                self.finish_source(device.volume);
            }
            self.check_verify_end(device);
        }
    }

    fn finish_target(self: &Arc<Self>, number: u16) {
        self.ping_peer(); // TO-4
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        // The connection may have been lost meanwhile: then nothing has ended.
        let Some(volume) = control.volumes.get_mut(index).filter(|volume| volume.state.conn == Conn::SyncTarget) else { return };
        let Some(left) = is_through(&volume.device) else { return };
        if left == 0 {
            super::worker::finish_target_uuids(volume);
        }
        let disk = if left == 0 { Disk::UpToDate } else { Disk::Inconsistent };
        if let Some(volume) = control.volumes.get(index) {
            report_end(volume);
        }
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
            volume.target_finished = matches!(volume.state.conn, Conn::SyncSource | Conn::PausedSyncS) && is_through(&volume.device).is_none();
            if volume.target_finished {
                // The acknowledgements travel on the other socket; the worker looks again.
                return;
            }
        }
        self.finish_source_uuids(number);
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        if let Some(volume) = control.volumes.get(index) {
            report_end(volume);
        }
        self.hard(&mut control, index, Request::none().conn(Conn::Connected).pdsk(Disk::UpToDate));
        if let Some(volume) = control.volumes.get(index) {
            volume.device.note_helper_calls(super::device::UNFENCE);
        }
    }
    /// The target has ended the resync without blocks that failed: it is Inconsistent as before, and the generations stay (UU-12).
    pub(crate) fn finish_incomplete(&self, number: u16) {
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        let source = |volume: &&mut super::volume::Volume| matches!(volume.state.conn, Conn::SyncSource | Conn::PausedSyncS);
        let Some(volume) = control.volumes.get_mut(index).filter(source) else { return };
        volume.target_finished = false;
        report_end(volume);
        self.hard(&mut control, index, Request::none().conn(Conn::Connected).pdsk(Disk::Inconsistent));
    }
}
