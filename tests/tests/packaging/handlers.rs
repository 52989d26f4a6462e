// SPDX-License-Identifier: GPL-2.0
//! Handlers that tell somebody, and those that take snapshots (issue 4 line 5; config-and-cli.md section 18).

use crate::bed::Bed;

fn event() -> Bed {
    let mut bed = Bed::new();
    bed.stand_in("mail", "cat >\"$bed/mail\"");
    bed.stand_in("logger", "echo \"$*\" >>\"$bed/log\"");
    for (name, value) in [
        ("DRBD_RESOURCE", "r0"),
        ("DRBD_VOLUME", "0"),
        ("DRBD_MINOR", "0"),
        ("DRBD_LL_DISK", "/dev/vg/lv"),
        ("DRBD_PEER", "node2"),
    ] {
        bed.set(name, value);
    }
    bed
}

#[test]
fn every_notification_goes_to_mail_and_syslog() {
    for (name, word) in [
        ("notify-split-brain.sh", "split brain"),
        ("notify-io-error.sh", "disk error"),
        ("notify-pri-lost.sh", "Primary would be overwritten"),
        (
            "notify-pri-lost-after-sb.sh",
            "Primary lost after split brain",
        ),
        ("notify-pri-on-incon-degr.sh", "Primary without good data"),
        ("notify-out-of-sync.sh", "differences found"),
        ("notify.sh", "event"),
    ] {
        let bed = event();
        let outcome = bed.run_as("handlers/notify", name, &["admin@example.org"]);
        assert_eq!(outcome.code, 0);
        let mail = outcome.calls_of("mail");
        assert_eq!(mail.len(), 1, "{name}");
        assert!(
            mail[0].starts_with("mail -s DRBD ") && mail[0].contains(word),
            "{}",
            mail[0]
        );
        assert!(
            mail[0].ends_with("resource r0, volume 0 on ".to_string().as_str())
                || mail[0].ends_with("admin@example.org")
        );
        assert!(bed.read("mail").contains("/dev/vg/lv") && bed.read("mail").contains("node2"));
        assert!(bed.read("log").contains(word), "{name}");
        assert_eq!(bed.read("sysrq"), "");
    }
}

#[test]
fn a_split_brain_message_says_what_to_type() {
    let bed = event();
    bed.run_as("handlers/notify", "notify-split-brain.sh", &[]);
    assert!(bed
        .read("mail")
        .contains("drbdadm connect --discard-my-data r0"));
}

#[test]
fn without_mail_there_is_still_syslog_and_a_broken_mail_does_no_harm() {
    let mut bed = event();
    bed.stand_in("mail", "exit 75");
    assert_eq!(
        bed.run_as("handlers/notify", "notify-split-brain.sh", &["root"])
            .code,
        0
    );
    let outcome = event().run_as("handlers/notify", "notify-split-brain.sh", &["syslog"]);
    assert_eq!((outcome.code, outcome.calls.len()), (0, 0));
    let outcome = Bed::new().run_as("handlers/notify", "notify-split-brain.sh", &["root"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("DRBD_RESOURCE"));
}

#[test]
fn emergencies_reboot_or_power_off() {
    for (name, letter) in [
        ("notify-emergency-reboot.sh", "b\n"),
        ("notify-emergency-shutdown.sh", "o\n"),
    ] {
        let bed = event();
        assert_eq!(bed.run_as("handlers/notify", name, &[]).code, 0);
        assert_eq!(bed.read("sysrq"), letter);
    }
}

/// A node whose backing disk is the logical volume vg/data of 1 GiB.
fn volume() -> Bed {
    let mut bed = event();
    bed.stand_in(
        "lvs",
        "case $* in *--noheadings*) echo '  data vg 1048576.00' ;; *before-resync) [ -e \"$bed/snapshot\" ] ;; esac; exit $?",
    );
    bed.stand_in(
        "lvcreate",
        "[ ! -e \"$bed/full\" ] || { echo no space >&2; exit 5; }; : >\"$bed/snapshot\"",
    );
    bed.stand_in("lvremove", "rm -f \"$bed/snapshot\"");
    bed
}

const SNAPSHOT: &str = "handlers/snapshot-resync-target-lvm";

#[test]
fn a_snapshot_is_taken_before_a_resync_and_removed_after_it() {
    let bed = volume();
    let outcome = bed.run_as(
        SNAPSHOT,
        "snapshot-resync-target-lvm.sh",
        &["-p", "15", "--", "-c16k"],
    );
    assert_eq!(outcome.code, 0);
    // 15 % of 1 GiB and 10 MiB, in KiB
    assert!(
        outcome.called("lvcreate -s -n data-before-resync -L 167526k -c16k vg/data"),
        "{outcome:?}"
    );
    // the next one starts before this one has ended: the old snapshot is the consistent one
    let outcome = bed.run_as(SNAPSHOT, "snapshot-resync-target-lvm.sh", &[]);
    assert_eq!((outcome.code, outcome.calls_of("lvcreate").len()), (0, 0));
    let outcome = bed.run_as(SNAPSHOT, "unsnapshot-resync-target-lvm.sh", &[]);
    assert_eq!(outcome.code, 0);
    assert!(outcome.called("lvremove -f vg/data-before-resync"));
    let outcome = bed.run_as(SNAPSHOT, "unsnapshot-resync-target-lvm.sh", &[]);
    assert_eq!((outcome.code, outcome.calls_of("lvremove").len()), (0, 0));
}

#[test]
fn the_snapshot_is_large_enough_for_what_is_out_of_sync() {
    let bed = volume();
    bed.file(
        "proc_drbd",
        " 0: cs:WFBitMapT ro:Secondary/Primary ds:Outdated/UpToDate C r-----\n    ns:0 ep:1 wo:f oos:500000\n\
          1: cs:WFBitMapT ro:Secondary/Primary ds:Outdated/UpToDate C r-----\n    ns:0 ep:1 wo:f oos:900000\n",
    );
    let outcome = bed.run_as(SNAPSHOT, "snapshot-resync-target-lvm.sh", &["-a", "1000"]);
    assert!(
        outcome.called("lvcreate -s -n data-before-resync -L 501000k vg/data"),
        "{outcome:?}"
    );
}

#[test]
fn a_failed_snapshot_stops_the_resync_only_if_wished() {
    let bed = volume();
    bed.file("full", "");
    assert_eq!(
        bed.run_as(SNAPSHOT, "snapshot-resync-target-lvm.sh", &[])
            .code,
        0
    );
    assert_eq!(
        bed.run_as(SNAPSHOT, "snapshot-resync-target-lvm.sh", &["-n"])
            .code,
        1
    );
    let mut bed = event();
    bed.stand_in("lvs", "exit 5");
    assert_eq!(
        bed.run_as(SNAPSHOT, "snapshot-resync-target-lvm.sh", &[])
            .code,
        0
    );
    assert_eq!(
        bed.run_as(SNAPSHOT, "snapshot-resync-target-lvm.sh", &["-n"])
            .code,
        1
    );
}
