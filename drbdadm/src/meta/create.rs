// SPDX-License-Identifier: GPL-2.0
//! `create-md` and `wipe-md` (metadata.md 10.2).

use super::apply::initialize;
use super::device::{Device, Found};
use super::probe::{probe, Existing, PROBED_BYTES};
use super::{ask, Call, Failure, VALUE};
use drbd_core::md::{Geometry, Index, Layout, Superblock, BLOCK_BYTES};

/// Existing data would be destroyed.
const WOULD_DESTROY: u8 = 40;
/// Only the stripes would change.
const STRIPES_ONLY: u8 = 30;

/// Writes fresh metadata.
pub fn create(call: &Call, mut device: Device) -> Result<(), Failure> {
    let geometry = call.geometry.unwrap_or_default();
    let layout = Layout::compute(device.index, device.sectors(), geometry)
        .ok_or_else(|| Failure::new(VALUE, format!("{} is too small for meta data", device.path)))?;
    confirm_existing_metadata(call, &device, geometry)?;
    check_existing_data(call, &mut device, &layout)?;
    let mut found = Found {
        superblock: Superblock::fresh(&layout),
        layout,
    };
    found.superblock.peer_max_bio_bytes = call.peer_max_bio_bytes.unwrap_or(0);
    println!("initializing activity log");
    initialize(&device, &found)?;
    eprintln!("initializing bitmap ({} KB) to all zero", layout.bitmap_sectors / 2);
    zero(&device, layout.bitmap_sector() * 512, layout.bitmap_sectors * 512)?;
    device.flush()?;
    println!("Writing meta data...");
    device.write_superblock(&found)?;
    super::relocate::remember(call, &device, &found);
    println!("New drbd meta data block successfully created.");
    Ok(())
}

fn zero(device: &Device, at: u64, length: u64) -> Result<(), Failure> {
    let zeros = vec![0u8; 1 << 20];
    let mut done = 0;
    while done < length {
        let part = (length - done).min(zeros.len() as u64);
        device.write(at + done, &zeros[..part as usize])?;
        done += part;
    }
    Ok(())
}

fn confirm_existing_metadata(call: &Call, device: &Device, geometry: Geometry) -> Result<(), Failure> {
    let Ok(found) = device.find() else { return Ok(()) };
    let cancelled = || {
        println!("Operation cancelled.");
        Failure::new(1, "")
    };
    if found.layout.geometry != geometry && call.geometry.is_some() {
        if ask::confirm("Do you want to change the activity log stripe settings *only*?", call.force) {
            eprintln!("Sorry, not yet fully implemented\nTry dump-md > dump.txt; restore-md -s x -z y dump.txt");
            return Err(Failure::new(STRIPES_ONLY, ""));
        }
    }
    let question = match device.index {
        Index::Internal => {
            eprintln!(
                "You want me to create a v08 style flexible-size internal meta data block.\n\
                 There appears to be a v08 flexible-size internal meta data block\n\
                 already in place on {} at byte offset {}",
                device.path,
                found.layout.superblock * 512
            );
            "Do you really want to overwrite the existing meta-data?"
        }
        _ => {
            eprintln!("Valid meta data seems to be in place.");
            "Do you really want to overwrite?"
        }
    };
    if ask::confirm(question, call.force) {
        Ok(())
    } else {
        Err(cancelled())
    }
}

/// Asks, or refuses, when there is data that metadata would damage.
pub fn check_existing_data(call: &Call, device: &mut Device, layout: &Layout) -> Result<(), Failure> {
    let existing = probe(&device.beginning(PROBED_BYTES)?);
    let name = match &existing {
        Existing::Nothing => return Ok(()),
        Existing::SomeData => "some data",
        Existing::Claimed(name) | Existing::FileSystem(name, _) => name,
    };
    println!(
        "md_offset {}\nal_offset {}\nbm_offset {}\n\nFound {name}",
        layout.superblock * 512,
        layout.al_sector() * 512,
        layout.bitmap_sector() * 512
    );
    let usable_kib = layout.bitmap_sector() / 2;
    let internal = device.index.is_internal();
    match existing {
        Existing::Nothing => Ok(()),
        Existing::SomeData => {
            println!("\n ==> This might destroy existing data! <==");
            proceed(call)
        }
        _ if !internal => {
            println!("\nThis would corrupt existing data.");
            refuse(call)
        }
        Existing::Claimed(_) => {
            println!("{usable_kib:12} kB left usable by current configuration");
            println!("Device size would be truncated, which\nwould corrupt data and result in\n'access beyond end of device' errors.");
            refuse(call)
        }
        Existing::FileSystem(_, used_kib) => {
            println!("{used_kib:12} kB data area apparently used");
            println!("{usable_kib:12} kB left usable by current configuration");
            if used_kib > usable_kib {
                println!("\nDevice size would be truncated, which\nwould corrupt data and result in\n'access beyond end of device' errors.");
                println!(
                    "You need to either\n   * use external meta data (recommended)\n   * shrink that filesystem first\n   * zero out the device (destroy the filesystem)\nOperation refused."
                );
                return Err(Failure::new(WOULD_DESTROY, ""));
            }
            println!("\nEven though it looks like this would place the new meta data into\nunused space, you still need to confirm, as this is only a guess.");
            proceed(call)
        }
    }
}

fn proceed(call: &Call) -> Result<(), Failure> {
    if ask::confirm("Do you want to proceed?", call.force) {
        return Ok(());
    }
    println!("Operation canceled.");
    Err(Failure::new(1, ""))
}

fn refuse(call: &Call) -> Result<(), Failure> {
    if call.ignore_sanity {
        println!("Ignoring sanity check on user request.");
        return Ok(());
    }
    println!(
        "If you want me to do this, you need to zero out the first part\nof the device (destroy the content).\nYou should be very sure that you mean it.\nOperation refused.\n"
    );
    Err(Failure::new(WOULD_DESTROY, ""))
}

/// Zeroes the superblock.
pub fn wipe(call: &Call, device: Device, found: Found) -> Result<(), Failure> {
    if !ask::confirm("Do you really want to wipe out the DRBD meta data?", call.force) {
        println!("Operation cancelled.");
        return Err(Failure::new(1, ""));
    }
    println!("Wiping meta data...");
    device.write(found.layout.superblock * 512, &[0u8; BLOCK_BYTES])?;
    device.flush()?;
    super::relocate::forget(call);
    println!("DRBD meta data block successfully wiped out.");
    Ok(())
}
