// SPDX-License-Identifier: GPL-2.0
//! Who uses a block device (issue 4, "What wrong input gets": device busy, say by whom): mounts, swap, devices on top of it, processes that hold it open.

use rustix::fs::{major, minor, stat};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Most users that are listed.
const MOST: usize = 8;

/// Where the kernel tells.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
        }
    }
}

/// A device number.
pub type Number = (u32, u32);

/// The number of a block device node.
pub fn number_of(path: &str) -> Option<Number> {
    let data = stat(path).ok()?;
    let is_block = rustix::fs::FileType::from_raw_mode(data.st_mode).is_block_device();
    is_block.then(|| (major(data.st_rdev), minor(data.st_rdev)))
}

/// Lines for a message about a busy device: who uses it; empty when nobody is found.
pub fn explain(path: &str) -> String {
    match number_of(path) {
        Some(number) => lines(path, &users(&Places::default(), number)),
        None => String::new(),
    }
}

/// The same for a minor of DRBD.
pub fn explain_minor(minor: u32) -> String {
    let number = (147, minor);
    lines(
        &format!("/dev/drbd{minor}"),
        &users(&Places::default(), number),
    )
}

fn lines(path: &str, users: &[String]) -> String {
    users
        .iter()
        .take(MOST)
        .map(|user| format!("\n{path} is {user}"))
        .collect()
}

/// Everybody who uses the device, its partitions, or the disk it is a partition of.
pub fn users(places: &Places, number: Number) -> Vec<String> {
    let mut found = Vec::new();
    let family = family(places, number);
    mounts(places, &family, &mut found);
    swaps(places, &family, &mut found);
    for (number, _) in &family {
        holders(places, *number, &mut found);
    }
    processes(places, &family, &mut found);
    found
}

/// The device with its name, and its partitions.
fn family(places: &Places, number: Number) -> Vec<(Number, String)> {
    let folder = folder(places, number);
    let name = |path: &Path| {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let last = real
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        last.unwrap_or_default()
    };
    let mut found = vec![(number, name(&folder))];
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.join("partition").exists() {
            if let Some(number) = read_number(&path.join("dev")) {
                found.push((number, name(&path)));
            }
        }
    }
    found
}

fn folder(places: &Places, number: Number) -> PathBuf {
    places
        .sys
        .join(format!("dev/block/{}:{}", number.0, number.1))
}

fn read_number(path: &Path) -> Option<Number> {
    parse_number(fs::read_to_string(path).ok()?.trim())
}

fn parse_number(text: &str) -> Option<Number> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// ` (partition sda1)` for a partition of the device asked for.
fn through(family: &[(Number, String)], at: usize) -> String {
    match family.get(at) {
        Some((_, name)) if at > 0 => format!(" (partition {name})"),
        _ => String::new(),
    }
}

/// Mounts of this and of other mount namespaces.
fn mounts(places: &Places, family: &[(Number, String)], found: &mut Vec<String>) {
    let own = places.proc.join("self/mountinfo");
    let mut seen = BTreeSet::new();
    let mut read = |path: &Path, whose: &str, found: &mut Vec<String>| {
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let Some((at, point, kind)) = mount_of(line, family) else {
                continue;
            };
            if seen.insert((at, point.clone())) {
                let partition = through(family, at);
                found.push(format!("mounted on {point} ({kind}){partition}{whose}"));
            }
        }
    };
    read(&own, "", found);
    let mut namespaces = BTreeSet::new();
    namespaces.extend(fs::read_link(places.proc.join("self/ns/mnt")).ok());
    for process in process_folders(places) {
        let Ok(namespace) = fs::read_link(process.join("ns/mnt")) else {
            continue;
        };
        if namespaces.insert(namespace) {
            let whose = format!(", in the mount namespace of {}", title(&process));
            read(&process.join("mountinfo"), &whose, found);
        }
    }
}

/// A line of mountinfo about one of the devices: which one, mount point, file system.
fn mount_of(line: &str, family: &[(Number, String)]) -> Option<(usize, String, String)> {
    let (head, tail) = line.split_once(" - ")?;
    let words: Vec<&str> = head.split(' ').collect();
    let number = parse_number(words.get(2)?)?;
    let mut tail = tail.split(' ');
    let (kind, source) = (tail.next()?, tail.next().unwrap_or(""));
    // file systems over several devices have a number of their own
    let by_name = |name: &str| source.strip_prefix("/dev/") == Some(name);
    let at = family
        .iter()
        .position(|(known, name)| *known == number || (number.0 == 0 && by_name(name)))?;
    Some((at, unescape(words.get(4)?), kind.into()))
}

/// `\040` and its like.
pub fn unescape(text: &str) -> String {
    let mut plain = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).filter(|_| *first == b'\\');
        let code =
            code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(byte) => {
                plain.push(byte);
                rest = more.get(3..).unwrap_or(&[]);
            }
            None => {
                plain.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn swaps(places: &Places, family: &[(Number, String)], found: &mut Vec<String>) {
    let text = fs::read_to_string(places.proc.join("swaps")).unwrap_or_default();
    for path in text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
    {
        let path = unescape(path);
        let name = path.strip_prefix("/dev/").unwrap_or(&path);
        if let Some(at) = family.iter().position(|(_, known)| known == name) {
            found.push(format!("swap space{}", through(family, at)));
        }
    }
}

fn holders(places: &Places, number: Number, found: &mut Vec<String>) {
    let folder = folder(places, number).join("holders");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mapped = fs::read_to_string(entry.path().join("dm/name")).unwrap_or_default();
        found.push(match (name.as_str(), mapped.trim()) {
            (name, "") if name.starts_with("drbd") => {
                format!("the disk of DRBD device /dev/{name}")
            }
            (name, "") => format!("part of /dev/{name}"),
            (name, mapped) => {
                format!("part of /dev/mapper/{mapped} ({name}: LVM, dm-crypt or multipath)")
            }
        });
    }
}

fn process_folders(places: &Places) -> Vec<PathBuf> {
    let entries = fs::read_dir(&places.proc).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        })
        .map(|entry| entry.path())
        .collect()
}

fn title(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let number = process.file_name().unwrap_or_default().to_string_lossy();
    format!("process {number} ({})", name.trim())
}

fn processes(places: &Places, family: &[(Number, String)], found: &mut Vec<String>) {
    let own = std::process::id().to_string();
    for process in process_folders(places) {
        if process
            .file_name()
            .is_some_and(|name| name.to_string_lossy() == own)
        {
            continue;
        }
        let entries = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        let holds = entries.filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            // only what is a device by its name is looked at: a stat of anything else may wait for a server
            target.strip_prefix("/dev").ok()?;
            let number = number_of(&entry.path().to_string_lossy())?;
            family.iter().position(|(known, _)| *known == number)
        });
        if let Some(at) = holds.min() {
            found.push(format!(
                "held open by {}{}",
                title(&process),
                through(family, at)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("busy-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("scratch");
        path
    }

    fn put(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, text).expect("file");
    }

    #[test]
    fn mounts_swap_holders_and_partitions_are_named() {
        let top = scratch("tables");
        let places = Places {
            proc: top.join("proc"),
            sys: top.join("sys"),
        };
        put(
            places.proc.join("self/mountinfo"),
            "22 1 8:1 / /a\\040b rw - ext4 /dev/sda1 rw\n23 1 0:40 / /btr rw - btrfs /dev/sda2 rw\n24 1 9:9 / /c rw - xfs /dev/x rw\n",
        );
        put(
            places.proc.join("swaps"),
            "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n",
        );
        put(places.sys.join("dev/block/8:0/sda1/partition"), "1\n");
        put(places.sys.join("dev/block/8:0/sda1/dev"), "8:1\n");
        put(places.sys.join("dev/block/8:0/sda2/partition"), "2\n");
        put(places.sys.join("dev/block/8:0/sda2/dev"), "8:2\n");
        put(places.sys.join("dev/block/8:0/holders/drbd3/x"), "");
        put(
            places.sys.join("dev/block/8:0/holders/dm-0/dm/name"),
            "vg-root\n",
        );
        let mut found = users(&places, (8, 0));
        found.sort();
        assert_eq!(
            found,
            [
                "mounted on /a b (ext4) (partition sda1)",
                "mounted on /btr (btrfs) (partition sda2)",
                "part of /dev/mapper/vg-root (dm-0: LVM, dm-crypt or multipath)",
                "swap space (partition sda2)",
                "the disk of DRBD device /dev/drbd3",
            ]
        );
        assert!(users(&places, (7, 7)).is_empty());
        fs::remove_dir_all(top).expect("cleaned");
    }

    #[test]
    fn escapes_of_the_mount_table_are_undone() {
        for (text, plain) in [
            ("a\\040b", "a b"),
            ("\\134", "\\"),
            ("x\\", "x\\"),
            ("\\99", "\\99"),
            ("é", "é"),
        ] {
            assert_eq!(unescape(text), plain);
        }
    }

    #[test]
    fn what_is_no_device_has_no_users() {
        assert_eq!(explain("/dev/null"), "");
        assert_eq!(explain("/nonexistent"), "");
    }
}
