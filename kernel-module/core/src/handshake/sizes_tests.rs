// SPDX-License-Identifier: GPL-2.0
//! Sizes: one test for each rule of behaviour.md section 5 that is decided here.

use super::*;

fn connecting(disk: Disk) -> SizeFacts {
    SizeFacts {
        own: State { conn: Conn::WFReportParams, disk, ..State::default() },
        own_sectors: 1000,
        user_sectors: 0,
        last_sectors: 1000,
        current_sectors: 1000,
    }
}

fn connected(disk: Disk) -> SizeFacts {
    let facts = connecting(disk);
    SizeFacts { own: State { conn: Conn::Connected, pdsk: Disk::UpToDate, peer: Role::Secondary, ..facts.own }, ..facts }
}

fn sizes(disk: u64, user: u64, current: u64) -> Sizes {
    Sizes { disk_sectors: disk, user_sectors: user, current_sectors: current, ..Sizes::default() }
}

#[test]
fn sz_4_a_diskless_node_reports_no_disk_and_a_resize_asks_for_an_answer() {
    let facts = connected(Disk::UpToDate);
    let sent = own_sizes(&facts, 4096, true, ResizeFlags::default(), None);
    assert_eq!((sent.disk_sectors, sent.current_sectors), (1000, 0));
    let sent = own_sizes(&connected(Disk::Diskless), 4096, false, ResizeFlags::default(), None);
    assert_eq!((sent.disk_sectors, sent.current_sectors), (0, 1000));
}

#[test]
fn sz_5_the_smaller_limit_wins_while_connecting_and_the_last_one_later() {
    let mut facts = connecting(Disk::Inconsistent);
    facts.user_sectors = 900;
    let verdict = evaluate(&facts, &sizes(1000, 800, 1000)).unwrap();
    assert_eq!((verdict.new_user_sectors, verdict.new_sectors), (Some(800), Some(800)));
    let verdict = evaluate(&facts, &sizes(1000, 0, 1000)).unwrap();
    assert_eq!((verdict.new_user_sectors, verdict.new_sectors), (None, Some(900)));
    let mut facts = connected(Disk::UpToDate);
    facts.user_sectors = 700;
    let verdict = evaluate(&facts, &sizes(1000, 950, 1000)).unwrap();
    assert_eq!((verdict.new_user_sectors, verdict.new_sectors), (Some(950), Some(950)));
    let verdict = evaluate(&facts, &sizes(1000, 0, 1000)).unwrap();
    assert_eq!((verdict.new_user_sectors, verdict.new_sectors), (Some(0), None));
}

#[test]
fn sz_6_usable_data_is_not_cut_by_a_connect_or_by_an_attach_of_the_peer() {
    let shrink = WouldShrink { current_sectors: 1000, wanted_sectors: 600 };
    assert_eq!(evaluate(&connecting(Disk::UpToDate), &sizes(600, 0, 600)), Err(shrink));
    assert_eq!(evaluate(&connecting(Disk::Outdated), &sizes(1000, 600, 600)), Err(shrink));
    assert!(evaluate(&connecting(Disk::Inconsistent), &sizes(600, 0, 600)).is_ok());
    let mut late = connected(Disk::UpToDate);
    late.own.pdsk = Disk::Diskless;
    assert_eq!(evaluate(&late, &sizes(600, 0, 600)), Err(shrink));
    assert_eq!(evaluate(&connected(Disk::UpToDate), &sizes(600, 0, 600)).unwrap().new_sectors, Some(600));
}

#[test]
fn sz_2_a_limit_that_does_not_fit_is_ignored_and_reported() {
    let verdict = evaluate(&connected(Disk::UpToDate), &sizes(1000, 1200, 1000)).unwrap();
    assert!(verdict.user_ignored);
    assert_eq!(verdict.new_sectors, None);
}

#[test]
fn sz_7_a_diskless_node_adopts_what_the_peer_has() {
    let mut facts = connecting(Disk::Diskless);
    facts.own_sectors = 0;
    assert_eq!(evaluate(&facts, &sizes(900, 0, 800)).unwrap().new_sectors, Some(800));
    assert_eq!(evaluate(&facts, &sizes(900, 700, 0)).unwrap().new_sectors, Some(700));
    assert_eq!(evaluate(&facts, &sizes(900, 0, 0)).unwrap().new_sectors, Some(900));
    let both = evaluate(&facts, &sizes(0, 0, 800)).unwrap();
    assert_eq!((both.new_sectors, both.both_diskless), (None, true));
    assert_eq!(evaluate(&facts, &sizes(0, 0, 1000)).unwrap(), SizeVerdict::default());
    facts.own.role = Role::Primary;
    assert_eq!(evaluate(&facts, &sizes(900, 0, 800)), Err(WouldShrink { current_sectors: 1000, wanted_sectors: 800 }));
    assert_eq!(evaluate(&facts, &sizes(2000, 0, 1200)).unwrap().new_sectors, Some(1200));
}

#[test]
fn sz_12_a_difference_above_an_eighth_is_worth_a_warning() {
    let warn = |peer| evaluate(&connecting(Disk::Inconsistent), &sizes(peer, 0, peer)).unwrap().warn_disk;
    assert!(warn(874));
    assert!(!warn(875));
    assert!(!warn(1000));
    assert!(warn(1200));
}

#[test]
fn wire_6_4_a_report_of_another_size_is_answered() {
    let own = connected(Disk::UpToDate).own;
    let after = |current| after_resize(&own, &sizes(1000, 0, current), 1000, false, false, false, true);
    assert!(after(0).reply && after(900).reply && !after(1000).reply);
    let early = connecting(Disk::UpToDate).own;
    assert!(!after_resize(&early, &sizes(1000, 0, 0), 1000, true, true, true, true).reply);
}

#[test]
fn sz_9_the_primary_fills_a_new_area_or_else_the_resolver() {
    let mut own = connected(Disk::UpToDate).own;
    let grown = |own: &State, resolver| after_resize(own, &sizes(1000, 0, 1000), 1000, true, false, false, resolver).growth;
    assert_eq!(grown(&own, true), Growth::Source);
    assert_eq!(grown(&own, false), Growth::Target);
    own.role = Role::Primary;
    assert_eq!(grown(&own, false), Growth::Source);
    own = State { role: Role::Secondary, peer: Role::Primary, ..own };
    assert_eq!(grown(&own, true), Growth::Target);
    own.pdsk = Disk::Diskless;
    assert_eq!(grown(&own, true), Growth::Remember);
    let clean = Sizes { no_resync: true, ..sizes(1000, 0, 1000) };
    assert_eq!(after_resize(&connected(Disk::UpToDate).own, &clean, 1000, true, false, false, true).growth, Growth::AssumedClean);
    let syncing = State { conn: Conn::SyncSource, ..connected(Disk::UpToDate).own };
    assert_eq!(grown(&syncing, true), Growth::None);
}

#[test]
fn sz_13_the_largest_bio_follows_the_version_and_is_remembered() {
    assert_eq!(max_bio(0, 0, 0, Some(1 << 20)), (4096, 4096));
    assert_eq!(max_bio(101, 4096, 1 << 20, Some(524_288)), (524_288, 1 << 20));
    assert_eq!(max_bio(0, 1 << 20, 0, Some(524_288)), (524_288, 1 << 20));
    assert_eq!(max_bio(93, 4096, 8192, None), (8192, 8192));
    assert_eq!(max_bio(94, 4096, 8192, None), (32768, 32768));
    assert_eq!(max_bio(99, 0, 0, None), (131_072, 131_072));
    // An old peer must not get more than it can take, even when a newer one was seen before.
    assert_eq!(max_bio(94, 1 << 20, 0, None), (32768, 1 << 20));
}

#[test]
fn sz_10_refusals_of_a_resize_have_their_codes() {
    let primary = State { role: Role::Primary, ..connected(Disk::UpToDate).own };
    let check = |own: &State, command: ResizeCommand| check_resize(own, 101, &command).map_err(ResizeRefusal::code);
    let plain = ResizeCommand::default();
    assert_eq!(check(&primary, plain), Ok(()));
    assert_eq!(check(&State { conn: Conn::SyncSource, ..primary }, plain), Err(130));
    assert_eq!(check(&connected(Disk::UpToDate).own, plain), Err(131));
    assert_eq!(check(&State { disk: Disk::Diskless, ..primary }, plain), Err(138));
    assert_eq!(check_resize(&primary, 92, &ResizeCommand { no_resync: true, ..plain }).map_err(ResizeRefusal::code), Err(153));
    assert_eq!(check(&primary, ResizeCommand { log_kib: Some((16 << 20) + 1), ..plain }), Err(167));
    assert_eq!(check(&primary, ResizeCommand { log_kib: Some(31), ..plain }), Err(168));
    let alone = State { conn: Conn::WFConnection, peer: Role::Unknown, ..primary };
    assert_eq!(check(&alone, ResizeCommand { log_kib: Some(64), ..plain }), Err(166));
    assert_eq!(check(&alone, ResizeCommand { log_kib: Some(64), force: true, ..plain }), Ok(()));
}
