// SPDX-License-Identifier: GPL-2.0
//! The superblock (metadata.md sections 3 and 5).

use super::layout::{Geometry, Index, Layout, MIN_DEVICE_SECTORS, SLOT_SECTORS};
use super::uuids::Uuids;
use super::{put32, put64, BLOCK_BYTES};
use crate::wire::{be32, be64};

/// Magic of 8.0 to 8.3, and of 8.4 after the tool has cleaned it.
pub const MAGIC_CLEAN: u32 = 0x8374_026b;
/// Magic the 8.4 kernel writes.
pub const MAGIC_UNCLEAN: u32 = 0x8374_026c;
/// Magic of 0.7.
pub const MAGIC_07: u32 = 0x8374_026a;

/// Flag bits.
pub mod flags {
    /// Data is consistent.
    pub const CONSISTENT: u32 = 0x001;
    /// The node was Primary.
    pub const PRIMARY: u32 = 0x002;
    /// The node was connected.
    pub const CONNECTED: u32 = 0x004;
    /// All bits have to be set.
    pub const FULL_SYNC: u32 = 0x008;
    /// Data was up to date.
    pub const WAS_UP_TO_DATE: u32 = 0x010;
    /// The peer was outdated or inconsistent.
    pub const PEER_OUTDATED: u32 = 0x020;
    /// The node crashed as Primary.
    pub const CRASHED_PRIMARY: u32 = 0x040;
    /// The activity log is clean; only user space sets it.
    pub const AL_CLEAN: u32 = 0x080;
    /// The activity log was not kept.
    pub const AL_DISABLED: u32 = 0x100;

    /// The flags while metadata is being moved or sized anew (metadata.md 8.4, step 2): neither bitmap nor log can be relied on. A
    /// Primary is marked as one that has crashed: the same to an attach, but `apply-al` then does not insist on a log that may not be there yet.
    pub const fn while_moving(flags: u32) -> u32 {
        let crashed = if flags & PRIMARY != 0 { CRASHED_PRIMARY } else { 0 };
        flags & !PRIMARY | crashed | FULL_SYNC | AL_DISABLED
    }
}

/// The fields of a superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Superblock {
    /// Last agreed size in sectors; 0: never attached.
    pub la_size: u64,
    /// Generations.
    pub uuids: Uuids,
    /// Identity of the device.
    pub device_uuid: u64,
    /// See [`flags`].
    pub flags: u32,
    /// Magic.
    pub magic: u32,
    /// Sectors of all metadata.
    pub md_size: u32,
    /// Activity log, sectors from the superblock.
    pub al_offset: i32,
    /// Slots of the activity log of the driver that wrote it.
    pub al_extents: u32,
    /// Bitmap, sectors from the superblock.
    pub bm_offset: i32,
    /// Bytes per bit; 4096.
    pub bytes_per_bit: u32,
    /// Last limit of the peer, bytes.
    pub peer_max_bio_bytes: u32,
    /// Stripes of the activity log as stored; 0 together with the next: 1 and 8.
    pub al_stripes: u32,
    /// Blocks of 4 KiB per stripe as stored.
    pub al_stripe_size_4k: u32,
}

/// Why metadata is refused (metadata.md 5.1). The disk, or whoever prepared it, is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetaDataError {
    /// The activity log was not applied: code 165.
    Unclean,
    /// Magic of 0.7: code 119.
    OldMagic,
    /// No magic: code 119.
    NoMagic {
        /// What stands there.
        got: u32,
    },
    /// Unexpected bytes per bit: code 119.
    BytesPerBit {
        /// What stands there.
        got: u32,
    },
    /// Impossible striping: code 119.
    Striping {
        /// Stripes.
        stripes: u32,
        /// Blocks per stripe.
        stripe_size_4k: u32,
    },
    /// Offsets that do not fit together: code 119.
    Offsets,
    /// The metadata device is too small: code 112.
    DeviceTooSmall {
        /// Sectors needed.
        needed: u64,
    },
}

impl MetaDataError {
    /// The return code for user space (netlink-and-tools.md section 6).
    pub const fn code(self) -> i32 {
        match self {
            MetaDataError::Unclean => 165,
            MetaDataError::DeviceTooSmall { .. } => 112,
            _ => 119,
        }
    }
}

impl Superblock {
    /// Decodes; nothing is checked.
    pub fn decode(block: &[u8]) -> Self {
        let word = |at| be32(block, at);
        Self {
            la_size: be64(block, 0),
            uuids: Uuids::from_array([be64(block, 8), be64(block, 16), be64(block, 24), be64(block, 32)]),
            device_uuid: be64(block, 40),
            flags: word(56),
            magic: word(60),
            md_size: word(64),
            al_offset: word(68) as i32,
            al_extents: word(72),
            bm_offset: word(76) as i32,
            bytes_per_bit: word(80),
            peer_max_bio_bytes: word(84),
            al_stripes: word(88),
            al_stripe_size_4k: word(92),
        }
    }

    /// Encodes over the whole block (4096 bytes).
    pub fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        put64(block, 0, self.la_size);
        for (at, uuid) in [8, 16, 24, 32].into_iter().zip(self.uuids.to_array()) {
            put64(block, at, uuid);
        }
        put64(block, 40, self.device_uuid);
        let words = [
            self.flags,
            self.magic,
            self.md_size,
            self.al_offset as u32,
            self.al_extents,
            self.bm_offset as u32,
            self.bytes_per_bit,
            self.peer_max_bio_bytes,
            self.al_stripes,
            self.al_stripe_size_4k,
        ];
        for (index, value) in words.into_iter().enumerate() {
            put32(block, 56 + 4 * index, value);
        }
    }

    /// What create-md writes for a layout.
    pub fn fresh(layout: &Layout) -> Self {
        Self {
            uuids: Uuids { current: super::uuids::JUST_CREATED, ..Uuids::default() },
            flags: flags::AL_CLEAN,
            magic: MAGIC_CLEAN,
            md_size: u32::try_from(layout.md_size).unwrap_or(u32::MAX),
            al_offset: layout.al_offset,
            al_extents: 257,
            bm_offset: layout.bm_offset,
            bytes_per_bit: BLOCK_BYTES as u32,
            al_stripes: layout.geometry.stripes,
            al_stripe_size_4k: layout.geometry.stripe_size_4k,
            ..Self::default()
        }
    }

    /// The stripes, with 0/0 read as 1/8. `None`: exactly one of them is 0, or out of range.
    pub fn geometry(&self) -> Option<Geometry> {
        let geometry = match (self.al_stripes, self.al_stripe_size_4k) {
            (0, 0) => Geometry::default(),
            (stripes, stripe_size_4k) => Geometry { stripes, stripe_size_4k },
        };
        geometry.is_valid().then_some(geometry)
    }

    /// Sector of the superblock on a metadata device, before anything is known about it.
    pub fn sector(index: Index, device_sectors: u64) -> u64 {
        match index {
            Index::Internal => (device_sectors & !7).saturating_sub(8),
            Index::FlexibleExternal => 0,
            Index::Slot(slot) => u64::from(slot).saturating_mul(SLOT_SECTORS),
        }
    }

    /// What the kernel checks at attach, in its order; gives the layout in force.
    pub fn validate(&self, index: Index, device_sectors: u64) -> Result<Layout, MetaDataError> {
        match self.magic {
            MAGIC_UNCLEAN => return Err(MetaDataError::Unclean),
            MAGIC_CLEAN if self.flags & flags::AL_CLEAN == 0 => return Err(MetaDataError::Unclean),
            MAGIC_CLEAN => {}
            MAGIC_07 => return Err(MetaDataError::OldMagic),
            got => return Err(MetaDataError::NoMagic { got }),
        }
        if self.bytes_per_bit != BLOCK_BYTES as u32 {
            return Err(MetaDataError::BytesPerBit { got: self.bytes_per_bit });
        }
        let geometry = self
            .geometry()
            .ok_or(MetaDataError::Striping { stripes: self.al_stripes, stripe_size_4k: self.al_stripe_size_4k })?;
        let layout = self.layout(index, device_sectors, geometry).ok_or(MetaDataError::Offsets)?;
        let needed = match index {
            Index::Slot(slot) => SLOT_SECTORS.saturating_mul(u64::from(slot) + 1),
            _ => MIN_DEVICE_SECTORS,
        };
        if device_sectors < needed {
            return Err(MetaDataError::DeviceTooSmall { needed });
        }
        Ok(layout)
    }

    /// The offset rules 1 to 6 of metadata.md 5.1.
    fn layout(&self, index: Index, device_sectors: u64, geometry: Geometry) -> Option<Layout> {
        let log = i64::try_from(geometry.sectors()).ok()?;
        let (al, bm, size) = (i64::from(self.al_offset), i64::from(self.bm_offset), i64::from(self.md_size));
        let (log_sectors, bitmap_sectors) = if al < 0 {
            (bm <= al).then_some((-al, al - bm))?
        } else {
            (al == 8 && bm >= 8 + log).then_some((bm - 8, size - bm))?
        };
        let fixed = !matches!(index, Index::Slot(_)) || (size == SLOT_SECTORS as i64 && al == 8 && bm == 72 && log == 64);
        let superblock = Self::sector(index, device_sectors);
        let first = superblock.checked_add_signed(if al < 0 { bm } else { 0 })?;
        let room = device_sectors >= u64::from(self.md_size) && device_sectors - u64::from(self.md_size) >= first;
        let log_fits = log_sectors % 8 == 0 && log_sectors >= 64 && log_sectors == log;
        let bitmap_fits = bitmap_sectors >= 0 && bitmap_sectors as u64 >= self.la_size.saturating_add(7) / 8 / 8 / 512;
        (fixed && room && log_fits && bm % 8 == 0 && bitmap_fits).then_some(Layout {
            superblock,
            al_offset: self.al_offset,
            bm_offset: self.bm_offset,
            md_size: u64::from(self.md_size),
            geometry,
            bitmap_sectors: bitmap_sectors as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_superblock_has_the_recorded_bytes() {
        let layout = Layout::compute(Index::Internal, 131072, Geometry::default()).unwrap();
        let mut block = [0u8; BLOCK_BYTES];
        let fresh = Superblock::fresh(&layout);
        fresh.encode(&mut block);
        assert_eq!(block[8..16], [0, 0, 0, 0, 0, 0, 0, 4]);
        assert_eq!(block[56..80], [
            0, 0, 0, 0x80, 0x83, 0x74, 2, 0x6b, 0, 0, 0, 0x50, 0xff, 0xff, 0xff, 0xc0, 0, 0, 1, 1, 0xff, 0xff, 0xff, 0xb8
        ]);
        assert_eq!(Superblock::decode(&block), fresh);
        assert_eq!(fresh.validate(Index::Internal, 131072), Ok(layout));
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let layout = Layout::compute(Index::Internal, 131072, Geometry::default()).unwrap();
        let good = Superblock::fresh(&layout);
        let check = |change: &dyn Fn(&mut Superblock)| {
            let mut bad = good;
            change(&mut bad);
            bad.validate(Index::Internal, 131072).unwrap_err()
        };
        assert_eq!(check(&|s| s.magic = MAGIC_UNCLEAN), MetaDataError::Unclean);
        assert_eq!(check(&|s| s.flags = 0), MetaDataError::Unclean);
        assert_eq!(check(&|s| s.magic = MAGIC_07), MetaDataError::OldMagic);
        assert_eq!(check(&|s| s.magic = 7), MetaDataError::NoMagic { got: 7 });
        assert_eq!(check(&|s| s.bytes_per_bit = 8192), MetaDataError::BytesPerBit { got: 8192 });
        assert_eq!(check(&|s| s.al_stripes = 0), MetaDataError::Striping { stripes: 0, stripe_size_4k: 8 });
        assert_eq!(check(&|s| s.al_offset = -56), MetaDataError::Offsets);
        assert_eq!(check(&|s| s.md_size = 200_000), MetaDataError::Offsets);
        assert_eq!(check(&|s| s.la_size = u64::MAX - 7), MetaDataError::Offsets);
    }
}
