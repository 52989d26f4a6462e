// SPDX-License-Identifier: GPL-2.0
//! `dump` and `dump-xml` (config-and-cli.md section 7).

use super::checks;
use super::commands::Command;
use super::select;
use super::session::Session;
use super::Failure;
use drbd_config::{print, xml, Resource};

/// Writes the configuration, or the named resources.
pub fn run(session: &Session, command: &Command) -> Result<u8, Failure> {
    let is_xml = command.name == "dump-xml";
    let names = &session.args.names;
    let everything = select::means_all(names);
    let verify = checks::wants_addresses(&session.args, command);
    if everything {
        if verify {
            let ours: Vec<_> = select::ours(session).collect();
            checks::addresses(session, &ours)?;
        }
        print!("{}", whole(session, is_xml));
        return Ok(0);
    }
    for target in select::targets(session, command)? {
        if verify && target.me.stacked_on().is_some() == session.args.stacked {
            // told, and dumped nevertheless
            let _ = checks::addresses(session, &[target]);
        }
        print!("{}", one(session, target.index, target.resource, is_xml));
    }
    Ok(0)
}

fn whole(session: &Session, is_xml: bool) -> String {
    let config = &session.config;
    if is_xml {
        return xml::config(config);
    }
    let mut text = print::header(config);
    text.push_str(&print::global(&config.global, session.args.verbose > 0));
    if let Some(common) = &config.common {
        text.push_str(&print::common(common));
    }
    for (index, resource) in config.resources.iter().enumerate() {
        text.push_str(&one(session, index, resource, false));
    }
    text
}

fn one(session: &Session, index: usize, resource: &Resource, is_xml: bool) -> String {
    if is_xml {
        return xml::resource(resource);
    }
    let ignored = session.binding.own_index(index).is_none();
    let stacked = session.binding.is_stacked(&session.config, index);
    print::resource(resource, &session.node, ignored, stacked)
}
