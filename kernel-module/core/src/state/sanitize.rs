// SPDX-License-Identifier: GPL-2.0
//! Sanitising: turns a wanted vector into one that can exist (behaviour.md 2.2).

use super::rules::{Facts, Fencing};
use super::vector::{Conn, Disk, Role, State};

/// What sanitising changed and an administrator wants to read in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Warnings(u8);

impl Warnings {
    /// SAN-3: a resync ended because a disk went away.
    pub const RESYNC_ABORTED: Warnings = Warnings(1);
    /// SAN-3: an online verify ended because a disk went away, or failed.
    pub const VERIFY_ABORTED: Warnings = Warnings(2);
    /// SAN-4: the connection was lost while the handshake was to decide about the disk.
    pub const NEGOTIATION_LOST: Warnings = Warnings(4);
    /// SAN-6: the own disk counts as better than asked for.
    pub const DISK_UPGRADED: Warnings = Warnings(8);
    /// SAN-6: the peer's disk counts as better than asked for.
    pub const PEER_DISK_UPGRADED: Warnings = Warnings(16);

    const TEXTS: [(Warnings, &'static str); 5] = [
        (Warnings::RESYNC_ABORTED, "resync aborted: a disk is gone"),
        (Warnings::VERIFY_ABORTED, "online verify aborted: a disk is gone or incomplete"),
        (Warnings::NEGOTIATION_LOST, "connection lost while negotiating: the disk can not be used"),
        (Warnings::DISK_UPGRADED, "disk state implicitly upgraded"),
        (Warnings::PEER_DISK_UPGRADED, "peer disk state implicitly upgraded"),
    ];

    /// Any of `other`.
    pub const fn has(self, other: Warnings) -> bool {
        self.0 & other.0 != 0
    }

    /// Nothing to say.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// A line for each warning.
    pub fn lines(self) -> impl Iterator<Item = &'static str> {
        Self::TEXTS.into_iter().filter(move |row| self.has(row.0)).map(|row| row.1)
    }

    fn add(&mut self, warning: Warnings) {
        self.0 |= warning.0;
    }
}

/// Minimum and maximum of disk and peer disk for a connection state (the clamp table of 2.2).
pub const fn clamp(conn: Conn) -> ((Disk, Disk), (Disk, Disk)) {
    use Disk::{Consistent, DUnknown, Diskless, Inconsistent, Outdated, UpToDate};
    const CURRENT: (Disk, Disk) = (UpToDate, UpToDate);
    match conn {
        Conn::WFBitMapT | Conn::PausedSyncT | Conn::StartingSyncT | Conn::WFSyncUUID | Conn::Behind => ((Inconsistent, Outdated), CURRENT),
        Conn::VerifyS | Conn::VerifyT => (CURRENT, CURRENT),
        Conn::Connected => ((Diskless, UpToDate), (Diskless, UpToDate)),
        Conn::WFBitMapS | Conn::PausedSyncS | Conn::StartingSyncS | Conn::Ahead => (CURRENT, (Inconsistent, Consistent)),
        Conn::SyncTarget => ((Inconsistent, Inconsistent), CURRENT),
        Conn::SyncSource => (CURRENT, (Inconsistent, Inconsistent)),
        _ => ((Diskless, UpToDate), (Inconsistent, DUnknown)),
    }
}

/// SAN-1 to SAN-9: turns a wanted vector into one that can exist.
pub fn sanitize(old: &State, wanted: State, facts: &Facts) -> State {
    sanitize_with_warnings(old, wanted, facts).0
}

/// As [`sanitize`], and what to write to the log about it.
pub fn sanitize_with_warnings(old: &State, wanted: State, facts: &Facts) -> (State, Warnings) {
    let mut warnings = Warnings::default();
    let mut new = wanted;
    lost_connection(&mut new, facts, &mut warnings);
    let incomplete = new.disk <= Disk::Inconsistent || new.pdsk <= Disk::Inconsistent;
    if old.conn.is_verify() && new.conn.is_verify() && incomplete {
        // Not part of SAN-3: the clamps would take an error that is passed on for nothing, and the copy for a good one.
        warnings.add(Warnings::VERIFY_ABORTED);
        new.conn = Conn::Connected;
    }
    if new.conn >= Conn::Connected && new.conn < Conn::Ahead {
        // SAN-5
        for disk in [&mut new.disk, &mut new.pdsk] {
            if matches!(*disk, Disk::Consistent | Disk::Outdated) {
                *disk = Disk::UpToDate;
            }
        }
    }
    keep_within_limits(&mut new, &mut warnings);
    suspend(old, &mut new, facts);
    new.conn = match (new.conn, new.is_paused()) {
        // SAN-9
        (Conn::SyncSource, true) => Conn::PausedSyncS,
        (Conn::SyncTarget, true) => Conn::PausedSyncT,
        (Conn::PausedSyncS, false) => Conn::SyncSource,
        (Conn::PausedSyncT, false) => Conn::SyncTarget,
        (conn, _) => conn,
    };
    // SAN-9 may have moved a target or source to its stricter running state.
    keep_within_limits(&mut new, &mut warnings);
    (new, warnings)
}

/// SAN-1 to SAN-4: what can not be known or go on without the peer or without a disk.
fn lost_connection(new: &mut State, facts: &Facts, warnings: &mut Warnings) {
    if new.conn < Conn::Connected {
        // SAN-1
        new.peer_isp = false;
        new.peer = Role::Unknown;
        if new.pdsk > Disk::DUnknown || new.pdsk < Disk::Inconsistent {
            new.pdsk = Disk::DUnknown;
        }
    }
    if new.conn == Conn::StandAlone && new.disk == Disk::Diskless && new.role == Role::Secondary {
        new.aftr_isp = false; // SAN-2
    }
    if new.conn > Conn::Connected && (new.disk <= Disk::Failed || new.pdsk <= Disk::Failed) {
        // SAN-3
        warnings.add(if new.conn.is_verify() { Warnings::VERIFY_ABORTED } else { Warnings::RESYNC_ABORTED });
        // Not part of SAN-3: a target that has not got what it lacks does not become current by SAN-5.
        let behind = matches!(new.conn, Conn::StartingSyncT | Conn::WFBitMapT | Conn::WFSyncUUID | Conn::PausedSyncT | Conn::Behind);
        let ahead = matches!(new.conn, Conn::StartingSyncS | Conn::WFBitMapS | Conn::PausedSyncS | Conn::Ahead);
        for (affected, disk) in [(behind, &mut new.disk), (ahead, &mut new.pdsk)] {
            if affected && matches!(*disk, Disk::Outdated | Disk::Consistent) {
                *disk = Disk::Inconsistent;
            }
        }
        new.conn = Conn::Connected;
    }
    if new.conn < Conn::Connected && new.disk == Disk::Negotiating {
        // SAN-4
        (new.disk, new.pdsk) = match facts.negotiated_disk {
            Some(found) if facts.generation_matches => found,
            _ => {
                warnings.add(Warnings::NEGOTIATION_LOST);
                (Disk::Diskless, Disk::DUnknown)
            }
        };
    }
}

/// SAN-6.
fn keep_within_limits(new: &mut State, warnings: &mut Warnings) {
    let (own, peer) = clamp(new.conn);
    if new.disk < own.0 {
        warnings.add(Warnings::DISK_UPGRADED);
    }
    if new.pdsk < peer.0 {
        warnings.add(Warnings::PEER_DISK_UPGRADED);
    }
    new.disk = new.disk.clamp(own.0, own.1);
    new.pdsk = new.pdsk.clamp(peer.0, peer.1);
}

/// SAN-7 and SAN-8: freeze when the change is what made it necessary.
fn suspend(old: &State, new: &mut State, facts: &Facts) {
    let lost = |s: &State| s.role == Role::Primary && s.conn < Conn::Connected && s.pdsk > Disk::Outdated;
    if facts.fencing == Fencing::ResourceAndStonith && lost(new) && !lost(old) {
        new.susp_fen = true; // SAN-7
    }
    let no_data = |s: &State| s.role == Role::Primary && s.disk < Disk::UpToDate && s.pdsk < Disk::UpToDate;
    if facts.suspend_on_no_data && no_data(new) && !no_data(old) {
        new.susp_nod = true; // SAN-8
    }
}
