// SPDX-License-Identifier: GPL-2.0
//! How far a resync or verify is, and the lines about it in /proc/drbd (behaviour.md 7.5, netlink-and-tools.md section 9).

use core::fmt;

const MARKS: usize = 8;
/// A new mark at most every 3 s.
const MARK_MS: u64 = 3000;

/// Counters of a run. Times are milliseconds of any steady clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Bits at the start; 0: no run.
    pub total_bits: u64,
    started_ms: u64,
    paused_ms: u64,
    marks: [(u64, u64); MARKS],
    last: usize,
}

/// What /proc/drbd shows of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// `verified:` instead of `sync'ed:`.
    pub verify: bool,
    /// Bits left.
    pub left_bits: u64,
    /// Bits of the device; decides the unit of the sizes.
    pub device_bits: u64,
    /// Now.
    pub now_ms: u64,
    /// Shown as `want:` in KiB/s, on the side that sets the pace.
    pub want_kib: Option<u64>,
    /// With the module parameter proc_details.
    pub details: Option<Details>,
}

/// More about a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Details {
    /// Bit up to which the run has come.
    pub position_bit: u64,
    /// Where a verify stops.
    pub stop_sector: Option<u64>,
}

impl Progress {
    /// No run.
    pub const fn new() -> Self {
        Self { total_bits: 0, started_ms: 0, paused_ms: 0, marks: [(0, 0); MARKS], last: 0 }
    }

    /// A run starts with `bits`.
    pub fn start(&mut self, bits: u64, now_ms: u64) {
        *self = Self { total_bits: bits, started_ms: now_ms, marks: [(now_ms, bits); MARKS], ..Self::new() };
    }

    /// Takes a mark if it is time and something moved.
    pub fn advance(&mut self, left_bits: u64, now_ms: u64) {
        let (time, bits) = self.marks.get(self.last).copied().unwrap_or_default();
        if now_ms.saturating_sub(time) >= MARK_MS && bits != left_bits {
            self.last = (self.last + 1) % MARKS;
            if let Some(mark) = self.marks.get_mut(self.last) {
                *mark = (now_ms, left_bits);
            }
        }
    }

    /// SC-4: a pause begins.
    pub fn pause(&mut self, now_ms: u64) {
        if let Some(mark) = self.marks.get_mut(self.last) {
            mark.0 = now_ms;
        }
    }

    /// SC-4: a pause ends. It does not count.
    pub fn resume(&mut self, now_ms: u64) {
        let began = self.marks.get(self.last).map_or(now_ms, |mark| mark.0);
        self.paused_ms = self.paused_ms.saturating_add(now_ms.saturating_sub(began));
    }

    /// Pace since the newest completed mark in KiB/s, which decides about stepping aside (RX-14, RX-19).
    pub fn recent_kib(&self, left_bits: u64, now_ms: u64) -> u64 {
        let newest = self.last.wrapping_add(MARKS - 1) % MARKS;
        self.pace_since(newest, left_bits, now_ms).0
    }

    /// KiB/s since a mark, seconds since then (at least 1), and bits done since then.
    fn pace_since(&self, mark: usize, left_bits: u64, now_ms: u64) -> (u64, u64, u64) {
        let (time, bits) = self.marks.get(mark).copied().unwrap_or_default();
        let seconds = (now_ms.saturating_sub(time) / 1000).max(1);
        let done = bits.saturating_sub(left_bits);
        (done.saturating_mul(4).checked_div(seconds).unwrap_or(0), seconds, done)
    }

    /// Time spent so far, without pauses, in seconds (at least 1).
    pub fn seconds(&self, now_ms: u64) -> u64 {
        (now_ms.saturating_sub(self.started_ms.saturating_add(self.paused_ms)) / 1000).max(1)
    }

    /// Time spent in pauses, in seconds.
    pub const fn paused_seconds(&self) -> u64 {
        self.paused_ms / 1000
    }

    /// Writes the progress lines.
    pub fn write(&self, out: &mut impl fmt::Write, report: &Report) -> fmt::Result {
        let per_mille = per_mille(self.total_bits, report.left_bits);
        let filled = per_mille / 50;
        out.write_str("\t[")?;
        for _ in 1..filled {
            out.write_char('=')?;
        }
        out.write_char('>')?;
        for _ in filled..20 {
            out.write_char('.')?;
        }
        let verb = if report.verify { "verified:" } else { "sync'ed:" };
        write!(out, "] {verb}{:3}.{}% ", per_mille / 10, per_mille % 10)?;
        let (shift, unit) = if self.total_bits > 4 << (30 - 12) { (8, 'M') } else { (0, 'K') };
        let size = |bits: u64| if shift == 0 { bits * 4 } else { bits >> shift };
        writeln!(out, "({}/{}){unit}", size(report.left_bits), size(self.total_bits))?;
        self.write_speed(out, report)
    }

    fn write_speed(&self, out: &mut impl fmt::Write, report: &Report) -> fmt::Result {
        let oldest = (self.last + 2) % MARKS;
        let (pace, seconds, done) = self.pace_since(oldest, report.left_bits, report.now_ms);
        let stalled = seconds > 180;
        let left = seconds * (report.left_bits / (done / 100 + 1)) / 100;
        write!(out, "\tfinish: {}:{:02}:{:02} speed: ", left / 3600, left % 3600 / 60, left % 60)?;
        thousands(out, pace)?;
        out.write_str(" (")?;
        if report.details.is_some() {
            thousands(out, self.recent_kib(report.left_bits, report.now_ms))?;
            out.write_str(" -- ")?;
        }
        thousands(out, self.total_bits.saturating_sub(report.left_bits) * 4 / self.seconds(report.now_ms))?;
        out.write_char(')')?;
        if let Some(want) = report.want_kib {
            out.write_str(" want: ")?;
            thousands(out, want)?;
        }
        writeln!(out, " K/sec{}", if stalled { " (stalled)" } else { "" })?;
        let Some(details) = report.details else { return Ok(()) };
        let (position, bits) = (details.position_bit, report.device_bits);
        write!(out, "\t{:3}% sector pos: {}/{}", position / (bits / 100 + 1), position.saturating_mul(8), bits.saturating_mul(8))?;
        if let Some(stop) = details.stop_sector.filter(|stop| *stop != 0) {
            write!(out, " stop sector: {stop}")?;
        }
        writeln!(out)
    }
}

/// How much of `total` bits is done when `left` bits are left, in steps of 1024 (above 2^32 bits: 65536) bits (RX-20).
pub fn per_mille(total: u64, left: u64) -> u64 {
    let shift = if total > 1 << 32 { 16 } else { 10 };
    let total = 1 + (total >> shift);
    1000u64.saturating_sub((left >> shift) * 1000 / total)
}

fn thousands(out: &mut impl fmt::Write, number: u64) -> fmt::Result {
    if number >= 1000 {
        thousands(out, number / 1000)?;
        write!(out, ",{:03}", number % 1000)
    } else {
        write!(out, "{number}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_have_the_documented_form() {
        let mut progress = Progress::new();
        progress.start(16374, 0);
        let report = Report { verify: false, left_bits: 12460, device_bits: 16374, now_ms: 4000, want_kib: None, details: None };
        let mut text = String::new();
        progress.write(&mut text, &report).unwrap();
        assert_eq!(text, "\t[====>...............] sync'ed: 25.0% (49840/65496)K\n\tfinish: 0:00:12 speed: 3,914 (3,914) K/sec\n");
    }

    #[test]
    fn details_show_the_position_the_stop_sector_and_the_latest_pace() {
        let mut progress = Progress::new();
        progress.start(1000, 0);
        progress.advance(900, 3000);
        progress.advance(700, 6000);
        let details = Some(Details { position_bit: 500, stop_sector: Some(6400) });
        let report = Report { verify: true, left_bits: 500, device_bits: 1000, now_ms: 8000, want_kib: Some(4000), details };
        let mut text = String::new();
        progress.write(&mut text, &report).unwrap();
        assert!(text.contains("verified:"), "{text}");
        assert!(text.contains("speed: 250 (320 -- 250) want: 4,000 K/sec\n\t 45% sector pos: 4000/8000 stop sector: 6400\n"), "{text}");
        assert_eq!(progress.recent_kib(500, 8000), 320);
    }

    #[test]
    fn sc_4_pauses_do_not_count() {
        let mut progress = Progress::new();
        progress.start(1000, 1000);
        progress.pause(5000);
        progress.resume(95_000);
        assert_eq!((progress.seconds(105_000), progress.paused_seconds()), (14, 90));
    }

    #[test]
    fn thousands_are_separated() {
        let mut text = String::new();
        thousands(&mut text, 1_234_056).unwrap();
        assert_eq!(text, "1,234,056");
    }
}
