// SPDX-License-Identifier: GPL-2.0
//! What all JSON documents have in common (docs/json.md): `schema` and `version` in front, `error` when something failed. A
//! document is printed in any case, so that a reader never gets half of one or none.

use serde_json::{json, Map, Value};

/// Version of all schemas. It grows when a member changes its meaning or goes; new members may come at any time.
pub const VERSION: u32 = 1;

/// Whether a command line asks for JSON. It is looked for before the line is understood, so that a fault in it is JSON too.
pub fn is_wanted(args: &[String]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg == "--json")
}

/// A document without content yet.
pub fn head(schema: &str) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("schema".into(), schema.into());
    document.insert("version".into(), VERSION.into());
    document
}

/// A whole document with one member.
pub fn document(schema: &str, name: &str, content: Value) -> Map<String, Value> {
    let mut document = head(schema);
    document.insert(name.into(), content);
    document
}

/// The member `error`.
pub fn fault(code: u8, text: &str) -> Value {
    json!({ "code": code, "message": text.trim() })
}

/// The document of a failure.
pub fn failure(schema: &str, code: u8, text: &str) -> String {
    let mut document = head(schema);
    document.insert("error".into(), fault(code, text));
    pretty(&document)
}

/// For people and programs: indented, with a newline at the end.
pub fn pretty(document: &Map<String, Value>) -> String {
    // A map of values with text keys has no way to fail.
    serde_json::to_string_pretty(document).unwrap_or_default() + "\n"
}

/// On one line, for streams.
pub fn line(document: &Map<String, Value>) -> String {
    serde_json::to_string(document).unwrap_or_default() + "\n"
}

/// An identifier as text; 64 bits do not fit the numbers of most readers.
pub fn hex(number: u64) -> Value {
    format!("{number:016X}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_documents_too() {
        let text = failure("drbd-status", 10, "r9: No such resource\n");
        let value: Value = serde_json::from_str(&text).expect("valid");
        assert_eq!(value["schema"], "drbd-status");
        assert_eq!(value["version"], 1);
        assert_eq!(value["error"]["code"], 10);
        assert_eq!(value["error"]["message"], "r9: No such resource");
    }

    #[test]
    fn json_is_wanted_wherever_the_word_stands_before_two_dashes() {
        let args = |line: &str| line.split(' ').map(str::to_string).collect::<Vec<_>>();
        assert!(is_wanted(&args("status r0 --json")));
        assert!(!is_wanted(&args("status -- --json")));
        assert!(!is_wanted(&args("status --jason")));
    }
}
