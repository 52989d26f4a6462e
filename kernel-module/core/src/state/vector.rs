// SPDX-License-Identifier: GPL-2.0
//! The state vector (behaviour.md section 1, wire-protocol.md section 7).

use core::fmt;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident, $default:ident: $($(#[$vdoc:meta])* $variant:ident = $value:expr, $text:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$vdoc])* $variant = $value,)*
        }

        impl $name {
            /// All values, ascending.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// From its number; `None` for one without meaning.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($value => Some($name::$variant),)*
                    _ => None,
                }
            }

            /// Its number on wire, disk and netlink.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// Its name in /proc/drbd and the tools.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::$default
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

states! {
    /// Role of a node. The numeric order has no meaning.
    Role, Unknown:
    /// No connection: the peer's role is not known.
    Unknown = 0, "Unknown";
    /// May be written.
    Primary = 1, "Primary";
    /// May not.
    Secondary = 2, "Secondary";
}

states! {
    /// Connection and replication state.
    Conn, StandAlone:
    /// No network configuration.
    StandAlone = 0, "StandAlone";
    /// On the way to StandAlone.
    Disconnecting = 1, "Disconnecting";
    /// Between attempts.
    Unconnected = 2, "Unconnected";
    /// Gave up waiting for the peer.
    Timeout = 3, "Timeout";
    /// Data socket closed, reset or failed.
    BrokenPipe = 4, "BrokenPipe";
    /// Meta socket failed, or no answer to a ping.
    NetworkFailure = 5, "NetworkFailure";
    /// A packet could not be handled.
    ProtocolError = 6, "ProtocolError";
    /// The peer disconnected gracefully.
    TearDown = 7, "TearDown";
    /// Listening and connecting.
    WFConnection = 8, "WFConnection";
    /// Exchanging parameters.
    WFReportParams = 9, "WFReportParams";
    /// Replicating.
    Connected = 10, "Connected";
    /// Full sync requested here, becoming source.
    StartingSyncS = 11, "StartingSyncS";
    /// Full sync requested here, becoming target.
    StartingSyncT = 12, "StartingSyncT";
    /// Bitmap exchange, future source.
    WFBitMapS = 13, "WFBitMapS";
    /// Bitmap exchange, future target.
    WFBitMapT = 14, "WFBitMapT";
    /// Target waits for the sync UUID.
    WFSyncUUID = 15, "WFSyncUUID";
    /// Resync source.
    SyncSource = 16, "SyncSource";
    /// Resync target.
    SyncTarget = 17, "SyncTarget";
    /// Verify, initiator.
    VerifyS = 18, "VerifyS";
    /// Verify, other side.
    VerifyT = 19, "VerifyT";
    /// Paused source.
    PausedSyncS = 20, "PausedSyncS";
    /// Paused target.
    PausedSyncT = 21, "PausedSyncT";
    /// Not replicating for congestion.
    Ahead = 22, "Ahead";
    /// Peer of an Ahead node.
    Behind = 23, "Behind";
}

states! {
    /// State of a disk.
    Disk, Diskless:
    /// No disk.
    Diskless = 0, "Diskless";
    /// Metadata is being read.
    Attaching = 1, "Attaching";
    /// Being given up.
    Failed = 2, "Failed";
    /// Attached while connected; the handshake decides.
    Negotiating = 3, "Negotiating";
    /// Not usable alone.
    Inconsistent = 4, "Inconsistent";
    /// Consistent but known to be old.
    Outdated = 5, "Outdated";
    /// The peer's disk, not known.
    DUnknown = 6, "DUnknown";
    /// Was up to date when last seen.
    Consistent = 7, "Consistent";
    /// Current data.
    UpToDate = 8, "UpToDate";
}

impl Conn {
    /// Source or target of a resync, running or paused.
    pub const fn is_resync(self) -> bool {
        matches!(self, Conn::SyncSource | Conn::SyncTarget | Conn::PausedSyncS | Conn::PausedSyncT)
    }

    /// One of the six states in which writes may set blocks in sync (wire 3.2).
    pub fn may_set_in_sync(self) -> bool {
        self >= Conn::SyncSource && self <= Conn::PausedSyncT
    }

    /// An online verify runs.
    pub const fn is_verify(self) -> bool {
        matches!(self, Conn::VerifyS | Conn::VerifyT)
    }

    /// Timeout .. TearDown: reasons why a connection ended.
    pub fn is_failure(self) -> bool {
        self >= Conn::Timeout && self <= Conn::TearDown
    }
}

/// The state vector of one volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// Own role.
    pub role: Role,
    /// The peer's role.
    pub peer: Role,
    /// Connection and replication.
    pub conn: Conn,
    /// Own disk.
    pub disk: Disk,
    /// The peer's disk.
    pub pdsk: Disk,
    /// I/O frozen by the administrator.
    pub susp: bool,
    /// I/O frozen for lack of data.
    pub susp_nod: bool,
    /// I/O frozen while the peer is being fenced.
    pub susp_fen: bool,
    /// Resync paused by a resync-after dependency.
    pub aftr_isp: bool,
    /// Resync paused on the peer.
    pub peer_isp: bool,
    /// Resync paused by the administrator.
    pub user_isp: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            role: Role::Secondary,
            peer: Role::Unknown,
            conn: Conn::StandAlone,
            disk: Disk::Diskless,
            pdsk: Disk::DUnknown,
            susp: false,
            susp_nod: false,
            susp_fen: false,
            aftr_isp: false,
            peer_isp: false,
            user_isp: false,
        }
    }
}

/// Masks and shifts of the packed word.
pub mod word {
    /// Own role.
    pub const ROLE: u32 = 0x3;
    /// The peer's role.
    pub const PEER: u32 = 0xc;
    /// Connection state.
    pub const CONN: u32 = 0x1f << 4;
    /// Own disk.
    pub const DISK: u32 = 0xf << 9;
    /// The peer's disk.
    pub const PDSK: u32 = 0xf << 13;
    /// Suspended by the administrator.
    pub const SUSP: u32 = 1 << 17;
    /// Paused by dependency.
    pub const AFTR_ISP: u32 = 1 << 18;
    /// Paused by the peer.
    pub const PEER_ISP: u32 = 1 << 19;
    /// Paused by the administrator.
    pub const USER_ISP: u32 = 1 << 20;
    /// Suspended for lack of data.
    pub const SUSP_NOD: u32 = 1 << 21;
    /// Suspended for fencing.
    pub const SUSP_FEN: u32 = 1 << 22;
}

/// A word with a value that means nothing. The peer is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadWord {
    /// The word.
    pub got: u32,
}

impl State {
    /// Any reason to hold I/O back.
    pub const fn is_suspended(&self) -> bool {
        self.susp || self.susp_nod || self.susp_fen
    }

    /// Any reason to hold a resync back.
    pub const fn is_paused(&self) -> bool {
        self.aftr_isp || self.peer_isp || self.user_isp
    }

    /// Packs into the word of wire and netlink.
    pub const fn pack(&self) -> u32 {
        self.role.number()
            | self.peer.number() << 2
            | self.conn.number() << 4
            | self.disk.number() << 9
            | self.pdsk.number() << 13
            | (self.susp as u32) << 17
            | (self.aftr_isp as u32) << 18
            | (self.peer_isp as u32) << 19
            | (self.user_isp as u32) << 20
            | (self.susp_nod as u32) << 21
            | (self.susp_fen as u32) << 22
    }

    /// Unpacks a word.
    pub const fn unpack(word: u32) -> Result<Self, BadWord> {
        let (Some(role), Some(peer), Some(conn), Some(disk), Some(pdsk)) = (
            Role::from_number(word & 3),
            Role::from_number(word >> 2 & 3),
            Conn::from_number(word >> 4 & 0x1f),
            Disk::from_number(word >> 9 & 0xf),
            Disk::from_number(word >> 13 & 0xf),
        ) else {
            return Err(BadWord { got: word });
        };
        Ok(Self {
            role,
            peer,
            conn,
            disk,
            pdsk,
            susp: word & word::SUSP != 0,
            aftr_isp: word & word::AFTR_ISP != 0,
            peer_isp: word & word::PEER_ISP != 0,
            user_isp: word & word::USER_ISP != 0,
            susp_nod: word & word::SUSP_NOD != 0,
            susp_fen: word & word::SUSP_FEN != 0,
        })
    }

    /// The flags column of /proc/drbd: six letters (behaviour.md 1.4); `log_suspended`: activity-log updates are off.
    pub const fn flags(&self, log_suspended: bool) -> [u8; 6] {
        const fn letter(set: bool, letter: u8) -> u8 {
            if set {
                letter
            } else {
                b'-'
            }
        }
        [
            if self.is_suspended() { b's' } else { b'r' },
            letter(self.aftr_isp, b'a'),
            letter(self.peer_isp, b'p'),
            letter(self.user_isp, b'u'),
            b'-',
            letter(log_suspended, b's'),
        ]
    }

    /// WR-6: writes go to the peer.
    pub fn replicates(&self) -> bool {
        self.pdsk == Disk::UpToDate || (self.pdsk >= Disk::Inconsistent && self.conn >= Conn::WFBitMapT && self.conn < Conn::Ahead)
    }

    /// WR-6: writes are only announced to the peer.
    pub const fn notifies_out_of_sync(&self) -> bool {
        matches!(self.conn, Conn::Ahead | Conn::WFBitMapS)
    }

    /// IO-1: the vector lets new requests of the application pass.
    pub const fn admits_io(&self, version: u32) -> bool {
        let waiting = matches!(self.conn, Conn::WFBitMapT | Conn::WFSyncUUID)
            || (matches!(self.conn, Conn::WFBitMapS) && version < 96)
            || matches!(self.disk, Disk::Attaching | Disk::Negotiating);
        !waiting && !self.is_suspended()
    }
}

/// The form of the log: `cs:.. ro:../.. ds:../.. r-----`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |set: bool, letter: char| if set { letter } else { '-' };
        write!(
            f,
            "cs:{} ro:{}/{} ds:{}/{} {}{}{}{}{}{}",
            self.conn,
            self.role,
            self.peer,
            self.disk,
            self.pdsk,
            if self.is_suspended() { 's' } else { 'r' },
            letter(self.aftr_isp, 'a'),
            letter(self.peer_isp, 'p'),
            letter(self.user_isp, 'u'),
            letter(self.susp_fen, 'F'),
            letter(self.susp_nod, 'N'),
        )
    }
}
