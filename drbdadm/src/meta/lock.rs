// SPDX-License-Identifier: GPL-2.0
//! One tool at a time on a minor, and none that changes metadata in use (metadata.md 10.1).

use super::{Call, Failure, USAGE};
use rustix::fs::{fcntl_lock, FlockOperation};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Takes the lock file of the minor, the same that the C tools take; waits up to a second.
/// The lock lasts as long as the file is open.
pub fn take(call: &Call) -> Result<Option<File>, Failure> {
    let Some(minor) = call.minor else {
        return Ok(None);
    };
    let path = call.lock_dir.join(format!("drbd-147-{minor}"));
    let shown = path.display();
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| Failure::new(USAGE, format!("open({shown}): {e}")))?;
    for attempt in 0..10 {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(100));
        }
        if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(Some(file));
        }
    }
    let by = match holder(&file) {
        Some(process) => format!("pid:{process}"),
        None => "another process".into(),
    };
    Err(Failure::new(
        USAGE,
        format!("lock on {shown} currently held by {by}"),
    ))
}

/// Who holds a lock on the file, from `/proc/locks`.
fn holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino();
    parse_locks(&fs::read_to_string("/proc/locks").ok()?, inode)
}

/// The process in the first line about `inode`: number, class, kind, access, process, `major:minor:inode`, range.
fn parse_locks(text: &str, inode: u64) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(4);
        let process = fields.next()?.parse().ok()?;
        let place = fields.next()?;
        (place.rsplit(':').next()?.parse() == Ok(inode)).then_some(process)
    })
}

/// Whether the driver has the minor attached. It is asked the way every caller asks it:
/// `drbdsetup MINOR dstate`; 10, 11, 16 and 20 mean that there is no disk.
pub fn is_attached(call: &Call) -> Result<bool, Failure> {
    let Some(minor) = call.minor else {
        return Ok(false);
    };
    if !std::path::Path::new("/proc/drbd").exists() {
        return Ok(false);
    }
    let unknown = |why: String| {
        Failure::new(
            USAGE,
            format!("cannot tell whether minor {minor} is attached: {why}"),
        )
    };
    let own = std::env::current_exe().map_err(|e| unknown(e.to_string()))?;
    let output = Command::new(own)
        .arg0("drbdsetup")
        .args([&minor.to_string(), "dstate"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|e| unknown(e.to_string()))?;
    match output.status.code() {
        Some(0) => Ok(has_disk(&String::from_utf8_lossy(&output.stdout))),
        Some(10 | 11 | 16 | 20) => Ok(false),
        _ => Err(unknown(output.status.to_string())),
    }
}

fn has_disk(state: &str) -> bool {
    let own = state.trim().split('/').next().unwrap_or("");
    !matches!(own, "" | "Unconfigured" | "Diskless")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let text = "1: POSIX  ADVISORY  WRITE 4711 fe:00:99 0 EOF\n2: FLOCK  ADVISORY  WRITE 815 00:1a:1234 0 EOF\n";
        assert_eq!(parse_locks(text, 1234), Some(815));
        assert_eq!(parse_locks(text, 99), Some(4711));
        assert_eq!(parse_locks(text, 5), None);
    }

    #[test]
    fn only_a_disk_counts_as_attached() {
        assert!(has_disk("UpToDate/DUnknown\n"));
        assert!(has_disk("Inconsistent/UpToDate\n"));
        assert!(!has_disk("Diskless/UpToDate\n"));
        assert!(!has_disk("Unconfigured\n"));
    }
}
