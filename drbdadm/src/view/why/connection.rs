// SPDX-License-Identifier: GPL-2.0
//! Why there is no connection, or not the one that is wanted.

use super::log::{changed, clock, Record};
use super::{split_brain, Facts, Finding, Reach, Severity};
use drbd_core::state::{Conn, Role};
use netlink_api::snapshot::Resource;

/// What the log says about the end of a connection, with what it means; the second one is for people.
const CAUSES: &[(&str, &str)] = &[
    (
        "Unrelated data, aborting",
        "The two disks never belonged together: their data has no common history.",
    ),
    (
        "authentication of the peer failed",
        "The peer does not know the shared secret, or has another one.",
    ),
    (
        "Authentication of peer failed",
        "The peer does not know the shared secret, or has another one.",
    ),
    (
        "incompatible",
        "A setting of the two nodes does not fit together; the log names it.",
    ),
    (
        "different",
        "A setting of the two nodes does not fit together; the log names it.",
    ),
    (
        "Can only connect to data with current UUID",
        "The peer's data is not what this Primary without a disk works with.",
    ),
    (
        "disk size is too small",
        "The peer's disk is smaller than the device.",
    ),
    (
        "disk sizes differ considerably",
        "The sizes of the two disks are too different.",
    ),
    (
        "handler returned",
        "A before-resync handler refused the resync.",
    ),
    (
        "cannot bind to the own address",
        "The own address cannot be used.",
    ),
    (
        "bind before listen failed",
        "The own address cannot be used.",
    ),
    ("listening failed", "The own address cannot be used."),
    ("connection refused:", "The handshake was refused."),
];

/// Findings about the connection.
pub fn explain(facts: &Facts, resource: &Resource) -> Option<Finding> {
    let name = &facts.name;
    match resource.connection {
        None | Some(Conn::StandAlone) => Some(stand_alone(facts, resource)),
        Some(Conn::WFConnection) => Some(waiting(facts, resource)),
        Some(Conn::WFReportParams) => resource
            .volumes
            .iter()
            .any(|volume| volume.state.conn == Conn::WFReportParams)
            .then(|| {
                Finding::new(
                    name,
                    Severity::Notice,
                    "The two nodes are greeting each other (WFReportParams).",
                )
                .waits_for("both to compare their data; a moment")
            }),
        Some(Conn::Disconnecting | Conn::TearDown) => Some(
            Finding::new(name, Severity::Notice, "The connection is being closed.")
                .waits_for("the end of what is under way; a few seconds"),
        ),
        Some(conn) => Some(lost(facts, conn)),
    }
}

/// Unconnected, Timeout, BrokenPipe, NetworkFailure, ProtocolError: states on the way to a new attempt.
fn lost(facts: &Facts, conn: Conn) -> Finding {
    let how = match conn {
        Conn::Timeout => "The peer did not answer in time.",
        Conn::BrokenPipe => "The peer closed the connection.",
        Conn::NetworkFailure => "The network failed.",
        Conn::ProtocolError => "The peer sent something that does not belong there.",
        _ => "The connection is being set up anew.",
    };
    Finding::new(
        &facts.name,
        Severity::Notice,
        format!("{how} ({})", conn.name()),
    )
    .waits_for("the next attempt, which follows at once")
}

/// The network is not used at all.
fn stand_alone(facts: &Facts, resource: &Resource) -> Finding {
    let name = &facts.name;
    if let Some(finding) = split_brain::explain(facts, resource) {
        return finding;
    }
    let connect = format!("drbdadm connect {name}");
    let finding = Finding::new(
        name,
        Severity::Problem,
        format!(
            "There is no connection and none is tried (StandAlone): changes do not reach {}.",
            facts.peer_host()
        ),
    );
    let ended = last_end(facts.records());
    match ended {
        Some((record, Some(meaning))) => finding
            .because(format!("{}: {}", clock(record.time), record.text.trim()))
            .because(meaning)
            .waits_for("the cause to be put right, then the command")
            .try_here(connect, "tries again"),
        Some((record, None)) => finding
            .because(format!("It was disconnected at {} by a command.", clock(record.time)))
            .waits_for("a command")
            .try_here(connect, format!("connects; what changed meanwhile is sent ({} KiB here)", changed_kib(resource))),
        None => finding
            .because("Nothing tells why: it was never connected, or disconnected by a command, or the log is too short.")
            .waits_for("a command")
            .try_here(connect, "connects"),
    }
}

/// What led to the last StandAlone: the last line that names a cause since the connection was last tried, else the change itself.
fn last_end(log: &[Record]) -> Option<(&Record, Option<&'static str>)> {
    let end = log
        .iter()
        .rposition(|record| changed(&record.text, "conn") == Some("StandAlone"))?;
    let before = log.get(..end).unwrap_or(&[]);
    let start = before
        .iter()
        .rposition(|record| changed(&record.text, "conn") == Some("Unconnected"))
        .unwrap_or(0);
    let cause = before
        .get(start..)
        .unwrap_or(&[])
        .iter()
        .rev()
        .find_map(|record| {
            let (_, meaning) = CAUSES.iter().find(|(mark, _)| record.text.contains(mark))?;
            Some((record, Some(*meaning)))
        });
    cause.or_else(|| log.get(end).map(|record| (record, None)))
}

/// KiB that changed here and did not reach the peer.
fn changed_kib(resource: &Resource) -> u64 {
    resource
        .volumes
        .iter()
        .map(|v| v.bits_out_of_sync * 4)
        .sum()
}

/// Nobody answers at the peer's address.
fn waiting(facts: &Facts, resource: &Resource) -> Finding {
    let (name, peer) = (&facts.name, facts.peer_host());
    let address = resource
        .peer_address
        .as_deref()
        .unwrap_or("an unknown address");
    let own = resource
        .own_address
        .as_deref()
        .unwrap_or("an unknown address");
    let mut finding = Finding::new(name, Severity::Problem, format!(
        "There is no connection to {peer}; this node listens on {own} and keeps trying {address} (WFConnection)."
    ))
    .because_all(since(facts));
    let status = |effect: &str| {
        (
            peer.to_string(),
            format!("drbdadm status {name}"),
            effect.to_string(),
        )
    };
    if facts.address_is_ours == Some(false) {
        return finding
            .because(format!("{own} is not an address of this machine."))
            .waits_for("the address to come up")
            .try_here("ip address", "shows the addresses there are");
    }
    finding = match facts.reach {
        Reach::Answers => {
            let (on, command, effect) = status("shows whether it runs there; StandAlone there means 'drbdadm connect' there");
            finding
                .because("The machine with that address answers, so its DRBD is not up, is StandAlone, or a firewall drops the port.")
                .waits_for(format!("DRBD on {peer}"))
                .choice(effect, vec![(on, command)])
                .choice("if it does not run there", vec![(peer.into(), format!("drbdadm up {name}"))])
                .choice("if it is StandAlone there", vec![(peer.into(), format!("drbdadm connect {name}"))])
        }
        Reach::NoRoute => finding
            .because("There is no way to that address: no route, or nobody there answers on the link.")
            .waits_for(format!("{peer} or the network between"))
            .try_here(format!("ip route get {}", bare(address)), "shows the way that is taken"),
        Reach::Silent => finding
            .because("Nothing comes back from that address: the machine is down, the network is cut, or a firewall drops everything.")
            .waits_for(format!("{peer} or the network between"))
            .try_here(format!("ping -c 3 {}", bare(address)), "shows whether the machine answers at all"),
        Reach::Unknown => finding.waits_for(format!("{peer} to answer")),
    };
    if resource.role == Role::Primary {
        finding = finding.because(format!(
            "Nothing is held up by that: changes are noted here ({} KiB so far) and sent later.",
            changed_kib(resource)
        ));
    }
    finding
}

/// Since when, and how the last connection ended.
fn since(facts: &Facts) -> Option<String> {
    let ends = [
        "NetworkFailure",
        "Timeout",
        "BrokenPipe",
        "ProtocolError",
        "TearDown",
    ];
    let log = facts.records();
    let connected = log.iter().rposition(|record| {
        matches!(
            changed(&record.text, "conn"),
            Some("Connected" | "WFReportParams")
        )
    })?;
    let after = log.get(connected..).unwrap_or(&[]);
    let record = after
        .iter()
        .find(|record| changed(&record.text, "conn").is_some_and(|c| ends.contains(&c)))?;
    let how = match changed(&record.text, "conn") {
        Some("NetworkFailure" | "Timeout") => "the peer stopped answering",
        Some("TearDown") => "the peer said goodbye",
        Some("BrokenPipe") => "the peer closed the connection",
        _ => "the peer sent what does not belong there",
    };
    Some(format!(
        "The last connection ended at {}: {how}.",
        clock(record.time)
    ))
}

/// The address of an endpoint, without family and port.
pub fn bare(endpoint: &str) -> &str {
    let address = endpoint.split_once(':').map_or(endpoint, |(_, rest)| rest);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
