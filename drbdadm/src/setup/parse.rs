// SPDX-License-Identifier: GPL-2.0
//! The command line of a subcommand: operands and options.

use super::commands::{Command, Operand};
use super::outcome::Failure;
use drbd_core::genl::attributes::Kind;
use netlink_api::build::{parse_address, spec_of};
use netlink_api::Options;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

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
}

impl Arguments {
    /// Checks operands and options against the command's definition.
    pub fn parse(command: &Command, args: &[String]) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let Some(option) = arg.strip_prefix("--").filter(|o| !o.is_empty()) else {
                if arg.starts_with('-') && arg.len() > 1 && arg != "--" {
                    return Err(bad(command, &format!("unrecognized option '{arg}'")));
                }
                if arg != "--" {
                    parsed.operands.push(arg.clone());
                }
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (option, None),
            };
            let value = match value {
                None if needs_value(command, name) => rest.next().cloned(),
                other => other,
            };
            parsed.option(command, name, value)?;
        }
        parsed.check_operands(command)?;
        Ok(parsed)
    }

    fn option(&mut self, command: &Command, name: &str, value: Option<String>) -> Result<(), Failure> {
        let name = match name {
            "overwrite-data-of-peer" if command.name == "primary" => "force",
            other => other,
        };
        if let Some((name, takes)) = command.own.iter().find(|(n, _)| *n == name) {
            if *takes && value.is_none() {
                return Err(bad(command, &format!("option '--{name}' requires an argument")));
            }
            self.own.push(((*name).into(), value));
            return Ok(());
        }
        self.options
            .add(command.container, name, value.as_deref())
            .map_err(|error| {
                let known = drbd_core::genl::attributes::of_container(command.container)
                    .iter()
                    .map(|s| s.option)
                    .chain(command.own.iter().map(|(n, _)| *n));
                let hint = match &error {
                    netlink_api::build::OptionError::Unknown(_) => did_you_mean(name, known),
                    _ => String::new(),
                };
                bad(command, &format!("{error}{hint}"))
            })
    }

    fn check_operands(&mut self, command: &Command) -> Result<(), Failure> {
        let optional = command.operands == [Operand::Any];
        let expected = command.operands.len();
        let found = self.operands.len();
        if found > expected || (found < expected && !optional) {
            let names: Vec<&str> = command.operands.iter().map(|o| o.name()).collect();
            return Err(bad(
                command,
                &format!("expected {} argument(s) ({}), got {found}", expected, names.join(" ")),
            ));
        }
        for (operand, text) in command.operands.iter().zip(&self.operands) {
            match operand {
                Operand::Minor => self.minor = Some(parse_minor(text)?),
                Operand::Resource if text.is_empty() => {
                    return Err(Failure::with_code(1, "Resource name is empty."));
                }
                Operand::Resource if text == "all" => {
                    return Err(bad(command, "command does not accept argument 'all'"));
                }
                Operand::Volume => {
                    text.parse::<u32>()
                        .map_err(|_| bad(command, &format!("{text}: expected a volume number")))?;
                }
                Operand::Local | Operand::Peer => {
                    parse_address(text).map_err(Failure::tool)?;
                }
                Operand::MetaIndex => {
                    parse_index(text)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What failures are reported about: the first operand, or `??` as the old tool says for
    /// commands whose first operand does not name the object.
    pub fn object(&self, command: &Command) -> String {
        match command.name {
            "new-minor" | "net-options" | "disconnect" => "??".into(),
            _ => self.operands.first().cloned().unwrap_or_else(|| "??".into()),
        }
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

fn needs_value(command: &Command, name: &str) -> bool {
    if let Some((_, takes)) = command.own.iter().find(|(n, _)| *n == name) {
        return *takes;
    }
    spec_of(command.container, name).is_some_and(|spec| spec.kind != Kind::Flag)
}

fn bad(command: &Command, text: &str) -> Failure {
    Failure::tool(format!("drbdsetup {}: {text}\n{}", command.name, command.usage()))
}

/// The number of a minor: digits, `minor-N`, `/dev/drbdN` or a node with major 147.
pub fn parse_minor(text: &str) -> Result<u32, Failure> {
    let digits = text
        .strip_prefix("minor-")
        .or_else(|| text.strip_prefix("/dev/drbd"))
        .unwrap_or(text);
    if let Ok(minor) = digits.parse::<u32>() {
        if minor != u32::MAX {
            return Ok(minor);
        }
    } else if let Ok(metadata) = std::fs::metadata(text) {
        let number = metadata.rdev();
        let major = (number >> 8) & 0xfff;
        if metadata.file_type().is_block_device() && major == 147 {
            return Ok(((number & 0xff) | ((number >> 12) & 0xfff00)) as u32);
        }
    }
    Err(Failure::tool(format!("Cannot determine minor device number of device '{text}'")))
}

/// [`parse_minor`] for the other tools.
pub fn parse_minor_text(text: &str) -> Result<u32, String> {
    parse_minor(text).map_err(|failure| failure.text)
}

/// The attribute for `internal`, `flexible` or a slot number.
pub fn parse_index(text: &str) -> Result<i32, Failure> {
    match text {
        "internal" | "flex-internal" => Ok(-3),
        "flexible" | "flex-external" => Ok(-2),
        number => number
            .parse::<u16>()
            .map(i32::from)
            .map_err(|_| Failure::tool(format!("{text}: expected internal, flexible or a slot number"))),
    }
}

/// ` (did you mean 'X'?)` for the nearest known word, or nothing.
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known
        .filter(|w| !w.is_empty())
        .map(|word| (distance(given, word), word))
        .min();
    match nearest {
        Some((steps, word)) if steps <= 1 + given.len() / 4 => format!(" (did you mean '{word}'?)"),
        _ => String::new(),
    }
}

/// Edit distance of two words.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
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

    #[test]
    fn minors_have_several_spellings() {
        for text in ["5", "minor-5", "/dev/drbd5"] {
            assert_eq!(parse_minor(text).expect(text), 5);
        }
        assert!(parse_minor("4294967295").is_err());
        assert!(parse_minor("nonsense").is_err());
    }

    #[test]
    fn options_are_checked_and_a_typo_gets_a_suggestion() {
        assert!(parse(&["attach", "0", "/dev/a", "/dev/a", "internal", "--size=10M"]).is_ok());
        assert!(parse(&["attach", "0", "/dev/a", "/dev/a", "internal", "--size", "10M"]).is_ok());
        let failure = parse(&["primary", "0", "--forse"]).expect_err("typo");
        assert_eq!(failure.code, 20);
        assert!(failure.text.contains("did you mean 'force'?"), "{}", failure.text);
        assert_eq!(parse(&["new-resource", ""]).expect_err("empty").code, 1);
        assert_eq!(parse(&["new-resource"]).expect_err("none").code, 20);
    }
}
