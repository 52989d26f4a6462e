// SPDX-License-Identifier: GPL-2.0
//! `drbd-core`: everything DRBD decides, without I/O, locks, clocks, threads or an allocator.
//!
//! The same source is compiled three times: into `drbd.ko` (by Kbuild, as an rlib with
//! `cfg(MODULE)`), into the tools, and into the simulator and the unit tests. Inputs go in as
//! values and slices, outputs come back as values or through a sink the caller lends.
#![cfg_attr(all(not(test), not(MODULE)), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod activity_log;
pub mod bitmap;
pub mod engine;
pub mod epoch;
pub mod genl;
pub mod handshake;
pub mod md;
pub mod resync;
pub mod state;
pub mod wire;
