// SPDX-License-Identifier: GPL-2.0
//! What `make install-utils` puts on a node, in a folder of its own.

use anyhow::{ensure, Context, Result};
use qemu_testbed::testbed::checkout;
use std::path::PathBuf;
use std::process::Command;

/// A folder with tools, scripts, units and configuration; removed with this value.
pub struct Packaged {
    /// The folder.
    pub folder: PathBuf,
}

impl Packaged {
    /// Runs `packaging/install` for a new folder.
    pub fn install(name: &str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("drbd-rs-packaged-{}-{name}", std::process::id()));
        let packaged = Self { folder };
        let done = Command::new(checkout()?.join("packaging/install"))
            .env("DESTDIR", &packaged.folder)
            .env("PREFIX", "/usr")
            .output()
            .context("packaging/install")?;
        ensure!(
            done.status.success(),
            "packaging/install: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Ok(packaged)
    }
}

impl Drop for Packaged {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
