// SPDX-License-Identifier: GPL-2.0
//! File name patterns of `include`.

use std::path::{Path, PathBuf};

/// The text has a pattern character.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['?', '*', '['])
}

/// Existing paths for a pattern, sorted; a relative pattern starts in `base`, and the paths it
/// finds are `base` joined with the text of the pattern.
pub fn expand(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![if pattern.starts_with('/') {
        PathBuf::from("/")
    } else {
        base.to_path_buf()
    }];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|path| step(&path, part))
            .collect();
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

fn step(directory: &Path, part: &str) -> Vec<PathBuf> {
    if !is_pattern(part) {
        return vec![directory.join(part)];
    }
    let listed = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let Ok(entries) = std::fs::read_dir(listed) else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let hidden = part.starts_with('.');
    names
        .filter(|name| (hidden || !name.starts_with('.')) && matches(part, name))
        .map(|name| directory.join(name))
        .collect()
}

/// The name fits the pattern of one path component.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    fits(&pattern, &name)
}

fn fits(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        (Some(('?', rest)), Some((_, left))) => fits(rest, left),
        (Some(('[', rest)), Some((letter, left))) => match class(rest, *letter) {
            Some((true, after)) => fits(after, left),
            Some((false, _)) => false,
            None => *letter == '[' && fits(rest, left),
        },
        (Some((expected, rest)), Some((letter, left))) => expected == letter && fits(rest, left),
        _ => false,
    }
}

/// Whether the letter is in the class that starts here, and the pattern behind it; `None`: no closing bracket.
fn class(pattern: &[char], letter: char) -> Option<(bool, &[char])> {
    let negated = matches!(pattern.first(), Some('!' | '^'));
    let body = if negated { &pattern[1..] } else { pattern };
    let end = body.iter().skip(1).position(|c| *c == ']')? + 1;
    let mut inside = false;
    let mut at = 0;
    while at < end {
        if at + 2 < end && body[at + 1] == '-' {
            inside |= (body[at]..=body[at + 2]).contains(&letter);
            at += 3;
        } else {
            inside |= body[at] == letter;
            at += 1;
        }
    }
    Some((inside != negated, &body[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_like_the_shell() {
        for (pattern, name, expected) in [
            ("*.res", "a.res", true),
            ("*.res", "a.res~", false),
            ("b?.more", "b1.more", true),
            ("[a-c]*", "bob", true),
            ("[!a-c]*", "bob", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
