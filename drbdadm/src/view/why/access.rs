// SPDX-License-Identifier: GPL-2.0
//! What stands between an application and its data: module, set-up, suspended I/O, roles.

use super::log::clock;
use super::{Facts, Finding, Severity};
use drbd_core::state::{Conn, Disk, Role};
use netlink_api::snapshot::Resource;

/// The driver is not there.
pub fn no_module(facts: &Facts) -> Finding {
    Finding::new(
        &facts.name,
        Severity::Problem,
        "The drbd module is not loaded, so no resource can work.",
    )
    .waits_for("a command")
    .choice(
        "loads the driver and sets the resource up",
        vec![
            ("here".into(), "modprobe drbd".into()),
            ("here".into(), format!("drbdadm up {}", facts.name)),
        ],
    )
    .try_here("dmesg | tail", "says why, when modprobe fails")
}

/// The resource is configured, and not in the driver; or it is in neither.
pub fn not_up(facts: &Facts) -> Finding {
    let name = &facts.name;
    let Some(configured) = &facts.configured else {
        return Finding::new(name, Severity::Problem, "There is no such resource, neither in the driver nor in the configuration of this host.")
            .try_here("drbdadm sh-resources", "lists the configured ones");
    };
    let mut finding = Finding::new(
        name,
        Severity::Problem,
        "The resource is configured but not set up (Unconfigured).",
    );
    for volume in &configured.volumes {
        finding = match facts.metadata.get(&volume.minor) {
            None => finding,
            Some(Ok(text)) => {
                finding.because(format!("{}: its metadata says: {text}.", volume.disk))
            }
            Some(Err(why)) => finding.because(format!("{}: {why}", volume.disk)).try_here(
                format!("drbdadm create-md {name}/{}", volume.number),
                "makes metadata, which up needs",
            ),
        };
    }
    finding.waits_for("a command").try_here(
        format!("drbdadm up {name}"),
        "makes the device, attaches the disk and connects",
    )
}

/// The finding when there is no other.
pub fn all_is_well(facts: &Facts) -> Finding {
    let volumes = facts.running.iter().flat_map(|resource| &resource.volumes);
    let odd = volumes.map(|volume| &volume.state).find(|state| {
        state.conn != Conn::Connected
            || state.disk != Disk::UpToDate
            || state.pdsk != Disk::UpToDate
    });
    match odd {
        None => Finding::new(
            &facts.name,
            Severity::Fine,
            format!(
                "Everything is as it should be: connected to {}, both disks UpToDate.",
                facts.peer_host()
            ),
        ),
        Some(state) => Finding::new(
            &facts.name,
            Severity::Notice,
            format!(
                "The state {} {}/{} passes by itself.",
                state.conn.name(),
                state.disk.name(),
                state.pdsk.name()
            ),
        ),
    }
}

/// The configuration and what runs are different.
pub fn differs(facts: &Facts) -> Option<Finding> {
    if facts.configured.is_none() && facts.config_fault.is_none() {
        return Some(
            Finding::new(&facts.name, Severity::Notice, "The resource runs but is not in the configuration: it will be gone after a reboot.")
                .try_here(format!("drbdsetup show {}", facts.name), "prints it in the language of drbd.conf"),
        );
    }
    let first = facts.differences.first()?;
    let more = match facts.differences.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Some(
        Finding::new(
            &facts.name,
            Severity::Notice,
            "The configuration file says something else than what runs.",
        )
        .because(format!("To make it so: {first}{more}"))
        .waits_for("a command")
        .try_here(
            format!("drbdadm adjust {}", facts.name),
            "applies the file; 'drbdadm -d adjust' shows what it would do",
        ),
    )
}

/// Application I/O is held back.
pub fn suspended(facts: &Facts, resource: &Resource) -> Vec<Finding> {
    let (name, peer) = (&facts.name, facts.peer_host());
    let [user, no_data, fencing] = resource.suspended;
    let resume = format!("drbdadm resume-io {name}");
    let frozen = "Applications that use the device hang: their I/O is suspended";
    let mut found = Vec::new();
    if user {
        found.push(
            Finding::new(name, Severity::Problem, format!("{frozen} by a command."))
                .because("Somebody ran 'drbdadm suspend-io'.")
                .waits_for("a command")
                .try_here(resume.clone(), "lets it go on"),
        );
    }
    if no_data {
        found.push(
            Finding::new(
                name,
                Severity::Problem,
                format!("{frozen} because no node with good data can be reached."),
            )
            .because("on-no-data-accessible suspend-io: waiting is preferred to errors.")
            .waits_for(format!(
                "a disk here or a connection to {peer} with an UpToDate disk"
            ))
            .try_here(
                format!("drbdadm attach {name}"),
                "brings the disk of this node back, if it can be",
            )
            .try_here(
                format!("drbdadm connect {name}"),
                "connects, if it is StandAlone",
            )
            .try_here(
                resume.clone(),
                "gives up waiting: what is suspended ends with I/O errors",
            ),
        );
    }
    if fencing {
        found.push(fenced(facts, frozen, resume));
    }
    if found.is_empty()
        && resource
            .volumes
            .iter()
            .any(|volume| volume.blocked && volume.state.role == Role::Primary)
    {
        found.push(
            Finding::new(name, Severity::Notice, "New I/O waits for a moment: a disk is coming or going, or a handshake is under way.")
                .waits_for("the end of that"),
        );
    }
    found
}

fn fenced(facts: &Facts, frozen: &str, resume: String) -> Finding {
    let (name, peer) = (&facts.name, facts.peer_host());
    let finding = Finding::new(name, Severity::Problem, format!(
        "{frozen} until it is certain that {peer} does not go on by itself (fencing resource-and-stonith)."
    ));
    let call = facts.records().iter().rev().find(|record| {
        record.text.contains("helper command:") && record.text.contains("fence-peer")
    });
    let finding = match call {
        Some(record) if record.text.contains("exit code") => finding
            .because(format!("{}: {}", clock(record.time), record.text.trim()))
            .because(handler_result(&record.text))
            .waits_for("the handler to succeed, or a connection"),
        Some(record) => finding
            .because(format!("{}: {}", clock(record.time), record.text.trim()))
            .waits_for("the fence-peer handler, which still runs"),
        None => finding
            .because("The connection was lost, and the fence-peer handler has not told that the peer is out of the way.")
            .waits_for("the fence-peer handler"),
    };
    finding
        .try_here(
            format!("drbdadm fence-peer {name}"),
            "runs the handler again, to see what it says",
        )
        .try_here(
            resume,
            format!("goes on without certainty: only when {peer} is surely down or not Primary"),
        )
}

/// What the exit code of a fence-peer handler means.
fn handler_result(text: &str) -> &'static str {
    let code = text
        .split("exit code ")
        .nth(1)
        .and_then(|rest| rest.split([' ', '(']).next());
    match code {
        Some("3") => "That means: the peer's disk is Inconsistent or worse.",
        Some("4") => "That means: the peer is fenced, its disk is Outdated.",
        Some("5") => "That means: the peer does not answer and counts as dead.",
        Some("6") => "That means: the peer is Primary; this node has to give way.",
        Some("7") => "That means: the peer was shot.",
        Some("0") => "0 is no answer: no handler is configured, or it is broken.",
        _ => "That is no answer of a fence-peer handler (3 to 7): it failed.",
    }
}

/// Who is Primary, and what that means for somebody who wants to use the device.
pub fn roles(facts: &Facts, resource: &Resource) -> Vec<Finding> {
    let (name, peer) = (&facts.name, facts.peer_host());
    let mut found = Vec::new();
    let usable = resource
        .volumes
        .iter()
        .all(|volume| volume.state.disk == Disk::UpToDate || volume.state.pdsk == Disk::UpToDate);
    match (resource.role, resource.peer_role) {
        (Role::Primary, _) if !usable => found.push(
            Finding::new(name, Severity::Problem, "This node is Primary, but no disk that it can reach is UpToDate: I/O fails.")
                .waits_for(format!("a disk here or {peer} with good data")),
        ),
        (Role::Primary, Role::Primary) => found.push(Finding::new(
            name,
            Severity::Fine,
            "Both nodes are Primary (allow-two-primaries): only a cluster file system may be mounted on both.",
        )),
        (Role::Primary, _) => {
            let users: Vec<String> = resource
                .volumes
                .iter()
                .flat_map(|volume| facts.users.get(&volume.minor).into_iter().flatten())
                .cloned()
                .collect();
            let text = match users.is_empty() {
                true => "This node is Primary; nothing uses the device.".into(),
                false => format!("This node is Primary; the device is {}.", users.join(", ")),
            };
            found.push(Finding::new(name, Severity::Fine, text));
        }
        (_, Role::Primary) => found.push(Finding::new(
            name,
            Severity::Fine,
            format!("{peer} is Primary: the device can be used there, not here."),
        )),
        _ if usable && resource.volumes.iter().all(|v| v.state.disk == Disk::UpToDate) => found.push(
            Finding::new(name, Severity::Fine, "Nobody that this node sees is Primary: the device cannot be opened yet.")
                .try_here(format!("drbdadm primary {name}"), "makes it usable on this node"),
        ),
        _ => {}
    }
    found
}
