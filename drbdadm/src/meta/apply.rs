// SPDX-License-Identifier: GPL-2.0
//! `apply-al`: after a crash, everything the activity log names is out of sync (metadata.md 6.4, 8.1).
//!
//! The steps are made durable one by one, bitmap before log before superblock, so that a crash
//! at any point is repaired by running it again.

use super::device::{Device, Found};
use super::{Call, Failure};
use drbd_core::md::log_block::{self, Kind, RingError};
use drbd_core::md::superblock::{MAGIC_CLEAN, MAGIC_UNCLEAN};
use drbd_core::md::{flags, BLOCK_BYTES};
use std::collections::BTreeSet;

/// Magic of an 8.4 activity-log block.
const BLOCK_MAGIC: [u8; 4] = [0x69, 0xcb, 0x65, 0xa2];
/// Magic of a sector of the log of 0.7 to 8.3.
const OLD_MAGIC: [u8; 4] = [0x83, 0x74, 0x02, 0x67];
/// Bytes of bitmap an extent stands for.
const EXTENT_BITMAP_BYTES: usize = 128;
/// Extents of a transaction that are context, in the old log.
const OLD_CONTEXT: u32 = 61;

/// What a log says.
struct Replay {
    /// Active extents; none: there was nothing to apply.
    active: Option<BTreeSet<u32>>,
    /// The ring must be written anew.
    reinitialize: bool,
}

/// Runs the command.
pub fn apply(_call: &Call, device: Device, mut found: Found) -> Result<(), Failure> {
    let primary = found.superblock.flags & flags::PRIMARY != 0;
    let replay = match replay(&device, &found)? {
        Ok(replay) => replay,
        Err(text) if primary => return Err(Failure::new(1, text)),
        Err(text) => {
            eprintln!("{text}\nError ignored, no need to apply the AL");
            Replay {
                active: None,
                reinitialize: true,
            }
        }
    };
    let mut marked = false;
    if let (Some(active), true) = (&replay.active, primary) {
        marked = mark(&device, &found, active)?;
    }
    if replay.reinitialize {
        initialize(&device, &found)?;
    }
    let superblock = &mut found.superblock;
    if marked || superblock.flags & flags::AL_CLEAN == 0 || superblock.magic != MAGIC_CLEAN {
        superblock.flags |= flags::AL_CLEAN;
        superblock.magic = MAGIC_CLEAN;
        device.write_superblock(&found)?;
    }
    super::relocate::remember(_call, &device, &found);
    Ok(())
}

/// Writes the whole ring with INITIALIZED blocks.
pub fn initialize(device: &Device, found: &Found) -> Result<(), Failure> {
    let mut block = [0u8; BLOCK_BYTES];
    log_block::encode_initialized(&mut block);
    let start = found.layout.al_sector() * 512;
    for number in 0..found.layout.geometry.blocks() {
        device.write(start + number * BLOCK_BYTES as u64, &block)?;
    }
    device.flush()
}

fn replay(device: &Device, found: &Found) -> Result<Result<Replay, String>, Failure> {
    let geometry = found.layout.geometry;
    let start = found.layout.al_sector() * 512;
    let log = device.read(start, geometry.sectors() as usize * 512)?;
    let block = |number: u64| {
        let at = number as usize * BLOCK_BYTES;
        log.get(at..at + BLOCK_BYTES).unwrap_or(&[])
    };
    let plain = geometry.stripes == 1 && geometry.stripe_size_4k == 8;
    let new_format = found.superblock.magic == MAGIC_UNCLEAN
        || block(0).starts_with(&BLOCK_MAGIC)
        || block(1).starts_with(&BLOCK_MAGIC)
        || !plain;
    if !new_format {
        return Ok(replay_old(&log, found.superblock.al_extents));
    }
    let at = |position: u32| block(geometry.ring_block(position));
    let ring = match log_block::survey(&geometry, |position| log_block::kind(at(position))) {
        Ok(ring) => ring,
        Err(RingError::NoData) => {
            return Ok(Err("No usable activity log found. Do you need to create-md?".into()));
        }
        Err(RingError::Invalid) => return Ok(Err("No valid AL update transaction found.".into())),
    };
    if ring.invalid > 0 && ring.span.is_some() {
        eprintln!("{} corrupt AL transactions found", ring.invalid);
    }
    if ring.span.is_none() {
        return Ok(Ok(Replay {
            active: None,
            reinitialize: false,
        }));
    }
    let mut slots = vec![u32::MAX; log_block::MAX_SLOTS];
    for position in ring.positions(&geometry) {
        if let Kind::Update(_) = log_block::kind(at(position)) {
            log_block::apply(at(position), &mut slots);
        }
    }
    Ok(Ok(Replay {
        active: Some(slots.into_iter().filter(|e| *e != u32::MAX).collect()),
        reinitialize: true,
    }))
}

/// The log of 0.7 to 8.3: sectors of 62 entries (metadata.md 9.1).
fn replay_old(log: &[u8], extents: u32) -> Result<Replay, String> {
    let word = |bytes: &[u8], at: usize| {
        bytes
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_be_bytes)
    };
    let used = 1 + extents.div_ceil(OLD_CONTEXT) as usize;
    let sectors: Vec<&[u8]> = log.chunks_exact(512).take(used.min(64)).collect();
    let valid = |sector: &[u8]| {
        let sum = (0..62).fold(0, |xor, i| xor ^ word(sector, 8 + 8 * i + 4));
        sector.starts_with(&OLD_MAGIC) && sum == word(sector, 8 + 62 * 8)
    };
    let good: Vec<(usize, u32)> = sectors
        .iter()
        .enumerate()
        .filter(|(_, s)| valid(s))
        .map(|(i, s)| (i, word(s, 4)))
        .collect();
    let none = Replay {
        active: None,
        reinitialize: true,
    };
    let Some(first) = good.first() else {
        eprintln!("No usable activity log found.");
        return Ok(none);
    };
    if good.len() < sectors.len() {
        eprintln!(
            "{} corrupt or uninitialized AL transactions found\nYou can safely ignore this if this node was cleanly stopped (no crash).",
            sectors.len() - good.len()
        );
    }
    let before = |a: u32, b: u32| (a.wrapping_sub(b) as i32) < 0;
    let oldest = good.iter().fold(*first, |o, s| if before(s.1, o.1) { *s } else { o });
    let newest = good.iter().fold(*first, |n, s| if before(n.1, s.1) { *s } else { n });
    let count = (newest.0 + sectors.len() - oldest.0) % sectors.len() + 1;
    let mut slots = std::collections::BTreeMap::new();
    for step in 0..count {
        let Some(sector) = sectors.get((oldest.0 + step) % sectors.len()).filter(|s| valid(s)) else { continue };
        for entry in (0..62).rev() {
            let (slot, extent) = (word(sector, 8 + 8 * entry), word(sector, 12 + 8 * entry));
            if extent != u32::MAX {
                slots.insert(slot, extent);
            }
        }
    }
    Ok(Replay {
        active: Some(slots.into_values().collect()),
        reinitialize: true,
    })
}

/// Sets all bits of the active extents; whether there were any.
fn mark(device: &Device, found: &Found, active: &BTreeSet<u32>) -> Result<bool, Failure> {
    if active.is_empty() {
        eprintln!("Nothing to do.");
        return Ok(false);
    }
    let mut bitmap = device.bitmap(found)?;
    let mut new_bits: u64 = 0;
    for extent in active {
        let start = *extent as usize * EXTENT_BITMAP_BYTES;
        if start >= bitmap.len() {
            eprintln!("extent {extent} beyond end of bitmap! ({start} >= {})", bitmap.len());
            continue;
        }
        let end = (start + EXTENT_BITMAP_BYTES).min(bitmap.len());
        for byte in &mut bitmap[start..end] {
            new_bits += u64::from(byte.count_zeros());
            *byte = 0xff;
        }
    }
    device.write(found.layout.bitmap_sector() * 512, &bitmap)?;
    device.flush()?;
    eprintln!("Marked additional {} as out-of-sync based on AL.", amount(new_bits * 4));
    Ok(true)
}

/// KiB below 10000, then larger units, rounded.
pub fn amount(kib: u64) -> String {
    let mut value = kib;
    let mut units = ["KB", "MB", "GB", "TB", "PB", "EB"].iter();
    let mut unit = units.next().unwrap_or(&"KB");
    while value >= 10_000 {
        let Some(next) = units.next() else { break };
        value = (value + 512) / 1024;
        unit = next;
    }
    format!("{value} {unit}")
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_round_into_larger_units() {
        let table = [(4096, "4096 KB"), (8192, "8192 KB"), (12288, "12 MB"), (271_360, "265 MB"), (0, "0 KB")];
        for (kib, text) in table {
            assert_eq!(amount(kib), text);
        }
    }
}
