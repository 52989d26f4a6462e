// SPDX-License-Identifier: GPL-2.0
//! The recorded messages of `fixtures/netlink`, one by one.

use netlink_api::replay::{parse_runs, Run, Step};

/// Bytes of nlmsghdr and genlmsghdr.
const HEADERS_BYTES: usize = 20;
/// Bytes of the user header.
const USER_HEADER_BYTES: usize = 8;
/// Type of the messages of the family in the recordings.
pub const FAMILY: u16 = 26;

/// One netlink message.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// File and title, for complaints.
    pub place: String,
    /// The tool sent it.
    pub sent: bool,
    /// With all headers.
    pub bytes: Vec<u8>,
}

impl Recorded {
    /// The type of nlmsghdr.
    pub fn kind(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[4], self.bytes[5]])
    }

    /// The attributes.
    pub fn attributes(&self) -> &[u8] {
        self.bytes
            .get(HEADERS_BYTES + USER_HEADER_BYTES..)
            .unwrap_or(&[])
    }
}

/// All runs of one file.
pub fn runs(file: &str) -> Vec<Run> {
    let path = drbd_tests::fixture("netlink").join(file);
    parse_runs(&std::fs::read_to_string(path).unwrap())
}

/// Names of the files that record the tools, not the hand-made requests.
pub fn files() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(drbd_tests::fixture("netlink"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.as_bytes()[0].is_ascii_digit() && !name.starts_with("90"))
        .collect();
    names.sort();
    names
}

/// Every message of these files, datagrams taken apart.
pub fn messages(files: &[String]) -> Vec<Recorded> {
    let mut all = Vec::new();
    for file in files {
        for run in runs(file) {
            for step in &run.steps {
                let mut rest = step.bytes();
                while rest.len() >= HEADERS_BYTES - 4 {
                    let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
                    all.push(Recorded {
                        place: format!("{file}: {}", run.title),
                        sent: matches!(step, Step::Sent(_)),
                        bytes: rest[..length].to_vec(),
                    });
                    rest = rest.get(length.div_ceil(4) * 4..).unwrap_or(&[]);
                }
            }
        }
    }
    all
}
