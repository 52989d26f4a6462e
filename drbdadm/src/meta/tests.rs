// SPDX-License-Identifier: GPL-2.0
//! Power cuts: every command leaves metadata that the next one recovers without losing a change.
//!
//! A command runs once and its writes are recorded. Then every state is built that a disk can be
//! in after a cut: all flushed writes, and of the writes since then any that happened to arrive,
//! the sectors of each one separately. On each of them the next command must do its work.

use super::device::{Device, Step};
use super::found::Found;
use super::{perform, relocate, Call, Failure};
use drbd_core::md::{flags, Geometry, Index, Layout, Superblock};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;
/// Crash states per flush.
const VARIANTS: u64 = 6;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A device in a file of its own folder, which also takes the notes about sizes.
struct Bench {
    folder: PathBuf,
    index: Index,
}

impl Bench {
    fn new(name: &str, index: Index) -> Self {
        let folder =
            std::env::temp_dir().join(format!("drbdmeta-cut-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        Self { folder, index }
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    fn put(&self, bytes: u64, parts: &[(u64, &[u8])]) {
        let file = File::create(self.image()).expect("image");
        file.set_len(bytes).expect("size");
        for (at, part) in parts {
            file.write_all_at(part, *at).expect("write");
        }
    }

    fn call(&self, command: &'static str) -> Call {
        Call {
            force: true,
            minor: Some(7),
            path: self.image().display().to_string(),
            index: self.index,
            command,
            modifies: true,
            state_dir: self.folder.clone(),
            lock_dir: self.folder.clone(),
            ..Call::default()
        }
    }

    fn run(&self, command: &'static str) -> Result<Vec<Step>, Failure> {
        let call = self.call(command);
        let device = Device::open(&call)?;
        let trace = device.trace.clone();
        perform(&call, device)?;
        let steps = trace.borrow().clone();
        Ok(steps)
    }

    fn found(&self) -> (Found, Vec<u8>) {
        let device = Device::open(&self.call("get-gi")).expect("opens");
        let found = device.find().expect("valid");
        let bitmap = device
            .read(found.bitmap_start(), found.bitmap_bytes() as usize)
            .expect("bitmap");
        (found, bitmap)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The writes that arrived, for every cut that is tried.
fn cuts(trace: &[Step], seed: u64) -> Vec<Vec<(u64, Vec<u8>)>> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut durable: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut pending: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut states = Vec::new();
    for step in trace {
        match step {
            Step::Write(at, bytes) => pending.push((*at, bytes.clone())),
            Step::Flush => {
                for _ in 0..VARIANTS {
                    let mut state = durable.clone();
                    pending
                        .iter()
                        .for_each(|write| state.extend(torn(write, &mut dice)));
                    states.push(state);
                }
                durable.append(&mut pending);
            }
        }
    }
    states.push(durable);
    assert!(pending.is_empty(), "every command ends with a flush");
    states
}

/// Sectors of a write that arrived: a part in front, a part behind, or any.
fn torn((at, bytes): &(u64, Vec<u8>), dice: &mut Dice) -> Vec<(u64, Vec<u8>)> {
    let sectors: Vec<&[u8]> = bytes.chunks(SECTOR).collect();
    let edge = dice.roll(sectors.len() as u64 + 1) as usize;
    let kind = dice.roll(4);
    let mut arrived = Vec::new();
    for (number, sector) in sectors.iter().enumerate() {
        let there = match kind {
            0 => number < edge,
            1 => number >= edge,
            2 => dice.roll(2) == 0,
            _ => edge % 2 == 0,
        };
        if there {
            arrived.push((at + (number * SECTOR) as u64, sector.to_vec()));
        }
    }
    arrived
}

fn covers(bits: &[u8], wanted: &[u8]) -> bool {
    wanted
        .iter()
        .enumerate()
        .all(|(at, byte)| byte & !bits.get(at).copied().unwrap_or(0) == 0)
}

struct Case {
    name: String,
    facts: Value,
    area: Vec<u8>,
}

fn cases(group: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/metadata")
        .join(group);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("fixtures")
        .flatten()
        .map(|e| e.path())
        .collect();
    paths.sort();
    let read = |path: &Path| {
        let facts = fs::read_to_string(path.join("facts.json")).expect("facts");
        let mut area = Vec::new();
        let packed = fs::read(path.join("meta.bin.xz")).expect("area");
        lzma_rs::xz_decompress(&mut &packed[..], &mut area).expect("xz");
        Case {
            name: path
                .file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned(),
            facts: serde_json::from_str(&facts).expect("json"),
            area,
        }
    };
    paths.iter().map(|path| read(path)).collect()
}

impl Case {
    fn number(&self, key: &str) -> u64 {
        self.facts[key].as_u64().expect("number")
    }

    fn index(&self) -> Index {
        match self.facts["index"].as_str() {
            Some("internal") => Index::Internal,
            Some("flex-external") => Index::FlexibleExternal,
            Some(slot) => Index::Slot(slot.parse().expect("slot")),
            None => Index::Slot(self.facts["index"].as_u64().expect("slot") as u32),
        }
    }

    fn put(&self, bench: &Bench, writes: &[(u64, Vec<u8>)]) {
        let mut parts = vec![(self.number("region_offset"), self.area.as_slice())];
        parts.extend(writes.iter().map(|(at, bytes)| (*at, bytes.as_slice())));
        bench.put(self.number("md_device_size"), &parts);
    }
}

#[test]
fn apply_al_cut_off_anywhere_is_repaired_by_running_it_again() {
    let mut tried = 0;
    for (seed, case) in cases("real")
        .into_iter()
        .chain(cases("crafted"))
        .enumerate()
    {
        if case.facts["apply_al_exit"].as_i64() != Some(0) {
            continue;
        }
        let bench = Bench::new(&case.name, case.index());
        case.put(&bench, &[]);
        let trace = bench.run("apply-al").expect("recovers");
        let (whole, wanted) = bench.found();
        for state in cuts(&trace, seed as u64 + 1) {
            case.put(&bench, &state);
            bench
                .run("apply-al")
                .unwrap_or_else(|failure| panic!("{}: {failure:?}", case.name));
            let (found, bitmap) = bench.found();
            assert!(covers(&bitmap, &wanted), "{}: changes lost", case.name);
            assert_eq!(found.superblock, whole.superblock, "{}", case.name);
            tried += 1;
        }
    }
    assert!(tried > 500, "{tried}");
}

/// Internal metadata of a device of `bytes` with a recognizable bitmap and a replayed log.
fn old_metadata(bench: &Bench, bytes: u64) -> (Vec<(u64, Vec<u8>)>, Vec<u8>) {
    let layout = Layout::compute(Index::Internal, bytes / 512, Geometry::default()).expect("fits");
    let mut superblock = Superblock::fresh(&layout);
    superblock.la_size = layout.bitmap_sector();
    superblock.flags |= flags::CONSISTENT | flags::PRIMARY;
    superblock.device_uuid = 0x1234;
    let found = Found::new(superblock, layout);
    bench.put(bytes, &[]);
    let call = bench.call("create-md");
    let device = Device::open(&call).expect("opens");
    let bitmap: Vec<u8> = (0..found.bitmap_bytes())
        .map(|at| (at * 7 / 3) as u8)
        .collect();
    device
        .write("bitmap", found.bitmap_start(), &bitmap)
        .expect("writes");
    super::ring::initialize(&device, &found).expect("writes");
    device.write_superblock(&found).expect("writes");
    relocate::remember(&call, &device, &found);
    let steps = device.trace.borrow().clone();
    let writes = steps.into_iter().filter_map(|step| match step {
        Step::Write(at, bytes) => Some((at, bytes)),
        Step::Flush => None,
    });
    (writes.collect(), bitmap)
}

#[test]
fn metadata_moves_to_the_new_end_with_bit_0_where_it_was() {
    for grown in [
        4096,
        8192,
        32 << 10,
        36 << 10,
        40 << 10,
        1 << 20,
        64 << 20,
        300 << 20,
    ] {
        let bench = Bench::new(&format!("move-{grown}"), Index::Internal);
        let bytes = (180 << 20) + 512 * 5;
        let (_, bitmap) = old_metadata(&bench, bytes);
        File::options()
            .write(true)
            .open(bench.image())
            .and_then(|f| f.set_len(bytes + grown))
            .expect("grows");
        bench.run("check-resize").expect("moves");
        let (found, moved) = bench.found();
        assert_eq!(moved, bitmap, "grown by {grown}");
        assert_eq!(found.superblock.flags & flags::FULL_SYNC, 0);
        assert_eq!(found.superblock.device_uuid, 0x1234);
        let note = fs::read_to_string(bench.folder.join("drbd-minor-7.lkbd")).expect("note");
        assert_eq!(
            note,
            format!(
                "{}\t{}\nuuid:\t0000000000001234\n",
                bytes + grown,
                bench.image().display()
            )
        );
        bench.run("apply-al").expect("clean");
    }
}

#[test]
fn a_move_cut_off_anywhere_loses_no_change() {
    for (seed, grown) in [4096, 32 << 10, 40 << 10, 48 << 10, 64 << 20]
        .into_iter()
        .enumerate()
    {
        let bench = Bench::new(&format!("cut-{grown}"), Index::Internal);
        let bytes = 180 << 20;
        let (writes, bitmap) = old_metadata(&bench, bytes);
        let note = bench.folder.join("drbd-minor-7.lkbd");
        let noted = fs::read(&note).expect("note");
        let old: Vec<(u64, &[u8])> = writes
            .iter()
            .map(|(at, part)| (*at, part.as_slice()))
            .collect();
        bench.put(bytes + grown, &old);
        let trace = bench.run("apply-al").expect("moves");
        for state in cuts(&trace, seed as u64 + 77) {
            let mut parts = old.clone();
            parts.extend(state.iter().map(|(at, part)| (*at, part.as_slice())));
            bench.put(bytes + grown, &parts);
            fs::write(&note, &noted).expect("note");
            bench
                .run("apply-al")
                .unwrap_or_else(|failure| panic!("grown by {grown}: {failure:?}"));
            let (found, moved) = bench.found();
            let full_sync = found.superblock.flags & flags::FULL_SYNC != 0;
            assert!(
                full_sync || covers(&moved, &bitmap),
                "grown by {grown}: changes lost"
            );
        }
    }
}

#[test]
fn metadata_of_another_device_is_not_moved() {
    let bench = Bench::new("other", Index::Internal);
    let bytes = 64 << 20;
    old_metadata(&bench, bytes);
    let note = bench.folder.join("drbd-minor-7.lkbd");
    let text = fs::read_to_string(&note)
        .expect("note")
        .replace("1234", "4321");
    fs::write(&note, text).expect("note");
    File::options()
        .write(true)
        .open(bench.image())
        .and_then(|f| f.set_len(bytes + 4096))
        .expect("grows");
    let mut call = bench.call("check-resize");
    call.force = false;
    let device = Device::open(&bench.call("check-resize")).expect("opens");
    assert!(relocate::find_moved(&call, &device).is_none());
    call.force = true;
    assert!(relocate::find_moved(&call, &device).is_some());
}
