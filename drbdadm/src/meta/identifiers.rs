// SPDX-License-Identifier: GPL-2.0
//! Generation identifiers and flags: get-gi, show-gi, set-gi, dstate, outdate, invalidate, device UUID.

use super::apply::amount;
use super::ask;
use super::device::Device;
use super::found::Found;
use super::{Call, Failure, VALUE};
use crate::generations::{in_words, line, with_legend};
use drbd_core::md::{flags, Uuids};

/// Runs one of them on valid metadata.
pub fn run(call: &Call, device: Device, mut found: Found) -> Result<(), Failure> {
    let superblock = &mut found.superblock;
    let gi = |s: &drbd_core::md::Superblock| line(s.uuids.to_array(), s.flags);
    match call.command {
        "get-gi" => println!("{}", gi(superblock)),
        "show-gi" => show(&found),
        "dstate" => println!("{}", state(superblock.flags)),
        "read-dev-uuid" => println!("{:016X}", superblock.device_uuid),
        "write-dev-uuid" => {
            let text = argument(call)?;
            // Text that is no number has always meant 0: no identity.
            superblock.device_uuid =
                u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0);
            return save(call, &device, &found);
        }
        "outdate" => {
            if superblock.flags & flags::CONSISTENT == 0 {
                return Err(Failure::new(5, "Device is inconsistent."));
            }
            superblock.flags &= !flags::WAS_UP_TO_DATE;
            return save(call, &device, &found);
        }
        "invalidate" => {
            superblock.flags &= !(flags::CONSISTENT | flags::WAS_UP_TO_DATE);
            superblock.flags |= flags::FULL_SYNC;
            return save(call, &device, &found);
        }
        "set-gi" => {
            let before = gi(superblock);
            parse_gi(argument(call)?, superblock)?;
            println!("previously {before}");
            println!("set GI to  {}", gi(superblock));
            if !ask::confirm("Write new GI to disk?", call.force) {
                println!("Operation canceled.");
                return Ok(());
            }
            return save(call, &device, &found);
        }
        other => return Err(Failure::new(111, format!("no handler for {other}"))),
    }
    Ok(())
}

fn argument(call: &Call) -> Result<&str, Failure> {
    let first = call.arguments.first().map(String::as_str);
    first.ok_or_else(|| Failure::new(VALUE, "Required Argument missing"))
}

fn save(call: &Call, device: &Device, found: &Found) -> Result<(), Failure> {
    device.write_superblock(found)?;
    super::relocate::remember(call, device, found);
    Ok(())
}

fn state(md_flags: u32) -> &'static str {
    let has = |flag: u32| md_flags & flag != 0;
    match (
        has(flags::CONSISTENT),
        has(flags::WAS_UP_TO_DATE),
        has(flags::PEER_OUTDATED),
    ) {
        (false, ..) => "Inconsistent",
        (true, false, _) => "Outdated",
        (true, true, true) => "UpToDate",
        (true, true, false) => "Consistent",
    }
}

fn show(found: &Found) {
    let superblock = &found.superblock;
    println!(
        "{}",
        with_legend(superblock.uuids.to_array(), superblock.flags)
    );
    println!("{}", in_words(superblock.flags));
    println!(
        "meta-data: {}",
        if superblock.flags & flags::AL_CLEAN != 0 {
            "clean"
        } else {
            "need apply-al"
        }
    );
    if superblock.la_size > 0 {
        println!(
            "last agreed size: {} ({} sectors)",
            amount(superblock.la_size / 2),
            superblock.la_size
        );
        println!(
            "last agreed max bio size: {} Byte",
            superblock.peer_max_bio_bytes
        );
    } else {
        println!("zero size device -- never seen peer yet?");
    }
}

/// `UUID:UUID:UUID:UUID:f:f:...`; empty and missing fields keep their value.
fn parse_gi(text: &str, superblock: &mut drbd_core::md::Superblock) -> Result<(), Failure> {
    let mut uuids = superblock.uuids.to_array();
    let order = [
        flags::CONSISTENT,
        flags::WAS_UP_TO_DATE,
        flags::PRIMARY,
        flags::CONNECTED,
        flags::FULL_SYNC,
        flags::PEER_OUTDATED,
        flags::CRASHED_PRIMARY,
    ];
    for (place, field) in text.split(':').enumerate() {
        let field = field.trim();
        if field.is_empty() {
            continue;
        }
        if let Some(uuid) = uuids.get_mut(place) {
            *uuid = u64::from_str_radix(field.trim_start_matches("0x"), 16)
                .map_err(|_| Failure::new(VALUE, format!("'{field}' is not a number.")))?;
        } else if let Some(flag) = order.get(place - 4) {
            match field {
                "0" => superblock.flags &= !flag,
                "1" => superblock.flags |= flag,
                _ => return Err(Failure::new(VALUE, format!("'{field}' is not 0 or 1."))),
            }
        }
    }
    superblock.uuids = Uuids::from_array(uuids);
    Ok(())
}
