// SPDX-License-Identifier: GPL-2.0
//! Packet headers (wire-protocol.md section 2).

use super::{be16, be32, Command, WireError};

const MAGIC_80: u32 = 0x8374_0267;
const MAGIC_95: u16 = 0x835a;
const MAGIC_100: u32 = 0x8620_ec20;
/// Longest payload an 80 header is used for from version 95 on.
const LARGE: u32 = 32768;

/// Layout of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderFormat {
    /// 8 bytes, 16-bit length.
    V80,
    /// 8 bytes, 32-bit length.
    V95,
    /// 16 bytes with a volume.
    V100,
}

/// A decoded header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Volume it concerns; 0 in the short formats.
    pub volume: u16,
    /// Command number as it came; see [`Command::from_number`].
    pub command: u16,
    /// Bytes that follow.
    pub length: u32,
}

/// Longest header.
pub const MAX_HEADER_BYTES: usize = 16;

/// Header bytes to read for an agreed version (80 before the agreement).
pub const fn header_bytes(version: u32) -> usize {
    if version >= 100 {
        16
    } else {
        8
    }
}

impl HeaderFormat {
    /// What this node sends for an agreed version and a payload length (section 2.4).
    pub const fn for_version(version: u32, length: u32) -> Self {
        if version >= 100 {
            HeaderFormat::V100
        } else if version >= 95 && length > LARGE {
            HeaderFormat::V95
        } else {
            HeaderFormat::V80
        }
    }

    /// Bytes of the header.
    pub const fn bytes(self) -> usize {
        match self {
            HeaderFormat::V100 => 16,
            _ => 8,
        }
    }
}

impl Header {
    /// A header for a known command.
    pub const fn new(volume: u16, command: Command, length: u32) -> Self {
        Self { volume, command: command.number(), length }
    }

    /// Encodes into the start of `out` (at least 16 bytes); returns the bytes written.
    pub fn encode(&self, format: HeaderFormat, out: &mut [u8]) -> usize {
        let mut raw = [0u8; 16];
        let words: [&[u8]; 2] = match format {
            HeaderFormat::V80 => [&MAGIC_80.to_be_bytes(), &[]],
            HeaderFormat::V95 => [&MAGIC_95.to_be_bytes(), &self.command.to_be_bytes()],
            HeaderFormat::V100 => [&MAGIC_100.to_be_bytes(), &self.volume.to_be_bytes()],
        };
        let mut at = 0;
        for part in words {
            raw[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        match format {
            HeaderFormat::V80 => {
                raw[4..6].copy_from_slice(&self.command.to_be_bytes());
                raw[6..8].copy_from_slice(&(self.length as u16).to_be_bytes());
            }
            HeaderFormat::V95 => raw[4..8].copy_from_slice(&self.length.to_be_bytes()),
            HeaderFormat::V100 => {
                raw[6..8].copy_from_slice(&self.command.to_be_bytes());
                raw[8..12].copy_from_slice(&self.length.to_be_bytes());
            }
        }
        let bytes = format.bytes();
        if let Some(place) = out.get_mut(..bytes) {
            place.copy_from_slice(&raw[..bytes]);
        }
        bytes
    }

    /// Decodes a header of [`header_bytes`] bytes for an agreed version. Below 100 both short formats are accepted.
    pub fn decode(version: u32, bytes: &[u8]) -> Result<Self, WireError> {
        let magic = be32(bytes, 0);
        if version >= 100 {
            if bytes.len() < 16 || magic != MAGIC_100 {
                return Err(WireError::BadMagic { got: magic });
            }
            let padding = be32(bytes, 12);
            if padding != 0 {
                return Err(WireError::BadHeaderPadding { got: padding });
            }
            return Ok(Self { volume: be16(bytes, 4), command: be16(bytes, 6), length: be32(bytes, 8) });
        }
        if bytes.len() >= 8 && magic == MAGIC_80 {
            return Ok(Self { volume: 0, command: be16(bytes, 4), length: u32::from(be16(bytes, 6)) });
        }
        if bytes.len() >= 8 && be16(bytes, 0) == MAGIC_95 {
            return Ok(Self { volume: 0, command: be16(bytes, 2), length: be32(bytes, 4) });
        }
        Err(WireError::BadMagic { got: magic })
    }

    /// The command, refused when it is unknown or its length is out of its limits.
    pub fn known_command(&self) -> Result<Command, WireError> {
        let command = Command::from_number(self.command).ok_or(WireError::UnknownCommand { got: self.command })?;
        let (least, most) = command.length_limits();
        if self.length < least || self.length > most {
            return Err(WireError::BadLength { command: self.command, got: self.length, least, most });
        }
        Ok(command)
    }
}
