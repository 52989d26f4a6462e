// SPDX-License-Identifier: GPL-2.0
//! The one object that callbacks without context (netlink, /proc) start from.

use super::sync::{Acquire, Arc, Atomic, Full};
use core::ptr::null_mut;

/// Holds a counted reference while the module is loaded.
pub(crate) struct Global<T> {
    pointer: Atomic<*mut T>,
}

impl<T: Send + Sync> Global<T> {
    /// Empty.
    pub(crate) const fn new() -> Self {
        Self { pointer: Atomic::new(null_mut()) }
    }

    /// Stores the object; once, before callbacks are registered.
    pub(crate) fn set(&self, object: Arc<T>) {
        self.clear();
        self.pointer.xchg(Arc::into_raw(object).cast_mut(), Full);
    }

    /// Takes the object out; after callbacks are unregistered.
    pub(crate) fn clear(&self) {
        let old = self.pointer.xchg(null_mut(), Full);
        if !old.is_null() {
            // SAFETY: stored by `set`, taken out once.
            drop(unsafe { Arc::from_raw(old.cast_const()) });
        }
    }

    /// The object, if there is one. Any context.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        let pointer = self.pointer.load(Acquire);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the stored reference stays until `clear`, which runs when no callback can; the count is raised for the copy.
        let kept = core::mem::ManuallyDrop::new(unsafe { Arc::from_raw(pointer.cast_const()) });
        Some((*kept).clone())
    }
}
