// SPDX-License-Identifier: GPL-2.0
//! Help texts; the shell completion reads them.

use super::args::GENERAL;
use super::commands::{Command, Listed, COMMANDS};
use std::io::IsTerminal;

/// The release of drbd-utils whose 8.4 mode these tools stand in for; scripts compare it.
pub const TOOLS_VERSION: &str = "9.22.0";
/// Width of a name in the lists.
const WIDTH: usize = 35;
/// The same as a number.
const TOOLS_VERSION_CODE: u32 = 0x09_16_00;

fn banner() -> String {
    format!(
        "Version: {TOOLS_VERSION} (api:1)\nGIT-hash: rust-{}\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn columns(listed: Listed) -> String {
    let names: Vec<&str> = COMMANDS
        .iter()
        .filter(|c| c.listed == listed)
        .map(|c| c.name)
        .collect();
    let mut text = String::new();
    for pair in names.chunks(2) {
        let line: String = pair.iter().map(|name| format!("{name:<WIDTH$}")).collect();
        text.push_str(&format!(" {line}\n"));
    }
    text
}

/// How to call drbdadm, or one command.
pub fn usage(command: Option<&Command>) -> String {
    let name = command.map_or("COMMAND", |command| command.name);
    let mut text =
        format!("\nUSAGE: drbdadm {name} [OPTION...] {{all|RESOURCE...}}\n\nGENERAL OPTIONS:\n");
    for (long, letter, takes) in GENERAL {
        text.push_str(&match takes {
            true => format!("  --{long}=..., -{letter} ...\n"),
            false => format!("  --{long}, -{letter}\n"),
        });
    }
    match command {
        None => {
            text.push_str(&format!("\nCOMMANDS:\n{}", columns(Listed::Usage)));
            if std::io::stdout().is_terminal() {
                text.push_str(&format!("\nWHAT HAPPENS:\n{}", columns(Listed::View)));
            }
        }
        Some(command) => {
            let mut options = command.known_options();
            options.extend(command.added);
            if !options.is_empty() {
                text.push_str(&format!("\nOPTIONS FOR {}:\n", command.name));
            }
            for (name, needs) in options {
                text.push_str(&format!(
                    "  --{name}{}\n",
                    if needs { "=..." } else { "[=...]" }
                ));
            }
        }
    }
    format!("{text}\n{}", banner())
}

/// The commands that the usage text leaves out.
pub fn hidden() -> String {
    format!(
        "\nThese additional commands might be useful for writing\nnifty shell scripts around drbdadm:\n\n{}\n\
         These commands are used by the kernel part of DRBD to\ninvoke user mode helper programs:\n\n{}\n\
         These commands ought to be used by experts and developers:\n\n{}\n",
        columns(Listed::Shell),
        columns(Listed::Handler),
        columns(Listed::Expert)
    )
}

/// Five assignments for the shell.
pub fn version() -> String {
    format!(
        "DRBDADM_BUILDTAG=GIT-hash:\\ rust-{}\nDRBDADM_API_VERSION=1\nDRBD_KERNEL_VERSION_CODE=0x{:06x}\n\
         DRBDADM_VERSION_CODE=0x{TOOLS_VERSION_CODE:06x}\nDRBDADM_VERSION={TOOLS_VERSION}\n",
        env!("CARGO_PKG_VERSION"),
        kernel_version()
    )
}

/// The version of the loaded module, 0 when there is none.
fn kernel_version() -> u32 {
    let text = std::fs::read_to_string("/proc/drbd").unwrap_or_default();
    version_code(&text).unwrap_or(0)
}

fn version_code(proc_drbd: &str) -> Option<u32> {
    let number = proc_drbd
        .strip_prefix("version: ")?
        .split([' ', '-', '\n'])
        .next()?;
    let parts: Vec<u32> = number
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    let [major, minor, patch] = parts[..] else {
        return None;
    };
    Some((major & 0xff) << 16 | (minor & 0xff) << 8 | (patch & 0xff))
}

#[cfg(test)]
mod tests {
    use super::version_code;

    #[test]
    fn the_kernel_version_comes_from_the_first_line() {
        assert_eq!(
            version_code("version: 8.4.11 (api:1/proto:86-101)\n"),
            Some(0x08_04_0b)
        );
        assert_eq!(version_code("version: 8.4.7-1 (api:1)"), Some(0x08_04_07));
        assert_eq!(version_code(""), None);
    }
}
