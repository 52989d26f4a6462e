// SPDX-License-Identifier: GPL-2.0
//! One volume as a block device: application bios in, local bios out, completions back.
//!
//! Called by the block layer (submit, open, release), by the end of local bios (any context), and by the threads of
//! the connection. Lock: `plane`, an irq-safe spinlock held for one call into the core at a time and never across a
//! submission or a completion. What the core decides ([`Actions`]) is carried out after the lock is dropped.

use super::prelude::*;
use super::resource::Resource;
use drbd_core::activity_log::ActivityLog;
use drbd_core::bitmap::Bitmap;
use drbd_core::engine::request::Flags;
use drbd_core::engine::table::{Entry, Operation};
use drbd_core::engine::volume::{Actions, Admit, AdmitRead, DataPlane, Launch, Stamp, Storage, WriteRequest};

/// Requests in flight for which a new volume has room, and of one that needed it (`room.rs`).
pub(crate) const FIRST_SLOTS: usize = 256;
pub(crate) const SLOTS: usize = 2048;

/// Counters for /proc/drbd and the tools, in sectors where not said otherwise.
#[derive(Default)]
pub(crate) struct Statistics {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) read: Counter,
    pub(crate) written: Counter,
    /// Transactions.
    pub(crate) log_writes: Counter,
    /// Pages.
    pub(crate) bitmap_writes: Counter,
}

/// A counter that many may add to.
pub(crate) struct Counter(Atomic<u64>);

impl Default for Counter {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Counter {
    /// Adds.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The storage of the data plane in the kernel.
pub(crate) struct KernelStorage;

impl Storage for KernelStorage {
    type Slots = super::storage::Slots;
    type Log = super::storage::LogSlots;
    type Pages = super::storage::BitmapPages;
}

/// What the plane lock protects.
pub(crate) struct Plane {
    /// The decisions.
    pub(crate) core: DataPlane<KernelStorage>,
    /// The bio of each slot: application requests.
    pub(crate) requests: KVVec<Option<Io<AppIo>>>,
    /// The bio of each slot: work for the peer or a resync.
    pub(crate) peer_requests: KVVec<Option<Io<PeerIo>>>,
    /// Work for the peer that met an overlapping range; retried in order.
    pub(crate) deferred: IoQueue<PeerIo>,
    /// The disk, while it may be used.
    pub(crate) backing: Option<BlockDev>,
    /// Reads and empty flushes at the local disk, which have no slot.
    pub(crate) local_reads: u32,
    /// When the last of them ended, or the first came.
    pub(crate) local_reads_since: u32,
}

use super::peer_io::PeerIo;

/// A volume.
#[pin_data]
pub(crate) struct Device {
    pub(crate) minor: u32,
    pub(crate) volume: u16,
    pub(crate) resource: Arc<Resource>,
    #[pin]
    pub(crate) plane: SpinLockIrq<Plane>,
    /// Writers kept waiting (gate closed, overlap, no slot).
    #[pin]
    pub(crate) waiters: WaitQueue,
    /// Those who wait for the last local reference.
    #[pin]
    pub(crate) idle: WaitQueue,
    pub(crate) retries: Atomic<u32>,
    /// Bytes of resync requests without an answer.
    pub(crate) resync_in_flight: Atomic<u32>,
    /// Bits set when the peer was sent our generations last.
    pub(crate) told_bits: Atomic<u64>,
    /// What the pace of resync and verify depends on.
    #[pin]
    pub(crate) pace: super::throttle::Pace,
    /// resync-after of the attached disk, -1: none.
    pub(crate) resync_after: Atomic<i32>,
    /// Its resync is held up by that (aftr_isp).
    pub(crate) waits_for_other: Atomic<bool>,
    /// Size of the device while it has no disk, in sectors.
    pub(crate) exported_sectors: Atomic<u64>,
    /// Resync requests not finished ("pe" counts them too).
    pub(crate) resync_pending: Atomic<i32>,
    /// Requests of the peer kept aside.
    pub(crate) deferred: Atomic<i32>,
    /// Writes passed the log while the gate was closed.
    pub(crate) launch_pending: Atomic<bool>,
    pub(crate) blocked: Atomic<i32>,
    /// Since when there has been a blocked writer.
    pub(crate) blocked_since: Atomic<u32>,
    #[pin]
    pub(crate) log_work: Work<Device, 1>,
    /// The disk failed by an I/O error, not by command.
    pub(crate) failed_by_error: Atomic<bool>,
    /// Helpers that the worker has to call: bits below.
    pub(crate) helper_calls: Atomic<u32>,
    /// Discards and write-zeroes for the local disk.
    #[pin]
    pub(crate) erases: SpinLockIrq<super::erase::Erases>,
    #[pin]
    erase_work: Work<Device, 3>,
    /// Age of what the local disk has in hand (disk-timeout).
    pub(crate) disk_clock: super::timer::DiskClock,
    pub(crate) bios: Arc<IoSet<AppIo>>,
    #[pin]
    pub(crate) disk: Mutex<Option<Arc<Disk<Device>>>>,
    /// The role is Primary: it may be opened.
    pub(crate) primary: Atomic<bool>,
    pub(crate) openers: Atomic<i32>,
    pub(crate) statistics: Statistics,
    /// Reads that failed here and are to be tried again from a thread.
    #[pin]
    pub(crate) failed_reads: SpinLockIrq<IoQueue<AppIo>>,
    /// How many those are.
    pub(crate) reads_kept: Atomic<i32>,
    /// `now()` when the volume got connected last, for the request timer's grace (SC-11).
    pub(crate) connected_at: Atomic<u32>,
    /// CG-1 was seen: the worker acts on it.
    pub(crate) congested: Atomic<bool>,
    pub(crate) peer_ios: Arc<IoSet<PeerIo>>,
    /// Sequence numbers of packets about this volume (wire-protocol.md 9.1).
    pub(crate) sequence: Atomic<u32>,
    /// The highest number of the peer seen.
    pub(crate) peer_sequence: Atomic<u32>,
    /// `now()` when concurrent writes were reported last; 0: never.
    pub(crate) conflict_reported: Atomic<u32>,
    /// Held from the collection of a transaction to its commit, and while the log moves.
    #[pin]
    pub(crate) log: Mutex<()>,
    /// The buffer for metadata blocks.
    #[pin]
    pub(crate) meta: Mutex<MetaBuffer>,
    /// The disk is being detached by force: metadata is not waited for.
    pub(crate) given_up: Arc<GivenUp>,
    pub(crate) pages: Arc<PagePool>,
    /// A local read, write or metadata access failed since the control plane last looked: bits of `error`.
    pub(crate) errors: Atomic<u32>,
}

impl_has_work! {
    impl HasWork<Self, 1> for Device { self.log_work }
    impl HasWork<Self, 3> for Device { self.erase_work }
}

/// An application request on its way to the local disk and to the peer.
pub(crate) struct AppIo {
    pub(crate) device: Arc<Device>,
    /// Slot of a write or remote read; `u32::MAX` for local reads and flushes.
    pub(crate) slot: Atomic<u32>,
    /// How the clock of the disk counts it.
    clock: Atomic<u32>,
    sector: u64,
    size_bytes: u32,
    op: Op,
    flags: OpFlags,
}

impl AppIo {
    fn slot(&self) -> u32 {
        self.slot.load(Relaxed)
    }

    /// What to erase, for a discard or write-zeroes.
    pub(crate) fn erase_order(&self) -> super::erase::Order {
        let discard = self.op == Op::Discard;
        super::erase::Order { sector: self.sector, size_bytes: self.size_bytes, may_unmap: discard || !self.flags.no_unmap, discard }
    }
}

impl IoClient for AppIo {
    fn completed(io: Io<Self>, status: BlkStatus) {
        let device = io.device.clone();
        device.disk_clock.end(io.clock.xchg(super::timer::UNCOUNTED, Relaxed));
        if io.slot() == u32::MAX {
            device.local_read_completed(&io, status);
        } else {
            device.local_write_completed(&io, status);
        }
    }
}

fn operation(op: Op) -> Operation {
    match op {
        Op::Discard => Operation::Discard,
        Op::WriteZeroes => Operation::WriteZeroes,
        _ => Operation::Write,
    }
}

fn core_flags(op: Op, flags: OpFlags) -> Flags {
    Flags::NONE
        .with_if(Flags::SYNC, flags.sync)
        .with_if(Flags::FUA, flags.fua)
        .with_if(Flags::PREFLUSH, flags.preflush)
        .with_if(Flags::READ_AHEAD, flags.readahead)
        .with_if(Flags::MAY_UNMAP, op == Op::WriteZeroes && !flags.no_unmap)
}

impl BlockOps for Device {
    fn submit(device: ArcBorrow<'_, Self>, bio: ParentBio) {
        let device: Arc<Device> = device.into();
        match bio.op() {
            Op::Read | Op::Flush => device.submit_read(bio),
            Op::Write | Op::Discard | Op::WriteZeroes => device.submit_write(bio),
        }
    }

    fn open(device: ArcBorrow<'_, Self>, mode: OpenMode) -> Result {
        super::role::open(&device, mode.write)
    }

    fn release(device: ArcBorrow<'_, Self>) {
        super::role::release(&device);
    }
}

impl Device {
    /// Place among the packets of the connection this volume belongs to.
    fn stamp(&self) -> Stamp {
        self.resource.connection.stamp()
    }

    fn wrap(self: &Arc<Self>, bio: ParentBio) -> Io<AppIo> {
        let device = self.clone();
        self.bios.for_parent(bio, |bio| AppIo {
            device,
            slot: Atomic::new(u32::MAX),
            clock: Atomic::new(super::timer::UNCOUNTED),
            sector: bio.sector(),
            size_bytes: bio.size_bytes(),
            op: bio.op(),
            flags: bio.flags(),
        })
    }

    fn submit_read(self: &Arc<Self>, bio: ParentBio) {
        let io = self.wrap(bio);
        self.route_read(io);
    }

    /// Sends a read or empty flush where the gate says, waiting while it must.
    pub(crate) fn route_read(self: &Arc<Self>, io: Io<AppIo>) {
        let came = now();
        let mut io = io;
        loop {
            let seen = self.retries.load(Acquire);
            match self.try_read(io) {
                None => return,
                Some(back) => io = back,
            }
            self.wait_for_retry(seen, came);
        }
    }

    /// Sends a read or empty flush where the gate says; given back when it has to wait.
    fn try_read(self: &Arc<Self>, io: Io<AppIo>) -> Option<Io<AppIo>> {
        let mut plane = self.plane.lock();
        if io.op == Op::Flush && plane.core.gate().open && !plane.core.gate().local {
            drop(plane);
            self.settle_at_peer();
            io.finish_parent(BlkStatus::OK);
            return None;
        }
        let admitted = plane.core.admit_read(io.sector, io.size_bytes, core_flags(io.op, io.flags), now(), || self.stamp());
        match admitted {
            AdmitRead::Local => {
                if plane.local_reads == 0 {
                    plane.local_reads_since = now();
                }
                plane.local_reads = plane.local_reads.saturating_add(1);
                let backing = plane.backing.clone();
                drop(plane);
                io.slot.store(u32::MAX, Relaxed);
                self.submit_local(&io, backing);
            }
            AdmitRead::Remote(slot) => {
                io.slot.store(slot, Relaxed);
                if let Some(cell) = plane.requests.get_mut(slot as usize) {
                    *cell = Some(io);
                }
                drop(plane);
                self.resource.connection.wake_sender();
            }
            AdmitRead::Fail => {
                drop(plane);
                io.finish_parent(BlkStatus::IOERR);
            }
            AdmitRead::Wait => return Some(io),
        }
        None
    }

    /// Starts a request at the local disk.
    pub(crate) fn submit_local(self: &Arc<Self>, io: &Io<AppIo>, backing: Option<BlockDev>) {
        if matches!(io.op, Op::Discard | Op::WriteZeroes) {
            self.erase(super::erase::Erase::App(io.clone()));
            return;
        }
        io.clock.store(self.disk_clock.begin(), Relaxed);
        let submitted = backing.map(|dev| io.submit(&dev, io.op, io.flags, io.sector));
        if !matches!(submitted, Some(Ok(()))) {
            AppIo::completed(io.clone(), BlkStatus::IOERR);
        }
    }

    /// Sleeps until requests kept aside may be admitted again. Bounded naps, so a missed wake-up costs a moment. `since`: when the request
    /// came.
    fn wait_for_retry(&self, seen: u32, since: u32) {
        if self.blocked.fetch_add(1, Relaxed) == 0 {
            self.blocked_since.store(since, Relaxed);
        }
        self.waiters.wait_timeout(HZ, || self.retries.load(Acquire) != seen);
        self.blocked.fetch_sub(1, Relaxed);
    }

    fn submit_write(self: &Arc<Self>, bio: ParentBio) {
        let request = WriteRequest {
            sector: bio.sector(),
            size_bytes: bio.size_bytes(),
            operation: operation(bio.op()),
            flags: core_flags(bio.op(), bio.flags()),
        };
        let io = self.wrap(bio);
        let came = now();
        loop {
            let seen = self.retries.load(Acquire);
            let mut plane = self.plane.lock();
            match plane.core.admit_write(&request, now(), || self.stamp()) {
                Admit::Go(launch) => {
                    plane.keep(launch.slot, &io);
                    let backing = plane.backing.clone();
                    drop(plane);
                    self.start(&io, launch, backing);
                    return;
                }
                Admit::LogWait(slot) => {
                    plane.keep(slot, &io);
                    drop(plane);
                    self.kick_log_writer();
                    return;
                }
                Admit::Fail => {
                    drop(plane);
                    io.finish_parent(BlkStatus::IOERR);
                    return;
                }
                Admit::Wait => {
                    let short = plane.wants_room();
                    drop(plane);
                    if short {
                        self.resource.wake_worker();
                    }
                    self.wait_for_retry(seen, came);
                }
            }
        }
    }

    /// Carries out a launch: local bio first, then the sender's wake-up.
    pub(crate) fn start(self: &Arc<Self>, io: &Io<AppIo>, launch: Launch, backing: Option<BlockDev>) {
        if let Some(ok) = launch.complete {
            self.plane.lock().forget(launch.slot);
            io.finish_parent(if ok { BlkStatus::OK } else { BlkStatus::IOERR });
            return;
        }
        if launch.local {
            self.submit_local(io, backing);
        }
        if launch.wake_sender {
            self.resource.connection.wake_sender();
        }
        if launch.congested && !self.congested.xchg(true, Full) {
            self.resource.wake_worker();
        }
    }

    fn local_read_completed(self: &Arc<Self>, io: &Io<AppIo>, status: BlkStatus) {
        let failed = !status.is_ok() && io.op == Op::Read;
        let range = (failed && !io.flags.readahead).then_some((io.sector, io.size_bytes));
        let actions = {
            let mut plane = self.plane.lock();
            plane.local_reads = plane.local_reads.saturating_sub(1);
            plane.local_reads_since = now();
            plane.core.local_read_done(range)
        };
        self.follow(&actions);
        if failed && !io.flags.readahead {
            // Another try through the whole path may reach the peer (WR-1), once the worker has seen the error and closed this way.
            if !self.retry_read_later(io.clone()) {
                io.finish_parent(status);
            }
            self.report_error(ERROR_READ);
            return;
        }
        self.statistics.read.add(u64::from(io.size_bytes / 512));
        io.finish_parent(status);
    }

    fn local_write_completed(self: &Arc<Self>, io: &Io<AppIo>, status: BlkStatus) {
        let slot = io.slot();
        if !status.is_ok() && io.op == Op::Write {
            // It goes on when the worker has looked at the error.
            let actions = self.plane.lock().core.local_failed(slot);
            self.report_error(ERROR_WRITE);
            return self.follow(&actions);
        }
        let (actions, held) = {
            let mut plane = self.plane.lock();
            let actions = plane.core.local_done(slot, status.is_ok());
            (actions, actions.complete.and_then(|_| plane.take(slot)))
        };
        self.statistics.written.add(u64::from(io.size_bytes / 512));
        self.finish(held, &actions);
    }

    /// Does what an event of one request asked for. `held` is the request's bio when it completes.
    pub(crate) fn finish(self: &Arc<Self>, held: Option<Io<AppIo>>, actions: &Actions) {
        if let Some(epoch) = actions.close_epoch {
            self.resource.connection.close_epoch(epoch);
        }
        if let (Some(io), Some(ok)) = (held, actions.complete) {
            io.finish_parent(if ok { BlkStatus::OK } else { BlkStatus::IOERR });
        }
        self.follow(actions);
    }

    /// A read that the peer did not serve: another try through admission (WR-1, RD-4), except read-ahead.
    pub(crate) fn fail_or_retry_read(self: &Arc<Self>, io: Io<AppIo>) {
        let again = !io.flags.readahead && self.retry_read_later(io.clone());
        if again {
            self.kick_log_writer();
        } else {
            io.finish_parent(BlkStatus::IOERR);
        }
    }

    /// Keeps a read for the log writer's next turn; false: it is kept already. Any context.
    fn retry_read_later(&self, io: Io<AppIo>) -> bool {
        let kept = self.failed_reads.lock().push(io).is_ok();
        self.reads_kept.fetch_add(i32::from(kept), Full);
        kept
    }

    /// Admits kept reads again, as far as they may go now. Process context.
    pub(crate) fn retry_failed_reads(self: &Arc<Self>) {
        let count = self.reads_kept.load(Acquire);
        for _ in 0..count.max(0) {
            let Some(io) = self.failed_reads.lock().pop() else { return };
            self.reads_kept.fetch_add(-1, Full);
            if let Some(io) = self.try_read(io) {
                if !self.retry_read_later(io.clone()) {
                    io.finish_parent(BlkStatus::IOERR);
                }
            }
        }
    }

    /// Wakes whoever an event allows to go on.
    pub(crate) fn follow(self: &Arc<Self>, actions: &Actions) {
        if actions.retry {
            self.retry_waiting();
        }
        if actions.idle {
            self.idle.wake_all();
        }
    }

    /// Lets requests kept aside try again.
    pub(crate) fn retry_waiting(self: &Arc<Self>) {
        self.retries.fetch_add(1, Release);
        if self.blocked.load(Acquire) > 0 {
            self.waiters.wake_all();
        }
        if self.deferred.load(Acquire) > 0 || self.reads_kept.load(Acquire) > 0 || self.launch_pending.load(Acquire) {
            self.kick_log_writer();
        }
    }

    /// Creates the device and its disk node.
    pub(crate) fn create(resource: &Arc<Resource>, minor: u32, volume: u16, queue: &super::registry::Registry) -> Result<Arc<Self>> {
        let core = DataPlane::new(
            super::storage::Slots::new(FIRST_SLOTS)?,
            ActivityLog::new(super::storage::LogSlots::new(67)?),
            Bitmap::new(super::storage::BitmapPages::new(0)?, 0),
        );
        let plane = Plane {
            core,
            requests: super::queue::places(FIRST_SLOTS)?,
            peer_requests: super::queue::places(FIRST_SLOTS)?,
            deferred: IoQueue::new(),
            backing: None,
            local_reads: 0,
            local_reads_since: 0,
        };
        let given_up = Arc::new(GivenUp::default(), GFP_KERNEL)?;
        let bios = IoSet::new(IoKind::Parents, 16)?;
        let peer_ios = IoSet::new(IoKind::Pages, 4)?;
        let resource = resource.clone();
        let device = Arc::pin_init(
            pin_init!(Self {
                minor,
                volume,
                resource,
                plane <- new_spinlock_irq!(plane, "drbd_plane"),
                waiters <- new_wait_queue!("drbd_waiters"),
                idle <- new_wait_queue!("drbd_idle"),
                retries: Atomic::new(0),
                resync_in_flight: Atomic::new(0),
                told_bits: Atomic::new(0),
                pace <- super::throttle::Pace::new(),
                resync_after: Atomic::new(super::dependencies::NONE),
                waits_for_other: Atomic::new(false),
                exported_sectors: Atomic::new(0),
                resync_pending: Atomic::new(0),
                deferred: Atomic::new(0),
                launch_pending: Atomic::new(false),
                blocked: Atomic::new(0),
                blocked_since: Atomic::new(0),
                log_work <- new_work!("drbd_log_work"),
                failed_by_error: Atomic::new(false),
                helper_calls: Atomic::new(0),
                erases <- new_spinlock_irq!(super::erase::Erases::new(), "drbd_erases"),
                erase_work <- new_work!("drbd_erase_work"),
                disk_clock: super::timer::DiskClock::new(),
                bios,
                disk <- new_mutex!(None, "drbd_disk"),
                primary: Atomic::new(false),
                openers: Atomic::new(0),
                statistics: Statistics::default(),
                failed_reads <- new_spinlock_irq!(IoQueue::new(), "drbd_failed_reads"),
                reads_kept: Atomic::new(0),
                connected_at: Atomic::new(0),
                congested: Atomic::new(false),
                peer_ios,
                sequence: Atomic::new(0),
                peer_sequence: Atomic::new(0),
                conflict_reported: Atomic::new(0),
                errors: Atomic::new(0),
                log <- new_mutex!((), "drbd_log"),
                meta <- new_mutex!(MetaBuffer::new(given_up.clone())?, "drbd_meta"),
                given_up,
                pages: queue.pages.clone(),
            }? Error),
            GFP_KERNEL,
        )?;
        let disk = Disk::new(minor, device.clone(), &Limits::stacking())?;
        *device.disk.lock() = Some(disk);
        Ok(device)
    }

    /// The disk node.
    pub(crate) fn node(&self) -> Option<Arc<Disk<Device>>> {
        self.disk.lock().clone()
    }

    /// Wakes the log writer of this volume.
    pub(crate) fn kick_log_writer(self: &Arc<Self>) {
        super::log_writer::kick(self);
    }

    /// Notes an error of the local disk and wakes the worker, which applies on-io-error (behaviour.md 6.7).
    pub(crate) fn report_error(&self, kind: u32) {
        self.errors.fetch_add(kind, Relaxed);
        self.resource.wake_worker();
    }

    /// Has the worker call helpers; bits below. Any context.
    pub(crate) fn note_helper_calls(&self, bits: u32) {
        let mut seen = self.helper_calls.load(Relaxed);
        while let Err(now) = self.helper_calls.cmpxchg(seen, seen | bits, Full) {
            seen = now;
        }
        self.resource.wake_worker();
    }

    /// Those calls are over.
    pub(crate) fn forget_helper_calls(&self, bits: u32) {
        let mut seen = self.helper_calls.load(Relaxed);
        while let Err(now) = self.helper_calls.cmpxchg(seen, seen & !bits, Full) {
            seen = now;
        }
    }

    /// The next sequence number for a packet about this volume.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.sequence.fetch_add(1, Relaxed).wrapping_add(1)
    }
}

/// A split brain was found, whatever becomes of it.
pub(crate) const SPLIT_BRAIN_SEEN: u32 = 1;
/// It was not resolved.
pub(crate) const SPLIT_BRAIN_UNSOLVED: u32 = 2;
/// This Primary would have become sync target (rr-conflict).
pub(crate) const PRIMARY_LOST: u32 = 4;
/// An after-sb policy wanted this Primary to lose, and it could not be demoted.
pub(crate) const PRIMARY_LOST_AFTER_SPLIT_BRAIN: u32 = 8;
/// A resync as source has ended.
pub(crate) const UNFENCE: u32 = 16;

/// A local read failed: one in the low ten bits of the error count.
pub(crate) const ERROR_READ: u32 = 1;
/// A local write failed: one in the next ten bits.
pub(crate) const ERROR_WRITE: u32 = 1 << 10;
/// A metadata access failed: one in the last bits.
pub(crate) const ERROR_METADATA: u32 = 1 << 20;

impl Plane {
    fn keep(&mut self, slot: u32, io: &Io<AppIo>) {
        io.slot.store(slot, Relaxed);
        if let Some(cell) = self.requests.get_mut(slot as usize) {
            *cell = Some(io.clone());
        }
    }

    /// The request of a slot, which stays.
    pub(crate) fn request(&self, slot: u32) -> Option<Io<AppIo>> {
        self.requests.get(slot as usize).and_then(|cell| cell.clone())
    }

    /// The request of a slot, which leaves.
    pub(crate) fn take(&mut self, slot: u32) -> Option<Io<AppIo>> {
        self.requests.get_mut(slot as usize).and_then(|cell| cell.take())
    }

    /// Keeps work for the peer with its slot.
    pub(crate) fn keep_peer(&mut self, slot: u32, io: &Io<PeerIo>) {
        io.slot.store(slot, Relaxed);
        self.core.begun(slot, now());
        if let Some(cell) = self.peer_requests.get_mut(slot as usize) {
            *cell = Some(io.clone());
        }
    }

    /// Work for the peer of a slot, which stays.
    pub(crate) fn peer_request(&self, slot: u32) -> Option<Io<PeerIo>> {
        self.peer_requests.get(slot as usize).and_then(|cell| cell.clone())
    }

    /// Work for the peer of a slot, which leaves.
    pub(crate) fn take_peer(&mut self, slot: u32) -> Option<Io<PeerIo>> {
        self.peer_requests.get_mut(slot as usize).and_then(|cell| cell.take())
    }

    fn forget(&mut self, slot: u32) {
        drop(self.take(slot));
    }

    /// The range of a slot.
    pub(crate) fn entry(&self, slot: u32) -> Entry {
        self.core.entry(slot)
    }
}

/// The clock of the data plane: jiffies, cut to 32 bits.
pub(crate) fn now() -> u32 {
    jiffies() as u32
}
