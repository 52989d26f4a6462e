// SPDX-License-Identifier: GPL-2.0
//! Which host sections are this machine, and what lies below stacked resources (config-and-cli.md sections 2 and 6).

use crate::diagnostic::{Diagnostic, Position};
use crate::model::{Config, HostKind, HostSection, MetaDisk, MetaIndex, Resource, Spanned};
use std::net::IpAddr;

/// Who this machine is.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `uname -n`, or the name to pretend.
    pub node: String,
    /// Addresses of this machine; floating sections are matched with them.
    pub addresses: Vec<IpAddr>,
}

/// For every resource of a configuration, in its order, the host section that is this machine.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    own: Vec<Option<usize>>,
}

impl Binding {
    /// The own section of the resource with that index; `None`: the resource is ignored here.
    pub fn own<'a>(&self, config: &'a Config, resource: usize) -> Option<&'a HostSection> {
        let section = (*self.own.get(resource)?)?;
        config.resources.get(resource)?.hosts.get(section)
    }

    /// The index of the own section.
    pub fn own_index(&self, resource: usize) -> Option<usize> {
        self.own.get(resource).copied().flatten()
    }

    /// The resource is stacked on another one on this machine.
    pub fn is_stacked(&self, config: &Config, resource: usize) -> bool {
        self.own(config, resource)
            .is_some_and(|host| host.stacked_on().is_some())
    }

    /// The other host sections of a resource.
    pub fn others<'a>(&self, config: &'a Config, resource: usize) -> Vec<&'a HostSection> {
        let own = self.own_index(resource);
        let hosts = config
            .resources
            .get(resource)
            .map_or(&[] as &[HostSection], |r| &r.hosts);
        hosts
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != own)
            .map(|(_, host)| host)
            .collect()
    }
}

/// Finds the own sections and completes stacked sections: host names, lower devices, metadata.
/// `end` is where the last file ended; missing volumes below are reported there.
pub fn bind(
    config: &mut Config,
    identity: &Identity,
    end: &Position,
) -> (Binding, Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let order = lower_first(config, &mut problems);
    let mut binding = Binding {
        own: vec![None; config.resources.len()],
    };
    for index in order {
        complete_stacked(config, &binding, index, end, &mut problems);
        binding.own[index] = own_section(config, &binding, index, identity, &mut problems);
    }
    (binding, problems)
}

/// Resource indices so that lower resources come before those on top of them.
fn lower_first(config: &Config, problems: &mut Vec<Diagnostic>) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::new();
    let mut waiting: Vec<usize> = (0..config.resources.len()).collect();
    while !waiting.is_empty() {
        let placed = order.clone();
        let ready = |index: &usize| {
            let lowers = config.resources[*index]
                .hosts
                .iter()
                .filter_map(HostSection::stacked_on);
            lowers.into_iter().all(|lower| {
                match config.resources.iter().position(|r| r.name == lower) {
                    Some(below) => placed.contains(&below),
                    None => true,
                }
            })
        };
        let (mut now, later): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(ready);
        if now.is_empty() {
            for index in &later {
                let resource = &config.resources[*index];
                let text = format!("resource {} is stacked on itself", resource.name);
                problems.push(at_resource(resource, text));
            }
            return order;
        }
        order.append(&mut now);
        waiting = later;
    }
    order
}

fn at_resource(resource: &Resource, text: String) -> Diagnostic {
    Diagnostic::error(&absolute_position(resource), text)
}

fn absolute_position(resource: &Resource) -> Position {
    let file = crate::diagnostic::absolute(&resource.position.file);
    Position {
        file,
        ..resource.position.clone()
    }
}

fn complete_stacked(
    config: &mut Config,
    binding: &Binding,
    index: usize,
    end: &Position,
    problems: &mut Vec<Diagnostic>,
) {
    let resource = config.resources[index].clone();
    for (at, host) in resource.hosts.iter().enumerate() {
        let Some(name) = host.stacked_on() else {
            continue;
        };
        let Some(below) = config.resources.iter().position(|r| r.name == name) else {
            let text = format!(
                "resource {} is stacked on '{name}', which is not defined",
                resource.name
            );
            problems.push(at_resource(&resource, text));
            continue;
        };
        let lower = config.resources[below].clone();
        let source = binding.own_index(below).or(if lower.hosts.is_empty() {
            None
        } else {
            Some(0)
        });
        let mut host = host.clone();
        host.names = lower.hosts.iter().flat_map(|h| h.names.clone()).collect();
        for volume in &mut host.volumes {
            let under = source.and_then(|s| {
                lower.hosts[s]
                    .volumes
                    .iter()
                    .find(|v| v.number == volume.number)
            });
            let position = volume.position.clone();
            match under {
                Some(under) => {
                    volume.disk = Some(Spanned {
                        text: under.device_path(),
                        position: position.clone(),
                    })
                }
                None => {
                    let text = format!(
                        "in resource {}: volume {} does not exist in {name} below",
                        resource.name, volume.number
                    );
                    problems.push(Diagnostic::error(end, text));
                }
            }
            volume.meta_disk = Some(MetaDisk {
                path: "internal".into(),
                index: MetaIndex::Internal,
                position,
            });
        }
        config.resources[index].hosts[at] = host;
    }
}

fn own_section(
    config: &Config,
    binding: &Binding,
    index: usize,
    identity: &Identity,
    problems: &mut Vec<Diagnostic>,
) -> Option<usize> {
    let resource = &config.resources[index];
    let mine = |host: &HostSection| match &host.kind {
        HostKind::Named => host.names.contains(&identity.node),
        HostKind::Floating => host.address.as_ref().is_some_and(|address| {
            address.host == identity.node
                || address
                    .ip()
                    .is_some_and(|ip| identity.addresses.contains(&ip))
        }),
        HostKind::StackedOn(lower) => {
            let below = config.resources.iter().position(|r| r.name == *lower);
            below.is_some_and(|below| binding.own_index(below).is_some())
        }
        HostKind::This | HostKind::Remote => false,
    };
    let found: Vec<usize> = (0..resource.hosts.len())
        .filter(|at| mine(&resource.hosts[*at]))
        .collect();
    if let [first, second, ..] = found.as_slice() {
        let text = format!(
            "in resource {}: the sections for {} and {} are both this machine",
            resource.name,
            resource.hosts[*first].title(),
            resource.hosts[*second].title()
        );
        problems.push(at_resource(resource, text));
    }
    found.first().copied()
}
