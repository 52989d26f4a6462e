// SPDX-License-Identifier: GPL-2.0
//! Issue 4, "What wrong input gets": odd arguments, readers that go away and full disks end every tool with an exit code and, at
//! most, a message; never with the trace of a stack. The arguments are such that nothing of this machine can be changed by them.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TOOLS: &[&str] = &["drbdadm", "drbdsetup", "drbdmeta", "drbd-overview"];
/// Exit code of a fault of the program itself.
const INTERNAL: i32 = 42;
/// Exit code that the runtime gives to a panic.
const PANIC: i32 = 101;
/// Runs side by side.
const THREADS: usize = 4;
/// Longest run of a tool.
const LIMIT: Duration = Duration::from_secs(60);

fn tool(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drbdadm"));
    command
        .arg0(name)
        .stdin(Stdio::null())
        .env("PATH", "/nonexistent")
        .env("RUST_BACKTRACE", "1");
    command
}

fn run(command: &mut Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut pipes = (child.stdout.take(), child.stderr.take());
    let out = std::thread::spawn(move || read_all(pipes.0.as_mut()));
    let errors = std::thread::spawn(move || read_all(pipes.1.as_mut()));
    let end = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().expect("waited") {
            Some(status) => break status,
            None if Instant::now() > end => {
                child.kill().expect("killed");
                panic!("{command:?} did not end");
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    Output {
        status,
        stdout: out.join().expect("read"),
        stderr: errors.join().expect("read"),
    }
}

fn read_all(pipe: Option<&mut impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.read_to_end(&mut bytes).expect("read");
    }
    bytes
}

fn judge(command: &Command, output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    for mark in [
        "panicked",
        "internal error",
        "stack backtrace",
        "RUST_BACKTRACE",
    ] {
        assert!(!errors.contains(mark), "{command:?}: {errors}");
    }
    let code = output.status.code();
    assert_eq!(output.status.signal(), None, "{command:?}");
    assert!(
        code.is_some_and(|code| code != PANIC && code != INTERNAL),
        "{command:?}: {code:?}"
    );
}

/// Names of the commands of a tool, from its help.
fn commands(name: &str) -> Vec<String> {
    let mut names = Vec::new();
    for topic in ["help", "hidden-commands"] {
        let output = run(tool(name).arg(topic));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter(|line| line.starts_with(' '));
        names.extend(lines.flat_map(str::split_whitespace).map(String::from));
    }
    names.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    names.extend(["status", "primary", "dump-md", "show-gi", "overview"].map(String::from));
    names.sort();
    names.dedup();
    names
}

fn odd_run(name: &str, word: &str, args: &[&[u8]]) {
    let mut command = tool(name);
    if !word.is_empty() {
        command.arg(word);
    }
    command.args(args.iter().map(|bytes| std::ffi::OsStr::from_bytes(bytes)));
    // a configuration that has nothing of this machine in it
    if name == "drbdadm" {
        command.arg("--config-file=/dev/null");
    }
    let output = run(&mut command);
    judge(&command, &output);
}

#[test]
fn odd_arguments_get_an_answer_and_never_a_trace() {
    let long = "x".repeat(100_000);
    let odd: Vec<Vec<&[u8]>> = vec![
        vec![],
        vec![b""],
        vec![b"--"],
        vec![b"-"],
        vec![b"--="],
        vec![b"-\xff"],
        vec![b"--nonsense=\xfe\xff", b"\x01\x02"],
        vec![b"--json"],
        vec![b"--json=", b"--json"],
        vec![b"4294967296", b"-1", b"99999999999999999999"],
        vec![b"minor-99999999999"],
        vec!["\u{1f980}/\u{301}".as_bytes(), b"/"],
        vec![b"--color=\n", b"%s%n", b"../../..", b"r0/0/0"],
        vec![long.as_bytes()],
        vec![
            b"nores",
            b"v08",
            b"/dev/null",
            b"internal",
            b"dump-md",
            b"--json",
        ],
        vec![b"-c", b"/dev/null", b"--help"],
    ];
    let mut calls: Vec<(&str, String)> = Vec::new();
    for name in TOOLS {
        let words = commands(name).into_iter().chain([String::new()]);
        // one waits for a person, others run until they are told to end
        let ends =
            words.filter(|word| !["wait-con-int", "top", "exporter"].contains(&word.as_str()));
        calls.extend(ends.map(|word| (*name, word)));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((name, word)) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    odd.iter().for_each(|args| odd_run(name, word, args));
                }
            });
        }
    });
    let runs = calls.len() * odd.len();
    assert!(runs > 1000, "{runs}");
}

/// What is printed to nobody: a closed pipe, a closed descriptor, a full disk.
#[test]
fn a_reader_that_goes_away_ends_a_tool_quietly() {
    let calls: &[(&str, &[&str])] = &[
        ("drbdadm", &["help"]),
        ("drbdadm", &["hidden-commands"]),
        ("drbdadm", &["--version"]),
        ("drbdadm", &["status", "--json", "--config-file=/dev/null"]),
        ("drbdsetup", &["help"]),
        ("drbdsetup", &["help", "connect"]),
        ("drbdsetup", &["nonsense"]),
        ("drbdmeta", &["--help"]),
        (
            "drbdmeta",
            &["-", "v08", "/nonexistent", "internal", "dump-md", "--json"],
        ),
        ("drbd-overview", &["--help"]),
        ("drbd-overview", &["--proc-drbd", "/nonexistent"]),
    ];
    for (name, args) in calls {
        // the reader of this pipe has ended
        let mut reader = Command::new("true")
            .stdin(Stdio::piped())
            .spawn()
            .expect("started");
        let writer = reader.stdin.take().expect("pipe");
        reader.wait().expect("waited");
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("/dev/full");
        let line = format!("exec -a {name} \"$0\" \"$@\" >&- 2>&-");
        let mut closed = Command::new("bash");
        closed
            .args(["-c", &line, env!("CARGO_BIN_EXE_drbdadm")])
            .args(*args)
            .stdin(Stdio::null());
        let mut to_nobody = tool(name);
        to_nobody.args(*args).stdout(writer);
        let mut to_full = tool(name);
        to_full.args(*args).stdout(full);
        for mut command in [to_nobody, to_full, closed] {
            let output = command.stderr(Stdio::piped()).output().expect("started");
            judge(&command, &output);
        }
    }
}

#[test]
fn an_unknown_command_names_the_nearest_one() {
    for (name, args, hint) in [
        ("drbdadm", &["primery", "r0"][..], "primary"),
        ("drbdadm", &["statsu"], "status"),
        ("drbdadm", &["overvew"], "overview"),
        ("drbdadm", &["help", "primery"], "primary"),
        ("drbdsetup", &["help", "primry"], "primary"),
        ("drbdsetup", &["primry", "0"], "primary"),
        (
            "drbdmeta",
            &["-", "v08", "/dev/null", "internal", "dump-mt"],
            "dump-md",
        ),
        ("drbd-overview", &["--proc-drdb", "x"], "--proc-drbd"),
    ] {
        let mut command = tool(name);
        let output = run(command.args(args));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            errors.contains("did you mean") && errors.contains(hint),
            "{command:?}: {errors}"
        );
        assert!(!output.status.success());
    }
}
