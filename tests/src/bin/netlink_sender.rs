// SPDX-License-Identifier: GPL-2.0
//! Sends recorded netlink requests to the family `drbd` byte for byte and prints what comes back, in the format of
//! `fixtures/netlink`. For tests in virtual machines.
//!
//!     netlink-sender replay FILE            every request of FILE, each from a socket of its own
//!     netlink-sender sweep                  takes every resource down, whatever its name
//!     netlink-sender damage SEED COUNT FILE...  COUNT damaged copies of the requests in these files, chosen by SEED
//!
//! Family ids are printed as in the recordings (26), so that the output does not depend on the boot.

use drbd_core::genl::{command, container, Attributes, NESTED, NO_MINOR};
use netlink_api::family;
use netlink_api::replay::{parse_runs, to_hex, Step};
use netlink_sys::{protocols::NETLINK_GENERIC, Socket, SocketAddr};
use std::error::Error;
use std::time::{Duration, Instant};

/// The family in the recordings.
const RECORDED_FAMILY: u16 = 26;
/// nlmsghdr type of a refusal, which repeats the request.
const ERROR: u16 = 2;
/// How long an expected answer may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long to listen for more than what is expected.
const QUIET: Duration = Duration::from_millis(150);
/// Most datagrams printed for one request: what never ends is cut here.
const MOST: usize = 6;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["replay", file] => replay(file),
        ["sweep"] => sweep(),
        ["damage", seed, count, files @ ..] => damage(seed.parse()?, count.parse()?, files),
        _ => Err("usage: netlink-sender replay FILE | sweep | damage SEED COUNT FILE...".into()),
    }
}

/// A socket of its own, and the family's number of this boot.
fn open() -> Outcome<(Socket, u16)> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.send_to(&family::lookup(1), &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let found = family::answer(&answer)?;
    socket.set_non_blocking(true)?;
    socket.set_ext_ack(true)?;
    Ok((socket, found.id))
}

fn exchange_family(message: &mut [u8], from: u16, to: u16) {
    if let Some(place) = message.get_mut(4..6) {
        if *place == from.to_ne_bytes() {
            place.copy_from_slice(&to.to_ne_bytes());
        }
    }
}

/// The same in every message of a datagram, and in the request that a refusal repeats.
fn as_recorded(datagram: &mut [u8], family: u16) {
    let mut at = 0;
    while let Some(header) = datagram.get(at..at + 6) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let end = (at + length.max(16)).min(datagram.len());
        exchange_family(&mut datagram[at..end], family, RECORDED_FAMILY);
        if kind == ERROR && at + 20 < end {
            exchange_family(&mut datagram[at + 20..end], family, RECORDED_FAMILY);
        }
        at += length.max(16).div_ceil(4) * 4;
    }
}

fn receive(socket: &Socket, limit: Duration) -> Option<Vec<u8>> {
    let end = Instant::now() + limit;
    loop {
        match socket.recv_from_full() {
            Ok((datagram, _)) => return Some(datagram),
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            Err(_) => return None,
        }
    }
}

fn replay(file: &str) -> Outcome<()> {
    for run in parse_runs(&std::fs::read_to_string(file)?) {
        println!("== {}", run.title);
        let expected = run.steps.iter().filter(|step| matches!(step, Step::Received(_))).count();
        for step in &run.steps {
            let Step::Sent(request) = step else { continue };
            let (socket, family) = open()?;
            let mut request = request.clone();
            println!("> {}", to_hex(&request));
            exchange_family(&mut request, RECORDED_FAMILY, family);
            socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
            let mut got = 0;
            while got < MOST {
                let limit = if got < expected { LIMIT } else { QUIET };
                let Some(mut datagram) = receive(&socket, limit) else { break };
                as_recorded(&mut datagram, family);
                println!("< {}", to_hex(&datagram));
                got += 1;
                let ends_dump = datagram.get(4..6) == Some(&3u16.to_ne_bytes()[..]);
                if ends_dump {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// xorshift64*: the same damage for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }
}

/// Bits flipped, bytes replaced, lengths changed, cut, or attributes of another request added; the headers stay as they are.
fn damaged(request: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    const HEADERS: usize = 28;
    let mut bytes = request.to_vec();
    for _ in 0..=dice.below(3) {
        let body = bytes.len().saturating_sub(HEADERS);
        match dice.below(6) {
            0 if body > 0 => bytes[HEADERS + dice.below(body)] ^= 1 << dice.below(8),
            1 if body > 0 => bytes[HEADERS + dice.below(body)] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            2 => bytes.truncate(HEADERS + dice.below(body + 1)),
            3 => bytes.extend_from_slice(other.get(HEADERS..).unwrap_or(&[])),
            4 if body >= 4 => bytes[HEADERS + dice.below(body / 4) * 4] = dice.below(256) as u8,
            // another minor, another command
            _ => bytes[if dice.below(2) == 0 { 20 } else { 16 }] = dice.below(45) as u8,
        }
    }
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

fn damage(seed: u64, count: usize, files: &[&str]) -> Outcome<()> {
    let mut requests = Vec::new();
    for file in files {
        for run in parse_runs(&std::fs::read_to_string(file)?) {
            requests.extend(run.steps.into_iter().filter_map(|step| match step {
                Step::Sent(bytes) if bytes.len() >= 28 && bytes[4..6] == RECORDED_FAMILY.to_ne_bytes() => Some(bytes),
                _ => None,
            }));
        }
    }
    if requests.is_empty() {
        return Err("no requests in these files".into());
    }
    let mut dice = Dice(seed | 1);
    let (mut answered, mut refused, mut slowest) = (0u32, 0u32, Duration::ZERO);
    let (mut socket, mut family) = open()?;
    for round in 0..count {
        let (one, other) = (dice.below(requests.len()), dice.below(requests.len()));
        let mut request = damaged(&requests[one], &requests[other], &mut dice);
        exchange_family(&mut request, RECORDED_FAMILY, family);
        let asked = Instant::now();
        socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
        let Some(answer) = receive(&socket, Duration::from_secs(100)) else {
            return Err(format!("round {round}: no answer to {}", to_hex(&request)).into());
        };
        slowest = slowest.max(asked.elapsed());
        if answer.get(4..6) == Some(&ERROR.to_ne_bytes()[..]) {
            refused += 1;
        } else {
            answered += 1;
        }
        // parts of a dump may follow: a new socket has none of them
        if round % 16 == 15 || request[7] & 3 != 0 {
            (socket, family) = open()?;
        }
    }
    println!("{count} damaged requests: {answered} answered, {refused} refused, the slowest after {} ms", slowest.as_millis());
    Ok(())
}

/// A request of the family without a minor.
fn request(family: u16, command: u8, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let mut bytes = (28 + attributes.len() as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&family.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[command, 1, 0, 0]);
    bytes.extend_from_slice(&NO_MINOR.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(attributes);
    bytes
}

/// An attribute, padded.
fn attribute(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + payload.len() as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&number.to_ne_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().div_ceil(4) * 4, 0);
    bytes
}

fn sweep() -> Outcome<()> {
    const DUMP: u16 = 0x301;
    let (socket, family) = open()?;
    socket.send_to(&request(family, command::GET_RESOURCES, DUMP, &[]), &SocketAddr::new(0, 0), 0)?;
    let mut names = Vec::new();
    'dump: loop {
        let datagram = receive(&socket, LIMIT).ok_or("the dump has no end")?;
        let mut rest = datagram.as_slice();
        while let Some(header) = rest.get(..16) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            if header[4..6] != family.to_ne_bytes() {
                break 'dump;
            }
            let attributes = Attributes::new(rest.get(28..length).unwrap_or(&[]));
            let context = attributes.find(container::CFG_CONTEXT);
            names.extend(context.and_then(|found| found.inner().find(2)?.string().map(<[u8]>::to_vec)));
            rest = rest.get(length.div_ceil(4) * 4..).unwrap_or(&[]);
        }
    }
    for name in &names {
        let (socket, family) = open()?;
        let mut terminated = name.clone();
        terminated.push(0);
        let context = attribute(container::CFG_CONTEXT | NESTED, &attribute(2, &terminated));
        socket.send_to(&request(family, command::DOWN, 1, &context), &SocketAddr::new(0, 0), 0)?;
        let answer = receive(&socket, Duration::from_secs(100)).ok_or("no answer to DOWN")?;
        let code = answer.get(24..28).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        if code != Some(drbd_core::genl::ret::NO_ERROR) {
            return Err(format!("DOWN {:?}: {}", String::from_utf8_lossy(name), to_hex(&answer)).into());
        }
    }
    println!("{} resources taken down", names.len());
    Ok(())
}
