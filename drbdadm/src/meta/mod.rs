// SPDX-License-Identifier: GPL-2.0
//! `drbdmeta`: metadata on disk, offline (metadata.md section 10).

mod apply;
mod ask;
mod create;
mod device;
mod dump;
mod identifiers;
mod lock;
mod probe;
mod relocate;
mod restore;

use device::Device;
use drbd_core::md::{Geometry, Index};

/// A command that did not succeed: exit code and what to say on standard error.
#[derive(Debug)]
pub struct Failure {
    /// Exit code (metadata.md 10.1).
    pub code: u8,
    /// For standard error; may be empty.
    pub text: String,
}

impl Failure {
    /// With this exit code.
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

/// Usage, open and lock failures.
const USAGE: u8 = 20;
/// Bad values, I/O errors, sizes.
const VALUE: u8 = 10;

/// The command line.
#[derive(Debug)]
pub struct Call {
    /// Every question is answered yes; regular files are allowed.
    pub force: bool,
    /// Go on where existing data would refuse.
    pub ignore_sanity: bool,
    /// Minor; none for `-`.
    pub minor: Option<u32>,
    /// Path of the metadata device.
    pub path: String,
    /// Where on it.
    pub index: Index,
    /// Command.
    pub command: String,
    /// Arguments of the command.
    pub arguments: Vec<String>,
    /// `--al-stripes`, `--al-stripe-size-kB`.
    pub geometry: Option<Geometry>,
    /// `--peer-max-bio-size`.
    pub peer_max_bio_bytes: Option<u32>,
}

/// Commands: name, whether it changes anything.
const COMMANDS: &[(&str, bool)] = &[
    ("get-gi", false),
    ("show-gi", false),
    ("dump-md", false),
    ("restore-md", true),
    ("verify-dump", false),
    ("apply-al", true),
    ("create-md", true),
    ("wipe-md", true),
    ("outdate", true),
    ("invalidate", true),
    ("dstate", false),
    ("set-gi", true),
    ("read-dev-uuid", false),
    ("write-dev-uuid", true),
    ("check-resize", true),
];

/// Runs the tool with its arguments (without the program name) and returns the exit code.
pub fn run(args: &[String]) -> u8 {
    match start(args) {
        Ok(()) => 0,
        Err(failure) => {
            if !failure.text.is_empty() {
                eprintln!("{}", failure.text);
            }
            failure.code
        }
    }
}

fn start(args: &[String]) -> Result<(), Failure> {
    if args.is_empty() || args.iter().any(|a| a == "--help" || a == "-h") {
        print_usage();
        return if args.is_empty() { Err(Failure::new(USAGE, "")) } else { Ok(()) };
    }
    let call = parse(args)?;
    if call.command == "verify-dump" {
        return restore::verify(&call);
    }
    let modifies = COMMANDS.iter().any(|(name, changes)| *name == call.command && *changes);
    let _lock = lock::take(&call)?;
    let attached = lock::is_attached(&call);
    if attached && modifies {
        return Err(Failure::new(
            USAGE,
            format!("Device '{}' is configured!", call.minor.unwrap_or(0)),
        ));
    }
    let device = Device::open(&call, modifies)?;
    let done = perform(&call, device);
    if let (true, Some(minor)) = (attached, call.minor) {
        eprintln!("# Output might be stale, since minor {minor} is attached");
    }
    done
}

fn perform(call: &Call, mut device: Device) -> Result<(), Failure> {
    match call.command.as_str() {
        "create-md" => return create::create(call, device),
        "restore-md" => return restore::restore(call, device),
        "check-resize" => return relocate::check_resize(call, device),
        _ => {}
    }
    let found = match device.find() {
        Ok(found) => found,
        Err(reasons) => match (call.command.as_str(), relocate::find_moved(call, &device)) {
            ("apply-al", Some(moved)) => relocate::relocate(call, &mut device, moved)?,
            ("dump-md", Some(moved)) => moved,
            ("get-gi" | "show-gi", _) => return Err(Failure::new(1, reasons.join("\n"))),
            ("wipe-md", _) => {
                println!("There appears to be no drbd meta data to wipe out?");
                return Ok(());
            }
            _ => {
                let mut text = reasons;
                text.push("No valid meta data found".into());
                return Err(Failure::new(1, text.join("\n")));
            }
        },
    };
    match call.command.as_str() {
        "apply-al" => apply::apply(call, device, found),
        "dump-md" => dump::dump(call, device, found),
        "wipe-md" => create::wipe(call, device, found),
        _ => identifiers::run(call, device, found),
    }
}

fn print_usage() {
    println!("\nUSAGE: drbdmeta [--force] DEVICE FORMAT [FORMAT ARGS...] COMMAND [CMD ARGS...]\n");
    println!("DEVICE is a minor number, /dev/drbdN, or '-' for none.");
    println!("FORMAT is v08 DEVICE {{internal|flex-internal|flex-external|INDEX}}.\n\nCommands:");
    for (name, _) in COMMANDS {
        println!("    {name}");
    }
}

fn parse(args: &[String]) -> Result<Call, Failure> {
    let mut words = Vec::new();
    let (mut force, mut ignore_sanity) = (false, false);
    let (mut stripes, mut stripe_kib, mut bio) = (None, None, None);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_string())),
            _ => (arg.as_str(), None),
        };
        let mut value = || inline.clone().or_else(|| rest.next().cloned()).unwrap_or_default();
        match name {
            "--force" | "-f" => force = true,
            "--ignore-sanity-checks" => ignore_sanity = true,
            "--verbose" | "-v" => {}
            "--al-stripes" | "-s" => stripes = Some(number(&value())?),
            "--al-stripe-size-kB" | "-z" => stripe_kib = Some(number(&value())?),
            "--peer-max-bio-size" | "-p" => bio = Some(number(&value())?),
            "--initialize-bitmap" | "-b" | "--node-id" | "-i" => {
                value();
            }
            option if option.starts_with("--") && option.len() > 2 => {
                return Err(Failure::new(USAGE, format!("drbdmeta: unrecognized option '{option}'")));
            }
            _ => words.push(arg.clone()),
        }
    }
    let [device, format, path, index, command, arguments @ ..] = &words[..] else {
        return Err(Failure::new(USAGE, "command missing"));
    };
    if format != "v08" {
        return Err(Failure::new(USAGE, format!("Unknown format '{format}'.")));
    }
    if !COMMANDS.iter().any(|(name, _)| name == command) {
        let near = crate::setup::did_you_mean(command, COMMANDS.iter().map(|(n, _)| *n));
        return Err(Failure::new(USAGE, format!("Unknown command '{command}'.{near}")));
    }
    let geometry = geometry(command, stripes, stripe_kib)?;
    if bio.is_some() && command != "create-md" {
        return Err(Failure::new(VALUE, "The --peer-max-bio-size option is only allowed with create-md"));
    }
    if bio.is_some_and(|b| b > 1 << 20) {
        return Err(Failure::new(VALUE, "peer-max-bio-size out of range (0...1M)"));
    }
    Ok(Call {
        force,
        ignore_sanity,
        minor: if device == "-" { None } else { crate::setup::parse_minor(device).ok() },
        path: path.clone(),
        index: parse_index(index)?,
        command: command.clone(),
        arguments: arguments.to_vec(),
        geometry,
        peer_max_bio_bytes: bio.map(|b| b as u32),
    })
}

fn number(text: &str) -> Result<u64, Failure> {
    let unit = drbd_core::genl::attributes::Unit::One;
    netlink_api::build::parse_number(text, unit)
        .and_then(|n| u64::try_from(n).ok())
        .ok_or_else(|| Failure::new(100, format!("{text} is not a number")))
}

fn parse_index(text: &str) -> Result<Index, Failure> {
    match text {
        "internal" | "flex-internal" => Ok(Index::Internal),
        "flex-external" => Ok(Index::FlexibleExternal),
        slot => match slot.parse::<u32>() {
            Ok(slot) if slot <= 255 => Ok(Index::Slot(slot)),
            _ => Err(Failure::new(USAGE, format!("'{slot}' is not a valid index number."))),
        },
    }
}

/// The stripes asked for: 32 KiB to 32 MiB in all.
fn geometry(command: &str, stripes: Option<u64>, stripe_kib: Option<u64>) -> Result<Option<Geometry>, Failure> {
    if stripes.is_none() && stripe_kib.is_none() {
        return Ok(None);
    }
    if command != "create-md" && command != "restore-md" {
        return Err(Failure::new(
            VALUE,
            "The --al-stripe* options are only allowed with create-md and restore-md",
        ));
    }
    let (stripes, stripe_kib) = (stripes.unwrap_or(1), stripe_kib.unwrap_or(32));
    let total_kib = stripes.saturating_mul(stripe_kib);
    if total_kib < 32 || stripe_kib % 4 != 0 {
        return Err(Failure::new(VALUE, "invalid (too small) al-stripe* settings"));
    }
    if total_kib > 32 << 10 {
        return Err(Failure::new(VALUE, "invalid (too large) al-stripe* settings"));
    }
    Ok(Some(Geometry {
        stripes: stripes as u32,
        stripe_size_4k: (stripe_kib / 4) as u32,
    }))
}
