// SPDX-License-Identifier: GPL-2.0
//! The worker thread of a resource: carries out what follows from changes of state, in order (behaviour.md 2.8), applies the policy for
//! disk errors, and makes the resync requests.

use super::device::Device;
use super::helper::{self, Event};
use super::prelude::*;
use super::queue::Outgoing;
use super::resource::{AfterChange, Resource};
use crate::kapi::time::is_before;
use drbd_core::md::Uuids;
use drbd_core::state::disk_error::pass_on_degrades;
use drbd_core::state::effects::reported;
use drbd_core::state::{Conn, Disk, Effects, Request, Role};
use drbd_core::wire::params::{uuid_flags, UuidsPacket};

/// How often the worker looks at running resyncs.
const TURN_MS: u64 = 100;

/// After so many looks a second apart at which nothing was under way, the worker naps.
const QUIET_LOOKS: u32 = 3;

/// How long it naps at most; what there is to do wakes it.
const NAP: Jiffies = 120 * HZ;

/// Body of the thread.
pub(crate) fn run(resource: &Arc<Resource>, thread: &ThisThread) {
    let mut next_turn = jiffies();
    let mut quiet_looks = 0;
    while !thread.should_stop() {
        let woken = || resource.worker_woken.load(Acquire);
        let now = jiffies();
        let resyncs = resource.has_resync();
        if !resyncs {
            // The first turn of a resync is due when it begins.
            next_turn = now;
        }
        let rested = quiet_looks >= QUIET_LOOKS;
        // Announced before the look, so that no request slips in between.
        resource.worker_naps.store(rested, Release);
        let quiet = resource.is_quiet();
        let timeout = match resyncs {
            true if resource.turn_goes_on() => 1,
            true if is_before(now, next_turn) => next_turn.wrapping_sub(now),
            true => 0,
            false if quiet && rested => NAP,
            false => HZ,
        };
        let ready = resource.worker_wait.wait_interruptible_timeout(timeout, woken) == Wait::Ready;
        quiet_looks = if quiet && !ready { quiet_looks.saturating_add(1) } else { 0 };
        if thread.should_stop() {
            break;
        }
        thread.flush_signals();
        resource.worker_woken.store(false, Release);
        resource.carry_out_changes();
        resource.handle_disk_errors();
        resource.release_stranded();
        resource.check_overdue();
        resource.make_room();
        resource.follow_congestion();
        resource.start_resyncs();
        resource.call_helpers();
        if !is_before(jiffies(), next_turn) {
            next_turn = jiffies().wrapping_add(jiffies_from_ms(TURN_MS));
            resource.resync_turn();
        } else if resource.turn_goes_on() {
            resource.go_on_with_turn();
        }
        resource.check_resync_end();
        resource.show_progress();
    }
    resource.carry_out_changes();
}

impl Resource {
    /// Nothing is under way that the worker would have to look after: no change, no request, no time-out of a disk, no congestion to watch.
    fn is_quiet(&self) -> bool {
        let control = self.control.lock();
        let steady = |conn| matches!(conn, Conn::StandAlone | Conn::WFConnection | Conn::Connected);
        control.after.is_empty()
            && control.net.as_ref().is_none_or(|net| net.on_congestion() == 0)
            && control.volumes.iter().all(|volume| {
                let timed = volume.disk.as_ref().is_some_and(|disk| disk.conf.disk_timeout_deciseconds() != 0);
                !timed && volume.starting.is_none() && steady(volume.state.conn) && volume.device.plane.lock().core.in_flight() == 0
            })
    }

    pub(crate) fn carry_out_changes(self: &Arc<Self>) {
        loop {
            let change = {
                let mut control = self.control.lock();
                if control.after.is_empty() {
                    return;
                }
                control.after.remove(0).ok()
            };
            if let Some(change) = change {
                self.carry_out(&change);
            }
            self.control.lock().changes_done += 1;
            self.changed.wake_all();
        }
    }

    fn device_of(&self, number: u16) -> Option<Arc<Device>> {
        self.control.lock().volume(number).map(|volume| volume.device.clone())
    }

    /// All effects of one change, in the documented order.
    fn carry_out(self: &Arc<Self>, change: &AfterChange) {
        let (number, effects) = (change.volume, change.effects);
        let Some(device) = self.device_of(number) else { return };
        super::status::notify_change(self, &device, change);
        for (effect, _) in Effects::ALL {
            if *effect == Effects::SEND_SYNC_UUID {
                self.reconsider_suspension(change); // AC-4, AC-5, before AC-6
            }
            if effects.has(*effect) {
                self.carry_out_one(&device, change, *effect);
            }
        }
    }

    fn carry_out_one(self: &Arc<Self>, device: &Arc<Device>, change: &AfterChange, effect: Effects) {
        let number = change.volume;
        match effect {
            Effects::CLEAR_CRASHED_PRIMARY => {
                if let Some(volume) = self.control.lock().volume(number) {
                    if let Some(disk) = volume.disk.as_mut() {
                        disk.crashed_primary = false;
                    }
                    if let Some(known) = volume.peer_uuids.as_mut() {
                        known.flags &= !uuid_flags::CRASHED_PRIMARY;
                    }
                }
            }
            Effects::HELPER_PRIMARY_ON_INCONSISTENT => {
                helper::call(self, device, Event::PrimaryOnInconsistent);
            }
            Effects::SEND_SYNC_UUID => self.send_sync_uuid(number),
            Effects::GREET_ATTACHED_PEER | Effects::ANNOUNCE_ATTACH => {
                self.greet(number, effect == Effects::ANNOUNCE_ATTACH, &change.new);
            }
            Effects::SEND_BITMAP => {
                self.connection.enqueue(number, Outgoing::Bitmap);
            }
            Effects::NEW_CURRENT_UUID => {
                // A disk that failed before the peer was lost is no place to go on alone (ER-1).
                self.handle_disk_errors();
                self.rotate_uuid(number);
            }
            Effects::WRITE_BITMAP | Effects::WRITE_CHANGED_BITMAP => {
                device.plane.lock().core.mark_frozen();
                let written = self.write_bitmap(number).is_ok();
                let mut control = self.control.lock();
                let marked = control.volume(number).and_then(|volume| volume.disk.as_mut()).filter(|disk| written && disk.still_primary);
                if let Some(disk) = marked {
                    disk.still_primary = false;
                    if let Some(index) = control.index(number) {
                        super::control::publish(&control, index, true);
                    }
                }
            }
            Effects::SEND_STATE => {
                let mut control = self.control.lock();
                let version = control.version;
                let state = control.volume(number).map_or(change.new, |volume| reported(&change.new, &volume.state));
                self.send(number, super::packets::state(version, number, &state));
            }
            Effects::CHECK_DEPENDENCIES => super::dependencies::reconsider(),
            Effects::RESYNC_GROWN_AREA => self.fill_remembered_area(number),
            Effects::START_FULL_SYNC => self.start_full_sync(number, change.new.conn),
            Effects::DISK_FAILED => {
                if self.control.lock().volume(number).is_some_and(|volume| volume.calls_for_local_error()) {
                    helper::call(self, device, Event::LocalIoError);
                }
                device.failed_by_error.store(false, Release);
                {
                    let mut control = self.control.lock();
                    self.tell_failure(&mut control, number, &change.new);
                    if let Some(index) = control.index(number) {
                        super::control::publish(&control, index, true);
                    }
                }
                self.drain_disk(device);
            }
            Effects::DISK_GONE => {
                if change.new.conn >= Conn::Connected {
                    let version = self.control.lock().version;
                    self.send(number, super::packets::state(version, number, &change.new));
                }
                self.release_disk(device);
            }
            Effects::WRITE_SUPERBLOCK => {
                let _ = self.write_superblock(number);
                if self.control.lock().volume(number).is_some_and(|volume| volume.state.disk <= Disk::Inconsistent) {
                    self.release_failed_writes(device);
                }
            }
            _ => {}
        }
    }

    /// AC-7, AC-13.
    fn greet(&self, number: u16, with_sizes: bool, state: &drbd_core::state::State) {
        let mut control = self.control.lock();
        let (version, features) = (control.version, control.features);
        let Some(volume) = control.volume(number) else { return };
        if with_sizes {
            self.send(number, super::packets::sizes(version, features, volume));
        }
        self.send(number, super::packets::uuids(version, volume, false, 0));
        self.send(number, super::packets::state(version, number, &reported(state, &volume.state)));
    }

    /// AC-6, UU-9.
    fn send_sync_uuid(&self, number: u16) {
        let sync = {
            let mut control = self.control.lock();
            let Some(volume) = control.volume(number) else { return };
            let started = matches!(volume.state.conn, Conn::SyncSource | Conn::PausedSyncS);
            let Some(disk) = volume.disk.as_mut() else { return };
            if !started && disk.uuids.bitmap != 0 {
                // Lost meanwhile: a new generation here would push an older one out of the history. Without any the bits would mean nothing.
                return;
            }
            let sync = disk.uuids.start_as_source(random_u64());
            started.then_some(sync)
        };
        let _ = self.write_superblock(number);
        let Some(sync) = sync else { return };
        let version = self.control.lock().version;
        self.send(number, super::packets::sync_uuid(version, number, sync));
    }

    /// AC-18.
    fn start_full_sync(&self, number: u16, conn: Conn) {
        let written = self.set_all_bits(number);
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        let next = match (written, conn) {
            (Err(_), _) => Conn::Connected,
            (Ok(()), Conn::StartingSyncT) => Conn::WFSyncUUID,
            (Ok(()), _) => {
                self.begin_resync(&mut control, index, true);
                return;
            }
        };
        self.hard(&mut control, index, Request::none().conn(next));
    }

    /// ER-1: what on-io-error says about errors noted since the last look.
    fn handle_disk_errors(self: &Arc<Self>) {
        let list = self.connection.volume_list();
        let mut any = false;
        for device in list.volumes.iter() {
            let errors = device.errors.xchg(0, Full);
            if errors != 0 {
                any |= self.apply_error_policy(device, errors);
            }
        }
        if any {
            self.release_unsuspended();
            for device in list.volumes.iter() {
                device.kick_log_writer();
            }
        }
    }

    /// False: not now, but when the handshake is over.
    fn apply_error_policy(&self, device: &Arc<Device>, errors: u32) -> bool {
        let mut control = self.control.lock();
        let Some(index) = control.index(device.volume) else { return true };
        let Some(volume) = control.volumes.get(index) else { return true };
        let state = volume.state;
        let pass_on = volume.disk.as_ref().is_some_and(|disk| disk.conf.on_io_error() == 0);
        let forced = errors >= super::device::ERROR_METADATA;
        if pass_on && !forced && control.state_sent {
            // The peer has been told of the disk as it was, and decides by that; what follows wakes the worker.
            device.errors.fetch_add(errors, Relaxed);
            return false;
        }
        let wanted = match pass_on && !forced {
            true if !pass_on_degrades(&state, device.plane.lock().core.lacks_write(state.is_suspended())) => None,
            true => Some(Disk::Inconsistent),
            false => Some(Disk::Failed),
        };
        match wanted.filter(|wanted| state.disk > *wanted) {
            Some(disk) => {
                if disk == Disk::Failed {
                    pr_err!("drbd{}: local disk failed, detaching\n", device.minor);
                    device.failed_by_error.store(true, Release);
                } else {
                    pr_err!("drbd{}: local disk error ignored (on-io-error pass_on)\n", device.minor);
                }
                // What follows notes on the disk that it may lack data, and releases writes that failed.
                self.hard(&mut control, index, Request::none().disk(disk));
                if control.volumes.get(index).is_some_and(|volume| volume.state.disk == state.disk) {
                    // A source stays what it is.
                    drop(control);
                    self.release_failed_writes(device);
                }
            }
            None if state.disk == Disk::Failed => {}
            None => {
                drop(control);
                self.release_failed_writes(device);
            }
        }
        true
    }

    /// Helpers that others noted for the worker: HS-22, HS-25, HS-27, SB-5, RX-22.
    pub(crate) fn call_helpers(self: &Arc<Self>) {
        use super::device::{PRIMARY_LOST, PRIMARY_LOST_AFTER_SPLIT_BRAIN, SPLIT_BRAIN_SEEN, SPLIT_BRAIN_UNSOLVED, UNFENCE};
        let rows = [
            (SPLIT_BRAIN_SEEN, Event::InitialSplitBrain),
            (PRIMARY_LOST_AFTER_SPLIT_BRAIN, Event::PrimaryLostAfterSplitBrain),
            (SPLIT_BRAIN_UNSOLVED, Event::SplitBrain),
            (PRIMARY_LOST, Event::PrimaryLost),
        ];
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let noted = device.helper_calls.load(Acquire);
            if noted == 0 {
                continue;
            }
            for (_, event) in rows.iter().filter(|row| noted & row.0 != 0) {
                helper::call(self, device, *event);
            }
            if noted & UNFENCE != 0 {
                self.unfence_peer(device.volume);
            }
            // Only now: who waits for them to be over looks at the bits.
            device.forget_helper_calls(noted);
            self.changed.wake_all();
        }
    }

    /// The end of a resync as source.
    pub(crate) fn finish_source_uuids(&self, number: u16) {
        let mut control = self.control.lock();
        let Some(volume) = control.volume(number) else { return };
        if let Some(disk) = volume.disk.as_mut() {
            disk.uuids.clear_bitmap();
            let own = disk.uuids.to_array();
            volume.peer_uuids = volume.peer_uuids.map(|known| UuidsPacket { uuids: own, ..known });
        }
    }
}

/// UU-11: the end of a resync as target.
pub(super) fn finish_target_uuids(volume: &mut super::volume::Volume) {
    let primary = volume.state.role == Role::Primary;
    let source = volume.peer_uuids.map(|known| Uuids::from_array(known.uuids));
    if let (Some(disk), Some(source)) = (volume.disk.as_mut(), source) {
        disk.uuids.finish_as_target(&source, primary);
        volume.effective_uuid = disk.uuids.current;
        let own = disk.uuids.to_array();
        volume.peer_uuids = volume.peer_uuids.map(|known| UuidsPacket { uuids: own, ..known });
    }
}
