// SPDX-License-Identifier: GPL-2.0
//! What the configuration says about this machine's resources, for the commands that show things and can do without it.

use super::args::Args;
use super::backend::Runner;
use super::commands::Limit;
use super::session::{Session, Target};
use super::stages::Plan;
use super::{adjust, calls, node};
use drbd_config::HostSection;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A resource of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    /// Name.
    pub name: String,
    /// Own endpoint as `af:ADDR:PORT`.
    pub own_address: String,
    /// The peer's endpoint; empty when it is not clear who the peer is.
    pub peer_address: String,
    /// The peer's host name.
    pub peer_host: String,
    /// The resource this one is stacked on.
    pub stacked_on: Option<String>,
    /// By number.
    pub volumes: Vec<ConfiguredVolume>,
}

/// A volume of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredVolume {
    /// Number.
    pub number: u64,
    /// Minor.
    pub minor: u32,
    /// Path of the backing device.
    pub disk: String,
    /// The minor below, when stacked.
    pub lower_minor: Option<u32>,
}

/// Reads the configuration (the file with that name, or the one of the system) without a word on standard error.
///
/// # Errors
/// What is wrong with it.
pub fn configured(config: Option<&str>) -> Result<Vec<Configured>, String> {
    let args = Args {
        config: config.map(String::from),
        ..Args::default()
    };
    Session::quietly(args)
        .map(|session| all(&session))
        .map_err(|failure| failure.text)
}

/// All resources of this machine, stacked ones too.
pub fn all(session: &Session) -> Vec<Configured> {
    let targets = session.targets();
    targets.iter().map(|target| one(session, target)).collect()
}

/// One of them.
pub fn one(session: &Session, target: &Target<'_>) -> Configured {
    let endpoint = |host: &HostSection| host.address.as_ref().map(|address| address.endpoint());
    let peer = session.peer(target).ok();
    let lower = target.me.stacked_on();
    let volumes = target.volumes().map(|volume| ConfiguredVolume {
        number: volume.number,
        minor: volume.minor(),
        disk: volume.disk_path().into(),
        lower_minor: lower.and_then(|lower| lower_minor(session, lower, volume.number)),
    });
    Configured {
        name: target.resource.name.clone(),
        own_address: endpoint(target.me).unwrap_or_default(),
        peer_address: peer.and_then(endpoint).unwrap_or_default(),
        peer_host: peer.map_or_else(String::new, HostSection::title),
        stacked_on: lower.map(String::from),
        volumes: volumes.collect(),
    }
}

/// What the configuration knows, and how it compares with what runs.
#[derive(Debug, Default)]
pub struct Known {
    session: Option<Session>,
    /// Why the configuration cannot be used.
    pub fault: Option<String>,
    /// The resources of this machine.
    pub resources: Vec<Configured>,
    /// By resource: the calls of drbdsetup that adjust would make, for those that run.
    pub differences: BTreeMap<String, Vec<String>>,
}

/// Reads the configuration and compares it with the running resources. Without root the driver keeps the shared secret to
/// itself, so nothing is compared then.
pub fn known(config: Option<&str>, running: &[String]) -> Known {
    let args = Args {
        config: config.map(String::from),
        ..Args::default()
    };
    let session = match Session::quietly(args) {
        Ok(session) => session,
        Err(fault) => {
            return Known {
                fault: Some(fault.text),
                ..Known::default()
            }
        }
    };
    let runner = Runner::new(&session, Limit::Short);
    let mut differences = BTreeMap::new();
    for target in session.targets() {
        let name = &target.resource.name;
        if rustix::process::geteuid().is_root() && running.contains(name) {
            let mut plan = Plan::default();
            // a running configuration that is not understood cannot be compared
            if adjust::plan(&session, &target, &runner, &mut plan).is_ok() {
                differences.insert(name.clone(), plan.lines());
            }
        }
    }
    Known {
        resources: all(&session),
        fault: None,
        differences,
        session: Some(session),
    }
}

impl Known {
    /// What the metadata of a volume that is not attached says, as `get-gi` prints it, or why it says nothing; `None`: not in
    /// the configuration, or not allowed to be looked at.
    pub fn metadata(&self, name: &str, minor: u32) -> Option<Result<String, String>> {
        let session = self.session.as_ref()?;
        let target = session
            .targets()
            .into_iter()
            .find(|target| target.resource.name == name)?;
        let volume = target
            .me
            .volumes
            .iter()
            .find(|volume| volume.minor() == minor)?;
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let (done, output, complaint) =
            Runner::new(session, Limit::Short).capture(&calls::meta(volume, "get-gi"));
        let text = if done { output } else { complaint };
        let text = text.trim().replace('\n', " ");
        Some(if done { Ok(text) } else { Err(text) })
    }
}

/// An address of this machine.
pub fn has_address(address: IpAddr) -> bool {
    node::has(&node::addresses(), address)
}

fn lower_minor(session: &Session, lower: &str, number: u64) -> Option<u32> {
    let below = session
        .targets()
        .into_iter()
        .find(|target| target.resource.name == lower)?;
    let volume = below.me.volumes.iter().find(|v| v.number == number)?;
    Some(volume.minor())
}
