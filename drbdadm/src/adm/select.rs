// SPDX-License-Identifier: GPL-2.0
//! From names on the command line to resources and volumes.

use super::commands::{Command, Listed, Scope};
use super::session::{Session, Target};
use super::{usage, Failure};
use drbd_config::nearest;

/// What was named, in the order of the names.
pub fn targets<'a>(session: &'a Session, command: &Command) -> Result<Vec<Target<'a>>, Failure> {
    let names = &session.args.names;
    if names.is_empty() && !command.all_by_default {
        if crate::json::is_wanted(&session.args.setup_options) {
            return Err(Failure::usage("No resource names specified"));
        }
        print!(
            "{}\nNo resource names specified\n",
            usage::usage(Some(command))
        );
        return Err(Failure::silent(1));
    }
    if session.config.resources.is_empty() {
        return Err(Failure::usage("no resources defined!"));
    }
    if means_all(names) {
        if command.name == "sh-udev" {
            return Err(Failure::usage(
                "sh-udev needs a single volume, 'all' is not possible",
            ));
        }
        return all(session);
    }
    let mut found = Vec::new();
    for name in names {
        found.push(one(session, command, name)?);
    }
    if command.listed == Listed::Handler && found.len() > 1 {
        eprintln!("{} is meant for one resource at a time", command.name);
    }
    Ok(found)
}

/// No names, or `all` in front of all others.
pub fn means_all(names: &[String]) -> bool {
    names.first().is_none_or(|name| name == "all")
}

/// All resources of this machine, the stacked ones with -S, the others without.
pub fn all(session: &Session) -> Result<Vec<Target<'_>>, Failure> {
    let found: Vec<Target<'_>> = ours(session).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let node = &session.node;
    Err(Failure::usage(match session.args.stacked {
        true => format!(
            "nothing is stacked on this host ({node}), so there is nothing to do with --stacked"
        ),
        false => {
            let names = session
                .config
                .resources
                .iter()
                .flat_map(|r| &r.hosts)
                .flat_map(|h| &h.names);
            let hint = nearest(node, names.map(String::as_str));
            format!("no resource is defined for this host ({node}){hint}; is its name right in the 'on' sections?")
        }
    }))
}

/// The same without an error when there are none.
pub fn ours(session: &Session) -> impl Iterator<Item = Target<'_>> {
    session
        .targets()
        .into_iter()
        .filter(|target| target.me.stacked_on().is_some() == session.args.stacked)
}

fn one<'a>(session: &'a Session, command: &Command, name: &str) -> Result<Target<'a>, Failure> {
    if name.is_empty() {
        return Err(Failure::usage("a resource name cannot be empty"));
    }
    if name.chars().any(char::is_control) {
        return Err(Failure::usage(
            "a resource name cannot hold control characters",
        ));
    }
    let by_minor = by_minor(session, name);
    // a minor is unique on a host, stacked or not
    let any_mode = by_minor.is_some() || command.name.starts_with("dump");
    let target = by_minor
        .or_else(|| by_name(session, name))
        .ok_or_else(|| unknown(session, name))?;
    let stacked = target.me.stacked_on().is_some();
    if stacked != session.args.stacked && !any_mode {
        return Err(Failure::usage(match stacked {
            true => format!("'{name}' is a stacked resource: it needs the option --stacked"),
            false => format!("'{name}' is no stacked resource: it is not available with --stacked"),
        }));
    }
    scoped(command, target, name)
}

fn unknown(session: &Session, name: &str) -> Failure {
    let known = session
        .config
        .resources
        .iter()
        .map(|resource| resource.name.as_str());
    let known: Vec<&str> = known.filter(|known| *known != name).collect();
    let hint = nearest(name, known);
    Failure::usage(format!(
        "'{name}' is not defined in the configuration for this host{hint}"
    ))
}

fn by_minor<'a>(session: &'a Session, name: &str) -> Option<Target<'a>> {
    let minor = name.strip_prefix("minor-")?.parse::<u32>().ok()?;
    session.targets().into_iter().find_map(|target| {
        let volume = target
            .me
            .volumes
            .iter()
            .find(|volume| volume.minor() == minor)?;
        Some(Target {
            volume: Some(volume.number),
            ..target
        })
    })
}

fn by_name<'a>(session: &'a Session, name: &str) -> Option<Target<'a>> {
    let targets = session.targets();
    if let Some(target) = targets.iter().find(|target| target.resource.name == name) {
        return Some(*target);
    }
    let (resource, number) = name.rsplit_once('/')?;
    let number = number.parse::<u64>().ok()?;
    let target = targets
        .into_iter()
        .find(|target| target.resource.name == resource)?;
    target
        .me
        .volumes
        .iter()
        .any(|volume| volume.number == number)
        .then_some(Target {
            volume: Some(number),
            ..target
        })
}

/// Checks a volume, or its absence, against what the command works on.
fn scoped<'a>(
    command: &Command,
    mut target: Target<'a>,
    name: &str,
) -> Result<Target<'a>, Failure> {
    let implicit = target
        .me
        .volumes
        .first()
        .is_some_and(|volume| volume.implicit);
    match (command.scope, target.volume) {
        (Scope::Resource, Some(_)) if !implicit => Err(Failure::usage(format!(
            "{} works on whole resources, but '{name}' is a single volume",
            command.name
        ))),
        (Scope::OneVolume, None) if implicit => {
            target.volume = target.me.volumes.first().map(|volume| volume.number);
            Ok(target)
        }
        (Scope::OneVolume, None) => Err(Failure::usage(format!(
            "{0} needs a single volume: say '{0} minor-<number>' or '{0} {name}/<volume>'",
            command.name
        ))),
        _ => Ok(target),
    }
}
