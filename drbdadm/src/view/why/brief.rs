// SPDX-License-Identifier: GPL-2.0
//! The worst finding about a resource, from what costs little to ask: for the live screen and the exporter, which ask often.

use super::{explain, log, Facts, Finding, Module, Severity};
use crate::adm::Configured;
use crate::view::proc_drbd::Minor;
use drbd_core::state::{Conn, Disk};
use netlink_api::snapshot::Resource;

/// Judges a resource. The peer's machine, metadata and users of the device are not asked about; the kernel log is looked at only
/// when it may tell why a connection or a disk is missing.
pub fn worst(
    name: &str,
    module: &Module,
    running: Option<&Resource>,
    configured: Option<Configured>,
    progress: &[Minor],
) -> Finding {
    let minors = |resource: &Resource| resource.volumes.iter().map(|v| v.minor).collect::<Vec<_>>();
    let facts = Facts {
        name: name.into(),
        module: module.clone(),
        configured,
        running: running.cloned(),
        progress: progress.to_vec(),
        log: running
            .filter(|resource| misses_something(resource))
            .and_then(|resource| log::read(name, &minors(resource))),
        ..Facts::default()
    };
    let mut found = explain(&facts);
    match found.is_empty() {
        true => Finding::new(name, Severity::Fine, ""),
        false => found.swap_remove(0),
    }
}

fn misses_something(resource: &Resource) -> bool {
    matches!(resource.connection, None | Some(Conn::StandAlone))
        || resource.is_suspended()
        || resource
            .volumes
            .iter()
            .any(|volume| volume.state.disk == Disk::Diskless)
}
