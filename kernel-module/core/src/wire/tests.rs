// SPDX-License-Identifier: GPL-2.0
//! Real packets of the reference (wire-protocol.md appendix A), and inverses.

use super::packet::{BlockAck, BlockRequest, Data, Discard};
use super::params::{Features, Protocol, QueueLimits, Sizes, UuidsPacket};
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn headers_of_all_three_formats_are_as_recorded() {
    let mut out = [0u8; 16];
    let header = Header::new(0, Command::InitialData, 0);
    assert_eq!(header.encode(HeaderFormat::for_version(80, 0), &mut out), 8);
    assert_eq!(out[..8], hex("83740267 fff20000"));
    let header = Header::new(0, Command::Data, 0x20018);
    assert_eq!(header.encode(HeaderFormat::for_version(95, 0x20018), &mut out), 8);
    assert_eq!(out[..8], hex("835a0000 00020018"));
    let header = Header::new(1, Command::State, 4);
    assert_eq!(header.encode(HeaderFormat::for_version(101, 4), &mut out), 16);
    assert_eq!(out[..], hex("8620ec20 0001000e 00000004 00000000"));
    assert_eq!(Header::decode(101, &out), Ok(header));
}

#[test]
fn wrong_headers_are_refused_with_what_came() {
    let short = hex("83740267 000e0004 00000000 00000000");
    assert_eq!(Header::decode(101, &short), Err(WireError::BadMagic { got: 0x83740267 }));
    let padding = hex("8620ec20 00000007 00000000 00000001");
    assert_eq!(Header::decode(100, &padding), Err(WireError::BadHeaderPadding { got: 1 }));
    assert_eq!(Header { volume: 0, command: 0x2e, length: 0 }.known_command(), Err(WireError::UnknownCommand { got: 0x2e }));
    assert!(matches!(Header::new(0, Command::Barrier, 12).known_command(), Err(WireError::BadLength { got: 12, .. })));
}

#[test]
fn recorded_payloads_decode_and_encode_to_the_same_bytes() {
    let bytes = hex("00000000 00000080 c0b1ce03 000011ff 00000005 00000142 00010000");
    let trim = Discard::decode(Command::Trim, &bytes).unwrap();
    assert_eq!((trim.data.sector, trim.size_bytes, trim.data.flags), (128, 65536, 0x142));
    assert_eq!(trim.encode()[..], bytes);
    let bytes = hex("00000000 00000000 c081ce03 000011ff 00001000 00000001");
    let ack = BlockAck::decode(Command::WriteAck, &bytes).unwrap();
    assert_eq!((ack.size_bytes, ack.sequence), (4096, 1));
    assert_eq!(ack.encode()[..], bytes);
    let bytes = hex("00000000 00000000 ffffffff ffffffff 00007000 00000000");
    assert_eq!(BlockRequest::decode(Command::RsDataRequest, &bytes).unwrap().encode()[..], bytes);
    let bytes = hex("00000000 00003fb0 00000000 00000000 00000000 00003fb0 00100000 00000000 00000200 00000200 00000000 00000200 00000000 01000000");
    let sizes = Sizes::decode(15, &bytes).unwrap();
    assert_eq!((sizes.disk_sectors, sizes.max_bio_bytes, sizes.limits.unwrap().discard), (16304, 1 << 20, true));
    let mut out = [0; 56];
    assert_eq!(sizes.encode(&mut out), 56);
    assert_eq!(out[..], bytes);
    let bytes = hex("00000003 00000000 00000000 00000000 00000000 00000000 00");
    let protocol = Protocol::decode(Command::Protocol, 101, &bytes).unwrap();
    let mut out = [0; 88];
    let length = protocol.encode(101, &mut out);
    assert_eq!(out[..length], bytes);
}

#[test]
fn features_agree_on_the_lower_maximum() {
    assert_eq!(Features::OURS.encode()[..12], hex("00000056 0000000f 00000065"));
    let old = Features { lowest: 80, highest: 85, flags: 0 };
    assert_eq!(Features::OURS.agree(&old), None);
    let peer = Features { lowest: 86, highest: 99, flags: 0xff };
    assert_eq!(Features::OURS.agree(&peer), Some((99, 15)));
}

#[test]
fn ranges_of_the_peer_are_checked_without_overflow() {
    assert!(check_range(0, 4096, 1 << 20, 8).is_ok());
    for (sector, size) in [(0, 0), (0, 100), (0, 2 << 20), (8, 512), (u64::MAX, 512), (u64::MAX - 1, 1 << 20)] {
        assert_eq!(check_range(sector, size, 1 << 20, 8), Err(WireError::BadRange { sector, size_bytes: size }));
    }
}

/// No decoder panics, whatever comes.
#[test]
fn random_bytes_never_panic() {
    let mut state = 42u64;
    let mut buffer = [0u8; 160];
    for _ in 0..100_000 {
        for chunk in buffer.chunks_mut(8) {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let raw = state.to_le_bytes();
            chunk.copy_from_slice(&raw[..chunk.len()]);
        }
        let bytes = &buffer[..(state >> 40) as usize % 160];
        let _ = Header::decode(101, bytes).map(|header| header.known_command());
        let _ = Header::decode(90, bytes);
        let _ = Data::decode(Command::Data, bytes);
        for version in [86, 87, 88, 89, 95, 101] {
            let _ = Protocol::decode(Command::Protocol, version, bytes);
            let _ = params::SyncParam::decode(version, bytes);
        }
        let _ = Sizes::decode((state >> 20) as u32, bytes).map(|sizes| sizes.limits.unwrap_or(QueueLimits::default()));
        let _ = UuidsPacket::decode(bytes);
        let _ = Features::decode(bytes);
    }
}
