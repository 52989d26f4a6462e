// SPDX-License-Identifier: GPL-2.0
//! Kernel threads that can always be told to end.
//!
//! A thread is asked to end by a flag and a signal; the signal gets it out of socket calls and
//! interruptible waits. The body looks at [`ThisThread::should_stop`] before it blocks, and after
//! [`ThisThread::flush_signals`]. `kthread_stop()` is only used once the body has returned, so
//! the waits of `kapi` never see the kernel's own stop flag.
//!
//! Every body runs in a no-I/O allocation scope: an allocation in it never waits for the block
//! layer, even with GFP_KERNEL, because the device may be what memory is to be written to.

use super::raw::{b, x};
use super::sync::{Acquire, Arc, Atomic, Full, Release};
use super::time::Jiffies;
use super::wait::{new_completion, Completion};
use core::fmt::Write;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::from_err_ptr;
use kernel::fmt;
use kernel::prelude::*;

/// The signal that interrupts a thread.
const WAKE_SIGNAL: c_int = b::SIGHUP as c_int;

/// The body runs.
const RUNNING: u32 = 0;
/// The body has returned.
const ENDED: u32 = 1;
/// The owner has let go of the running thread.
const DETACHED: u32 = 2;

/// What a thread and its owner share.
#[pin_data]
struct Shared {
    stop: Atomic<bool>,
    /// [`RUNNING`], [`ENDED`], or [`DETACHED`]: nobody waits for the thread, it drops its own module reference when it ends.
    fate: Atomic<u32>,
    /// The thread takes signals from here on; before, they would be lost.
    #[pin]
    started: Completion,
    #[pin]
    ended: Completion,
}

/// A running thread, seen from outside. Dropping it stops the thread (see [`KThread::stop`]).
pub(crate) struct KThread {
    task: NonNull<b::task_struct>,
    shared: Arc<Shared>,
}

// SAFETY: the task is counted, and the functions used on it may be called from any thread.
unsafe impl Send for KThread {}
// SAFETY: as above.
unsafe impl Sync for KThread {}

/// A thread seen from inside: handed to its body.
pub(crate) struct ThisThread {
    shared: Arc<Shared>,
    _not_send: PhantomData<*mut ()>,
}

/// What the new thread starts with.
struct Start<F> {
    body: F,
    shared: Arc<Shared>,
}

/// Writes into a fixed array, cutting what does not fit.
struct NameWriter {
    bytes: [u8; 32],
    used: usize,
}

impl Write for NameWriter {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            // The last byte stays 0.
            if self.used < self.bytes.len() - 1 {
                self.bytes[self.used] = byte;
                self.used += 1;
            }
        }
        Ok(())
    }
}

impl KThread {
    /// Starts a thread. Its name is cut to 15 bytes by the kernel. Process context; fails with
    /// ENOMEM, or EINTR if the caller is being killed.
    pub(crate) fn spawn<F>(name: fmt::Arguments<'_>, body: F) -> Result<KThread>
    where
        F: FnOnce(&ThisThread) + Send + 'static,
    {
        let mut text = NameWriter {
            bytes: [0; 32],
            used: 0,
        };
        text.write_fmt(name).map_err(|_| EINVAL)?;
        let shared = Arc::pin_init(
            pin_init!(Shared {
                stop: Atomic::new(false),
                fate: Atomic::new(RUNNING),
                started <- new_completion!("drbd_thread_started"),
                ended <- new_completion!("drbd_thread_ended"),
            }),
            GFP_KERNEL,
        )?;
        let start = KBox::new(
            Start {
                body,
                shared: shared.clone(),
            },
            GFP_KERNEL,
        )?;
        let start = KBox::into_raw(start);
        // SAFETY: the trampoline takes over `start`; the format string has one string argument,
        // which is terminated because the last byte of the array is never written.
        let task = from_err_ptr(unsafe {
            b::kthread_create_on_node(
                Some(trampoline::<F>),
                start.cast(),
                b::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                text.bytes.as_ptr(),
            )
        });
        let task = match task.map(NonNull::new) {
            Ok(Some(task)) => task,
            other => {
                // SAFETY: no thread was made, so `start` is still ours.
                drop(unsafe { KBox::from_raw(start) });
                return Err(other.err().unwrap_or(ENOMEM));
            }
        };
        // SAFETY: the new task exists and does not run before it is woken; with a reference of
        // our own it may end by itself and still be waited for.
        unsafe {
            b::get_task_struct(task.as_ptr());
            b::wake_up_process(task.as_ptr());
        }
        shared.started.wait();
        Ok(KThread { task, shared })
    }

    /// Asks the thread to end and interrupts what it waits for. Does not wait; any context but
    /// hard interrupts.
    pub(crate) fn request_stop(&self) {
        self.shared.stop.store(true, Release);
        self.signal();
    }

    /// Interrupts the interruptible wait or socket call the thread is in, or enters next.
    pub(crate) fn signal(&self) {
        // SAFETY: the task is counted.
        unsafe { b::send_sig(WAKE_SIGNAL, self.task.as_ptr(), 1) };
    }

    /// A reference to the thread for others.
    pub(crate) fn task(&self) -> TaskRef {
        // SAFETY: the task is counted, so it exists.
        unsafe { b::get_task_struct(self.task.as_ptr()) };
        TaskRef { task: self.task }
    }

    /// Whether the body has returned.
    pub(crate) fn is_finished(&self) -> bool {
        self.shared.ended.is_done()
    }

    /// Whether the caller is this thread.
    pub(crate) fn is_current(&self) -> bool {
        // SAFETY: always valid in process context.
        unsafe { b::get_current() == self.task.as_ptr() }
    }

    /// Asks the thread to end and waits until it has. Process context. The thread itself does
    /// not wait: it is let go and ends on its own.
    pub(crate) fn stop(self) {
        drop(self);
    }

    /// Like [`Self::stop`], but waits at most `timeout` jiffies and only until a signal comes. False: the thread was let go of and
    /// ends on its own, which keeps the module loaded.
    pub(crate) fn stop_within(self, timeout: Jiffies) -> bool {
        self.request_stop();
        let _ = self.shared.ended.wait_interruptible_timeout(timeout);
        self.is_finished() || !self.let_go()
    }

    /// Lets a running thread end on its own; false if it has ended already.
    fn let_go(&self) -> bool {
        // SAFETY: this code runs in the module, so the module is there.
        unsafe { b::__module_get(crate::THIS_MODULE.as_ptr()) };
        let running = self.shared.fate.cmpxchg(RUNNING, DETACHED, Full).is_ok();
        if !running {
            // SAFETY: taken above.
            unsafe { b::module_put(crate::THIS_MODULE.as_ptr()) };
        }
        running
    }
}

impl Drop for KThread {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        let detached = self.shared.fate.load(Acquire) == DETACHED;
        // The body may drop its own handle. The module stays until the thread has left it.
        if !detached && !(self.is_current() && self.let_go()) {
            self.signal();
            self.shared.ended.wait();
            // SAFETY: the task is counted; the body has returned, so this only waits until the
            // thread has left the module's code.
            unsafe { b::kthread_stop(self.task.as_ptr()) };
        }
        // SAFETY: the reference was taken in `spawn`.
        unsafe { b::put_task_struct(self.task.as_ptr()) };
    }
}

/// First function of every thread.
///
/// # Safety
///
/// `data` comes from `KBox::<Start<F>>::into_raw` and is handed over.
unsafe extern "C" fn trampoline<F: FnOnce(&ThisThread)>(data: *mut c_void) -> c_int {
    // SAFETY: guaranteed by the caller.
    let start = unsafe { KBox::from_raw(data.cast::<Start<F>>()) };
    let Start { body, shared } = KBox::into_inner(start);
    // SAFETY: changes the handling of a signal of this thread.
    unsafe { x::kapi_allow_signal(WAKE_SIGNAL) };
    shared.started.complete_all();
    let this = ThisThread {
        shared,
        _not_send: PhantomData,
    };
    {
        let _no_io = NoIoScope::enter();
        body(&this);
    }
    let detached = this.shared.fate.cmpxchg(RUNNING, ENDED, Full).is_err();
    this.shared.ended.complete_all();
    drop(this);
    if detached {
        // SAFETY: the reference was taken when the handle was dropped; does not return.
        unsafe { b::__module_put_and_kthread_exit(crate::THIS_MODULE.as_ptr(), 0) };
    }
    0
}

impl ThisThread {
    /// Whether the thread was asked to end.
    pub(crate) fn should_stop(&self) -> bool {
        self.shared.stop.load(Acquire)
    }

    /// Forgets pending signals. Look at [`Self::should_stop`] afterwards, before blocking again.
    pub(crate) fn flush_signals(&self) {
        // SAFETY: `get_current` is this thread.
        unsafe { b::flush_signals(b::get_current()) }
    }

    /// Runs before all ordinary threads from now on (lowest real-time priority): for the thread
    /// that keeps the connection alive.
    pub(crate) fn set_fifo_low(&self) {
        // SAFETY: `get_current` is this thread.
        unsafe { b::sched_set_fifo_low(b::get_current()) }
    }

    /// Sets the nice value, -20 to 19.
    pub(crate) fn set_nice(&self, nice: i32) {
        // SAFETY: `get_current` is this thread.
        unsafe { b::set_user_nice(b::get_current(), nice.clamp(-20, 19) as c_long) }
    }

}

/// A counted reference to a thread, which may have ended.
pub(crate) struct TaskRef {
    task: NonNull<b::task_struct>,
}

// SAFETY: the task is counted, and the functions used on it may be called from any thread.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// Like [`KThread::signal`].
    pub(crate) fn signal(&self) {
        // SAFETY: the task is counted; a thread that has ended gets none.
        unsafe { b::send_sig(WAKE_SIGNAL, self.task.as_ptr(), 1) };
    }

    /// Restricts the thread to the processors of `mask`. EINVAL if none of them is usable. Process context.
    pub(crate) fn set_cpu_mask(&self, mask: &CpuMask) -> Result {
        // SAFETY: the task is counted; the mask is a full `cpumask`.
        kernel::error::to_result(unsafe { b::set_cpus_allowed_ptr(self.task.as_ptr(), &*mask.bits) })
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: the reference was taken in `KThread::task`.
        unsafe { b::put_task_struct(self.task.as_ptr()) };
    }
}

/// Allocations of this thread do not wait for I/O while the guard lives. Nests.
pub(crate) struct NoIoScope {
    saved: c_uint,
    _not_send: PhantomData<*mut ()>,
}

impl NoIoScope {
    /// Begins the scope. Process context.
    pub(crate) fn enter() -> Self {
        NoIoScope {
            // SAFETY: changes a flag of this thread; undone by `drop` on the same thread, since
            // the guard cannot be sent to another.
            saved: unsafe { x::kapi_noio_save() },
            _not_send: PhantomData,
        }
    }
}

impl Drop for NoIoScope {
    fn drop(&mut self) {
        // SAFETY: the value comes from `kapi_noio_save` on this thread.
        unsafe { x::kapi_noio_restore(self.saved) }
    }
}

/// A set of processors.
pub(crate) struct CpuMask {
    bits: KBox<b::cpumask>,
}

impl CpuMask {
    /// The empty set. Fails with ENOMEM.
    pub(crate) fn empty() -> Result<Self> {
        Ok(CpuMask {
            bits: KBox::init(pin_init::init_zeroed::<b::cpumask>(), GFP_KERNEL)?,
        })
    }

    /// Every processor. Fails with ENOMEM.
    pub(crate) fn all() -> Result<Self> {
        let mut all = Self::empty()?;
        (0..possible_cpus()).for_each(|cpu| {
            all.add(cpu);
        });
        Ok(all)
    }

    /// Adds a processor by number; false if the kernel has no such number.
    pub(crate) fn add(&mut self, cpu: usize) -> bool {
        // SAFETY: set once at boot.
        let limit = unsafe { b::nr_cpu_ids } as usize;
        let Some(word) = self.bits.bits.get_mut(cpu / c_ulong::BITS as usize) else {
            return false;
        };
        if cpu < limit {
            *word |= 1 << (cpu % c_ulong::BITS as usize);
        }
        cpu < limit
    }

    /// Whether no processor is in the set.
    pub(crate) fn is_empty(&self) -> bool {
        self.bits.bits.iter().all(|word| *word == 0)
    }
}

/// Number of processors that can ever be there.
pub(crate) fn possible_cpus() -> usize {
    // SAFETY: set once at boot.
    unsafe { b::nr_cpu_ids as usize }
}

/// Process id of the caller, in the initial namespace.
pub(crate) fn current_pid() -> i32 {
    // SAFETY: `get_current` is this thread; its pid does not change.
    unsafe { (*b::get_current()).pid }
}

/// Name of the calling program, at most 15 bytes, without the terminating 0.
pub(crate) fn current_name(out: &mut [u8; 16]) -> &[u8] {
    // SAFETY: `comm` is a 16 byte array of this thread; a rename at the same time gives a mix of
    // both names, which harms nobody.
    let name = unsafe { (&raw const (*b::get_current()).comm).read_volatile() };
    for (to, from) in out.iter_mut().zip(name) {
        *to = from;
    }
    let length = out.iter().position(|byte| *byte == 0).unwrap_or(15);
    out.get(..length).unwrap_or(&[])
}
