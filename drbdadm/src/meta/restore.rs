// SPDX-License-Identifier: GPL-2.0
//! `restore-md` and `verify-dump`: reading a dump back (metadata.md 10.3).

use super::device::{Device, Found};
use super::{ask, Call, Failure, USAGE, VALUE};
use drbd_core::md::superblock::MAGIC_CLEAN;
use drbd_core::md::{Geometry, Layout, Superblock, Uuids};

/// What a dump says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dump {
    uuids: [u64; 4],
    flags: u32,
    la_size: u64,
    bytes_per_bit: u64,
    device_uuid: u64,
    peer_max_bio_bytes: u64,
    stripes: u64,
    stripe_size_4k: u64,
    /// Words of the bitmap.
    words: Vec<u64>,
}

fn read_file(call: &Call) -> Result<Dump, Failure> {
    let path = call
        .arguments
        .first()
        .ok_or_else(|| Failure::new(USAGE, "expected the name of a dump file"))?;
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(USAGE, format!("open of '{path}' failed. ({e})")))?;
    parse(&text).map_err(|text| Failure::new(VALUE, text))
}

/// Only parses.
pub fn verify(call: &Call) -> Result<(), Failure> {
    read_file(call)?;
    println!("input file parsed ok");
    Ok(())
}

/// Writes metadata from a dump; offsets follow this device.
pub fn restore(call: &Call, mut device: Device) -> Result<(), Failure> {
    let dump = read_file(call)?;
    if device.find().is_ok() && !ask::confirm("Valid meta-data in place, overwrite?", call.force) {
        println!("Operation cancelled.");
        return Err(Failure::new(1, ""));
    }
    let geometry = match call.geometry {
        Some(geometry) => {
            eprintln!("override activity log striping from commandline");
            geometry
        }
        None => Geometry {
            stripes: dump.stripes as u32,
            stripe_size_4k: dump.stripe_size_4k as u32,
        },
    };
    let layout = Layout::compute(device.index, device.sectors(), geometry)
        .ok_or_else(|| Failure::new(VALUE, format!("{} is too small for meta data", device.path)))?;
    eprintln!("reinitializing");
    super::create::check_existing_data(call, &mut device, &layout)?;
    let room = if device.index.is_internal() { layout.bitmap_sector() } else { layout.bitmap_sectors * 32_768 };
    let mut found = Found {
        superblock: Superblock::fresh(&layout),
        layout,
    };
    let superblock = &mut found.superblock;
    superblock.uuids = Uuids::from_array(dump.uuids);
    superblock.flags = dump.flags;
    superblock.magic = MAGIC_CLEAN;
    superblock.la_size = dump.la_size.min(room);
    superblock.device_uuid = dump.device_uuid;
    superblock.peer_max_bio_bytes = dump.peer_max_bio_bytes as u32;
    let mut bitmap: Vec<u8> = dump.words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let area = layout.bitmap_sectors as usize * 512;
    if bitmap.len() > area {
        eprintln!("Bitmap info too large, truncated!");
    }
    bitmap.resize(area.min(1 << 30), 0);
    device.write(layout.bitmap_sector() * 512, &bitmap)?;
    // The dump is a complete picture: nothing of an old log may be applied to it.
    super::apply::initialize(&device, &found)?;
    device.write_superblock(&found)?;
    super::relocate::remember(call, &device, &found);
    println!("Successfully restored meta data");
    Ok(())
}

struct Scanner<'a> {
    rest: std::iter::Peekable<std::str::CharIndices<'a>>,
    text: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn skip(&mut self) {
        while let Some((_, c)) = self.rest.peek().copied() {
            if c == '#' {
                while self.rest.peek().is_some_and(|(_, c)| *c != '\n') {
                    self.rest.next();
                }
            } else if c.is_whitespace() {
                self.line += usize::from(c == '\n');
                self.rest.next();
            } else {
                break;
            }
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        self.skip();
        let (start, first) = self.rest.next()?;
        if "{};".contains(first) {
            return self.text.get(start..start + 1);
        }
        let mut end = start + first.len_utf8();
        while let Some((at, c)) = self.rest.peek().copied() {
            if c.is_whitespace() || "{};#".contains(c) {
                break;
            }
            end = at + c.len_utf8();
            self.rest.next();
        }
        self.text.get(start..end)
    }

    fn wrong(&self, expected: &str, got: Option<&str>) -> String {
        match got {
            Some(token) => format!("Parse error in line {}: {expected} expected, not '{token}'", self.line),
            None => format!("Parse error in line {}: {expected} expected, but end of file encountered", self.line),
        }
    }

    fn word(&mut self, wanted: &str) -> Result<(), String> {
        let name = match wanted {
            ";" => "semicolon (;)".to_string(),
            "{" => "opening brace ({)".to_string(),
            "}" => "closing brace (})".to_string(),
            other => format!("keyword '{other}'"),
        };
        match self.token() {
            Some(token) if token == wanted => Ok(()),
            other => Err(self.wrong(&name, other)),
        }
    }

    fn hex(&mut self, digits: usize) -> Result<u64, String> {
        let token = self.token();
        token
            .and_then(|t| t.strip_prefix("0x"))
            .filter(|t| t.len() == digits)
            .and_then(|t| u64::from_str_radix(t, 16).ok())
            .ok_or_else(|| self.wrong(&format!("a {digits}-digit hex number"), token))
    }

    fn decimal(&mut self) -> Result<u64, String> {
        let token = self.token();
        token
            .filter(|t| t.len() <= 19)
            .and_then(|t| t.parse().ok())
            .ok_or_else(|| self.wrong("a number", token))
    }

    fn field(&mut self, name: &str) -> Result<u64, String> {
        self.word(name)?;
        let value = if name == "device-uuid" { self.hex(16)? } else { self.decimal()? };
        self.word(";")?;
        Ok(value)
    }
}

/// Reads the text of a dump. Errors name the line and what was expected.
pub fn parse(text: &str) -> Result<Dump, String> {
    let mut scanner = Scanner {
        rest: text.char_indices().peekable(),
        text,
        line: 1,
    };
    let mut dump = Dump::default();
    scanner.word("version")?;
    let version = scanner.token().unwrap_or("").trim_matches('"').to_string();
    if version != "v08" {
        return Err(format!("dump is '{version}' you requested 'v08'."));
    }
    scanner.word(";")?;
    scanner.word("uuid")?;
    scanner.word("{")?;
    for place in 0..4 {
        dump.uuids[place] = scanner.hex(16)?;
        scanner.word(";")?;
    }
    scanner.word("flags")?;
    dump.flags = scanner.hex(8)? as u32;
    scanner.word(";")?;
    scanner.word("}")?;
    dump.la_size = scanner.field("la-size-sect")?;
    dump.bytes_per_bit = scanner.field("bm-byte-per-bit")?;
    if dump.bytes_per_bit < 4096 || !dump.bytes_per_bit.is_power_of_two() {
        return Err("Invalid value for bm-byte-per-bit: value must be a power-of-two multiple of 4096".into());
    }
    dump.device_uuid = scanner.field("device-uuid")?;
    dump.peer_max_bio_bytes = scanner.field("la-peer-max-bio-size")?;
    dump.stripes = scanner.field("al-stripes")?;
    dump.stripe_size_4k = scanner.field("al-stripe-size-4k")?;
    scanner.word("bm")?;
    scanner.word("{")?;
    parse_bits(&mut scanner, &mut dump)?;
    Ok(dump)
}

/// Most words of a bitmap: 1 PiB of data.
const MAX_WORDS: u64 = 1 << 32;

fn parse_bits(scanner: &mut Scanner<'_>, dump: &mut Dump) -> Result<(), String> {
    loop {
        let token = scanner.token();
        match token {
            Some("}") => break,
            Some(word) if word.starts_with("0x") => {
                let value = word
                    .strip_prefix("0x")
                    .filter(|t| t.len() == 16)
                    .and_then(|t| u64::from_str_radix(t, 16).ok())
                    .ok_or_else(|| scanner.wrong("a 16-digit hex number", token))?;
                dump.words.push(value);
            }
            Some(count) => {
                let count: u64 = count.parse().map_err(|_| scanner.wrong("a number or '}'", token))?;
                scanner.word("times")?;
                let value = scanner.hex(16)?;
                if count > MAX_WORDS - (dump.words.len() as u64).min(MAX_WORDS) || count > 1 << 27 {
                    return Err(format!("Parse error in line {}: {count} words do not fit any device", scanner.line));
                }
                dump.words.resize(dump.words.len() + count as usize, value);
            }
            None => return Err(scanner.wrong("closing brace (})", None)),
        }
        scanner.word(";")?;
    }
    match scanner.token() {
        None => Ok(()),
        other => Err(scanner.wrong("end of file", other)),
    }
}
