// SPDX-License-Identifier: GPL-2.0
//! Byte streams to packets: which connection is data and which meta, which version is agreed, where each packet ends.

use crate::pcap::{Connection, Endpoint, Stream};
use drbd_core::wire::header::header_bytes;
use drbd_core::wire::params::Features;
use drbd_core::wire::{Command, Header, Socket, WireError};

/// Header magic of versions 100 and later: tells the header size of a meta connection, which never names its version.
const MAGIC_100: [u8; 4] = [0x86, 0x20, 0xec, 0x20];

/// A packet as it was sent.
pub struct Packet {
    pub header: Header,
    /// Header and payload.
    pub bytes: Vec<u8>,
    /// Bytes of the header.
    pub head: usize,
}

impl Packet {
    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.head..]
    }
}

/// What one node sent on one connection.
pub struct Side {
    pub from: Endpoint,
    pub packets: Vec<Packet>,
    /// Bytes behind the last whole packet.
    pub rest: usize,
    /// Why the packets end before the bytes do.
    pub error: Option<WireError>,
}

/// One of the two connections of a session.
pub struct Conversation {
    pub socket: Socket,
    /// Agreed version; on the meta socket only its kind of header (100 or below).
    pub version: u32,
    pub features: u32,
    /// Client, server.
    pub sides: [Side; 2],
}

/// Next packet of a stream with headers of `version`; `None`: not all of it is there.
fn next(version: u32, bytes: &[u8]) -> Option<Result<Packet, WireError>> {
    let head = header_bytes(version);
    let header = match Header::decode(version, bytes.get(..head)?) {
        Ok(header) => header,
        Err(error) => return Some(Err(error)),
    };
    let whole = bytes.get(..head + header.length as usize)?;
    Some(Ok(Packet { header, bytes: whole.to_vec(), head }))
}

fn split(from: Endpoint, bytes: &[u8], opening: usize, version: u32) -> Side {
    let mut side = Side { from, packets: Vec::new(), rest: bytes.len(), error: None };
    while let Some(found) = next(if side.packets.len() < opening { 80 } else { version }, &bytes[bytes.len() - side.rest..]) {
        match found {
            Ok(packet) => {
                side.rest -= packet.bytes.len();
                side.packets.push(packet);
            }
            Err(error) => {
                side.error = Some(error);
                break;
            }
        }
    }
    side
}

/// The features packet that opens a stream behind `skip` other packets.
fn features(stream: &Stream, skip: usize) -> Option<Features> {
    let mut at = 0;
    for _ in 0..skip {
        at += next(80, &stream.bytes[at..])?.ok()?.bytes.len();
    }
    let packet = next(80, &stream.bytes[at..])?.ok()?;
    assert_eq!(packet.header.command, Command::ConnectionFeatures.number());
    Features::decode(packet.payload()).ok()
}

/// Splits a connection; `None`: it carried nothing.
pub fn converse(connection: &Connection) -> Option<Conversation> {
    let [client, server] = &connection.streams;
    let first = next(80, &client.bytes)?.unwrap();
    let opening = Command::from_number(first.header.command).unwrap();
    let (socket, version, flags, heads) = match opening {
        Command::InitialData => {
            let agreed = features(client, 1).zip(features(server, 0)).and_then(|(a, b)| a.agree(&b));
            let (version, flags) = agreed.unwrap_or((80, 0));
            (Socket::Data, version, flags, [2, 1])
        }
        Command::InitialMeta => {
            let new = |bytes: &[u8]| bytes.starts_with(&MAGIC_100);
            let version = if new(&client.bytes[8..]) || new(&server.bytes) { 101 } else { 94 };
            (Socket::Meta, version, 0, [1, 0])
        }
        other => panic!("a connection opens with {}", other.name()),
    };
    let sides = [
        split(connection.client, &client.bytes, heads[0], version),
        split(connection.server, &server.bytes, heads[1], version),
    ];
    Some(Conversation { socket, version, features: flags, sides })
}
