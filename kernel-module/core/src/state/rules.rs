// SPDX-License-Identifier: GPL-2.0
//! Facts and refusals (behaviour.md 2.3 to 2.6). Sanitising is in [`super::sanitize`].

pub use super::sanitize::{clamp, sanitize};
use super::vector::{Conn, Disk, Role, State};

/// Fencing policy of a disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Fencing {
    /// No fencing.
    #[default]
    DontCare,
    /// Fence, I/O goes on.
    ResourceOnly,
    /// Freeze I/O until the peer is fenced.
    ResourceAndStonith,
}

/// Configuration and circumstances the rules look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// A network configuration exists.
    pub has_net: bool,
    /// allow-two-primaries.
    pub two_primaries: bool,
    /// Fencing policy; DontCare without a usable local disk.
    pub fencing: Fencing,
    /// on-no-data-accessible is suspend-io.
    pub suspend_on_no_data: bool,
    /// The device is open.
    pub is_open: bool,
    /// The peer is Primary on some volume of the resource.
    pub peer_primary_elsewhere: bool,
    /// verify-alg is set.
    pub has_verify: bool,
    /// Agreed protocol version; 0 when not connected.
    pub version: u32,
    /// The own state was sent, the peer's has not been processed for all volumes (ST-9).
    pub state_sent: bool,
    /// Own data generation equals the one on disk (SAN-4): attach may keep its result.
    pub generation_matches: bool,
    /// Disk and peer disk as found at attach, for SAN-4.
    pub negotiated_disk: Option<(Disk, Disk)>,
}

/// A refusal with its code (behaviour.md 2.6). Always the operator's or the cluster's doing, never an internal error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Refusal {
    /// Two primaries are not allowed.
    TwoPrimaries = -1,
    /// No up-to-date data.
    NoUpToDateDisk = -2,
    /// No local disk for a resync.
    NoLocalDisk = -4,
    /// No remote disk for a resync.
    NoRemoteDisk = -5,
    /// Must not be Outdated while connected.
    ConnectedOutdates = -6,
    /// Primary while the peer is not outdated.
    PrimaryNop = -7,
    /// Resync or verify runs already.
    ResyncRunning = -8,
    /// Already StandAlone.
    AlreadyStandAlone = -9,
    /// The peer refused.
    RefusedByPeer = -10,
    /// Device is diskless.
    IsDiskless = -11,
    /// Device is open.
    InUse = -12,
    /// No network configuration.
    NoNetConfig = -13,
    /// No verify algorithm.
    NoVerifyAlgorithm = -14,
    /// A connection is needed.
    NeedConnection = -15,
    /// Disk is lower than Outdated.
    LowerThanOutdated = -16,
    /// The protocol does not support it.
    NotSupported = -17,
    /// Transient: try again after the next state change.
    InTransientState = -18,
    /// Concurrent change.
    Concurrent = -19,
    /// The peer is Primary on another volume.
    OtherVolumePeerPrimary = -20,
    /// A graceful outdate needs a connection.
    OutdateWithoutConnection = -21,
}

impl Refusal {
    const ALL: [Refusal; 20] = [
        Refusal::TwoPrimaries,
        Refusal::NoUpToDateDisk,
        Refusal::NoLocalDisk,
        Refusal::NoRemoteDisk,
        Refusal::ConnectedOutdates,
        Refusal::PrimaryNop,
        Refusal::ResyncRunning,
        Refusal::AlreadyStandAlone,
        Refusal::RefusedByPeer,
        Refusal::IsDiskless,
        Refusal::InUse,
        Refusal::NoNetConfig,
        Refusal::NoVerifyAlgorithm,
        Refusal::NeedConnection,
        Refusal::LowerThanOutdated,
        Refusal::NotSupported,
        Refusal::InTransientState,
        Refusal::Concurrent,
        Refusal::OtherVolumePeerPrimary,
        Refusal::OutdateWithoutConnection,
    ];

    /// The code on wire and netlink.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// From a code; anything unknown that is not positive counts as refused by the peer.
    pub fn from_code(code: i32) -> Self {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code).unwrap_or(Refusal::RefusedByPeer)
    }

    /// The text the kernel log and the tools show.
    pub const fn text(self) -> &'static str {
        match self {
            Refusal::TwoPrimaries => "Multiple primaries not allowed by config",
            Refusal::NoUpToDateDisk => "Need access to UpToDate data",
            Refusal::NoLocalDisk => "Can not resync without local disk",
            Refusal::NoRemoteDisk => "Can not resync without remote disk",
            Refusal::ConnectedOutdates => "Refusing to be Outdated while Connected",
            Refusal::PrimaryNop => "Refusing to be Primary while peer is not outdated",
            Refusal::ResyncRunning => "Can not start OV/resync since it is already active",
            Refusal::AlreadyStandAlone => "Can not disconnect a StandAlone device",
            Refusal::RefusedByPeer => "State change was refused by peer node",
            Refusal::IsDiskless => "Device is diskless, the requested operation requires a disk",
            Refusal::InUse => "Device is held open by someone",
            Refusal::NoNetConfig => "Have no net/connection configuration",
            Refusal::NoVerifyAlgorithm => "Need a verify algorithm to start online verify",
            Refusal::NeedConnection => "Need a connection to start verify or resync",
            Refusal::LowerThanOutdated => "Disk state is lower than outdated",
            Refusal::NotSupported => "Peer does not support protocol",
            Refusal::InTransientState => "In transient state, retry after next state change",
            Refusal::Concurrent => "Concurrent state changes detected and aborted",
            Refusal::OtherVolumePeerPrimary => "Other vol primary on peer not allowed by config",
            Refusal::OutdateWithoutConnection => "Need a connection for a graceful disconnect/outdate peer",
        }
    }
}

/// HT-1 to HT-6: how a connection may move, with or without volumes.
pub fn conn_transition(from: Conn, to: Conn) -> Result<(), Refusal> {
    if from == to {
        return Ok(());
    }
    if from == Conn::StandAlone && to == Conn::Disconnecting {
        return Err(Refusal::AlreadyStandAlone);
    }
    if from == Conn::StandAlone && to != Conn::Unconnected {
        return Err(Refusal::NeedConnection);
    }
    if from < Conn::WFReportParams && to >= Conn::Connected {
        return Err(Refusal::NeedConnection);
    }
    if from.is_failure() && !matches!(to, Conn::Unconnected | Conn::Disconnecting) {
        return Err(Refusal::InTransientState);
    }
    if from == Conn::Disconnecting && to != Conn::StandAlone {
        return Err(Refusal::InTransientState);
    }
    Ok(())
}

/// HT-1 to HT-7: applies to every change.
pub fn hard_transition(old: &State, new: &State) -> Result<(), Refusal> {
    if old.disk == Disk::Diskless && new.disk == Disk::Failed {
        return Err(Refusal::IsDiskless); // HT-7 overrides
    }
    conn_transition(old.conn, new.conn)
}

/// VS-1 to VS-15: which vectors are refused; the first match counts.
pub fn valid_state(new: &State, facts: &Facts) -> Result<(), Refusal> {
    let primary = new.role == Role::Primary;
    if facts.has_net && !facts.two_primaries && primary {
        if new.peer == Role::Primary {
            return Err(Refusal::TwoPrimaries);
        }
        if facts.peer_primary_elsewhere {
            return Err(Refusal::OtherVolumePeerPrimary);
        }
    }
    let syncing = new.conn > Conn::Connected;
    let rules = [
        (new.role == Role::Secondary && facts.is_open, Refusal::InUse),
        (primary && new.conn < Conn::Connected && new.disk < Disk::UpToDate, Refusal::NoUpToDateDisk),
        (
            facts.fencing >= Fencing::ResourceOnly && primary && new.conn < Conn::Connected && new.pdsk >= Disk::DUnknown,
            Refusal::PrimaryNop,
        ),
        (primary && new.disk <= Disk::Inconsistent && new.pdsk <= Disk::Inconsistent, Refusal::NoUpToDateDisk),
        (syncing && new.disk < Disk::Inconsistent, Refusal::NoLocalDisk),
        (syncing && new.pdsk < Disk::Inconsistent, Refusal::NoRemoteDisk),
        (syncing && new.disk < Disk::UpToDate && new.pdsk < Disk::UpToDate, Refusal::NoUpToDateDisk),
        (
            matches!(new.conn, Conn::Connected | Conn::WFBitMapS | Conn::SyncSource | Conn::PausedSyncS) && new.disk == Disk::Outdated,
            Refusal::ConnectedOutdates,
        ),
        (new.conn.is_verify() && !facts.has_verify, Refusal::NoVerifyAlgorithm),
        (new.conn.is_verify() && facts.version < 88, Refusal::NotSupported),
        (primary && new.disk < Disk::UpToDate && new.pdsk < Disk::UpToDate, Refusal::NoUpToDateDisk),
        (matches!(new.conn, Conn::StartingSyncS | Conn::StartingSyncT) && new.pdsk == Disk::DUnknown, Refusal::NeedConnection),
        (new.conn >= Conn::Connected && new.pdsk == Disk::DUnknown, Refusal::ConnectedOutdates),
    ];
    rules.into_iter().find(|rule| rule.0).map_or(Ok(()), |rule| Err(rule.1))
}

/// STR-1 to STR-13: transitions refused to soft changes; the last match counts.
pub fn soft_transition(old: &State, new: &State, facts: &Facts) -> Result<(), Refusal> {
    let to = |conns: &[Conn]| conns.contains(&new.conn);
    let starting = to(&[Conn::StartingSyncS, Conn::StartingSyncT]);
    let verify = new.conn.is_verify();
    let moved = new.conn != old.conn;
    let connecting = (old.conn == Conn::WFConnection && new.conn == Conn::WFReportParams)
        || (old.conn == Conn::WFReportParams && new.conn >= Conn::Connected);
    let promoted = old.role != Role::Primary && new.role == Role::Primary;
    let rules = [
        (starting && old.conn > Conn::Connected, Refusal::ResyncRunning),
        (new.conn == Conn::Disconnecting && old.conn == Conn::StandAlone, Refusal::AlreadyStandAlone),
        (new.disk > Disk::Attaching && old.disk == Disk::Diskless, Refusal::IsDiskless),
        (new.conn == Conn::WFConnection && old.conn < Conn::Unconnected, Refusal::NoNetConfig),
        (new.disk == Disk::Outdated && old.disk < Disk::Outdated && old.disk != Disk::Attaching, Refusal::LowerThanOutdated),
        (new.conn == Conn::Disconnecting && old.conn == Conn::Unconnected, Refusal::InTransientState),
        (facts.state_sent && !connecting, Refusal::InTransientState),
        (
            promoted
                && new.pdsk == Disk::UpToDate
                && !matches!(new.disk, Disk::UpToDate | Disk::Diskless)
                && (new.conn <= Conn::WFSyncUUID || moved),
            Refusal::InTransientState,
        ),
        // OV-1; sanitising would declare both copies UpToDate.
        (verify && moved && (old.disk != Disk::UpToDate || old.pdsk != Disk::UpToDate), Refusal::NoUpToDateDisk),
        (verify && old.conn < Conn::Connected, Refusal::NeedConnection),
        (verify && moved && old.conn > Conn::Connected, Refusal::ResyncRunning),
        (starting && old.conn < Conn::Connected, Refusal::NeedConnection),
        (to(&[Conn::SyncTarget, Conn::SyncSource]) && old.conn < Conn::WFReportParams, Refusal::NeedConnection),
        (
            new.conn == Conn::Disconnecting && new.pdsk == Disk::Outdated && old.conn < Conn::Connected && old.pdsk > Disk::Outdated,
            Refusal::OutdateWithoutConnection,
        ),
    ];
    rules.into_iter().rev().find(|rule| rule.0).map_or(Ok(()), |rule| Err(rule.1))
}
