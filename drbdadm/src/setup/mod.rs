// SPDX-License-Identifier: GPL-2.0
//! `drbdsetup`: one command, one netlink request (netlink-and-tools.md section 7).

mod commands;
mod events;
mod gi;
mod outcome;
mod parse;
mod query;
mod request;
mod show;
mod status;
mod wait;

use commands::{Action, Command, COMMANDS};
use netlink_api::Client;
use outcome::Failure;
use parse::Arguments;
use std::path::Path;
use std::time::Duration;

pub use parse::{did_you_mean, parse_minor_text as parse_minor};

/// Runs the tool with its arguments (without the program name) and returns the exit code.
pub fn run(args: &[String]) -> u8 {
    match start(args) {
        Ok(code) => code,
        Err(failure) => {
            failure.print();
            failure.code
        }
    }
}

fn start(args: &[String]) -> Result<u8, Failure> {
    let Some((command, rest)) = choose(args) else {
        return Ok(usage(args));
    };
    let arguments = Arguments::parse(command, &rest)?;
    load_module()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::tool(format!("cannot start: {e}")))?;
    runtime.block_on(async {
        let mut client = Client::open().await.map_err(|e| Failure::tool(e.to_string()))?;
        perform(&mut client, command, &arguments).await
    })
}

/// The command, and its arguments; command and object may be swapped.
fn choose(args: &[String]) -> Option<(&'static Command, Vec<String>)> {
    let find = |name: &String| COMMANDS.iter().find(|c| c.name == name);
    if let Some(command) = args.first().and_then(find) {
        return Some((command, args[1..].to_vec()));
    }
    let command = args.get(1).and_then(find)?;
    let mut rest = vec![args[0].clone()];
    rest.extend_from_slice(&args[2..]);
    Some((command, rest))
}

fn usage(args: &[String]) -> u8 {
    match args.first().map(String::as_str) {
        Some("help") | Some("--help") | Some("-h") | None => {
            if let Some(command) = args.get(1).and_then(|n| COMMANDS.iter().find(|c| c.name == n)) {
                println!("{}", command.usage());
                return 0;
            }
        }
        Some("--version") | Some("-V") => {
            println!("drbdsetup {} (Rust)", env!("CARGO_PKG_VERSION"));
            return 0;
        }
        Some(unknown) => {
            eprintln!("drbdsetup: unknown command '{unknown}'{}", parse::did_you_mean(unknown, COMMANDS.iter().map(|c| c.name)));
        }
    }
    println!("\nUSAGE: drbdsetup command device arguments options\n\nCommands are:");
    for row in COMMANDS.chunks(4) {
        let names: Vec<String> = row.iter().map(|c| format!("{:<19}", c.name)).collect();
        println!("    {}", names.join(" ").trim_end());
    }
    println!("\nTo get more details about a command issue 'drbdsetup help cmd'.\n");
    20
}

/// The module is loaded on demand, as the tools of the C driver do.
fn load_module() -> Result<(), Failure> {
    if Path::new("/proc/drbd").exists() {
        return Ok(());
    }
    let _ = std::process::Command::new("/sbin/modprobe").arg("drbd").status();
    for _ in 0..10 {
        if Path::new("/proc/drbd").exists() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Failure::tool(
        "Could not stat /proc/drbd: No such file or directory\n\
         Make sure that the DRBD kernel module is installed and can be loaded! (modprobe drbd)",
    ))
}

async fn perform(client: &mut Client, command: &Command, arguments: &Arguments) -> Result<u8, Failure> {
    match command.action {
        Action::Request => request::run(client, command, arguments).await,
        Action::Down => request::down(client, arguments).await,
        Action::Query => query::run(client, command, arguments).await,
        Action::Show => show::run(client, arguments).await,
        Action::Status => status::run(client, arguments).await,
        Action::Events => events::events(client, arguments).await,
        Action::Events2 => events::events2(client, arguments).await,
        Action::Wait => wait::run(client, command, arguments).await,
    }
}
