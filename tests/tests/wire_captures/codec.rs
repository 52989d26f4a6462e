// SPDX-License-Identifier: GPL-2.0
//! One packet through core: header, limits, typed payload, and back to bytes.

use crate::packets::Packet;
use drbd_core::state::State;
use drbd_core::wire::packet::{
    decode_barrier, decode_barrier_ack, decode_state_change, decode_sync_uuid, decode_word, encode_barrier, encode_barrier_ack,
    encode_state_change, BlockAck, BlockRange, BlockRequest, Data, Discard,
};
use drbd_core::wire::params::{Features, Protocol, Sizes, SyncParam, UuidsPacket};
use drbd_core::wire::{Command, Header, HeaderFormat, Socket, WireError};

/// What a connection has agreed on.
#[derive(Clone, Copy)]
pub struct Agreed {
    pub socket: Socket,
    pub version: u32,
    pub features: u32,
}

/// A payload: what a typed codec made of it, and the part that is opaque to core (data, digests, code).
struct Coded {
    fixed: Vec<u8>,
    /// Padding within `fixed`, which a C peer fills with garbage.
    padding: std::ops::Range<usize>,
    opaque: usize,
}

fn exact(bytes: impl Into<Vec<u8>>) -> Coded {
    Coded { fixed: bytes.into(), padding: 0..0, opaque: 0 }
}

/// Decodes and encodes; an error when core refuses the packet, a panic when it does not come back as it was.
pub fn round_trip(agreed: Agreed, packet: &Packet) -> Result<Command, WireError> {
    let command = packet.header.known_command()?;
    if command.socket().is_some_and(|socket| socket != agreed.socket) {
        return Err(WireError::UnexpectedCommand { got: command.number(), expected: None });
    }
    let payload = packet.payload();
    let coded = recode(agreed, command, payload)?;
    let name = command.name();
    assert_eq!(coded.fixed.len() + coded.opaque, payload.len(), "{name}");
    for (at, (ours, theirs)) in coded.fixed.iter().zip(payload).enumerate() {
        assert!(ours == theirs || coded.padding.contains(&at), "{name}: byte {at} of {payload:02x?}");
    }
    let opening = matches!(command, Command::InitialData | Command::InitialMeta | Command::ConnectionFeatures);
    let format = HeaderFormat::for_version(if opening { 80 } else { agreed.version }, payload.len() as u32);
    let mut head = [0; 16];
    let length = Header::new(packet.header.volume, command, payload.len() as u32).encode(format, &mut head);
    assert_eq!(head[..length], packet.bytes[..packet.head], "header of {name}");
    Ok(command)
}

fn recode(agreed: Agreed, command: Command, payload: &[u8]) -> Result<Coded, WireError> {
    let head = |bytes: usize| payload.get(..bytes).unwrap_or(payload);
    Ok(match command {
        Command::Data | Command::DataReply | Command::RsDataReply => {
            let fixed = Data::decode(command, head(Data::BYTES))?.encode();
            Coded { opaque: payload.len() - Data::BYTES, ..exact(fixed) }
        }
        Command::Trim | Command::Zeroes => exact(Discard::decode(command, payload)?.encode()),
        Command::DataRequest | Command::RsDataRequest | Command::RsThinReq | Command::OvRequest | Command::OvReply | Command::CsumRsRequest => {
            let fixed = BlockRequest::decode(command, head(BlockRequest::BYTES))?.encode();
            Coded { padding: 20..24, opaque: payload.len() - BlockRequest::BYTES, ..exact(fixed) }
        }
        Command::RecvAck
        | Command::WriteAck
        | Command::RsWriteAck
        | Command::Superseded
        | Command::NegAck
        | Command::NegDReply
        | Command::NegRsDReply
        | Command::OvResult
        | Command::RsIsInSync
        | Command::RsCancel
        | Command::RetryWrite => exact(BlockAck::decode(command, payload)?.encode()),
        Command::OutOfSync | Command::RsDeallocated => {
            Coded { padding: 12..16, ..exact(BlockRange::decode(command, payload)?.encode()) }
        }
        Command::Barrier => Coded { padding: 4..8, ..exact(encode_barrier(decode_barrier(payload)?)) },
        Command::BarrierAck => {
            let (number, set_size) = decode_barrier_ack(payload)?;
            exact(encode_barrier_ack(number, set_size))
        }
        Command::StateChgReq | Command::ConnStChgReq => {
            let (mask, value) = decode_state_change(command, payload)?;
            exact(encode_state_change(mask, value))
        }
        Command::StateChgReply | Command::ConnStChgReply => exact(decode_word(command, payload)?.to_be_bytes()),
        Command::State => exact(State::unpack(decode_word(command, payload)?).expect("a state vector").pack().to_be_bytes()),
        Command::SyncUuid => exact(decode_sync_uuid(payload)?.to_be_bytes()),
        _ => return recode_parameters(agreed, command, payload),
    })
}

/// Packets of the handshake, bitmaps, and those without a payload.
fn recode_parameters(agreed: Agreed, command: Command, payload: &[u8]) -> Result<Coded, WireError> {
    Ok(match command {
        Command::ConnectionFeatures => exact(Features::decode(payload)?.encode()),
        Command::Protocol | Command::ProtocolUpdate => {
            let mut out = [0xee; Protocol::MAX_BYTES];
            let length = Protocol::decode(command, agreed.version, payload)?.encode(agreed.version, &mut out);
            exact(&out[..length])
        }
        Command::SyncParam | Command::SyncParam89 => {
            assert_eq!(command, SyncParam::command(agreed.version));
            let mut out = [0xee; SyncParam::MAX_BYTES];
            let length = SyncParam::decode(agreed.version, payload)?.encode(agreed.version, &mut out);
            exact(&out[..length])
        }
        Command::Sizes => {
            let mut out = [0xee; Sizes::MAX_BYTES];
            let length = Sizes::decode(agreed.features, payload)?.encode(&mut out);
            exact(&out[..length])
        }
        Command::Uuids => exact(UuidsPacket::decode(payload)?.encode()),
        // Opaque to this layer; `bitmaps.rs` plays whole transfers.
        Command::Bitmap | Command::CompressedBitmap => Coded { opaque: payload.len(), ..exact([]) },
        // Random bytes and digests.
        Command::AuthChallenge | Command::AuthResponse | Command::DelayProbe => Coded { opaque: payload.len(), ..exact([]) },
        Command::UnplugRemote | Command::Ping | Command::PingAck | Command::InitialMeta | Command::InitialData => exact([]),
        other => panic!("{} has no codec", other.name()),
    })
}
