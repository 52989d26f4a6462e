// SPDX-License-Identifier: GPL-2.0
//! The end of a resync: generations and disk states (behaviour.md UU-11, UU-12, RX-21, RX-22).

use crate::md::Uuids;
use crate::state::{Conn, Disk, Request, Role, State};

/// This node is, or was about to be, the target.
pub const fn is_target(conn: Conn) -> bool {
    matches!(conn, Conn::SyncTarget | Conn::PausedSyncT)
}

/// What a finished resync leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResyncEnd {
    /// Own generations.
    pub uuids: Uuids,
    /// What is remembered of the peer's generations from now on.
    pub peer: Option<Uuids>,
    /// The change of state: hard.
    pub request: Request,
    /// Everything is in sync.
    pub complete: bool,
    /// RX-22: helper after-resync-target has to run.
    pub call_after_resync_target: bool,
}

/// RX-21: whether the resync ends now. `dirty_bits` includes the blocks that failed. A source of version 96 and later waits for the target's
/// report, see [`Meaning::FinishResync`](super::report::Meaning).
pub fn is_over(conn: Conn, dirty_bits: u64, failed_blocks: u64, version: u32) -> bool {
    let decides = is_target(conn) || (matches!(conn, Conn::SyncSource | Conn::PausedSyncS) && version <= 95);
    decides && dirty_bits <= failed_blocks
}

/// Evaluates the end of a resync. `peer` are the generations remembered from the handshake, corrections included. A target that remembers none can not
/// take over the source's generations; it keeps its own, and the next handshake finds out. `left_blocks` are out of sync still, as they failed; one that
/// failed and was in sync later is none of them.
pub fn finish(own: &State, uuids: &Uuids, peer: Option<&Uuids>, left_blocks: u64) -> ResyncEnd {
    let target = is_target(own.conn);
    let connected = Request::none().conn(Conn::Connected);
    if left_blocks != 0 {
        let (disk, pdsk) = if target { (Disk::Inconsistent, Disk::UpToDate) } else { (Disk::UpToDate, Disk::Inconsistent) };
        let request = connected.disk(disk).pdsk(pdsk);
        return ResyncEnd { uuids: *uuids, peer: peer.copied(), request, complete: false, call_after_resync_target: target };
    }
    let mut uuids = *uuids;
    match (target, peer) {
        (true, Some(source)) => uuids.finish_as_target(source, own.role == Role::Primary),
        _ => uuids.clear_bitmap(),
    }
    ResyncEnd {
        uuids,
        peer: peer.map(|_| uuids),
        request: connected.disk(Disk::UpToDate).pdsk(Disk::UpToDate),
        complete: true,
        call_after_resync_target: target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{evaluate, Facts, Kind};

    fn target() -> State {
        State { conn: Conn::SyncTarget, peer: Role::Secondary, disk: Disk::Inconsistent, pdsk: Disk::UpToDate, ..State::default() }
    }

    #[test]
    fn uu_11_target_and_source_end_with_the_same_generations() {
        let source_before = Uuids { current: 0xC0, bitmap: 0xB0, history: [0xA0, 0] };
        let mut source_uuids = source_before;
        let sync = source_uuids.start_as_source(0x77);
        let mut target_uuids = Uuids { current: 0xB0, bitmap: 0, history: [0xA0, 0] };
        target_uuids.start_as_target(sync);
        let end = finish(&target(), &target_uuids, Some(&source_before), 0);
        let source = State { conn: Conn::SyncSource, disk: Disk::UpToDate, pdsk: Disk::Inconsistent, ..target() };
        let other = finish(&source, &source_uuids, Some(&Uuids::default()), 0);
        assert_eq!(end.uuids, other.uuids);
        assert_eq!((end.uuids.history, end.peer), ([sync, 0xB0], Some(end.uuids)));
        assert!(end.call_after_resync_target && !other.call_after_resync_target);
        let new = evaluate(&target(), &end.request, Kind::Hard, &Facts::default()).unwrap().unwrap();
        assert_eq!((new.conn, new.disk, new.pdsk), (Conn::Connected, Disk::UpToDate, Disk::UpToDate));
    }

    #[test]
    fn uu_12_failed_blocks_leave_the_target_inconsistent() {
        let uuids = Uuids { current: 0xB1, ..Uuids::default() };
        let end = finish(&target(), &uuids, Some(&Uuids::default()), 3);
        assert_eq!((end.uuids, end.complete), (uuids, false));
        let new = evaluate(&target(), &end.request, Kind::Hard, &Facts::default()).unwrap().unwrap();
        assert_eq!((new.conn, new.disk, new.pdsk), (Conn::Connected, Disk::Inconsistent, Disk::UpToDate));
    }

    #[test]
    fn rx_21_the_source_waits_for_the_report_of_the_target() {
        assert!(is_over(Conn::SyncTarget, 0, 0, 101));
        assert!(is_over(Conn::SyncTarget, 2, 2, 101));
        assert!(!is_over(Conn::SyncTarget, 3, 2, 101));
        assert!(!is_over(Conn::SyncSource, 0, 0, 101));
        assert!(is_over(Conn::SyncSource, 0, 0, 95));
        assert!(!is_over(Conn::Connected, 0, 0, 101));
    }
}
