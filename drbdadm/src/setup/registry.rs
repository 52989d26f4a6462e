// SPDX-License-Identifier: GPL-2.0
//! The links from minors and resources to the configuration file they came from. `drbdadm` makes them; what goes away takes
//! its link along (config-and-cli.md section 12).

const DIRECTORY: &str = "/var/run/drbd";

/// Removes the link of a minor.
pub fn forget_minor(minor: u32) {
    // Most often there is none.
    let _ = std::fs::remove_file(format!("{DIRECTORY}/drbd-minor-{minor}.conf"));
}

/// Removes the link of a resource.
pub fn forget_resource(name: &str) {
    if !name.contains('/') {
        let _ = std::fs::remove_file(format!("{DIRECTORY}/drbd-resource-{name}.conf"));
    }
}
