// SPDX-License-Identifier: GPL-2.0
//! Issue 4 items 1 and 2: every recorded command line of the reference drbdadm, run again: exit codes and standard output are equal, standard
//! error is empty when theirs is, and names the same line (tests/fixtures/config/README.md).
//!
//! The commands run in private host name and network namespaces, so that "alice" with her addresses is this machine.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use support::{become_host, fixtures, quoted, run_apart, Scratch};

/// Commands in the recordings; a lost case fails the test as a wrong one does.
const RECORDED: usize = 1083;

/// A recorded command.
#[derive(Debug, Default)]
struct Block {
    case: String,
    command: String,
    host: String,
    addresses: String,
    environment: String,
    terminal: bool,
    show: bool,
    stdin: String,
    stdout: String,
    stderr: String,
    code: String,
}

fn cases() -> PathBuf {
    fixtures().join("cases")
}

/// A drbdsetup that shows what it is told to.
const STAND_IN: &str =
    "#!/bin/sh\n[ -n \"$SHOW\" ] || exit 1\ncase \"$*\" in *show*) cat \"$SHOW\";; esac\n";

/// Reads the blocks of an `expect.txt`.
fn blocks(case: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut block = Block::default();
    let mut stream: Option<(String, bool)> = None;
    let mut lines: Vec<&str> = Vec::new();
    for line in text.split('\n') {
        let Some(directive) = line.strip_prefix("== ") else {
            lines.push(line);
            continue;
        };
        if let Some((name, no_newline)) = stream.take() {
            let content = lines.join("\n") + if no_newline { "" } else { "\n" };
            match name.as_str() {
                "stdin" => block.stdin = content,
                "stdout" => block.stdout = content,
                _ => block.stderr = content,
            }
        }
        lines.clear();
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match word {
            "cmd" => {
                block = Block {
                    case: case.into(),
                    command: rest.into(),
                    ..Block::default()
                }
            }
            "host" => block.host = rest.into(),
            "ips" => block.addresses = rest.into(),
            "env" => block.environment = rest.into(),
            "tty" => block.terminal = true,
            "show" => block.show = true,
            "rc" => {
                block.code = rest.into();
                found.push(std::mem::take(&mut block));
            }
            _ => stream = Some((word.to_string(), rest.contains("no-final-newline"))),
        }
    }
    found
}

fn recorded() -> Vec<Block> {
    let mut places: Vec<PathBuf> = fs::read_dir(cases())
        .expect("fixtures")
        .flatten()
        .map(|e| e.path())
        .collect();
    places.sort();
    places
        .iter()
        .flat_map(|path| {
            let bytes = fs::read(path.join("expect.txt")).expect("expect.txt");
            let name = path
                .file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned();
            blocks(&name, &String::from_utf8_lossy(&bytes))
        })
        .collect()
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("case").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("file");
        }
    }
}

/// A script that runs blocks with the same host name and addresses; what they did is left in files by number.
fn script(
    scratch: &Path,
    programs: &Path,
    host: &str,
    addresses: &str,
    group: &[(usize, &Block)],
) -> String {
    let mut text = become_host(host, addresses);
    let _ = writeln!(
        text,
        "export PATH={}:$PATH LC_ALL=C",
        quoted(&programs.display().to_string())
    );
    for (number, block) in group {
        let files = scratch.join(number.to_string()).display().to_string();
        fs::write(format!("{files}.in"), &block.stdin).expect("stdin");
        // what runs comes from drbdsetup, or from the file that is named instead
        let show = match (block.show, number % 2) {
            (false, _) => "",
            (true, 0) => "export SHOW=$PWD/running.show; ",
            (true, _) => "export DRBD_RUNNING_SHOW=$PWD/running.show; ",
        };
        let command = match block.terminal {
            true => format!("script -qec {} /dev/null", quoted(&block.command)),
            false => block.command.clone(),
        };
        let _ = writeln!(
            text,
            "( cd {} || exit 99; {show}{} {command} ) <{files}.in >{files}.out 2>{files}.err; echo $? >{files}.rc",
            quoted(&scratch.join(&block.case).display().to_string()),
            block.environment,
        );
    }
    text
}

/// The text with what may differ replaced.
fn normal(text: &str, directory: &str) -> String {
    let text = text.replace(directory, "@DIR@");
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("dpkg-statoverride"));
    lines
        .map(|line| match line.strip_prefix("GIT-hash: ") {
            Some(rest) => format!(
                "GIT-hash: @HASH@{}",
                rest.trim_start_matches(|c: char| !c.is_whitespace())
            ),
            None => line.to_string(),
        })
        .collect()
}

/// The first `FILE:LINE` at the beginning of a line.
fn named_line(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.strip_prefix("@DIR@/").unwrap_or(line);
        let (file, rest) = line.split_once(':')?;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let plain = file
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c));
        (plain && !file.is_empty() && !number.is_empty()).then_some(number)
    })
}

/// What is wrong with the outcome of a block.
fn judge(scratch: &Path, number: usize, block: &Block) -> Option<String> {
    let read = |end: &str| {
        let bytes = fs::read(scratch.join(format!("{number}.{end}"))).unwrap_or_default();
        normal(
            &String::from_utf8_lossy(&bytes),
            &scratch.join(&block.case).display().to_string(),
        )
    };
    let (mut out, mut err, code) = (read("out"), read("err"), read("rc"));
    if block.terminal {
        // a terminal shows both streams
        err = format!("{err}{out}");
        out.clear();
    }
    let (wanted_out, wanted_err) = (normal(&block.stdout, "\0"), normal(&block.stderr, "\0"));
    let mut faults = Vec::new();
    if code.trim() != block.code {
        faults.push(format!(
            "exit code {} instead of {}",
            code.trim(),
            block.code
        ));
    }
    if out != wanted_out {
        faults.push(format!("standard output is\n{out}instead of\n{wanted_out}"));
    }
    if err.trim().is_empty() != wanted_err.trim().is_empty() {
        faults.push(format!("standard error is\n{err}instead of\n{wanted_err}"));
    }
    if let Some(line) = named_line(&wanted_err) {
        let named = err
            .split(':')
            .any(|part| part.split(|c: char| !c.is_ascii_digit()).next() == Some(&line));
        if !named {
            faults.push(format!("standard error does not name line {line}:\n{err}"));
        }
    }
    (!faults.is_empty())
        .then(|| format!("{}: {}\n{}", block.case, block.command, faults.join("\n")))
}

#[test]
fn every_recorded_command_line_has_the_recorded_outcome() {
    let recorded = recorded();
    assert_eq!(recorded.len(), RECORDED);
    let scratch = Scratch::new("drbdadm-cases");
    let programs = scratch.programs(STAND_IN, &["drbdsetup"]);
    let mut groups: BTreeMap<(String, String), Vec<(usize, &Block)>> = BTreeMap::new();
    for (number, block) in recorded.iter().enumerate() {
        if !scratch.0.join(&block.case).exists() {
            copy_tree(&cases().join(&block.case), &scratch.0.join(&block.case));
        }
        let key = (block.host.clone(), block.addresses.clone());
        groups.entry(key).or_default().push((number, block));
    }
    std::thread::scope(|scope| {
        for ((host, addresses), group) in &groups {
            for part in group.chunks(group.len().div_ceil(4)) {
                let text = script(&scratch.0, &programs, host, addresses, part);
                let place = scratch.0.clone();
                scope.spawn(move || run_apart(&place, &text));
            }
        }
    });
    let judged = recorded.iter().enumerate();
    let faults: Vec<String> = judged
        .filter_map(|(number, block)| judge(&scratch.0, number, block))
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {RECORDED} differ:\n{}",
        faults.len(),
        faults.join("\n---\n")
    );
}
