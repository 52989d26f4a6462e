// SPDX-License-Identifier: GPL-2.0
//! drbdsetup(8).

use super::about_commands::{find, SETUP};
use super::about_options::{self, on_command_line};
use super::roff::Page;
use crate::setup::commands::COMMANDS;
use crate::setup::options;
use drbd_config::options::Place;

const EXITS: &[(&str, &str)] = &[
    ("0", "Done; also down of a resource that is not there."),
    ("1", "show-gi and get-gi without a disk."),
    (
        "5",
        "A wait took longer than its limit, or the peer did not answer in time.",
    ),
    ("10", "The driver refused, and its reason was printed."),
    (
        "11, 16, 17",
        "The state does not allow it; 17: there would be no up to date data.",
    ),
    ("20", "Wrong use, or the driver does not answer."),
];

/// The page.
pub fn page() -> String {
    let mut page = Page::new("drbdsetup", 8, "configures the DRBD driver");
    page.section("Synopsis");
    page.synopsis("drbdsetup", "COMMAND [OPERAND...] [--OPTION[=VALUE]...]");
    page.section("Description");
    page.text(
        "drbdsetup sends one command to the driver. drbdadm(8) is for daily work; with -d it prints the lines of drbdsetup it \
         stands for. A minor is a number, minor-N or a device node; an address is [FAMILY:]ADDRESS[:PORT] with family ipv4 or \
         ipv6, the latter with the address in brackets.",
    );
    page.section("Commands");
    for command in COMMANDS {
        let operands: Vec<String> = command
            .operands
            .iter()
            .map(|operand| match operand.is_optional() {
                true => format!("[{}]", operand.name()),
                false => operand.name().to_uppercase(),
            })
            .collect();
        page.item(
            command.name,
            &operands.join(" "),
            find(SETUP, command.name).unwrap_or(""),
        );
        let own: Vec<String> = command
            .own_options()
            .map(|(name, value)| format!("--{name}{}", if *value { "=VALUE" } else { "" }))
            .collect();
        let mut words = own;
        let mut sections: Vec<&str> = Vec::new();
        for spec in options::of_command(command) {
            match [Place::Net, Place::Disk, Place::Options]
                .into_iter()
                .find(|place| {
                    about_options::find(*place, spec.option).is_some() && is_lasting(command.name)
                }) {
                Some(place) if !sections.contains(&place.name()) => sections.push(place.name()),
                Some(_) => {}
                None => words.push(format!("--{}", spec.option)),
            }
        }
        for section in sections {
            words.push(format!(
                "those of section {section} in drbd.conf(5), as --NAME=VALUE"
            ));
        }
        if !words.is_empty() {
            page.more(&format!("Options: {}", words.join(", ")));
        }
    }
    page.section("Options");
    page.text("Options that no section of drbd.conf(5) describes:");
    let mut told: Vec<&str> = Vec::new();
    for name in COMMANDS.iter().flat_map(options::names) {
        if let (false, Some(text)) = (told.contains(&name), on_command_line(name)) {
            told.push(name);
            page.item(&format!("--{name}"), "", text);
        }
    }
    page.section("Exit status");
    for (code, meaning) in EXITS {
        page.item(code, "", meaning);
    }
    page.section("See also");
    page.text("drbdadm(8), drbd.conf(5), drbdmeta(8)");
    page.finish()
}

/// Its options are those of a section of the configuration.
fn is_lasting(command: &str) -> bool {
    matches!(
        command,
        "attach" | "disk-options" | "connect" | "net-options" | "resource-options" | "new-resource"
    )
}
