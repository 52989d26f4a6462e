// SPDX-License-Identifier: GPL-2.0
//! Crash states of the metadata, recovered by the real `drbdmeta apply-al` of Debian's drbd-utils and by ours: both have to make of each
//! what core does (see `tests/crash_points`). Needs no machine, but the testbed's build root, where that tool is.
//!
//! `CRASH_STATES=n` sets how many states are drawn; 0: all of them.

#[path = "../crash_points/disk.rs"]
mod disk;
#[path = "../simulation/heap.rs"]
#[allow(dead_code)]
mod heap;
#[path = "../crash_points/node.rs"]
#[allow(dead_code)]
mod node;
#[path = "../crash_points/truth.rs"]
#[allow(dead_code)]
mod truth;
#[path = "../crash_points/workloads.rs"]
mod workloads;

use crate::{bed, check};
use anyhow::{bail, ensure, Context, Result};
use disk::{Crash, Walk, BLOCK};
use drbd_core::md::{flags, Index, Superblock};
use node::Random;
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use truth::{Recovered, Recovery, Truth};

/// A tool to compare with, and where it sees the image.
struct Tool {
    name: &'static str,
    command: Box<dyn Fn() -> Command>,
    image: PathBuf,
    seen_as: String,
}

/// Writes the state as an image of the device.
fn image(crash: &Crash<'_>, device_sectors: u64, path: &Path) -> Result<File> {
    let _ = fs::remove_file(path);
    let file = File::options().create_new(true).read(true).write(true).open(path)?;
    file.set_len(device_sectors * 512)?;
    for (block, version) in crash.blocks() {
        file.write_all_at(&version.bytes[..], block * BLOCK as u64)?;
    }
    Ok(file)
}

fn read(file: &File, sector: u64) -> Result<[u8; BLOCK]> {
    let mut bytes = [0; BLOCK];
    file.read_exact_at(&mut bytes, sector * 512)?;
    Ok(bytes)
}

/// What the tool left is what core recovered: superblock, bitmap, and a log with nothing in it.
fn compare(tool: &Tool, file: &File, found: &Recovered, had_transactions: bool) -> Result<()> {
    let block = Superblock::decode(&read(file, found.layout.superblock)?);
    ensure!(block == found.superblock, "{}: {block:x?} instead of {:x?}", tool.name, found.superblock);
    let primary = block.flags & flags::PRIMARY != 0;
    for page in 0..found.bitmap.page_count() {
        let mut wanted = [0; BLOCK];
        found.bitmap.store_page(page, &mut wanted);
        let mut got = read(file, found.layout.bitmap_sector() + page as u64 * 8)?;
        if page + 1 == found.bitmap.page_count() {
            // Bits behind the last one mean nothing.
            let bits = (found.bitmap.bits() - 1) % (BLOCK as u64 * 8) + 1;
            for bit in bits..BLOCK as u64 * 8 {
                got[(bit / 8) as usize] &= !(1 << (bit % 8));
                wanted[(bit / 8) as usize] &= !(1 << (bit % 8));
            }
        }
        ensure!(got == wanted, "{}: page {page} of the bitmap differs (primary {primary})", tool.name);
    }
    for number in 0..found.layout.geometry.blocks() {
        let kind = drbd_core::md::log_block::kind(&read(file, found.layout.al_sector() + number * 8)?);
        let empty = kind == drbd_core::md::log_block::Kind::Initialized || !had_transactions;
        ensure!(empty, "{}: block {number} of the log is {kind:?}", tool.name);
    }
    Ok(())
}

fn apply(tool: &Tool, crash: &Crash<'_>, sectors: u64, index: Index, found: &Recovered, had_transactions: bool) -> Result<()> {
    let file = image(crash, sectors, &tool.image)?;
    let place = if index.is_internal() { "internal" } else { "flex-external" };
    let said = (tool.command)().args(["--force", "-", "v08", &tool.seen_as, place, "apply-al"]).output()?;
    ensure!(
        said.status.success(),
        "{} ends with {}: {}",
        tool.name,
        said.status,
        String::from_utf8_lossy(&said.stderr)
    );
    compare(tool, &file, found, had_transactions)
}

fn agreement(wanted: u64) -> Result<()> {
    let bed = bed();
    let root = bed.root();
    let folder = root.join("tmp/crash-states");
    fs::create_dir_all(&folder).context("a folder in the build root")?;
    let ours = bed.tools.clone().context("our tools are not built: run `make all`")?;
    let own_folder = bed.run_folder("crash-states")?;
    let link = own_folder.join("drbdmeta");
    std::os::unix::fs::symlink(&ours, &link)?;
    let mut tools = [
        Tool {
            name: "Debian's drbdmeta",
            command: Box::new(move || {
                let _ = fs::remove_file(root.join("var/lib/drbd/drbd-minor--1.lkbd"));
                let mut command = Command::new("chroot");
                command.arg(&root).arg("/usr/sbin/drbdmeta");
                command
            }),
            image: folder.join(format!("{}.img", std::process::id())),
            seen_as: format!("/tmp/crash-states/{}.img", std::process::id()),
        },
        Tool {
            name: "our drbdmeta",
            command: Box::new(move || Command::new(&link)),
            image: own_folder.join("image"),
            seen_as: own_folder.join("image").display().to_string(),
        },
    ];
    let mut random = Random(7);
    let (mut compared, mut full) = (0u64, 0u64);
    for (name, workload) in workloads::ALL {
        let node = workload(20, None);
        let mut recovery = Recovery::new(node.make.index);
        let truth = RefCell::new(Truth::default());
        let mut states = 0u64;
        Walk::new(&node.disk).run(|_| {}, |_| { states += 1; Ok(()) }).map_err(anyhow::Error::msg)?;
        let share = wanted / workloads::ALL.len() as u64;
        let outcome = Walk::new(&node.disk).run(
            |fact| truth.borrow_mut().learn(fact),
            |crash| {
                if wanted != 0 && random.below(states) >= share {
                    return Ok(());
                }
                let device = truth.borrow().device;
                let found = recovery.recover(crash, device)?;
                // A tool looks for metadata that has moved only behind its own back.
                let sectors = if found.layout.superblock == Superblock::sector(node.make.index, device[0]) { device[0] } else { device[1] };
                let had = found.active.is_some();
                for tool in &mut tools {
                    apply(tool, crash, sectors, node.make.index, &found, had).map_err(|error| format!("{error:#}"))?;
                }
                compared += 1;
                full += u64::from(found.set_all);
                Ok(())
            },
        );
        if let Err(text) = outcome {
            bail!("{name}: {text}");
        }
    }
    for tool in &tools {
        let _ = fs::remove_file(&tool.image);
    }
    fs::remove_dir_all(&own_folder)?;
    println!("{compared} crash states: core, Debian's drbdmeta and ours agree ({full} of them with a full sync to come)");
    Ok(())
}

#[test]
fn crash_states_agree_with_drbdmeta() {
    let wanted = std::env::var("CRASH_STATES").ok().and_then(|value| value.parse().ok()).unwrap_or(480);
    check(agreement(wanted));
}
