// SPDX-License-Identifier: GPL-2.0
//! Inheritance between sections (config-and-cli.md section 3).

use crate::model::{Config, Resource, Volume};

/// Hands options down: common to resources, resources to volumes and proxies; names devices that have none.
pub fn expand(config: &mut Config) {
    let common = config.common.clone().unwrap_or_default();
    for resource in &mut config.resources {
        from_common(resource, &common);
        let upper = resource.clone();
        for host in &mut resource.hosts {
            for volume in &mut host.volumes {
                expand_volume(volume, &upper);
            }
            if let Some(proxy) = &mut host.proxy {
                proxy.options.inherit(&upper.proxy);
            }
        }
    }
}

fn from_common(resource: &mut Resource, common: &Resource) {
    resource.net.inherit(&common.net);
    resource.disk.inherit(&common.disk);
    resource.options.inherit(&common.options);
    resource.startup.inherit(&common.startup);
    resource.handlers.inherit(&common.handlers);
    resource.proxy.section.inherit(&common.proxy.section);
    if resource.proxy.plugins.is_empty() {
        resource.proxy.plugins.clone_from(&common.proxy.plugins);
    }
    if resource.become_primary_on.is_empty() {
        resource
            .become_primary_on
            .clone_from(&common.become_primary_on);
    }
    resource.stacked_timeouts |= common.stacked_timeouts;
}

fn expand_volume(volume: &mut Volume, resource: &Resource) {
    volume.disk_options.inherit(&resource.disk);
    if let Some(given) = resource
        .volumes
        .iter()
        .find(|given| given.number == volume.number)
    {
        volume.disk_options.inherit(&given.disk_options);
    }
    if let Some(device) = &mut volume.device {
        device.name = Some(device.path());
    }
}
