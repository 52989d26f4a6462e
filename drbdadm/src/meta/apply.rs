// SPDX-License-Identifier: GPL-2.0
//! `apply-al`: after a crash, everything the activity log names is out of sync (metadata.md 6.4, 8.1).
//!
//! The steps are made durable one by one, bitmap before log before superblock, so that a crash
//! at any point is repaired by running it again.

use super::device::Device;
use super::found::Found;
use super::{old_log, relocate, ring, Call, Failure, FAILED};
use drbd_core::md::log_block::{self, Kind, RingError};
use drbd_core::md::superblock::{MAGIC_CLEAN, MAGIC_UNCLEAN};
use drbd_core::md::{flags, Geometry, BLOCK_BYTES};
use std::collections::BTreeSet;

/// Magic of an 8.4 activity-log block.
const BLOCK_MAGIC: [u8; 4] = [0x69, 0xcb, 0x65, 0xa2];
/// Bytes of bitmap an extent stands for.
const EXTENT_BITMAP_BYTES: u64 = 128;
/// A slot without an extent.
const FREE: u32 = u32::MAX;

/// What a log says.
pub struct Replay {
    /// Active extents; none: there was nothing to apply.
    pub active: Option<BTreeSet<u32>>,
    /// How the ring has to be written anew.
    pub rewrite: Rewrite,
}

/// How to get from a ring to one of INITIALIZED blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// It is one.
    No,
    /// Nothing in it matters.
    Anything,
    /// There is a transaction at this ring position.
    Transactions(u32),
    /// It is a log of 8.3.
    OldLog,
}

/// Why a log cannot be replayed.
enum Refusal {
    /// The log itself.
    Log(&'static str),
    /// The device or the call.
    Failure(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Failure(failure)
    }
}

/// Runs the command.
pub fn apply(call: &Call, device: Device, mut found: Found) -> Result<(), Failure> {
    let has = |flag: u32| found.superblock.flags & flag != 0;
    let primary = has(flags::PRIMARY);
    let replay = match replay(&device, &found) {
        Ok(replay) => replay,
        Err(Refusal::Failure(failure)) => return Err(failure),
        // With all bits about to be set by the kernel, the log does not matter either.
        Err(Refusal::Log(text)) if primary && !has(flags::FULL_SYNC) => {
            return Err(Failure::new(FAILED, text))
        }
        Err(Refusal::Log(text)) => {
            eprintln!("{text}\nError ignored, no need to apply the AL");
            Replay {
                active: None,
                rewrite: Rewrite::Anything,
            }
        }
    };
    let mut marked = false;
    if let (Some(active), true) = (&replay.active, primary) {
        marked = mark(&device, &found, active)?;
    }
    match replay.rewrite {
        Rewrite::No => {}
        Rewrite::Anything => ring::initialize(&device, &found)?,
        Rewrite::Transactions(position) => ring::retire(&device, &found, position)?,
        Rewrite::OldLog => ring::replace_old_log(&device, &found)?,
    }
    if marked || !has(flags::AL_CLEAN) || found.superblock.magic != MAGIC_CLEAN {
        found.superblock.flags |= flags::AL_CLEAN;
        found.superblock.magic = MAGIC_CLEAN;
        device.write_superblock(&found)?;
        relocate::remember(call, &device, &found);
    }
    Ok(())
}

/// Reads blocks of the ring by position.
struct RingReader<'a> {
    device: &'a Device,
    geometry: Geometry,
    start: u64,
}

impl RingReader<'_> {
    fn block(&self, position: u32) -> Result<Vec<u8>, Failure> {
        let number = self.geometry.ring_block(position);
        self.device
            .read(self.start + number * BLOCK_BYTES as u64, BLOCK_BYTES)
    }

    /// Oldest and newest transaction, with a word about damaged blocks; a block that cannot be read ends it.
    fn survey(&self) -> Result<log_block::Ring, Refusal> {
        let (mut failure, mut invalid) = (None, 0u32);
        let survey = log_block::survey(&self.geometry, |position| {
            let kind = match self.block(position) {
                Ok(block) => log_block::kind(&block),
                Err(error) => {
                    failure.get_or_insert(error);
                    Kind::Invalid
                }
            };
            invalid += u32::from(kind == Kind::Invalid);
            kind
        });
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        if survey == Err(RingError::NoData) {
            return Err(Refusal::Log(
                "No usable activity log found. Do you need to create-md?",
            ));
        }
        if invalid > 0 {
            eprintln!("{invalid} corrupt AL transactions found");
        }
        survey.map_err(|_| Refusal::Log("No valid AL update transaction found."))
    }
}

fn replay(device: &Device, found: &Found) -> Result<Replay, Refusal> {
    let geometry = found.layout.geometry;
    let start = found.layout.al_sector() * 512;
    let begins = |block: u64| -> Result<bool, Failure> {
        Ok(device.read(start + block * BLOCK_BYTES as u64, BLOCK_MAGIC.len())? == BLOCK_MAGIC)
    };
    let new_format = found.superblock.magic == MAGIC_UNCLEAN
        || geometry != Geometry::default()
        || begins(0)?
        || begins(1)?;
    if !new_format {
        return Ok(old_log::replay(device, found)?);
    }
    let reader = RingReader {
        device,
        geometry,
        start,
    };
    let ring = reader.survey()?;
    let Some((oldest, _)) = ring.span else {
        return Ok(Replay {
            active: None,
            rewrite: Rewrite::No,
        });
    };
    let mut slots = vec![FREE; log_block::MAX_SLOTS];
    for position in ring.positions(&geometry) {
        let block = reader.block(position)?;
        if let Kind::Update(_) = log_block::kind(&block) {
            log_block::apply(&block, &mut slots);
        }
    }
    Ok(Replay {
        active: Some(slots.into_iter().filter(|extent| *extent != FREE).collect()),
        rewrite: Rewrite::Transactions(oldest),
    })
}

/// Sets all bits of the active extents; whether there were any.
fn mark(device: &Device, found: &Found, active: &BTreeSet<u32>) -> Result<bool, Failure> {
    if active.is_empty() {
        eprintln!("Nothing to do.");
        return Ok(false);
    }
    let stored = found.bitmap_bytes();
    let mut new_bits: u64 = 0;
    let mut page: Option<(u64, Vec<u8>)> = None;
    for extent in active {
        let start = u64::from(*extent) * EXTENT_BITMAP_BYTES;
        if start >= stored {
            eprintln!("extent {extent} beyond end of bitmap! ({start} >= {stored})");
            continue;
        }
        let at = start / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        if page.as_ref().is_none_or(|(loaded, _)| *loaded != at) {
            write_page(device, found, page.take())?;
            page = Some((at, device.read(found.bitmap_start() + at, BLOCK_BYTES)?));
        }
        let Some((_, bytes)) = &mut page else {
            continue;
        };
        let offset = (start - at) as usize;
        for byte in bytes
            .iter_mut()
            .skip(offset)
            .take(EXTENT_BITMAP_BYTES as usize)
        {
            new_bits += u64::from(byte.count_zeros());
            *byte = 0xff;
        }
    }
    write_page(device, found, page)?;
    device.flush()?;
    eprintln!(
        "Marked additional {} as out-of-sync based on AL.",
        amount(new_bits * 4)
    );
    Ok(true)
}

fn write_page(device: &Device, found: &Found, page: Option<(u64, Vec<u8>)>) -> Result<(), Failure> {
    match page {
        Some((at, bytes)) => device.write("bitmap", found.bitmap_start() + at, &bytes),
        None => Ok(()),
    }
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
        let table = [
            (4096, "4096 KB"),
            (8192, "8192 KB"),
            (12288, "12 MB"),
            (271_360, "265 MB"),
            (0, "0 KB"),
        ];
        for (kib, text) in table {
            assert_eq!(amount(kib), text);
        }
    }
}
