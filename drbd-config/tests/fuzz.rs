// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 1, the fuzz harness: recorded configurations, damaged by chance, are read, bound, expanded and printed. No panic, no
//! hang, time that grows with the length and no faster; errors have a place. Chance comes from a seed, so each run repeats.
//!
//! `FUZZ_RUNS=n` sets how many inputs are tried, `FUZZ_SEED=n` repeats one and shows it.

use drbd_config::{bind, expand, parse_running, print, xml, Identity, Loader};
use rustix::time::{clock_gettime, ClockId};
use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Inputs of a usual run.
const RUNS: u64 = 4000;
/// Threads that share them.
const THREADS: u64 = 4;
/// Processor time one input may take, in a build with all checks.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest damaged input, bytes.
const LONGEST: usize = 200_000;
/// What is put in somewhere.
const PIECES: &[&str] = &[
    "{",
    "}",
    ";",
    "\"",
    "\\",
    "#",
    "[",
    "]",
    ":",
    "\n",
    "\0",
    "\u{fffd}",
    "include \"x\";",
    "volume 0 {",
    "on a {",
    "resource r {",
    "floating ipv6 [::1]:7;",
    "stacked-on-top-of r {",
    "99999999999999999999999",
    "-1",
    "0x10",
    "1E",
    "disk { al-extents ",
    "net { protocol ",
    "common {",
    "global {",
    "skip {",
    "proxy on a {",
    "syncer {",
    "minor 1048576",
    "device minor ",
    "meta-disk /dev/x[9999];",
    "address ",
    "yes",
    "_this_host {",
    "options {",
    "handlers { split-brain \"",
];

/// What a text consists of, how it is made, and how often that is repeated in a short one.
type Text = (&'static str, fn(usize) -> String, usize);

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    }
}

/// Every file of the recorded cases that is a configuration, or the answer of drbdsetup.
fn corpus() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut folders =
        vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/config/cases")];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder)
            .expect("fixtures")
            .flatten()
            .map(|e| e.path())
            .collect();
        entries.sort();
        for path in entries {
            let kind = path.extension().and_then(|e| e.to_str()).unwrap_or("");
            if path.is_dir() {
                folders.push(path);
            } else if ["conf", "res", "show"].contains(&kind) {
                found.push(fs::read(path).expect("fixture"));
            }
        }
    }
    assert!(found.len() > 180, "{} files", found.len());
    found
}

/// One damaged input.
fn damaged(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut text = corpus[dice.roll(corpus.len())].clone();
    for _ in 0..=dice.roll(8) {
        let at = dice.roll(text.len() + 1);
        let end = (at + dice.roll(60)).min(text.len());
        match dice.roll(8) {
            0 => drop(text.drain(at..end)),
            1 => {
                let part = text[at..end].to_vec();
                let to = dice.roll(text.len() + 1);
                text.splice(to..to, part);
            }
            2 => text
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << dice.roll(8)),
            3 => text.truncate(at),
            4 => {
                let other = &corpus[dice.roll(corpus.len())];
                let from = dice.roll(other.len() + 1);
                text.splice(at..at, other[from..].iter().copied());
            }
            5 => {
                let piece =
                    PIECES[dice.roll(PIECES.len())].repeat(1 + dice.roll(4) * dice.roll(300));
                text.splice(at..at, piece.bytes());
            }
            _ => drop(text.splice(at..at, PIECES[dice.roll(PIECES.len())].bytes())),
        }
    }
    text.truncate(LONGEST);
    text
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Does with a text what the tools do.
fn process(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).expect("scratch");
    let loaded = Loader::new(&file.display().to_string()).load();
    for problem in &loaded.diagnostics {
        let shown = problem.to_string();
        assert!(!shown.is_empty());
        if let Some(position) = &problem.position {
            assert!(position.line > 0 && position.column > 0, "{shown}");
        }
    }
    let good = loaded.exit().is_none();
    let mut config = loaded.config;
    let identity = Identity {
        node: "alice".into(),
        ..Identity::default()
    };
    let (_, problems) = bind(&mut config, &identity, &loaded.end);
    problems
        .iter()
        .for_each(|problem| drop(problem.to_string()));
    if good && problems.is_empty() {
        expand(&mut config);
        xml::config(&config);
        print::global(&config.global, true);
        for resource in &config.resources {
            print::resource(resource, "alice", false, false);
        }
    }
    let _ = parse_running(&String::from_utf8_lossy(bytes));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn damaged_configurations_cause_neither_panic_nor_hang() {
    let corpus = corpus();
    let scratch = std::env::temp_dir().join(format!("drbd-config-fuzz-{}", std::process::id()));
    fs::create_dir_all(&scratch).expect("scratch");
    let only = number("FUZZ_SEED");
    let runs = only.map_or_else(|| number("FUZZ_RUNS").unwrap_or(RUNS), |_| 1);
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (corpus, scratch, next) = (&corpus, &scratch, &next);
            scope.spawn(move || loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= runs {
                    break;
                }
                let seed = only.unwrap_or(seed);
                let input = damaged(corpus, seed);
                if only.is_some() {
                    println!("{}", String::from_utf8_lossy(&input));
                }
                let file = scratch.join(format!("{thread}.conf"));
                let start = processor_time();
                let done = catch_unwind(AssertUnwindSafe(|| process(&file, &input)));
                let took = processor_time() - start;
                let repeat = format!("repeat with FUZZ_SEED={seed} cargo test -p drbd-config --test fuzz -- --nocapture");
                assert!(done.is_ok(), "{repeat}");
                assert!(took < LIMIT, "{took:?} for {} bytes; {repeat}", input.len());
            });
        }
    });
    let _ = fs::remove_dir_all(scratch);
}

/// Eight times the text takes about eight times the time, whatever it consists of.
#[test]
fn time_grows_with_the_length() {
    let resource = |n: usize| {
        format!(
            "resource r{n} {{ net {{ protocol C; }} device /dev/drbd{n}; disk /dev/vg/{n}; meta-disk internal;\n\
             on alice {{ address 10.0.0.1:{p}; }}\non bob {{ address 10.0.0.2:{p}; }} }}\n",
            p = 1000 + n
        )
    };
    let texts: [Text; 5] = [
        (
            "comments",
            |n| "# a remark that says nothing\n".repeat(n),
            2000,
        ),
        ("blanks", |n| " ".repeat(n), 60_000),
        (
            "one long text",
            |n| format!("resource \"{}\" {{ }}\n", "x".repeat(n)),
            60_000,
        ),
        ("open braces", |n| "skip { ".repeat(n), 4000),
        (
            "options",
            |n| format!("common {{ net {{ {} }} }}\n", "timeout 60; ".repeat(n)),
            1500,
        ),
    ];
    let file = std::env::temp_dir().join(format!("drbd-config-time-{}", std::process::id()));
    let time = |text: &str| {
        // the least of some: others may use the machine meanwhile
        let once = || {
            let start = processor_time();
            process(&file, text.as_bytes());
            processor_time() - start
        };
        (0..3).map(|_| once()).min().unwrap_or_default()
    };
    let judge = |name: &str, short: Duration, long: Duration| {
        let most = short * 8 * 3 + Duration::from_millis(20);
        assert!(
            long < most,
            "{name}: {short:?} became {long:?} for eight times the length"
        );
    };
    for (name, text, size) in texts {
        judge(name, time(&text(size)), time(&text(size * 8)));
    }
    let resources = |count: usize| (0..count).map(resource).collect::<String>();
    judge("resources", time(&resources(100)), time(&resources(800)));
    let _ = fs::remove_file(file);
}
