// SPDX-License-Identifier: GPL-2.0
//! Whether something already on the device forbids new metadata (metadata.md 9.2, 10.2).

use super::device::Device;
use super::probe::{probe, Existing, PHYSICAL_VOLUME, PROBED_BYTES};
use super::{ask, Call, Failure, FAILED};
use drbd_core::md::superblock::MAGIC_07;
use drbd_core::md::{Index, Layout, Superblock, BLOCK_BYTES};
use std::process::{Command, Stdio};

/// Existing data would be destroyed.
pub const WOULD_DESTROY: u8 = 40;
/// Magic of the format of DRBD 9.
const MAGIC_09: u32 = 0x8374_026d;
/// Bytes of a fixed slot: where 0.7 kept its internal metadata, from the end.
const FIXED_SLOT_BYTES: u64 = 128 << 20;

/// Metadata of another format.
pub struct Foreign {
    /// `v07` or `v09`.
    pub format: &'static str,
    /// Byte offset of its superblock.
    pub at: u64,
    /// Sort of internal metadata, for the message.
    kind: &'static str,
}

/// Looks for metadata of 0.7 and of 9 where it would be.
pub fn foreign(device: &Device) -> Result<Option<Foreign>, Failure> {
    let place = Superblock::sector(device.index, device.sectors()) * 512;
    let magic = |at: u64, offset: usize| -> Result<u32, Failure> {
        let block = device.read(at, BLOCK_BYTES)?;
        let word = block
            .get(offset..offset + 4)
            .and_then(|b| b.try_into().ok());
        Ok(word.map_or(0, u32::from_be_bytes))
    };
    if magic(place, 60)? == MAGIC_09 {
        let kind = "flexible-size";
        return Ok(Some(Foreign {
            format: "v09",
            at: place,
            kind,
        }));
    }
    if magic(place, 28)? == MAGIC_07 {
        let kind = "flexible-size";
        return Ok(Some(Foreign {
            format: "v07",
            at: place,
            kind,
        }));
    }
    let fixed = (device.bytes & !4095).checked_sub(FIXED_SLOT_BYTES);
    match fixed {
        Some(at) if device.index.is_internal() && magic(at, 28)? == MAGIC_07 => {
            let kind = "fixed-size";
            Ok(Some(Foreign {
                format: "v07",
                at,
                kind,
            }))
        }
        _ => Ok(None),
    }
}

/// What to do about a device without metadata of ours, when there is some of another format.
pub fn advice(call: &Call, device: &Device) -> Option<String> {
    let foreign = foreign(device).ok()??;
    let from = match foreign.format {
        "v09" => "DRBD 9",
        _ => "DRBD 0.7",
    };
    let minor = call
        .minor
        .map_or_else(|| "-".into(), |minor| minor.to_string());
    Some(format!(
        "{path} holds metadata of {from} ({format}, at byte offset {at}); this is DRBD 8.4 and needs v08.\n\
         To keep the data and its history: convert it with the drbdmeta of the release that wrote it.\n\
         To start afresh (the data stays, the peer gets all of it again): 'drbdadm create-md RES', or\n\
         'drbdmeta {minor} v08 {path} INDEX create-md', and answer 'yes' to its question.",
        path = device.path,
        format = foreign.format,
        at = foreign.at,
    ))
}

/// Says what was asked for and what is there.
pub fn announce(device: &Device, format: &str, kind: &str, at: u64) {
    if device.index.is_internal() {
        eprintln!(
            "You want me to create a v08 style flexible-size internal meta data block.\n\
             There appears to be a {format} {kind} internal meta data block\n\
             already in place on {} at byte offset {at}",
            device.path
        );
    }
}

/// Metadata of another format goes only when somebody agrees who can read the question: this tool
/// does not convert, and the generations in it would be lost.
pub fn confirm_foreign(device: &Device, foreign: &Foreign, force: bool) -> Result<(), Failure> {
    let format = foreign.format;
    announce(device, format, foreign.kind, foreign.at);
    if force {
        let text = format!(
            "\nValid {format} meta-data found. This drbdmeta does not convert it, and does not replace it by force:\n\
             wipe it first, or convert it with the drbdmeta that wrote it."
        );
        return Err(Failure::new(WOULD_DESTROY, text));
    }
    let question = format!(
        "So you want me to replace the {format} meta-data\nwith newly initialized v08 meta-data?"
    );
    if ask::confirm(&question, false) {
        return Ok(());
    }
    println!("Operation cancelled.");
    Err(Failure::new(FAILED, ""))
}

/// Asks, or refuses, when there is data that metadata would damage.
pub fn check(call: &Call, device: &Device, layout: &Layout) -> Result<(), Failure> {
    let mut existing = probe(&device.read(0, PROBED_BYTES)?);
    let name = match existing {
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
    if let (Existing::Claimed(name), Some(kib)) = (existing, volume_kib(name, &call.path)) {
        existing = Existing::FileSystem(name, kib);
    }
    let usable_kib = layout.bitmap_sector() / 2;
    match existing {
        Existing::Nothing => Ok(()),
        Existing::SomeData => {
            println!("\n ==> This might destroy existing data! <==");
            proceed(call)
        }
        _ if device.index != Index::Internal => {
            println!("\nThis would corrupt existing data.");
            refuse(call)
        }
        Existing::Claimed(name) => {
            println!("{usable_kib:12} kB left usable by current configuration");
            if name == PHYSICAL_VOLUME {
                println!("Could not determine the size of the actually used data area.\n");
            }
            println!("{TRUNCATED}");
            refuse(call)
        }
        Existing::FileSystem(_, used_kib) => file_system(call, used_kib, usable_kib),
    }
}

const TRUNCATED: &str = "Device size would be truncated, which\n\
     would corrupt data and result in\n\
     'access beyond end of device' errors.";

fn file_system(call: &Call, used_kib: u64, usable_kib: u64) -> Result<(), Failure> {
    println!("{used_kib:12} kB data area apparently used");
    println!("{usable_kib:12} kB left usable by current configuration");
    if used_kib > usable_kib {
        println!("\n{TRUNCATED}\nYou need to either");
        println!("   * use external meta data (recommended)");
        println!("   * shrink that filesystem first");
        println!("   * zero out the device (destroy the filesystem)");
        println!("Operation refused.\n");
        return Err(Failure::new(WOULD_DESTROY, ""));
    }
    println!("\nEven though it looks like this would place the new meta data into");
    println!("unused space, you still need to confirm, as this is only a guess.");
    proceed(call)
}

/// Size of an LVM physical volume, as its own tool tells it.
fn volume_kib(name: &str, path: &str) -> Option<u64> {
    if name != PHYSICAL_VOLUME {
        return None;
    }
    let output = Command::new("pvs")
        .args([
            "--noheadings",
            "--nosuffix",
            "--units",
            "k",
            "-o",
            "pv_size",
            "--",
            path,
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let whole = text.trim().split('.').next()?.parse().ok()?;
    output.status.success().then_some(whole)
}

fn proceed(call: &Call) -> Result<(), Failure> {
    if ask::confirm("Do you want to proceed?", call.force) {
        return Ok(());
    }
    println!("Operation canceled.");
    Err(Failure::new(FAILED, ""))
}

fn refuse(call: &Call) -> Result<(), Failure> {
    if call.ignore_sanity {
        println!("\nIgnoring sanity check on user request.\n");
        return Ok(());
    }
    println!("If you want me to do this, you need to zero out the first part");
    println!("of the device (destroy the content).");
    println!("You should be very sure that you mean it.");
    println!("Operation refused.\n");
    Err(Failure::new(WOULD_DESTROY, ""))
}
