// SPDX-License-Identifier: GPL-2.0
//! Every subcommand: its number, operands and options (netlink-and-tools.md sections 2 and 7).

use drbd_core::genl::attributes::{of_container, Kind};
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
            Operand::Any => "minor|resource|all",
        }
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
    /// Options of the tool itself: name and whether it takes a value.
    pub own: &'static [(&'static str, bool)],
    /// How it works.
    pub action: Action,
}

impl Command {
    /// The usage text.
    pub fn usage(&self) -> String {
        let mut text = format!("USAGE:\n drbdsetup {}", self.name);
        for operand in self.operands {
            let (left, right) = if *operand == Operand::Any { ("[{", "}]") } else { ("{", "}") };
            text.push_str(&format!(" {left}{}{right}", operand.name()));
        }
        for spec in of_container(self.container).iter().filter(|s| !s.option.is_empty()) {
            let values = match spec.kind {
                Kind::Flag => "{yes|no}".to_string(),
                Kind::Enum(words) => {
                    let words: Vec<&str> = words.iter().map(|(_, w)| *w).collect();
                    format!("{{{}}}", words.join("|"))
                }
                Kind::Text(_) | Kind::Binary(_) => "<str>".into(),
                _ => format!("({} ... {})", spec.least, spec.most),
            };
            text.push_str(&format!("\n    [--{}={values}]", spec.option));
        }
        for (name, value) in self.own {
            text.push_str(&format!("\n    [--{name}{}]", if *value { "=<value>" } else { "" }));
        }
        text
    }
}

const fn simple(name: &'static str, number: u8, container: u16) -> Command {
    Command {
        name,
        number,
        operands: &[Operand::Minor],
        container,
        own: &[],
        action: Action::Request,
    }
}

const fn query(name: &'static str) -> Command {
    Command {
        action: Action::Query,
        ..simple(name, number::GET_STATUS, 0)
    }
}

const DEFAULTS: &[(&str, bool)] = &[("set-defaults", false)];
const WAITS: &[(&str, bool)] = &[
    ("wfc-timeout", true),
    ("degr-wfc-timeout", true),
    ("outdated-wfc-timeout", true),
    ("wait-after-sb", true),
];

/// All of them, in the order of the help text.
pub const COMMANDS: &[Command] = &[
    simple("primary", number::PRIMARY, container::SET_ROLE_PARMS),
    simple("secondary", number::SECONDARY, 0),
    Command {
        operands: &[Operand::Minor, Operand::Disk, Operand::MetaDisk, Operand::MetaIndex],
        ..simple("attach", number::ATTACH, container::DISK_CONF)
    },
    Command {
        own: DEFAULTS,
        ..simple("disk-options", number::CHG_DISK_OPTS, container::DISK_CONF)
    },
    simple("detach", number::DETACH, container::DETACH_PARMS),
    Command {
        operands: &[Operand::Resource, Operand::Local, Operand::Peer],
        ..simple("connect", number::CONNECT, container::NET_CONF)
    },
    Command {
        operands: &[Operand::Local, Operand::Peer],
        own: DEFAULTS,
        ..simple("net-options", number::CHG_NET_OPTS, container::NET_CONF)
    },
    Command {
        operands: &[Operand::Local, Operand::Peer],
        ..simple("disconnect", number::DISCONNECT, container::DISCONNECT_PARMS)
    },
    simple("resize", number::RESIZE, container::RESIZE_PARMS),
    Command {
        operands: &[Operand::Resource],
        own: DEFAULTS,
        ..simple("resource-options", number::RESOURCE_OPTS, container::RESOURCE_OPTS)
    },
    simple("new-current-uuid", number::NEW_C_UUID, container::NEW_C_UUID_PARMS),
    simple("invalidate", number::INVALIDATE, 0),
    simple("invalidate-remote", number::INVAL_PEER, 0),
    simple("pause-sync", number::PAUSE_SYNC, 0),
    simple("resume-sync", number::RESUME_SYNC, 0),
    simple("suspend-io", number::SUSPEND_IO, 0),
    simple("resume-io", number::RESUME_IO, 0),
    simple("outdate", number::OUTDATE, 0),
    simple("verify", number::START_OV, container::START_OV_PARMS),
    Command {
        operands: &[Operand::Resource],
        action: Action::Down,
        ..simple("down", number::DOWN, 0)
    },
    query("state"),
    query("role"),
    Command {
        operands: &[Operand::Any],
        ..query("sh-status")
    },
    query("cstate"),
    query("dstate"),
    query("show-gi"),
    query("get-gi"),
    Command {
        operands: &[Operand::Any],
        own: &[("show-defaults", false)],
        action: Action::Show,
        ..simple("show", number::GET_STATUS, 0)
    },
    Command {
        operands: &[Operand::Any],
        own: &[("verbose", false), ("statistics", false), ("color", true)],
        action: Action::Status,
        ..simple("status", number::GET_RESOURCES, 0)
    },
    query("check-resize"),
    Command {
        operands: &[Operand::Any],
        action: Action::Events,
        ..simple("events", number::GET_STATUS, 0)
    },
    Command {
        operands: &[Operand::Any],
        own: &[("now", false), ("statistics", false), ("timestamps", false)],
        action: Action::Events2,
        ..simple("events2", number::GET_INITIAL_STATE, 0)
    },
    Command {
        own: WAITS,
        action: Action::Wait,
        ..simple("wait-connect", number::GET_TIMEOUT_TYPE, 0)
    },
    Command {
        own: WAITS,
        action: Action::Wait,
        ..simple("wait-sync", number::GET_TIMEOUT_TYPE, 0)
    },
    Command {
        operands: &[Operand::Resource],
        ..simple("new-resource", number::NEW_RESOURCE, container::RESOURCE_OPTS)
    },
    Command {
        operands: &[Operand::Resource, Operand::Minor, Operand::Volume],
        ..simple("new-minor", number::NEW_MINOR, 0)
    },
    simple("del-minor", number::DEL_MINOR, 0),
    Command {
        operands: &[Operand::Resource],
        ..simple("del-resource", number::DEL_RESOURCE, 0)
    },
];
