// SPDX-License-Identifier: GPL-2.0
//! Resynchronisation: which ranges to ask for, at what pace, and how far it is (behaviour.md section 7).

mod controller;
pub mod dependency;
mod progress;
mod request;
pub mod verify;

pub use controller::{within_buffers, Controller, Settings, Throttle, MAX_STEPS};
pub use progress::{per_mille, Details, Progress, Report};
pub use request::{longest, next_request, next_request_before, sane_granularity, uses_checksums, Limits, Range};
