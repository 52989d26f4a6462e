// SPDX-License-Identifier: GPL-2.0
//! Handing settings down: common to resources, resources to volumes (config-and-cli.md section 3).

use crate::model::{find, Config, Host, Options, Resource};

/// Puts what `own` lacks in front of it, one by one: so inherited options come in reverse order.
fn take_over(own: &mut Options, outer: &Options) {
    for option in outer {
        if find(own, &option.name).is_none() {
            own.insert(0, option.clone());
        }
    }
}

/// Expands every resource in place.
pub fn expand(config: &mut Config) {
    let common = config.common.clone().unwrap_or_default();
    for resource in &mut config.resources {
        expand_resource(resource, &common);
    }
}

fn expand_resource(resource: &mut Resource, common: &Resource) {
    take_over(&mut resource.options, &common.options);
    take_over(&mut resource.net, &common.net);
    take_over(&mut resource.startup, &common.startup);
    take_over(&mut resource.handlers, &common.handlers);
    take_over(&mut resource.proxy, &common.proxy);
    take_over(&mut resource.disk, &common.disk);
    if resource.become_primary_on.is_empty() {
        resource.become_primary_on = common.become_primary_on.clone();
    }
    resource.stacked_timeouts |= common.stacked_timeouts;
    for line in &common.plugin {
        if !resource.plugin.contains(line) {
            resource.plugin.insert(0, line.clone());
        }
    }
    let (disk, proxy, plugin, outer) = (
        resource.disk.clone(),
        resource.proxy.clone(),
        resource.plugin.clone(),
        resource.volumes.clone(),
    );
    for host in &mut resource.hosts {
        expand_host(host, &disk, &outer);
        if let Some(own) = &mut host.proxy {
            take_over(&mut own.options, &proxy);
            for line in &plugin {
                if !own.plugin.contains(line) {
                    own.plugin.insert(0, line.clone());
                }
            }
        }
    }
}

fn expand_host(host: &mut Host, disk: &Options, outer: &[crate::model::Volume]) {
    for volume in &mut host.volumes {
        let mut first_only = Options::new();
        for option in volume.disk_options.drain(..) {
            if find(&first_only, &option.name).is_none() {
                first_only.push(option);
            }
        }
        volume.disk_options = first_only;
        take_over(&mut volume.disk_options, disk);
        if let Some(outer) = outer.iter().find(|v| v.number == volume.number) {
            take_over(&mut volume.disk_options, &outer.disk_options);
        }
        if volume.device.is_none() {
            volume.device = Some(volume.device_name());
        }
    }
}
