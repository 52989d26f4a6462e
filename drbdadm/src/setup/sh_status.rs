// SPDX-License-Identifier: GPL-2.0
//! `sh-status`: the state of volumes as assignments for a shell (config-and-cli.md section 14).

use super::outcome::{check, Failure};
use super::parse::{parse_minor, Arguments};
use super::query::is_unconfigured;
use super::terminal::Terminal;
use crate::adm::shell_escape;
use drbd_core::genl::{command as number, ret};
use drbd_core::state::State;
use netlink_api::client::Error;
use netlink_api::{status, Client, Context, Message, Request};

/// Exit code for a resource that is not there.
const NO_SUCH_RESOURCE: u8 = 19;

/// Asks and prints. A minor that is not there is shown as such.
pub async fn run(
    client: &mut Client,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let request = Request::new(number::GET_STATUS);
    let fail = |object: &str, error: &Error| Failure::socket(object, error);
    let Some(wanted) = arguments.wanted() else {
        let replies = client
            .dump(&request.build())
            .await
            .map_err(|e| Failure::dump(&e))?;
        terminal.print(&replies.iter().map(block).collect::<String>());
        return Ok(0);
    };
    if let Ok(minor) = parse_minor(wanted) {
        let reply = client
            .ask(&request.minor(minor).build())
            .await
            .map_err(|e| fail(wanted, &e))?;
        if reply.code != ret::MINOR_INVALID {
            check(wanted, &reply)?;
        }
        terminal.print(&block(&reply));
        return Ok(0);
    }
    match client
        .dump(&request.context(Context::resource(wanted)).build())
        .await
    {
        Ok(replies) => {
            terminal.print(&replies.iter().map(block).collect::<String>());
            Ok(0)
        }
        Err(Error::Refused(..)) => Err(Failure::with_code(NO_SUCH_RESOURCE, "")),
        Err(error) => Err(fail(wanted, &error)),
    }
}

/// The assignments for one volume.
pub fn block(reply: &Message) -> String {
    let context = status::context(reply);
    // what is printed is for `eval`, and a name may be anything without a slash
    let name = shell_escape(&context.resource.unwrap_or_default());
    let volume = context.volume.map_or("-1".to_string(), |v| v.to_string());
    let state = status::state(reply);
    let known = match &state {
        None => "NA # not available or not yet created",
        Some(state) if is_unconfigured(state) => "Unconfigured",
        Some(_) => "Configured",
    };
    let mut text = format!(
        "_minor={}\n_res_name={name}\n_volume={volume}\n_known={known}\n\n",
        reply.minor
    );
    match state {
        Some(state) if !is_unconfigured(&state) => text.push_str(&configured(&state, reply)),
        _ => text.push_str(
            "_cstate=Unconfigured\n_role=\n_peer=\n_disk=\n_pdsk=\n_flags_susp=\n_flags_aftr_isp=\n_flags_peer_isp=\n\
             _flags_user_isp=\n_resynced_percent=\n",
        ),
    }
    text.push_str("\n_sh_status_process\n\n\n");
    text
}

fn configured(state: &State, reply: &Message) -> String {
    let flag = |set: bool| if set { "1" } else { "" };
    format!(
        "_cstate={}\n_role={}\n_peer={}\n_disk={}\n_pdsk={}\n\n\
         _flags_susp={}\n_flags_aftr_isp={}\n_flags_peer_isp={}\n_flags_user_isp={}\n\n_resynced_percent={}\n",
        state.conn.name(),
        state.role.name(),
        state.peer.name(),
        state.disk.name(),
        state.pdsk.name(),
        flag(state.is_suspended()),
        flag(state.aftr_isp),
        flag(state.peer_isp),
        flag(state.user_isp),
        status::resync_percent(reply).unwrap_or_default()
    )
}
