// SPDX-License-Identifier: GPL-2.0
//! Positions and messages.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// A place in a configuration file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file as it was named on the command line, or as an include found it.
    pub file: String,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Position {
    /// `FILE:LINE` with an absolute path.
    pub fn absolute(&self) -> String {
        format!("{}:{}", absolute(&self.file), self.line)
    }
}

/// An absolute path without touching the file; standard input keeps its name.
pub fn absolute(file: &str) -> String {
    if file == crate::loader::STDIN {
        return file.to_string();
    }
    std::path::absolute(Path::new(file))
        .map_or_else(|_| file.to_string(), |p| p.display().to_string())
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// The configuration is used.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One message about a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Where; `None`: about a file as a whole.
    pub position: Option<Position>,
    /// Severity.
    pub severity: Severity,
    /// What.
    pub text: String,
    /// Exit code of the tools: 10, or 20 for unreadable files and numbers (section 6).
    pub exit: u8,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(position: &Position, text: impl Into<String>) -> Self {
        Self {
            position: Some(position.clone()),
            severity: Severity::Error,
            text: text.into(),
            exit: 10,
        }
    }

    /// A warning at a place.
    pub fn warning(position: &Position, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(position, text)
        }
    }

    /// An error about a file as a whole.
    pub fn file(text: impl Into<String>, exit: u8) -> Self {
        Self {
            position: None,
            severity: Severity::Error,
            text: text.into(),
            exit,
        }
    }

    /// The same with another exit code.
    pub fn with_exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.text)
    }
}

/// ` (did you mean 'X'?)` for the nearest of the known words, or nothing when none is near.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let best = known
        .into_iter()
        .map(|word| (distance(given, word), word))
        .min();
    match best {
        Some((steps, word)) if steps > 0 && steps <= 1 + given.chars().count() / 4 => {
            format!(" (did you mean '{word}'?)")
        }
        _ => String::new(),
    }
}

/// Number of characters to insert, delete, replace or swap with their neighbour.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut steps = (row[j] + usize::from(x != y))
                .min(row[j + 1] + 1)
                .min(next[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x {
                steps = steps.min(before[j - 1] + 1);
            }
            next.push(steps);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        assert_eq!(
            nearest("wfc-timout", ["wfc-timeout", "degr-wfc-timeout"]),
            " (did you mean 'wfc-timeout'?)"
        );
        assert_eq!(
            nearest("resorce", ["resource", "common"]),
            " (did you mean 'resource'?)"
        );
        assert_eq!(nearest("xyz", ["resource", "common"]), "");
        assert_eq!(distance("ab", "ba"), 1);
    }

    #[test]
    fn messages_carry_file_line_and_column() {
        let position = Position {
            file: "a.conf".into(),
            line: 3,
            column: 7,
        };
        assert_eq!(
            Diagnostic::error(&position, "no").to_string(),
            "a.conf:3:7: no"
        );
        assert_eq!(
            Diagnostic::warning(&position, "no").to_string(),
            "a.conf:3:7: warning: no"
        );
    }
}
