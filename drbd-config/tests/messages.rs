// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 1: what is said about faulty configurations: place, what was expected, what came, the nearest word.

use drbd_config::{Diagnostic, Loader, Severity};
use std::fs;

fn problems(name: &str, text: &str) -> Vec<Diagnostic> {
    let file = std::env::temp_dir().join(format!("drbd-config-{}-{name}.conf", std::process::id()));
    fs::write(&file, text).expect("file");
    let loaded = Loader::new(&file.display().to_string()).load();
    let _ = fs::remove_file(&file);
    loaded.diagnostics
}

/// The one problem, as `LINE:COLUMN: TEXT`.
fn problem(name: &str, text: &str) -> String {
    let found = problems(name, text);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    let position = one.position.as_ref().expect("place");
    format!("{}:{}: {}", position.line, position.column, one.text)
}

#[test]
fn misspelled_words_get_the_nearest_known_one() {
    for (text, part) in [
        (
            "resorce r0 { }",
            "1:1: expected one of global, common, resource, skip, include; found 'resorce' (did you mean 'resource'?)",
        ),
        (
            "resource r0 {\n  startup { wfc-timout 5; }\n}",
            "2:13: expected an option of the startup section, found 'wfc-timout' (did you mean 'wfc-timeout'?)",
        ),
        ("resource r0 {\n  on a { devicee /dev/drbd0; }\n}", "found 'devicee' (did you mean 'device'?)"),
        ("global { minor-cout 5; }", "(did you mean 'minor-count'?)"),
        ("resource r0 { handlers { local -io-error x; } }", "an option of the handlers section, found 'local'"),
    ] {
        let found = problem("near", text);
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn common_mistakes_are_explained() {
    for (text, part) in [
        (
            "resource r0 {\n  connection-mesh { }\n}",
            "a word of DRBD 9",
        ),
        (
            "resource r0 {\n  include \"x\";\n}",
            "include stands outside of resources",
        ),
        (
            "resource r0 { disk { timeout 50; } }",
            "it belongs into the net section",
        ),
        ("resource r0 {\n  /* remark */\n}", "remarks begin with '#'"),
        (
            "resource r0 { net { shared-secret yes; } }",
            "write \"yes\"",
        ),
        (
            "resource r0 { net { shared-secret \"a\nb\"; } }",
            "a line break cannot be quoted",
        ),
        ("resource r0 { protocol D; }", "expected A, B or C"),
        (
            "skip {\n resource",
            "the file ends inside of this skip block",
        ),
        (
            "resource r0 { on a { address alice:7; } }",
            "expected an IPv4 address",
        ),
    ] {
        let found = problem("mistake", text);
        assert!(found.contains(part), "{found}");
    }
}

#[test]
fn range_errors_are_collected_with_units() {
    let text = "resource r0 {\n  net { timeout 0; ping-int 999; }\n  disk { c-max-rate 1; c-fill-target 513M; }\n}";
    let found: Vec<String> = problems("range", text)
        .into_iter()
        .map(|p| p.text)
        .collect();
    assert_eq!(
        found,
        [
            "timeout 0 is 0, out of range: expected 1 to 600",
            "ping-int 999 is 999, out of range: expected 1 to 120",
            "c-max-rate 1 is 1k, out of range: expected 250k to 4194304k",
            "c-fill-target 513M is 1050624s, out of range: expected 0s to 1048576s",
        ]
    );
}

#[test]
fn exit_codes_are_those_of_the_reference() {
    for (text, code) in [
        ("resource r0 { net { timeout abc; } }", Some(20)),
        ("resource r0 { net { timeout 0; } }", Some(10)),
        ("resource { }", Some(10)),
        ("resource r0 { ignore-on x; }", None),
        ("", None),
    ] {
        let error = problems("exit", text)
            .into_iter()
            .find(|p| p.severity == Severity::Error);
        assert_eq!(error.map(|p| p.exit), code, "{text}");
    }
    let loaded = Loader::new("/nonexistent/drbd.conf").load();
    assert_eq!(loaded.exit(), Some(20));
}

#[test]
fn both_places_of_a_conflict_are_named() {
    let found = problem("conflict", "resource r0 { }\nresource r0 { }\n");
    assert!(
        found.starts_with("2:10: resource section 'r0' is there already: first used at "),
        "{found}"
    );
    assert!(found.ends_with(":1:10"), "{found}");
}
