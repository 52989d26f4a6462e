// SPDX-License-Identifier: GPL-2.0
//! Suggestions for mistyped words.

/// ` (did you mean 'X'?)` for the nearest known word, or nothing.
pub fn did_you_mean<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest = known
        .filter(|w| !w.is_empty())
        .map(|word| (distance(given, word), word))
        .min();
    match nearest {
        Some((steps, word)) if steps <= given.chars().count() / 3 => {
            format!(" (did you mean '{word}'?)")
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_others_are_not() {
        let known = || ["status", "show", "primary"].into_iter();
        assert_eq!(did_you_mean("statsu", known()), " (did you mean 'status'?)");
        assert_eq!(did_you_mean("nonsense", known()), "");
        assert_eq!(did_you_mean("Z", known()), "");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
