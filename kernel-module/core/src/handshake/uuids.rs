// SPDX-License-Identifier: GPL-2.0
//! What a P_UUIDS of the peer means, and the flags of our own (behaviour.md HS-44, UU-8, UU-13, UU-15).

use crate::md::uuids::{same, Uuids, JUST_CREATED};
use crate::state::{Conn, Disk, Role, State};
use crate::wire::params::{uuid_flags, UuidsPacket};

/// Skip of the initial sync is part of versions from here on (wire-protocol.md 4.1).
const SKIP_SINCE: u32 = 90;

/// What the meaning depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UuidsFacts {
    /// Own vector.
    pub own: State,
    /// Own generations; meaningful with a disk.
    pub uuids: Uuids,
    /// Effective generation (UU-5): of the data this node may use; 0: none known.
    pub effective: u64,
    /// Agreed protocol version.
    pub version: u32,
}

/// What to do, beside remembering the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UuidsVerdict {
    /// HS-44: a diskless Primary works with other data: hard to Disconnecting.
    Refuse {
        /// Effective generation here.
        effective: u64,
        /// The peer's generation.
        got: u64,
    },
    /// UU-13: clear all bits and write them, adopt these generations, own and peer disk UpToDate.
    SkipInitialSync(Uuids),
    /// UU-8: the peer made a new generation for this diskless node.
    AdoptGeneration(u64),
    /// Nothing more.
    Remember,
}

/// Evaluates a P_UUIDS.
pub fn received(facts: &UuidsFacts, packet: &UuidsPacket) -> UuidsVerdict {
    let own = &facts.own;
    let [current, ..] = packet.uuids;
    let diskless = own.disk < Disk::Inconsistent;
    let new_to_us = own.conn < Conn::Connected || own.pdsk == Disk::Diskless;
    if diskless && own.role == Role::Primary && new_to_us && !same(facts.effective, current) {
        return UuidsVerdict::Refuse { effective: facts.effective, got: current };
    }
    if diskless {
        // While a promotion is being agreed on the role may still be Secondary when the peer's new generation arrives.
        let uses_peer = own.role == Role::Primary || own.conn >= Conn::Connected;
        let changed = facts.effective != current;
        return if uses_peer && changed { UuidsVerdict::AdoptGeneration(current) } else { UuidsVerdict::Remember };
    }
    let skip = packet.flags & uuid_flags::SKIP_INITIAL_SYNC != 0;
    if skip && own.conn == Conn::Connected && facts.version >= SKIP_SINCE && same(facts.uuids.current, JUST_CREATED) {
        let primary = u64::from(own.role == Role::Primary);
        return UuidsVerdict::SkipInitialSync(Uuids { current: current & !1 | primary, bitmap: 0, ..facts.uuids });
    }
    UuidsVerdict::Remember
}

/// Whether the administrator may make a new generation and skip the initial sync (UU-13): `clear_bitmap` as asked for.
pub fn may_skip_initial_sync(own: &State, uuids: &Uuids, version: u32, clear_bitmap: bool) -> bool {
    own.conn == Conn::Connected && version >= SKIP_SINCE && same(uuids.current, JUST_CREATED) && clear_bitmap
}

/// Facts that become flags of the own P_UUIDS (UU-15).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwnFlags {
    /// discard-my-data holds for this connection attempt.
    pub discard_my_data: bool,
    /// This node crashed while Primary.
    pub crashed_primary: bool,
    /// Disk as found by an attach while connected; `None` otherwise.
    pub found_at_late_attach: Option<Disk>,
    /// The initial sync is skipped by what these UUIDs say.
    pub skip_initial_sync: bool,
}

/// Own P_UUIDS. A node that announces a skipped sync does so with an empty bitmap.
pub fn own_packet(uuids: &Uuids, dirty_bits: u64, facts: &OwnFlags) -> UuidsPacket {
    let when = |condition: bool, flag: u64| if condition { flag } else { 0 };
    let flags = when(facts.discard_my_data, uuid_flags::DISCARD_MY_DATA)
        | when(facts.crashed_primary, uuid_flags::CRASHED_PRIMARY)
        | when(facts.found_at_late_attach == Some(Disk::Inconsistent), uuid_flags::INCONSISTENT)
        | when(facts.skip_initial_sync, uuid_flags::SKIP_INITIAL_SYNC);
    UuidsPacket { uuids: uuids.to_array(), dirty_bits, flags }
}

/// What the comparison reads from a remembered packet (HS-12). `role` comes with P_STATE.
pub fn peer_side(packet: &UuidsPacket, role: Role) -> super::Peer {
    super::Peer {
        uuids: Uuids::from_array(packet.uuids),
        dirty_bits: packet.dirty_bits,
        crashed_primary: packet.flags & uuid_flags::CRASHED_PRIMARY != 0,
        discard_my_data: packet.flags & uuid_flags::DISCARD_MY_DATA != 0,
        role,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(current: u64, flags: u64) -> UuidsPacket {
        UuidsPacket { uuids: [current, 0, 0, 0], dirty_bits: 0, flags }
    }

    #[test]
    fn hs_44_a_diskless_primary_refuses_other_data() {
        let own = State { role: Role::Primary, conn: Conn::WFReportParams, ..State::default() };
        let facts = UuidsFacts { own, effective: 0xA0, version: 101, ..UuidsFacts::default() };
        assert_eq!(received(&facts, &packet(0xB0, 0)), UuidsVerdict::Refuse { effective: 0xA0, got: 0xB0 });
        assert_eq!(received(&facts, &packet(0xA0, 0)), UuidsVerdict::Remember);
        let connected = State { conn: Conn::Connected, pdsk: Disk::UpToDate, ..own };
        let facts = UuidsFacts { own: connected, ..facts };
        assert_eq!(received(&facts, &packet(0xB0, 0)), UuidsVerdict::AdoptGeneration(0xB0));
    }

    #[test]
    fn uu_13_only_a_just_created_disk_skips_the_initial_sync() {
        let own = State { conn: Conn::Connected, disk: Disk::Inconsistent, pdsk: Disk::Inconsistent, ..State::default() };
        let uuids = Uuids { current: JUST_CREATED, ..Uuids::default() };
        let facts = UuidsFacts { own, uuids, version: 101, ..UuidsFacts::default() };
        let expected = UuidsVerdict::SkipInitialSync(Uuids { current: 0xA0, ..Uuids::default() });
        assert_eq!(received(&facts, &packet(0xA1, 8)), expected);
        assert_eq!(received(&facts, &packet(0xA1, 0)), UuidsVerdict::Remember);
        assert_eq!(received(&UuidsFacts { version: 89, ..facts }, &packet(0xA1, 8)), UuidsVerdict::Remember);
        let used = UuidsFacts { uuids: Uuids { current: 0xC0, ..uuids }, ..facts };
        assert_eq!(received(&used, &packet(0xA1, 8)), UuidsVerdict::Remember);
        assert!(may_skip_initial_sync(&own, &uuids, 101, true));
        assert!(!may_skip_initial_sync(&own, &used.uuids, 101, true));
    }

    #[test]
    fn uu_15_the_flags_come_back_as_they_went() {
        let facts = OwnFlags { crashed_primary: true, found_at_late_attach: Some(Disk::Inconsistent), ..OwnFlags::default() };
        let sent = own_packet(&Uuids::default(), 7, &facts);
        assert_eq!((sent.flags, sent.dirty_bits), (6, 7));
        let side = peer_side(&sent, Role::Secondary);
        assert!(side.crashed_primary && !side.discard_my_data && side.dirty_bits == 7);
    }
}
