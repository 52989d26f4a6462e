// SPDX-License-Identifier: GPL-2.0
//! `show`: the running configuration in the language of drbd.conf.

use super::outcome::Failure;
use super::parse::Arguments;
use super::query::select;
use drbd_core::genl::attributes::{of_container, Kind, Spec, Unit};
use drbd_core::genl::{container, Attribute};
use netlink_api::build::format_address;
use netlink_api::{status, Client, Message};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Options of a `net` section in the order they are printed.
const NET_ORDER: &[&str] = &[
    "protocol", "timeout", "max-epoch-size", "max-buffers", "unplug-watermark", "connect-int", "ping-int",
    "sndbuf-size", "rcvbuf-size", "ko-count", "allow-two-primaries", "cram-hmac-alg", "shared-secret",
    "after-sb-0pri", "after-sb-1pri", "after-sb-2pri", "always-asbp", "rr-conflict", "ping-timeout",
    "data-integrity-alg", "tcp-cork", "on-congestion", "congestion-fill", "congestion-extents", "csums-alg",
    "csums-after-crash-only", "verify-alg", "use-rle", "socket-check-timeout",
];
/// Options of a `disk` section.
const DISK_ORDER: &[&str] = &[
    "size", "max-bio-bvecs", "on-io-error", "fencing", "disk-barrier", "disk-flushes", "disk-drain",
    "md-flushes", "resync-rate", "resync-after", "al-extents", "al-updates", "discard-zeroes-if-aligned",
    "disable-write-same", "c-plan-ahead", "c-delay-target", "c-fill-target", "c-max-rate", "c-min-rate",
    "disk-timeout", "read-balancing", "rs-discard-granularity",
];
const RESOURCE_ORDER: &[&str] = &["cpu-mask", "on-no-data-accessible"];

/// Prints what was asked for.
pub async fn run(client: &mut Client, arguments: &Arguments) -> Result<u8, Failure> {
    let replies = select(client, arguments).await?;
    print!("{}", render(&replies, arguments.has("show-defaults")));
    Ok(0)
}

/// The text for the replies of GET_STATUS, resources in the order they came.
pub fn render(replies: &[Message], defaults: bool) -> String {
    let mut order: Vec<String> = Vec::new();
    let mut volumes: BTreeMap<String, Vec<&Message>> = BTreeMap::new();
    for reply in replies {
        let name = status::context(reply).resource.unwrap_or_default();
        if !order.contains(&name) {
            order.push(name.clone());
        }
        volumes.entry(name).or_default().push(reply);
    }
    let texts: Vec<String> = order
        .iter()
        .map(|name| resource(name, &volumes[name], defaults))
        .collect();
    texts.join("\n")
}

fn resource(name: &str, replies: &[&Message], defaults: bool) -> String {
    let mut text = format!("resource {name} {{\n");
    let Some(first) = replies.first() else { return text };
    section(&mut text, first, "options", container::RESOURCE_OPTS, RESOURCE_ORDER, 4, defaults);
    section(&mut text, first, "net", container::NET_CONF, NET_ORDER, 4, defaults);
    let context = status::context(first);
    if let Some(peer) = &context.peer_address {
        let _ = writeln!(text, "    _remote_host {{\n        address\t\t\t{};\n    }}", format_address(peer));
    }
    let has_volume = replies.iter().any(|r| status::context(r).volume.is_some());
    if context.own_address.is_some() || has_volume {
        text.push_str("    _this_host {\n");
        if let Some(own) = &context.own_address {
            let _ = writeln!(text, "        address\t\t\t{};", format_address(own));
        }
        for reply in replies {
            volume(&mut text, reply, defaults);
        }
        text.push_str("    }\n");
    }
    text.push_str("}\n");
    text
}

fn volume(text: &mut String, reply: &Message, defaults: bool) {
    let Some(number) = status::context(reply).volume else { return };
    let _ = writeln!(text, "        volume {number} {{\n            device\t\t\tminor {};", reply.minor);
    let disk = container::DISK_CONF;
    if let (Some(path), Some(meta)) = (reply.text(disk, 1), reply.text(disk, 2)) {
        let _ = writeln!(text, "            disk\t\t\t{};", quoted(&path));
        let index = reply.u32(disk, 3).map_or(-3, |i| i as i32);
        let _ = match index {
            -3 | -1 => writeln!(text, "            meta-disk\t\t\tinternal;"),
            -2 => writeln!(text, "            meta-disk\t\t\t{};", quoted(&meta)),
            slot => writeln!(text, "            meta-disk\t\t\t{} [ {slot} ];", quoted(&meta)),
        };
        section(text, reply, "disk", disk, DISK_ORDER, 12, defaults);
    }
    text.push_str("        }\n");
}

fn section(text: &mut String, reply: &Message, name: &str, number: u16, order: &[&str], indent: usize, defaults: bool) {
    let Some(values) = reply.container(number) else { return };
    let _ = writeln!(text, "{:indent$}{name} {{", "");
    for option in order {
        let Some(spec) = of_container(number).iter().find(|s| s.option == *option) else { continue };
        let Some(value) = values.inner().find(spec.number) else { continue };
        if let Some(line) = option_line(spec, &value, defaults) {
            let _ = writeln!(text, "{:width$}{line}", "", width = indent + 4);
        }
    }
    let _ = writeln!(text, "{:indent$}}}", "");
}

/// `name<padding>value; # remarks`; nothing for a default unless wanted.
fn option_line(spec: &Spec, attribute: &Attribute<'_>, defaults: bool) -> Option<String> {
    let (value, is_default) = match spec.kind {
        Kind::Flag => {
            let set = attribute.u8()? != 0;
            ((if set { "yes" } else { "no" }).to_string(), u64::from(set) == spec.default)
        }
        Kind::Enum(words) => {
            let number = attribute.u32()?;
            let word = words.iter().find(|(n, _)| *n == number).map_or("?", |(_, w)| w);
            (word.to_string(), u64::from(number) == spec.default)
        }
        Kind::Text(_) | Kind::Binary(_) => {
            let bytes = attribute.string().unwrap_or(&[]);
            (quoted(&String::from_utf8_lossy(bytes)), bytes.is_empty())
        }
        Kind::S32 => {
            let number = i64::from(attribute.u32()? as i32);
            (number.to_string(), number as u64 == spec.default)
        }
        Kind::U32 => with_suffix(spec, u64::from(attribute.u32()?)),
        Kind::U64 => with_suffix(spec, attribute.u64()?),
    };
    if is_default && !defaults {
        return None;
    }
    let unit = match spec.unit {
        Unit::Sectors => "bytes",
        Unit::Bytes if spec.option != "rs-discard-granularity" => "bytes",
        Unit::KibPerSecond => "bytes/second",
        Unit::Deciseconds if spec.option != "socket-check-timeout" => "1/10 seconds",
        Unit::Seconds => "seconds",
        _ => "",
    };
    let remarks: Vec<&str> = [unit, if is_default { "default" } else { "" }]
        .into_iter()
        .filter(|r| !r.is_empty())
        .collect();
    let remark = if remarks.is_empty() { String::new() } else { format!(" # {}", remarks.join(", ")) };
    Some(format!("{:<16}\t{value};{remark}", spec.option))
}

fn with_suffix(spec: &Spec, number: u64) -> (String, bool) {
    let suffix = match spec.unit {
        Unit::Sectors => "s",
        Unit::KibPerSecond => "k",
        _ => "",
    };
    (format!("{number}{suffix}"), number == spec.default)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
