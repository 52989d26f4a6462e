// SPDX-License-Identifier: GPL-2.0
//! What the tests that run drbdadm as another machine share.
#![allow(dead_code)] // each test uses a part

use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The recordings of the reference drbdadm.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/config")
}

/// A directory that goes away.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("scratch");
        Self(path)
    }

    /// A directory for the search path with our drbdadm and one script under several names.
    pub fn programs(&self, script: &str, names: &[&str]) -> PathBuf {
        let place = self.0.join("bin");
        fs::create_dir_all(&place).expect("bin");
        symlink(env!("CARGO_BIN_EXE_drbdadm"), place.join("drbdadm")).expect("link");
        for name in names {
            let path = place.join(name);
            fs::write(&path, script).expect("stand-in");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        place
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// For a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Lines of a script that make this machine another one.
pub fn become_host(host: &str, addresses: &str) -> String {
    let mut text = format!(
        "hostname {} && ip link set lo up || exit 99\n",
        quoted(host)
    );
    for address in addresses.split_whitespace() {
        let (family, length) = match address.contains(':') {
            true => ("-6", "128 dev lo nodad"),
            false => ("-4", "32 dev lo"),
        };
        text.push_str(&format!(
            "ip {family} addr add {address}/{length} 2>/dev/null\n"
        ));
    }
    text
}

/// Runs a script with host name, network and mounts of its own.
pub fn run_apart(place: &Path, script: &str) {
    let mut command = Command::new("unshare");
    if fs::metadata("/proc/self").expect("own process").uid() != 0 {
        command.arg("--map-root-user");
    }
    let status = command
        .args(["-u", "-n", "-m", "sh", "-c", script])
        .current_dir(place)
        .status();
    let status = status.expect("this test needs unshare (util-linux)");
    assert!(
        status.success(),
        "private host name, network and mount namespaces cannot be made: {status}"
    );
}
