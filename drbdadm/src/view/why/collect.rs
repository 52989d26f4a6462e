// SPDX-License-Identifier: GPL-2.0
//! Finds out what an explanation starts from. As few questions as possible, each with a time limit; what cannot be found out
//! stays unknown.

use super::connection::bare;
use super::text::{document, render, value};
use super::{explain, log, Facts, Finding, Module, Reach};
use crate::adm::{self, Known};
use crate::busy::{self, Places};
use crate::view::{paint, proc_drbd, with_client};
use crate::{generations, json};
use drbd_core::state::{Conn, Disk};
use netlink_api::snapshot::{self, Resource};
use netlink_api::Error;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

/// Wait for something to come back from the peer's address.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Major number of the devices.
const MAJOR: u32 = 147;
/// Exit code when nothing is there to be explained.
const NOTHING: u8 = 10;

/// Explains the named resources, or all.
pub fn run(config: Option<&str>, names: &[String], as_json: bool) -> u8 {
    let (module, running) = driver();
    let known = adm::known(config, &names_of(&running));
    let wanted = wanted(names, &running, &known);
    if wanted.is_empty() {
        return nothing(&module, &known, as_json);
    }
    let mut documents = Vec::new();
    for (at, name) in wanted.iter().enumerate() {
        let facts = facts(name, &module, &running, &known);
        let findings: Vec<Finding> = explain(&facts);
        if as_json {
            documents.push(value(name, &findings));
            continue;
        }
        if at > 0 {
            println!();
        }
        print!("{}", render(&findings, paint::is_welcome()));
    }
    if as_json {
        print!("{}", document(documents));
    }
    0
}

fn nothing(module: &Module, known: &Known, as_json: bool) -> u8 {
    let text = match (module, &known.fault) {
        (_, Some(fault)) => fault.clone(),
        (Module::Absent, _) => {
            "no resources are configured, and the drbd module is not loaded".into()
        }
        _ => "no resources are configured, and none runs".into(),
    };
    if as_json {
        print!("{}", json::failure("drbd-why", NOTHING, &text));
    }
    eprintln!("{text}");
    NOTHING
}

fn driver() -> (Module, Vec<Resource>) {
    match with_client(|client| Box::pin(snapshot::take(client, None))) {
        Ok(running) => (Module::Loaded, running),
        Err(Error::NoFamily) => (Module::Absent, Vec::new()),
        Err(error) => (Module::Silent(error.to_string()), Vec::new()),
    }
}

fn names_of(running: &[Resource]) -> Vec<String> {
    running
        .iter()
        .map(|resource| resource.name.clone())
        .collect()
}

/// Names without volumes, `minor-N` resolved; without names or with `all` everything there is.
fn wanted(names: &[String], running: &[Resource], known: &Known) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let everything = names.first().is_none_or(|name| name == "all");
    if everything {
        found.extend(known.resources.iter().map(|resource| resource.name.clone()));
        found.extend(names_of(running));
    }
    let minors = minors(running, known);
    for name in names.iter().filter(|_| !everything) {
        let by_minor = name
            .strip_prefix("minor-")
            .and_then(|minor| minors.get(&minor.parse().ok()?))
            .map(String::as_str);
        let is_known = |name: &str| {
            known.resources.iter().any(|r| r.name == name) || running.iter().any(|r| r.name == name)
        };
        let whole = by_minor.unwrap_or(name);
        let resource = match whole.rsplit_once('/') {
            Some((resource, _)) if !is_known(whole) => resource,
            _ => whole,
        };
        found.push(resource.into());
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|name| seen.insert(name.clone()));
    found
}

/// `RESOURCE/VOLUME` of every minor.
fn minors(running: &[Resource], known: &Known) -> BTreeMap<u32, String> {
    let configured = known.resources.iter().flat_map(|resource| {
        let volumes = resource.volumes.iter();
        volumes.map(|volume| (volume.minor, format!("{}/{}", resource.name, volume.number)))
    });
    let present = running.iter().flat_map(|resource| {
        let volumes = resource.volumes.iter();
        volumes.map(|volume| (volume.minor, format!("{}/{}", resource.name, volume.number)))
    });
    configured.chain(present).collect()
}

fn facts(name: &str, module: &Module, running: &[Resource], known: &Known) -> Facts {
    let resource = running.iter().find(|resource| resource.name == name);
    let configured = known
        .resources
        .iter()
        .find(|resource| resource.name == name);
    let mut own: Vec<u32> =
        resource.map_or_else(Vec::new, |r| r.volumes.iter().map(|v| v.minor).collect());
    own.extend(
        configured
            .iter()
            .flat_map(|c| c.volumes.iter().map(|v| v.minor)),
    );
    own.sort_unstable();
    own.dedup();
    let text = std::fs::read_to_string("/proc/drbd").unwrap_or_default();
    let has_disk = |minor: u32| {
        let volume = resource.and_then(|r| r.volumes.iter().find(|v| v.minor == minor));
        volume.is_some_and(|volume| volume.state.disk != Disk::Diskless)
    };
    let waits = resource.is_some_and(|r| r.connection == Some(Conn::WFConnection));
    Facts {
        name: name.into(),
        module: module.clone(),
        config_fault: known.fault.clone(),
        configured: configured.cloned(),
        running: resource.cloned(),
        differences: known.differences.get(name).cloned().unwrap_or_default(),
        address_is_ours: resource.and_then(|r| address_is_ours(r.own_address.as_deref()?)),
        reach: match resource.and_then(|r| r.peer_address.as_deref()) {
            Some(address) if waits => reach(address),
            _ => Reach::Unknown,
        },
        names: minors(running, known),
        progress: proc_drbd::parse(&text),
        log: log::read(name, &own),
        users: own
            .iter()
            .map(|minor| (*minor, busy::users(&Places::default(), (MAJOR, *minor))))
            .collect(),
        metadata: own
            .iter()
            .filter(|minor| !has_disk(**minor))
            .filter_map(|minor| Some((*minor, in_words(known.metadata(name, *minor)?))))
            .collect(),
    }
}

/// The line of `get-gi` in words.
fn in_words(line: Result<String, String>) -> Result<String, String> {
    let line = line?;
    let flags = generations::flags_of(&line).ok_or_else(|| format!("not understood: {line}"))?;
    let words = generations::in_words(flags);
    Ok(words.trim_start_matches("flags: ").to_string())
}

fn address_is_ours(endpoint: &str) -> Option<bool> {
    let address: IpAddr = bare(endpoint).parse().ok()?;
    Some(adm::has_address(address))
}

/// Asks the peer's machine for a sign of life without touching its DRBD: a datagram to a port where nobody listens for
/// datagrams comes back as refused from a machine that is up.
fn reach(endpoint: &str) -> Reach {
    let Some(peer) = endpoint
        .split_once(':')
        .and_then(|(_, address)| address.parse::<SocketAddr>().ok())
    else {
        return Reach::Unknown;
    };
    let any = match peer {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let attempt = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect(peer)?;
        socket.send(&[0])?;
        socket.recv(&mut [0u8; 16])
    };
    match attempt() {
        Ok(_) => Reach::Answers,
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Reach::Answers,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Reach::Silent,
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Reach::NoRoute,
            _ => Reach::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_up_answers() {
        assert_eq!(reach("ipv4:127.0.0.1:9"), Reach::Answers);
        assert_eq!(reach("ssocks:127.0.0.1"), Reach::Unknown);
        assert_eq!(reach("nonsense"), Reach::Unknown);
    }

    #[test]
    fn names_may_be_resources_volumes_minors_or_all() {
        let resource = |name: &str, minor| Resource {
            name: name.into(),
            volumes: vec![snapshot::Volume {
                minor,
                ..snapshot::Volume::default()
            }],
            ..Resource::default()
        };
        let running = [resource("a", 1), resource("b/c", 2)];
        let names = |list: &[&str]| {
            let names: Vec<String> = list.iter().map(|name| name.to_string()).collect();
            wanted(&names, &running, &Known::default())
        };
        assert_eq!(names(&["a/0", "minor-2", "a"]), ["a", "b/c"]);
        assert_eq!(names(&["b/c"]), ["b/c"]);
        assert_eq!(names(&[]), ["a", "b/c"]);
        assert_eq!(names(&["all"]), ["a", "b/c"]);
        assert_eq!(names(&["nores"]), ["nores"]);
    }
}
