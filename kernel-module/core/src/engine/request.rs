// SPDX-License-Identifier: GPL-2.0
//! Progress of one application request: what it still waits for, and what follows from each event.
//!
//! Pure functions over a word of flags; [`super::volume`] applies the outcome. Three things hold a
//! request back: the local disk, the peer, and the sender that still reads its pages. It is *completed* to the
//! application when all three are done, and it *dies* (bits settled, activity-log reference dropped, slot
//! free) when it has also left the transfer log (behaviour.md WR-1, WR-3, WR-4, AL-1).

/// Flags of a request. Plain bits, so that a request stays small.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:expr;)*) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Flags = Flags(1 << $bit);)*
        }
    };
}

flags! {
    /// The local disk has not answered yet.
    LOCAL_PENDING = 0;
    /// The local disk did it.
    LOCAL_OK = 1;
    /// Waiting to be sent.
    NET_QUEUED = 2;
    /// Sent; an answer of the peer is needed for completion.
    NET_PENDING = 3;
    /// The peer has it, in the sense of the protocol in use.
    NET_OK = 4;
    /// On the transfer log: sent, and its epoch not yet acknowledged.
    ON_LOG = 5;
    /// The sender still reads the pages.
    SENDING = 6;
    /// Completed to the application.
    COMPLETED = 7;
    /// The peer reported that the range is now in sync on its side (P_RS_WRITE_ACK).
    PEER_IN_SYNC = 8;
    /// Its bits are as they have to be; nothing to do when it dies.
    BITS_SET = 9;
    /// Holds references on its activity-log extents.
    LOG_HELD = 10;
    /// Its range is in the range index.
    IN_RANGES = 11;
    /// Lost its connection while I/O was suspended; waits for resend or failure (EP-6).
    FROZEN = 12;
    /// The application asked for a synchronous write (dp_flags RW_SYNC).
    SYNC = 13;
    /// Force unit access.
    FUA = 14;
    /// Preflush.
    PREFLUSH = 15;
    /// A zero-out that may unmap.
    MAY_UNMAP = 16;
    /// It was sent with MAY_SET_IN_SYNC.
    MAY_SET_IN_SYNC = 17;
    /// Ask the peer for a receive ack.
    WANT_RECEIVE_ACK = 18;
    /// Ask the peer for a write ack.
    WANT_WRITE_ACK = 19;
    /// The local disk took part (as opposed to: there was none).
    LOCAL_USED = 20;
    /// A read-ahead: no retry, no policy (ER-3).
    READ_AHEAD = 21;
    /// The peer sent a negative answer, or was lost before it acknowledged the epoch.
    NET_FAILED = 22;
    /// A resync reply has arrived and is being written.
    WRITING = 23;
    /// A write of the peer has its range, and waits for its turn.
    WAITS = 24;
    /// The answer to a resync request is here: it is being written, or waits for its turn.
    ARRIVED = 25;
    /// Counted among the sectors on their way to the peer (CG-1).
    AT_PEER = 26;
    /// A block of a verify is being read.
    READING = 27;
    /// To be written again after a write of the peer (DP-3).
    POSTPONED = 28;
    /// A write of the peer that comes before it is at the local disk or done there: it has to be written once more (DP-3).
    OVERWRITTEN = 29;
    /// Its epoch had a conflict in it, and may never be acknowledged (wire 19.6).
    UNAWAITED = 30;
    /// A request of a resync for a disk that was given up since: its answer is not to be written. A bit of its own is not needed, as no write of the
    /// application is one.
    ABANDONED = 30;
    /// The local disk has failed it, and the superblock does not say so yet.
    LOCAL_FAILED = 31;
}

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// Any of `other` set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Both together.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// `other` added when `condition` holds.
    pub const fn with_if(self, other: Flags, condition: bool) -> Flags {
        if condition {
            self.with(other)
        } else {
            self
        }
    }

    /// Without `other`.
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// Nothing is left that completion to the application waits for (WR-1).
    pub const fn may_complete(self) -> bool {
        !self.has(
            Flags::LOCAL_PENDING
                .with(Flags::NET_QUEUED)
                .with(Flags::NET_PENDING)
                .with(Flags::SENDING)
                .with(Flags::FROZEN)
                .with(Flags::POSTPONED)
                .with(Flags::OVERWRITTEN)
                .with(Flags::COMPLETED),
        )
    }

    /// It has left for the disk or the peer.
    pub const fn is_launched(self) -> bool {
        const NET: Flags = Flags::NET_QUEUED.with(Flags::NET_PENDING).with(Flags::NET_OK).with(Flags::NET_FAILED);
        self.has(NET.with(Flags::LOCAL_USED).with(Flags::ON_LOG).with(Flags::SENDING).with(Flags::POSTPONED).with(Flags::FROZEN))
    }

    /// Success or failure of a request that may complete: one good copy is success (WR-1).
    pub const fn succeeded(self) -> bool {
        self.has(Flags::LOCAL_OK.with(Flags::NET_OK))
    }

    /// Completed, and off the transfer log: the request dies now.
    pub const fn is_dead(self) -> bool {
        self.has(Flags::COMPLETED) && !self.has(Flags::ON_LOG.with(Flags::SENDING).with(Flags::LOCAL_PENDING).with(Flags::FROZEN))
    }

    /// The peer itself said that it has the data; only the acknowledgement of the epoch is missing (EP-7). Handing over to the socket, as
    /// protocol A counts, is not that.
    pub const fn peer_has_it(self) -> bool {
        self.has(Flags::NET_OK) && !self.has(Flags::NET_FAILED) && self.has(Flags::WANT_RECEIVE_ACK.with(Flags::WANT_WRITE_ACK))
    }

    /// What a request is, without anything that has happened to it.
    pub const fn as_admitted(self) -> Flags {
        const KEPT: u32 = Flags::SYNC.0 | Flags::FUA.0 | Flags::PREFLUSH.0 | Flags::MAY_UNMAP.0 | Flags::READ_AHEAD.0 | Flags::IN_RANGES.0;
        Flags(self.0 & KEPT)
    }

    /// What happens to the bits of a write that dies (WR-4). [`Bits::Clear`] is due as soon as it completes: the resync may end with it, and
    /// a write that follows must not lose bits to it.
    pub const fn bits_at_death(self) -> Bits {
        if self.has(Flags::BITS_SET) || !self.has(Flags::LOCAL_USED) {
            Bits::Keep
        } else if self.has(Flags::NET_FAILED) || !(self.has(Flags::LOCAL_OK) && self.has(Flags::NET_OK)) {
            Bits::Set
        } else if self.has(Flags::PEER_IN_SYNC) {
            Bits::Clear
        } else {
            Bits::Keep
        }
    }
}

/// What to do with the bitmap for a finished range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bits {
    /// Nothing.
    Keep,
    /// The range is out of sync.
    Set,
    /// Blocks fully covered are in sync.
    Clear,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_waits_for_disk_peer_and_sender() {
        for blocker in [Flags::LOCAL_PENDING, Flags::NET_QUEUED, Flags::NET_PENDING, Flags::SENDING, Flags::FROZEN, Flags::POSTPONED, Flags::OVERWRITTEN] {
            assert!(!blocker.may_complete());
        }
        assert!(Flags::LOCAL_OK.with(Flags::ON_LOG).may_complete());
        assert!(!Flags::COMPLETED.may_complete());
    }

    #[test]
    fn a_write_dies_only_off_the_transfer_log() {
        assert!(!Flags::COMPLETED.with(Flags::ON_LOG).is_dead());
        assert!(Flags::COMPLETED.with(Flags::LOCAL_OK).is_dead());
        assert!(!Flags::LOCAL_OK.is_dead());
    }

    #[test]
    fn bits_follow_the_two_copies() {
        let both = Flags::LOCAL_USED.with(Flags::LOCAL_OK).with(Flags::NET_OK);
        assert_eq!(both.bits_at_death(), Bits::Keep);
        assert_eq!(both.with(Flags::PEER_IN_SYNC).bits_at_death(), Bits::Clear);
        assert_eq!(both.without(Flags::NET_OK).bits_at_death(), Bits::Set);
        assert_eq!(both.without(Flags::LOCAL_OK).bits_at_death(), Bits::Set);
        assert_eq!(Flags::NET_OK.bits_at_death(), Bits::Keep);
        assert_eq!(both.without(Flags::NET_OK).with(Flags::BITS_SET).bits_at_death(), Bits::Keep);
    }
}
