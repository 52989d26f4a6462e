// SPDX-License-Identifier: GPL-2.0
//! Time, timers and random numbers.

use super::raw::{b, x};
use super::sync::{Arc, Atomic, Relaxed};
use core::ptr::null_mut;
use kernel::prelude::*;
use kernel::sync::LockClassKey;
use kernel::types::Opaque;

/// The kernel's tick count; [`HZ`] ticks are a second. Wraps around.
pub(crate) type Jiffies = c_ulong;

/// Ticks per second (the kernel's own, not the user-space value of `b::HZ`).
pub(crate) const HZ: Jiffies = b::CONFIG_HZ as Jiffies;

/// The current tick. Any context.
#[inline]
pub(crate) fn jiffies() -> Jiffies {
    // SAFETY: a word that the timer interrupt updates; read like READ_ONCE.
    unsafe { (&raw const b::jiffies).read_volatile() }
}

/// Milliseconds as jiffies, rounded up, at most the largest time-out.
pub(crate) const fn jiffies_from_ms(ms: u64) -> Jiffies {
    let ticks = ms.saturating_mul(HZ as u64).saturating_add(999) / 1000;
    if ticks > c_long::MAX as u64 {
        c_long::MAX as Jiffies
    } else {
        ticks as Jiffies
    }
}

/// Tenths of seconds (the unit of most configured time-outs) as jiffies.
pub(crate) const fn jiffies_from_deciseconds(deciseconds: u32) -> Jiffies {
    jiffies_from_ms(deciseconds as u64 * 100)
}

/// Jiffies as milliseconds, rounded down.
pub(crate) const fn ms_from_jiffies(ticks: Jiffies) -> u64 {
    (ticks as u64).saturating_mul(1000) / HZ as u64
}

/// Nanoseconds since boot, never backwards. Any context.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    // SAFETY: always callable once timekeeping runs, which is before modules load.
    unsafe { b::ktime_get_mono_fast_ns() }
}

/// A random number of the kernel's generator. Any context.
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0u8; 8];
    random_bytes(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// Fills `out` with random bytes fit for keys and challenges. Any context.
pub(crate) fn random_bytes(out: &mut [u8]) {
    // SAFETY: the pointer and length describe `out`.
    unsafe { b::get_random_bytes(out.as_mut_ptr().cast(), out.len()) }
}

/// Makes a [`Timer`] with a lock class of its own: `new_timer!(handler)?`.
#[allow(unused_macros)]
macro_rules! new_timer {
    ($expired:expr) => {
        $crate::kapi::time::Timer::new($expired, kernel::static_lock_class!())
    };
}
pub(crate) use new_timer;

/// A one-shot timer that calls `expired(owner)` in softirq context.
///
/// It keeps one reference on its owner while it is armed and none otherwise, so the owner may
/// contain it. One timer serves one owner object. Dropping it cancels it.
pub(crate) struct Timer<T: Send + Sync + 'static> {
    inner: Arc<TimerInner<T>>,
}

#[pin_data]
#[repr(C)]
struct TimerInner<T: Send + Sync + 'static> {
    /// First, so that a pointer to it is a pointer to the whole.
    #[pin]
    timer: Opaque<b::timer_list>,
    /// The owner of the last arming; valid only while a reference is held for the armed timer.
    owner: Atomic<*mut T>,
    expired: fn(Arc<T>),
}

// SAFETY: the timer functions do their own locking, `owner` is atomic, and `Arc<T>` may move
// between threads because of the bounds on `T`.
unsafe impl<T: Send + Sync + 'static> Send for TimerInner<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync + 'static> Sync for TimerInner<T> {}

impl<T: Send + Sync + 'static> Timer<T> {
    /// For [`new_timer!`](crate::kapi::time::new_timer). Fails with ENOMEM.
    pub(crate) fn new(expired: fn(Arc<T>), key: Pin<&'static LockClassKey>) -> Result<Self> {
        let inner = Arc::pin_init(
            pin_init!(TimerInner {
                timer <- Opaque::ffi_init(|slot| {
                    // SAFETY: `slot` is memory of the right type; it stays where it is.
                    unsafe {
                        b::timer_init_key(
                            slot,
                            Some(timer_fired::<T>),
                            0,
                            c"drbd_timer".as_char_ptr(),
                            key.as_ptr(),
                        )
                    }
                }),
                owner: Atomic::new(null_mut()),
                expired,
            }),
            GFP_KERNEL,
        )?;
        Ok(Timer { inner })
    }

    /// Lets the timer expire `delay` jiffies from now; moves the deadline if it is armed already.
    /// Any context.
    pub(crate) fn arm(&self, owner: &Arc<T>, delay: Jiffies) {
        let pointer = Arc::as_ptr(owner).cast_mut();
        let before = self.inner.owner.load(Relaxed);
        if before != pointer {
            if !before.is_null() {
                pr_err!("a timer was armed for a second owner; ignored\n");
                return;
            }
            self.inner.owner.store(pointer, Relaxed);
        }
        // The armed timer owns one reference on the owner and one on the inner part.
        let owner = owner.clone();
        let inner = self.inner.clone();
        // SAFETY: initialised in `new`.
        let was_armed =
            unsafe { b::mod_timer(self.inner.timer.get(), jiffies().wrapping_add(delay)) };
        if was_armed == 0 {
            core::mem::forget(owner);
            core::mem::forget(inner);
        }
    }

    /// Disarms; true if it was armed. A callback that runs already goes on. Any context.
    pub(crate) fn cancel(&self) -> bool {
        // SAFETY: initialised in `new`.
        let was_armed = unsafe { b::timer_delete(self.inner.timer.get()) } != 0;
        if was_armed {
            self.release_armed();
        }
        was_armed
    }

    /// Disarms and waits for a running callback. Process context, and not with a lock held that
    /// the callback takes, nor from the callback itself.
    pub(crate) fn cancel_sync(&self) -> bool {
        // SAFETY: initialised in `new`.
        let was_armed = unsafe { b::timer_delete_sync(self.inner.timer.get()) } != 0;
        if was_armed {
            self.release_armed();
        }
        was_armed
    }

    /// Gives back what the armed timer owned.
    fn release_armed(&self) {
        // SAFETY: an armed timer owns one reference each, put there by `arm`; the timer was taken
        // off by us, so nobody else gives them back.
        unsafe {
            drop(Arc::from_raw(self.inner.owner.load(Relaxed)));
            drop(Arc::from_raw(Arc::as_ptr(&self.inner)));
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Timer<T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The callback of the kernel's timer.
///
/// # Safety
///
/// `timer` is the member of a [`TimerInner<T>`] that was armed by [`Timer::arm`].
unsafe extern "C" fn timer_fired<T: Send + Sync + 'static>(timer: *mut b::timer_list) {
    // SAFETY: the timer is the first member of `TimerInner`, which is `repr(C)`; the expired
    // timer owned one reference on it and one on its owner, which are ours now.
    let (inner, owner) = unsafe {
        let inner = Arc::from_raw(timer.cast::<TimerInner<T>>().cast_const());
        let owner = Arc::from_raw(inner.owner.load(Relaxed).cast_const());
        (inner, owner)
    };
    (inner.expired)(owner);
}

/// Whether tick `a` lies before tick `b`, across wrap-around.
pub(crate) const fn is_before(a: Jiffies, b: Jiffies) -> bool {
    (a.wrapping_sub(b) as c_long) < 0
}

/// The second of the day and date of the system clock, in seconds since 1970. Any context.
pub(crate) fn wall_clock_seconds() -> i64 {
    // SAFETY: always callable.
    unsafe { x::kapi_real_seconds() }
}
