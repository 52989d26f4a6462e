// SPDX-License-Identifier: GPL-2.0
//! States of disks and of resyncs.

use super::*;

#[test]
fn every_state_of_the_disk_is_explained() {
    let table: &[(&str, State, Severity, &[&str])] = &[
        (
            "unconfigured",
            state(StandAlone, Secondary, Diskless, DUnknown),
            Problem,
            &["neither disk nor connection", "drbdadm adjust r0"],
        ),
        (
            "diskless served",
            state(Connected, Primary, Diskless, UpToDate),
            Problem,
            &["all reads and writes go to the peer", "drbdadm attach r0"],
        ),
        (
            "diskless alone",
            state(WFConnection, Secondary, Diskless, DUnknown),
            Problem,
            &["there is no data to work with"],
        ),
        (
            "attaching",
            state(StandAlone, Secondary, Disk::Attaching, DUnknown),
            Problem,
            &["is being attached (Attaching)"],
        ),
        (
            "negotiating",
            state(WFReportParams, Secondary, Negotiating, DUnknown),
            Notice,
            &["is being attached (Negotiating)"],
        ),
        (
            "failed",
            state(Connected, Primary, Failed, UpToDate),
            Problem,
            &["The disk failed"],
        ),
        (
            "first sync",
            state(Connected, Secondary, Inconsistent, Inconsistent),
            Problem,
            &[
                "Neither this node nor bob",
                "-> drbdadm primary --force r0",
                "on bob: drbdadm primary --force r0",
            ],
        ),
        (
            "inconsistent alone",
            state(WFConnection, Secondary, Inconsistent, DUnknown),
            Problem,
            &["A resync towards this node did not end", "last resort"],
        ),
        (
            "inconsistent connected",
            state(Connected, Secondary, Inconsistent, UpToDate),
            Problem,
            &["no resync runs", "drbdadm invalidate r0"],
        ),
        (
            "outdated",
            state(WFConnection, Secondary, Outdated, DUnknown),
            Problem,
            &[
                "older than that of bob (Outdated)",
                "refuses to become Primary",
                "drbdadm primary --force r0",
            ],
        ),
        (
            "outdated apart",
            state(StandAlone, Secondary, Outdated, DUnknown),
            Problem,
            &["(Outdated)", "-> drbdadm connect r0"],
        ),
        (
            "outdated connected",
            state(Connected, Secondary, Outdated, Outdated),
            Problem,
            &["Waits for: bob to have an UpToDate disk (it is Outdated)"],
        ),
        (
            "consistent",
            state(WFConnection, Secondary, Consistent, DUnknown),
            Problem,
            &[
                "(Consistent)",
                "fence-peer handler",
                "drbdadm primary --force r0",
            ],
        ),
        (
            "peer diskless",
            state(Connected, Primary, UpToDate, Diskless),
            Problem,
            &[
                "bob has no disk",
                "on bob: drbdadm why r0",
                "on bob: drbdadm attach r0",
            ],
        ),
        (
            "peer failed",
            state(Connected, Primary, UpToDate, Failed),
            Problem,
            &["disk of bob just failed"],
        ),
        (
            "peer outdated",
            state(Connected, Primary, UpToDate, Outdated),
            Problem,
            &["disk of bob is Outdated and no resync runs"],
        ),
        (
            "peer inconsistent",
            state(Connected, Primary, UpToDate, Inconsistent),
            Problem,
            &["Inconsistent and no resync runs"],
        ),
        (
            "primary without data",
            state(WFConnection, Primary, Diskless, DUnknown),
            Problem,
            &["I/O fails"],
        ),
    ];
    for (title, state, severity, words) in table {
        expect(title, &at(*state), *severity, words);
    }
    let mut fresh = at(state(WFConnection, Secondary, Inconsistent, DUnknown));
    volume(&mut fresh).generations = Some(([4, 0, 0, 0], 0));
    expect(
        "fresh",
        &fresh,
        Problem,
        &["It never had data", "only if this is the first node ever"],
    );
    let broken = with_log(
        at(state(Connected, Primary, Diskless, UpToDate)),
        &["local disk failed, detaching"],
    );
    expect(
        "disk error",
        &broken,
        Problem,
        &[
            "local disk failed",
            "repaired or replaced",
            "drbdadm create-md r0",
        ],
    );
    let detached = with_log(
        at(state(Connected, Primary, Diskless, UpToDate)),
        &["disk( Failed -> Diskless ) "],
    );
    expect(
        "detached",
        &detached,
        Problem,
        &["detached at 2001-09-09 01:46:40 UTC by a command"],
    );
    let mut bare = at(state(StandAlone, Secondary, Diskless, DUnknown));
    bare.metadata
        .insert(0, Err("No valid meta data found".into()));
    expect(
        "no metadata",
        &bare,
        Problem,
        &["No valid meta data found", "drbdadm create-md r0"],
    );
    bare.metadata
        .insert(0, Ok("Secondary, StandAlone, Outdated".into()));
    expect(
        "metadata",
        &bare,
        Problem,
        &["Its metadata says: Secondary, StandAlone, Outdated"],
    );
    let mut crashed = at(state(WFConnection, Secondary, Consistent, DUnknown));
    volume(&mut crashed).generations = Some(([1; 4], drbd_core::md::flags::CRASHED_PRIMARY));
    expect(
        "crashed primary",
        &crashed,
        Problem,
        &["was Primary when it crashed"],
    );
    let mut no_log = at(state(Connected, Primary, UpToDate, UpToDate));
    volume(&mut no_log).log_suspended = true;
    expect(
        "al-updates no",
        &no_log,
        Notice,
        &["activity log is not written"],
    );
}

#[test]
fn every_state_of_a_resync_is_explained() {
    let mut source = at(state(SyncSource, Primary, UpToDate, Inconsistent));
    volume(&mut source).bits_out_of_sync = 500;
    expect(
        "source",
        &source,
        Notice,
        &["bob is being brought up to date from here (SyncSource): 75.0% done"],
    );
    source.progress = vec![Minor {
        speed_kib: Some(2048),
        finish: Some("0:00:01".into()),
        ..Minor::default()
    }];
    expect(
        "speed",
        &source,
        Notice,
        &["2.0M left, 2.0M/s", "in about 0:00:01"],
    );
    source.progress[0].speed_kib = Some(0);
    expect("stalled", &source, Notice, &["Nothing moved"]);
    volume(&mut source).run = Some((2000, 3));
    expect("errors", &source, Notice, &["3 blocks could not be copied"]);
    let target = at(state(SyncTarget, Secondary, Inconsistent, UpToDate));
    expect(
        "target",
        &target,
        Notice,
        &["brought up to date from bob", "partly old and partly new"],
    );
    for conn in [VerifyS, VerifyT] {
        expect(
            "verify",
            &at(state(conn, Primary, UpToDate, UpToDate)),
            Notice,
            &["online verify"],
        );
    }
    for conn in [
        StartingSyncS,
        StartingSyncT,
        WFBitMapS,
        WFBitMapT,
        WFSyncUUID,
    ] {
        expect(
            conn.name(),
            &at(state(conn, Secondary, UpToDate, UpToDate)),
            Notice,
            &["about to start", conn.name()],
        );
    }
    expect(
        "ahead",
        &at(state(Ahead, Primary, UpToDate, Outdated)),
        Notice,
        &["too slow", "Ahead"],
    );
    expect(
        "behind",
        &at(state(Behind, Secondary, UpToDate, UpToDate)),
        Notice,
        &["fell behind"],
    );
    let base = state(PausedSyncT, Secondary, Inconsistent, UpToDate);
    let paused: [(State, &[&str]); 3] = [
        (
            State {
                user_isp: true,
                ..base
            },
            &[
                "paused on this node by a command",
                "-> drbdadm resume-sync r0",
            ],
        ),
        (
            State {
                peer_isp: true,
                ..base
            },
            &["bob holds it", "on bob: drbdadm resume-sync r0"],
        ),
        (
            State {
                aftr_isp: true,
                ..base
            },
            &["the resync of first/0 comes first", "drbdadm why first"],
        ),
    ];
    for (state, words) in paused {
        expect("paused", &at(state), Problem, words);
        expect(
            "paused source",
            &at(State {
                conn: PausedSyncS,
                disk: UpToDate,
                pdsk: Inconsistent,
                ..state
            }),
            Problem,
            words,
        );
    }
    let mut verified = at(state(Connected, Primary, UpToDate, UpToDate));
    volume(&mut verified).bits_out_of_sync = 3;
    expect(
        "after verify",
        &verified,
        Problem,
        &["12K differ", "drbdadm disconnect r0", "drbdadm connect r0"],
    );
    let set = State {
        user_isp: true,
        ..state(Connected, Primary, UpToDate, UpToDate)
    };
    expect(
        "paused beforehand",
        &at(set),
        Notice,
        &["the next one will wait", "drbdadm resume-sync r0"],
    );
}
