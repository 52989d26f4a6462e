// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 2 and "Done when": every drbdadm command prints the drbdsetup and drbdmeta lines that would be equivalent, as in the
//! recorded transcript of drbd-utils 9.22; help, version, sh-* and dump too. What needs a driver is in tests/tests/vm.

mod support;

use std::fmt::Write as _;
use std::fs;
use support::{become_host, quoted, run_apart, Scratch};

/// Where the transcript goes on with the driver.
const DRIVER: &str = "drbdadm up all";
/// Commands before that.
const COMMANDS: usize = 77;

/// Says nothing when the default configuration is used (docs/differences.md).
const QUIET: &str = "sh-udev";

/// A command and what came of it.
#[derive(Debug, Default)]
struct Step {
    command: String,
    output: String,
    errors: bool,
    exit: String,
}

fn recorded() -> Vec<Step> {
    let path = support::fixtures().join("../transcripts/05-drbdadm-dryrun.txt");
    let text = fs::read_to_string(path).expect("transcript");
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("n1$ ") {
            steps.push(Step {
                command: command.into(),
                ..Step::default()
            });
        }
        let Some(step) = steps.last_mut() else {
            continue;
        };
        if let Some(code) = line.strip_prefix("[exit ") {
            step.exit = code.trim_end_matches(']').into();
        } else if line.starts_with("2> ") {
            step.errors = true;
        } else if !line.starts_with("n1$ ") && step.exit.is_empty() {
            let _ = writeln!(step.output, "{line}");
        }
    }
    steps
}

/// Without what is different on purpose: the name of drbdsetup, hashes, the version of a driver that is not here, and two settings
/// that 9.22 prints though nobody made them.
fn plain(text: &str) -> String {
    let kept = |line: &&str| {
        let start = line.trim_start();
        ![
            "GIT-hash:",
            "DRBDADM_BUILDTAG",
            "DRBD_KERNEL_VERSION_CODE",
            "cmd-timeout-medium 600",
            "cmd-timeout-long 0",
        ]
        .iter()
        .any(|mark| start.starts_with(mark))
    };
    let lines = text.lines().filter(kept);
    lines
        .map(|line| line.replace("drbdsetup-84", "drbdsetup") + "\n")
        .collect()
}

#[test]
fn every_command_runs_what_the_transcript_says() {
    let scratch = Scratch::new("drbdadm-transcripts");
    scratch.programs("", &[]);
    let all = recorded();
    let config = &all.first().expect("steps").output;
    fs::create_dir(scratch.0.join("etc")).expect("etc");
    fs::write(scratch.0.join("etc/drbd.conf"), config).expect("configuration");
    let steps: Vec<&Step> = all
        .iter()
        .skip(1)
        .take_while(|step| step.command != DRIVER)
        .filter(|step| step.command.starts_with("drbdadm"))
        .collect();
    assert_eq!(steps.len(), COMMANDS);
    let mut script = become_host("n1", "10.0.0.1");
    script.push_str("mount --bind etc /etc || exit 98\nPATH=\"$PWD/bin:$PATH\"\n");
    for (number, step) in steps.iter().enumerate() {
        let line = quoted(&step.command);
        let _ = writeln!(
            script,
            "sh -c {line} > out.{number} 2> err.{number} < /dev/null; echo $? > code.{number}"
        );
    }
    run_apart(&scratch.0, &script);
    let mut faults = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let read = |kind: &str| {
            fs::read_to_string(scratch.0.join(format!("{kind}.{number}"))).expect(kind)
        };
        let (output, errors, code) = (read("out"), read("err"), read("code"));
        let same = plain(&output) == plain(&step.output)
            && code.trim() == step.exit
            && (errors.is_empty() != step.errors || step.command.contains(QUIET));
        if !same {
            faults.push(format!(
                "{}\n{output}{errors}[exit {}] instead of {step:#?}",
                step.command,
                code.trim()
            ));
        }
    }
    assert!(
        faults.is_empty(),
        "{} differ:\n{}",
        faults.len(),
        faults.join("\n---\n")
    );
}
