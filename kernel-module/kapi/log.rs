// SPDX-License-Identifier: GPL-2.0
//! The kernel log, with the prefixes administrators and their tools know: `drbd NAME: ` for a
//! resource, `block drbdN: ` for a volume, `drbd: ` for the module. Any context.

use super::raw::b;
use super::sync::{Atomic, Full, Relaxed};
use super::time::{is_before, jiffies, Jiffies, HZ};
use core::ffi::CStr;
use kernel::fmt;
use kernel::prelude::*;

/// How important a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// Something failed.
    Error,
    /// Something may be wrong.
    Warning,
    /// Normal but worth attention.
    Notice,
    /// Course of events.
    Info,
    /// For developers.
    Debug,
}

/// Who speaks.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// The module.
    Module,
    /// A resource, by name.
    Resource(&'a str),
    /// A volume, by minor number.
    Volume(u32),
}

impl Level {
    /// The kernel's mark: start of header and a digit.
    const fn mark(self) -> &'static CStr {
        match self {
            Self::Error => c"\x013",
            Self::Warning => c"\x014",
            Self::Notice => c"\x015",
            Self::Info => c"\x016",
            Self::Debug => c"\x017",
        }
    }
}

/// Writes one line; for the macro [`log!`](crate::kapi::log::log).
pub(crate) fn write(level: Level, origin: Origin<'_>, text: fmt::Arguments<'_>) {
    match origin {
        Origin::Module => print(level, fmt!("drbd: {text}")),
        Origin::Resource(name) => print(level, fmt!("drbd {name}: {text}")),
        Origin::Volume(minor) => print(level, fmt!("block drbd{minor}: {text}")),
    }
}

fn print(level: Level, line: fmt::Arguments<'_>) {
    // SAFETY: `%s` takes the terminated mark, `%pA` the arguments, which outlive the call.
    unsafe {
        b::_printk(
            c"%s%pA\n".as_char_ptr(),
            level.mark().as_char_ptr(),
            core::ptr::from_ref(&line).cast::<c_void>(),
        )
    };
}

/// `log!(Info, Origin::Volume(minor), "text {}", value)`: one line without its end.
#[allow(unused_macros)]
macro_rules! log {
    ($level:ident, $origin:expr, $($text:tt)+) => {
        $crate::kapi::log::write(
            $crate::kapi::log::Level::$level,
            $origin,
            kernel::prelude::fmt!($($text)+),
        )
    };
}
pub(crate) use log;

/// Lets at most `burst` messages through in each interval. Any context; may be a static.
pub(crate) struct RateLimit {
    interval: Jiffies,
    burst: u32,
    /// Tick at which the interval ends; 0 before the first message.
    ends: Atomic<usize>,
    passed: Atomic<u32>,
}

impl RateLimit {
    /// `burst` messages in `seconds`.
    pub(crate) const fn new(seconds: u32, burst: u32) -> Self {
        Self {
            interval: seconds as Jiffies * HZ,
            burst,
            ends: Atomic::new(0),
            passed: Atomic::new(0),
        }
    }

    /// Whether the next message may pass. Callers at the same moment may let one more through.
    pub(crate) fn allows(&self) -> bool {
        let now = jiffies();
        let ends = self.ends.load(Relaxed);
        if ends == 0 || !is_before(now, ends) {
            // 0 means "never used", so it is skipped.
            let next = now.wrapping_add(self.interval).max(1);
            if self.ends.cmpxchg(ends, next, Full).is_ok() {
                self.passed.store(0, Relaxed);
            }
        }
        self.passed.fetch_add(1, Relaxed) < self.burst
    }
}
