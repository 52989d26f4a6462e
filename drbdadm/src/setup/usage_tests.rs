// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 3, all subcommands of drbdsetup: help texts against those of the C driver's tool (`tests/fixtures/netlink/usage.txt`).

use super::*;

fn recorded() -> Vec<(Vec<String>, String)> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/netlink/usage.txt"
    );
    let text = std::fs::read_to_string(path).expect("fixture");
    let mut texts = Vec::new();
    for part in text.split("\n$ ").skip(1) {
        let (line, rest) = part.split_once('\n').expect("command and output");
        let output = rest.split("[exit 0]").next().unwrap_or_default();
        texts.push((
            line.split_whitespace().map(str::to_string).collect(),
            output.to_string(),
        ));
    }
    texts
}

#[test]
fn help_and_xml_of_every_command_are_as_recorded() {
    let mut compared = 0;
    for (line, expected) in recorded()
        .iter()
        .filter(|(line, _)| line[0] == "drbdsetup-84")
    {
        let (mut out, mut error) = (Vec::new(), Vec::new());
        let mut terminal = Terminal::new("drbdsetup-84", &mut out, &mut error);
        let code = help(&line[1..], &mut terminal).expect("known command");
        assert_eq!(code, 0);
        assert_eq!(String::from_utf8_lossy(&out), *expected, "{line:?}");
        compared += 1;
    }
    assert_eq!(compared, 2 * COMMANDS.len());
}

#[test]
fn the_list_of_commands_has_the_recorded_form() {
    let text = usage::general("drbdsetup-84", Some("invalid command"));
    assert!(text.starts_with("\nUSAGE: drbdsetup-84 command device arguments options\n"));
    assert!(text.contains("    primary             secondary           attach              \n"));
    assert!(text.contains("    del-minor           del-resource        \n\nTo get more"));
    assert!(text.ends_with("'drbdsetup help cmd'.\n\n\ninvalid command\n"));
}

#[test]
fn what_is_no_command_ends_with_20() {
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let mut terminal = Terminal::new("drbdsetup-84", &mut out, &mut error);
    for line in [
        &["nonsense", "0"][..],
        &[],
        &["help"],
        &["help", "statsu"],
        &["xml-help"],
    ] {
        let args: Vec<String> = line.iter().map(|word| word.to_string()).collect();
        let failure = help(&args, &mut terminal).expect_err("usage");
        assert_eq!(failure.code, 20, "{line:?}");
        assert!(matches!(failure.help, Help::General(_)));
    }
}
