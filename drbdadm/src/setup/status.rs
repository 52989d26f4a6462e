// SPDX-License-Identifier: GPL-2.0
//! `status`: the state of resources, short or in full.

use super::outcome::{no_such, Failure};
use super::parse::Arguments;
use super::status_text::render;
use super::terminal::Terminal;
use drbd_core::genl::{command, ret};
use netlink_api::status::context;
use netlink_api::{Client, Context, Message, Request};

/// What is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// Everything, also what is as it should be.
    pub verbose: bool,
    /// Counters.
    pub statistics: bool,
    /// With colours.
    pub color: bool,
}

/// The parts of one resource.
#[derive(Clone, Debug)]
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

impl Parts {
    /// Whether the resource was there all the time.
    fn is_complete(&self) -> bool {
        let mut all = self
            .devices
            .iter()
            .chain(&self.connections)
            .chain(&self.peers);
        all.all(|message| message.code == ret::NO_ERROR)
    }
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
        let parts = Parts {
            resource,
            devices,
            connections,
            peers,
        };
        if parts.is_complete() {
            found.push(parts);
        }
    }
    Ok(found)
}
