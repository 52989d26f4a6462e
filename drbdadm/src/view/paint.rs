// SPDX-License-Identifier: GPL-2.0
//! Colours of state names: green is as it should be, yellow passes or wants attention, red needs somebody.

use std::io::IsTerminal;

/// How a word is meant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// As it should be.
    Good,
    /// Passing, or worth a look.
    Notice,
    /// Somebody has to do something.
    Bad,
}

impl Tone {
    /// The code of the terminal's colour.
    pub const fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Notice => Some("33"),
            Tone::Bad => Some("31"),
        }
    }
}

/// The tone of a state's name, of any of the vocabularies.
pub fn tone(word: &str) -> Tone {
    match word {
        "UpToDate" | "Connected" | "Established" | "Primary" => Tone::Good,
        "Inconsistent" | "Failed" | "StandAlone" | "Diskless" | "Unconfigured" | "BrokenPipe"
        | "NetworkFailure" | "ProtocolError" | "Timeout" => Tone::Bad,
        "Outdated" | "Connecting" | "WFConnection" | "Consistent" | "SyncSource" | "SyncTarget"
        | "PausedSyncS" | "PausedSyncT" | "VerifyS" | "VerifyT" | "DUnknown" | "Ahead"
        | "Behind" | "Negotiating" | "Attaching" | "Detaching" | "StartingSyncS"
        | "StartingSyncT" | "WFBitMapS" | "WFBitMapT" | "WFSyncUUID" | "Disconnecting"
        | "Unconnected" | "TearDown" => Tone::Notice,
        _ => Tone::Plain,
    }
}

/// A word in its colour.
pub fn colored(word: &str, tone: Tone) -> String {
    match tone.code() {
        Some(code) => format!("\x1b[1;{code}m{word}\x1b[0m"),
        None => word.to_string(),
    }
}

/// A pair `own/peer`, each half in its own colour.
pub fn colored_pair(text: &str) -> String {
    let halves: Vec<String> = text
        .split('/')
        .map(|word| colored(word, tone(word)))
        .collect();
    halves.join("/")
}

/// Standard output is a terminal that shows colours, and nobody asked for none (`NO_COLOR`, `TERM=dumb`).
pub fn is_welcome() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
