// SPDX-License-Identifier: GPL-2.0
//! Which configuration file a running resource came from: links in the run directory (config-and-cli.md section 12).

use super::session::{Session, Target};
use drbd_config::Volume;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "/var/run/drbd";

fn resource_link(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("drbd-resource-{name}.conf"))
}

fn minor_link(minor: u32) -> PathBuf {
    Path::new(DIRECTORY).join(format!("drbd-minor-{minor}.conf"))
}

fn link(session: &Session, path: &Path) {
    if session.config.main_file == "STDIN" {
        return;
    }
    let Ok(file) = std::path::absolute(&session.config.main_file) else {
        return;
    };
    let _ = std::fs::create_dir_all(DIRECTORY);
    let _ = std::fs::remove_file(path);
    let _ = std::os::unix::fs::symlink(file, path);
}

/// Notes the file of a resource.
pub fn remember_resource(session: &Session, target: &Target<'_>) {
    link(session, &resource_link(&target.resource.name));
}

/// Notes the file of a volume.
pub fn remember_minor(session: &Session, volume: &Volume) {
    link(session, &minor_link(volume.minor()));
}

/// Removes the notes of a resource and its volumes.
pub fn forget(target: &Target<'_>) {
    let _ = std::fs::remove_file(resource_link(&target.resource.name));
    for volume in &target.me.volumes {
        forget_minor(volume.minor());
    }
}

/// Removes the note of a minor.
pub fn forget_minor(minor: u32) {
    let _ = std::fs::remove_file(minor_link(minor));
}

/// The file noted for `minor-N`, a resource, or RES/VOL.
pub fn file_of(name: &str) -> Option<String> {
    let minor = name
        .strip_prefix("minor-")
        .and_then(|number| number.parse().ok())
        .map(minor_link);
    let candidates = [
        minor,
        Some(resource_link(name)),
        name.rsplit_once('/')
            .map(|(resource, _)| resource_link(resource)),
    ];
    let found = candidates
        .into_iter()
        .flatten()
        .find_map(|path| std::fs::read_link(path).ok());
    found.map(|path| path.display().to_string())
}
