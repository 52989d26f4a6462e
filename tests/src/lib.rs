// SPDX-License-Identifier: GPL-2.0
//! Tests that need more than one crate: recorded evidence, simulation, virtual machines.

pub mod fuzz;
pub mod torture;

use std::path::PathBuf;

/// Path of a file below `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}
