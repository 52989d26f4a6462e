// SPDX-License-Identifier: GPL-2.0
//! `create-md` and `wipe-md` (metadata.md 10.2).

use super::device::Device;
use super::found::Found;
use super::options::BitmapFill;
use super::ring::initialize;
use super::{ask, existing, relocate, Call, Failure, FAILED, VALUE};
use drbd_core::md::layout::{MAX_DEVICE_SECTORS, SLOT_SECTORS};
use drbd_core::md::{Geometry, Index, Layout, Superblock, BLOCK_BYTES};

/// Only the stripes would change.
const STRIPES_ONLY: u8 = 30;

/// The layout on this device, or a failure that says what is needed.
pub fn layout(device: &Device, geometry: Geometry) -> Result<Layout, Failure> {
    if !geometry.is_valid() {
        let text = format!(
            "invalid activity log striping: al_stripes={}, al_stripe_size_4k={}",
            geometry.stripes, geometry.stripe_size_4k
        );
        return Err(Failure::new(VALUE, text));
    }
    if device.index.is_internal() && device.sectors() > MAX_DEVICE_SECTORS {
        let text = format!(
            "{} has {} bytes; more than 1 PiB is not supported",
            device.path, device.bytes
        );
        return Err(Failure::new(VALUE, text));
    }
    Layout::compute(device.index, device.sectors(), geometry).ok_or_else(|| {
        let text = match device.index {
            Index::Slot(slot) => format!(
                "{} is too small for slot {slot}: it needs {} bytes, there are {}",
                device.path,
                (u64::from(slot) + 1) * SLOT_SECTORS * 512,
                device.bytes
            ),
            _ => format!(
                "{} is too small for its meta data: {} bytes",
                device.path, device.bytes
            ),
        };
        Failure::new(VALUE, text)
    })
}

/// Writes fresh metadata, or moves what a resize left behind.
pub fn create(call: &Call, device: Device) -> Result<(), Failure> {
    let geometry = call.geometry.unwrap_or_default();
    let layout = layout(&device, geometry)?;
    match device.find() {
        Ok(found) => confirm_overwrite(call, &device, &found, geometry)?,
        Err(_) => {
            if let Some(moved) = (!call.force)
                .then(|| relocate::find_moved(call, &device))
                .flatten()
            {
                if ask::confirm("Move internal meta data from last-known position?\n", false) {
                    relocate::relocate(call, &device, moved)?;
                    return Ok(());
                }
            }
            if let Some(foreign) = existing::foreign(&device)? {
                existing::confirm_foreign(&device, &foreign, call.force)?;
            }
        }
    }
    existing::check(call, &device, &layout)?;
    let mut found = Found::new(Superblock::fresh(&layout), layout);
    found.superblock.peer_max_bio_bytes = call.peer_max_bio_bytes.unwrap_or(0);
    println!("initializing activity log");
    initialize(&device, &found)?;
    zero_bitmap(call, &device, &found)?;
    println!("Writing meta data...");
    device.write_superblock(&found)?;
    relocate::remember(call, &device, &found);
    println!("New drbd meta data block successfully created.");
    Ok(())
}

fn zero_bitmap(call: &Call, device: &Device, found: &Found) -> Result<(), Failure> {
    let kib = found.layout.bitmap_sectors / 2;
    match call.fill {
        BitmapFill::Skip => eprintln!("SKIPPED initializing bitmap area"),
        BitmapFill::Write => eprintln!("initializing bitmap ({kib} KB) to all zero using pwrite"),
        _ => eprintln!("initializing bitmap ({kib} KB) to all zero"),
    }
    device.zero(
        found.bitmap_start(),
        found.layout.bitmap_sectors * 512,
        call.fill,
    )?;
    device.flush()
}

fn confirm_overwrite(
    call: &Call,
    device: &Device,
    found: &Found,
    geometry: Geometry,
) -> Result<(), Failure> {
    existing::announce(
        device,
        "v08",
        "flexible-size",
        found.layout.superblock * 512,
    );
    if found.layout.geometry != geometry
        && ask::confirm(
            "Do you want to change the activity log stripe settings *only*?",
            call.force,
        )
    {
        eprintln!("Sorry, not yet fully implemented\nTry dump-md > dump.txt; restore-md -s x -z y dump.txt");
        return Err(Failure::new(STRIPES_ONLY, ""));
    }
    let question = match device.index {
        Index::Internal => "Do you really want to overwrite the existing meta-data?",
        _ => "Valid meta data seems to be in place.\nDo you really want to overwrite?",
    };
    if ask::confirm(question, call.force) {
        return Ok(());
    }
    println!("Operation cancelled.");
    Err(Failure::new(FAILED, ""))
}

/// Zeroes the superblock.
pub fn wipe(call: &Call, device: Device, found: Found) -> Result<(), Failure> {
    if !ask::confirm(
        "Do you really want to wipe out the DRBD meta data?",
        call.force,
    ) {
        println!("Operation cancelled.");
        return Err(Failure::new(FAILED, ""));
    }
    println!("Wiping meta data...");
    device.write(
        "superblock",
        found.layout.superblock * 512,
        &[0u8; BLOCK_BYTES],
    )?;
    device.flush()?;
    relocate::forget(call);
    println!("DRBD meta data block successfully wiped out.");
    Ok(())
}
