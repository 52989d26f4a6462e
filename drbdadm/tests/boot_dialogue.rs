// SPDX-License-Identifier: GPL-2.0
//! Issue 4 items 2 and 5: `wait-con-int`, the dialogue at boot, on a terminal (config-and-cli.md section 12): dots for ten seconds, then
//! the question; `yes`, or three times Ctrl-C or Ctrl-D, end the wait, anything else asks again. The exit code is 0 in any case.

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use rustix::termios::{tcgetattr, LocalModes};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use support::Scratch;
use terminal::Terminal;

/// A peer that never comes: writes down its process and waits.
const WAITER: &str = "#!/bin/sh\necho \"$*\" >> calls; echo $$ >> waiting; exec sleep 1000\n";

/// Types that; every line but the last makes it ask again.
fn dialogue(answer: &[&[u8]]) {
    let scratch = Scratch::new(&format!("drbdadm-boot-{}", answer.len()));
    let place = &scratch.0;
    let programs = scratch.programs(WAITER, &["drbdsetup"]);
    let node = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let text = format!(
        "resource r0 {{ startup {{ wfc-timeout 100; degr-wfc-timeout 60; }}\n\
         device minor 0; disk /dev/null; meta-disk internal;\n\
         on {} {{ address 127.0.0.1:7788; }} on zz {{ address 127.0.0.2:7788; }} }}\n",
        node.trim()
    );
    fs::write(place.join("drbd.conf"), text).expect("written");
    let mut terminal = Terminal::open();
    let mut command = Command::new(env!("CARGO_BIN_EXE_drbdadm"));
    command.arg0("drbdadm").current_dir(place);
    command.args(["-c", "drbd.conf", "wait-con-int"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let child = terminal.start(&mut command);
    terminal.wait_for("To abort waiting enter 'yes' [ -- ]:");
    assert!(terminal.text.starts_with(".........."), "{}", terminal.text);
    for line in [
        "60 seconds. [degr-wfc-timeout]",
        "100 seconds. [wfc-timeout]",
    ] {
        assert!(terminal.text.contains(line), "{}", terminal.text);
    }
    let echo = |terminal: &Terminal| {
        let modes = tcgetattr(&terminal.slave).expect("modes").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    };
    assert!(!echo(&terminal));
    for (at, keys) in answer.iter().enumerate() {
        terminal.text.clear();
        terminal.master.write_all(keys).expect("typed");
        if keys.ends_with(b"\n") && at + 1 < answer.len() {
            terminal.wait_for("To abort waiting enter 'yes' [ -- ]:");
        }
    }
    assert_eq!(terminal.ended(child), 0, "{}", terminal.text);
    assert!(echo(&terminal), "the terminal is as it was");
    let calls = fs::read_to_string(place.join("calls")).expect("calls");
    assert_eq!(
        calls.trim(),
        "wait-connect 0 --wfc-timeout=100 --degr-wfc-timeout=60"
    );
    for id in fs::read_to_string(place.join("waiting"))
        .expect("waiting")
        .lines()
    {
        assert!(!Path::new("/proc").join(id).exists(), "{id} still waits");
    }
}

#[test]
fn yes_ends_the_wait_and_nothing_else_that_is_typed() {
    dialogue(&[b"no\n", b"ye\n", b"yex\x7fs\n"]);
}

#[test]
fn three_interrupts_end_the_wait() {
    dialogue(&[b"\x03\x04", b"\x03"]);
}
