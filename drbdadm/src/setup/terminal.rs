// SPDX-License-Identifier: GPL-2.0
//! What a command has around it: where it prints, and what it leaves behind.

use super::registry::Registry;
use std::io::Write;

/// Standard output and standard error of a command.
pub struct Terminal<'a> {
    out: &'a mut dyn Write,
    error: &'a mut dyn Write,
    /// The name the tool was called by.
    pub program: String,
    /// Standard output is looked at by a person, who has nothing against colours.
    pub interactive: bool,
    /// Links to the configuration.
    pub registry: Registry,
}

impl<'a> Terminal<'a> {
    /// Over two streams.
    pub fn new(program: &str, out: &'a mut dyn Write, error: &'a mut dyn Write) -> Self {
        Self {
            out,
            error,
            program: program.into(),
            interactive: crate::view::paint::is_welcome(),
            registry: Registry::default(),
        }
    }

    /// Prints to standard output at once; false when nobody reads any more.
    pub fn print(&mut self, text: &str) -> bool {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .is_ok()
    }

    /// Prints a line to standard error.
    pub fn note(&mut self, line: &str) {
        // There is no better place to complain.
        let _ = writeln!(self.error, "{line}");
    }
}
