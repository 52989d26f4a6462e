// SPDX-License-Identifier: GPL-2.0
//! What follows from a change of state (behaviour.md 2.7 and 2.8), as a set. The shell carries the members out in the order of
//! their bits, in its worker, with the vectors of *this* change.

use super::vector::{Conn, Disk, Role, State};

/// A set of effects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effects(u32);

macro_rules! effects {
    ($($(#[$doc:meta])* $name:ident = $bit:expr;)*) => {
        impl Effects {
            $($(#[$doc])* pub const $name: Effects = Effects(1 << $bit);)*
            /// Every effect with its name, in order.
            pub const ALL: &'static [(Effects, &'static str)] = &[$((Effects::$name, stringify!($name)),)*];
        }
    };
}

effects! {
    /// AC-2: the crash as Primary is history.
    CLEAR_CRASHED_PRIMARY = 0;
    /// AC-3: helper pri-on-incon-degr.
    HELPER_PRIMARY_ON_INCONSISTENT = 1;
    /// AC-6: generate and send the sync UUID, before any state packet.
    SEND_SYNC_UUID = 2;
    /// AC-7: the peer attached: send UUIDs and state.
    GREET_ATTACHED_PEER = 3;
    /// AC-8: send the bitmap.
    SEND_BITMAP = 4;
    /// AC-9, AC-10: contact to the peer's data is lost (UU-6): new current UUID, and send UUIDs.
    NEW_CURRENT_UUID = 5;
    /// AC-11, AC-12: write the bitmap.
    WRITE_BITMAP = 6;
    /// AC-13: the disk is attached while connected: send sizes, UUIDs, state.
    ANNOUNCE_ATTACH = 7;
    /// AC-14, 16, 17, 21, 24, 25: send the state of this change.
    SEND_STATE = 8;
    /// AC-15, 23, 27: look at resync-after dependencies again.
    CHECK_DEPENDENCIES = 9;
    /// AC-18: set all bits, write the bitmap, go on to the resync.
    START_FULL_SYNC = 10;
    /// AC-19: the disk has failed: helper, tell the peer, drain.
    DISK_FAILED = 11;
    /// AC-20: the disk is gone: tell the peer, release it.
    DISK_GONE = 12;
    /// AC-22: a resync of a grown area was waiting for this.
    RESYNC_GROWN_AREA = 13;
    /// AC-26: write changed bitmap pages.
    WRITE_CHANGED_BITMAP = 14;
    /// SC-6, AC-28: the superblock differs from what it should be.
    WRITE_SUPERBLOCK = 15;
    /// SC-10: activity-log updates resume.
    RESUME_LOG = 16;
    /// SC-8: a resync has to be considered with the next state packet.
    CONSIDER_RESYNC = 17;
    /// AC-10: beside [`Effects::NEW_CURRENT_UUID`], when a peer without disk became Primary, a lone Primary has its disk back, or the peer lacks
    /// something already: at once even while suspended.
    NEW_CURRENT_UUID_AT_ONCE = 18;
}

impl Effects {
    /// Any of `other`.
    pub const fn has(self, other: Effects) -> bool {
        self.0 & other.0 != 0
    }

    /// All but `other`.
    pub const fn without(self, other: Effects) -> Effects {
        Effects(self.0 & !other.0)
    }

    fn add(&mut self, effect: Effects, condition: bool) {
        if condition {
            self.0 |= effect.0;
        }
    }

    /// No effect.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// UU-6: contact to the peer's data was lost.
fn lost_contact(old: &State, new: &State) -> bool {
    let had = matches!(old.pdsk, Disk::Inconsistent | Disk::Consistent | Disk::UpToDate);
    let lost = new.pdsk < Disk::Inconsistent || matches!(new.pdsk, Disk::DUnknown | Disk::Outdated);
    let unknown_gone = old.pdsk == Disk::DUnknown && matches!(new.pdsk, Disk::Diskless | Disk::Failed | Disk::Outdated);
    (had && lost) || unknown_gone
}

/// What the effects depend on beside the two vectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EffectFacts {
    /// The bitmap UUID is 0.
    pub bitmap_uuid_free: bool,
    /// [`DataPlane::peer_missed_write`](crate::engine::volume::DataPlane::peer_missed_write).
    pub peer_missed_write: bool,
    /// Agreed protocol version.
    pub version: u32,
}

/// Stop sectors of a verify are part of these versions (wire-protocol.md 4.1).
pub const fn supports_stop_sector(version: u32) -> bool {
    version >= 97 && version != 100
}

/// The effects of a change with a peer of the newest version. `bitmap_uuid_free`: the bitmap UUID is 0.
pub fn effects(old: &State, new: &State, bitmap_uuid_free: bool) -> Effects {
    effects_with(old, new, &EffectFacts { bitmap_uuid_free, peer_missed_write: false, version: crate::wire::params::PROTOCOL_MAX })
}

/// AC-14, 16, 17, 21, 24, 25: the peer has to hear of the change.
fn tells_peer(old: &State, new: &State, version: u32) -> bool {
    let connected = new.conn >= Conn::Connected;
    let pause_changed = old.aftr_isp != new.aftr_isp || old.user_isp != new.user_isp;
    let ignored_error = old.disk == Disk::UpToDate && new.disk == Disk::Inconsistent;
    (connected && (pause_changed || ignored_error || old.conn == Conn::WFReportParams))
        || (new.conn == Conn::Ahead && old.conn != Conn::Ahead)
        || (old.disk < Disk::UpToDate && old.conn >= Conn::SyncSource && new.conn == Conn::Connected)
        || (old.conn == Conn::VerifyS && new.conn == Conn::Connected && supports_stop_sector(version))
}

/// AC-15, 23, 27: other devices may have to pause or may go on.
fn touches_dependencies(old: &State, new: &State) -> bool {
    let ended = old.conn > Conn::Connected && new.conn <= Conn::Connected;
    let resumed = (old.peer_isp && !new.peer_isp) || (old.user_isp && !new.user_isp);
    let idle = new.conn == Conn::StandAlone && new.disk == Disk::Diskless && new.role == Role::Secondary;
    ended || resumed || (!old.is_paused() && new.is_paused()) || (idle && old.aftr_isp != new.aftr_isp)
}

/// The effects of a change.
pub fn effects_with(old: &State, new: &State, facts: &EffectFacts) -> Effects {
    let mut set = Effects::default();
    let entered = |conn: Conn| new.conn == conn && old.conn != conn;
    let both = |s: &State| s.disk == Disk::UpToDate && s.pdsk == Disk::UpToDate;
    let connected = new.conn >= Conn::Connected;
    let source = |conn: Conn| matches!(conn, Conn::SyncSource | Conn::PausedSyncS);
    set.add(Effects::CLEAR_CRASHED_PRIMARY, both(new) && !both(old));
    let degraded = |s: &State| s.role == Role::Primary && s.disk < Disk::UpToDate && s.pdsk < Disk::UpToDate;
    set.add(Effects::HELPER_PRIMARY_ON_INCONSISTENT, degraded(new) && !degraded(old));
    set.add(Effects::SEND_SYNC_UUID, source(new.conn) && !source(old.conn) && new.disk >= Disk::Inconsistent);
    let peer_attached = old.pdsk == Disk::Diskless && new.pdsk > Disk::Diskless && old.conn >= Conn::Connected && connected;
    set.add(Effects::GREET_ATTACHED_PEER, peer_attached);
    set.add(Effects::SEND_BITMAP, entered(Conn::WFBitMapS));
    let someone_primary = new.role == Role::Primary || new.peer == Role::Primary;
    let own_usable = new.disk == Disk::UpToDate;
    // More often than UU-6 says: a write that the peer's disk could not do is missing there, even if the Primary was demoted since; so is what
    // a node that is Ahead did not send; and a Primary that gets a disk back while it is alone goes on with it where the peer may have gone on
    // too.
    let ahead = old.conn == Conn::Ahead;
    let demoted_ahead = ahead && old.role == Role::Primary && new.role == Role::Secondary;
    // Frozen writes may have been in the peer's memory alone, and a Secondary that crashes knows of none (FE-8).
    let demoted_frozen = new.susp_fen && new.conn < Conn::Connected && old.role == Role::Primary && new.role == Role::Secondary;
    let alone = new.conn < Conn::Connected || new.pdsk <= Disk::Failed;
    let back = matches!(old.disk, Disk::Attaching | Disk::Negotiating) && new.role == Role::Primary && alone;
    let lost = (lost_contact(old, new) && (someone_primary || facts.peer_missed_write || ahead)) || demoted_ahead || demoted_frozen || back;
    let peer_took_over = new.pdsk < Disk::Inconsistent && new.peer == Role::Primary && old.peer != Role::Primary;
    set.add(Effects::NEW_CURRENT_UUID, (lost || peer_took_over) && own_usable && facts.bitmap_uuid_free);
    let parted = lost && (ahead || facts.peer_missed_write);
    set.add(Effects::NEW_CURRENT_UUID_AT_ONCE, (peer_took_over || back || parted || demoted_frozen) && own_usable && facts.bitmap_uuid_free);
    let diskless_peer_demoted = new.pdsk < Disk::Inconsistent && old.peer == Role::Primary && new.peer == Role::Secondary;
    // More often than AC-11 and AC-12 say: whenever the superblock loses its Primary mark, the activity log no longer speaks for bits that
    // are in memory alone.
    let marked = |s: &State| md_flags(s) & crate::md::flags::PRIMARY != 0;
    let unmarked = marked(old) && !marked(new);
    set.add(Effects::WRITE_BITMAP, new.disk >= Disk::Inconsistent && (unmarked || diskless_peer_demoted));
    set.add(Effects::ANNOUNCE_ATTACH, old.disk == Disk::Attaching && new.disk == Disk::Negotiating && connected);
    set.add(Effects::SEND_STATE, tells_peer(old, new, facts.version));
    set.add(Effects::CHECK_DEPENDENCIES, touches_dependencies(old, new));
    set.add(Effects::START_FULL_SYNC, entered(Conn::StartingSyncS) || entered(Conn::StartingSyncT));
    set.add(Effects::DISK_FAILED, old.disk != Disk::Failed && new.disk == Disk::Failed);
    set.add(Effects::DISK_GONE, old.disk != Disk::Diskless && new.disk == Disk::Diskless);
    let negotiated = |s: &State| s.disk > Disk::Negotiating && s.pdsk > Disk::Negotiating;
    set.add(Effects::RESYNC_GROWN_AREA, negotiated(new) && !negotiated(old) && new.conn == Conn::Connected);
    let syncing = old.conn > Conn::Connected && old.conn < Conn::Ahead;
    set.add(
        Effects::WRITE_CHANGED_BITMAP,
        syncing && (new.conn == Conn::Connected || new.conn >= Conn::Ahead) && new.disk >= Disk::Inconsistent,
    );
    // Below Inconsistent the vector says nothing about the data, and the flags on disk stay as they are.
    let flags_differ = old.disk < Disk::Inconsistent || md_flags(old) != md_flags(new) || set.has(Effects::CLEAR_CRASHED_PRIMARY);
    set.add(Effects::WRITE_SUPERBLOCK, new.disk >= Disk::Inconsistent && flags_differ);
    set.add(Effects::RESUME_LOG, old.conn < Conn::Connected && connected);
    let both_inconsistent = old.disk == Disk::Inconsistent && old.pdsk == Disk::Inconsistent;
    set.add(Effects::CONSIDER_RESYNC, both_inconsistent && old.peer == Role::Secondary && new.peer == Role::Primary);
    set
}

/// The vector to report for a change (AC-14 and the others) while `now` is in force. A disk that fails is reported ahead of older changes that
/// wait for the worker; none of them may take that back, or the peer would no longer note what this disk misses.
pub fn reported(change: &State, now: &State) -> State {
    let disk = if now.disk == Disk::Failed && change.disk > Disk::Failed { Disk::Failed } else { change.disk };
    State { disk, ..*change }
}

/// The superblock flags that follow from the vector (SC-6), of those the vector decides. Means nothing while the disk is below
/// Inconsistent: see [`superblock_flags`].
pub fn md_flags(state: &State) -> u32 {
    use crate::md::flags;
    let when = |condition: bool, flag: u32| if condition { flag } else { 0 };
    let primary = state.role == Role::Primary || (state.pdsk < Disk::Inconsistent && state.peer == Role::Primary);
    when(state.disk > Disk::Inconsistent, flags::CONSISTENT)
        | when(state.disk > Disk::Outdated, flags::WAS_UP_TO_DATE)
        | when(primary, flags::PRIMARY)
        | when(state.conn > Conn::WFReportParams, flags::CONNECTED)
        | when(state.pdsk >= Disk::Inconsistent && state.pdsk <= Disk::Outdated, flags::PEER_OUTDATED)
}

/// The flags a superblock has to carry (SC-6): those of the vector, the mark of a crashed Primary, and of those on disk the
/// ones nobody here decides, but never "activity log clean". While the disk is below Inconsistent nothing changes.
pub fn superblock_flags(on_disk: u32, state: &State, crashed_primary: bool) -> u32 {
    use crate::md::flags;
    const DECIDED: u32 = flags::CONSISTENT
        | flags::WAS_UP_TO_DATE
        | flags::PRIMARY
        | flags::CONNECTED
        | flags::PEER_OUTDATED
        | flags::CRASHED_PRIMARY
        | flags::AL_CLEAN;
    if state.disk < Disk::Inconsistent {
        return on_disk;
    }
    let crashed = if crashed_primary { flags::CRASHED_PRIMARY } else { 0 };
    on_disk & !DECIDED | md_flags(state) | crashed
}
