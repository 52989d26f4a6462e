// SPDX-License-Identifier: GPL-2.0
//! Why a disk is not UpToDate, or not there.

use super::log::{changed, clock};
use super::{Facts, Finding, Severity};
use drbd_core::md::flags;
use drbd_core::state::{Conn, Disk, Role};
use netlink_api::snapshot::{Resource, Volume};

/// Lines of the log that tell of an error of the disk.
const DISK_ERRORS: &[&str] = &[
    "local disk failed",
    "Local IO failed",
    "local READ IO error",
    "local WRITE IO error",
    "IO ERROR",
    "disk error",
    "Local backing block device frozen",
];
const FORCE_COST: &str =
    "uses the data of this node as it is; what only the other node has is lost";

/// Findings about the disk of a volume and that of the peer.
pub fn explain(facts: &Facts, resource: &Resource, volume: &Volume) -> Vec<Finding> {
    let name = facts.volume_name(resource, volume);
    let mut found = Vec::new();
    found.extend(own(facts, resource, volume, &name));
    found.extend(peers(facts, volume, &name));
    if volume.log_suspended {
        found.push(
            Finding::new(&name, Severity::Notice, "The activity log is not written (al-updates no): a crash of this node means a full resync.")
                .because("The configuration says so, or it was switched off while both disks are in sync."),
        );
    }
    found
}

fn own(facts: &Facts, resource: &Resource, volume: &Volume, name: &str) -> Option<Finding> {
    match volume.state.disk {
        Disk::UpToDate => None,
        Disk::Diskless if volume.is_unconfigured() => Some(unconfigured(facts, volume, name)),
        Disk::Diskless => Some(diskless(facts, volume, name)),
        Disk::Attaching | Disk::Negotiating => Some(
            Finding::new(
                name,
                Severity::Notice,
                format!("The disk is being attached ({}).", volume.state.disk.name()),
            )
            .waits_for(
                "its metadata to be read and, when connected, to be compared with the peer's",
            ),
        ),
        Disk::Failed => Some(
            Finding::new(
                name,
                Severity::Problem,
                "The disk failed and is being let go.",
            )
            .because_all(disk_error(facts))
            .waits_for("requests under way to end"),
        ),
        Disk::Inconsistent => Some(inconsistent(facts, resource, volume, name)),
        Disk::Outdated => Some(outdated(facts, volume, name)),
        Disk::Consistent => Some(consistent(facts, volume, name)),
        Disk::DUnknown => None,
    }
}

/// The last error of the disk in the log.
fn disk_error(facts: &Facts) -> Option<String> {
    let record = facts
        .records()
        .iter()
        .rev()
        .find(|record| DISK_ERRORS.iter().any(|mark| record.text.contains(mark)))?;
    Some(format!("{}: {}", clock(record.time), record.text.trim()))
}

fn unconfigured(facts: &Facts, volume: &Volume, name: &str) -> Finding {
    let finding = Finding::new(
        name,
        Severity::Problem,
        "The device exists, but has neither disk nor connection (Unconfigured).",
    );
    with_metadata(facts, volume, finding)
        .waits_for("a command")
        .try_here(
            format!("drbdadm adjust {}", facts.name),
            "attaches the disk and connects, as the configuration says",
        )
}

/// What the metadata of a disk that is not attached says, and what to do when there is none.
fn with_metadata(facts: &Facts, volume: &Volume, finding: Finding) -> Finding {
    match facts.metadata.get(&volume.minor) {
        None => finding,
        Some(Ok(text)) => finding.because(format!("Its metadata says: {text}.")),
        Some(Err(why)) => finding
            .because(format!("Its metadata cannot be used: {why}"))
            .try_here(
                format!("drbdadm create-md {}", facts.name),
                "makes new metadata; the data stays, and the peer sends all of its own",
            ),
    }
}

fn diskless(facts: &Facts, volume: &Volume, name: &str) -> Finding {
    let attach = format!("drbdadm attach {}", facts.name);
    let served = volume.state.conn >= Conn::Connected && volume.state.pdsk == Disk::UpToDate;
    let meaning = match (served, volume.state.role) {
        (true, Role::Primary) => "all reads and writes go to the peer",
        (true, _) => "it is useful only through the peer",
        (false, _) => "there is no data to work with",
    };
    let finding = Finding::new(
        name,
        Severity::Problem,
        format!("This node has no disk attached (Diskless): {meaning}."),
    );
    let detached = facts
        .records()
        .iter()
        .rev()
        .find(|record| changed(&record.text, "disk") == Some("Diskless"));
    let finding = match (disk_error(facts), detached) {
        (Some(error), _) => finding
            .because(error)
            .because("The disk had an error and was let go (on-io-error detach).")
            .waits_for("the disk to be repaired or replaced")
            .choice(
                "when the disk was replaced: new metadata first, then the peer sends everything",
                vec![
                    ("here".into(), format!("drbdadm create-md {}", facts.name)),
                    ("here".into(), attach.clone()),
                ],
            ),
        (None, Some(record)) => finding
            .because(format!(
                "It was detached at {} by a command.",
                clock(record.time)
            ))
            .waits_for("a command"),
        (None, None) => finding
            .because("It was not attached since the device exists.")
            .waits_for("a command"),
    };
    with_metadata(facts, volume, finding).try_here(
        attach,
        "attaches the disk; what changed meanwhile comes from the peer",
    )
}

fn inconsistent(facts: &Facts, resource: &Resource, volume: &Volume, name: &str) -> Finding {
    let state = &volume.state;
    let force = format!("drbdadm primary --force {}", facts.name);
    let peer = facts.peer_host();
    if state.conn.is_resync() && state.conn != Conn::SyncSource && state.conn != Conn::PausedSyncS {
        return Finding::new(name, Severity::Notice, "The data here is partly old and partly new (Inconsistent) while it comes from the peer.")
            .waits_for("the resync");
    }
    if state.conn >= Conn::Connected && state.pdsk == Disk::Inconsistent {
        return Finding::new(
            name,
            Severity::Problem,
            format!(
                "Neither this node nor {peer} has data that counts (Inconsistent/Inconsistent)."
            ),
        )
        .because("That is so after create-md on both, until somebody says whose data is the first.")
        .waits_for("your choice; only once, and it overwrites the other node")
        .try_here(
            force.clone(),
            format!("declares the data of this node good and sends it to {peer}"),
        )
        .choice(
            format!("declares the data of {peer} good and fetches it"),
            vec![(peer.into(), force)],
        );
    }
    if state.conn >= Conn::Connected {
        return Finding::new(
            name,
            Severity::Problem,
            "The data here is partly old and partly new (Inconsistent), and no resync runs.",
        )
        .because(format!("The disk of {peer} is {}.", state.pdsk.name()))
        .waits_for(format!(
            "{peer} to have an UpToDate disk, or a resync to start"
        ))
        .try_here(
            format!("drbdadm invalidate {}", facts.name),
            format!("fetches everything from {peer}, if its disk is UpToDate"),
        );
    }
    let never = volume
        .generations
        .is_some_and(|([current, ..], _)| current & !1 == 4);
    let why = match never {
        true => "It never had data: its metadata is fresh.",
        false => "A resync towards this node did not end, so blocks of different times are mixed.",
    };
    Finding::new(name, Severity::Problem, "The data here cannot be used (Inconsistent).")
        .because(why)
        .because_all((resource.connection.is_none()).then(|| "There is no connection to a node with good data.".to_string()))
        .waits_for(format!("a connection to {peer} with an UpToDate disk; then it is filled by itself"))
        .try_here(format!("drbdadm connect {}", facts.name), "tries to connect, if it is StandAlone")
        .try_here(force, match never {
            true => "only if this is the first node ever: declares its data good",
            false => "last resort, when the other node is lost for good: the mixture counts as data; check it with fsck",
        })
}

fn outdated(facts: &Facts, volume: &Volume, name: &str) -> Finding {
    let peer = facts.peer_host();
    let when = facts
        .records()
        .iter()
        .rev()
        .find(|record| changed(&record.text, "disk") == Some("Outdated"));
    let how = match when {
        Some(record) => format!(
            "It became Outdated at {}: {}",
            clock(record.time),
            record.text.trim()
        ),
        None => "It was Outdated already when it was attached.".into(),
    };
    let finding = Finding::new(name, Severity::Problem, format!(
        "The data here is whole, but older than that of {peer} (Outdated), so this node refuses to become Primary."
    ))
    .because(how)
    .because("A node is outdated by the fence-peer handler of the other one, by a clean disconnect from a Primary, or by 'drbdadm outdate'.");
    let finding = match volume.state.conn {
        Conn::StandAlone => finding
            .waits_for(format!("a connection to {peer}"))
            .try_here(
                format!("drbdadm connect {}", facts.name),
                "connects and fetches what is new",
            ),
        conn if conn >= Conn::Connected => finding.waits_for(format!(
            "{peer} to have an UpToDate disk (it is {})",
            volume.state.pdsk.name()
        )),
        _ => finding.waits_for(format!(
            "a connection to {peer}; then it is brought up to date by itself"
        )),
    };
    finding.try_here(
        format!("drbdadm primary --force {}", facts.name),
        format!("last resort, when {peer} is lost for good: {FORCE_COST}"),
    )
}

fn consistent(facts: &Facts, volume: &Volume, name: &str) -> Finding {
    let crashed = volume
        .generations
        .is_some_and(|(_, md)| md & flags::CRASHED_PRIMARY != 0)
        .then(|| {
            "This node was Primary when it crashed and has not seen its peer since.".to_string()
        });
    Finding::new(name, Severity::Problem, "The data here is whole, but whether the other node has newer data is not known (Consistent).")
        .because("It was attached without a connection, and fencing asks for certainty before it is used.")
        .because_all(crashed)
        .waits_for(format!("a connection to {}", facts.peer_host()))
        .try_here(format!("drbdadm primary {}", facts.name), "asks the fence-peer handler first; works when that confirms that the other node is out of the way")
        .try_here(format!("drbdadm primary --force {}", facts.name), format!("without asking: {FORCE_COST}"))
}

/// The peer's disk, as far as nothing else tells of it.
fn peers(facts: &Facts, volume: &Volume, name: &str) -> Option<Finding> {
    let (state, peer) = (&volume.state, facts.peer_host());
    if state.conn != Conn::Connected {
        return None;
    }
    let what = match state.pdsk {
        Disk::Diskless => {
            format!("{peer} has no disk attached: there is only one copy of the data, here.")
        }
        Disk::Failed => {
            format!("The disk of {peer} just failed: there is only one copy of the data, here.")
        }
        Disk::Outdated => format!("The disk of {peer} is Outdated and no resync runs."),
        Disk::Inconsistent if state.disk != Disk::Inconsistent => {
            format!("The disk of {peer} is Inconsistent and no resync runs.")
        }
        Disk::Consistent => {
            format!("The disk of {peer} is Consistent: it does not know whether it is up to date.")
        }
        _ => return None,
    };
    let command = match state.pdsk {
        Disk::Diskless | Disk::Failed => format!("drbdadm attach {}", facts.name),
        _ => format!("drbdadm invalidate {}", facts.name),
    };
    Some(
        Finding::new(name, Severity::Problem, what)
            .waits_for(format!("somebody to look at {peer}"))
            .choice(
                "says why, on that node",
                vec![(peer.into(), format!("drbdadm why {}", facts.name))],
            )
            .choice("the usual way out", vec![(peer.into(), command)]),
    )
}
