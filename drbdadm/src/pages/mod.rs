// SPDX-License-Identifier: GPL-2.0
//! Man pages and bash completion, made of the tables that also run the commands (issue 4 line 2).
//!
//! `drbdadm drbd-pages FOLDER` writes them; `packaging/install` calls it.

mod about_commands;
mod about_options;
mod adm_page;
mod completion;
mod conf_page;
mod roff;
mod setup_page;
mod small_pages;
#[cfg(test)]
mod tests;

use std::path::Path;

/// The version in the footer of a page.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// File name and content of all of them.
fn all() -> Vec<(&'static str, String)> {
    vec![
        ("drbdadm.8", adm_page::page()),
        ("drbdsetup.8", setup_page::page()),
        ("drbdmeta.8", small_pages::drbdmeta()),
        ("drbd-overview.8", small_pages::drbd_overview()),
        ("drbd.conf.5", conf_page::page()),
        ("drbdadm.bash", completion::script()),
    ]
}

/// Runs `drbd-pages FOLDER` and returns the exit code.
pub fn run(args: &[String]) -> u8 {
    let [folder] = args else {
        eprintln!(
            "usage: drbdadm drbd-pages FOLDER   (writes man pages and bash completion there)"
        );
        return 1;
    };
    for (name, content) in all() {
        if let Err(error) = std::fs::write(Path::new(folder).join(name), content) {
            eprintln!("drbd-pages: {folder}/{name}: {error}");
            return 20;
        }
    }
    0
}
