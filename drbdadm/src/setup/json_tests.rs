// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 3: `--json` of status, show and events2 over the recorded answers of the C driver. Every run prints valid JSON of
//! the documented schema, failures too.

use super::replay_tests::{fixtures, is_about_the_longest_name, play, without_complaints};
use netlink_api::replay::{parse_runs, Run};
use serde_json::Value;

/// A recorded run with `--json` at the end of its command line.
fn with_json(run: &Run, more: &Run) -> Run {
    let mut run = run.clone();
    run.command.push_str(" --json");
    // the status document asks for the state of the volumes first
    run.steps = [more.steps.clone(), run.steps].concat();
    run
}

fn recorded(file: &str) -> Vec<Run> {
    let text = std::fs::read_to_string(fixtures().join(file)).expect("fixture");
    parse_runs(&text)
}

fn find(file: &str, end: &str) -> Run {
    let found = recorded(file)
        .into_iter()
        .find(|run| run.command.ends_with(end));
    found.unwrap_or_else(|| panic!("{end} in {file}"))
}

/// A document, which is as its schema says.
fn document(text: &str) -> Value {
    let value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    crate::schema::check(&value);
    value
}

#[test]
fn status_has_what_the_text_has_and_more() {
    let run = with_json(
        &find("30-status-dumps.txt", "status --verbose --statistics"),
        &find("02-get-status.txt", "drbdsetup-84 show"),
    );
    let played = play(&run);
    assert_eq!(played.exit, 0, "{}", played.errors);
    let value = document(&played.output);
    assert_eq!(
        (&value["schema"], &value["version"]),
        (&"drbd-status".into(), &1.into())
    );
    let resource = &value["resources"][0];
    assert_eq!(resource["name"], "r0");
    assert_eq!(resource["role"], "Primary");
    assert_eq!(resource["suspended"], false);
    assert_eq!(resource["devices"][0]["disk-state"], "Inconsistent");
    assert_eq!(resource["devices"][0]["backing-dev"], "/dev/vda");
    let connection = &resource["connections"][0];
    assert_eq!(connection["connection-state"], "Connected");
    assert_eq!(connection["peer_devices"][0]["volume"], 0);
    assert!(connection["peer_devices"][0]["percent-in-sync"].is_number());
}

#[test]
fn show_has_every_option_with_its_type() {
    let mut run = find("02-get-status.txt", "drbdsetup-84 show");
    run.command.push_str(" --json --show-defaults");
    let value = document(&play(&run).output);
    assert_eq!(value["schema"], "drbd-show");
    let resource = &value["resources"][0];
    assert_eq!(resource["net"]["protocol"], "C");
    assert_eq!(resource["net"]["allow-two-primaries"], false);
    assert!(resource["net"]["timeout"].is_u64());
    assert_eq!(resource["local-address"], "ipv4:10.0.0.1:7789");
    assert_eq!(resource["volumes"][0]["meta-index"], "internal");
    assert_eq!(resource["volumes"][0]["disk"]["on-io-error"], "detach");
}

#[test]
fn events_are_one_document_a_line() {
    let mut compared = 0;
    for file in ["38-events2-initial.txt", "40-events2.txt"] {
        for mut run in recorded(file) {
            run.command.push_str(" --json");
            let played = play(&run);
            let lines = played
                .output
                .lines()
                .filter(|line| !is_about_the_longest_name(line));
            let lines: Vec<Value> = lines.map(document).collect();
            // as many lines as in text form
            let text = without_complaints(&run.output);
            assert_eq!(lines.len(), text.len(), "{}", run.command);
            for (line, text) in lines.iter().zip(&text) {
                assert_eq!(line["schema"], "drbd-event");
                let mut words = text
                    .split(' ')
                    .skip_while(|word| word.contains("T") && word.contains(':'));
                let action = words.next().unwrap_or("");
                if action != "-" {
                    assert_eq!(line["action"], action, "{text}");
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "{compared}");
}

/// JSON is valid on errors too: unknown resource, unknown option, unknown operand.
#[test]
fn failures_are_json_on_standard_output_and_text_on_standard_error() {
    let run = with_json(&find("02-get-status.txt", "show nores"), &Run::default());
    let mut run = run;
    run.command = "drbdsetup-84 show nores --json".into();
    let played = play(&run);
    let value = document(&played.output);
    assert_eq!((played.exit, &value["error"]["code"]), (20, &20.into()));
    assert!(
        played.errors.contains("No such device"),
        "{}",
        played.errors
    );
    for (line, schema) in [
        ("drbdsetup-84 status --json --nonsense", "drbd-status"),
        ("drbdsetup-84 events2 --json a b", "drbd-event"),
        ("drbdsetup-84 show --json=5", "drbd-show"),
        ("drbdsetup-84 sttus --json", "drbd-error"),
    ] {
        let played = play(&Run {
            command: line.into(),
            ..Run::default()
        });
        let value = document(&played.output);
        assert_eq!(
            (played.exit, &value["schema"]),
            (20, &schema.into()),
            "{line}"
        );
        assert!(
            value["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{line}"
        );
    }
}
