// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 3: documents are as docs/json-schema says, and valid on errors too. Those that a driver answers are played from
//! recordings by the unit tests; here are the ones that need none.

#[path = "support/schema.rs"]
mod schema;

use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Configurations among the fixtures.
const CASES: usize = 179;

fn run(name: &str, place: &Path, words: &[&str]) -> (Value, Output) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drbdadm"));
    let command = command.arg0(name).args(words).current_dir(place);
    let output = command.stdin(Stdio::null()).output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    let document: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{}: {words:?}: {error}: {text}", place.display()));
    schema::check(&document);
    // a failure is in the document, on standard error and in the exit code, or nowhere
    let failed = output.status.code() != Some(0);
    assert_eq!(document.get("error").is_some(), failed, "{words:?}: {text}");
    if failed {
        let code = document["error"]["code"].as_i64();
        assert_eq!(code, output.status.code().map(i64::from), "{words:?}");
        assert!(!output.stderr.is_empty(), "{words:?}");
        let message = document["error"]["message"].as_str().unwrap_or("");
        assert!(!message.is_empty(), "{words:?}: {text}");
    }
    (document, output)
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("drbdadm-json-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("scratch");
    path
}

/// Good and bad ones: each gives a document.
#[test]
fn every_recorded_configuration_gives_a_document() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/config/cases");
    let (mut good, mut bad) = (0, 0);
    for case in std::fs::read_dir(cases).expect("fixtures").flatten() {
        let words = ["-c", "drbd.conf", "dump", "--json"];
        let (document, _) = run("drbdadm", &case.path(), &words);
        match document.get("error") {
            None => {
                assert!(document["config"]["resources"].is_array());
                good += 1;
            }
            Some(_) => bad += 1,
        }
    }
    assert_eq!(good + bad, CASES, "{good} good and {bad} bad");
    assert!(good > 20 && bad > 50, "{good} good and {bad} bad");
}

#[test]
fn metadata_and_its_absence_give_documents() {
    let place = scratch("metadata");
    let image = place.join("image");
    let file = std::fs::File::create(&image).expect("image");
    file.set_len(1 << 20).expect("size");
    let dump = |words: &[&str]| {
        let all = [&["--force", "-", "v08", "image", "internal"], words].concat();
        run("drbdmeta", &place, &all)
    };
    let (document, _) = dump(&["dump-md", "--json"]);
    assert_eq!(document["schema"], "drbd-metadata");
    assert!(document["error"]["code"].is_u64());
    let mut create = Command::new(env!("CARGO_BIN_EXE_drbdadm"));
    create.arg0("drbdmeta").current_dir(&place);
    create.args(["--force", "-", "v08", "image", "internal", "create-md"]);
    assert!(create.output().expect("started").status.success());
    let (document, _) = dump(&["dump-md", "--json"]);
    assert_eq!(document["uuids"]["current"], "0000000000000004");
    assert_eq!(document["flags"]["al-clean"], true);
    let _ = std::fs::remove_dir_all(place);
}

#[test]
fn what_cannot_be_done_is_a_document() {
    let place = scratch("errors");
    std::fs::write(place.join("none.conf"), "global { usage-count no; }\n").expect("written");
    let tries: &[(&str, &[&str], &str)] = &[
        (
            "drbdadm",
            &["-c", "none.conf", "status", "--json", "r9"],
            "drbd-status",
        ),
        (
            "drbdadm",
            &["-c", "none.conf", "dump-md", "--json", "r9"],
            "drbd-metadata-list",
        ),
        (
            "drbdadm",
            &["-c", "none.conf", "dump-md", "--json"],
            "drbd-metadata-list",
        ),
        (
            "drbdadm",
            &["-c", "missing.conf", "dump", "--json"],
            "drbd-config",
        ),
        (
            "drbdadm",
            &["-c", "none.conf", "sttus", "--json"],
            "drbd-error",
        ),
        (
            "drbdadm",
            &["-c", "none.conf", "status", "--json", "--odd"],
            "drbd-error",
        ),
        (
            "drbdadm",
            &["-c", "missing.conf", "why", "--json"],
            "drbd-why",
        ),
        (
            "drbdmeta",
            &["-", "v08", "missing", "internal", "dump-md", "--json"],
            "drbd-metadata",
        ),
        (
            "drbdmeta",
            &["-", "v08", "missing", "300", "dump-md", "--json"],
            "drbd-metadata",
        ),
        ("drbdsetup", &["show", "--json=5"], "drbd-show"),
        ("drbdsetup", &["status", "--json", "a", "b"], "drbd-status"),
    ];
    for (name, words, expected) in tries {
        let (document, _) = run(name, &place, words);
        assert_eq!(
            document["schema"], *expected,
            "{name} {words:?}: {document}"
        );
    }
    let _ = std::fs::remove_dir_all(place);
}

/// The exit code is that of the command without `--json`, and stands in the document.
#[test]
fn a_configuration_that_cannot_be_read_has_the_same_exit_code_in_a_document() {
    let place = scratch("codes");
    std::fs::write(place.join("bad.conf"), "resource {\n").expect("written");
    for (file, code) in [("missing.conf", 20), ("bad.conf", 10)] {
        for command in ["dump", "status", "dump-md"] {
            let (document, output) = run("drbdadm", &place, &["-c", file, command, "--json"]);
            assert_eq!(
                output.status.code(),
                Some(code),
                "{file} {command}: {document}"
            );
            assert_eq!(
                document["error"]["code"], code,
                "{file} {command}: {document}"
            );
        }
    }
    let _ = std::fs::remove_dir_all(place);
}

/// Each schema of the table in docs/json.md has its file, and the reverse.
#[test]
fn the_table_of_schemas_is_complete() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = std::fs::read_to_string(docs.join("json.md")).expect("docs/json.md");
    let mut named: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.rsplit('`').nth(1))
        .filter(|word| word.starts_with("drbd-"))
        .collect();
    named.sort_unstable();
    named.dedup();
    let files = std::fs::read_dir(docs.join("json-schema")).expect("docs/json-schema");
    let mut there: Vec<String> = files
        .flatten()
        .map(|file| {
            file.file_name()
                .to_string_lossy()
                .trim_end_matches(".json")
                .to_string()
        })
        .collect();
    there.sort();
    assert_eq!(named, there);
    for name in there {
        let schema = schema::load(&name);
        assert_eq!(schema["title"], name.as_str());
        assert_eq!(schema["properties"]["schema"]["const"], name.as_str());
        assert_eq!(schema["properties"]["version"]["const"], 1);
    }
}
