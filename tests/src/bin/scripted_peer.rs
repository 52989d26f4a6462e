// SPDX-License-Identifier: GPL-2.0
//! A peer that keeps to the protocol up to a point and then sends what no peer would: used in a
//! virtual machine against the driver (issue: "what wrong input gets").
//!
//! `scripted-peer ADDRESS:PORT [SEED [PART PARTS]]` plays every scenario once, or every PARTS-th beginning with PART, each on a
//! connection of its own, and prints a line for each that was not ended and a summary. Exit code 1: the driver stopped answering.

use drbd_core::wire::packet::Data;
use drbd_core::wire::params::Features;
use drbd_core::wire::{Command, Header, HeaderFormat};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long the driver may take to accept a new connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(40);
/// How long it may take to end a connection that offends it.
const END_LIMIT: Duration = Duration::from_secs(8);

struct Link {
    data: TcpStream,
    meta: TcpStream,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

fn packet(format: HeaderFormat, volume: u16, command: u16, length: u32, payload: &[u8]) -> Vec<u8> {
    let mut head = [0u8; 16];
    let header = Header {
        volume,
        command,
        length,
    };
    let bytes = header.encode(format, &mut head);
    [&head[..bytes], payload].concat()
}

fn connect(peer: SocketAddr) -> std::io::Result<Link> {
    let end = Instant::now() + CONNECT_LIMIT;
    loop {
        match try_connect(peer) {
            Ok(link) => return Ok(link),
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Both sockets and the agreement on version and features.
fn try_connect(peer: SocketAddr) -> std::io::Result<Link> {
    let open = |command: Command| -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&peer, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(6)))?;
        stream.set_nodelay(true)?;
        stream.write_all(&packet(HeaderFormat::V80, 0, command.number(), 0, &[]))?;
        Ok(stream)
    };
    let mut data = open(Command::InitialData)?;
    let meta = open(Command::InitialMeta)?;
    let features = Features::OURS.encode();
    data.write_all(&packet(
        HeaderFormat::V80,
        0,
        Command::ConnectionFeatures.number(),
        features.len() as u32,
        &features,
    ))?;
    let mut answer = [0u8; 80];
    data.read_exact(&mut answer)?;
    Ok(Link { data, meta })
}

/// What the driver says first is read and dropped, so that it never blocks on us.
fn drain(stream: &TcpStream) -> std::io::Result<std::thread::JoinHandle<bool>> {
    let mut reader = stream.try_clone()?;
    reader.set_read_timeout(Some(END_LIMIT))?;
    Ok(std::thread::spawn(move || {
        let mut buffer = [0u8; 4096];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return true,
                Err(_) => return false,
            }
        }
    }))
}

/// The parameters of a well-behaved fresh node, so that the driver reaches Connected.
fn introduce(link: &mut Link) -> std::io::Result<()> {
    let mut send = |volume: u16, command: Command, payload: &[u8]| {
        link.data
            .write_all(&packet(HeaderFormat::V100, volume, command.number(), payload.len() as u32, payload))
    };
    // protocol C, no policies, no algorithms
    let mut protocol = vec![0u8; 24];
    protocol[..4].copy_from_slice(&3u32.to_be_bytes());
    protocol.push(0);
    send(0, Command::Protocol, &protocol)?;
    let mut parameters = vec![0u8; 148];
    parameters[..4].copy_from_slice(&204_800u32.to_be_bytes());
    send(0, Command::SyncParam89, &parameters)?;
    let mut sizes = vec![0u8; 56];
    for (at, sectors) in [(0usize, 130_992u64), (8, 0), (16, 0)] {
        sizes[at..at + 8].copy_from_slice(&sectors.to_be_bytes());
    }
    sizes[24..28].copy_from_slice(&(1u32 << 20).to_be_bytes());
    send(0, Command::Sizes, &sizes)?;
    let mut uuids = vec![0u8; 48];
    uuids[..8].copy_from_slice(&4u64.to_be_bytes());
    uuids[32..40].copy_from_slice(&16_374u64.to_be_bytes());
    send(0, Command::Uuids, &uuids)?;
    // role Secondary (2), peer Unknown (0), conn WFReportParams (9), disk Inconsistent (4), pdsk DUnknown (6)
    let state: u32 = 2 | (9 << 4) | (4 << 9) | (6 << 13);
    send(0, Command::State, &state.to_be_bytes())
}

#[derive(Clone, Copy, Debug)]
enum Offence {
    TooShort,
    TooLong,
    Huge,
    RandomBody,
    ZeroBody,
    OnesBody,
    WrongVolume,
    WrongSocket,
}

const OFFENCES: [Offence; 8] = [
    Offence::TooShort,
    Offence::TooLong,
    Offence::Huge,
    Offence::RandomBody,
    Offence::ZeroBody,
    Offence::OnesBody,
    Offence::WrongVolume,
    Offence::WrongSocket,
];

fn offend(link: &mut Link, command: Command, offence: Offence, random: &mut Random) -> std::io::Result<()> {
    let (least, most) = command.length_limits();
    let body = least.min(4096) as usize;
    let number = command.number();
    let bytes = match offence {
        Offence::TooShort => packet(HeaderFormat::V100, 0, number, least.saturating_sub(1), &random.bytes(body.saturating_sub(1))),
        Offence::TooLong => packet(HeaderFormat::V100, 0, number, most.saturating_add(1), &random.bytes(64)),
        Offence::Huge => packet(HeaderFormat::V100, 0, number, u32::MAX, &random.bytes(64)),
        Offence::RandomBody => packet(HeaderFormat::V100, 0, number, body as u32, &random.bytes(body)),
        Offence::ZeroBody => packet(HeaderFormat::V100, 0, number, body as u32, &vec![0; body]),
        Offence::OnesBody => packet(HeaderFormat::V100, 0, number, body as u32, &vec![0xff; body]),
        Offence::WrongVolume => packet(HeaderFormat::V100, 999, number, body as u32, &random.bytes(body)),
        Offence::WrongSocket => packet(HeaderFormat::V100, 0, number, body as u32, &random.bytes(body)),
    };
    let on_meta = command.socket() == Some(drbd_core::wire::Socket::Meta);
    let swapped = matches!(offence, Offence::WrongSocket);
    if on_meta != swapped {
        link.meta.write_all(&bytes)
    } else {
        link.data.write_all(&bytes)
    }
}

/// Frames that are no packets at all, or unknown ones.
fn garbage(kind: u32, link: &mut Link, random: &mut Random) -> std::io::Result<()> {
    match kind {
        0 => link.data.write_all(&random.bytes(4096)),
        1 => link.meta.write_all(&random.bytes(4096)),
        2 => link.data.write_all(&packet(HeaderFormat::V100, 0, 0x7777, 24, &random.bytes(24))),
        3 => link.meta.write_all(&packet(HeaderFormat::V100, 0, 0x7777, 24, &random.bytes(24))),
        4 => link.data.write_all(&packet(HeaderFormat::V80, 0, Command::Ping.number(), 0, &[])),
        // half a header, then nothing: the driver must not wait for ever
        5 => link.data.write_all(&packet(HeaderFormat::V100, 0, 0, 64, &[])[..7]),
        _ => link.meta.write_all(&vec![0; 65536]),
    }
}

/// Announces data-integrity-alg for what it sends, then sends a write whose digest is not that of its data.
fn wrong_digest(link: &mut Link) -> std::io::Result<()> {
    let mut update = vec![0u8; 24];
    update[..4].copy_from_slice(&3u32.to_be_bytes());
    update.extend_from_slice(b"sha1\0");
    let mut write = Data { sector: 8, id: [1; 8], sequence: 1, flags: 0 }.encode().to_vec();
    write.extend_from_slice(&[0x55; 20]);
    write.extend_from_slice(&[0xaa; 4096]);
    for (command, payload) in [(Command::ProtocolUpdate, &update), (Command::Data, &write)] {
        link.data.write_all(&packet(HeaderFormat::V100, 0, command.number(), payload.len() as u32, payload))?;
    }
    Ok(())
}

fn play(peer: SocketAddr, introduced: bool, act: &mut dyn FnMut(&mut Link) -> std::io::Result<()>) -> std::io::Result<bool> {
    let mut link = connect(peer)?;
    let (data, meta) = (drain(&link.data)?, drain(&link.meta)?);
    if introduced {
        let _ = introduce(&mut link);
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = act(&mut link);
    std::thread::sleep(Duration::from_millis(100));
    let _ = link.meta.shutdown(std::net::Shutdown::Write);
    let _ = link.data.shutdown(std::net::Shutdown::Write);
    let closed = (data.join().unwrap_or(false), meta.join().unwrap_or(false));
    Ok(closed.0 && closed.1)
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(peer) = arguments.get(1).and_then(|a| a.parse::<SocketAddr>().ok()) else {
        eprintln!("usage: scripted-peer ADDRESS:PORT [SEED [PART PARTS]]");
        return std::process::ExitCode::from(2);
    };
    let number = |at: usize, default: u64| arguments.get(at).and_then(|a| a.parse().ok()).unwrap_or(default);
    let mut random = Random(number(2, 1).max(1) * 0x9e37_79b9_7f4a_7c15);
    let (part, parts) = (number(3, 0), number(4, 1).max(1));
    let (mut scenario, mut played, mut hanging) = (0u64, 0u64, 0u64);
    let mut step = |name: String, introduced: bool, act: &mut dyn FnMut(&mut Link, &mut Random) -> std::io::Result<()>| -> bool {
        scenario += 1;
        if scenario % parts != part {
            return true;
        }
        played += 1;
        match play(peer, introduced, &mut |link| act(link, &mut random)) {
            Ok(true) => true,
            Ok(false) => {
                hanging += 1;
                println!("{scenario} {name}: connection not ended by the driver");
                true
            }
            Err(error) => {
                println!("{scenario} {name}: the driver does not connect any more: {error}");
                false
            }
        }
    };
    for introduced in [false, true] {
        for kind in 0..7 {
            let name = format!("garbage {kind} introduced {introduced}");
            if !step(name, introduced, &mut |link, random| garbage(kind, link, random)) {
                return std::process::ExitCode::FAILURE;
            }
        }
        for command in Command::ALL {
            for offence in OFFENCES {
                let name = format!("{} {offence:?} introduced {introduced}", command.name());
                if !step(name, introduced, &mut |link, random| offend(link, *command, offence, random)) {
                    return std::process::ExitCode::FAILURE;
                }
            }
        }
    }
    if !step("a write whose digest is wrong".into(), true, &mut |link, _| wrong_digest(link)) {
        return std::process::ExitCode::FAILURE;
    }
    println!("played {played} scenarios, {hanging} connections not ended");
    std::process::ExitCode::SUCCESS
}
