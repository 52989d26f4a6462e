// SPDX-License-Identifier: GPL-2.0
//! What the kernel log tells about a resource. Both drivers write states the same way; only what stands in front differs.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest record of the kernel.
const RECORD_BYTES: usize = 8192;

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Seconds since 1970.
    pub time: u64,
    /// The text, without what names the driver and the object.
    pub text: String,
}

/// The kernel log about a resource, oldest first; `None`: it may not be read.
pub fn read(name: &str, minors: &[u32]) -> Option<Vec<Record>> {
    let mut file = std::fs::File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open("/dev/kmsg")
        .ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let started = now.saturating_sub(uptime as u64);
    let mut found = Vec::new();
    let mut record = [0u8; RECORD_BYTES];
    loop {
        match file.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or(&[]));
                found.extend(parse(&text, started, name, minors));
            }
            // a record was overwritten while it was read: the next one follows
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(_) => break,
        }
    }
    Some(found)
}

/// A record of `/dev/kmsg`: `priority,number,microseconds,flags;text`.
fn parse(record: &str, started: u64, name: &str, minors: &[u32]) -> Option<Record> {
    let (head, text) = record.split_once(';')?;
    let micros: u64 = head.split(',').nth(2)?.parse().ok()?;
    let text = about(text.lines().next()?, name, minors)?;
    Some(Record {
        time: started + micros / 1_000_000,
        text: text.to_string(),
    })
}

/// The text of a line about the resource or one of its minors: `drbd r0/0 drbd0: TEXT`, `block drbd0: TEXT`, `drbd: r0: TEXT`.
pub fn about<'a>(line: &'a str, name: &str, minors: &[u32]) -> Option<&'a str> {
    let starts = ["drbd: ", "drbd ", "block "];
    let rest = starts.iter().find_map(|start| line.strip_prefix(start))?;
    let (object, text) = rest.split_once(": ")?;
    let meant = object.split(' ').any(|word| {
        let volume = word.strip_prefix(name).map(|rest| rest.strip_prefix('/'));
        let is_volume = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
        let of_minor = word.strip_prefix("drbd").and_then(|n| n.parse().ok());
        word == name
            || volume.flatten().is_some_and(is_volume)
            || of_minor.is_some_and(|minor| minors.contains(&minor))
    });
    meant.then_some(text)
}

/// The new value of a field that a line says has changed: `role( Secondary -> Primary )`.
pub fn changed<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    let mark = format!("{field}( ");
    let at = text.match_indices(&mark).find(|(at, _)| {
        // `peer(` must not be found in another word
        *at == 0 || text.get(..*at).is_some_and(|before| before.ends_with(' '))
    })?;
    let inside = text.get(at.0 + mark.len()..)?.split(" )").next()?;
    inside.split(" -> ").nth(1)
}

/// A time as people write it, UTC.
pub fn clock(seconds: u64) -> String {
    let stamp = crate::setup::timestamp(std::time::Duration::from_secs(seconds));
    match stamp.split_once('.') {
        Some((whole, _)) => format!("{} UTC", whole.replace('T', " ")),
        None => stamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_drivers_are_found_and_those_of_others_are_not() {
        let lines = [
            ("drbd r0/0 drbd0: role( Secondary -> Primary ) ", true),
            ("drbd r0: conn( Connected -> TearDown ) ", true),
            ("block drbd0: x", true),
            ("drbd: r0/0 drbd0: x", true),
            ("drbd: drbd0: x", true),
            ("drbd: r0: x", true),
            ("drbd r01: x", false),
            ("drbd r0/0x drbd1: x", false),
            ("drbd: drbd00x: x", false),
            ("drbd: initialized. Version: 8.4.11", false),
            ("ext4 r0: x", false),
        ];
        for (line, found) in lines {
            assert_eq!(about(line, "r0", &[0]).is_some(), found, "{line}");
        }
        let record = parse(
            "6,903,5000001,-;drbd: r0: hello\n SUBSYSTEM=x\n",
            100,
            "r0",
            &[],
        );
        assert_eq!(
            record,
            Some(Record {
                time: 105,
                text: "hello".into()
            })
        );
        assert_eq!(parse("nonsense", 0, "r0", &[]), None);
    }

    #[test]
    fn changes_are_read_by_field() {
        let text = "peer( Primary -> Unknown ) conn( Connected -> NetworkFailure ) pdsk( UpToDate -> DUnknown ) ";
        assert_eq!(changed(text, "peer"), Some("Unknown"));
        assert_eq!(changed(text, "conn"), Some("NetworkFailure"));
        assert_eq!(changed(text, "disk"), None);
        assert_eq!(changed("conn( broken", "conn"), None);
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(clock(951_782_400), "2000-02-29 00:00:00 UTC");
    }
}
