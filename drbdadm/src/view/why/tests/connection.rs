// SPDX-License-Identifier: GPL-2.0
//! States of the connection, StandAlone and its causes, split brain.

use super::*;

#[test]
fn every_state_of_the_connection_is_explained() {
    let plain = |conn| at(state(conn, Secondary, UpToDate, DUnknown));
    expect(
        "connected",
        &at(state(Connected, Primary, UpToDate, UpToDate)),
        Fine,
        &["as it should be", "bob", "This node is Primary"],
    );
    expect(
        "nobody primary",
        &at(state(Connected, Secondary, UpToDate, UpToDate)),
        Fine,
        &["Nobody", "drbdadm primary r0"],
    );
    expect(
        "StandAlone",
        &plain(StandAlone),
        Problem,
        &[
            "StandAlone",
            "changes do not reach bob",
            "-> drbdadm connect r0",
        ],
    );
    for conn in [
        Unconnected,
        Timeout,
        BrokenPipe,
        NetworkFailure,
        ProtocolError,
    ] {
        expect(
            conn.name(),
            &plain(conn),
            Notice,
            &[conn.name(), "Waits for: the next attempt"],
        );
    }
    for conn in [Disconnecting, TearDown] {
        expect(conn.name(), &plain(conn), Notice, &["is being closed"]);
    }
    let mut waiting = plain(WFConnection);
    for (reach, words) in [
        (
            Reach::Answers,
            [
                "The machine with that address answers",
                "on bob: drbdadm up r0",
            ],
        ),
        (
            Reach::NoRoute,
            ["no way to that address", "ip route get 10.0.0.2"],
        ),
        (Reach::Silent, ["Nothing comes back", "ping -c 3 10.0.0.2"]),
        (
            Reach::Unknown,
            ["10.0.0.2:7789", "Waits for: bob to answer"],
        ),
    ] {
        waiting.reach = reach;
        expect("WFConnection", &waiting, Problem, &words);
    }
    waiting.address_is_ours = Some(false);
    expect(
        "foreign address",
        &waiting,
        Problem,
        &[
            "10.0.0.1:7789 is not an address of this machine",
            "ip address",
        ],
    );
    let lost = with_log(
        at(state(WFConnection, Primary, UpToDate, DUnknown)),
        &[
            "conn( WFReportParams -> Connected ) ",
            "peer( Secondary -> Unknown ) conn( Connected -> NetworkFailure ) ",
            "conn( NetworkFailure -> Unconnected ) ",
        ],
    );
    expect(
        "lost",
        &lost,
        Problem,
        &[
            "The last connection ended at 2001-09-09 01:47:40 UTC: the peer stopped answering",
            "changes are noted here",
        ],
    );
}

#[test]
fn the_reason_for_standing_alone_is_taken_from_the_log() {
    let alone = || at(state(StandAlone, Secondary, UpToDate, DUnknown));
    for (line, meaning) in [
        ("Unrelated data, aborting!", "never belonged together"),
        ("authentication of the peer failed", "shared secret"),
        (
            "incompatible verify-alg or csums-alg settings",
            "does not fit together",
        ),
        (
            "the peer's disk size is too small (8 < 16 sectors)",
            "smaller than the device",
        ),
    ] {
        let facts = with_log(
            alone(),
            &[
                "conn( StandAlone -> Unconnected ) ",
                line,
                "conn( Disconnecting -> StandAlone ) ",
            ],
        );
        expect(
            line,
            &facts,
            Problem,
            &[line, meaning, "drbdadm connect r0"],
        );
    }
    // a cause of an earlier connection is none of this one
    let facts = with_log(
        alone(),
        &[
            "Unrelated data, aborting!",
            "conn( StandAlone -> Unconnected ) ",
            "conn( Disconnecting -> StandAlone ) ",
        ],
    );
    expect(
        "by command",
        &facts,
        Problem,
        &["disconnected at", "by a command"],
    );
}

#[test]
fn split_brain_names_primaries_differences_and_both_ways_out() {
    let mut facts = with_log(
        at(state(StandAlone, Primary, UpToDate, DUnknown)),
        &[
            "conn( WFReportParams -> Connected ) ",
            "peer( Primary -> Unknown ) conn( Connected -> NetworkFailure ) ",
            "role( Secondary -> Primary ) ",
            "self 000000000000AA01:000000000000BB00:0:0 bits:7 flags:0",
            "peer 000000000000CC01:000000000000BB00:0:0 bits:12 flags:0",
            "Split-Brain detected but unresolved, dropping connection!",
            "conn( Disconnecting -> StandAlone ) ",
        ],
    );
    volume(&mut facts).bits_out_of_sync = 7;
    facts.users.insert(0, vec!["mounted on /mnt (ext4)".into()]);
    expect(
        "split brain",
        &facts,
        Problem,
        &[
            "Split brain: this node and bob both changed data",
            "They last were connected until 2001-09-09 01:47:40 UTC",
            "2001-09-09 01:48:40 UTC: this node became Primary (while apart)",
            "7 blocks of 4 KiB changed here",
            "its generation is 000000000000CC01, and it has 12 changed blocks",
            "keep the data of this node; everything that changed on bob since then is lost",
            "on bob: drbdadm -- --discard-my-data connect r0",
            "here: drbdadm connect r0",
            "keep the data of bob; the 28 KiB that changed here since then are lost",
            "mounted on /mnt",
            "here: drbdadm secondary r0",
            "here: drbdadm -- --discard-my-data connect r0",
            "on bob: drbdadm connect r0",
        ],
    );
    // solved: it is not told again
    let solved = with_log(
        at(state(StandAlone, Primary, UpToDate, DUnknown)),
        &[
            "Split-Brain detected but unresolved, dropping connection!",
            "conn( WFBitMapS -> SyncSource ) ",
            "conn( Disconnecting -> StandAlone ) ",
        ],
    );
    assert!(!render(&explain(&solved), false).contains("Split brain"));
}
