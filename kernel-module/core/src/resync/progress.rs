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
    /// Bits that could not be resynced.
    pub failed_bits: u64,
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
}

impl Progress {
    /// No run.
    pub const fn new() -> Self {
        Self { total_bits: 0, failed_bits: 0, started_ms: 0, paused_ms: 0, marks: [(0, 0); MARKS], last: 0 }
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

    /// Writes the two progress lines.
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
        let (time, bits) = self.marks.get(oldest).copied().unwrap_or_default();
        let elapsed_ms = report.now_ms.saturating_sub(time);
        let stalled = elapsed_ms > 180_000;
        let seconds = (elapsed_ms / 1000).max(1);
        let done = bits.saturating_sub(report.left_bits);
        let left = seconds * (report.left_bits / (done / 100 + 1)) / 100;
        write!(out, "\tfinish: {}:{:02}:{:02} speed: ", left / 3600, left % 3600 / 60, left % 60)?;
        thousands(out, done * 4 / seconds)?;
        let whole = (report.now_ms.saturating_sub(self.started_ms + self.paused_ms) / 1000).max(1);
        out.write_str(" (")?;
        thousands(out, self.total_bits.saturating_sub(report.left_bits) * 4 / whole)?;
        out.write_char(')')?;
        if let Some(want) = report.want_kib {
            out.write_str(" want: ")?;
            thousands(out, want)?;
        }
        writeln!(out, " K/sec{}", if stalled { " (stalled)" } else { "" })
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
        let report = Report { verify: false, left_bits: 12460, device_bits: 16374, now_ms: 4000, want_kib: None };
        let mut text = String::new();
        progress.write(&mut text, &report).unwrap();
        assert_eq!(text, "\t[====>...............] sync'ed: 25.0% (49840/65496)K\n\tfinish: 0:00:12 speed: 3,914 (3,914) K/sec\n");
    }

    #[test]
    fn thousands_are_separated() {
        let mut text = String::new();
        thousands(&mut text, 1_234_056).unwrap();
        assert_eq!(text, "1,234,056");
    }
}
