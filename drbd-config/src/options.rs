// SPDX-License-Identifier: GPL-2.0
//! Which options exist, where, and what values they take (config-and-cli.md section 4). Names, units, ranges and defaults of
//! the options the kernel knows come from the tables of drbd-core.

use drbd_core::genl::attributes::{Kind, Spec, Unit, DISK_CONF, NET_CONF, RESOURCE_OPTS};

/// A section with options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `net { }`.
    Net,
    /// `disk { }`.
    Disk,
    /// `options { }`.
    Options,
    /// `startup { }`.
    Startup,
    /// `handlers { }`.
    Handlers,
    /// `proxy { }` and `options { }` of a proxy host section.
    Proxy,
    /// `global { }`.
    Global,
}

impl Place {
    /// The keyword.
    pub const fn name(self) -> &'static str {
        match self {
            Place::Net => "net",
            Place::Disk => "disk",
            Place::Options => "options",
            Place::Startup => "startup",
            Place::Handlers => "handlers",
            Place::Proxy => "proxy",
            Place::Global => "global",
        }
    }
}

/// What may stand behind an option's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word or quoted text.
    Text,
    /// `yes`, `no`, or nothing for yes.
    Bool,
    /// A number. `checked`: the parser refuses values outside of the range.
    Number {
        /// Unit.
        unit: Unit,
        /// Least.
        least: u64,
        /// Greatest.
        most: u64,
        /// The range is enforced here.
        checked: bool,
    },
    /// `A`, `B` or `C`, in any case.
    Protocol,
    /// Nothing.
    Flag,
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// Name as dumped and handed on.
    pub name: &'static str,
    /// Value.
    pub value: Value,
}

/// Order of the disk options in help texts.
pub const DISK_ORDER: &[&str] = &[
    "size",
    "max-bio-bvecs",
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

/// Order of the net options in help texts.
pub const NET_ORDER: &[&str] = &[
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

/// Names of the handlers.
pub const HANDLERS: &[&str] = &[
    "before-resync-target",
    "after-resync-target",
    "before-resync-source",
    "pri-on-incon-degr",
    "pri-lost-after-sb",
    "fence-peer",
    "unfence-peer",
    "local-io-error",
    "pri-lost",
    "initial-split-brain",
    "split-brain",
    "out-of-sync",
];

const PROXY: &[&str] = &[
    "memlimit",
    "read-loops",
    "compression",
    "bwlimit",
    "sndbuf-size",
    "rcvbuf-size",
    "ping-timeout",
];

/// Options of the kernel whose range is enforced while parsing; the others are left to drbdsetup.
const CHECKED: &[&str] = &[
    "timeout",
    "max-epoch-size",
    "max-buffers",
    "connect-int",
    "ping-int",
    "sndbuf-size",
    "rcvbuf-size",
    "ko-count",
    "congestion-fill",
    "congestion-extents",
    "size",
    "resync-rate",
    "c-plan-ahead",
    "c-delay-target",
    "c-fill-target",
    "c-max-rate",
    "c-min-rate",
];

/// Options of connect only, never in a file.
const NOT_IN_FILES: &[&str] = &["", "discard-my-data", "tentative"];

/// Words that are read with their value and forgotten.
pub const FORGOTTEN: &[&str] = &[
    "delay-probe-volume",
    "delay-probe-interval",
    "throttle-threshold",
    "hold-off-threshold",
];

/// Old names in their section, the present name, and a fixed value for the negations.
pub const RENAMED: &[(Place, &str, &str, Option<&str>)] = &[
    (Place::Disk, "rate", "resync-rate", None),
    (Place::Disk, "after", "resync-after", None),
    (Place::Disk, "no-disk-barrier", "disk-barrier", Some("no")),
    (Place::Disk, "no-disk-flushes", "disk-flushes", Some("no")),
    (Place::Disk, "no-disk-drain", "disk-drain", Some("no")),
    (Place::Disk, "no-md-flushes", "md-flushes", Some("no")),
    (Place::Net, "no-tcp-cork", "tcp-cork", Some("no")),
    (Place::Handlers, "outdate-peer", "fence-peer", None),
];

/// Options of the 8.3 `syncer` section and where they live now.
pub const SYNCER: &[(&str, Place, &str)] = &[
    ("rate", Place::Disk, "resync-rate"),
    ("after", Place::Disk, "resync-after"),
    ("al-extents", Place::Disk, "al-extents"),
    ("c-plan-ahead", Place::Disk, "c-plan-ahead"),
    ("c-delay-target", Place::Disk, "c-delay-target"),
    ("c-fill-target", Place::Disk, "c-fill-target"),
    ("c-max-rate", Place::Disk, "c-max-rate"),
    ("c-min-rate", Place::Disk, "c-min-rate"),
    ("verify-alg", Place::Net, "verify-alg"),
    ("csums-alg", Place::Net, "csums-alg"),
    ("use-rle", Place::Net, "use-rle"),
    ("cpu-mask", Place::Options, "cpu-mask"),
    (
        "on-no-data-accessible",
        Place::Options,
        "on-no-data-accessible",
    ),
];

const fn seconds(most: u64, least: u64) -> Value {
    Value::Number {
        unit: Unit::One,
        least,
        most,
        checked: true,
    }
}

const GLOBAL: &[OptionSpec] = &[
    OptionSpec {
        name: "disable-ip-verification",
        value: Value::Flag,
    },
    OptionSpec {
        name: "minor-count",
        value: seconds(255, 1),
    },
    OptionSpec {
        name: "dialog-refresh",
        value: seconds(600, 0),
    },
    OptionSpec {
        name: "usage-count",
        value: Value::Text,
    },
    OptionSpec {
        name: "udev-always-use-vnr",
        value: Value::Flag,
    },
    OptionSpec {
        name: "cmd-timeout-short",
        value: seconds(900, 0),
    },
    OptionSpec {
        name: "cmd-timeout-medium",
        value: seconds(900, 0),
    },
    OptionSpec {
        name: "cmd-timeout-long",
        value: seconds(900, 0),
    },
];

const STARTUP: &[OptionSpec] = &[
    OptionSpec {
        name: "wfc-timeout",
        value: seconds(300_000, 0),
    },
    OptionSpec {
        name: "degr-wfc-timeout",
        value: seconds(300_000, 0),
    },
    OptionSpec {
        name: "outdated-wfc-timeout",
        value: seconds(300_000, 0),
    },
    OptionSpec {
        name: "wait-after-sb",
        value: Value::Bool,
    },
];

/// Words of `startup` that are no options for the backend.
pub const STARTUP_OWN: &[&str] = &["become-primary-on", "stacked-timeouts"];

/// The specification drbd-core has for an option of net, disk or options.
pub fn core_spec(place: Place, name: &str) -> Option<&'static Spec> {
    let table: &'static [Spec] = match place {
        Place::Net => NET_CONF,
        Place::Disk => DISK_CONF,
        Place::Options => RESOURCE_OPTS,
        _ => return None,
    };
    table
        .iter()
        .find(|spec| spec.option == name && !name.is_empty())
}

fn from_core(spec: &'static Spec) -> OptionSpec {
    let checked = CHECKED.contains(&spec.option);
    let value = match spec.kind {
        _ if spec.option == "protocol" => Value::Protocol,
        Kind::Flag => Value::Bool,
        _ if spec.option == "resync-after" => Value::Text,
        Kind::U32 | Kind::S32 | Kind::U64 => Value::Number {
            unit: spec.unit,
            least: u64::try_from(spec.least).unwrap_or(0),
            most: u64::try_from(spec.most).unwrap_or(u64::MAX),
            checked,
        },
        Kind::Enum(_) | Kind::Text(_) | Kind::Binary(_) => Value::Text,
    };
    OptionSpec {
        name: spec.option,
        value,
    }
}

/// All options of a section.
pub fn all(place: Place) -> Vec<OptionSpec> {
    let text = |name: &&'static str| OptionSpec {
        name,
        value: Value::Text,
    };
    let core = |table: &'static [Spec]| -> Vec<OptionSpec> {
        table
            .iter()
            .filter(|spec| !NOT_IN_FILES.contains(&spec.option))
            .map(from_core)
            .collect()
    };
    match place {
        Place::Net => core(NET_CONF),
        Place::Disk => {
            let mut found = core(DISK_CONF);
            found.push(OptionSpec {
                name: "use-bmbv",
                value: Value::Bool,
            });
            found
        }
        Place::Options => core(RESOURCE_OPTS),
        Place::Startup => STARTUP.to_vec(),
        Place::Handlers => HANDLERS.iter().map(text).collect(),
        Place::Proxy => PROXY.iter().map(text).collect(),
        Place::Global => GLOBAL.to_vec(),
    }
}

/// The option of that present name.
pub fn find(place: Place, name: &str) -> Option<OptionSpec> {
    all(place).into_iter().find(|spec| spec.name == name)
}

/// Two values of an option mean the same: numbers after conversion, booleans by meaning, protocol in any case.
pub fn same_value(place: Place, name: &str, a: &str, b: &str) -> bool {
    match find(place, name).map(|spec| spec.value) {
        Some(Value::Number { unit, .. }) => {
            match (crate::number::parse(a, unit), crate::number::parse(b, unit)) {
                (Some(a), Some(b)) => a == b,
                _ => a == b,
            }
        }
        Some(Value::Bool) => is_yes(a) == is_yes(b),
        Some(Value::Protocol) => a.eq_ignore_ascii_case(b),
        _ => a == b,
    }
}

/// The value is what the option has when nothing is written.
pub fn is_default(place: Place, name: &str, value: &str) -> bool {
    let Some(spec) = core_spec(place, name) else {
        return false;
    };
    match spec.kind {
        Kind::Flag => is_yes(value) == (spec.default != 0),
        Kind::Enum(words) => {
            let default = words
                .iter()
                .find(|(number, _)| u64::from(*number) == spec.default);
            default.is_some_and(|(_, word)| word.eq_ignore_ascii_case(value))
        }
        Kind::S32 => value
            .parse::<i64>()
            .is_ok_and(|number| number as u64 == spec.default),
        Kind::U32 | Kind::U64 => crate::number::parse(value, spec.unit) == Some(spec.default),
        Kind::Text(_) | Kind::Binary(_) => value.is_empty(),
    }
}

fn is_yes(text: &str) -> bool {
    text != "no"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ordered_name_is_an_option() {
        for name in DISK_ORDER {
            assert!(find(Place::Disk, name).is_some(), "{name}");
        }
        for name in NET_ORDER {
            assert!(find(Place::Net, name).is_some(), "{name}");
        }
        for name in CHECKED {
            let found = find(Place::Net, name)
                .or(find(Place::Disk, name))
                .expect(name);
            assert!(
                matches!(found.value, Value::Number { checked: true, .. }),
                "{name}"
            );
        }
    }

    #[test]
    fn values_are_compared_by_meaning() {
        assert!(same_value(Place::Disk, "resync-rate", "5M", "5120k"));
        assert!(same_value(Place::Net, "protocol", "c", "C"));
        assert!(!same_value(Place::Net, "timeout", "50", "60"));
        assert!(is_default(Place::Net, "protocol", "C"));
        assert!(is_default(Place::Disk, "resync-rate", "250k"));
        assert!(is_default(Place::Net, "tcp-cork", "yes"));
        assert!(!is_default(Place::Net, "cram-hmac-alg", "sha1"));
    }
}
