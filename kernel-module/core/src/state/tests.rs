// SPDX-License-Identifier: GPL-2.0
//! Rules over all vectors, and single cases of the reference.

use super::change::{evaluate, needs_cluster_wide, Kind, Request};
use super::rules::{clamp, sanitize, valid_state, Facts, Refusal};
use super::vector::{Conn, Disk, Role, State};

fn connected() -> State {
    State { peer: Role::Secondary, conn: Conn::Connected, disk: Disk::UpToDate, pdsk: Disk::UpToDate, ..State::default() }
}

fn all_states(mut each: impl FnMut(State)) {
    for &role in &[Role::Primary, Role::Secondary] {
        for &peer in Role::ALL {
            for &conn in Conn::ALL {
                for &disk in Disk::ALL {
                    for &pdsk in Disk::ALL {
                        for pause in [false, true] {
                            each(State { role, peer, conn, disk, pdsk, user_isp: pause, ..State::default() });
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_recorded_words_unpack() {
    let s = State::unpack(0xc882).unwrap();
    assert_eq!((s.role, s.peer, s.conn, s.disk, s.pdsk), (Role::Secondary, Role::Unknown, Conn::WFConnection, Disk::Inconsistent, Disk::DUnknown));
    assert_eq!(s.pack(), 0xc882);
    let s = State::unpack(0x110a9).unwrap();
    assert_eq!((s.role, s.conn, s.disk, s.pdsk), (Role::Primary, Conn::Connected, Disk::UpToDate, Disk::UpToDate));
    assert!(State::unpack(0x3).is_err());
    assert!(State::unpack(24 << 4).is_err());
}

#[test]
fn sanitising_is_idempotent_and_keeps_to_the_clamp_table() {
    let facts = Facts::default();
    all_states(|state| {
        let once = sanitize(&state, state, &facts);
        assert_eq!(sanitize(&state, once, &facts), once, "{state}");
        let (own, peer) = clamp(once.conn);
        assert!(once.disk >= own.0 && once.disk <= own.1 && once.pdsk >= peer.0 && once.pdsk <= peer.1, "{state} -> {once}");
    });
}

#[test]
fn packing_and_unpacking_are_inverse() {
    all_states(|state| assert_eq!(State::unpack(state.pack()), Ok(state)));
}

#[test]
fn st_8_requests_are_mirrored_as_recorded() {
    let promote = Request::none().role(Role::Primary);
    assert_eq!((promote.mask, promote.value), (0x3, 0x1));
    assert_eq!(promote.mirrored(), Request::none().peer(Role::Primary));
    let detach = Request::none().disk(Disk::Failed);
    assert_eq!((detach.mask, detach.value), (0x1e00, 0x400));
    assert_eq!(detach.mirrored(), Request::none().pdsk(Disk::Failed));
    let disconnect = Request::none().conn(Conn::Disconnecting);
    assert_eq!((disconnect.mask, disconnect.value), (0x1f0, 0x10));
    assert_eq!(disconnect.mirrored(), Request::none().conn(Conn::TearDown));
    assert_eq!(Request::none().conn(Conn::StartingSyncT).mirrored(), Request::none().conn(Conn::StartingSyncS));
    assert_eq!(Request::none().conn(Conn::VerifyS).mirrored(), Request::none().conn(Conn::VerifyT));
}

#[test]
fn rows_of_the_administrative_table_are_refused_with_their_codes() {
    let facts = Facts { has_net: true, version: 101, ..Facts::default() };
    let primary = Request::none().role(Role::Primary);
    let soft = |state: &State, request: Request, facts: &Facts| evaluate(state, &request, Kind::Soft, facts);
    let peer_primary = State { peer: Role::Primary, ..connected() };
    assert_eq!(soft(&peer_primary, primary, &facts), Err(Refusal::TwoPrimaries));
    let alone = State { conn: Conn::WFConnection, peer: Role::Unknown, disk: Disk::Inconsistent, pdsk: Disk::DUnknown, ..State::default() };
    assert_eq!(soft(&alone, primary, &facts), Err(Refusal::NoUpToDateDisk));
    let diskless = State { disk: Disk::Diskless, ..connected() };
    assert!(soft(&diskless, primary, &facts).is_ok());
    let open = Facts { is_open: true, ..facts };
    let running = State { role: Role::Primary, ..connected() };
    assert_eq!(soft(&running, Request::none().role(Role::Secondary), &open), Err(Refusal::InUse));
    assert_eq!(soft(&alone, Request::none().disk(Disk::Outdated), &facts), Err(Refusal::LowerThanOutdated));
    assert_eq!(soft(&connected(), Request::none().disk(Disk::Outdated), &facts), Ok(None));
    assert_eq!(soft(&connected(), Request::none().conn(Conn::VerifyS), &facts), Err(Refusal::NoVerifyAlgorithm));
    let last_good = State { pdsk: Disk::Diskless, ..running };
    assert_eq!(soft(&last_good, Request::none().disk(Disk::Failed), &facts), Err(Refusal::NoUpToDateDisk));
    assert!(soft(&running, Request::none().disk(Disk::Failed), &facts).is_ok());
    assert_eq!(
        evaluate(&State::default(), &Request::none().conn(Conn::Disconnecting), Kind::Soft, &facts),
        Err(Refusal::AlreadyStandAlone)
    );
}

#[test]
fn st_5_promotion_detach_and_disconnect_ask_the_peer() {
    let old = connected();
    assert!(needs_cluster_wide(&old, &State { role: Role::Primary, ..old }));
    assert!(needs_cluster_wide(&old, &State { disk: Disk::Failed, ..old }));
    assert!(needs_cluster_wide(&old, &State { conn: Conn::Disconnecting, ..old }));
    let primary = State { role: Role::Primary, ..old };
    assert!(!needs_cluster_wide(&primary, &old));
    let alone = State { conn: Conn::WFConnection, ..old };
    assert!(!needs_cluster_wide(&alone, &State { role: Role::Primary, ..alone }));
}

#[test]
fn st_2_a_vector_that_is_broken_already_may_be_left_step_by_step() {
    let facts = Facts::default();
    let broken = State { role: Role::Primary, conn: Conn::WFConnection, disk: Disk::Inconsistent, pdsk: Disk::DUnknown, ..State::default() };
    assert_eq!(valid_state(&broken, &facts), Err(Refusal::NoUpToDateDisk));
    let request = Request::none().flag(super::vector::word::USER_ISP, true);
    assert!(evaluate(&broken, &request, Kind::Soft, &facts).is_ok());
}
