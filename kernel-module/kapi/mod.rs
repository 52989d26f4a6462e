// SPDX-License-Identifier: GPL-2.0
//! The kernel, made safe: the only code of the project that may be unsafe.
//!
//! One file per concept. Each says in which context its functions may be called and what can
//! fail. "Any context" includes interrupts; "process context" means the caller may sleep. Nothing
//! here allocates with a wait for I/O once a device is set up.

mod raw;

pub(crate) mod module;
pub(crate) mod params;
pub(crate) mod sync;
pub(crate) mod thread;
pub(crate) mod time;
pub(crate) mod wait;
pub(crate) mod workqueue;
