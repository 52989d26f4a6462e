// SPDX-License-Identifier: GPL-2.0
//! `--json` of status, dump and dump-md (docs/json.md): one document for everything that was named.

use super::args::Args;
use super::backend::{Call, Runner};
use super::calls::meta;
use super::commands::Command;
use super::session::{Session, Target};
use super::{select, Failure};
use crate::json;
use crate::setup::status_json;
use crate::view::with_client;
use drbd_config::Config;
use netlink_api::snapshot;
use serde_json::{Map, Value};

/// The schema of a failure of a command line that is not understood.
const NOT_UNDERSTOOD: &str = "drbd-error";
const METADATA: &str = "drbd-metadata-list";
const CONFIG: &str = "drbd-config";
/// Exit code for a configuration that cannot be used, and for a resource that does not run.
const UNUSABLE: u8 = 10;
/// Exit code when the driver does not answer.
const NO_ANSWER: u8 = 20;

/// The schema of what a command line prints, also when it fails.
pub fn schema(line: &[String]) -> &'static str {
    let args = Args::parse(line).ok();
    match args.as_ref().and_then(Args::found).map(|found| found.name) {
        Some("status") => status_json::SCHEMA,
        Some("dump") => CONFIG,
        Some("dump-md") => METADATA,
        _ => NOT_UNDERSTOOD,
    }
}

/// Carries one of these commands out.
pub fn run(args: Args, command: &Command) -> Result<u8, Failure> {
    let session = Session::quietly(args)?;
    if command.name == "dump" {
        return config(&session, command);
    }
    let targets = select::targets(&session, command)?;
    let runner = Runner::new(&session, command.limit);
    match command.name {
        "status" => status(&targets, &runner),
        _ => metadata(&session, &targets, &runner),
    }
}

/// Prints a document that tells of a failure besides what was found.
fn with_failure(mut document: Map<String, Value>, failure: Option<Failure>) -> Result<u8, Failure> {
    if let Some(failure) = &failure {
        document.insert("error".into(), json::fault(failure.code, &failure.text));
    }
    print!("{}", json::pretty(&document));
    match failure {
        Some(failure) => Err(Failure {
            told: true,
            ..failure
        }),
        None => Ok(0),
    }
}

fn status(targets: &[Target<'_>], runner: &Runner) -> Result<u8, Failure> {
    let names: Vec<&str> = targets.iter().map(|t| t.resource.name.as_str()).collect();
    if runner.is_dry() {
        for name in names {
            runner.run(name, &Call::setup(["status", name, "--json"]));
        }
        return Ok(0);
    }
    let running = with_client(|client| Box::pin(snapshot::take(client, None)))
        .map_err(|error| Failure::new(NO_ANSWER, error.to_string()))?;
    let find = |name: &&str| running.iter().find(|resource| resource.name == **name);
    let found = names.iter().filter_map(find);
    let resources = found.map(status_json::resource).collect();
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| find(name).is_none())
        .copied()
        .collect();
    let failure = (!missing.is_empty()).then(|| {
        Failure::new(
            UNUSABLE,
            format!("{}: No such resource", missing.join(", ")),
        )
    });
    with_failure(
        json::document(status_json::SCHEMA, "resources", resources),
        failure,
    )
}

fn metadata(session: &Session, targets: &[Target<'_>], runner: &Runner) -> Result<u8, Failure> {
    let mut dumps = Vec::new();
    let mut failure = None;
    for target in targets {
        for volume in target.volumes() {
            let call = meta(volume, "dump-md").words(session.args.setup_options.clone());
            if runner.is_dry() {
                runner.run(&target.resource.name, &call);
                continue;
            }
            let name = format!("{}/{}", target.resource.name, volume.number);
            let dump: Value = serde_json::from_str(&runner.output(&call)).map_err(|_| {
                Failure::new(NO_ANSWER, format!("{name}: drbdmeta printed no document"))
            })?;
            if let (None, Some(text)) = (&failure, dump["error"]["message"].as_str()) {
                let code = dump["error"]["code"]
                    .as_u64()
                    .and_then(|c| u8::try_from(c).ok());
                failure = Some(Failure::new(code.unwrap_or(1), format!("{name}: {text}")));
            }
            let mut entry = Map::new();
            entry.insert("resource".into(), target.resource.name.as_str().into());
            entry.insert("volume".into(), volume.number.into());
            entry.insert("dump".into(), dump);
            dumps.push(Value::from(entry));
        }
    }
    if runner.is_dry() {
        return Ok(0);
    }
    with_failure(json::document(METADATA, "dumps", dumps.into()), failure)
}

fn config(session: &Session, command: &Command) -> Result<u8, Failure> {
    let mut config = session.config.clone();
    if !select::means_all(&session.args.names) {
        let targets = select::targets(session, command)?;
        let resources = targets.iter().map(|target| target.resource.clone());
        config = Config {
            resources: resources.collect(),
            ..config
        };
    }
    let content = serde_json::to_value(&config)
        .map_err(|error| Failure::new(NO_ANSWER, error.to_string()))?;
    with_failure(json::document(CONFIG, "config", content), None)
}
