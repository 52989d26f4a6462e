// SPDX-License-Identifier: GPL-2.0
//! `status`: the state of resources, short or in full.

use super::outcome::{no_such, Failure};
use super::parse::Arguments;
use super::status_json;
use super::status_text::render;
use super::terminal::Terminal;
use crate::json;
use netlink_api::snapshot::{parts, take};
use netlink_api::status::context;
use netlink_api::Client;

pub use netlink_api::snapshot::Parts;

/// What is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Detail {
    /// Everything, also what is as it should be.
    pub verbose: bool,
    /// Counters.
    pub statistics: bool,
    /// With colours.
    pub color: bool,
}

/// Asks and prints.
pub async fn run(
    client: &mut Client,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let wanted = arguments.wanted();
    if arguments.has("json") {
        return run_json(client, wanted, terminal).await;
    }
    let color = match arguments.value("color") {
        Some("always") => true,
        None if arguments.has("color") => true,
        Some("never") => false,
        Some("auto") | None => terminal.interactive,
        Some(other) => {
            return Err(Failure::tool(format!(
                "Option --color: invalid argument '{other}'"
            )))
        }
    };
    let detail = Detail {
        verbose: arguments.has("verbose"),
        statistics: arguments.has("statistics"),
        color,
    };
    let mut found = parts(client, wanted)
        .await
        .map_err(|error| Failure::socket("status", &error))?;
    if let (Some(name), true) = (wanted, found.is_empty()) {
        return Err(no_such(name));
    }
    found.sort_by_key(|parts| context(&parts.resource).resource);
    for parts in &found {
        terminal.print(&render(parts, detail));
    }
    Ok(0)
}

async fn run_json(
    client: &mut Client,
    wanted: Option<&str>,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let mut found = take(client, wanted)
        .await
        .map_err(|error| Failure::socket("status", &error))?;
    if let (Some(name), true) = (wanted, found.is_empty()) {
        return Err(no_such(name));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let resources = found.iter().map(status_json::resource).collect();
    terminal.print(&json::pretty(&json::document(
        status_json::SCHEMA,
        "resources",
        resources,
    )));
    Ok(0)
}
