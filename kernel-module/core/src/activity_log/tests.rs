// SPDX-License-Identifier: GPL-2.0
//! The set against a naive model: what is on disk always covers what is referenced.

use super::*;
use std::collections::{HashMap, HashSet};

struct Heap(Vec<Slot>, Vec<u16>);

impl Storage for Heap {
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

fn log(slots: usize) -> ActivityLog<Heap> {
    ActivityLog::new(Heap(vec![Slot::default(); slots], vec![0; slots.next_power_of_two()]))
}

/// Replays a transaction onto a model of the ring's contents.
fn replay(log: &ActivityLog<Heap>, disk: &mut HashMap<u16, u32>) {
    for offset in 0..CONTEXT_PER_TRANSACTION {
        let slot = log.context_start() + offset;
        let value = log.context(slot);
        if slot < log.capacity() {
            assert_eq!(disk.get(&slot).copied().unwrap_or(FREE), value, "context shows what was on disk before");
        } else {
            assert_eq!(value, FREE);
        }
    }
    let mut position = 0;
    while let Some(change) = log.change(position) {
        assert_eq!(disk.insert(change.slot, change.extent).unwrap_or(FREE), change.leaving);
        position += 1;
    }
}

#[test]
fn every_referenced_hot_extent_is_on_disk_whatever_the_order_of_events() {
    for seed in 1..8u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = move |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let mut log = log(67 + (seed as usize % 3) * 500);
        let capacity = usize::from(log.capacity());
        let mut disk = HashMap::new();
        let mut running: Vec<u32> = Vec::new();
        let mut waiting: Vec<u32> = Vec::new();
        let mut sealed: Vec<u32> = Vec::new();
        for _ in 0..3000 {
            match random(6) {
                0..=2 => {
                    let extent = random(capacity as u64 * 2) as u32;
                    match log.begin(extent) {
                        Begin::Hot => running.push(extent),
                        Begin::Pending if sealed.contains(&extent) => sealed.push(extent),
                        Begin::Pending => waiting.push(extent),
                        Begin::Full => assert!(log.has_changes()),
                        Begin::Starving => {
                            let referenced: HashSet<_> = running.iter().chain(&waiting).chain(&sealed).collect();
                            assert_eq!(referenced.len(), capacity);
                        }
                    }
                }
                3 if !running.is_empty() => {
                    let extent = running.swap_remove(random(running.len() as u64) as usize);
                    log.put(extent);
                }
                4 if !log.is_sealed() => {
                    assert!(log.seal());
                    sealed = core::mem::take(&mut waiting);
                }
                5 if log.is_sealed() => {
                    replay(&log, &mut disk);
                    log.committed();
                    running.append(&mut sealed);
                }
                _ => {}
            }
            let hot: HashSet<u32> = disk.values().copied().collect();
            assert!(running.iter().all(|extent| hot.contains(extent)));
        }
    }
}

#[test]
fn free_slots_go_from_the_top_and_the_least_recently_used_leaves_first() {
    let mut log = log(67);
    for extent in 0..67 {
        assert_eq!(log.begin(extent), if extent < 64 { Begin::Pending } else { Begin::Full });
    }
    log.seal();
    assert_eq!(log.change(0), Some(Change { slot: 66, extent: 0, leaving: FREE }));
    log.committed();
    for extent in 64..67 {
        log.begin(extent);
    }
    log.seal();
    log.committed();
    assert_eq!(log.begin(100), Begin::Starving);
    log.put(5);
    log.put(3);
    assert_eq!(log.begin(100), Begin::Pending);
    log.seal();
    assert_eq!(log.change(0).unwrap().leaving, 5);
    assert_eq!(log.get_if_hot(3), Some(63));
    assert_eq!(log.number(), 2);
    let mut text = String::new();
    log.write_statistics(&mut text).unwrap();
    assert_eq!(text, "\tact_log: used:67/67 hits:1 misses:68 starving:1 locked:0 changed:67\n");
}
