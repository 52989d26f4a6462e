// SPDX-License-Identifier: GPL-2.0
//! `events` and `events2`: the stream of notifications as text (netlink-and-tools.md section 5).

use super::outcome::Failure;
use super::parse::Arguments;
use super::query::percent;
use drbd_core::genl::{command, container};
use drbd_core::state::State;
use netlink_api::status::{connection_name, context, disk_name, replication_name, role_name};
use netlink_api::{status, Client, Message, Request};
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One line per state change, in the older form. Ends when standard output is closed.
pub async fn events(client: &mut Client, arguments: &Arguments) -> Result<u8, Failure> {
    let wanted = arguments.operands.first().map(String::as_str).filter(|o| *o != "all");
    let fail = |error: netlink_api::Error| Failure::socket("events", &error);
    client.subscribe().map_err(fail)?;
    client
        .start_dump(&Request::new(command::GET_STATUS).build())
        .await
        .map_err(fail)?;
    while let Some((sequence, message)) = client.event(None).await.map_err(fail)? {
        if wanted.is_none_or(|w| concerns(&message, w)) {
            if !put(&event_lines(sequence, &message)) {
                break;
            }
        }
    }
    Ok(0)
}

fn concerns(message: &Message, wanted: &str) -> bool {
    context(message).resource.as_deref() == Some(wanted)
        || super::parse::parse_minor(wanted).is_ok_and(|minor| minor == message.minor)
}

/// Writes and flushes; false when nobody reads any more.
fn put(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

fn short(state: &State) -> String {
    let flag = |set: bool, on: char, off: char| if set { on } else { off };
    let susp = state.susp || state.susp_nod || state.susp_fen;
    format!(
        "{{ cs:{} ro:{}/{} ds:{}/{} {}{}{}{} }}",
        state.conn.name(),
        state.role.name(),
        state.peer.name(),
        state.disk.name(),
        state.pdsk.name(),
        flag(susp, 's', 'r'),
        flag(state.aftr_isp, 'a', '-'),
        flag(state.peer_isp, 'p', '-'),
        flag(state.user_isp, 'u', '-')
    )
}

fn event_lines(sequence: u32, message: &Message) -> String {
    let info = container::STATE_INFO;
    let context = context(message);
    let name = context.resource.unwrap_or_default();
    let Some(reason) = message.u32(info, 1) else {
        return format!("{sequence} R - {name}\n");
    };
    let object = format!("{},{name}[{}]", message.minor, context.volume.unwrap_or(0));
    let unpack = |number| message.u32(info, number).and_then(|w| State::unpack(w).ok()).map_or(String::new(), |s| short(&s));
    let now = unpack(2);
    match reason {
        2 => format!(
            "{sequence} ST-prev {object} {}\n{sequence} ST-new {object} {}\n{sequence} ST {object} {now}\n",
            unpack(5),
            unpack(6)
        ),
        3 => format!("{sequence} UH {object} {}\n", message.text(info, 13).unwrap_or_default()),
        4 => format!(
            "{sequence} UH-post {object} {} 0x{:04x}\n",
            message.text(info, 13).unwrap_or_default(),
            message.u32(info, 14).unwrap_or(0)
        ),
        5 => format!("{sequence} SP {object} {:.1}\n", percent(message).unwrap_or(100.0)),
        _ => format!("{sequence} ST {object} {now}\n"),
    }
}

/// The newer form: objects with the fields that changed.
pub async fn events2(client: &mut Client, arguments: &Arguments) -> Result<u8, Failure> {
    let wanted = arguments.operands.first().map(String::as_str).filter(|o| *o != "all");
    let fail = |error: netlink_api::Error| Failure::socket("events2", &error);
    client.subscribe().map_err(fail)?;
    client
        .start_dump(&Request::new(command::GET_INITIAL_STATE).build())
        .await
        .map_err(fail)?;
    let mut printer = Printer {
        statistics: arguments.has("statistics"),
        timestamps: arguments.has("timestamps"),
        seen: HashMap::new(),
    };
    loop {
        let Some((_, message)) = client.event(Some(Duration::from_secs(3600))).await.map_err(fail)? else {
            continue;
        };
        let done = message.command == command::INITIAL_STATE_DONE;
        let skip = wanted.is_some_and(|w| context(&message).resource.as_deref() != Some(w)) && !done;
        if let (false, Some(line)) = (skip, printer.line(&message)) {
            if !put(&line) {
                return Ok(0);
            }
        }
        if done && arguments.has("now") {
            return Ok(0);
        }
    }
}

type Fields = Vec<(&'static str, String)>;

struct Printer {
    statistics: bool,
    timestamps: bool,
    /// Last printed fields of each object.
    seen: HashMap<String, Fields>,
}

impl Printer {
    fn line(&mut self, message: &Message) -> Option<String> {
        let kind = message.u32(container::NOTIFICATION_HEADER, 1)? & 0x7fff;
        let action = ["exists", "create", "change", "destroy", "call", "response"].get(kind as usize)?;
        let stamp = if self.timestamps { timestamp() } else { String::new() };
        if message.command == command::INITIAL_STATE_DONE {
            return Some(format!("{stamp}exists -\n"));
        }
        let key = key(message)?;
        let fields = fields(message, self.statistics);
        let old = if *action == "destroy" { self.seen.remove(&key) } else { self.seen.insert(key.clone(), fields.clone()) };
        let shown: Vec<String> = match (*action, &old) {
            ("destroy", _) => Vec::new(),
            ("change", Some(old)) => fields.iter().filter(|f| !old.contains(f)).map(word).collect(),
            _ => fields.iter().map(word).collect(),
        };
        if *action == "change" && shown.is_empty() {
            return None;
        }
        let tail = if shown.is_empty() { String::new() } else { format!(" {}", shown.join(" ")) };
        Some(format!("{stamp}{action} {key}{tail}\n"))
    }
}

fn word(field: &(&'static str, String)) -> String {
    format!("{}:{}", field.0, field.1)
}

/// Object and the fields that name it.
fn key(message: &Message) -> Option<String> {
    let context = context(message);
    let name = context.resource.unwrap_or_default();
    let volume = context.volume.unwrap_or(0);
    let peer = if context.peer_address.is_some() { " peer-node-id:0 conn-name:peer" } else { "" };
    Some(match message.command {
        command::RESOURCE_STATE => format!("resource name:{name}"),
        command::CONNECTION_STATE => format!("connection name:{name}{peer}"),
        command::DEVICE_STATE => format!("device name:{name} volume:{volume} minor:{}", message.minor),
        command::PEER_DEVICE_STATE => format!("peer-device name:{name}{peer} volume:{volume}"),
        command::HELPER if message.minor == u32::MAX => format!("helper name:{name}{peer}"),
        command::HELPER => format!("helper name:{name}{peer} volume:{volume} minor:{}", message.minor),
        _ => return None,
    })
}

fn fields(message: &Message, statistics: bool) -> Fields {
    let mut fields = Fields::new();
    let mut add = |name: &'static str, value: String| fields.push((name, value));
    let yes = |set: Option<bool>| if set.unwrap_or(false) { "yes" } else { "no" }.to_string();
    match message.command {
        command::RESOURCE_STATE => {
            let info = container::RESOURCE_INFO;
            add("role", role_name(message.u32(info, 1).unwrap_or(0)).into());
            let set = |n| message.flag(info, n).unwrap_or(false);
            add("suspended", State { susp: set(2), susp_nod: set(3), susp_fen: set(4), ..State::default() }.suspended().to_string());
            if statistics {
                let names = ["none", "drain", "flush"];
                let number = message.u32(container::RESOURCE_STATISTICS, 1).unwrap_or(0) as usize;
                add("write-ordering", names.get(number).unwrap_or(&"none").to_string());
            }
        }
        command::CONNECTION_STATE => {
            let info = container::CONNECTION_INFO;
            add("connection", connection_name(message.u32(info, 1).unwrap_or(0)).into());
            add("role", role_name(message.u32(info, 2).unwrap_or(0)).into());
            if statistics {
                add("congested", yes(message.flag(container::CONNECTION_STATISTICS, 1)));
            }
        }
        command::DEVICE_STATE => device_fields(message, statistics, &mut add),
        command::PEER_DEVICE_STATE => peer_fields(message, statistics, &mut add),
        command::HELPER => {
            add("helper", message.text(container::HELPER, 1).unwrap_or_default());
            if message.u32(container::NOTIFICATION_HEADER, 1).is_some_and(|k| k & 0x7fff == 5) {
                add("status", message.u32(container::HELPER, 2).unwrap_or(0).to_string());
            }
        }
        _ => {}
    }
    fields
}

fn device_fields(message: &Message, statistics: bool, add: &mut impl FnMut(&'static str, String)) {
    add("disk", disk_name(message.u32(container::DEVICE_INFO, 1).unwrap_or(0)).into());
    if !statistics {
        return;
    }
    let c = container::DEVICE_STATISTICS;
    for (number, name) in [(1, "size"), (2, "read"), (3, "written")] {
        add(name, (message.u64(c, number).unwrap_or(0) / 2).to_string());
    }
    for (number, name) in [(4, "al-writes"), (5, "bm-writes")] {
        add(name, message.u64(c, number).unwrap_or(0).to_string());
    }
    for (number, name) in [(6, "upper-pending"), (7, "lower-pending")] {
        add(name, message.u32(c, number).unwrap_or(0).to_string());
    }
    let flag = |n| message.flag(c, n).unwrap_or(false);
    add("al-suspended", if flag(10) { "yes" } else { "no" }.into());
    add("blocked", if flag(8) { "upper" } else { "no" }.into());
}

fn peer_fields(message: &Message, statistics: bool, add: &mut impl FnMut(&'static str, String)) {
    let info = container::PEER_DEVICE_INFO;
    add("replication", replication_name(message.u32(info, 1).unwrap_or(0)).into());
    add("peer-disk", disk_name(message.u32(info, 2).unwrap_or(0)).into());
    let set = |n| message.u32(info, n).unwrap_or(0) != 0;
    let state = State { user_isp: set(3), peer_isp: set(4), aftr_isp: set(5), ..State::default() };
    add("resync-suspended", state.resync_suspended().to_string());
    if !statistics {
        return;
    }
    let c = container::PEER_DEVICE_STATISTICS;
    for (number, name) in [(1, "received"), (2, "sent"), (5, "out-of-sync")] {
        add(name, (message.u64(c, number).unwrap_or(0) / 2).to_string());
    }
    for (number, name) in [(3, "pending"), (4, "unacked")] {
        add(name, message.u32(c, number).unwrap_or(0).to_string());
    }
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff+00:00 ` of now.
fn timestamp() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (now.as_secs() / 86400, now.as_secs() % 86400);
    // days since 0000-03-01, in eras of 400 years
    let z = days as i64 + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}+00:00 ",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        now.subsec_micros()
    )
}

/// The state a message tells, for the waiting commands.
pub fn state_of(message: &Message) -> Option<State> {
    status::state(message)
}
