// SPDX-License-Identifier: GPL-2.0
//! Commands that are one request.

use super::commands::{Command, Operand};
use super::outcome::{check, Failure};
use super::parse::{parse_index, parse_minor, Arguments};
use drbd_core::genl::{command as number, container, ret};
use netlink_api::build::parse_address;
use netlink_api::{Client, Context, Message, Request};
use rustix::fs::{flock, FlockOperation};
use std::fs::File;
use std::os::unix::fs::FileTypeExt;

/// Sends the request of a command and judges the reply.
pub async fn run(client: &mut Client, command: &Command, arguments: &Arguments) -> Result<u8, Failure> {
    let object = arguments.object(command);
    let _lock = lock_minor(command, arguments)?;
    if command.number == number::ATTACH {
        for path in &arguments.operands[1..3] {
            check_device(path)?;
        }
    }
    let message = build(command, arguments)?;
    let reply = client
        .ask(&message)
        .await
        .map_err(|e| Failure::socket(&object, &e))?;
    check(&object, &reply)?;
    Ok(0)
}

/// `down`: an unknown resource is down already.
pub async fn down(client: &mut Client, arguments: &Arguments) -> Result<u8, Failure> {
    let name = &arguments.operands[0];
    let message = Request::new(number::DOWN).context(Context::resource(name)).build();
    let reply = client.ask(&message).await.map_err(|e| Failure::socket(name, &e))?;
    if reply.code == ret::RES_NOT_KNOWN {
        return Ok(0);
    }
    check(name, &reply)?;
    Ok(0)
}

/// The request for a command line.
pub fn build(command: &Command, arguments: &Arguments) -> Result<Message, Failure> {
    let mut context = Context::default();
    let mut request = Request::new(command.number);
    let (mut devices, mut index) = (Vec::new(), 0);
    for (operand, text) in command.operands.iter().zip(&arguments.operands) {
        match operand {
            Operand::Minor => request = request.minor(parse_minor(text)?),
            Operand::Resource => context.resource = Some(text.clone()),
            Operand::Volume => context.volume = text.parse().ok(),
            Operand::Local => context.own_address = Some(parse_address(text).map_err(Failure::tool)?),
            Operand::Peer => context.peer_address = Some(parse_address(text).map_err(Failure::tool)?),
            Operand::Disk | Operand::MetaDisk => devices.push(text.clone()),
            Operand::MetaIndex => index = parse_index(text)?,
            Operand::Any => {}
        }
    }
    if context != Context::default() {
        request = request.context(context);
    }
    let attach = command.number == number::ATTACH;
    let message = request
        .set_defaults(arguments.has("set-defaults"))
        .options(command.container, arguments.options.clone(), attach)
        .build_with(if attach { container::DISK_CONF } else { 0 }, |writer| {
            for (number, path) in (1u16..).zip(&devices) {
                writer.string(number, path.as_bytes());
            }
            writer.u32(3, index as u32);
        });
    Ok(message)
}

/// The lock that keeps two tools from working on one minor (`/var/lock/drbd-147-MINOR`).
fn lock_minor(command: &Command, arguments: &Arguments) -> Result<Option<File>, Failure> {
    let Some(minor) = arguments.minor.filter(|_| command.operands == [Operand::Minor] || command.number == number::ATTACH) else {
        return Ok(None);
    };
    let path = format!("/var/lock/drbd-147-{minor}");
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| Failure::tool(format!("open({path}): {e}")))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        eprintln!("Waiting for another tool that works on minor {minor} ...");
        for _ in 0..300 {
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Some(file));
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        return Err(Failure::tool(format!("{path} is still locked by another process after 30 s")));
    }
    Ok(Some(file))
}

fn check_device(path: &str) -> Result<(), Failure> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| Failure::tool(format!("Can't open {path}: {e}")))?;
    let is_block = file.metadata().is_ok_and(|m| m.file_type().is_block_device());
    if !is_block {
        return Err(Failure::tool(format!("{path} is not a block device!")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::commands::COMMANDS;
    use super::*;

    fn hex(line: &[&str]) -> String {
        let command = COMMANDS.iter().find(|c| c.name == line[0]).expect("known");
        let rest: Vec<String> = line[1..].iter().map(|s| s.to_string()).collect();
        let arguments = Arguments::parse(command, &rest).expect("accepted");
        let message = build(command, &arguments).expect("built");
        message.attributes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn an_attach_is_encoded_as_recorded() {
        assert_eq!(
            hex(&["attach", "0", "/dev/vda", "/dev/vda", "internal"]),
            "2c0003800d0001002f6465762f766461000000000d0002002f6465762f7664610000000008000300fdffffff"
        );
    }

    #[test]
    fn a_connect_carries_name_and_addresses() {
        let text = hex(&["connect", "r0", "ipv4:10.0.0.1:7789", "ipv4:10.0.0.2:7789", "--protocol=C"]);
        assert!(text.contains("0200"), "{text}");
        assert!(text.ends_with("0800064003000000"), "{text}");
    }
}
