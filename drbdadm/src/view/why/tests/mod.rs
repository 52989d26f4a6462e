// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 4, `drbdadm why`: one row for each state a resource can be in, with the words and the command that the reader has
//! to find; and all combinations of states, none of which may be left without an explanation.

mod connection;
mod volumes;

use super::log::Record;
use super::text::{render, value};
use super::*;
use crate::adm::ConfiguredVolume;
use drbd_core::state::{Conn, Disk, Role, State};
use netlink_api::snapshot::Backing;

fn at(state: State) -> Facts {
    let connection = match state.conn {
        Conn::StandAlone => None,
        conn => Some(conn.min(Conn::WFReportParams)),
    };
    let volume = Volume {
        minor: 0,
        state,
        sectors: 1 << 20,
        bits: 1 << 17,
        generations: (state.disk != Disk::Diskless).then_some(([0xaa01, 0xbb00, 0, 0], 0)),
        run: state.conn.is_resync().then_some((2000, 0)),
        backing: Some(Backing {
            resync_after: 5,
            ..Backing::default()
        }),
        ..Volume::default()
    };
    Facts {
        name: "r0".into(),
        configured: Some(Configured {
            name: "r0".into(),
            peer_host: "bob".into(),
            volumes: vec![ConfiguredVolume {
                disk: "/dev/vda".into(),
                ..ConfiguredVolume::default()
            }],
            ..Configured::default()
        }),
        running: Some(Resource {
            name: "r0".into(),
            role: state.role,
            peer_role: state.peer,
            connection,
            suspended: [state.susp, state.susp_nod, state.susp_fen],
            own_address: Some("ipv4:10.0.0.1:7789".into()),
            peer_address: Some("ipv4:10.0.0.2:7789".into()),
            volumes: vec![volume],
            ..Resource::default()
        }),
        names: BTreeMap::from([(0, "r0/0".into()), (5, "first/0".into())]),
        log: Some(Vec::new()),
        ..Facts::default()
    }
}

fn state(conn: Conn, role: Role, disk: Disk, pdsk: Disk) -> State {
    let peer = if conn >= Conn::Connected {
        Role::Secondary
    } else {
        Role::Unknown
    };
    State {
        role,
        peer,
        conn,
        disk,
        pdsk,
        ..State::default()
    }
}

fn with_log(mut facts: Facts, lines: &[&str]) -> Facts {
    let records = lines.iter().enumerate().map(|(at, text)| Record {
        time: 1_000_000_000 + 60 * at as u64,
        text: (*text).into(),
    });
    facts.log = Some(records.collect());
    facts
}

fn volume(facts: &mut Facts) -> &mut Volume {
    let resource = facts.running.as_mut().expect("running");
    resource.volumes.first_mut().expect("volume")
}

/// The worst finding has the severity, and all these words are in the text.
fn expect(title: &str, facts: &Facts, severity: Severity, words: &[&str]) {
    let findings = explain(facts);
    let text = render(&findings, false)
        .replace("\n      ", "")
        .replace('\n', " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(findings[0].severity, severity, "{title}: {text}");
    for word in words {
        assert!(text.contains(word), "{title}: '{word}' is not in: {text}");
    }
}

use Conn::*;
use Disk::{Consistent, DUnknown, Diskless, Failed, Inconsistent, Negotiating, Outdated, UpToDate};
use Role::{Primary, Secondary};
use Severity::{Fine, Notice, Problem};

#[test]
fn suspended_io_is_explained_with_its_reason() {
    let base = state(WFConnection, Primary, UpToDate, DUnknown);
    expect(
        "user",
        &at(State { susp: true, ..base }),
        Problem,
        &["suspended by a command", "drbdadm resume-io r0"],
    );
    expect(
        "no data",
        &at(State {
            susp_nod: true,
            ..base
        }),
        Problem,
        &["no node with good data", "I/O errors"],
    );
    let fenced = State {
        susp_fen: true,
        ..base
    };
    expect(
        "fencing",
        &at(fenced),
        Problem,
        &[
            "resource-and-stonith",
            "drbdadm fence-peer r0",
            "drbdadm resume-io r0",
        ],
    );
    let call = "helper command: /sbin/drbdadm fence-peer r0";
    for (code, meaning) in [
        ("1", "failed"),
        ("0", "no answer"),
        ("5", "counts as dead"),
        ("6", "is Primary"),
    ] {
        let facts = with_log(
            at(fenced),
            &[call, &format!("{call} exit code {code} (0x{code}00)")],
        );
        expect("handler", &facts, Problem, &["exit code", meaning]);
    }
    expect(
        "handler runs",
        &with_log(at(fenced), &[call]),
        Problem,
        &["which still runs"],
    );
    let mut blocked = at(state(Connected, Primary, UpToDate, UpToDate));
    volume(&mut blocked).blocked = true;
    expect("blocked", &blocked, Notice, &["New I/O waits for a moment"]);
}

#[test]
fn what_is_not_set_up_is_explained() {
    let mut facts = at(state(Connected, Secondary, UpToDate, UpToDate));
    facts.running = None;
    facts.module = Module::Absent;
    expect(
        "no module",
        &facts,
        Problem,
        &["module is not loaded", "modprobe drbd", "drbdadm up r0"],
    );
    facts.module = Module::Silent("no answer from the kernel".into());
    expect(
        "silent",
        &facts,
        Problem,
        &["does not answer", "no answer from the kernel"],
    );
    facts.module = Module::Loaded;
    expect(
        "not up",
        &facts,
        Problem,
        &["configured but not set up", "drbdadm up r0"],
    );
    facts
        .metadata
        .insert(0, Err("No valid meta data found".into()));
    expect(
        "no metadata",
        &facts,
        Problem,
        &[
            "/dev/vda: No valid meta data found",
            "drbdadm create-md r0/0",
        ],
    );
    facts.configured = None;
    expect(
        "nowhere",
        &facts,
        Problem,
        &["no such resource", "drbdadm sh-resources"],
    );
    facts.config_fault = Some("/etc/drbd.conf:3:1: expected ';'".into());
    expect(
        "configuration",
        &facts,
        Problem,
        &["/etc/drbd.conf:3:1", "drbdadm dump"],
    );
    let mut differs = at(state(Connected, Secondary, UpToDate, UpToDate));
    differs.differences = vec!["drbdsetup net-options a b --timeout=50".into(), "x".into()];
    expect(
        "differs",
        &differs,
        Notice,
        &[
            "says something else",
            "--timeout=50 and 1 more",
            "drbdadm adjust r0",
        ],
    );
    differs.configured = None;
    differs.differences.clear();
    expect(
        "not in the file",
        &differs,
        Notice,
        &["not in the configuration", "drbdsetup show r0"],
    );
    let mut empty = at(state(Connected, Secondary, UpToDate, UpToDate));
    empty.running.as_mut().expect("running").volumes.clear();
    expect("no volume", &empty, Problem, &["has no volume"]);
    let mut dark = at(state(Connected, Secondary, UpToDate, UpToDate));
    dark.log = None;
    expect(
        "not root",
        &dark,
        Fine,
        &["may not be read", "sudo drbdadm why r0"],
    );
}

/// 3 roles, 3 roles, 24 connections, 9 disks, 9 disks and 64 sets of flags: no combination is left without an explanation, and
/// what is a problem comes with something to wait for or to do.
#[test]
fn no_combination_of_states_is_left_without_an_explanation() {
    for &conn in Conn::ALL {
        for &disk in Disk::ALL {
            for &pdsk in Disk::ALL {
                for (&role, &peer) in Role::ALL
                    .iter()
                    .flat_map(|r| Role::ALL.iter().map(move |p| (r, p)))
                {
                    for flags in [0u32, 1, 2, 4, 8, 16, 32, 63] {
                        let set = |bit: u32| flags & 1 << bit != 0;
                        let facts = at(State {
                            role,
                            peer,
                            conn,
                            disk,
                            pdsk,
                            susp: set(0),
                            susp_nod: set(1),
                            susp_fen: set(2),
                            aftr_isp: set(3),
                            peer_isp: set(4),
                            user_isp: set(5),
                        });
                        let findings = explain(&facts);
                        assert!(!findings.is_empty());
                        for finding in findings.iter().filter(|f| f.severity == Problem) {
                            assert!(
                                finding.waits_for.is_some() || !finding.choices.is_empty(),
                                "{finding:?}"
                            );
                        }
                        let well = findings.iter().any(|f| f.what.starts_with("Everything is"));
                        let good = conn == Connected && disk == UpToDate && pdsk == UpToDate;
                        assert!(!well || good, "{conn:?} {disk:?} {pdsk:?}: {findings:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_document_has_the_documented_members() {
    let findings = explain(&at(state(StandAlone, Secondary, UpToDate, DUnknown)));
    let whole = crate::view::why::text::document(vec![value("r0", &findings)]);
    crate::schema::check(&serde_json::from_str(&whole).expect("valid"));
    let value = value("r0", &findings);
    assert_eq!(value["name"], "r0");
    assert_eq!(value["problem"], true);
    let finding = &value["findings"][0];
    assert_eq!(
        (&finding["about"], &finding["severity"]),
        (&"r0".into(), &"problem".into())
    );
    assert_eq!(finding["choices"][0]["steps"][0]["on"], "here");
    assert_eq!(
        finding["choices"][0]["steps"][0]["command"],
        "drbdadm connect r0"
    );
    assert!(finding["because"].is_array() && finding["waits-for"].is_string());
}
