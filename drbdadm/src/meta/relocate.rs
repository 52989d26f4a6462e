// SPDX-License-Identifier: GPL-2.0
//! Internal metadata of a device that was resized while nobody looked: the last-known-size
//! file, finding the metadata at its old place, and moving it (metadata.md 10.4).

use super::device::Device;
use super::found::{check, Found};
use super::{create, Call, Failure, FAILED};
use drbd_core::md::{flags, Superblock, BLOCK_BYTES};
use std::fs;
use std::path::PathBuf;

/// Bytes copied at once.
const PIECE_BYTES: u64 = 1 << 20;

fn file_of(call: &Call) -> Option<PathBuf> {
    let minor = call.minor?;
    Some(call.state_dir.join(format!("drbd-minor-{minor}.lkbd")))
}

/// Notes the size of the device beside internal metadata; other kinds need no note. Without the
/// note a later resize has to be told by hand, so a failure is no reason to stop.
pub fn remember(call: &Call, device: &Device, found: &Found) {
    if !device.index.is_internal() {
        return forget(call);
    }
    let Some(file) = file_of(call).filter(|_| !call.dry_run) else {
        return;
    };
    let mut text = format!("{}\t{}\n", device.bytes, device.path);
    if found.superblock.device_uuid != 0 {
        text.push_str(&format!("uuid:\t{:016X}\n", found.superblock.device_uuid));
    }
    let new = file.with_extension("lkbd.new");
    if fs::write(&new, text)
        .and_then(|()| fs::rename(&new, &file))
        .is_err()
    {
        let _ = fs::remove_file(&new);
    }
}

/// Removes the note.
pub fn forget(call: &Call) {
    if let Some(file) = file_of(call).filter(|_| !call.dry_run) {
        let _ = fs::remove_file(file);
    }
}

/// Valid metadata where it would be for the last known size.
pub fn find_moved(call: &Call, device: &Device) -> Option<Found> {
    if !device.index.is_internal() {
        return None;
    }
    let text = fs::read_to_string(file_of(call)?).ok()?;
    let bytes: u64 = text.split_whitespace().next()?.parse().ok()?;
    if bytes >= device.bytes {
        return None;
    }
    let at = Superblock::sector(device.index, bytes / 512) * 512;
    let superblock = Superblock::decode(&device.read(at, BLOCK_BYTES).ok()?);
    let mut found = check(superblock, device.index, bytes / 512, false, false).ok()?;
    let noted = text
        .lines()
        .find_map(|l| l.strip_prefix("uuid:"))
        .and_then(|u| u64::from_str_radix(u.trim(), 16).ok());
    if noted.is_some_and(|uuid| uuid != found.superblock.device_uuid) && !call.force {
        eprintln!("Last known and found uuid differ!?\nYou may --force me to ignore that.");
        return None;
    }
    found.moved_from_bytes = Some(bytes);
    Some(found)
}

/// Moves metadata from its old place to where it belongs now.
///
/// The new superblock lies behind everything old. Where the areas are apart it is written last, so a
/// crash before that finds the old metadata whole. Where the new area reaches into the old one, the
/// new superblock comes first and asks for a full sync until the bitmap stands: a crash then costs
/// time, not changes. The old superblock goes last.
pub fn relocate(call: &Call, device: &Device, old: Found) -> Result<Found, Failure> {
    eprintln!("Moving the internal meta data to its proper location");
    let layout = create::layout(device, old.layout.geometry)?;
    let mut found = Found::new(old.superblock, layout);
    found.superblock.md_size = u32::try_from(layout.md_size).unwrap_or(u32::MAX);
    found.superblock.al_offset = layout.al_offset;
    found.superblock.bm_offset = layout.bm_offset;
    if layout.bitmap_sector() < old.layout.superblock + 8 {
        let mut marked = found.clone();
        marked.superblock.flags |= flags::FULL_SYNC;
        device.write_superblock(&marked)?;
    }
    // The old log lies behind the old bitmap, the new one behind the new: highest part first.
    let log_bytes = old.layout.geometry.sectors() * 512;
    copy_up(
        device,
        "activity log",
        old.layout.al_sector() * 512,
        layout.al_sector() * 512,
        log_bytes,
    )?;
    let stored = old.bitmap_bytes().min(layout.bitmap_sectors * 512);
    copy_up(
        device,
        "bitmap",
        old.bitmap_start(),
        found.bitmap_start(),
        stored,
    )?;
    let behind = layout.bitmap_sectors * 512 - stored;
    if behind > 0 {
        device.zero(found.bitmap_start() + stored, behind, Default::default())?;
    }
    device.flush()?;
    device.write_superblock(&found)?;
    remember(call, device, &found);
    println!("Internal drbd meta data successfully moved.");
    if old.layout.superblock < layout.bitmap_sector() {
        device.write(
            "old superblock",
            old.layout.superblock * 512,
            &[0u8; BLOCK_BYTES],
        )?;
        device.flush()?;
    }
    Ok(found)
}

/// Copies a range towards the end of the device, last piece first: the ranges may overlap.
fn copy_up(device: &Device, what: &str, from: u64, to: u64, length: u64) -> Result<(), Failure> {
    let mut left = length;
    while left > 0 {
        let part = match left % PIECE_BYTES {
            0 => PIECE_BYTES,
            rest => rest,
        };
        left -= part;
        let bytes = device.read(from + left, part as usize)?;
        device.write(what, to + left, &bytes)?;
    }
    Ok(())
}

/// `check-resize`: moves the metadata if the device has grown, and notes the size.
pub fn check_resize(call: &Call, device: Device) -> Result<(), Failure> {
    match device.find() {
        Ok(found) => remember(call, &device, &found),
        Err(mut reasons) => {
            let Some(moved) = find_moved(call, &device) else {
                reasons.push("no suitable meta data found :(".into());
                return Err(Failure::new(FAILED, reasons.join("\n")));
            };
            relocate(call, &device, moved)?;
        }
    }
    Ok(())
}
