// SPDX-License-Identifier: GPL-2.0
//! `show --json`: the running configuration (docs/json.md). Numbers are in the option's own unit, switches are booleans.

use super::options::{DISK, DISK_ATTACH, NET, RESOURCE};
use crate::json;
use drbd_core::genl::attributes::{Kind, Spec};
use drbd_core::genl::{container, Attribute};
use netlink_api::build::spec_of;
use netlink_api::snapshot::endpoint;
use netlink_api::{status, Message};
use serde_json::{json, Map, Value};

/// The name of the schema.
pub const SCHEMA: &str = "drbd-show";

/// The document for the replies of GET_STATUS, resources in the order they came.
pub fn render(replies: &[Message], defaults: bool) -> String {
    let mut names: Vec<String> = Vec::new();
    for reply in replies {
        let name = status::context(reply).resource.unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let resources = names
        .iter()
        .map(|name| {
            let ours: Vec<&Message> = replies
                .iter()
                .filter(|r| status::context(r).resource.as_ref() == Some(name))
                .collect();
            resource(name, &ours, defaults)
        })
        .collect();
    json::pretty(&json::document(SCHEMA, "resources", resources))
}

fn resource(name: &str, replies: &[&Message], defaults: bool) -> Value {
    let first = replies.first();
    let section = |number, order: &[&[&str]]| match first {
        Some(reply) => section(reply, number, order, defaults),
        None => Value::Null,
    };
    let context = first
        .map(|reply| status::context(reply))
        .unwrap_or_default();
    json!({
        "name": name,
        "options": section(container::RESOURCE_OPTS, &[RESOURCE]),
        "net": section(container::NET_CONF, &[NET]),
        "local-address": context.own_address.as_deref().map(endpoint),
        "peer-address": context.peer_address.as_deref().map(endpoint),
        "volumes": replies.iter().filter_map(|r| volume(r, defaults)).collect::<Vec<_>>(),
    })
}

fn volume(reply: &Message, defaults: bool) -> Option<Value> {
    let number = status::context(reply).volume?;
    let disk = container::DISK_CONF;
    let meta_index = reply.u32(disk, 3).map(|index| match index as i32 {
        -3 | -1 => Value::from("internal"),
        -2 => Value::from("flexible"),
        slot => Value::from(slot),
    });
    Some(json!({
        "volume": number,
        "minor": reply.minor,
        "backing-dev": reply.text(disk, 1),
        "meta-dev": reply.text(disk, 2),
        "meta-index": meta_index,
        "disk": section(reply, disk, &[DISK_ATTACH, DISK], defaults),
    }))
}

/// The options of a container; null when the driver has none of it.
fn section(reply: &Message, number: u16, order: &[&[&str]], defaults: bool) -> Value {
    let Some(values) = reply.container(number) else {
        return Value::Null;
    };
    let mut section = Map::new();
    for option in order.iter().flat_map(|group| group.iter()) {
        let Some(spec) = spec_of(number, option) else {
            continue;
        };
        let Some((value, is_default)) = values
            .inner()
            .find(spec.number)
            .and_then(|a| value(spec, &a))
        else {
            continue;
        };
        if defaults || !is_default {
            section.insert(spec.option.into(), value);
        }
    }
    section.into()
}

/// An option's value, and whether it is the default.
fn value(spec: &Spec, attribute: &Attribute<'_>) -> Option<(Value, bool)> {
    let number = match spec.kind {
        Kind::Flag => u64::from(attribute.u8()? != 0),
        Kind::U64 => attribute.u64()?,
        Kind::S32 => i64::from(attribute.u32()? as i32) as u64,
        Kind::U32 | Kind::Enum(_) => u64::from(attribute.u32()?),
        Kind::Text(_) | Kind::Binary(_) => {
            let bytes = attribute.string().unwrap_or(&[]);
            return Some((String::from_utf8_lossy(bytes).into(), bytes.is_empty()));
        }
    };
    let value = match spec.kind {
        Kind::Flag => (number != 0).into(),
        Kind::S32 => (number as i64).into(),
        Kind::Enum(words) => words
            .iter()
            .find(|(n, _)| u64::from(*n) == number)
            .map_or_else(|| number.into(), |(_, word)| Value::from(*word)),
        _ => number.into(),
    };
    Some((value, number == spec.default))
}
