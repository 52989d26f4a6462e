// SPDX-License-Identifier: GPL-2.0
//! Where an online verify begins, how far it is, and what it has found (behaviour.md 7.6, wire-protocol.md section 15).
//!
//! The node that was told to verify (VerifyS) asks for one block after the other and compares; its peer (VerifyT) answers with digests and
//! learns each verdict. Both count the blocks that are left, both mark and log the same differences.

use crate::bitmap::SECTORS_PER_BIT;

/// Bytes of a block: what one request covers, except at the end of the device.
const BLOCK_BYTES: u32 = 4096;

/// A stop sector that is never reached.
pub const NO_STOP: u64 = u64::MAX;

/// The part of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Part {
    /// No run.
    #[default]
    None,
    /// VerifyS.
    Source,
    /// VerifyT, before the first request says where the run begins.
    WaitingTarget,
    /// VerifyT.
    Target,
}

/// Sectors that differ, in one piece: first sector and number of sectors.
pub type Difference = (u64, u64);

/// A verify run, and where the next one begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verify {
    part: Part,
    start: u64,
    stop: u64,
    position: u64,
    left_bits: u64,
    device_bits: u64,
    asked: bool,
    outstanding: u32,
    run: u32,
    difference: Difference,
}

impl Default for Verify {
    fn default() -> Self {
        Self::new()
    }
}

impl Verify {
    /// No run yet; the first one begins at sector 0.
    pub const fn new() -> Self {
        Self { part: Part::None, start: 0, stop: NO_STOP, position: 0, left_bits: 0, device_bits: 0, asked: false, outstanding: 0, run: 0, difference: (0, 0) }
    }

    /// Number of the run, for telling late verdicts from those of this run.
    pub const fn run(&self) -> u32 {
        self.run
    }

    /// Sector where a run begins that is not told where (OV-1).
    pub const fn next_start(&self) -> u64 {
        self.start
    }

    /// Bits without verdict.
    pub const fn left_bits(&self) -> u64 {
        self.left_bits
    }

    /// A run is on, on either side.
    pub fn is_running(&self) -> bool {
        self.part != Part::None
    }

    /// Where the run stops, if it was told; for the display.
    pub fn stop_sector(&self) -> Option<u64> {
        (self.part == Part::Source && self.stop != NO_STOP).then_some(self.stop)
    }

    /// OV-1: where the next run begins, rounded down to a block, and where it stops. Only while none is on: a second command leaves the
    /// run that is on alone.
    pub fn plan(&mut self, start: u64, stop: u64) {
        if self.part == Part::None {
            self.start = start - start % SECTORS_PER_BIT;
            self.stop = stop;
        }
    }

    /// SC-5: VerifyS begins, at the planned sector; behind the end: with the last block. Returns the number of bits ahead.
    pub fn begin_source(&mut self, device_bits: u64, version: u32) -> u64 {
        if version < 90 {
            self.start = 0;
        }
        let last = device_bits.saturating_sub(1) * SECTORS_PER_BIT;
        self.start = self.start.min(last);
        *self = Self {
            part: Part::Source,
            position: self.start,
            left_bits: device_bits - (self.start / SECTORS_PER_BIT).min(device_bits),
            device_bits,
            asked: false,
            outstanding: 0,
            run: self.run.wrapping_add(1),
            difference: (0, 0),
            ..*self
        };
        self.left_bits
    }

    /// SC-5: VerifyT begins; where, the first request will tell.
    pub fn begin_target(&mut self, device_bits: u64) -> u64 {
        let run = self.run.wrapping_add(1);
        *self = Self { part: Part::WaitingTarget, left_bits: device_bits, device_bits, outstanding: 0, run, difference: (0, 0), ..*self };
        self.left_bits
    }

    /// VerifyT: a request came. `Some`: it is the first, and this many bits are ahead.
    pub fn first_request(&mut self, sector: u64, version: u32) -> Option<u64> {
        if self.part != Part::WaitingTarget {
            return None;
        }
        self.part = Part::Target;
        if version >= 90 {
            self.left_bits = self.device_bits.saturating_sub(sector / SECTORS_PER_BIT);
        }
        Some(self.left_bits)
    }

    /// VerifyS: the next block to ask for, sector and bytes. `None`: all of them were asked for. At least one block is asked for, whatever
    /// the stop sector; `stops`: the version knows stop sectors.
    pub fn next_block(&self, device_sectors: u64, stops: bool) -> Option<(u64, u32)> {
        let stopped = stops && self.asked && self.position >= self.stop;
        if self.part != Part::Source || self.position >= device_sectors || stopped {
            return None;
        }
        let bytes = (device_sectors - self.position).min(SECTORS_PER_BIT) * 512;
        Some((self.position, u32::try_from(bytes).unwrap_or(BLOCK_BYTES)))
    }

    /// VerifyS: the block was asked for.
    pub fn block_asked(&mut self) {
        self.asked = true;
        self.outstanding += 1;
        self.position += SECTORS_PER_BIT;
    }

    /// A verdict about a block. Returns a range that differs and is complete, for the log.
    pub fn verdict(&mut self, sector: u64, size_bytes: u32, differs: bool) -> Option<Difference> {
        self.left_bits = self.left_bits.saturating_sub(1);
        self.outstanding = self.outstanding.saturating_sub(1);
        let sectors = u64::from(size_bytes / 512);
        let (start, length) = self.difference;
        if differs && length > 0 && start + length == sector {
            self.difference.1 += sectors;
            return None;
        }
        let complete = self.take_difference();
        if differs {
            self.difference = (sector, sectors);
        }
        complete
    }

    /// The range found last, for the log.
    pub fn take_difference(&mut self) -> Option<Difference> {
        Some(core::mem::take(&mut self.difference)).filter(|found| found.1 > 0)
    }

    /// Every block has its verdict, on the side that counts.
    pub fn is_finished(&self, device_sectors: u64, stops: bool) -> bool {
        match self.part {
            Part::Source => self.outstanding == 0 && self.next_block(device_sectors, stops).is_none(),
            Part::Target => self.left_bits == 0,
            Part::None | Part::WaitingTarget => false,
        }
    }

    /// SC-3: the run is over, or aborted. `lowest_open`: VerifyS: the first block without verdict among those asked for. Returns the sector
    /// that was reached, and where the next run begins; `None`: the end of the device, and the next one begins at 0.
    pub fn end(&mut self, lowest_open: Option<u64>) -> Option<u64> {
        let reached = match self.part {
            Part::Source => lowest_open.unwrap_or(self.position).min(self.position),
            Part::Target => (self.device_bits - self.left_bits.min(self.device_bits)) * SECTORS_PER_BIT,
            Part::None | Part::WaitingTarget => self.start,
        };
        self.part = Part::None;
        let at_end = reached / SECTORS_PER_BIT >= self.device_bits;
        self.start = if at_end { 0 } else { reached };
        (!at_end).then_some(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for blocks and says equal to each, `most` at once; returns the sectors.
    fn run(verify: &mut Verify, device_sectors: u64, stops: bool, most: usize) -> Vec<u64> {
        let mut seen = Vec::new();
        while let Some((sector, size)) = verify.next_block(device_sectors, stops).filter(|_| seen.len() < most) {
            verify.block_asked();
            assert_eq!(verify.verdict(sector, size, false), None);
            seen.push(sector);
        }
        seen
    }

    #[test]
    fn ov_1_a_run_begins_where_the_aborted_one_stopped_and_at_0_after_a_complete_one() {
        let mut verify = Verify::new();
        assert_eq!(verify.begin_source(10, 101), 10);
        assert_eq!(run(&mut verify, 80, true, 4), [0, 8, 16, 24]);
        assert_eq!((verify.left_bits(), verify.end(None)), (6, Some(32)));
        assert_eq!(verify.begin_source(10, 101), 6);
        assert_eq!(run(&mut verify, 80, true, 99), [32, 40, 48, 56, 64, 72]);
        assert!(verify.is_finished(80, true));
        assert_eq!((verify.end(None), verify.next_start()), (None, 0));
    }

    #[test]
    fn sc_3_a_block_that_was_asked_for_without_verdict_is_asked_for_again() {
        let mut verify = Verify::new();
        verify.begin_source(10, 101);
        for _ in 0..10 {
            verify.block_asked();
        }
        assert!(!verify.is_finished(80, true));
        verify.verdict(24, 4096, false);
        assert_eq!(verify.end(Some(8)), Some(8));
        assert_eq!(verify.next_start(), 8);
    }

    #[test]
    fn ov_1_start_is_rounded_down_stop_is_honoured_and_one_block_is_asked_for_at_least() {
        let mut verify = Verify::new();
        verify.plan(13, 24);
        verify.begin_source(10, 101);
        assert_eq!(run(&mut verify, 80, true, 99), [8, 16]);
        assert_eq!(verify.end(None), Some(24));
        verify.plan(40, 8);
        verify.begin_source(10, 101);
        assert_eq!(verify.stop_sector(), Some(8));
        assert_eq!(run(&mut verify, 80, true, 99), [40]);
        verify.end(None);
        // beyond the end: the last block; which may be shorter
        verify.plan(4000, NO_STOP);
        assert_eq!(verify.begin_source(10, 101), 1);
        assert_eq!(verify.next_block(77, true), Some((72, 5 * 512)));
        verify.end(None);
        // a version without stop sectors, and one without start sectors
        verify.plan(64, 64);
        verify.begin_source(10, 100);
        assert_eq!(run(&mut verify, 80, false, 99), [64, 72]);
        verify.end(None);
        verify.plan(64, NO_STOP);
        assert_eq!(verify.begin_source(10, 89), 10);
    }

    #[test]
    fn a_second_command_leaves_the_run_alone() {
        let mut verify = Verify::new();
        verify.plan(16, 64);
        verify.begin_source(10, 101);
        verify.plan(0, 8);
        assert_eq!(run(&mut verify, 80, true, 99), [16, 24, 32, 40, 48, 56]);
    }

    #[test]
    fn ov_2_consecutive_differences_are_one_range_and_none_is_lost() {
        let mut verify = Verify::new();
        verify.begin_target(100);
        assert_eq!(verify.first_request(80, 101), Some(90));
        assert_eq!(verify.first_request(88, 101), None);
        assert_eq!(verify.verdict(80, 4096, true), None);
        assert_eq!(verify.verdict(88, 4096, true), None);
        assert_eq!(verify.verdict(104, 4096, true), Some((80, 16)));
        assert_eq!(verify.verdict(112, 4096, false), Some((104, 8)));
        assert_eq!(verify.verdict(120, 4096, true), None);
        assert_eq!(verify.take_difference(), Some((120, 8)));
        assert_eq!((verify.take_difference(), verify.left_bits()), (None, 85));
        assert!(!verify.is_finished(800, true));
        assert_eq!(verify.end(None), Some(120));
    }

    #[test]
    fn a_target_that_never_heard_a_request_keeps_its_start() {
        let mut verify = Verify::new();
        verify.plan(40, NO_STOP);
        verify.begin_target(10);
        assert_eq!((verify.end(None), verify.next_start()), (Some(40), 40));
        verify.begin_target(10);
        assert_eq!(verify.first_request(72, 89), Some(10));
    }
}
