// SPDX-License-Identifier: GPL-2.0
//! Commands that are one request.

use super::commands::{Command, Operand};
use super::outcome::{check, Failure};
use super::parse::Arguments;
use super::terminal::Terminal;
use drbd_core::genl::{command as number, container, ret};
use netlink_api::client::Error;
use netlink_api::{status, Client, Context, Message, Request};

/// Sends the request of a command and judges the reply.
pub async fn run(
    client: &mut Client,
    command: &Command,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let object = arguments.object(command);
    let reply = client
        .ask(&build(command, arguments))
        .await
        .map_err(|e| Failure::socket(&object, &e))?;
    check(&object, &reply)?;
    match (command.number, arguments.minor) {
        (number::DEL_MINOR, Some(minor)) => terminal.registry.forget_minor(minor),
        (number::DEL_RESOURCE, _) => terminal.registry.forget_resource(&object),
        _ => {}
    }
    Ok(0)
}

/// `down`: an unknown resource is down already. The minors are asked for first, because they are gone afterwards.
pub async fn down(
    client: &mut Client,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let name = arguments.operands.first().map_or("", String::as_str);
    let about = |command| {
        Request::new(command)
            .context(Context::resource(name))
            .build()
    };
    let volumes = match client.dump(&about(number::GET_STATUS)).await {
        Ok(volumes) => volumes,
        Err(Error::Refused(..)) => Vec::new(),
        Err(error) => return Err(Failure::socket(name, &error)),
    };
    let reply = client
        .ask(&about(number::DOWN))
        .await
        .map_err(|e| Failure::socket(name, &e))?;
    if reply.code != ret::RES_NOT_KNOWN {
        check(name, &reply)?;
    }
    for volume in volumes
        .iter()
        .filter(|v| status::context(v).volume.is_some())
    {
        terminal.registry.forget_minor(volume.minor);
    }
    terminal.registry.forget_resource(name);
    Ok(0)
}

/// The request for a command line.
pub fn build(command: &Command, arguments: &Arguments) -> Message {
    let [own_address, peer_address] = arguments.addresses.clone();
    let operand = |wanted: Operand| {
        let at = command
            .operands
            .iter()
            .position(|operand| *operand == wanted)?;
        arguments.operands.get(at).cloned()
    };
    let context = Context {
        volume: arguments.volume,
        resource: operand(Operand::Resource),
        own_address,
        peer_address,
    };
    let mut request = Request::new(command.number).set_defaults(arguments.has("set-defaults"));
    if let Some(minor) = arguments.minor {
        request = request.minor(minor);
    }
    if context != Context::default() {
        request = request.context(context);
    }
    let attach = command.number == number::ATTACH;
    request
        .options(command.container, arguments.options.clone(), attach)
        .build_with(if attach { container::DISK_CONF } else { 0 }, |writer| {
            for (number, path) in [(1, operand(Operand::Disk)), (2, operand(Operand::MetaDisk))] {
                writer.string(number, path.unwrap_or_default().as_bytes());
            }
            writer.u32(3, arguments.index as u32);
        })
}
