// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 3: `drbdmeta` beside the reference tool: what it printed, its exit code and what it left on the
//! disk in 46 small stories (fixtures/metadata/commands.json, recorded from drbd-utils 9.22).

use drbd_core::md::crc32c;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes at both ends of the device that the record has a checksum of.
const END_BYTES: u64 = 131_072;

struct Stage {
    folder: PathBuf,
}

impl Stage {
    fn new(number: usize, story: &Value) -> Self {
        let folder =
            std::env::temp_dir().join(format!("drbdmeta-story-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("folder");
        let stage = Self { folder };
        let image = File::create(stage.image()).expect("image");
        image
            .set_len(story["size"].as_u64().expect("size"))
            .expect("size");
        for put in story["puts"].as_array().expect("list") {
            let bytes = unhex(put[1].as_str().expect("hex"));
            image
                .write_all_at(&bytes, put[0].as_u64().expect("offset"))
                .expect("write");
        }
        if let Some(text) = story["dump"].as_str() {
            fs::write(stage.dump(), text).expect("dump");
        }
        stage
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image")
    }

    fn dump(&self) -> PathBuf {
        self.folder.join("dump")
    }

    fn argument(&self, word: &str) -> String {
        match word {
            "IMAGE" => self.image().display().to_string(),
            "DUMP" => self.dump().display().to_string(),
            word => word.to_string(),
        }
    }

    /// What was printed, as the record has it.
    fn plain(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.replace(&self.image().display().to_string(), "IMAGE")
            .replace(&self.dump().display().to_string(), "DUMP")
    }

    fn ends(&self) -> u64 {
        let image = File::open(self.image()).expect("image");
        let length = image.metadata().expect("metadata").len();
        let mut bytes = vec![0; END_BYTES as usize];
        image.read_exact_at(&mut bytes, 0).expect("read");
        let sum = crc32c(0, &bytes);
        image
            .read_exact_at(&mut bytes, length - END_BYTES)
            .expect("read");
        u64::from(crc32c(sum, &bytes))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect()
}

#[test]
fn every_recorded_command_prints_and_leaves_what_the_reference_tool_did() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/metadata/commands.json");
    let stories: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("record")).expect("json");
    let mut steps = 0;
    for (number, story) in stories.as_array().expect("list").iter().enumerate() {
        let stage = Stage::new(number, story);
        for step in story["steps"].as_array().expect("list") {
            let words = step["args"].as_array().expect("list").iter();
            let arguments: Vec<String> = words
                .map(|word| stage.argument(word.as_str().expect("word")))
                .collect();
            let output = Command::new(env!("CARGO_BIN_EXE_drbdadm"))
                .arg("drbdmeta")
                .args(&arguments)
                .stdin(Stdio::null())
                .output()
                .expect("runs");
            let what = format!("{} {}", story["name"], step["args"]);
            let (said, wanted) = (
                stage.plain(&output.stdout),
                step["stdout"].as_str().expect("text"),
            );
            if wanted == "\nUSAGE\n" {
                assert!(said.starts_with("\nUSAGE: drbdmeta "), "{what}: {said}");
            } else {
                assert_eq!(said, wanted, "{what}");
            }
            let complaint = stage.plain(&output.stderr);
            let recorded = step["stderr"].as_str().expect("text");
            // docs/differences.md: "get-gi, show-gi without metadata fail without a word"
            let speaks = step["exit"] == 1 && arguments.iter().any(|a| a.ends_with("-gi"));
            match (recorded, speaks) {
                ("", true) => assert_eq!(complaint, "No valid meta data found\n", "{what}"),
                _ => assert_eq!(complaint, recorded, "{what}"),
            }
            assert_eq!(
                output.status.code().map(i64::from),
                step["exit"].as_i64(),
                "{what}"
            );
            if step["ends"] != 0 {
                assert_eq!(
                    Some(stage.ends()),
                    step["ends"].as_u64(),
                    "{what}: other bytes on disk"
                );
            }
            steps += 1;
        }
    }
    assert!(steps > 150, "{steps}");
}
