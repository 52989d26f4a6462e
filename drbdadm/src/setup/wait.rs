// SPDX-License-Identifier: GPL-2.0
//! `wait-connect` and `wait-sync`.

use super::commands::Command;
use super::events::state_of;
use super::outcome::{check, Failure};
use super::parse::Arguments;
use drbd_core::genl::{command as number, container};
use drbd_core::state::{Conn, State};
use netlink_api::{Client, Request};
use std::time::{Duration, Instant};

/// Exit code of a timeout.
const TIMED_OUT: u8 = 5;

/// Waits until the connection is there, or the resync done.
pub async fn run(client: &mut Client, command: &Command, arguments: &Arguments) -> Result<u8, Failure> {
    let object = arguments.object(command);
    let minor = arguments.minor.ok_or_else(|| Failure::tool("a minor is expected"))?;
    let fail = |error: netlink_api::Error| Failure::socket(&object, &error);
    let reply = client
        .ask(&Request::new(number::GET_TIMEOUT_TYPE).minor(minor).build())
        .await
        .map_err(fail)?;
    check(&object, &reply)?;
    let option = match reply.u32(container::TIMEOUT_PARMS, 1) {
        Some(2) => "outdated-wfc-timeout",
        Some(1) => "degr-wfc-timeout",
        _ => "wfc-timeout",
    };
    let seconds: u64 = match arguments.value(option) {
        Some(text) => text
            .parse()
            .map_err(|_| Failure::tool(format!("--{option}: {text} is not a number of seconds")))?,
        None => 0,
    };
    let after_split_brain = arguments.value("wait-after-sb").is_some_and(|v| v == "yes");
    let deadline = (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds));
    client.subscribe().map_err(fail)?;
    let reply = client
        .ask(&Request::new(number::GET_STATUS).minor(minor).build())
        .await
        .map_err(fail)?;
    check(&object, &reply)?;
    let sync = command.name == "wait-sync";
    let mut state = state_of(&reply);
    loop {
        if state.is_some_and(|s| is_done(&s, sync, after_split_brain)) {
            return Ok(0);
        }
        let limit = match deadline {
            None => None,
            Some(end) => match end.checked_duration_since(Instant::now()) {
                Some(left) => Some(left),
                None => return Ok(TIMED_OUT),
            },
        };
        match client.event(limit).await.map_err(fail)? {
            None => return Ok(TIMED_OUT),
            Some((_, message)) if message.minor == minor => state = state_of(&message).or(state),
            Some(_) => {}
        }
    }
}

fn is_done(state: &State, sync: bool, after_split_brain: bool) -> bool {
    if state.conn < Conn::Unconnected && !after_split_brain {
        return true;
    }
    if sync {
        state.conn == Conn::Connected
    } else {
        state.conn >= Conn::Connected
    }
}
