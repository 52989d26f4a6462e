// SPDX-License-Identifier: GPL-2.0
//! A resource: its volumes, its connection, its worker.
//!
//! Locks: the `turn` (one administrative command at a time, kept while it waits), then `control` (state and configuration, held
//! briefly), then the spinlocks of volumes and connection.

use super::connection::Connection;
use super::prelude::*;
use super::turn::Turn;
use super::volume::Volume;
use crate::kapi::module::ModuleRef;
use crate::kapi::thread::{CpuMask, TaskRef};
use drbd_core::genl::cpu_mask;
use drbd_core::genl::{FixedString, NetConf, ResourceOptions};
use drbd_core::state::{Conn, Effects, Request, Role, State};

/// See the module text.
#[pin_data]
pub(crate) struct Resource {
    name: FixedString<129>,
    #[pin]
    pub(crate) turn: Turn,
    /// The helper programs that run, and since when: of the worker, of a promotion, of a lost connection, and one to spare.
    #[pin]
    pub(crate) helpers: SpinLockIrq<[Option<(&'static str, Jiffies)>; 4]>,
    #[pin]
    pub(crate) control: Mutex<Control>,
    /// Something under `control` has changed.
    #[pin]
    pub(crate) changed: WaitQueue,
    #[pin]
    pub(crate) connection: Connection,
    #[pin]
    pub(crate) worker_wait: WaitQueue,
    pub(crate) worker_woken: Atomic<bool>,
    /// The worker looks at the resource seldom, because nothing is under way: the next request for the peer wakes it.
    pub(crate) worker_naps: Atomic<bool>,
    #[pin]
    threads: Mutex<Threads>,
    #[pin]
    ack_work: Work<Resource, 2>,
    #[pin]
    fence_work: Work<Resource, 4>,
    _module: ModuleRef,
}

impl_has_work! {
    impl HasWork<Self, 2> for Resource { self.ack_work }
    impl HasWork<Self, 4> for Resource { self.fence_work }
}

/// How long the end of a thread is waited for.
const THREAD_LIMIT: Jiffies = 10 * HZ;

/// Threads of a resource.
struct Threads {
    worker: Option<KThread>,
    sender: Option<KThread>,
    receiver: Option<KThread>,
    /// The ack receiver, which belongs to the receiver.
    acks: Option<TaskRef>,
}

/// What follows from a change of state, for the worker.
#[derive(Clone, Copy)]
pub(crate) struct AfterChange {
    pub(crate) volume: u16,
    pub(crate) old: State,
    pub(crate) new: State,
    pub(crate) effects: Effects,
}

/// State and configuration.
pub(crate) struct Control {
    pub(crate) options: ResourceOptions,
    pub(crate) net: Option<KBox<NetConf>>,
    pub(crate) own_address: Option<SocketAddress>,
    pub(crate) peer_address: Option<SocketAddress>,
    /// The resource is no longer in the registry.
    pub(crate) deleted: bool,
    /// State of the connection itself; never above WFReportParams.
    pub(crate) cstate: Conn,
    pub(crate) version: u32,
    pub(crate) features: u32,
    pub(crate) resolver: bool,
    /// Own state was sent, not all volumes are past WFReportParams (ST-9).
    pub(crate) state_sent: bool,
    /// A role has changed, but not yet what goes with it (generations, superblock): nobody is greeted before.
    pub(crate) role_unfinished: bool,
    /// discard-my-data of this connection attempt (HS-24).
    pub(crate) discard_my_data: bool,
    /// Either side asked for a dry run.
    pub(crate) dry_run: bool,
    /// The peer did (HS-42).
    pub(crate) dry_run_by_peer: bool,
    /// A connection-wide change that waits for the peer: its answer, when it came.
    pub(crate) pending_change: Option<Option<i32>>,
    /// What was asked for the whole connection; in force when the peer agrees.
    pub(crate) asked: Option<Request>,
    /// Ascending by number.
    pub(crate) volumes: KVec<Volume>,
    pub(crate) after: KVec<AfterChange>,
    /// Changes handed to the worker, and those it has carried out.
    pub(crate) changes_queued: u64,
    pub(crate) changes_done: u64,
    /// A local disk was given up by force.
    pub(crate) peer_role: Role,
}

impl Control {
    fn new() -> Self {
        Self {
            options: ResourceOptions::default(),
            net: None,
            own_address: None,
            peer_address: None,
            deleted: false,
            cstate: Conn::StandAlone,
            version: 0,
            features: 0,
            resolver: false,
            state_sent: false,
            role_unfinished: false,
            discard_my_data: false,
            dry_run: false,
            dry_run_by_peer: false,
            pending_change: None,
            asked: None,
            volumes: KVec::new(),
            after: KVec::new(),
            changes_queued: 0,
            changes_done: 0,
            peer_role: Role::Unknown,
        }
    }

    /// Keeps the volumes ascending after one was added at the end.
    pub(crate) fn sort_volumes(&mut self) {
        let mut at = self.volumes.len();
        while at > 1 {
            at -= 1;
            let out_of_order = match (self.volumes.get(at - 1), self.volumes.get(at)) {
                (Some(before), Some(after)) => before.number() > after.number(),
                _ => false,
            };
            if !out_of_order {
                break;
            }
            self.volumes.swap(at - 1, at);
        }
    }

    /// Place of the volume with this number.
    pub(crate) fn index(&self, number: u16) -> Option<usize> {
        self.volumes.iter().position(|volume| volume.number() == number)
    }

    /// The volume with this number.
    pub(crate) fn volume(&mut self, number: u16) -> Option<&mut Volume> {
        self.volumes.iter_mut().find(|volume| volume.number() == number)
    }

    /// Highest role of the volumes.
    pub(crate) fn role(&self) -> Role {
        let primary = self.volumes.iter().any(|volume| volume.state.role == Role::Primary);
        if primary {
            Role::Primary
        } else {
            Role::Secondary
        }
    }
}

impl Resource {
    /// A resource without volumes, with its worker and sender running.
    pub(crate) fn create(name: &[u8], options: ResourceOptions) -> Result<Arc<Self>> {
        let name = FixedString::from_bytes(name).ok_or(EINVAL)?;
        let module = ModuleRef::get()?;
        let threads = Threads { worker: None, sender: None, receiver: None, acks: None };
        let mut control = Control::new();
        control.options = options;
        let connection = Connection::new()?;
        let resource = Arc::pin_init(
            pin_init!(Self {
                name,
                turn <- Turn::new(),
                helpers <- new_spinlock_irq!([None; 4], "drbd_helpers"),
                control <- new_mutex!(control, "drbd_control"),
                changed <- new_wait_queue!("drbd_changed"),
                connection <- connection,
                worker_wait <- new_wait_queue!("drbd_worker"),
                worker_woken: Atomic::new(false),
                worker_naps: Atomic::new(false),
                threads <- new_mutex!(threads, "drbd_threads"),
                ack_work <- new_work!("drbd_ack_work"),
                fence_work <- new_work!("drbd_fence_work"),
                _module: module,
            }),
            GFP_KERNEL,
        )?;
        let (for_worker, for_sender) = (resource.clone(), resource.clone());
        let text = resource.display_name();
        let worker = KThread::spawn(fmt!("drbd_w_{}", text), move |thread| super::worker::run(&for_worker, thread))?;
        let sender = KThread::spawn(fmt!("drbd_s_{}", text), move |thread| super::sender::run(&for_sender, thread));
        match sender {
            Ok(sender) => {
                let mut threads = resource.threads.lock();
                threads.worker = Some(worker);
                threads.sender = Some(sender);
                drop(threads);
                resource.follow_cpu_mask();
            }
            Err(error) => {
                worker.stop();
                return Err(error);
            }
        }
        Ok(resource)
    }

    /// Ends the threads; they hold references, so this ends the resource. One that is kept by a helper program or a disk is not waited
    /// for longer than [`THREAD_LIMIT`] and ends when it gets there.
    pub(crate) fn stop_threads(&self) {
        let (worker, sender, receiver) = {
            let mut threads = self.threads.lock();
            (threads.worker.take(), threads.sender.take(), threads.receiver.take())
        };
        for thread in [receiver, worker, sender].into_iter().flatten() {
            if !thread.stop_within(THREAD_LIMIT) {
                pr_warn!("{}: a thread is still waiting; it ends later\n", self.display_name());
            }
        }
    }

    /// Starts the receiver thread, which establishes the connection. An old one that has ended is collected.
    pub(crate) fn start_receiver(self: &Arc<Self>) -> Result {
        self.collect_receiver();
        let resource = self.clone();
        let thread = KThread::spawn(fmt!("drbd_r_{}", self.display_name()), move |thread| {
            super::receiver::run(&resource, thread)
        })?;
        self.threads.lock().receiver = Some(thread);
        self.follow_cpu_mask();
        Ok(())
    }

    /// The thread that receives acknowledgements runs.
    pub(crate) fn set_ack_receiver(&self, thread: TaskRef) {
        let asked = self.connection.ping_wanted.load(Acquire) || self.connection.awaits_answer();
        self.threads.lock().acks = Some(thread);
        self.follow_cpu_mask();
        if asked {
            self.wake_ack_receiver();
        }
    }

    /// Lets the threads run where cpu-mask says; on every processor without a mask, or if the machine has none of those in it.
    pub(crate) fn follow_cpu_mask(&self) {
        let text = self.control.lock().options.cpu_mask;
        let Ok(mut mask) = CpuMask::empty() else { return };
        let mut cut = false;
        let _ = cpu_mask::parse(text.as_bytes(), |cpu| cut |= !mask.add(cpu));
        if cut {
            pr_warn!("{}: the cpu-mask names processors that this machine does not have\n", self.display_name());
        }
        if mask.is_empty() {
            let Ok(all) = CpuMask::all() else { return };
            mask = all;
        }
        let threads = self.threads.lock();
        let own = [&threads.worker, &threads.sender, &threads.receiver].into_iter().flatten().map(|thread| thread.task().set_cpu_mask(&mask));
        let acks = threads.acks.as_ref().map(|task| task.set_cpu_mask(&mask));
        if Iterator::chain(own, acks).any(|set| set.is_err()) {
            pr_warn!("{}: no processor of the cpu-mask can be used\n", self.display_name());
        }
    }

    /// Tells the receiver to end, and gets it out of its waits.
    pub(crate) fn interrupt_receiver(&self) {
        if let Some(link) = self.connection.link() {
            link.data.shutdown();
            link.meta.shutdown();
        }
        if let Some(thread) = &self.threads.lock().receiver {
            thread.request_stop();
        }
    }

    /// Has the receiver look at the options again, if it waits.
    pub(crate) fn signal_receiver(&self) {
        if let Some(thread) = &self.threads.lock().receiver {
            thread.signal();
        }
    }

    /// Has the ack receiver look at what it has to do beside receiving: a ping, other times.
    pub(crate) fn wake_ack_receiver(&self) {
        if let Some(task) = &self.threads.lock().acks {
            task.signal();
        }
    }

    /// Collects a receiver that has ended by itself.
    pub(crate) fn collect_finished_receiver(&self) {
        let finished = self.threads.lock().receiver.as_ref().is_some_and(|thread| thread.is_finished());
        if finished {
            self.collect_receiver();
        }
    }

    /// Waits for the end of a receiver whose connection is StandAlone; it has nothing left to do.
    pub(crate) fn collect_receiver(&self) {
        let thread = self.threads.lock().receiver.take();
        if let Some(thread) = thread {
            thread.stop_within(THREAD_LIMIT);
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }

    /// Its name for messages.
    pub(crate) fn display_name(&self) -> &str {
        core::str::from_utf8(self.name.as_bytes()).unwrap_or("?")
    }

    /// Wakes the worker; any context.
    pub(crate) fn wake_worker(&self) {
        self.worker_woken.store(true, Release);
        self.worker_wait.wake_all();
    }

    /// There is work again: the worker looks after it every second. Any context.
    pub(crate) fn end_worker_nap(&self) {
        if self.worker_naps.load(Acquire) {
            self.wake_worker();
        }
    }

    /// Waits until `condition` holds under the control lock; at most `timeout`. False: it does not.
    pub(crate) fn wait_control(&self, timeout: Jiffies, mut condition: impl FnMut(&mut Control) -> bool) -> bool {
        self.changed.wait_interruptible_timeout(timeout, || condition(&mut self.control.lock())) == Wait::Ready
    }

    /// The same for a thread of the connection, which no signal shall hurry; `hurry` does (see [`Connection::hurry`]).
    pub(crate) fn wait_for_worker(&self, timeout: Jiffies) -> bool {
        let target = self.control.lock().changes_queued;
        let hurry = || self.connection.hurry.load(Acquire);
        self.changed.wait_timeout(timeout, || hurry() || self.control.lock().changes_done >= target)
    }

    /// Waits until the worker has carried out all changes made so far; at most `timeout`.
    pub(crate) fn flush_worker(&self, timeout: Jiffies) -> bool {
        let target = self.control.lock().changes_queued;
        self.wait_control(timeout, |control| control.changes_done >= target)
    }
}
