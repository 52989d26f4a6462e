// SPDX-License-Identifier: GPL-2.0
//! Issue 4, "What wrong input gets": a second tool running meanwhile waits for the lock with a message; then it fails clearly, or goes
//! on when the first one ends.

mod support;

use std::fs;
use support::{become_host, run_apart, Scratch};

/// A drbdmeta that waits for its dump on standard input holds the lock of its minor.
const SCRIPT: &str = r#"
mount -t tmpfs locks /var/lock || mount -t tmpfs locks /run/lock || exit 98
truncate -s 1M image
PATH="$PWD/bin:$PATH"
drbdmeta --force 77 v08 image internal create-md > /dev/null 2>&1 || exit 97
mkfifo dump; sleep 1000 > dump & feeder=$!
drbdmeta --force 77 v08 image internal restore-md < dump > first 2>&1 & holder=$!
while ! grep -q "POSIX.* $holder " /proc/locks; do sleep 0.05; done
# another minor is not in its way
timeout 5 drbdmeta --force 78 v08 image internal get-gi > other 2>&1; echo $? > other.code
drbdmeta --force 77 v08 image internal get-gi > patient 2>&1; echo $? > patient.code
(drbdmeta --force 77 v08 image internal get-gi > lucky 2>&1; echo $? > lucky.code) & second=$!
while ! grep -q Waiting lucky 2>/dev/null; do sleep 0.05; done
kill $feeder $holder
wait $second
exit 0
"#;

#[test]
fn a_second_tool_waits_with_a_message_then_fails_or_goes_on() {
    let scratch = Scratch::new("drbdadm-locks");
    scratch.programs("", &[]);
    let place = &scratch.0;
    std::os::unix::fs::symlink("drbdadm", place.join("bin/drbdmeta")).expect("link");
    run_apart(place, &(become_host("alice", "") + SCRIPT));
    let read = |name: &str| fs::read_to_string(place.join(name)).expect(name);
    assert_eq!(read("other.code").trim(), "0", "{}", read("other"));
    let patient = read("patient");
    assert_eq!(read("patient.code").trim(), "20", "{patient}");
    let lines: Vec<&str> = patient.lines().collect();
    assert_eq!(lines.len(), 2, "{patient}");
    assert!(
        lines[0].starts_with("Waiting for process ")
            && lines[0].ends_with("which works on minor 77 ..."),
        "{patient}"
    );
    assert!(
        lines[0].contains("drbdmeta --force 77 v08 image internal restore-md"),
        "{patient}"
    );
    assert!(
        lines[1].contains("/var/lock/drbd-147-77 is still held by process ")
            && lines[1].ends_with("after 10 s"),
        "{patient}"
    );
    let lucky = read("lucky");
    assert_eq!(read("lucky.code").trim(), "0", "{lucky}");
    assert!(lucky.contains("Waiting for process "), "{lucky}");
}
