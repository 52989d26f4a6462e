// SPDX-License-Identifier: GPL-2.0
//! Frozen requests, congestion and read balancing, event by event.

use super::gate::Gate;
use super::table::Operation;
use super::tests::*;
use super::volume::*;
use super::volume_log::Launched;
use super::volume_peer::Begin;
use super::volume_read::ReadBalancing;
use crate::engine::request::Flags;
use crate::state::Thaw;

fn suspended() -> Gate {
    Gate { open: false, suspended: true, ..alone() }
}

fn thaw(plane: &mut DataPlane<Heap>, how: Thaw) -> (u32, Actions) {
    plane.take_frozen(how, 5, Stamp::default).unwrap()
}

#[test]
fn ep_6_ep_7_suspended_requests_freeze_and_are_sent_again_or_end() {
    for how in [Thaw::Resend, Thaw::LocalOnly] {
        let mut plane = unlogged(connected());
        let slot = write(&mut plane, 0);
        let _ = send(&mut plane, 0);
        let _ = plane.local_done(slot, true);
        let _ = plane.publish(suspended());
        assert_eq!(plane.take_lost().unwrap().2.complete, None);
        assert!(plane.take_lost().is_none());
        assert_eq!((plane.in_flight(), plane.bitmap.weight()), (1, 0));
        let again = how == Thaw::Resend;
        let _ = plane.publish(if again { connected() } else { alone() });
        let (frozen, actions) = thaw(&mut plane, how);
        assert_eq!((frozen, actions.complete), (slot, (!again).then_some(true)));
        assert_eq!(plane.bitmap.weight(), u64::from(!again));
        if again {
            let (_, entry, _) = send(&mut plane, 1);
            assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
        }
        assert!(plane.take_frozen(how, 5, Stamp::default).is_none());
        assert_eq!(plane.in_flight(), 0);
    }
}

#[test]
fn ep_7_what_the_peer_has_acknowledged_is_not_sent_again() {
    for how in [Thaw::Resend, Thaw::LocalOnly] {
        let mut plane = unlogged(connected());
        let slot = write(&mut plane, 0);
        let (_, entry, _) = send(&mut plane, 0);
        let _ = plane.local_done(slot, true);
        assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
        let _ = plane.publish(suspended());
        assert_eq!(plane.take_lost().unwrap().2.complete, None);
        assert_eq!(plane.bitmap.weight(), 0);
        let _ = plane.publish(connected());
        assert_eq!(thaw(&mut plane, how).1.complete, None);
        assert!(plane.peek_send().is_none());
        // without the peer nobody knows whether its epoch is on stable storage there
        assert_eq!(plane.bitmap.weight(), u64::from(how == Thaw::LocalOnly));
        // its slot is free again
        assert!(!plane.has_frozen() && plane.entry(slot).operation == super::table::Operation::Free);
    }
}

#[test]
fn ep_6_protocol_a_writes_that_were_only_handed_over_are_out_of_sync() {
    let mut plane = unlogged(Gate { want_write_ack: false, ..connected() });
    let slot = write(&mut plane, 0);
    let _ = send(&mut plane, 0);
    assert_eq!(plane.local_done(slot, true).complete, Some(true));
    let _ = plane.publish(suspended());
    let _ = plane.take_lost().unwrap();
    assert_eq!((plane.bitmap.weight(), plane.has_frozen()), (1, false));
}

#[test]
fn er_7_a_write_without_good_data_is_kept_and_starts_anew_or_fails() {
    for how in [Thaw::RestartLocal, Thaw::Resend, Thaw::LocalOnly] {
        let mut plane = unlogged(Gate { hold_failed: true, ..alone() });
        let slot = write(&mut plane, 0);
        assert_eq!(plane.local_done(slot, false).complete, None);
        assert!(plane.has_frozen());
        assert!(!plane.local_done(slot, true).idle, "the disk answers once");
        match how {
            Thaw::RestartLocal => {
                let _ = plane.publish(Gate { log_activity: false, ..alone() });
                assert!(thaw(&mut plane, how).1.retry);
                let launched = plane.take_launchable(6, Stamp::default);
                let Some(Launched::Application(launch)) = launched else { panic!("{launched:?}") };
                assert_eq!((launch.slot, launch.local), (slot, true));
                assert_eq!(plane.local_done(slot, true).complete, Some(true));
            }
            Thaw::Resend => {
                let _ = plane.publish(Gate { local: false, local_up_to_date: false, ..connected() });
                assert_eq!(thaw(&mut plane, how).1.complete, None);
                let (_, entry, _) = send(&mut plane, 1);
                assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
            }
            Thaw::LocalOnly => {
                let _ = plane.publish(Gate { local: false, local_up_to_date: false, writable: false, ..alone() });
                assert_eq!(thaw(&mut plane, how).1.complete, Some(false));
            }
        }
        assert_eq!(plane.in_flight(), 0);
    }
}

#[test]
fn er_7_a_read_without_good_data_waits_only_when_the_policy_says_so() {
    let nowhere = Gate { local: false, local_up_to_date: false, ..alone() };
    for (hold_failed, expected) in [(true, AdmitRead::Wait), (false, AdmitRead::Fail)] {
        let mut plane = unlogged(Gate { hold_failed, ..nowhere });
        assert_eq!(plane.admit_read(0, BLOCK, Flags::NONE, 0, Stamp::default), expected);
    }
}

#[test]
fn cg_1_congestion_counts_sectors_sent_and_not_acknowledged() {
    let protocol_a = Gate { want_write_ack: false, congestion_fill: 16, ..connected() };
    let mut plane = unlogged(protocol_a);
    for sector in [0, 8] {
        let launch = go(admit(&mut plane, sector, BLOCK));
        assert!(!launch.congested);
        let _ = send(&mut plane, 0);
        let _ = plane.local_done(launch.slot, true);
    }
    assert!(go(admit(&mut plane, 16, BLOCK)).congested);
    // the barrier ack makes room
    for _ in 0..2 {
        assert!(plane.take_acknowledged_epoch(0).unwrap().is_some());
    }
    assert!(plane.peer_has_everything());
    assert!(!go(admit(&mut plane, 24, BLOCK)).congested);
    // not without good data here
    let mut plane = unlogged(Gate { local_up_to_date: false, congestion_fill: 1, ..connected() });
    let _ = go(admit(&mut plane, 0, BLOCK));
    let _ = send(&mut plane, 0);
    assert!(!go(admit(&mut plane, 8, BLOCK)).congested);
}

#[test]
fn cg_1_congestion_counts_extents_in_use() {
    let mut plane = plane(16, 4, Gate { congestion_extents: 2, log_activity: true, ..connected() });
    let mut congested = Vec::new();
    for extent in 0..2u64 {
        assert!(matches!(admit(&mut plane, extent << 13, BLOCK), Admit::LogWait(_)));
        assert!(plane.collect_transaction() && plane.log.seal());
        plane.transaction_committed();
        let Some(Launched::Application(launch)) = plane.take_launchable(0, Stamp::default) else { panic!() };
        congested.push(launch.congested);
    }
    assert_eq!(congested, [false, true]);
}

#[test]
fn rd_3_reads_that_both_could_serve_are_balanced() {
    let rows: [(u32, &[bool]); 11] = [
        (0, &[false, false, false, false]),
        (1, &[true, true, true, true]),
        (2, &[false, true, false, true]),
        (3, &[true, false, true, false]),
        (4, &[false, false, false, false]),
        (5, &[false, true, false, true]),
        (6, &[false, false, true, true]),
        (7, &[false; 4]),
        (8, &[false; 4]),
        (9, &[false; 4]),
        (10, &[false; 4]),
    ];
    for (number, expected) in rows {
        let mut plane = unlogged(Gate { read_balancing: ReadBalancing::from_number(number), ..connected() });
        let remote: Vec<bool> = (0..4)
            .map(|stripe| match plane.admit_read(stripe * 64, BLOCK, Flags::NONE, 0, Stamp::default) {
                AdmitRead::Remote(_) => {
                    let _ = plane.begin_send(0);
                    true
                }
                AdmitRead::Local => false,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(remote, expected, "{number}");
        let far = plane.admit_read(1 << (number + 1).min(11), BLOCK, Flags::NONE, 0, Stamp::default);
        assert_eq!(matches!(far, AdmitRead::Remote(_)), matches!(number, 1 | 3 | 5..), "{number}");
    }
}

#[test]
fn rd_1_holes_in_the_bitmap_decide_where_an_inconsistent_disk_is_read() {
    let mut plane = unlogged(Gate { local_up_to_date: false, in_sync_states: true, ..connected() });
    plane.bitmap.set_range(8, BLOCK);
    for (sector, size, remote) in [(0, BLOCK, false), (8, BLOCK, true), (0, 2 * BLOCK, true), (15, 512, true), (16, BLOCK, false)] {
        let admitted = plane.admit_read(sector, size, Flags::NONE, 0, Stamp::default);
        assert_eq!(matches!(admitted, AdmitRead::Remote(_)), remote, "{sector}+{size}");
    }
    // without the peer a block that is not in sync can not be read at all
    let _ = plane.publish(Gate { remote_read: false, ..*plane.gate() });
    assert_eq!(plane.admit_read(8, BLOCK, Flags::NONE, 0, Stamp::default), AdmitRead::Fail);
    assert_eq!(plane.admit_read(0, BLOCK, Flags::NONE, 0, Stamp::default), AdmitRead::Local);
    // nor any other while those that have no bit are not known
    let _ = plane.publish(Gate { bits_missing: true, ..*plane.gate() });
    assert_eq!(plane.admit_read(0, BLOCK, Flags::NONE, 0, Stamp::default), AdmitRead::Fail);
}

#[test]
fn rd_3_a_block_that_the_peer_could_not_write_is_not_read_there() {
    let mut plane = unlogged(Gate { read_balancing: ReadBalancing::PreferRemote, ..connected() });
    let slot = write(&mut plane, 0);
    let (_, entry, _) = send(&mut plane, 0);
    let _ = ack(&mut plane, &entry, Acknowledgement::Failed);
    assert_eq!(plane.local_done(slot, true).complete, Some(true));
    assert_eq!(plane.admit_read(0, 512, Flags::NONE, 0, Stamp::default), AdmitRead::Local);
    assert!(matches!(plane.admit_read(8, 512, Flags::NONE, 0, Stamp::default), AdmitRead::Remote(_)));
}

#[test]
fn rd_3_a_block_whose_epoch_is_not_acknowledged_is_not_read_at_the_peer() {
    // Protocol A, B, C: completed before, before and after the peer has written it.
    for (receive, written) in [(false, false), (true, false), (false, true)] {
        let gate = Gate { want_receive_ack: receive, want_write_ack: written, read_balancing: ReadBalancing::PreferRemote, ..connected() };
        let mut plane = unlogged(gate);
        let slot = write(&mut plane, 8);
        let (_, entry, _) = send(&mut plane, 7);
        let _ = plane.local_done(slot, true);
        if receive || written {
            let _ = ack(&mut plane, &entry, if written { Acknowledgement::Written } else { Acknowledgement::Received });
        }
        assert_eq!(plane.in_flight(), 0);
        for (sector, size, overlaps) in [(0, BLOCK, false), (0, BLOCK + 512, true), (15, 512, true), (16, BLOCK, false)] {
            let admitted = plane.admit_read(sector, size, Flags::NONE, 0, Stamp::default);
            assert_eq!(admitted == AdmitRead::Local, overlaps && !written, "{receive} {written} {sector}+{size}");
        }
        assert!(plane.take_acknowledged_epoch(7).unwrap().is_some());
        assert!(matches!(plane.admit_read(8, BLOCK, Flags::NONE, 0, Stamp::default), AdmitRead::Remote(_)));
    }
}

#[test]
fn a_write_that_waited_for_a_range_never_shares_the_epoch_of_the_one_before() {
    // EP-1: protocol B, where the peer may still hold the first write when the second one comes.
    let mut plane = unlogged(Gate { want_write_ack: false, want_receive_ack: true, ..connected() });
    let first = write(&mut plane, 0);
    assert_eq!(admit(&mut plane, 0, BLOCK), Admit::Wait);
    let (_, entry, _) = send(&mut plane, 7);
    let _ = plane.local_done(first, true);
    let actions = ack(&mut plane, &entry, Acknowledgement::Received);
    assert_eq!((actions.complete, actions.close_epoch), (Some(true), Some(7)));
    // The shell has not published that yet: the stamp says 0.
    let second = write(&mut plane, 0);
    assert_eq!(plane.entry(second).epoch, 8, "epoch 7 has to end first");
    // One that has heard of later epochs keeps what it knows.
    let request = WriteRequest { sector: 64, size_bytes: BLOCK, operation: Operation::Write, flags: Flags::NONE };
    let third = go(plane.admit_write(&request, 0, || Stamp { order: 64, closed: 9 })).slot;
    assert_eq!(plane.entry(third).epoch, 9);
}

#[test]
fn er_1_a_write_that_failed_here_waits_until_the_disk_is_known_to_lack_it() {
    let mut plane = unlogged(connected());
    let (good, bad) = (write(&mut plane, 0), write(&mut plane, 8));
    let (first, second) = (send(&mut plane, 0).1, send(&mut plane, 0).1);
    assert!(!plane.local_failed(bad).idle && !plane.is_drained() && plane.missed_write());
    assert_eq!(ack(&mut plane, &second, Acknowledgement::Written).complete, None, "a power failure would bring the old copy back");
    assert!(plane.local_done(good, true).idle, "nothing else uses the disk");
    assert_eq!(ack(&mut plane, &first, Acknowledgement::Written).complete, Some(true));
    let (slot, actions) = plane.take_failed_write().unwrap();
    assert_eq!((slot, actions.complete, plane.bitmap.weight()), (bad, Some(true), 1));
    assert!(plane.take_failed_write().is_none() && plane.missed_write(), "the disk still lacks it");
    let _ = plane.publish(Gate { local: false, local_up_to_date: false, ..connected() });
    let _ = plane.publish(connected());
    assert!(!plane.missed_write(), "it has been synced since");
    // without a peer the application hears of it, and nothing that counts is missing
    let _ = plane.publish(alone());
    let slot = write(&mut plane, 16);
    let _ = plane.local_failed(slot);
    assert!(!plane.missed_write() && !plane.lacks_write(false));
    assert!(plane.lacks_write(true), "frozen, the peer may get it yet");
    assert_eq!(plane.take_failed_write().unwrap().1.complete, Some(false));
}

#[test]
fn wr_5_what_the_peers_disk_could_not_do_is_remembered_until_it_is_good_again() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    let (_, entry, _) = send(&mut plane, 0);
    let _ = plane.local_done(slot, true);
    let _ = ack(&mut plane, &entry, Acknowledgement::Failed);
    assert!(plane.peer_missed_write());
    let _ = plane.publish(Gate { remote_read: false, ..connected() });
    let _ = plane.publish(connected());
    assert!(!plane.peer_missed_write());
}

#[test]
fn wr_7_a_copy_with_a_peer_that_is_known_to_lack_something_is_none() {
    for peer_lacks in [false, true] {
        let mut plane = unlogged(Gate { local: false, local_up_to_date: false, ..connected() });
        let _ = write(&mut plane, 0);
        let (_, entry, _) = send(&mut plane, 0);
        let _ = plane.publish(Gate { peer_lacks, remote_read: !peer_lacks, local: false, local_up_to_date: false, ..connected() });
        assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(!peer_lacks));
    }
}

#[test]
fn al_1_writes_of_a_transaction_that_failed_wait_until_the_disk_is_given_up() {
    let mut plane = plane(16, 4, Gate { log_activity: true, ..connected() });
    let Admit::LogWait(slot) = admit(&mut plane, 0, BLOCK) else { panic!() };
    assert!(plane.collect_transaction() && plane.log.seal());
    plane.transaction_failed();
    assert_eq!(plane.take_launchable(0, Stamp::default), None);
    assert!(!(plane.collect_transaction() && plane.log.seal()), "no other transaction begins");
    let _ = plane.publish(Gate { local: false, local_up_to_date: false, ..connected() });
    let Some(Launched::Application(launch)) = plane.take_launchable(0, Stamp::default) else { panic!() };
    assert_eq!((launch.slot, launch.local, launch.wake_sender), (slot, false, true));
}

#[test]
fn ep_7_without_a_disk_here_what_the_application_waits_for_is_sent_again() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    let (_, entry, _) = send(&mut plane, 0);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, None);
    let _ = plane.publish(Gate { local: false, local_up_to_date: false, ..suspended() });
    let _ = plane.take_lost().unwrap();
    assert_eq!(plane.local_done(slot, true).complete, None);
    let _ = plane.publish(Gate { local: false, local_up_to_date: false, ..connected() });
    assert_eq!(thaw(&mut plane, Thaw::Resend), (slot, Actions::default()));
    let (_, entry, _) = send(&mut plane, 1);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
}

#[test]
fn ep_7_a_peer_that_comes_back_without_its_disk_may_lack_what_it_acknowledged() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    let (_, entry, _) = send(&mut plane, 0);
    let _ = plane.local_done(slot, true);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
    let _ = plane.publish(suspended());
    let _ = plane.take_lost().unwrap();
    let _ = plane.publish(Gate { remote_read: false, ..connected() });
    let _ = thaw(&mut plane, Thaw::Resend);
    assert_eq!(plane.bitmap.weight(), 1);
}

#[test]
fn sb_4_a_write_whose_copy_ceased_to_count_is_stranded_until_it_may_go_where_good_data_is() {
    let mut plane = unlogged(Gate { hold_failed: true, ..alone() });
    let slot = write(&mut plane, 0);
    // an after-split-brain policy makes this Primary the target, before its disk answers
    let becomes = Gate { local_up_to_date: false, replicate: false, open: false, hold_failed: true, ..connected() };
    let _ = plane.publish(becomes);
    assert_eq!(plane.local_done(slot, true).complete, None);
    assert!(plane.has_frozen());
    assert_eq!(plane.stranded(), None, "not before the handshake is over");
    let target = Gate { open: true, replicate: true, ..becomes };
    for waits in [Gate { suspended: true, ..target }, Gate { replicate: false, ..target }, Gate { notify_out_of_sync: true, ..target }] {
        let _ = plane.publish(waits);
        assert_eq!(plane.stranded(), None);
    }
    let _ = plane.publish(target);
    assert_eq!(plane.stranded(), Some(Thaw::Resend));
    assert_eq!(thaw(&mut plane, Thaw::Resend).1.complete, None);
    assert_eq!(plane.stranded(), None);
    let (_, entry, _) = send(&mut plane, 1);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
}

#[test]
fn er_7_what_froze_while_a_suspension_ended_goes_on_by_what_is_here() {
    for (local, how, result) in [(true, Thaw::RestartLocal, None), (false, Thaw::LocalOnly, Some(false))] {
        let mut plane = unlogged(Gate { hold_failed: true, ..alone() });
        let slot = write(&mut plane, 0);
        assert_eq!(plane.local_done(slot, false).complete, None);
        let _ = plane.publish(Gate { local, local_up_to_date: local, writable: local, log_activity: false, ..alone() });
        assert_eq!(plane.stranded(), Some(how));
        assert_eq!(thaw(&mut plane, how).1.complete, result);
        assert_eq!(plane.stranded(), None);
    }
}

#[test]
fn ep_8_a_request_admitted_without_a_disk_is_missing_on_one_that_came_since() {
    let mut plane = unlogged(Gate { local: false, local_up_to_date: false, ..connected() });
    let _ = write(&mut plane, 0);
    let _ = plane.publish(Gate { local: false, local_up_to_date: false, ..suspended() });
    let _ = plane.take_lost().unwrap();
    // the disk that comes has a bitmap of its own
    plane.bitmap.clear_range(0, BLOCK);
    let _ = plane.publish(Gate { local_up_to_date: false, ..connected() });
    plane.mark_frozen();
    assert_eq!(plane.bitmap.weight(), 1, "a bitmap that is sent now shows it");
    let _ = thaw(&mut plane, Thaw::Resend);
    assert_eq!((plane.bitmap.weight(), plane.peek_send().is_some()), (1, true));
}

#[test]
fn a_write_reported_in_sync_clears_nothing_after_its_connection() {
    let mut plane = unlogged(Gate { in_sync_states: true, want_write_ack: true, ..connected() });
    plane.bitmap.set_bits(0, 1);
    let launch = go(admit(&mut plane, 0, BLOCK));
    let (slot, entry) = plane.begin_send(7).unwrap();
    let _ = plane.sent(slot, true);
    let _ = plane.acknowledged(entry.id, 0, Acknowledgement::WrittenInSync).unwrap();
    let _ = plane.take_acknowledged_epoch(7).unwrap().unwrap();
    // Only the disk here is slow; when it ends, the bits may be those of the next connection.
    assert!(plane.take_lost().is_none());
    assert_eq!(plane.local_done(launch.slot, true).complete, Some(true));
    assert_eq!(plane.bitmap.weight(), 1);
}

#[test]
fn an_answer_to_a_resync_for_a_disk_that_was_given_up_is_not_written_to_the_next_one() {
    let target = Gate { local_up_to_date: false, in_sync_states: true, ..connected() };
    let mut plane = unlogged(target);
    plane.bitmap.set_bits(0, 1);
    let Begin::Go(slot) = plane.resync_request_begin(0, BLOCK) else { panic!() };
    let _ = plane.publish(Gate { local: false, in_sync_states: false, ..target });
    let _ = plane.publish(target);
    assert_eq!(plane.find_resync_request(0, BLOCK), Some(slot), "the answer comes late");
    assert_eq!(plane.resync_write_begin(slot), Begin::NoDisk);
    assert!(!plane.resync_write_done(slot, false).0);
    assert_eq!((plane.bitmap.weight(), plane.resync_failed_bits(), plane.local_references()), (1, 0, 0));
}

#[test]
fn al_1_a_write_that_waited_while_its_disk_was_replaced_passes_the_new_log() {
    let gate = Gate { log_activity: true, ..connected() };
    let mut plane = plane(16, 4, gate);
    let Admit::LogWait(slot) = admit(&mut plane, 8, BLOCK) else { panic!() };
    // Suspended meanwhile, so it does not leave for the peer alone.
    let _ = plane.publish(Gate { open: false, local: false, ..gate });
    assert!(!plane.collect_transaction() && plane.take_launchable(0, Stamp::default).is_none());
    plane.forget_log_references();
    let _ = plane.publish(gate);
    assert!(plane.take_launchable(0, Stamp::default).is_none() && plane.has_unlogged());
    assert!(plane.collect_transaction() && plane.log.seal() && !plane.has_unlogged());
    plane.transaction_committed();
    assert!(matches!(plane.take_launchable(0, Stamp::default), Some(Launched::Application(launch)) if launch.slot == slot && launch.local));
}
