// SPDX-License-Identifier: GPL-2.0
//! Requests that take too long: at the peer (ko-count x timeout, behaviour.md TO-3) and at the local disk (disk-timeout, ER-6).
//!
//! The worker looks once a second while anything is under way or a disk-timeout is set.

use super::device::{now, Device};
use super::prelude::*;
use super::resource::Resource;
use drbd_core::state::{Conn, Disk, Kind, Request};

/// How old the oldest local request of the application is, without a list of them: every request counts in the generation in which it was
/// submitted, and a new one begins when the one before the present has come to its end. What is left of that is older than the present one.
pub(crate) struct DiskClock {
    /// disk-timeout is set.
    armed: Atomic<bool>,
    generation: Atomic<u32>,
    pending: [Atomic<i32>; 2],
    /// When the present generation began: `now()`.
    turned_at: Atomic<u32>,
}

/// Not counted.
pub(crate) const UNCOUNTED: u32 = u32::MAX;

impl DiskClock {
    pub(crate) fn new() -> Self {
        Self { armed: Atomic::new(false), generation: Atomic::new(0), pending: [Atomic::new(0), Atomic::new(0)], turned_at: Atomic::new(now()) }
    }

    fn of(&self, generation: u32) -> &Atomic<i32> {
        let [even, odd] = &self.pending;
        if generation & 1 == 0 { even } else { odd }
    }

    /// A request goes to the disk; to be given to [`Self::end`]. Any context.
    pub(crate) fn begin(&self) -> u32 {
        if !self.armed.load(Relaxed) {
            return UNCOUNTED;
        }
        let parity = self.generation.load(Relaxed) & 1;
        self.of(parity).fetch_add(1, Relaxed);
        parity
    }

    /// The disk has answered. Any context.
    pub(crate) fn end(&self, counted: u32) {
        if counted != UNCOUNTED {
            self.of(counted).fetch_add(-1, Relaxed);
        }
    }

    /// A request has been at the disk for longer than `limit`; 0: nobody asks. Called now and then by one thread.
    fn is_overdue(&self, limit: Jiffies) -> bool {
        self.armed.store(limit != 0, Relaxed);
        let generation = self.generation.load(Relaxed);
        if self.of(generation.wrapping_add(1)).load(Relaxed) == 0 {
            self.generation.store(generation.wrapping_add(1), Relaxed);
            self.turned_at.store(now(), Relaxed);
            return false;
        }
        limit != 0 && now().wrapping_sub(self.turned_at.load(Relaxed)) as Jiffies > limit
    }
}

impl Resource {
    /// Looks at the age of what is under way.
    pub(crate) fn check_overdue(self: &Arc<Self>) {
        let list = self.connection.volume_list();
        let peer_limit = self.peer_limit();
        for device in list.volumes.iter() {
            self.check_disk(device);
            super::conflicts::restart_forgotten(device);
            if let Some(limit) = peer_limit {
                self.check_peer(device, limit);
            }
        }
    }

    /// ko-count x timeout, on a live connection.
    fn peer_limit(&self) -> Option<Jiffies> {
        let control = self.control.lock();
        let net = control.net.as_ref().filter(|_| control.cstate == Conn::WFReportParams)?;
        let limit = net.ko_count() as Jiffies * jiffies_from_deciseconds(net.timeout_deciseconds());
        (limit != 0).then_some(limit)
    }

    /// TO-3: the peer is alive, but does not finish what it was asked to do.
    fn check_peer(&self, device: &Device, limit: Jiffies) {
        let over = |since: u32| now().wrapping_sub(since) as Jiffies > limit;
        let Some(queued_at) = device.plane.lock().core.oldest_waiting_for_peer() else { return };
        if !over(queued_at) || !over(device.connected_at.load(Relaxed)) {
            return;
        }
        if self.control.lock().volume(device.volume).is_some_and(|volume| volume.state.conn >= Conn::Connected) {
            pr_warn!("drbd{}: Remote failed to finish a request within ko-count * timeout, {} s\n", device.minor, limit / HZ);
            self.give_up_connection(Conn::Timeout);
        }
    }

    /// Ends the connection for this reason, one of the states Timeout to ProtocolError; it will be made anew. Process context.
    pub(crate) fn give_up_connection(&self, conn: Conn) {
        let mut control = self.control.lock();
        if control.cstate != Conn::WFReportParams {
            return;
        }
        control.cstate = conn;
        let _ = self.change_all(&mut control, Request::none().conn(conn), Kind::Hard);
        drop(control);
        self.changed.wake_all();
        if let Some(link) = self.connection.link() {
            link.data.shutdown();
            link.meta.shutdown();
        }
    }

    /// ER-6: a disk that does not answer in time is given up by force. Requests it has stay with it; the peer serves new ones.
    fn check_disk(&self, device: &Arc<Device>) {
        let mut control = self.control.lock();
        let Some(index) = control.index(device.volume) else { return };
        let Some(volume) = control.volumes.get(index) else { return };
        let usable = volume.state.disk > Disk::Failed;
        let limit = volume.disk.as_ref().filter(|_| usable).map_or(0, |disk| jiffies_from_deciseconds(disk.conf.disk_timeout_deciseconds()));
        if device.disk_clock.is_overdue(limit) {
            pr_warn!("drbd{}: Local backing device failed to meet the disk-timeout\n", device.minor);
            device.given_up.set(true);
            device.failed_by_error.store(true, Release);
            self.hard(&mut control, index, Request::none().disk(Disk::Failed));
        }
    }
}
