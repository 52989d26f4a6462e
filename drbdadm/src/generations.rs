// SPDX-License-Identifier: GPL-2.0
//! Generation identifiers as text, for drbdsetup and drbdmeta.

use drbd_core::md::superblock::flags;

/// The explanation around the one line.
const LEGEND_ABOVE: &str = "
       +--<  Current data generation UUID  >-
       |               +--<  Bitmap's base data generation UUID  >-
       |               |                 +--<  younger history UUID  >-
       |               |                 |         +-<  older history  >-
       V               V                 V         V
";
const LEGEND_BELOW: &str =
    "                                                                    ^ ^ ^ ^ ^ ^ ^
                                      -<  Data consistency flag  >--+ | | | | | |
                             -<  Data was/is currently up-to-date  >--+ | | | | |
                                  -<  Node was/is currently primary  >--+ | | | |
                                  -<  Node was/is currently connected  >--+ | | |
         -<  Node was in the progress of setting all bits in the bitmap  >--+ | |
                        -<  The peer's disk was out-dated or inconsistent  >--+ |
      -<  This node was a crashed primary, and has not seen its peer since   >--+
";

/// The flags in the order of the line.
const ORDER: [u32; 7] = [
    flags::CONSISTENT,
    flags::WAS_UP_TO_DATE,
    flags::PRIMARY,
    flags::CONNECTED,
    flags::FULL_SYNC,
    flags::PEER_OUTDATED,
    flags::CRASHED_PRIMARY,
];

/// `UUID:UUID:UUID:UUID:f:f:f:f:f:f:f`.
pub fn line(uuids: [u64; 4], md_flags: u32) -> String {
    let mut text: Vec<String> = uuids.iter().map(|u| format!("{u:016X}")).collect();
    text.extend(
        ORDER
            .iter()
            .map(|flag| u32::from(md_flags & flag != 0).to_string()),
    );
    text.join(":")
}

/// The flags of such a line; `None`: it is none.
pub fn flags_of(line: &str) -> Option<u32> {
    let fields: Vec<&str> = line.trim().split(':').collect();
    let set = fields.get(4..4 + ORDER.len())?;
    let bits = ORDER.iter().zip(set).map(|(flag, field)| match *field {
        "0" => Some(0),
        "1" => Some(*flag),
        _ => None,
    });
    bits.sum()
}

/// The line with its legend.
pub fn with_legend(uuids: [u64; 4], md_flags: u32) -> String {
    format!("{LEGEND_ABOVE}{}\n{LEGEND_BELOW}", line(uuids, md_flags))
}

/// The flags in words.
pub fn in_words(md_flags: u32) -> String {
    let has = |flag: u32| md_flags & flag != 0;
    let crashed = if has(flags::CRASHED_PRIMARY) {
        "crashed "
    } else {
        ""
    };
    let role = if has(flags::PRIMARY) {
        "Primary"
    } else {
        "Secondary"
    };
    let connected = if has(flags::CONNECTED) {
        "Connected"
    } else {
        "StandAlone"
    };
    let disk = match (has(flags::CONSISTENT), has(flags::WAS_UP_TO_DATE)) {
        (false, _) => "Inconsistent",
        (true, true) => "UpToDate",
        (true, false) => "Outdated",
    };
    let mut text = format!("flags: {crashed}{role}, {connected}, {disk}");
    if has(flags::FULL_SYNC) {
        text.push_str(", need full sync");
    }
    if has(flags::PEER_OUTDATED) {
        text.push_str(", peer Outdated");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_a_line_are_those_it_was_made_of() {
        for set in [
            0,
            flags::CONSISTENT,
            flags::CRASHED_PRIMARY | flags::PRIMARY,
            0x7f,
        ] {
            assert_eq!(flags_of(&line([1, 2, 3, 4], set)), Some(set));
        }
        assert_eq!(flags_of("nonsense"), None);
        assert_eq!(flags_of("1:2:3:4:0:0:0:0:0:0:x"), None);
    }
}
