// SPDX-License-Identifier: GPL-2.0
//! Split brain: both nodes changed data without the other. Who was Primary when, what differs, and the two ways out.

use super::log::{changed, clock, Record};
use super::{Facts, Finding, Severity};
use drbd_core::state::Role;
use netlink_api::snapshot::Resource;

/// Longest list of role changes.
const MOST: usize = 6;

/// The finding, when the last connection ended with a split brain.
pub fn explain(facts: &Facts, resource: &Resource) -> Option<Finding> {
    let log = facts.records();
    let at = log.iter().rposition(is_split_brain)?;
    // a connection after that means that it was solved
    let solved = log.iter().skip(at).any(|record| {
        matches!(
            changed(&record.text, "conn"),
            Some("Connected" | "SyncSource" | "SyncTarget" | "WFBitMapS" | "WFBitMapT")
        )
    });
    if solved {
        return None;
    }
    let (name, peer) = (&facts.name, facts.peer_host());
    let seen = log.get(at)?;
    let parted = parted(log, at);
    let finding = Finding::new(
        name,
        Severity::Problem,
        format!(
        "Split brain: this node and {peer} both changed data while they did not see each other. \
         Neither has all changes, so the connection was dropped (StandAlone)."
    ),
    )
    .because(format!("{}: {}", clock(seen.time), seen.text.trim()))
    .because_all(
        parted.map(|record| format!("They last were connected until {}.", clock(record.time))),
    )
    .because_all(primaries(facts, parted))
    .because_all(differences(facts, resource, log.get(..at).unwrap_or(&[])))
    .waits_for("your decision: the changes of one node are given up, all of them");
    let users: Vec<String> = resource
        .volumes
        .iter()
        .flat_map(|volume| facts.users.get(&volume.minor).into_iter().flatten())
        .map(|user| format!("(first end what uses it: {user})"))
        .collect();
    let here = |command: String| ("here".to_string(), command);
    let there = |command: String| (peer.to_string(), command);
    let mut demote = users;
    if resource.role == Role::Primary {
        demote.push(format!("drbdadm secondary {name}"));
    }
    let own_kib: u64 = resource
        .volumes
        .iter()
        .map(|v| v.bits_out_of_sync * 4)
        .sum();
    let mut give_up_here: Vec<(String, String)> = demote.into_iter().map(here).collect();
    give_up_here.push(here(format!("drbdadm -- --discard-my-data connect {name}")));
    give_up_here.push(there(format!("drbdadm connect {name}")));
    Some(
        finding
            .choice(
                format!("keep the data of this node; everything that changed on {peer} since then is lost"),
                vec![
                    there(format!("drbdadm disconnect {name}; drbdadm secondary {name}")),
                    there(format!("drbdadm -- --discard-my-data connect {name}")),
                    here(format!("drbdadm connect {name}")),
                ],
            )
            .choice(
                format!("keep the data of {peer}; the {own_kib} KiB that changed here since then are lost"),
                give_up_here,
            ),
    )
}

fn is_split_brain(record: &Record) -> bool {
    record.text.contains("Split-Brain detected")
}

/// The end of the last connection before that.
fn parted(log: &[Record], at: usize) -> Option<&Record> {
    let before = log.get(..at)?;
    let connected = before
        .iter()
        .rposition(|record| matches!(changed(&record.text, "conn"), Some("Connected")))?;
    before
        .get(connected + 1..)?
        .iter()
        .find(|record| changed(&record.text, "conn").is_some())
}

/// Who was Primary when, as far as this node can know: its own changes of role, and what it heard of the peer's.
fn primaries(facts: &Facts, parted: Option<&Record>) -> Vec<String> {
    let since = parted.map_or(0, |record| record.time);
    let mut lines = Vec::new();
    let mut own = facts
        .records()
        .iter()
        .filter_map(|r| Some((r.time, changed(&r.text, "role")?)))
        .collect::<Vec<_>>();
    own.dedup();
    for (time, role) in own {
        let verb = match role {
            "Primary" => "became Primary",
            _ => "became Secondary",
        };
        let when = if time >= since { " (while apart)" } else { "" };
        lines.push(format!("{}: this node {verb}{when}.", clock(time)));
    }
    let skip = lines.len().saturating_sub(MOST);
    lines.drain(..skip);
    let last_heard = facts.records().iter().rev().find_map(|record| {
        let role = changed(&record.text, "peer").filter(|role| *role != "Unknown")?;
        Some(format!(
            "{}: last heard from {}: it was {role}.",
            clock(record.time),
            facts.peer_host()
        ))
    });
    lines.extend(last_heard);
    lines.push(format!(
        "When {} was Primary meanwhile, only its own log tells: 'drbdadm why {}' there.",
        facts.peer_host(),
        facts.name
    ));
    lines
}

/// How much each side changed: bits from the driver, and what the handshake wrote into the log.
fn differences(facts: &Facts, resource: &Resource, log: &[Record]) -> Vec<String> {
    let mut lines = Vec::new();
    for volume in &resource.volumes {
        lines.push(format!(
            "{}: {} blocks of 4 KiB changed here since the connection was lost.",
            facts.volume_name(resource, volume),
            volume.bits_out_of_sync
        ));
        if let Some(([current, bitmap, ..], _)) = volume.generations {
            lines.push(format!(
                "{}: own generation {:016X}, split from {:016X}.",
                facts.volume_name(resource, volume),
                current & !1,
                bitmap & !1
            ));
        }
    }
    let peer = log.iter().rev().find_map(|record| handshake(&record.text));
    if let Some((current, bits)) = peer {
        lines.push(format!(
            "{}: its generation is {current}, and it has {bits} changed blocks of 4 KiB.",
            facts.peer_host()
        ));
    }
    lines
}

/// Generation and bits of a line like `peer AAAA:BBBB:CCCC:DDDD bits:12 flags:0`.
fn handshake(text: &str) -> Option<(&str, u64)> {
    let mut words = text.strip_prefix("peer ")?.split(' ');
    let current = words.next()?.split(':').next()?;
    let bits = words.find_map(|word| word.strip_prefix("bits:"))?;
    Some((current, bits.parse().ok()?))
}
