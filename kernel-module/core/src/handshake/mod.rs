// SPDX-License-Identifier: GPL-2.0
//! Decisions of the handshake between two nodes, as functions of values (behaviour.md section 4, wire-protocol.md section 8).
//!
//! * [`compare`] — which data generation is newer (the rule table of 4.3).
//! * [`decide`] — who becomes source, split brain, refusals (4.4, 4.5).
//! * [`protocol`] — settings that must match (CO-7, CO-8).
//! * [`report`] — what a P_STATE of the peer means (wire section 7).
//! * [`race`] — establishing the two sockets (CO-1 to CO-3).

pub mod compare;
pub mod decide;
pub mod protocol;
pub mod race;
pub mod report;

pub use compare::{compare, Comparison, Peer};
pub use decide::{decide, Decision, Policies, Situation};
