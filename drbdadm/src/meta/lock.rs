// SPDX-License-Identifier: GPL-2.0
//! One tool at a time on a minor, and none that changes metadata in use (metadata.md 10.1).

use super::{Call, Failure, USAGE};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Locks the minor, if there is one; waits a while for another tool.
pub fn take(call: &Call) -> Result<Option<File>, Failure> {
    let Some(minor) = call.minor else {
        return Ok(None);
    };
    let locked = crate::lock::take(&call.lock_dir, minor, &mut |text| eprintln!("{text}"));
    locked.map(Some).map_err(|text| Failure::new(USAGE, text))
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
    fn only_a_disk_counts_as_attached() {
        assert!(has_disk("UpToDate/DUnknown\n"));
        assert!(has_disk("Inconsistent/UpToDate\n"));
        assert!(!has_disk("Diskless/UpToDate\n"));
        assert!(!has_disk("Unconfigured\n"));
    }
}
