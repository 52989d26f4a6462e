// SPDX-License-Identifier: GPL-2.0
//! Where the parts of the metadata lie (metadata.md section 2).

/// Sectors of a fixed metadata slot (128 MiB).
pub const SLOT_SECTORS: u64 = 262_144;
/// Smallest metadata device for internal and flexible external metadata.
pub const MIN_DEVICE_SECTORS: u64 = 2048;
/// Largest device supported (1 PiB).
pub const MAX_DEVICE_SECTORS: u64 = 1 << 41;
/// Storage a sector of bitmap stands for, in sectors.
const SECTORS_PER_BITMAP_SECTOR: u64 = 32_768;

/// Where the metadata of a device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Index {
    /// At the end of the data device.
    Internal,
    /// On a device of its own, as large as that is.
    FlexibleExternal,
    /// A 128 MiB slot of an external device.
    Slot(u32),
}

impl Index {
    /// From the number in the attach message; -1 is the old internal, read like -3. `None`: below -3.
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            -3 | -1 => Some(Index::Internal),
            -2 => Some(Index::FlexibleExternal),
            0.. => Some(Index::Slot(number as u32)),
            _ => None,
        }
    }

    /// Data and metadata share a device.
    pub const fn is_internal(self) -> bool {
        matches!(self, Index::Internal)
    }
}

/// Size of the activity log: `stripes` times `stripe_size_4k` blocks of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Stripes, at least 1.
    pub stripes: u32,
    /// Blocks of 4 KiB per stripe.
    pub stripe_size_4k: u32,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { stripes: 1, stripe_size_4k: 8 }
    }
}

impl Geometry {
    /// Blocks of the ring.
    pub const fn blocks(&self) -> u64 {
        self.stripes as u64 * self.stripe_size_4k as u64
    }

    /// Sectors of the log.
    pub const fn sectors(&self) -> u64 {
        self.blocks() * 8
    }

    /// Within what the kernel accepts: 8 to 4194304 blocks.
    pub const fn is_valid(&self) -> bool {
        let blocks = self.blocks();
        self.stripes > 0 && self.stripe_size_4k > 0 && blocks >= 8 && blocks <= 4_194_304
    }

    /// Block of the log that ring position `number % blocks` lies in (metadata.md 6.2).
    pub const fn ring_block(&self, number: u32) -> u64 {
        let blocks = if self.blocks() == 0 { 1 } else { self.blocks() };
        let position = number as u64 % blocks;
        let stripes = if self.stripes == 0 { 1 } else { self.stripes as u64 };
        position % stripes * self.stripe_size_4k as u64 + position / stripes
    }

    /// Slots the ring can describe (metadata.md 6.3).
    pub const fn max_slots(&self) -> u32 {
        let blocks = self.blocks();
        if blocks <= 72 {
            let limit = (blocks.saturating_sub(1)) * 919;
            if limit < 65_534 {
                limit as u32
            } else {
                65_534
            }
        } else {
            65_534
        }
    }
}

/// A layout on a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Sector of the superblock.
    pub superblock: u64,
    /// Activity log, in sectors from the superblock.
    pub al_offset: i32,
    /// Bitmap, in sectors from the superblock.
    pub bm_offset: i32,
    /// Sectors of all metadata.
    pub md_size: u64,
    /// Size of the log.
    pub geometry: Geometry,
    /// Sectors of the bitmap area.
    pub bitmap_sectors: u64,
}

impl Layout {
    /// The layout that create-md chooses on a metadata device of `device_sectors`; `None`: it does not fit.
    pub fn compute(index: Index, device_sectors: u64, geometry: Geometry) -> Option<Self> {
        let log = geometry.sectors();
        match index {
            Index::Internal => {
                let bitmap = device_sectors.div_ceil(SECTORS_PER_BITMAP_SECTOR).div_ceil(8) * 8;
                let superblock = (device_sectors & !7).checked_sub(8)?;
                superblock.checked_sub(log + bitmap)?;
                let (al, bm) = (i32::try_from(log).ok()?, i32::try_from(log + bitmap).ok()?);
                Some(Self { superblock, al_offset: -al, bm_offset: -bm, md_size: 8 + log + bitmap, geometry, bitmap_sectors: bitmap })
            }
            Index::FlexibleExternal => Self::external(0, device_sectors, geometry),
            Index::Slot(slot) => {
                let start = u64::from(slot).checked_mul(SLOT_SECTORS)?;
                (start + SLOT_SECTORS <= device_sectors).then_some(())?;
                Self::external(start, SLOT_SECTORS, geometry)
            }
        }
    }

    fn external(superblock: u64, md_size: u64, geometry: Geometry) -> Option<Self> {
        let bm_offset = 8 + geometry.sectors();
        let bitmap_sectors = md_size.checked_sub(bm_offset)?;
        Some(Self { superblock, al_offset: 8, bm_offset: i32::try_from(bm_offset).ok()?, md_size, geometry, bitmap_sectors })
    }

    fn relative(&self, offset: i32) -> u64 {
        self.superblock.saturating_add_signed(i64::from(offset))
    }

    /// First sector of the activity log.
    pub fn al_sector(&self) -> u64 {
        self.relative(self.al_offset)
    }

    /// First sector of the bitmap.
    pub fn bitmap_sector(&self) -> u64 {
        self.relative(self.bm_offset)
    }

    /// Sector of the block for a transaction number.
    pub fn transaction_sector(&self, number: u32) -> u64 {
        self.al_sector() + self.geometry.ring_block(number) * 8
    }

    /// Largest size of the replicated device in sectors (section 2.1); `data_sectors` is the data device's.
    pub fn usable_sectors(&self, index: Index, data_sectors: u64) -> u64 {
        let limit = match index {
            Index::Internal => self.bitmap_sector(),
            _ => data_sectors.min(self.bitmap_sectors.saturating_mul(SECTORS_PER_BITMAP_SECTOR)),
        };
        limit.min(MAX_DEVICE_SECTORS)
    }
}

/// The size both nodes agree on (metadata.md 2.1, behaviour.md SZ-2), in sectors; 0 for unknown.
/// `own` is this node's usable size, `peer` the peer's, `last` the one in the superblock, `user` the administrator's limit.
/// The second value says whether `user` was too large and ignored.
pub fn agreed_size(own: u64, peer: u64, last: u64, user: u64) -> (u64, bool) {
    let smaller = |a: u64, b: u64| if b == 0 { a } else { a.min(b) };
    let size = if own != 0 && peer != 0 {
        own.min(peer)
    } else if last != 0 {
        smaller(smaller(last, own), peer)
    } else if own != 0 {
        own
    } else {
        peer
    };
    if user == 0 {
        (size, false)
    } else if user <= size {
        (user, false)
    } else {
        (size, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_the_reference_table() {
        let default = Geometry::default();
        let striped = |stripes: u32, kib: u32| Geometry { stripes, stripe_size_4k: kib / 4 };
        let rows: [(u64, Index, Geometry, u64, u64, u64); 14] = [
            (8388608, Index::Internal, default, 8384512, 8351744, 8347648),
            (67108864, Index::Internal, default, 67104768, 67072000, 67067904),
            (67111424, Index::Internal, default, 67104768, 67072000, 67067904),
            (134217728, Index::Internal, default, 134213632, 134180864, 134176768),
            (134221824, Index::Internal, default, 134217728, 134184960, 134176768),
            (1073741824, Index::Internal, default, 1073737728, 1073704960, 1073672192),
            (1074139648, Index::Internal, default, 1074135040, 1074102272, 1074065408),
            (1099511627776, Index::Internal, default, 1099511623680, 1099511590912, 1099478036480),
            (67108864, Index::Internal, striped(4, 32), 67104768, 66973696, 66969600),
            (67108864, Index::Internal, striped(3, 20), 67104768, 67043328, 67039232),
            (1048576, Index::FlexibleExternal, default, 0, 4096, 36864),
            (1048576, Index::FlexibleExternal, striped(4, 16), 0, 4096, 69632),
            (268435456, Index::Slot(1), default, 134217728, 134221824, 134254592),
            (536870912, Index::Slot(3), default, 402653184, 402657280, 402690048),
        ];
        for (bytes, index, geometry, superblock, log, bitmap) in rows {
            let layout = Layout::compute(index, bytes / 512, geometry).unwrap();
            let got = (layout.superblock * 512, layout.al_sector() * 512, layout.bitmap_sector() * 512);
            assert_eq!(got, (superblock, log, bitmap), "{bytes} {index:?}");
        }
    }

    #[test]
    fn the_agreed_size_never_exceeds_what_a_known_node_has() {
        assert_eq!(agreed_size(100, 80, 90, 0), (80, false));
        assert_eq!(agreed_size(100, 0, 90, 0), (90, false));
        assert_eq!(agreed_size(70, 0, 90, 0), (70, false));
        assert_eq!(agreed_size(0, 60, 0, 0), (60, false));
        assert_eq!(agreed_size(100, 80, 0, 50), (50, false));
        assert_eq!(agreed_size(100, 80, 0, 90), (80, true));
    }

    #[test]
    fn striping_spreads_the_ring() {
        let geometry = Geometry { stripes: 4, stripe_size_4k: 4 };
        let blocks: Vec<u64> = (0..5).map(|number| geometry.ring_block(number)).collect();
        assert_eq!(blocks, [0, 4, 8, 12, 1]);
        assert_eq!(Geometry::default().max_slots(), 6433);
    }
}
