// SPDX-License-Identifier: GPL-2.0
//! One binary, several names: `drbdadm`, `drbdsetup`, `drbdmeta`, `drbd-overview`.
//!
//! The name it is called by selects the tool; `drbdadm drbdsetup ...` works too.

#[macro_use]
mod output;
mod adm;
mod busy;
mod generations;
mod json;
mod lock;
mod meta;
mod pages;
mod setup;
mod view;

#[cfg(test)]
#[path = "../tests/support/schema.rs"]
mod schema;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Exit code for a fault of the program itself (config-and-cli.md section 6).
const INTERNAL: u8 = 42;

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let mut name = tool_name(args.first());
    if name == "drbdadm" && args.len() > 1 {
        let nested = tool_name(args.get(1));
        if ["drbdsetup", "drbdmeta", "drbd-overview", "drbd-pages"].contains(&nested.as_str()) {
            args.remove(0);
            name = nested;
        }
    }
    let rest: Vec<String> = args
        .iter()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let code = output::guarded(&name, INTERNAL, || match name.as_str() {
        "drbdsetup" | "drbdsetup-84" => setup::run(&rest),
        "drbdmeta" => meta::run(&rest),
        "drbd-overview" => view::overview::run(&rest),
        "drbd-pages" => pages::run(&rest),
        _ => adm::run(&rest),
    });
    ExitCode::from(code)
}

fn tool_name(arg: Option<&OsString>) -> String {
    arg.and_then(|a| Path::new(a).file_name())
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_else(|| "drbdadm".into())
}
