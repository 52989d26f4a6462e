// SPDX-License-Identifier: GPL-2.0
//! Bare words that are keywords everywhere, so never names or values unless quoted (config-and-cli.md section 1).

use crate::options::{self, Place};
use std::collections::HashSet;
use std::sync::OnceLock;

const STATEMENTS: &[&str] = &[
    "global",
    "common",
    "resource",
    "skip",
    "include",
    "protocol",
    "on",
    "disk",
    "device",
    "meta-disk",
    "flexible-meta-disk",
    "volume",
    "net",
    "syncer",
    "startup",
    "handlers",
    "options",
    "proxy",
    "plugin",
    "ignore-on",
    "floating",
    "stacked-on-top-of",
    "address",
    "alternate-link-address",
    "minor",
    "inside",
    "outside",
    "yes",
    "no",
    "ask",
    "ipv4",
    "ipv6",
    "sci",
    "sdp",
    "ssocks",
    "_this_host",
    "_remote_host",
];

fn table() -> &'static HashSet<&'static str> {
    static TABLE: OnceLock<HashSet<&'static str>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let places = [
            Place::Net,
            Place::Disk,
            Place::Options,
            Place::Startup,
            Place::Handlers,
            Place::Proxy,
            Place::Global,
        ];
        let mut words: HashSet<&'static str> = STATEMENTS.iter().copied().collect();
        words.extend(
            places
                .into_iter()
                .flat_map(options::all)
                .map(|spec| spec.name),
        );
        words.extend(options::STARTUP_OWN);
        words.extend(options::FORGOTTEN);
        words.extend(options::RENAMED.iter().map(|(_, old, _, _)| *old));
        words
    })
}

/// The word is a keyword.
pub fn is_keyword(word: &str) -> bool {
    table().contains(word)
}

#[cfg(test)]
mod tests {
    use super::is_keyword;

    #[test]
    fn options_old_names_and_statements_are_keywords() {
        for word in [
            "timeout",
            "rate",
            "no-tcp-cork",
            "disk",
            "sdp",
            "outdate-peer",
            "wfc-timeout",
            "usage-count",
        ] {
            assert!(is_keyword(word), "{word}");
        }
        for word in [
            "r0", "internal", "both", "node-id", "quorum", "ignore", "group",
        ] {
            assert!(!is_keyword(word), "{word}");
        }
    }
}
