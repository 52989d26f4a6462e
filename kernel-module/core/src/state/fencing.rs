// SPDX-License-Identifier: GPL-2.0
//! When the fence-peer helper runs and what its exit code means (behaviour.md section 11).

use super::change::Request;
use super::resource::Summary;
use super::rules::Fencing;
use super::vector::{Conn, Disk, Role, State};

/// The policy in force for a connection: the highest among volumes with disk >= Consistent; `None`: there is no such volume, so no
/// fencing is possible and `susp_fen` has to be cleared.
pub fn policy(volumes: impl IntoIterator<Item = (Disk, Fencing)>) -> Option<Fencing> {
    volumes.into_iter().filter(|volume| volume.0 >= Disk::Consistent).map(|volume| volume.1).max()
}

/// FE-1: after the clean-up of a lost connection, fencing has to be started.
pub fn is_due(volumes: &Summary) -> bool {
    volumes.role == Role::Primary && volumes.highest_pdsk >= Disk::DUnknown
}

/// FE-6: the peer can do no harm any more.
pub fn succeeded(volumes: &Summary) -> bool {
    volumes.highest_pdsk <= Disk::Outdated
}

/// FE-5: a result still counts: the connection is down, and did not come and go while the helper ran.
pub fn counts(connection: Conn, connects_before: u32, connects_now: u32) -> bool {
    connection < Conn::WFReportParams && connects_before == connects_now
}

/// Meaning of an exit code of the helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FenceResult {
    /// 3: the peer is Inconsistent.
    PeerInconsistent,
    /// 4: the peer is Outdated now or was before.
    PeerOutdated,
    /// 5: the peer can not be reached and counts as down.
    PeerDown,
    /// 6: the peer is Primary.
    PeerPrimary,
    /// 7: the peer was shot.
    PeerShot,
    /// The handler is broken.
    Broken {
        /// Its exit code.
        exit: u8,
    },
}

impl FenceResult {
    /// From the exit code.
    pub const fn from_exit(exit: u8) -> Self {
        match exit {
            3 => FenceResult::PeerInconsistent,
            4 => FenceResult::PeerOutdated,
            5 => FenceResult::PeerDown,
            6 => FenceResult::PeerPrimary,
            7 => FenceResult::PeerShot,
            exit => FenceResult::Broken { exit },
        }
    }

    /// The soft, connection-wide change it asks for; `None`: nothing.
    pub fn request(self, volumes: &Summary) -> Option<Request> {
        let nothing = Request::none();
        match self {
            FenceResult::PeerInconsistent => Some(nothing.pdsk(Disk::Inconsistent)),
            FenceResult::PeerOutdated | FenceResult::PeerShot => Some(nothing.pdsk(Disk::Outdated)),
            FenceResult::PeerDown if volumes.highest_disk == Disk::UpToDate => Some(nothing.pdsk(Disk::Outdated)),
            FenceResult::PeerPrimary => Some(nothing.disk(Disk::Outdated)),
            FenceResult::PeerDown | FenceResult::Broken { .. } => None,
        }
    }

    /// A shot peer is worth an error unless the policy asked for it.
    pub fn is_unexpected(self, policy: Fencing) -> bool {
        match self {
            FenceResult::PeerShot => policy != Fencing::ResourceAndStonith,
            FenceResult::Broken { .. } => true,
            _ => false,
        }
    }

    /// One line for the log.
    pub const fn text(self) -> &'static str {
        match self {
            FenceResult::PeerInconsistent => "the peer has only inconsistent data",
            FenceResult::PeerOutdated => "the peer has been outdated",
            FenceResult::PeerDown => "the peer can not be reached and counts as down",
            FenceResult::PeerPrimary => "the peer is primary, so the data here is old",
            FenceResult::PeerShot => "the peer has been switched off",
            FenceResult::Broken { .. } => "the handler gave no answer that means anything",
        }
    }
}

/// RX-22: after a resync, the peer may be released again: fencing is on and every volume is good on both sides.
pub fn unfence_is_due(policy: Option<Fencing>, states: impl IntoIterator<Item = State>) -> bool {
    let wanted = policy.is_some_and(|policy| policy != Fencing::DontCare);
    wanted && states.into_iter().all(|s| s.disk == Disk::UpToDate && s.pdsk == Disk::UpToDate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{evaluate, resource_effects, Facts, Kind, Refusal, Thaw};

    const POLICIES: [Fencing; 2] = [Fencing::ResourceOnly, Fencing::ResourceAndStonith];

    fn running() -> State {
        let connected =
            State { conn: Conn::Connected, peer: Role::Secondary, disk: Disk::UpToDate, pdsk: Disk::UpToDate, ..State::default() };
        State { role: Role::Primary, ..connected }
    }

    #[test]
    fn the_observed_table_of_a_lost_peer_is_reproduced() {
        for policy in POLICIES {
            let facts = Facts { has_net: true, version: 101, fencing: policy, ..Facts::default() };
            let lost = evaluate(&running(), &Request::none().conn(Conn::NetworkFailure), Kind::Hard, &facts).unwrap().unwrap();
            let freezes = policy == Fencing::ResourceAndStonith;
            assert_eq!((lost.susp_fen, lost.pdsk), (freezes, Disk::DUnknown));
            assert!(is_due(&Summary::of([lost])));
            for (exit, expected) in [(3, Disk::Inconsistent), (4, Disk::Outdated), (5, Disk::Outdated), (7, Disk::Outdated)] {
                let request = FenceResult::from_exit(exit).request(&Summary::of([lost])).unwrap();
                let new = evaluate(&lost, &request, Kind::Soft, &facts).unwrap().unwrap();
                assert_eq!(new.pdsk, expected, "exit {exit}");
                assert!(succeeded(&Summary::of([new])));
                let thaw = resource_effects(&[(lost, new)]);
                assert_eq!(thaw.thaw, freezes.then_some(Thaw::LocalOnly));
                assert_eq!(thaw.create_deferred_uuids, freezes);
            }
            // FE-10: a running Primary can not be outdated.
            let request = FenceResult::from_exit(6).request(&Summary::of([lost])).unwrap();
            assert_eq!(evaluate(&lost, &request, Kind::Soft, &facts), Err(Refusal::NoUpToDateDisk));
            for exit in [0, 1] {
                assert_eq!(FenceResult::from_exit(exit).request(&Summary::of([lost])), None);
            }
        }
    }

    #[test]
    fn the_observed_table_of_a_promotion_is_reproduced() {
        let facts = Facts { fencing: Fencing::ResourceOnly, ..Facts::default() };
        let alone = State { disk: Disk::Consistent, ..State::default() };
        for (exit, pdsk) in [(3, Disk::Inconsistent), (4, Disk::Outdated), (7, Disk::Outdated)] {
            let request = FenceResult::from_exit(exit).request(&Summary::of([alone])).unwrap();
            let new = evaluate(&alone, &request, Kind::Soft, &facts).unwrap().unwrap();
            assert_eq!((new.disk, new.pdsk), (Disk::Consistent, pdsk));
            let promote = Request::none().role(Role::Primary).disk(Disk::UpToDate);
            assert!(evaluate(&new, &promote, Kind::Soft, &facts).is_ok());
        }
        assert_eq!(FenceResult::from_exit(5).request(&Summary::of([alone])), None);
        let request = FenceResult::from_exit(6).request(&Summary::of([alone])).unwrap();
        assert_eq!(evaluate(&alone, &request, Kind::Soft, &facts).unwrap().unwrap().disk, Disk::Outdated);
    }

    #[test]
    fn the_policy_of_a_connection_is_the_highest_of_volumes_with_usable_data() {
        assert_eq!(
            policy([(Disk::Inconsistent, Fencing::ResourceAndStonith), (Disk::UpToDate, Fencing::DontCare)]),
            Some(Fencing::DontCare)
        );
        assert_eq!(policy([(Disk::UpToDate, Fencing::ResourceOnly), (Disk::UpToDate, Fencing::DontCare)]), Some(Fencing::ResourceOnly));
        assert_eq!(policy([(Disk::Diskless, Fencing::ResourceOnly)]), None);
        assert!(unfence_is_due(Some(Fencing::ResourceOnly), [running()]));
        assert!(!unfence_is_due(Some(Fencing::DontCare), [running()]));
    }
}
