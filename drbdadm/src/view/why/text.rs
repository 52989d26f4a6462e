// SPDX-License-Identifier: GPL-2.0
//! Findings as text for people, and as JSON (docs/json.md).

use super::{Choice, Finding, Severity};
use crate::json;
use crate::view::paint::{colored, Tone};
use serde_json::{json, Value};

/// The place of a step on this machine.
const HERE: &str = "here";
/// Columns of a line.
const WIDTH: usize = 100;

/// The findings about one resource.
pub fn render(findings: &[Finding], colors: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let tone = if colors {
            finding.severity.tone()
        } else {
            Tone::Plain
        };
        let about = format!("{}:", finding.about);
        let body = wrapped(&finding.what, about.chars().count() + 1, 4);
        text.push_str(&format!("{} {}\n", colored(&about, tone), body));
        for reason in &finding.because {
            text.push_str(&format!("    {}\n", wrapped(&format!("- {reason}"), 4, 6)));
        }
        if let Some(what) = &finding.waits_for {
            text.push_str(&format!(
                "    {}\n",
                wrapped(&format!("Waits for: {what}."), 4, 6)
            ));
        }
        for choice in &finding.choices {
            text.push_str(&way_out(choice));
        }
    }
    text
}

fn way_out(choice: &Choice) -> String {
    if let [(place, command)] = &choice.steps[..] {
        let place = match place.as_str() {
            HERE => String::new(),
            host => format!("on {host}: "),
        };
        let effect = wrapped(&format!("({})", choice.effect), 7, 7);
        return format!("    -> {place}{command}\n       {effect}\n");
    }
    let mut text = format!("    -> {}\n", wrapped(&format!("{}:", choice.effect), 7, 7));
    for (place, command) in &choice.steps {
        let place = match place.as_str() {
            HERE => "here:".to_string(),
            host => format!("on {host}:"),
        };
        text.push_str(&format!("       {place:<16} {command}\n"));
    }
    text
}

/// Breaks text at the width of the page; `first`: where it starts, `next`: where the lines after that start.
fn wrapped(text: &str, first: usize, next: usize) -> String {
    let mut done = String::new();
    let mut column = first;
    for (at, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > WIDTH {
            done.push('\n');
            done.push_str(&" ".repeat(next));
            column = next;
        } else if at > 0 {
            done.push(' ');
            column += 1;
        }
        done.push_str(word);
        column += length;
    }
    done
}

/// The entry of one resource.
pub fn value(name: &str, findings: &[Finding]) -> Value {
    let worst = findings.first();
    json!({
        "name": name,
        "problem": worst.is_some_and(|f| f.severity == Severity::Problem),
        "summary": worst.map_or("", |f| f.what.as_str()),
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    let step = |(place, command): &(String, String)| json!({ "on": place, "command": command });
    let choices = finding.choices.iter().map(|choice| {
        json!({
            "effect": choice.effect,
            "steps": choice.steps.iter().map(step).collect::<Vec<_>>(),
        })
    });
    json!({
        "about": finding.about,
        "severity": finding.severity.name(),
        "what": finding.what,
        "because": finding.because,
        "waits-for": finding.waits_for,
        "choices": choices.collect::<Vec<_>>(),
    })
}

/// The whole document.
pub fn document(resources: Vec<Value>) -> String {
    json::pretty(&json::document("drbd-why", "resources", resources.into()))
}
