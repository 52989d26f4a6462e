// SPDX-License-Identifier: GPL-2.0
//! Blocks of the activity log: writing a transaction, reading the ring after a crash (metadata.md section 6).

use super::layout::Geometry;
use super::{crc32c, put16, put32, BLOCK_BYTES};
use crate::activity_log::{ActivityLog, Storage, CHANGES_PER_TRANSACTION, CONTEXT_PER_TRANSACTION, FREE};
use crate::wire::{be16, be32};

const MAGIC: u32 = 0x69cb_65a2;
const TYPE_INITIALIZED: u16 = 0xffff;
const UPDATE_SLOTS: usize = 36;
const UPDATE_EXTENTS: usize = 164;
const CONTEXT: usize = 420;
/// Highest slot number plus one that a ring may name.
pub const MAX_SLOTS: usize = 65_534;

fn seal(block: &mut [u8]) {
    put32(block, 8, 0);
    let crc = crc32c(0, block);
    put32(block, 8, crc);
}

/// Encodes the sealed transaction of `log` into a 4096-byte block.
pub fn encode_transaction<S: Storage>(log: &ActivityLog<S>, block: &mut [u8]) {
    block.fill(0);
    put32(block, 0, MAGIC);
    put32(block, 4, log.number());
    let mut updates = 0u16;
    for position in 0..CHANGES_PER_TRANSACTION {
        let (slot, extent) = match log.change(position) {
            Some(change) => {
                updates += 1;
                (change.slot, change.extent)
            }
            None => (0xffff, FREE),
        };
        put16(block, UPDATE_SLOTS + 2 * position, slot);
        put32(block, UPDATE_EXTENTS + 4 * position, extent);
    }
    put16(block, 14, updates);
    put16(block, 16, log.capacity());
    put16(block, 18, log.context_start());
    for offset in 0..CONTEXT_PER_TRANSACTION {
        let extent = log.context(log.context_start().saturating_add(offset));
        put32(block, CONTEXT + 4 * usize::from(offset), extent);
    }
    seal(block);
}

/// Encodes the block that create-md and apply-al leave in every place of the ring.
pub fn encode_initialized(block: &mut [u8]) {
    block.fill(0);
    put32(block, 0, MAGIC);
    put16(block, 12, TYPE_INITIALIZED);
    seal(block);
}

/// What a block of the ring is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Magic or checksum wrong.
    Invalid,
    /// As create-md left it.
    Initialized,
    /// A transaction with its number.
    Update(u32),
}

/// Classifies a block (4096 bytes).
pub fn kind(block: &[u8]) -> Kind {
    if block.len() < BLOCK_BYTES || be32(block, 0) != MAGIC {
        return Kind::Invalid;
    }
    let stored = be32(block, 8);
    let before = block.get(..8).map_or(0, |part| crc32c(0, part));
    let middle = crc32c(before, &[0; 4]);
    let crc = block.get(12..BLOCK_BYTES).map_or(0, |part| crc32c(middle, part));
    if crc != stored {
        Kind::Invalid
    } else if be16(block, 12) == TYPE_INITIALIZED {
        Kind::Initialized
    } else {
        Kind::Update(be32(block, 4))
    }
}

/// Applies one transaction to a table of slots, context first (6.4). Slot numbers out of range are ignored.
pub fn apply(block: &[u8], slots: &mut [u32]) {
    let (updates, size, start) = (be16(block, 14), be16(block, 16), be16(block, 18));
    for offset in 0..CONTEXT_PER_TRANSACTION {
        let slot = usize::from(start) + usize::from(offset);
        let extent = be32(block, CONTEXT + 4 * usize::from(offset));
        if extent == FREE && slot >= usize::from(size) {
            continue;
        }
        if let Some(place) = slots.get_mut(slot) {
            *place = extent;
        }
    }
    for position in 0..CHANGES_PER_TRANSACTION {
        let slot = be16(block, UPDATE_SLOTS + 2 * position);
        if position >= usize::from(updates) && slot == 0xffff {
            continue;
        }
        if let Some(place) = slots.get_mut(usize::from(slot)) {
            *place = be32(block, UPDATE_EXTENTS + 4 * position);
        }
    }
}

/// Why a ring cannot be replayed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RingError {
    /// No block is valid.
    NoData,
    /// No transaction is valid, and more than the first place is damaged.
    Invalid,
}

/// What stands in a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ring {
    /// Ring positions of the oldest and newest transaction; `None`: nothing to apply.
    pub span: Option<(u32, u32)>,
    /// Number of the newest transaction.
    pub newest_number: u32,
    /// Blocks that are not valid.
    pub invalid: u32,
}

/// Surveys a ring; `kind_at` classifies the block at a ring position.
pub fn survey(geometry: &Geometry, mut kind_at: impl FnMut(u32) -> Kind) -> Result<Ring, RingError> {
    let blocks = u32::try_from(geometry.blocks()).unwrap_or(u32::MAX);
    let (mut invalid, mut first_invalid, mut initialized) = (0u32, false, 0u32);
    let mut oldest: Option<(u32, u32)> = None;
    let mut newest: Option<(u32, u32)> = None;
    for position in 0..blocks {
        match kind_at(position) {
            Kind::Invalid => {
                invalid += 1;
                first_invalid |= position == 0;
            }
            Kind::Initialized => initialized += 1,
            Kind::Update(number) => {
                if oldest.is_none_or(|(_, other)| (number.wrapping_sub(other) as i32) < 0) {
                    oldest = Some((position, number));
                }
                if newest.is_none_or(|(_, other)| (number.wrapping_sub(other) as i32) > 0) {
                    newest = Some((position, number));
                }
            }
        }
    }
    match (oldest, newest) {
        (Some(oldest), Some(newest)) => {
            Ok(Ring { span: Some((oldest.0, newest.0)), newest_number: newest.1, invalid })
        }
        _ if invalid == blocks => Err(RingError::NoData),
        _ if initialized == blocks || (invalid == 1 && first_invalid) => Ok(Ring { span: None, newest_number: 0, invalid }),
        _ => Err(RingError::Invalid),
    }
}

impl Ring {
    /// The ring positions to apply, in order.
    pub fn positions(&self, geometry: &Geometry) -> impl Iterator<Item = u32> {
        let blocks = u32::try_from(geometry.blocks()).unwrap_or(u32::MAX).max(1);
        let (oldest, count) = match self.span {
            Some((oldest, newest)) => (oldest, (newest + blocks - oldest) % blocks + 1),
            None => (0, 0),
        };
        (0..count).map(move |step| (oldest + step) % blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity_log::{Begin, Slot};

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

    #[test]
    fn an_initialized_block_has_the_recorded_start() {
        let mut block = [0u8; BLOCK_BYTES];
        encode_initialized(&mut block);
        assert_eq!(block[..16], [0x69, 0xcb, 0x65, 0xa2, 0, 0, 0, 0, 0x70, 0x9c, 0xc6, 0x51, 0xff, 0xff, 0, 0]);
        assert_eq!(kind(&block), Kind::Initialized);
    }

    /// Random use of the set, each transaction written to a ring; a crash after any commit, with the next block torn at any sector,
    /// recovers every extent that was hot.
    #[test]
    fn every_hot_extent_is_recovered_whatever_block_is_torn() {
        let geometry = Geometry::default();
        for seed in 1..3u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut random = move |limit: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % limit
            };
            let mut log = ActivityLog::new(Heap(vec![Slot::default(); 1237], vec![0; 2048]));
            let mut ring = vec![vec![0u8; BLOCK_BYTES]; 8];
            ring.iter_mut().for_each(|block| encode_initialized(block));
            let mut running: Vec<u32> = Vec::new();
            for _ in 0..12 {
                let mut joining = Vec::new();
                for _ in 0..random(80) {
                    let extent = random(3000) as u32;
                    if matches!(log.begin(extent), Begin::Hot | Begin::Pending) {
                        joining.push(extent);
                    }
                }
                log.seal();
                let mut block = vec![0u8; BLOCK_BYTES];
                encode_transaction(&log, &mut block);
                let place = geometry.ring_block(log.number()) as usize;
                // Torn: only a prefix of the sectors arrives before the crash.
                let mut torn = ring.clone();
                let sectors = random(8) as usize;
                torn[place][..sectors * 512].copy_from_slice(&block[..sectors * 512]);
                let after = recover(&geometry, &torn);
                assert!(running.iter().all(|extent| after.contains(extent)));
                ring[place] = block;
                log.committed();
                running.append(&mut joining);
                let after = recover(&geometry, &ring);
                assert!(running.iter().all(|extent| after.contains(extent)));
                while running.len() > 600 || (!running.is_empty() && random(3) == 0) {
                    log.put(running.swap_remove(random(running.len() as u64) as usize));
                }
            }
        }
    }

    fn recover(geometry: &Geometry, ring: &[Vec<u8>]) -> std::collections::HashSet<u32> {
        let block = |position: u32| &ring[geometry.ring_block(position) as usize];
        let mut slots = vec![FREE; MAX_SLOTS];
        let Ok(found) = survey(geometry, |position| kind(block(position))) else { return Default::default() };
        for position in found.positions(geometry) {
            if let Kind::Update(_) = kind(block(position)) {
                apply(block(position), &mut slots);
            }
        }
        slots.into_iter().filter(|extent| *extent != FREE).collect()
    }
}
