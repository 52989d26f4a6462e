// SPDX-License-Identifier: GPL-2.0
//! `drbdadm`: from drbd.conf to calls of drbdsetup and drbdmeta (config-and-cli.md sections 8 to 12).

mod adjust;
pub mod args;
mod backend;
mod calls;
mod checks;
pub mod commands;
mod configured;
mod dump;
mod handlers;
mod json_output;
mod node;
mod proxy;
mod registry;
mod select;
mod session;
mod shell;
mod simple;
mod stages;
mod usage;
mod wait;

use crate::{json, view};
use args::Args;
use backend::Runner;
use commands::{Command, Listed, Scope, COMMANDS, RENAMED};
use session::Session;

pub use backend::shell_escape;
#[cfg(test)]
pub use configured::ConfiguredVolume;
pub use configured::{configured, has_address, known, Configured, Known};

/// A command that cannot be carried out.
#[derive(Debug)]
pub struct Failure {
    /// Exit code (config-and-cli.md section 6).
    pub code: u8,
    /// For standard error; empty when everything was said.
    pub text: String,
    /// The document on standard output tells it already.
    pub told: bool,
}

impl Failure {
    /// With an exit code.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            told: false,
        }
    }

    /// A fault in the way drbdadm was called.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(1, text)
    }

    /// Everything was said already.
    pub fn silent(code: u8) -> Self {
        Self::new(code, "")
    }
}

/// Runs the tool with its arguments (without the program name) and returns the exit code.
pub fn run(args: &[String]) -> u8 {
    match start(args) {
        Ok(code) => code,
        Err(failure) => {
            if json::is_wanted(args) && !failure.told {
                print!(
                    "{}",
                    json::failure(json_output::schema(args), failure.code, &failure.text)
                );
            }
            if !failure.text.is_empty() {
                eprintln!("{}", failure.text);
            }
            failure.code
        }
    }
}

fn start(line: &[String]) -> Result<u8, Failure> {
    let mut args = Args::parse(line)?;
    if args.version {
        print!("{}", usage::version());
        return Ok(0);
    }
    let Some(command) = args.found() else {
        return no_command(&args);
    };
    if args.help || command.name == "help" {
        let topic = match (command.name, args.names.first()) {
            ("help", Some(name)) => Some(commands::find(name).ok_or_else(|| unknown(name))?),
            ("help", None) => None,
            _ => Some(command),
        };
        print!("{}", usage::usage(topic));
        return Ok(0);
    }
    if command.name == "hidden-commands" {
        print!("{}", usage::hidden());
        return Ok(0);
    }
    if let Some((old, new)) = RENAMED
        .iter()
        .find(|(old, _)| args.command.as_deref() == Some(old))
    {
        eprintln!("'drbdadm {old}' is an old name, use 'drbdadm {new}'");
    }
    if command.listed == Listed::View {
        return Ok(views(&args, command));
    }
    if args.config_to_test.is_some() && !["dump", "sh-nop"].contains(&command.name) {
        return Err(Failure::usage(
            "--config-to-test (-t) works with the commands dump and sh-nop only",
        ));
    }
    if command.scope == Scope::Nothing && !args.names.is_empty() {
        eprintln!("{} takes no resource names, they are ignored", command.name);
        args.names.clear();
    }
    backend::check_programs(&args)?;
    if json::is_wanted(&args.setup_options) {
        return json_output::run(args, command);
    }
    match Session::open(args, command)? {
        Some(session) => perform(session, command),
        None => Ok(0),
    }
}

/// Commands that show things, and can do without a configuration.
fn views(args: &Args, command: &Command) -> u8 {
    let config = args.config.as_deref();
    match command.name {
        "why" => view::why::run(config, &args.names, json::is_wanted(&args.setup_options)),
        "top" => view::top::run(config, &args.setup_options, &args.names),
        "exporter" => view::exporter::run(config, &args.setup_options),
        _ => view::overview::run(&args.setup_options),
    }
}

fn no_command(args: &Args) -> Result<u8, Failure> {
    if args.help {
        print!("{}", usage::usage(None));
        return Ok(0);
    }
    if let Some(word) = args.words.first() {
        return Err(unknown(word));
    }
    print!("{}\nNo command specified\n", usage::usage(None));
    Err(Failure::silent(1))
}

/// Not a command; perhaps the nearest one was meant.
fn unknown(word: &str) -> Failure {
    let hint = drbd_config::nearest(word, COMMANDS.iter().map(|command| command.name));
    Failure::usage(format!("drbdadm: Unknown command '{word}'{hint}"))
}

fn perform(mut session: Session, command: &Command) -> Result<u8, Failure> {
    session.drop_unknown_resync_after()?;
    checks::rules(&session)?;
    if command.scope != Scope::Nothing {
        checks::peer_outdater(&session);
    }
    let runner = Runner::new(&session, command.limit);
    if command.name.starts_with("dump") && !command.name.ends_with("-md") {
        return dump::run(&session, command);
    }
    if command.scope == Scope::Nothing {
        return match command.name {
            "wait-con-int" => wait::run(&session, command, &runner),
            _ => shell::whole(&session, command, &runner),
        };
    }
    let targets = select::targets(&session, command)?;
    if checks::wants_addresses(&session.args, command) {
        checks::addresses(&session, &targets)?;
    }
    match command.name {
        _ if command.listed == Listed::Handler => {
            handlers::run(&session, command, &targets, &runner)
        }
        "up" | "adjust" | "adjust-with-progress" => {
            stages::run(&session, command, &targets, &runner)
        }
        "proxy-up" | "proxy-down" => proxy::run(&session, command, &targets, &runner),
        "sh-b-pri" => simple::run(&session, command, &targets, &runner),
        _ if command.name.starts_with("sh-") && command.listed == Listed::Shell => {
            shell::each(&session, command, &targets)
        }
        _ => simple::run(&session, command, &targets, &runner),
    }
}
