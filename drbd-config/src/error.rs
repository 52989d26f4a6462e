// SPDX-License-Identifier: GPL-2.0
//! What is wrong with a configuration, and where.

use serde::Serialize;
use std::fmt;

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// File as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1; 0: the line as a whole.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// A fault of the configuration: who reads it must change the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where; none for faults of the whole.
    pub place: Option<Place>,
    /// What was expected and what is there.
    pub text: String,
    /// The line, and how many characters are at fault from the column on.
    pub excerpt: Option<(String, usize)>,
    /// Exit code of the tools.
    pub exit: u8,
}

/// Exit code for an invalid configuration.
pub const INVALID: u8 = 10;

impl Problem {
    /// At a place.
    pub fn at(place: &Place, text: impl Into<String>) -> Self {
        Self {
            place: Some(place.clone()),
            text: text.into(),
            excerpt: None,
            exit: INVALID,
        }
    }

    /// Of the whole configuration.
    pub fn general(exit: u8, text: impl Into<String>) -> Self {
        Self {
            place: None,
            text: text.into(),
            excerpt: None,
            exit,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)?;
        if let (Some((line, length)), Some(place)) = (&self.excerpt, &self.place) {
            let shown: String = line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
            let mark = "^".repeat((*length).max(1));
            write!(f, "\n    {shown}\n    {:>width$}", mark, width = place.column as usize + mark.len() - 1)?;
        }
        Ok(())
    }
}

/// ` (did you mean 'X'?)` for the nearest known word, or nothing.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = known
        .into_iter()
        .filter(|w| w.chars().all(|c| c.is_alphanumeric() || c == '-') && w.len() > 1)
        .map(|word| (distance(given, word), word))
        .min();
    match nearest {
        Some((steps, word)) if steps > 0 && steps <= 1 + given.len() / 4 => format!(" (did you mean '{word}'?)"),
        _ => String::new(),
    }
}

/// Edit distance of two words.
fn distance(a: &str, b: &str) -> usize {
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
