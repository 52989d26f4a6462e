// SPDX-License-Identifier: GPL-2.0
//! Questions about one minor: role, cstate, dstate, state, show-gi, get-gi, check-resize, sh-status.

use super::commands::Command;
use super::gi;
use super::outcome::{check, Failure};
use super::parse::{parse_minor, Arguments};
use drbd_core::genl::{command as number, container, ret};
use drbd_core::state::{Conn, Disk, Role, State};
use netlink_api::{status, Client, Context, Message, Request};

/// Answers one of them.
pub async fn run(client: &mut Client, command: &Command, arguments: &Arguments) -> Result<u8, Failure> {
    if command.name == "sh-status" {
        for reply in select(client, arguments).await? {
            print!("{}", sh_status(&reply));
        }
        return Ok(0);
    }
    let object = arguments.object(command);
    let minor = arguments.minor.ok_or_else(|| Failure::tool("a minor is expected"))?;
    let request = Request::new(number::GET_STATUS).minor(minor).build();
    let reply = client.ask(&request).await.map_err(|e| Failure::socket(&object, &e))?;
    check(&object, &reply)?;
    let state = status::state(&reply).ok_or_else(|| Failure::tool("the driver sent no state"))?;
    if command.name == "state" {
        eprintln!("'state' is deprecated, use 'role' instead.");
    }
    match command.name {
        "get-gi" | "show-gi" => return gi::print(&reply, command.name == "show-gi"),
        "check-resize" => return check_resize(minor, &reply),
        _ if is_unconfigured(&state) => println!("Unconfigured"),
        "cstate" => println!("{}", state.conn.name()),
        "dstate" => println!("{}/{}", state.disk.name(), state.pdsk.name()),
        _ => println!("{}/{}", state.role.name(), state.peer.name()),
    }
    Ok(0)
}

/// StandAlone, Diskless and Secondary: there is nothing to tell.
pub fn is_unconfigured(state: &State) -> bool {
    state.conn == Conn::StandAlone && state.disk == Disk::Diskless && state.role == Role::Secondary
}

/// GET_STATUS of what the one optional operand names: a minor, a resource, or everything.
pub async fn select(client: &mut Client, arguments: &Arguments) -> Result<Vec<Message>, Failure> {
    let operand = arguments.operands.first().map_or("all", String::as_str);
    let resources = Request::new(number::GET_STATUS);
    if operand == "all" {
        return client.dump(&resources.build()).await.map_err(|e| Failure::socket("all", &e));
    }
    if let Ok(minor) = parse_minor(operand) {
        let reply = client
            .ask(&resources.minor(minor).build())
            .await
            .map_err(|e| Failure::socket(operand, &e))?;
        check(operand, &reply)?;
        return Ok(vec![reply]);
    }
    match client.dump(&resources.context(Context::resource(operand)).build()).await {
        Ok(replies) if replies.iter().all(|r| r.code == ret::NO_ERROR) => Ok(replies),
        Ok(_) => Err(super::outcome::no_such(operand)),
        Err(error) => Err(Failure::tool(format!(
            "received netlink error reply: {}",
            error.to_string().split(" (os").next().unwrap_or("")
        ))),
    }
}

fn sh_status(reply: &Message) -> String {
    let context = status::context(reply);
    let state = status::state(reply);
    let name = context.resource.unwrap_or_default();
    let volume = context.volume.map_or(String::new(), |v| v.to_string());
    let mut text = format!("_minor={}\n_res_name={name}\n_volume={volume}\n", reply.minor as i32);
    match state {
        Some(state) if !is_unconfigured(&state) => {
            let flag = |set: bool| if set { "1" } else { "" };
            let susp = state.susp || state.susp_nod || state.susp_fen;
            text.push_str(&format!(
                "_known=Configured\n\n_cstate={}\n_role={}\n_peer={}\n_disk={}\n_pdsk={}\n\n",
                state.conn.name(),
                state.role.name(),
                state.peer.name(),
                state.disk.name(),
                state.pdsk.name()
            ));
            text.push_str(&format!(
                "_flags_susp={}\n_flags_aftr_isp={}\n_flags_peer_isp={}\n_flags_user_isp={}\n\n",
                flag(susp),
                flag(state.aftr_isp),
                flag(state.peer_isp),
                flag(state.user_isp)
            ));
            let percent = percent(reply).map_or(String::new(), |p| format!("{p:.2}"));
            text.push_str(&format!("_resynced_percent={percent}\n"));
        }
        _ => text.push_str("_known=Unconfigured\n"),
    }
    text.push_str("\n_sh_status_process\n\n\n");
    text
}

/// How much of a running resync is done, in percent.
pub fn percent(reply: &Message) -> Option<f64> {
    let total = reply.u64(container::STATE_INFO, 11)?;
    let left = reply.u64(container::STATE_INFO, 10)?;
    (total > 0).then(|| 100.0 * (total.saturating_sub(left)) as f64 / total as f64)
}

/// Remembers the size of the backing device for internal metadata, for a later grow offline.
fn check_resize(minor: u32, reply: &Message) -> Result<u8, Failure> {
    let path = reply.text(container::DISK_CONF, 1);
    let internal = reply.u32(container::DISK_CONF, 3).is_some_and(|i| i as i32 == -3 || i as i32 == -1);
    if let (Some(path), true) = (path, internal) {
        let bytes = std::fs::File::open(&path)
            .and_then(|mut f| std::io::Seek::seek(&mut f, std::io::SeekFrom::End(0)))
            .map_err(|e| Failure::tool(format!("{path}: {e}")))?;
        let file = format!("/var/lib/drbd/drbd-minor-{minor}.lkbd");
        std::fs::write(&file, format!("{bytes}\t{path}\n")).map_err(|e| Failure::tool(format!("{file}: {e}")))?;
    }
    Ok(0)
}
