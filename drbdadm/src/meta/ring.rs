// SPDX-License-Identifier: GPL-2.0
//! Writing the ring of the activity log anew with INITIALIZED blocks (metadata.md 6.1, 8.1).
//!
//! What the old ring said is in the bitmap by then, so any reading of a ring that is half old and
//! half new does no harm, as long as it can be read at all. A block that was torn by a crash is
//! refused unless there is a valid transaction beside it, or it is at ring position 0 and
//! everything else is INITIALIZED (6.4). The orders below keep to that at every instant.

use super::device::Device;
use super::found::Found;
use super::Failure;
use drbd_core::md::log_block::{self, Kind};
use drbd_core::md::BLOCK_BYTES;

/// Blocks written at once.
const PIECE_BLOCKS: u64 = 256;

fn initialized() -> [u8; BLOCK_BYTES] {
    let mut block = [0u8; BLOCK_BYTES];
    log_block::encode_initialized(&mut block);
    block
}

/// Byte offset of the block at a ring position.
fn place(found: &Found, position: u32) -> u64 {
    let block = found.layout.geometry.ring_block(position);
    found.layout.al_sector() * 512 + block * BLOCK_BYTES as u64
}

/// Writes the whole ring; what was there does not matter.
pub fn initialize(device: &Device, found: &Found) -> Result<(), Failure> {
    let piece = initialized().repeat(PIECE_BLOCKS as usize);
    write_blocks(device, found, 0, &piece)?;
    device.flush()
}

/// Fills the ring from the disk block `first` on, `piece` by `piece`.
fn write_blocks(device: &Device, found: &Found, first: u64, piece: &[u8]) -> Result<(), Failure> {
    let blocks = found.layout.geometry.blocks();
    let start = found.layout.al_sector() * 512;
    let mut done = first;
    while done < blocks {
        let part = (blocks - done).min(PIECE_BLOCKS);
        let bytes = piece.get(..part as usize * BLOCK_BYTES).unwrap_or(piece);
        device.write("activity log", start + done * BLOCK_BYTES as u64, bytes)?;
        done += part;
    }
    Ok(())
}

/// Rewrites a ring that has a valid transaction at ring position `known`: position 0 gets one
/// too if it has none, stands until everything else is INITIALIZED, and goes last.
/// Ring position 0 is the first block on disk.
pub fn retire(device: &Device, found: &Found, known: u32) -> Result<(), Failure> {
    let first = device.read(place(found, 0), BLOCK_BYTES)?;
    if !matches!(log_block::kind(&first), Kind::Update(_)) {
        let transaction = device.read(place(found, known), BLOCK_BYTES)?;
        device.write("activity log", place(found, 0), &transaction)?;
        device.flush()?;
    }
    let block = initialized();
    write_blocks(device, found, 1, &block.repeat(PIECE_BLOCKS as usize))?;
    device.flush()?;
    device.write("activity log", place(found, 0), &block)?;
    device.flush()
}

/// Replaces a log of 8.3. Without its magic in the first two blocks the area counts as such a log,
/// and an empty one is no error; so it is emptied, and the first two blocks come last: only their
/// first sector is not zero, so each arrives whole or not at all.
pub fn replace_old_log(device: &Device, found: &Found) -> Result<(), Failure> {
    write_blocks(
        device,
        found,
        0,
        &vec![0; PIECE_BLOCKS as usize * BLOCK_BYTES],
    )?;
    device.flush()?;
    let block = initialized();
    write_blocks(device, found, 2, &block.repeat(PIECE_BLOCKS as usize))?;
    device.flush()?;
    for position in [1, 0] {
        device.write("activity log", place(found, position), &block)?;
        device.flush()?;
    }
    Ok(())
}
