// SPDX-License-Identifier: GPL-2.0
//! What a configuration says, with the places where it says it.

use crate::address::Address;
use crate::diagnostic::Position;
use serde::{Deserialize, Serialize};

/// A text with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spanned {
    /// The text, without quotes.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// One option of a section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Present name, whatever was written.
    pub name: String,
    /// Value as written, `yes`/`no` for booleans; `None`: takes none.
    pub value: Option<String>,
    /// Of the name.
    pub position: Position,
}

/// The options of a section in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// The options; a name may be there twice.
    pub settings: Vec<Setting>,
}

impl Section {
    /// The first value of an option; empty text when it takes none.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().find(|setting| setting.name == name)?;
        Some(found.value.as_deref().unwrap_or(""))
    }

    /// Adds in front what `other` has and this has not, one by one (section 3: inherited options stand
    /// reversed before the own ones).
    pub fn inherit(&mut self, other: &Self) {
        for setting in &other.settings {
            if self.get(&setting.name).is_none() {
                self.settings.insert(0, setting.clone());
            }
        }
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Removes an option.
    pub fn remove(&mut self, name: &str) {
        self.settings.retain(|setting| setting.name != name);
    }
}

/// `usage-count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UsageCount {
    /// `ask`, the default.
    #[default]
    Ask,
    /// `yes`.
    Yes,
    /// `no`.
    No,
}

/// `global { }`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Global {
    /// `minor-count`, 1 to 255.
    pub minor_count: Option<u64>,
    /// `dialog-refresh` in seconds, 0 never.
    pub dialog_refresh_seconds: Option<u64>,
    /// `usage-count`.
    pub usage_count: UsageCount,
    /// `disable-ip-verification`.
    pub disable_ip_verification: bool,
    /// `udev-always-use-vnr`.
    pub udev_always_use_vnr: bool,
    /// `cmd-timeout-short` in seconds, 0 none.
    pub timeout_short_seconds: Option<u64>,
    /// `cmd-timeout-medium` in seconds, 0 none.
    pub timeout_medium_seconds: Option<u64>,
    /// `cmd-timeout-long` in seconds, 0 none.
    pub timeout_long_seconds: Option<u64>,
}

/// `device`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path with `/dev/`; `None`: only the minor was given.
    pub name: Option<String>,
    /// Minor.
    pub minor: u32,
    /// Of the statement.
    pub position: Position,
}

impl Device {
    /// The path of the node.
    pub fn path(&self) -> String {
        self.name
            .clone()
            .unwrap_or_else(|| format!("/dev/drbd{}", self.minor))
    }
}

/// `meta-disk`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaIndex {
    /// On the disk itself.
    Internal,
    /// The whole of another device.
    Flexible,
    /// A slot of another device.
    Slot(u64),
}

/// `meta-disk` or `flexible-meta-disk`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaDisk {
    /// Path; `internal` for internal metadata.
    pub path: String,
    /// Where on it.
    pub index: MetaIndex,
    /// Of the statement.
    pub position: Position,
}

/// A volume of a host section or of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Number.
    pub number: u64,
    /// Written without `volume`.
    pub implicit: bool,
    /// `device`.
    pub device: Option<Device>,
    /// `disk PATH`.
    pub disk: Option<Spanned>,
    /// `disk { }`.
    pub disk_options: Section,
    /// `meta-disk`.
    pub meta_disk: Option<MetaDisk>,
    /// Of the section or its first statement.
    pub position: Position,
}

impl Volume {
    /// An empty one.
    pub fn new(number: u64, implicit: bool, position: &Position) -> Self {
        let position = position.clone();
        Self {
            number,
            implicit,
            device: None,
            disk: None,
            disk_options: Section::default(),
            meta_disk: None,
            position,
        }
    }

    /// The minor, 0 while there is no device statement.
    pub fn minor(&self) -> u32 {
        self.device.as_ref().map_or(0, |device| device.minor)
    }

    /// The node.
    pub fn device_path(&self) -> String {
        self.device.as_ref().map_or_else(String::new, Device::path)
    }

    /// The backing device.
    pub fn disk_path(&self) -> &str {
        self.disk.as_ref().map_or("", |disk| &disk.text)
    }

    /// The device the metadata is on.
    pub fn meta_path(&self) -> &str {
        match &self.meta_disk {
            Some(meta) if meta.index != MetaIndex::Internal => &meta.path,
            _ => self.disk_path(),
        }
    }
}

/// What kind of host section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostKind {
    /// `on NAME...`.
    Named,
    /// `floating ADDRESS`.
    Floating,
    /// `stacked-on-top-of RESOURCE`.
    StackedOn(String),
    /// `_this_host` of a running configuration.
    This,
    /// `_remote_host` of a running configuration.
    Remote,
}

/// Settings for drbd-proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyOptions {
    /// Options.
    pub section: Section,
    /// Lines of `plugin { }`.
    pub plugins: Vec<String>,
}

impl ProxyOptions {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.section.is_empty() && self.plugins.is_empty()
    }

    /// As [`Section::inherit`].
    pub fn inherit(&mut self, other: &Self) {
        self.section.inherit(&other.section);
        if self.plugins.is_empty() {
            self.plugins = other.plugins.iter().rev().cloned().collect();
        }
    }
}

/// `proxy on HOST { }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyHost {
    /// Hosts it runs on.
    pub names: Vec<String>,
    /// `inside`.
    pub inside: Option<Address>,
    /// `outside`.
    pub outside: Option<Address>,
    /// `options { }`.
    pub options: ProxyOptions,
    /// Of the section.
    pub position: Position,
}

/// A host section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSection {
    /// Kind.
    pub kind: HostKind,
    /// Host names; for a stacked section known after [`crate::bind()`]; the address for a floating one.
    pub names: Vec<String>,
    /// `address`.
    pub address: Option<Address>,
    /// `alternate-link-address`.
    pub alternate: Option<Address>,
    /// `options { }`, dumped and never applied.
    pub options: Section,
    /// Volumes by number.
    pub volumes: Vec<Volume>,
    /// `proxy on`.
    pub proxy: Option<ProxyHost>,
    /// Of the section.
    pub position: Position,
}

impl HostSection {
    /// An empty one.
    pub fn new(kind: HostKind, names: Vec<String>, position: &Position) -> Self {
        Self {
            kind,
            names,
            address: None,
            alternate: None,
            options: Section::default(),
            volumes: Vec::new(),
            proxy: None,
            position: position.clone(),
        }
    }

    /// The names for messages.
    pub fn title(&self) -> String {
        self.names.join(" ")
    }

    /// The resource below.
    pub fn stacked_on(&self) -> Option<&str> {
        match &self.kind {
            HostKind::StackedOn(lower) => Some(lower),
            _ => None,
        }
    }
}

/// A resource, or the common section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Name; `common` for the common section.
    pub name: String,
    /// Of the section.
    pub position: Position,
    /// Host sections in file order.
    pub hosts: Vec<HostSection>,
    /// Volume statements at resource level.
    pub volumes: Vec<Volume>,
    /// `net { }` and `protocol`.
    pub net: Section,
    /// `disk { }`.
    pub disk: Section,
    /// `options { }`.
    pub options: Section,
    /// `startup { }` without the two below.
    pub startup: Section,
    /// `become-primary-on`.
    pub become_primary_on: Vec<String>,
    /// `stacked-timeouts`.
    pub stacked_timeouts: bool,
    /// `handlers { }`.
    pub handlers: Section,
    /// `proxy { }`.
    pub proxy: ProxyOptions,
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The main file as named; `STDIN` for standard input.
    pub main_file: String,
    /// `global { }`.
    pub global: Global,
    /// `common { }`.
    pub common: Option<Resource>,
    /// Resources in the order of the files.
    pub resources: Vec<Resource>,
}

impl Config {
    /// The resource of that name.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }
}
