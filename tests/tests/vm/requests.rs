// SPDX-License-Identifier: GPL-2.0
//! Netlink requests that no tool sends (issue 2, "what wrong input gets"; issue 3 line 9: the endless dump).

use crate::lifecycle::{end, single_with};
use crate::check;
use anyhow::{ensure, Context, Result};
use netlink_api::replay::{parse_runs, to_hex, Step};
use qemu_testbed::Vm;
use std::time::Duration;

const FILE: &str = "90-hand-made-requests.txt";

fn machine(name: &str, files: &[&str]) -> Result<Vm> {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_netlink_sender")).context("reading the sender")?;
    let mut with = vec![("bin/netlink-sender".to_string(), binary)];
    for file in files {
        let text = std::fs::read(drbd_tests::fixture("netlink").join(file))?;
        with.push((format!("root/{file}"), text));
    }
    single_with(name, with)
}

#[test]
fn debug_every_hand_made_request_is_answered_as_the_c_driver_did_or_refused_cleanly() {
    check(hand_made());
}

/// What varies: sequence number, port and, in status answers, nothing else.
fn steady(datagram: &[u8]) -> String {
    let mut copy = datagram.to_vec();
    let mut at = 0;
    while at + 16 <= copy.len() {
        let length = u32::from_ne_bytes([copy[at], copy[at + 1], copy[at + 2], copy[at + 3]]) as usize;
        copy[at + 8..at + 16].fill(0);
        at += length.max(16).div_ceil(4) * 4;
    }
    to_hex(&copy)
}

/// The C driver repeats the refusal of these dumps as long as somebody reads; ours says it once and ends the dump.
fn is_endless(title: &str) -> bool {
    title.contains("first four datagrams")
}

fn hand_made() -> Result<()> {
    let mut vm = machine("requests", &[FILE])?;
    vm.ok("modprobe drbd && drbdsetup-84 new-resource r0 && drbdsetup-84 new-minor r0 0 0")?;
    let printed = vm.ok(&format!("netlink-sender replay /root/{FILE}"))?;
    let recorded = parse_runs(&std::fs::read_to_string(drbd_tests::fixture("netlink").join(FILE))?);
    let answered = parse_runs(&printed);
    ensure!(recorded.len() == answered.len() && recorded.len() > 35, "{} of {}:\n{printed}", answered.len(), recorded.len());
    let mut wrong = Vec::new();
    for (recorded, answered) in recorded.iter().zip(&answered) {
        let received = |steps: &[Step]| -> Vec<String> {
            steps.iter().filter(|step| matches!(step, Step::Received(_))).map(|step| steady(step.bytes())).collect()
        };
        let (mut expected, got) = (received(&recorded.steps), received(&answered.steps));
        if is_endless(&recorded.title) {
            expected.truncate(1);
            expected.push("140000000300020000000000000000000000000000".chars().take(40).collect());
        }
        if expected != got {
            wrong.push(format!("{}\n  expected {expected:#?}\n  got {got:#?}", recorded.title));
        }
    }
    ensure!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    // the last request took r0 down; what the others made is there and goes away
    ensure!(!vm.ok("drbdsetup-84 status")?.contains("r0"));
    vm.ok(&format!("drbdsetup-84 down {} && rmmod drbd", "y".repeat(128)))?;
    end(vm)
}

#[test]
fn damaged_requests_are_refused_or_answered_and_nothing_is_left_behind() {
    check(damaged());
}

/// Recorded requests of every command with flipped bits, wrong lengths, foreign attributes: each gets an answer in time, the kernel
/// log stays clean, and everything that they configured can be taken down again.
fn damaged() -> Result<()> {
    let files: Vec<String> = std::fs::read_dir(drbd_tests::fixture("netlink"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.as_bytes()[0].is_ascii_digit())
        .collect();
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let mut vm = machine("damaged", &names)?;
    vm.ok("modprobe drbd && drbdsetup-84 new-resource r0 && drbdsetup-84 new-minor r0 0 0")?;
    vm.ok("drbdmeta --force 0 v08 /dev/vda internal create-md && drbdsetup-84 attach 0 /dev/vda /dev/vda internal")?;
    let played = vm.run_within("cd /root && netlink-sender damage 4711 30000 *.txt 2>&1", Duration::from_secs(600))?;
    ensure!(played.code == 0, "{}\n{}", played.text, vm.ok("dmesg | tail -40")?);
    println!("{}", played.text);
    println!("{}", vm.ok("netlink-sender sweep 2>&1")?);
    vm.ok("drbdsetup-84 new-resource again && drbdsetup-84 new-minor again 0 0 && drbdsetup-84 down again && rmmod drbd")?;
    end(vm)
}
