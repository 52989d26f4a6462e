// SPDX-License-Identifier: GPL-2.0
//! Internal metadata of a device that was resized while nobody looked: the last-known-size
//! file, finding the metadata at its old place, and moving it (metadata.md 10.4).

use super::device::{check, Device, Found};
use super::{Call, Failure};
use drbd_core::md::{Layout, Superblock, BLOCK_BYTES};
use std::fs;
use std::path::PathBuf;

fn file_of(minor: u32) -> PathBuf {
    PathBuf::from(format!("/var/lib/drbd/drbd-minor-{minor}.lkbd"))
}

/// Notes the size of the device beside internal metadata; other kinds need no note.
pub fn remember(call: &Call, device: &Device, found: &Found) {
    let Some(minor) = call.minor else { return };
    if !device.index.is_internal() {
        forget(call);
        return;
    }
    let mut text = format!("{}\t{}\n", device.bytes, device.path);
    if found.superblock.device_uuid != 0 {
        text.push_str(&format!("uuid:\t{:016X}\n", found.superblock.device_uuid));
    }
    let _ = fs::write(file_of(minor), text);
}

/// Removes the note.
pub fn forget(call: &Call) {
    if let Some(minor) = call.minor {
        let _ = fs::remove_file(file_of(minor));
    }
}

/// Valid metadata where it would be for the last known size.
pub fn find_moved(call: &Call, device: &Device) -> Option<Found> {
    if !device.index.is_internal() {
        return None;
    }
    let text = fs::read_to_string(file_of(call.minor?)).ok()?;
    let bytes: u64 = text.split_whitespace().next()?.parse().ok()?;
    if bytes == device.bytes || bytes > device.bytes {
        return None;
    }
    let at = Superblock::sector(device.index, bytes / 512) * 512;
    let superblock = Superblock::decode(&device.read(at, BLOCK_BYTES).ok()?);
    let found = check(superblock, device.index, bytes / 512, false).ok()?;
    let noted = text
        .lines()
        .find_map(|l| l.strip_prefix("uuid:"))
        .and_then(|u| u64::from_str_radix(u.trim(), 16).ok());
    if noted.is_some_and(|uuid| uuid != found.superblock.device_uuid) && !call.force {
        eprintln!("Last known and found uuid differ!?\nYou may --force me to ignore that.");
        return None;
    }
    Some(found)
}

/// Moves metadata from its old place to where it belongs now. The old superblock is the last
/// thing to go, so a crash in between finds it again.
pub fn relocate(call: &Call, device: &mut Device, old: Found) -> Result<Found, Failure> {
    eprintln!("Moving the internal meta data to its proper location");
    let layout = Layout::compute(device.index, device.sectors(), old.layout.geometry)
        .ok_or_else(|| Failure::new(10, "the device is too small for its meta data"))?;
    let log_bytes = old.layout.geometry.sectors() as usize * 512;
    let log = device.read(old.layout.al_sector() * 512, log_bytes)?;
    let bitmap = device.read(old.layout.bitmap_sector() * 512, Device::bitmap_bytes(&old) as usize)?;
    let mut whole = vec![0u8; layout.bitmap_sectors as usize * 512];
    let common = bitmap.len().min(whole.len());
    whole[..common].copy_from_slice(&bitmap[..common]);
    device.write(layout.al_sector() * 512, &log)?;
    device.write(layout.bitmap_sector() * 512, &whole)?;
    device.flush()?;
    let mut found = Found {
        superblock: old.superblock,
        layout,
    };
    found.superblock.md_size = layout.md_size as u32;
    found.superblock.al_offset = layout.al_offset;
    found.superblock.bm_offset = layout.bm_offset;
    device.write_superblock(&found)?;
    remember(call, device, &found);
    if old.layout.superblock < layout.bitmap_sector() {
        device.write(old.layout.superblock * 512, &[0u8; BLOCK_BYTES])?;
        device.flush()?;
    }
    eprintln!("Internal drbd meta data successfully moved.");
    Ok(found)
}

/// `check-resize`: moves the metadata if the device has grown, and notes the size.
pub fn check_resize(call: &Call, mut device: Device) -> Result<(), Failure> {
    match device.find() {
        Ok(found) => remember(call, &device, &found),
        Err(_) => {
            let Some(moved) = find_moved(call, &device) else {
                return Err(Failure::new(1, "no suitable meta data found :("));
            };
            relocate(call, &mut device, moved)?;
        }
    }
    Ok(())
}
