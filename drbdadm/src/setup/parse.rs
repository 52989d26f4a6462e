// SPDX-License-Identifier: GPL-2.0
//! The command line of a subcommand: operands and options, in any order, long options also shortened.

use super::commands::{Command, Operand};
use super::options::{canonical, names, of_command};
use super::outcome::{Failure, Help};
use super::words::did_you_mean;
use drbd_core::genl::attributes::{Kind, Unit};
use netlink_api::build::{parse_address, parse_number, OptionError};
use netlink_api::Options;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Longest argument, in bytes. The kernel takes at most 128.
const LONGEST: usize = 1024;
/// Major number of the devices.
const MAJOR: u32 = 147;
/// Options of the tool whose value may be left out.
const VALUE_MAY_MISS: &[&str] = &["wait-after-sb", "color"];

/// A command line taken apart.
#[derive(Debug, Default)]
pub struct Arguments {
    /// Operands as given.
    pub operands: Vec<String>,
    /// Options of the command's container.
    pub options: Options,
    /// Options of the tool itself.
    pub own: Vec<(String, Option<String>)>,
    /// The minor, if there is one among the operands.
    pub minor: Option<u32>,
    /// The volume number.
    pub volume: Option<u32>,
    /// The addresses, own and the peer's.
    pub addresses: [Option<Vec<u8>>; 2],
    /// The metadata index.
    pub index: i32,
}

impl Arguments {
    /// Checks operands and options against the command's definition.
    ///
    /// # Errors
    /// What to print and the exit code.
    pub fn parse(command: &Command, args: &[String]) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg.len() > LONGEST {
                return Err(Failure::tool(format!(
                    "{}: an argument of {} bytes is too long",
                    command.name,
                    arg.len()
                )));
            }
            if arg == "--" {
                parsed.operands.extend(rest.by_ref().cloned());
            } else if let Some(option) = arg.strip_prefix("--") {
                parsed.long_option(command, option, &mut rest)?;
            } else if arg == "-o" && command.name == "primary" {
                // As drbdsetup of 8.3 and earlier (config-and-cli.md section 13).
                parsed.option(command, "force", None)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                let letter: String = arg.chars().skip(1).take(1).collect();
                return Err(option_fault(
                    command,
                    &format!("invalid option -- '{letter}'"),
                ));
            } else {
                parsed.operands.push(arg.clone());
            }
        }
        parsed.check_operands(command)?;
        Ok(parsed)
    }

    fn long_option<'a>(
        &mut self,
        command: &Command,
        option: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), Failure> {
        let (given, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (option, None),
        };
        let name = complete(command, given).map_err(|fault| match fault {
            Some(fault) => option_fault(command, &fault),
            None => {
                let hint = did_you_mean(given, names(command).into_iter());
                option_fault(command, &format!("unrecognized option '--{option}'{hint}"))
            }
        })?;
        let value = match value {
            None if needs_value(command, name) => match rest.next() {
                Some(value) => Some(value.clone()),
                None => {
                    return Err(option_fault(
                        command,
                        &format!("option '--{name}' requires an argument"),
                    ))
                }
            },
            Some(_) if command.own_options().any(|own| *own == (name, false)) => {
                return Err(option_fault(
                    command,
                    &format!("option '--{name}' doesn't allow an argument"),
                ));
            }
            other => other,
        };
        self.option(command, name, value)
    }

    fn option(
        &mut self,
        command: &Command,
        name: &str,
        value: Option<String>,
    ) -> Result<(), Failure> {
        if let Some((name, _)) = command.own_options().find(|(own, _)| *own == name) {
            self.own.push(((*name).into(), value));
            return Ok(());
        }
        let Some(spec) = of_command(command).find(|spec| spec.option == name) else {
            return Err(option_fault(
                command,
                &format!("unrecognized option '--{name}'"),
            ));
        };
        self.options
            .add_spec(spec, value.as_deref())
            .map_err(|error| match &error {
                OptionError::Word {
                    value, expected, ..
                } => Failure::tool(format!(
                    "{error}{}",
                    did_you_mean(value, expected.iter().copied())
                )),
                _ => Failure::tool(error.to_string()),
            })
    }

    fn check_operands(&mut self, command: &Command) -> Result<(), Failure> {
        let operands = std::mem::take(&mut self.operands);
        for (at, operand) in command.operands.iter().enumerate() {
            let Some(text) = operands.get(at) else {
                if operand.is_optional() {
                    break;
                }
                let missing = match operand {
                    Operand::Local | Operand::Peer => {
                        "Missing connection endpoint argument".to_string()
                    }
                    _ if at == 0 && command.name != "new-minor" => {
                        "Missing first argument".to_string()
                    }
                    _ => format!("Missing argument '{}'", operand.name()),
                };
                return Err(Failure::usage(Help::Command(command.name), missing));
            };
            self.take_operand(command, *operand, text)?;
        }
        if let Some(excess) = operands
            .get(command.operands.len()..)
            .filter(|excess| !excess.is_empty())
        {
            return Err(Failure::usage(
                Help::EmptyLine,
                format!("Excess arguments: {}", excess.join(" ")),
            ));
        }
        self.operands = operands;
        Ok(())
    }

    fn take_operand(
        &mut self,
        command: &Command,
        operand: Operand,
        text: &str,
    ) -> Result<(), Failure> {
        if text == "all" && matches!(operand, Operand::Minor | Operand::Resource) {
            let complaint = "command does not accept argument 'all'".to_string();
            return Err(Failure::usage(Help::General(Some(complaint)), ""));
        }
        match operand {
            Operand::Minor => self.minor = Some(parse_minor(text)?),
            Operand::Resource if text.is_empty() => {
                return Err(Failure::with_code(1, "Resource name is empty."))
            }
            Operand::Volume => {
                self.volume = Some(
                    number(text)
                        .and_then(|n| u32::try_from(n).ok())
                        .ok_or_else(|| not_a_number(text))?,
                );
            }
            Operand::Local => self.addresses[0] = Some(parse_address(text).map_err(Failure::tool)?),
            Operand::Peer => self.addresses[1] = Some(parse_address(text).map_err(Failure::tool)?),
            Operand::MetaIndex => self.index = parse_index(text)?,
            Operand::Resource
            | Operand::Disk
            | Operand::MetaDisk
            | Operand::Any
            | Operand::AnyResource => {}
        }
        debug_assert!(command.operands.contains(&operand));
        Ok(())
    }

    /// What failures are reported about: the first operand, or `??` as the old tool says for
    /// commands whose first operand does not name the object.
    pub fn object(&self, command: &Command) -> String {
        match command.name {
            "new-minor" | "net-options" | "disconnect" => "??".into(),
            _ => self
                .operands
                .first()
                .cloned()
                .unwrap_or_else(|| "??".into()),
        }
    }

    /// The one optional operand, unless it is `all`.
    pub fn wanted(&self) -> Option<&str> {
        self.operands
            .first()
            .map(String::as_str)
            .filter(|operand| *operand != "all")
    }

    /// Whether an option of the tool itself was given.
    pub fn has(&self, name: &str) -> bool {
        self.own.iter().any(|(n, _)| n == name)
    }

    /// The value of an option of the tool itself.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.own.iter().rev().find(|(n, _)| n == name)?.1.as_deref()
    }
}

/// The full name of a long option, which may be shortened as long as it is unique. `Err(None)`: there is none.
fn complete<'a>(command: &Command, given: &'a str) -> Result<&'a str, Option<String>>
where
    'static: 'a,
{
    let all = names(command);
    if let Some(name) =
        canonical(command.name, given).or_else(|| all.iter().copied().find(|name| *name == given))
    {
        return Ok(name);
    }
    let mut candidates: Vec<&'static str> = all
        .into_iter()
        .filter(|name| name.starts_with(given))
        .collect();
    if "overwrite-data-of-peer".starts_with(given) && command.name == "primary" {
        candidates.push("force");
    }
    match candidates.as_slice() {
        [one] if !given.is_empty() => Ok(one),
        [] | [_] => Err(None),
        several => {
            let several: Vec<String> = several.iter().map(|name| format!("'--{name}'")).collect();
            Err(Some(format!(
                "option '--{given}' is ambiguous; possibilities: {}",
                several.join(" ")
            )))
        }
    }
}

fn needs_value(command: &Command, name: &str) -> bool {
    if let Some((_, takes)) = command.own_options().find(|(n, _)| *n == name) {
        return *takes && !VALUE_MAY_MISS.contains(&name);
    }
    of_command(command).any(|spec| spec.option == name && spec.kind != Kind::Flag)
}

fn option_fault(command: &Command, text: &str) -> Failure {
    Failure::usage(Help::General(None), format!("{}: {text}", command.name))
}

/// A number without unit, suffixes allowed.
pub fn number(text: &str) -> Option<i64> {
    parse_number(text, Unit::One)
}

/// The failure for what is none.
pub fn not_a_number(text: &str) -> Failure {
    Failure::tool(format!("{text} is not a valid number"))
}

/// The number of a minor: digits, `minor-N`, `/dev/drbdN` or a block device node of the driver.
///
/// # Errors
/// The text is none of these.
pub fn parse_minor(text: &str) -> Result<u32, Failure> {
    let digits = text
        .strip_prefix("minor-")
        .or_else(|| text.strip_prefix("/dev/drbd"))
        .unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(minor) = digits
        .parse::<u32>()
        .ok()
        .filter(|minor| decimal && *minor != u32::MAX)
    {
        return Ok(minor);
    }
    if let Ok(metadata) = std::fs::metadata(text) {
        let (major, minor) = (
            rustix::fs::major(metadata.rdev()),
            rustix::fs::minor(metadata.rdev()),
        );
        if metadata.file_type().is_block_device() && major == MAJOR {
            return Ok(minor);
        }
    }
    Err(Failure::tool(format!(
        "Cannot determine minor device number of device '{text}'"
    )))
}

/// [`parse_minor`] for the other tools.
///
/// # Errors
/// The text is no minor; says so.
pub fn parse_minor_text(text: &str) -> Result<u32, String> {
    parse_minor(text).map_err(|failure| failure.text)
}

/// The attribute for `internal`, `flexible` or a slot number. The kernel judges the number.
///
/// # Errors
/// The text is none of these.
pub fn parse_index(text: &str) -> Result<i32, Failure> {
    match text {
        "internal" | "flex-internal" => Ok(-3),
        "flexible" | "flex-external" => Ok(-2),
        other => number(other)
            .and_then(|n| i32::try_from(n).ok())
            .ok_or_else(|| not_a_number(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::COMMANDS;
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, Failure> {
        let command = COMMANDS.iter().find(|c| c.name == line[0]).expect("known");
        let rest: Vec<String> = line[1..].iter().map(|s| s.to_string()).collect();
        Arguments::parse(command, &rest)
    }

    fn refusal(line: &[&str]) -> (u8, Help, String) {
        let failure = parse(line).expect_err("refused");
        (failure.code, failure.help, failure.text)
    }

    #[test]
    fn minors_have_several_spellings() {
        for text in ["5", "minor-5", "/dev/drbd5"] {
            assert_eq!(parse_minor(text).expect(text), 5);
        }
        for text in ["4294967295", "nonsense", "", "+5", "-1", "/dev/null"] {
            assert!(parse_minor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_take_their_value_attached_or_apart_and_may_be_shortened() {
        let attach = ["attach", "0", "/dev/a", "/dev/a", "internal"];
        let with = |more: &[&str]| {
            parse(&[&attach[..], more].concat())
                .expect("accepted")
                .options
        };
        assert_eq!(with(&["--size=10M"]), with(&["--size", "10M"]));
        assert_eq!(with(&["--siz=10M"]), with(&["--size", "10M"]));
        let force = parse(&["primary", "0", "--force"])
            .expect("accepted")
            .options;
        for other in [
            "--overwrite-data-of-peer",
            "--overwrite",
            "-o",
            "--force=yes",
        ] {
            assert_eq!(parse(&["primary", "0", other]).expect(other).options, force);
        }
        assert!(
            refusal(&["attach", "0", "/dev/a", "/dev/a", "internal", "--disk=1"])
                .2
                .contains("is ambiguous")
        );
    }

    #[test]
    fn a_typo_gets_a_suggestion() {
        let (code, help, text) = refusal(&["primary", "0", "--forse"]);
        assert_eq!((code, help), (20, Help::General(None)));
        assert_eq!(
            text,
            "primary: unrecognized option '--forse' (did you mean 'force'?)"
        );
        let text = refusal(&[
            "connect",
            "r0",
            "10.0.0.1",
            "10.0.0.2",
            "--after-sb-0pri=disconect",
        ])
        .2;
        assert!(text.ends_with("(did you mean 'disconnect'?)"), "{text}");
    }

    #[test]
    fn faults_of_the_command_line_have_the_recorded_texts() {
        let general = |complaint: &str| (20, Help::General(Some(complaint.into())), String::new());
        assert_eq!(
            refusal(&["primary", "all"]),
            general("command does not accept argument 'all'")
        );
        assert_eq!(
            refusal(&["new-resource", "all"]),
            general("command does not accept argument 'all'")
        );
        assert_eq!(
            refusal(&["primary"]),
            (
                20,
                Help::Command("primary"),
                "Missing first argument".into()
            )
        );
        assert_eq!(
            refusal(&["attach", "0"]),
            (
                20,
                Help::Command("attach"),
                "Missing argument 'lower_dev'".into()
            )
        );
        assert_eq!(
            refusal(&["new-resource", ""]),
            (1, Help::None, "Resource name is empty.".into())
        );
        assert_eq!(
            refusal(&["new-minor", "r0", "-1", "0"]),
            (
                20,
                Help::General(None),
                "new-minor: invalid option -- '1'".into()
            )
        );
        assert_eq!(
            refusal(&["attach", "0", "/dev/vda", "/dev/vda", "internal", "excess"]),
            (20, Help::EmptyLine, "Excess arguments: excess".into())
        );
        assert_eq!(
            refusal(&["disk-options", "0", "--backing-dev=x"]),
            (
                20,
                Help::General(None),
                "disk-options: unrecognized option '--backing-dev=x'".into()
            )
        );
        assert_eq!(
            refusal(&["net-options", "10.0.0.1", "10.0.0.2", "--discard-my-data"]).2,
            "net-options: unrecognized option '--discard-my-data'"
        );
        assert_eq!(
            refusal(&["resize", "0", "--size=1T"]),
            (20, Help::None, "1T is not a valid number".into())
        );
        assert_eq!(
            refusal(&["resize", "0", "--size"]).2,
            "resize: option '--size' requires an argument"
        );
    }

    #[test]
    fn negative_operands_come_after_two_dashes() {
        let arguments =
            parse(&["attach", "0", "/dev/vda", "/dev/vdb", "--", "-4"]).expect("accepted");
        assert_eq!(arguments.index, -4);
        assert!(parse(&["attach", "0", "/dev/vda", "/dev/vdb", "nowhere"]).is_err());
    }
}
