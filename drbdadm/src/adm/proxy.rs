// SPDX-License-Identifier: GPL-2.0
//! `proxy-up` and `proxy-down`: what drbd-proxy-ctl is told.

use super::backend::{Call, Program, Runner};
use super::commands::Command;
use super::session::{Session, Target};
use super::Failure;
use drbd_config::Address;

/// Carries the command out for each target.
pub fn run(
    session: &Session,
    command: &Command,
    targets: &[Target<'_>],
    runner: &Runner,
) -> Result<u8, Failure> {
    for target in targets {
        for words in lines(session, target, command.name == "proxy-up")? {
            let words = words.into_iter().flat_map(|word| ["-c".to_string(), word]);
            let code = runner.run(&target.resource.name, &Call::new(Program::ProxyCtl, words));
            if code != 0 {
                return Ok(code);
            }
        }
    }
    Ok(0)
}

/// For each call, the commands of the proxy it carries.
fn lines(session: &Session, target: &Target<'_>, up: bool) -> Result<Vec<Vec<String>>, Failure> {
    let name = &target.resource.name;
    let peer = session
        .peer(target)
        .map_err(|text| Failure::new(20, text))?;
    let (Some(own), Some(other)) = (&target.me.proxy, &peer.proxy) else {
        return Err(Failure::usage(format!(
            "resource {name} has no proxy sections"
        )));
    };
    let first = |names: &[String]| names.first().cloned().unwrap_or_default();
    let connection = format!("{name}-{}-{}", first(&other.names), first(&own.names));
    if !up {
        return Ok(vec![vec![format!("del connection {connection}")]]);
    }
    let place = |address: &Option<Address>| {
        address
            .as_ref()
            .map_or_else(String::new, Address::host_port)
    };
    let (inside, outside, theirs) = (
        place(&own.inside),
        place(&own.outside),
        place(&other.outside),
    );
    let address = place(&target.me.address);
    let mut settings: Vec<String> = Vec::new();
    for setting in &own.options.section.settings {
        settings.push(format!(
            "set {} {connection} {}",
            setting.name,
            setting.value.as_deref().unwrap_or("")
        ));
    }
    let plugins = &own.options.plugins;
    if !plugins.is_empty() {
        let lines = plugins
            .iter()
            .map(String::as_str)
            .chain(["END"])
            .enumerate();
        settings
            .extend(lines.map(|(number, line)| format!("set plugin {connection} {number} {line}")));
    }
    let mut calls = vec![vec![format!(
        "add connection {connection} {inside} {theirs} {outside} {address}"
    )]];
    if !settings.is_empty() {
        calls.push(settings);
    }
    Ok(calls)
}
