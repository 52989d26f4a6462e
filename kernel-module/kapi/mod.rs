// SPDX-License-Identifier: GPL-2.0
//! The kernel, made safe: the only code of the project that may be unsafe.
//!
//! One file per concept. Each says in which context its functions may be called and what can
//! fail. "Any context" includes interrupts; "process context" means the caller may sleep. Nothing
//! here allocates with a wait for I/O once a device is set up.

use kernel::prelude::*;

mod deferred;
mod raw;
mod read_ahead;

pub(crate) mod bdev;
pub(crate) mod bio;
pub(crate) mod disk;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod meta;
pub(crate) mod module;
pub(crate) mod page;
pub(crate) mod crypto;
pub(crate) mod genl;
pub(crate) mod global;
pub(crate) mod net;
pub(crate) mod params;
pub(crate) mod procfs;
pub(crate) mod sync;
pub(crate) mod thread;
pub(crate) mod time;
pub(crate) mod umh;
pub(crate) mod wait;
pub(crate) mod workqueue;

/// What this layer itself needs while the module is loaded. Make it first, drop it last: after
/// everything else of this layer.
pub(crate) struct Runtime {
    deferred: deferred::Runtime,
}

impl Runtime {
    /// Process context, when the module loads; fails with ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            deferred: deferred::Runtime::new()?,
        })
    }

    /// Waits until devices and bio sets that were let go of are really closed and freed.
    pub(crate) fn flush(&self) {
        self.deferred.flush();
    }
}

/// Waits until devices and bio sets that were let go of are really closed and freed, at most `timeout` jiffies or until a signal. They keep
/// the module loaded until then. Process context.
pub(crate) fn settle(timeout: time::Jiffies) {
    deferred::settle(timeout);
}
