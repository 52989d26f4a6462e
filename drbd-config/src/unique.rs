// SPDX-License-Identifier: GPL-2.0
//! Things that may be used once only (config-and-cli.md section 6, "conflict").

use crate::diagnostic::{Diagnostic, Position};
use std::collections::HashMap;

/// What was used where first.
#[derive(Debug)]
pub struct Unique {
    seen: HashMap<String, Position>,
    enabled: bool,
}

impl Unique {
    /// A register; a disabled one lets everything pass.
    pub fn new(enabled: bool) -> Self {
        Self {
            seen: HashMap::new(),
            enabled,
        }
    }

    /// Takes `key`; an error names both places when somebody has it.
    pub fn claim(&mut self, what: &str, key: &str, position: &Position) -> Result<(), Diagnostic> {
        if !self.enabled {
            return Ok(());
        }
        let full = format!("{what}\0{key}");
        if let Some(first) = self.seen.get(&full) {
            let text = format!("{what} '{key}' is there already: first used at {first}");
            return Err(Diagnostic::error(position, text));
        }
        self.seen.insert(full, position.clone());
        Ok(())
    }
}
