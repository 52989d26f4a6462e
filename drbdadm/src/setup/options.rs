// SPDX-License-Identifier: GPL-2.0
//! Which options a subcommand takes, in the order of the help text and of `show`.

use super::commands::Command;
use drbd_core::genl::attributes::{Kind, Spec, Unit};
use netlink_api::build::spec_of;

/// Options of `connect` that are no lasting setting.
pub const CONNECT_ONCE: &[&str] = &[
    "tentative",
    "discard-my-data",
    "alternate-address",
    "alternate-peer-address",
];
/// Options of a `net` section.
pub const NET: &[&str] = &[
    "protocol",
    "timeout",
    "max-epoch-size",
    "max-buffers",
    "unplug-watermark",
    "connect-int",
    "ping-int",
    "sndbuf-size",
    "rcvbuf-size",
    "ko-count",
    "allow-two-primaries",
    "cram-hmac-alg",
    "shared-secret",
    "after-sb-0pri",
    "after-sb-1pri",
    "after-sb-2pri",
    "always-asbp",
    "rr-conflict",
    "ping-timeout",
    "data-integrity-alg",
    "tcp-cork",
    "on-congestion",
    "congestion-fill",
    "congestion-extents",
    "csums-alg",
    "csums-after-crash-only",
    "verify-alg",
    "use-rle",
    "socket-check-timeout",
];
/// Options of a `disk` section that only `attach` can set.
pub const DISK_ATTACH: &[&str] = &["size", "max-bio-bvecs"];
/// Options of a `disk` section.
pub const DISK: &[&str] = &[
    "on-io-error",
    "fencing",
    "disk-barrier",
    "disk-flushes",
    "disk-drain",
    "md-flushes",
    "resync-rate",
    "resync-after",
    "al-extents",
    "al-updates",
    "discard-zeroes-if-aligned",
    "disable-write-same",
    "c-plan-ahead",
    "c-delay-target",
    "c-fill-target",
    "c-max-rate",
    "c-min-rate",
    "disk-timeout",
    "read-balancing",
    "rs-discard-granularity",
];
/// Options of an `options` section.
pub const RESOURCE: &[&str] = &["cpu-mask", "on-no-data-accessible"];
/// Options of `resize`.
pub const RESIZE: &[&str] = &[
    "size",
    "assume-peer-has-space",
    "assume-clean",
    "al-stripes",
    "al-stripe-size-kB",
];

/// A second address pair, which the tools know and kernels of 8.4 refuse.
static ALTERNATE: [Spec; 2] = [
    alternate(35, "alternate-address"),
    alternate(36, "alternate-peer-address"),
];

const fn alternate(number: u16, option: &'static str) -> Spec {
    Spec {
        number,
        option,
        kind: Kind::Binary(128),
        unit: Unit::One,
        default: 0,
        least: 0,
        most: 0,
        marked: false,
    }
}

/// The attributes of a subcommand's options, in order.
pub fn of_command(command: &Command) -> impl Iterator<Item = &'static Spec> + '_ {
    command
        .options
        .iter()
        .flat_map(|group| group.iter())
        .filter_map(|name| attribute(command.container, name))
}

/// The attribute of one option.
fn attribute(container: u16, name: &str) -> Option<&'static Spec> {
    spec_of(container, name).or_else(|| ALTERNATE.iter().find(|spec| spec.option == name))
}

/// Names of all options of a subcommand, its own first.
pub fn names(command: &Command) -> Vec<&'static str> {
    let own = command.own_options().map(|(name, _)| *name);
    own.chain(of_command(command).map(|spec| spec.option))
        .collect()
}

/// The present name of an option that has an older one.
pub fn canonical(command: &str, name: &str) -> Option<&'static str> {
    match (command, name) {
        ("primary", "overwrite-data-of-peer") => Some("force"),
        ("connect", "dry-run") => Some("tentative"),
        _ => None,
    }
}

/// What a number of this option counts, as `show` remarks; empty for a plain number.
pub fn unit_name(spec: &Spec) -> &'static str {
    match spec.unit {
        _ if matches!(
            spec.option,
            "rs-discard-granularity" | "socket-check-timeout"
        ) =>
        {
            ""
        }
        Unit::Sectors | Unit::Bytes => "bytes",
        Unit::KibPerSecond => "bytes/second",
        Unit::Deciseconds => "1/10 seconds",
        Unit::Seconds => "seconds",
        Unit::One | Unit::Kib => "",
    }
}

/// The suffix of a number in the option's own unit; `None` for a plain number.
pub fn unit_suffix(spec: &Spec) -> Option<&'static str> {
    match spec.unit {
        Unit::Sectors => Some("s"),
        Unit::Kib | Unit::KibPerSecond => Some("k"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::COMMANDS;
    use super::*;
    use drbd_core::genl::attributes::of_container;

    #[test]
    fn every_option_of_every_command_has_an_attribute() {
        for command in COMMANDS {
            let listed = command
                .options
                .iter()
                .map(|group| group.len())
                .sum::<usize>();
            assert_eq!(of_command(command).count(), listed, "{}", command.name);
        }
    }

    #[test]
    fn no_option_of_a_container_is_forgotten() {
        for name in [
            "attach",
            "connect",
            "resize",
            "resource-options",
            "verify",
            "primary",
        ] {
            let command = COMMANDS.iter().find(|c| c.name == name).expect("known");
            let known = names(command);
            for spec in of_container(command.container)
                .iter()
                .filter(|s| !s.option.is_empty())
            {
                assert!(known.contains(&spec.option), "{name}: {}", spec.option);
            }
        }
    }
}
