// SPDX-License-Identifier: GPL-2.0
//! `/proc/diskstats`: how many requests each block device had and how long they took; the only source of latencies. The driver keeps
//! the counts of its devices as every other does.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Major number of the devices of DRBD.
pub const MAJOR: u32 = 147;

/// Requests of one kind since the device exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Completed.
    pub count: u64,
    /// Sectors of 512 bytes; 0 for flushes.
    pub sectors: u64,
    /// Time from start to completion, of all together, milliseconds.
    pub milliseconds: u64,
}

impl Requests {
    /// What came since an earlier look; nothing when the device is another one meanwhile.
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: u64, then: u64| now.checked_sub(then);
        let differences = (
            less(self.count, earlier.count),
            less(self.sectors, earlier.sectors),
            less(self.milliseconds, earlier.milliseconds),
        );
        match differences {
            (Some(count), Some(sectors), Some(milliseconds)) => Self {
                count,
                sectors,
                milliseconds,
            },
            _ => Self::default(),
        }
    }

    /// Milliseconds of one request; `None`: there was none.
    pub fn latency(&self) -> Option<f64> {
        (self.count > 0).then(|| self.milliseconds as f64 / self.count as f64)
    }
}

/// Counts of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Reads.
    pub reads: Requests,
    /// Writes.
    pub writes: Requests,
    /// Discards.
    pub discards: Requests,
    /// Flushes.
    pub flushes: Requests,
    /// Not completed yet.
    pub in_flight: u64,
}

/// By major and minor number.
pub type Disks = BTreeMap<(u32, u32), Io>;

/// Reads the text; lines that are not understood are passed over.
pub fn parse(text: &str) -> Disks {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<((u32, u32), Io)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let requests = |at: usize| {
        Some(Requests {
            count: number(at)?,
            sectors: number(at + 2)?,
            milliseconds: number(at + 3)?,
        })
    };
    let key = (words.first()?.parse().ok()?, words.get(1)?.parse().ok()?);
    let io = Io {
        reads: requests(3)?,
        writes: requests(7)?,
        in_flight: number(11)?,
        discards: requests(14).unwrap_or_default(),
        flushes: Requests {
            count: number(18).unwrap_or(0),
            sectors: 0,
            milliseconds: number(19).unwrap_or(0),
        },
    };
    Some((key, io))
}

/// What the kernel says now.
pub fn read() -> Disks {
    parse(&std::fs::read_to_string("/proc/diskstats").unwrap_or_default())
}

/// Numbers of the device with that path.
pub fn numbers(path: &str) -> Option<(u32, u32)> {
    let metadata = std::fs::metadata(path).ok()?;
    let device = metadata.rdev();
    metadata
        .file_type()
        .is_block_device()
        .then(|| (rustix::fs::major(device), rustix::fs::minor(device)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = " 254       0 vda 100 5 800 250 40 0 320 80 2 300 330 1 0 8 4 6 12\n 147       3 drbd3 10 0 80 25 4 0 32 9 1 30 34\nnonsense\n 1 2\n";

    #[test]
    fn old_and_new_lines_are_read() {
        let found = parse(TEXT);
        assert_eq!(found.len(), 2);
        let disk = &found[&(254, 0)];
        assert_eq!(
            (
                disk.reads.count,
                disk.reads.sectors,
                disk.reads.milliseconds
            ),
            (100, 800, 250)
        );
        assert_eq!((disk.writes.count, disk.in_flight), (40, 2));
        assert_eq!((disk.discards.count, disk.discards.sectors), (1, 8));
        assert_eq!((disk.flushes.count, disk.flushes.milliseconds), (6, 12));
        assert_eq!(found[&(MAJOR, 3)].flushes.count, 0);
    }

    #[test]
    fn a_latency_is_that_of_the_time_between() {
        let requests = |count, milliseconds| Requests {
            count,
            milliseconds,
            sectors: 0,
        };
        assert_eq!(requests(0, 0).latency(), None);
        let between = requests(30, 500).since(&requests(10, 450));
        assert_eq!(between.latency(), Some(2.5));
        // the device was made anew
        assert_eq!(requests(1, 1).since(&requests(10, 450)).latency(), None);
    }
}
