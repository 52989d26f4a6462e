// SPDX-License-Identifier: GPL-2.0
//! The activity log of 0.7 to 8.3: sectors of 62 entries (metadata.md 9.1).

use super::apply::{Replay, Rewrite};
use super::device::Device;
use super::found::Found;
use super::Failure;
use std::collections::BTreeMap;

/// Magic of a sector.
const MAGIC: [u8; 4] = [0x83, 0x74, 0x02, 0x67];
/// Bytes of a sector.
const SECTOR_BYTES: usize = 512;
/// Sectors of the log.
const SECTORS: usize = 64;
/// Entries of a sector.
const ENTRIES: usize = 62;
/// Extents of a transaction that are context.
const CONTEXT: u32 = 61;
/// A slot without an extent.
const FREE: u32 = u32::MAX;

fn word(bytes: &[u8], at: usize) -> u32 {
    let part = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    part.map_or(0, u32::from_be_bytes)
}

fn number(sector: &[u8]) -> u32 {
    word(sector, 4)
}

fn entry(sector: &[u8], number: usize) -> (u32, u32) {
    (word(sector, 8 + 8 * number), word(sector, 12 + 8 * number))
}

fn is_valid(sector: &[u8]) -> bool {
    let sum = (0..ENTRIES).fold(0, |sum, number| sum ^ entry(sector, number).1);
    sector.starts_with(&MAGIC) && sum == word(sector, 8 + 8 * ENTRIES)
}

/// Reads the log; the ring has to be written anew in any case. A log without anything valid is no error.
pub fn replay(device: &Device, found: &Found) -> Result<Replay, Failure> {
    let log = device.read(found.layout.al_sector() * 512, SECTORS * SECTOR_BYTES)?;
    let used = (1 + found.superblock.al_extents.div_ceil(CONTEXT) as usize).min(SECTORS);
    let sectors: Vec<&[u8]> = log.chunks_exact(SECTOR_BYTES).take(used).collect();
    Ok(Replay {
        active: active(&sectors).map(|slots| slots.into_values().collect()),
        rewrite: Rewrite::OldLog,
    })
}

/// The extents in their slots; `None`: nothing valid.
fn active(sectors: &[&[u8]]) -> Option<BTreeMap<u32, u32>> {
    let valid: Vec<usize> = (0..sectors.len())
        .filter(|at| is_valid(sectors[*at]))
        .collect();
    let Some(first) = valid.first().copied() else {
        eprintln!("No usable activity log found.");
        return None;
    };
    if valid.len() < sectors.len() {
        let missing = sectors.len() - valid.len();
        eprintln!("{missing} corrupt or uninitialized AL transactions found");
        eprintln!("You can safely ignore this if this node was cleanly stopped (no crash).");
    }
    let before =
        |a: usize, b: usize| (number(sectors[a]).wrapping_sub(number(sectors[b])) as i32) < 0;
    let oldest = valid.iter().fold(
        first,
        |oldest, at| if before(*at, oldest) { *at } else { oldest },
    );
    let newest = valid.iter().fold(
        first,
        |newest, at| if before(newest, *at) { *at } else { newest },
    );
    let count = (newest + sectors.len() - oldest) % sectors.len() + 1;
    let mut slots = BTreeMap::new();
    for step in 0..count {
        let sector = sectors[(oldest + step) % sectors.len()];
        if !is_valid(sector) {
            continue;
        }
        for place in (0..ENTRIES).rev() {
            let (slot, extent) = entry(sector, place);
            if extent != FREE {
                slots.insert(slot, extent);
            }
        }
    }
    Some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(number: u32, entries: &[(u32, u32)]) -> Vec<u8> {
        let mut bytes = vec![0u8; SECTOR_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&number.to_be_bytes());
        let mut sum = 0;
        for place in 0..ENTRIES {
            let (slot, extent) = entries.get(place).copied().unwrap_or((0, FREE));
            bytes[8 + 8 * place..12 + 8 * place].copy_from_slice(&slot.to_be_bytes());
            bytes[12 + 8 * place..16 + 8 * place].copy_from_slice(&extent.to_be_bytes());
            sum ^= extent;
        }
        bytes[8 + 8 * ENTRIES..12 + 8 * ENTRIES].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    #[test]
    fn the_newest_transaction_wins_across_the_wrap_of_the_number() {
        let log = [
            sector(0, &[(0, 9)]),
            sector(u32::MAX - 1, &[(0, 5), (1, 6)]),
            sector(u32::MAX, &[(1, 7), (0, 5)]),
        ];
        let sectors: Vec<&[u8]> = log.iter().map(Vec::as_slice).collect();
        assert_eq!(active(&sectors), Some(BTreeMap::from([(0, 9), (1, 7)])));
    }

    #[test]
    fn a_damaged_sector_is_left_out() {
        let mut damaged = sector(2, &[(0, 8)]);
        damaged[12] ^= 1;
        let log = [sector(1, &[(0, 5)]), damaged, vec![0; SECTOR_BYTES]];
        let sectors: Vec<&[u8]> = log.iter().map(Vec::as_slice).collect();
        assert_eq!(active(&sectors), Some(BTreeMap::from([(0, 5)])));
        assert_eq!(active(&sectors[2..]), None);
    }
}
