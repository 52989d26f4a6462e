// SPDX-License-Identifier: GPL-2.0
//! Fixed layouts (wire-protocol.md section 3.1).

use super::{be32, be64, check_length, opaque4, opaque8, Command, WireError};

/// The block_id of resync traffic.
pub const SYNCER_ID: [u8; 8] = [0xff; 8];
/// The block_id of a P_OV_RESULT for equal blocks.
pub const VERIFY_EQUAL_ID: [u8; 8] = 4711u64.to_be_bytes();
/// The block_id of a P_OV_RESULT for blocks that differ.
pub const VERIFY_DIFFERENT_ID: [u8; 8] = 4712u64.to_be_bytes();

/// dp_flags (section 3.2).
pub mod data_flags {
    /// Synchronous request.
    pub const RW_SYNC: u32 = 2;
    /// The sender is in a sync state: the receiver may mark the range in sync.
    pub const MAY_SET_IN_SYNC: u32 = 4;
    /// Force unit access.
    pub const FUA: u32 = 16;
    /// Preflush.
    pub const FLUSH: u32 = 32;
    /// Discard, or a zero-out that may unmap.
    pub const DISCARD: u32 = 64;
    /// The sender wants P_RECV_ACK.
    pub const SEND_RECEIVE_ACK: u32 = 128;
    /// The sender wants P_WRITE_ACK.
    pub const SEND_WRITE_ACK: u32 = 256;
    /// Zero-out.
    pub const ZEROES: u32 = 1024;
}

/// Head of P_DATA, P_DATA_REPLY and P_RS_DATA_REPLY; digest and payload follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Data {
    /// First sector.
    pub sector: u64,
    /// Identity given by the requesting side, echoed.
    pub id: [u8; 8],
    /// Sequence number (section 9.1); 0 in replies.
    pub sequence: u32,
    /// See [`data_flags`].
    pub flags: u32,
}

impl Data {
    /// Encoded size in bytes.
    pub const BYTES: usize = 24;

    /// Encodes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..8].copy_from_slice(&self.sector.to_be_bytes());
        out[8..16].copy_from_slice(&self.id);
        out[16..20].copy_from_slice(&self.sequence.to_be_bytes());
        out[20..24].copy_from_slice(&self.flags.to_be_bytes());
        out
    }

    /// Decodes the head of `command`.
    pub fn decode(command: Command, bytes: &[u8]) -> Result<Self, WireError> {
        check_length(command, bytes, Self::BYTES, Self::BYTES)?;
        Ok(Self { sector: be64(bytes, 0), id: opaque8(bytes, 8), sequence: be32(bytes, 16), flags: be32(bytes, 20) })
    }
}

/// P_TRIM and P_ZEROES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discard {
    /// As in a write.
    pub data: Data,
    /// Length of the range in bytes.
    pub size_bytes: u32,
}

impl Discard {
    /// Encoded size in bytes.
    pub const BYTES: usize = 28;

    /// Encodes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[..24].copy_from_slice(&self.data.encode());
        out[24..28].copy_from_slice(&self.size_bytes.to_be_bytes());
        out
    }

    /// Decodes.
    pub fn decode(command: Command, bytes: &[u8]) -> Result<Self, WireError> {
        check_length(command, bytes, Self::BYTES, Self::BYTES)?;
        Ok(Self { data: Data::decode(command, &bytes[..24])?, size_bytes: be32(bytes, 24) })
    }
}

/// A request for a block: P_DATA_REQUEST, P_RS_DATA_REQUEST, P_OV_REQUEST, P_RS_THIN_REQ, and the head of P_OV_REPLY and P_CSUM_RS_REQUEST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRequest {
    /// First sector.
    pub sector: u64,
    /// Identity, echoed in the answer.
    pub id: [u8; 8],
    /// Length in bytes.
    pub size_bytes: u32,
}

impl BlockRequest {
    /// Encoded size in bytes.
    pub const BYTES: usize = 24;

    /// Encodes; the padding is zero.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..8].copy_from_slice(&self.sector.to_be_bytes());
        out[8..16].copy_from_slice(&self.id);
        out[16..20].copy_from_slice(&self.size_bytes.to_be_bytes());
        out
    }

    /// Decodes; the padding is ignored (it is garbage from a C peer, section 19.5).
    pub fn decode(command: Command, bytes: &[u8]) -> Result<Self, WireError> {
        check_length(command, bytes, Self::BYTES, Self::BYTES)?;
        Ok(Self { sector: be64(bytes, 0), id: opaque8(bytes, 8), size_bytes: be32(bytes, 16) })
    }
}

/// An acknowledgement of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockAck {
    /// First sector, echoed.
    pub sector: u64,
    /// Identity, echoed.
    pub id: [u8; 8],
    /// Length in bytes.
    pub size_bytes: u32,
    /// Sequence number (section 9.1).
    pub sequence: u32,
}

impl BlockAck {
    /// Encoded size in bytes.
    pub const BYTES: usize = 24;

    /// Encodes.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..8].copy_from_slice(&self.sector.to_be_bytes());
        out[8..16].copy_from_slice(&self.id);
        out[16..20].copy_from_slice(&self.size_bytes.to_be_bytes());
        out[20..24].copy_from_slice(&self.sequence.to_be_bytes());
        out
    }

    /// Decodes.
    pub fn decode(command: Command, bytes: &[u8]) -> Result<Self, WireError> {
        check_length(command, bytes, Self::BYTES, Self::BYTES)?;
        Ok(Self { sector: be64(bytes, 0), id: opaque8(bytes, 8), size_bytes: be32(bytes, 16), sequence: be32(bytes, 20) })
    }
}

/// P_OUT_OF_SYNC and P_RS_DEALLOCATED.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRange {
    /// First sector.
    pub sector: u64,
    /// Length in bytes.
    pub size_bytes: u32,
}

impl BlockRange {
    /// Encoded size in bytes.
    pub const BYTES: usize = 16;

    /// Encodes; the padding is zero.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        out[0..8].copy_from_slice(&self.sector.to_be_bytes());
        out[8..12].copy_from_slice(&self.size_bytes.to_be_bytes());
        out
    }

    /// Decodes.
    pub fn decode(command: Command, bytes: &[u8]) -> Result<Self, WireError> {
        check_length(command, bytes, Self::BYTES, Self::BYTES)?;
        Ok(Self { sector: be64(bytes, 0), size_bytes: be32(bytes, 8) })
    }
}

/// P_BARRIER: the number is the sender's own, any four bytes.
pub fn encode_barrier(number: [u8; 4]) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&number);
    out
}

/// The number of a P_BARRIER.
pub fn decode_barrier(bytes: &[u8]) -> Result<[u8; 4], WireError> {
    check_length(Command::Barrier, bytes, 8, 8)?;
    Ok(opaque4(bytes, 0))
}

/// P_BARRIER_ACK.
pub fn encode_barrier_ack(number: [u8; 4], set_size: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&number);
    out[4..].copy_from_slice(&set_size.to_be_bytes());
    out
}

/// Number and set size of a P_BARRIER_ACK.
pub fn decode_barrier_ack(bytes: &[u8]) -> Result<([u8; 4], u32), WireError> {
    check_length(Command::BarrierAck, bytes, 8, 8)?;
    Ok((opaque4(bytes, 0), be32(bytes, 4)))
}

/// Mask and value of a state change request.
pub fn encode_state_change(mask: u32, value: u32) -> [u8; 8] {
    let mut out = [0; 8];
    out[..4].copy_from_slice(&mask.to_be_bytes());
    out[4..].copy_from_slice(&value.to_be_bytes());
    out
}

/// Mask and value of P_STATE_CHG_REQ or P_CONN_ST_CHG_REQ.
pub fn decode_state_change(command: Command, bytes: &[u8]) -> Result<(u32, u32), WireError> {
    check_length(command, bytes, 8, 8)?;
    Ok((be32(bytes, 0), be32(bytes, 4)))
}

/// The one 32-bit word of P_STATE and of the replies to state changes.
pub fn decode_word(command: Command, bytes: &[u8]) -> Result<u32, WireError> {
    check_length(command, bytes, 4, 4)?;
    Ok(be32(bytes, 0))
}

/// The UUID of a P_SYNC_UUID.
pub fn decode_sync_uuid(bytes: &[u8]) -> Result<u64, WireError> {
    check_length(Command::SyncUuid, bytes, 8, 8)?;
    Ok(be64(bytes, 0))
}
