// SPDX-License-Identifier: GPL-2.0
//! Building requests: contexts, and options given as text by name.

use crate::message::{Message, NO_MINOR};
use drbd_core::genl::attributes::{of_container, Kind, Spec, Unit};
use drbd_core::genl::{container, Writer};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// Largest request the tools build, in bytes.
const MAX_REQUEST_BYTES: usize = 8192;

/// What a request is about, besides a minor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Volume number.
    pub volume: Option<u32>,
    /// Resource name.
    pub resource: Option<String>,
    /// Own address, as raw sockaddr.
    pub own_address: Option<Vec<u8>>,
    /// The peer's address, as raw sockaddr.
    pub peer_address: Option<Vec<u8>>,
}

impl Context {
    /// Just a resource.
    pub fn resource(name: &str) -> Self {
        Self {
            resource: Some(name.into()),
            ..Self::default()
        }
    }
}

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
    #[error("{option}: {value} not a valid number")]
    Number {
        /// Option.
        option: String,
        /// What was given.
        value: String,
    },
    /// The value is out of range.
    #[error("{option}: {value} is out of range: {least} to {most} expected")]
    Range {
        /// Option.
        option: String,
        /// What was given.
        value: String,
        /// Least value.
        least: i64,
        /// Greatest value.
        most: i64,
    },
    /// Not one of the words.
    #[error("{option}: {value} not a valid value; expected one of {expected}")]
    Word {
        /// Option.
        option: String,
        /// What was given.
        value: String,
        /// What is known.
        expected: String,
    },
    /// The text is too long.
    #[error("{option}: at most {most} characters expected")]
    TooLong {
        /// Option.
        option: String,
        /// Characters allowed.
        most: u16,
    },
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

    /// Adds `--name[=value]` of a container.
    ///
    /// # Errors
    /// Which option, what was expected, what came.
    pub fn add(&mut self, container: u16, name: &str, value: Option<&str>) -> Result<(), OptionError> {
        let spec = spec_of(container, name).ok_or_else(|| OptionError::Unknown(name.into()))?;
        let value = parse_value(spec, value)?;
        self.values.push((*spec, value));
        Ok(())
    }

    fn write(&self, writer: &mut Writer<'_>) {
        for (spec, value) in &self.values {
            writer.mark(spec.marked);
            match (value, spec.kind) {
                (Value::Text(text), _) => writer.string(spec.number, text.as_bytes()),
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
    let option = || spec.option.to_string();
    match spec.kind {
        Kind::Flag => match value {
            None | Some("yes") => Ok(Value::Number(1)),
            Some("no") => Ok(Value::Number(0)),
            Some(other) => Err(OptionError::Word {
                option: option(),
                value: other.into(),
                expected: "yes, no".into(),
            }),
        },
        Kind::Enum(words) => {
            let value = value.ok_or_else(|| OptionError::NeedsValue(option()))?;
            words
                .iter()
                .find(|(_, word)| *word == value)
                .map(|(number, _)| Value::Number(u64::from(*number)))
                .ok_or_else(|| OptionError::Word {
                    option: option(),
                    value: value.into(),
                    expected: words.iter().map(|(_, w)| *w).collect::<Vec<_>>().join(", "),
                })
        }
        Kind::Text(most) | Kind::Binary(most) => {
            let value = value.ok_or_else(|| OptionError::NeedsValue(option()))?;
            if value.len() > usize::from(most) {
                return Err(OptionError::TooLong {
                    option: option(),
                    most,
                });
            }
            Ok(Value::Text(value.into()))
        }
        Kind::U32 | Kind::S32 | Kind::U64 => {
            let value = value.ok_or_else(|| OptionError::NeedsValue(option()))?;
            let number = parse_number(value, spec.unit).ok_or_else(|| OptionError::Number {
                option: option(),
                value: value.into(),
            })?;
            let most = if spec.most == 0 && spec.least == 0 { i64::MAX } else { spec.most };
            if number < spec.least || number > most {
                return Err(OptionError::Range {
                    option: option(),
                    value: value.into(),
                    least: spec.least,
                    most,
                });
            }
            Ok(Value::Number(number as u64))
        }
    }
}

/// Reads a number with the suffixes `s`, `k`, `m`, `g` into the unit of the option; without
/// a suffix the number is in that unit already (netlink-and-tools.md section 7).
pub fn parse_number(text: &str, unit: Unit) -> Option<i64> {
    let (digits, suffix) = match text.char_indices().find(|(i, c)| !(c.is_ascii_digit() || *i == 0 && *c == '-')) {
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
    Some(match unit {
        Unit::Sectors => bytes / 512,
        Unit::KibPerSecond => bytes / 1024,
        _ => bytes,
    })
}

/// A raw sockaddr from `[ipv4:|ipv6:]ADDRESS[:PORT]`; the port defaults to 7788.
///
/// # Errors
/// What was expected.
pub fn parse_address(text: &str) -> Result<Vec<u8>, String> {
    let expected = || format!("{text}: expected ipv4:ADDRESS:PORT or ipv6:[ADDRESS]:PORT");
    let (family, rest) = match text.split_once(':') {
        Some((family @ ("ipv4" | "ipv6" | "ssocks" | "sdp"), rest)) => (family, rest),
        _ => ("ipv4", text),
    };
    let address: SocketAddr = if rest.starts_with('[') {
        match rest.rsplit_once("]:") {
            Some(_) => rest.parse().map_err(|_| expected())?,
            None => format!("{rest}:7788").parse().map_err(|_| expected())?,
        }
    } else {
        match rest.parse() {
            Ok(address) => address,
            Err(_) => {
                let ip: IpAddr = rest.parse().map_err(|_| expected())?;
                SocketAddr::new(ip, 7788)
            }
        }
    };
    let mut raw = Vec::new();
    match address {
        SocketAddr::V4(v4) if family != "ipv6" => {
            let number: u16 = match family {
                "ssocks" | "sdp" => 27,
                _ => 2,
            };
            raw.extend_from_slice(&number.to_ne_bytes());
            raw.extend_from_slice(&v4.port().to_be_bytes());
            raw.extend_from_slice(&v4.ip().octets());
            raw.extend_from_slice(&[0; 8]);
        }
        SocketAddr::V6(v6) => {
            raw.extend_from_slice(&10u16.to_ne_bytes());
            raw.extend_from_slice(&v6.port().to_be_bytes());
            raw.extend_from_slice(&v6.flowinfo().to_ne_bytes());
            raw.extend_from_slice(&v6.ip().octets());
            raw.extend_from_slice(&v6.scope_id().to_ne_bytes());
        }
        SocketAddr::V4(_) => return Err(expected()),
    }
    Ok(raw)
}

/// `ipv4 10.0.0.1:7788` for a raw sockaddr, as `show` prints it.
pub fn format_address(raw: &[u8]) -> String {
    let family = raw.get(..2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
    let port = raw.get(2..4).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes);
    match (family, raw.get(4..8), raw.get(8..24)) {
        (10, _, Some(ip)) => {
            let ip: [u8; 16] = ip.try_into().unwrap_or([0; 16]);
            format!("ipv6 [{}]:{port}", std::net::Ipv6Addr::from(ip))
        }
        (2, Some(ip), _) => {
            let ip: [u8; 4] = ip.try_into().unwrap_or([0; 4]);
            format!("ipv4 {}:{port}", std::net::Ipv4Addr::from(ip))
        }
        (27, Some(ip), _) => {
            let ip: [u8; 4] = ip.try_into().unwrap_or([0; 4]);
            format!("ssocks {}:{port}", std::net::Ipv4Addr::from(ip))
        }
        _ => format!("[unknown af={family}, len={}]", raw.len()),
    }
}

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Request {
    command: u8,
    minor: u32,
    flags: i32,
    context: Option<Context>,
    options: Vec<(u16, Options)>,
}

impl Request {
    /// About nothing yet.
    pub fn new(command: u8) -> Self {
        Self {
            command,
            minor: NO_MINOR,
            flags: 0,
            context: None,
            options: Vec::new(),
        }
    }

    /// About a minor.
    pub fn minor(mut self, minor: u32) -> Self {
        self.minor = minor;
        self
    }

    /// With a context.
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Options that are not given get their defaults.
    pub fn set_defaults(mut self, yes: bool) -> Self {
        self.flags = i32::from(yes);
        self
    }

    /// With a container of options; left out when there are none and `always` is not set.
    pub fn options(mut self, container: u16, options: Options, always: bool) -> Self {
        if always || !options.is_empty() {
            self.options.push((container, options));
        }
        self
    }

    /// Encodes the message. `raw` writes attributes that are not options (the devices of an
    /// attach) at the end of container `in_container`.
    pub fn build_with(self, in_container: u16, raw: impl Fn(&mut Writer<'_>)) -> Message {
        let mut buffer = vec![0u8; MAX_REQUEST_BYTES];
        let mut writer = Writer::new(&mut buffer);
        if let Some(context) = &self.context {
            write_context(&mut writer, context);
        }
        for (number, options) in &self.options {
            let open = writer.begin(*number, true);
            options.write(&mut writer);
            if *number == in_container {
                raw(&mut writer);
            }
            writer.end(open);
        }
        let length = writer.finish().unwrap_or(0);
        buffer.truncate(length);
        Message {
            command: self.command,
            minor: self.minor,
            code: self.flags,
            attributes: buffer,
        }
    }

    /// Encodes the message.
    pub fn build(self) -> Message {
        self.build_with(0, |_| {})
    }
}

fn write_context(writer: &mut Writer<'_>, context: &Context) {
    let open = writer.begin(container::CFG_CONTEXT, true);
    writer.mark(true);
    if let Some(volume) = context.volume {
        writer.u32(1, volume);
    }
    if let Some(name) = &context.resource {
        writer.string(2, name.as_bytes());
    }
    if let Some(address) = &context.own_address {
        writer.bytes(3, address);
    }
    if let Some(address) = &context.peer_address {
        writer.bytes(4, address);
    }
    writer.mark(false);
    writer.end(open);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_suffixes_into_the_unit_of_the_option() {
        assert_eq!(parse_number("2M", Unit::KibPerSecond), Some(2048));
        assert_eq!(parse_number("1M", Unit::Sectors), Some(2048));
        assert_eq!(parse_number("100s", Unit::Sectors), Some(100));
        assert_eq!(parse_number("-1", Unit::One), Some(-1));
        assert_eq!(parse_number("1T", Unit::One), None);
        assert_eq!(parse_number("", Unit::One), None);
    }

    #[test]
    fn addresses_round_trip() {
        for (given, shown) in [
            ("ipv4:10.0.0.1:7789", "ipv4 10.0.0.1:7789"),
            ("10.0.0.1", "ipv4 10.0.0.1:7788"),
            ("ipv6:[fe80::1]:7790", "ipv6 [fe80::1]:7790"),
        ] {
            let raw = parse_address(given).expect(given);
            assert_eq!(format_address(&raw), shown);
        }
        assert!(parse_address("ipv6:10.0.0.1:7788").is_err());
        assert!(parse_address("nowhere").is_err());
    }

    #[test]
    fn values_out_of_range_say_what_was_expected() {
        let mut options = Options::new();
        assert!(matches!(
            options.add(container::NET_CONF, "timeout", Some("0")),
            Err(OptionError::Range { least: 1, most: 600, .. })
        ));
        assert!(matches!(options.add(container::NET_CONF, "nonsense", None), Err(OptionError::Unknown(_))));
        assert!(options.add(container::NET_CONF, "protocol", Some("C")).is_ok());
    }
}
