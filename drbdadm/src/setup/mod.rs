// SPDX-License-Identifier: GPL-2.0
//! `drbdsetup`: one command, one netlink request (netlink-and-tools.md section 7).
//!
//! * [`commands`], [`options`], [`usage`] — what there is.
//! * [`parse`] — the command line; [`prepare`] — locks and devices; [`outcome`] — codes and texts.
//! * [`request`], [`query`], [`show`], [`status`], [`events`], [`events2`], [`wait`], [`waits`] — the work. It needs nothing but a
//!   [`Client`] and a [`Terminal`], so that recordings can be played through it.

mod advice;
pub mod commands;
mod events;
mod events2;
mod events2_json;
mod gi;
pub mod options;
mod outcome;
mod parse;
mod prepare;
mod query;
mod registry;
mod request;
mod sh_status;
mod show;
mod show_json;
mod status;
pub mod status_json;
mod status_text;
mod terminal;
mod usage;
mod wait;
mod waits;
mod words;

#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod text_tests;
#[cfg(test)]
mod usage_tests;

use crate::json;
use commands::{Action, Command, COMMANDS};
use netlink_api::Client;
use outcome::{Failure, Help};
use parse::Arguments;
use std::path::Path;
use std::time::Duration;
use terminal::Terminal;

pub use advice::root_hint;
pub use events2::timestamp;
pub use parse::parse_minor_text as parse_minor;
pub use words::did_you_mean;

/// Runs the tool with its arguments (without the program name) and returns the exit code.
pub fn run(args: &[String]) -> u8 {
    let (mut out, mut error) = (std::io::stdout(), std::io::stderr());
    let mut terminal = Terminal::new(&program_name(), &mut out, &mut error);
    match start(args, &mut terminal) {
        Ok(code) => code,
        Err(failure) => {
            report(args, &failure, &mut terminal);
            failure.code
        }
    }
}

/// Tells what went wrong, in the form that was asked for.
fn report(args: &[String], failure: &Failure, terminal: &mut Terminal<'_>) {
    if !json::is_wanted(args) && !args.iter().any(|arg| arg.starts_with("--json=")) {
        failure.print(terminal);
        return;
    }
    let schema = json_schema(args);
    let text = match &failure.help {
        Help::General(Some(complaint)) if failure.text.is_empty() => complaint,
        _ => &failure.text,
    };
    terminal.print(&match schema {
        events2_json::SCHEMA => {
            let fault = json::fault(failure.code, text);
            json::line(&json::document(schema, "error", fault))
        }
        _ => json::failure(schema, failure.code, text),
    });
    terminal.note(text);
}

/// The schema of what a command line prints as JSON.
fn json_schema(args: &[String]) -> &'static str {
    match choose(args).map(|(command, _)| command.action) {
        Some(Action::Status) => status_json::SCHEMA,
        Some(Action::Events2) => events2_json::SCHEMA,
        Some(Action::Show) => show_json::SCHEMA,
        _ => "drbd-error",
    }
}

/// The name the tool was called by, for help texts.
fn program_name() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let name = Path::new(&called)
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| name.starts_with("drbdsetup"))
        .unwrap_or_else(|| "drbdsetup".into())
}

fn start(args: &[String], terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    // No request to the driver, and in no list of the commands of the interface of 8.4.
    if args.first().is_some_and(|name| name == "waits") {
        return waits::run(args.get(1..).unwrap_or(&[]), terminal);
    }
    let Some((command, rest)) = choose(args) else {
        return help(args, terminal);
    };
    let arguments = Arguments::parse(command, &rest)?;
    match load_module(terminal) {
        // As drbdsetup 9.22; drbdsetup-84 calls it a failure.
        Err(failure)
            if DONE_WITHOUT_MODULE.contains(&command.name)
                && terminal.program != "drbdsetup-84" =>
        {
            terminal.note(&failure.text);
            terminal.note("So nothing is up, and there is nothing to do.");
            return Ok(0);
        }
        outcome => outcome?,
    }
    carry_out(command, &arguments, terminal)
        .map_err(|failure| advice::advise(command, &arguments, failure))
}

fn carry_out(
    command: &Command,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    let _lock = prepare::prepare(command, arguments, terminal)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::tool(format!("cannot start: {e}")))?;
    runtime.block_on(async {
        let mut client = Client::open()
            .await
            .map_err(|e| Failure::tool(e.to_string()))?;
        perform(&mut client, command, arguments, terminal).await
    })
}

/// The command, and its arguments; command and object may be swapped.
fn choose(args: &[String]) -> Option<(&'static Command, Vec<String>)> {
    let find = |name: &String| COMMANDS.iter().find(|c| c.name == name);
    if let Some(command) = args.first().and_then(find) {
        return Some((command, args.get(1..).unwrap_or(&[]).to_vec()));
    }
    if matches!(args.first().map(String::as_str), Some("help" | "xml-help")) {
        return None;
    }
    let command = args.get(1).and_then(find)?;
    let mut rest = vec![args.first()?.clone()];
    rest.extend_from_slice(args.get(2..).unwrap_or(&[]));
    Some((command, rest))
}

/// What is no command: help, version, or a mistake.
fn help(args: &[String], terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let program = terminal.program.as_str();
    let word = args.first().map(String::as_str);
    let about = args
        .get(1)
        .map(|name| (name, COMMANDS.iter().find(|command| command.name == name)));
    let text = match (word, about) {
        (Some("help"), Some((_, Some(command)))) => usage::of_command_text(program, command),
        (Some("xml-help"), Some((_, Some(command)))) => usage::xml(command),
        (Some("help" | "xml-help"), Some((name, None))) => {
            return Err(unknown(name, "unknown command"))
        }
        (Some("--version" | "-V"), _) => format!("drbdsetup {}\n", env!("CARGO_PKG_VERSION")),
        (Some("--help" | "-h"), _) => usage::general(program, None),
        (None | Some("help" | "xml-help"), _) => {
            return Err(Failure::usage(Help::General(None), ""))
        }
        (Some(other), _) => return Err(unknown(other, "invalid command")),
    };
    terminal.print(&text);
    Ok(0)
}

fn unknown(name: &str, complaint: &str) -> Failure {
    let hint = words::did_you_mean(name, COMMANDS.iter().map(|c| c.name));
    let remark = if hint.is_empty() {
        hint
    } else {
        format!("{name}:{hint}")
    };
    Failure::usage(Help::General(Some(complaint.into())), remark)
}

/// What these are asked for is so where there is no module.
const DONE_WITHOUT_MODULE: [&str; 4] = ["down", "secondary", "disconnect", "detach"];

/// Where modprobe is, whatever the search path says.
const MODPROBE: [&str; 2] = ["/sbin/modprobe", "/usr/sbin/modprobe"];

/// The module is loaded on demand, as the tools of the C driver do.
fn load_module(terminal: &mut Terminal<'_>) -> Result<(), Failure> {
    let present = || Path::new("/proc/drbd").exists();
    if present() {
        return Ok(());
    }
    let mut tried = MODPROBE
        .iter()
        .map(|path| std::process::Command::new(path).arg("drbd").status());
    let found = tried.find(
        |result| !matches!(result, Err(error) if error.kind() == std::io::ErrorKind::NotFound),
    );
    match found {
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            terminal.note(&format!("modprobe: {}", netlink_api::client::plain(&error)))
        }
        None => terminal.note(&format!("there is no {}", MODPROBE.join(" and no "))),
    }
    for _ in 0..10 {
        if present() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Failure::tool(
        "Could not stat /proc/drbd: No such file or directory\n\
         Make sure that the DRBD kernel module is installed and can be loaded!\n\
         ('modprobe drbd' loads it; 'dmesg' tells why it cannot.)",
    ))
}

async fn perform(
    client: &mut Client,
    command: &Command,
    arguments: &Arguments,
    terminal: &mut Terminal<'_>,
) -> Result<u8, Failure> {
    match command.action {
        Action::Request => request::run(client, command, arguments, terminal).await,
        Action::Down => request::down(client, arguments, terminal).await,
        Action::Query => query::run(client, command, arguments, terminal).await,
        Action::ShellStatus => sh_status::run(client, arguments, terminal).await,
        Action::Show => show::run(client, arguments, terminal).await,
        Action::Status => status::run(client, arguments, terminal).await,
        Action::Events => events::run(client, arguments, terminal).await,
        Action::Events2 => events2::run(client, arguments, terminal).await,
        Action::Wait => wait::run(client, command, arguments, terminal).await,
    }
}
