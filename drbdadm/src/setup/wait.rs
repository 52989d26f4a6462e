// SPDX-License-Identifier: GPL-2.0
//! `wait-connect` and `wait-sync` (config-and-cli.md section 12).

use super::commands::Command;
use super::outcome::{check, Failure};
use super::parse::{not_a_number, number as parse_number, Arguments};
use super::terminal::Terminal;
use drbd_core::genl::{command as number, container, ret};
use drbd_core::state::{Conn, State};
use netlink_api::client::Error;
use netlink_api::{status, Client, Message, Request};
use std::time::{Duration, Instant};

/// Exit code of a timeout.
const TIMED_OUT: u8 = 5;
/// Longest timeout in seconds.
const LONGEST_SECONDS: i64 = 300_000;

/// How long to wait in seconds, 0 for ever: as a rule, on a node that was degraded, and with a peer that is outdated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timeouts {
    normal: i64,
    degraded: i64,
    outdated: i64,
}

impl Timeouts {
    fn parse(arguments: &Arguments) -> Result<Self, Failure> {
        let read = |option: &str| -> Result<i64, Failure> {
            let Some(text) = arguments.value(option) else {
                return Ok(0);
            };
            let seconds = parse_number(text).ok_or_else(|| not_a_number(text))?;
            if !(0..=LONGEST_SECONDS).contains(&seconds) {
                let name = option.replace('-', "_");
                return Err(Failure::tool(format!(
                    "{name} => {seconds} out of range [0..{LONGEST_SECONDS}]"
                )));
            }
            Ok(seconds)
        };
        Ok(Self {
            normal: read("wfc-timeout")?,
            degraded: read("degr-wfc-timeout")?,
            outdated: read("outdated-wfc-timeout")?,
        })
    }

    /// Shortens those that would be longer than they may be, and says so. The last is set to the first, as recorded, though
    /// the text speaks of the second.
    fn correct(&mut self, terminal: &mut Terminal<'_>) {
        let mut say = |name: &str, than: &str, seconds: i64| {
            terminal.note(&format!("{name} has to be shorter than {than}"));
            terminal.note(&format!("{name} implicitly set to {than} ({seconds}s)"));
        };
        if self.normal > 0 && (self.degraded == 0 || self.degraded > self.normal) {
            self.degraded = self.normal;
            say("degr-wfc-timeout", "wfc-timeout", self.degraded);
        }
        if self.degraded > 0 && (self.outdated == 0 || self.outdated > self.degraded) {
            self.outdated = self.normal;
            say("outdated-wfc-timeout", "degr-wfc-timeout", self.degraded);
        }
    }

    /// The one that counts, by the driver's answer.
    fn choose(&self, reply: &Message) -> Option<Duration> {
        let seconds = match reply.u32(container::TIMEOUT_PARMS, 1) {
            Some(2) => self.outdated,
            Some(1) => self.degraded,
            _ => self.normal,
        };
        u64::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs)
    }
}

/// What is waited for.
struct Goal {
    sync: bool,
    after_split_brain: bool,
    /// That StandAlone is waited for was said.
    said: bool,
}

/// Waits until the connection is there, or the resync done.
pub async fn run(
    client: &mut Client,
    command: &Command,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let object = arguments.object(command);
    let minor = arguments
        .minor
        .ok_or_else(|| Failure::tool("a minor is expected"))?;
    let mut timeouts = Timeouts::parse(arguments)?;
    timeouts.correct(terminal);
    let fail = |error: Error| Failure::socket(&object, &error);
    let limit = timeouts.choose(&ask_timeout_type(client, minor).await?);
    let deadline = limit.map(|limit| Instant::now() + limit);
    client.subscribe().map_err(fail)?;
    let reply = client
        .ask(&Request::new(number::GET_STATUS).minor(minor).build())
        .await
        .map_err(fail)?;
    check(&object, &reply)?;
    let mut goal = Goal {
        sync: command.name == "wait-sync",
        after_split_brain: arguments.has("wait-after-sb")
            && arguments.value("wait-after-sb") != Some("no"),
        said: false,
    };
    let mut latest = reply;
    loop {
        if status::state(&latest).is_some_and(|state| goal.is_reached(&state, &latest, terminal)) {
            return Ok(0);
        }
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(TIMED_OUT);
        }
        match client.event(left).await.map_err(fail)? {
            None => return Ok(TIMED_OUT),
            Some((_, message)) if message.minor != minor => {}
            Some((_, message)) if is_end(&message) => {
                return Err(Failure::tool(format!("{object}: the minor was deleted")))
            }
            Some((_, message)) => latest = message,
        }
    }
}

async fn ask_timeout_type(client: &mut Client, minor: u32) -> Result<Message, Failure> {
    let request = Request::new(number::GET_TIMEOUT_TYPE).minor(minor).build();
    let reason = match client.ask(&request).await {
        Ok(reply) if reply.code == ret::NO_ERROR => return Ok(reply),
        Ok(reply) if reply.code == ret::MINOR_INVALID => "minor not available".to_string(),
        Ok(reply) => ret::text(reply.code).map_or_else(|| reply.code.to_string(), str::to_string),
        Err(error) => error.to_string(),
    };
    Err(Failure::tool(format!(
        "error determining which timeout to use: {reason}"
    )))
}

/// The device is gone.
fn is_end(message: &Message) -> bool {
    message.command == number::DEVICE_STATE
        && message
            .u32(container::NOTIFICATION_HEADER, 1)
            .is_some_and(|kind| kind & 0x7fff == 3)
}

impl Goal {
    fn is_reached(
        &mut self,
        state: &State,
        message: &Message,
        terminal: &mut Terminal<'_>,
    ) -> bool {
        if state.conn < Conn::Unconnected && !self.after_split_brain {
            return true;
        }
        if state.conn == Conn::StandAlone && !self.said {
            self.said = true;
            let context = status::context(message);
            terminal.note(&format!(
                "drbd{} ({}[{}]) is StandAlone, but I'm configured to wait anways (--wait-after-sb)",
                message.minor,
                context.resource.unwrap_or_default(),
                context.volume.unwrap_or(0)
            ));
        }
        if self.sync {
            state.conn == Conn::Connected
        } else {
            state.conn >= Conn::Connected
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrected(normal: i64, degraded: i64, outdated: i64) -> (Timeouts, String) {
        let (mut out, mut error) = (Vec::new(), Vec::new());
        let mut timeouts = Timeouts {
            normal,
            degraded,
            outdated,
        };
        timeouts.correct(&mut Terminal::new("drbdsetup-84", &mut out, &mut error));
        (timeouts, String::from_utf8(error).expect("text"))
    }

    #[test]
    fn timeouts_are_corrected_with_the_recorded_texts() {
        let (timeouts, text) = corrected(5, 10, 20);
        assert_eq!(
            timeouts,
            Timeouts {
                normal: 5,
                degraded: 5,
                outdated: 5
            }
        );
        assert_eq!(
            text,
            "degr-wfc-timeout has to be shorter than wfc-timeout\n\
             degr-wfc-timeout implicitly set to wfc-timeout (5s)\n\
             outdated-wfc-timeout has to be shorter than degr-wfc-timeout\n\
             outdated-wfc-timeout implicitly set to degr-wfc-timeout (5s)\n"
        );
        assert_eq!(
            corrected(1, 1, 1),
            (
                Timeouts {
                    normal: 1,
                    degraded: 1,
                    outdated: 1
                },
                String::new()
            )
        );
        assert_eq!(corrected(0, 0, 0).1, "");
        assert_eq!(
            corrected(120, 60, 0).0,
            Timeouts {
                normal: 120,
                degraded: 60,
                outdated: 120
            }
        );
    }

    #[test]
    fn a_split_brain_ends_the_wait_unless_told_otherwise() {
        let (mut out, mut error) = (Vec::new(), Vec::new());
        let mut terminal = Terminal::new("drbdsetup-84", &mut out, &mut error);
        let message = Message {
            command: 2,
            minor: 3,
            code: 101,
            attributes: Vec::new(),
        };
        let mut reached = |conn, sync, after_split_brain| {
            let state = State {
                conn,
                ..State::default()
            };
            Goal {
                sync,
                after_split_brain,
                said: false,
            }
            .is_reached(&state, &message, &mut terminal)
        };
        assert!(reached(Conn::StandAlone, false, false));
        assert!(!reached(Conn::StandAlone, false, true));
        assert!(!reached(Conn::WFConnection, false, false));
        assert!(reached(Conn::SyncSource, false, false));
        assert!(!reached(Conn::SyncSource, true, false));
        assert!(reached(Conn::Connected, true, false));
        assert!(String::from_utf8_lossy(&error).starts_with("drbd3 ("));
    }
}
