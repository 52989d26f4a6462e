// SPDX-License-Identifier: GPL-2.0
//! What a state vector allows: predicates that requests, metadata writers and reports ask (behaviour.md 1.3, 6.3, 6.6).

use super::vector::{Conn, Disk, Role, State};

/// How far the local disk may serve reads (RD-1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalRead {
    /// Every block.
    Always,
    /// Blocks that are not marked out of sync.
    IfInSync,
    /// None.
    Never,
}

/// After a change of the vector: the local disk may lack blocks without a bit here, so nothing is read from it (RD-1). An Outdated copy may; an
/// Inconsistent one from its attach, or the start of an exchange of bitmaps, until that is over. `before`: the same before the change.
pub fn bits_missing(old: &State, new: &State, before: bool) -> bool {
    match new.disk {
        Disk::Outdated | Disk::Consistent => true,
        Disk::Inconsistent if matches!(new.conn, Conn::WFSyncUUID | Conn::SyncTarget | Conn::PausedSyncT) => false,
        Disk::Inconsistent => before || new.conn == Conn::WFBitMapT || old.disk < Disk::Inconsistent,
        _ => false,
    }
}

impl State {
    /// The local disk may be referenced for data and bitmap (disk >= Inconsistent).
    pub fn has_disk(&self) -> bool {
        self.disk >= Disk::Inconsistent
    }

    /// The superblock may still be written (disk >= Failed).
    pub fn may_write_metadata(&self) -> bool {
        self.disk >= Disk::Failed
    }

    /// P_UUIDS belongs to what this node reports (disk >= Negotiating).
    pub fn sends_uuids(&self) -> bool {
        self.disk >= Disk::Negotiating
    }

    /// RD-1.
    pub const fn local_read(&self) -> LocalRead {
        match self.disk {
            Disk::UpToDate => LocalRead::Always,
            Disk::Inconsistent => LocalRead::IfInSync,
            _ => LocalRead::Never,
        }
    }

    /// RD-2: the peer can serve reads.
    pub const fn may_read_remotely(&self) -> bool {
        matches!(self.pdsk, Disk::UpToDate)
    }

    /// WR-7: a write reaches current data somewhere.
    pub const fn may_write(&self) -> bool {
        matches!(self.disk, Disk::UpToDate) || matches!(self.pdsk, Disk::UpToDate)
    }

    /// RD-5: reads of the peer are served.
    pub const fn serves_peer_reads(&self) -> bool {
        matches!(self.disk, Disk::UpToDate)
    }

    /// AL-8: writes of the peer go through the local activity log and set bits, because the peer has no disk.
    pub fn logs_peer_writes(&self) -> bool {
        self.pdsk < Disk::Inconsistent
    }

    /// FE-9: the peer is fenced, so frozen I/O goes on without it, with the generation that was put off (UU-7).
    pub fn thaws_by_fencing(&self) -> bool {
        self.susp_fen && self.pdsk <= Disk::Outdated
    }

    /// Nothing is configured: `/proc/drbd` shows `cs:Unconfigured`.
    pub const fn is_unconfigured(&self) -> bool {
        matches!((self.conn, self.disk, self.role), (Conn::StandAlone, Disk::Diskless, Role::Secondary))
    }

    /// Replication state of the volume as user space sees it: at least WFReportParams (behaviour.md 1.2).
    pub fn replication(&self) -> Conn {
        self.conn.max(Conn::WFReportParams)
    }

    /// A congested link may pull this node ahead (section 6.5): only from plain replication, with own good data.
    pub fn may_pull_ahead(&self) -> bool {
        self.conn == Conn::Connected && self.disk == Disk::UpToDate
    }
}

impl Role {
    /// The higher of two roles: Primary beats Secondary beats Unknown.
    pub const fn max(self, other: Role) -> Role {
        match (self, other) {
            (Role::Primary, _) | (_, Role::Primary) => Role::Primary,
            (Role::Secondary, _) | (_, Role::Secondary) => Role::Secondary,
            _ => Role::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rd_1_bits_are_missing_until_those_of_the_source_are_known() {
        let state = |conn: Conn, disk: Disk| State { conn, disk, ..State::default() };
        let alone = state(Conn::WFConnection, Disk::Inconsistent);
        let current = state(Conn::Connected, Disk::UpToDate);
        let passed_on = state(Conn::Connected, Disk::Inconsistent);
        assert!(!bits_missing(&current, &passed_on, false), "what failed is marked");
        assert!(!bits_missing(&passed_on, &alone, false));
        assert!(bits_missing(&state(Conn::Connected, Disk::Negotiating), &state(Conn::WFBitMapT, Disk::Inconsistent), false));
        assert!(bits_missing(&state(Conn::WFConnection, Disk::Attaching), &alone, false));
        let exchange = state(Conn::WFBitMapT, Disk::Inconsistent);
        assert!(bits_missing(&passed_on, &exchange, false) && bits_missing(&exchange, &alone, true), "the exchange broke off");
        assert!(!bits_missing(&exchange, &state(Conn::WFSyncUUID, Disk::Inconsistent), true));
        assert!(!bits_missing(&state(Conn::SyncTarget, Disk::Inconsistent), &alone, false));
        assert!(bits_missing(&alone, &state(Conn::WFConnection, Disk::Outdated), false));
        assert!(!bits_missing(&passed_on, &current, true));
    }
}
