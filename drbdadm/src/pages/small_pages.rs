// SPDX-License-Identifier: GPL-2.0
//! drbdmeta(8) and drbd-overview(8).

use super::about_commands::{find, META};
use super::about_options::on_command_line;
use super::roff::Page;
use crate::meta;

/// drbdmeta(8)
pub fn drbdmeta() -> String {
    let mut page = Page::new(
        "drbdmeta",
        8,
        "reads and writes the metadata of DRBD on disk",
    );
    page.section("Synopsis");
    page.synopsis(
        "drbdmeta",
        "[OPTION...] DEVICE v08 META-DISK INDEX COMMAND [ARGUMENT...]",
    );
    page.section("Description");
    page.text(
        "drbdmeta works on the metadata of a device that is not attached. drbdadm(8) calls it with what the configuration says. \
         DEVICE is a minor number or /dev/drbdN, or - for none (then nothing is locked). INDEX is internal (the metadata is at the end \
         of the disk with the data), flex-external (a disk of its own), or the number of a slot of 128 MiB.",
    );
    page.section("Options");
    for (name, letter, value) in meta::OPTIONS {
        let letter = letter.map_or(String::new(), |letter| format!(", -{letter}"));
        let value = if *value { " VALUE" } else { "" };
        page.item(
            &format!("--{name}{letter}{value}"),
            "",
            on_command_line(name).unwrap_or(""),
        );
    }
    page.section("Commands");
    for (name, hint) in meta::command_list() {
        page.item(name, hint, find(META, name).unwrap_or(""));
    }
    page.section("Exit status");
    page.text("0: done. 1: the command failed, or was cancelled. 10: values out of range, I/O errors, sizes. 20: usage, or the device is in use.");
    page.section("See also");
    page.text("drbdadm(8), drbd.conf(5)");
    page.finish()
}

/// drbd-overview(8)
pub fn drbd_overview() -> String {
    let mut page = Page::new(
        "drbd-overview",
        8,
        "shows all DRBD devices, one row for each",
    );
    page.section("Synopsis");
    page.synopsis(
        "drbd-overview",
        "[--proc-drbd FILE] [--color=auto|always|never]",
    );
    page.section("Description");
    page.text(
        "A row has the minor with the name of resource and volume, the minor below where resources are stacked, the states of the connection, \
         roles and disks, the protocol and the flags as in /proc/drbd; behind them what is on the device: mount point, type, size and usage \
         of a file system, or who else has it in use. Resynchronisations have a second row. drbdadm overview is the same.",
    );
    page.section("Options");
    page.item(
        "--proc-drbd FILE",
        "",
        on_command_line("proc-drbd").unwrap_or(""),
    );
    page.item("--color=WHEN", "", on_command_line("color").unwrap_or(""));
    page.section("See also");
    page.text("drbdadm(8), drbdsetup(8)");
    page.finish()
}
