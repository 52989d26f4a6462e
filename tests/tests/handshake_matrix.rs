// SPDX-License-Identifier: GPL-2.0
//! The comparison of data generations against decisions recorded from the C driver.

use drbd_core::handshake::{compare, Peer};
use drbd_core::md::Uuids;
use drbd_core::state::Role;
use serde_json::Value;

/// Value of a UUID in the notation of the fixture: `A`, `A+S`, `JC`, `0`, `R1`, each perhaps with `|1`.
fn uuid(text: &str, symbols: &Value) -> u64 {
    let (base, bit) = match text.strip_suffix("|1") {
        Some(base) => (base, 1),
        None => (text, 0),
    };
    let (name, offset) = match base.strip_suffix("+S") {
        Some(name) => (name, 1u64 << 48),
        None => (base, 0),
    };
    let value = match name {
        "0" => 0,
        "JC" => 4,
        _ => match symbols.get(name).and_then(Value::as_str) {
            Some(hex) => u64::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap(),
            None => {
                let number: u64 = name.trim_start_matches('R').parse().unwrap_or_else(|_| panic!("symbol {name}"));
                0x5eed_0000_0000_0000 | number << 8
            }
        },
    };
    value.wrapping_add(offset) | bit
}

fn side(value: &Value, symbols: &Value, role: Role) -> Peer {
    let list: Vec<u64> = value["uuid"].as_array().unwrap().iter().map(|text| uuid(text.as_str().unwrap(), symbols)).collect();
    let flags = value["flags"].as_u64().unwrap();
    Peer {
        uuids: Uuids::from_array([list[0], list[1], list[2], list[3]]),
        dirty_bits: value["bits"].as_u64().unwrap(),
        crashed_primary: flags & 2 != 0,
        discard_my_data: flags & 1 != 0,
        role,
    }
}

fn role(text: &Value) -> Role {
    if text.as_str() == Some("Primary") {
        Role::Primary
    } else {
        Role::Secondary
    }
}

#[test]
fn every_recorded_comparison_has_the_recorded_rule_and_result() {
    let text = std::fs::read_to_string(drbd_tests::fixture("handshake-matrix.json")).unwrap();
    let matrix: Value = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    let mut wrong = Vec::new();
    for case in matrix["cases"].as_array().unwrap() {
        let later_is_resolver = if case["connect_order"].as_str() == Some("ba") { "a" } else { "b" };
        for node in ["a", "b"] {
            let other = if node == "a" { "b" } else { "a" };
            let result = &case["result"][node];
            for handshake in result["handshakes"].as_array().into_iter().flatten() {
                let roles = (role(&case[node]["role"]), role(&case[other]["role"]));
                let mut own = side(&handshake["self"], &matrix["symbols"], roles.0);
                // The recording shows the flags a node sent, and only of the peer; a node's own mark follows from its superblock (UU-17).
                let md_flags = case[node]["md_flags"].as_str().map_or(0, |hex| u32::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap());
                own.crashed_primary |= md_flags & 0x42 != 0;
                let peer = side(&handshake["peer"], &matrix["symbols"], roles.1);
                let got = compare(&own, &peer, 101, 15, node == later_is_resolver);
                let expected = (handshake["rule"].as_u64().unwrap() as u32, handshake["compare"].as_i64().unwrap() as i32);
                compared += 1;
                if (got.rule, got.number()) != expected {
                    wrong.push(format!("{} {node}: got {:?}, recorded {expected:?}", case["id"], (got.rule, got.number())));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 150, "only {compared} comparisons in the fixture");
}
