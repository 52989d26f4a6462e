// SPDX-License-Identifier: GPL-2.0
//! Settings that must match on both nodes (behaviour.md CO-7, CO-8).

use crate::handshake::decide::policy;
use crate::wire::params::Protocol;

/// A setting that differs. The operator is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incompatible {
    /// Name of the option.
    pub option: &'static str,
}

/// The peer's name for a policy of ours: discard-local here is discard-remote there.
pub const fn mirrored_policy(number: u32) -> u32 {
    match number {
        policy::DISCARD_LOCAL => policy::DISCARD_REMOTE,
        policy::DISCARD_REMOTE => policy::DISCARD_LOCAL,
        other => other,
    }
}

/// Compares the peer's P_PROTOCOL with ours.
pub fn match_protocol(own: &Protocol<'_>, peer: &Protocol<'_>) -> Result<(), Incompatible> {
    let rows = [
        (own.protocol == peer.protocol, "protocol"),
        (mirrored_policy(own.after_sb_0p) == peer.after_sb_0p, "after-sb-0pri"),
        (mirrored_policy(own.after_sb_1p) == peer.after_sb_1p, "after-sb-1pri"),
        (mirrored_policy(own.after_sb_2p) == peer.after_sb_2p, "after-sb-2pri"),
        (!(own.discard_my_data && peer.discard_my_data), "discard-my-data"),
        (own.two_primaries == peer.two_primaries, "allow-two-primaries"),
        (own.integrity == peer.integrity, "data-integrity-alg"),
    ];
    rows.into_iter().find(|row| !row.0).map_or(Ok(()), |row| Err(Incompatible { option: row.1 }))
}

/// What a received P_SIZES leads to (behaviour.md SZ-2, SZ-6, SZ-7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeOutcome {
    /// Use this size, in sectors.
    Use(u64),
    /// Refuse: it would shrink usable data from the first to the second size.
    WouldShrink(u64, u64),
    /// A diskless node: keep what it has.
    Keep,
}

/// Evaluates sizes on a diskless node (SZ-7).
pub fn size_diskless(sizes: &crate::wire::params::Sizes, current: u64, primary: bool) -> SizeOutcome {
    let offered = [sizes.current_sectors, sizes.user_sectors, sizes.disk_sectors].into_iter().find(|size| *size != 0).unwrap_or(0);
    if offered == 0 || offered == current {
        return SizeOutcome::Keep;
    }
    if sizes.disk_sectors == 0 && current != 0 {
        return SizeOutcome::Keep;
    }
    if offered < current && primary {
        return SizeOutcome::WouldShrink(current, offered);
    }
    SizeOutcome::Use(offered)
}
