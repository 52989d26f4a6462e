// SPDX-License-Identifier: GPL-2.0
//! Traffic recorded from the C driver (`fixtures/pcap`), every packet of it, through the codecs of core.

mod bitmaps;
mod codec;
mod packets;
mod pcap;

use codec::{round_trip, Agreed};
use drbd_core::wire::{Command, WireError};
use packets::{converse, Conversation};
use std::collections::{BTreeMap, BTreeSet};

/// Node, command: packets.
type Counts = BTreeMap<(String, String), usize>;

/// Names of the captures, without ending.
fn captures() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(drbd_tests::fixture("pcap"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".pcap.gz").map(str::to_owned))
        .collect();
    names.sort();
    assert_eq!(names.len(), 51);
    names
}

fn conversations(capture: &str) -> Vec<Conversation> {
    let connections = pcap::read(&drbd_tests::fixture(&format!("pcap/{capture}.pcap.gz")));
    connections.iter().filter_map(converse).collect()
}

/// What core says about the scripted nonsense of captures 50 to 58: node, then the refusals in order.
fn expected_refusals(capture: &str) -> Vec<WireError> {
    let unknown = |got| WireError::UnknownCommand { got };
    match &capture[..2] {
        "50" => vec![unknown(0x2e)],
        "51" => vec![unknown(0x30)],
        "52" => vec![WireError::BadLength { command: 0x16, got: 16, least: 24, most: 24 }],
        "53" => vec![WireError::BadHeaderPadding { got: 1 }],
        "54" => vec![WireError::BadLength { command: 0xfffe, got: 64, least: 72, most: 72 }],
        "55" => vec![unknown(0x105)],
        "56" => vec![WireError::BadLength { command: 3, got: 12, least: 8, most: 8 }],
        "57" => vec![WireError::UnexpectedCommand { got: 7, expected: None }],
        _ => vec![],
    }
}

/// Streams that end within a packet, and where: the recording stops there, or the connection was cut.
fn may_end_early(capture: &str) -> bool {
    ["33", "44"].contains(&&capture[..2])
}

/// Plays one capture; counts what came and collects what core refused.
fn play(capture: &str, counts: &mut Counts, refusals: &mut Vec<WireError>) {
    for conversation in conversations(capture) {
        let agreed = Agreed { socket: conversation.socket, version: conversation.version, features: conversation.features };
        for side in &conversation.sides {
            for packet in &side.packets {
                let name = match round_trip(agreed, packet) {
                    Ok(command) => command.name().to_owned(),
                    Err(error) => {
                        refusals.push(error);
                        let known = Command::from_number(packet.header.command);
                        known.map_or(format!("code {:#x}", packet.header.command), |command| command.name().to_owned())
                    }
                };
                *counts.entry((format!("n{}", side.from.0[3]), name)).or_default() += 1;
            }
            refusals.extend(side.error);
            let whole = side.rest == 0 || side.error.is_some() || may_end_early(capture);
            assert!(whole, "{capture}: {} bytes of n{} are no packet", side.rest, side.from.0[3]);
        }
    }
}

#[test]
fn every_recorded_packet_decodes_and_comes_back_byte_for_byte() {
    let mut seen = BTreeSet::new();
    for capture in captures() {
        let (mut counts, mut refusals) = (Counts::new(), Vec::new());
        play(&capture, &mut counts, &mut refusals);
        assert_eq!(refusals, expected_refusals(&capture), "{capture}");
        seen.extend(counts.into_keys().map(|key| key.1));
    }
    let unseen: Vec<&str> = Command::ALL.iter().map(|command| command.name()).filter(|name| !seen.contains(*name)).collect();
    assert_eq!(unseen, ["P_NEG_ACK", "P_NEG_DREPLY", "P_NEG_RS_DREPLY"], "commands that were never recorded");
}

/// The list in `fixtures/pcap/README.md`: node and command with the number of packets.
fn listed(capture: &str) -> Counts {
    let text = std::fs::read_to_string(drbd_tests::fixture("pcap/README.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(capture)).unwrap();
    let mut counts = Counts::new();
    for line in section.lines() {
        let Some((node, list)) = line.strip_prefix("* n").and_then(|rest| rest.split_once("→: ")) else { continue };
        for item in list.split(" · ") {
            let (item, total) = match item.trim_end_matches(')').split_once(" (") {
                Some((item, total)) => (item, total.parse().unwrap()),
                None => (item, 1),
            };
            let words = if item.starts_with("code") { 2 } else { 1 };
            let name = item.split(' ').take(words).collect::<Vec<_>>().join(" ");
            counts.insert((format!("n{node}"), name), total);
        }
    }
    counts
}

#[test]
fn as_many_packets_of_every_kind_come_out_as_another_decoder_counted() {
    for capture in captures() {
        let mut counts = Counts::new();
        play(&capture, &mut counts, &mut Vec::new());
        let mut listed = listed(&capture);
        if capture.starts_with("53") {
            // The packet with the bad header, which here is none.
            listed.remove(&("n2".to_owned(), "P_UNPLUG_REMOTE".to_owned()));
        }
        assert_eq!(counts, listed, "{capture}");
    }
}

#[test]
fn every_recorded_bitmap_is_read_to_its_end_and_sent_again_as_recorded() {
    let mut transfers = 0;
    for capture in captures() {
        let use_rle = !["08", "34"].contains(&&capture[..2]);
        for conversation in conversations(&capture) {
            transfers += bitmaps::play(&conversation, use_rle);
        }
    }
    assert_eq!(transfers, 30);
}
