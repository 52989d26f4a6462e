// SPDX-License-Identifier: GPL-2.0
//! Properties of the metadata codecs that hold for any input, tried on many that a fixed seed makes.

use drbd_core::md::layout::{agreed_size, SLOT_SECTORS};
use drbd_core::md::log_block::{self, Kind};
use drbd_core::md::superblock::{MAGIC_CLEAN, MAGIC_UNCLEAN};
use drbd_core::md::{crc32c, flags, Geometry, Index, Layout, Superblock, Uuids, BLOCK_BYTES};

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Small, large and extreme numbers alike.
    fn any(&mut self) -> u64 {
        let shift = self.below(65);
        let value = if shift == 64 { 0 } else { self.next() >> shift };
        if self.below(8) == 0 {
            !value
        } else {
            value
        }
    }
}

fn any_superblock(dice: &mut Dice) -> Superblock {
    let magics = [MAGIC_CLEAN, MAGIC_CLEAN, MAGIC_UNCLEAN, dice.any() as u32];
    Superblock {
        la_size: dice.any(),
        uuids: Uuids::from_array([dice.any(), dice.any(), dice.any(), dice.any()]),
        device_uuid: dice.any(),
        flags: dice.any() as u32,
        magic: magics[dice.below(4) as usize],
        md_size: dice.any() as u32,
        al_offset: dice.any() as i32,
        al_extents: dice.any() as u32,
        bm_offset: dice.any() as i32,
        bytes_per_bit: if dice.below(4) == 0 {
            dice.any() as u32
        } else {
            4096
        },
        peer_max_bio_bytes: dice.any() as u32,
        al_stripes: dice.any() as u32,
        al_stripe_size_4k: dice.any() as u32,
    }
}

#[test]
fn any_superblock_survives_encoding() {
    let mut dice = Dice(1);
    let mut block = [0u8; BLOCK_BYTES];
    for _ in 0..20_000 {
        let superblock = any_superblock(&mut dice);
        superblock.encode(&mut block);
        assert_eq!(Superblock::decode(&block), superblock);
        assert!(block[96..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn what_is_accepted_lies_within_the_device_and_does_not_overlap() {
    let mut dice = Dice(2);
    let mut accepted = 0;
    for _ in 0..300_000 {
        let sectors = 2048 + dice.any() % (1 << 42);
        let index = [
            Index::Internal,
            Index::FlexibleExternal,
            Index::Slot(dice.below(4) as u32),
        ][dice.below(3) as usize];
        let geometry = Geometry {
            stripes: 1 + dice.below(4) as u32,
            stripe_size_4k: 8 + dice.below(8) as u32,
        };
        let mut superblock = any_superblock(&mut dice);
        if let Some(layout) = Layout::compute(index, sectors, geometry) {
            let good = Superblock::fresh(&layout);
            superblock = Superblock {
                flags: flags::AL_CLEAN,
                la_size: superblock.la_size,
                ..good
            };
            match dice.below(6) {
                0 => {
                    superblock.al_offset =
                        superblock.al_offset.wrapping_add(dice.any() as i32 % 200)
                }
                1 => {
                    superblock.bm_offset =
                        superblock.bm_offset.wrapping_add(dice.any() as i32 % 2000)
                }
                2 => superblock.md_size = superblock.md_size.wrapping_add(dice.any() as u32 % 2000),
                3 => superblock.al_stripes = dice.any() as u32,
                _ => {}
            }
        }
        let Ok(layout) = superblock.validate(index, sectors) else {
            continue;
        };
        accepted += 1;
        let log = (
            layout.al_sector(),
            layout.al_sector() + layout.geometry.sectors(),
        );
        let bitmap = (
            layout.bitmap_sector(),
            layout.bitmap_sector() + layout.bitmap_sectors,
        );
        let own = (layout.superblock, layout.superblock + 8);
        let mut parts = [log, bitmap, own];
        parts.sort_unstable();
        assert!(
            parts[0].1 <= parts[1].0 && parts[1].1 <= parts[2].0,
            "{superblock:?} {layout:?}"
        );
        assert!(parts[2].1 <= sectors, "{superblock:?} {layout:?} {sectors}");
    }
    assert!(accepted > 10_000, "{accepted}");
}

#[test]
fn computed_layouts_are_aligned_complete_and_accepted() {
    let mut dice = Dice(3);
    let mut seen = 0;
    for _ in 0..100_000 {
        let sectors = 2048 + dice.any() % (1 << 41);
        let slot = dice.below(256) as u32;
        let index =
            [Index::Internal, Index::FlexibleExternal, Index::Slot(slot)][dice.below(3) as usize];
        let geometry = match index {
            Index::Slot(_) => Geometry::default(),
            _ => Geometry {
                stripes: 1 + dice.below(64) as u32,
                stripe_size_4k: 8 + dice.below(100) as u32,
            },
        };
        let Some(layout) = Layout::compute(index, sectors, geometry) else {
            assert!(
                sectors < 200_000 || sectors < (u64::from(slot) + 1) * SLOT_SECTORS,
                "{index:?} {sectors}"
            );
            continue;
        };
        seen += 1;
        let log = layout.al_sector() as i128 - layout.superblock as i128;
        assert_eq!(
            layout.bitmap_sector() % 8 + layout.al_sector() % 8 + layout.superblock % 8,
            0
        );
        match index {
            Index::Internal => {
                assert_eq!(
                    layout.bitmap_sector() + layout.bitmap_sectors,
                    layout.al_sector()
                );
                assert_eq!(-log, geometry.sectors() as i128);
                assert!(
                    layout.bitmap_sectors * 32_768 >= sectors,
                    "the bitmap covers the whole device"
                );
                assert_eq!(layout.superblock, sectors / 8 * 8 - 8);
            }
            _ => {
                assert_eq!(log, 8);
                assert_eq!(
                    layout.bitmap_sector(),
                    layout.al_sector() + geometry.sectors()
                );
            }
        }
        if u32::try_from(layout.md_size).is_ok() {
            let fresh = Superblock::fresh(&layout);
            assert_eq!(
                fresh.validate(index, sectors),
                Ok(layout),
                "{index:?} {sectors}"
            );
        }
    }
    assert!(seen > 20_000, "{seen}");
}

/// The ring: each position has a block of its own.
#[test]
fn ring_positions_and_blocks_are_one_to_one() {
    for stripes in 1..9 {
        for stripe_size_4k in 1..20 {
            let geometry = Geometry {
                stripes,
                stripe_size_4k,
            };
            let blocks = geometry.blocks() as u32;
            let mut places: Vec<u64> = (0..blocks)
                .map(|number| geometry.ring_block(number))
                .collect();
            places.sort_unstable();
            assert!(
                places.iter().copied().eq(0..u64::from(blocks)),
                "{geometry:?}"
            );
            assert_eq!(geometry.ring_block(blocks), geometry.ring_block(0));
        }
    }
}

fn sealed(dice: &mut Dice) -> Vec<u8> {
    let mut block: Vec<u8> = (0..BLOCK_BYTES).map(|_| dice.next() as u8).collect();
    block[..4].copy_from_slice(&0x69cb_65a2u32.to_be_bytes());
    block[12..14].copy_from_slice(&(dice.below(2) as u16).to_be_bytes());
    block[8..12].fill(0);
    let sum = crc32c(0, &block);
    block[8..12].copy_from_slice(&sum.to_be_bytes());
    block
}

#[test]
fn a_flipped_bit_anywhere_makes_a_block_of_the_log_invalid() {
    let mut dice = Dice(4);
    let mut block = sealed(&mut dice);
    assert!(matches!(log_block::kind(&block), Kind::Update(_)));
    for bit in 0..BLOCK_BYTES * 8 {
        block[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(log_block::kind(&block), Kind::Invalid, "bit {bit}");
        block[bit / 8] ^= 1 << (bit % 8);
    }
    for length in [0, 1, 11, 12, 4095] {
        assert_eq!(log_block::kind(&block[..length]), Kind::Invalid);
    }
}

#[test]
fn hostile_transactions_with_a_good_checksum_only_touch_slots_that_exist() {
    let mut dice = Dice(5);
    for slots in [0, 1, 67, 919, 65_534] {
        let mut table = vec![u32::MAX; slots];
        for _ in 0..200 {
            log_block::apply(&sealed(&mut dice), &mut table);
        }
    }
    let mut table = vec![u32::MAX; 10];
    log_block::apply(&[], &mut table);
}

#[test]
fn a_survey_names_positions_within_the_ring_whatever_the_numbers() {
    let mut dice = Dice(6);
    for _ in 0..20_000 {
        let geometry = Geometry {
            stripes: 1 + dice.below(4) as u32,
            stripe_size_4k: 2 + dice.below(9) as u32,
        };
        let blocks = geometry.blocks();
        let kinds: Vec<Kind> = (0..blocks)
            .map(|_| match dice.below(4) {
                0 => Kind::Invalid,
                1 => Kind::Initialized,
                _ => Kind::Update(dice.any() as u32),
            })
            .collect();
        let Ok(ring) = log_block::survey(&geometry, |position| kinds[position as usize]) else {
            continue;
        };
        let positions: Vec<u32> = ring.positions(&geometry).collect();
        assert!(positions.len() as u64 <= blocks);
        assert!(positions
            .iter()
            .all(|position| u64::from(*position) < blocks));
        if let Some((oldest, newest)) = ring.span {
            assert_eq!(
                (positions.first(), positions.last()),
                (Some(&oldest), Some(&newest))
            );
        }
    }
}

#[test]
fn the_agreed_size_fits_every_node_that_is_known() {
    let mut dice = Dice(7);
    for _ in 0..100_000 {
        let (own, peer, last, user) = (dice.any(), dice.any(), dice.any(), dice.any());
        let (size, ignored) = agreed_size(own, peer, last, user);
        for known in [own, peer] {
            assert!(known == 0 || size <= known, "{own} {peer} {last} {user}");
        }
        assert!(ignored || user == 0 || size == user);
        assert_eq!(size == 0, own == 0 && peer == 0 && last == 0);
    }
}
