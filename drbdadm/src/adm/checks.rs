// SPDX-License-Identifier: GPL-2.0
//! Checks between reading the configuration and acting on it (config-and-cli.md section 6).

use super::args::Args;
use super::commands::Command;
use super::node;
use super::session::{Session, Target};
use super::Failure;
use drbd_config::{HostKind, Resource};
use std::os::unix::fs::PermissionsExt;

/// Rules every resource has to keep.
pub fn rules(session: &Session) -> Result<(), Failure> {
    for target in session.targets() {
        become_primary(session, target.resource)?;
        proxies(target.resource)?;
        if session.args.dry_run > 1 {
            ignored_peer(session, &target);
        }
    }
    Ok(())
}

fn fault(resource: &Resource, text: &str) -> Failure {
    Failure::new(10, format!("{}: {text}", Session::about(resource)))
}

fn become_primary(session: &Session, resource: &Resource) -> Result<(), Failure> {
    let common = session.config.common.as_ref();
    let own = &resource.become_primary_on;
    let wanted = if own.is_empty() {
        common.map_or(own, |common| &common.become_primary_on)
    } else {
        own
    };
    let two = resource
        .net
        .get("allow-two-primaries")
        .or_else(|| common?.net.get("allow-two-primaries"));
    for name in wanted {
        if name == "both" {
            if two.is_none_or(|value| value == "no") {
                return Err(fault(
                    resource,
                    "become-primary-on is 'both', which needs allow-two-primaries",
                ));
            }
            continue;
        }
        let known = resource
            .hosts
            .iter()
            .any(|h| h.names.contains(name) || h.kind == HostKind::Floating);
        if !known {
            let text = format!("become-primary-on names '{name}', which has no host section");
            return Err(fault(resource, &text));
        }
    }
    Ok(())
}

fn proxies(resource: &Resource) -> Result<(), Failure> {
    let with = resource
        .hosts
        .iter()
        .filter(|host| host.proxy.is_some())
        .count();
    if with > 0 && with < resource.hosts.len() && resource.hosts.len() == 2 {
        return Err(fault(
            resource,
            "both host sections have to have a proxy section, or none",
        ));
    }
    Ok(())
}

fn ignored_peer(session: &Session, target: &Target<'_>) {
    if let (Some(peer), 2) = (&session.args.peer, target.resource.hosts.len()) {
        let about = Session::about(target.resource);
        eprintln!("{about}: --peer '{peer}' is not needed, there are only two host sections");
    }
}

/// The peer outdater of heartbeat calls the tools as its own user, so they have to run with root's rights.
pub fn peer_outdater(session: &Session) {
    const NAME: &str = "drbd-peer-outdater";
    let uses = |resource: &Resource| {
        resource
            .handlers
            .get("fence-peer")
            .is_some_and(|value| value.contains(NAME))
    };
    if !session.targets().iter().any(|target| uses(target.resource)) {
        return;
    }
    let tools = ["/sbin/drbdsetup", "/sbin/drbdmeta"];
    let ready = |path: &&str| {
        std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o7777 == 0o4750)
    };
    let missing: Vec<&str> = tools.iter().filter(|path| !ready(path)).copied().collect();
    if !missing.is_empty() {
        eprintln!("warning: the fence-peer handler {NAME} needs these programs to run as root for group haclient:");
        missing
            .iter()
            .for_each(|path| eprintln!("  chgrp haclient {path} && chmod 4750 {path}"));
    }
}

/// The command wants own addresses to exist.
pub fn wants_addresses(args: &Args, command: &Command) -> bool {
    command.verifies_address && args.dry_run != 1
}

/// Own addresses have to be configured on this machine. All that are not are told.
pub fn addresses(session: &Session, targets: &[Target<'_>]) -> Result<(), Failure> {
    if session.config.global.disable_ip_verification {
        return Ok(());
    }
    let present = node::addresses();
    let mut missing = false;
    for target in targets {
        let Some(address) = &target.me.address else {
            continue;
        };
        let Some(ip) = address.ip() else { continue };
        if !node::has(&present, ip) {
            let (place, name) = (&address.position, &target.resource.name);
            let title = target.me.title();
            eprintln!(
                "{place}: in resource {name}, on {title}: the address {} is not on this host",
                address.host
            );
            missing = true;
        }
    }
    match missing {
        true => Err(Failure::silent(10)),
        false => Ok(()),
    }
}
