// SPDX-License-Identifier: GPL-2.0
//! One tool at a time on a minor: the lock file that drbdsetup and drbdmeta of the C driver take too, so that old and new tools keep
//! out of each other's way. Whoever comes second says that it waits, and for whom; then it gives up.

use netlink_api::client::plain;
use rustix::fs::{fcntl_lock, FlockOperation};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for another tool.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// Most characters of a command line that is shown.
const SHOWN: usize = 80;

/// Locks a minor in that folder. The lock lasts as long as the file is open. `note`: tells that it waits.
///
/// # Errors
/// Why not, for standard error.
pub fn take(folder: &Path, minor: u32, note: &mut dyn FnMut(&str)) -> Result<File, String> {
    let path = folder.join(format!("drbd-147-{minor}"));
    let shown = path.display();
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| format!("open({shown}): {}", plain(&error)))?;
    let end = Instant::now() + PATIENCE;
    let mut told = false;
    while fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let by = holder(&file);
        if Instant::now() > end {
            let seconds = PATIENCE.as_secs();
            return Err(format!(
                "lock on {shown} is still held by {by} after {seconds} s"
            ));
        }
        if !told {
            note(&format!(
                "Waiting for {by}, which works on minor {minor} ..."
            ));
            told = true;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(file)
}

/// Who holds a lock on the file, in words.
fn holder(file: &File) -> String {
    let process = file
        .metadata()
        .ok()
        .zip(fs::read_to_string("/proc/locks").ok())
        .and_then(|(metadata, text)| parse_locks(&text, metadata.ino()));
    let Some(process) = process else {
        return "another tool".into();
    };
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let words: String = line
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect();
    match words.is_empty() {
        true => format!("process {process}"),
        false => format!("process {process} ({words})"),
    }
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
}
