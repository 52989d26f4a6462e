// SPDX-License-Identifier: GPL-2.0
//! One tool at a time on a minor, and none that changes metadata in use.

use super::{Call, Failure, USAGE};
use rustix::fs::{flock, FlockOperation};
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Takes the lock file of the minor; waits a second.
pub fn take(call: &Call) -> Result<Option<File>, Failure> {
    let Some(minor) = call.minor else { return Ok(None) };
    let path = format!("/var/lock/drbd-147-{minor}");
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| Failure::new(USAGE, format!("open({path}): {e}")))?;
    for _ in 0..10 {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(Some(file));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Failure::new(USAGE, format!("lock on {path} currently held by another process")))
}

/// Whether the driver has the minor attached.
pub fn is_attached(call: &Call) -> bool {
    let Some(minor) = call.minor else { return false };
    if !std::path::Path::new("/proc/drbd").exists() {
        return false;
    }
    let Ok(own) = std::env::current_exe() else { return false };
    let output = Command::new(own)
        .args(["drbdsetup", "dstate", &minor.to_string()])
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            !(text.starts_with("Unconfigured") || text.starts_with("Diskless"))
        }
        _ => false,
    }
}
