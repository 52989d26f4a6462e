// SPDX-License-Identifier: GPL-2.0
//! `drbddisk` and `drbdupper` of Heartbeat (issue 4 lines 5 and 6; config-and-cli.md section 16).

use crate::bed::Bed;

fn role(text: &str) -> Bed {
    let mut bed = Bed::new();
    bed.stand_in(
        "drbdadm",
        &format!("case $1 in role) printf '{text}\\n' ;; esac"),
    );
    bed
}

#[test]
fn drbddisk_tells_heartbeat_where_a_resource_runs() {
    for (text, code, words) in [
        ("Primary/Secondary", 0, "running (Primary)\n"),
        ("Secondary/Primary", 3, "stopped (Secondary)\n"),
        ("Unconfigured", 3, "stopped (Unconfigured)\n"),
        (
            "Unknown/Unknown",
            4,
            "cannot determine status, may be running (Unknown)\n",
        ),
    ] {
        let outcome = role(text).run("heartbeat/drbddisk", &["r0", "status"]);
        assert_eq!((outcome.code, outcome.out.as_str()), (code, words));
    }
}

#[test]
fn drbddisk_reads_proc_drbd_when_drbdadm_does_not_answer() {
    let mut bed = Bed::new();
    bed.stand_in(
        "drbdadm",
        "case $1 in role) exit 20 ;; sh-minor) echo 1 ;; esac",
    );
    bed.file(
        "proc_drbd",
        "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n\n 1: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n",
    );
    let outcome = bed.run("heartbeat/drbddisk", &["r0", "status"]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "running (Primary)\n")
    );
    bed.stand_in(
        "drbdadm",
        "case $1 in role) exit 20 ;; sh-minor) echo 7 ;; esac",
    );
    let outcome = bed.run("heartbeat/drbddisk", &["r0", "status"]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (3, "stopped (Unconfigured)\n")
    );
}

#[test]
fn drbddisk_without_a_resource_cannot_be_asked_for_status() {
    let outcome = Bed::new().run("heartbeat/drbddisk", &["status"]);
    assert_eq!(outcome.code, 10);
    assert_eq!(
        outcome.out,
        "A resource name is required for status inquiries.\n"
    );
    assert_eq!(Bed::new().run("heartbeat/drbddisk", &[]).code, 1);
    assert_eq!(
        Bed::new().run("heartbeat/drbddisk", &["r0", "dance"]).code,
        1
    );
}

#[test]
fn drbddisk_promotes_and_demotes_and_tries_again() {
    let mut bed = Bed::new();
    bed.stand_in("drbdadm", "");
    let start = bed.run("heartbeat/drbddisk", &["r0", "start"]);
    assert_eq!(
        (start.code, start.calls),
        (0, vec!["drbdadm primary r0".to_string()])
    );
    let stop = bed.run("heartbeat/drbddisk", &["stop"]);
    assert_eq!(
        (stop.code, stop.calls),
        (0, vec!["drbdadm secondary all".to_string()])
    );
    bed.stand_in("drbdadm", "exit 11");
    let start = bed.run("heartbeat/drbddisk", &["r0", "start"]);
    assert_eq!((start.code, start.calls.len()), (1, 6));
    let stop = bed.run("heartbeat/drbddisk", &["r0", "stop"]);
    assert_eq!((stop.code, stop.calls.len()), (1, 3));
}

#[test]
fn drbdupper_promotes_from_below_and_stops_from_above() {
    let mut bed = Bed::new();
    bed.stand_in("drbdadm", "case $* in *sh-lr-of*) echo low ;; esac");
    let start = bed.run("heartbeat/drbdupper", &["up0", "start"]);
    assert_eq!(
        (start.code, start.calls.join("\n")),
        (
            0,
            "drbdadm -S sh-lr-of up0\ndrbdadm primary low\ndrbdadm -S check-resize up0\n\
             drbdadm -S adjust up0\ndrbdadm -S wait-connect up0\ndrbdadm -S primary up0"
                .to_string()
        )
    );
    let stop = bed.run("heartbeat/drbdupper", &["up0", "stop"]);
    assert_eq!(
        stop.calls.join("\n"),
        "drbdadm -S down up0\ndrbdadm -S sh-lr-of up0\ndrbdadm secondary low"
    );
    bed.stand_in("drbdadm", "case $* in *role*) echo Primary/Unknown ;; esac");
    assert_eq!(
        bed.run("heartbeat/drbdupper", &["up0", "status"]).out,
        "running\n"
    );
    bed.stand_in(
        "drbdadm",
        "case $* in *primary*) exit 17 ;; *sh-lr-of*) echo low ;; esac",
    );
    assert_eq!(bed.run("heartbeat/drbdupper", &["up0", "start"]).code, 17);
}
