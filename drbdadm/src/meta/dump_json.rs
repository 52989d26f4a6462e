// SPDX-License-Identifier: GPL-2.0
//! `dump-md --json` (docs/json.md). The bitmap can be larger than memory: it is written as it is read, and closed properly
//! when the device fails in the middle.

use super::bitmap::Words;
use super::device::Device;
use super::found::Found;
use super::{Call, Failure, FAILED, VALUE};
use crate::json::{self, hex};
use drbd_core::md::{flags, Index};
use serde_json::{json, Value};
use std::io::{self, BufWriter, Write};

/// The name of the schema.
pub const SCHEMA: &str = "drbd-metadata";
/// 32-bit words in a word of the dump.
const PAIR: u64 = 2;

/// Prints the dump.
pub fn dump(call: &Call, device: &Device, found: &Found) -> Result<(), Failure> {
    if found.is_unclean() && !call.force {
        let text = "Found meta data is \"unclean\", please apply-al first";
        return Err(Failure::new(FAILED, text));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut words = Words::new(device, found);
    let failed = write_all(&mut out, &facts(device, found), &mut words)
        .and_then(|failed| out.flush().map(|()| failed))
        .map_err(|error| Failure::new(VALUE, format!("writing the dump: {error}")).told())?;
    match failed {
        Some(failure) => Err(failure.told()),
        None => Ok(()),
    }
}

/// The facts, then the bitmap behind them. What the device fails with is in the document, and returned.
fn write_all(
    out: &mut impl Write,
    facts: &str,
    words: &mut Words<'_>,
) -> io::Result<Option<Failure>> {
    // the closing brace of the facts comes at the end
    let open = facts.trim_end().trim_end_matches('}').trim_end();
    write!(
        out,
        "{open},\n  \"bitmap\": {{\n    \"bytes\": {},\n    \"runs\": [",
        words.count() * 4
    )?;
    let (mut at, mut bits, mut failed) = (0, 0u64, None);
    while at < words.count() {
        match run(words, at) {
            Ok((length, value)) => {
                let comma = if at > 0 { "," } else { "" };
                write!(out, "{comma}\n      [{length}, \"{value:016X}\"]")?;
                bits += length * u64::from(value.count_ones());
                at += length * PAIR;
            }
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    write!(out, "\n    ],\n    \"bits-set\": {bits}\n  }}")?;
    if let Some(failure) = &failed {
        write!(
            out,
            ",\n  \"error\": {}",
            json::fault(failure.code, &failure.text)
        )?;
    }
    writeln!(out, "\n}}")?;
    Ok(failed)
}

/// How many words of 64 bits from `at` on are equal, and their value.
fn run(words: &mut Words<'_>, at: u64) -> Result<(u64, u64), Failure> {
    let count = words.count();
    let mut word = |at: u64| -> Result<u64, Failure> {
        Ok(u64::from(words.get(at + 1)?) << 32 | u64::from(words.get(at)?))
    };
    let value = word(at)?;
    let mut end = at + PAIR;
    while end < count && word(end)? == value {
        end += PAIR;
    }
    Ok(((end - at) / PAIR, value))
}

fn facts(device: &Device, found: &Found) -> String {
    let superblock = &found.superblock;
    let [current, base, young, old] = superblock.uuids.to_array();
    let layout = &found.layout;
    let index = match device.index {
        Index::Slot(slot) => Value::from(slot),
        index if index.is_internal() => "internal".into(),
        _ => "flexible".into(),
    };
    let mut document = json::head(SCHEMA);
    let mut put = |name: &str, value: Value| document.insert(name.into(), value);
    put("format", "v08".into());
    put("device", device.path.as_str().into());
    put("meta-index", index);
    put("unclean", found.is_unclean().into());
    put(
        "uuids",
        json!({
            "current": hex(current),
            "bitmap": hex(base),
            "history": [hex(young), hex(old)],
        }),
    );
    put("flags", flag_words(superblock.flags));
    put("device-uuid", hex(superblock.device_uuid));
    put("la-size-sectors", superblock.la_size.into());
    put("bytes-per-bit", superblock.bytes_per_bit.into());
    put("al-extents", superblock.al_extents.into());
    put("al-stripes", superblock.al_stripes.into());
    put("al-stripe-size-4k", superblock.al_stripe_size_4k.into());
    put("peer-max-bio-bytes", superblock.peer_max_bio_bytes.into());
    put("md-size-sectors", superblock.md_size.into());
    put(
        "offsets-bytes",
        json!({
            "superblock": layout.superblock * 512,
            "activity-log": layout.al_sector() * 512,
            "bitmap": layout.bitmap_sector() * 512,
        }),
    );
    put("moved-from-bytes", found.moved_from_bytes.into());
    json::pretty(&document)
}

fn flag_words(set: u32) -> Value {
    let has = |flag: u32| set & flag != 0;
    json!({
        "value": set,
        "consistent": has(flags::CONSISTENT),
        "was-up-to-date": has(flags::WAS_UP_TO_DATE),
        "primary": has(flags::PRIMARY),
        "connected": has(flags::CONNECTED),
        "full-sync": has(flags::FULL_SYNC),
        "peer-outdated": has(flags::PEER_OUTDATED),
        "crashed-primary": has(flags::CRASHED_PRIMARY),
        "al-clean": has(flags::AL_CLEAN),
        "al-disabled": has(flags::AL_DISABLED),
    })
}
