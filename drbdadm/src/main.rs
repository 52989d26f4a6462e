// SPDX-License-Identifier: GPL-2.0
//! One binary, several names: `drbdadm`, `drbdsetup`, `drbdmeta`.
//!
//! The name it is called by selects the tool; `drbdadm drbdsetup ...` works too.

mod adm;
mod generations;
mod meta;
mod setup;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let mut name = tool_name(args.first());
    if name == "drbdadm" && args.len() > 1 {
        let nested = tool_name(args.get(1));
        if nested == "drbdsetup" || nested == "drbdmeta" {
            args.remove(0);
            name = nested;
        }
    }
    let rest: Vec<String> = args
        .iter()
        .skip(1)
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let code = match name.as_str() {
        "drbdsetup" | "drbdsetup-84" => setup::run(&rest),
        "drbdmeta" => meta::run(&rest),
        _ => adm::run(&rest),
    };
    ExitCode::from(code)
}

fn tool_name(arg: Option<&OsString>) -> String {
    arg.and_then(|a| Path::new(a).file_name())
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_else(|| "drbdadm".into())
}
