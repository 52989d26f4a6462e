// SPDX-License-Identifier: GPL-2.0
//! The DRBD kernel module: entry and exit.

use kernel::prelude::*;

#[allow(dead_code, unused_imports)] // an interface may offer more than the driver uses
mod kapi;

#[forbid(unsafe_code)]
mod driver;

module! {
    type: Drbd,
    name: "drbd",
    authors: ["The DRBD-RS authors"],
    description: "Distributed Replicated Block Device v8.4.11",
    license: "GPL",
    alias: ["block-major-147-*"],
}

/// Everything the loaded module owns; dropped at unload.
struct Drbd {
    _driver: driver::registry::Driver,
}

impl kernel::Module for Drbd {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let minors = kapi::params::minor_count();
        if !(1..=255).contains(&minors) {
            pr_err!("invalid minor_count ({})\n", minors);
            return Err(EINVAL);
        }
        Ok(Drbd { _driver: driver::registry::Driver::start()? })
    }
}
