// SPDX-License-Identifier: GPL-2.0
//! Metadata of a case, written straight into the image of a machine's disk.

use anyhow::{Context, Result};
use drbd_core::md::log_block::encode_initialized;
use drbd_core::md::{flags, Geometry, Index, Layout, Superblock, Uuids};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the superblock and the bitmap of a node say.
pub struct Area {
    /// Agreed size in sectors.
    pub la_size: u64,
    /// The generations.
    pub uuids: [u64; 4],
    /// Flags of the superblock; "activity log clean" is added.
    pub flags: u32,
    /// Set bits, from bit 0.
    pub bits: u64,
}

impl Area {
    /// Writes the whole area to the end of `image`: superblock, empty log, bitmap.
    pub fn write(&self, image: &Path) -> Result<()> {
        let file = OpenOptions::new().write(true).open(image).with_context(|| format!("{}", image.display()))?;
        let sectors = file.metadata()?.len() / 512;
        let layout = Layout::compute(Index::Internal, sectors, Geometry::default()).context("disk too small for metadata")?;
        let superblock = Superblock {
            la_size: self.la_size,
            uuids: Uuids::from_array(self.uuids),
            flags: self.flags | flags::AL_CLEAN,
            ..Superblock::fresh(&layout)
        };
        let mut block = [0u8; 4096];
        encode_initialized(&mut block);
        for number in 0..layout.geometry.blocks() {
            file.write_all_at(&block, (layout.al_sector() + 8 * number) * 512)?;
        }
        let mut bitmap = vec![0u8; layout.bitmap_sectors as usize * 512];
        for bit in 0..self.bits as usize {
            bitmap[bit / 8] |= 1 << (bit % 8);
        }
        file.write_all_at(&bitmap, layout.bitmap_sector() * 512)?;
        block.fill(0);
        superblock.encode(&mut block);
        file.write_all_at(&block, layout.superblock * 512)?;
        Ok(())
    }
}
