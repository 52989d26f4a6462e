// SPDX-License-Identifier: GPL-2.0
//! The codecs of `drbd_core::md` on every recorded metadata area (fixtures/metadata): fields, bytes,
//! layouts, the replay of the activity log, and what the kernel accepts.

use drbd_core::md::log_block::{self, Kind, RingError};
use drbd_core::md::superblock::MAGIC_UNCLEAN;
use drbd_core::md::{flags, Geometry, Index, Layout, MetaDataError, Superblock, BLOCK_BYTES};
use drbd_tests::fixture;
use serde_json::Value;
use std::fs;
use std::path::Path;

struct Case {
    name: String,
    facts: Value,
    before: Vec<u8>,
    after: Option<Vec<u8>>,
}

fn unpack(path: &Path) -> Option<Vec<u8>> {
    let packed = fs::read(path).ok()?;
    let mut bytes = Vec::new();
    lzma_rs::xz_decompress(&mut &packed[..], &mut bytes).expect("xz");
    Some(bytes)
}

fn cases(groups: &[&str]) -> Vec<Case> {
    let mut cases = Vec::new();
    for group in groups {
        let folder = fixture("metadata").join(group);
        for entry in fs::read_dir(&folder).expect("fixtures").flatten() {
            let facts = fs::read_to_string(entry.path().join("facts.json")).expect("facts");
            cases.push(Case {
                name: format!("{group}/{}", entry.file_name().to_string_lossy()),
                facts: serde_json::from_str(&facts).expect("json"),
                before: unpack(&entry.path().join("meta.bin.xz")).expect("area"),
                after: unpack(&entry.path().join("meta-after.bin.xz")),
            });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() > 10);
    cases
}

impl Case {
    fn number(&self, key: &str) -> u64 {
        self.facts[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{}: {key}", self.name))
    }

    fn index(&self) -> Index {
        match &self.facts["index"] {
            Value::String(name) if name == "internal" => Index::Internal,
            Value::String(name) if name == "flex-external" => Index::FlexibleExternal,
            Value::String(slot) => Index::Slot(slot.parse().expect("slot")),
            slot => Index::Slot(slot.as_u64().expect("slot") as u32),
        }
    }

    fn sectors(&self) -> u64 {
        self.number("md_device_size") / 512
    }

    /// Byte offset of the superblock; areas that the tool refused have it at the place for their size.
    fn md_offset(&self) -> u64 {
        let recorded = self.facts["md_offset"].as_u64();
        recorded.unwrap_or_else(|| Superblock::sector(self.index(), self.sectors()) * 512)
    }

    /// Bytes at an offset of the device.
    fn at<'a>(&self, area: &'a [u8], device_offset: u64, length: usize) -> &'a [u8] {
        let start = (device_offset - self.number("region_offset")) as usize;
        &area[start..start + length]
    }

    fn superblock(&self, area: &[u8]) -> Superblock {
        Superblock::decode(self.at(area, self.md_offset(), BLOCK_BYTES))
    }

    /// The layout that the superblock claims.
    fn claimed(&self, superblock: &Superblock) -> (Geometry, u64) {
        let geometry = superblock.geometry().expect("stripes");
        let start = self
            .md_offset()
            .wrapping_add_signed(i64::from(superblock.al_offset) * 512);
        (geometry, start)
    }
}

fn hex(value: &Value) -> u64 {
    let text = value.as_str().expect("hex text");
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("hex")
}

#[test]
fn superblocks_decode_to_the_recorded_fields_and_encode_to_the_same_bytes() {
    for case in cases(&["real", "created", "crafted"]) {
        let decoded = case.superblock(&case.before);
        let mut block = vec![0xaa; BLOCK_BYTES];
        decoded.encode(&mut block);
        assert_eq!(
            block,
            case.at(&case.before, case.md_offset(), BLOCK_BYTES),
            "{}",
            case.name
        );
        let facts = &case.facts["before"];
        if facts.is_null() {
            continue;
        }
        let history = facts["history_uuids"].as_array().expect("list");
        let uuids = [
            hex(&facts["current_uuid"]),
            hex(&facts["bitmap_uuid"]),
            hex(&history[0]),
            hex(&history[1]),
        ];
        let wanted = [
            (decoded.la_size, facts["la_size_sect"].as_u64()),
            (decoded.device_uuid, Some(hex(&facts["device_uuid"]))),
            (u64::from(decoded.flags), Some(hex(&facts["flags"]))),
            (u64::from(decoded.magic), Some(hex(&facts["magic"]))),
            (u64::from(decoded.md_size), facts["md_size_sect"].as_u64()),
            (
                u64::from(decoded.al_extents),
                facts["al_nr_extents"].as_u64(),
            ),
            (
                u64::from(decoded.bytes_per_bit),
                facts["bm_bytes_per_bit"].as_u64(),
            ),
            (
                u64::from(decoded.peer_max_bio_bytes),
                facts["la_peer_max_bio_size"].as_u64(),
            ),
            (u64::from(decoded.al_stripes), facts["al_stripes"].as_u64()),
            (
                u64::from(decoded.al_stripe_size_4k),
                facts["al_stripe_size_4k"].as_u64(),
            ),
        ];
        assert_eq!(decoded.uuids.to_array(), uuids, "{}", case.name);
        for (field, (got, want)) in wanted.into_iter().enumerate() {
            assert_eq!(Some(got), want, "{} field {field}", case.name);
        }
        assert_eq!(
            Some(i64::from(decoded.al_offset)),
            facts["al_offset"].as_i64(),
            "{}",
            case.name
        );
        assert_eq!(
            Some(i64::from(decoded.bm_offset)),
            facts["bm_offset"].as_i64(),
            "{}",
            case.name
        );
    }
}

#[test]
fn the_layout_of_a_device_is_the_one_that_was_recorded() {
    for case in cases(&["real", "created"]) {
        let superblock = case.superblock(&case.before);
        let (geometry, log) = case.claimed(&superblock);
        let layout = Layout::compute(case.index(), case.sectors(), geometry).expect("fits");
        assert_eq!(layout.superblock * 512, case.md_offset(), "{}", case.name);
        assert_eq!(layout.al_sector() * 512, log, "{}", case.name);
        assert_eq!(
            (layout.al_offset, layout.bm_offset),
            (superblock.al_offset, superblock.bm_offset),
            "{}",
            case.name
        );
        assert_eq!(
            layout.md_size,
            u64::from(superblock.md_size),
            "{}",
            case.name
        );
        assert_eq!(
            Superblock::sector(case.index(), case.sectors()),
            layout.superblock,
            "{}",
            case.name
        );
    }
}

#[test]
fn fresh_metadata_has_the_bytes_that_create_md_left() {
    for case in cases(&["created"]) {
        let stored = case.superblock(&case.before);
        let (geometry, log) = case.claimed(&stored);
        let layout = Layout::compute(case.index(), case.sectors(), geometry).expect("fits");
        let mut fresh = Superblock::fresh(&layout);
        fresh.peer_max_bio_bytes = stored.peer_max_bio_bytes;
        assert_eq!(fresh, stored, "{}", case.name);
        let mut block = vec![0u8; BLOCK_BYTES];
        log_block::encode_initialized(&mut block);
        for number in 0..geometry.blocks() {
            assert_eq!(
                block,
                case.at(&case.before, log + number * 4096, BLOCK_BYTES),
                "{}",
                case.name
            );
        }
        assert_eq!(
            stored.validate(case.index(), case.sectors()),
            Ok(layout),
            "{}",
            case.name
        );
    }
}

/// Whether the area has a ring of 8.4 that the facts describe.
fn has_ring(case: &Case) -> bool {
    let named = |part: &str| case.name.ends_with(part);
    case.facts["before"]["al_blocks"].is_array() && !named("v83-old-al") && !named("v83-clean")
}

#[test]
fn every_block_of_the_log_is_what_was_recorded() {
    let mut seen = 0;
    for case in cases(&["real", "created", "crafted"])
        .iter()
        .filter(|case| has_ring(case))
    {
        let (geometry, start) = case.claimed(&case.superblock(&case.before));
        let blocks = case.facts["before"]["al_blocks"].as_array().expect("list");
        assert_eq!(blocks.len() as u64, geometry.blocks(), "{}", case.name);
        for block in blocks {
            let position = block["seq"].as_u64().expect("position") as u32;
            let place = geometry.ring_block(position);
            assert_eq!(Some(place), block["disk_block"].as_u64(), "{}", case.name);
            let kind = log_block::kind(case.at(&case.before, start + place * 4096, BLOCK_BYTES));
            let wanted = match (block["valid"].as_bool(), block["type"].as_u64()) {
                (Some(true), Some(0xffff)) => Kind::Initialized,
                (Some(true), _) => {
                    Kind::Update(block["tr_number"].as_u64().expect("number") as u32)
                }
                _ => Kind::Invalid,
            };
            assert_eq!(kind, wanted, "{} position {position}", case.name);
            seen += 1;
        }
    }
    assert!(seen > 300, "{seen}");
}

/// The extents that the log names, by the rules of metadata.md 6.4.
fn replay(case: &Case, area: &[u8]) -> Result<Vec<u32>, RingError> {
    let (geometry, start) = case.claimed(&case.superblock(area));
    let block = |position: u32| {
        case.at(
            area,
            start + geometry.ring_block(position) * 4096,
            BLOCK_BYTES,
        )
    };
    let ring = log_block::survey(&geometry, |position| log_block::kind(block(position)))?;
    let mut slots = vec![u32::MAX; log_block::MAX_SLOTS];
    for position in ring.positions(&geometry) {
        if let Kind::Update(_) = log_block::kind(block(position)) {
            log_block::apply(block(position), &mut slots);
        }
    }
    let mut active: Vec<u32> = slots
        .into_iter()
        .filter(|extent| *extent != u32::MAX)
        .collect();
    active.sort_unstable();
    active.dedup();
    Ok(active)
}

#[test]
fn the_replay_finds_the_recorded_extents() {
    let mut extents = 0;
    for case in cases(&["real", "crafted"])
        .iter()
        .filter(|case| has_ring(case))
    {
        let wanted: Vec<u32> = case.facts["before"]["active_extents"]
            .as_array()
            .map(|list| {
                list.iter()
                    .filter_map(Value::as_u64)
                    .map(|extent| extent as u32)
                    .collect()
            })
            .unwrap_or_default();
        let name = case.name.rsplit('/').next().unwrap_or_default();
        match replay(case, &case.before) {
            Ok(active) => assert_eq!(active, wanted, "{}", case.name),
            Err(RingError::NoData) => assert!(name.starts_with("al-zero"), "{}", case.name),
            Err(RingError::Invalid) => assert!(
                ["al-second-bad", "al-two-bad"].contains(&name),
                "{}",
                case.name
            ),
        }
        extents += wanted.len();
    }
    assert!(extents > 200, "{extents}");
}

#[test]
fn the_kernel_takes_metadata_only_after_apply_al() {
    for case in cases(&["real", "crafted"]) {
        let before = case.superblock(&case.before);
        let verdict = before.validate(case.index(), case.sectors());
        if before.magic == MAGIC_UNCLEAN
            || case.name.ends_with("v83-clean")
            || case.name.ends_with("v83-old-al")
        {
            assert_eq!(verdict, Err(MetaDataError::Unclean), "{}", case.name);
        }
        let Some(after) = case
            .after
            .as_ref()
            .filter(|_| case.facts["apply_al_exit"].as_i64() == Some(0))
        else {
            continue;
        };
        let after = case.superblock(after);
        match after.validate(case.index(), case.sectors()) {
            Ok(layout) => {
                assert_ne!(after.flags & flags::AL_CLEAN, 0, "{}", case.name);
                assert_eq!(layout.superblock * 512, case.md_offset(), "{}", case.name);
            }
            Err(error) => assert!(
                case.name.ends_with("la-too-big"),
                "{}: {error:?}",
                case.name
            ),
        }
    }
}

#[test]
fn apply_al_sets_exactly_the_bits_of_the_recorded_extents() {
    for case in cases(&["real", "crafted"])
        .iter()
        .filter(|case| has_ring(case))
    {
        let Some(after) = case
            .after
            .as_ref()
            .filter(|_| case.facts["apply_al_exit"].as_i64() == Some(0))
        else {
            continue;
        };
        let superblock = case.superblock(&case.before);
        let start = case
            .md_offset()
            .wrapping_add_signed(i64::from(superblock.bm_offset) * 512);
        let sectors = superblock.la_size.min(case.sectors());
        let length = (superblock.la_size.min(1 << 32).div_ceil(8).div_ceil(64) * 8).div_ceil(4096)
            as usize
            * 4096;
        if superblock.la_size > sectors && case.index().is_internal() {
            continue;
        }
        let mut bitmap = case.at(&case.before, start, length).to_vec();
        if superblock.flags & flags::PRIMARY != 0 {
            for extent in replay(case, &case.before).unwrap_or_default() {
                let from = (extent as usize * 128).min(length);
                bitmap[from..(from + 128).min(length)].fill(0xff);
            }
        }
        assert_eq!(bitmap, case.at(after, start, length), "{}", case.name);
    }
}
