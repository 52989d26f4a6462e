// SPDX-License-Identifier: GPL-2.0
//! `show`: the running configuration in the language of drbd.conf.

use super::options::{unit_name, unit_suffix, DISK, DISK_ATTACH, NET, RESOURCE};
use super::outcome::Failure;
use super::parse::Arguments;
use super::query::select;
use super::show_json;
use super::terminal::Terminal;
use drbd_core::genl::attributes::{Kind, Spec};
use drbd_core::genl::{container, Attribute};
use netlink_api::build::{format_address, spec_of};
use netlink_api::{status, Client, Message};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Column of the value of an option.
const NAME_WIDTH: usize = 16;

/// Prints what was asked for.
pub async fn run(
    client: &mut Client,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let replies = select(client, arguments).await?;
    let defaults = arguments.has("show-defaults");
    terminal.print(&match arguments.has("json") {
        true => show_json::render(&replies, defaults),
        false => render(&replies, defaults),
    });
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
    let Some(first) = replies.first() else {
        return text;
    };
    section(
        &mut text,
        first,
        "options",
        container::RESOURCE_OPTS,
        &[RESOURCE],
        4,
        defaults,
    );
    section(
        &mut text,
        first,
        "net",
        container::NET_CONF,
        &[NET],
        4,
        defaults,
    );
    let context = status::context(first);
    if let Some(peer) = &context.peer_address {
        let _ = writeln!(
            text,
            "    _remote_host {{\n        address\t\t\t{};\n    }}",
            format_address(peer)
        );
    }
    text.push_str("    _this_host {\n");
    if let Some(own) = &context.own_address {
        let _ = writeln!(text, "        address\t\t\t{};", format_address(own));
    }
    for reply in replies {
        volume(&mut text, reply, defaults);
    }
    text.push_str("    }\n");
    text.push_str("}\n");
    text
}

fn volume(text: &mut String, reply: &Message, defaults: bool) {
    let Some(number) = status::context(reply).volume else {
        return;
    };
    let _ = writeln!(
        text,
        "        volume {number} {{\n            device\t\t\tminor {};",
        reply.minor
    );
    let disk = container::DISK_CONF;
    if let (Some(path), Some(meta)) = (reply.text(disk, 1), reply.text(disk, 2)) {
        let _ = writeln!(text, "            disk\t\t\t{};", quoted(&path));
        let index = reply.u32(disk, 3).map_or(-3, |i| i as i32);
        let _ = match index {
            -3 | -1 => writeln!(text, "            meta-disk\t\t\tinternal;"),
            -2 => writeln!(text, "            meta-disk\t\t\t{};", quoted(&meta)),
            slot => writeln!(
                text,
                "            meta-disk\t\t\t{} [ {slot} ];",
                quoted(&meta)
            ),
        };
        section(
            text,
            reply,
            "disk",
            disk,
            &[DISK_ATTACH, DISK],
            12,
            defaults,
        );
    }
    text.push_str("        }\n");
}

fn section(
    text: &mut String,
    reply: &Message,
    name: &str,
    number: u16,
    order: &[&[&str]],
    indent: usize,
    defaults: bool,
) {
    let Some(values) = reply.container(number) else {
        return;
    };
    let _ = writeln!(text, "{:indent$}{name} {{", "");
    for option in order.iter().flat_map(|group| group.iter()) {
        let Some(spec) = spec_of(number, option) else {
            continue;
        };
        let Some(value) = values.inner().find(spec.number) else {
            continue;
        };
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
            (
                (if set { "yes" } else { "no" }).to_string(),
                u64::from(set) == spec.default,
            )
        }
        Kind::Enum(words) => {
            let number = attribute.u32()?;
            let word = words
                .iter()
                .find(|(n, _)| *n == number)
                .map_or("?", |(_, w)| w);
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
    let unit = unit_name(spec);
    let remarks: Vec<&str> = [unit, if is_default { "default" } else { "" }]
        .into_iter()
        .filter(|r| !r.is_empty())
        .collect();
    let remark = if remarks.is_empty() {
        String::new()
    } else {
        format!(" # {}", remarks.join(", "))
    };
    Some(format!("{:<NAME_WIDTH$}\t{value};{remark}", spec.option))
}

fn with_suffix(spec: &Spec, number: u64) -> (String, bool) {
    let suffix = unit_suffix(spec).unwrap_or("");
    (format!("{number}{suffix}"), number == spec.default)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
