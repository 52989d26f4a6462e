// SPDX-License-Identifier: GPL-2.0
//! Every subcommand: its number, operands and options (netlink-and-tools.md sections 2 and 7).

use super::options;
use drbd_core::genl::{command as number, container};

/// What an operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// A minor: number, `minor-N` or a device node.
    Minor,
    /// A resource name.
    Resource,
    /// A volume number.
    Volume,
    /// Own address.
    Local,
    /// The peer's address.
    Peer,
    /// Path of the backing device.
    Disk,
    /// Path of the metadata device.
    MetaDisk,
    /// `internal`, `flexible` or a slot.
    MetaIndex,
    /// A minor, a resource name or `all`; may be missing.
    Any,
    /// A resource name or `all`; may be missing.
    AnyResource,
}

impl Operand {
    /// Name in usage texts.
    pub const fn name(self) -> &'static str {
        match self {
            Operand::Minor => "minor",
            Operand::Resource => "resource",
            Operand::Volume => "volume",
            Operand::Local => "local_addr",
            Operand::Peer => "remote_addr",
            Operand::Disk => "lower_dev",
            Operand::MetaDisk => "meta_data_dev",
            Operand::MetaIndex => "meta_data_index",
            Operand::Any => "resource|minor|all",
            Operand::AnyResource => "resource|all",
        }
    }

    /// Whether the operand may be missing.
    pub const fn is_optional(self) -> bool {
        matches!(self, Operand::Any | Operand::AnyResource)
    }
}

/// How a subcommand works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// One request, its code is the outcome.
    Request,
    /// The same for `down`, which accepts an unknown resource.
    Down,
    /// GET_STATUS of one minor.
    Query,
    /// `sh-status`.
    ShellStatus,
    /// `show`.
    Show,
    /// `status`.
    Status,
    /// `events`.
    Events,
    /// `events2`.
    Events2,
    /// `wait-connect`, `wait-sync`.
    Wait,
}

/// A subcommand.
#[derive(Debug)]
pub struct Command {
    /// Name.
    pub name: &'static str,
    /// Netlink command.
    pub number: u8,
    /// Operands in order.
    pub operands: &'static [Operand],
    /// Container of its options, 0: none.
    pub container: u16,
    /// Names of its options, in groups.
    pub options: &'static [&'static [&'static str]],
    /// Options of the tool itself: name and whether it takes a value.
    pub own: &'static [(&'static str, bool)],
    /// More of these, which the tool of the C driver has not. They are left out of the help texts that programs read.
    pub added: &'static [(&'static str, bool)],
    /// How it works.
    pub action: Action,
}

const fn simple(name: &'static str, number: u8) -> Command {
    Command {
        name,
        number,
        operands: &[Operand::Minor],
        container: 0,
        options: &[],
        own: &[],
        added: &[],
        action: Action::Request,
    }
}

const fn with_options(
    name: &'static str,
    number: u8,
    container: u16,
    options: &'static [&'static [&'static str]],
) -> Command {
    Command {
        container,
        options,
        ..simple(name, number)
    }
}

const fn query(name: &'static str) -> Command {
    Command {
        action: Action::Query,
        ..simple(name, number::GET_STATUS)
    }
}

const JSON: &[(&str, bool)] = &[("json", false)];
const DEFAULTS: &[(&str, bool)] = &[("set-defaults", false)];
const WAITS: &[(&str, bool)] = &[
    ("wfc-timeout", true),
    ("degr-wfc-timeout", true),
    ("outdated-wfc-timeout", true),
    ("wait-after-sb", true),
];

/// All of them, in the order of the help text.
pub const COMMANDS: &[Command] = &[
    with_options(
        "primary",
        number::PRIMARY,
        container::SET_ROLE_PARMS,
        &[&["force"]],
    ),
    simple("secondary", number::SECONDARY),
    Command {
        operands: &[
            Operand::Minor,
            Operand::Disk,
            Operand::MetaDisk,
            Operand::MetaIndex,
        ],
        ..with_options(
            "attach",
            number::ATTACH,
            container::DISK_CONF,
            &[options::DISK_ATTACH, options::DISK],
        )
    },
    Command {
        own: DEFAULTS,
        ..with_options(
            "disk-options",
            number::CHG_DISK_OPTS,
            container::DISK_CONF,
            &[options::DISK],
        )
    },
    with_options(
        "detach",
        number::DETACH,
        container::DETACH_PARMS,
        &[&["force"]],
    ),
    Command {
        operands: &[Operand::Resource, Operand::Local, Operand::Peer],
        ..with_options(
            "connect",
            number::CONNECT,
            container::NET_CONF,
            &[options::CONNECT_ONCE, options::NET],
        )
    },
    Command {
        operands: &[Operand::Local, Operand::Peer],
        own: DEFAULTS,
        ..with_options(
            "net-options",
            number::CHG_NET_OPTS,
            container::NET_CONF,
            &[options::NET],
        )
    },
    Command {
        operands: &[Operand::Local, Operand::Peer],
        ..with_options(
            "disconnect",
            number::DISCONNECT,
            container::DISCONNECT_PARMS,
            &[&["force"]],
        )
    },
    with_options(
        "resize",
        number::RESIZE,
        container::RESIZE_PARMS,
        &[options::RESIZE],
    ),
    Command {
        operands: &[Operand::Resource],
        own: DEFAULTS,
        ..with_options(
            "resource-options",
            number::RESOURCE_OPTS,
            container::RESOURCE_OPTS,
            &[options::RESOURCE],
        )
    },
    with_options(
        "new-current-uuid",
        number::NEW_C_UUID,
        container::NEW_C_UUID_PARMS,
        &[&["clear-bitmap"]],
    ),
    simple("invalidate", number::INVALIDATE),
    simple("invalidate-remote", number::INVAL_PEER),
    simple("pause-sync", number::PAUSE_SYNC),
    simple("resume-sync", number::RESUME_SYNC),
    simple("suspend-io", number::SUSPEND_IO),
    simple("resume-io", number::RESUME_IO),
    simple("outdate", number::OUTDATE),
    with_options(
        "verify",
        number::START_OV,
        container::START_OV_PARMS,
        &[&["start", "stop"]],
    ),
    Command {
        operands: &[Operand::Resource],
        action: Action::Down,
        ..simple("down", number::DOWN)
    },
    query("state"),
    query("role"),
    Command {
        operands: &[Operand::Any],
        action: Action::ShellStatus,
        ..query("sh-status")
    },
    query("cstate"),
    query("dstate"),
    query("show-gi"),
    query("get-gi"),
    Command {
        operands: &[Operand::Any],
        own: &[("show-defaults", false)],
        added: JSON,
        action: Action::Show,
        ..simple("show", number::GET_STATUS)
    },
    Command {
        operands: &[Operand::AnyResource],
        own: &[("verbose", false), ("statistics", false), ("color", true)],
        added: JSON,
        action: Action::Status,
        ..simple("status", number::GET_RESOURCES)
    },
    query("check-resize"),
    Command {
        operands: &[Operand::Any],
        action: Action::Events,
        ..simple("events", number::GET_STATUS)
    },
    Command {
        operands: &[Operand::AnyResource],
        own: &[("timestamps", false), ("statistics", false), ("now", false)],
        added: JSON,
        action: Action::Events2,
        ..simple("events2", number::GET_INITIAL_STATE)
    },
    Command {
        own: WAITS,
        action: Action::Wait,
        ..simple("wait-connect", number::GET_TIMEOUT_TYPE)
    },
    Command {
        own: WAITS,
        action: Action::Wait,
        ..simple("wait-sync", number::GET_TIMEOUT_TYPE)
    },
    Command {
        operands: &[Operand::Resource],
        ..with_options(
            "new-resource",
            number::NEW_RESOURCE,
            container::RESOURCE_OPTS,
            &[options::RESOURCE],
        )
    },
    Command {
        operands: &[Operand::Resource, Operand::Minor, Operand::Volume],
        ..simple("new-minor", number::NEW_MINOR)
    },
    simple("del-minor", number::DEL_MINOR),
    Command {
        operands: &[Operand::Resource],
        ..simple("del-resource", number::DEL_RESOURCE)
    },
];

impl Command {
    /// Options of the tool itself.
    pub fn own_options(&self) -> impl Iterator<Item = &'static (&'static str, bool)> {
        self.own.iter().chain(self.added)
    }
}
