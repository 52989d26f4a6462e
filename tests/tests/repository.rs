// SPDX-License-Identifier: GPL-2.0
//! Rules of the repository that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the checkout")
        .to_path_buf()
}

/// Source files of the project, without fixtures, caches and what is generated.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![top()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "build", "fixtures", ".git"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if is_source(&name) {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "only {} sources found", found.len());
    found
}

fn is_source(name: &str) -> bool {
    let generated = ["extra.rs", "extra_wrap.c", "drbd.mod.c"].contains(&name);
    let known = ["rs", "c", "h", "sh", "py", "toml"]
        .iter()
        .any(|e| name.ends_with(&format!(".{e}")));
    !generated && (known || ["Makefile", "Kbuild"].contains(&name))
}

/// Scripts and units of `packaging/`, which have no ending that tells what they are.
fn packaged() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["dkms", "handlers", "heartbeat", "init", "ocf", "rpm", "systemd", "udev"] {
        let Ok(entries) = fs::read_dir(top().join("packaging").join(folder)) else {
            continue;
        };
        found.extend(entries.flatten().map(|entry| entry.path()));
    }
    assert!(found.len() > 10, "only {} packaged files found", found.len());
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(top())
        .unwrap_or(path)
        .display()
        .to_string()
}

#[test]
fn every_source_names_its_licence() {
    let missing: Vec<String> = sources()
        .iter()
        .chain(&packaged())
        .filter(|p| {
            let text = fs::read_to_string(p).unwrap_or_default();
            !text.lines().take(3).any(|l| l.contains("SPDX-License-Identifier: GPL-2.0"))
        })
        .map(|p| relative(p))
        .collect();
    assert!(missing.is_empty(), "no SPDX line in {missing:?}");
}

#[test]
fn no_source_is_longer_than_700_lines() {
    let long: Vec<String> = sources()
        .iter()
        .filter_map(|p| {
            let lines = fs::read_to_string(p).unwrap_or_default().lines().count();
            (lines > 700).then(|| format!("{} ({lines})", relative(p)))
        })
        .collect();
    assert!(long.is_empty(), "too long: {long:?}");
}

#[test]
fn unsafe_code_is_in_kapi_alone_and_argued_for() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = relative(path);
        if name == "tests/tests/repository.rs" {
            continue;
        }
        let text = fs::read_to_string(path).unwrap_or_default();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            // what stands between quotes is text: cache=unsafe of QEMU
            let code: String = code.split('"').step_by(2).collect();
            let word = code
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|w| w == "unsafe");
            if word && !name.starts_with("kernel-module/kapi/") {
                wrong.push(format!("{name}:{}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside kernel-module/kapi: {wrong:?}");
}

#[test]
fn every_unsafe_block_in_kapi_has_a_safety_argument() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|p| relative(p).starts_with("kernel-module/kapi/")) {
        if path.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !(code.contains("unsafe {") || code.contains("unsafe impl")) {
                continue;
            }
            let argued = lines[number.saturating_sub(12)..=number]
                .iter()
                .any(|l| l.contains("SAFETY:"));
            if !argued {
                wrong.push(format!("{}:{}", relative(path), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "no SAFETY argument: {wrong:?}");
}

#[test]
fn core_and_driver_forbid_unsafe_code() {
    for file in ["kernel-module/core/src/lib.rs", "kernel-module/drbd.rs"] {
        let text = fs::read_to_string(top().join(file)).expect("readable");
        assert!(text.contains("forbid(unsafe_code)"), "{file} does not forbid unsafe code");
    }
}

#[test]
fn no_gap_is_hidden_behind_a_marker() {
    let markers = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!"),
        concat!("to", "do!("),
        concat!("#[ig", "nore"),
    ];
    let mut wrong = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap_or_default();
        for marker in markers {
            if text.contains(marker) {
                wrong.push(format!("{}: {marker}", relative(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
