// SPDX-License-Identifier: GPL-2.0
//! The device that holds the metadata, and finding what is on it (metadata.md 5.2).

use super::{ask, Call, Failure, USAGE, VALUE};
use drbd_core::md::superblock::{MAGIC_CLEAN, MAGIC_UNCLEAN};
use drbd_core::md::{Index, Layout, Superblock, BLOCK_BYTES};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};

/// Smallest device drbdmeta works on.
const MIN_BYTES: u64 = 68 << 10;

/// An open device.
#[derive(Debug)]
pub struct Device {
    file: File,
    /// Path as given.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Where the metadata is.
    pub index: Index,
}

/// Valid metadata.
#[derive(Clone, Debug)]
pub struct Found {
    /// The superblock; a la-size that does not fit the device is cut already.
    pub superblock: Superblock,
    /// Where everything is.
    pub layout: Layout,
}

impl Device {
    /// Opens it, exclusively where nobody else may use it meanwhile.
    pub fn open(call: &Call, _modifies: bool) -> Result<Self, Failure> {
        let fail = |e: &std::io::Error| {
            let text = e.to_string();
            let text = text.split(" (os error").next().unwrap_or("").to_string();
            Failure::new(USAGE, format!("open({}) failed: {text}", call.path))
        };
        let exclusive = !matches!(call.index, Index::Slot(_));
        let open = |flags: OFlags| {
            File::options()
                .read(true)
                .write(true)
                .custom_flags(flags.bits() as i32)
                .open(&call.path)
        };
        let file = match open(if exclusive { OFlags::EXCL } else { OFlags::empty() }) {
            Ok(file) => file,
            Err(error) if exclusive && error.raw_os_error() == Some(16) => {
                eprintln!("{}", fail(&error).text);
                let ask = call.command != "apply-al" || call.force;
                if !(ask && ask::confirm("Exclusive open failed. Do it anyways?", call.force)) {
                    return Err(Failure::new(USAGE, "Operation canceled."));
                }
                open(OFlags::empty()).map_err(|e| fail(&e))?
            }
            Err(error) => return Err(fail(&error)),
        };
        let is_block = file.metadata().is_ok_and(|m| m.file_type().is_block_device());
        if !is_block && !call.force {
            return Err(Failure::new(USAGE, format!("'{}' is not a block device!", call.path)));
        }
        let bytes = (&file)
            .seek(SeekFrom::End(0))
            .map_err(|e| Failure::new(VALUE, format!("{}: {e}", call.path)))?;
        if bytes < MIN_BYTES {
            return Err(Failure::new(
                VALUE,
                format!("{} is only {bytes} bytes. That's not enough.", call.path),
            ));
        }
        let at = Superblock::sector(call.index, bytes / 512) * 512;
        if at + BLOCK_BYTES as u64 > bytes {
            return Err(Failure::new(
                VALUE,
                format!(
                    "Device too small: expecting meta data block at\nbyte offset {at}, but {} is only {bytes} bytes.",
                    call.path
                ),
            ));
        }
        Ok(Self {
            file,
            path: call.path.clone(),
            bytes,
            index: call.index,
        })
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.bytes / 512
    }

    /// Reads a range; what lies behind the end reads as zeros.
    pub fn read(&self, at: u64, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; length];
        let there = self.bytes.saturating_sub(at).min(length as u64) as usize;
        self.file
            .read_exact_at(&mut bytes[..there], at)
            .map_err(|e| Failure::new(VALUE, format!("{}: reading {length} bytes at {at}: {e}", self.path)))?;
        Ok(bytes)
    }

    /// Writes a range.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all_at(bytes, at)
            .map_err(|e| Failure::new(VALUE, format!("{}: writing {} bytes at {at}: {e}", self.path, bytes.len())))
    }

    /// Makes what was written durable; later steps depend on it.
    pub fn flush(&self) -> Result<(), Failure> {
        self.file
            .sync_all()
            .map_err(|e| Failure::new(VALUE, format!("{}: fsync: {e}", self.path)))
    }

    /// The first `length` bytes, for the search for existing data.
    pub fn beginning(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.file).take(length as u64).read_to_end(&mut bytes))
            .map_err(|e| Failure::new(VALUE, format!("{}: {e}", self.path)))?;
        bytes.resize(length, 0);
        Ok(bytes)
    }

    /// The superblock at its place, whatever it says.
    pub fn superblock(&self) -> Result<Superblock, Failure> {
        let at = Superblock::sector(self.index, self.sectors()) * 512;
        Ok(Superblock::decode(&self.read(at, BLOCK_BYTES)?))
    }

    /// Valid metadata at its place, or why not.
    pub fn find(&self) -> Result<Found, Vec<String>> {
        let superblock = self.superblock().map_err(|f| vec![f.text])?;
        check(superblock, self.index, self.sectors(), true)
    }

    /// Writes the superblock of found metadata.
    pub fn write_superblock(&self, found: &Found) -> Result<(), Failure> {
        let mut block = [0u8; BLOCK_BYTES];
        found.superblock.encode(&mut block);
        self.write(found.layout.superblock * 512, &block)?;
        self.flush()
    }

    /// Length of the stored bitmap for the last agreed size, in bytes.
    pub fn bitmap_bytes(found: &Found) -> u64 {
        let bits = found.superblock.la_size.div_ceil(8).div_ceil(64) * 64;
        (bits / 8).div_ceil(4096) * 4096
    }

    /// The stored bitmap.
    pub fn bitmap(&self, found: &Found) -> Result<Vec<u8>, Failure> {
        self.read(found.layout.bitmap_sector() * 512, Self::bitmap_bytes(found) as usize)
    }
}

/// The checks of metadata.md 5.2 for a device of `sectors`.
pub fn check(mut superblock: Superblock, index: Index, sectors: u64, speak: bool) -> Result<Found, Vec<String>> {
    if superblock.magic != MAGIC_CLEAN && superblock.magic != MAGIC_UNCLEAN {
        return Err(Vec::new());
    }
    let Some(geometry) = superblock.geometry() else {
        return Err(vec![format!(
            "invalid activity log striping: al_stripes={}, al_stripe_size_4k={}",
            superblock.al_stripes, superblock.al_stripe_size_4k
        )]);
    };
    (superblock.al_stripes, superblock.al_stripe_size_4k) = (geometry.stripes, geometry.stripe_size_4k);
    let Some(expected) = Layout::compute(index, sectors, geometry) else {
        return Err(vec!["the device is too small for its meta data".into()]);
    };
    let mut wrong = Vec::new();
    if superblock.al_offset != expected.al_offset {
        wrong.push(match index {
            Index::Internal => format!("v08 al_offset: expected {}, found {}", expected.al_offset, superblock.al_offset),
            _ => format!("v08 Magic number (al_offset) not found\n\texpected: 8, found {}", superblock.al_offset),
        });
    } else if superblock.bm_offset != expected.bm_offset {
        wrong.push(match index {
            Index::Internal => format!("strange bm_offset {} (expected: {})", superblock.bm_offset, expected.bm_offset),
            _ => format!("v08 bm_offset: expected {}, found {}", expected.bm_offset, superblock.bm_offset),
        });
    } else if index.is_internal() && u64::from(superblock.md_size) != expected.md_size {
        wrong.push(format!("strange md_size_sect {} (expected: {})", superblock.md_size, expected.md_size));
    }
    if superblock.bytes_per_bit < 4096 || !superblock.bytes_per_bit.is_power_of_two() {
        wrong.push(format!("bm_bytes_per_bit: expected 4096, found {}", superblock.bytes_per_bit));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let room = match index {
        Index::Internal => expected.bitmap_sector(),
        _ => expected.bitmap_sectors.saturating_mul(32_768),
    };
    if superblock.la_size > room {
        if speak {
            println!("# la-size-sect was too big ({}), truncated ({room})!", superblock.la_size);
        }
        superblock.la_size = room;
    }
    Ok(Found {
        superblock,
        layout: expected,
    })
}
