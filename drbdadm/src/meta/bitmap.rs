// SPDX-License-Identifier: GPL-2.0
//! The stored bitmap, read in pieces: it can be larger than memory.

use super::device::Device;
use super::found::Found;
use super::Failure;

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// The stored bitmap as 32-bit little-endian words.
pub struct Words<'a> {
    device: &'a Device,
    start: u64,
    bytes: u64,
    piece: Vec<u8>,
    piece_at: u64,
}

impl<'a> Words<'a> {
    /// The part that the last agreed size uses, rounded up to 4096 bytes.
    pub fn new(device: &'a Device, found: &Found) -> Self {
        Self {
            device,
            start: found.bitmap_start(),
            bytes: found.bitmap_bytes(),
            piece: Vec::new(),
            piece_at: 0,
        }
    }

    /// Words there are.
    pub fn count(&self) -> u64 {
        self.bytes / 4
    }

    /// The word with this number; 0 behind the last.
    pub fn get(&mut self, number: u64) -> Result<u32, Failure> {
        let at = number * 4;
        if at >= self.bytes {
            return Ok(0);
        }
        if self.piece.is_empty()
            || at < self.piece_at
            || at >= self.piece_at + self.piece.len() as u64
        {
            self.piece_at = at / PIECE_BYTES * PIECE_BYTES;
            let length = PIECE_BYTES.min(self.bytes - self.piece_at);
            self.piece = self
                .device
                .read(self.start + self.piece_at, length as usize)?;
        }
        let offset = (at - self.piece_at) as usize;
        let word = self
            .piece
            .get(offset..offset + 4)
            .and_then(|b| b.try_into().ok());
        Ok(word.map_or(0, u32::from_le_bytes))
    }

    /// How many words from `number` on are equal to the first of them.
    pub fn run(&mut self, number: u64) -> Result<u64, Failure> {
        let value = self.get(number)?;
        let mut end = number + 1;
        while end < self.count() && self.get(end)? == value {
            end += 1;
        }
        Ok(end - number)
    }
}
