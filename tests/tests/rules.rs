// SPDX-License-Identifier: GPL-2.0
//! "Done when" of issue 3: every rule of the behaviour reference is cited where the code obeys it, or listed with a reason in
//! docs/differences.md. A citation is a label in a comment: `RX-7`, `SZ-1 to SZ-12`, `AC-14, 16, 17`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rules: label and runs of numbers.
const RULES: &[(&str, &[(u32, u32)])] = &[
    ("AC", &[(1, 28)]),
    ("AL", &[(1, 8)]),
    ("AT", &[(1, 12)]),
    ("CG", &[(1, 5)]),
    ("CO", &[(1, 9)]),
    ("DC", &[(1, 4)]),
    ("DN", &[(1, 3)]),
    ("DP", &[(1, 6)]),
    ("DT", &[(1, 3)]),
    ("EP", &[(1, 8)]),
    ("ER", &[(1, 7)]),
    ("FE", &[(1, 12)]),
    ("HS", &[(1, 4), (9, 15), (20, 30), (40, 44)]),
    ("HT", &[(1, 7)]),
    ("IO", &[(1, 4)]),
    ("OV", &[(1, 5)]),
    ("RD", &[(1, 5)]),
    ("RO", &[(1, 6)]),
    ("RS", &[(1, 5)]),
    ("RX", &[(1, 23)]),
    ("SAN", &[(1, 9)]),
    ("SB", &[(1, 6)]),
    ("SC", &[(1, 11)]),
    ("ST", &[(1, 9)]),
    ("STR", &[(1, 13)]),
    ("SZ", &[(1, 15)]),
    ("TO", &[(1, 6)]),
    ("UU", &[(1, 17)]),
    ("VS", &[(1, 15)]),
    ("WR", &[(1, 9)]),
];

/// Heading of the list of rules that nothing cites.
const HEADING: &str = "## Rules of the reference without a place in the code";

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the checkout").to_path_buf()
}

fn rules() -> BTreeSet<String> {
    let runs = RULES.iter().flat_map(|(family, runs)| runs.iter().map(move |run| (family, run)));
    runs.flat_map(|(family, (first, last))| (*first..=*last).map(move |n| format!("{family}-{n}"))).collect()
}

/// Sources of module and tools, without their tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if name.contains("tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The number at the start of a text, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text.get(..length)?.parse().ok()?, &text[length..]))
}

/// Every label of a family in a text, lists and runs included.
fn labels_of(family: &str, text: &str, found: &mut BTreeSet<String>) {
    let start = format!("{family}-");
    let mut rest = text;
    while let Some(at) = rest.find(&start) {
        let fresh = rest[..at].bytes().next_back().is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'-');
        rest = &rest[at + start.len()..];
        let Some((mut last, mut tail)) = number(rest).filter(|_| fresh) else { continue };
        found.insert(format!("{family}-{last}"));
        loop {
            let more = [", and ", ", ", " and ", " or ", " to "].iter().find_map(|word| Some((*word, tail.strip_prefix(word)?)));
            let Some((word, next)) = more else { break };
            let Some((n, after)) = number(next.strip_prefix(&start).unwrap_or(next)) else { break };
            let first = if word == " to " { last + 1 } else { n };
            found.extend((first..=n).map(|n| format!("{family}-{n}")));
            (last, tail) = (n, after);
        }
    }
}

/// The comments of a source in front of its tests, joined to one line so that lists may wrap.
fn comments(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let texts = code.lines().filter_map(|line| Some(line.split_once("//")?.1.trim_start_matches(['/', '!']).trim()));
    texts.collect::<Vec<_>>().join(" ")
}

fn cited() -> BTreeMap<String, PathBuf> {
    let mut files = Vec::new();
    for folder in ["kernel-module", "drbdadm/src", "netlink-api/src", "drbd-config/src"] {
        sources(&top().join(folder), &mut files);
    }
    assert!(files.len() > 100, "only {} sources", files.len());
    let mut all = BTreeMap::new();
    for file in files {
        let text = comments(&fs::read_to_string(&file).expect("readable source"));
        for (family, _) in RULES {
            let mut found = BTreeSet::new();
            labels_of(family, &text, &mut found);
            all.extend(found.into_iter().map(|label| (label, file.clone())));
        }
    }
    all
}

/// Labels of the list in docs/differences.md; every row has a reason.
fn listed() -> BTreeSet<String> {
    let text = fs::read_to_string(top().join("docs/differences.md")).expect("docs/differences.md");
    let (_, list) = text.split_once(HEADING).expect("the heading of the list");
    let list = list.split("\n## ").next().unwrap_or(list);
    let mut labels = BTreeSet::new();
    for row in list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule")) {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (names, reason) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
        assert!(reason.len() > 20, "no reason in {row}");
        for (family, _) in RULES {
            labels_of(family, names, &mut labels);
        }
    }
    labels
}

#[test]
fn every_rule_is_cited_in_the_code_or_listed_with_a_reason() {
    let (rules, cited, listed) = (rules(), cited(), listed());
    let missing: Vec<_> = rules.iter().filter(|rule| !cited.contains_key(*rule) && !listed.contains(*rule)).collect();
    assert!(missing.is_empty(), "neither cited nor listed in docs/differences.md: {missing:?}");
}

#[test]
fn no_rule_is_cited_or_listed_that_does_not_exist() {
    let (rules, cited, listed) = (rules(), cited(), listed());
    let strange: Vec<_> = cited.iter().filter(|(label, _)| !rules.contains(*label)).collect();
    // A run may pass over numbers that are not there: HS-10 to HS-30.
    let strange: Vec<_> = strange.into_iter().filter(|(label, _)| !label.starts_with("HS-")).collect();
    assert!(strange.is_empty(), "cited and unknown: {strange:?}");
    assert!(listed.is_subset(&rules), "listed and unknown: {:?}", listed.difference(&rules).collect::<Vec<_>>());
}

#[test]
fn lists_and_runs_of_labels_are_understood() {
    let mut found = BTreeSet::new();
    labels_of("AC", "AC-14, 16, 17 and AC-20 to AC-22; XAC-3, AC-5 or 6, AC-9, 1.5", &mut found);
    let wanted = ["AC-1", "AC-14", "AC-16", "AC-17", "AC-20", "AC-21", "AC-22", "AC-5", "AC-6", "AC-9"];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted);
}
