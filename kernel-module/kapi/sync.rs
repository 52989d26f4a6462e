// SPDX-License-Identifier: GPL-2.0
//! Locks, counted references and atomics.
//!
//! The kernel crate's own types are re-exported; what it lacks in 7.2 is a spinlock that is also
//! safe against interrupts: I/O completions, timers and socket callbacks need one
//! ([`SpinLockIrq`]). Waiting is in [`super::wait`].

use super::raw::{b, x};
use kernel::prelude::*;
use kernel::sync::lock::{Backend, Guard, Lock};

pub(crate) use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed, Release};
pub(crate) use kernel::sync::{new_mutex, Arc, ArcBorrow, Mutex, MutexGuard, SetOnce, UniqueArc};

#[cfg(CONFIG_PREEMPT_RT)]
compile_error!("PREEMPT_RT turns spinlock_t into a mutex; SpinLockIrq does not know that form");

/// A spinlock taken with interrupts off on this processor; usable from any context.
///
/// Never sleep while holding its guard: no mutex, no allocation that may wait, no I/O submission.
/// It has to be pinned; make it with [`new_spinlock_irq!`](crate::kapi::sync::new_spinlock_irq).
pub(crate) type SpinLockIrq<T> = Lock<T, IrqBackend>;

/// What [`SpinLockIrq::lock`] returns; unlocks and restores the interrupt state when dropped.
pub(crate) type SpinIrqGuard<'a, T> = Guard<'a, T, IrqBackend>;

/// Makes the initialiser of a [`SpinLockIrq`] with a lock class of its own.
macro_rules! new_spinlock_irq {
    ($inner:expr, $name:literal) => {
        $crate::kapi::sync::SpinLockIrq::new(
            $inner,
            kernel::c_str!($name),
            kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_spinlock_irq;

/// How [`SpinLockIrq`] locks: `spin_lock_irqsave()`.
pub(crate) struct IrqBackend;

// SAFETY: `spinlock_t` gives mutual exclusion. `relock` is the default and calls `lock`.
unsafe impl Backend for IrqBackend {
    type State = b::spinlock_t;
    type GuardState = c_ulong;

    #[inline]
    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut b::lock_class_key) {
        // SAFETY: the caller hands over writable memory, and a name and a key that stay.
        unsafe { b::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: the lock is initialised; without PREEMPT_RT the raw lock is the first member
        // of `spinlock_t`, which is all `spin_lock_irqsave()` relies on as well.
        unsafe { b::_raw_spin_lock_irqsave(ptr.cast()) }
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
        // SAFETY: as in `lock`; the caller owns the lock and gives back the flags it got.
        unsafe { b::_raw_spin_unlock_irqrestore(ptr.cast(), *flags) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;
        // SAFETY: the lock is initialised, `flags` is a place for the interrupt state.
        unsafe { x::kapi_spin_trylock_irqsave(ptr, &raw mut flags) }.then_some(flags)
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: the lock is initialised.
        unsafe { b::spin_assert_is_held(ptr) }
    }
}

/// Waits until every reader section that is running now has ended. Process context.
pub(crate) fn synchronize_rcu() {
    // SAFETY: only a context that may sleep is required.
    unsafe { b::synchronize_rcu() }
}
