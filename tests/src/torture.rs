// SPDX-License-Identifier: GPL-2.0
//! What the torture test writes and what it may find again: shared by the program that writes
//! within a virtual machine (`torture-load`) and the test that reads the disks on the host.
//!
//! The device is divided into groups of 32 blocks of 4 KiB; the last [`SCRATCH_GROUPS`] groups
//! are written by all threads at once, unrecorded. For each other group the journal (a
//! disk of its own that outlives its machine) has one sector with two values for every
//! block: the write that last was acknowledged, and the write that was last begun. Both equal:
//! the block must read as that write. Different: each of its sectors may be either.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes of one block.
pub const BLOCK: usize = 4096;
/// Bytes of a sector, the unit that is written whole or not at all.
pub const SECTOR: usize = 512;
/// Blocks of a group.
pub const GROUP: usize = 32;
/// Groups at the end of the device whose contents are not recorded.
pub const SCRATCH_GROUPS: u64 = 8;
/// Mark of a write: the block was written with zeros.
pub const ZEROES: u64 = 1 << 63;
/// Mark of a write: the block may read as anything (it was discarded).
pub const ANYTHING: u64 = 1 << 62;

/// The two values of one block. 0 is a block never written: zeros.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Promise {
    /// The write that was last acknowledged.
    pub acknowledged: u64,
    /// The write that was last begun.
    pub begun: u64,
}

/// The journal's record of one group.
pub type Record = [Promise; GROUP];

/// What sector `sector` of block `block` contains after write `write`.
pub fn sector_content(block: u64, sector: usize, write: u64) -> [u8; SECTOR] {
    let mut content = [0; SECTOR];
    if write == 0 || write & ZEROES != 0 {
        return content;
    }
    let mut state = (block << 3 | sector as u64) ^ write.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (index, word) in content.chunks_exact_mut(8).enumerate() {
        let value = match index {
            0 => block << 3 | sector as u64,
            1 => write,
            _ => {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                state
            }
        };
        word.copy_from_slice(&value.to_le_bytes());
    }
    content
}

/// Fills a block with write `write`.
pub fn fill(block: u64, write: u64, content: &mut [u8]) {
    for (sector, bytes) in content.chunks_exact_mut(SECTOR).enumerate() {
        bytes.copy_from_slice(&sector_content(block, sector, write));
    }
}

/// Which write a block that keeps `promise` shows: `Some(write)` if all its sectors are of one,
/// `None` if they are of both.
///
/// # Errors
/// What is wrong with which sector.
pub fn verify(block: u64, promise: Promise, content: &[u8]) -> Result<Option<u64>, String> {
    if (promise.acknowledged | promise.begun) & ANYTHING != 0 {
        return Ok(None);
    }
    let (mut old, mut new) = (true, true);
    for (sector, bytes) in content.chunks_exact(SECTOR).enumerate() {
        let is_old = bytes == sector_content(block, sector, promise.acknowledged);
        let is_new = bytes == sector_content(block, sector, promise.begun);
        if !is_old && !is_new {
            let word = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
            return Err(format!(
                "block {block} sector {sector}: write {:#x} of block {} (sector {}) where {:#x} was acknowledged and {:#x} begun",
                word(8),
                word(0) >> 3,
                word(0) & 7,
                promise.acknowledged,
                promise.begun
            ));
        }
        old &= is_old;
        new &= is_new;
    }
    Ok(if new {
        Some(promise.begun)
    } else if old {
        Some(promise.acknowledged)
    } else {
        None
    })
}

/// Reads the record of a group. `buffer` is one sector, aligned as the file demands.
pub fn read_record(journal: &File, group: u64, buffer: &mut [u8]) -> io::Result<Record> {
    journal.read_exact_at(buffer, group * SECTOR as u64)?;
    let mut record = Record::default();
    for (promise, bytes) in record.iter_mut().zip(buffer.chunks_exact(16)) {
        let word = |part: &[u8]| part.try_into().map_or(0, u64::from_le_bytes);
        *promise = Promise { acknowledged: word(&bytes[..8]), begun: word(&bytes[8..]) };
    }
    Ok(record)
}

/// Writes the record of a group; it outlives the machine when this returns.
pub fn write_record(journal: &File, group: u64, record: &Record, buffer: &mut [u8]) -> io::Result<()> {
    for (promise, bytes) in record.iter().zip(buffer.chunks_exact_mut(16)) {
        bytes[..8].copy_from_slice(&promise.acknowledged.to_le_bytes());
        bytes[8..].copy_from_slice(&promise.begun.to_le_bytes());
    }
    journal.write_all_at(buffer, group * SECTOR as u64)
}

/// Groups with a record on a device of `bytes` bytes.
pub fn recorded_groups(bytes: u64) -> u64 {
    (bytes / (GROUP * BLOCK) as u64).saturating_sub(SCRATCH_GROUPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_shows_the_write_it_was_filled_with_and_no_other() {
        let mut content = vec![0; BLOCK];
        fill(7, 0x1_0001, &mut content);
        let settled = |write| Promise { acknowledged: write, begun: write };
        assert_eq!(verify(7, settled(0x1_0001), &content), Ok(Some(0x1_0001)));
        assert!(verify(7, settled(0x1_0002), &content).is_err());
        assert!(verify(8, settled(0x1_0001), &content).is_err());
        assert!(verify(7, settled(0), &content).is_err());
        let torn = Promise { acknowledged: 5, begun: 0x1_0001 };
        assert_eq!(verify(7, torn, &content), Ok(Some(0x1_0001)));
        content[..SECTOR].copy_from_slice(&sector_content(7, 0, 5));
        assert_eq!(verify(7, torn, &content), Ok(None));
        content.fill(0);
        assert_eq!(verify(7, settled(ZEROES | 9), &content), Ok(Some(ZEROES | 9)));
        assert_eq!(verify(7, settled(ANYTHING | 9), &content), Ok(None));
    }
}
