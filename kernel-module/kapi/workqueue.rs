// SPDX-License-Identifier: GPL-2.0
//! Work queues of our own. Items are the kernel crate's `Work` and `DelayedWork`.
//!
//! All of them have a rescuer thread (WQ_MEM_RECLAIM): writing back memory may depend on them.

use super::raw::b;
use core::ops::Deref;
use core::ptr::NonNull;
use kernel::prelude::*;

pub(crate) use kernel::workqueue::{
    impl_has_delayed_work, impl_has_work, new_delayed_work, new_work, DelayedWork, Queue, Work,
    WorkItem,
};

/// How the items of a [`WorkQueue`] run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkQueueKind {
    /// One after the other, in the order they were queued.
    Ordered,
    /// In parallel, on any processor.
    Unbound,
    /// In parallel, with raised priority.
    HighPriority,
}

/// A work queue; `enqueue` and `enqueue_delayed` come with [`Queue`] and work in any context.
pub(crate) struct WorkQueue {
    queue: NonNull<b::workqueue_struct>,
}

// SAFETY: work queues are made for use from everywhere.
unsafe impl Send for WorkQueue {}
// SAFETY: as above.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// Makes a queue; its name shows up in the names of its rescuer thread. Process context;
    /// fails with ENOMEM.
    pub(crate) fn new(name: &'static CStr, kind: WorkQueueKind) -> Result<Self> {
        let (flags, max_active) = match kind {
            WorkQueueKind::Ordered => (b::wq_flags_WQ_UNBOUND | b::wq_flags___WQ_ORDERED, 1),
            WorkQueueKind::Unbound => (b::wq_flags_WQ_UNBOUND, 0),
            WorkQueueKind::HighPriority => (b::wq_flags_WQ_UNBOUND | b::wq_flags_WQ_HIGHPRI, 0),
        };
        // SAFETY: the format has one string argument; the name lives for ever.
        let queue = unsafe {
            b::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                flags | b::wq_flags_WQ_MEM_RECLAIM,
                max_active,
                name.as_char_ptr(),
            )
        };
        Ok(WorkQueue {
            queue: NonNull::new(queue).ok_or(ENOMEM)?,
        })
    }

    pub(super) fn as_ptr(&self) -> *mut b::workqueue_struct {
        self.queue.as_ptr()
    }

    /// Waits until everything queued so far has run. Process context, not from an item.
    pub(crate) fn flush(&self) {
        // SAFETY: the queue lives as long as `self`.
        unsafe { b::__flush_workqueue(self.queue.as_ptr()) }
    }
}

impl Deref for WorkQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: the queue lives as long as `self`.
        unsafe { Queue::from_raw(self.queue.as_ptr()) }
    }
}

impl Drop for WorkQueue {
    /// Lets all queued items run, then ends the queue. Process context. Delayed items whose time
    /// has not come must have been cancelled.
    fn drop(&mut self) {
        // SAFETY: made in `new`, given back once.
        unsafe { b::destroy_workqueue(self.queue.as_ptr()) }
    }
}
