// SPDX-License-Identifier: GPL-2.0
//! The text of `status`. Without `--verbose`, what is as it should be is left out.

use super::status::{Detail, Parts};
use crate::view::paint::{colored, tone, Tone};
use drbd_core::genl::container;
use drbd_core::state::State;
use netlink_api::status::{connection_name, context, disk_name, replication_name, role_name};
use netlink_api::Message;

/// Columns of a terminal.
const WIDTH: usize = 80;

/// One resource.
pub fn render(parts: &Parts, detail: Detail) -> String {
    let mut page = Page {
        text: String::new(),
        column: None,
        indent: [0, 0],
        detail,
    };
    resource(&mut page, &parts.resource);
    let single = parts.devices.len() == 1
        && parts
            .devices
            .iter()
            .all(|device| context(device).volume == Some(0));
    let numbered = detail.verbose || !single;
    for message in &parts.devices {
        device(&mut page, message, numbered);
    }
    for message in &parts.connections {
        let connected = connection(&mut page, message);
        if connected || detail.verbose || detail.statistics {
            for peer in &parts.peers {
                peer_device(&mut page, peer, &parts.devices, numbered);
            }
        }
    }
    page.text.push('\n');
    page.text
}

/// Lines of words, broken at the width of a terminal. A line without a word does not appear.
struct Page {
    text: String,
    /// Column on the present line; `None` before its first word.
    column: Option<usize>,
    /// Where the present line starts, and where it goes on below.
    indent: [usize; 2],
    detail: Detail,
}

impl Page {
    /// Ends the present line and starts one.
    fn line(&mut self, start: usize, below: usize) {
        self.end();
        self.indent = [start, below];
    }

    fn end(&mut self) {
        if self.column.take().is_some() {
            self.text.push('\n');
        }
    }

    /// `name:value`
    fn word(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        let length = name.chars().count() + 1 + value.chars().count();
        self.place(length);
        let tone = match (self.detail.color, name) {
            (false, _) => Tone::Plain,
            (true, "suspended" | "resync-suspended" | "blocked") if value != "no" => Tone::Bad,
            (true, _) => tone(&value),
        };
        self.text
            .push_str(&format!("{name}:{}", colored(&value, tone)));
    }

    fn bare(&mut self, word: &str) {
        self.place(word.chars().count());
        self.text.push_str(word);
    }

    /// Goes to where a word of this length belongs.
    fn place(&mut self, length: usize) {
        let [start, below] = self.indent;
        let column = match self.column {
            None => {
                self.text.push_str(&" ".repeat(start));
                start
            }
            Some(column) if column + 1 + length > WIDTH => {
                self.text.push('\n');
                self.text.push_str(&" ".repeat(below));
                below
            }
            Some(column) => {
                self.text.push(' ');
                column + 1
            }
        };
        self.column = Some(column + length);
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

fn resource(page: &mut Page, message: &Message) {
    let (info, detail) = (container::RESOURCE_INFO, page.detail);
    page.line(0, 4);
    page.bare(&context(message).resource.unwrap_or_default());
    page.word("role", role_name(message.u32(info, 1).unwrap_or(0)));
    let set = |number| message.flag(info, number).unwrap_or(false);
    let state = State {
        susp: set(2),
        susp_nod: set(3),
        susp_fen: set(4),
        ..State::default()
    };
    if detail.verbose || state.is_suspended() {
        page.word("suspended", state.suspended());
    }
    if detail.statistics && detail.verbose {
        page.line(4, 4);
        let number = message.u32(container::RESOURCE_STATISTICS, 1).unwrap_or(0);
        page.word(
            "write-ordering",
            ["none", "drain", "flush"]
                .get(number as usize)
                .unwrap_or(&"none"),
        );
    }
    page.end();
}

fn device(page: &mut Page, message: &Message, numbered: bool) {
    let detail = page.detail;
    page.line(2, 6);
    if numbered {
        page.word("volume", context(message).volume.unwrap_or(0));
    }
    if detail.verbose {
        page.word("minor", message.minor);
    }
    page.word(
        "disk",
        disk_name(message.u32(container::DEVICE_INFO, 1).unwrap_or(0)),
    );
    if detail.statistics {
        device_counters(page, message);
    }
    if detail.verbose || blocked(message) != "no" {
        page.word("blocked", blocked(message));
    }
    page.end();
}

fn device_counters(page: &mut Page, message: &Message) {
    let (statistics, verbose) = (container::DEVICE_STATISTICS, page.detail.verbose);
    let long = |number| message.u64(statistics, number).unwrap_or(0);
    page.line(6, 6);
    if verbose {
        page.word("size", long(1) / 2);
    }
    page.word("read", long(2) / 2);
    page.word("written", long(3) / 2);
    if verbose {
        page.word("al-writes", long(4));
        page.word("bm-writes", long(5));
    }
    for (number, name) in [(6, "upper-pending"), (7, "lower-pending")] {
        let count = message.u32(statistics, number).unwrap_or(0);
        if verbose || count != 0 {
            page.word(name, count);
        }
    }
    if verbose {
        page.word("al-suspended", yes(message.flag(statistics, 10)));
    }
}

/// Whether the connection works.
fn connection(page: &mut Page, message: &Message) -> bool {
    let (info, verbose) = (container::CONNECTION_INFO, page.detail.verbose);
    page.line(2, 6);
    page.bare("peer");
    let state = connection_name(message.u32(info, 1).unwrap_or(0));
    let connected = state == "Connected";
    if verbose || !connected {
        page.word("connection", state);
    }
    if verbose || connected {
        page.word("role", role_name(message.u32(info, 2).unwrap_or(0)));
    }
    let congested = message.flag(container::CONNECTION_STATISTICS, 1);
    if verbose || congested == Some(true) {
        page.word("congested", yes(congested));
    }
    page.end();
    connected
}

fn peer_device(page: &mut Page, message: &Message, devices: &[Message], numbered: bool) {
    let (info, detail) = (container::PEER_DEVICE_INFO, page.detail);
    page.line(4, 8);
    let volume = context(message).volume;
    if numbered {
        page.word("volume", volume.unwrap_or(0));
    }
    let replication = replication_name(message.u32(info, 1).unwrap_or(0));
    let off = replication == "Off";
    if detail.verbose || !off {
        page.word("replication", replication);
    }
    if detail.verbose || detail.statistics || !off {
        page.word("peer-disk", disk_name(message.u32(info, 2).unwrap_or(0)));
    }
    if shows_progress(replication) {
        let device = devices
            .iter()
            .find(|device| context(device).volume == volume);
        if let Some(done) = device.and_then(|device| done_percent(device, message)) {
            page.word("done", done);
        }
    }
    let set = |number| message.u32(info, number).unwrap_or(0) != 0;
    let state = State {
        user_isp: set(3),
        peer_isp: set(4),
        aftr_isp: set(5),
        ..State::default()
    };
    if detail.verbose || state.user_isp || state.peer_isp || state.aftr_isp {
        page.word("resync-suspended", state.resync_suspended());
    }
    if detail.statistics {
        peer_counters(page, message);
    }
    page.end();
}

fn peer_counters(page: &mut Page, message: &Message) {
    let (statistics, verbose) = (container::PEER_DEVICE_STATISTICS, page.detail.verbose);
    page.line(8, 8);
    page.word("received", message.u64(statistics, 1).unwrap_or(0) / 2);
    page.word("sent", message.u64(statistics, 2).unwrap_or(0) / 2);
    let out_of_sync = message.u64(statistics, 5).unwrap_or(0) / 2;
    if verbose || out_of_sync != 0 {
        page.word("out-of-sync", out_of_sync);
    }
    for (number, name) in [(3, "pending"), (4, "unacked")] {
        let count = message.u32(statistics, number).unwrap_or(0);
        if verbose || count != 0 {
            page.word(name, count);
        }
    }
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

/// How much of the device is in sync, in percent.
fn done_percent(device: &Message, peer: &Message) -> Option<String> {
    let size = device
        .u64(container::DEVICE_STATISTICS, 1)
        .filter(|size| *size > 0)?;
    let out_of_sync = peer.u64(container::PEER_DEVICE_STATISTICS, 5)?.min(size);
    Some(format!(
        "{:.2}",
        100.0 * (1.0 - out_of_sync as f64 / size as f64)
    ))
}
