// SPDX-License-Identifier: GPL-2.0
//! Reading configurations from files.

use crate::diagnostic::{Diagnostic, Position, Severity};
use crate::lexer::Lexer;
use crate::model::{Config, Resource};
use crate::parser::Parser;
use std::io::Read;

/// How standard input is named in messages.
pub const STDIN: &str = "STDIN";

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// What was understood.
    pub config: Config,
    /// Warnings and errors in the order they were found.
    pub diagnostics: Vec<Diagnostic>,
    /// The end of the last file.
    pub end: Position,
}

impl Loaded {
    /// The exit code the errors call for; `None`: there are none. The last one counts: it may be the one
    /// that ended reading.
    pub fn exit(&self) -> Option<u8> {
        let mut errors = self
            .diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error);
        errors.next_back().map(|d| d.exit)
    }
}

/// Reads a main file, and perhaps a second one on top.
#[derive(Debug, Default)]
pub struct Loader {
    file: String,
    to_test: Option<String>,
}

impl Loader {
    /// For a main file; `-` is standard input.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            to_test: None,
        }
    }

    /// A file to be tested together with the configuration; its line numbers continue those of the main file.
    pub fn with_test_file(mut self, file: Option<&str>) -> Self {
        self.to_test = file.map(str::to_string);
        self
    }

    /// Reads everything. Reading stops at the first syntax error or conflict; range errors and
    /// missing statements are collected.
    pub fn load(&self) -> Loaded {
        let name = if self.file == "-" { STDIN } else { &self.file };
        let mut parser = match read(&self.file) {
            Ok(text) => Parser::new(Lexer::new(name, text, 1), false),
            Err(error) => return refused(name, error),
        };
        if name != STDIN {
            parser.remember(name);
        }
        let mut result = parser.parse_file();
        if let (Ok(()), Some(file)) = (&result, &self.to_test) {
            let line = parser.end().line;
            result = read(file).and_then(|text| {
                parser.replace_lexer(Lexer::new(file, text, line));
                parser.parse_file()
            });
        }
        finish(parser, name, result)
    }
}

fn finish(parser: Parser, name: &str, result: Result<(), Diagnostic>) -> Loaded {
    let end = parser.end();
    let (mut config, mut diagnostics) = parser.into_parts();
    diagnostics.extend(result.err());
    config.main_file = name.into();
    Loaded {
        config,
        diagnostics,
        end,
    }
}

fn refused(name: &str, error: Diagnostic) -> Loaded {
    let config = Config {
        main_file: name.into(),
        ..Config::default()
    };
    Loaded {
        config,
        diagnostics: vec![error],
        end: Position::default(),
    }
}

/// Why a file cannot be read, without the number of the error.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_string()
}

fn read(file: &str) -> Result<String, Diagnostic> {
    let mut bytes = Vec::new();
    let result = if file == "-" {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|mut opened| opened.read_to_end(&mut bytes))
    };
    result.map_err(|error| {
        let text = format!("cannot open '{file}': {}", reason(&error));
        Diagnostic::file(text, 20)
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a configuration from memory, with `name` in messages; `include` statements still read files.
pub fn parse_text(name: &str, text: &str) -> Loaded {
    let mut parser = Parser::new(Lexer::new(name, text.into(), 1), false);
    let result = parser.parse_file();
    finish(parser, name, result)
}

/// Understands the output of `drbdsetup show`. Nothing is checked but the syntax.
pub fn parse_running(text: &str) -> Result<Vec<Resource>, Diagnostic> {
    let mut parser = Parser::new(Lexer::new("drbdsetup show", text.into(), 1), true);
    parser.parse_file()?;
    Ok(parser.into_parts().0.resources)
}
