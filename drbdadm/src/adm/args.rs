// SPDX-License-Identifier: GPL-2.0
//! The command line: general options, options for the backend, command, names (config-and-cli.md section 8).

use super::commands::{self, Command, Options};
use super::Failure;
use drbd_config::nearest;

/// A command line taken apart.
#[derive(Debug, Default)]
pub struct Args {
    /// -d, how often.
    pub dry_run: u32,
    /// -v, how often.
    pub verbose: u32,
    /// -c.
    pub config: Option<String>,
    /// -t.
    pub config_to_test: Option<String>,
    /// -S.
    pub stacked: bool,
    /// -P.
    pub peer: Option<String>,
    /// -s.
    pub drbdsetup: Option<String>,
    /// -m.
    pub drbdmeta: Option<String>,
    /// -p.
    pub proxy_ctl: Option<String>,
    /// -n.
    pub varname: Option<String>,
    /// -V.
    pub version: bool,
    /// -h.
    pub help: bool,
    /// Handed on to the backend: -W, long options of the command, words before the command.
    pub setup_options: Vec<String>,
    /// The command as typed.
    pub command: Option<String>,
    /// Words behind the command.
    pub names: Vec<String>,
    /// All words, when none is a command.
    pub words: Vec<String>,
}

/// Long name, letter and whether it takes a value, in the order of the usage text.
pub const GENERAL: &[(&str, char, bool)] = &[
    ("stacked", 'S', false),
    ("dry-run", 'd', false),
    ("verbose", 'v', false),
    ("config-file", 'c', true),
    ("config-to-test", 't', true),
    ("drbdsetup", 's', true),
    ("drbdmeta", 'm', true),
    ("drbd-proxy-ctl", 'p', true),
    ("sh-varname", 'n', true),
    ("peer", 'P', true),
    ("version", 'V', false),
    ("setup-option", 'W', true),
    ("help", 'h', false),
];

/// One thing on the command line.
enum Piece {
    Word(String),
    General(char, Option<String>),
    /// Name and value of a long option that is not a general one.
    Backend(String, Option<String>),
}

impl Args {
    /// Takes a command line apart.
    pub fn parse(line: &[String]) -> Result<Self, Failure> {
        let pieces = split(line)?;
        let mut args = Self::default();
        let words: Vec<&String> = pieces
            .iter()
            .filter_map(|piece| {
                if let Piece::Word(word) = piece {
                    Some(word)
                } else {
                    None
                }
            })
            .collect();
        let at = words.iter().position(|word| commands::find(word).is_some());
        let copy = |words: &[&String]| {
            words
                .iter()
                .map(|word| (*word).clone())
                .collect::<Vec<String>>()
        };
        let mut before = Vec::new();
        match at {
            Some(at) => {
                before = copy(&words[..at]);
                args.command = Some(words[at].clone());
                args.names = copy(&words[at + 1..]);
            }
            None => args.words = copy(&words),
        }
        for piece in pieces {
            match piece {
                Piece::Word(_) => {}
                Piece::General(letter, value) => args.general(letter, value),
                Piece::Backend(name, value) => args.backend(&name, value)?,
            }
        }
        args.setup_options.append(&mut before);
        args.check_varname();
        Ok(args)
    }

    /// The command.
    pub fn found(&self) -> Option<&'static Command> {
        self.command.as_deref().and_then(commands::find)
    }

    fn general(&mut self, letter: char, value: Option<String>) {
        match letter {
            'S' => self.stacked = true,
            'd' => self.dry_run += 1,
            'v' => self.verbose += 1,
            'c' => self.config = value,
            't' => self.config_to_test = value,
            's' => self.drbdsetup = value,
            'm' => self.drbdmeta = value,
            'p' => self.proxy_ctl = value,
            'n' => self.varname = value,
            'P' => self.peer = value,
            'V' => self.version = true,
            'W' => self.setup_options.extend(value),
            _ => self.help = true,
        }
    }

    /// A long option for the backend, checked against the command.
    fn backend(&mut self, name: &str, value: Option<String>) -> Result<(), Failure> {
        let command = self.found();
        let added = command.is_some_and(|c| c.added.iter().any(|(known, _)| *known == name));
        let known = added
            || match command.map(|command| command.options) {
                Some(Options::Any) => commands::is_known_option(name),
                Some(Options::Container(_)) => command
                    .is_some_and(|c| c.known_options().iter().any(|(known, _)| *known == name)),
                _ => false,
            };
        if !known {
            return Err(unknown_option(command, name));
        }
        self.setup_options.push(match value {
            Some(value) => format!("--{name}={value}"),
            None => format!("--{name}"),
        });
        Ok(())
    }

    fn check_varname(&mut self) {
        let suspect = |name: &String| !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Some(name) = self.varname.take_if(|name| suspect(name)) {
            eprintln!(
                "--sh-varname='{name}' is ignored: only letters, digits and '_' can stand in it"
            );
        }
    }
}

fn unknown_option(command: Option<&'static Command>, name: &str) -> Failure {
    let topic = command.map_or_else(String::new, |command| format!(" {}", command.name));
    let own: Vec<&str> = command.map_or_else(Vec::new, |c| {
        let options = c.known_options().into_iter().chain(c.added.iter().copied());
        options.map(|(name, _)| name).collect()
    });
    let general = GENERAL.iter().map(|(name, _, _)| *name);
    let mut hint = nearest(name, own.iter().copied().chain(general));
    if topic == " primary" && name == "overwrite-data-of-peer" {
        hint =
            " (here it is --force; behind '--' in front of the command the old name works)".into();
    } else if commands::is_known_option(name) && hint.is_empty() {
        hint = format!(" (to hand it on unchecked: drbdadm -- --{name}{topic} ...)");
    }
    Failure::usage(format!(
        "drbdadm: unrecognized option '--{name}'{hint}\ntry 'drbdadm help{topic}'"
    ))
}

fn split(line: &[String]) -> Result<Vec<Piece>, Failure> {
    let mut pieces = Vec::new();
    let mut rest = line.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            pieces.extend(rest.by_ref().map(|word| Piece::Word(word.clone())));
        } else if let Some(long) = arg.strip_prefix("--") {
            pieces.push(long_option(long, &mut rest)?);
        } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            short_options(letters, &mut rest, &mut pieces)?;
        } else {
            pieces.push(Piece::Word(arg.clone()));
        }
    }
    Ok(pieces)
}

fn long_option<'a>(
    long: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<Piece, Failure> {
    let (name, mut value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (long, None),
    };
    let exact = GENERAL.iter().find(|(known, _, _)| *known == name);
    let abbreviated = || {
        let mut begin = GENERAL
            .iter()
            .filter(|(known, _, _)| name.len() > 1 && known.starts_with(name));
        begin
            .next()
            .filter(|_| begin.next().is_none() && !commands::is_known_option(name))
    };
    let Some((full, letter, takes)) = exact.or_else(abbreviated) else {
        let needs = commands::COMMANDS
            .iter()
            .flat_map(|c| c.known_options().into_iter().chain(c.added.iter().copied()));
        if value.is_none()
            && needs
                .into_iter()
                .any(|(known, needs)| known == name && needs)
        {
            value = rest.next().cloned();
        }
        return Ok(Piece::Backend(name.into(), value));
    };
    if *takes && value.is_none() {
        value = rest.next().cloned();
    }
    if *takes && value.is_none() {
        return Err(Failure::usage(format!(
            "drbdadm: option '--{full}' requires an argument\ntry 'drbdadm help'"
        )));
    }
    Ok(Piece::General(*letter, value))
}

fn short_options<'a>(
    letters: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    pieces: &mut Vec<Piece>,
) -> Result<(), Failure> {
    for (at, letter) in letters.char_indices() {
        let Some((_, _, takes)) = GENERAL.iter().find(|(_, known, _)| *known == letter) else {
            let hint = match letter {
                'o' | 'f' => " (for 'primary' write --force)",
                _ => "",
            };
            return Err(Failure::usage(format!(
                "drbdadm: invalid option -- '{letter}'{hint}\ntry 'drbdadm help'"
            )));
        };
        if !takes {
            pieces.push(Piece::General(letter, None));
            continue;
        }
        let attached = &letters[at + letter.len_utf8()..];
        let value = if attached.is_empty() {
            rest.next().cloned()
        } else {
            Some(attached.to_string())
        };
        if value.is_none() {
            let text =
                format!("drbdadm: option requires an argument -- '{letter}'\ntry 'drbdadm help'");
            return Err(Failure::usage(text));
        }
        pieces.push(Piece::General(letter, value));
        return Ok(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, Failure> {
        Args::parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_stand_anywhere_before_the_double_dash() {
        let args = parse("-c f primary r0 -d --force").expect("parsed");
        assert_eq!((args.config.as_deref(), args.dry_run), (Some("f"), 1));
        assert_eq!(
            (args.names, args.setup_options),
            (vec!["r0".to_string()], vec!["--force".to_string()])
        );
    }

    #[test]
    fn words_before_the_command_are_handed_on() {
        let args = parse("-d -- --overwrite-data-of-peer primary all").expect("parsed");
        assert_eq!(args.setup_options, ["--overwrite-data-of-peer"]);
        let args = parse("foo bar up r0").expect("parsed");
        assert_eq!(args.setup_options, ["foo", "bar"]);
        assert_eq!(parse("foo r0").expect("parsed").words, ["foo", "r0"]);
    }

    #[test]
    fn values_may_be_separate_and_letters_may_be_joined() {
        let args = parse("disk-options --resync-rate 100M -dvcx r1").expect("parsed");
        assert_eq!(args.setup_options, ["--resync-rate=100M"]);
        assert_eq!(
            (args.dry_run, args.verbose, args.config.as_deref()),
            (1, 1, Some("x"))
        );
        assert_eq!(args.names, ["r1"]);
    }

    #[test]
    fn what_a_command_does_not_know_is_a_usage_fault() {
        for line in [
            "up --force r0",
            "primary -o r0",
            "resize --size=1G r0",
            "--bogus up r0",
            "up r0 -P",
        ] {
            assert_eq!(parse(line).expect_err(line).code, 1, "{line}");
        }
    }
}
