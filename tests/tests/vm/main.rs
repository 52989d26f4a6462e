// SPDX-License-Identifier: GPL-2.0
//! Tests in virtual machines: our module on the stock kernel, alone, in pairs, and with the
//! C driver as peer. Each test boots its own machines and fails on any complaint in a kernel
//! log. `make test-vm` runs them; a name after `-- ` selects one.

mod crash_states;
mod extremes;
mod failures;
mod fencing;
mod hangs;
mod hostile;
mod integrity;
mod interop;
mod lifecycle;
mod machines;
mod many;
mod matrix;
#[path = "../handshake_matrix/notation.rs"]
#[allow(dead_code)]
mod notation;
mod policies;
mod replication;
mod resync;
mod size;
mod options;
mod requests;
mod tools;
mod transcripts;
mod two_primaries;
mod unequal;
mod verify;
mod views;
mod wrong_metadata;

use anyhow::Result;
use qemu_testbed::pair::attach_again;
use qemu_testbed::{Testbed, Vm};

/// The testbed, or the reason why there is none.
fn bed() -> Testbed {
    match Testbed::open() {
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

/// Writes `count` random blocks of 4 KiB at `seek` (in blocks) to a device, past the cache.
fn scribble(vm: &mut Vm, device: &str, seek: u64, count: u64) -> Result<()> {
    vm.ok(&format!(
        "dd if=/dev/urandom of={device} bs=4k seek={seek} count={count} oflag=direct conv=notrunc 2>&1"
    ))?;
    Ok(())
}
