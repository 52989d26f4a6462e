// SPDX-License-Identifier: GPL-2.0
//! `status`: the state of resources, short or in full.

use super::outcome::{no_such, Failure};
use super::parse::Arguments;
use super::terminal::Terminal;
use drbd_core::genl::{command, container};
use netlink_api::status::{connection_name, context, disk_name, replication_name, role_name};
use netlink_api::{Client, Context, Message, Request};

/// What is shown.
#[derive(Clone, Copy)]
struct Detail {
    verbose: bool,
    statistics: bool,
    color: bool,
}

/// The parts of one resource.
pub struct Parts {
    /// GET_RESOURCES.
    pub resource: Message,
    /// GET_DEVICES.
    pub devices: Vec<Message>,
    /// GET_CONNECTIONS.
    pub connections: Vec<Message>,
    /// GET_PEER_DEVICES.
    pub peers: Vec<Message>,
}

/// Asks and prints.
pub async fn run(
    client: &mut Client,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let wanted = arguments.wanted();
    let color = match arguments.value("color") {
        Some("always") => true,
        None if arguments.has("color") => true,
        Some("never") => false,
        Some("auto") | None => terminal.interactive,
        Some(other) => {
            return Err(Failure::tool(format!(
                "Option --color: invalid argument '{other}'"
            )))
        }
    };
    let detail = Detail {
        verbose: arguments.has("verbose"),
        statistics: arguments.has("statistics"),
        color,
    };
    let mut found = fetch(client, wanted).await?;
    if let (Some(name), true) = (wanted, found.is_empty()) {
        return Err(no_such(name));
    }
    found.sort_by_key(|parts| context(&parts.resource).resource);
    for parts in &found {
        terminal.print(&render(parts, detail));
    }
    Ok(0)
}

/// All parts of one resource or of all.
async fn fetch(client: &mut Client, wanted: Option<&str>) -> Result<Vec<Parts>, Failure> {
    let fail = |error: netlink_api::Error| Failure::socket("status", &error);
    let resources = client
        .dump(&Request::new(command::GET_RESOURCES).build())
        .await
        .map_err(fail)?;
    let mut found = Vec::new();
    for resource in resources {
        let name = context(&resource).resource.unwrap_or_default();
        if wanted.is_some_and(|w| w != name) {
            continue;
        }
        let about = |number| {
            Request::new(number)
                .context(Context::resource(&name))
                .build()
        };
        let devices = client
            .dump(&about(command::GET_DEVICES))
            .await
            .map_err(fail)?;
        let connections = client
            .dump(&about(command::GET_CONNECTIONS))
            .await
            .map_err(fail)?;
        let peers = if devices.is_empty() || connections.is_empty() {
            Vec::new()
        } else {
            client
                .dump(&about(command::GET_PEER_DEVICES))
                .await
                .map_err(fail)?
        };
        found.push(Parts {
            resource,
            devices,
            connections,
            peers,
        });
    }
    Ok(found)
}

/// Lines of words that are broken before column 80 and continued with an indent.
struct Lines {
    text: String,
    column: usize,
    continuation: usize,
}

impl Lines {
    fn start(&mut self, indent: usize, continuation: usize) {
        self.text.push_str(&" ".repeat(indent));
        self.column = indent;
        self.continuation = continuation;
    }

    fn word(&mut self, name: &str, value: &str, color: Option<&str>) {
        let length = name.chars().count() + 1 + value.chars().count();
        let at_start = self.text.ends_with('\n')
            || self.text.is_empty()
            || self.text.ends_with("  ")
            || self.column == 0;
        if !at_start && self.column + 1 + length > 80 {
            self.text.push('\n');
            self.text.push_str(&" ".repeat(self.continuation));
            self.column = self.continuation;
        } else if !at_start {
            self.text.push(' ');
            self.column += 1;
        }
        match color {
            Some(code) => self
                .text
                .push_str(&format!("{name}:\x1b[{code}m{value}\x1b[0m")),
            None => self.text.push_str(&format!("{name}:{value}")),
        }
        self.column += length;
    }

    fn bare(&mut self, word: &str) {
        self.text.push_str(word);
        self.column += word.chars().count();
    }

    fn end(&mut self) {
        self.text.push('\n');
        self.column = 0;
    }
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";

fn shade(detail: Detail, value: &str) -> Option<&'static str> {
    if !detail.color {
        return None;
    }
    match value {
        "UpToDate" | "Connected" | "Established" | "Primary" => Some(GREEN),
        "Inconsistent" | "Failed" | "StandAlone" | "Diskless" => Some(RED),
        "Outdated" | "Connecting" | "Consistent" | "SyncSource" | "SyncTarget" => Some(YELLOW),
        _ => None,
    }
}

/// Who holds application I/O back.
pub fn blocked(message: &Message) -> &'static str {
    let statistics = container::DEVICE_STATISTICS;
    match (message.flag(statistics, 8), message.flag(statistics, 9)) {
        (Some(true), Some(true)) => "upper,lower",
        (Some(true), _) => "upper",
        (_, Some(true)) => "lower",
        _ => "no",
    }
}

fn yes(set: Option<bool>) -> &'static str {
    if set.unwrap_or(false) {
        "yes"
    } else {
        "no"
    }
}

fn render(parts: &Parts, detail: Detail) -> String {
    let mut lines = Lines {
        text: String::new(),
        column: 0,
        continuation: 4,
    };
    resource_line(&mut lines, &parts.resource, detail);
    let single = parts.devices.len() == 1 && context(&parts.devices[0]).volume == Some(0);
    for device in &parts.devices {
        device_line(&mut lines, device, detail, single);
    }
    for connection in &parts.connections {
        connection_line(&mut lines, connection, detail);
        for peer in &parts.peers {
            peer_line(&mut lines, peer, parts, detail, single);
        }
    }
    lines.end();
    lines.text
}

fn resource_line(lines: &mut Lines, message: &Message, detail: Detail) {
    let info = container::RESOURCE_INFO;
    lines.bare(&context(message).resource.unwrap_or_default());
    lines.continuation = 4;
    let role = role_name(message.u32(info, 1).unwrap_or(0));
    lines.word("role", role, shade(detail, role));
    let words: Vec<&str> = [(2, "user"), (3, "no-data"), (4, "fencing")]
        .into_iter()
        .filter(|(number, _)| message.flag(info, *number).unwrap_or(false))
        .map(|(_, word)| word)
        .collect();
    let suspended = if words.is_empty() {
        "no".to_string()
    } else {
        words.join(",")
    };
    if detail.verbose || suspended != "no" {
        lines.word("suspended", &suspended, None);
    }
    lines.end();
    if detail.statistics && detail.verbose {
        lines.start(4, 4);
        let ordering = match message.u32(container::RESOURCE_STATISTICS, 1) {
            Some(1) => "drain",
            Some(2) => "flush",
            _ => "none",
        };
        lines.word("write-ordering", ordering, None);
        lines.end();
    }
}

fn device_line(lines: &mut Lines, message: &Message, detail: Detail, single: bool) {
    let statistics = container::DEVICE_STATISTICS;
    lines.start(2, 6);
    if !single || detail.verbose {
        let volume = context(message).volume.unwrap_or(0);
        lines.word("volume", &volume.to_string(), None);
    }
    if detail.verbose {
        lines.word("minor", &message.minor.to_string(), None);
    }
    let disk = disk_name(message.u32(container::DEVICE_INFO, 1).unwrap_or(0));
    lines.word("disk", disk, shade(detail, disk));
    let blocked = blocked(message);
    if detail.statistics {
        lines.end();
        lines.start(6, 6);
        let sectors = |n| message.u64(statistics, n).unwrap_or(0) / 2;
        for (number, name) in [(1, "size"), (2, "read"), (3, "written")] {
            lines.word(name, &sectors(number).to_string(), None);
        }
        for (number, name) in [(4, "al-writes"), (5, "bm-writes")] {
            lines.word(
                name,
                &message.u64(statistics, number).unwrap_or(0).to_string(),
                None,
            );
        }
        for (number, name) in [(6, "upper-pending"), (7, "lower-pending")] {
            lines.word(
                name,
                &message.u32(statistics, number).unwrap_or(0).to_string(),
                None,
            );
        }
        lines.word("al-suspended", yes(message.flag(statistics, 10)), None);
        lines.word("blocked", blocked, None);
    } else if detail.verbose || blocked != "no" {
        lines.word("blocked", blocked, None);
    }
    lines.end();
}

fn connection_line(lines: &mut Lines, message: &Message, detail: Detail) {
    let info = container::CONNECTION_INFO;
    lines.start(2, 6);
    lines.bare("peer");
    let number = message.u32(info, 1).unwrap_or(0);
    let connection = connection_name(number);
    if detail.verbose || connection != "Connected" {
        lines.word("connection", connection, shade(detail, connection));
    }
    if detail.verbose || connection == "Connected" {
        let role = role_name(message.u32(info, 2).unwrap_or(0));
        lines.word("role", role, shade(detail, role));
    }
    let congested = message.flag(container::CONNECTION_STATISTICS, 1);
    if detail.verbose || detail.statistics || congested == Some(true) {
        lines.word("congested", yes(congested), None);
    }
    lines.end();
}

fn peer_line(lines: &mut Lines, message: &Message, parts: &Parts, detail: Detail, single: bool) {
    let (info, statistics) = (
        container::PEER_DEVICE_INFO,
        container::PEER_DEVICE_STATISTICS,
    );
    let replication = replication_name(message.u32(info, 1).unwrap_or(0));
    if replication == "Off" && !detail.verbose && !detail.statistics {
        return;
    }
    lines.start(4, 8);
    let volume = context(message).volume;
    if !single || detail.verbose {
        lines.word("volume", &volume.unwrap_or(0).to_string(), None);
    }
    lines.word("replication", replication, shade(detail, replication));
    let disk = disk_name(message.u32(info, 2).unwrap_or(0));
    lines.word("peer-disk", disk, shade(detail, disk));
    let out_of_sync = message.u64(statistics, 5).unwrap_or(0);
    if shows_progress(replication) {
        let size = parts
            .devices
            .iter()
            .find(|d| context(d).volume == volume)
            .and_then(|d| d.u64(container::DEVICE_STATISTICS, 1))
            .unwrap_or(0);
        if size > 0 {
            let done = 100.0 * (1.0 - out_of_sync as f64 / size as f64);
            lines.word("done", &format!("{done:.2}"), None);
        }
    }
    let paused: Vec<&str> = [(3, "user"), (4, "peer"), (5, "dependency")]
        .into_iter()
        .filter(|(number, _)| message.u32(info, *number).unwrap_or(0) != 0)
        .map(|(_, word)| word)
        .collect();
    if detail.verbose || !paused.is_empty() {
        let text = if paused.is_empty() {
            "no".to_string()
        } else {
            paused.join(",")
        };
        lines.word("resync-suspended", &text, None);
    }
    if detail.statistics {
        lines.end();
        lines.start(8, 8);
        for (number, name) in [(1, "received"), (2, "sent")] {
            lines.word(
                name,
                &(message.u64(statistics, number).unwrap_or(0) / 2).to_string(),
                None,
            );
        }
        lines.word("out-of-sync", &(out_of_sync / 2).to_string(), None);
        for (number, name) in [(3, "pending"), (4, "unacked")] {
            lines.word(
                name,
                &message.u32(statistics, number).unwrap_or(0).to_string(),
                None,
            );
        }
    }
    lines.end();
}

fn shows_progress(replication: &str) -> bool {
    [
        "SyncSource",
        "SyncTarget",
        "VerifyS",
        "VerifyT",
        "PausedSyncS",
        "PausedSyncT",
    ]
    .contains(&replication)
}
