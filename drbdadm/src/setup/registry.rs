// SPDX-License-Identifier: GPL-2.0
//! The links from minors and resources to the configuration file they came from. `drbdadm` makes them; what goes away takes
//! its link along (config-and-cli.md section 12).

use std::path::{Path, PathBuf};

/// Where the links are.
#[derive(Clone, Debug)]
pub struct Registry(PathBuf);

impl Registry {
    /// In this directory.
    pub fn new(directory: &Path) -> Self {
        Self(directory.into())
    }

    /// Removes the link of a minor.
    pub fn forget_minor(&self, minor: u32) {
        self.remove(&format!("drbd-minor-{minor}.conf"));
    }

    /// Removes the link of a resource.
    pub fn forget_resource(&self, name: &str) {
        if !name.contains('/') {
            self.remove(&format!("drbd-resource-{name}.conf"));
        }
    }

    fn remove(&self, name: &str) {
        // Most often there is none.
        let _ = std::fs::remove_file(self.0.join(name));
    }
}

impl Default for Registry {
    /// Where `drbdadm` makes them.
    fn default() -> Self {
        Self::new(Path::new("/var/run/drbd"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_links_of_what_goes_away_are_removed() {
        let directory =
            std::env::temp_dir().join(format!("drbdsetup-registry-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("directory");
        let names = [
            "drbd-minor-1.conf",
            "drbd-minor-2.conf",
            "drbd-resource-r0.conf",
            "drbd-resource-r1.conf",
        ];
        for name in names {
            std::fs::write(directory.join(name), "").expect("written");
        }
        let registry = Registry::new(&directory);
        registry.forget_minor(1);
        registry.forget_minor(7);
        registry.forget_resource("r0");
        registry.forget_resource("x/../r1");
        let left: Vec<bool> = names
            .iter()
            .map(|name| directory.join(name).exists())
            .collect();
        std::fs::remove_dir_all(&directory).expect("removed");
        assert_eq!(left, [false, true, false, true]);
    }
}
