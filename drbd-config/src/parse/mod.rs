// SPDX-License-Identifier: GPL-2.0
//! The grammar (config-and-cli.md section 2), by recursive descent over the tokens.
//!
//! A token that does not fit ends the reading at once. Ranges and conflicts are collected in
//! [`Config::problems`], so that one run shows them all.

mod host;
mod sections;

use crate::error::{did_you_mean, Place, Problem};
use crate::lexer::{tokens, Kind, Token};
use crate::model::{Address, Config, Resource};
use crate::options::is_keyword;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Reads files; a trait so that tests and fuzzers need no disk.
pub trait Files {
    /// Text of a file.
    fn read(&self, path: &Path) -> std::io::Result<String>;
    /// Files a pattern names, sorted.
    fn glob(&self, pattern: &str) -> Vec<PathBuf>;
}

/// The real disk.
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = glob::glob(pattern).map(|g| g.flatten().collect()).unwrap_or_default();
        found.sort();
        found
    }
}

/// Reads one configuration, perhaps of several files.
pub struct Parser<'a> {
    files: &'a dyn Files,
    /// The result so far.
    pub config: Config,
    seen_files: Vec<PathBuf>,
    /// First uses of names that must be used once.
    pub(crate) first_use: HashMap<String, Place>,
    /// Lines of the files read, for excerpts.
    lines: HashMap<String, Vec<String>>,
    reader: Reader,
}

/// A position in the tokens of one file.
#[derive(Default)]
pub(crate) struct Reader {
    tokens: Vec<Token>,
    at: usize,
    file: String,
}

type Step<T> = Result<T, Problem>;

impl<'a> Parser<'a> {
    /// An empty configuration.
    pub fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            config: Config::default(),
            seen_files: Vec::new(),
            first_use: HashMap::new(),
            lines: HashMap::new(),
            reader: Reader::default(),
        }
    }

    /// Reads a text under a name; `first_line` is 1 but for `--config-to-test`.
    ///
    /// # Errors
    /// The first token that does not fit.
    pub fn text(&mut self, file: &str, text: &str, first_line: u32) -> Step<()> {
        if self.config.file.is_empty() {
            self.config.file = file.into();
        }
        let mut lines = vec![String::new(); first_line.saturating_sub(1) as usize];
        lines.extend(text.lines().map(str::to_owned));
        self.lines.insert(file.into(), lines);
        let reader = Reader {
            tokens: tokens(file, text, first_line)?,
            at: 0,
            file: file.into(),
        };
        let outer = std::mem::replace(&mut self.reader, reader);
        let result = self.top();
        self.reader = outer;
        result
    }

    /// Lines read so far of the main file, for what is read after it.
    pub fn line_count(&self, file: &str) -> u32 {
        self.lines.get(file).map_or(0, |l| l.len() as u32)
    }

    fn top(&mut self) -> Step<()> {
        const EXPECTED: &[&str] = &["global", "common", "resource", "skip", "include"];
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::End, _) => return Ok(()),
                (Kind::Word, "global") => self.global(&token)?,
                (Kind::Word, "common") => self.common(&token)?,
                (Kind::Word, "resource") => self.resource()?,
                (Kind::Word, "skip") => self.skip(&token)?,
                (Kind::Word, "include") => self.include()?,
                _ => return Err(self.unexpected(&token, EXPECTED)),
            }
        }
    }

    fn common(&mut self, start: &Token) -> Step<()> {
        self.once("resource section 'common'", "common", &start.place)?;
        self.sign('{')?;
        let mut common = Resource {
            name: "common".into(),
            place: start.place.clone(),
            ..Resource::default()
        };
        self.resource_items(&mut common, true)?;
        self.config.common = Some(common);
        Ok(())
    }

    fn resource(&mut self) -> Step<()> {
        let name = self.name("a resource name")?;
        self.once(&format!("resource section '{}'", name.text), &format!("resource {}", name.text), &name.place)?;
        self.sign('{')?;
        let mut resource = Resource {
            name: name.text.clone(),
            place: name.place.clone(),
            ..Resource::default()
        };
        self.resource_items(&mut resource, false)?;
        self.config.resources.push(resource);
        Ok(())
    }

    /// A balanced block that is not looked at.
    fn skip(&mut self, start: &Token) -> Step<()> {
        let mut token = self.next();
        if token.kind != Kind::Sign('{') {
            token = self.next();
        }
        if token.kind != Kind::Sign('{') {
            return Err(self.unexpected(&token, &["{"]));
        }
        let mut depth = 1;
        while depth > 0 {
            let token = self.next();
            match token.kind {
                Kind::Sign('{') => depth += 1,
                Kind::Sign('}') => depth -= 1,
                Kind::End => {
                    let place = Place {
                        line: token.place.line,
                        ..start.place.clone()
                    };
                    return Err(Problem::at(&start.place.clone_line(), format!("this skip block has no end (the file ends in line {})", place.line)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn include(&mut self) -> Step<()> {
        let token = self.next();
        if !matches!(token.kind, Kind::Word | Kind::Quoted | Kind::Number | Kind::Ipv4) {
            return Err(self.unexpected(&token, &["a file name or pattern"]));
        }
        self.sign(';')?;
        let pattern = &token.text;
        let folder = Path::new(&self.reader.file).parent().map(Path::to_path_buf).unwrap_or_default();
        let full = if pattern.starts_with('/') || folder.as_os_str().is_empty() {
            pattern.clone()
        } else {
            folder.join(pattern).display().to_string()
        };
        let found = self.files.glob(&full);
        if found.is_empty() && !pattern.contains(['?', '*', '[']) {
            let problem = Problem::at(&token.place, format!("cannot open the included file '{full}'"));
            self.config.problems.push(problem);
        }
        for path in found {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            if self.seen_files.contains(&real) {
                continue;
            }
            self.seen_files.push(real);
            match self.files.read(&path) {
                Ok(text) => self.text(&path.display().to_string(), &text, 1)?,
                Err(error) => self
                    .config
                    .problems
                    .push(Problem::at(&token.place, format!("cannot open the included file '{}': {error}", path.display()))),
            }
        }
        Ok(())
    }

    // --- tokens ---

    pub(crate) fn peek(&self) -> Token {
        let last = self.reader.tokens.len().saturating_sub(1);
        self.reader.tokens.get(self.reader.at.min(last)).cloned().unwrap_or(Token {
            kind: Kind::End,
            text: String::new(),
            place: Place::default(),
            length: 1,
        })
    }

    pub(crate) fn next(&mut self) -> Token {
        let token = self.peek();
        self.reader.at += 1;
        token
    }

    pub(crate) fn sign(&mut self, sign: char) -> Step<Token> {
        let token = self.next();
        if token.kind == Kind::Sign(sign) {
            Ok(token)
        } else {
            Err(self.unexpected(&token, &[&sign.to_string()]))
        }
    }

    /// A name that is no keyword.
    pub(crate) fn name(&mut self, what: &str) -> Step<Token> {
        let token = self.next();
        match token.kind {
            Kind::Quoted => Ok(token),
            Kind::Word if !is_keyword(&token.text) => Ok(token),
            _ => Err(self.unexpected(&token, &[what])),
        }
    }

    /// A value of an option: a word that is no keyword, a number or quoted text.
    pub(crate) fn value(&mut self) -> Step<Token> {
        let token = self.next();
        match token.kind {
            Kind::Quoted | Kind::Number => Ok(token),
            Kind::Word if token.text == "on" || !is_keyword(&token.text) => Ok(token),
            _ => Err(self.unexpected(&token, &["a value"])),
        }
    }

    /// A plain number.
    pub(crate) fn integer(&mut self, what: &str) -> Step<(u64, Token)> {
        let token = self.next();
        if token.kind == Kind::Number {
            if let Ok(number) = crate::options::to_unit(&token.text, drbd_core::genl::attributes::Unit::One) {
                return Ok((number, token));
            }
        }
        Err(self.unexpected(&token, &[what]))
    }

    /// `[family] address : port`.
    pub(crate) fn address(&mut self) -> Step<Address> {
        const EXPECTED: &[&str] = &["ssocks", "sdp", "ipv4", "ipv6", "an IPv4 address"];
        let first = self.next();
        let (family, bracket) = match (&first.kind, first.text.as_str()) {
            (Kind::Ipv4, _) => ("ipv4", false),
            (Kind::Word, "ipv4") => ("ipv4", false),
            (Kind::Word, "sdp") => ("sdp", false),
            (Kind::Word, "ssocks" | "sci") => ("ssocks", false),
            (Kind::Word, "ipv6") => ("ipv6", true),
            _ => return Err(self.unexpected(&first, EXPECTED)),
        };
        let address = if bracket {
            self.sign('[')?;
            let token = self.next();
            if token.kind != Kind::Ipv6 {
                return Err(self.unexpected(&token, &["an IPv6 address"]));
            }
            self.sign(']')?;
            token.text
        } else if first.kind == Kind::Ipv4 {
            first.text.clone()
        } else {
            let token = self.next();
            if token.kind != Kind::Ipv4 {
                return Err(self.unexpected(&token, &["an IPv4 address"]));
            }
            token.text
        };
        self.sign(':')?;
        let (port, token) = self.integer("a port number")?;
        if !(1..=65_535).contains(&port) {
            let problem = Problem::at(&token.place, format!("port {port} is out of range: 1 to 65535 expected"));
            self.config.problems.push(problem);
        }
        Ok(Address {
            family: family.into(),
            address,
            port: port as u16,
            place: first.place,
        })
    }

    /// The fault of a token where others were expected, with the nearest of them.
    pub(crate) fn unexpected(&self, token: &Token, expected: &[&str]) -> Problem {
        let list = match expected {
            [one] => format!("'{one}'"),
            many => format!("one of {}", many.join(", ")),
        };
        let near = if token.kind == Kind::Word { did_you_mean(&token.text, expected.iter().copied()) } else { String::new() };
        let mut problem = Problem::at(&token.place, format!("{list} expected, found {}{near}", token.shown()));
        problem.excerpt = self
            .lines
            .get(&token.place.file)
            .and_then(|lines| lines.get(token.place.line.saturating_sub(1) as usize))
            .map(|line| (line.clone(), token.length));
        problem
    }

    /// Notes the use of a name that may be used once; a second use stops the reading.
    pub(crate) fn once(&mut self, what: &str, key: &str, place: &Place) -> Step<()> {
        if let Some(first) = self.first_use.get(key) {
            return Err(conflict(what, place, first));
        }
        self.first_use.insert(key.into(), place.clone());
        Ok(())
    }
}

impl Place {
    /// The line as a whole.
    pub fn clone_line(&self) -> Place {
        Place {
            column: 0,
            ..self.clone()
        }
    }
}

/// Two uses of what may be used once.
pub(crate) fn conflict(what: &str, second: &Place, first: &Place) -> Problem {
    Problem::at(
        &second.clone_line(),
        format!("conflicting use of {what} ...\n{}: {what} first used here.", first.clone_line()),
    )
}
