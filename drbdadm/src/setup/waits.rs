// SPDX-License-Identifier: GPL-2.0
//! `waits`: which request, command or helper waits for what, and for how long. Reads /proc/drbd_waits, so it answers even when
//! nothing else does.

use super::outcome::Failure;
use super::terminal::Terminal;
use std::fmt::Write;

/// Where the driver tells it.
const FILE: &str = "/proc/drbd_waits";
/// Columns of a line.
const COLUMNS: usize = 9;

/// Prints what waits, of everything or of one resource or minor.
pub fn run(args: &[String], terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let wanted = match args {
        [] => None,
        [one] if one == "all" => None,
        [one] => Some(one.as_str()),
        _ => return Err(Failure::tool("usage: waits [resource|minor|all]")),
    };
    let content = std::fs::read_to_string(FILE).map_err(|error| {
        let why = netlink_api::client::plain(&error);
        Failure::tool(format!(
            "{FILE}: {why}; only the Rust driver has it, and only while it is loaded"
        ))
    })?;
    terminal.print(&text(&content, wanted));
    Ok(0)
}

/// The file in words.
fn text(content: &str, wanted: Option<&str>) -> String {
    let mut out = String::new();
    for line in content.lines().skip(2) {
        let columns: Vec<&str> = line.split('\t').collect();
        let Ok::<[&str; COLUMNS], _>(
            [resource, volume, minor, what, count, age, sector, bytes, waits_for],
        ) = columns.try_into()
        else {
            continue;
        };
        let minor_meant =
            |name: &str| super::parse::parse_minor_text(name).is_ok_and(|n| n.to_string() == minor);
        if wanted.is_some_and(|name| name != resource && !minor_meant(name)) {
            continue;
        }
        let place = match volume {
            "-" => resource.to_string(),
            _ => format!("{resource}/{volume} drbd{minor}"),
        };
        let _ = write!(out, "{place}: {what}");
        if sector != "-" {
            let _ = write!(out, " of {bytes} bytes at sector {sector}");
        }
        if age != "-" {
            let _ = write!(out, " for {}", duration(age));
        }
        let _ = write!(out, ": {waits_for}");
        if count != "1" {
            let _ = write!(out, " ({count} of this kind)");
        }
        out.push('\n');
    }
    if out.is_empty() {
        out.push_str("nothing waits\n");
    }
    out
}

/// Milliseconds as a person reads them.
fn duration(milliseconds: &str) -> String {
    match milliseconds.parse::<u64>() {
        Ok(ms) if ms >= 10_000 => format!("{} s", ms / 1000),
        Ok(ms) => format!("{ms} ms"),
        Err(_) => milliseconds.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str =
        "v: 0\nresource\tvolume\tminor\twhat\tcount\tage_ms\tsector\tbytes\twaits_for\n\
        r0\t-\t-\tcommand\t1\t12345\t-\t-\tdetach of drbdsetup[77]\n\
        r0\t1\t5\twrite\t3\t250\t4096\t8192\tlocal-disk,peer\n\
        r1\t0\t6\tadmission\t2\t70\t-\t-\tsuspended-io: resume-io\n";

    #[test]
    fn every_line_is_told_in_words_with_age_and_place() {
        assert_eq!(
            text(SHOWN, None),
            "r0: command for 12 s: detach of drbdsetup[77]\n\
             r0/1 drbd5: write of 8192 bytes at sector 4096 for 250 ms: local-disk,peer (3 of this kind)\n\
             r1/0 drbd6: admission for 70 ms: suspended-io: resume-io (2 of this kind)\n"
        );
    }

    #[test]
    fn one_resource_or_minor_is_picked_out_and_silence_is_said() {
        assert!(text(SHOWN, Some("r1")).starts_with("r1/0 drbd6"));
        assert!(text(SHOWN, Some("5")).starts_with("r0/1 drbd5"));
        assert!(text(SHOWN, Some("minor-6")).starts_with("r1/0 drbd6"));
        assert_eq!(text(SHOWN, Some("r2")), "nothing waits\n");
        assert_eq!(text("garbage\n\nwith\ttabs\n", None), "nothing waits\n");
    }
}
