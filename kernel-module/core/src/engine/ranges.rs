// SPDX-License-Identifier: GPL-2.0
//! Which ranges of a volume are being worked on, to keep overlapping writes in order.
//!
//! Rules obeyed here: a write waits for every overlapping write that is still active, local or from
//! the peer (behaviour.md IO-3, DP-4, DP-5); a resync read or write and an application write of the
//! same blocks exclude each other (RX-1, RX-12).
//!
//! Entries are indexed by size class: an entry hangs in a bucket chosen by the chunk it starts in, and is at most as long as a chunk of
//! its class. So a look-up visits, in each class that is in use, the chunk before the range and the chunks of the range. Larger ones
//! (discards) are in a list of their own that every look-up visits.

use super::table::{Entry, Operation, Table, NIL};

/// A size class.
struct Class {
    /// Its chunks have `1 << shift` sectors.
    shift: u32,
    /// Its buckets are `first .. first + count`.
    first: usize,
    count: usize,
}

/// Up to 4 KiB (blocks of a verify and of a resync, most writes), 64 KiB and 1 MiB, the largest request with data.
const CLASSES: [Class; 3] =
    [Class { shift: 3, first: 0, count: 128 }, Class { shift: 7, first: 128, count: 32 }, Class { shift: 11, first: 160, count: 32 }];
/// The list of what is larger.
const LARGE: usize = 192;
const LISTS: usize = LARGE + 1;

impl Class {
    const fn bucket(&self, chunk: u64) -> usize {
        self.first + chunk as usize % self.count
    }
}

/// The index. All its entries live in one [`Table`].
#[derive(Debug)]
pub struct Ranges {
    heads: [u32; LISTS],
    /// Entries of each class, the large ones last.
    used: [u32; CLASSES.len() + 1],
}

impl Default for Ranges {
    fn default() -> Self {
        Self::new()
    }
}

fn sectors(size_bytes: u32) -> u64 {
    u64::from(size_bytes.div_ceil(512))
}

fn end_of(entry: &Entry) -> u64 {
    entry.sector.saturating_add(sectors(entry.size_bytes))
}

/// The class of an entry; `CLASSES.len()` stands for the large ones.
fn class_of(size_bytes: u32) -> usize {
    let sectors = sectors(size_bytes);
    CLASSES.iter().position(|class| sectors <= 1 << class.shift).unwrap_or(CLASSES.len())
}

impl Ranges {
    /// No active range.
    pub const fn new() -> Self {
        Self { heads: [NIL; LISTS], used: [0; CLASSES.len() + 1] }
    }

    /// Active ranges.
    pub fn active(&self) -> u32 {
        self.used.iter().sum()
    }

    /// Registers the range of `slot`.
    pub fn insert<S: AsRef<[Entry]> + AsMut<[Entry]>>(&mut self, table: &mut Table<S>, slot: u32) {
        let entry = table.get(slot);
        let class = class_of(entry.size_bytes);
        let bucket = CLASSES.get(class).map_or(LARGE, |class| class.bucket(entry.sector >> class.shift));
        let Some(head) = self.heads.get_mut(bucket) else { return };
        let next = *head;
        *head = slot;
        if let Some(used) = self.used.get_mut(class) {
            *used += 1;
        }
        if let Some(entry) = table.get_mut(slot) {
            entry.bucket = bucket as u16;
            entry.range_prev = NIL;
            entry.range_next = next;
        }
        if let Some(next) = table.get_mut(next) {
            next.range_prev = slot;
        }
    }

    /// Takes the range of `slot` out.
    pub fn remove<S: AsRef<[Entry]> + AsMut<[Entry]>>(&mut self, table: &mut Table<S>, slot: u32) {
        let entry = table.get(slot);
        if let Some(next) = table.get_mut(entry.range_next) {
            next.range_prev = entry.range_prev;
        }
        if let Some(previous) = table.get_mut(entry.range_prev) {
            previous.range_next = entry.range_next;
        } else if let Some(head) = self.heads.get_mut(entry.bucket as usize) {
            *head = entry.range_next;
        }
        if let Some(used) = self.used.get_mut(class_of(entry.size_bytes)) {
            *used = used.saturating_sub(1);
        }
    }

    /// The first active range that overlaps `sector .. sector + size` and for which `blocks` says yes.
    pub fn find<S: AsRef<[Entry]> + AsMut<[Entry]>>(
        &self,
        table: &Table<S>,
        sector: u64,
        size_bytes: u32,
        blocks: impl Fn(Operation) -> bool,
    ) -> Option<u32> {
        self.find_entry(table, sector, size_bytes, |entry| blocks(entry.operation))
    }

    /// As [`Self::find`], for callers that look at more than the operation.
    pub fn find_entry<S: AsRef<[Entry]> + AsMut<[Entry]>>(
        &self,
        table: &Table<S>,
        sector: u64,
        size_bytes: u32,
        blocks: impl Fn(&Entry) -> bool,
    ) -> Option<u32> {
        let end = sector.saturating_add(sectors(size_bytes));
        for (class, &used) in CLASSES.iter().zip(&self.used) {
            if used == 0 {
                continue;
            }
            let first = (sector >> class.shift).saturating_sub(1);
            let last = end.saturating_sub(1) >> class.shift;
            let count = (last - first + 1).min(class.count as u64);
            for chunk in first..first + count {
                if let Some(found) = self.scan(table, class.bucket(chunk), sector, end, &blocks) {
                    return Some(found);
                }
            }
        }
        self.scan(table, LARGE, sector, end, &blocks)
    }

    /// Any active entry for which `wanted` says yes.
    pub fn first<S: AsRef<[Entry]> + AsMut<[Entry]>>(&self, table: &Table<S>, wanted: impl Fn(&Entry) -> bool) -> Option<u32> {
        for head in self.heads {
            let mut slot = head;
            while slot != NIL {
                let entry = table.get(slot);
                if wanted(&entry) {
                    return Some(slot);
                }
                slot = entry.range_next;
            }
        }
        None
    }

    /// Looks at every active entry.
    pub fn for_each<S: AsRef<[Entry]> + AsMut<[Entry]>>(&self, table: &Table<S>, mut look: impl FnMut(&Entry)) {
        for head in self.heads {
            let mut slot = head;
            while slot != NIL {
                let entry = table.get(slot);
                look(&entry);
                slot = entry.range_next;
            }
        }
    }

    fn scan<S: AsRef<[Entry]> + AsMut<[Entry]>>(
        &self,
        table: &Table<S>,
        bucket: usize,
        sector: u64,
        end: u64,
        blocks: &impl Fn(&Entry) -> bool,
    ) -> Option<u32> {
        let mut slot = self.heads.get(bucket).copied().unwrap_or(NIL);
        while let Some(entry) = table.peek(slot) {
            if entry.sector < end && sector < end_of(entry) && blocks(entry) {
                return Some(slot);
            }
            slot = entry.range_next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random inserts, removals and look-ups against a plain list.
    #[test]
    fn look_ups_agree_with_a_plain_list() {
        let mut table = Table::new(vec![Entry::default(); 64]);
        let mut ranges = Ranges::new();
        let mut live: Vec<u32> = Vec::new();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = move |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        for _ in 0..50_000 {
            let spread = random(2) as usize;
            let sector = random([2_000, 200_000][spread]);
            let class = random(5) as usize;
            let size = random([1 << 20, 1 << 16, 1 << 12, 1 << 12, 128 << 20][class]) as u32 + 1;
            let size = size & !511 | 512;
            match random(3) {
                0 => {
                    if let Some(slot) = table.take(Operation::Write, sector, size) {
                        ranges.insert(&mut table, slot);
                        live.push(slot);
                    }
                }
                1 if !live.is_empty() => {
                    let slot = live.swap_remove(random(live.len() as u64) as usize);
                    ranges.remove(&mut table, slot);
                    table.release(slot);
                }
                _ => {
                    let end = sector + u64::from(size / 512);
                    let expected = live.iter().any(|&slot| {
                        let entry = table.get(slot);
                        entry.sector < end && sector < entry.sector + u64::from(entry.size_bytes / 512)
                    });
                    let found = ranges.find(&table, sector, size, |_| true).is_some();
                    assert_eq!(found, expected);
                }
            }
            assert_eq!(ranges.active() as usize, live.len());
        }
    }

    #[test]
    fn the_caller_chooses_which_operations_block() {
        let mut table = Table::new([Entry::default(); 4]);
        let mut ranges = Ranges::new();
        let slot = table.take(Operation::ResyncRead, 100, 4096).unwrap();
        ranges.insert(&mut table, slot);
        assert!(ranges.find(&table, 104, 512, |op| op == Operation::Write).is_none());
        assert_eq!(ranges.find(&table, 104, 512, |_| true), Some(slot));
        assert!(ranges.find(&table, 108, 512, |_| true).is_none());
    }
}
