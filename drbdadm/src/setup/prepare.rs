// SPDX-License-Identifier: GPL-2.0
//! What is checked on this host before the driver is asked: one tool at a time on a minor, and devices that can be opened.

use super::commands::{Action, Command, Operand};
use super::outcome::Failure;
use super::parse::Arguments;
use super::terminal::Terminal;
use crate::lock;
use netlink_api::client::plain;
use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Folder of the lock files.
const LOCKS: &str = "/var/lock";

/// Locks the minor for a command that changes it, and checks the devices of `attach`. The lock lasts as long as the file.
///
/// # Errors
/// What stands in the way.
pub fn prepare(
    command: &Command,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<Option<File>, Failure> {
    // A detach by force is there to end what another tool waits for.
    let forced = command.name == "detach" && !arguments.options.is_empty();
    let changes = command.action == Action::Request
        && command.operands.first() == Some(&Operand::Minor)
        && !forced;
    let lock = match arguments.minor.filter(|_| changes) {
        Some(minor) => {
            let locked = lock::take(Path::new(LOCKS), minor, &mut |text| terminal.note(text));
            Some(locked.map_err(Failure::tool)?)
        }
        None => None,
    };
    for (operand, path) in command.operands.iter().zip(&arguments.operands) {
        if matches!(operand, Operand::Disk | Operand::MetaDisk) {
            check_device(path)?;
        }
    }
    Ok(lock)
}

/// The driver opens the device itself; trying it first names the device and the reason.
fn check_device(path: &str) -> Result<(), Failure> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|e| Failure::tool(format!("Can not open device '{path}': {}", plain(&e))))?;
    let is_block = file
        .metadata()
        .is_ok_and(|m| m.file_type().is_block_device());
    if !is_block {
        return Err(Failure::tool(format!("{path} is not a block device!")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_are_none_are_named_with_the_reason() {
        let text = |path| check_device(path).expect_err(path).text;
        assert_eq!(
            text("/dev/nosuch"),
            "Can not open device '/dev/nosuch': No such file or directory"
        );
        assert_eq!(text("/dev/null"), "/dev/null is not a block device!");
    }
}
