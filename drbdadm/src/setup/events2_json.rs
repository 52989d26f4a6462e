// SPDX-License-Identifier: GPL-2.0
//! `events2 --json`: one document on each line (docs/json.md). Every line has all fields of its object, changed or not.

use super::events2::{action, timestamp, Field};
use crate::json;
use drbd_core::genl::{command, container};
use netlink_api::status::context;
use netlink_api::Message;
use serde_json::{Map, Value};
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of the schema.
pub const SCHEMA: &str = "drbd-event";
/// Fields that are yes or no and nothing else.
const FLAGS: &[&str] = &["congested", "al-suspended"];

fn head(action: &str) -> Map<String, Value> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut line = json::head(SCHEMA);
    line.insert("time".into(), timestamp(now).trim_end().into());
    line.insert("action".into(), action.into());
    line
}

/// A line about notifications that were lost.
pub fn skipped(count: u32) -> String {
    let mut line = head("skipped");
    line.insert("count".into(), count.into());
    json::line(&line)
}

/// A notification; `None`: none of those that are shown.
pub fn line(message: &Message, fields: &[Field]) -> Option<String> {
    let mut line = head(action(message.u32(container::NOTIFICATION_HEADER, 1)?)?);
    let object = match message.command {
        command::INITIAL_STATE_DONE => "end-of-initial-state",
        command::RESOURCE_STATE => "resource",
        command::CONNECTION_STATE => "connection",
        command::DEVICE_STATE => "device",
        command::PEER_DEVICE_STATE => "peer-device",
        command::HELPER => "helper",
        _ => return None,
    };
    line.insert("object".into(), object.into());
    if message.command == command::INITIAL_STATE_DONE {
        return Some(json::line(&line));
    }
    let context = context(message);
    line.insert("name".into(), context.resource.unwrap_or_default().into());
    if context.peer_address.is_some() {
        line.insert("conn-name".into(), "peer".into());
    }
    if let Some(volume) = context.volume {
        line.insert("volume".into(), volume.into());
    }
    if message.minor != u32::MAX {
        line.insert("minor".into(), message.minor.into());
    }
    if line.get("action") != Some(&"destroy".into()) {
        for field in fields {
            line.insert(field.name.into(), value(field));
        }
    }
    Some(json::line(&line))
}

fn value(field: &Field) -> Value {
    if FLAGS.contains(&field.name) {
        return (field.value == "yes").into();
    }
    match field.value.parse::<u64>() {
        Ok(number) if field.name != "helper" => number.into(),
        _ => field.value.as_str().into(),
    }
}
