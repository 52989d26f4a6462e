// SPDX-License-Identifier: GPL-2.0
//! `dump-md`: metadata as text that `restore-md` reads (metadata.md 10.3).

use super::device::{Device, Found};
use super::{Call, Failure};
use drbd_core::md::superblock::MAGIC_UNCLEAN;
use drbd_core::md::flags;
use drbd_core::md::Index;
use std::fmt::Write;

/// Prints the dump.
pub fn dump(call: &Call, device: Device, found: Found) -> Result<(), Failure> {
    let superblock = &found.superblock;
    let unclean = superblock.magic == MAGIC_UNCLEAN || superblock.flags & flags::AL_CLEAN == 0;
    if unclean {
        eprintln!("Found meta data is \"unclean\", please apply-al first");
        if !call.force {
            return Err(Failure::new(1, ""));
        }
    }
    let bitmap = device.bitmap(&found)?;
    println!("# DRBD meta data dump\n# {}\n# {}\n#\n", now(), command_line(call));
    print!("{}", render(&found, &bitmap, unclean));
    Ok(())
}

fn command_line(call: &Call) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let index = match call.index {
        Index::Internal => "internal".into(),
        Index::FlexibleExternal => "flex-external".into(),
        Index::Slot(slot) => slot.to_string(),
    };
    let minor = call.minor.map_or("-".into(), |m| m.to_string());
    let force = if call.force { "--force " } else { "" };
    format!("{}> drbdmeta {force}{minor} v08 {} {index} dump-md", host.trim(), call.path)
}

fn now() -> String {
    let output = std::process::Command::new("date").arg("+%Y-%m-%d %H:%M:%S %z [%s]").output();
    output.map_or_else(|_| "-".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_string())
}

/// Everything behind the header.
pub fn render(found: &Found, bitmap: &[u8], unclean: bool) -> String {
    let (superblock, layout) = (&found.superblock, &found.layout);
    let mut text = String::from("version \"v08\";\n\n");
    if unclean {
        text.push_str(
            "This_is_an_unclean_meta_data_dump._Don't_trust_the_bitmap.\n\
             # You should \"apply-al\" first, if you plan to restore this.\n\n",
        );
    }
    let _ = write!(
        text,
        "# md_size_sect {}\n# md_offset {}\n# al_offset {}\n# bm_offset {}\n\n",
        superblock.md_size,
        layout.superblock * 512,
        layout.al_sector() * 512,
        layout.bitmap_sector() * 512
    );
    let [current, base, young, old] = superblock.uuids.to_array();
    let _ = write!(
        text,
        "uuid {{\n    0x{current:016X}; 0x{base:016X}; 0x{young:016X}; 0x{old:016X};\n    flags 0x{:08X};\n}}\n",
        superblock.flags
    );
    let _ = write!(
        text,
        "# al-extents {};\nla-size-sect {};\nbm-byte-per-bit {};\ndevice-uuid 0x{:016X};\nla-peer-max-bio-size {};\nal-stripes {};\nal-stripe-size-4k {};\n",
        superblock.al_extents,
        superblock.la_size,
        superblock.bytes_per_bit,
        superblock.device_uuid,
        superblock.peer_max_bio_bytes,
        superblock.al_stripes,
        superblock.al_stripe_size_4k
    );
    let _ = writeln!(text, "# bm-bytes {};", bitmap.len());
    bits(&mut text, bitmap);
    let set: u64 = bitmap.iter().map(|b| u64::from(b.count_ones())).sum();
    let _ = writeln!(text, "# bits-set {set};");
    text
}

/// The bitmap: runs of equal words, else four words a line.
fn bits(text: &mut String, bitmap: &[u8]) {
    let words: Vec<u32> = bitmap
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    text.push_str("bm {");
    let mut at = 0;
    while at < words.len() {
        if at % 64 == 0 {
            let _ = write!(text, "\n   # at {}kB", 128 * at);
        }
        let run = words[at..].iter().take_while(|w| **w == words[at]).count() & !7;
        if run >= 16 {
            let _ = write!(text, "\n    {} times 0x{:08X}{:08X};", run / 2, words[at], words[at]);
            at += run;
            continue;
        }
        text.push_str("\n   ");
        for pair in words[at..].chunks_exact(2).take(4) {
            let _ = write!(text, " 0x{:08X}{:08X};", pair[1], pair[0]);
        }
        at += 8;
    }
    text.push_str("\n}\n");
}
