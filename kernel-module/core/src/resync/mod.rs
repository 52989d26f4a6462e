// SPDX-License-Identifier: GPL-2.0
//! Resynchronisation: which ranges to ask for, at what pace, and how far it is (behaviour.md section 7).

mod controller;
mod progress;
mod request;

pub use controller::{Controller, Settings};
pub use progress::{per_mille, Progress, Report};
pub use request::{next_request, Limits, Range};
