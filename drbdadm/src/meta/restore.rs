// SPDX-License-Identifier: GPL-2.0
//! `restore-md` and `verify-dump`: writing a dump back (metadata.md 10.3).

use super::device::Device;
use super::dump_text::{self, Dump};
use super::found::{room_sectors, Found};
use super::options::BitmapFill;
use super::{ask, create, existing, relocate, ring, Call, Failure, FAILED, USAGE, VALUE};
use drbd_core::md::superblock::MAGIC_CLEAN;
use drbd_core::md::{Geometry, Superblock, Uuids, BLOCK_BYTES};
use std::io::Read;

/// Bytes written at once.
const PIECE_BYTES: usize = 1 << 20;

/// The dump from the file that the command line names, or from standard input.
fn read_dump(call: &Call) -> Result<Dump, Failure> {
    let text = match call.arguments.first() {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|_| Failure::new(USAGE, format!("open of '{path}' failed.")))?,
        None => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|e| Failure::new(VALUE, format!("reading standard input: {e}")))?;
            text
        }
    };
    dump_text::parse(&text).map_err(|text| Failure::new(VALUE, text))
}

/// Only parses.
pub fn verify(call: &Call) -> Result<(), Failure> {
    read_dump(call)?;
    println!("input file parsed ok");
    Ok(())
}

/// Writes metadata from a dump; offsets follow this device.
pub fn restore(call: &Call, device: Device) -> Result<(), Failure> {
    let dump = read_dump(call)?;
    if device.find().is_ok() {
        if !ask::confirm("Valid meta-data in place, overwrite?", call.force) {
            return Err(Failure::new(FAILED, ""));
        }
    } else if let Some(foreign) = existing::foreign(&device)? {
        existing::confirm_foreign(&device, &foreign, call.force)?;
    }
    eprintln!("reinitializing");
    let found = plan(call, &device, &dump)?;
    existing::check(call, &device, &found.layout)?;
    write_bitmap(call, &device, &found, &dump)?;
    // The dump is a complete picture: nothing of an old log may be applied to it.
    ring::initialize(&device, &found)?;
    device.write_superblock(&found)?;
    relocate::remember(call, &device, &found);
    println!("Successfully restored meta data");
    Ok(())
}

fn plan(call: &Call, device: &Device, dump: &Dump) -> Result<Found, Failure> {
    if dump.bytes_per_bit != BLOCK_BYTES as u64 {
        let text = format!(
            "bm-byte-per-bit {}: the driver knows 4096 only",
            dump.bytes_per_bit
        );
        return Err(Failure::new(VALUE, text));
    }
    let word = |value: u64, name: &str| {
        u32::try_from(value)
            .map_err(|_| Failure::new(VALUE, format!("{name} {value} is out of range")))
    };
    let geometry = match (call.geometry, dump.stripes, dump.stripe_size_4k) {
        (Some(geometry), ..) => {
            eprintln!("override activity log striping from commandline");
            geometry
        }
        (None, 0, 0) => Geometry::default(),
        (None, stripes, size) => Geometry {
            stripes: word(stripes, "al-stripes")?,
            stripe_size_4k: word(size, "al-stripe-size-4k")?,
        },
    };
    let layout = create::layout(device, geometry)?;
    let room = room_sectors(device.index, &layout);
    if dump.la_size > room {
        println!(
            "# la-size-sect was too big ({}), truncated ({room})!",
            dump.la_size
        );
    }
    let superblock = Superblock {
        uuids: Uuids::from_array(dump.uuids),
        flags: dump.flags,
        magic: MAGIC_CLEAN,
        la_size: dump.la_size.min(room),
        device_uuid: dump.device_uuid,
        peer_max_bio_bytes: word(dump.peer_max_bio_bytes, "la-peer-max-bio-size")?,
        ..Superblock::fresh(&layout)
    };
    Ok(Found::new(superblock, layout))
}

/// The words of the dump; the rest of the area becomes zero.
fn write_bitmap(call: &Call, device: &Device, found: &Found, dump: &Dump) -> Result<(), Failure> {
    let area = found.layout.bitmap_sectors * 512;
    let mut writer = PieceWriter {
        device,
        at: found.bitmap_start(),
        left: area,
        piece: Vec::with_capacity(PIECE_BYTES),
    };
    let words: u64 = dump.runs.iter().map(|(count, _)| count).sum();
    if words * 8 > area {
        eprintln!("Bitmap info too large, truncated!");
    }
    for (count, value) in &dump.runs {
        writer.put(*count, *value)?;
    }
    writer.finish()?;
    let fill = match call.fill {
        BitmapFill::Skip => BitmapFill::Automatic,
        fill => fill,
    };
    let start = area - writer.left;
    if start < area {
        device.zero(found.bitmap_start() + start, area - start, fill)?;
    }
    device.flush()
}

struct PieceWriter<'a> {
    device: &'a Device,
    at: u64,
    left: u64,
    piece: Vec<u8>,
}

impl PieceWriter<'_> {
    fn put(&mut self, count: u64, value: u64) -> Result<(), Failure> {
        for _ in 0..count {
            let bytes = value.to_le_bytes();
            let part = (self.left - self.piece.len() as u64).min(8) as usize;
            if part == 0 {
                break;
            }
            self.piece.extend_from_slice(&bytes[..part]);
            if self.piece.len() >= PIECE_BYTES {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        if !self.piece.is_empty() {
            self.device.write("bitmap", self.at, &self.piece)?;
            self.at += self.piece.len() as u64;
            self.left -= self.piece.len() as u64;
            self.piece.clear();
        }
        Ok(())
    }
}
