// SPDX-License-Identifier: GPL-2.0
//! Which ranges of a volume are being worked on, to keep overlapping writes in order.
//!
//! Rules obeyed here: a write waits for every overlapping write that is still active, local or from
//! the peer (behaviour.md IO-3, DP-4, DP-5); a resync read or write and an application write of the
//! same blocks exclude each other (RX-1, RX-12).
//!
//! Entries of up to 1 MiB hang in one of 64 buckets chosen by the 1 MiB chunk they start in, so a
//! look-up visits the chunk before the range, and the chunks of the range. Larger ones (discards) are in a
//! list of their own that every look-up visits.

use super::table::{Entry, Operation, Table, NIL};

const BUCKETS: usize = 64;
const LARGE: u16 = BUCKETS as u16;
/// Sectors of a chunk: 1 MiB, the largest request with data.
const CHUNK_SHIFT: u32 = 11;

/// The index. All its entries live in one [`Table`].
#[derive(Debug)]
pub struct Ranges {
    heads: [u32; BUCKETS + 1],
    active: u32,
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

impl Ranges {
    /// No active range.
    pub const fn new() -> Self {
        Self { heads: [NIL; BUCKETS + 1], active: 0 }
    }

    /// Active ranges.
    pub const fn active(&self) -> u32 {
        self.active
    }

    /// Registers the range of `slot`.
    pub fn insert<S: AsRef<[Entry]> + AsMut<[Entry]>>(&mut self, table: &mut Table<S>, slot: u32) {
        let entry = table.get(slot);
        let bucket = if sectors(entry.size_bytes) > 1 << CHUNK_SHIFT {
            LARGE
        } else {
            ((entry.sector >> CHUNK_SHIFT) as usize % BUCKETS) as u16
        };
        let Some(head) = self.heads.get_mut(bucket as usize) else { return };
        let next = *head;
        *head = slot;
        self.active += 1;
        if let Some(entry) = table.get_mut(slot) {
            entry.bucket = bucket;
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
        self.active = self.active.saturating_sub(1);
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
        if self.active == 0 {
            return None;
        }
        let end = sector.saturating_add(sectors(size_bytes));
        let first = (sector >> CHUNK_SHIFT).saturating_sub(1);
        let last = end.saturating_sub(1) >> CHUNK_SHIFT;
        let count = (last - first + 1).min(BUCKETS as u64);
        for chunk in first..first + count {
            let bucket = (chunk as usize) % BUCKETS;
            if let Some(found) = self.scan(table, bucket, sector, end, &blocks) {
                return Some(found);
            }
        }
        self.scan(table, LARGE as usize, sector, end, &blocks)
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
        while slot != NIL {
            let entry = table.get(slot);
            if entry.sector < end && sector < end_of(&entry) && blocks(&entry) {
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
            let sector = random(200_000);
            let size = if random(10) == 0 { random(128 << 20) as u32 + 1 } else { random(1 << 20) as u32 + 1 };
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
