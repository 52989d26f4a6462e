// SPDX-License-Identifier: GPL-2.0
//! What an attach concludes from the superblock and the vector (behaviour.md 10.1). Opening devices, sizes and the bitmap itself are not decided here.

use super::change::Request;
use super::rules::Fencing;
use super::vector::{Conn, Disk, Role, State};
use crate::md::flags;
use crate::md::uuids::same;

/// AT-9: disk and peer disk as the flags of the superblock tell. `pdsk` is the peer's disk in the vector now.
pub fn found(md_flags: u32, pdsk: Disk, fencing: Fencing) -> (Disk, Disk) {
    let has = |flag: u32| md_flags & flag != 0;
    let pdsk = if has(flags::PEER_OUTDATED) { Disk::Outdated } else { pdsk };
    let disk = match (has(flags::CONSISTENT), has(flags::WAS_UP_TO_DATE)) {
        (false, _) => Disk::Inconsistent,
        (true, false) => Disk::Outdated,
        (true, true) if pdsk == Disk::Outdated || fencing == Fencing::DontCare => Disk::UpToDate,
        (true, true) => Disk::Consistent,
    };
    (disk, pdsk)
}

/// UU-17: the node crashed while Primary. `frozen`: it is a Primary that is frozen for lack of data right now, so it did not crash.
pub const fn crashed_primary(md_flags: u32, frozen: bool) -> bool {
    md_flags & flags::CRASHED_PRIMARY != 0 || (md_flags & flags::PRIMARY != 0 && !frozen)
}

/// AT-7: the node ran degraded before (hint for the time user space waits for a connection).
pub fn ran_degraded(md_flags: u32, role: Role) -> bool {
    role != Role::Primary && md_flags & flags::PRIMARY != 0 && md_flags & flags::CONNECTED == 0
}

/// Which time user space waits for the connection (behaviour.md 10.1): 0 wfc-timeout, 1 degr-wfc-timeout, 2 outdated-wfc-timeout.
pub const fn waiting_time(pdsk: Disk, ran_degraded: bool) -> u32 {
    match (pdsk, ran_degraded) {
        (Disk::Outdated, _) => 2,
        (_, true) => 1,
        _ => 0,
    }
}

/// AT-8: every block counts as out of sync, the bitmap on disk is not read.
pub const fn sets_all_bits(md_flags: u32, crashed_primary: bool) -> bool {
    md_flags & flags::FULL_SYNC != 0 || (crashed_primary && md_flags & flags::AL_DISABLED != 0)
}

/// AT-6, code 150: someone works with another generation than this disk holds. `effective` is 0 when unknown. Next to an UpToDate peer the
/// handshake decides instead.
pub fn holds_other_data(state: &State, effective: u64, current: u64) -> bool {
    let someone = state.role == Role::Primary || state.peer == Role::Primary;
    state.pdsk < Disk::UpToDate && someone && effective != 0 && !same(effective, current)
}

/// How an attach ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// The change to make.
    pub request: Request,
    /// AT-10: the handshake decides: keep what was found for [`Facts::negotiated_disk`](super::Facts), forget the peer's UUIDs.
    pub negotiates: bool,
}

/// AT-10: how the attach ends while the vector is `state` (disk Attaching).
pub fn conclude(state: &State, found: (Disk, Disk)) -> Attached {
    if state.conn == Conn::Connected {
        return Attached { request: Request::none().disk(Disk::Negotiating), negotiates: true };
    }
    Attached { request: Request::none().disk(found.0).pdsk(found.1), negotiates: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_9_the_flags_give_the_disk_state() {
        let rows = [
            (0, Disk::Inconsistent),
            (flags::CONSISTENT, Disk::Outdated),
            (flags::CONSISTENT | flags::WAS_UP_TO_DATE, Disk::UpToDate),
            (flags::WAS_UP_TO_DATE, Disk::Inconsistent),
        ];
        for (md_flags, expected) in rows {
            assert_eq!(found(md_flags, Disk::DUnknown, Fencing::DontCare), (expected, Disk::DUnknown));
        }
        let good = flags::CONSISTENT | flags::WAS_UP_TO_DATE;
        assert_eq!(found(good, Disk::DUnknown, Fencing::ResourceOnly), (Disk::Consistent, Disk::DUnknown));
        let alone = good | flags::PEER_OUTDATED;
        assert_eq!(found(alone, Disk::DUnknown, Fencing::ResourceOnly), (Disk::UpToDate, Disk::Outdated));
    }

    #[test]
    fn uu_17_a_primary_that_did_not_say_goodbye_has_crashed() {
        assert!(crashed_primary(flags::PRIMARY, false));
        assert!(!crashed_primary(flags::PRIMARY, true));
        assert!(crashed_primary(flags::CRASHED_PRIMARY, true));
        assert!(sets_all_bits(flags::AL_DISABLED, true) && !sets_all_bits(flags::AL_DISABLED, false));
        assert!(ran_degraded(flags::PRIMARY, Role::Secondary) && !ran_degraded(flags::PRIMARY | flags::CONNECTED, Role::Secondary));
    }

    #[test]
    fn at_6_a_frozen_primary_takes_only_the_data_it_lost() {
        let frozen = State { role: Role::Primary, conn: Conn::WFConnection, ..State::default() };
        assert!(holds_other_data(&frozen, 0xA0, 0xB0));
        assert!(!holds_other_data(&frozen, 0xA0, 0xA1));
        assert!(!holds_other_data(&frozen, 0, 0xB0));
        assert!(!holds_other_data(&State { pdsk: Disk::UpToDate, ..frozen }, 0xA0, 0xB0));
        assert!(!holds_other_data(&State { role: Role::Secondary, ..frozen }, 0xA0, 0xB0));
    }
}
