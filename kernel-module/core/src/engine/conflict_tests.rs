// SPDX-License-Identifier: GPL-2.0
//! Conflicts of two primaries, one by one. Whole histories are in `tests/tests/simulation/conflicts.rs`.

use super::gate::Gate;
use super::tests::{ack, admit, connected, go, send, unlogged, write, BLOCK};
use super::volume::{Acknowledgement, Admit};
use super::volume_conflict::{Register, Verdict};
use super::volume_log::Launched;
use super::volume::Stamp;
use super::volume_peer::Begin;

fn dual(resolver: bool) -> Gate {
    Gate { two_primaries: true, resolver, ..connected() }
}

fn slot(register: Register) -> u32 {
    match register {
        Register::Slot(slot) => slot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dp_3_the_resolver_writes_its_own_once_more_after_the_write_of_the_peer() {
    let mut plane = unlogged(dual(true));
    let own = write(&mut plane, 8);
    let (_, entry, _) = send(&mut plane, 0);
    let theirs = slot(plane.peer_write_register(10, 8 * 512, false));
    assert_eq!(plane.conflicting_write(theirs), Some((8, BLOCK)));
    assert_eq!(plane.peer_write_continue(theirs), Begin::Wait, "the disk here is not done with ours");
    let actions = plane.local_done(own, true);
    assert!(actions.retry && actions.complete.is_none());
    assert_eq!(plane.peer_write_continue(theirs), Begin::Go(theirs), "not for the answer of the peer");
    let other = slot(plane.peer_write_register(4, 5 * 512, false));
    assert_eq!(plane.peer_write_continue(other), Begin::Go(other), "two of them");
    assert!(plane.peer_write_done(theirs, true).restarted);
    assert!(plane.take_launchable(0, Stamp::default).is_none(), "the second is at the disk");
    assert!(plane.log_work_waiting());
    assert!(plane.peer_write_done(other, true).restarted);
    assert_eq!(plane.take_launchable(0, Stamp::default), Some(Launched::Again { slot: own, local: true }));
    assert!(plane.take_launchable(0, Stamp::default).is_none() && !plane.log_work_waiting());
    let third = slot(plane.peer_write_register(8, BLOCK, false));
    assert_eq!(plane.peer_write_continue(third), Begin::Wait, "ours is at the disk");
    assert!(plane.local_done(own, true).retry);
    assert_eq!(plane.peer_write_continue(third), Begin::Go(third));
    assert!(plane.peer_write_done(third, true).restarted);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, None, "not before it is on our disk after theirs");
    // The peer had written it before it sent this one: they follow each other on both disks.
    let later = slot(plane.peer_write_register(8, BLOCK, false));
    assert_eq!(plane.conflicting_write(later), None);
    assert_eq!(plane.peer_write_continue(later), Begin::Wait);
    assert_eq!(plane.take_launchable(0, Stamp::default), Some(Launched::Again { slot: own, local: true }));
    let actions = plane.local_done(own, true);
    assert!(actions.retry && actions.complete == Some(true));
    assert_eq!(plane.peer_write_continue(later), Begin::Go(later));
    assert_eq!(admit(&mut plane, 8, BLOCK), Admit::Wait, "DP-5");
    assert!(plane.peer_write_done(later, true).actions.retry && plane.take_launchable(0, Stamp::default).is_none());
    assert_eq!((plane.bitmap.weight(), plane.local_references(), plane.in_flight()), (0, 0, 0));
}

#[test]
fn dp_3_a_write_that_lost_connection_and_disk_between_ends_all_the_same() {
    let mut plane = unlogged(dual(true));
    let own = write(&mut plane, 8);
    let _ = send(&mut plane, 0);
    let _ = plane.local_done(own, true);
    let theirs = slot(plane.peer_write_register(8, BLOCK, false));
    assert_eq!(plane.peer_write_continue(theirs), Begin::Go(theirs));
    assert_eq!(plane.take_lost().unwrap().2.complete, None, "its data is being overwritten");
    let _ = plane.publish(Gate { local: false, local_up_to_date: false, replicate: false, ..dual(true) });
    assert!(plane.peer_write_done(theirs, true).restarted);
    assert_eq!(plane.take_launchable(0, Stamp::default), Some(Launched::Again { slot: own, local: false }));
    assert_eq!(plane.local_done(own, false).complete, Some(false), "no copy is left");
    assert_eq!((plane.bitmap.weight(), plane.local_references(), plane.in_flight()), (1, 0, 0));
}

#[test]
fn a_write_of_the_peer_that_waits_has_its_range() {
    let mut plane = unlogged(Gate { two_primaries: false, ..dual(false) });
    let first = slot(plane.peer_write_register(0, BLOCK, false));
    assert_eq!(plane.peer_write_continue(first), Begin::Go(first));
    let second = slot(plane.peer_write_register(4, BLOCK, false));
    assert_eq!(plane.peer_write_continue(second), Begin::Wait);
    let third = slot(plane.peer_write_register(8, BLOCK, false));
    assert_eq!(plane.peer_write_continue(third), Begin::Wait, "it meets only the one that waits");
    assert_eq!(plane.resync_read_begin(9, 512), Begin::Wait);
    assert_eq!(admit(&mut plane, 10, 512), Admit::Wait);
    assert!(plane.peer_write_done(first, true).actions.retry);
    assert_eq!(plane.peer_write_continue(third), Begin::Wait);
    assert_eq!(plane.peer_write_continue(second), Begin::Go(second));
    assert!(plane.peer_write_done(second, true).actions.retry);
    assert_eq!(plane.peer_write_continue(third), Begin::Go(third));
}

#[test]
fn a_write_of_the_peer_passes_one_of_ours_that_waits_for_it_behind_the_log() {
    let mut plane = super::tests::plane(16, 4, Gate { log_activity: true, log_peer_writes: true, ..dual(false) });
    assert!(matches!(admit(&mut plane, 8, BLOCK), Admit::LogWait(_)));
    let theirs = slot(plane.peer_write_register(8, BLOCK, false));
    assert_eq!(plane.peer_write_continue(theirs), Begin::LogWait(theirs));
    assert!(plane.collect_transaction() && plane.log.seal());
    plane.transaction_committed();
    assert_eq!(plane.take_launchable(0, Stamp::default), Some(Launched::Peer(theirs)));
    assert!(plane.take_launchable(0, Stamp::default).is_none());
    assert!(plane.peer_write_done(theirs, true).actions.retry);
    assert!(matches!(plane.take_launchable(0, Stamp::default), Some(Launched::Application(_))));
}

#[test]
fn dp_3_a_verdict_about_a_write_that_is_done_here_lets_ours_start_anew_after_a_while() {
    for verdict in [Verdict::Superseded, Verdict::Retry] {
        let mut plane = unlogged(dual(false));
        let own = write(&mut plane, 8);
        let (_, entry, _) = send(&mut plane, 3);
        let (_, _, actions) = plane.decided(entry.id, 8, verdict).unwrap();
        assert_eq!(actions.complete, None);
        assert!(!plane.restart_forgotten(100, 10), "the disk is not done");
        assert_eq!(plane.local_done(own, true).complete, None, "nothing covers it");
        assert!(!plane.restart_forgotten(9, 10));
        let theirs = slot(plane.peer_write_register(12, BLOCK, false));
        assert!(!plane.restart_forgotten(100, 10), "after that of the peer");
        let _ = plane.drop_peer_write(theirs);
        assert!(plane.restart_forgotten(100, 10) && !plane.restart_forgotten(100, 10));
        assert!(matches!(plane.take_launchable(0, Stamp::default), Some(Launched::Application(launch)) if launch.slot == own));
    }
}

#[test]
fn dp_3_the_other_node_waits_for_the_verdict_and_a_superseded_write_is_over() {
    let mut plane = unlogged(dual(false));
    let own = write(&mut plane, 8);
    let (_, entry, _) = send(&mut plane, 3);
    let theirs = slot(plane.peer_write_register(0, 16 * 512, false));
    assert_eq!(plane.peer_write_continue(theirs), Begin::Wait);
    assert!(plane.decided(entry.id, 9, Verdict::Superseded).is_err(), "another sector");
    let (_, epoch, actions) = plane.decided(entry.id, 8, Verdict::Superseded).unwrap();
    assert_eq!((epoch, actions.complete), (3, None));
    assert_eq!(plane.peer_write_continue(theirs), Begin::Wait, "its own disk is not done");
    assert_eq!(plane.local_done(own, true).complete, Some(true));
    assert_eq!(plane.peer_write_continue(theirs), Begin::Go(theirs));
    assert!(!plane.peer_write_done(theirs, true).restarted);
    assert_eq!((plane.bitmap.weight(), plane.in_flight(), plane.pending_at_peer(), plane.has_unacknowledged()), (0, 0, 0, false));
    assert_eq!(plane.take_acknowledged_epoch(9), Ok(None), "it left the transfer log with the verdict (wire 19.6)");
    assert!(plane.decided(entry.id, 8, Verdict::Superseded).is_err(), "once");
}

#[test]
fn dp_3_a_write_to_be_retried_starts_anew_after_the_write_of_the_peer() {
    let mut plane = unlogged(dual(false));
    let own = write(&mut plane, 8);
    let (_, entry, _) = send(&mut plane, 3);
    let (_, _, actions) = plane.decided(entry.id, 8, Verdict::Retry).unwrap();
    assert_eq!(actions.complete, None);
    let theirs = slot(plane.peer_write_register(12, BLOCK, false));
    assert_eq!(plane.peer_write_continue(theirs), Begin::Wait);
    let actions = plane.local_done(own, true);
    assert!(actions.retry && actions.complete.is_none(), "postponed");
    assert_eq!(plane.peer_write_continue(theirs), Begin::Go(theirs));
    assert!(plane.take_launchable(0, Stamp::default).is_none());
    assert!(plane.peer_write_done(theirs, true).restarted);
    assert_ne!(plane.entry(own).id, entry.id, "a new request of the peer");
    assert!(plane.acknowledged(entry.id, 8, Acknowledgement::Written).is_err());
    let Some(Launched::Application(launch)) = plane.take_launchable(0, Stamp::default) else { panic!() };
    assert!(launch.slot == own && launch.local && launch.wake_sender);
    let (_, entry, _) = send(&mut plane, 4);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, None);
    assert_eq!(plane.local_done(own, true).complete, Some(true));
    assert_eq!((plane.bitmap.weight(), plane.in_flight()), (0, 0));
}

#[test]
fn dp_3_a_lost_connection_ends_a_postponed_write_by_its_local_result() {
    let mut plane = unlogged(dual(false));
    let own = write(&mut plane, 8);
    let (_, entry, _) = send(&mut plane, 0);
    let _ = plane.local_done(own, true);
    let _ = plane.decided(entry.id, 8, Verdict::Retry).unwrap();
    assert!(plane.oldest_waiting_for_peer().is_some(), "TO-3");
    let (slot, _, actions) = plane.take_lost().unwrap();
    assert_eq!((slot, actions.complete, plane.bitmap.weight()), (own, Some(true), 1));
    assert!(plane.take_lost().is_none());
}

#[test]
fn wire_19_6_nobody_waits_for_the_epoch_of_a_conflict() {
    let mut plane = unlogged(dual(false));
    let (first, second) = (write(&mut plane, 8), write(&mut plane, 64));
    let (_, kept, _) = send(&mut plane, 3);
    let (_, lost, _) = send(&mut plane, 3);
    let _ = (plane.local_done(first, true), plane.local_done(second, true));
    let theirs = slot(plane.peer_write_register(64, BLOCK, false));
    let _ = plane.decided(lost.id, 64, Verdict::Superseded).unwrap();
    plane.epoch_had_conflict(3);
    assert_eq!(plane.peer_write_continue(theirs), Begin::Go(theirs));
    let _ = plane.peer_write_done(theirs, true);
    assert!(plane.has_unacknowledged() && plane.oldest_waiting_for_peer().is_some(), "its own answer is missing");
    let _ = ack(&mut plane, &kept, Acknowledgement::Written);
    assert!(!plane.has_unacknowledged() && plane.oldest_waiting_for_peer().is_none(), "TO-3: not for the barrier");
    let third = write(&mut plane, 128);
    let (_, entry, _) = send(&mut plane, 3);
    let _ = (plane.local_done(third, true), ack(&mut plane, &entry, Acknowledgement::Written));
    assert!(!plane.has_unacknowledged(), "joined the epoch later");
    assert!(plane.take_acknowledged_epoch(4).unwrap().is_some(), "a later epoch takes both along");
    assert!(plane.take_acknowledged_epoch(4).unwrap().is_some());
    assert_eq!(plane.take_acknowledged_epoch(4), Ok(None));
}

#[test]
fn a_write_not_launched_yet_is_later_than_any_write_of_the_peer() {
    for resolver in [true, false] {
        let mut plane = super::tests::plane(16, 4, Gate { log_activity: true, ..dual(resolver) });
        assert!(matches!(admit(&mut plane, 8, BLOCK), Admit::LogWait(_)));
        let theirs = slot(plane.peer_write_register(8, BLOCK, false));
        assert!(plane.collect_transaction() && plane.log.seal());
        plane.transaction_committed();
        assert!(plane.take_launchable(0, Stamp::default).is_none(), "the write of the peer goes first");
        assert_eq!(plane.peer_write_continue(theirs), Begin::Go(theirs));
        assert!(plane.peer_write_done(theirs, true).actions.retry);
        assert!(plane.take_launchable(0, Stamp::default).is_some());
    }
}

#[test]
fn verdicts_are_refused_with_a_single_primary_and_for_writes_that_do_not_wait() {
    let mut plane = unlogged(connected());
    let _ = go(admit(&mut plane, 8, BLOCK));
    let (_, entry, _) = send(&mut plane, 0);
    assert!(plane.decided(entry.id, 8, Verdict::Superseded).is_err());
    let _ = plane.publish(dual(false));
    let _ = ack(&mut plane, &entry, Acknowledgement::Written);
    assert!(plane.decided(entry.id, 8, Verdict::Retry).is_err());
    assert!(plane.decided(entry.id ^ 1, 8, Verdict::Retry).is_err());
}
