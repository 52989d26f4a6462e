// SPDX-License-Identifier: GPL-2.0
//! `events2`: the stream of notifications as objects with the fields that changed (netlink-and-tools.md section 5).

use super::events2_json;
use super::outcome::Failure;
use super::parse::Arguments;
use super::terminal::Terminal;
use drbd_core::genl::{command, container};
use drbd_core::state::State;
use netlink_api::client::Error;
use netlink_api::status::{connection_name, context, disk_name, replication_name, role_name};
use netlink_api::{Client, Context, Message, Request};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// More of the same event follow; part of the type of a notification.
const CONTINUES: u32 = 0x8000;

/// Prints everything there is and then every change. Ends when standard output is closed, or after the first part with `--now`.
pub async fn run(
    client: &mut Client,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let wanted = arguments.wanted();
    let fail = |error: Error| Failure::socket("events2", &error);
    client.subscribe().map_err(fail)?;
    let request = Request::new(command::GET_INITIAL_STATE);
    let request = match wanted {
        Some(name) => request.context(Context::resource(name)),
        None => request,
    };
    let asked = client.start_dump(&request.build()).await.map_err(fail)?;
    let mut printer = Printer::new(arguments.has("statistics"), arguments.has("timestamps"));
    let as_json = arguments.has("json");
    loop {
        let (sequence, message) = match client.event(None).await {
            Ok(Some(event)) => event,
            Ok(None) => continue,
            Err(Error::EndOfRecording | Error::Gone) => return Ok(0),
            Err(error) => return Err(fail(error)),
        };
        let done = message.command == command::INITIAL_STATE_DONE;
        let lost = printer.skipped(sequence, asked, &message);
        let is_meant =
            done || wanted.is_none_or(|w| context(&message).resource.as_deref() == Some(w));
        let mut text = match lost {
            0 => String::new(),
            lost if as_json => events2_json::skipped(lost),
            lost => format!("- skipped {lost}\n"),
        };
        if is_meant && as_json {
            let fields = fields(&message, printer.statistics);
            text.push_str(&events2_json::line(&message, &fields).unwrap_or_default());
        } else if is_meant {
            text.push_str(&printer.line(&message).unwrap_or_default());
        }
        if !terminal.print(&text) || done && arguments.has("now") {
            return Ok(0);
        }
    }
}

/// A field: its name, its value, and when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name.
    pub name: &'static str,
    /// Value as `events2` prints it.
    pub value: String,
    /// A change shows it even if its value is the old one.
    always: bool,
}

struct Printer {
    statistics: bool,
    timestamps: bool,
    /// Last printed fields of each object.
    seen: HashMap<String, Vec<Field>>,
    /// Sequence number of the last notification.
    last: Option<u32>,
    /// Time of the event that is not complete yet.
    stamp: Option<String>,
}

impl Printer {
    fn new(statistics: bool, timestamps: bool) -> Self {
        Self {
            statistics,
            timestamps,
            seen: HashMap::new(),
            last: None,
            stamp: None,
        }
    }

    /// How many notifications were lost. Parts of the dump carry the number of the request, `asked`; messages of
    /// the older form are counted apart.
    fn skipped(&mut self, sequence: u32, asked: u32, message: &Message) -> u32 {
        if sequence == asked || message.command == command::EVENT {
            return 0;
        }
        let step = self.last.map_or(1, |last| sequence.wrapping_sub(last));
        if step > u32::MAX / 2 {
            // Late, not lost.
            return 0;
        }
        self.last = Some(sequence);
        step.saturating_sub(1)
    }

    fn line(&mut self, message: &Message) -> Option<String> {
        let kind = message.u32(container::NOTIFICATION_HEADER, 1)?;
        let action = action(kind)?;
        let stamp = self.stamp(kind & CONTINUES != 0);
        if message.command == command::INITIAL_STATE_DONE {
            return Some(format!("{stamp}exists -\n"));
        }
        let key = key(message)?;
        let fields = fields(message, self.statistics);
        let mut text = format!("{stamp}{action} {key}");
        let old = match action {
            "destroy" => {
                self.seen.remove(&key);
                return Some(text + "\n");
            }
            "call" | "response" => None,
            _ => self.seen.insert(key, fields.clone()),
        };
        let old = old.filter(|_| action == "change").unwrap_or_default();
        for field in fields
            .iter()
            .filter(|field| field.always || !old.contains(field))
        {
            let _ = write!(text, " {}:{}", field.name, field.value);
        }
        text.push('\n');
        Some(text)
    }

    /// The time in front of a line. All lines of one event have the same.
    fn stamp(&mut self, continues: bool) -> String {
        if !self.timestamps {
            return String::new();
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let stamp = self.stamp.take().unwrap_or_else(|| timestamp(now));
        if continues {
            self.stamp = Some(stamp.clone());
        }
        stamp
    }
}

/// The word for the type of a notification.
pub fn action(kind: u32) -> Option<&'static str> {
    ["exists", "create", "change", "destroy", "call", "response"]
        .get((kind & !CONTINUES) as usize)
        .copied()
}

/// Object and the fields that name it.
fn key(message: &Message) -> Option<String> {
    let context = context(message);
    let name = context.resource.unwrap_or_default();
    let peer = if context.peer_address.is_some() {
        " peer-node-id:0 conn-name:peer"
    } else {
        " peer-node-id:0"
    };
    let volume = context
        .volume
        .map_or(String::new(), |volume| format!(" volume:{volume}"));
    let minor = if message.minor == u32::MAX {
        String::new()
    } else {
        format!(" minor:{}", message.minor)
    };
    Some(match message.command {
        command::RESOURCE_STATE => format!("resource name:{name}"),
        command::CONNECTION_STATE => format!("connection name:{name}{peer}"),
        command::DEVICE_STATE => format!("device name:{name}{volume}{minor}"),
        command::PEER_DEVICE_STATE => format!("peer-device name:{name}{peer}{volume}"),
        command::HELPER => format!("helper name:{name}{peer}{volume}{minor}"),
        _ => return None,
    })
}

/// Collects fields.
#[derive(Default)]
struct Fields(Vec<Field>);

impl Fields {
    fn when_changed(&mut self, name: &'static str, value: impl ToString) {
        self.0.push(Field {
            name,
            value: value.to_string(),
            always: false,
        });
    }

    fn always(&mut self, name: &'static str, value: impl ToString) {
        self.0.push(Field {
            name,
            value: value.to_string(),
            always: true,
        });
    }
}

fn yes(set: Option<bool>) -> &'static str {
    if set.unwrap_or(false) {
        "yes"
    } else {
        "no"
    }
}

fn fields(message: &Message, statistics: bool) -> Vec<Field> {
    let mut fields = Fields::default();
    match message.command {
        command::RESOURCE_STATE => resource_fields(message, statistics, &mut fields),
        command::CONNECTION_STATE => connection_fields(message, statistics, &mut fields),
        command::DEVICE_STATE => device_fields(message, statistics, &mut fields),
        command::PEER_DEVICE_STATE => peer_fields(message, statistics, &mut fields),
        command::HELPER => {
            fields.always(
                "helper",
                message.text(container::HELPER, 1).unwrap_or_default(),
            );
            if message
                .u32(container::NOTIFICATION_HEADER, 1)
                .is_some_and(|kind| kind & !CONTINUES == 5)
            {
                fields.always("status", message.u32(container::HELPER, 2).unwrap_or(0));
            }
        }
        _ => {}
    }
    fields.0
}

fn resource_fields(message: &Message, statistics: bool, fields: &mut Fields) {
    let info = container::RESOURCE_INFO;
    fields.when_changed("role", role_name(message.u32(info, 1).unwrap_or(0)));
    let set = |number| message.flag(info, number).unwrap_or(false);
    let state = State {
        susp: set(2),
        susp_nod: set(3),
        susp_fen: set(4),
        ..State::default()
    };
    fields.when_changed("suspended", state.suspended());
    if statistics {
        let number = message.u32(container::RESOURCE_STATISTICS, 1).unwrap_or(0);
        fields.when_changed(
            "write-ordering",
            ["none", "drain", "flush"]
                .get(number as usize)
                .unwrap_or(&"none"),
        );
    }
}

fn connection_fields(message: &Message, statistics: bool, fields: &mut Fields) {
    let info = container::CONNECTION_INFO;
    fields.when_changed(
        "connection",
        connection_name(message.u32(info, 1).unwrap_or(0)),
    );
    fields.when_changed("role", role_name(message.u32(info, 2).unwrap_or(0)));
    if statistics {
        fields.when_changed(
            "congested",
            yes(message.flag(container::CONNECTION_STATISTICS, 1)),
        );
    }
}

fn device_fields(message: &Message, statistics: bool, fields: &mut Fields) {
    fields.when_changed(
        "disk",
        disk_name(message.u32(container::DEVICE_INFO, 1).unwrap_or(0)),
    );
    if !statistics {
        return;
    }
    let numbers = container::DEVICE_STATISTICS;
    for (number, name) in [(1, "size"), (2, "read"), (3, "written")] {
        fields.always(name, message.u64(numbers, number).unwrap_or(0) / 2);
    }
    for (number, name) in [(4, "al-writes"), (5, "bm-writes")] {
        fields.always(name, message.u64(numbers, number).unwrap_or(0));
    }
    for (number, name) in [(6, "upper-pending"), (7, "lower-pending")] {
        fields.always(name, message.u32(numbers, number).unwrap_or(0));
    }
    fields.when_changed("al-suspended", yes(message.flag(numbers, 10)));
    fields.when_changed("blocked", super::status_text::blocked(message));
}

fn peer_fields(message: &Message, statistics: bool, fields: &mut Fields) {
    let info = container::PEER_DEVICE_INFO;
    fields.when_changed(
        "replication",
        replication_name(message.u32(info, 1).unwrap_or(0)),
    );
    fields.when_changed("peer-disk", disk_name(message.u32(info, 2).unwrap_or(0)));
    let set = |number| message.u32(info, number).unwrap_or(0) != 0;
    let state = State {
        user_isp: set(3),
        peer_isp: set(4),
        aftr_isp: set(5),
        ..State::default()
    };
    fields.when_changed("resync-suspended", state.resync_suspended());
    if !statistics {
        return;
    }
    let numbers = container::PEER_DEVICE_STATISTICS;
    for (number, name) in [(1, "received"), (2, "sent"), (5, "out-of-sync")] {
        fields.always(name, message.u64(numbers, number).unwrap_or(0) / 2);
    }
    for (number, name) in [(3, "pending"), (4, "unacked")] {
        fields.always(name, message.u32(numbers, number).unwrap_or(0));
    }
}

/// `YYYY-MM-DDTHH:MM:SS.ffffff+00:00 ` of a time since 1970.
pub fn timestamp(since_1970: Duration) -> String {
    let (days, seconds) = (since_1970.as_secs() / 86400, since_1970.as_secs() % 86400);
    // Years are counted from March, so that a leap day is the last of its year, in eras of 400 years.
    let from_march_0000 = days + 719_468;
    let (era, day_of_era) = (from_march_0000 / 146_097, from_march_0000 % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}+00:00 ",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since_1970.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_recorded() {
        let at = |seconds, micros: u32| timestamp(Duration::new(seconds, micros * 1000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000+00:00 ");
        assert_eq!(at(951_782_400, 5), "2000-02-29T00:00:00.000005+00:00 ");
        assert_eq!(
            at(1_795_224_321, 623_200),
            "2026-11-21T01:25:21.623200+00:00 "
        );
    }

    #[test]
    fn lost_notifications_are_counted() {
        let message = Message {
            command: command::DEVICE_STATE,
            minor: 0,
            code: 101,
            attributes: Vec::new(),
        };
        let old_form = Message {
            command: command::EVENT,
            ..message.clone()
        };
        let mut printer = Printer::new(false, false);
        assert_eq!(printer.skipped(500, 500, &message), 0);
        assert_eq!(printer.skipped(7, 500, &message), 0);
        assert_eq!(printer.skipped(3, 500, &old_form), 0);
        assert_eq!(printer.skipped(8, 500, &message), 0);
        assert_eq!(printer.skipped(12, 500, &message), 3);
        assert_eq!(printer.skipped(10, 500, &message), 0);
        assert_eq!(printer.skipped(13, 500, &message), 0);
    }
}
