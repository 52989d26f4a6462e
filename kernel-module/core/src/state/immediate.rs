// SPDX-License-Identifier: GPL-2.0
//! What has to happen in the same critical section as a change of state, before its effects run (behaviour.md 2.7).

use super::vector::{Conn, Disk, Role, State};

/// A set of things to do at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Immediate(u16);

macro_rules! immediate {
    ($($(#[$doc:meta])* $name:ident = $bit:expr;)*) => {
        impl Immediate {
            $($(#[$doc])* pub const $name: Immediate = Immediate(1 << $bit);)*
            /// Every member with its name, in order.
            pub const ALL: &'static [(Immediate, &'static str)] = &[$((Immediate::$name, stringify!($name)),)*];
        }
    };
}

immediate! {
    /// SC-1: replication began or ended: the epoch of the transfer log closes.
    CLOSE_EPOCH = 0;
    /// SC-2: the disk is being given up: hold a reference until the effects are done.
    HOLD_DISK = 1;
    /// SC-3: a verify ended early: the next one starts where it stopped.
    REMEMBER_VERIFY_POSITION = 2;
    /// SC-4: a paused resync goes on: add the paused time; a target asks for blocks at once.
    RESYNC_RESUMED = 3;
    /// SC-4: a resync was paused: stamp the current mark.
    RESYNC_PAUSED = 4;
    /// SC-5: a verify begins: range, marks, controller; the initiator asks at once.
    VERIFY_STARTED = 5;
    /// SC-6: the flags of the superblock follow ([`superblock_flags`](super::effects::superblock_flags)).
    UPDATE_FLAGS = 6;
    /// SC-7: the data here may be used: its generation becomes the effective one.
    ADOPT_GENERATION = 7;
    /// SC-8: the next state packet of the peer has to consider a resync.
    CONSIDER_RESYNC = 8;
    /// SC-9: the receiver has to stop for good.
    STOP_RECEIVER = 9;
    /// SC-9: the receiver has to clean up and connect again.
    RESTART_RECEIVER = 10;
    /// SC-10: one more connection succeeded; activity-log updates resume.
    COUNT_CONNECT = 11;
    /// SC-11: the attach is over: the disk timer gets its grace from now.
    ATTACH_ENDED = 12;
    /// SC-11: the exchange of parameters begins: the request timer gets its grace from now.
    PARAMETERS_STARTED = 13;
}

impl Immediate {
    /// Any of `other`.
    pub const fn has(self, other: Immediate) -> bool {
        self.0 & other.0 != 0
    }

    /// Nothing to do.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn add(&mut self, member: Immediate, condition: bool) {
        if condition {
            self.0 |= member.0;
        }
    }
}

/// What a change asks for at once.
pub fn immediate(old: &State, new: &State) -> Immediate {
    let mut set = Immediate::default();
    let paused = |conn: Conn| matches!(conn, Conn::PausedSyncS | Conn::PausedSyncT);
    let running = |conn: Conn| matches!(conn, Conn::SyncSource | Conn::SyncTarget);
    let entered_disk = |disk: Disk| new.disk == disk && old.disk != disk;
    let entered = |conn: Conn| new.conn == conn && old.conn != conn;
    set.add(Immediate::CLOSE_EPOCH, old.replicates() != new.replicates());
    set.add(Immediate::HOLD_DISK, entered_disk(Disk::Failed) || entered_disk(Disk::Diskless));
    set.add(Immediate::REMEMBER_VERIFY_POSITION, old.conn.is_verify() && new.conn <= Conn::Connected);
    set.add(Immediate::RESYNC_RESUMED, paused(old.conn) && running(new.conn));
    set.add(Immediate::RESYNC_PAUSED, running(old.conn) && paused(new.conn));
    set.add(Immediate::VERIFY_STARTED, old.conn == Conn::Connected && new.conn.is_verify());
    set.add(Immediate::UPDATE_FLAGS, new.has_disk());
    set.add(Immediate::ADOPT_GENERATION, old.disk < Disk::Consistent && new.disk >= Disk::Consistent);
    let both_inconsistent = old.disk == Disk::Inconsistent && old.pdsk == Disk::Inconsistent;
    set.add(Immediate::CONSIDER_RESYNC, both_inconsistent && old.peer == Role::Secondary && new.peer == Role::Primary);
    set.add(Immediate::STOP_RECEIVER, entered(Conn::Disconnecting) || entered(Conn::StandAlone));
    set.add(Immediate::RESTART_RECEIVER, old.conn > Conn::WFConnection && new.conn.is_failure());
    set.add(Immediate::COUNT_CONNECT, old.conn < Conn::Connected && new.conn >= Conn::Connected);
    let attaching = |disk: Disk| matches!(disk, Disk::Attaching | Disk::Negotiating);
    set.add(Immediate::ATTACH_ENDED, attaching(old.disk) && !attaching(new.disk));
    set.add(Immediate::PARAMETERS_STARTED, entered(Conn::WFReportParams));
    set
}
