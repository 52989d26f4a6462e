// SPDX-License-Identifier: GPL-2.0
//! Two primaries that write to the same few sectors (issue 3 line 6): whatever the order of disks, packets and acknowledgements, every write completes, both
//! disks end equal, and what a sector holds was not overwritten in time by a later write.
//!
//! The resolver may be a C driver. That one turns down what meets a write of its own that it has not completed, be it done here or not; never acknowledges
//! an epoch with a conflict in it (wire-protocol.md 19.6); and reads nothing on while it waits for the disk before a barrier.
//!
//! A history in which something waits for ever fails: at its end all writes are complete, and nothing is kept aside.

use crate::heap::{Heap, LogSlots, Pages};
use crate::random::Random;
use drbd_core::activity_log::ActivityLog;
use drbd_core::bitmap::Bitmap;
use drbd_core::engine::gate::Gate;
use drbd_core::engine::request::Flags;
use drbd_core::engine::table::{Entry, Operation};
use drbd_core::engine::volume::{Acknowledgement, Actions, Admit, DataPlane, Launch, Stamp, WriteRequest};
use drbd_core::engine::volume_conflict::{Register, Verdict};
use drbd_core::engine::volume_log::Launched;
use drbd_core::engine::volume_peer::Begin;
use drbd_core::epoch::{AfterWrite, ReceiverEpochs, SenderEpochs};
use std::collections::{HashMap, VecDeque};

/// Sectors that are written: two extents of the log, at their border.
const FIRST: u64 = 8192 - 20;
const SECTORS: u64 = 40;

/// A write of an application.
#[derive(Clone, Copy, Debug)]
struct Write {
    by: usize,
    sector: u64,
    count: u64,
    submitted: u64,
    completed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct PeerWrite {
    sector: u64,
    count: u64,
    value: usize,
    id: u64,
    epoch: u32,
    slot: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Data {
    Write { write: PeerWrite, sequence: u32 },
    Barrier(u32),
}

#[derive(Clone, Copy, Debug)]
enum Meta {
    Ack { id: u64, sector: u64, sequence: u32, what: Answer },
    Barrier { number: u32, set_size: u32 },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Written,
    Decided(Verdict),
}

/// An epoch as the C driver receives it.
#[derive(Clone, Copy, Default, Debug)]
struct Foreign {
    writes: u32,
    active: u32,
}

struct Side {
    plane: DataPlane<Heap>,
    out: SenderEpochs,
    inward: ReceiverEpochs,
    /// Epochs as the C driver keeps them, if this node does.
    foreign: Option<Vec<Foreign>>,
    resolver: bool,
    disk: Vec<usize>,
    sequence: u32,
    peer_sequence: u32,
    data: VecDeque<Data>,
    meta: VecDeque<Meta>,
    local: Vec<u32>,
    sending: Vec<u32>,
    values: HashMap<u32, usize>,
    writes: HashMap<u32, PeerWrite>,
    active: Vec<u32>,
    deferred: VecDeque<PeerWrite>,
    held: VecDeque<PeerWrite>,
    waiting: VecDeque<usize>,
    order: u64,
    closed: u32,
    flushes: u32,
    committing: bool,
    conflicts: u32,
}

fn gate(resolver: bool) -> Gate {
    Gate {
        open: true,
        local: true,
        local_up_to_date: true,
        replicate: true,
        remote_read: true,
        writable: true,
        want_write_ack: true,
        log_activity: true,
        max_in_flight: 64,
        two_primaries: true,
        resolver,
        ..Gate::default()
    }
}

impl Side {
    fn new(resolver: bool, foreign: bool) -> Self {
        let log = ActivityLog::new(LogSlots::new(8));
        let mut plane = DataPlane::new(vec![Entry::default(); 96], log, Bitmap::new(Pages::new(1), 32768 * 8));
        let _ = plane.publish(gate(resolver));
        Self {
            plane,
            out: SenderEpochs::new(),
            inward: ReceiverEpochs::new(),
            foreign: foreign.then(|| vec![Foreign::default()]),
            resolver,
            disk: vec![0; SECTORS as usize],
            sequence: 0,
            peer_sequence: 0,
            data: VecDeque::new(),
            meta: VecDeque::new(),
            local: Vec::new(),
            sending: Vec::new(),
            values: HashMap::new(),
            writes: HashMap::new(),
            active: Vec::new(),
            deferred: VecDeque::new(),
            held: VecDeque::new(),
            waiting: VecDeque::new(),
            order: 0,
            closed: 0,
            flushes: 0,
            committing: false,
            conflicts: 0,
        }
    }

    fn put(&mut self, sector: u64, count: u64, value: usize) {
        for place in sector..sector + count {
            self.disk[(place - FIRST) as usize] = value;
        }
    }

    /// What two writes of the same place leave on a disk, if it has both at a time, is anybody's guess.
    fn is_alone(&self, slot: u32) {
        let range = |slot: u32| {
            let entry = self.plane.entry(slot);
            (entry.sector, entry.sector + u64::from(entry.size_bytes / 512))
        };
        let (first, end) = range(slot);
        for other in self.local.iter().chain(&self.active) {
            let (other_first, other_end) = range(*other);
            assert!(other_end <= first || end <= other_first, "the disk has both {first}..{end} and {other_first}..{other_end}");
        }
    }

    fn idle(&self) -> bool {
        let quiet = self.data.is_empty() && self.meta.is_empty() && self.local.is_empty() && self.sending.is_empty() && self.active.is_empty();
        quiet && self.waiting.is_empty() && self.plane.in_flight() == 0 && self.deferred.is_empty() && self.held.is_empty()
    }
}

struct World {
    sides: [Side; 2],
    all: Vec<Write>,
    clock: u64,
    random: Random,
    /// The connection was lost.
    cut: bool,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let foreign = random.below(3) == 0;
        let sides = [Side::new(true, foreign), Side::new(false, false)];
        let all = vec![Write { by: 0, sector: FIRST, count: SECTORS, submitted: 0, completed: Some(0) }];
        Self { sides, all, clock: 0, random, cut: false, trace: Vec::new() }
    }

    fn say(&mut self, what: String) {
        self.trace.push(format!("{:5} {what}", self.clock));
    }

    fn follow(&mut self, me: usize, slot: u32, actions: &Actions) {
        let side = &mut self.sides[me];
        if let Some(epoch) = actions.close_epoch {
            side.closed = side.closed.max(epoch + 1);
        }
        if let Some(ok) = actions.complete {
            assert!(ok, "a write failed");
            let value = side.values.remove(&slot).expect("a write completes once");
            assert!(self.all[value].completed.replace(self.clock).is_none());
            self.say(format!("n{me} completes w{value}"));
        }
        if actions.retry {
            self.retry(me);
        }
    }

    /// What waited tries again.
    fn retry(&mut self, me: usize) {
        for write in std::mem::take(&mut self.sides[me].deferred) {
            self.begin(me, write);
        }
    }

    fn submit(&mut self, me: usize) {
        let sector = FIRST + self.random.below(SECTORS - 8);
        let count = 1 + self.random.below(8);
        let value = self.all.len();
        self.all.push(Write { by: me, sector, count, submitted: self.clock, completed: None });
        self.sides[me].waiting.push_back(value);
        self.say(format!("n{me} submits w{value} {sector}+{count}"));
        self.admit(me);
    }

    fn admit(&mut self, me: usize) {
        let Some(value) = self.sides[me].waiting.pop_front() else { return };
        let Write { sector, count, .. } = self.all[value];
        let side = &mut self.sides[me];
        let request = WriteRequest { sector, size_bytes: count as u32 * 512, operation: Operation::Write, flags: Flags::NONE };
        side.order += 1;
        let stamp = Stamp { order: side.order, closed: side.closed };
        match side.plane.admit_write(&request, 0, || stamp) {
            Admit::Go(launch) => {
                side.values.insert(launch.slot, value);
                self.start(me, launch);
            }
            Admit::LogWait(slot) => {
                side.values.insert(slot, value);
            }
            Admit::Wait => side.waiting.push_back(value),
            Admit::Fail => panic!("refused"),
        }
    }

    fn start(&mut self, me: usize, launch: Launch) {
        assert!(launch.local && launch.complete.is_none());
        self.write_here(me, launch.slot);
    }

    fn write_here(&mut self, me: usize, slot: u32) {
        self.sides[me].is_alone(slot);
        self.sides[me].local.push(slot);
    }

    fn log_writer(&mut self, me: usize) {
        let side = &mut self.sides[me];
        if side.committing {
            side.committing = false;
            side.plane.transaction_committed();
        } else if side.plane.collect_transaction() && side.plane.log.seal() {
            side.committing = true;
        }
        loop {
            let side = &mut self.sides[me];
            side.order += 1;
            let stamp = Stamp { order: side.order, closed: side.closed };
            match side.plane.take_launchable(0, || stamp) {
                Some(Launched::Application(launch)) => self.start(me, launch),
                Some(Launched::Again { slot, local }) => {
                    assert!(local);
                    self.say(format!("n{me} writes w{} once more", self.sides[me].values[&slot]));
                    self.write_here(me, slot);
                }
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
    }

    fn local_done(&mut self, me: usize) {
        let Some(slot) = self.pick(me, |side| &mut side.local) else { return };
        let side = &mut self.sides[me];
        let entry = side.plane.entry(slot);
        let value = side.values[&slot];
        side.put(entry.sector, u64::from(entry.size_bytes / 512), value);
        let actions = side.plane.local_done(slot, true);
        self.say(format!("n{me} has w{value} on disk"));
        self.follow(me, slot, &actions);
    }

    fn pick(&mut self, me: usize, of: impl Fn(&mut Side) -> &mut Vec<u32>) -> Option<u32> {
        let count = of(&mut self.sides[me]).len() as u64;
        if count == 0 {
            return None;
        }
        let at = self.random.below(count) as usize;
        Some(of(&mut self.sides[me]).swap_remove(at))
    }

    fn send(&mut self, me: usize) {
        let side = &mut self.sides[me];
        let Some((slot, _)) = side.plane.peek_send() else {
            if side.out.idle_barrier_due(side.closed) {
                let number = side.out.close();
                self.sides[1 - me].data.extend(number.map(Data::Barrier));
            }
            return;
        };
        if side.out.must_close(side.plane.entry(slot).epoch, 4) {
            let Some(number) = side.out.close() else { return };
            self.sides[1 - me].data.push_back(Data::Barrier(number));
            return;
        }
        let epoch = side.out.join();
        let (slot, entry) = side.plane.begin_send(epoch).unwrap();
        side.sequence += 1;
        let (sequence, value) = (side.sequence, side.values[&slot]);
        side.sending.push(slot);
        let write = PeerWrite { sector: entry.sector, count: u64::from(entry.size_bytes / 512), value, id: entry.id, epoch: 0, slot: None };
        self.sides[1 - me].data.push_back(Data::Write { write, sequence });
        self.say(format!("n{me} sends w{value} in epoch {epoch}"));
    }

    fn sent(&mut self, me: usize) {
        let Some(slot) = self.pick(me, |side| &mut side.sending) else { return };
        let actions = self.sides[me].plane.sent(slot, true);
        self.follow(me, slot, &actions);
    }

    fn receive(&mut self, me: usize) {
        let side = &mut self.sides[me];
        match side.data.front().copied() {
            None => {}
            Some(Data::Write { sequence, .. }) if side.resolver && sequence - 1 > side.peer_sequence => {}
            Some(Data::Write { write, sequence }) => {
                side.data.pop_front();
                side.peer_sequence = side.peer_sequence.max(sequence);
                self.arrived(me, write);
            }
            // The C driver reads on when everything before the barrier is done.
            Some(Data::Barrier(_)) if side.foreign.as_ref().is_some() && !(side.active.is_empty() && side.deferred.is_empty()) => {}
            Some(Data::Barrier(number)) => {
                if side.foreign.is_none() && side.inward.is_full() {
                    return;
                }
                side.data.pop_front();
                match side.foreign.as_mut() {
                    Some(epochs) => {
                        let last = epochs.last().copied().unwrap();
                        epochs.push(Foreign::default());
                        if last.active == 0 && last.writes > 0 {
                            self.sides[1 - me].meta.push_back(Meta::Barrier { number, set_size: last.writes });
                        }
                    }
                    None => {
                        let after = side.inward.barrier(number.to_le_bytes());
                        self.follow_epoch(me, after);
                    }
                }
            }
        }
    }

    fn arrived(&mut self, me: usize, mut write: PeerWrite) {
        let side = &mut self.sides[me];
        write.epoch = match side.foreign.as_mut() {
            Some(epochs) => {
                let last = epochs.last_mut().unwrap();
                (last.writes, last.active) = (last.writes + 1, last.active + 1);
                epochs.len() as u32 - 1
            }
            None => side.inward.write_received().epoch,
        };
        if !self.register(me, &mut write) {
            return;
        }
        let side = &mut self.sides[me];
        if side.foreign.is_some() || side.inward.may_submit(write.epoch) {
            self.begin(me, write);
        } else {
            side.held.push_back(write);
        }
    }

    /// False: it was turned down.
    fn register(&mut self, me: usize, write: &mut PeerWrite) -> bool {
        if let Some(verdict) = self.foreign_verdict(me, write) {
            self.sides[me].conflicts += 1;
            self.say(format!("n{me} turns w{} down: {verdict:?}", write.value));
            self.answer(me, write, Answer::Decided(verdict));
            return false;
        }
        let side = &mut self.sides[me];
        match side.plane.peer_write_register(write.sector, write.count as u32 * 512, false) {
            Register::Slot(slot) => {
                write.slot = Some(slot);
                side.conflicts += u32::from(side.plane.conflicting_write(slot).is_some());
            }
            Register::NotNow => {}
            Register::NoDisk => panic!("there is a disk"),
        }
        true
    }

    /// What a C driver says to a write that meets its own.
    fn foreign_verdict(&self, me: usize, write: &PeerWrite) -> Option<Verdict> {
        let side = &self.sides[me];
        side.foreign.as_ref()?;
        let own = side.values.keys().map(|slot| side.plane.entry(*slot)).filter(|entry| entry.flags.is_launched());
        let end = |entry: &Entry| entry.sector + u64::from(entry.size_bytes / 512);
        let met = own.filter(|entry| entry.sector < write.sector + write.count && write.sector < end(entry));
        let first = met.min_by_key(|entry| entry.sector)?;
        let covers = first.sector <= write.sector && write.sector + write.count <= end(&first);
        Some(if covers { Verdict::Superseded } else { Verdict::Retry })
    }

    fn answer(&mut self, me: usize, write: &PeerWrite, what: Answer) {
        let side = &mut self.sides[me];
        side.sequence += 1;
        let sequence = side.sequence;
        self.sides[1 - me].meta.push_back(Meta::Ack { id: write.id, sector: write.sector, sequence, what });
    }

    fn begin(&mut self, me: usize, mut write: PeerWrite) {
        if write.slot.is_none() && !self.register(me, &mut write) {
            return;
        }
        let side = &mut self.sides[me];
        let Some(slot) = write.slot else {
            side.deferred.push_back(write);
            return;
        };
        match side.plane.peer_write_continue(slot) {
            Begin::Go(slot) => {
                side.is_alone(slot);
                side.writes.insert(slot, write);
                side.active.push(slot);
            }
            Begin::Wait => side.deferred.push_back(write),
            other => panic!("{other:?}"),
        }
    }

    fn peer_done(&mut self, me: usize) {
        let Some(slot) = self.pick(me, |side| &mut side.active) else { return };
        let side = &mut self.sides[me];
        let write = side.writes.remove(&slot).unwrap();
        side.put(write.sector, write.count, write.value);
        let end = side.plane.peer_write_done(slot, true);
        // The acknowledgement gets its number before anything else may start in the range.
        self.answer(me, &write, Answer::Written);
        self.say(format!("n{me} has the peer's w{} on disk", write.value));
        let side = &mut self.sides[me];
        match side.foreign.as_mut() {
            Some(epochs) => epochs[write.epoch as usize].active -= 1,
            None => {
                let after = side.inward.write_finished(write.epoch);
                self.follow_epoch(me, after);
            }
        }
        self.follow(me, slot, &end.actions);
    }

    fn follow_epoch(&mut self, me: usize, after: AfterWrite) {
        self.sides[me].flushes += u32::from(after.flush);
        if !after.progress {
            return;
        }
        while let Some(ack) = self.sides[me].inward.next_ack() {
            let barrier = Meta::Barrier { number: u32::from_le_bytes(ack.number), set_size: ack.set_size };
            self.sides[1 - me].meta.push_back(barrier);
        }
        let side = &mut self.sides[me];
        side.flushes += u32::from(side.inward.needs_flush());
        while let Some(write) = self.sides[me].held.front().copied() {
            if !self.sides[me].inward.may_submit(write.epoch) {
                break;
            }
            self.sides[me].held.pop_front();
            self.begin(me, write);
        }
    }

    fn flushed(&mut self, me: usize) {
        if self.sides[me].flushes > 0 {
            self.sides[me].flushes -= 1;
            let after = self.sides[me].inward.flushed();
            self.follow_epoch(me, after);
        }
    }

    fn meta(&mut self, me: usize) {
        let Some(packet) = self.sides[me].meta.pop_front() else { return };
        let side = &mut self.sides[me];
        match packet {
            Meta::Ack { id, sector, sequence, what } => {
                let (slot, actions) = match what {
                    Answer::Written => side.plane.acknowledged(id, sector, Acknowledgement::Written).expect("a write of ours"),
                    Answer::Decided(verdict) => {
                        let (slot, epoch, actions) = side.plane.decided(id, sector, verdict).expect("a write of ours");
                        side.out.resolved(epoch);
                        side.plane.epoch_had_conflict(epoch);
                        (slot, actions)
                    }
                };
                side.peer_sequence = side.peer_sequence.max(sequence);
                self.follow(me, slot, &actions);
            }
            Meta::Barrier { number, set_size } => {
                let epoch = side.out.acknowledged(number, set_size).unwrap_or_else(|mismatch| panic!("{mismatch:?}"));
                while let Some((slot, actions)) = self.sides[me].plane.take_acknowledged_epoch(epoch).expect("all acknowledged") {
                    self.follow(me, slot, &actions);
                }
            }
        }
    }

    /// The connection is lost: what was on its way is gone, what has arrived is written.
    fn lose_connection(&mut self) {
        self.say("the connection is lost".into());
        self.cut = true;
        for me in 0..2 {
            let side = &mut self.sides[me];
            let gate = Gate { replicate: false, ..*side.plane.gate() };
            let _ = side.plane.publish(gate);
            for write in std::mem::take(&mut side.held) {
                self.begin(me, write);
            }
            while let Some((slot, _, actions)) = self.sides[me].plane.take_lost() {
                self.follow(me, slot, &actions);
            }
            self.retry(me);
        }
    }

    fn step(&mut self, write: bool) {
        self.clock += 1;
        if self.cut {
            for side in &mut self.sides {
                side.data.clear();
                side.meta.clear();
            }
        }
        let me = self.random.below(2) as usize;
        match self.random.below(14) {
            0 if write => self.submit(me),
            1 => self.admit(me),
            2 => self.log_writer(me),
            3 | 4 => self.local_done(me),
            5 | 6 => self.send(me),
            7 => self.sent(me),
            8 | 9 => self.receive(me),
            10 | 11 => self.meta(me),
            12 => self.flushed(me),
            13 if self.clock % 50 == 0 => {
                let _ = self.sides[me].plane.restart_forgotten(1, 0);
            }
            _ => self.peer_done(me),
        }
    }

    fn run(&mut self) {
        let writes = 20 + self.random.below(200);
        let lost_at = if self.random.below(4) == 0 { self.random.below(writes) } else { u64::MAX };
        while (self.all.len() as u64) < writes {
            self.step(true);
            if !self.cut && self.all.len() as u64 > lost_at {
                self.lose_connection();
            }
        }
        for _ in 0..200_000 {
            self.step(false);
            if self.sides.iter().all(Side::idle) {
                break;
            }
        }
        assert!(self.sides.iter().all(Side::idle), "something waits for ever");
        if self.cut {
            return self.check_apart();
        }
        // What is left of the last epochs gets its barrier when it is due, and its acknowledgement.
        for _ in 0..20_000 {
            for side in &mut self.sides {
                side.closed = side.out.current() + 1;
            }
            self.step(false);
        }
        for side in &self.sides {
            assert_eq!((side.plane.bitmap.weight(), side.plane.has_unacknowledged()), (0, false));
        }
        assert_eq!(self.sides[0].disk, self.sides[1].disk, "the disks differ");
        for place in 0..SECTORS {
            let last = self.all[self.sides[0].disk[place as usize]];
            let sector = FIRST + place;
            for (value, later) in self.all.iter().enumerate() {
                let covers = later.sector <= sector && sector < later.sector + later.count;
                assert!(!covers || last.completed.unwrap() >= later.submitted, "w{value} came later and is gone from sector {sector}");
            }
        }
    }
}

impl World {
    /// After a loss of the connection each disk has the latest of its node's own writes, and what differs is marked on one of them.
    fn check_apart(&self) {
        for place in 0..SECTORS {
            let sector = FIRST + place;
            for (me, side) in self.sides.iter().enumerate() {
                let last = self.all[side.disk[place as usize]];
                for (value, later) in self.all.iter().enumerate().filter(|(_, later)| later.by == me) {
                    let covers = later.sector <= sector && sector < later.sector + later.count;
                    assert!(!covers || last.completed.unwrap() >= later.submitted, "w{value} is gone from sector {sector} of n{me}");
                }
            }
            let differs = self.sides[0].disk[place as usize] != self.sides[1].disk[place as usize];
            assert!(!differs || self.sides.iter().any(|side| side.plane.bitmap.any_set(sector, 512)), "sector {sector} differs unmarked");
        }
    }
}

#[test]
fn dp_2_to_dp_6_two_primaries_writing_to_the_same_sectors_end_with_equal_disks() {
    let seeds = std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000u64);
    let mut conflicts = 0;
    for seed in 0..seeds {
        let mut world = World::new(seed);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
        if ran.is_err() {
            panic!("{}\nseed {seed}", world.trace.join("\n"));
        }
        conflicts += world.sides[0].conflicts;
    }
    assert!(u64::from(conflicts) > seeds, "{conflicts} conflicts prove little");
}
