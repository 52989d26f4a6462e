// SPDX-License-Identifier: GPL-2.0
//! A resync or verify that runs, one that is held up, and blocks that differ without one.

use super::{Facts, Finding, Severity};
use crate::view::space::human;
use drbd_core::state::{Conn, Disk};
use netlink_api::snapshot::{Resource, Volume};

/// Findings about the copying of data between the nodes.
pub fn explain(facts: &Facts, resource: &Resource, volume: &Volume) -> Option<Finding> {
    let name = facts.volume_name(resource, volume);
    let (state, peer) = (&volume.state, facts.peer_host());
    match state.conn {
        Conn::SyncSource => Some(runs(facts, volume, &name, format!("{peer} is being brought up to date from here (SyncSource)"))),
        Conn::SyncTarget => Some(runs(facts, volume, &name, format!("This node is being brought up to date from {peer} (SyncTarget)"))),
        Conn::VerifyS | Conn::VerifyT => Some(runs(facts, volume, &name, format!("The data is compared with that of {peer} (online verify)"))),
        Conn::PausedSyncS | Conn::PausedSyncT => Some(paused(facts, volume, &name)),
        Conn::StartingSyncS | Conn::StartingSyncT | Conn::WFBitMapS | Conn::WFBitMapT | Conn::WFSyncUUID => Some(
            Finding::new(&name, Severity::Notice, format!("A resync is about to start ({}).", state.conn.name()))
                .waits_for("both nodes to tell each other what differs; a moment"),
        ),
        Conn::Ahead => Some(
            Finding::new(&name, Severity::Notice, format!("The link to {peer} is too slow for what is written, so this node went ahead (Ahead)."))
                .because(format!("on-congestion pull-ahead; {} are not there yet.", kib(volume)))
                .waits_for("the writes to calm down; then the rest is sent as a resync"),
        ),
        Conn::Behind => Some(
            Finding::new(&name, Severity::Notice, format!("{peer} writes faster than the link is, so this node fell behind (Behind)."))
                .because("on-congestion pull-ahead on the other node.")
                .waits_for("a resync, which starts by itself"),
        ),
        Conn::Connected => connected(facts, volume, &name),
        _ => None,
    }
}

fn kib(volume: &Volume) -> String {
    human(volume.bits_out_of_sync.saturating_mul(4096))
}

fn runs(facts: &Facts, volume: &Volume, name: &str, what: String) -> Finding {
    let progress = facts
        .progress
        .iter()
        .find(|minor| minor.minor == volume.minor);
    let done = volume
        .run_percent()
        .or_else(|| progress?.percent())
        .map_or(String::new(), |percent| format!(": {percent:.1}% done"));
    let speed = progress.and_then(|minor| Some((minor.speed_kib?, minor.finish.as_deref()?)));
    let finding = Finding::new(name, Severity::Notice, format!("{what}{done}."));
    let finding = match speed {
        Some((0, _)) => finding
            .because("Nothing moved in the last seconds.")
            .waits_for("the disk or the network of either node")
            .try_here(
                format!("drbdadm disk-options --c-min-rate=10M {}", facts.name),
                "lets the resync have more beside the application",
            ),
        Some((kib, finish)) => finding
            .because(format!(
                "{} left, {}/s.",
                self::kib(volume),
                human(kib.saturating_mul(1024))
            ))
            .waits_for(format!("its end, in about {finish} (h:mm:ss)")),
        None => finding
            .because(format!("{} left.", self::kib(volume)))
            .waits_for("its end"),
    };
    match volume.run {
        Some((_, failed)) if failed > 0 => finding.because(format!(
            "{failed} blocks could not be copied: one of the disks has read or write errors."
        )),
        _ => finding,
    }
}

fn paused(facts: &Facts, volume: &Volume, name: &str) -> Finding {
    let (state, peer) = (&volume.state, facts.peer_host());
    let mut finding = Finding::new(
        name,
        Severity::Problem,
        format!(
            "The resync is paused ({}): {} still differ.",
            state.conn.name(),
            kib(volume)
        ),
    );
    if !state.is_paused() {
        return finding.waits_for("the other node to take notice that nobody holds it any more");
    }
    if state.user_isp {
        finding = finding
            .because("It was paused on this node by a command.")
            .waits_for("a command here")
            .try_here(
                format!("drbdadm resume-sync {}", facts.name),
                "lets it go on",
            );
    }
    if state.peer_isp {
        finding = finding
            .because(format!(
                "{peer} holds it: paused there by a command, or by a dependency of its own."
            ))
            .waits_for(peer)
            .choice(
                "lets it go on, if it was paused by a command there",
                vec![(peer.into(), format!("drbdadm resume-sync {}", facts.name))],
            );
    }
    if state.aftr_isp {
        let first = volume
            .backing
            .as_ref()
            .map(|backing| backing.resync_after)
            .and_then(|minor| u32::try_from(minor).ok());
        let first = match first {
            Some(minor) => facts
                .names
                .get(&minor)
                .cloned()
                .unwrap_or_else(|| format!("minor {minor}")),
            None => "another resource".into(),
        };
        finding = finding
            .because(format!("resync-after: the resync of {first} comes first."))
            .waits_for(format!("the resync of {first}"))
            .try_here(
                format!("drbdadm why {}", first.split('/').next().unwrap_or(&first)),
                "says how far that is",
            );
    }
    finding
}

fn connected(facts: &Facts, volume: &Volume, name: &str) -> Option<Finding> {
    let state = &volume.state;
    let both = state.disk == Disk::UpToDate && state.pdsk == Disk::UpToDate;
    if both && volume.bits_out_of_sync > 0 {
        let n = &facts.name;
        return Some(
            Finding::new(
                name,
                Severity::Problem,
                format!(
                    "{} differ between the nodes although both disks count as UpToDate.",
                    kib(volume)
                ),
            )
            .because("That is what an online verify leaves behind when it finds differences.")
            .waits_for("a command: differences are not repaired by themselves")
            .choice(
                "brings them in line again; the Primary's data is kept",
                vec![
                    ("here".into(), format!("drbdadm disconnect {n}")),
                    ("here".into(), format!("drbdadm connect {n}")),
                ],
            ),
        );
    }
    let holder = match (state.user_isp, state.peer_isp) {
        (true, _) => "here",
        (_, true) => facts.peer_host(),
        _ => return None,
    };
    Some(
        Finding::new(
            name,
            Severity::Notice,
            "No resync runs, but the next one will wait: it was paused beforehand.",
        )
        .choice(
            "lets it go",
            vec![(holder.into(), format!("drbdadm resume-sync {}", facts.name))],
        ),
    )
}
