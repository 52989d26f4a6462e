// SPDX-License-Identifier: GPL-2.0
//! Pages and completion know every command and option (issue 4 line 2: made from the same definitions).

use super::*;
use crate::adm::{args::GENERAL, commands};
use crate::{meta, setup};
use drbd_config::options::{all as options_of, Place, STARTUP_OWN};
use std::process::Command;

const PLACES: [Place; 7] = [
    Place::Net,
    Place::Disk,
    Place::Options,
    Place::Startup,
    Place::Handlers,
    Place::Proxy,
    Place::Global,
];

#[test]
fn every_command_is_described() {
    let adm = commands::COMMANDS.iter().map(|command| command.name);
    for name in adm {
        assert!(
            about_commands::find(about_commands::ADM, name).is_some(),
            "drbdadm {name}: describe it in pages/about_commands.rs"
        );
    }
    for command in setup::commands::COMMANDS {
        assert!(
            about_commands::find(about_commands::SETUP, command.name).is_some(),
            "drbdsetup {}",
            command.name
        );
    }
    for (name, _) in meta::command_list() {
        assert!(
            about_commands::find(about_commands::META, name).is_some(),
            "drbdmeta {name}"
        );
    }
}

#[test]
fn every_option_is_described() {
    for place in PLACES {
        for option in options_of(place) {
            assert!(
                about_options::find(place, option.name).is_some(),
                "{} {}",
                place.name(),
                option.name
            );
        }
    }
    for name in STARTUP_OWN {
        assert!(
            about_options::find(Place::Startup, name).is_some(),
            "{name}"
        );
    }
    let general = GENERAL.iter().map(|(name, _, _)| *name);
    let meta = meta::OPTIONS.iter().map(|(name, _, _)| *name);
    for name in general.chain(meta) {
        assert!(about_options::on_command_line(name).is_some(), "{name}");
    }
    let sections = [Place::Net, Place::Disk, Place::Options];
    for command in setup::commands::COMMANDS {
        for name in setup::options::names(command) {
            let known = about_options::on_command_line(name).is_some()
                || sections
                    .iter()
                    .any(|place| about_options::find(*place, name).is_some());
            assert!(known, "drbdsetup {} --{name}", command.name);
        }
    }
}

#[test]
fn pages_name_ranges_and_defaults_as_the_parser_knows_them() {
    let page = conf_page::page();
    for piece in [
        "\\fBconnect\\-int\\fR NUMBER\n",
        "Range: 1 to 120 seconds. Default: 10.",
        "\\fBfencing\\fR dont\\-care|resource\\-only|resource\\-and\\-stonith\n",
        "\\fBc\\-max\\-rate\\fR NUMBER\n",
        "Range: 250 to 4194304 KiB per second. Default: 102400.",
        "\\fBbecome\\-primary\\-on\\fR HOST...|both",
    ] {
        assert!(page.contains(piece), "{piece}");
    }
    assert!(adm_page::page().contains("\\fBcreate\\-md\\fR RESOURCE[/VOLUME]..."));
    assert!(setup_page::page().contains("\\fBnew\\-minor\\fR RESOURCE MINOR VOLUME"));
}

#[test]
fn no_page_has_a_line_that_roff_takes_for_a_request_by_mistake() {
    let known = [
        ".TH", ".SH", ".PP", ".TP", ".br", ".RS", ".RE", ".nf", ".fi", ".\\\"",
    ];
    for (name, text) in all() {
        for line in text.lines().filter(|line| {
            !name.ends_with(".bash") && (line.starts_with('.') || line.starts_with('\''))
        }) {
            assert!(
                known.iter().any(|request| line.starts_with(request)),
                "{name}: {line}"
            );
        }
    }
}

/// Asks bash what it would offer behind `words`; a stand-in answers for drbdadm.
fn completed(words: &[&str]) -> Vec<String> {
    let function = words[0];
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        "set -e\n{}\ndrbdadm() {{ case \"$*\" in *sh-resources) echo r0 r1 ;; 'role r0') echo Primary/Secondary ;; 'role r1') echo Secondary/Primary ;; esac; }}\n\
         compopt() {{ :; }}\nset +e\nCOMP_WORDS=({})\nCOMP_CWORD={}\n__{function}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        completion::script(),
        quoted.join(" "),
        words.len() - 1
    );
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .output()
        .expect("bash");
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_string)
        .collect()
}

#[test]
fn bash_offers_commands_options_and_the_resources_a_command_makes_sense_for() {
    assert_eq!(completed(&["drbdadm", "prim"]), ["primary"]);
    assert_eq!(completed(&["drbdadm", "primary", ""]), ["r1"]);
    assert_eq!(completed(&["drbdadm", "secondary", ""]), ["r0"]);
    assert_eq!(completed(&["drbdadm", "up", ""]), ["r0", "r1", "all"]);
    assert_eq!(completed(&["drbdadm", "primary", "--fo"]), ["--force"]);
    assert!(completed(&["drbdadm", "disk-options", "--resync-r"])
        .contains(&"--resync-rate=".to_string()));
    assert!(completed(&["drbdadm", "--dry"]).contains(&"--dry-run".to_string()));
    assert_eq!(completed(&["drbdadm", "sh-nop", ""]), [""]);
    assert_eq!(completed(&["drbdsetup", "new-m"]), ["new-minor"]);
    assert_eq!(
        completed(&["drbdsetup", "wait-connect", "--degr"]),
        ["--degr-wfc-timeout="]
    );
    assert_eq!(completed(&["drbdmeta", "0", "create"]), ["create-md"]);
}

#[test]
fn the_program_writes_all_files() {
    let folder = std::env::temp_dir().join(format!("drbd-pages-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    assert_eq!(run(&[folder.display().to_string()]), 0);
    for (name, _) in all() {
        assert!(
            std::fs::metadata(folder.join(name)).is_ok_and(|file| file.len() > 500),
            "{name}"
        );
    }
    std::fs::remove_dir_all(&folder).expect("folder");
    assert_eq!(run(&[]), 1);
}

/// The pieces of the administrator's guide that are typed or meant to be: blocks and words in backticks.
fn guide() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/admin-guide.md");
    let text = std::fs::read_to_string(path).expect("docs/admin-guide.md");
    let mut pieces = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            pieces.push(line.to_string());
        } else {
            pieces.extend(line.split('`').skip(1).step_by(2).map(str::to_string));
        }
    }
    pieces
}

#[test]
fn the_administrators_guide_uses_commands_and_options_that_exist() {
    let mut checked = 0;
    for piece in guide() {
        let words: Vec<&str> = piece.split_whitespace().collect();
        let Some((tool, rest)) = words.split_first() else {
            continue;
        };
        let name = rest.iter().find(|word| !word.starts_with('-'));
        let (Some(name), options) = (name, rest.iter().filter_map(|word| word.strip_prefix("--")))
        else {
            continue;
        };
        match *tool {
            "drbdadm" => {
                let command = commands::find(name).unwrap_or_else(|| panic!("{piece}: no command"));
                let known = command.known_options();
                for option in options {
                    assert!(
                        known
                            .iter()
                            .chain(command.added)
                            .any(|(have, _)| *have == option),
                        "{piece}: no option"
                    );
                }
            }
            "drbdsetup" => {
                let command = setup::commands::COMMANDS
                    .iter()
                    .find(|command| command.name == *name);
                let known =
                    setup::options::names(command.unwrap_or_else(|| panic!("{piece}: no command")));
                for option in options {
                    assert!(known.contains(&option), "{piece}: no option");
                }
            }
            _ => continue,
        }
        checked += 1;
    }
    assert!(checked > 35, "{checked} commands of the guide were checked");
}
