// SPDX-License-Identifier: GPL-2.0
//! What the requests of a volume wait for, for who asks why something hangs.

use super::request::Flags;
use super::table::{Entry, Operation};
use super::volume::{DataPlane, Storage};
use core::fmt;

/// What a request waits for: a set, shown as words joined by commas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct For(u8);

impl For {
    /// A transaction of the activity log.
    pub const LOG: For = For(1);
    /// The local disk.
    pub const DISK: For = For(2);
    /// The socket: it has not been sent completely.
    pub const SENDING: For = For(4);
    /// The peer's acknowledgement, or its data.
    pub const PEER: For = For(8);
    /// The end of a suspension of I/O.
    pub const SUSPENSION: For = For(16);
    /// The acknowledgement of its epoch. The application does not wait for it.
    pub const BARRIER: For = For(32);

    const WORDS: [(For, &'static str); 6] = [
        (For::LOG, "activity-log"),
        (For::DISK, "local-disk"),
        (For::SENDING, "sending"),
        (For::PEER, "peer"),
        (For::SUSPENSION, "suspended-io"),
        (For::BARRIER, "barrier-ack"),
    ];

    const fn with_if(self, other: For, condition: bool) -> For {
        if condition {
            For(self.0 | other.0)
        } else {
            self
        }
    }

    /// Any of `other`.
    pub const fn has(self, other: For) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for For {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (one, word) in Self::WORDS {
            if self.has(one) {
                if !first {
                    out.write_str(",")?;
                }
                first = false;
                out.write_str(word)?;
            }
        }
        if first {
            out.write_str("nothing")?;
        }
        Ok(())
    }
}

/// A kind of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Writes, discards and zero-outs of the application, not completed.
    Write,
    /// Reads of the application that the peer serves.
    RemoteRead,
    /// Writes completed to the application that the peer may still have in a volatile cache.
    Unconfirmed,
    /// Requests of the peer, and of a resync, at the local disk.
    Peer,
    /// Ranges asked of the source of a resync.
    Resync,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [Kind::Write, Kind::RemoteRead, Kind::Unconfirmed, Kind::Peer, Kind::Resync];

    /// Its name in /proc/drbd_waits.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Write => "write",
            Kind::RemoteRead => "remote-read",
            Kind::Unconfirmed => "unconfirmed",
            Kind::Peer => "peer-request",
            Kind::Resync => "resync",
        }
    }
}

/// The requests of a kind: how many, and the oldest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    /// How many.
    pub count: u32,
    /// First sector of the oldest.
    pub sector: u64,
    /// Its length in bytes.
    pub size_bytes: u32,
    /// Its age in ticks of the shell's clock.
    pub age: u32,
    /// What it waits for.
    pub waits_for: For,
}

fn classify(entry: &Entry) -> Option<(Kind, For)> {
    let flags = entry.flags;
    let net = For::default()
        .with_if(For::SENDING, flags.has(Flags::NET_QUEUED.with(Flags::SENDING)))
        .with_if(For::PEER, flags.has(Flags::NET_PENDING.with(Flags::POSTPONED)));
    Some(match entry.operation {
        Operation::Write | Operation::Discard | Operation::WriteZeroes if flags.has(Flags::COMPLETED) => {
            (Kind::Unconfirmed, For::BARRIER)
        }
        Operation::Write | Operation::Discard | Operation::WriteZeroes => {
            let all = net
                .with_if(For::DISK, flags.has(Flags::LOCAL_PENDING.with(Flags::OVERWRITTEN)))
                .with_if(For::SUSPENSION, flags.has(Flags::FROZEN));
            // Admitted and not launched: what it lacks is its extent of the log, or an open gate after it.
            (Kind::Write, if all == For::default() { For::LOG } else { all })
        }
        Operation::RemoteRead if !flags.has(Flags::COMPLETED) => (Kind::RemoteRead, net),
        Operation::PeerWrite | Operation::ResyncRead => (Kind::Peer, For::DISK),
        Operation::ResyncWrite | Operation::VerifyCompare if flags.has(Flags::ARRIVED) => (Kind::Peer, For::DISK),
        Operation::VerifyRead if flags.has(Flags::READING) => (Kind::Peer, For::DISK),
        Operation::ResyncWrite | Operation::VerifyCompare | Operation::VerifyRead => (Kind::Resync, For::PEER),
        _ => return None,
    })
}

impl<T: Storage> DataPlane<T> {
    /// The requests of every kind, in the order of [`Kind::ALL`]. Looks at every slot: for debugging.
    pub fn waits(&self, now: u32) -> [Waiting; 5] {
        let mut all = [Waiting::default(); 5];
        for slot in 0..self.table.capacity() {
            let entry = self.table.get(slot);
            let Some((kind, waits_for)) = classify(&entry) else { continue };
            let Some(waiting) = all.get_mut(kind as usize) else { continue };
            let age = now.wrapping_sub(entry.begun_at);
            if waiting.count == 0 || age > waiting.age {
                *waiting = Waiting { count: waiting.count, sector: entry.sector, size_bytes: entry.size_bytes, age, waits_for };
            }
            waiting.count += 1;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(operation: Operation, flags: Flags) -> Entry {
        Entry { operation, flags, ..Entry::default() }
    }

    #[test]
    fn what_a_write_waits_for_follows_from_its_flags() {
        let wait = |flags| classify(&entry(Operation::Write, flags)).map(|(_, waits_for)| waits_for.to_string());
        assert_eq!(wait(Flags::IN_RANGES).as_deref(), Some("activity-log"));
        assert_eq!(wait(Flags::LOCAL_PENDING.with(Flags::NET_PENDING)).as_deref(), Some("local-disk,peer"));
        assert_eq!(wait(Flags::LOCAL_OK.with(Flags::NET_QUEUED)).as_deref(), Some("sending"));
        assert_eq!(wait(Flags::LOCAL_OK.with(Flags::FROZEN)).as_deref(), Some("suspended-io"));
        assert_eq!(wait(Flags::COMPLETED.with(Flags::ON_LOG)).as_deref(), Some("barrier-ack"));
    }

    #[test]
    fn free_slots_notices_and_answered_reads_wait_for_nothing() {
        for (operation, flags) in [
            (Operation::Free, Flags::NONE),
            (Operation::OutOfSyncNotice, Flags::NONE),
            (Operation::RemoteRead, Flags::COMPLETED),
        ] {
            assert!(classify(&entry(operation, flags)).is_none());
        }
    }
}
