// SPDX-License-Identifier: GPL-2.0
//! On-disk metadata of DRBD 8.4, format "v08" (metadata.md).
//!
//! * [`layout`] — where superblock, activity log and bitmap lie, and how large the device can be (section 2).
//! * [`superblock`] — the 4 KiB superblock, its flags and its validation (sections 3, 5).
//! * [`uuids`] — the generation identifiers and their rotations (section 4).
//! * [`log_block`] — activity-log transactions, the ring and its replay (section 6).
//!
//! All integers are big endian, the bitmap is little endian. A sector is 512 bytes, a block 4096.

pub mod layout;
pub mod log_block;
pub mod superblock;
pub mod uuids;

pub use layout::{Geometry, Index, Layout};
pub use superblock::{flags, MetaDataError, Superblock};
pub use uuids::Uuids;

/// Bytes of a metadata block.
pub const BLOCK_BYTES: usize = 4096;

/// CRC-32C (Castagnoli, reflected) as used here: start value 0, no final inversion (metadata.md 6.1). Eight bytes at a time: a block of the
/// log is summed for every transaction.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = &CRC_TABLES;
    let at = |table: &[u32; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or(0);
    let mut words = bytes.chunks_exact(8);
    let mut crc = seed;
    for word in &mut words {
        let &[a, b, c, d, e, f, g, h] = word else { continue };
        let [w, x, y, z] = crc.to_le_bytes();
        let first = at(t7, a ^ w) ^ at(t6, b ^ x) ^ at(t5, c ^ y) ^ at(t4, d ^ z);
        crc = first ^ at(t3, e) ^ at(t2, f) ^ at(t1, g) ^ at(t0, h);
    }
    words.remainder().iter().fold(crc, |crc, byte| crc >> 8 ^ at(t0, crc as u8 ^ byte))
}

/// Table `n`: what a byte does to the sum when `n` more bytes follow it.
const fn crc_tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 != 0 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        tables[0][index] = value;
        index += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut index = 0;
        while index < 256 {
            let before = tables[table - 1][index];
            tables[table][index] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            index += 1;
        }
        table += 1;
    }
    tables
}

static CRC_TABLES: [[u32; 256]; 8] = crc_tables();

pub(crate) fn put32(block: &mut [u8], at: usize, value: u32) {
    if let Some(place) = block.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn put64(block: &mut [u8], at: usize, value: u64) {
    if let Some(place) = block.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

pub(crate) fn put16(block: &mut [u8], at: usize, value: u16) {
    if let Some(place) = block.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_has_no_inversion_at_either_end() {
        assert_eq!(super::crc32c(0, b"123456789"), 0x58e3_fa20);
    }
}
