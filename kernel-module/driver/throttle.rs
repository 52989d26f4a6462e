// SPDX-License-Identifier: GPL-2.0
//! The pace of resync and verify in the driver (behaviour.md 7.3): what a turn may ask for, and when it steps aside for an application.
//!
//! The side that asks (SyncTarget, VerifyS) leaves turns out. The side that answers (SyncSource, VerifyT) keeps requests waiting, one is let
//! through in each turn of 100 ms; the receiver does not sleep for them. [`Pace`] is touched by any context, [`Pacer`] under the control mutex.

use super::device::Device;
use super::peer_io::PeerIo;
use super::prelude::*;
use super::resource::{Control, Resource};
use super::resync::now_ms;
use super::volume::Volume;
use drbd_core::resync::{within_buffers, Controller, Settings, Throttle};
use drbd_core::state::{Conn, Role};

/// Counters of a volume, and requests of the peer that wait.
#[pin_data]
pub(crate) struct Pace {
    /// Sectors answered since the last turn.
    arrived_sectors: Atomic<u32>,
    /// Sectors read or written for a resync, a verify or the bitmap so far.
    pub(crate) background_sectors: Atomic<u64>,
    /// Bits that turned out equal in a checksum resync.
    pub(crate) equal_bits: Atomic<u64>,
    /// Requests of the peer wait.
    throttled: Atomic<bool>,
    #[pin]
    waiting: SpinLockIrq<IoQueue<PeerIo>>,
}

impl Pace {
    /// Nothing counted, nobody waits.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            arrived_sectors: Atomic::new(0),
            background_sectors: Atomic::new(0),
            equal_bits: Atomic::new(0),
            throttled: Atomic::new(false),
            waiting <- new_spinlock_irq!(IoQueue::new(), "drbd_throttled"),
        })
    }
}

/// The controller of a volume.
pub(crate) struct Pacer {
    controller: Controller,
    /// One number for each step of c-plan-ahead.
    plan: KVec<i32>,
    throttle: Throttle,
    /// What is wanted, in KiB/s; shown.
    pub(crate) want_kib: u32,
}

impl Pacer {
    /// An empty plan.
    pub(crate) const fn new() -> Self {
        Self { controller: Controller::new(), plan: KVec::new(), throttle: Throttle::new(0), want_kib: 0 }
    }

    /// RX-13: a run starts.
    pub(crate) fn reset(&mut self, device: &Device, backing: Option<&BlockDev>) {
        self.controller = Controller::new();
        self.plan.clear();
        self.throttle = Throttle::new(others(device, backing));
        self.want_kib = 0;
        device.pace.arrived_sectors.store(0, Relaxed);
        device.pace.equal_bits.store(0, Relaxed);
    }

    /// The plan gets the length of c-plan-ahead; without memory the rate is fixed.
    fn fit_plan(&mut self, steps: usize) {
        if self.plan.len() != steps {
            self.controller = Controller::new();
            self.plan.clear();
            let _ = self.plan.extend_with(steps, 0, GFP_KERNEL);
        }
    }
}

/// Traffic of the disk that is not resync or verify, in sectors.
fn others(device: &Device, backing: Option<&BlockDev>) -> i64 {
    let all = backing.map_or(0, |backing| backing.sectors_done());
    all.wrapping_sub(device.pace.background_sectors.load(Relaxed)) as i64
}

/// Bits that are left of a run.
pub(crate) fn left_bits(volume: &Volume) -> u64 {
    let plane = volume.device.plane.lock();
    if volume.state.conn.is_verify() {
        plane.core.verify.left_bits()
    } else {
        plane.core.bitmap.weight()
    }
}

/// RX-14.
fn steps_aside(volume: &mut Volume) -> bool {
    let left = left_bits(volume);
    let recent = volume.resync.recent_kib(left, now_ms());
    let Some(disk) = volume.disk.as_ref() else { return false };
    let waits = volume.device.plane.lock().core.waits_for_log();
    let traffic = others(&volume.device, Some(&disk.backing));
    volume.pacer.throttle.look(traffic, waits, recent, disk.conf.min_rate_kib())
}

/// A turn of the side that asks: how many blocks of 4 KiB to ask for (RX-6, RX-14).
pub(crate) fn blocks_for_turn(control: &mut Control, number: u16) -> u32 {
    let max_buffers = control.net.as_ref().map_or(2048, |net| net.max_buffers());
    let Some(volume) = control.volume(number) else { return 0 };
    volume.resync.advance(left_bits(volume), now_ms());
    let aside = steps_aside(volume);
    let Some(conf) = volume.disk.as_ref().map(|disk| disk.conf) else { return 0 };
    let device = &volume.device;
    let arrived = device.pace.arrived_sectors.xchg(0, Relaxed);
    let in_flight = device.resync_in_flight.load(Relaxed) / 512;
    let settings = Settings {
        rate_kib: conf.resync_rate_kib(),
        delay_target: conf.delay_target_deciseconds(),
        fill_target: conf.fill_target_sectors(),
        max_rate_kib: conf.max_rate_kib(),
    };
    let pacer = &mut volume.pacer;
    pacer.fit_plan(conf.plan_ahead_deciseconds() as usize);
    let blocks = pacer.controller.turn(&mut pacer.plan, &settings, arrived, in_flight);
    pacer.want_kib = if pacer.plan.is_empty() { settings.rate_kib } else { blocks.saturating_mul(40) };
    if aside { 0 } else { within_buffers(blocks, max_buffers, in_flight) }
}

impl Device {
    /// A resync or verify request of ours is on its way.
    pub(crate) fn asked(&self, size_bytes: u32) {
        self.resync_in_flight.fetch_add(size_bytes, Relaxed);
        self.resync_pending.fetch_add(1, Relaxed);
    }

    /// It was answered; what follows from the answer is still to be done.
    pub(crate) fn answered(&self, size_bytes: u32) {
        self.resync_in_flight.fetch_sub(size_bytes, Relaxed);
        self.pace.arrived_sectors.fetch_add(size_bytes / 512, Relaxed);
    }

    /// One request less waits for something; true: it was the last.
    pub(crate) fn settled(&self) -> bool {
        self.resync_pending.fetch_add(-1, Full) == 1
    }

    /// Keeps a request of the peer waiting while the disk belongs to the application; false: it may run now.
    pub(crate) fn keep_waiting(&self, io: &Io<PeerIo>) -> bool {
        self.pace.throttled.load(Acquire) && self.pace.waiting.lock().push(io.clone()).is_ok()
    }

    /// Requests of the peer wait.
    pub(crate) fn has_throttled(&self) -> bool {
        self.pace.throttled.load(Acquire)
    }

    fn next_waiting(&self) -> Option<Io<PeerIo>> {
        self.pace.waiting.lock().pop()
    }

    /// The connection is gone: nobody waits any more. Returns how many did.
    pub(crate) fn forget_waiting(&self) -> usize {
        self.pace.throttled.store(false, Release);
        let mut count = 0;
        while let Some(io) = self.next_waiting() {
            drop(io);
            count += 1;
        }
        count
    }
}

impl Resource {
    /// A turn of the side that answers. A Primary peer is never kept waiting: its application may wait for the answer.
    pub(crate) fn throttle_turn(self: &Arc<Self>) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            let aside = {
                let mut control = self.control.lock();
                let Some(volume) = control.volume(device.volume) else { continue };
                let answers = matches!(volume.state.conn, Conn::SyncSource | Conn::VerifyT);
                if !answers && !device.has_throttled() {
                    continue;
                }
                if answers {
                    volume.resync.advance(left_bits(volume), now_ms());
                }
                answers && volume.state.peer != Role::Primary && steps_aside(volume)
            };
            device.pace.throttled.store(aside, Release);
            // One each turn, so that the run never stands still.
            while let Some(io) = device.next_waiting() {
                super::receiver::run_read(self, device, &io);
                if aside {
                    break;
                }
            }
        }
    }
}
