// SPDX-License-Identifier: GPL-2.0
//! Comparison of data generations: the rule table of behaviour.md 4.3. Both nodes run it on the same two sets and must come to mirrored
//! results.

use crate::md::uuids::{same, Uuids, JUST_CREATED, RESYNC_OFFSET};
use crate::state::Role;
use crate::wire::params::features;

/// What is known of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peer {
    /// Generations as sent in P_UUIDS.
    pub uuids: Uuids,
    /// Number of dirty bits as sent.
    pub dirty_bits: u64,
    /// Crashed while Primary.
    pub crashed_primary: bool,
    /// Wants to discard its data.
    pub discard_my_data: bool,
    /// Its role now.
    pub role: Role,
}

/// Outcome of the comparison, seen from this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// No resync.
    Equal,
    /// This node is source: with bitmap, or full.
    Source {
        /// All bits.
        full: bool,
    },
    /// This node is target.
    Target {
        /// All bits.
        full: bool,
    },
    /// Split brain; `by_bitmap`: the bitmaps count from the same generation.
    SplitBrain {
        /// Kind 100 as opposed to -100.
        by_bitmap: bool,
    },
    /// Nothing in common.
    Unrelated,
    /// The peer's protocol is too old for the case; needs this version.
    NeedsVersion(u32),
    /// The peer lacks the feature that tells crashed primaries apart.
    NeedsFeature,
}

/// A correction of a set of UUIDs that a rule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Correction {
    /// None.
    None,
    /// The own set, also on disk.
    Own(Uuids),
    /// The remembered set of the peer.
    Peer(Uuids),
}

/// Result with the rule that decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// Number of the rule.
    pub rule: u32,
    /// Result.
    pub result: Outcome,
    /// Correction to apply.
    pub correction: Correction,
}

impl Comparison {
    const fn new(rule: u32, result: Outcome) -> Self {
        Self { rule, result, correction: Correction::None }
    }

    /// The number that stands for the result in logs and fixtures.
    pub const fn number(&self) -> i32 {
        match self.result {
            Outcome::Equal => 0,
            Outcome::Source { full: false } => 1,
            Outcome::Source { full: true } => 2,
            Outcome::Target { full: false } => -1,
            Outcome::Target { full: true } => -2,
            Outcome::SplitBrain { by_bitmap: true } => 100,
            Outcome::SplitBrain { by_bitmap: false } => -100,
            Outcome::Unrelated | Outcome::NeedsVersion(_) | Outcome::NeedsFeature => -1000,
        }
    }
}

const SOURCE: Outcome = Outcome::Source { full: false };
const TARGET: Outcome = Outcome::Target { full: false };

fn rotated(set: &Uuids) -> Uuids {
    Uuids { current: set.current, bitmap: 0, history: [set.bitmap, set.history[0]] }
}

fn undone(set: &Uuids) -> Uuids {
    Uuids { current: set.current, bitmap: set.history[0], history: [set.history[1], set.history[1]] }
}

/// Compares; the first rule that matches counts. `resolver`: this node breaks ties. `agreed_features`: of the connection.
pub fn compare(own: &Peer, peer: &Peer, version: u32, agreed_features: u32, resolver: bool) -> Comparison {
    let (s, p) = (&own.uuids, &peer.uuids);
    let fresh = |uuid: u64| uuid == JUST_CREATED;
    let fresh_or_none = |uuid: u64| fresh(uuid) || uuid & !1 == 0;
    if fresh(s.current & !1) && fresh(p.current & !1) {
        return Comparison::new(10, Outcome::Equal);
    }
    if fresh_or_none(s.current & !1) && !fresh(p.current & !1) {
        return Comparison::new(20, Outcome::Target { full: true });
    }
    if !fresh(s.current & !1) && fresh_or_none(p.current & !1) {
        return Comparison::new(30, Outcome::Source { full: true });
    }
    if same(s.current, p.current) {
        return equal_current(own, peer, version, agreed_features, resolver);
    }
    different_current(s, p, version)
}

/// Rules 34 to 41.
fn equal_current(own: &Peer, peer: &Peer, version: u32, agreed_features: u32, resolver: bool) -> Comparison {
    let (s, p) = (&own.uuids, &peer.uuids);
    let (s_bitmap, p_bitmap) = (s.bitmap & !1 != 0, p.bitmap & !1 != 0);
    if s_bitmap != p_bitmap && version < 91 {
        return Comparison::new(if s_bitmap { 34 } else { 35 }, Outcome::NeedsVersion(91));
    }
    if s_bitmap && !p_bitmap {
        if same(s.bitmap, p.history[0]) && same(s.history[0], p.history[1]) {
            return Comparison { rule: 34, result: SOURCE, correction: Correction::Own(rotated(s)) };
        }
        return Comparison::new(36, SOURCE);
    }
    if !s_bitmap && p_bitmap {
        if same(s.history[0], p.bitmap) && same(s.history[1], p.history[0]) {
            return Comparison { rule: 35, result: TARGET, correction: Correction::Peer(rotated(p)) };
        }
        return Comparison::new(37, TARGET);
    }
    if !own.crashed_primary && !peer.crashed_primary {
        return Comparison::new(40, Outcome::Equal);
    }
    match (own.role == Role::Primary, peer.role == Role::Primary) {
        (false, false) => {}
        _ if agreed_features & features::WSAME == 0 => return Comparison::new(41, Outcome::NeedsFeature),
        (true, true) => return Comparison::new(41, Outcome::SplitBrain { by_bitmap: false }),
        (true, false) => return Comparison::new(41, SOURCE),
        (false, true) => return Comparison::new(41, TARGET),
    }
    match (own.crashed_primary, peer.crashed_primary) {
        (true, false) => Comparison::new(40, SOURCE),
        (false, true) => Comparison::new(40, TARGET),
        _ if resolver => Comparison::new(40, TARGET),
        _ => Comparison::new(40, SOURCE),
    }
}

/// Rules 50 to 100.
fn different_current(s: &Uuids, p: &Uuids, version: u32) -> Comparison {
    let matches = |a: u64, b: u64| same(a, b);
    if matches(s.current, p.bitmap) {
        return Comparison::new(50, TARGET);
    }
    let lost = |older: &Uuids, newer: &Uuids| {
        if version < 96 {
            same(older.history[0], newer.history[1])
        } else {
            same(newer.history[0].wrapping_add(RESYNC_OFFSET), newer.bitmap)
        }
    };
    if matches(s.current, p.history[0]) && lost(s, p) {
        if version < 91 {
            return Comparison::new(51, Outcome::NeedsVersion(91));
        }
        return Comparison { rule: 51, result: TARGET, correction: Correction::Peer(undone(p)) };
    }
    if p.history.iter().any(|old| matches(s.current, *old)) {
        return Comparison::new(60, Outcome::Target { full: true });
    }
    if matches(s.bitmap, p.current) {
        return Comparison::new(70, SOURCE);
    }
    if matches(s.history[0], p.current) && lost(p, s) {
        if version < 91 {
            return Comparison::new(71, Outcome::NeedsVersion(91));
        }
        return Comparison { rule: 71, result: SOURCE, correction: Correction::Own(undone(s)) };
    }
    if s.history.iter().any(|old| matches(*old, p.current)) {
        return Comparison::new(80, Outcome::Source { full: true });
    }
    if matches(s.bitmap, p.bitmap) && s.bitmap & !1 != 0 {
        return Comparison::new(90, Outcome::SplitBrain { by_bitmap: true });
    }
    // Empty slots equal each other (HS-13).
    let related = s.history.iter().any(|a| p.history.iter().any(|b| matches(*a, *b)));
    Comparison::new(100, if related { Outcome::SplitBrain { by_bitmap: false } } else { Outcome::Unrelated })
}
