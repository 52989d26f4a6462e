// SPDX-License-Identifier: GPL-2.0
//! Waiting for something: [`WaitQueue`] for a condition, [`Completion`] for an event.
//!
//! Waking works from any context, waiting only in process context. A wait ends by the condition,
//! by its time limit or by a signal. The only form without limit and signal is [`Completion::wait`], for what is certain to happen:
//! the start of a thread, and the end of one that was told to end and waits for nothing itself.

use super::raw::{b, x};
use super::time::Jiffies;
use kernel::prelude::*;
use kernel::sync::barrier::smp_mb;
use kernel::sync::LockClassKey;
use kernel::types::Opaque;

/// How an interruptible wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The condition holds.
    Ready,
    /// The time limit passed first.
    TimedOut,
    /// A signal is pending for this thread.
    Interrupted,
}

/// Makes the initialiser of a [`WaitQueue`] with a lock class of its own.
macro_rules! new_wait_queue {
    ($name:literal) => {
        $crate::kapi::wait::WaitQueue::new(kernel::c_str!($name), kernel::static_lock_class!())
    };
}
pub(crate) use new_wait_queue;

/// Makes the initialiser of a [`Completion`].
macro_rules! new_completion {
    ($name:literal) => {
        $crate::kapi::wait::Completion::new(kernel::c_str!($name), kernel::static_lock_class!())
    };
}
pub(crate) use new_completion;

/// Threads waiting for a condition that others change and then announce.
///
/// The one who changes the condition does so first and wakes afterwards. The condition is
/// evaluated in a running thread, so it may take mutexes.
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<b::wait_queue_head>,
}

// SAFETY: a wait queue head has its own lock and may be used from everywhere.
unsafe impl Send for WaitQueue {}
// SAFETY: as above.
unsafe impl Sync for WaitQueue {}

/// A wait without limit, for `schedule_timeout()`.
const FOREVER: c_long = c_long::MAX;

impl WaitQueue {
    /// For [`new_wait_queue!`](crate::kapi::wait::new_wait_queue).
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            head <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is memory of the right type, name and key live for ever.
                unsafe { b::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// Wakes every waiter. Any context.
    #[inline]
    pub(crate) fn wake_all(&self) {
        self.wake(0);
    }

    /// Wakes at least one waiter, if there is one. Any context.
    #[inline]
    pub(crate) fn wake_one(&self) {
        self.wake(1);
    }

    #[inline]
    fn wake(&self, count: c_int) {
        if self.has_sleeper() {
            // SAFETY: the head was initialised in `new`.
            unsafe {
                b::__wake_up(
                    self.head.get(),
                    b::TASK_NORMAL,
                    count,
                    core::ptr::null_mut(),
                )
            };
        }
    }

    /// Whether somebody waits. The barrier pairs with the one in [`Self::wait_in`]: either the
    /// waiter sees the new condition, or we see the waiter.
    #[inline]
    fn has_sleeper(&self) -> bool {
        smp_mb();
        let head = self.head.get();
        // SAFETY: the head is initialised; `next` is read like `list_empty()` does.
        unsafe {
            let list = &raw mut (*head).head;
            !core::ptr::eq((&raw const (*list).next).read_volatile(), list)
        }
    }

    /// Waits for `condition` at most `timeout` jiffies, signals or not; false if it still does not hold. Counts neither as load nor
    /// as a hung task: the limit bounds it.
    pub(crate) fn wait_timeout(&self, timeout: Jiffies, condition: impl FnMut() -> bool) -> bool {
        self.wait_in(b::TASK_IDLE, limit(timeout), condition) == Wait::Ready
    }

    /// Waits for `condition` or a signal.
    pub(crate) fn wait_interruptible(&self, condition: impl FnMut() -> bool) -> Wait {
        self.wait_in(b::TASK_INTERRUPTIBLE, FOREVER, condition)
    }

    /// Waits for `condition`, a signal, or the end of `timeout` jiffies.
    pub(crate) fn wait_interruptible_timeout(
        &self,
        timeout: Jiffies,
        condition: impl FnMut() -> bool,
    ) -> Wait {
        self.wait_in(b::TASK_INTERRUPTIBLE, limit(timeout), condition)
    }

    fn wait_in(&self, state: u32, timeout: c_long, mut condition: impl FnMut() -> bool) -> Wait {
        if condition() {
            return Wait::Ready;
        }
        // SAFETY: always valid in process context.
        let current = unsafe { b::get_current() };
        let mut entry = b::wait_queue_entry {
            private: current.cast(),
            func: Some(b::woken_wake_function),
            ..Default::default()
        };
        let entry = &raw mut entry;
        // SAFETY: the head is initialised; the entry stays in place until it is removed below.
        unsafe { b::add_wait_queue(self.head.get(), entry) };
        smp_mb();
        let mut left = timeout;
        let outcome = loop {
            if condition() {
                break Wait::Ready;
            }
            // SAFETY: `current` is this thread.
            if state == b::TASK_INTERRUPTIBLE && unsafe { b::signal_pending(current) } != 0 {
                break Wait::Interrupted;
            }
            if left <= 0 {
                break Wait::TimedOut;
            }
            // SAFETY: the entry is queued and was made for this thread.
            left = unsafe { b::wait_woken(entry, state, left) };
        };
        // SAFETY: the entry was added to this head above.
        unsafe { b::remove_wait_queue(self.head.get(), entry) };
        outcome
    }
}

/// A limit in jiffies as `schedule_timeout()` wants it.
fn limit(timeout: Jiffies) -> c_long {
    c_long::try_from(timeout).unwrap_or(FOREVER)
}

/// An event that happens once (or once per [`Completion::reinit`]).
#[pin_data]
pub(crate) struct Completion {
    #[pin]
    inner: Opaque<b::completion>,
}

// SAFETY: a completion has its own lock and may be used from everywhere.
unsafe impl Send for Completion {}
// SAFETY: as above.
unsafe impl Sync for Completion {}

impl Completion {
    /// For [`new_completion!`](crate::kapi::wait::new_completion).
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut b::completion| {
                // SAFETY: `slot` is memory of the right type, name and key live for ever.
                unsafe {
                    (*slot).done = 0;
                    b::__init_swait_queue_head(&raw mut (*slot).wait, name.as_char_ptr(), key.as_ptr());
                }
            }),
        })
    }

    /// Announces the event to one waiter. Any context.
    pub(crate) fn complete(&self) {
        // SAFETY: initialised in `new`.
        unsafe { b::complete(self.inner.get()) }
    }

    /// Announces the event to all waiters, present and future. Any context.
    pub(crate) fn complete_all(&self) {
        // SAFETY: initialised in `new`.
        unsafe { b::complete_all(self.inner.get()) }
    }

    /// Forgets that the event happened. Nobody may wait for it at this moment.
    pub(crate) fn reinit(&self) {
        // SAFETY: initialised in `new`; a plain store like `reinit_completion()`.
        unsafe { (&raw mut (*self.inner.get()).done).write_volatile(0) }
    }

    /// Whether the event happened and was not consumed yet.
    pub(crate) fn is_done(&self) -> bool {
        // SAFETY: initialised in `new`.
        unsafe { b::completion_done(self.inner.get()) }
    }

    /// Waits for the event, whatever happens.
    pub(crate) fn wait(&self) {
        // SAFETY: initialised in `new`.
        unsafe { b::wait_for_completion(self.inner.get()) }
    }

    /// Waits at most `timeout` jiffies; false if the event did not happen.
    pub(crate) fn wait_timeout(&self, timeout: Jiffies) -> bool {
        // SAFETY: initialised in `new`.
        unsafe { b::wait_for_completion_timeout(self.inner.get(), timeout) != 0 }
    }

    /// Waits for the event, a signal, or the end of `timeout` jiffies.
    pub(crate) fn wait_interruptible_timeout(&self, timeout: Jiffies) -> Wait {
        // SAFETY: initialised in `new`.
        match unsafe { b::wait_for_completion_interruptible_timeout(self.inner.get(), timeout) } {
            0 => Wait::TimedOut,
            left if left > 0 => Wait::Ready,
            _ => Wait::Interrupted,
        }
    }
}

/// Whether the current thread has a signal pending. Process context.
pub(crate) fn signal_pending() -> bool {
    // SAFETY: `get_current` is this thread.
    unsafe { b::signal_pending(b::get_current()) != 0 }
}

/// Lets others run if the scheduler wants it. Process context.
pub(crate) fn cond_resched() {
    // SAFETY: only process context is required.
    unsafe { x::kapi_cond_resched() }
}

/// Sleeps for `timeout` jiffies, signals or not.
pub(crate) fn sleep(timeout: Jiffies) {
    // SAFETY: only process context is required.
    unsafe { b::schedule_timeout_uninterruptible(limit(timeout)) };
}

/// Sleeps for `timeout` jiffies or until a signal comes; true if the time passed.
pub(crate) fn sleep_interruptible(timeout: Jiffies) -> bool {
    // SAFETY: only process context is required.
    unsafe { b::schedule_timeout_interruptible(limit(timeout)) };
    !signal_pending()
}
