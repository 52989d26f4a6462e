// SPDX-License-Identifier: GPL-2.0
//! Output without what varies from run to run (tests/fixtures/transcripts/README.md).

/// Words of `status --statistics` whose number varies.
const COUNTERS: [&str; 13] = [
    "read:", "written:", "al-writes:", "bm-writes:", "upper-pending:", "lower-pending:", "received:", "sent:", "pending:", "unacked:",
    "out-of-sync:", "done:", "_resynced_percent=",
];

/// States in which the blocks out of sync are on the move.
const MOVING: [&str; 6] = ["SyncSource", "SyncTarget", "PausedSync", "WFBitMap", "WFSyncUUID", "Verify"];

/// `line` with every number as one `#`.
fn hashed(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if text.ends_with('#') => {}
            '0'..='9' => text.push('#'),
            ',' | '.' if text.ends_with('#') => {}
            other => text.push(other),
        }
    }
    text
}

/// `line` with a `U` for every generation identifier and source version.
fn anonymous(line: &str) -> String {
    let mut text = String::new();
    for part in line.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        let random = word.len() == 16 && !word.starts_with("00000000");
        text.push_str(&if random { part.replace(word, "U") } else { part.into() });
    }
    text
}

fn counters(line: &str) -> String {
    let mut text = line.to_string();
    for name in COUNTERS {
        if let Some(at) = text.find(name) {
            let from = at + name.len();
            let to = text[from..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(text.len(), |n| from + n);
            if to > from {
                text.replace_range(from..to, "#");
            }
        }
    }
    text
}

/// The bar, the numbers and the second of two average rates vary.
fn progress(line: &str) -> String {
    let bar: String = line.chars().filter(|c| !"=>.".contains(*c)).collect();
    let plain = hashed(&bar).replace("(# -- #)", "(#)");
    plain.replace("  ", " ").replace(" #", "#")
}

/// Lines of an output in a form in which two runs of the same command are equal.
pub fn plain<S: AsRef<str>>(lines: &[S]) -> Vec<String> {
    let mut moving = false;
    let mut kept = Vec::new();
    for line in lines {
        let line = line.as_ref().replace("drbdsetup-84", "drbdsetup").replace("drbdadm-84", "drbdadm");
        let start = line.trim_start();
        if line.contains(" cs:") {
            moving = MOVING.iter().any(|state| line.contains(state));
        }
        if ["srcversion:", "PWD=", "OLDPWD=", "node=", "DRBD_DONT_WARN", "SHLVL=", "SEQNUM=", "DISKSEQ="].iter().any(|p| start.starts_with(p)) {
            continue;
        }
        kept.push(if start.starts_with("ns:") {
            let (left, oos) = line.split_once("oos:").unwrap_or((&line, ""));
            let some = if oos == "0" { "0" } else { "some" };
            format!("{}oos:{}", hashed(left), if moving { "#" } else { some })
        } else if start.starts_with('[') && line.contains('%') || start.starts_with("finish:") || line.contains("sector pos:") {
            progress(&line)
        } else if start.starts_with("resync: used:") || start.starts_with("act_log: used:") {
            hashed(&line)
        } else if line.len() > 11 && line.starts_with("17") && line[..10].bytes().all(|b| b.is_ascii_digit()) {
            format!("#{}", &line[10..])
        } else {
            counters(&anonymous(&line))
        });
    }
    kept
}

/// The codes in the messages: `Failure: (127)`, `State change failed: (-2)`.
pub fn codes(lines: &[String]) -> Vec<String> {
    let found = lines.iter().filter_map(|line| {
        let (_, rest) = line.split_once("ailure: (").or_else(|| line.split_once("failed: ("))?;
        rest.split_once(')').map(|(code, _)| code.to_string())
    });
    found.filter(|code| code.parse::<i32>().is_ok()).collect()
}

#[test]
fn what_varies_does_not_count_and_the_rest_does() {
    let a = [" 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----", "    ns:2144 nr:0 al:8 wo:f oos:64216",
        "\t[>...................] sync'ed:  6.3% (64216/65496)K", "\tfinish: 0:00:40 speed: 1,280 (1,280 -- 77) want: 4,096 K/sec"];
    let b = [" 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----", "    ns:1 nr:7 al:80 wo:f oos:1",
        "\t[==========>.........] sync'ed: 56.3% (25304/65496)K", "\tfinish: 0:00:08 speed: 3,088 (3,652) want: 1 K/sec"];
    assert_eq!(plain(&a), plain(&b));
    assert_ne!(plain(&["    ns:1 wo:f oos:1"]), plain(&["    ns:1 wo:f oos:0"]));
    assert_ne!(plain(&["0000000000000004:1:0"]), plain(&["AA682D438FFB95CD:1:0"]));
    assert_eq!(plain(&["BB682D438FFB95CD:1:0"]), plain(&["AA682D438FFB95CD:1:0"]));
    assert_eq!(codes(&["0: State change failed: (-2) Need access".into(), "0: Failure: (127) no".into()]), ["-2", "127"]);
}
