// SPDX-License-Identifier: GPL-2.0
//! `drbd-overview`: one row for each minor, with what is on it (config-and-cli.md section 14).

use super::paint::{self, colored, colored_pair, tone};
use super::proc_drbd::{self, Minor};
use super::space::{self, Uses};
use crate::adm::Configured;
use netlink_api::snapshot::{self, Resource};
use std::collections::BTreeMap;
use std::fs;

/// Exit code for a wrong command line.
const USAGE: u8 = 1;

const HELP: &str = "\nUSAGE: drbd-overview [--proc-drbd FILE] [--color=auto|always|never]\n\n\
    One row for each DRBD device:\n\
    MINOR:RESOURCE/VOLUME [^^LOWER MINOR] CONNECTION ROLES DISKS PROTOCOL FLAGS [WHAT IS ON IT]\n";

/// The name of a minor, and what is stacked on what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// `RESOURCE/VOLUME`
    pub name: String,
    /// The minor below.
    pub lower: Option<u32>,
}

/// Runs the tool and returns its exit code.
pub fn run(args: &[String]) -> u8 {
    let mut file = "/proc/drbd".to_string();
    let mut colors = paint::is_welcome();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match (arg.as_str(), arg.strip_prefix("--color=")) {
            ("--help" | "-h", _) => {
                print!("{HELP}");
                return 0;
            }
            ("--proc-drbd", _) => match rest.next() {
                Some(path) => file = path.clone(),
                None => return wrong("option '--proc-drbd' requires an argument"),
            },
            // prints more about faults in the old script, which has others
            ("-d", _) | (_, Some("auto")) => {}
            (_, Some("always")) | ("--color", _) => colors = true,
            (_, Some("never")) => colors = false,
            _ => {
                let known = ["--proc-drbd", "--color", "--help"];
                let hint = drbd_config::nearest(arg, known);
                return wrong(&format!("unknown argument '{arg}'{hint}"));
            }
        }
    }
    let Ok(text) = fs::read_to_string(&file) else {
        println!("drbd not loaded");
        return 0;
    };
    let names = names(
        &crate::adm::configured(None).unwrap_or_default(),
        &running(),
    );
    let rows = rows(&names, &proc_drbd::parse(&text), &space::collect());
    print!("{}", render(&rows, colors));
    0
}

fn wrong(text: &str) -> u8 {
    eprintln!("drbd-overview: {text}\n{HELP}");
    USAGE
}

/// What runs; nothing when the driver does not answer.
fn running() -> Vec<Resource> {
    super::with_client(|client| Box::pin(snapshot::take(client, None))).unwrap_or_default()
}

/// Names from the configuration and, with more right, from the driver.
fn names(configured: &[Configured], running: &[Resource]) -> BTreeMap<u32, Named> {
    let mut names = BTreeMap::new();
    for resource in configured {
        for volume in &resource.volumes {
            let named = Named {
                name: format!("{}/{}", resource.name, volume.number),
                lower: volume.lower_minor,
            };
            names.insert(volume.minor, named);
        }
    }
    for resource in running {
        for volume in &resource.volumes {
            let named: &mut Named = names.entry(volume.minor).or_default();
            named.name = format!("{}/{}", resource.name, volume.number);
        }
    }
    names
}

/// A row, and the line about a running resync below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    cells: Vec<String>,
    below: Option<String>,
}

/// Puts rows together, by minor.
pub fn rows(names: &BTreeMap<u32, Named>, minors: &[Minor], uses: &Uses) -> Vec<Row> {
    let mut all: Vec<u32> = names.keys().copied().collect();
    // a minor that nobody has a name for is shown if there is something on it
    all.extend(
        minors
            .iter()
            .filter(|m| m.conn != "Unconfigured")
            .map(|m| m.minor),
    );
    all.sort_unstable();
    all.dedup();
    let row = |minor: &u32| {
        let named = names.get(minor);
        let state = minors
            .iter()
            .find(|m| m.minor == *minor && m.conn != "Unconfigured");
        let name = named.map_or("??not-found??", |named| &named.name);
        let lower = named.and_then(|named| named.lower);
        let mut cells = vec![
            format!("{minor:3}:{name}"),
            lower.map_or_else(String::new, |lower| format!("^^{lower}")),
        ];
        match state {
            Some(m) => cells.extend([&m.conn, &m.role, &m.disk, &m.flags].map(String::clone)),
            None => cells.extend(["Unconfigured", ".", ".", ". ."].map(String::from)),
        }
        cells.extend(use_of(*minor, names, uses));
        Row {
            cells,
            below: state.and_then(|m| m.bar.clone()),
        }
    };
    all.iter().map(row).collect()
}

fn use_of(minor: u32, names: &BTreeMap<u32, Named>, uses: &Uses) -> Vec<String> {
    if let Some(words) = uses.get(&minor) {
        return words.clone();
    }
    let upper = names.iter().find(|(_, named)| named.lower == Some(minor));
    upper.map_or_else(Vec::new, |(upper, named)| {
        vec!["ll-dev of:".into(), upper.to_string(), named.name.clone()]
    })
}

/// Rows as text, each column as wide as its widest cell and one more.
pub fn render(rows: &[Row], colors: bool) -> String {
    let columns = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.cells.get(at));
        cells
            .map(|cell| cell.chars().count() + 1)
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        let mut padding = 0;
        for (at, (cell, width)) in row.cells.iter().zip(&widths).enumerate() {
            line.push_str(&" ".repeat(padding));
            line.push_str(&match at {
                2 if colors => colored(cell, tone(cell)),
                3 | 4 if colors => colored_pair(cell),
                _ => cell.clone(),
            });
            padding = width.saturating_sub(cell.chars().count());
        }
        text.push_str(&line);
        text.push('\n');
        if let Some(below) = &row.below {
            text.push_str(below);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adm::ConfiguredVolume;

    fn name(name: &str, lower: Option<u32>) -> Named {
        let name = name.into();
        Named { name, lower }
    }

    const PROC: &str = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----\n    ns:1\n\t[============>.......] sync'ed: 66.2% (172140/505964)K\n\tfinish: 0:00:03 speed: 48,088 (48,088) K/sec\n 1: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----\n    ns:0\n 2: cs:Unconfigured\n12: cs:Connected ro:Secondary/Secondary ds:UpToDate/UpToDate A r-----\n 13: cs:Unconfigured\n";

    fn example(colors: bool) -> String {
        let names = BTreeMap::from([
            (0, name("web/0", None)),
            (1, name("data/0", None)),
            (2, name("later/0", None)),
            (10, name("top/0", Some(12))),
            (12, name("low/0", None)),
        ]);
        let mut uses = Uses::new();
        let df = ["/var/lib/mysql", "ext4", "20G", "172M", "19G", "1%"];
        uses.insert(0, df.map(String::from).to_vec());
        uses.insert(
            1,
            ["lvm-pv:", "vg0", "19.99g", "5.00g"]
                .map(String::from)
                .to_vec(),
        );
        render(&rows(&names, &proc_drbd::parse(PROC), &uses), colors)
    }

    /// Issue 4 item 4: drbd-overview as in the seeds, with mount, size and usage columns.
    #[test]
    fn rows_have_state_protocol_flags_and_what_is_on_the_device() {
        let expected = concat!(
            "  0:web/0        SyncSource   Primary/Secondary   UpToDate/Inconsistent C r----- /var/lib/mysql ext4 20G    172M  19G 1%\n",
            "\t[============>.......] sync'ed: 66.2% (172140/505964)K\n",
            "  1:data/0       StandAlone   Primary/Unknown     UpToDate/DUnknown     r-----   lvm-pv:        vg0  19.99g 5.00g\n",
            "  2:later/0      Unconfigured .                   .                     . .\n",
            " 10:top/0   ^^12 Unconfigured .                   .                     . .\n",
            " 12:low/0        Connected    Secondary/Secondary UpToDate/UpToDate     A r----- ll-dev of:     10   top/0\n",
        );
        assert_eq!(example(false), expected);
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let colored = example(true);
        assert!(colored.contains("\x1b[1;33mSyncSource\x1b[0m"));
        assert!(colored.contains("\x1b[1;32mUpToDate\x1b[0m/\x1b[1;31mInconsistent\x1b[0m"));
        let mut plain = colored;
        for code in ["\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, example(false));
    }

    #[test]
    fn the_name_of_the_driver_counts_more_than_that_of_the_file() {
        let configured = Configured {
            name: "old".into(),
            volumes: vec![ConfiguredVolume {
                number: 0,
                minor: 7,
                lower_minor: Some(1),
                ..ConfiguredVolume::default()
            }],
            ..Configured::default()
        };
        let running = Resource {
            name: "new".into(),
            volumes: vec![snapshot::Volume {
                number: 2,
                minor: 7,
                ..snapshot::Volume::default()
            }],
            ..Resource::default()
        };
        let names = names(&[configured], &[running]);
        assert_eq!(names[&7], name("new/2", Some(1)));
    }

    #[test]
    fn a_minor_without_a_name_is_shown_when_it_is_in_use() {
        let text = render(
            &rows(&BTreeMap::new(), &proc_drbd::parse(PROC), &Uses::new()),
            false,
        );
        assert!(text.contains("\n 12:??not-found??  Connected"), "{text}");
        assert!(!text.contains(" 13:"), "{text}");
    }
}
