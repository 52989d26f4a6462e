// SPDX-License-Identifier: GPL-2.0
//! Questions about one minor: role, cstate, dstate, state, show-gi, get-gi, check-resize.

use super::commands::Command;
use super::gi;
use super::outcome::{check, no_such, Failure};
use super::parse::{parse_minor, Arguments};
use super::terminal::Terminal;
use drbd_core::genl::{command as number, container, ret};
use drbd_core::state::{Conn, Disk, Role, State};
use netlink_api::{status, Client, Context, Message, Request};
use std::io::{Seek, SeekFrom};

/// Answers one of them.
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
    if command.name == "state" {
        let program = terminal.program.clone();
        terminal.note(&format!(
            "'{program} ... state' is deprecated, use '{program} ... role' instead."
        ));
    }
    let request = Request::new(number::GET_STATUS).minor(minor).build();
    let reply = client
        .ask(&request)
        .await
        .map_err(|e| Failure::socket(&object, &e))?;
    check(&object, &reply)?;
    let state = status::state(&reply)
        .ok_or_else(|| Failure::tool(format!("{object}: the driver sent no state")))?;
    let unconfigured = is_unconfigured(&state);
    let line = match command.name {
        "get-gi" | "show-gi" if unconfigured => {
            return Err(Failure::with_code(1, "Device is unconfigured"))
        }
        "get-gi" | "show-gi" => gi::text(&reply, command.name == "show-gi")?,
        "check-resize" => return check_resize(minor, &reply),
        _ if unconfigured => "Unconfigured\n".into(),
        "cstate" => format!("{}\n", state.conn.name()),
        "dstate" => format!("{}/{}\n", state.disk.name(), state.pdsk.name()),
        _ => format!("{}/{}\n", state.role.name(), state.peer.name()),
    };
    terminal.print(&line);
    Ok(0)
}

/// StandAlone, Diskless and Secondary: there is nothing to tell.
pub fn is_unconfigured(state: &State) -> bool {
    state.conn == Conn::StandAlone && state.disk == Disk::Diskless && state.role == Role::Secondary
}

/// GET_STATUS of what the one optional operand names: a minor, a resource, or everything.
pub async fn select(client: &mut Client, arguments: &Arguments) -> Result<Vec<Message>, Failure> {
    let request = Request::new(number::GET_STATUS);
    let Some(wanted) = arguments.wanted() else {
        return client
            .dump(&request.build())
            .await
            .map_err(|e| Failure::dump(&e));
    };
    if let Ok(minor) = parse_minor(wanted) {
        let reply = client
            .ask(&request.minor(minor).build())
            .await
            .map_err(|e| Failure::socket(wanted, &e))?;
        check(wanted, &reply)?;
        return Ok(vec![reply]);
    }
    let replies = client
        .dump(&request.context(Context::resource(wanted)).build())
        .await
        .map_err(|e| Failure::dump(&e))?;
    if replies.iter().any(|reply| reply.code != ret::NO_ERROR) {
        return Err(no_such(wanted));
    }
    Ok(replies)
}

/// Notes the size of the backing device for internal metadata, so that the metadata is found when the device has grown
/// meanwhile; other kinds need no note (metadata.md section 10.4).
fn check_resize(minor: u32, reply: &Message) -> Result<u8, Failure> {
    let file = format!("/var/lib/drbd/drbd-minor-{minor}.lkbd");
    let path = reply.text(container::DISK_CONF, 1);
    let internal = reply
        .u32(container::DISK_CONF, 3)
        .is_some_and(|i| i as i32 == -3 || i as i32 == -1);
    let Some(path) = path.filter(|_| internal) else {
        // Most often there is none.
        let _ = std::fs::remove_file(&file);
        return Ok(0);
    };
    let bytes = std::fs::File::open(&path)
        .and_then(|mut device| device.seek(SeekFrom::End(0)))
        .map_err(|e| {
            Failure::tool(format!(
                "Can not open device '{path}': {}",
                netlink_api::client::plain(&e)
            ))
        })?;
    let uuid_line: String = std::fs::read_to_string(&file)
        .unwrap_or_default()
        .lines()
        .filter(|line| line.starts_with("uuid:"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file, format!("{bytes}\t{path}\n{uuid_line}"))
        .map_err(|e| Failure::tool(format!("{file}: {}", netlink_api::client::plain(&e))))?;
    Ok(0)
}
