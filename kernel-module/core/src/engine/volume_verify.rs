// SPDX-License-Identifier: GPL-2.0
//! The part of the data plane that an online verify needs (behaviour.md 7.6).
//!
//! Both nodes have to look at a block at the same point of the data stream. VerifyS keeps its application away from a block from the request
//! to the verdict, and lets the peer's writes pass until the answer has come: they stand before it in the stream, those after it wait until the
//! comparison has read. VerifyT keeps its application away from the read until the verdict has come, because a C driver compares without
//! making later writes wait.

use super::request::Flags;
use super::table::Operation;
use super::volume::{Actions, DataPlane, Storage};
use super::volume_peer::Begin;
use crate::resync::verify::Difference;

/// What follows from a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Verdict {
    /// A range that differs and is complete, for the log.
    pub difference: Option<Difference>,
    /// Follow-up.
    pub actions: Actions,
}

const fn is_write(operation: Operation) -> bool {
    operation.is_application_write() || matches!(operation, Operation::PeerWrite)
}

impl<T: Storage> DataPlane<T> {
    /// VerifyS: reserves a block to ask for. `Wait`: busy now, try next turn; nobody is woken for it.
    pub fn verify_request_begin(&mut self, sector: u64, size_bytes: u32) -> Begin {
        let begin = self.reserve(Operation::VerifyCompare, sector, size_bytes);
        if let Begin::Go(slot) = begin {
            self.note_run(slot);
        }
        begin
    }

    /// A verdict counts in the run in which its block was asked for.
    fn note_run(&mut self, slot: u32) {
        let run = self.verify.run();
        if let Some(entry) = self.table.get_mut(slot) {
            entry.epoch = run;
        }
    }

    fn count(&mut self, run: u32, sector: u64, size_bytes: u32, differs: bool) -> Option<Difference> {
        let counts = self.verify.is_running() && self.verify.run() == run;
        if counts {
            self.verify.verdict(sector, size_bytes, differs)
        } else {
            None
        }
    }

    /// VerifyS: finds the request that an answer belongs to; only exact ranges count.
    pub fn find_verify_request(&self, sector: u64, size_bytes: u32) -> Option<u32> {
        let slot = self.ranges.find(&self.table, sector, size_bytes, |op| op == Operation::VerifyCompare)?;
        let entry = self.table.get(slot);
        (entry.sector == sector && entry.size_bytes == size_bytes && !entry.flags.has(Flags::ARRIVED)).then_some(slot)
    }

    /// VerifyS: the answer is here; may the block be read now? From here on later writes of the peer wait.
    pub fn verify_compare_begin(&mut self, slot: u32) -> Begin {
        if !self.table.get(slot).flags.has(Flags::ARRIVED) {
            self.stamp_arrival(slot);
        }
        let entry = self.table.get(slot);
        let flags = entry.flags.with(Flags::ARRIVED);
        self.set_flags(slot, flags);
        if !self.gate.local {
            return Begin::NoDisk;
        }
        if self.is_held_up(&entry) {
            return self.wait_peer();
        }
        self.set_flags(slot, flags.with(Flags::READING));
        self.local_references += 1;
        Begin::Go(slot)
    }

    /// VerifyS: the block was read, so writes may go on: they do not change what was read.
    pub fn verify_compare_read(&mut self, slot: u32) -> Actions {
        let entry = self.table.get(slot);
        let mut actions = Actions::default();
        if entry.operation == Operation::VerifyCompare && entry.flags.has(Flags::READING) {
            self.ranges.remove(&mut self.table, slot);
            self.set_flags(slot, entry.flags.without(Flags::READING.with(Flags::IN_RANGES)));
            self.drop_local_reference(&mut actions);
            actions.retry = self.take_retry();
        }
        actions
    }

    /// VerifyS: the verdict about a block, or that there will be none (`differs` false then: OV-3).
    pub fn verify_compared(&mut self, slot: u32, differs: bool) -> Verdict {
        let entry = self.table.get(slot);
        if entry.operation != Operation::VerifyCompare {
            return Verdict::default();
        }
        if differs {
            self.bitmap.set_range(entry.sector, entry.size_bytes);
        }
        let difference = self.count(entry.epoch, entry.sector, entry.size_bytes, differs);
        let mut actions = Actions::default();
        if entry.flags.has(Flags::READING) {
            self.drop_local_reference(&mut actions);
        }
        actions.merge(self.finish(slot));
        Verdict { difference, actions }
    }

    /// VerifyT: may the block be read for its digest now?
    pub fn verify_read_begin(&mut self, sector: u64, size_bytes: u32) -> Begin {
        if !self.gate.local {
            return Begin::NoDisk;
        }
        if self.ranges.find(&self.table, sector, size_bytes, is_write).is_some() {
            return self.wait_peer();
        }
        match self.start(Operation::VerifyRead, sector, size_bytes, Flags::READING) {
            Some(slot) => {
                self.note_run(slot);
                self.local_references += 1;
                Begin::Go(slot)
            }
            None => self.wait_peer(),
        }
    }

    /// VerifyT: the block was read, its answer is about to be queued. True: its range is kept until the verdict; false: the run is over, there will be
    /// none.
    pub fn verify_read_done(&mut self, slot: u32) -> (bool, Actions) {
        let entry = self.table.get(slot);
        let mut actions = Actions::default();
        if entry.operation != Operation::VerifyRead || !entry.flags.has(Flags::READING) {
            return (false, actions);
        }
        self.drop_local_reference(&mut actions);
        let waits = self.verify.is_running() && self.verify.run() == entry.epoch;
        if waits {
            self.set_flags(slot, entry.flags.without(Flags::READING).with(Flags::ARRIVED));
        } else {
            actions.merge(self.finish(slot));
        }
        (waits, actions)
    }

    /// VerifyT: the peer's verdict about a block; true: it was waited for.
    pub fn verify_result(&mut self, sector: u64, size_bytes: u32, differs: bool) -> (Verdict, bool) {
        if differs {
            self.bitmap.set_range(sector, size_bytes);
        }
        let run = self.verify.run();
        let difference = self.count(run, sector, size_bytes, differs);
        let waiting = self.ranges.find_entry(&self.table, sector, size_bytes, |entry| {
            entry.operation == Operation::VerifyRead && entry.flags.has(Flags::ARRIVED) && entry.sector == sector
        });
        let actions = waiting.map(|slot| self.finish(slot)).unwrap_or_default();
        (Verdict { difference, actions }, waiting.is_some())
    }

    /// SC-3: the run is over, or aborted. Returns the sector reached, if that is not the end of the device.
    pub fn verify_end(&mut self) -> Option<u64> {
        let mut lowest = None::<u64>;
        self.ranges.for_each(&self.table, |entry| {
            if entry.operation == Operation::VerifyCompare {
                lowest = Some(lowest.map_or(entry.sector, |sector| sector.min(entry.sector)));
            }
        });
        self.verify.end(lowest)
    }

    /// The run is over: forgets one block that nobody works on any more. The caller repeats until `None`. With the size in bytes of a request
    /// that was not answered.
    pub fn take_abandoned_verify(&mut self) -> Option<(Option<u32>, Actions)> {
        let slot = self.ranges.first(&self.table, |entry| match entry.operation {
            Operation::VerifyCompare => !entry.flags.has(Flags::ARRIVED),
            Operation::VerifyRead => entry.flags.has(Flags::ARRIVED),
            _ => false,
        })?;
        let entry = self.table.get(slot);
        let unanswered = (entry.operation == Operation::VerifyCompare).then_some(entry.size_bytes);
        Some((unanswered, self.finish(slot)))
    }
}
