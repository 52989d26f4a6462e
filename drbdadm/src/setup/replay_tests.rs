// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 3, drbdsetup: every recorded run of the C driver's tool, played through this one: the same command line has to send the same requests, byte
//! for byte, and to make the same text and exit code of the recorded answers (`tests/fixtures/netlink`).

use super::commands::Action;
use super::registry::Registry;
use super::*;
use netlink_api::replay::{parse_runs, to_hex, Replay, Run, Step};
use std::path::PathBuf;

pub fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/netlink")
}

/// Splits a command line as a shell does, as far as the recordings need it.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace()
        .map(|word| word.trim_matches('\'').to_string())
        .collect()
}

/// What came of it.
pub struct Played {
    /// Exit code.
    pub exit: u8,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
    recording: Option<Replay>,
}

/// Plays one.
pub fn play(run: &Run) -> Played {
    let args = words(&run.command).split_off(1);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut terminal = Terminal::new("drbdsetup-84", &mut output, &mut errors);
    terminal.interactive = false;
    // The links of this host are none of a recording's business.
    terminal.registry = Registry::new(Path::new("/nonexistent"));
    let mut client = Client::replay(Replay::new(run.steps.clone()));
    let outcome = match choose(&args) {
        None => help(&args, &mut terminal),
        Some((command, rest)) => Arguments::parse(command, &rest).and_then(|arguments| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(perform(&mut client, command, &arguments, &mut terminal))
        }),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        report(&args, &failure, &mut terminal);
        failure.code
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Played {
        exit,
        output: text(output),
        errors: text(errors),
        recording: client.into_replay(),
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_string).collect()
}

/// A resource with a name of 128 characters was there during two of the recordings. The tool of the C driver complains about it;
/// this one shows it.
pub fn is_about_the_longest_name(line: &str) -> bool {
    line.contains(&"y".repeat(128))
}

/// The recorded lines without these complaints, each of which ends with an empty line.
pub fn without_complaints(recorded: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut recorded = recorded.iter();
    while let Some(line) = recorded.next() {
        if line.starts_with("<1>") {
            recorded.next();
        } else {
            kept.push(line.clone());
        }
    }
    // Runs that were ended from outside have an empty line in place of the exit code.
    while kept.last().is_some_and(String::is_empty) {
        kept.pop();
    }
    kept
}

fn differences(run: &Run) -> Vec<String> {
    let played = play(run);
    let mut wrong = Vec::new();
    let mut compare = |what: &str, recorded: String, mine: String| {
        if recorded != mine {
            wrong.push(format!("{what}\n--- recorded\n{recorded}\n--- now\n{mine}"));
        }
    };
    let join = |lines: &[String]| lines.join("\n");
    let mut output = lines(&played.output);
    output.retain(|line| !is_about_the_longest_name(line));
    if run.exit.is_some() {
        let ends = |lines: &[String]| {
            lines
                .iter()
                .rev()
                .take_while(|line| line.is_empty())
                .count()
        };
        compare(
            "empty lines at the end",
            ends(&run.output).to_string(),
            ends(&output).to_string(),
        );
    }
    while output.last().is_some_and(String::is_empty) {
        output.pop();
    }
    compare(
        "output",
        join(&without_complaints(&run.output)),
        join(&output),
    );
    compare("errors", join(&run.errors), join(&lines(&played.errors)));
    if let Some(exit) = run.exit {
        compare("exit", exit.to_string(), played.exit.to_string());
    }
    if let Some(recording) = &played.recording {
        wrong.extend(recording.differences().iter().cloned());
        wrong.extend(
            recording
                .remaining()
                .map(|step| format!("did not happen: {}", to_hex(step.bytes()))),
        );
    }
    wrong
}

/// Plays all runs of the files whose names start with one of these.
fn play_files(prefixes: &[&str]) {
    let mut names: Vec<_> = std::fs::read_dir(fixtures())
        .expect("fixtures")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| {
            let name = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut wrong = String::new();
    let mut played = 0;
    for path in names {
        let text = std::fs::read_to_string(&path).expect("readable");
        for run in parse_runs(&text)
            .iter()
            .filter(|run| run.command.starts_with("drbdsetup"))
        {
            played += 1;
            for difference in differences(run) {
                wrong.push_str(&format!(
                    "\n{} == {}\n$ {}\n{difference}\n",
                    path.display(),
                    run.title,
                    run.command
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(played > 0);
}

#[test]
fn configuration_commands_are_as_recorded() {
    play_files(&[
        "05", "06", "07", "08", "09", "10", "11", "12", "13", "28", "29",
    ]);
}

#[test]
fn state_commands_are_as_recorded() {
    play_files(&[
        "14", "15", "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "27",
    ]);
}

#[test]
fn queries_are_as_recorded() {
    play_files(&["00", "02", "30"]);
}

#[test]
fn waiting_is_as_recorded() {
    play_files(&["26"]);
}

#[test]
fn event_streams_are_as_recorded() {
    play_files(&["01", "38", "40"]);
}

#[test]
fn every_command_that_sends_one_request_is_among_the_recordings() {
    let mut text = String::new();
    for entry in std::fs::read_dir(fixtures()).expect("fixtures") {
        text.push_str(&std::fs::read_to_string(entry.expect("entry").path()).expect("readable"));
    }
    for command in COMMANDS
        .iter()
        .filter(|command| command.action == Action::Request)
    {
        assert!(
            text.contains(&format!("\n$ drbdsetup-84 {} ", command.name)),
            "{}",
            command.name
        );
    }
}

#[test]
fn damaged_answers_never_end_the_tool_with_a_panic() {
    for name in [
        "02-get-status.txt",
        "26-get-timeout-type.txt",
        "27-down.txt",
        "30-status-dumps.txt",
        "38-events2-initial.txt",
    ] {
        let text = std::fs::read_to_string(fixtures().join(name)).expect("readable");
        for run in parse_runs(&text) {
            for seed in 0..200usize {
                let mut damaged = run.clone();
                for step in &mut damaged.steps {
                    if let Step::Received(bytes) = step {
                        let at = (seed * 7919) % bytes.len();
                        if seed % 3 == 0 {
                            bytes.truncate(at);
                        } else if at >= 16 || seed % 5 == 0 {
                            bytes[at] ^= 1 << (seed % 8);
                        }
                    }
                }
                play(&damaged);
            }
        }
    }
}
