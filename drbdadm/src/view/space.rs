// SPDX-License-Identifier: GPL-2.0
//! What is on a DRBD device and how full it is: the last columns of the overview (config-and-cli.md section 14).

use super::outside;
use crate::busy::unescape;
use rustix::fs::statvfs;
use std::collections::BTreeMap;
use std::fs;

/// Major number of the devices.
const MAJOR: &str = "147";

/// Words about the use of each minor.
pub type Uses = BTreeMap<u32, Vec<String>>;

/// Asks the system: LVM first, then mounted file systems, then swap.
pub fn collect() -> Uses {
    let mut uses = Uses::new();
    if let Some(text) = outside::output(
        "pvs",
        &[
            "--noheadings",
            "--units",
            "g",
            "-o",
            "pv_name,vg_name,pv_size,pv_used",
        ],
    ) {
        uses.extend(physical_volumes(&text));
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for (minor, point, kind) in mounts(&table) {
        let words = match statvfs(&point) {
            Ok(s) => file_system(
                &point,
                &kind,
                [s.f_blocks, s.f_bfree, s.f_bavail].map(|blocks| blocks.saturating_mul(s.f_frsize)),
            ),
            Err(_) => vec![point, kind],
        };
        uses.entry(minor).or_insert(words);
    }
    let table = fs::read_to_string("/proc/swaps").unwrap_or_default();
    for (minor, words) in swaps(&table) {
        uses.entry(minor).or_insert(words);
    }
    uses
}

/// The minor of a path like `/dev/drbd3`.
fn minor_of(path: &str) -> Option<u32> {
    path.strip_prefix("/dev/drbd")?.parse().ok()
}

/// `lvm-pv: GROUP SIZE USED` from what `pvs` prints.
fn physical_volumes(text: &str) -> Uses {
    let rows = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [path, group, size, used] = words[..] else {
            return None;
        };
        let words = ["lvm-pv:", group, size, used].map(String::from);
        Some((minor_of(path)?, words.to_vec()))
    });
    rows.collect()
}

/// The first mount point of each minor, with the kind of file system.
fn mounts(table: &str) -> Vec<(u32, String, String)> {
    let mut found: Vec<(u32, String, String)> = Vec::new();
    for line in table.lines() {
        let Some((head, tail)) = line.split_once(" - ") else {
            continue;
        };
        let words: Vec<&str> = head.split(' ').collect();
        let (Some(number), Some(point)) = (words.get(2), words.get(4)) else {
            continue;
        };
        let mut tail = tail.split(' ');
        let (kind, source) = (tail.next().unwrap_or(""), tail.next().unwrap_or(""));
        let minor = match number.split_once(':') {
            Some((MAJOR, minor)) => minor.parse().ok(),
            Some(("0", _)) => minor_of(source),
            _ => None,
        };
        match minor {
            Some(minor) if !found.iter().any(|(known, ..)| *known == minor) => {
                found.push((minor, unescape(point), kind.into()));
            }
            _ => {}
        }
    }
    found
}

/// `MOUNT TYPE SIZE USED AVAIL USE%` as `df -h` has them, from bytes in all, free, and free for everybody.
fn file_system(point: &str, kind: &str, [all, free, available]: [u64; 3]) -> Vec<String> {
    let used = all.saturating_sub(free);
    let percent = match used.saturating_add(available) {
        0 => "-".into(),
        both => format!("{}%", (u128::from(used) * 100).div_ceil(u128::from(both))),
    };
    vec![
        point.into(),
        kind.into(),
        human(all),
        human(used),
        human(available),
        percent,
    ]
}

fn swaps(table: &str) -> Uses {
    let rows = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let minor = minor_of(words.first()?)?;
        let bytes = |at: usize| Some(words.get(at)?.parse::<u64>().ok()?.saturating_mul(1024));
        let (size, used) = (bytes(2)?, bytes(3)?);
        let free = size.saturating_sub(used);
        Some((minor, file_system("swap", "swap", [size, free, free])))
    });
    rows.collect()
}

/// Bytes rounded up, at least two digits: `1.5G`, `20G`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    let mut divisor = 1u64;
    for (at, unit) in UNITS.iter().enumerate() {
        let tenths = (u128::from(bytes) * 10).div_ceil(u128::from(divisor));
        if at > 0 && tenths < 100 {
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
        let whole = bytes.div_ceil(divisor);
        if whole < 1024 {
            return format!("{whole}{unit}");
        }
        divisor = divisor.saturating_mul(1024);
    }
    format!("{bytes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_df_writes_them() {
        let table = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 << 10, "10K"),
            ((10 << 10) + 1, "11K"),
            (1023 << 20, "1023M"),
            ((1 << 30) - 1, "1.0G"),
            (20 << 30, "20G"),
            (u64::MAX, "16E"),
        ];
        for (bytes, text) in table {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn a_mount_is_described_with_size_and_usage() {
        let gib = 1u64 << 30;
        assert_eq!(
            file_system("/mnt", "ext4", [20 * gib, 19 * gib, 18 * gib]),
            ["/mnt", "ext4", "20G", "1.0G", "18G", "6%"]
        );
        assert_eq!(file_system("/mnt", "x", [0, 0, 0])[5], "-");
    }

    #[test]
    fn the_tables_of_the_kernel_and_of_lvm_are_read() {
        let table = "31 1 147:2 / /mnt/a\\040b rw - ext4 /dev/drbd2 rw\n32 1 147:2 / /again rw - ext4 /dev/drbd2 rw\n33 1 0:44 / /b rw - btrfs /dev/drbd5 rw\n34 1 8:1 / / rw - ext4 /dev/sda1 rw\nnonsense\n";
        assert_eq!(
            mounts(table),
            [
                (2, "/mnt/a b".into(), "ext4".into()),
                (5, "/b".into(), "btrfs".into())
            ]
        );
        let table = "Filename\tType\tSize\tUsed\tPriority\n/dev/drbd1 partition 1048576 0 -2\n/dev/sda2 partition 5 0 -3\n";
        assert_eq!(
            swaps(table)[&1],
            ["swap", "swap", "1.0G", "0", "1.0G", "0%"]
        );
        assert_eq!(swaps(table).len(), 1);
        let text = "  /dev/drbd0  vg0  19.99g  5.00g\n  /dev/sda3  vg1  1.00g 0g\n";
        assert_eq!(
            physical_volumes(text)[&0],
            ["lvm-pv:", "vg0", "19.99g", "5.00g"]
        );
    }
}
