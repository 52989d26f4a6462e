// SPDX-License-Identifier: GPL-2.0
//! One run: the configuration, who we are in it, and who the peers are.

use super::args::Args;
use super::commands::{Command, Listed};
use super::node;
use super::{registry, Failure};
use crate::setup::root_hint;
use drbd_config::model::Setting;
use drbd_config::{
    bind, expand, Address, Binding, Config, Diagnostic, HostSection, Identity, Loaded, Loader,
    Resource, Severity, Volume,
};
use std::io::IsTerminal;

/// Where a configuration is looked for when none is named.
const DEFAULT_FILES: &[&str] = &[
    "/etc/drbd-84.conf",
    "/etc/drbd-83.conf",
    "/etc/drbd-82.conf",
    "/etc/drbd-08.conf",
    "/etc/drbd.conf",
];

/// A resource to work on, as it is on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Index in the configuration.
    pub index: usize,
    /// The resource.
    pub resource: &'a Resource,
    /// Our host section.
    pub me: &'a HostSection,
    /// Only this volume.
    pub volume: Option<u64>,
}

impl<'a> Target<'a> {
    /// The volumes meant.
    pub fn volumes(&self) -> impl Iterator<Item = &'a Volume> {
        let wanted = self.volume;
        self.me
            .volumes
            .iter()
            .filter(move |volume| wanted.is_none_or(|number| number == volume.number))
    }
}

/// A configuration ready for use.
#[derive(Debug)]
pub struct Session {
    /// The command line.
    pub args: Args,
    /// The configuration, expanded unless it is to be dumped as written.
    pub config: Config,
    /// Our host sections.
    pub binding: Binding,
    /// Our name, or the pretended one.
    pub node: String,
}

impl Session {
    /// Reads and checks the configuration. `None`: it parses, and the command wants no more.
    pub fn open(args: Args, command: &Command) -> Result<Option<Self>, Failure> {
        let file = main_file(&args, command)?;
        let loaded = Loader::new(&file)
            .with_test_file(args.config_to_test.as_deref())
            .load();
        for diagnostic in &loaded.diagnostics {
            eprintln!("{diagnostic}");
        }
        // a configuration with secrets is for root alone
        let mut unreadable = loaded.diagnostics.iter().map(|d| root_hint(&d.to_string()));
        if let Some(hint) = unreadable.find(|hint| !hint.is_empty()) {
            eprintln!("{}", hint.trim_start());
        }
        if let Some(code) = loaded.exit() {
            return Err(Failure::silent(code));
        }
        let as_written =
            ["dump", "dump-xml"].contains(&command.name) && args.dry_run == 0 && args.verbose == 0;
        let (session, problems) = Self::bound(args, as_written, loaded);
        for problem in &problems {
            eprintln!("{problem}");
        }
        match problems.first() {
            // faults beyond the syntax are told, and not counted
            _ if command.name == "sh-nop" => Ok(None),
            Some(problem) => Err(Failure::silent(problem.exit)),
            None => Ok(Some(session)),
        }
    }

    /// The configuration for commands that can do without one: nothing is printed.
    ///
    /// # Errors
    /// What is wrong with it, and the exit code for that.
    pub fn quietly(args: Args) -> Result<Self, Failure> {
        let file = args
            .config
            .as_deref()
            .map_or_else(default_file, |file| Ok(file.into()))
            .map_err(|text| Failure::new(10, text))?;
        let loaded = Loader::new(&file).load();
        let error = loaded
            .diagnostics
            .iter()
            .find(|d| d.severity == Severity::Error);
        if let Some(error) = error {
            let code = loaded.exit().unwrap_or(error.exit);
            let text = error.to_string();
            return Err(Failure::new(code, text.clone() + root_hint(&text)));
        }
        let (session, problems) = Self::bound(args, false, loaded);
        match problems.first() {
            Some(problem) => Err(Failure::new(problem.exit, problem.to_string())),
            None => Ok(session),
        }
    }

    fn bound(args: Args, as_written: bool, loaded: Loaded) -> (Self, Vec<Diagnostic>) {
        let Loaded {
            mut config, end, ..
        } = loaded;
        let node = node::name();
        let pretended_address = node.parse::<std::net::IpAddr>().is_ok();
        let addresses = if pretended_address {
            Vec::new()
        } else {
            node::addresses()
        };
        let (binding, problems) = bind(
            &mut config,
            &Identity {
                node: node.clone(),
                addresses,
            },
            &end,
        );
        if !as_written {
            expand(&mut config);
        }
        let session = Self {
            args,
            config,
            binding,
            node,
        };
        (session, problems)
    }

    /// Removes `resync-after` options that lead nowhere; on a terminal they are an error.
    pub fn drop_unknown_resync_after(&mut self) -> Result<(), Failure> {
        let mut faults: Vec<(usize, String, String)> = Vec::new();
        for index in 0..self.config.resources.len() {
            let Some(me) = self.binding.own(&self.config, index) else {
                continue;
            };
            let resource = &self.config.resources[index];
            let sections =
                std::iter::once(&resource.disk).chain(me.volumes.iter().map(|v| &v.disk_options));
            for value in sections.filter_map(|section| section.get("resync-after")) {
                if let Err(text) = self.minor_after(value) {
                    faults.push((index, value.to_string(), text));
                }
            }
        }
        faults.dedup();
        for (index, value, text) in &faults {
            let resource = &self.config.resources[*index];
            eprintln!(
                "{}: in resource {}: {text}",
                resource.position.absolute(),
                resource.name
            );
            if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
                return Err(Failure::silent(10));
            }
            self.forget_resync_after(*index, value);
        }
        Ok(())
    }

    fn forget_resync_after(&mut self, index: usize, value: &str) {
        let keep = |setting: &Setting| {
            setting.name != "resync-after" || setting.value.as_deref() != Some(value)
        };
        let resource = &mut self.config.resources[index];
        resource.disk.settings.retain(keep);
        for volume in resource.hosts.iter_mut().flat_map(|host| &mut host.volumes) {
            volume.disk_options.settings.retain(keep);
        }
    }

    /// The minor that a `resync-after` text means on this machine.
    pub fn minor_after(&self, text: &str) -> Result<String, String> {
        if text.parse::<i64>().is_ok() && self.config.resource(text).is_none() {
            return Ok(text.to_string());
        }
        let exact = self
            .config
            .resources
            .iter()
            .position(|r| r.name == text)
            .map(|index| (index, None));
        let with_volume = || {
            let (name, number) = text.rsplit_once('/')?;
            let number = number.parse::<u64>().ok()?;
            let index = self.config.resources.iter().position(|r| r.name == name)?;
            Some((index, Some(number)))
        };
        let Some((index, number)) = exact.or_else(with_volume) else {
            return Err(format!("'resync-after {text}': there is no such resource"));
        };
        let Some(me) = self.binding.own(&self.config, index) else {
            return Err(format!(
                "'resync-after {text}': there is no such resource on this host"
            ));
        };
        let found: Vec<&Volume> = me
            .volumes
            .iter()
            .filter(|v| number.is_none_or(|n| n == v.number))
            .collect();
        match found[..] {
            [volume] => Ok(volume.minor().to_string()),
            [] => Err(format!("'resync-after {text}': there is no such volume")),
            _ => Err(format!(
                "'resync-after {text}' is ambiguous: that resource has {} volumes",
                found.len()
            )),
        }
    }

    /// All resources that are not ignored here.
    pub fn targets(&self) -> Vec<Target<'_>> {
        (0..self.config.resources.len())
            .filter_map(|index| self.target(index))
            .collect()
    }

    /// The resource with that index, if it is ours.
    pub fn target(&self, index: usize) -> Option<Target<'_>> {
        let me = self.binding.own(&self.config, index)?;
        Some(Target {
            index,
            resource: self.config.resources.get(index)?,
            me,
            volume: None,
        })
    }

    /// A message about a resource begins like this.
    pub fn about(resource: &Resource) -> String {
        format!(
            "{}: in resource {}",
            resource.position.absolute(),
            resource.name
        )
    }

    /// The peer's section; the error tells why it is not known.
    pub fn peer(&self, target: &Target<'_>) -> Result<&HostSection, String> {
        let others = self.binding.others(&self.config, target.index);
        let about = Self::about(target.resource);
        match (&others[..], &self.args.peer) {
            ([], _) => Err(format!("{about}: there is no section 'on <PEER> {{ ... }}'")),
            ([one], _) => Ok(one),
            (_, None) => {
                Err(format!("{about}: several host sections can be the peer's; choose one with the option --peer"))
            }
            (many, Some(wanted)) => {
                let fits = |host: &&&HostSection| {
                    host.names.contains(wanted) || host.address.as_ref().is_some_and(|a| a.host == *wanted)
                };
                let found: Vec<&&HostSection> = many.iter().filter(fits).collect();
                match found[..] {
                    [one] => Ok(one),
                    [] if target.me.names.contains(wanted) => Err(format!("{about}: --peer '{wanted}' is this host")),
                    [] => Err(format!("{about}: no host section fits --peer '{wanted}'")),
                    _ => Err(format!("{about}: several host sections fit --peer '{wanted}'")),
                }
            }
        }
    }

    /// Own and peer's endpoint. With a proxy the peer is the inside of the own proxy. An unknown peer is
    /// `N/A` in a dry run, else an error; `complain`: say why in any case.
    pub fn endpoints(
        &self,
        target: &Target<'_>,
        complain: bool,
    ) -> Result<(String, String), Failure> {
        let own = target
            .me
            .address
            .as_ref()
            .map_or_else(String::new, Address::endpoint);
        if let Some(inside) = target
            .me
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.inside.as_ref())
        {
            return Ok((own, inside.endpoint()));
        }
        match self.peer(target) {
            Ok(peer) => Ok((
                own,
                peer.address
                    .as_ref()
                    .map_or_else(|| "N/A".into(), Address::endpoint),
            )),
            Err(text) if self.args.dry_run > 0 => {
                if complain {
                    eprintln!("{text}");
                }
                Ok((own, "N/A".into()))
            }
            Err(text) => {
                let more = format!(
                    "resource {}: the network cannot be configured without a peer",
                    target.resource.name
                );
                Err(Failure::new(20, format!("{text}\n{more}")))
            }
        }
    }
}

fn main_file(args: &Args, command: &Command) -> Result<String, Failure> {
    if let Some(file) = &args.config {
        return Ok(file.clone());
    }
    if command.listed == Listed::Handler || command.name == "sh-udev" {
        if let Some(name) = args.names.first() {
            match registry::file_of(name) {
                Some(file) => return Ok(file),
                None if command.listed == Listed::Handler => {
                    eprintln!("no file is remembered for {name}; the default ones are tried");
                }
                None => {}
            }
        }
    }
    default_file().map_err(|text| Failure::new(10, text))
}

fn default_file() -> Result<String, String> {
    let found = DEFAULT_FILES
        .iter()
        .find(|file| std::fs::File::open(file).is_ok());
    found.map(|file| file.to_string()).ok_or_else(|| {
        let error = std::fs::File::open("/etc/drbd.conf")
            .err()
            .map_or_else(String::new, |e| drbd_config::loader::reason(&e));
        let text = format!("cannot open '/etc/drbd.conf': {error}");
        let hint = root_hint(&text);
        text + hint
    })
}
