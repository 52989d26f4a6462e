// SPDX-License-Identifier: GPL-2.0
//! `drbdmeta` on every recorded metadata area: recovery, dumps, identifiers and fresh areas are
//! what the reference tool and the C driver left (fixtures/metadata; issue 2 line 7, issue 4 item 3: recovery, 8.3 logs, dump and restore).

use serde_json::Value;
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/metadata")
}

fn cases(group: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(fixtures().join(group))
        .expect("fixtures")
        .flatten()
        .map(|e| e.path())
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn unpack(path: &Path) -> Option<Vec<u8>> {
    let packed = fs::read(path).ok()?;
    let mut out = Vec::new();
    lzma_rs::xz_decompress(&mut &packed[..], &mut out).expect("xz");
    Some(out)
}

/// A sparse file with the metadata region of a case.
struct Disk {
    path: PathBuf,
    facts: Value,
}

impl Disk {
    fn build(case: &Path, content: Option<Vec<u8>>) -> Self {
        let facts: Value =
            serde_json::from_str(&fs::read_to_string(case.join("facts.json")).expect("facts"))
                .expect("json");
        let name = case
            .file_name()
            .expect("name")
            .to_string_lossy()
            .into_owned();
        let path = std::env::temp_dir().join(format!(
            "drbdmeta-{}-{name}-{:?}.img",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file = fs::File::create(&path).expect("image");
        file.set_len(number(&facts, "md_device_size"))
            .expect("size");
        if let Some(bytes) = content {
            file.seek(SeekFrom::Start(number(&facts, "region_offset")))
                .expect("seek");
            file.write_all(&bytes).expect("write");
        }
        Self { path, facts }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let index = match &self.facts["index"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Command::new(env!("CARGO_BIN_EXE_drbdadm"))
            .args(["drbdmeta", "--force", "-", "v08"])
            .arg(&self.path)
            .arg(index)
            .args(arguments)
            .output()
            .expect("runs")
    }

    fn region(&self, length: usize) -> Vec<u8> {
        let mut file = fs::File::open(&self.path).expect("image");
        file.seek(SeekFrom::Start(number(&self.facts, "region_offset")))
            .expect("seek");
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes).expect("read");
        bytes
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn number(facts: &Value, key: &str) -> u64 {
    facts[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} is no number"))
}

/// A recorded list of lines; none recorded: nothing was said.
fn lines(recorded: &Value) -> Vec<&str> {
    let list = recorded.as_array();
    list.map_or_else(Vec::new, |list| {
        list.iter().filter_map(Value::as_str).collect()
    })
}

/// Without the header (time, host, command line) and the flags the old tool prints wrong.
fn masked(dump: &str) -> String {
    dump.lines()
        .filter(|line| {
            !line.trim().starts_with("flags 0x") && !line.starts_with("# la-size-sect was")
        })
        .filter(|line| !line.contains("> drbdmeta ") && !line.starts_with("# 20"))
        .map(|line| line.to_string() + "\n")
        .collect()
}

#[test]
fn apply_al_recovers_every_recorded_area_as_the_reference_tool_does() {
    for group in ["real", "crafted"] {
        for case in cases(group) {
            let name = case.display().to_string();
            let before = unpack(&case.join("meta.bin.xz")).expect("area");
            let length = before.len();
            let disk = Disk::build(&case, Some(before));
            let output = disk.run(&["apply-al"]);
            let exit = disk.facts["apply_al_exit"].as_i64().unwrap_or(0) as i32;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let normal = |code: i32| if code == 134 { 1 } else { code };
            assert_eq!(output.status.code(), Some(normal(exit)), "{name}: {said}");
            // Stripes that make no sense are named as that, instead of an offset that follows from them.
            let recorded = lines(&disk.facts["apply_al_stderr"]);
            let mut told: Vec<&str> = said.lines().collect();
            if name.contains("v09magic") {
                // "What wrong input gets": metadata of another release is named, with what to do
                let more = told.split_off(recorded.len().min(told.len())).join(" ");
                let advice = ["DRBD 9 (v09", "needs v08", "create-md"];
                assert!(advice.iter().all(|part| more.contains(part)), "{said}");
            }
            if !name.contains("bad-stripes") {
                assert_eq!(told, recorded, "{name}");
            }
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(
                printed.lines().collect::<Vec<_>>(),
                lines(&disk.facts["apply_al_stdout"]),
                "{name}"
            );
            if let Some(after) = unpack(&case.join("meta-after.bin.xz")) {
                let got = disk.region(length);
                let first = got.iter().zip(&after).position(|(a, b)| a != b);
                assert!(
                    first.is_none(),
                    "{name}: differs from byte {first:?}\n{said}"
                );
            }
        }
    }
}

/// Compares the dump with a recorded one, if there is one.
fn compare_dump(disk: &Disk, recorded: &Path) {
    let name = recorded.display();
    let Ok(text) = fs::read_to_string(recorded) else {
        return;
    };
    let output = disk.run(&["dump-md"]);
    assert!(output.status.success(), "{name}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(masked(&printed), masked(&text), "{name}");
    let flags =
        ["before", "after"].map(|when| disk.facts[when]["flags"].as_str().unwrap_or_default());
    let real = flags
        .iter()
        .any(|flags| printed.contains(&format!("flags {flags};")));
    assert!(
        real,
        "{name}: the flags are those of the superblock\n{printed}"
    );
}

/// Compares the identifiers with a recorded line, if there is one.
fn compare_gi(disk: &Disk, recorded: &Value) {
    let Some(line) = recorded.as_str() else {
        return;
    };
    let output = disk.run(&["get-gi"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = printed.lines().last();
    assert_eq!(last, line.lines().last(), "{}", disk.path.display());
}

#[test]
fn dumps_and_identifiers_equal_the_recorded_text() {
    for case in ["real", "crafted", "created"].into_iter().flat_map(cases) {
        let disk = Disk::build(&case, unpack(&case.join("meta.bin.xz")));
        compare_dump(&disk, &case.join("dump-before.txt"));
        compare_dump(&disk, &case.join("dump.txt"));
        compare_gi(&disk, &disk.facts["get_gi_before"]);
        for file in ["show-gi-before.txt", "show-gi.txt"] {
            if let Ok(text) = fs::read_to_string(case.join(file)) {
                let output = disk.run(&["show-gi"]);
                assert_eq!(
                    String::from_utf8_lossy(&output.stdout),
                    text,
                    "{}",
                    case.display()
                );
            }
        }
        let after = unpack(&case.join("meta-after.bin.xz"));
        if after.is_some() {
            let disk = Disk::build(&case, after);
            compare_dump(&disk, &case.join("dump-after.txt"));
            compare_gi(&disk, &disk.facts["get_gi_after"]);
        }
    }
}

#[test]
fn create_md_writes_the_recorded_bytes() {
    for case in cases("created") {
        let name = case.display().to_string();
        let wanted = unpack(&case.join("meta.bin.xz")).expect("area");
        let disk = Disk::build(&case, None);
        let stripes = disk.facts["before"]["al_stripes"].as_u64().unwrap_or(1);
        let kib = disk.facts["before"]["al_stripe_size_4k"]
            .as_u64()
            .unwrap_or(8)
            * 4;
        let bio = disk.facts["before"]["la_peer_max_bio_size"]
            .as_u64()
            .unwrap_or(0);
        let mut arguments = vec!["create-md".to_string()];
        if stripes != 1 || kib != 32 {
            arguments.push(format!("--al-stripes={stripes}"));
            arguments.push(format!("--al-stripe-size-kB={kib}"));
        }
        if bio != 0 {
            arguments.push(format!("--peer-max-bio-size={bio}"));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = disk.run(&arguments);
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.ends_with(
                "Writing meta data...\nNew drbd meta data block successfully created.\n"
            ),
            "{text}"
        );
        let got = disk.region(wanted.len());
        let first = got.iter().zip(&wanted).position(|(a, b)| a != b);
        assert!(first.is_none(), "{name}: differs from byte {first:?}");
    }
}

#[test]
fn a_dump_restores_to_the_same_metadata() {
    for case in cases("real") {
        let name = case.display().to_string();
        let disk = Disk::build(&case, unpack(&case.join("meta.bin.xz")));
        assert!(disk.run(&["apply-al"]).status.success(), "{name}");
        let dump = disk.run(&["dump-md"]);
        assert!(dump.status.success(), "{name}");
        let file = disk.path.with_extension("dump");
        fs::write(&file, &dump.stdout).expect("dump file");
        let restored = disk.run(&["restore-md", &file.to_string_lossy()]);
        assert!(
            restored.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&restored.stderr)
        );
        let again = disk.run(&["dump-md"]);
        let _ = fs::remove_file(&file);
        let strip = |bytes: &[u8]| {
            masked(&String::from_utf8_lossy(bytes)).replace("# al-extents 257", "# al-extents N")
        };
        let first: String = strip(&dump.stdout)
            .lines()
            .filter(|l| !l.starts_with("# al-extents"))
            .collect();
        let second: String = strip(&again.stdout)
            .lines()
            .filter(|l| !l.starts_with("# al-extents"))
            .collect();
        assert_eq!(first, second, "{name}");
    }
}
