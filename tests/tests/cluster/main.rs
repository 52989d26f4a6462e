// SPDX-License-Identifier: GPL-2.0
//! Two complete Debian 13 machines with systemd (issue 4, lines 6 and 7): Pacemaker and
//! MariaDB on our driver and tools, and the tutorials as users type them. `make test-cluster`
//! runs them; `make test-cluster ONLY=name` selects.

mod database;
mod moves;
mod ocfs2;
mod packaged;
mod stack;
mod tutorials;

use anyhow::Result;
use qemu_testbed::Testbed;
use std::time::Instant;

/// The testbed, or the reason why there is none.
fn bed() -> Testbed {
    match Testbed::open_cluster() {
        Ok(bed) => bed,
        Err(error) => panic!("virtual machines cannot run: {error:#}"),
    }
}

/// Runs a test, says how long it took, and fails with the whole chain of reasons.
fn check(test: impl FnOnce() -> Result<()>) {
    let start = Instant::now();
    let result = test();
    println!("took {} s", start.elapsed().as_secs());
    if let Err(error) = result {
        panic!("{error:?}");
    }
}
