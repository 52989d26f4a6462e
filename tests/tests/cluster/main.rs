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

/// The testbed, or the reason why there is none.
fn bed() -> Testbed {
    match Testbed::open_cluster() {
        Ok(bed) => bed,
        Err(error) => panic!("virtual machines cannot run: {error:#}"),
    }
}

/// Fails with the whole chain of reasons.
fn check(result: Result<()>) {
    if let Err(error) = result {
        panic!("{error:?}");
    }
}
