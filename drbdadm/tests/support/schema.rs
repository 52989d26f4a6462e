// SPDX-License-Identifier: GPL-2.0
//! Checks documents against docs/json-schema: as a JSON Schema says, and closed besides, so that a member nobody documented is found.
//! It knows the words that those schemas use and refuses others.

use serde_json::{Map, Value};
use std::path::Path;

/// Words of a schema that say nothing about a document.
const REMARKS: &[&str] = &["$schema", "$comment", "title", "description"];

/// The schema of that name.
pub fn load(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json-schema");
    let path = folder.join(format!("{}.json", name.trim_end_matches(".json")));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks a document against the schema that it names.
pub fn check(document: &Value) {
    let name = document["schema"]
        .as_str()
        .unwrap_or_else(|| panic!("no schema in {document}"));
    let mut faults = Vec::new();
    judge(&load(name), document, "$", &mut faults);
    assert!(faults.is_empty(), "{name}: {faults:#?}\n{document:#}");
}

fn judge(schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let words = schema.as_object().expect("a schema is an object");
    for (word, wanted) in words {
        let holds = match word.as_str() {
            "type" => types(wanted).iter().any(|name| is_of(name, value)),
            "const" => value == wanted,
            "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => number(value).is_none_or(|n| Some(n) >= wanted.as_f64()),
            "minItems" => length(value).is_none_or(|n| Some(n) >= wanted.as_u64()),
            "maxItems" => length(value).is_none_or(|n| Some(n) <= wanted.as_u64()),
            "pattern" => value
                .as_str()
                .is_none_or(|text| is_identifier(wanted, text)),
            "required" => missing(wanted, value).is_none(),
            "anyOf" => one_holds(wanted, value),
            "$ref" => {
                judge(
                    &load(wanted.as_str().expect("a name")),
                    value,
                    place,
                    faults,
                );
                true
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items.for_each(|(at, item)| judge(wanted, item, &format!("{place}[{at}]"), faults));
                true
            }
            "properties" | "additionalProperties" => true,
            remark => {
                assert!(REMARKS.contains(&remark), "{remark} is not known here");
                true
            }
        };
        if !holds {
            faults.push(format!("{place}: {word} {wanted} does not hold"));
        }
    }
    if let Some(members) = value.as_object() {
        judge_members(words, members, place, faults);
    }
}

fn judge_members(
    words: &Map<String, Value>,
    members: &Map<String, Value>,
    place: &str,
    faults: &mut Vec<String>,
) {
    let known = words.get("properties").and_then(Value::as_object);
    let other = words.get("additionalProperties");
    if known.is_none() && other.is_none() {
        return;
    }
    for (name, member) in members {
        let place = format!("{place}.{name}");
        match (known.and_then(|known| known.get(name)), other) {
            (Some(schema), _) => judge(schema, member, &place, faults),
            (None, Some(Value::Bool(true))) => {}
            (None, Some(schema)) => judge(schema, member, &place, faults),
            (None, None) => faults.push(format!("{place} is not documented")),
        }
    }
}

fn types(wanted: &Value) -> Vec<&str> {
    match wanted {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64()
}

fn length(value: &Value) -> Option<u64> {
    value.as_array().map(|all| all.len() as u64)
}

/// The one pattern there is.
fn is_identifier(pattern: &Value, text: &str) -> bool {
    assert_eq!(pattern, "^[0-9A-F]{16}$");
    text.len() == 16
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
}

fn missing<'a>(wanted: &'a Value, value: &Value) -> Option<&'a Value> {
    let members = value.as_object()?;
    let names = wanted.as_array()?;
    names
        .iter()
        .find(|name| name.as_str().is_none_or(|name| !members.contains_key(name)))
}

fn one_holds(choices: &Value, value: &Value) -> bool {
    let choices = choices.as_array().into_iter().flatten();
    choices.into_iter().any(|choice| {
        let mut faults = Vec::new();
        judge(choice, value, "$", &mut faults);
        faults.is_empty()
    })
}
