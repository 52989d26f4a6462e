// SPDX-License-Identifier: GPL-2.0
//! `events`: the stream of state changes, one line each, in the older form (netlink-and-tools.md section 5).

use super::outcome::Failure;
use super::parse::{parse_minor, Arguments};
use super::terminal::Terminal;
use drbd_core::genl::{command, container};
use drbd_core::state::State;
use netlink_api::client::Error;
use netlink_api::status::{context, resync_percent};
use netlink_api::{Client, Context, Message, Request};

/// Prints the present state and then every change. Ends when standard output is closed.
pub async fn run(
    client: &mut Client,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let wanted = arguments.wanted();
    let fail = |error: Error| Failure::socket("events", &error);
    client.subscribe().map_err(fail)?;
    // The kernel filters by name only.
    let filter = wanted.filter(|w| parse_minor(w).is_err());
    let request = Request::new(command::GET_STATUS);
    let request = match filter {
        Some(name) => request.context(Context::resource(name)),
        None => request,
    };
    client.start_dump(&request.build()).await.map_err(fail)?;
    loop {
        let (sequence, message) = match client.event(None).await {
            Ok(Some(event)) => event,
            Ok(None) => continue,
            // A resource that is not there yet may come.
            Err(Error::Refused(..)) if filter.is_some() => continue,
            Err(Error::EndOfRecording | Error::Gone) => return Ok(0),
            Err(error) => return Err(fail(error)),
        };
        if wanted.is_none_or(|w| concerns(&message, w))
            && !terminal.print(&lines(sequence, &message))
        {
            return Ok(0);
        }
    }
}

fn concerns(message: &Message, wanted: &str) -> bool {
    context(message).resource.as_deref() == Some(wanted)
        || parse_minor(wanted).is_ok_and(|minor| minor == message.minor)
}

fn short(state: &State) -> String {
    let flag = |set: bool, on: char, off: char| if set { on } else { off };
    format!(
        "{{ cs:{} ro:{}/{} ds:{}/{} {}{}{}{} }}",
        state.conn.name(),
        state.role.name(),
        state.peer.name(),
        state.disk.name(),
        state.pdsk.name(),
        flag(state.is_suspended(), 's', 'r'),
        flag(state.aftr_isp, 'a', '-'),
        flag(state.peer_isp, 'p', '-'),
        flag(state.user_isp, 'u', '-')
    )
}

/// The lines for one message.
fn lines(sequence: u32, message: &Message) -> String {
    let info = container::STATE_INFO;
    let context = context(message);
    let name = context.resource.unwrap_or_default();
    let Some(reason) = message.u32(info, 1) else {
        return format!("{sequence} R - {name}\n");
    };
    let object = format!("{},{name}[{}]", message.minor, context.volume.unwrap_or(0));
    let state = |number| {
        let word = message.u32(info, number)?;
        State::unpack(word).ok().map(|state| short(&state))
    };
    let state = |number| state(number).unwrap_or_default();
    let helper = || message.text(info, 13).unwrap_or_default();
    match reason {
        2 => format!(
            "{sequence} ST-prev {object} {}\n{sequence} ST-new {object} {}\n{sequence} ST {object} {}\n",
            state(5),
            state(6),
            state(2)
        ),
        3 => format!("{sequence} UH {object} {}\n", helper()),
        4 => format!("{sequence} UH-post {object} {} 0x{:04x}\n", helper(), message.u32(info, 14).unwrap_or(0)),
        5 => format!("{sequence} SP {object} {}\n", resync_percent(message).unwrap_or_else(|| "100.0".into())),
        _ => format!("{sequence} ST {object} {}\n", state(2)),
    }
}
