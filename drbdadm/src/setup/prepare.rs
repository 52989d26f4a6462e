// SPDX-License-Identifier: GPL-2.0
//! What is checked on this host before the driver is asked: one tool at a time on a minor, and devices that can be opened.

use super::commands::{Action, Command, Operand};
use super::outcome::Failure;
use super::parse::Arguments;
use super::terminal::Terminal;
use netlink_api::client::plain;
use rustix::fs::{fcntl_lock, FlockOperation};
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// How often a lock that is held is tried again, and how long to wait in between.
const TRIES: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

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
        Some(minor) => Some(lock(
            Path::new(&format!("/var/lock/drbd-147-{minor}")),
            minor,
            terminal,
        )?),
        None => None,
    };
    for (operand, path) in command.operands.iter().zip(&arguments.operands) {
        if matches!(operand, Operand::Disk | Operand::MetaDisk) {
            check_device(path)?;
        }
    }
    Ok(lock)
}

/// A write lock of the kind the other tools take, so that old and new ones keep out of each other's way.
fn lock(path: &Path, minor: u32, terminal: &mut Terminal<'_>) -> Result<File, Failure> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Failure::tool(format!("open({}): {}", path.display(), plain(&e))))?;
    for round in 0..TRIES {
        if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(file);
        }
        if round == 0 {
            terminal.note(&format!(
                "Waiting for another tool that works on minor {minor} ..."
            ));
        }
        std::thread::sleep(PAUSE);
    }
    Err(Failure::tool(format!(
        "lock on {} is still held by another process after {} s",
        path.display(),
        TRIES / 10
    )))
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
