// SPDX-License-Identifier: GPL-2.0
//! `dump-md`: metadata as text that `restore-md` reads (metadata.md 10.3).

use super::bitmap::Words;
use super::device::Device;
use super::found::Found;
use super::{Call, Failure, FAILED, VALUE};
use drbd_core::md::log_block::{self, Kind};
use drbd_core::md::{Layout, BLOCK_BYTES};
use std::io::{self, BufWriter, Write};

/// `-v` this often shows the activity log too.
const VERBOSE_LOG: u32 = 10;
/// Slots that the update list of a transaction has.
const UPDATES: usize = 64;
/// Slots that the context of a transaction has.
const CONTEXT: usize = 919;

/// Why a dump ended early.
enum Stop {
    /// The device.
    Device(Failure),
    /// Standard output.
    Output(io::Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Device(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Output(error)
    }
}

/// Prints the dump.
pub fn dump(call: &Call, device: Device, found: Found) -> Result<(), Failure> {
    if found.is_unclean() {
        eprintln!("Found meta data is \"unclean\", please apply-al first");
        if !call.force {
            return Err(Failure::new(FAILED, ""));
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match write_all(&mut out, call, &device, &found) {
        Ok(()) => Ok(()),
        Err(Stop::Device(failure)) => Err(failure),
        Err(Stop::Output(error)) => Err(Failure::new(VALUE, format!("writing the dump: {error}"))),
    }
}

fn write_all(
    out: &mut impl Write,
    call: &Call,
    device: &Device,
    found: &Found,
) -> Result<(), Stop> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let line = call.typed.join(" ");
    writeln!(
        out,
        "# DRBD meta data dump\n# {}\n# {}> drbdmeta {line}\n#\n",
        now(),
        host.trim()
    )?;
    header(out, device, found)?;
    let words = &mut Words::new(device, found);
    writeln!(out, "# bm-bytes {};", words.count() * 4)?;
    let set = bits(out, words)?;
    writeln!(out, "# bits-set {set};")?;
    if call.verbose >= VERBOSE_LOG {
        log(out, device, found)?;
    }
    out.flush()?;
    Ok(())
}

/// Local time; the library has no time zones, the system has a program that does.
fn now() -> String {
    let output = std::process::Command::new("date")
        .arg("+%Y-%m-%d %H:%M:%S %z [%s]")
        .output();
    output.map_or_else(
        |_| "-".into(),
        |o| String::from_utf8_lossy(&o.stdout).trim().to_string(),
    )
}

fn header(out: &mut impl Write, device: &Device, found: &Found) -> io::Result<()> {
    let superblock = &found.superblock;
    writeln!(out, "version \"v08\";\n")?;
    if found.is_unclean() {
        writeln!(
            out,
            "This_is_an_unclean_meta_data_dump._Don't_trust_the_bitmap."
        )?;
        writeln!(
            out,
            "# You should \"apply-al\" first, if you plan to restore this.\n"
        )?;
    }
    writeln!(out, "# md_size_sect {}", superblock.md_size)?;
    position(out, device, found)?;
    let [current, base, young, old] = superblock.uuids.to_array();
    writeln!(
        out,
        "uuid {{\n    0x{current:016X}; 0x{base:016X}; 0x{young:016X}; 0x{old:016X};"
    )?;
    writeln!(out, "    flags 0x{:08X};\n}}", superblock.flags)?;
    writeln!(out, "# al-extents {};", superblock.al_extents)?;
    writeln!(out, "la-size-sect {};", superblock.la_size)?;
    writeln!(out, "bm-byte-per-bit {};", superblock.bytes_per_bit)?;
    writeln!(out, "device-uuid 0x{:016X};", superblock.device_uuid)?;
    writeln!(
        out,
        "la-peer-max-bio-size {};",
        superblock.peer_max_bio_bytes
    )?;
    writeln!(out, "al-stripes {};", superblock.al_stripes)?;
    writeln!(out, "al-stripe-size-4k {};", superblock.al_stripe_size_4k)
}

/// Where the parts are; metadata that a resize left behind is explained.
fn position(out: &mut impl Write, device: &Device, found: &Found) -> io::Result<()> {
    if let Some(last_known) = found.moved_from_bytes {
        writeln!(out, "#\n### Device seems to have been resized!")?;
        writeln!(out, "### dumping meta data from the last known position")?;
        writeln!(
            out,
            "### current size of {}: {} byte",
            device.path, device.bytes
        )?;
        writeln!(out, "### expected position of meta data:")?;
        match Layout::compute(device.index, device.sectors(), found.layout.geometry) {
            Some(expected) => offsets(out, "##", &expected)?,
            None => writeln!(out, "## none, the device is too small")?,
        }
        writeln!(
            out,
            "### last known size of {}: {last_known} byte",
            device.path
        )?;
        writeln!(out, "### adjusted position of meta data:")?;
    }
    offsets(out, "#", &found.layout)?;
    writeln!(out)
}

fn offsets(out: &mut impl Write, mark: &str, layout: &Layout) -> io::Result<()> {
    writeln!(out, "{mark} md_offset {}", layout.superblock * 512)?;
    writeln!(out, "{mark} al_offset {}", layout.al_sector() * 512)?;
    writeln!(out, "{mark} bm_offset {}", layout.bitmap_sector() * 512)
}

/// The bitmap: runs of equal words, else four words a line. Returns the number of bits set.
fn bits(out: &mut impl Write, words: &mut Words<'_>) -> Result<u64, Stop> {
    write!(out, "bm {{")?;
    let (mut at, mut set) = (0, 0u64);
    while at < words.count() {
        if at % 64 == 0 {
            write!(out, "\n   # at {}kB", 128 * at)?;
        }
        let run = words.run(at)? & !7;
        if run >= 16 {
            let value = words.get(at)?;
            write!(out, "\n    {} times 0x{value:08X}{value:08X};", run / 2)?;
            set += run * u64::from(value.count_ones());
            at += run;
            continue;
        }
        write!(out, "\n   ")?;
        for pair in 0..4 {
            let (low, high) = (words.get(at + 2 * pair)?, words.get(at + 2 * pair + 1)?);
            write!(out, " 0x{high:08X}{low:08X};")?;
            set += u64::from(low.count_ones() + high.count_ones());
        }
        at += 8;
    }
    writeln!(out, "\n}}")?;
    Ok(set)
}

/// The activity log as comments, in the order on disk.
fn log(out: &mut impl Write, device: &Device, found: &Found) -> Result<(), Stop> {
    writeln!(out, "# al {{")?;
    let start = found.layout.al_sector() * 512;
    for number in 0..found.layout.geometry.blocks() {
        let block = device.read(start + number * BLOCK_BYTES as u64, BLOCK_BYTES)?;
        write!(out, "#     block {number:2} {{")?;
        match log_block::kind(&block) {
            Kind::Invalid => writeln!(out, " INVALID }}")?,
            Kind::Initialized => writeln!(out, " INITIALIZED }}")?,
            Kind::Update(_) => {
                transaction(out, &block)?;
                writeln!(out, "#     }}")?;
            }
        }
    }
    writeln!(out, "# }}")?;
    Ok(())
}

fn transaction(out: &mut impl Write, block: &[u8]) -> io::Result<()> {
    let word = |at: usize| {
        let part = block.get(at..at + 4).and_then(|b| b.try_into().ok());
        part.map_or(0, u32::from_be_bytes)
    };
    let half = |at: usize| {
        let part = block.get(at..at + 2).and_then(|b| b.try_into().ok());
        part.map_or(0, u16::from_be_bytes)
    };
    writeln!(
        out,
        "\n# \tmagic: 0x{:08x}\n# \ttype: 0x{:04x}",
        word(0),
        half(12)
    )?;
    writeln!(
        out,
        "# \ttr: {:10}\n# \tactive set size: {}",
        word(4),
        half(16)
    )?;
    for place in 0..CONTEXT {
        let slot = usize::from(half(18)) + place;
        if slot >= usize::from(half(16)) {
            break;
        }
        writeln!(out, "# \t{place:2}: {slot:10} {:10}", word(420 + 4 * place))?;
    }
    writeln!(out, "# \tupdates: {}", half(14))?;
    for place in 0..usize::from(half(14)).min(UPDATES) {
        let (slot, extent) = (half(36 + 2 * place), word(164 + 4 * place));
        writeln!(out, "# \t{place:2}: {slot:10} {extent:10}")?;
    }
    writeln!(out, "# \tcrc32c: 0x{:08x}", word(8))
}
