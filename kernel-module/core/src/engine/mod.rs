// SPDX-License-Identifier: GPL-2.0
//! The engine: the way of a request through one node, as sub-machines without I/O.
//!
//! * [`volume::DataPlane`] — everything in flight on one volume; one spinlock of its own.
//! * [`gate::Gate`] — what the control plane publishes to it.
//! * [`waits`] — what its requests wait for.
//! * [`table`], [`ranges`], [`request`] — the slots, the overlap index and the progress of a request.
//!
//! The shell (driver or simulator) owns locks, threads and I/O; see docs/architecture.md for the way of a write.

pub mod gate;
pub mod ranges;
pub mod request;
pub mod table;
pub mod volume;
pub mod volume_conflict;
pub mod volume_frozen;
pub mod volume_local;
pub mod volume_log;
pub mod volume_peer;
pub mod volume_read;
mod volume_room;
pub mod volume_verify;
pub mod waits;

#[cfg(test)]
mod conflict_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
