// SPDX-License-Identifier: GPL-2.0
//! `/proc/drbd` as other programs read it (netlink-and-tools.md section 9): the only place that tells speed and remaining time
//! of a resync.

/// One minor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Minor {
    /// Its number.
    pub minor: u32,
    /// Connection state, `Unconfigured` when there is nothing.
    pub conn: String,
    /// `own/peer`; empty when unconfigured.
    pub role: String,
    /// `own/peer`; empty when unconfigured.
    pub disk: String,
    /// Protocol letter and flags: `C r-----`.
    pub flags: String,
    /// The line with the bar, as it is there, with its leading tab.
    pub bar: Option<String>,
    /// `h:mm:ss` until the end.
    pub finish: Option<String>,
    /// KiB per second of the last seconds.
    pub speed_kib: Option<u64>,
}

impl Minor {
    /// How much of the resync or verify is done; the driver tells it of a verify nowhere else.
    pub fn percent(&self) -> Option<f64> {
        let (_, rest) = self.bar.as_deref()?.split_once("ed:")?;
        rest.split_once('%')?.0.trim().parse().ok()
    }
}

/// Reads the text; lines that are not understood are passed over.
pub fn parse(text: &str) -> Vec<Minor> {
    let mut found: Vec<Minor> = Vec::new();
    for line in text.lines() {
        if let Some(minor) = first_line(line) {
            found.push(minor);
            continue;
        }
        let Some(last) = found.last_mut() else {
            continue;
        };
        if line.starts_with("\t[") && (line.contains("sync'ed:") || line.contains("verified:")) {
            last.bar = Some(line.to_string());
        } else if let Some(rest) = line.trim_start().strip_prefix("finish:") {
            let words: Vec<&str> = rest.split_whitespace().collect();
            last.finish = words.first().map(|word| word.to_string());
            last.speed_kib = words
                .iter()
                .position(|word| *word == "speed:")
                .and_then(|at| words.get(at + 1))
                .and_then(|number| number.replace(',', "").parse().ok());
        }
    }
    found
}

fn first_line(line: &str) -> Option<Minor> {
    let (number, rest) = line.split_once(':')?;
    let minor = number.trim().parse().ok()?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let value = |name: &str| {
        let word = words.iter().find_map(|word| word.strip_prefix(name));
        word.unwrap_or("").to_string()
    };
    let disk_at = words.iter().position(|word| word.starts_with("ds:"));
    let flags = disk_at.map_or(&[][..], |at| words.get(at + 1..).unwrap_or(&[]));
    Some(Minor {
        minor,
        conn: value("cs:"),
        role: value("ro:"),
        disk: value("ds:"),
        flags: flags.join(" "),
        ..Minor::default()
    })
    .filter(|found| !found.conn.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: B8171AFD2767BFC7E2C05FE \n 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----\n    ns:15656 nr:0 dw:0 dr:16676 al:0 bm:0 lo:0 pe:2 ua:0 ap:0 ep:1 wo:f oos:49840\n\t[====>...............] sync'ed: 25.0% (49840/65496)K\n\tfinish: 0:00:12 speed: 3,912 (3,912) K/sec\n\n 3: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----\n    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0\n 4: cs:Unconfigured\n";

    #[test]
    fn minors_are_read_with_flags_and_progress() {
        let found = parse(TEXT);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].flags, "C r-----");
        assert_eq!(found[0].speed_kib, Some(3912));
        assert_eq!(found[0].finish.as_deref(), Some("0:00:12"));
        assert!(found[0]
            .bar
            .as_ref()
            .is_some_and(|bar| bar.contains("25.0%")));
        assert_eq!(found[0].percent(), Some(25.0));
        assert_eq!((found[1].minor, found[1].flags.as_str()), (3, "r-----"));
        assert_eq!(found[2].conn, "Unconfigured");
        assert_eq!(found[2].role, "");
    }

    #[test]
    fn any_text_is_read_without_a_fault() {
        for cut in 0..TEXT.len() {
            parse(&TEXT[..cut]);
            parse(&TEXT[cut..]);
        }
    }
}
