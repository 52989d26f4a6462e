// SPDX-License-Identifier: GPL-2.0
//! What an error of the local disk says about the copy on it (behaviour.md 6.7): it is worse than another only if another has what it lacks.

use super::vector::{Conn, Disk, State};
use crate::md::flags::{CONSISTENT, WAS_UP_TO_DATE};

/// on-io-error is pass_on (ER-1): the disk becomes Inconsistent. `lacks_write`: the peer has, or may get, a write that this disk could not do
/// ([`DataPlane::lacks_write`](crate::engine::volume::DataPlane::lacks_write)). A Primary without such a peer has passed the error up, so nothing
/// that was completed is missing here, and the next handshake must not take the older copy for the better one.
pub fn pass_on_degrades(state: &State, lacks_write: bool) -> bool {
    lacks_write || (state.conn >= Conn::Connected && state.pdsk == Disk::UpToDate)
}

/// Flags for the superblock of a disk that is being given up: without those of good data if it `lacks` a write that the peer may have. The
/// vector says nothing about the data then, and without a word here the copy would come back as good as before.
pub const fn flags_of_disk(flags: u32, lacks: bool) -> u32 {
    if lacks {
        flags & !(CONSISTENT | WAS_UP_TO_DATE)
    } else {
        flags
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::md::flags::PRIMARY;

    #[test]
    fn er_1_an_error_that_was_passed_up_makes_the_only_copy_no_worse() {
        let alone = State { conn: Conn::WFConnection, disk: Disk::UpToDate, ..State::default() };
        let pair = State { conn: Conn::Connected, pdsk: Disk::UpToDate, ..alone };
        assert!(!pass_on_degrades(&alone, false));
        assert!(!pass_on_degrades(&State { pdsk: Disk::Diskless, ..pair }, false));
        assert!(pass_on_degrades(&pair, false));
        assert!(!pass_on_degrades(&State { susp_fen: true, ..alone }, false), "only a read has failed");
        assert!(pass_on_degrades(&alone, true), "the peer has completed what failed here");
        assert_eq!(flags_of_disk(CONSISTENT | WAS_UP_TO_DATE | PRIMARY, true), PRIMARY);
        assert_eq!(flags_of_disk(CONSISTENT, false), CONSISTENT);
    }
}
