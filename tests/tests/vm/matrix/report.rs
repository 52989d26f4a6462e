// SPDX-License-Identifier: GPL-2.0
//! What a node ended with, beside what was recorded.

use crate::notation::Symbols;
use serde_json::Value;
use std::collections::HashMap;

/// The end of a case on one node.
#[derive(Default, Debug)]
pub struct Report {
    /// Words of /proc/drbd: `cs`, `ro`, `ds`, `oos` ...
    pub proc: HashMap<String, String>,
    /// Generations and flags as `get-gi` prints them; nothing without a disk.
    pub generations: Vec<String>,
    pub helpers: Vec<String>,
    /// Rule and result of every comparison since the log was cleared.
    pub compared: Vec<(u32, i32)>,
}

impl Report {
    /// What the output of [`super::lane::query`] says about the lane `number`.
    pub fn parse(text: &str, number: usize) -> Self {
        let mut report = Self::default();
        let (mut section, mut mine) = ("", false);
        let (minor, device) = (format!("{number}: cs:"), format!("drbd{number}: "));
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                let (name, lane) = name.split_once(' ').unwrap_or((name, ""));
                (section, mine) = (name, lane == number.to_string());
                continue;
            }
            match section {
                "proc" => {
                    // a device is two lines, the second one without its number
                    mine = line.trim_start().starts_with(&minor) || (mine && line.trim_start().starts_with("ns:"));
                    if mine {
                        report.proc.extend(line.split_whitespace().filter_map(|word| {
                            let (key, value) = word.split_once(':')?;
                            (!value.is_empty()).then(|| (key.to_string(), value.to_string()))
                        }));
                    }
                }
                "gi" if mine => report.generations = line.trim().split(':').map(str::to_string).collect(),
                "helpers" if mine => report.helpers.push(line.trim().to_string()),
                "log" if !format!("{line} ").contains(&device) => {}
                "log" if line.contains("matrix-clear") => report.compared.clear(),
                "log" => report.compared.extend(comparison(line)),
                _ => {}
            }
        }
        report
    }

    /// Connection state.
    pub fn cstate(&self) -> &str {
        self.proc.get("cs").map_or("Unconfigured", String::as_str)
    }

    fn pair(&self, key: &str) -> (&str, &str) {
        self.proc.get(key).and_then(|value| value.split_once('/')).unwrap_or(("?", "?"))
    }

    /// Deviations from the recording. `bound` gives random UUIDs their names, for both nodes of a case.
    pub fn differences(&self, recorded: &Value, race: bool, symbols: &Value, bound: &mut HashMap<u64, u64>) -> Vec<String> {
        let mut wrong = Vec::new();
        let rows = recorded["handshakes"].as_array().into_iter().flatten();
        let compared: Vec<(u32, i32)> =
            rows.map(|row| (row["rule"].as_u64().unwrap_or(0) as u32, row["compare"].as_i64().unwrap_or(0) as i32)).collect();
        let helpers: Vec<&str> = recorded["helpers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if race {
            // Who saw what before the link went is a matter of timing; what was seen is not.
            if !self.compared.is_empty() && !compared.is_empty() && self.compared != compared {
                wrong.push(format!("compared {:?}, recorded {compared:?}", self.compared));
            }
            return wrong;
        }
        if self.compared != compared {
            wrong.push(format!("compared {:?}, recorded {compared:?}", self.compared));
        }
        if self.helpers != helpers {
            wrong.push(format!("helpers {:?}, recorded {helpers:?}", self.helpers));
        }
        let ((role, peer), (disk, pdsk)) = (self.pair("ro"), self.pair("ds"));
        for (what, got) in [("cstate", self.cstate()), ("role", role), ("peer", peer), ("disk", disk), ("pdsk", pdsk)] {
            if recorded[what] != got {
                wrong.push(format!("{what} {got}, recorded {}", recorded[what]));
            }
        }
        let kib = self.proc.get("oos").map_or("0", String::as_str);
        if disk != "Diskless" && recorded["out_of_sync_kib"].as_u64().map(|kib| kib.to_string()).as_deref() != Some(kib) {
            wrong.push(format!("{kib} KiB out of sync, recorded {}", recorded["out_of_sync_kib"]));
        }
        wrong.extend(self.generation_differences(recorded, symbols, bound));
        wrong
    }

    fn generation_differences(&self, recorded: &Value, symbols: &Value, bound: &mut HashMap<u64, u64>) -> Vec<String> {
        let mut wrong = Vec::new();
        if recorded["uuid_after"].is_null() {
            return wrong;
        }
        let uuids: Vec<u64> = self.generations.iter().take(4).filter_map(|text| u64::from_str_radix(text, 16).ok()).collect();
        match <[u64; 4]>::try_from(uuids) {
            Ok(uuids) if Symbols(symbols).matches(uuids, &recorded["uuid_after"], bound) => {}
            _ => wrong.push(format!("generations {:?}, recorded {}", self.generations, recorded["uuid_after"])),
        }
        let names = ["consistent", "was_up_to_date", "primary_ind", "connected_ind", "full_sync", "peer_outdated", "crashed_primary"];
        // get-gi prints the crashed-primary flag after the primary indicator's neighbours, in this order.
        for (name, got) in names.iter().zip(self.generations.iter().skip(4)) {
            let expected = recorded["md_flags_after"][name].as_u64().unwrap_or(0).to_string();
            if *got != expected {
                wrong.push(format!("superblock flag {name} is {got}, recorded {expected}"));
            }
        }
        wrong
    }
}

/// `uuid_compare()=RESULT by rule RULE`.
fn comparison(line: &str) -> Option<(u32, i32)> {
    let (_, text) = line.split_once("uuid_compare()=")?;
    let (result, rest) = text.split_once(' ')?;
    let rule = rest.trim().strip_prefix("by rule ")?;
    let digits: String = rule.chars().take_while(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, result.parse().ok()?))
}
