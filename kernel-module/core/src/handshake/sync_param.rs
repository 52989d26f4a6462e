// SPDX-License-Identifier: GPL-2.0
//! P_SYNC_PARAM and P_PROTOCOL_UPDATE: what has to match and what is adopted (behaviour.md CO-7, CO-8).

use super::protocol::{mirrored_policy, Incompatible};
use crate::wire::params::{Controller, Protocol, SyncParam};

/// Defaults a node without a disk reports (wire-protocol.md 6.3).
pub const DEFAULT_RESYNC_RATE: u32 = 250;
/// Controller settings a node without a disk reports.
pub const DEFAULT_CONTROLLER: Controller = Controller { plan_ahead: 20, delay_target: 10, fill_target: 100, max_rate: 102_400 };

/// Algorithm names to take over from the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NewAlgorithms<'a> {
    /// New verify-alg, empty for none.
    pub verify: Option<&'a [u8]>,
    /// New csums-alg, empty for none.
    pub csums: Option<&'a [u8]>,
}

/// Compares the algorithm names. During the exchange of parameters (`connecting`) they have to be equal, else StandAlone; later they are
/// adopted.
pub fn check<'a>(
    verify: &[u8],
    csums: &[u8],
    peer: &SyncParam<'a>,
    version: u32,
    connecting: bool,
) -> Result<NewAlgorithms<'a>, Incompatible> {
    let new_verify = (version >= 88 && verify != peer.verify).then_some(peer.verify);
    let new_csums = (version >= 89 && csums != peer.csums).then_some(peer.csums);
    if connecting && new_verify.is_some() {
        return Err(Incompatible { option: "verify-alg" });
    }
    if connecting && new_csums.is_some() {
        return Err(Incompatible { option: "csums-alg" });
    }
    Ok(NewAlgorithms { verify: new_verify, csums: new_csums })
}

/// Numbers of the disk options which the peer's packet overwrites.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdoptedRates {
    /// resync-rate in KiB/s.
    pub resync_rate: u32,
    /// Controller settings, from version 95 on.
    pub controller: Option<Controller>,
}

/// The numbers to adopt, out of range values pulled into their ranges (behaviour.md section 13); `None` on a node without a disk.
pub fn adopted(peer: &SyncParam<'_>, has_disk: bool) -> Option<AdoptedRates> {
    let controller = peer.controller.map(|c| Controller {
        plan_ahead: c.plan_ahead.min(300),
        delay_target: c.delay_target.clamp(1, 100),
        fill_target: c.fill_target.min(1 << 20),
        max_rate: c.max_rate.clamp(250, 4 << 20),
    });
    has_disk.then_some(AdoptedRates { resync_rate: peer.resync_rate.clamp(1, 4 << 20), controller })
}

/// Settings a P_PROTOCOL_UPDATE of the peer puts in force here. The integrity algorithm in it holds for what the peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdoptedProtocol {
    /// Replication protocol, 1 = A, 2 = B, 3 = C.
    pub protocol: u32,
    /// after-sb-0pri.
    pub after_sb_0p: u32,
    /// after-sb-1pri.
    pub after_sb_1p: u32,
    /// after-sb-2pri.
    pub after_sb_2p: u32,
    /// allow-two-primaries.
    pub two_primaries: bool,
}

/// Adopts a P_PROTOCOL_UPDATE; a protocol that does not exist is refused.
pub fn adopt_protocol(peer: &Protocol<'_>) -> Result<AdoptedProtocol, Incompatible> {
    if !(1..=3).contains(&peer.protocol) {
        return Err(Incompatible { option: "protocol" });
    }
    Ok(AdoptedProtocol {
        protocol: peer.protocol,
        after_sb_0p: mirrored_policy(peer.after_sb_0p),
        after_sb_1p: mirrored_policy(peer.after_sb_1p),
        after_sb_2p: mirrored_policy(peer.after_sb_2p),
        two_primaries: peer.two_primaries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param<'a>(verify: &'a [u8], csums: &'a [u8]) -> SyncParam<'a> {
        SyncParam { resync_rate: 500, verify, csums, controller: Some(DEFAULT_CONTROLLER) }
    }

    #[test]
    fn co_8_algorithms_must_match_while_connecting_and_are_adopted_later() {
        let peer = param(b"sha1", b"");
        assert_eq!(check(b"sha1", b"", &peer, 101, true), Ok(NewAlgorithms::default()));
        assert_eq!(check(b"md5", b"", &peer, 101, true), Err(Incompatible { option: "verify-alg" }));
        assert_eq!(check(b"sha1", b"md5", &peer, 101, true), Err(Incompatible { option: "csums-alg" }));
        let adopted = check(b"md5", b"md5", &peer, 101, false).unwrap();
        assert_eq!(adopted, NewAlgorithms { verify: Some(b"sha1"), csums: Some(b"") });
        assert_eq!(check(b"md5", b"md5", &param(b"", b""), 87, true), Ok(NewAlgorithms::default()));
    }

    #[test]
    fn co_8_the_numbers_of_the_peer_overwrite_ours_within_their_ranges() {
        assert_eq!(adopted(&param(b"", b""), false), None);
        let wild = Controller { plan_ahead: 9999, delay_target: 0, fill_target: u32::MAX, max_rate: 0 };
        let peer = SyncParam { resync_rate: 0, controller: Some(wild), ..param(b"", b"") };
        let got = adopted(&peer, true).unwrap();
        assert_eq!(got.resync_rate, 1);
        assert_eq!(got.controller, Some(Controller { plan_ahead: 300, delay_target: 1, fill_target: 1 << 20, max_rate: 250 }));
    }

    #[test]
    fn an_update_of_the_protocol_is_seen_from_the_other_side() {
        let peer = Protocol {
            protocol: 1,
            after_sb_0p: 5,
            after_sb_1p: 7,
            after_sb_2p: 6,
            discard_my_data: false,
            dry_run: false,
            two_primaries: true,
            integrity: b"",
        };
        let adopted = adopt_protocol(&peer).unwrap();
        assert_eq!((adopted.after_sb_0p, adopted.after_sb_1p, adopted.after_sb_2p), (6, 7, 5));
        assert!(adopt_protocol(&Protocol { protocol: 4, ..peer }).is_err());
    }
}
