// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 2: what drbdadm really calls, with which order, outcome and notes: equal to the reference tool's, recorded with stand-ins
//! for drbdsetup and drbdmeta that answer as they are told (tests/fixtures/config/execution).
//!
//! `recorded.txt`: a block per command; `run FILE ARGUMENTS`, `env`, `answer PATTERN|CODE|STDOUT|STDERR` of the stand-ins
//! (the first fitting one; none: success), `call` in order, `link` left in the run directory, `rc`, then standard output.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use support::{become_host, fixtures, quoted, run_apart, Scratch};

/// Blocks in the recording.
const RECORDED: usize = 287;

/// Writes down how it is called and answers as it is told.
const STAND_IN: &str = r#"#!/bin/sh
name=${0##*/}
echo "$name $*" >> "$CALLS"
while IFS='|' read -r pattern code out err; do
  case "$name $*" in $pattern)
    [ -n "$out" ] && printf '%b\n' "$out"
    [ -n "$err" ] && printf '%b\n' "$err" >&2
    [ "$code" = sleep ] && exec sleep 5
    exit "$code";;
  esac
done < "$ANSWERS"
exit 0
"#;

#[derive(Debug, Default)]
struct Block {
    file: String,
    arguments: String,
    environment: String,
    answers: String,
    calls: String,
    links: String,
    code: String,
    stdout: String,
}

fn recorded() -> Vec<Block> {
    let text = fs::read_to_string(fixtures().join("execution/recorded.txt")).expect("recording");
    let mut found: Vec<Block> = Vec::new();
    for line in text.lines() {
        if let Some(run) = line.strip_prefix("== run ") {
            let (file, arguments) = run.split_once(' ').expect("file and arguments");
            found.push(Block {
                file: file.into(),
                arguments: arguments.into(),
                ..Block::default()
            });
            continue;
        }
        let block = found.last_mut().expect("begins with run");
        let (word, rest) = line
            .strip_prefix("== ")
            .and_then(|d| d.split_once(' '))
            .unwrap_or(("", line));
        match word {
            "env" => block.environment = rest.into(),
            "answer" => block.answers += &format!("{rest}\n"),
            "call" => block.calls += &format!("{rest}\n"),
            "link" => block.links += &format!("{rest}\n"),
            "rc" => block.code = rest.into(),
            _ => block.stdout += &format!("{line}\n"),
        }
    }
    found
}

/// A script that runs a part of the blocks, each with its own copy of the configuration as drbd.conf.
fn script(scratch: &Path, programs: &Path, part: &[(usize, &Block)]) -> String {
    let mut text = become_host("alice", "10.1.1.31");
    let _ = writeln!(
        text,
        "export PATH={}:$PATH LC_ALL=C",
        quoted(&programs.display().to_string())
    );
    for (number, block) in part {
        let place = scratch.join(number.to_string());
        fs::create_dir_all(&place).expect("directory");
        fs::copy(
            fixtures().join("execution").join(&block.file),
            place.join("drbd.conf"),
        )
        .expect("drbd.conf");
        fs::write(place.join("answers"), &block.answers).expect("answers");
        fs::write(place.join("calls"), "").expect("calls");
        let _ = writeln!(
            text,
            "mount -t tmpfs none /run && cd {} || exit 99\n\
             export CALLS=$PWD/calls ANSWERS=$PWD/answers\n\
             {} drbdadm -c $PWD/drbd.conf {} </dev/null >out 2>err; echo $? >rc\n\
             ls -l /run/drbd 2>/dev/null | sed -n 's/.* \\(drbd-.*\\)/\\1/p' >links; umount /run",
            quoted(&place.display().to_string()),
            block.environment,
            block.arguments,
        );
    }
    text
}

/// The random identity of a new device cannot be compared.
fn masked(text: &str) -> String {
    let line = |line: &str| match line.split_once("write-dev-uuid ") {
        Some((head, _)) => format!("{head}write-dev-uuid @R@\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn judge(scratch: &Path, number: usize, block: &Block) -> Option<String> {
    let place = scratch.join(number.to_string());
    let directory = format!("{}/", place.display());
    let read = |name: &str| {
        let bytes = fs::read(place.join(name)).unwrap_or_default();
        masked(&String::from_utf8_lossy(&bytes).replace(&directory, "@DIR@/"))
    };
    let rows = [
        ("calls", &block.calls),
        ("links", &block.links),
        ("out", &block.stdout),
        ("rc", &format!("{}\n", block.code)),
    ];
    let faults: Vec<String> = rows
        .iter()
        .filter(|(name, wanted)| read(name) != masked(wanted))
        .map(|(name, wanted)| format!("{name} is\n{}instead of\n{wanted}", read(name)))
        .collect();
    let about = format!("{} {}\n{}", block.file, block.arguments, block.answers);
    (!faults.is_empty()).then(|| format!("{about}{}stderr:\n{}", faults.concat(), read("err")))
}

#[test]
fn calls_notes_output_and_exit_codes_are_those_of_the_reference_tool() {
    let recorded = recorded();
    assert_eq!(recorded.len(), RECORDED);
    let scratch = Scratch::new("drbdadm-execution");
    let programs = scratch.programs(STAND_IN, &["drbdsetup", "drbdmeta", "drbd-proxy-ctl"]);
    let numbered: Vec<(usize, &Block)> = recorded.iter().enumerate().collect();
    std::thread::scope(|scope| {
        for part in numbered.chunks(numbered.len().div_ceil(4)) {
            let text = script(&scratch.0, &programs, part);
            let place = scratch.0.clone();
            scope.spawn(move || run_apart(&place, &text));
        }
    });
    let faults: Vec<String> = numbered
        .iter()
        .filter_map(|(number, block)| judge(&scratch.0, *number, block))
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {RECORDED} differ:\n{}",
        faults.len(),
        faults.join("\n---\n")
    );
}
