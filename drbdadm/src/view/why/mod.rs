// SPDX-License-Identifier: GPL-2.0
//! `drbdadm why`: why a resource is in its state, what it waits for, and which command would help (issue 4 item 4).
//!
//! * [`collect`] finds the [`Facts`] out; nothing else here looks at the machine.
//! * [`explain`] makes [`Finding`]s of them: [`connection`], [`split_brain`], [`disk`], [`resync`], [`access`].
//! * [`text`] prints them.

mod access;
mod brief;
mod collect;
mod connection;
mod disk;
mod log;
mod resync;
mod split_brain;
mod text;

#[cfg(test)]
mod tests;

use super::paint::Tone;
use super::proc_drbd::Minor;
use crate::adm::Configured;
use log::Record;
use netlink_api::snapshot::{Resource, Volume};
use std::collections::BTreeMap;

pub use brief::worst;
pub use collect::run;

/// Whether the driver is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Module {
    /// It answers.
    #[default]
    Loaded,
    /// It is not loaded.
    Absent,
    /// It does not answer, for this reason.
    Silent(String),
}

/// What came back from the peer's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Not tried.
    #[default]
    Unknown,
    /// The machine with that address answers.
    Answers,
    /// There is no way to the address.
    NoRoute,
    /// Nothing came back in time.
    Silent,
}

/// Everything an explanation starts from.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Name of the resource.
    pub name: String,
    /// The driver.
    pub module: Module,
    /// Why the configuration cannot be used.
    pub config_fault: Option<String>,
    /// The resource in the configuration.
    pub configured: Option<Configured>,
    /// The resource in the driver.
    pub running: Option<Resource>,
    /// What `adjust` would do.
    pub differences: Vec<String>,
    /// The own address is an address of this machine; `None`: not known.
    pub address_is_ours: Option<bool>,
    /// The peer's address.
    pub reach: Reach,
    /// Names of volumes by minor, of all resources.
    pub names: BTreeMap<u32, String>,
    /// `/proc/drbd`
    pub progress: Vec<Minor>,
    /// The kernel log about it, oldest first; `None`: it may not be read.
    pub log: Option<Vec<Record>>,
    /// Who uses each minor.
    pub users: BTreeMap<u32, Vec<String>>,
    /// Of each minor without a disk in the driver: what its metadata says, or why there is none.
    pub metadata: BTreeMap<u32, Result<String, String>>,
}

impl Facts {
    /// The log, empty when it may not be read.
    fn records(&self) -> &[Record] {
        self.log.as_deref().unwrap_or(&[])
    }

    /// How the peer's host is called.
    fn peer_host(&self) -> &str {
        match &self.configured {
            Some(configured) if !configured.peer_host.is_empty() => &configured.peer_host,
            _ => "the peer",
        }
    }

    /// A volume for people: the resource's name alone when it has one volume.
    fn volume_name(&self, resource: &Resource, volume: &Volume) -> String {
        match resource.volumes.len() {
            1 => self.name.clone(),
            _ => format!("{}/{}", self.name, volume.number),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// It passes, or is worth knowing.
    Notice,
    /// Somebody has to do something.
    Problem,
}

impl Severity {
    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Fine => "fine",
            Severity::Notice => "notice",
            Severity::Problem => "problem",
        }
    }

    /// Its colour.
    pub const fn tone(self) -> Tone {
        match self {
            Severity::Fine => Tone::Good,
            Severity::Notice => Tone::Notice,
            Severity::Problem => Tone::Bad,
        }
    }
}

/// A way out: what it comes to, and its steps in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it is good for, and what it costs.
    pub effect: String,
    /// Where (`here` or a host) and the command.
    pub steps: Vec<(String, String)>,
}

/// One thing to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `r0` or `r0/1`.
    pub about: String,
    /// How bad.
    pub severity: Severity,
    /// What is the case.
    pub what: String,
    /// What tells so, and how it came.
    pub because: Vec<String>,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// What can be done.
    pub choices: Vec<Choice>,
}

impl Finding {
    fn new(about: &str, severity: Severity, what: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            severity,
            what: what.into(),
            because: Vec::new(),
            waits_for: None,
            choices: Vec::new(),
        }
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.because.push(reason.into());
        self
    }

    fn because_all(mut self, reasons: impl IntoIterator<Item = String>) -> Self {
        self.because.extend(reasons);
        self
    }

    fn waits_for(mut self, what: impl Into<String>) -> Self {
        self.waits_for = Some(what.into());
        self
    }

    /// A command on this machine.
    fn try_here(self, command: impl Into<String>, effect: impl Into<String>) -> Self {
        self.choice(effect, vec![("here".into(), command.into())])
    }

    fn choice(mut self, effect: impl Into<String>, steps: Vec<(String, String)>) -> Self {
        self.choices.push(Choice {
            effect: effect.into(),
            steps,
        });
        self
    }
}

/// All findings about a resource, the worst first; never empty.
pub fn explain(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(fault) = &facts.config_fault {
        found.push(
            Finding::new(
                &facts.name,
                Severity::Problem,
                "The configuration cannot be used, so nothing can be compared with it.",
            )
            .because(fault.clone())
            .try_here(
                "drbdadm dump",
                "shows what is wrong, with file, line and column",
            ),
        );
    }
    match (&facts.module, &facts.running) {
        (Module::Loaded, Some(resource)) => running(facts, resource, &mut found),
        (Module::Loaded, None) => found.push(access::not_up(facts)),
        (Module::Absent, _) => found.push(access::no_module(facts)),
        (Module::Silent(why), _) => found.push(
            Finding::new(
                &facts.name,
                Severity::Problem,
                "The driver does not answer, so its state is not known.",
            )
            .because(why.clone())
            .try_here("dmesg | tail -50", "shows what the kernel has to say"),
        ),
    }
    if found
        .iter()
        .all(|finding| finding.severity == Severity::Fine)
    {
        found.insert(0, access::all_is_well(facts));
    }
    // findings of one severity stay in the order in which one follows from the other
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}

fn running(facts: &Facts, resource: &Resource, found: &mut Vec<Finding>) {
    found.extend(access::suspended(facts, resource));
    found.extend(connection::explain(facts, resource));
    for volume in &resource.volumes {
        found.extend(disk::explain(facts, resource, volume));
        found.extend(resync::explain(facts, resource, volume));
    }
    if resource.volumes.is_empty() {
        let up = format!("drbdadm up {}", facts.name);
        found.push(
            Finding::new(
                &facts.name,
                Severity::Problem,
                "The resource exists in the driver, but it has no volume.",
            )
            .try_here(up, "makes its devices as the configuration says"),
        );
    }
    found.extend(access::differs(facts));
    found.extend(access::roles(facts, resource));
    if facts.log.is_none() {
        found.push(
            Finding::new(
                &facts.name,
                Severity::Fine,
                "The kernel log may not be read, so what led here is not known.",
            )
            .try_here(
                format!("sudo drbdadm why {}", facts.name),
                "looks at the kernel log too",
            ),
        );
    }
}
