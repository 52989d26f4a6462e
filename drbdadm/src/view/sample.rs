// SPDX-License-Identifier: GPL-2.0
//! One look at everything: what the live screen and the exporter show. It asks the driver, `/proc` and, seldom, the configuration;
//! it needs neither root nor a usable configuration.

use super::block_io::{self, Disks};
use super::proc_drbd::{self, Minor};
use super::why::{self, Module, Severity};
use super::with_client;
use crate::adm::{self, Configured};
use netlink_api::snapshot::{self, Resource, Volume};
use netlink_api::Error;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The configuration is read again after this long.
const CONFIGURATION_AGE: Duration = Duration::from_secs(15);

/// A resource, and how it is judged.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Name.
    pub name: String,
    /// What the driver says; `None`: it is only configured.
    pub running: Option<Resource>,
    /// As `drbdadm why` judges it.
    pub severity: Severity,
    /// The worst that `drbdadm why` would say.
    pub summary: String,
    /// Its lines of `/proc/drbd`.
    pub progress: Vec<Minor>,
}

impl Watched {
    /// The lines of `/proc/drbd` of a minor.
    pub fn progress_of(&self, minor: u32) -> Option<&Minor> {
        self.progress.iter().find(|line| line.minor == minor)
    }
}

/// What is the case at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Since 1970.
    pub time: Duration,
    /// For differences.
    pub at: Instant,
    /// The driver.
    pub module: Module,
    /// First line of `/proc/drbd` without `version: `.
    pub version: Option<String>,
    /// Why the configuration cannot be used.
    pub fault: Option<String>,
    /// Problems first, then by name.
    pub resources: Vec<Watched>,
    /// Counts of all block devices.
    pub disks: Disks,
    /// Numbers of the backing devices, by minor.
    pub backing: BTreeMap<u32, (u32, u32)>,
}

/// Takes samples.
#[derive(Debug, Default)]
pub struct Sampler {
    config: Option<String>,
    read: Option<Instant>,
    configured: Vec<Configured>,
    fault: Option<String>,
}

impl Sampler {
    /// With the configuration in that file, or that of the system.
    pub fn new(config: Option<&str>) -> Self {
        Self {
            config: config.map(String::from),
            ..Self::default()
        }
    }

    /// Looks. Not to be called inside a runtime.
    pub fn take(&mut self) -> Sample {
        self.read_configuration();
        let asked = with_client(|client| Box::pin(snapshot::take(client, None)));
        let (module, running) = match asked {
            Ok(running) => (Module::Loaded, running),
            Err(Error::NoFamily) => (Module::Absent, Vec::new()),
            Err(error) => (Module::Silent(error.to_string()), Vec::new()),
        };
        let text = std::fs::read_to_string("/proc/drbd").unwrap_or_default();
        let mut sample = self.assemble(module, running, &text);
        sample.disks = block_io::read();
        let volumes = sample.volumes();
        sample.backing = volumes
            .iter()
            .filter_map(|volume| {
                Some((
                    volume.minor,
                    block_io::numbers(&volume.backing.as_ref()?.path)?,
                ))
            })
            .collect();
        sample
    }

    fn read_configuration(&mut self) {
        if self
            .read
            .is_some_and(|read| read.elapsed() < CONFIGURATION_AGE)
        {
            return;
        }
        self.read = Some(Instant::now());
        (self.configured, self.fault) = match adm::configured(self.config.as_deref()) {
            Ok(configured) => (configured, None),
            Err(fault) => (Vec::new(), Some(fault)),
        };
    }

    /// Puts together what was found, judged and in order.
    fn assemble(&self, module: Module, running: Vec<Resource>, proc_text: &str) -> Sample {
        let progress = proc_drbd::parse(proc_text);
        let configured_only = self.configured.iter().filter(|configured| {
            running
                .iter()
                .all(|resource| resource.name != configured.name)
        });
        let only_names = configured_only.map(|configured| (configured.name.clone(), None));
        let pairs: Vec<(String, Option<Resource>)> = running
            .iter()
            .map(|resource| (resource.name.clone(), Some(resource.clone())))
            .chain(only_names)
            .collect();
        let mut resources: Vec<Watched> = pairs
            .into_iter()
            .map(|(name, running)| self.watched(name, running, &module, &progress))
            .collect();
        resources.sort_by(|a, b| (b.severity, &a.name).cmp(&(a.severity, &b.name)));
        Sample {
            time: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            at: Instant::now(),
            module,
            version: proc_text
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("version: "))
                .map(String::from),
            fault: self.fault.clone(),
            resources,
            disks: Disks::new(),
            backing: BTreeMap::new(),
        }
    }

    fn watched(
        &self,
        name: String,
        running: Option<Resource>,
        module: &Module,
        progress: &[Minor],
    ) -> Watched {
        let found = self
            .configured
            .iter()
            .find(|configured| configured.name == name);
        // a configuration that cannot be read says nothing about a resource
        let unread = self.fault.is_some().then(|| Configured {
            name: name.clone(),
            ..Configured::default()
        });
        let minors: Vec<u32> = running
            .iter()
            .flat_map(|resource| resource.volumes.iter().map(|volume| volume.minor))
            .collect();
        let progress: Vec<Minor> = progress
            .iter()
            .filter(|line| minors.contains(&line.minor))
            .cloned()
            .collect();
        let configured = found.cloned().or(unread);
        let worst = why::worst(&name, module, running.as_ref(), configured, &progress);
        Watched {
            severity: worst.severity,
            summary: worst.what,
            name,
            running,
            progress,
        }
    }
}

impl Sample {
    /// All volumes that run.
    pub fn volumes(&self) -> Vec<Volume> {
        let running = self.resources.iter().flat_map(|watched| &watched.running);
        running
            .flat_map(|resource| resource.volumes.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use drbd_core::state::{Conn, Disk, Role, State};
    use netlink_api::snapshot::{Backing, Counters};

    /// A volume in these states, 1 GiB large.
    pub fn volume(minor: u32, conn: Conn, disk: Disk, pdsk: Disk) -> Volume {
        Volume {
            minor,
            state: State {
                role: Role::Primary,
                peer: Role::Secondary,
                conn,
                disk,
                pdsk,
                ..State::default()
            },
            sectors: 2_097_152,
            bits: 262_144,
            counters: Counters::default(),
            backing: Some(Backing {
                path: format!("/dev/vg/{minor}"),
                ..Backing::default()
            }),
            ..Volume::default()
        }
    }

    /// A connected resource with one volume.
    pub fn resource(name: &str, volume: Volume) -> Resource {
        Resource {
            name: name.into(),
            role: Role::Primary,
            peer_role: volume.state.peer,
            connection: Some(volume.state.conn.min(Conn::WFReportParams)),
            protocol: Some('C'),
            own_address: Some("ipv4:10.0.0.1:7789".into()),
            peer_address: Some("ipv4:10.0.0.2:7789".into()),
            write_ordering: "flush",
            volumes: vec![volume],
            ..Resource::default()
        }
    }

    /// What is seen when these run, and these are configured besides.
    pub fn sample(running: Vec<Resource>, configured: &[&str], proc_text: &str) -> Sample {
        let names = running.iter().map(|resource| resource.name.clone());
        let names: Vec<String> = names
            .chain(configured.iter().map(|name| name.to_string()))
            .collect();
        let sampler = Sampler {
            configured: names
                .into_iter()
                .map(|name| Configured {
                    name,
                    peer_host: "bob".into(),
                    ..Configured::default()
                })
                .collect(),
            ..Sampler::default()
        };
        sampler.assemble(Module::Loaded, running, proc_text)
    }

    #[test]
    fn problems_come_first_and_a_configured_resource_that_does_not_run_is_one() {
        let well = resource(
            "a",
            volume(0, Conn::Connected, Disk::UpToDate, Disk::UpToDate),
        );
        let alone = resource(
            "z",
            volume(1, Conn::WFConnection, Disk::UpToDate, Disk::DUnknown),
        );
        let syncing = resource(
            "m",
            volume(2, Conn::SyncSource, Disk::UpToDate, Disk::Inconsistent),
        );
        let sample = sample(vec![well, syncing, alone], &["off"], "");
        let order: Vec<(&str, Severity)> = sample
            .resources
            .iter()
            .map(|watched| (watched.name.as_str(), watched.severity))
            .collect();
        assert_eq!(
            order,
            [
                ("off", Severity::Problem),
                ("z", Severity::Problem),
                ("m", Severity::Notice),
                ("a", Severity::Fine)
            ]
        );
    }

    #[test]
    fn an_unreadable_configuration_is_told_once_and_blames_no_resource() {
        let well = resource(
            "a",
            volume(0, Conn::Connected, Disk::UpToDate, Disk::UpToDate),
        );
        let sampler = Sampler {
            fault: Some("drbd.conf:1:1: nonsense".into()),
            ..Sampler::default()
        };
        let sample = sampler.assemble(
            Module::Loaded,
            vec![well],
            "version: 8.4.11 (api:1/proto:86-101)\n",
        );
        assert_eq!(sample.resources[0].severity, Severity::Fine);
        assert!(sample.fault.is_some());
        assert_eq!(
            sample.version.as_deref(),
            Some("8.4.11 (api:1/proto:86-101)")
        );
    }
}
