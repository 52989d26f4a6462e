// SPDX-License-Identifier: GPL-2.0
//! `drbdmeta`: metadata on disk, offline (metadata.md section 10).

mod apply;
mod ask;
mod bitmap;
mod create;
mod device;
mod dump;
mod dump_json;
mod dump_text;
mod existing;
mod found;
mod identifiers;
mod lock;
mod old_log;
mod options;
mod probe;
mod relocate;
mod restore;
mod ring;
#[cfg(test)]
mod tests;

use crate::json;
use device::Device;
use drbd_core::md::{Geometry, Index};
use options::BitmapFill;
pub use options::OPTIONS;
use std::path::PathBuf;

/// A command that did not succeed: exit code and what to say on standard error.
#[derive(Debug)]
pub struct Failure {
    /// Exit code (metadata.md 10.1).
    pub code: u8,
    /// For standard error; may be empty.
    pub text: String,
    /// The help text goes with it.
    help: bool,
    /// Everything was printed already, in the form that was asked for.
    told: bool,
}

impl Failure {
    /// With this exit code.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            help: false,
            told: false,
        }
    }

    /// A fault of the command line.
    fn usage(text: impl Into<String>) -> Self {
        Self {
            help: true,
            ..Self::new(USAGE, text)
        }
    }

    /// The document on standard output holds it already.
    fn told(self) -> Self {
        Self { told: true, ..self }
    }
}

/// A command failed, or the operation was cancelled.
const FAILED: u8 = 1;
/// Bad values, I/O errors, sizes.
const VALUE: u8 = 10;
/// Usage, open and lock failures.
const USAGE: u8 = 20;

/// What the command line asks for.
#[derive(Debug)]
pub struct Call {
    /// Every question is answered yes; regular files are allowed.
    pub force: bool,
    /// Go on where existing data would refuse.
    pub ignore_sanity: bool,
    /// Say what would be written instead of writing.
    pub dry_run: bool,
    /// How often `-v` was given.
    pub verbose: u32,
    /// The dump is JSON.
    pub json: bool,
    /// Minor; none for `-`.
    pub minor: Option<u32>,
    /// Path of the metadata device.
    pub path: String,
    /// Where on it.
    pub index: Index,
    /// Command.
    pub command: &'static str,
    /// Whether it changes anything.
    pub modifies: bool,
    /// Arguments of the command.
    pub arguments: Vec<String>,
    /// The command line, options first.
    pub typed: Vec<String>,
    /// `--al-stripes`, `--al-stripe-size-kB`.
    pub geometry: Option<Geometry>,
    /// `--peer-max-bio-size`.
    pub peer_max_bio_bytes: Option<u32>,
    /// `--initialize-bitmap`.
    pub fill: BitmapFill,
    /// Folder of the last-known-size files.
    pub state_dir: PathBuf,
    /// Folder of the lock files.
    pub lock_dir: PathBuf,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            force: false,
            ignore_sanity: false,
            dry_run: false,
            verbose: 0,
            json: false,
            minor: None,
            path: String::new(),
            index: Index::Internal,
            command: "",
            modifies: false,
            arguments: Vec::new(),
            typed: Vec::new(),
            geometry: None,
            peer_max_bio_bytes: None,
            fill: BitmapFill::Automatic,
            state_dir: "/var/lib/drbd".into(),
            lock_dir: "/var/lock".into(),
        }
    }
}

/// A command of the tool.
struct Command {
    name: &'static str,
    /// Arguments it takes.
    arguments: usize,
    /// How the usage names them.
    hint: &'static str,
    modifies: bool,
}

const fn command(
    name: &'static str,
    arguments: usize,
    hint: &'static str,
    modifies: bool,
) -> Command {
    Command {
        name,
        arguments,
        hint,
        modifies,
    }
}

const COMMANDS: &[Command] = &[
    command("get-gi", 0, "", false),
    command("show-gi", 0, "", false),
    command("dump-md", 0, "", false),
    command("restore-md", 1, "[FILE] [--al-stripes N] [--al-stripe-size-kB N]", true),
    command("verify-dump", 1, "[FILE]", false),
    command("apply-al", 0, "", true),
    command(
        "create-md",
        0,
        "[--peer-max-bio-size N] [--al-stripes N] [--al-stripe-size-kB N] [--initialize-bitmap MODE]",
        true,
    ),
    command("wipe-md", 0, "", true),
    command("outdate", 0, "", true),
    command("invalidate", 0, "", true),
    command("dstate", 0, "", false),
    command("set-gi", 1, "UUID:UUID:UUID:UUID:FLAG:...", true),
    command("read-dev-uuid", 0, "", false),
    command("write-dev-uuid", 1, "HEX", true),
    command("check-resize", 0, "", true),
];

/// Name of each command, and how a usage names its arguments.
pub fn command_list() -> impl Iterator<Item = (&'static str, &'static str)> {
    COMMANDS.iter().map(|known| (known.name, known.hint))
}

/// Runs the tool with its arguments (without the program name) and returns the exit code.
pub fn run(args: &[String]) -> u8 {
    match start(args) {
        Ok(()) => 0,
        Err(mut failure) => {
            let hint = crate::setup::root_hint(&failure.text);
            failure.text.push_str(hint);
            if json::is_wanted(args) {
                if !failure.told {
                    let text = json::failure(dump_json::SCHEMA, failure.code, &failure.text);
                    print!("{text}");
                }
            } else if failure.help {
                print_usage();
            }
            if !failure.text.is_empty() {
                eprintln!("{}", failure.text);
            }
            failure.code
        }
    }
}

fn start(args: &[String]) -> Result<(), Failure> {
    match options::parse(args)? {
        Some(call) => execute(&call),
        None => {
            print_usage();
            Ok(())
        }
    }
}

fn execute(call: &Call) -> Result<(), Failure> {
    if call.command == "verify-dump" {
        return restore::verify(call);
    }
    let _lock = lock::take(call)?;
    let attached = lock::is_attached(call)?;
    if attached && call.modifies {
        let minor = call.minor.unwrap_or(0);
        return Err(Failure::new(
            USAGE,
            format!("Device '{minor}' is configured!"),
        ));
    }
    let device = Device::open(call)?;
    let done = perform(call, device);
    if let (true, Some(minor)) = (attached, call.minor) {
        eprintln!("# Output might be stale, since minor {minor} is attached");
    }
    done
}

fn perform(call: &Call, device: Device) -> Result<(), Failure> {
    match call.command {
        "create-md" => return create::create(call, device),
        "restore-md" => return restore::restore(call, device),
        "check-resize" => return relocate::check_resize(call, device),
        _ => {}
    }
    let found = match device.find() {
        Ok(found) => found,
        Err(reasons) => match (call.command, relocate::find_moved(call, &device)) {
            ("apply-al", Some(moved)) => relocate::relocate(call, &device, moved)?,
            ("dump-md", Some(moved)) => moved,
            ("wipe-md", _) => {
                reasons.iter().for_each(|reason| eprintln!("{reason}"));
                eprintln!("There appears to be no drbd meta data to wipe out?");
                return Ok(());
            }
            _ => {
                let mut text = reasons;
                text.push("No valid meta data found".into());
                text.extend(existing::advice(call, &device));
                return Err(Failure::new(FAILED, text.join("\n")));
            }
        },
    };
    match call.command {
        "apply-al" => apply::apply(call, device, found),
        "dump-md" if call.json => dump_json::dump(call, &device, &found),
        "dump-md" => dump::dump(call, device, found),
        "wipe-md" => create::wipe(call, device, found),
        _ => identifiers::run(call, device, found),
    }
}

fn print_usage() {
    println!("\nUSAGE: drbdmeta [OPTIONS] DEVICE v08 MD-DEVICE INDEX COMMAND [CMD ARGS...]\n");
    println!("DEVICE is a minor number, /dev/drbdN, or '-' for none: no lock is taken then.");
    println!("INDEX is internal, flex-external, or the number of a 128 MiB slot (0 to 255).\n");
    println!("OPTIONS: --force, --ignore-sanity-checks, --dry-run, --verbose\n         --json (dump-md)\n\nCOMMANDS:");
    for known in COMMANDS {
        println!("  {}", format!("{} {}", known.name, known.hint).trim_end());
    }
}
