// SPDX-License-Identifier: GPL-2.0
//! From the comparison to the decision (behaviour.md 4.4 and 4.5).

use super::compare::{compare, Comparison, Outcome, Peer};
use crate::state::{Disk, Role};

/// Split-brain and conflict policies, by their numbers in netlink and P_PROTOCOL.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Policies {
    /// after-sb-0pri.
    pub after_sb_0p: u32,
    /// after-sb-1pri.
    pub after_sb_1p: u32,
    /// after-sb-2pri.
    pub after_sb_2p: u32,
    /// rr-conflict.
    pub rr_conflict: u32,
    /// always-asbp.
    pub always_asbp: bool,
}

/// Numbers of the policies (netlink-and-tools.md, NET_CONF 17 to 20).
pub mod policy {
    /// Give up.
    pub const DISCONNECT: u32 = 0;
    /// Discard the younger primary.
    pub const DISCARD_YOUNGER_PRIMARY: u32 = 1;
    /// Discard the older primary.
    pub const DISCARD_OLDER_PRIMARY: u32 = 2;
    /// Discard the side without changes.
    pub const DISCARD_ZERO_CHANGES: u32 = 3;
    /// Discard the side with fewer changes.
    pub const DISCARD_LEAST_CHANGES: u32 = 4;
    /// Discard this node's data.
    pub const DISCARD_LOCAL: u32 = 5;
    /// Discard the peer's data.
    pub const DISCARD_REMOTE: u32 = 6;
    /// As 0pri, if that discards the Secondary.
    pub const CONSENSUS: u32 = 7;
    /// Discard the Secondary.
    pub const DISCARD_SECONDARY: u32 = 8;
    /// Demote the loser, or call for help.
    pub const CALL_PRI_LOST: u32 = 9;
    /// As 0pri, whatever it costs.
    pub const VIOLENTLY: u32 = 10;
}

/// Everything the decision looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Situation {
    /// This node.
    pub own: Peer,
    /// The peer.
    pub peer: Peer,
    /// Own disk: as found at attach while Negotiating, else the live one.
    pub own_disk: Disk,
    /// The live own disk, for HS-27.
    pub live_disk: Disk,
    /// The peer's disk, as HS-1 reads it.
    pub peer_disk: Disk,
    /// Agreed protocol version.
    pub version: u32,
    /// Agreed features.
    pub features: u32,
    /// This node breaks ties.
    pub resolver: bool,
    /// Policies in force.
    pub policies: Policies,
    /// Either side only wants to see what would happen.
    pub dry_run: bool,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Stay Connected.
    None,
    /// Become source; `full`: set all bits first.
    Source {
        /// All bits.
        full: bool,
    },
    /// Become target.
    Target {
        /// All bits.
        full: bool,
    },
    /// Refuse.
    Refuse(Reason),
}

/// Why a connection (or a late attach) is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// HS-20: unrelated data.
    Unrelated,
    /// HS-11: the peer is too old.
    NeedsVersion(u32),
    /// Rule 41 without the feature.
    NeedsFeature,
    /// HS-25: split brain, unresolved.
    SplitBrain,
    /// HS-26: would be source without consistent data.
    SourceInconsistent,
    /// HS-27: a Primary would become target.
    PrimaryWouldLose,
    /// HS-28: dry run.
    DryRun,
}

/// A helper program to call, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Helpers {
    /// initial-split-brain.
    pub initial_split_brain: bool,
    /// pri-lost-after-sb.
    pub pri_lost_after_sb: bool,
    /// split-brain.
    pub split_brain: bool,
    /// pri-lost.
    pub pri_lost: bool,
}

/// The decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What the generations said.
    pub comparison: Comparison,
    /// What to do.
    pub action: Action,
    /// Helpers to call.
    pub helpers: Helpers,
    /// Split brain was solved by a policy.
    pub solved_automatically: bool,
    /// Split brain was solved by discard-my-data.
    pub solved_manually: bool,
    /// Disk states overruled the generations (HS-21).
    pub by_disk_state: bool,
    /// SB-5: this Primary has to demote itself first; if that fails, helper pri-lost-after-sb runs and the split brain is unsolved.
    pub demote: bool,
    /// What was going to happen when a dry run (HS-28) stopped it; otherwise the same as `action`.
    pub planned: Action,
}

/// Signed result as in the reference: +source, -target, magnitude 2 full, 100/-100 split brain.
fn split(number: i32) -> bool {
    number == 100 || number == -100
}

/// HS-20 to HS-30, while the connection is being established; each node for itself (SB-6). A split brain that a policy solved still has
/// to pass HS-27 (SB-4). There a Primary can never demote itself (SB-5).
pub fn decide(situation: &Situation) -> Decision {
    decide_with(situation, false)
}

/// HS-20 to HS-30. `may_demote`: a Primary that loses the split brain under call-pri-lost-after-sb can become Secondary: a soft
/// local change to Secondary evaluates without a refusal. Then [`Decision::demote`] says when to carry that out.
pub fn decide_with(situation: &Situation, may_demote: bool) -> Decision {
    let s = situation;
    let comparison = compare(&s.own, &s.peer, s.version, s.features, s.resolver);
    let mut decision = Decision {
        comparison,
        action: Action::None,
        helpers: Helpers::default(),
        solved_automatically: false,
        solved_manually: false,
        by_disk_state: false,
        demote: false,
        planned: Action::None,
    };
    match comparison.result {
        Outcome::Unrelated => return refuse(decision, Reason::Unrelated),
        Outcome::NeedsVersion(version) => return refuse(decision, Reason::NeedsVersion(version)),
        Outcome::NeedsFeature => return refuse(decision, Reason::NeedsFeature),
        _ => {}
    }
    let mut number = comparison.number();
    let own_bad = s.own_disk == Disk::Inconsistent && s.peer_disk > Disk::Inconsistent;
    let peer_bad = s.peer_disk == Disk::Inconsistent && s.own_disk > Disk::Inconsistent;
    if own_bad || peer_bad {
        // HS-21
        let full = number == -100 || number.abs() == 2;
        number = if own_bad { -1 } else { 1 } * if full { 2 } else { 1 };
        decision.by_disk_state = true;
    }
    if split(number) {
        decision.helpers.initial_split_brain = true; // HS-22
        if number == 100 || s.policies.always_asbp {
            // HS-23
            let (solved, loses) = after_split_brain(s);
            decision.demote = loses && may_demote;
            decision.helpers.pri_lost_after_sb = loses && !may_demote;
            if loses && !may_demote {
                // The peer has decided to be the source, so discard-my-data (HS-24) may not make this node one too.
                decision.helpers.split_brain = true;
                return refuse(decision, Reason::SplitBrain);
            }
            if let Some(direction) = solved {
                decision.solved_automatically = true;
                number = direction * if number == -100 { 2 } else { 1 };
            }
        }
    }
    if split(number) && s.own.discard_my_data != s.peer.discard_my_data {
        number = if s.own.discard_my_data { -1 } else { 1 }; // HS-24
        decision.solved_manually = true;
    }
    if split(number) {
        decision.helpers.split_brain = true; // HS-25
        return refuse(decision, Reason::SplitBrain);
    }
    finish(s, decision, number)
}

fn refuse(mut decision: Decision, reason: Reason) -> Decision {
    decision.action = Action::Refuse(reason);
    if reason != Reason::DryRun {
        decision.planned = decision.action;
    }
    decision
}

/// HS-26 to HS-30.
fn finish(s: &Situation, mut decision: Decision, number: i32) -> Decision {
    if number > 0 && s.own_disk <= Disk::Inconsistent {
        return refuse(decision, Reason::SourceInconsistent);
    }
    if number < 0 && s.own.role == Role::Primary && !decision.demote && s.live_disk >= Disk::Consistent {
        match s.policies.rr_conflict {
            policy::VIOLENTLY => {}
            policy::CALL_PRI_LOST => {
                decision.helpers.pri_lost = true;
                return refuse(decision, Reason::PrimaryWouldLose);
            }
            _ => return refuse(decision, Reason::PrimaryWouldLose),
        }
    }
    let full = number.abs() >= 2;
    decision.planned = match number {
        0 => Action::None,
        1.. => Action::Source { full },
        _ => Action::Target { full },
    };
    if s.dry_run {
        decision.demote = false;
        return refuse(decision, Reason::DryRun);
    }
    decision.action = decision.planned;
    decision
}

/// 4.5: the direction a policy gives (+1 source, -1 target), and whether this Primary would have to demote itself for it.
fn after_split_brain(s: &Situation) -> (Option<i32>, bool) {
    let primary = (s.own.role == Role::Primary, s.peer.role == Role::Primary);
    let zero = || no_primary(s);
    let call = |result: Option<i32>| (result, result == Some(-1) && primary.0);
    match primary {
        (false, false) => (zero(), false),
        (true, true) => match s.policies.after_sb_2p {
            policy::VIOLENTLY => (zero(), false),
            policy::CALL_PRI_LOST => call(zero()),
            _ => (None, false),
        },
        _ => match s.policies.after_sb_1p {
            policy::CONSENSUS => {
                let discards_secondary = |direction: &i32| (*direction == -1) != primary.0;
                (zero().filter(discards_secondary), false)
            }
            policy::DISCARD_SECONDARY => (Some(if primary.0 { 1 } else { -1 }), false),
            policy::VIOLENTLY => (zero(), false),
            policy::CALL_PRI_LOST => call(zero()),
            _ => (None, false),
        },
    }
}

/// after-sb-0pri. Unsolved by a policy that does not exist (SB-3).
fn no_primary(s: &Situation) -> Option<i32> {
    let was = (s.own.uuids.bitmap & 1 != 0, s.peer.uuids.bitmap & 1 != 0);
    let changes = (s.own.dirty_bits, s.peer.dirty_bits);
    let tie = Some(if s.resolver { -1 } else { 1 }); // SB-1
    let zero_changes = match changes {
        (0, 0) => tie,
        (_, 0) => Some(1),
        (0, _) => Some(-1),
        _ => None,
    };
    let least_changes = match changes.0.cmp(&changes.1) {
        core::cmp::Ordering::Less => Some(-1),
        core::cmp::Ordering::Greater => Some(1),
        core::cmp::Ordering::Equal => tie,
    };
    match (s.policies.after_sb_0p, was) {
        (policy::DISCARD_YOUNGER_PRIMARY, (false, true)) | (policy::DISCARD_OLDER_PRIMARY, (true, false)) => Some(-1),
        (policy::DISCARD_YOUNGER_PRIMARY, (true, false)) | (policy::DISCARD_OLDER_PRIMARY, (false, true)) => Some(1),
        (policy::DISCARD_YOUNGER_PRIMARY | policy::DISCARD_OLDER_PRIMARY, _) => zero_changes.or(least_changes), // SB-2
        (policy::DISCARD_ZERO_CHANGES, _) => zero_changes,
        (policy::DISCARD_LEAST_CHANGES, _) => least_changes,
        (policy::DISCARD_LOCAL, _) => Some(-1),
        (policy::DISCARD_REMOTE, _) => Some(1),
        _ => None,
    }
}
