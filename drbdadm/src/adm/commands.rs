// SPDX-License-Identifier: GPL-2.0
//! Every command of drbdadm: what it works on, what it may be given, how long it may take (config-and-cli.md section 9).

use drbd_core::genl::attributes::{of_container, Kind};
use drbd_core::genl::container;

/// Where a command is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listed {
    /// In the usage text.
    Usage,
    /// In `hidden-commands`, for scripts.
    Shell,
    /// In `hidden-commands`, called by the kernel.
    Handler,
    /// In `hidden-commands`, for experts.
    Expert,
    /// In the usage text that a person sees; the one in a pipe has what drbdadm of the C driver has.
    View,
    /// Nowhere.
    Nowhere,
}

/// What a command works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The whole configuration; names are ignored.
    Nothing,
    /// Resources, never single volumes.
    Resource,
    /// Resources, with a volume it may be handed one too.
    Either,
    /// Each volume of what is named.
    Volumes,
    /// Exactly one volume.
    OneVolume,
}

/// How long the backend may take (section 4, global).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// cmd-timeout-short.
    Short,
    /// cmd-timeout-medium.
    Medium,
    /// cmd-timeout-long.
    Long,
    /// For ever.
    Never,
}

/// Which long options it takes besides the general ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Options {
    /// None.
    None,
    /// Those of a netlink container, in the order of a list when there is one.
    Container(u16),
    /// Any that some command knows.
    Any,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Name.
    pub name: &'static str,
    /// Where it is listed.
    pub listed: Listed,
    /// What it works on.
    pub scope: Scope,
    /// Time limit of its backend calls.
    pub limit: Limit,
    /// Its options.
    pub options: Options,
    /// Own addresses have to exist on this machine.
    pub verifies_address: bool,
    /// Without names it means all.
    pub all_by_default: bool,
    /// Options that drbdadm of the C driver has not, and whether they need a value.
    pub added: &'static [(&'static str, bool)],
}

const fn new(name: &'static str, listed: Listed, scope: Scope, limit: Limit) -> Command {
    Command {
        name,
        listed,
        scope,
        limit,
        options: Options::None,
        verifies_address: false,
        all_by_default: false,
        added: &[],
    }
}

/// Prints JSON.
const JSON: &[(&str, bool)] = &[("json", false)];

/// Options of connect that no file has, and whether they need a value.
const CONNECT_ONLY: &[(&str, bool)] = &[
    ("tentative", false),
    ("discard-my-data", false),
    ("alternate-address", true),
    ("alternate-peer-address", true),
];

impl Command {
    const fn takes(mut self, container: u16) -> Self {
        self.options = Options::Container(container);
        self
    }

    const fn takes_any(mut self) -> Self {
        self.options = Options::Any;
        self
    }

    const fn checked(mut self) -> Self {
        self.verifies_address = true;
        self
    }

    const fn or_all(mut self) -> Self {
        self.all_by_default = true;
        self
    }

    const fn adds(mut self, added: &'static [(&'static str, bool)]) -> Self {
        self.added = added;
        self
    }

    /// The options it takes, in the order of help texts, and whether they need a value.
    pub fn known_options(&self) -> Vec<(&'static str, bool)> {
        let Options::Container(number) = self.options else {
            return Vec::new();
        };
        let specs = of_container(number);
        let order: &[&str] = match number {
            container::DISK_CONF => drbd_config::options::DISK_ORDER,
            container::NET_CONF => drbd_config::options::NET_ORDER,
            _ => &[],
        };
        let rank = |name: &str| {
            order
                .iter()
                .position(|known| *known == name)
                .unwrap_or(order.len())
        };
        let mut found: Vec<(&'static str, bool)> = specs
            .iter()
            .filter(|spec| !spec.option.is_empty() && !self.refuses(spec.option))
            .map(|spec| (spec.option, spec.kind != Kind::Flag))
            .collect();
        found.sort_by_key(|(name, _)| rank(name));
        if self.name == "connect" {
            found.retain(|(name, _)| !CONNECT_ONLY.iter().any(|(own, _)| own == name));
            found.splice(0..0, CONNECT_ONLY.iter().copied());
        }
        found
    }

    fn refuses(&self, option: &str) -> bool {
        let connect_only = ["discard-my-data", "tentative"].contains(&option);
        let attach_only = ["size", "max-bio-bvecs"].contains(&option);
        (connect_only && self.name != "connect") || (attach_only && self.name != "attach")
    }
}

use Limit::{Long, Medium, Never, Short};
use Listed::{Expert, Handler, Nowhere, Shell, Usage, View};
use Scope::{Either, Nothing, OneVolume, Resource, Volumes};

/// All commands, every group in the order of its list.
pub const COMMANDS: &[Command] = &[
    new("attach", Usage, Volumes, Medium).takes(container::DISK_CONF),
    new("status", Usage, Resource, Short).or_all().adds(JSON),
    new("disk-options", Usage, Volumes, Medium).takes(container::DISK_CONF),
    new("detach", Usage, Volumes, Medium).takes(container::DETACH_PARMS),
    new("connect", Usage, Resource, Short)
        .takes(container::NET_CONF)
        .checked(),
    new("net-options", Usage, Resource, Short)
        .takes(container::NET_CONF)
        .checked(),
    new("disconnect", Usage, Resource, Short).takes(container::DISCONNECT_PARMS),
    new("up", Usage, Either, Medium).checked(),
    new("resource-options", Usage, Resource, Short).takes(container::RESOURCE_OPTS),
    new("down", Usage, Resource, Medium),
    new("primary", Usage, Volumes, Medium).takes(container::SET_ROLE_PARMS),
    new("secondary", Usage, Volumes, Medium),
    new("invalidate", Usage, Volumes, Short),
    new("invalidate-remote", Usage, Volumes, Medium).checked(),
    new("outdate", Usage, Volumes, Short),
    new("resize", Usage, Volumes, Short).checked(),
    new("verify", Usage, Volumes, Short).checked(),
    new("pause-sync", Usage, Volumes, Short).checked(),
    new("resume-sync", Usage, Volumes, Short).checked(),
    new("adjust", Usage, Resource, Medium).checked(),
    new("adjust-with-progress", Usage, Resource, Medium).checked(),
    new("wait-connect", Usage, Volumes, Never).checked(),
    new("wait-con-int", Usage, Nothing, Never).checked(),
    new("role", Usage, Volumes, Short),
    new("cstate", Usage, Volumes, Short),
    new("dstate", Usage, Volumes, Short),
    new("dump", Usage, Resource, Short)
        .or_all()
        .checked()
        .adds(JSON),
    new("dump-xml", Usage, Resource, Short).or_all().checked(),
    new("create-md", Usage, Volumes, Long).takes_any(),
    new("show-gi", Usage, Volumes, Short),
    new("get-gi", Usage, Volumes, Short),
    new("dump-md", Usage, Volumes, Long).adds(JSON),
    new("wipe-md", Usage, Volumes, Long),
    new("apply-al", Usage, Volumes, Long),
    new("hidden-commands", Usage, Nothing, Short),
    new("why", View, Resource, Short).or_all().adds(JSON),
    new("overview", View, Nothing, Short).adds(&[("color", true)]),
    new("top", View, Resource, Never)
        .or_all()
        .adds(&[("once", false), ("interval", true)]),
    new("exporter", View, Nothing, Never).adds(&[("once", false), ("listen", true)]),
    new("sh-nop", Shell, Nothing, Short),
    new("sh-resources", Shell, Nothing, Short),
    new("sh-resource", Shell, Resource, Short),
    new("sh-mod-parms", Shell, Nothing, Short),
    new("sh-dev", Shell, Volumes, Short),
    new("sh-udev", Shell, OneVolume, Short),
    new("sh-minor", Shell, Volumes, Short),
    new("sh-ll-dev", Shell, Volumes, Short),
    new("sh-md-dev", Shell, Volumes, Short),
    new("sh-md-idx", Shell, Volumes, Short),
    new("sh-ip", Shell, Volumes, Short),
    new("sh-lr-of", Shell, Resource, Short),
    new("sh-b-pri", Shell, Volumes, Medium),
    new("sh-status", Shell, Nothing, Short),
    new("proxy-up", Shell, Resource, Short),
    new("proxy-down", Shell, Resource, Short),
    new("new-resource", Shell, Resource, Short),
    new("before-resync-target", Handler, OneVolume, Long),
    new("after-resync-target", Handler, OneVolume, Long),
    new("before-resync-source", Handler, OneVolume, Long),
    new("pri-on-incon-degr", Handler, OneVolume, Long),
    new("pri-lost-after-sb", Handler, OneVolume, Long),
    new("fence-peer", Handler, Either, Long),
    new("unfence-peer", Handler, Either, Long),
    new("local-io-error", Handler, OneVolume, Long),
    new("pri-lost", Handler, OneVolume, Long),
    new("initial-split-brain", Handler, OneVolume, Long),
    new("split-brain", Handler, OneVolume, Long),
    new("out-of-sync", Handler, OneVolume, Long),
    new("sh-new-minor", Expert, Volumes, Short),
    new("new-minor", Expert, Volumes, Short),
    new("suspend-io", Expert, Volumes, Short),
    new("resume-io", Expert, Volumes, Short),
    new("set-gi", Expert, OneVolume, Long),
    new("new-current-uuid", Expert, OneVolume, Short).takes(container::NEW_C_UUID_PARMS),
    new("check-resize", Expert, Volumes, Short),
    new("help", Nowhere, Nothing, Short),
    new("waits", Nowhere, Resource, Short).or_all(),
];

/// Old names with the present one.
pub const RENAMED: &[(&str, &str)] = &[("state", "role"), ("outdate-peer", "fence-peer")];

/// The command with that name; old names lead to the present command.
pub fn find(name: &str) -> Option<&'static Command> {
    let name = RENAMED
        .iter()
        .find(|(old, _)| *old == name)
        .map_or(name, |(_, new)| new);
    COMMANDS.iter().find(|command| command.name == name)
}

/// Some command knows this option.
pub fn is_known_option(name: &str) -> bool {
    let others = [
        "assume-clean",
        "assume-peer-has-space",
        "start",
        "stop",
        "al-stripes",
        "al-stripe-size-kB",
    ];
    others.contains(&name)
        || COMMANDS
            .iter()
            .flat_map(Command::known_options)
            .any(|(known, _)| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_old_names_lead_to_present_ones() {
        for (index, command) in COMMANDS.iter().enumerate() {
            assert!(
                COMMANDS[index + 1..]
                    .iter()
                    .all(|other| other.name != command.name),
                "{}",
                command.name
            );
        }
        for (old, new) in RENAMED {
            assert_eq!(find(old).map(|c| c.name), Some(*new));
        }
    }

    #[test]
    fn connect_only_options_are_refused_elsewhere() {
        let has = |command: &str, option: &str| {
            find(command).is_some_and(|c| c.known_options().iter().any(|(name, _)| *name == option))
        };
        assert!(has("connect", "discard-my-data") && !has("net-options", "discard-my-data"));
        assert!(has("attach", "size") && !has("disk-options", "size"));
    }
}
