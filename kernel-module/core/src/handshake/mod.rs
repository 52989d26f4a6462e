// SPDX-License-Identifier: GPL-2.0
//! Decisions of the handshake between two nodes, as functions of values (behaviour.md section 4, wire-protocol.md section 8).
//!
//! In the order of a connection:
//! * [`establish`], [`race`] — the two sockets (CO-1 to CO-5).
//! * [`auth`] — challenge and response (wire section 5).
//! * [`protocol`], [`sync_param`] — settings that must match or are adopted (CO-7, CO-8).
//! * [`sizes`] — device size and largest bio (section 5).
//! * [`uuids`] — what a P_UUIDS means.
//! * [`report`] — what a P_STATE of the peer means (wire section 7).
//! * [`compare`] — which data generation is newer (the rule table of 4.3).
//! * [`decide`] — who becomes source, split brain, refusals (4.4, 4.5).
//! * [`adopt`] — the new vector.
//! * [`resync_end`] — what a finished resync leaves behind.

pub mod adopt;
pub mod auth;
pub mod compare;
pub mod decide;
pub mod establish;
pub mod protocol;
pub mod race;
pub mod report;
pub mod resync_end;
pub mod sizes;
pub mod sync_param;
pub mod uuids;

pub use adopt::{adopt, must_repeat, AdoptFacts, Adoption};
pub use compare::{compare, Comparison, Peer};
pub use decide::{decide, decide_with, Action, Decision, Policies, Reason, Situation};
pub use establish::ConnectLoop;
