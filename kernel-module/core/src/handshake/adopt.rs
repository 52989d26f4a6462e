// SPDX-License-Identifier: GPL-2.0
//! From the meaning of a P_STATE and the decision of the handshake to the new vector (behaviour.md 4.4, HS-9, HS-40 to HS-43,
//! wire-protocol.md section 7 steps 7 to 9).
//!
//! Order: [`interpret`](super::report::interpret), then, if it asks for a handshake, [`decide`](super::decide::decide); a full sync sets all bits
//! and writes the bitmap (failure counts as a refusal); then [`adopt`]; its change goes through [`evaluate`](crate::state::evaluate).

use super::decide::Action;
use crate::state::{Conn, Disk, Kind, State};

/// Facts beside the vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AdoptFacts {
    /// Own disk as found at attach, while Negotiating.
    pub found_at_attach: Disk,
    /// A new current UUID was put off while suspended (UU-7).
    pub uuid_deferred: bool,
    /// The connection was lost in a handshake whose end the peer may have seen: what it says of its disk now includes its own verdict.
    pub verdict_missed: bool,
    /// The peer only wants to see what would happen.
    pub dry_run_by_peer: bool,
}

/// What to do with the report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adoption {
    /// HS-40: own disk hard to Failed, then interpret the report again with the new vector.
    FailOwnDisk,
    /// HS-42: hard to Disconnecting.
    Refuse,
    /// HS-42, dry run asked for by the peer: hard to ProtocolError.
    ResetConnection,
    /// HS-9: the peer has rebooted, or may have, and frozen requests can not be sent again: fail pending remote requests, new current UUID, hard to
    /// ProtocolError, clear susp.
    AbortFrozen,
    /// Change the vector. A refusal of a soft change means Disconnecting (HS-43).
    Change {
        /// The wanted vector, to be sanitised.
        wanted: State,
        /// Soft when the change establishes the connection.
        kind: Kind,
        /// HS-41: the attach of the peer is refused; it counts as Diskless.
        peer_attach_aborted: bool,
    },
}

/// Builds the new vector. `peer_disk` and `conn` come from [`Meaning::Adopt`](super::report::Meaning), `action` from the decision if there was
/// one.
pub fn adopt(own: &State, peer: &State, peer_disk: Disk, conn: Conn, action: Option<Action>, facts: &AdoptFacts) -> Adoption {
    let mut peer_attach_aborted = false;
    let (conn, pdsk) = match action {
        None | Some(Action::None) => (conn, peer_disk),
        Some(Action::Source { .. }) => (Conn::WFBitMapS, peer_disk),
        Some(Action::Target { .. }) => (Conn::WFBitMapT, peer_disk),
        Some(Action::Refuse(_)) if own.disk == Disk::Negotiating => return Adoption::FailOwnDisk,
        Some(Action::Refuse(_)) if peer.disk == Disk::Negotiating => {
            peer_attach_aborted = true;
            (Conn::Connected, Disk::Diskless)
        }
        Some(Action::Refuse(_)) if facts.dry_run_by_peer => return Adoption::ResetConnection,
        Some(Action::Refuse(_)) => return Adoption::Refuse,
    };
    // Data that was not compared with the peer's stays Negotiating: a peer that refused the attach says nothing (HS-41), and its next
    // report must not make this disk current.
    let compared = action.is_some() || peer.disk < Disk::Negotiating;
    let negotiated = own.disk == Disk::Negotiating && compared && matches!(conn, Conn::Connected | Conn::WFBitMapS);
    let wanted = State {
        conn,
        pdsk,
        disk: if negotiated { facts.found_at_attach } else { own.disk },
        peer: peer.role,
        peer_isp: peer.aftr_isp || peer.user_isp,
        ..*own
    };
    let establishes = own.conn < Conn::Connected && conn >= Conn::Connected;
    // A peer that has rebooted is Consistent until it has met this node; then it is UpToDate like one that has not.
    let rebooted = pdsk == Disk::Consistent || facts.verdict_missed;
    if establishes && conn == Conn::Connected && rebooted && own.is_suspended() && facts.uuid_deferred {
        return Adoption::AbortFrozen;
    }
    let kind = if establishes { Kind::Soft } else { Kind::Hard };
    Adoption::Change { wanted, kind, peer_attach_aborted }
}

/// Step 9: this node wants a resync which the peer does not know of yet: send UUIDs and state, so that it decides as well. A verify is none: what a
/// peer that attaches meanwhile takes for the answer to its own UUIDs would be out of date.
pub fn must_repeat(old: &State, new: &State, peer: &State) -> bool {
    let resyncs = new.conn > Conn::Connected && !new.conn.is_verify();
    old.conn > Conn::WFReportParams && resyncs && peer.conn <= Conn::Connected && peer.disk != Disk::Negotiating
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::decide::Reason;
    use crate::state::Role;

    fn connecting() -> State {
        State { conn: Conn::WFReportParams, disk: Disk::UpToDate, ..State::default() }
    }

    fn remote(disk: Disk) -> State {
        State { conn: Conn::WFConnection, disk, ..State::default() }
    }

    fn change(adoption: Adoption) -> (State, Kind, bool) {
        match adoption {
            Adoption::Change { wanted, kind, peer_attach_aborted } => (wanted, kind, peer_attach_aborted),
            other => panic!("{other:?}"),
        }
    }

    const REFUSED: Option<Action> = Some(Action::Refuse(Reason::SplitBrain));

    #[test]
    fn hs_43_only_the_change_that_establishes_is_soft() {
        let facts = AdoptFacts::default();
        let peer = State { role: Role::Primary, user_isp: true, ..remote(Disk::UpToDate) };
        let (wanted, kind, _) = change(adopt(&connecting(), &peer, peer.disk, Conn::Connected, Some(Action::None), &facts));
        assert_eq!(
            (wanted.conn, wanted.pdsk, wanted.peer, wanted.peer_isp, kind),
            (Conn::Connected, Disk::UpToDate, Role::Primary, true, Kind::Soft)
        );
        let connected = State { conn: Conn::Connected, ..connecting() };
        assert_eq!(change(adopt(&connected, &peer, peer.disk, Conn::Connected, None, &facts)).1, Kind::Hard);
    }

    #[test]
    fn hs_41_a_disk_that_was_not_compared_does_not_become_current() {
        let own = State { conn: Conn::Connected, disk: Disk::Negotiating, pdsk: Disk::UpToDate, ..State::default() };
        let facts = AdoptFacts { found_at_attach: Disk::UpToDate, ..AdoptFacts::default() };
        let disk = |peer_disk: Disk, action| change(adopt(&own, &remote(peer_disk), peer_disk, Conn::Connected, action, &facts)).0.disk;
        assert_eq!(disk(Disk::UpToDate, None), Disk::Negotiating, "the peer refused, and reports something else");
        assert_eq!(disk(Disk::UpToDate, Some(Action::None)), Disk::UpToDate);
        assert_eq!(disk(Disk::Diskless, None), Disk::UpToDate, "there is nothing to compare with");
    }

    #[test]
    fn hs_40_41_42_a_refusal_depends_on_whose_disk_is_negotiating() {
        let facts = AdoptFacts::default();
        let own = State { conn: Conn::Connected, disk: Disk::Negotiating, ..connecting() };
        assert_eq!(adopt(&own, &remote(Disk::UpToDate), Disk::UpToDate, Conn::Connected, REFUSED, &facts), Adoption::FailOwnDisk);
        let own = State { conn: Conn::Connected, ..connecting() };
        let peer = remote(Disk::Negotiating);
        let (wanted, _, aborted) = change(adopt(&own, &peer, Disk::Consistent, Conn::Connected, REFUSED, &facts));
        assert_eq!((wanted.conn, wanted.pdsk, aborted), (Conn::Connected, Disk::Diskless, true));
        let peer = remote(Disk::UpToDate);
        assert_eq!(adopt(&connecting(), &peer, peer.disk, Conn::Connected, REFUSED, &facts), Adoption::Refuse);
        let dry = AdoptFacts { dry_run_by_peer: true, ..facts };
        assert_eq!(adopt(&connecting(), &peer, peer.disk, Conn::Connected, REFUSED, &dry), Adoption::ResetConnection);
    }

    #[test]
    fn hs_9_frozen_requests_are_given_up_when_the_peer_comes_back_consistent() {
        let own = State { role: Role::Primary, susp_fen: true, ..connecting() };
        let peer = remote(Disk::Consistent);
        let facts = AdoptFacts { uuid_deferred: true, ..AdoptFacts::default() };
        assert_eq!(adopt(&own, &peer, peer.disk, Conn::Connected, Some(Action::None), &facts), Adoption::AbortFrozen);
        let resync = adopt(&own, &peer, peer.disk, Conn::Connected, Some(Action::Source { full: false }), &facts);
        assert_eq!(change(resync).0.conn, Conn::WFBitMapS);
        let met = remote(Disk::UpToDate);
        assert_eq!(change(adopt(&own, &met, met.disk, Conn::Connected, Some(Action::None), &facts)).0.conn, Conn::Connected);
        let half = AdoptFacts { verdict_missed: true, ..facts };
        assert_eq!(adopt(&own, &met, met.disk, Conn::Connected, Some(Action::None), &half), Adoption::AbortFrozen);
        let early = AdoptFacts::default();
        assert_eq!(change(adopt(&own, &peer, peer.disk, Conn::Connected, Some(Action::None), &early)).0.conn, Conn::Connected);
    }

    #[test]
    fn a_negotiating_disk_becomes_what_was_found_unless_it_will_be_target() {
        let own = State { conn: Conn::Connected, disk: Disk::Negotiating, ..connecting() };
        let peer = remote(Disk::UpToDate);
        let facts = AdoptFacts { found_at_attach: Disk::Outdated, ..AdoptFacts::default() };
        for (action, expected) in [
            (Action::None, Disk::Outdated),
            (Action::Source { full: false }, Disk::Outdated),
            (Action::Target { full: false }, Disk::Negotiating),
        ] {
            let (wanted, ..) = change(adopt(&own, &peer, peer.disk, Conn::Connected, Some(action), &facts));
            assert_eq!(wanted.disk, expected, "{action:?}");
        }
    }

    #[test]
    fn wire_7_step_9_the_peer_is_told_about_a_resync_it_does_not_know_of() {
        let old = State { conn: Conn::Connected, ..connecting() };
        let new = State { conn: Conn::WFBitMapS, ..old };
        let peer = State { conn: Conn::Connected, ..remote(Disk::Inconsistent) };
        assert!(must_repeat(&old, &new, &peer));
        assert!(!must_repeat(&connecting(), &new, &peer));
        assert!(!must_repeat(&old, &new, &State { conn: Conn::WFBitMapT, ..peer }));
        assert!(!must_repeat(&old, &new, &State { disk: Disk::Negotiating, ..peer }));
        assert!(!must_repeat(&old, &old, &peer));
        assert!(!must_repeat(&old, &State { conn: Conn::VerifyS, ..new }, &peer));
    }
}
