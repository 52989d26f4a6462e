// SPDX-License-Identifier: GPL-2.0
//! What counts as valid metadata for the tool (metadata.md 5.2).

use drbd_core::md::superblock::{MAGIC_CLEAN, MAGIC_UNCLEAN};
use drbd_core::md::{flags, Index, Layout, Superblock};

/// Valid metadata.
#[derive(Clone, Debug)]
pub struct Found {
    /// The superblock; a la-size that does not fit the device is cut already.
    pub superblock: Superblock,
    /// Where everything is.
    pub layout: Layout,
    /// Size of the device when this was its place, if that is not the size it has now.
    pub moved_from_bytes: Option<u64>,
}

impl Found {
    /// Metadata at its proper place.
    pub fn new(superblock: Superblock, layout: Layout) -> Self {
        Self {
            superblock,
            layout,
            moved_from_bytes: None,
        }
    }

    /// The activity log must be applied before the bitmap can be believed (metadata.md section 8).
    pub fn is_unclean(&self) -> bool {
        self.superblock.magic == MAGIC_UNCLEAN || self.superblock.flags & flags::AL_CLEAN == 0
    }

    /// Length of the stored bitmap for the last agreed size, in bytes.
    pub fn bitmap_bytes(&self) -> u64 {
        let bits = self.superblock.la_size.div_ceil(8).div_ceil(64) * 64;
        (bits / 8).div_ceil(4096) * 4096
    }

    /// First byte of the bitmap.
    pub fn bitmap_start(&self) -> u64 {
        self.layout.bitmap_sector() * 512
    }
}

/// Largest size, in sectors, that a bitmap of this layout can describe.
pub fn room_sectors(index: Index, layout: &Layout) -> u64 {
    match index {
        Index::Internal => layout.bitmap_sector(),
        _ => layout.bitmap_sectors.saturating_mul(32_768),
    }
}

/// The checks for a device of `sectors`; the reasons are for standard error. `verbose`: a wrong magic
/// is worth a line. `announce`: a la-size that had to be cut is told on standard output.
pub fn check(
    mut superblock: Superblock,
    index: Index,
    sectors: u64,
    verbose: bool,
    announce: bool,
) -> Result<Found, Vec<String>> {
    if superblock.magic != MAGIC_CLEAN && superblock.magic != MAGIC_UNCLEAN {
        let text = verbose.then(|| "v08 Magic number not found".to_string());
        return Err(text.into_iter().collect());
    }
    let Some(geometry) = superblock.geometry() else {
        return Err(vec![format!(
            "invalid activity log striping: al_stripes={}, al_stripe_size_4k={}",
            superblock.al_stripes, superblock.al_stripe_size_4k
        )]);
    };
    (superblock.al_stripes, superblock.al_stripe_size_4k) =
        (geometry.stripes, geometry.stripe_size_4k);
    let Some(layout) = Layout::compute(index, sectors, geometry) else {
        return Err(vec!["the device is too small for its meta data".into()]);
    };
    if let Some(reason) = mismatch(&superblock, index, &layout) {
        return Err(vec![reason]);
    }
    let room = room_sectors(index, &layout);
    if superblock.la_size > room {
        if announce {
            println!(
                "# la-size-sect was too big ({}), truncated ({room})!",
                superblock.la_size
            );
        }
        superblock.la_size = room;
    }
    Ok(Found::new(superblock, layout))
}

fn mismatch(superblock: &Superblock, index: Index, expected: &Layout) -> Option<String> {
    let (al, bm) = (superblock.al_offset, superblock.bm_offset);
    if al != expected.al_offset {
        return Some(match index {
            Index::Internal => {
                format!("v08 al_offset: expected {}, found {al}", expected.al_offset)
            }
            _ => format!("v08 Magic number (al_offset) not found\n\texpected: 8, found {al}"),
        });
    }
    if bm != expected.bm_offset {
        return Some(match index {
            Index::Internal => format!("strange bm_offset {bm} (expected: {})", expected.bm_offset),
            _ => format!("v08 bm_offset: expected {}, found {bm}", expected.bm_offset),
        });
    }
    if index.is_internal() && u64::from(superblock.md_size) != expected.md_size {
        let found = superblock.md_size;
        return Some(format!(
            "strange md_size_sect {found} (expected: {})",
            expected.md_size
        ));
    }
    let bytes = superblock.bytes_per_bit;
    (bytes < 4096 || !bytes.is_power_of_two())
        .then(|| format!("bm_bytes_per_bit: expected 4096, found {bytes}"))
}
