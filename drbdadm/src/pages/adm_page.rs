// SPDX-License-Identifier: GPL-2.0
//! drbdadm(8).

use super::about_commands::{find, ADM};
use super::about_options::{self, on_command_line};
use super::roff::Page;
use crate::adm::args::GENERAL;
use crate::adm::commands::{Command, Listed, Options, Scope, COMMANDS, RENAMED};
use drbd_config::options::Place;
use drbd_core::genl::container;

const EXITS: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "Wrong use, an unknown resource, or a step of up or adjust failed."),
    ("10", "The configuration has faults; they are told with file, line and column. Or the driver refused a step."),
    ("20", "A file cannot be opened, or the driver does not answer."),
    ("other", "As the first failing step ended: see drbdsetup(8) and drbdmeta(8)."),
];

/// The page.
pub fn page() -> String {
    let mut page = Page::new(
        "drbdadm",
        8,
        "manages DRBD resources as the configuration says",
    );
    page.section("Synopsis");
    page.synopsis("drbdadm", "[OPTION...] COMMAND {all|RESOURCE[/VOLUME]...}");
    page.synopsis(
        "drbdadm",
        "[OPTION...] -- BACKEND-OPTION... COMMAND {all|RESOURCE...}",
    );
    page.section("Description");
    page.text(
        "DRBD mirrors a block device to a second machine. drbdadm reads /etc/drbd.conf, which is the same on both machines, \
         and does to the driver what the configuration says. It is drbdsetup (the driver) and drbdmeta (metadata on disk) too, \
         by those names. The configuration is described in drbd.conf(5).",
    );
    page.text(
        "Without a number of a volume a command works on all volumes of a resource, and with the word all on all resources of \
         this machine.",
    );
    page.section("General options");
    for (long, letter, takes) in GENERAL {
        let value = if *takes { " VALUE" } else { "" };
        page.item(
            &format!("--{long}, -{letter}{value}"),
            "",
            on_command_line(long).unwrap_or(""),
        );
    }
    page.section("Commands");
    group(&mut page, Listed::Usage);
    page.section("Seeing what happens");
    group(&mut page, Listed::View);
    group(&mut page, Listed::Nowhere);
    page.section("Commands for scripts");
    group(&mut page, Listed::Shell);
    page.section("Handlers");
    page.text(
        "The driver calls these. What they run is in the handlers section of the configuration.",
    );
    group(&mut page, Listed::Handler);
    page.section("For experts");
    group(&mut page, Listed::Expert);
    page.section("Old names");
    for (old, new) in RENAMED {
        page.item(old, "", &format!("Now {new}."));
    }
    page.section("Exit status");
    for (code, meaning) in EXITS {
        page.item(code, "", meaning);
    }
    page.section("Files");
    page.item("/etc/drbd.conf, /etc/drbd.d", "", "The configuration.");
    page.item("/var/lib/drbd", "", "Last known sizes of the disks.");
    page.item("/proc/drbd", "", "What the driver says of itself.");
    page.section("Examples");
    page.text(
        "The first start of a resource, on both nodes, and then on the one whose data is kept:",
    );
    page.example("drbdadm create-md r0\ndrbdadm up r0\n\ndrbdadm primary --force r0");
    page.text("Giving up the changes of this node after a split brain:");
    page.example(
        "drbdadm disconnect r0\ndrbdadm secondary r0\ndrbdadm connect --discard-my-data r0",
    );
    page.section("See also");
    page.text("drbd.conf(5), drbdsetup(8), drbdmeta(8), drbd-overview(8)");
    page.finish()
}

fn group(page: &mut Page, listed: Listed) {
    for command in COMMANDS.iter().filter(|command| command.listed == listed) {
        page.item(
            command.name,
            names(command),
            find(ADM, command.name).unwrap_or(""),
        );
        let options = options(command);
        if !options.is_empty() {
            page.more(&format!("Options: {options}"));
        }
    }
}

/// What it works on.
fn names(command: &Command) -> &'static str {
    match command.scope {
        Scope::Nothing => "",
        Scope::Resource if command.all_by_default => "[RESOURCE...]",
        Scope::Resource => "RESOURCE...",
        Scope::Either | Scope::Volumes => "RESOURCE[/VOLUME]...",
        Scope::OneVolume => "RESOURCE/VOLUME",
    }
}

/// Its options; those of a section of drbd.conf by reference.
fn options(command: &Command) -> String {
    let section = match command.options {
        Options::Container(container::DISK_CONF) => Some(Place::Disk),
        Options::Container(container::NET_CONF) => Some(Place::Net),
        Options::Container(container::RESOURCE_OPTS) => Some(Place::Options),
        _ => None,
    };
    let mut words: Vec<String> = Vec::new();
    if let Some(place) = section {
        words.push(format!(
            "those of section {} in drbd.conf(5), as --NAME=VALUE",
            place.name()
        ));
    }
    for (name, needs) in command.known_options().iter().chain(command.added) {
        if section.is_none_or(|place| about_options::find(place, name).is_none()) {
            words.push(format!("--{name}{}", if *needs { "=VALUE" } else { "" }));
        }
    }
    if matches!(command.options, Options::Any) {
        words = vec!["those of drbdmeta(8)".into()];
    }
    words.join(", ")
}
