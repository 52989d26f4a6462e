// SPDX-License-Identifier: GPL-2.0
//! One row or test for each rule label of behaviour.md section 2.

use super::change::{evaluate, needs_cluster_wide, Kind, Request};
use super::effects::{effects_with, reported, superblock_flags, EffectFacts, Effects};
use super::immediate::{immediate, Immediate};
use super::resource::{evaluate_all, resource_effects, Summary, Thaw};
use super::rules::{hard_transition, soft_transition, valid_state, Facts, Fencing, Refusal};
use super::sanitize::{sanitize, sanitize_with_warnings, Warnings};
use super::vector::{word, Conn, Disk, Role, State};

const NET: Facts = Facts {
    has_net: true,
    two_primaries: false,
    fencing: Fencing::DontCare,
    suspend_on_no_data: false,
    is_open: false,
    peer_primary_elsewhere: false,
    has_verify: true,
    version: 101,
    state_sent: false,
    generation_matches: false,
    negotiated_disk: None,
};

fn connected() -> State {
    State { peer: Role::Secondary, conn: Conn::Connected, disk: Disk::UpToDate, pdsk: Disk::UpToDate, ..State::default() }
}

fn primary() -> State {
    State { role: Role::Primary, ..connected() }
}

fn alone() -> State {
    State { conn: Conn::WFConnection, disk: Disk::UpToDate, ..State::default() }
}

fn clean(state: State) -> State {
    sanitize(&state, state, &NET)
}

#[test]
fn san_1_without_connection_only_bad_news_about_the_peer_survives() {
    for (pdsk, expected) in [
        (Disk::UpToDate, Disk::DUnknown),
        (Disk::Consistent, Disk::DUnknown),
        (Disk::DUnknown, Disk::DUnknown),
        (Disk::Outdated, Disk::Outdated),
        (Disk::Inconsistent, Disk::Inconsistent),
        (Disk::Failed, Disk::DUnknown),
        (Disk::Diskless, Disk::DUnknown),
    ] {
        let new = clean(State { conn: Conn::BrokenPipe, pdsk, peer_isp: true, ..connected() });
        assert_eq!((new.pdsk, new.peer, new.peer_isp), (expected, Role::Unknown, false), "{pdsk}");
    }
}

#[test]
fn san_2_an_unconfigured_volume_waits_for_nobody() {
    assert!(!clean(State { aftr_isp: true, ..State::default() }).aftr_isp);
    assert!(clean(State { aftr_isp: true, role: Role::Primary, ..State::default() }).aftr_isp);
}

#[test]
fn a_target_that_lacks_blocks_does_not_become_current_when_its_source_is_lost() {
    for conn in [Conn::WFBitMapT, Conn::WFSyncUUID, Conn::PausedSyncT, Conn::Behind] {
        let old = State { conn, disk: Disk::Outdated, pdsk: Disk::UpToDate, peer: Role::Primary, ..State::default() };
        let new = evaluate(&old, &Request::none().pdsk(Disk::Failed), Kind::Hard, &Facts::default()).unwrap().unwrap();
        assert_eq!((new.conn, new.disk), (Conn::Connected, Disk::Inconsistent), "{conn:?}");
    }
    for conn in [Conn::WFBitMapS, Conn::PausedSyncS, Conn::Ahead] {
        let old = State { conn, disk: Disk::UpToDate, pdsk: Disk::Consistent, role: Role::Primary, ..State::default() };
        let new = evaluate(&old, &Request::none().disk(Disk::Failed), Kind::Hard, &Facts::default()).unwrap().unwrap();
        assert_eq!((new.conn, new.pdsk), (Conn::Connected, Disk::Inconsistent), "{conn:?}");
    }
}

#[test]
fn ov_5_an_error_that_is_passed_on_ends_a_verify_and_leaves_the_copy_inconsistent() {
    for conn in [Conn::VerifyS, Conn::VerifyT] {
        let old = State { conn, ..connected() };
        for wanted in [State { disk: Disk::Inconsistent, ..old }, State { pdsk: Disk::Inconsistent, ..old }] {
            let (new, warnings) = sanitize_with_warnings(&old, wanted, &NET);
            assert_eq!(new, State { conn: Conn::Connected, ..wanted });
            assert!(warnings.has(Warnings::VERIFY_ABORTED));
        }
    }
}

#[test]
fn san_3_a_lost_disk_ends_resync_and_verify_with_a_warning() {
    for (conn, warning) in [(Conn::SyncSource, Warnings::RESYNC_ABORTED), (Conn::VerifyS, Warnings::VERIFY_ABORTED)] {
        let wanted = State { conn, disk: Disk::Failed, ..connected() };
        let (new, warnings) = sanitize_with_warnings(&connected(), wanted, &NET);
        assert_eq!((new.conn, warnings), (Conn::Connected, warning));
        let wanted = State { conn, pdsk: Disk::Diskless, ..connected() };
        assert_eq!(sanitize(&connected(), wanted, &NET).conn, Conn::Connected);
    }
    let wanted = State { conn: Conn::StartingSyncS, pdsk: Disk::Diskless, ..connected() };
    assert_eq!(sanitize(&connected(), wanted, &NET).conn, Conn::Connected);
}

#[test]
fn san_4_a_negotiating_disk_survives_a_lost_connection_only_with_the_generation_in_use() {
    let wanted = State { conn: Conn::NetworkFailure, disk: Disk::Negotiating, ..connected() };
    let facts = Facts { generation_matches: true, negotiated_disk: Some((Disk::Consistent, Disk::Outdated)), ..NET };
    let (new, warnings) = sanitize_with_warnings(&connected(), wanted, &facts);
    assert_eq!((new.disk, new.pdsk, warnings.is_empty()), (Disk::Consistent, Disk::Outdated, true));
    let facts = Facts { generation_matches: false, ..facts };
    let (new, warnings) = sanitize_with_warnings(&connected(), wanted, &facts);
    assert_eq!((new.disk, new.pdsk), (Disk::Diskless, Disk::DUnknown));
    assert_eq!(warnings.lines().count(), 1);
    assert!(warnings.has(Warnings::NEGOTIATION_LOST));
}

#[test]
fn san_5_connected_data_is_up_to_date() {
    for disk in [Disk::Consistent, Disk::Outdated] {
        let new = clean(State { disk, pdsk: disk, ..connected() });
        assert_eq!((new.disk, new.pdsk), (Disk::UpToDate, Disk::UpToDate));
    }
    assert_eq!(clean(State { conn: Conn::Behind, disk: Disk::Outdated, ..connected() }).disk, Disk::Outdated);
}

#[test]
fn san_6_a_future_target_is_outdated_and_its_source_sees_it_consistent() {
    let (new, warnings) = sanitize_with_warnings(&connected(), State { conn: Conn::WFBitMapT, ..connected() }, &NET);
    assert_eq!((new.disk, new.pdsk, warnings.is_empty()), (Disk::Outdated, Disk::UpToDate, true));
    assert_eq!(clean(State { conn: Conn::WFBitMapS, ..connected() }).pdsk, Disk::Consistent);
    let wanted = State { conn: Conn::WFBitMapS, disk: Disk::Inconsistent, ..connected() };
    let (new, warnings) = sanitize_with_warnings(&connected(), wanted, &NET);
    assert_eq!((new.disk, warnings), (Disk::UpToDate, Warnings::DISK_UPGRADED));
    let wanted = State { conn: Conn::SyncTarget, pdsk: Disk::Inconsistent, disk: Disk::Inconsistent, ..connected() };
    assert_eq!(sanitize_with_warnings(&connected(), wanted, &NET).1, Warnings::PEER_DISK_UPGRADED);
}

#[test]
fn san_7_a_primary_with_stonith_freezes_at_the_moment_of_loss() {
    let facts = Facts { fencing: Fencing::ResourceAndStonith, ..NET };
    let lost = State { conn: Conn::NetworkFailure, ..primary() };
    let frozen = sanitize(&primary(), lost, &facts);
    assert!(frozen.susp_fen);
    let thawed = State { susp_fen: false, ..frozen };
    assert!(!sanitize(&thawed, State { conn: Conn::Unconnected, ..thawed }, &facts).susp_fen, "not twice");
    assert!(!sanitize(&primary(), State { pdsk: Disk::Outdated, ..lost }, &facts).susp_fen);
    assert!(!sanitize(&primary(), lost, &NET).susp_fen);
}

#[test]
fn san_8_a_primary_without_data_freezes_if_so_configured() {
    let facts = Facts { suspend_on_no_data: true, ..NET };
    let diskless = State { disk: Disk::Diskless, ..primary() };
    let lost = State { conn: Conn::NetworkFailure, ..diskless };
    assert!(sanitize(&diskless, lost, &facts).susp_nod);
    assert!(!sanitize(&diskless, lost, &NET).susp_nod);
    let lost = clean(lost);
    assert!(!sanitize(&lost, lost, &facts).susp_nod, "only when it happens");
}

#[test]
fn san_9_pause_flags_choose_between_running_and_paused() {
    let paused = clean(State { conn: Conn::SyncTarget, disk: Disk::Inconsistent, user_isp: true, ..connected() });
    assert_eq!(paused.conn, Conn::PausedSyncT);
    assert_eq!(clean(State { user_isp: false, ..paused }).conn, Conn::SyncTarget);
    let source = State { conn: Conn::SyncSource, pdsk: Disk::Inconsistent, aftr_isp: true, ..connected() };
    assert_eq!(clean(source).conn, Conn::PausedSyncS);
}

#[test]
fn ht_each_hard_rule_has_its_code() {
    let conn = |conn: Conn| State { conn, ..connected() };
    let rows = [
        ("HT-1", conn(Conn::StandAlone), conn(Conn::StandAlone), Ok(())),
        ("HT-2", conn(Conn::StandAlone), conn(Conn::Disconnecting), Err(Refusal::AlreadyStandAlone)),
        ("HT-3", conn(Conn::StandAlone), conn(Conn::WFConnection), Err(Refusal::NeedConnection)),
        ("HT-3", conn(Conn::StandAlone), conn(Conn::Unconnected), Ok(())),
        ("HT-4", conn(Conn::WFConnection), conn(Conn::Connected), Err(Refusal::NeedConnection)),
        ("HT-4", conn(Conn::WFReportParams), conn(Conn::Connected), Ok(())),
        ("HT-5", conn(Conn::Timeout), conn(Conn::WFConnection), Err(Refusal::InTransientState)),
        ("HT-5", conn(Conn::TearDown), conn(Conn::BrokenPipe), Err(Refusal::InTransientState)),
        ("HT-5", conn(Conn::TearDown), conn(Conn::Unconnected), Ok(())),
        ("HT-5", conn(Conn::TearDown), conn(Conn::Disconnecting), Ok(())),
        ("HT-6", conn(Conn::Disconnecting), conn(Conn::Unconnected), Err(Refusal::InTransientState)),
        ("HT-6", conn(Conn::Disconnecting), conn(Conn::StandAlone), Ok(())),
        ("HT-7", State { disk: Disk::Diskless, ..alone() }, State { disk: Disk::Failed, ..alone() }, Err(Refusal::IsDiskless)),
    ];
    for (label, old, new, expected) in rows {
        assert_eq!(hard_transition(&old, &new), expected, "{label}: {old} to {new}");
    }
}

#[test]
fn vs_each_validity_rule_has_its_code() {
    let fenced = Facts { fencing: Fencing::ResourceOnly, ..NET };
    let open = Facts { is_open: true, ..NET };
    let elsewhere = Facts { peer_primary_elsewhere: true, ..NET };
    let rows = [
        ("VS-1", State { peer: Role::Primary, ..primary() }, NET, Refusal::TwoPrimaries),
        ("VS-2", primary(), elsewhere, Refusal::OtherVolumePeerPrimary),
        ("VS-2", State { role: Role::Primary, ..alone() }, elsewhere, Refusal::OtherVolumePeerPrimary),
        ("VS-3", connected(), open, Refusal::InUse),
        ("VS-4", State { role: Role::Primary, disk: Disk::Consistent, ..alone() }, NET, Refusal::NoUpToDateDisk),
        ("VS-5", State { role: Role::Primary, ..alone() }, fenced, Refusal::PrimaryNop),
        ("VS-6", State { disk: Disk::Inconsistent, pdsk: Disk::Inconsistent, ..primary() }, NET, Refusal::NoUpToDateDisk),
        ("VS-7", State { conn: Conn::SyncTarget, disk: Disk::Diskless, ..connected() }, NET, Refusal::NoLocalDisk),
        ("VS-8", State { conn: Conn::SyncSource, pdsk: Disk::Diskless, ..connected() }, NET, Refusal::NoRemoteDisk),
        (
            "VS-9",
            State { conn: Conn::SyncSource, disk: Disk::Inconsistent, pdsk: Disk::Inconsistent, ..connected() },
            NET,
            Refusal::NoUpToDateDisk,
        ),
        ("VS-10", State { disk: Disk::Outdated, ..connected() }, NET, Refusal::ConnectedOutdates),
        ("VS-11", State { conn: Conn::VerifyS, ..connected() }, Facts { has_verify: false, ..NET }, Refusal::NoVerifyAlgorithm),
        ("VS-12", State { conn: Conn::VerifyT, ..connected() }, Facts { version: 87, ..NET }, Refusal::NotSupported),
        ("VS-13", State { disk: Disk::Consistent, pdsk: Disk::Consistent, ..primary() }, NET, Refusal::NoUpToDateDisk),
        ("VS-14", State { conn: Conn::StartingSyncS, pdsk: Disk::DUnknown, ..connected() }, NET, Refusal::NeedConnection),
        ("VS-15", State { pdsk: Disk::DUnknown, ..connected() }, NET, Refusal::ConnectedOutdates),
    ];
    for (label, state, facts, expected) in rows {
        assert_eq!(valid_state(&state, &facts), Err(expected), "{label}: {state}");
    }
    let both = State { peer: Role::Primary, ..primary() };
    assert_eq!(valid_state(&both, &Facts { two_primaries: true, ..NET }), Ok(()));
    for state in [connected(), primary(), alone(), State::default()] {
        assert_eq!(valid_state(&state, &NET), Ok(()), "{state}");
    }
}

#[test]
fn str_each_soft_rule_has_its_code() {
    let sent = Facts { state_sent: true, ..NET };
    let conn = |state: State, conn: Conn| State { conn, ..state };
    let source = State { conn: Conn::SyncSource, pdsk: Disk::Inconsistent, ..connected() };
    let rows = [
        ("STR-1", source, conn(source, Conn::StartingSyncS), NET, Refusal::ResyncRunning),
        ("STR-2", conn(alone(), Conn::StandAlone), conn(alone(), Conn::Disconnecting), NET, Refusal::AlreadyStandAlone),
        ("STR-3", State::default(), State { disk: Disk::UpToDate, ..State::default() }, NET, Refusal::IsDiskless),
        ("STR-4", State::default(), conn(State::default(), Conn::WFConnection), NET, Refusal::NoNetConfig),
        (
            "STR-5",
            State { disk: Disk::Inconsistent, ..alone() },
            State { disk: Disk::Outdated, ..alone() },
            NET,
            Refusal::LowerThanOutdated,
        ),
        ("STR-6", conn(alone(), Conn::Unconnected), conn(alone(), Conn::Disconnecting), NET, Refusal::InTransientState),
        ("STR-7", alone(), State { role: Role::Primary, ..alone() }, sent, Refusal::InTransientState),
        (
            "STR-8",
            State { disk: Disk::Inconsistent, ..connected() },
            State { disk: Disk::Inconsistent, ..primary() },
            NET,
            Refusal::InTransientState,
        ),
        ("STR-9", alone(), conn(alone(), Conn::VerifyS), NET, Refusal::NeedConnection),
        ("OV-1 here", State { disk: Disk::Inconsistent, ..connected() }, conn(connected(), Conn::VerifyS), NET, Refusal::NoUpToDateDisk),
        ("OV-1 there", State { pdsk: Disk::Inconsistent, ..connected() }, conn(connected(), Conn::VerifyT), NET, Refusal::NoUpToDateDisk),
        ("STR-10", source, conn(source, Conn::VerifyS), NET, Refusal::ResyncRunning),
        ("STR-11", alone(), conn(alone(), Conn::StartingSyncT), NET, Refusal::NeedConnection),
        ("STR-12", alone(), conn(alone(), Conn::SyncSource), NET, Refusal::NeedConnection),
        ("STR-13", alone(), State { conn: Conn::Disconnecting, pdsk: Disk::Outdated, ..alone() }, NET, Refusal::OutdateWithoutConnection),
    ];
    for (label, old, new, facts, expected) in rows {
        assert_eq!(soft_transition(&old, &new, &facts), Err(expected), "{label}: {old} to {new}");
    }
    let attaching = State { disk: Disk::Attaching, ..alone() };
    assert_eq!(soft_transition(&attaching, &State { disk: Disk::Outdated, ..alone() }, &NET), Ok(()), "STR-5 from Attaching");
    let report = conn(alone(), Conn::WFReportParams);
    assert_eq!(soft_transition(&alone(), &report, &sent), Ok(()), "STR-7 first transition");
    assert_eq!(soft_transition(&report, &conn(connected(), Conn::WFBitMapS), &sent), Ok(()), "STR-7 second transition");
}

#[test]
fn str_the_last_match_wins() {
    let sent = Facts { state_sent: true, ..NET };
    let standing = State { conn: Conn::StandAlone, ..alone() };
    let new = State { conn: Conn::Disconnecting, ..standing };
    assert_eq!(soft_transition(&standing, &new, &sent), Err(Refusal::InTransientState));
    let new = State { conn: Conn::VerifyS, ..alone() };
    assert_eq!(soft_transition(&alone(), &new, &sent), Err(Refusal::NeedConnection));
}

#[test]
fn st_1_nothing_changed_is_success_and_a_made_up_state_is_not_supported() {
    assert_eq!(evaluate(&connected(), &Request::none().conn(Conn::Connected), Kind::Soft, &NET), Ok(None));
    let nonsense = Request { mask: word::CONN, value: 30 << 4 };
    assert_eq!(evaluate(&connected(), &nonsense, Kind::Hard, &NET), Err(Refusal::NotSupported));
}

#[test]
fn st_5_verify_and_a_second_exchange_need_plain_connected() {
    let verify = State { conn: Conn::VerifyS, ..connected() };
    assert!(needs_cluster_wide(&connected(), &verify));
    assert!(needs_cluster_wide(&connected(), &State { conn: Conn::WFReportParams, ..connected() }));
    for conn in [Conn::StartingSyncS, Conn::StartingSyncT] {
        assert!(needs_cluster_wide(&connected(), &State { conn, ..connected() }));
    }
    for new in [
        State { user_isp: true, ..connected() },
        State { susp: true, ..connected() },
        State { disk: Disk::Diskless, ..connected() },
        State { conn: Conn::VerifyT, ..connected() },
    ] {
        assert!(!needs_cluster_wide(&connected(), &new), "{new}");
    }
}

#[test]
fn st_7_one_refusing_volume_refuses_all() {
    let request = Request::none().conn(Conn::Disconnecting);
    let bad = (State { disk: Disk::Diskless, ..primary() }, NET);
    let mut out = [State::default(); 2];
    let refused = evaluate_all(Conn::WFReportParams, &[(connected(), NET), bad], &request, Kind::Soft, false, &mut out);
    assert_eq!(refused, Err(Refusal::NoUpToDateDisk));
    let both = [(connected(), NET), (primary(), NET)];
    assert_eq!(evaluate_all(Conn::WFReportParams, &both, &request, Kind::Soft, false, &mut out), Ok(true));
    assert!(out.iter().all(|state| state.conn == Conn::Disconnecting));
    assert_eq!(evaluate_all(Conn::StandAlone, &[], &request, Kind::Soft, false, &mut out), Err(Refusal::AlreadyStandAlone));
    assert_eq!(evaluate_all(Conn::WFReportParams, &both, &request, Kind::Soft, false, &mut out[..1]), Err(Refusal::InTransientState));
}

#[test]
fn st_7_a_volume_that_can_not_be_outdated_keeps_its_disk_when_asked_to_ignore_it() {
    let request = Request::none().conn(Conn::TearDown).disk(Disk::Outdated);
    let volumes = [(State { disk: Disk::Inconsistent, ..connected() }, NET), (connected(), NET)];
    let mut out = [State::default(); 2];
    let strict = evaluate_all(Conn::WFReportParams, &volumes, &request, Kind::Soft, false, &mut out);
    assert_eq!(strict, Err(Refusal::LowerThanOutdated));
    assert_eq!(evaluate_all(Conn::WFReportParams, &volumes, &request, Kind::Soft, true, &mut out), Ok(true));
    assert_eq!((out[0].disk, out[1].disk), (Disk::Inconsistent, Disk::Outdated));
}

const FREE: EffectFacts = EffectFacts { bitmap_uuid_free: true, peer_missed_write: false, version: 101 };

#[test]
fn ac_each_effect_has_its_trigger() {
    let conn = |state: State, conn: Conn| State { conn, ..state };
    let inconsistent = State { pdsk: Disk::Inconsistent, ..connected() };
    let diskless_peer = State { pdsk: Disk::Diskless, ..connected() };
    let report = State { conn: Conn::WFReportParams, peer: Role::Unknown, pdsk: Disk::DUnknown, ..connected() };
    let unconfigured = State { aftr_isp: true, ..State::default() };
    let lost = State { conn: Conn::NetworkFailure, peer: Role::Unknown, pdsk: Disk::DUnknown, ..primary() };
    let rows = [
        ("AC-2", inconsistent, connected(), Effects::CLEAR_CRASHED_PRIMARY),
        ("AC-3", primary(), State { disk: Disk::Diskless, ..lost }, Effects::HELPER_PRIMARY_ON_INCONSISTENT),
        ("AC-6", conn(inconsistent, Conn::WFBitMapS), conn(inconsistent, Conn::SyncSource), Effects::SEND_SYNC_UUID),
        ("AC-6", conn(inconsistent, Conn::WFBitMapS), conn(inconsistent, Conn::PausedSyncS), Effects::SEND_SYNC_UUID),
        ("AC-7", diskless_peer, State { pdsk: Disk::Negotiating, ..connected() }, Effects::GREET_ATTACHED_PEER),
        ("AC-8", report, conn(inconsistent, Conn::WFBitMapS), Effects::SEND_BITMAP),
        ("AC-9", primary(), lost, Effects::NEW_CURRENT_UUID),
        ("AC-9", primary(), State { pdsk: Disk::Failed, ..primary() }, Effects::NEW_CURRENT_UUID),
        ("AC-9", lost, State { pdsk: Disk::Outdated, ..lost }, Effects::NEW_CURRENT_UUID),
        ("AC-10", diskless_peer, State { peer: Role::Primary, ..diskless_peer }, Effects::NEW_CURRENT_UUID_AT_ONCE),
        ("AC-11", State { peer: Role::Primary, ..diskless_peer }, diskless_peer, Effects::WRITE_BITMAP),
        ("AC-12", primary(), connected(), Effects::WRITE_BITMAP),
        (
            "AC-13",
            State { disk: Disk::Attaching, ..connected() },
            State { disk: Disk::Negotiating, ..connected() },
            Effects::ANNOUNCE_ATTACH,
        ),
        ("AC-14", connected(), State { user_isp: true, ..connected() }, Effects::SEND_STATE),
        ("AC-15", connected(), State { user_isp: true, ..connected() }, Effects::CHECK_DEPENDENCIES),
        ("AC-16", report, connected(), Effects::SEND_STATE),
        ("AC-17", connected(), conn(connected(), Conn::Ahead), Effects::SEND_STATE),
        ("AC-18", connected(), conn(inconsistent, Conn::StartingSyncS), Effects::START_FULL_SYNC),
        ("AC-19", connected(), State { disk: Disk::Failed, ..connected() }, Effects::DISK_FAILED),
        ("AC-20", State { disk: Disk::Failed, ..connected() }, State { disk: Disk::Diskless, ..connected() }, Effects::DISK_GONE),
        ("AC-21", connected(), State { disk: Disk::Inconsistent, ..connected() }, Effects::SEND_STATE),
        ("AC-22", diskless_peer, connected(), Effects::RESYNC_GROWN_AREA),
        ("AC-23", conn(inconsistent, Conn::SyncSource), connected(), Effects::CHECK_DEPENDENCIES),
        ("AC-24", State { disk: Disk::Inconsistent, ..conn(connected(), Conn::SyncTarget) }, connected(), Effects::SEND_STATE),
        ("AC-25", conn(connected(), Conn::VerifyS), connected(), Effects::SEND_STATE),
        ("AC-26", conn(inconsistent, Conn::SyncSource), connected(), Effects::WRITE_CHANGED_BITMAP),
        ("AC-27", unconfigured, State::default(), Effects::CHECK_DEPENDENCIES),
        ("AC-28", report, connected(), Effects::WRITE_SUPERBLOCK),
    ];
    for (label, old, new, effect) in rows {
        assert!(effects_with(&old, &new, &FREE).has(effect), "{label}: {old} to {new}");
        assert!(effects_with(&old, &old, &FREE).is_empty(), "{label}: nothing changed");
    }
}

#[test]
fn ac_9_needs_a_primary_good_data_and_a_free_bitmap_uuid() {
    let lost = |state: State| State { conn: Conn::NetworkFailure, peer: Role::Unknown, pdsk: Disk::DUnknown, ..state };
    let rotates = |old: State, facts: &EffectFacts| effects_with(&old, &lost(old), facts).has(Effects::NEW_CURRENT_UUID);
    assert!(!rotates(connected(), &FREE));
    assert!(rotates(State { conn: Conn::Ahead, pdsk: Disk::Consistent, ..connected() }, &FREE), "the peer is behind");
    let alone = State { conn: Conn::WFConnection, peer: Role::Unknown, pdsk: Disk::DUnknown, ..primary() };
    let attached = effects_with(&State { disk: Disk::Attaching, susp_nod: true, ..alone }, &State { susp_nod: true, ..alone }, &FREE);
    assert!(attached.has(Effects::NEW_CURRENT_UUID) && attached.has(Effects::NEW_CURRENT_UUID_AT_ONCE), "a lone Primary has its disk back");
    let ahead = State { conn: Conn::Ahead, pdsk: Disk::Consistent, ..primary() };
    let demoted = effects_with(&ahead, &State { role: Role::Secondary, ..ahead }, &FREE);
    assert!(demoted.has(Effects::NEW_CURRENT_UUID) && !effects_with(&primary(), &connected(), &FREE).has(Effects::NEW_CURRENT_UUID));
    let frozen = State { susp_fen: true, ..alone };
    let demoted = effects_with(&frozen, &State { role: Role::Secondary, ..frozen }, &FREE);
    assert!(demoted.has(Effects::NEW_CURRENT_UUID) && demoted.has(Effects::NEW_CURRENT_UUID_AT_ONCE), "demoted while frozen");
    assert!(rotates(connected(), &EffectFacts { peer_missed_write: true, ..FREE }), "the peer's disk has failed a write");
    assert!(!rotates(primary(), &EffectFacts { bitmap_uuid_free: false, ..FREE }));
    assert!(!rotates(State { disk: Disk::Inconsistent, ..primary() }, &FREE));
    assert!(!rotates(State { pdsk: Disk::Outdated, ..primary() }, &FREE));
}

#[test]
fn ac_25_depends_on_the_stop_sector() {
    let verify = State { conn: Conn::VerifyS, ..connected() };
    for (version, expected) in [(96, false), (97, true), (99, true), (100, false), (101, true)] {
        assert_eq!(effects_with(&verify, &connected(), &EffectFacts { version, ..FREE }).has(Effects::SEND_STATE), expected, "{version}");
    }
}

#[test]
fn sc_6_the_flags_of_a_disk_that_is_given_up_or_negotiated_stay() {
    use crate::md::flags;
    let good = flags::CONSISTENT | flags::WAS_UP_TO_DATE | flags::CONNECTED;
    assert_eq!(superblock_flags(0, &connected(), false), good);
    assert_eq!(
        superblock_flags(flags::AL_CLEAN | flags::AL_DISABLED, &connected(), true),
        good | flags::AL_DISABLED | flags::CRASHED_PRIMARY
    );
    for disk in [Disk::Diskless, Disk::Attaching, Disk::Failed, Disk::Negotiating] {
        assert_eq!(superblock_flags(good, &State { disk, ..connected() }, false), good, "{disk}");
        let old = connected();
        assert!(!effects_with(&old, &State { disk, ..old }, &FREE).has(Effects::WRITE_SUPERBLOCK), "{disk}");
    }
    let peer = State { pdsk: Disk::Diskless, peer: Role::Primary, ..connected() };
    assert_eq!(superblock_flags(0, &peer, false), good | flags::PRIMARY);
    let alone = State { pdsk: Disk::Outdated, role: Role::Primary, ..alone() };
    assert_eq!(superblock_flags(0, &alone, false), flags::CONSISTENT | flags::WAS_UP_TO_DATE | flags::PRIMARY | flags::PEER_OUTDATED);
}

#[test]
fn sc_each_immediate_action_has_its_trigger() {
    let conn = |state: State, conn: Conn| State { conn, ..state };
    let disk = |disk: Disk| State { disk, ..alone() };
    let source = State { conn: Conn::SyncSource, pdsk: Disk::Inconsistent, ..connected() };
    let bad = State { disk: Disk::Inconsistent, pdsk: Disk::Inconsistent, ..connected() };
    let forced = State { peer: Role::Primary, pdsk: Disk::UpToDate, ..bad };
    let rows = [
        ("SC-1", connected(), conn(alone(), Conn::NetworkFailure), Immediate::CLOSE_EPOCH),
        ("SC-2", connected(), State { disk: Disk::Failed, ..connected() }, Immediate::HOLD_DISK),
        ("SC-3", conn(connected(), Conn::VerifyS), connected(), Immediate::REMEMBER_VERIFY_POSITION),
        ("SC-4", conn(source, Conn::PausedSyncS), source, Immediate::RESYNC_RESUMED),
        ("SC-4", source, conn(source, Conn::PausedSyncS), Immediate::RESYNC_PAUSED),
        ("SC-5", connected(), conn(connected(), Conn::VerifyT), Immediate::VERIFY_STARTED),
        ("SC-6", connected(), primary(), Immediate::UPDATE_FLAGS),
        ("SC-7", disk(Disk::Attaching), disk(Disk::UpToDate), Immediate::ADOPT_GENERATION),
        ("SC-8", bad, forced, Immediate::CONSIDER_RESYNC),
        ("SC-9", connected(), conn(alone(), Conn::Disconnecting), Immediate::STOP_RECEIVER),
        ("SC-9", connected(), conn(alone(), Conn::TearDown), Immediate::RESTART_RECEIVER),
        ("SC-10", conn(alone(), Conn::WFReportParams), connected(), Immediate::COUNT_CONNECT),
        ("SC-11", disk(Disk::Negotiating), disk(Disk::Diskless), Immediate::ATTACH_ENDED),
        ("SC-11", alone(), conn(alone(), Conn::WFReportParams), Immediate::PARAMETERS_STARTED),
    ];
    for (label, old, new, member) in rows {
        assert!(immediate(&old, &new).has(member), "{label}: {old} to {new}");
    }
    assert!(!immediate(&disk(Disk::Attaching), &disk(Disk::Negotiating)).has(Immediate::ATTACH_ENDED));
    assert!(immediate(&State::default(), &State::default()).is_empty());
}

#[test]
fn ac_4_ac_5_fe_9_frozen_requests_go_on_when_all_volumes_allow_it() {
    let frozen = State { susp_nod: true, disk: Disk::Diskless, role: Role::Primary, ..alone() };
    let back = State { conn: Conn::Connected, pdsk: Disk::UpToDate, ..frozen };
    assert_eq!(resource_effects(&[(frozen, back)]).thaw, Some(Thaw::Resend));
    assert_eq!(resource_effects(&[(frozen, back), (frozen, frozen)]).thaw, None);
    let attaching = State { disk: Disk::Attaching, ..frozen };
    let attached = State { disk: Disk::UpToDate, ..frozen };
    let effects = resource_effects(&[(attaching, attached)]);
    assert_eq!((effects.thaw, effects.clear_susp_nod, effects.clear_susp_fen), (Some(Thaw::RestartLocal), true, false));
    let fenced = State { susp_fen: true, role: Role::Primary, ..alone() };
    let back = State { susp_fen: true, ..primary() };
    let effects = resource_effects(&[(fenced, back)]);
    assert_eq!((effects.thaw, effects.drop_deferred_uuids, effects.clear_susp_fen), (Some(Thaw::Resend), true, true));
    let diskless = resource_effects(&[(fenced, State { pdsk: Disk::Diskless, ..back })]);
    assert_eq!((diskless.thaw, diskless.drop_deferred_uuids, diskless.create_deferred_uuids), (Some(Thaw::Resend), false, true));
    let outdated = State { pdsk: Disk::Outdated, ..fenced };
    let effects = resource_effects(&[(fenced, outdated)]);
    assert_eq!((effects.thaw, effects.create_deferred_uuids), (Some(Thaw::LocalOnly), true));
    assert_eq!(resource_effects(&[(fenced, outdated), (fenced, fenced)]).thaw, None);
    assert_eq!(resource_effects(&[]).thaw, None);
}

#[test]
fn the_summary_of_a_resource_takes_the_extremes() {
    let summary = Summary::of([connected(), State { role: Role::Primary, ..alone() }]);
    assert_eq!((summary.role, summary.peer), (Role::Primary, Role::Secondary));
    assert_eq!((summary.lowest_conn, summary.highest_conn), (Conn::WFConnection, Conn::Connected));
    assert_eq!((summary.lowest_pdsk, summary.highest_pdsk), (Disk::DUnknown, Disk::UpToDate));
    assert_eq!(Summary::of([]).role, Role::Secondary);
}

#[test]
fn names_of_the_event_stream() {
    assert_eq!((Conn::WFConnection.connection_name(), Conn::WFReportParams.connection_name()), ("Connecting", "Connected"));
    assert_eq!((Conn::WFReportParams.replication_name(), Conn::Connected.replication_name()), ("Off", "Established"));
    assert_eq!(alone().replication(), Conn::WFReportParams);
    assert_eq!(State { susp: true, susp_fen: true, ..alone() }.suspended().to_string(), "user,fencing");
    assert_eq!(alone().resync_suspended().to_string(), "no");
    assert_eq!(connected().to_string(), "cs:Connected ro:Secondary/Secondary ds:UpToDate/UpToDate r-----");
    assert_eq!(Conn::from_name("Established"), Some(Conn::Connected));
}

#[test]
fn an_older_change_does_not_take_back_that_the_disk_fails() {
    let paused = State { user_isp: true, ..connected() };
    let failed = State { disk: Disk::Failed, ..paused };
    assert_eq!(reported(&paused, &failed), failed);
    assert_eq!(reported(&paused, &paused), paused);
    assert_eq!(reported(&State { disk: Disk::Diskless, ..paused }, &failed).disk, Disk::Diskless);
}
