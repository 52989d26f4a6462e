// SPDX-License-Identifier: GPL-2.0
//! What a whole configuration must fulfil (config-and-cli.md section 6): nothing missing,
//! nothing used twice, the same volumes on all hosts.

use crate::error::{Place, Problem};
use crate::model::{Config, Host, HostKind, MetaDisk, Resource, Volume};
use crate::parse::conflict;
use std::collections::HashMap;

/// Binds stacked sections to their lower resources and checks everything. Faults that do not
/// stop the checking are added to [`Config::problems`].
///
/// # Errors
/// A conflict, which stops it.
pub fn check(config: &mut Config) -> Result<(), Problem> {
    for resource in &config.resources {
        config.problems.extend(missing(resource));
        config.problems.extend(volume_sets(resource));
    }
    conflicts(config)?;
    bind_stacked(config)
}

fn missing(resource: &Resource) -> Vec<Problem> {
    let mut found = Vec::new();
    for host in &resource.hosts {
        let mut complain = |what: &str| {
            let text = format!("in resource {}, {}: '{what}' keyword missing.", resource.name, host.title());
            found.push(Problem::at(&host.place.clone_line(), text));
        };
        for volume in &host.volumes {
            if volume.device.is_none() && volume.minor.is_none() {
                complain("device");
            }
            if !host.is_stacked() && volume.disk.is_none() {
                complain("disk");
            }
            if !host.is_stacked() && volume.meta.is_none() {
                complain("meta-disk");
            }
        }
        if host.volumes.is_empty() {
            for what in if host.is_stacked() { &["device"][..] } else { &["device", "disk", "meta-disk"] } {
                complain(what);
            }
        }
        if host.address.is_none() {
            complain("address");
        }
    }
    found
}

fn volume_sets(resource: &Resource) -> Vec<Problem> {
    let mut found = Vec::new();
    let Some(first) = resource.hosts.first() else { return found };
    for host in &resource.hosts[1..] {
        let mut complain = |at: &Host, text: String| {
            let text = format!("in resource {}, {text}", resource.name);
            found.push(Problem::at(&at.place.clone_line(), text));
        };
        for volume in &first.volumes {
            match host.volumes.iter().find(|v| v.number == volume.number) {
                None => complain(first, format!("{}: volume {} not defined on {}", first.title(), volume.number, host.names.join(" "))),
                Some(other) if other.implicit != volume.implicit => complain(
                    first,
                    format!(
                        "on {} resp. {}: volume {} must not be implicit on one but not the other",
                        first.names.join(" "),
                        host.names.join(" "),
                        volume.number
                    ),
                ),
                Some(_) => {}
            }
        }
        for volume in &host.volumes {
            if !first.volumes.iter().any(|v| v.number == volume.number) {
                complain(
                    host,
                    format!("{}: volume {} missing (present on {})", first.title(), volume.number, host.names.join(" ")),
                );
            }
        }
    }
    found
}

/// Names in use, and where first.
#[derive(Default)]
struct Uses(HashMap<String, Place>);

impl Uses {
    fn claim(&mut self, what: &str, key: String, place: &Place) -> Result<(), Problem> {
        if let Some(first) = self.0.get(&key) {
            return Err(conflict(&format!("{what} '{key}'"), place, first));
        }
        self.0.insert(key, place.clone());
        Ok(())
    }
}

fn conflicts(config: &Config) -> Result<(), Problem> {
    let mut uses = Uses::default();
    for resource in &config.resources {
        for host in &resource.hosts {
            if let Some(address) = &host.address {
                let loopback = address.address.starts_with("127.") || address.address == "::1";
                let key = if loopback { format!("{}:{address}", host.names.join(" ")) } else { address.to_string() };
                uses.claim("IP", key, &address.place)?;
            }
            for volume in &host.volumes {
                for name in &host.names {
                    claim_volume(&mut uses, name, volume, host)?;
                }
            }
        }
    }
    Ok(())
}

fn claim_volume(uses: &mut Uses, name: &str, volume: &Volume, host: &Host) -> Result<(), Problem> {
    let place = if volume.place.line > 0 { &volume.place } else { &host.place };
    if let Some(minor) = volume.minor {
        uses.claim("device-minor", format!("device-minor:{name}:{minor}"), place)?;
    }
    if let Some(device) = &volume.device {
        uses.claim("device", format!("device:{name}:{device}"), place)?;
    }
    if let (Some(disk), true) = (&volume.disk, volume.disk_inherited) {
        uses.claim("disk", format!("disk:{name}:{disk}"), place)?;
    }
    match &volume.meta {
        Some(MetaDisk::Indexed(path, slot)) => uses.claim("meta-disk", format!("{name}:{path}[{slot}]"), place),
        Some(MetaDisk::Flexible(path)) => uses.claim("meta-disk", format!("{name}:{path}[flexible]"), place),
        _ => Ok(()),
    }
}

/// A stacked section works on the devices of the lower resource, on all its hosts.
fn bind_stacked(config: &mut Config) -> Result<(), Problem> {
    let lowers = config.resources.clone();
    for resource in &mut config.resources {
        let name = resource.name.clone();
        for host in &mut resource.hosts {
            let HostKind::Stacked(lower) = &host.kind else { continue };
            let Some(lower) = lowers.iter().find(|r| r.name == *lower) else {
                return Err(Problem::at(
                    &host.place.clone_line(),
                    format!("in resource {name}, referenced resource '{lower}' not defined."),
                ));
            };
            host.names = lower.hosts.iter().flat_map(|h| h.names.clone()).collect();
            for volume in &mut host.volumes {
                let below = lower
                    .hosts
                    .first()
                    .and_then(|h| h.volumes.iter().find(|v| v.number == volume.number));
                match below {
                    Some(below) => volume.disk = Some(below.device_name()),
                    None => config.problems.push(Problem::at(
                        &host.place.clone_line(),
                        format!(
                            "in resource {name}, stacked-on-top-of {} {{ ... }}: volume {} not defined on {}",
                            lower.name, volume.number, lower.name
                        ),
                    )),
                }
                volume.meta = Some(MetaDisk::Internal);
            }
        }
    }
    Ok(())
}

/// Checks of a resource that need the whole configuration and the option values: run before
/// commands, not by `sh-nop`.
pub fn resource_rules(config: &Config, resource: &Resource) -> Result<(), Problem> {
    let place = resource.place.clone_line();
    let wants_both = resource.become_primary_on.iter().any(|h| h == "both");
    let two = |options: &crate::model::Options| {
        crate::model::find(options, "allow-two-primaries").is_some_and(|o| o.value.as_deref() != Some("no"))
    };
    let allowed = two(&resource.net) || config.common.as_ref().is_some_and(|c| two(&c.net));
    if wants_both && !allowed {
        return Err(Problem::at(
            &place,
            format!(
                "in resource {}: become-primary-on is set to both, but allow-two-primaries is not set.",
                resource.name
            ),
        ));
    }
    for host in &resource.become_primary_on {
        let known = host == "both" || resource.hosts.iter().any(|h| h.names.contains(host));
        if !known {
            return Err(Problem::at(
                &place,
                format!(
                    "in resource {}: become-primary-on contains '{host}', which is not named with the 'on' sections.",
                    resource.name
                ),
            ));
        }
    }
    proxies(resource)
}

fn proxies(resource: &Resource) -> Result<(), Problem> {
    let with = resource.hosts.iter().filter(|h| h.proxy.is_some()).count();
    if with != 0 && with != resource.hosts.len() {
        return Err(Problem::at(
            &resource.place.clone_line(),
            format!(
                "in resource {}: either both 'on' sections must contain a proxy subsection, or none",
                resource.name
            ),
        ));
    }
    for host in &resource.hosts {
        let Some(proxy) = &host.proxy else { continue };
        for (what, there) in [("inside", proxy.inside.is_some()), ("outside", proxy.outside.is_some())] {
            if !there {
                return Err(Problem::at(
                    &proxy.place.clone_line(),
                    format!("in section: {} {{ proxy }}: '{what}' keyword missing", host.title()),
                ));
            }
        }
    }
    Ok(())
}
