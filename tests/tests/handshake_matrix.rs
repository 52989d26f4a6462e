// SPDX-License-Identifier: GPL-2.0
//! Decisions recorded from the C driver on two machines (`fixtures/handshake-matrix.json`), played against core.
//!
//! Twice: each recorded comparison on its own, and each case from the superblocks to the final states with both nodes at the level
//! of values: attach, promotion, exchange of UUIDs and states, decision, start and end of the resync. The second way checks every
//! change of the vectors on the way, the helpers called, the generations and the superblock flags at the end.

#[path = "handshake_matrix/node.rs"]
mod node;
#[path = "handshake_matrix/notation.rs"]
mod notation;
#[path = "handshake_matrix/world.rs"]
mod world;

use drbd_core::handshake::{compare, Peer};
use drbd_core::md::{flags, Uuids};
use drbd_core::state::Role;
use notation::{hex_number, Symbols};
use serde_json::Value;
use std::collections::HashMap;
use world::{differences, name, World};

fn matrix() -> Value {
    let text = std::fs::read_to_string(drbd_tests::fixture("handshake-matrix.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn side(value: &Value, symbols: &Value, role: Role) -> Peer {
    let flags = value["flags"].as_u64().unwrap();
    Peer {
        uuids: Uuids::from_array(Symbols(symbols).set(&value["uuid"])),
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
    let matrix = matrix();
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
                let md_flags = case[node]["md_flags"].as_str().map_or(0, hex_number);
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

/// What one node ended with, against the recording. In a race only the conclusions hold that do not depend on timing.
fn check(world: &World<'_>, node: usize, case: &Value, bound: &mut HashMap<u64, u64>, symbols: &Value) -> Vec<String> {
    let (own, recorded) = (&world.nodes[node], &case["result"][name(node)]);
    let race = case["race"] == true;
    let mut wrong = Vec::new();
    let compared: Vec<(u32, i32)> = recorded["handshakes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["rule"].as_u64().unwrap() as u32, row["compare"].as_i64().unwrap() as i32))
        .collect();
    if compared != own.compared && !(race && compared.is_empty()) {
        wrong.push(format!("compared {:?}, recorded {compared:?}", own.compared));
    }
    let helpers: Vec<&str> = recorded["helpers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    if helpers != own.helpers && !(race && own.helpers.starts_with(&helpers)) {
        wrong.push(format!("helpers {:?}, recorded {helpers:?}", own.helpers));
    }
    if !race {
        wrong.extend(differences(&own.state, recorded));
    }
    if !race {
        let events = recorded["events"].as_array().unwrap().iter().map(|event| event.as_str().unwrap());
        // Which socket is seen dead first is a matter of timing.
        let events = events.filter(|event| event.starts_with("state ")).map(|event| event.replace("NetworkFailure", "BrokenPipe"));
        let events: Vec<String> = events.collect();
        if events != own.transitions {
            wrong.push(format!("transitions\n  {:?}, recorded\n  {events:?}", own.transitions));
        }
    }
    let kib = recorded["out_of_sync_kib"].as_u64().unwrap();
    if own.state.has_disk() && own.bits * 4 != kib {
        wrong.push(format!("{} KiB out of sync, recorded {kib}", own.bits * 4));
    }
    let uuids = &recorded["uuid_after"];
    if !uuids.is_null() && !Symbols(symbols).matches(own.uuids.to_array(), uuids, bound) {
        wrong.push(format!("UUIDs {:x?}, recorded {uuids}", own.uuids.to_array()));
    }
    wrong.extend(superblock_differences(own.flags, &recorded["md_flags_after"]));
    wrong
}

/// Flags of the superblock that differ.
fn superblock_differences(got: u32, recorded: &Value) -> Vec<String> {
    let names = [
        ("consistent", flags::CONSISTENT),
        ("was_up_to_date", flags::WAS_UP_TO_DATE),
        ("primary_ind", flags::PRIMARY),
        ("connected_ind", flags::CONNECTED),
        ("full_sync", flags::FULL_SYNC),
        ("peer_outdated", flags::PEER_OUTDATED),
        ("crashed_primary", flags::CRASHED_PRIMARY),
    ];
    if recorded.is_null() {
        return Vec::new();
    }
    let differ = names.iter().filter(|(name, flag)| recorded[name] != u64::from(got & flag != 0));
    differ.map(|(name, _)| format!("superblock flag {name}")).collect()
}

#[test]
fn every_case_played_from_the_superblocks_ends_as_recorded() {
    let matrix = matrix();
    let mut wrong = Vec::new();
    let cases = matrix["cases"].as_array().unwrap();
    for case in cases {
        let mut world = World::new(case, &matrix["symbols"]);
        world.play();
        let mut bound = HashMap::new();
        for node in 0..2 {
            for line in check(&world, node, case, &mut bound, &matrix["symbols"]) {
                wrong.push(format!("{} {}: {line}", case["id"], name(node)));
            }
        }
        if case["race"] == true && world.nodes.iter().all(|node| node.state.conn.name() != "StandAlone") {
            wrong.push(format!("{}: nobody refused", case["id"]));
        }
    }
    assert!(wrong.is_empty(), "{} deviations in {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 115, "only {} cases in the fixture", cases.len());
}
