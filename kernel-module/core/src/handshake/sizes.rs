// SPDX-License-Identifier: GPL-2.0
//! Negotiation of the device size and of the largest bio (behaviour.md section 5, wire-protocol.md 6.4).

use super::protocol::{size_diskless, SizeOutcome};
use crate::md::layout::agreed_size;
use crate::state::{Conn, Disk, Role, State};
use crate::wire::params::{QueueLimits, Sizes};

/// What a node knows about its sizes, in sectors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SizeFacts {
    /// Own vector.
    pub own: State,
    /// Own maximum (SZ-1); 0 without a disk.
    pub own_sectors: u64,
    /// Size limit of the administrator, 0 for none.
    pub user_sectors: u64,
    /// Size agreed on last, from the superblock; 0 for never.
    pub last_sectors: u64,
    /// Capacity of the replicated device now.
    pub current_sectors: u64,
}

/// SZ-4: the own P_SIZES. `ask_for_reply` after an explicit resize.
pub fn own_sizes(facts: &SizeFacts, max_bio_bytes: u32, ask_for_reply: bool, flags: ResizeFlags, limits: Option<QueueLimits>) -> Sizes {
    let disk = facts.own.disk >= Disk::Negotiating;
    Sizes {
        disk_sectors: if disk { facts.own_sectors } else { 0 },
        user_sectors: if disk { facts.user_sectors } else { 0 },
        current_sectors: if ask_for_reply { 0 } else { facts.current_sectors },
        max_bio_bytes,
        forced: flags.forced,
        no_resync: flags.no_resync,
        limits,
    }
}

/// Flags of a resize.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResizeFlags {
    /// The peer is assumed to have the space (SZ-3).
    pub forced: bool,
    /// The new area is clean.
    pub no_resync: bool,
}

/// What to do after a P_SIZES.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SizeVerdict {
    /// SZ-5: store this as the limit of the administrator.
    pub new_user_sectors: Option<u64>,
    /// Apply this size (SZ-8). `None`: nothing changes.
    pub new_sectors: Option<u64>,
    /// The limit of the administrator is too large and was ignored: an error in the log.
    pub user_ignored: bool,
    /// SZ-12: the limits of the administrators differ much.
    pub warn_user: bool,
    /// SZ-12: the sizes of the disks differ much.
    pub warn_disk: bool,
    /// SZ-7: neither node has a disk; the current size stays, with a warning.
    pub both_diskless: bool,
}

/// SZ-6, SZ-7: refused, StandAlone: usable data would be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WouldShrink {
    /// Capacity now, in sectors.
    pub current_sectors: u64,
    /// What it would become.
    pub wanted_sectors: u64,
}

/// SZ-12: they differ by more than an eighth.
fn differ_much(a: u64, b: u64) -> bool {
    a != 0 && b != 0 && a.abs_diff(b) > a.max(b) / 8
}

/// Evaluates a P_SIZES of the peer.
pub fn evaluate(facts: &SizeFacts, sizes: &Sizes) -> Result<SizeVerdict, WouldShrink> {
    if facts.own.disk < Disk::Negotiating || facts.own_sectors == 0 {
        return without_disk(facts, sizes);
    }
    let connecting = facts.own.conn < Conn::Connected;
    let mut verdict = SizeVerdict { warn_disk: differ_much(sizes.disk_sectors, facts.own_sectors), ..SizeVerdict::default() };
    let user = if connecting {
        verdict.warn_user = differ_much(facts.user_sectors, sizes.user_sectors);
        match (facts.user_sectors, sizes.user_sectors) {
            (own, 0) => own,
            (0, peer) => peer,
            (own, peer) => own.min(peer),
        }
    } else {
        sizes.user_sectors
    };
    let (size, user_ignored) = agreed_size(facts.own_sectors, sizes.disk_sectors, facts.last_sectors, user);
    let usable = facts.own.disk >= Disk::Outdated;
    let guarded = connecting || facts.own.pdsk == Disk::Diskless;
    if size < facts.current_sectors && usable && guarded {
        return Err(WouldShrink { current_sectors: facts.current_sectors, wanted_sectors: size });
    }
    verdict.user_ignored = user_ignored;
    verdict.new_user_sectors = (user != facts.user_sectors).then_some(user);
    verdict.new_sectors = (size != 0 && (size != facts.current_sectors || size != facts.last_sectors)).then_some(size);
    Ok(verdict)
}

/// SZ-7.
fn without_disk(facts: &SizeFacts, sizes: &Sizes) -> Result<SizeVerdict, WouldShrink> {
    let primary = facts.own.role == Role::Primary;
    let mut verdict = SizeVerdict::default();
    match size_diskless(sizes, facts.current_sectors, primary) {
        SizeOutcome::Use(size) => verdict.new_sectors = Some(size),
        SizeOutcome::WouldShrink(current_sectors, wanted_sectors) => return Err(WouldShrink { current_sectors, wanted_sectors }),
        SizeOutcome::Keep => {
            let offered = sizes.current_sectors.max(sizes.user_sectors);
            verdict.both_diskless = sizes.disk_sectors == 0 && offered != 0 && offered != facts.current_sectors;
        }
    }
    Ok(verdict)
}

/// What follows once the size is applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AfterResize {
    /// Answer with the own P_SIZES.
    pub reply: bool,
    /// What happens to the new area.
    pub growth: Growth,
}

/// SZ-9: what happens to a new area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// Nothing grew, or nobody asked.
    None,
    /// Assumed clean: nothing to do, one line in the log.
    AssumedClean,
    /// Resync as source.
    Source,
    /// Resync as target: go to WFSyncUUID.
    Target,
    /// A disk is missing: remember, and look again after the negotiation (AC-22).
    Remember,
}

/// After a P_SIZES was applied. `current` is the capacity now, `grew`: it is larger than before, `resize_pending`: the administrator
/// resized here and the peer's answer was awaited, `own_disk_changed`: the own backing device changed its size since it was last told.
pub fn after_resize(
    own: &State,
    sizes: &Sizes,
    current: u64,
    grew: bool,
    resize_pending: bool,
    own_disk_changed: bool,
    resolver: bool,
) -> AfterResize {
    if own.conn <= Conn::WFReportParams {
        return AfterResize { reply: false, growth: Growth::None };
    }
    let reply = sizes.current_sectors != current || own_disk_changed;
    let due = resize_pending || (grew && own.conn == Conn::Connected);
    let growth = if due { growth(own, sizes.no_resync, resolver) } else { Growth::None };
    AfterResize { reply, growth }
}

/// SZ-9: who fills a new area.
pub fn growth(own: &State, no_resync: bool, resolver: bool) -> Growth {
    if own.disk < Disk::Inconsistent || own.pdsk < Disk::Inconsistent {
        return Growth::Remember;
    }
    if no_resync {
        return Growth::AssumedClean;
    }
    let source = if own.role == own.peer { resolver } else { own.role == Role::Primary };
    if source {
        Growth::Source
    } else {
        Growth::Target
    }
}

/// Largest bio this driver handles, in bytes.
pub const MAX_BIO_BYTES: u32 = 1 << 20;
/// Largest bio before a peer was ever seen, in bytes.
pub const FIRST_BIO_BYTES: u32 = 4096;

/// SZ-13: the largest bio in bytes, and what to remember of the peer in the superblock. `version` is 0 while not connected; `remembered` is the last
/// value kept (0: never connected), `announced` what the peer says in its P_SIZES, `backend` the limit of the local disk (`None`: diskless).
pub fn max_bio(version: u32, remembered: u32, announced: u32, backend: Option<u32>) -> (u32, u32) {
    let remembered = remembered.max(FIRST_BIO_BYTES);
    let by_version = match version {
        0 => remembered,
        1..=93 => announced.clamp(FIRST_BIO_BYTES, 32768),
        94 => 32768,
        95..=99 => 131_072,
        _ => MAX_BIO_BYTES,
    };
    let local = backend.unwrap_or(MAX_BIO_BYTES).max(FIRST_BIO_BYTES);
    (by_version.min(local).min(MAX_BIO_BYTES), remembered.max(by_version).min(MAX_BIO_BYTES))
}

/// SZ-10: why a resize command is refused, with its return code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum ResizeRefusal {
    /// A resync runs.
    ResyncRunning = 130,
    /// No Primary to say whose data the new area takes.
    NoPrimary = 131,
    /// No disk.
    NoDisk = 138,
    /// assume-clean needs protocol 93.
    NeedsVersion93 = 153,
    /// A new layout of the activity log needs a connection, or force.
    LayoutNotConnected = 166,
    /// The activity log would be too large.
    LayoutTooBig = 167,
    /// The activity log would be too small.
    LayoutTooSmall = 168,
}

impl ResizeRefusal {
    /// The return code for user space.
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// A resize command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResizeCommand {
    /// New size limit in sectors, 0 for none.
    pub user_sectors: u64,
    /// Assume that the peer has the space.
    pub force: bool,
    /// The new area is clean.
    pub no_resync: bool,
    /// New activity-log size in KiB (stripes times stripe size), when it shall change.
    pub log_kib: Option<u64>,
}

/// SZ-10. `version` is the agreed one. The implicit shrink by a new layout (170) and its fit into the metadata area (169) are checked where the
/// layout is computed; a size that does not fit is ignored (SZ-2).
pub fn check_resize(own: &State, version: u32, command: &ResizeCommand) -> Result<(), ResizeRefusal> {
    if own.disk < Disk::Inconsistent {
        return Err(ResizeRefusal::NoDisk);
    }
    if own.conn > Conn::Connected {
        return Err(ResizeRefusal::ResyncRunning);
    }
    if own.role == Role::Secondary && own.peer == Role::Secondary {
        return Err(ResizeRefusal::NoPrimary);
    }
    if command.no_resync && version < 93 {
        return Err(ResizeRefusal::NeedsVersion93);
    }
    match command.log_kib {
        Some(kib) if kib > 16 << 20 => Err(ResizeRefusal::LayoutTooBig),
        Some(kib) if kib < 32 => Err(ResizeRefusal::LayoutTooSmall),
        Some(_) if own.conn != Conn::Connected && !command.force => Err(ResizeRefusal::LayoutNotConnected),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "sizes_tests.rs"]
mod tests;
