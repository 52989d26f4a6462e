// SPDX-License-Identifier: GPL-2.0
//! The state vector of a volume and the rules that change it (behaviour.md sections 1 and 2).
//!
//! * [`vector`] — roles, connection states, disk states, the packed word, display strings.
//! * [`access`], [`names`] — what a vector allows; names for the event stream.
//! * [`sanitize`] — turns a wanted vector into one that can exist.
//! * [`rules`] — what is refused with which code.
//! * [`change`] — one function evaluates a wanted change of a volume; [`resource`] — of all volumes of a resource.
//! * [`immediate`] — what a change needs in the same critical section.
//! * [`effects`] — what follows from a change, as a set the shell carries out in order.
//! * [`attach`], [`promotion`], [`departure`], [`fencing`] — the procedures around attach, primary, disconnect, and the fence-peer helper.
//!
//! `docs/states.md` shows the tables; a test writes it.

pub mod access;
pub mod attach;
pub mod change;
pub mod departure;
pub mod disk_error;
pub mod effects;
pub mod fencing;
pub mod immediate;
pub mod names;
pub mod promotion;
pub mod resource;
pub mod rules;
pub mod sanitize;
pub mod vector;

pub use access::bits_missing;
pub use change::{evaluate, needs_cluster_wide, Kind, Request};
pub use effects::{effects, effects_with, superblock_flags, EffectFacts, Effects};
pub use immediate::{immediate, Immediate};
pub use resource::{evaluate_all, resource_effects, ResourceEffects, Summary, Thaw};
pub use rules::{Facts, Fencing, Refusal};
pub use sanitize::{sanitize, sanitize_with_warnings, Warnings};
pub use vector::{Conn, Disk, Role, State};

#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod tests;
