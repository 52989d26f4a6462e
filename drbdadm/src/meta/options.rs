// SPDX-License-Identifier: GPL-2.0
//! The command line: options may stand anywhere, long ones may be shortened (metadata.md section 10).

use super::{Call, Failure, COMMANDS, USAGE, VALUE};
use drbd_core::genl::attributes::Unit;
use drbd_core::md::{Geometry, Index};

/// How create-md fills the bitmap area with zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BitmapFill {
    /// The device zeroes the range, or zeros are written.
    #[default]
    Automatic,
    /// The device zeroes the range, or it is an error.
    ZeroOut,
    /// Zeros are written.
    Write,
    /// What stands there stays.
    Skip,
}

/// An option: long name, short letter (or none), whether a value follows.
pub const OPTIONS: &[(&str, Option<char>, bool)] = &[
    ("force", Some('f'), false),
    ("verbose", Some('v'), false),
    ("ignore-sanity-checks", None, false),
    ("dry-run", None, false),
    ("help", Some('h'), false),
    ("peer-max-bio-size", Some('p'), true),
    ("al-stripes", Some('s'), true),
    ("al-stripe-size-kB", Some('z'), true),
    ("initialize-bitmap", Some('b'), true),
    ("node-id", Some('i'), true),
    ("json", None, false),
];

/// Words of the command line, sorted.
#[derive(Debug, Default)]
struct Sorted {
    /// Option and its value.
    options: Vec<(&'static str, String)>,
    /// The option words as typed, for the header of a dump.
    typed: Vec<String>,
    /// Everything else.
    words: Vec<String>,
}

/// Reads the command line. `Ok(None)`: help was asked for.
pub fn parse(args: &[String]) -> Result<Option<Call>, Failure> {
    let sorted = sort(args)?;
    if sorted.options.iter().any(|(name, _)| *name == "help") {
        return Ok(None);
    }
    if sorted.words.len() < 3 {
        return Err(usage(""));
    }
    let [device, format, rest @ ..] = &sorted.words[..] else {
        return Err(usage(""));
    };
    if format != "v08" {
        return Err(Failure::new(
            USAGE,
            format!("Unknown format '{format}'.{}", other_format(format)),
        ));
    }
    let [path, index, rest @ ..] = rest else {
        return Err(Failure::new(USAGE, "Too few arguments for format"));
    };
    let position = parse_index(index)?;
    let [command, arguments @ ..] = rest else {
        return Err(Failure::new(USAGE, "command missing"));
    };
    let Some(known) = COMMANDS.iter().find(|known| known.name == command) else {
        let near = crate::setup::did_you_mean(command, COMMANDS.iter().map(|known| known.name));
        return Err(Failure::new(
            USAGE,
            format!("Unknown command '{command}'.{near}"),
        ));
    };
    let mut call = Call {
        minor: if device == "-" {
            None
        } else {
            crate::setup::parse_minor(device).ok()
        },
        path: path.clone(),
        index: position,
        command: known.name,
        modifies: known.modifies,
        arguments: arguments.to_vec(),
        typed: sorted.typed.iter().chain(&sorted.words).cloned().collect(),
        ..Call::default()
    };
    apply(&mut call, &sorted.options)?;
    if arguments.len() > known.arguments {
        eprintln!("Ignoring additional arguments");
    }
    Ok(Some(call))
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::usage(text)
}

fn other_format(format: &str) -> &'static str {
    match format {
        "v06" | "v07" | "v09" => " This drbdmeta reads and writes v08.",
        _ => "",
    }
}

fn sort(args: &[String]) -> Result<Sorted, Failure> {
    let mut sorted = Sorted::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            sorted.words.extend(rest.by_ref().cloned());
        } else if let Some(long) = arg.strip_prefix("--") {
            sorted.typed.push(arg.clone());
            long_option(&mut sorted, long, &mut rest)?;
        } else if arg.len() > 1 && arg.starts_with('-') {
            sorted.typed.push(arg.clone());
            short_options(&mut sorted, &arg[1..], &mut rest)?;
        } else {
            sorted.words.push(arg.clone());
        }
    }
    Ok(sorted)
}

fn long_option<'a>(
    sorted: &mut Sorted,
    text: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), Failure> {
    let (given, inline) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (text, None),
    };
    let exact = OPTIONS.iter().filter(|(name, ..)| *name == given);
    let near: Vec<_> = match exact.count() {
        0 => OPTIONS
            .iter()
            .filter(|(name, ..)| name.starts_with(given))
            .collect(),
        _ => OPTIONS.iter().filter(|(name, ..)| *name == given).collect(),
    };
    let (name, takes_value) = match near[..] {
        [(name, _, takes_value)] => (*name, *takes_value),
        [] => {
            let hint = crate::setup::did_you_mean(given, OPTIONS.iter().map(|(name, ..)| *name));
            return Err(usage(format!(
                "drbdmeta: unrecognized option '--{given}'{hint}"
            )));
        }
        _ => {
            let names: Vec<String> = near
                .iter()
                .map(|(name, ..)| format!(" '--{name}'"))
                .collect();
            let names = names.concat();
            return Err(usage(format!(
                "drbdmeta: option '--{given}' is ambiguous; possibilities:{names}"
            )));
        }
    };
    let value = match (takes_value, inline) {
        (true, Some(value)) => value,
        (true, None) => {
            let value = rest.next().ok_or_else(|| {
                usage(format!("drbdmeta: option '--{name}' requires an argument"))
            })?;
            sorted.typed.push(value.clone());
            value.clone()
        }
        (false, None) => String::new(),
        (false, Some(_)) => {
            return Err(usage(format!(
                "drbdmeta: option '--{name}' doesn't allow an argument"
            )))
        }
    };
    sorted.options.push((name, value));
    Ok(())
}

fn short_options<'a>(
    sorted: &mut Sorted,
    letters: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), Failure> {
    for (at, letter) in letters.char_indices() {
        let known = OPTIONS.iter().find(|(_, short, _)| *short == Some(letter));
        let Some((name, _, takes_value)) = known else {
            return Err(usage(format!("drbdmeta: invalid option -- '{letter}'")));
        };
        if !takes_value {
            sorted.options.push((name, String::new()));
            continue;
        }
        let mut value = letters[at + letter.len_utf8()..].to_string();
        if value.is_empty() {
            let missing = || {
                usage(format!(
                    "drbdmeta: option requires an argument -- '{letter}'"
                ))
            };
            value = rest.next().ok_or_else(missing)?.clone();
            sorted.typed.push(value.clone());
        }
        sorted.options.push((name, value));
        return Ok(());
    }
    Ok(())
}

fn apply(call: &mut Call, options: &[(&'static str, String)]) -> Result<(), Failure> {
    let (mut stripes, mut stripe_kib) = (None, None);
    for (name, value) in options {
        match *name {
            "force" => call.force = true,
            "verbose" => call.verbose += 1,
            "ignore-sanity-checks" => call.ignore_sanity = true,
            "dry-run" => call.dry_run = true,
            "json" if call.command != "dump-md" => {
                return Err(Failure::new(
                    VALUE,
                    "The --json option is only allowed with dump-md",
                ))
            }
            "json" => call.json = true,
            "al-stripes" => stripes = Some(number(value, Unit::One)?),
            "al-stripe-size-kB" => stripe_kib = Some(number(value, Unit::KibPerSecond)?),
            "peer-max-bio-size" => {
                call.peer_max_bio_bytes = Some(peer_max_bio(call.command, value)?)
            }
            "initialize-bitmap" => call.fill = bitmap_fill(value)?,
            _ => {}
        }
    }
    call.geometry = geometry(call.command, stripes, stripe_kib)?;
    Ok(())
}

fn peer_max_bio(command: &str, value: &str) -> Result<u32, Failure> {
    let bytes = number(value, Unit::One)?;
    if command != "create-md" {
        return Err(Failure::new(
            VALUE,
            "The --peer-max-bio-size option is only allowed with create-md",
        ));
    }
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= 1 << 20)
        .ok_or_else(|| Failure::new(VALUE, "peer-max-bio-size out of range (0...1M)"))
}

fn bitmap_fill(value: &str) -> Result<BitmapFill, Failure> {
    match value {
        "automatic" => Ok(BitmapFill::Automatic),
        "zeroout" => Ok(BitmapFill::ZeroOut),
        "pwrite" => Ok(BitmapFill::Write),
        "skip" => Ok(BitmapFill::Skip),
        _ => Err(Failure::new(
            VALUE,
            format!("invalid initialize-bitmap-mode \"{value}\", should be one of automatic|zeroout|pwrite|skip"),
        )),
    }
}

fn number(text: &str, unit: Unit) -> Result<u64, Failure> {
    if text.is_empty() {
        return Err(Failure::new(100, "missing number argument"));
    }
    netlink_api::build::parse_number(text, unit)
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| Failure::new(USAGE, format!("{text} is not a valid number")))
}

fn parse_index(text: &str) -> Result<Index, Failure> {
    match text {
        "internal" | "flex-internal" => Ok(Index::Internal),
        "flex-external" => Ok(Index::FlexibleExternal),
        slot => match slot.parse::<u32>() {
            Ok(slot) if slot <= 255 => Ok(Index::Slot(slot)),
            _ => Err(Failure::new(
                USAGE,
                format!("'{slot}' is not a valid index number."),
            )),
        },
    }
}

/// The stripes asked for, 32 KiB to 32 MiB in all; a stripe is cut to whole blocks of 4 KiB.
fn geometry(
    command: &str,
    stripes: Option<u64>,
    stripe_kib: Option<u64>,
) -> Result<Option<Geometry>, Failure> {
    if stripes.is_none() && stripe_kib.is_none() {
        return Ok(None);
    }
    if command != "create-md" && command != "restore-md" {
        return Err(Failure::new(
            VALUE,
            "The --al-stripe* options are only allowed with create-md and restore-md",
        ));
    }
    let (stripes, blocks) = (stripes.unwrap_or(1), stripe_kib.unwrap_or(32) / 4);
    let total = stripes.saturating_mul(blocks);
    if total < 8 {
        return Err(Failure::new(
            VALUE,
            "invalid (too small) al-stripe* settings",
        ));
    }
    if total > 8192 {
        return Err(Failure::new(
            VALUE,
            "invalid (too large) al-stripe* settings",
        ));
    }
    Ok(Some(Geometry {
        stripes: stripes as u32,
        stripe_size_4k: blocks as u32,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Call, u8> {
        let args: Vec<String> = line.split(' ').map(str::to_string).collect();
        parse(&args)
            .map(|call| call.expect("no help"))
            .map_err(|failure| failure.code)
    }

    #[test]
    fn options_stand_anywhere_and_long_ones_may_be_shortened() {
        let call = read("-fv 5 v08 /dev/x internal --peer 64k create-md -s3 -z 20").expect("good");
        assert!(call.force);
        assert_eq!((call.verbose, call.minor), (1, Some(5)));
        assert_eq!(call.peer_max_bio_bytes, Some(65536));
        assert_eq!(
            call.geometry,
            Some(Geometry {
                stripes: 3,
                stripe_size_4k: 5
            })
        );
        assert_eq!(
            call.typed.join(" "),
            "-fv --peer 64k -s3 -z 20 5 v08 /dev/x internal create-md"
        );
    }

    #[test]
    fn stripes_are_cut_to_blocks_and_bounded() {
        let with = |options: &str| {
            read(&format!("5 v08 /dev/x internal create-md {options}")).map(|call| call.geometry)
        };
        let geometry = |stripes, stripe_size_4k| {
            Ok(Some(Geometry {
                stripes,
                stripe_size_4k,
            }))
        };
        assert_eq!(with("--al-stripe-size-kB=33"), geometry(1, 8));
        assert_eq!(with("--al-stripe-size-kB=64k"), geometry(1, 16));
        assert_eq!(with("--al-stripe-size-kB=32769"), geometry(1, 8192));
        assert_eq!(with("--al-stripe-size-kB=32772"), Err(VALUE));
        assert_eq!(with("--al-stripe-size-kB=31"), Err(VALUE));
        assert_eq!(with("--al-stripes=1025"), Err(VALUE));
        assert_eq!(with("--al-stripes=x"), Err(USAGE));
        assert_eq!(with("--al-stripes="), Err(100));
        assert_eq!(with("--al-stripe=4"), Err(USAGE));
        assert_eq!(with("--peer-max-bio-size=2M"), Err(VALUE));
        assert_eq!(with("--initialize-bitmap=no"), Err(VALUE));
        assert_eq!(with("-q"), Err(USAGE));
    }

    #[test]
    fn options_of_another_command_are_refused() {
        assert_eq!(
            read("5 v08 /dev/x internal dump-md -s 2").map(|_| ()),
            Err(VALUE)
        );
        assert_eq!(
            read("5 v08 /dev/x internal get-gi -p 4096").map(|_| ()),
            Err(VALUE)
        );
        assert_eq!(read("5 v09 /dev/x internal get-gi").map(|_| ()), Err(USAGE));
        assert_eq!(read("5 v08 /dev/x 256 get-gi").map(|_| ()), Err(USAGE));
        assert_eq!(read("5 v08 /dev/x 255 bogus").map(|_| ()), Err(USAGE));
        assert!(read("5 v08 /dev/x 255 get-gi").is_ok());
    }
}
