// SPDX-License-Identifier: GPL-2.0
//! The state vector of a volume and the rules that change it (behaviour.md sections 1 and 2).
//!
//! * [`vector`] — roles, connection states, disk states, the packed word, display strings.
//! * [`rules`] — sanitising, and what is refused with which code.
//! * [`change`] — one function evaluates a wanted change; nothing else yields a new vector.
//! * [`effects`] — what follows from a change, as a set the shell carries out in order.

pub mod change;
pub mod effects;
pub mod rules;
pub mod vector;

pub use change::{evaluate, needs_cluster_wide, Kind, Request};
pub use effects::{effects, Effects};
pub use rules::{Facts, Fencing, Refusal};
pub use vector::{Conn, Disk, Role, State};

#[cfg(test)]
mod tests;
