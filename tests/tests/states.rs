// SPDX-License-Identifier: GPL-2.0
//! Prints the state table into `docs/states.md` (issue 3 line 2) and fails when the file does not show what the code does.
//!
//! After a change that is meant: `DRBD_RS_WRITE=1 cargo test -p drbd-tests --test states`, and read the difference.

use drbd_core::state::sanitize::clamp;
use drbd_core::state::vector::word;
use drbd_core::state::{
    effects, evaluate, needs_cluster_wide, sanitize, Conn, Disk, Effects, Facts, Fencing, Kind, Refusal, Request, Role, State,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// A configured connection to a peer of the newest version.
fn usual() -> Facts {
    Facts { has_net: true, has_verify: true, version: 101, ..Facts::default() }
}

/// What a change leads to, in one word.
fn outcome(old: &State, request: Request, kind: Kind, facts: &Facts, reached: impl Fn(&State) -> Option<String>) -> String {
    match evaluate(old, &request, kind, facts) {
        Err(refusal) => refusal.code().to_string(),
        Ok(None) => ".".into(),
        Ok(Some(new)) => {
            let asks = kind == Kind::Soft && needs_cluster_wide(old, &new);
            let to = reached(&new).unwrap_or_else(|| "yes".into());
            if asks {
                format!("{to}?")
            } else {
                to
            }
        }
    }
}

fn row(out: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn head(out: &mut String, cells: &[String]) {
    row(out, cells.iter().cloned());
    row(out, cells.iter().map(|_| "---".to_string()));
}

/// The vector that stands for a connection state: good disks, this node Secondary beside a Primary.
fn typical(conn: Conn) -> State {
    let wanted = State {
        role: Role::Secondary,
        peer: Role::Primary,
        conn,
        disk: Disk::UpToDate,
        pdsk: Disk::UpToDate,
        ..State::default()
    };
    sanitize(&wanted, wanted, &usual())
}

fn connections(out: &mut String, kind: Kind) {
    let mut top = vec!["from \\ to".to_string()];
    top.extend(Conn::ALL.iter().map(|conn| conn.number().to_string()));
    head(out, &top);
    for from in Conn::ALL {
        let old = typical(*from);
        let mut cells = vec![format!("{} {from}", from.number())];
        cells.extend(Conn::ALL.iter().map(|to| {
            let elsewhere = |new: &State| (new.conn != *to).then(|| format!("→{}", new.conn.number()));
            outcome(&old, Request::none().conn(*to), kind, &usual(), elsewhere)
        }));
        row(out, cells);
    }
}

fn disks(out: &mut String, old: &State, kind: Kind) {
    let mut top = vec!["from \\ to".to_string()];
    top.extend(Disk::ALL.iter().map(|disk| disk.name().to_string()));
    head(out, &top);
    for from in Disk::ALL.iter().filter(|disk| **disk != Disk::DUnknown) {
        let old = State { disk: *from, ..*old };
        let mut cells = vec![from.name().to_string()];
        cells.extend(Disk::ALL.iter().map(|to| {
            let elsewhere = |new: &State| (new.disk != *to).then(|| format!("→{}", new.disk));
            outcome(&old, Request::none().disk(*to), kind, &usual(), elsewhere)
        }));
        row(out, cells);
    }
}

fn promotions(out: &mut String, conn: Conn, peer: Role, facts: &Facts) {
    let mut top = vec!["own disk \\ peer's disk".to_string()];
    top.extend(Disk::ALL.iter().map(|disk| disk.name().to_string()));
    head(out, &top);
    for own in Disk::ALL.iter().filter(|disk| **disk != Disk::DUnknown) {
        let mut cells = vec![own.name().to_string()];
        cells.extend(Disk::ALL.iter().map(|theirs| {
            let old = State { conn, peer, disk: *own, pdsk: *theirs, ..State::default() };
            if sanitize(&old, old, facts) != old {
                return String::new();
            }
            outcome(&old, Request::none().role(Role::Primary), Kind::Soft, facts, |new| {
                new.is_suspended().then(|| "frozen".to_string())
            })
        }));
        row(out, cells);
    }
}

fn clamps(out: &mut String) {
    head(out, &["connection", "own disk", "peer's disk"].map(String::from));
    let shown = |(low, high): (Disk, Disk)| if low == high { low.to_string() } else { format!("{low} .. {high}") };
    for conn in Conn::ALL {
        let (own, theirs) = clamp(*conn);
        row(out, [conn.name().to_string(), shown(own), shown(theirs)]);
    }
}

/// Every vector that sanitising leaves alone and that a node can be in, resync paused by the administrator or not.
fn vectors(facts: &Facts) -> Vec<State> {
    let mut all = Vec::new();
    for role in [Role::Primary, Role::Secondary] {
        for peer in Role::ALL {
            for conn in Conn::ALL {
                for disk in Disk::ALL.iter().filter(|disk| **disk != Disk::DUnknown) {
                    for pdsk in Disk::ALL {
                        for user_isp in [false, true] {
                            let state =
                                State { role, peer: *peer, conn: *conn, disk: *disk, pdsk: *pdsk, user_isp, ..State::default() };
                            if sanitize(&state, state, facts) == state {
                                all.push(state);
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

/// Every change of one field, with a name.
fn requests() -> Vec<(String, Request)> {
    let mut all = Vec::new();
    for role in [Role::Primary, Role::Secondary] {
        all.push((format!("role {role}"), Request::none().role(role)));
    }
    for role in Role::ALL {
        all.push((format!("peer {role}"), Request::none().peer(*role)));
    }
    for conn in Conn::ALL {
        all.push((format!("conn {conn}"), Request::none().conn(*conn)));
    }
    for disk in Disk::ALL {
        all.push((format!("disk {disk}"), Request::none().disk(*disk)));
        all.push((format!("pdsk {disk}"), Request::none().pdsk(*disk)));
    }
    for (name, mask) in [("susp", word::SUSP), ("susp_nod", word::SUSP_NOD), ("susp_fen", word::SUSP_FEN), ("aftr_isp", word::AFTR_ISP), ("peer_isp", word::PEER_ISP), ("user_isp", word::USER_ISP)] {
        all.push((format!("{name} 1"), Request::none().flag(mask, true)));
        all.push((format!("{name} 0"), Request::none().flag(mask, false)));
    }
    all
}

/// Circumstances that decide differently.
fn circumstances() -> Vec<(&'static str, Facts)> {
    vec![
        ("usual", usual()),
        ("two primaries", Facts { two_primaries: true, ..usual() }),
        ("resource-only", Facts { fencing: Fencing::ResourceOnly, ..usual() }),
        ("resource-and-stonith", Facts { fencing: Fencing::ResourceAndStonith, ..usual() }),
        ("suspend-io", Facts { suspend_on_no_data: true, ..usual() }),
        ("open", Facts { is_open: true, ..usual() }),
        ("state sent", Facts { state_sent: true, ..usual() }),
        ("no verify-alg", Facts { has_verify: false, ..usual() }),
        ("protocol 87", Facts { version: 87, ..usual() }),
    ]
}

/// FNV-1a over every outcome, so that no change of the table goes unnoticed, and how often each outcome is met.
fn everything(out: &mut String) {
    head(out, &["circumstances", "vectors", "accepted", "nothing to do", "refused", "digest"].map(String::from));
    let mut effects_seen: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let requests = requests();
    for (name, facts) in circumstances() {
        let vectors = vectors(&facts);
        let (mut accepted, mut nothing, mut refused, mut digest) = (0u64, 0u64, 0u64, 0xcbf2_9ce4_8422_2325u64);
        let mut mix = |number: u64| {
            for byte in number.to_le_bytes() {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for old in &vectors {
            for (_, request) in &requests {
                for kind in [Kind::Soft, Kind::Hard] {
                    match evaluate(old, request, kind, &facts) {
                        Err(refusal) => {
                            refused += 1;
                            mix(refusal.code() as u64);
                        }
                        Ok(None) => nothing += 1,
                        Ok(Some(new)) => {
                            accepted += 1;
                            let follow = effects(old, &new, true);
                            mix(u64::from(new.pack()) << 1 | u64::from(needs_cluster_wide(old, &new)));
                            for (number, (effect, name)) in Effects::ALL.iter().enumerate() {
                                if follow.has(*effect) {
                                    mix(number as u64);
                                    let seen = effects_seen.entry(name).or_default();
                                    *seen = (seen.0 + 1, seen.1.max(number as u64));
                                }
                            }
                        }
                    }
                }
            }
        }
        row(out, [name.to_string(), vectors.len().to_string(), accepted.to_string(), nothing.to_string(), refused.to_string(), format!("{digest:016x}")]);
    }
    let _ = writeln!(out, "\n## What follows from the accepted changes\n\nIn the order in which the worker carries it out (behaviour.md 2.8).\n");
    head(out, &["effect", "changes above that have it"].map(String::from));
    for (_, name) in Effects::ALL {
        let count = effects_seen.get(name).map_or(0, |seen| seen.0);
        assert!(count > 0, "no accepted change has the effect {name}");
        row(out, [(*name).to_string(), count.to_string()]);
    }
}

fn refusals(out: &mut String) {
    head(out, &["code", "text"].map(String::from));
    for code in (-30..0).rev() {
        let refusal = Refusal::from_code(code);
        if refusal.code() == code {
            row(out, [code.to_string(), refusal.text().to_string()]);
        }
    }
}

fn document() -> String {
    let mut out = String::from(
        "# States of a volume\n\n\
         Printed by `tests/tests/states.rs` from `core::state`; not edited by hand. The rules and their labels are in behaviour.md section 2.\n\n\
         Cells: `yes` done; `?` after it the peer is asked first (ST-5); `.` nothing changes; `→` it ends there instead, by sanitising\n\
         (SAN); a number: refused with this code.\n\n\
         ## Connection states, asked for by an administrator or the peer\n\n\
         This node Secondary, the peer Primary, good disks as far as the state of the row allows them.\n\n",
    );
    connections(&mut out, Kind::Soft);
    out.push_str("\n## Connection states, as facts\n\nA socket died, the peer reported: only sanitising and the rules HT apply.\n\n");
    connections(&mut out, Kind::Hard);
    let connected = State { peer: Role::Secondary, conn: Conn::Connected, pdsk: Disk::UpToDate, ..State::default() };
    for (title, old) in [
        ("Secondary, StandAlone", State::default()),
        ("Primary, StandAlone", State { role: Role::Primary, ..State::default() }),
        ("Secondary, Connected, peer UpToDate", connected),
        ("Primary, Connected, peer UpToDate", State { role: Role::Primary, ..connected }),
        ("Primary, Connected, peer Diskless", State { role: Role::Primary, pdsk: Disk::Diskless, ..connected }),
    ] {
        let _ = writeln!(out, "\n## Own disk, asked for: {title}\n");
        disks(&mut out, &old, Kind::Soft);
    }
    out.push_str("\n## Own disk, as a fact: Primary, Connected, peer UpToDate\n\n");
    disks(&mut out, &State { role: Role::Primary, ..connected }, Kind::Hard);
    for (title, conn, peer, facts) in [
        ("StandAlone", Conn::StandAlone, Role::Unknown, usual()),
        ("StandAlone, fencing resource-only", Conn::StandAlone, Role::Unknown, Facts { fencing: Fencing::ResourceOnly, ..usual() }),
        ("Connected, peer Secondary", Conn::Connected, Role::Secondary, usual()),
        ("Connected, peer Primary", Conn::Connected, Role::Primary, usual()),
        ("Connected, peer Primary, allow-two-primaries", Conn::Connected, Role::Primary, Facts { two_primaries: true, ..usual() }),
    ] {
        let _ = writeln!(out, "\n## Promotion: {title}\n\nEmpty: such a vector does not exist.\n");
        promotions(&mut out, conn, peer, &facts);
    }
    out.push_str("\n## Disk states that a connection state allows (SAN-6)\n\n");
    clamps(&mut out);
    out.push_str("\n## Refusals\n\n");
    refusals(&mut out);
    out.push_str(
        "\n## Everything\n\nEvery vector, resync paused or not but without other flags; every change of one field, asked for and as a fact; the digest is over all outcomes and\n\
         effects, so it changes with any of them.\n\n",
    );
    everything(&mut out);
    out
}

#[test]
fn the_state_table_in_the_documentation_is_the_one_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/states.md");
    let now = document();
    if std::env::var_os("DRBD_RS_WRITE").is_some() {
        std::fs::write(&path, &now).expect("docs/states.md is writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some((line, (was, is))) = written.lines().zip(now.lines()).enumerate().find(|(_, (was, is))| was != is) {
        panic!(
            "docs/states.md does not show the state table, line {}:\n  it says {was}\n  code is {is}\n\
             If that is meant: DRBD_RS_WRITE=1 cargo test -p drbd-tests --test states",
            line + 1
        );
    }
    assert_eq!(written.lines().count(), now.lines().count(), "docs/states.md is cut or too long");
}
