// SPDX-License-Identifier: GPL-2.0
//! Recorded frames back to the byte streams of TCP connections: classic pcap, Ethernet, IPv4, TCP.

use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Address and port.
pub type Endpoint = ([u8; 4], u16);

/// One direction of a connection.
#[derive(Default)]
pub struct Stream {
    first: u32,
    /// Bytes in order, as far as they are without a gap.
    pub bytes: Vec<u8>,
    early: BTreeMap<usize, Vec<u8>>,
}

impl Stream {
    fn add(&mut self, sequence: u32, payload: &[u8]) {
        let at = sequence.wrapping_sub(self.first).wrapping_sub(1) as usize;
        if !payload.is_empty() && at < 1 << 31 {
            self.early.insert(at, payload.to_vec());
        }
        while let Some((&at, _)) = self.early.first_key_value().filter(|(at, _)| **at <= self.bytes.len()) {
            let payload = self.early.remove(&at).unwrap();
            let known = (self.bytes.len() - at).min(payload.len());
            self.bytes.extend_from_slice(&payload[known..]);
        }
    }
}

/// A TCP connection.
pub struct Connection {
    /// Who connected.
    pub client: Endpoint,
    /// Who listened.
    pub server: Endpoint,
    /// Client to server, server to client.
    pub streams: [Stream; 2],
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn le32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// All TCP connections of a capture, in the order of their first SYN.
pub fn read(path: &Path) -> Vec<Connection> {
    let mut file = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut file).unwrap();
    assert_eq!(le32(&file, 0), 0xa1b2_c3d4, "{}", path.display());
    assert_eq!(le32(&file, 20), 1, "Ethernet");
    let mut connections = Vec::new();
    let mut at = 24;
    while at + 16 <= file.len() {
        let length = le32(&file, at + 8);
        assert_eq!(length, le32(&file, at + 12), "no frame is cut");
        segment(&mut connections, &file[at + 16..at + 16 + length]);
        at += 16 + length;
    }
    assert_eq!(at, file.len());
    connections
}

fn segment(connections: &mut Vec<Connection>, frame: &[u8]) {
    assert_eq!(be16(frame, 12), 0x0800, "IPv4");
    let ip = &frame[14..];
    let ip = &ip[..usize::from(be16(ip, 2))];
    let tcp = &ip[usize::from(ip[0] & 0xf) * 4..];
    let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
    let from = (ip[12..16].try_into().unwrap(), be16(tcp, 0));
    let to = (ip[16..20].try_into().unwrap(), be16(tcp, 2));
    let (sequence, syn, ack) = (be32(tcp, 4), tcp[13] & 2 != 0, tcp[13] & 16 != 0);
    let known = connections.iter_mut().rev().find(|c| (c.client, c.server) == (from, to) || (c.client, c.server) == (to, from));
    if syn && !ack {
        let repeated = known.is_some_and(|c| c.streams[0].first == sequence);
        if !repeated {
            let start = Stream { first: sequence, ..Stream::default() };
            connections.push(Connection { client: from, server: to, streams: [start, Stream::default()] });
        }
        return;
    }
    let Some(connection) = known else { return };
    let direction = usize::from(connection.client != from);
    if syn {
        connection.streams[1].first = sequence;
    } else {
        connection.streams[direction].add(sequence, payload);
    }
}
