// SPDX-License-Identifier: GPL-2.0
//! The notation of the fixture: UUIDs by symbol, options by command line.

use drbd_core::handshake::decide::policy;
use drbd_core::handshake::Policies;
use drbd_core::state::Fencing;
use serde_json::Value;
use std::collections::HashMap;

/// Base of the numbers that stand for `R1`, `R2` ... where a recording gives them as input.
const RANDOM_BASE: u64 = 0x5eed_0000_0000_0000;

/// Symbols of the fixture.
pub struct Symbols<'a>(pub &'a Value);

/// A UUID as the fixture writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Base {
    Fixed(u64),
    Random(u64),
}

impl Symbols<'_> {
    fn parse(&self, text: &str) -> (Base, u64, u64) {
        let (base, bit) = text.strip_suffix("|1").map_or((text, 0), |base| (base, 1));
        let (name, steps) = match base.split_once('+') {
            Some((name, "S")) => (name, 1),
            Some((name, steps)) => (name, steps.trim_end_matches('S').parse().unwrap()),
            None => (base, 0),
        };
        let value = match name {
            "0" => Base::Fixed(0),
            "JC" => Base::Fixed(4),
            _ => match self.0.get(name).and_then(Value::as_str) {
                Some(hex) => Base::Fixed(hex_number(hex)),
                None => Base::Random(name.strip_prefix('R').unwrap_or_else(|| panic!("symbol {name}")).parse().unwrap()),
            },
        };
        (value, steps << 48, bit)
    }

    /// Its value; `R1` ... become fixed numbers.
    pub fn value(&self, text: &str) -> u64 {
        let (base, offset, bit) = self.parse(text);
        match base {
            Base::Fixed(value) => value.wrapping_add(offset) | bit,
            Base::Random(number) => (RANDOM_BASE | number << 8).wrapping_add(offset) | bit,
        }
    }

    /// The four UUIDs of a node.
    pub fn set(&self, list: &Value) -> [u64; 4] {
        let list: Vec<u64> = list.as_array().unwrap().iter().map(|text| self.value(text.as_str().unwrap())).collect();
        list.try_into().unwrap()
    }

    /// Compares four UUIDs with what was recorded. Random values are bound to their names on first sight; bit 0 of random values counts
    /// only in the current slot, which comes first.
    pub fn matches(&self, got: [u64; 4], recorded: &Value, bound: &mut HashMap<u64, u64>) -> bool {
        let recorded = recorded.as_array().unwrap();
        got.iter().zip(recorded).enumerate().all(|(slot, (got, text))| {
            let (base, offset, bit) = self.parse(text.as_str().unwrap());
            match base {
                Base::Fixed(value) => *got == value.wrapping_add(offset) | bit,
                Base::Random(number) => {
                    let plain = got.wrapping_sub(offset) & !1;
                    let same = *bound.entry(number).or_insert(plain) == plain;
                    same && (slot != 0 || got & 1 == bit)
                }
            }
        })
    }
}

/// A hexadecimal number with `0x`.
pub fn hex_number(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// What the command lines of a case set on a node.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    pub policies: Policies,
    pub two_primaries: bool,
    pub discard_my_data: bool,
    pub tentative: bool,
    pub fencing: Fencing,
    pub suspend_on_no_data: bool,
}

impl Options {
    /// Adds a list of options.
    pub fn add(&mut self, list: &Value) {
        for option in list.as_array().into_iter().flatten() {
            let (name, value) = option.as_str().unwrap().split_once('=').unwrap_or((option.as_str().unwrap(), ""));
            match name {
                "--after-sb-0pri" => self.policies.after_sb_0p = policy_number(value),
                "--after-sb-1pri" => self.policies.after_sb_1p = policy_number(value),
                "--after-sb-2pri" => self.policies.after_sb_2p = policy_number(value),
                "--rr-conflict" => self.policies.rr_conflict = policy_number(value),
                "--always-asbp" => self.policies.always_asbp = value == "yes",
                "--allow-two-primaries" => self.two_primaries = value == "yes",
                "--discard-my-data" => self.discard_my_data = value == "yes",
                "--tentative" => self.tentative = value == "yes",
                "--on-no-data-accessible" => self.suspend_on_no_data = value == "suspend-io",
                "--fencing" => {
                    self.fencing = match value {
                        "resource-only" => Fencing::ResourceOnly,
                        "resource-and-stonith" => Fencing::ResourceAndStonith,
                        _ => Fencing::DontCare,
                    };
                }
                "--ping-int" | "1" => {}
                other => panic!("option {other}"),
            }
        }
    }
}

fn policy_number(text: &str) -> u32 {
    match text {
        "disconnect" => policy::DISCONNECT,
        "discard-younger-primary" => policy::DISCARD_YOUNGER_PRIMARY,
        "discard-older-primary" => policy::DISCARD_OLDER_PRIMARY,
        "discard-zero-changes" => policy::DISCARD_ZERO_CHANGES,
        "discard-least-changes" => policy::DISCARD_LEAST_CHANGES,
        "discard-local" => policy::DISCARD_LOCAL,
        "discard-remote" => policy::DISCARD_REMOTE,
        "consensus" => policy::CONSENSUS,
        "discard-secondary" => policy::DISCARD_SECONDARY,
        "call-pri-lost-after-sb" | "call-pri-lost" => policy::CALL_PRI_LOST,
        "violently-as0p" | "violently" => policy::VIOLENTLY,
        other => panic!("policy {other}"),
    }
}
