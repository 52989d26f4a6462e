// SPDX-License-Identifier: GPL-2.0
//! What a P_STATE of the peer means (wire-protocol.md section 7, behaviour.md 4.2).

use crate::state::{Conn, Disk, State};

/// What to do with a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// The connection is being given up here already.
    Lost,
    /// The peer has finished the resync: finish it here, if no bits are left.
    FinishResync,
    /// The peer has ended the resync without blocks that failed, and stays Inconsistent: it ends here too, and the generations stay (UU-12).
    FinishIncomplete,
    /// The peer has finished the verify.
    FinishVerify,
    /// Nothing more.
    Ignore,
    /// Take over role and disk; run the handshake first when `handshake` says so.
    Adopt {
        /// Run the comparison.
        handshake: bool,
        /// The peer's disk, as it counts here.
        peer_disk: Disk,
        /// Connection state without a resync decision.
        conn: Conn,
    },
}

/// Facts beside the two vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportFacts {
    /// The peer's UUIDs are known.
    pub has_peer_uuids: bool,
    /// Flag 4 of the peer's UUIDs: its disk was found Inconsistent.
    pub peer_found_inconsistent: bool,
    /// SC-8: a resync shall be considered.
    pub consider_resync: bool,
    /// See [`left_behind`].
    pub left_behind: bool,
    /// Blocks of the resync that runs have failed, here or at the peer.
    pub blocks_failed: bool,
}

/// After a change of the vector: this source was Ahead when its resync began, so there was no exchange of bitmaps, and the peer has not been
/// heard of since (CG-3). A report that it sent before it learnt that it was left behind may still come, and looks like the end of the resync. So
/// does one that it sent before the verify which it began looks like the end of that.
///
/// `before` is the fact before the change. A ping ends it, for a peer sends one before it ends a resync or verify (RX-22).
pub fn left_behind(old: &State, new: &State, before: bool) -> bool {
    match new.conn {
        Conn::SyncSource | Conn::PausedSyncS => before || old.conn == Conn::Ahead,
        Conn::VerifyT => before || old.conn != Conn::VerifyT,
        _ => false,
    }
}

/// The peer's disk as it counts: Negotiating is read from the UUID flag.
pub fn real_disk(peer: &State, facts: &ReportFacts) -> Disk {
    match peer.disk {
        Disk::Negotiating if facts.peer_found_inconsistent => Disk::Inconsistent,
        Disk::Negotiating => Disk::Consistent,
        disk => disk,
    }
}

/// Steps 1 to 7 of the reception of P_STATE.
pub fn interpret(own: &State, peer: &State, facts: &ReportFacts) -> Meaning {
    let mut real = real_disk(peer, facts);
    if own.conn <= Conn::TearDown {
        return Meaning::Lost;
    }
    let peer_was_behind = matches!(own.pdsk, Disk::Inconsistent | Disk::Consistent);
    if own.disk == Disk::UpToDate && peer_was_behind && real == Disk::UpToDate && own.conn > Conn::Connected {
        if peer.conn > Conn::Connected && peer.conn < Conn::SyncSource {
            real = Disk::Inconsistent;
        } else if own.conn == Conn::Ahead || facts.left_behind {
            // From before it heard that it is left behind: there is no resync that could have ended.
        } else if own.conn >= Conn::SyncSource && peer.conn == Conn::Connected {
            return Meaning::FinishResync;
        }
    }
    let source = matches!(own.conn, Conn::SyncSource | Conn::PausedSyncS) && !facts.left_behind;
    if source && facts.blocks_failed && real == Disk::Inconsistent && peer.conn == Conn::Connected {
        return Meaning::FinishIncomplete;
    }
    let both_current = own.disk == Disk::UpToDate && real == Disk::UpToDate;
    if own.conn == Conn::VerifyT && both_current && peer.conn == Conn::Connected && !facts.left_behind {
        return Meaning::FinishVerify;
    }
    if own.pdsk == Disk::UpToDate && real == Disk::Inconsistent && own.conn == Conn::Connected && peer.conn > Conn::SyncSource {
        real = Disk::UpToDate;
    }
    let mut conn = if own.conn == Conn::WFReportParams { Conn::Connected } else { own.conn };
    if peer.conn == Conn::Ahead {
        conn = Conn::Behind;
    }
    let comparable = facts.has_peer_uuids && peer.disk >= Disk::Negotiating && own.disk >= Disk::Negotiating;
    let negotiating = peer.disk == Disk::Negotiating || own.disk == Disk::Negotiating;
    let starting = peer.conn >= Conn::StartingSyncS && peer.conn <= Conn::WFBitMapT;
    // HS-1 to HS-4.
    let occasion = own.conn < Conn::Connected
        || (own.conn == Conn::Connected && negotiating)
        || facts.consider_resync
        || (own.conn == Conn::Connected && starting);
    Meaning::Adopt { handshake: comparable && occasion, peer_disk: real, conn }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ov_5_a_report_ends_a_verify_but_not_one_of_a_disk_that_has_failed() {
        let facts = ReportFacts::default();
        let target = State { conn: Conn::VerifyT, disk: Disk::UpToDate, pdsk: Disk::UpToDate, ..State::default() };
        let peer = State { conn: Conn::Connected, ..target };
        assert_eq!(interpret(&target, &peer, &facts), Meaning::FinishVerify);
        // One from before the verify.
        let early = ReportFacts { left_behind: left_behind(&peer, &target, false), ..facts };
        assert!(early.left_behind && left_behind(&target, &target, true) && !left_behind(&target, &target, false));
        assert_eq!(interpret(&target, &peer, &early), Meaning::Adopt { handshake: false, peer_disk: Disk::UpToDate, conn: Conn::VerifyT });
        for disk in [Disk::Failed, Disk::Diskless, Disk::Inconsistent] {
            let expected = Meaning::Adopt { handshake: false, peer_disk: disk, conn: Conn::VerifyT };
            assert_eq!(interpret(&target, &State { disk, ..peer }, &facts), expected);
        }
    }

    #[test]
    fn uu_12_a_report_ends_a_resync_of_which_blocks_failed() {
        let failed = ReportFacts { blocks_failed: true, ..ReportFacts::default() };
        let source = State { conn: Conn::SyncSource, disk: Disk::UpToDate, pdsk: Disk::Inconsistent, ..State::default() };
        let done = State { conn: Conn::Connected, disk: Disk::Inconsistent, pdsk: Disk::UpToDate, ..State::default() };
        let paused = State { conn: Conn::PausedSyncS, ..source };
        assert_eq!(interpret(&source, &done, &failed), Meaning::FinishIncomplete);
        assert_eq!(interpret(&paused, &done, &failed), Meaning::FinishIncomplete);
        // One from before the resync, of which nothing has failed yet, or before the peer knew of it.
        let goes_on = Meaning::Adopt { handshake: false, peer_disk: Disk::Inconsistent, conn: Conn::SyncSource };
        assert_eq!(interpret(&source, &done, &ReportFacts::default()), goes_on);
        assert_eq!(interpret(&source, &done, &ReportFacts { left_behind: true, ..failed }), goes_on);
        assert_eq!(interpret(&source, &State { conn: Conn::SyncTarget, ..done }, &failed), goes_on);
    }

    #[test]
    fn wire_7_step_3_a_report_ends_a_resync_but_not_the_state_ahead() {
        let facts = ReportFacts::default();
        let done = State { conn: Conn::Connected, disk: Disk::UpToDate, pdsk: Disk::UpToDate, ..State::default() };
        let source = State { conn: Conn::SyncSource, disk: Disk::UpToDate, pdsk: Disk::Inconsistent, ..State::default() };
        assert_eq!(interpret(&source, &done, &facts), Meaning::FinishResync);
        let ahead = State { conn: Conn::Ahead, pdsk: Disk::Consistent, ..source };
        assert_eq!(
            interpret(&ahead, &done, &facts),
            Meaning::Adopt { handshake: false, peer_disk: Disk::UpToDate, conn: Conn::Ahead }
        );
        // nor the resync that follows it, before the peer can know of that
        let since = left_behind(&ahead, &source, false);
        let paused = State { conn: Conn::PausedSyncS, ..source };
        assert!(since && left_behind(&source, &paused, since) && !left_behind(&paused, &source, false) && !left_behind(&source, &done, since));
        let facts = ReportFacts { left_behind: since, ..facts };
        assert_eq!(
            interpret(&source, &done, &facts),
            Meaning::Adopt { handshake: false, peer_disk: Disk::UpToDate, conn: Conn::SyncSource }
        );
    }
}
