// SPDX-License-Identifier: GPL-2.0
//! The grammar (config-and-cli.md section 2), by recursive descent over the tokens.

mod host;
mod resource;
mod section;
mod volume;

use crate::diagnostic::{nearest, Diagnostic, Position};
use crate::glob;
use crate::lexer::{Kind, Lexer, Token};
use crate::model::{Config, UsageCount};
use crate::number;
use crate::options::{self, Place, Value};
use crate::unique::Unique;
use drbd_core::genl::attributes::Unit;
use std::path::{Path, PathBuf};

const TOP: &[&str] = &["global", "common", "resource", "skip", "include"];

/// The state of reading.
#[derive(Debug)]
pub struct Parser {
    lexer: Lexer,
    config: Config,
    diagnostics: Vec<Diagnostic>,
    unique: Unique,
    files: Vec<PathBuf>,
    end: Position,
    /// The text comes from the kernel: only its syntax matters.
    running: bool,
}

type Parsed<T> = Result<T, Diagnostic>;

impl Parser {
    /// A parser for one main file.
    pub fn new(lexer: Lexer, running: bool) -> Self {
        Self {
            lexer,
            config: Config::default(),
            diagnostics: Vec::new(),
            unique: Unique::new(!running),
            files: Vec::new(),
            end: Position::default(),
            running,
        }
    }

    /// The file was read and is not read again.
    pub fn remember(&mut self, file: &str) -> bool {
        let real = std::fs::canonicalize(file).unwrap_or_else(|_| PathBuf::from(file));
        if self.files.contains(&real) {
            return false;
        }
        self.files.push(real);
        true
    }

    /// Goes on with another file.
    pub fn replace_lexer(&mut self, lexer: Lexer) {
        self.lexer = lexer;
    }

    /// Where the last file ended.
    pub fn end(&self) -> Position {
        self.end.clone()
    }

    /// What was read.
    pub fn into_parts(self) -> (Config, Vec<Diagnostic>) {
        (self.config, self.diagnostics)
    }

    /// Reads the present file to its end.
    pub fn parse_file(&mut self) -> Parsed<()> {
        loop {
            let token = self.lexer.take()?;
            match token.text.as_str() {
                _ if token.kind == Kind::End => {
                    self.end = token.position;
                    return Ok(());
                }
                "global" if token.kind == Kind::Keyword => self.global(&token)?,
                "common" if token.kind == Kind::Keyword => self.common(&token)?,
                "resource" if token.kind == Kind::Keyword => self.resource()?,
                "skip" if token.kind == Kind::Keyword => self.skip(&token)?,
                "include" if token.kind == Kind::Keyword => self.include()?,
                _ => return Err(self.unexpected(&token, TOP)),
            }
        }
    }

    fn skip(&mut self, keyword: &Token) -> Parsed<()> {
        let mut token = self.lexer.take()?;
        if token.is_name() {
            token = self.lexer.take()?;
        }
        if !token.is("{") {
            return Err(self.wanted(&token, "a word or '{' behind skip"));
        }
        match self.lexer.skip_block()? {
            true => Ok(()),
            false => Err(Diagnostic::error(
                &keyword.position,
                "the file ends inside of this skip block",
            )),
        }
    }

    fn include(&mut self) -> Parsed<()> {
        let name = self.lexer.take()?;
        if !name.is_name() {
            return Err(self.wanted(&name, "a file name or pattern"));
        }
        self.mark(";")?;
        let base = Path::new(self.lexer.file())
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        let found = glob::expand(&base, &name.text);
        if found.is_empty() && !glob::is_pattern(&name.text) {
            let text = format!("the included file '{}' is not there", name.text);
            self.diagnostics
                .push(Diagnostic::error(&name.position, text));
        }
        for path in found {
            let shown = path.display().to_string();
            if !self.remember(&shown) {
                continue;
            }
            match std::fs::read(&path) {
                Ok(bytes) => self.included(&shown, &bytes)?,
                Err(error) => {
                    let text = format!(
                        "cannot read the included file '{shown}': {}",
                        crate::loader::reason(&error)
                    );
                    self.diagnostics
                        .push(Diagnostic::error(&name.position, text));
                }
            }
        }
        Ok(())
    }

    fn included(&mut self, name: &str, bytes: &[u8]) -> Parsed<()> {
        let inner = Lexer::new(name, String::from_utf8_lossy(bytes).into_owned(), 1);
        let outer = std::mem::replace(&mut self.lexer, inner);
        self.parse_file()?;
        self.lexer = outer;
        Ok(())
    }

    fn global(&mut self, keyword: &Token) -> Parsed<()> {
        self.unique
            .claim("global section", "global", &keyword.position)?;
        if !self.config.resources.is_empty() {
            let text = "the global section should stand before all resources";
            self.diagnostics
                .push(Diagnostic::warning(&keyword.position, text));
        }
        self.mark("{")?;
        loop {
            let token = self.lexer.take()?;
            if token.is("}") {
                return Ok(());
            }
            let found =
                options::find(Place::Global, &token.text).filter(|_| token.kind == Kind::Keyword);
            let Some(spec) = found else {
                let known: Vec<&str> = options::all(Place::Global)
                    .iter()
                    .map(|spec| spec.name)
                    .collect();
                return Err(self.unexpected(&token, &known));
            };
            self.global_option(&token, spec.value)?;
            self.mark(";")?;
        }
    }

    fn global_option(&mut self, name: &Token, kind: Value) -> Parsed<()> {
        let mut number = None;
        if let Value::Number {
            least, most, unit, ..
        } = kind
        {
            let token = self.number_token()?;
            number = Some(self.checked_number(name, &token, unit, least, most)?);
        }
        if name.text == "usage-count" {
            let token = self.lexer.take()?;
            self.config.global.usage_count = match token.text.as_str() {
                "yes" if token.kind == Kind::Keyword => UsageCount::Yes,
                "no" if token.kind == Kind::Keyword => UsageCount::No,
                "ask" if token.kind == Kind::Keyword => UsageCount::Ask,
                _ => return Err(self.unexpected(&token, &["yes", "no", "ask"])),
            };
        }
        let global = &mut self.config.global;
        match name.text.as_str() {
            "minor-count" => global.minor_count = number,
            "dialog-refresh" => global.dialog_refresh_seconds = number,
            "cmd-timeout-short" => global.timeout_short_seconds = number,
            "cmd-timeout-medium" => global.timeout_medium_seconds = number,
            "cmd-timeout-long" => global.timeout_long_seconds = number,
            "disable-ip-verification" => global.disable_ip_verification = true,
            "udev-always-use-vnr" => global.udev_always_use_vnr = true,
            _ => {}
        }
        Ok(())
    }

    /// Takes a `{`, `}`, `;`, `[`, `]` or `:`.
    fn mark(&mut self, mark: &str) -> Parsed<Token> {
        let token = self.lexer.take()?;
        if token.is(mark) {
            Ok(token)
        } else {
            Err(self.wanted(&token, &format!("'{mark}'")))
        }
    }

    /// Takes a word or quoted text that is no keyword.
    fn name(&mut self, what: &str) -> Parsed<Token> {
        let token = self.lexer.take()?;
        if token.is_name() {
            Ok(token)
        } else {
            Err(self.wanted(&token, what))
        }
    }

    fn number_token(&mut self) -> Parsed<Token> {
        let token = self.lexer.take()?;
        if token.kind == Kind::Number {
            Ok(token)
        } else {
            Err(self.wanted(&token, "a number"))
        }
    }

    /// A number in a range; out of range is collected, no number at all stops with 20.
    fn checked_number(
        &mut self,
        name: &Token,
        token: &Token,
        unit: Unit,
        least: u64,
        most: u64,
    ) -> Parsed<u64> {
        let Some(value) = number::parse(&token.text, unit) else {
            let text = format!("'{}' is no number, but {} takes one", token.text, name.text);
            return Err(Diagnostic::error(&token.position, text).with_exit(20));
        };
        if !(least..=most).contains(&value) && !self.running {
            let letter = number::unit_letter(unit);
            let text = format!(
                "{} {} is {value}{letter}, out of range: expected {least}{letter} to {most}{letter}",
                name.text, token.text
            );
            self.diagnostics
                .push(Diagnostic::error(&token.position, text));
        }
        Ok(value)
    }

    /// A plain number with a name for the message.
    fn plain_number(&mut self, what: &str, least: u64, most: u64) -> Parsed<u64> {
        let token = self.number_token()?;
        let name = Token {
            text: what.into(),
            ..token.clone()
        };
        self.checked_number(&name, &token, Unit::One, least, most)
    }

    /// An error that tells what could have stood here.
    fn unexpected(&self, token: &Token, known: &[&str]) -> Diagnostic {
        let text = format!(
            "expected one of {}; found {}{}",
            known.join(", "),
            token.shown(),
            near(token, known)
        );
        Diagnostic::error(&token.position, text)
    }

    /// An error that tells what kind of thing should have stood here.
    fn wanted(&self, token: &Token, what: &str) -> Diagnostic {
        let hint = match token.kind {
            Kind::Keyword | Kind::Ipv4 | Kind::Ipv6 if what.starts_with("a ") => {
                format!(
                    " (as a plain word it has a meaning of its own here; write \"{}\")",
                    token.text
                )
            }
            _ => String::new(),
        };
        Diagnostic::error(
            &token.position,
            format!("expected {what}, found {}{hint}", token.shown()),
        )
    }
}

/// The nearest known word, if the token looks like one.
fn near(token: &Token, known: &[&str]) -> String {
    let slashes = token.kind == Kind::Word && (token.text == "/" || token.text.starts_with("//"));
    if slashes || (token.kind == Kind::Other && !token.text.is_ascii()) {
        return " (remarks begin with '#')".into();
    }
    match token.kind {
        Kind::Word | Kind::Keyword => nearest(&token.text, known.iter().copied()),
        _ => String::new(),
    }
}
