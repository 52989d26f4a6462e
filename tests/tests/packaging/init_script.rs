// SPDX-License-Identifier: GPL-2.0
//! The init script `drbd` (issue 4 lines 5 and 6; config-and-cli.md section 15). The calls and their
//! order are those recorded of the reference script.

use crate::bed::Bed;

const LOADED: &str = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 0123456789ABCDEF0123456 \n";
const PRIMARY: &str =
    " 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----\n    \
     ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:12\n\
     \t[>...................] sync'ed: 10.0% (12/16)K\n\tfinish: 0:00:01 speed: 4 (4) K/sec\n";

/// A configured node; the driver is there once it was loaded, and gone when it was removed.
fn node() -> Bed {
    let mut bed = Bed::new();
    bed.stand_in(
        "modprobe",
        &format!("printf '{LOADED}' >\"$bed/proc_drbd\""),
    );
    bed.stand_in("rmmod", "rm -f \"$bed/proc_drbd\"");
    bed.stand_in("udevadm", "");
    bed.stand_in("umount", "");
    bed.stand_in("drbdsetup", "");
    bed.stand_in(
        "drbdadm",
        "case $* in sh-resources) echo r0 ;; 'sh-minor r0') echo 0 ;; esac",
    );
    bed
}

#[test]
fn start_loads_configures_waits_and_promotes() {
    let bed = node();
    let outcome = bed.run("init/drbd", &["start"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(
        outcome.calls.join("\n"),
        "modprobe -s drbd\ndrbdadm sh-nop\ndrbdadm adjust-with-progress all\ndrbdadm sh-dev all\n\
         drbdadm wait-con-int\ndrbdadm sh-b-pri all"
    );
    assert_eq!(outcome.out, "Starting DRBD resources: .\n");
}

#[test]
fn stacked_resources_start_on_top_of_a_primary() {
    let mut bed = node();
    bed.stand_in("drbdadm", "case $* in '-S sh-resources') echo up0 ;; esac");
    bed.file("proc_drbd", &format!("{LOADED}{PRIMARY}"));
    let outcome = bed.run("init/drbd", &["start"]);
    assert_eq!(
        outcome.calls_of("drbdadm -S").join("\n"),
        "drbdadm -S sh-resources\ndrbdadm -S adjust-with-progress all\ndrbdadm -S sh-dev all\n\
         drbdadm -S wait-con-int\ndrbdadm -S sh-b-pri all"
    );
    // where Heartbeat starts them it is not done here
    bed.file(
        "haresources",
        "node1 drbdupper::up0 Filesystem::/dev/drbd10::/mnt\n",
    );
    assert!(bed
        .run("init/drbd", &["start"])
        .calls_of("drbdadm -S")
        .is_empty());
}

#[test]
fn start_fails_as_documented() {
    let mut bed = node();
    bed.stand_in("modprobe", "exit 1");
    let outcome = bed.run("init/drbd", &["start"]);
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (5, "Can not load the drbd module.\n")
    );
    let mut bed = node();
    bed.stand_in(
        "drbdadm",
        "case $1 in sh-nop) echo 'line 3 is wrong' >&2; exit 10 ;; esac",
    );
    let outcome = bed.run("init/drbd", &["start"]);
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (6, "line 3 is wrong\n")
    );
    bed.stand_in("drbdadm", "case $1 in adjust*) exit 20 ;; esac");
    assert_eq!(bed.run("init/drbd", &["start"]).code, 20);
    // a resource that cannot be configured does not keep the others from starting
    bed.stand_in("drbdadm", "case $1 in adjust*) exit 1 ;; esac");
    let outcome = bed.run("init/drbd", &["start"]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.called("drbdadm wait-con-int"));
}

#[test]
fn stop_takes_everything_down_and_tries_twice() {
    let mut bed = node();
    bed.stand_in(
        "drbdadm",
        "case $* in '--stacked sh-resources') echo up0 ;; sh-resources) echo r0 ;; esac",
    );
    bed.file("proc_drbd", LOADED);
    let outcome = bed.run("init/drbd", &["stop"]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "Stopping all DRBD resources: .\n")
    );
    assert_eq!(
        outcome.calls_of("drbdsetup"),
        ["drbdsetup down up0", "drbdsetup down r0"]
    );
    assert!(outcome.called("rmmod drbd"));
    bed.file("proc_drbd", LOADED);
    bed.stand_in("drbdsetup", "exit 11");
    bed.stand_in("rmmod", "exit 1");
    let outcome = bed.run("init/drbd", &["stop"]);
    assert_eq!(outcome.code, 0);
    assert_eq!(outcome.calls_of("drbdsetup").len(), 4);
    assert!(outcome.out.contains("Retrying once..."), "{}", outcome.out);
}

#[test]
fn status_shows_the_volumes_and_what_is_mounted() {
    let bed = node();
    let outcome = bed.run("init/drbd", &["status"]);
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (3, "drbd not loaded\n")
    );
    bed.file("proc_drbd", &format!("{LOADED}{PRIMARY}"));
    let outcome = bed.run("init/drbd", &["status"]);
    assert_eq!(outcome.code, 0);
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines[0], "drbd driver loaded OK; device status:");
    assert_eq!(lines[1], "version: 8.4.11 (api:1/proto:86-101)");
    let words = |line: &str| {
        line.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let table = lines
        .iter()
        .find(|line| line.contains("SyncSource"))
        .expect("a row");
    if outcome.out.contains("m:res") {
        assert_eq!(
            words(lines[3]),
            ["m:res", "cs", "ro", "ds", "p", "mounted", "fstype"]
        );
        assert_eq!(
            words(table)[..5],
            [
                "0:r0",
                "SyncSource",
                "Primary/Secondary",
                "UpToDate/Inconsistent",
                "C"
            ]
        );
    }
    assert!(outcome.out.contains("sync'ed: 10.0%"));
}

#[test]
fn reload_adjusts_and_restart_stops_and_starts() {
    let bed = node();
    bed.file("proc_drbd", LOADED);
    let outcome = bed.run("init/drbd", &["reload"]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "Reloading DRBD configuration: .\n")
    );
    assert_eq!(outcome.calls, ["drbdadm sh-nop", "drbdadm adjust all"]);
    let outcome = bed.run("init/drbd", &["restart"]);
    assert_eq!(outcome.code, 0);
    assert_eq!(
        outcome.out,
        "Stopping all DRBD resources: .\nStarting DRBD resources: .\n"
    );
    let outcome = bed.run("init/drbd", &["dance"]);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (
            1,
            "Usage: /etc/init.d/drbd {start|stop|status|reload|restart|force-reload}\n"
        )
    );
}

#[test]
fn hooks_of_the_default_file_are_called() {
    let bed = node();
    bed.file("default", "hook_before_wait() { echo before; }\nhook_start() { echo started; }\nADD_MOD_PARAM='minor_count=9'\n");
    let outcome = bed.run("init/drbd", &["start"]);
    assert_eq!(outcome.out, "Starting DRBD resources: before\n.\nstarted\n");
    assert!(outcome.called("modprobe -s drbd minor_count=9"));
}
