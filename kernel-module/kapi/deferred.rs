// SPDX-License-Identifier: GPL-2.0
//! Dropping in process context what is let go of in an interrupt.
//!
//! Closing a device or freeing a bio set sleeps, but the last reference to either may be the one
//! of an I/O that has just completed. [`InProcess`] hands its contents to a work queue instead.

use super::raw::b;
use super::sync::{Acquire, Atomic, Full, Release};
use super::time::{jiffies, Jiffies};
use super::wait::sleep_interruptible;
use super::workqueue::{impl_has_work, new_work, Queue, Work, WorkItem, WorkQueue, WorkQueueKind};
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::null_mut;
use kernel::prelude::*;

/// The queue; null outside the life of [`Runtime`].
static QUEUE: Atomic<*mut b::workqueue_struct> = Atomic::new(null_mut());

/// Values on their way to be dropped.
static PENDING: Atomic<i32> = Atomic::new(0);

/// Waits until everything let go of so far has been dropped, at most `timeout` jiffies or until a signal: a device whose disk does not
/// answer is not closed. Process context.
pub(super) fn settle(timeout: Jiffies) {
    let start = jiffies();
    while PENDING.load(Acquire) > 0 && jiffies().wrapping_sub(start) < timeout && sleep_interruptible(1) {}
}

/// Keeps the queue. Made first when the module loads, dropped last.
pub(super) struct Runtime {
    queue: WorkQueue,
}

impl Runtime {
    /// Process context; fails with ENOMEM.
    pub(super) fn new() -> Result<Self> {
        let queue = WorkQueue::new(c"drbd-reaper", WorkQueueKind::Unbound)?;
        QUEUE.store(queue.as_ptr(), Release);
        Ok(Self { queue })
    }

    /// Waits until everything let go of so far has been dropped.
    pub(super) fn flush(&self) {
        self.queue.flush();
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        QUEUE.store(null_mut(), Release);
    }
}

#[pin_data]
struct Node<T: Send + 'static> {
    #[pin]
    work: Work<Node<T>>,
    value: T,
}

impl_has_work! {
    impl{T: Send + 'static} HasWork<Self> for Node<T> { self.work }
}

impl<T: Send + 'static> WorkItem for Node<T> {
    type Pointer = Pin<KBox<Self>>;

    fn run(this: Self::Pointer) {
        drop(this);
        PENDING.fetch_add(-1, Full);
    }
}

/// A value that is dropped in process context, wherever the owner lets go of it.
pub(super) struct InProcess<T: Send + 'static> {
    node: ManuallyDrop<Pin<KBox<Node<T>>>>,
}

impl<T: Send + 'static> InProcess<T> {
    /// Process context; fails with ENOMEM (and drops `value`).
    pub(super) fn new(value: T) -> Result<Self> {
        let node = KBox::pin_init(
            pin_init!(Node {
                work <- new_work!("drbd_reaper"),
                value,
            }),
            GFP_KERNEL,
        )?;
        Ok(Self {
            node: ManuallyDrop::new(node),
        })
    }
}

impl<T: Send + 'static> Deref for InProcess<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.node.value
    }
}

impl<T: Send + 'static> Drop for InProcess<T> {
    fn drop(&mut self) {
        // SAFETY: `self` is not used afterwards.
        let node = unsafe { ManuallyDrop::take(&mut self.node) };
        let queue = QUEUE.load(Acquire);
        if queue.is_null() {
            pr_err!("something outlived the module's own clean-up; leaked\n");
            core::mem::forget(node);
            return;
        }
        // SAFETY: the queue lives as long as `Runtime`, which outlives all users of this type.
        let queue = unsafe { Queue::from_raw(queue) };
        PENDING.fetch_add(1, Full);
        queue.enqueue(node);
    }
}
