// SPDX-License-Identifier: GPL-2.0
//! The corpus of `fuzz/` through the functions that libFuzzer calls, and each of its members cut short and with bytes changed.

use drbd_tests::fuzz::TARGETS;
use std::fs;
use std::path::Path;

#[test]
fn the_kept_inputs_and_their_neighbours_do_no_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name)).expect("a corpus").flatten().map(|entry| entry.path()).collect();
        files.sort();
        assert!(files.len() >= 10, "{name}: only {} inputs", files.len());
        for file in files {
            let bytes = fs::read(&file).expect("readable");
            println!("{name} {}", file.display());
            target(&bytes);
            for cut in (0..bytes.len()).step_by(bytes.len() / 12 + 1) {
                target(&bytes[..cut]);
                let mut changed = bytes.clone();
                changed[cut] ^= 1 << (cut % 8);
                target(&changed);
            }
        }
    }
}
