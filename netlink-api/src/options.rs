// SPDX-License-Identifier: GPL-2.0
//! Options given as text by name, as attributes of one container (netlink-and-tools.md section 3).
//!
//! Numbers are not checked against the ranges of the tables: the tools of the C driver leave that to the kernel, which clamps
//! or refuses with a code of its own.

use crate::address::parse_address;
use drbd_core::genl::attributes::{of_container, Kind, Spec, Unit};
use drbd_core::genl::Writer;
use thiserror::Error;

/// Flags that are sent only when they are set.
const ONLY_WHEN_SET: &[&str] = &[
    "force",
    "tentative",
    "discard-my-data",
    "assume-peer-has-space",
    "assume-clean",
    "clear-bitmap",
];

/// Why an option is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    /// No such option for this command.
    #[error("unrecognized option '--{0}'")]
    Unknown(String),
    /// The option needs a value.
    #[error("option '--{0}' requires an argument")]
    NeedsValue(String),
    /// The value is not understood.
    #[error("{value} is not a valid number")]
    Number {
        /// Option.
        option: String,
        /// What was given.
        value: String,
    },
    /// Not one of the words.
    #[error("Option --{option}: invalid argument '{value}'")]
    Word {
        /// Option.
        option: String,
        /// What was given.
        value: String,
        /// What is known.
        expected: Vec<&'static str>,
    },
    /// Not an address; the text says why.
    #[error("{0}")]
    Address(String),
}

/// Options of one container, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: Vec<(Spec, Value)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Options {
    /// No option.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Adds `--name[=value]` of a container. An option given again replaces the earlier one.
    ///
    /// # Errors
    /// Which option, what was expected, what came.
    pub fn add(
        &mut self,
        container: u16,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), OptionError> {
        let spec = spec_of(container, name).ok_or_else(|| OptionError::Unknown(name.into()))?;
        self.add_spec(spec, value)
    }

    /// The same for an option whose attribute is known.
    ///
    /// # Errors
    /// As [`Options::add`].
    pub fn add_spec(&mut self, spec: &Spec, value: Option<&str>) -> Result<(), OptionError> {
        let value = parse_value(spec, value)?;
        match self
            .values
            .iter_mut()
            .find(|(s, _)| s.number == spec.number)
        {
            Some((_, old)) => *old = value,
            None => self.values.push((*spec, value)),
        }
        Ok(())
    }

    /// Writes the attributes with the marks the tools set.
    pub fn write(&self, writer: &mut Writer<'_>) {
        for (spec, value) in &self.values {
            if *value == Value::Number(0) && ONLY_WHEN_SET.contains(&spec.option) {
                continue;
            }
            writer.mark(spec.marked);
            match (value, spec.kind) {
                (Value::Text(text), _) => writer.string(spec.number, text.as_bytes()),
                (Value::Bytes(bytes), _) => writer.bytes(spec.number, bytes),
                (Value::Number(n), Kind::Flag) => writer.u8(spec.number, *n as u8),
                (Value::Number(n), Kind::U64) => writer.u64(spec.number, *n),
                (Value::Number(n), _) => writer.u32(spec.number, *n as u32),
            }
        }
        writer.mark(false);
    }
}

/// The option of this name in a container.
pub fn spec_of(container: u16, name: &str) -> Option<&'static Spec> {
    of_container(container)
        .iter()
        .find(|spec| !spec.option.is_empty() && spec.option == name)
}

fn parse_value(spec: &Spec, value: Option<&str>) -> Result<Value, OptionError> {
    if let (Kind::Flag, None) = (spec.kind, value) {
        return Ok(Value::Number(1));
    }
    let value = value.ok_or_else(|| OptionError::NeedsValue(spec.option.into()))?;
    let word = |expected| OptionError::Word {
        option: spec.option.into(),
        value: value.into(),
        expected,
    };
    match spec.kind {
        Kind::Flag => match value {
            "yes" => Ok(Value::Number(1)),
            "no" => Ok(Value::Number(0)),
            _ => Err(word(vec!["yes", "no"])),
        },
        Kind::Enum(words) => words
            .iter()
            .find(|(_, known)| {
                known.eq_ignore_ascii_case(value) && (*known == value || spec.option == "protocol")
            })
            .map(|(number, _)| Value::Number(u64::from(*number)))
            .ok_or_else(|| word(words.iter().map(|(_, known)| *known).collect())),
        Kind::Text(_) => Ok(Value::Text(value.into())),
        Kind::Binary(_) => parse_address(value)
            .map(Value::Bytes)
            .map_err(OptionError::Address),
        Kind::U32 | Kind::S32 | Kind::U64 => parse_number(value, spec.unit)
            .filter(|number| fits(*number, spec.kind))
            .map(|number| Value::Number(number as u64))
            .ok_or_else(|| OptionError::Number {
                option: spec.option.into(),
                value: value.into(),
            }),
    }
}

fn fits(number: i64, kind: Kind) -> bool {
    match kind {
        Kind::U32 => u32::try_from(number).is_ok(),
        Kind::S32 => i32::try_from(number).is_ok(),
        _ => number >= 0,
    }
}

/// Reads a number with the suffixes `s`, `k`, `m`, `g` into the unit of the option, rounding up; without a suffix the number is
/// in that unit already (netlink-and-tools.md section 7). `None`: not a number, or too large.
pub fn parse_number(text: &str, unit: Unit) -> Option<i64> {
    let (digits, suffix) = match text
        .char_indices()
        .find(|(i, c)| !(c.is_ascii_digit() || *i == 0 && *c == '-'))
    {
        Some((at, _)) => text.split_at(at),
        None => (text, ""),
    };
    let number: i64 = digits.parse().ok()?;
    let bytes = match suffix.to_ascii_lowercase().as_str() {
        "" => return Some(number),
        "s" => number.checked_mul(512)?,
        "k" => number.checked_mul(1 << 10)?,
        "m" => number.checked_mul(1 << 20)?,
        "g" => number.checked_mul(1 << 30)?,
        _ => return None,
    };
    let unit_bytes = match unit {
        Unit::Sectors => 512,
        Unit::KibPerSecond | Unit::Kib => 1024,
        _ => 1,
    };
    Some(bytes.div_euclid(unit_bytes) + i64::from(bytes.rem_euclid(unit_bytes) != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use drbd_core::genl::container;

    #[test]
    fn numbers_take_suffixes_into_the_unit_of_the_option() {
        assert_eq!(parse_number("2M", Unit::KibPerSecond), Some(2048));
        assert_eq!(parse_number("1M", Unit::Sectors), Some(2048));
        assert_eq!(parse_number("100s", Unit::Sectors), Some(100));
        assert_eq!(parse_number("3s", Unit::KibPerSecond), Some(2));
        assert_eq!(parse_number("64k", Unit::Kib), Some(64));
        assert_eq!(parse_number("2k", Unit::One), Some(2048));
        assert_eq!(parse_number("-1", Unit::One), Some(-1));
        for text in [
            "1T",
            "",
            "-",
            "1.5",
            "k",
            "99999999999999999999",
            "9999999999G",
        ] {
            assert_eq!(parse_number(text, Unit::One), None, "{text}");
        }
    }

    #[test]
    fn refusals_have_the_recorded_texts() {
        let mut options = Options::new();
        let mut text = |container, name, value| {
            options
                .add(container, name, value)
                .map_or_else(|error| error.to_string(), |()| "accepted".into())
        };
        let net = container::NET_CONF;
        let disk = container::DISK_CONF;
        assert_eq!(
            text(net, "nonsense", None),
            "unrecognized option '--nonsense'"
        );
        assert_eq!(
            text(net, "protocol", Some("Z")),
            "Option --protocol: invalid argument 'Z'"
        );
        assert_eq!(text(net, "protocol", Some("c")), "accepted");
        assert_eq!(
            text(net, "after-sb-0pri", Some("Disconnect")),
            "Option --after-sb-0pri: invalid argument 'Disconnect'"
        );
        assert_eq!(
            text(disk, "disk-barrier", Some("maybe")),
            "Option --disk-barrier: invalid argument 'maybe'"
        );
        assert_eq!(text(disk, "size", Some("1T")), "1T is not a valid number");
        assert_eq!(
            text(disk, "size", None),
            "option '--size' requires an argument"
        );
        assert_eq!(text(disk, "al-extents", Some("70000")), "accepted");
        assert_eq!(
            text(disk, "al-extents", Some("4294967296")),
            "4294967296 is not a valid number"
        );
        assert_eq!(text(disk, "resync-after", Some("-2")), "accepted");
    }

    #[test]
    fn a_repeated_option_counts_once_and_an_unset_flag_is_not_sent() {
        let mut options = Options::new();
        for value in ["one", "two"] {
            options
                .add(container::NET_CONF, "shared-secret", Some(value))
                .expect("accepted");
        }
        options
            .add(container::NET_CONF, "tentative", Some("no"))
            .expect("accepted");
        let mut buffer = [0u8; 64];
        let mut writer = Writer::new(&mut buffer);
        options.write(&mut writer);
        let length = writer.finish().expect("fits");
        assert_eq!(&buffer[..length], b"\x08\x00\x01\x40two\x00");
    }
}
