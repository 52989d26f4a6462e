// SPDX-License-Identifier: GPL-2.0
//! The data plane event by event, as the driver calls it. Whole histories are in `tests/tests/simulation`.

use super::gate::Gate;
use super::request::Flags;
use super::table::{Entry, Operation};
use super::volume::*;
use super::volume_log::Launched;
use super::volume_conflict::Register;
use super::volume_peer::Begin;
use crate::activity_log::{self, ActivityLog, Slot};
use crate::bitmap::{Bitmap, NoMemory, PageStore, PageView, Words};

pub(super) struct Heap;

impl Storage for Heap {
    type Slots = Vec<Entry>;
    type Log = LogSlots;
    type Pages = OnePage;
}

pub(super) struct LogSlots(Vec<Slot>, Vec<u16>);

impl activity_log::Storage for LogSlots {
    fn slots(&self) -> &[Slot] {
        &self.0
    }
    fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.0
    }
    fn buckets(&self) -> &[u16] {
        &self.1
    }
    fn buckets_mut(&mut self) -> &mut [u16] {
        &mut self.1
    }
}

/// A bitmap of one page: 128 MiB.
pub(super) struct OnePage(Box<Words>, u32, bool);

impl PageStore for OnePage {
    fn len(&self) -> usize {
        1
    }
    fn view(&self, _: usize) -> PageView<'_> {
        PageView::Present(&self.0)
    }
    fn present(&mut self, _: usize) -> Result<&mut Words, NoMemory> {
        Ok(&mut self.0)
    }
    fn set_uniform(&mut self, _: usize, all_set: bool) {
        self.0.fill(if all_set { u64::MAX } else { 0 });
    }
    fn weight(&self, _: usize) -> u32 {
        self.1
    }
    fn record(&mut self, _: usize, weight: u32, dirty: bool) {
        (self.1, self.2) = (weight, dirty);
    }
    fn is_dirty(&self, _: usize) -> bool {
        self.2
    }
    fn swap_page(&mut self, other: &mut Self, _: usize) {
        core::mem::swap(self, other);
    }
}

const SECTORS: u64 = 32768 * 8;
pub(super) const BLOCK: u32 = 4096;

/// Connected, both disks UpToDate, protocol C.
pub(super) fn connected() -> Gate {
    Gate {
        open: true,
        local: true,
        local_up_to_date: true,
        replicate: true,
        remote_read: true,
        writable: true,
        want_write_ack: true,
        max_in_flight: 100,
        ..Gate::default()
    }
}

/// The peer is away.
pub(super) fn alone() -> Gate {
    Gate { replicate: false, remote_read: false, ..connected() }
}

/// Target of a resync.
fn target() -> Gate {
    Gate { local_up_to_date: false, in_sync_states: true, ..connected() }
}

pub(super) fn plane(slots: usize, log_slots: usize, gate: Gate) -> DataPlane<Heap> {
    let log = ActivityLog::new(LogSlots(vec![Slot::default(); log_slots], vec![0; 16]));
    let bitmap = Bitmap::new(OnePage(Box::new([0; 512]), 0, false), SECTORS);
    let mut plane = DataPlane::new(vec![Entry::default(); slots], log, bitmap);
    let _ = plane.publish(gate);
    plane
}

pub(super) fn admit(plane: &mut DataPlane<Heap>, sector: u64, size_bytes: u32) -> Admit {
    let request = WriteRequest { sector, size_bytes, operation: Operation::Write, flags: Flags::NONE };
    plane.admit_write(&request, 0, || Stamp { order: sector, closed: 0 })
}

pub(super) fn go(admit: Admit) -> Launch {
    match admit {
        Admit::Go(launch) => launch,
        other => panic!("{other:?}"),
    }
}

/// A write that runs: its slot.
pub(super) fn write(plane: &mut DataPlane<Heap>, sector: u64) -> u32 {
    go(admit(plane, sector, BLOCK)).slot
}

/// Sends the next request.
pub(super) fn send(plane: &mut DataPlane<Heap>, epoch: u32) -> (u32, Entry, Actions) {
    let (slot, entry) = plane.begin_send(epoch).unwrap();
    let actions = plane.sent(slot, true);
    (slot, entry, actions)
}

pub(super) fn ack(plane: &mut DataPlane<Heap>, entry: &Entry, what: Acknowledgement) -> Actions {
    plane.acknowledged(entry.id, entry.sector, what).unwrap().1
}

fn begun(begin: Begin) -> u32 {
    match begin {
        Begin::Go(slot) => slot,
        other => panic!("{other:?}"),
    }
}

pub(super) fn unlogged(gate: Gate) -> DataPlane<Heap> {
    plane(16, 4, Gate { log_activity: false, ..gate })
}

#[test]
fn wr_1_a_write_completes_with_the_last_of_disk_peer_and_sender() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let mut plane = unlogged(connected());
        let launch = go(admit(&mut plane, 8, BLOCK));
        assert!(launch.local && launch.wake_sender && launch.complete.is_none());
        let (slot, entry) = plane.begin_send(7).unwrap();
        for (place, event) in order.into_iter().enumerate() {
            let actions = match event {
                0 => plane.local_done(slot, true),
                1 => plane.sent(slot, true),
                _ => ack(&mut plane, &entry, Acknowledgement::Written),
            };
            assert_eq!(actions.complete, (place == 2).then_some(true), "{order:?}");
            assert_eq!(actions.close_epoch, (place == 2).then_some(7), "EP-1");
        }
        assert_eq!((plane.in_flight(), plane.pending_at_peer(), plane.local_references()), (0, 0, 0));
        assert_eq!(plane.take_acknowledged_epoch(6), Ok(None), "an older epoch does not take it off the log");
        assert!(plane.take_acknowledged_epoch(7).unwrap().is_some());
        assert_eq!(plane.take_acknowledged_epoch(7), Ok(None));
        assert_eq!(plane.bitmap.weight(), 0);
    }
}

#[test]
fn wr_2_what_the_peer_has_to_say_depends_on_the_protocol() {
    let mut a = unlogged(Gate { want_write_ack: false, ..connected() });
    let slot = write(&mut a, 0);
    assert_eq!(a.local_done(slot, true).complete, None);
    assert_eq!(send(&mut a, 0).2.complete, Some(true), "protocol A: handed to the socket");
    let mut b = unlogged(Gate { want_write_ack: false, want_receive_ack: true, ..connected() });
    let slot = write(&mut b, 0);
    let (_, entry, actions) = send(&mut b, 0);
    assert_eq!((b.local_done(slot, true).complete, actions.complete), (None, None));
    assert_eq!(ack(&mut b, &entry, Acknowledgement::Received).complete, Some(true), "protocol B: received");
    let mut during_resync = unlogged(Gate { want_receive_ack: true, in_sync_states: true, ..connected() });
    let slot = write(&mut during_resync, 0);
    let (_, entry, _) = send(&mut during_resync, 0);
    let _ = during_resync.local_done(slot, true);
    assert_eq!(ack(&mut during_resync, &entry, Acknowledgement::Received).complete, None);
    assert_eq!(ack(&mut during_resync, &entry, Acknowledgement::Written).complete, Some(true));
}

#[test]
fn wr_4_without_the_peer_bits_are_set_before_the_disk_is_asked() {
    let mut plane = unlogged(alone());
    let launch = go(admit(&mut plane, 9, 512));
    assert!(launch.local && !launch.wake_sender);
    assert_eq!(plane.bitmap.weight(), 1);
    assert_eq!(plane.local_done(launch.slot, true).complete, Some(true));
    assert_eq!(plane.bitmap.weight(), 1);
}

#[test]
fn wr_1_one_good_copy_is_success_and_none_is_failure() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    let (_, entry, _) = send(&mut plane, 0);
    assert_eq!(plane.local_done(slot, false).complete, None);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
    let _ = plane.take_acknowledged_epoch(0);
    assert_eq!(plane.bitmap.weight(), 1, "the local copy is missing");
    let slot = write(&mut plane, 8);
    let (_, entry, _) = send(&mut plane, 1);
    assert_eq!(plane.local_done(slot, false).complete, None);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Failed).complete, Some(false));
}

#[test]
fn wr_5_a_negative_ack_sets_bits_at_once_and_the_local_copy_counts() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 16);
    let (_, entry, _) = send(&mut plane, 0);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Failed).complete, None);
    assert_eq!(plane.bitmap.weight(), 1);
    assert_eq!(plane.local_done(slot, true).complete, Some(true));
}

#[test]
fn acks_for_what_was_never_asked_are_refused() {
    let mut plane = unlogged(connected());
    write(&mut plane, 0);
    let id = plane.entry(0).id;
    let refused = |plane: &mut DataPlane<Heap>, id, sector| plane.acknowledged(id, sector, Acknowledgement::Written).is_err();
    assert!(refused(&mut plane, id, 0), "not sent yet");
    let (slot, entry, _) = send(&mut plane, 0);
    assert!(refused(&mut plane, id, 8) && refused(&mut plane, id + 1, 0) && refused(&mut plane, u64::MAX, 0));
    let _ = ack(&mut plane, &entry, Acknowledgement::Written);
    let _ = plane.local_done(slot, true);
    assert!(plane.take_acknowledged_epoch(0).unwrap().is_some());
    assert!(refused(&mut plane, id, 0), "dead");
    write(&mut plane, 0);
    let (_, again, _) = send(&mut plane, 1);
    assert_ne!(again.id, id, "the slot has a new identity");
}

#[test]
fn ep_5_a_barrier_ack_before_the_acks_of_its_writes_is_an_error() {
    let mut plane = unlogged(connected());
    write(&mut plane, 0);
    let _ = send(&mut plane, 3);
    assert!(plane.take_acknowledged_epoch(3).is_err());
}

#[test]
fn io_3_overlapping_writes_wait_and_are_told_when_to_try_again() {
    let mut plane = unlogged(alone());
    let slot = write(&mut plane, 8);
    assert_eq!(admit(&mut plane, 15, 1024), Admit::Wait);
    let other = write(&mut plane, 16);
    assert!(plane.local_done(slot, true).retry);
    let _ = plane.local_done(other, true);
    go(admit(&mut plane, 15, 1024));
}

#[test]
fn io_1_a_closed_gate_holds_requests_until_it_opens() {
    let mut plane = plane(16, 4, Gate { log_activity: true, ..alone() });
    assert!(matches!(admit(&mut plane, 0, BLOCK), Admit::LogWait(_)));
    assert!(plane.collect_transaction() && plane.log.seal());
    let _ = plane.publish(Gate { open: false, log_activity: true, ..alone() });
    assert_eq!(admit(&mut plane, 64, BLOCK), Admit::Wait);
    plane.transaction_committed();
    assert_eq!(plane.take_launchable(0, Stamp::default), None, "IO-4");
    assert!(!plane.log_work_waiting());
    assert!(plane.publish(Gate { log_activity: true, ..alone() }).retry);
    assert!(plane.log_work_waiting());
    assert!(matches!(plane.take_launchable(0, Stamp::default), Some(Launched::Application(launch)) if launch.local));
}

#[test]
fn wr_7_without_current_data_a_write_fails() {
    let mut plane = unlogged(Gate { writable: false, ..alone() });
    assert_eq!(admit(&mut plane, 0, BLOCK), Admit::Fail);
    let nothing = Gate { local: false, replicate: false, ..alone() };
    let mut plane = unlogged(nothing);
    assert_eq!(go(admit(&mut plane, 0, BLOCK)).complete, Some(false));
    assert_eq!((plane.in_flight(), plane.bitmap.weight()), (0, 0));
}

/// A write of the peer arrives and tries to start, once.
fn peer_write(plane: &mut DataPlane<Heap>, sector: u64, size_bytes: u32, may_set_in_sync: bool) -> Begin {
    let Register::Slot(slot) = plane.peer_write_register(sector, size_bytes, may_set_in_sync) else { return Begin::NoDisk };
    let begin = plane.peer_write_continue(slot);
    if begin == Begin::Wait {
        let _ = plane.drop_peer_write(slot);
        let _ = plane.wait_peer();
    }
    begin
}

/// Commits what waits; the slots launched.
fn commit(plane: &mut DataPlane<Heap>) -> Vec<u32> {
    if plane.collect_transaction() && plane.log.seal() {
        plane.transaction_committed();
    }
    let next = || Stamp { order: 0, closed: 0 };
    std::iter::from_fn(|| match plane.take_launchable(0, next)? {
        Launched::Application(launch) => Some(launch.slot),
        Launched::Peer(slot) | Launched::PeerWithoutDisk(slot) | Launched::Again { slot, .. } => Some(slot),
    })
    .collect()
}

#[test]
fn al_1_a_cold_extent_waits_for_its_transaction_and_a_hot_one_does_not() {
    let mut plane = plane(16, 4, Gate { log_activity: true, ..alone() });
    let Admit::LogWait(slot) = admit(&mut plane, 0, BLOCK) else { panic!() };
    assert_eq!(plane.bitmap.weight(), 0, "nothing runs yet");
    assert_eq!(commit(&mut plane), [slot]);
    assert_eq!(plane.bitmap.weight(), 1);
    write(&mut plane, 8);
}

#[test]
fn al_5_a_write_that_starves_is_tried_again_when_an_extent_is_free() {
    let mut plane = plane(16, 1, Gate { log_activity: true, ..alone() });
    admit(&mut plane, 0, BLOCK);
    let first = commit(&mut plane)[0];
    assert!(matches!(admit(&mut plane, 8192, BLOCK), Admit::LogWait(_)));
    assert!(commit(&mut plane).is_empty(), "the only slot of the log is referenced");
    assert!(plane.log_work_waiting());
    assert!(plane.local_done(first, true).retry, "somebody has to look at the log again");
    assert_eq!(commit(&mut plane).len(), 1);
}

#[test]
fn al_1_a_range_over_several_extents_takes_all_of_them_or_none() {
    let mut plane = plane(16, 2, Gate { log_activity: true, ..alone() });
    let discard = WriteRequest { sector: 0, size_bytes: 16 << 20, operation: Operation::Discard, flags: Flags::NONE };
    let mut ask = |request: &WriteRequest| plane.admit_write(request, 0, Stamp::default);
    assert!(matches!(ask(&discard), Admit::LogWait(_)));
    assert_eq!(ask(&WriteRequest { sector: 8, size_bytes: BLOCK, operation: Operation::Write, flags: Flags::NONE }), Admit::Wait);
    assert!(!plane.collect_transaction() || commit(&mut plane).is_empty(), "four extents never fit into two slots");
    assert!(plane.log.is_idle(), "none is kept");
}

#[test]
fn ep_6_a_lost_connection_sets_bits_at_once_and_completes_by_the_local_result() {
    let mut plane = unlogged(connected());
    let (a, b, c) = (write(&mut plane, 0), write(&mut plane, 8), write(&mut plane, 16));
    let (_, entry, _) = send(&mut plane, 0);
    let _ = plane.local_done(a, true);
    assert_eq!(ack(&mut plane, &entry, Acknowledgement::Written).complete, Some(true));
    let _ = send(&mut plane, 0);
    let _ = plane.publish(alone());
    let mut lost = Vec::new();
    while let Some((slot, _, actions)) = plane.take_lost() {
        lost.push((slot, actions.complete));
    }
    assert_eq!(lost, [(a, None), (b, None), (c, None)]);
    assert_eq!(plane.bitmap.weight(), 3, "also the acked one, and those the disk still works on");
    assert_eq!(plane.pending_at_peer(), 0);
    assert_eq!(plane.local_done(b, true).complete, Some(true));
    assert_eq!(plane.local_done(c, false).complete, Some(false));
    assert_eq!(plane.in_flight(), 0);
}

#[test]
fn a_request_the_sender_still_reads_completes_after_it() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    plane.begin_send(0).unwrap();
    let _ = plane.local_done(slot, true);
    let (_, _, actions) = plane.take_lost().unwrap();
    assert_eq!(actions.complete, None);
    assert_eq!(plane.sent(slot, false).complete, Some(true));
}

#[test]
fn wr_6_writes_beside_a_bitmap_exchange_are_announced_once_per_new_bit() {
    let mut plane = unlogged(Gate { notify_out_of_sync: true, ..alone() });
    let first = go(admit(&mut plane, 0, BLOCK));
    assert!(first.wake_sender);
    let (_, notice) = plane.begin_send(0).unwrap();
    assert_eq!((notice.operation, notice.sector, notice.size_bytes), (Operation::OutOfSyncNotice, 0, BLOCK));
    let _ = plane.local_done(first.slot, true);
    assert!(!go(admit(&mut plane, 0, 512)).wake_sender, "the bit is known");
    assert!(plane.begin_send(0).is_none());
}

#[test]
fn a_notice_finds_a_slot_however_full_the_table_is() {
    let mut plane = plane(4, 4, Gate { log_activity: true, ..alone() });
    assert!(matches!(admit(&mut plane, 0, BLOCK), Admit::LogWait(_)));
    assert!(matches!(admit(&mut plane, 8, BLOCK), Admit::LogWait(_)));
    assert_eq!(admit(&mut plane, 16, BLOCK), Admit::Wait, "two slots are kept for notices");
    assert_eq!(plane.resync_read_begin(80, BLOCK), Begin::Wait);
    let _ = plane.publish(Gate { log_activity: true, notify_out_of_sync: true, ..alone() });
    assert_eq!(commit(&mut plane).len(), 2);
    assert!(plane.begin_send(0).is_some());
    assert!(plane.take_retry(), "the notice has left its slot");
    assert!(plane.begin_send(0).is_some() && plane.begin_send(0).is_none());
}

#[test]
fn rx_12_a_write_in_sync_on_both_sides_clears_bits_when_it_completes() {
    let mut plane = unlogged(Gate { in_sync_states: true, ..connected() });
    plane.bitmap.set_bits(0, 3);
    let slot = go(admit(&mut plane, 4, 2 * BLOCK)).slot;
    let (_, entry, _) = send(&mut plane, 0);
    assert!(entry.flags.has(Flags::MAY_SET_IN_SYNC) && entry.flags.has(Flags::WANT_WRITE_ACK));
    let _ = ack(&mut plane, &entry, Acknowledgement::WrittenInSync);
    assert_eq!(plane.bitmap.weight(), 3);
    assert_eq!(plane.local_done(slot, true).complete, Some(true));
    assert_eq!(plane.bitmap.weight(), 2, "only the block it covers whole");
    let younger = write(&mut plane, 8);
    let (_, entry, _) = send(&mut plane, 1);
    let _ = ack(&mut plane, &entry, Acknowledgement::Failed);
    let _ = plane.local_done(younger, true);
    assert!(plane.take_acknowledged_epoch(0).unwrap().is_some());
    assert_eq!(plane.bitmap.weight(), 3, "the older one does not clear what the younger has set");
}

#[test]
fn dp_5_a_write_of_the_peer_waits_for_every_active_write_it_overlaps() {
    let mut plane = unlogged(alone());
    let first = begun(peer_write(&mut plane, 0, BLOCK, false));
    assert_eq!(peer_write(&mut plane, 7, 1024, false), Begin::Wait);
    let end = plane.peer_write_done(first, true);
    assert!(end.actions.retry && !end.in_sync);
    let own = write(&mut plane, 64);
    assert_eq!(peer_write(&mut plane, 64, 512, false), Begin::Wait);
    assert!(plane.local_done(own, true).retry);
}

#[test]
fn er_4_er_5_a_write_of_the_peer_that_fails_sets_bits_and_without_a_disk_it_is_refused() {
    let mut plane = unlogged(connected());
    let slot = begun(peer_write(&mut plane, 0, BLOCK, false));
    assert!(!plane.peer_write_done(slot, false).in_sync);
    assert_eq!(plane.bitmap.weight(), 1);
    let _ = plane.publish(Gate { local: false, ..connected() });
    assert_eq!(peer_write(&mut plane, 0, BLOCK, false), Begin::NoDisk);
}

#[test]
fn al_8_writes_of_a_peer_without_disk_go_through_the_log() {
    let gate = Gate { log_activity: true, log_peer_writes: true, ..alone() };
    let mut plane = plane(16, 1, gate);
    let Begin::LogWait(slot) = peer_write(&mut plane, 0, BLOCK, false) else { panic!() };
    assert_eq!(plane.bitmap.weight(), 1);
    assert_eq!(commit(&mut plane), [slot]);
    assert!(matches!(peer_write(&mut plane, 8192, BLOCK, false), Begin::LogWait(_)));
    assert!(commit(&mut plane).is_empty());
    assert!(plane.peer_write_done(slot, true).actions.retry, "its extent is free for the next");
    let _ = plane.publish(Gate { local: false, ..gate });
    let waiting = commit(&mut plane)[0];
    assert!(plane.drop_peer_write(waiting).retry || plane.in_flight() == 0);
    assert!(plane.log.is_idle());
}

#[test]
fn rx_12_a_write_of_the_peer_passes_a_resync_request_and_waits_for_its_answer() {
    let mut plane = unlogged(target());
    plane.bitmap.set_bits(0, 2);
    let first = begun(plane.resync_request_begin(0, BLOCK));
    let second = begun(plane.resync_request_begin(8, BLOCK));
    let early = begun(peer_write(&mut plane, 4, BLOCK, true));
    assert_eq!(plane.resync_write_begin(first), Begin::Wait, "the answer came while an older write is on the disk");
    assert_eq!(peer_write(&mut plane, 0, 512, true), Begin::Wait, "a younger write may not pass the answer");
    let _ = plane.peer_write_done(early, true);
    begun(plane.resync_write_begin(first));
    begun(plane.resync_write_begin(second));
    for blocked in [0, 8] {
        assert_eq!(peer_write(&mut plane, blocked, 512, true), Begin::Wait);
    }
    assert!(plane.resync_write_done(first, true).0);
    assert_eq!(peer_write(&mut plane, 4, BLOCK, true), Begin::Wait, "the second is still being written");
    assert!(plane.resync_write_done(second, true).0);
    let late = begun(peer_write(&mut plane, 0, BLOCK, true));
    assert!(plane.peer_write_done(late, true).in_sync);
}

#[test]
fn rx_21_blocks_that_failed_are_counted_and_stay_out_of_sync() {
    let mut plane = unlogged(target());
    plane.bitmap.set_bits(0, 4);
    let first = begun(plane.resync_request_begin(0, 2 * BLOCK));
    let second = begun(plane.resync_request_begin(16, BLOCK));
    let third = begun(plane.resync_request_begin(24, BLOCK));
    assert!(!plane.resync_write_done(first, false).0, "the source could not read it");
    begun(plane.resync_write_begin(second));
    assert!(!plane.resync_write_done(second, false).0, "it could not be written here");
    let _ = plane.resync_request_dropped(third);
    assert_eq!((plane.resync_failed_bits(), plane.bitmap.weight(), plane.local_references()), (3, 4, 0));
    plane.resync_begins();
    assert_eq!(plane.resync_failed_bits(), 0);
}

#[test]
fn rx_10_what_a_disk_that_was_given_up_has_written_is_not_in_sync() {
    let mut plane = unlogged(target());
    plane.bitmap.set_bits(0, 1);
    let slot = begun(plane.resync_request_begin(0, BLOCK));
    begun(plane.resync_write_begin(slot));
    let _ = plane.publish(Gate { local: false, in_sync_states: false, ..target() });
    assert_eq!(peer_write(&mut plane, 0, BLOCK, true), Begin::NoDisk, "a newer write is refused at once");
    assert!(!plane.resync_write_done(slot, true).0);
    assert_eq!(plane.bitmap.weight(), 1);
}

#[test]
fn rx_10_an_answer_of_a_resync_that_is_over_clears_nothing() {
    let resync = Gate { in_sync_states: true, peer_lacks: true, ..connected() };
    let mut plane = unlogged(resync);
    plane.bitmap.set_bits(0, 2);
    assert_eq!(plane.mark_in_sync(0, BLOCK), 1);
    // The target's disk has failed, and the block that is acknowledged was written since.
    let _ = plane.publish(Gate { in_sync_states: false, ..resync });
    assert_eq!((plane.mark_in_sync(8, BLOCK), plane.bitmap.weight()), (0, 1));
}

#[test]
fn a_resync_answer_is_found_by_its_exact_range_or_its_sector_alone() {
    let mut plane = unlogged(target());
    let slot = begun(plane.resync_request_begin(16, 2 * BLOCK));
    assert_eq!(plane.find_resync_request(16, 2 * BLOCK), Some(slot));
    assert_eq!(plane.find_resync_request(16, 0), Some(slot), "negative answers");
    for (sector, size) in [(16, BLOCK), (24, BLOCK), (0, 0), (24, 0), (8, 3 * BLOCK)] {
        assert_eq!(plane.find_resync_request(sector, size), None);
    }
    begun(plane.resync_write_begin(slot));
    assert_eq!(plane.find_resync_request(16, 2 * BLOCK), None, "it has its answer");
}

#[test]
fn requests_without_answer_are_forgotten_and_answers_that_wait_are_not() {
    let mut plane = unlogged(target());
    let (answered, _) = (begun(plane.resync_request_begin(0, BLOCK)), begun(plane.resync_request_begin(8, BLOCK)));
    let blocking = begun(peer_write(&mut plane, 0, 512, false));
    assert_eq!(plane.resync_write_begin(answered), Begin::Wait);
    assert_eq!(plane.take_unanswered_resync_request().map(|entry| entry.sector), Some(8));
    assert!(plane.take_unanswered_resync_request().is_none());
    let _ = plane.peer_write_done(blocking, true);
    assert_eq!(begun(plane.resync_write_begin(answered)), answered);
    let _ = plane.resync_write_done(answered, true);
    assert_eq!(plane.local_references(), 0);
}

#[test]
fn rx_1_a_resync_and_application_writes_exclude_each_other() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    assert_eq!(plane.resync_read_begin(0, 2 * BLOCK), Begin::Wait);
    let (_, entry, _) = send(&mut plane, 0);
    let _ = plane.local_done(slot, true);
    assert!(ack(&mut plane, &entry, Acknowledgement::Written).retry);
    let read = begun(plane.resync_read_begin(0, 2 * BLOCK));
    assert_eq!(admit(&mut plane, 8, 512), Admit::Wait);
    assert!(plane.resync_read_done(read).retry);
    assert_eq!(plane.resync_request_begin(0, BLOCK), Begin::Go(read), "the slot is free");
    assert_eq!(admit(&mut plane, 0, 512), Admit::Wait);
    assert_eq!(plane.resync_request_begin(0, BLOCK), Begin::Wait);
}

fn read(plane: &mut DataPlane<Heap>, sector: u64) -> AdmitRead {
    plane.admit_read(sector, BLOCK, Flags::NONE, 0, || Stamp { order: sector, closed: 0 })
}

#[test]
fn rd_1_rd_2_reads_go_where_the_data_is() {
    let mut plane = unlogged(target());
    plane.bitmap.set_bits(0, 1);
    assert_eq!(read(&mut plane, 8), AdmitRead::Local);
    let AdmitRead::Remote(slot) = read(&mut plane, 0) else { panic!() };
    let (_, entry) = plane.begin_send(0).unwrap();
    assert!(plane.find_remote_read(entry.id, 8, BLOCK).is_err() && plane.find_remote_read(entry.id, 0, 512).is_err());
    assert_eq!(plane.find_remote_read(entry.id, 0, BLOCK), Ok(slot));
    assert_eq!(plane.pending_at_peer(), 1);
    let _ = plane.remote_read_done(slot);
    assert!(plane.find_remote_read(entry.id, 0, BLOCK).is_err(), "answered once");
    assert!(plane.local_read_done(None).idle);
    assert_eq!((plane.in_flight(), plane.pending_at_peer()), (0, 0));
    let _ = plane.publish(Gate { remote_read: false, ..target() });
    assert_eq!(read(&mut plane, 0), AdmitRead::Fail);
    assert_eq!(read(&mut plane, 8), AdmitRead::Local);
    let _ = plane.local_read_done(Some((8, BLOCK)));
    assert_eq!(read(&mut plane, 8), AdmitRead::Fail, "ER-2: the block that failed is out of sync");
}

#[test]
fn a_read_whose_peer_is_gone_is_given_back_and_an_answered_one_is_not() {
    let mut plane = unlogged(Gate { local: false, local_up_to_date: false, ..connected() });
    let (AdmitRead::Remote(a), AdmitRead::Remote(b)) = (read(&mut plane, 0), read(&mut plane, 8)) else { panic!() };
    plane.begin_send(0).unwrap();
    plane.begin_send(0).unwrap();
    let _ = plane.remote_read_done(b);
    let (first, _, actions) = plane.take_lost().unwrap();
    assert_eq!((first, actions.complete), (a, Some(false)));
    let (second, _, actions) = plane.take_lost().unwrap();
    assert_eq!((second, actions.complete), (b, None));
    assert!(plane.take_lost().is_none());
    assert_eq!((plane.in_flight(), plane.pending_at_peer()), (0, 0));
}

#[test]
fn to_3_the_oldest_request_of_any_kind_runs_the_timer() {
    let mut plane = unlogged(connected());
    assert_eq!(plane.oldest_waiting_for_peer(), None);
    let request = WriteRequest { sector: 0, size_bytes: BLOCK, operation: Operation::Write, flags: Flags::NONE };
    plane.admit_write(&request, u32::MAX, Stamp::default);
    plane.admit_write(&WriteRequest { sector: 8, ..request }, 3, Stamp::default);
    assert_eq!(plane.oldest_waiting_for_peer(), Some(u32::MAX), "the clock wraps");
    let _ = plane.local_done(0, true);
    let (_, entry, _) = send(&mut plane, 0);
    let _ = ack(&mut plane, &entry, Acknowledgement::Written);
    assert_eq!(plane.oldest_waiting_for_peer(), Some(u32::MAX), "until its barrier is acknowledged");
    assert!(plane.take_acknowledged_epoch(0).unwrap().is_some());
    assert_eq!(plane.oldest_waiting_for_peer(), Some(3));
}

#[test]
fn a_copy_on_a_disk_that_does_not_count_is_no_success() {
    for gate in [Gate { local: false, local_up_to_date: false, ..alone() }, Gate { local_up_to_date: false, ..alone() }] {
        let mut plane = unlogged(connected());
        let slot = write(&mut plane, 0);
        let _ = plane.publish(gate);
        let _ = plane.local_done(slot, true);
        assert_eq!(plane.take_lost().unwrap().2.complete, Some(false), "failing, or about to be overwritten by a resync");
    }
}

#[test]
fn no_block_is_forgotten_while_a_disk_is_being_given_up() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    let _ = send(&mut plane, 0);
    assert_eq!(plane.local_done(slot, false).complete, None);
    assert_eq!(plane.bitmap.weight(), 1, "before the request is dead");
    let _ = plane.publish(Gate { local: false, local_up_to_date: false, ..connected() });
    let launch = go(admit(&mut plane, 8, BLOCK));
    assert!(!launch.local && launch.wake_sender);
    assert_eq!(plane.bitmap.weight(), 2, "this disk misses it");
}

#[test]
fn al_8_a_block_that_a_diskless_peer_writes_is_noted_when_it_arrives() {
    let mut plane = unlogged(Gate { log_peer_writes: true, ..alone() });
    plane.peer_write_arrived(0, BLOCK);
    let _ = plane.publish(alone());
    plane.peer_write_arrived(8, BLOCK);
    assert_eq!(plane.bitmap.weight(), 1);
}

#[test]
fn al_8_the_log_covers_writes_of_the_peer_until_the_bitmap_is_on_disk() {
    let gate = Gate { log_activity: true, log_until_stored: true, ..alone() };
    let mut plane = plane(16, 4, gate);
    assert!(matches!(peer_write(&mut plane, 0, BLOCK, false), Begin::LogWait(_)));
    assert_eq!(plane.bitmap.weight(), 0, "the peer has a disk of its own again");
    let _ = plane.publish(Gate { log_until_stored: false, ..gate });
    assert!(matches!(peer_write(&mut plane, 8192, BLOCK, false), Begin::Go(_)));
}

#[test]
fn the_peer_owes_an_answer_until_the_epoch_is_acknowledged() {
    let mut plane = unlogged(connected());
    let slot = write(&mut plane, 0);
    assert!(!plane.has_unacknowledged(), "not sent");
    let (_, entry, _) = send(&mut plane, 4);
    let _ = plane.local_done(slot, true);
    let _ = ack(&mut plane, &entry, Acknowledgement::Written);
    assert!(plane.has_unacknowledged());
    assert!(plane.take_acknowledged_epoch(4).unwrap().is_some());
    assert!(!plane.has_unacknowledged());
}
