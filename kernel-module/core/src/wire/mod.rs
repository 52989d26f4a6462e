// SPDX-License-Identifier: GPL-2.0
//! Packets of the DRBD 8.4 wire protocol, versions 86 to 101 (wire-protocol.md).
//!
//! * [`header`] — the three header formats and which one is in force (section 2).
//! * [`command`] — numbers, names and payload limits (section 3).
//! * [`packet`] — fixed layouts of writes, requests, acks and barriers (section 3.1).
//! * [`params`] — protocol, sync parameters, sizes, UUIDs, features (sections 4, 6, 8).
//! * [`rle`], [`bitmap_transfer`] — the bitmap exchange (section 12).
//!
//! Decoding checks the length once and returns an owned value, or a borrowed tail. What came and what was expected is in
//! [`WireError`]. Payload bytes never pass through here.

pub mod bitmap_transfer;
pub mod command;
pub mod header;
pub mod packet;
pub mod params;
pub mod rle;

pub use command::{Command, Socket};
pub use header::{Header, HeaderFormat};

/// What is wrong with a packet; the peer is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// The first bytes are no header of the agreed version.
    BadMagic {
        /// The magic number that came.
        got: u32,
    },
    /// The padding word of a 16-byte header is not zero.
    BadHeaderPadding {
        /// Its value.
        got: u32,
    },
    /// A command number without meaning in 8.4.
    UnknownCommand {
        /// The number.
        got: u16,
    },
    /// The command does not belong on this socket, or not at this point of the conversation.
    UnexpectedCommand {
        /// What came.
        got: u16,
        /// What was expected, where it was one thing.
        expected: Option<Command>,
    },
    /// The length does not fit the command.
    BadLength {
        /// The command.
        command: u16,
        /// Length that came.
        got: u32,
        /// Least length allowed.
        least: u32,
        /// Greatest length allowed.
        most: u32,
    },
    /// A range that is empty, not a multiple of 512 bytes, too long, or beyond the end of the device.
    BadRange {
        /// First sector.
        sector: u64,
        /// Length in bytes.
        size_bytes: u64,
    },
    /// A field has a value that is not allowed.
    BadValue {
        /// The command.
        command: u16,
        /// Which field.
        field: &'static str,
        /// The value.
        got: u64,
    },
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = |number: &u16| Command::from_number(*number).map_or("unknown packet", Command::name);
        match self {
            WireError::BadMagic { got } => write!(f, "bad magic {got:#010x}, expected the header of the agreed version"),
            WireError::BadHeaderPadding { got } => write!(f, "bad header padding {got:#010x}, expected 0"),
            WireError::UnknownCommand { got } => write!(f, "unknown packet {got:#06x}, expected one of protocol 8.4"),
            WireError::UnexpectedCommand { got, expected: Some(wanted) } => {
                write!(f, "unexpected packet {} ({got:#06x}), expected {}", name(got), wanted.name())
            }
            WireError::UnexpectedCommand { got, expected: None } => write!(f, "unexpected packet {} ({got:#06x})", name(got)),
            WireError::BadLength { command, got, least, most } => {
                write!(f, "{} with {got} bytes, expected {least} to {most}", name(command))
            }
            WireError::BadRange { sector, size_bytes } => {
                write!(f, "range of {size_bytes} bytes at sector {sector}, expected whole sectors within the device and the limit")
            }
            WireError::BadValue { command, field, got } => write!(f, "{}: value {got:#x} of {field} is not allowed", name(command)),
        }
    }
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    let mut raw = [0; 2];
    if let Some(part) = bytes.get(at..at + 2) {
        raw.copy_from_slice(part);
    }
    u16::from_be_bytes(raw)
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    if let Some(part) = bytes.get(at..at + 4) {
        raw.copy_from_slice(part);
    }
    u32::from_be_bytes(raw)
}

pub(crate) fn be64(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    if let Some(part) = bytes.get(at..at + 8) {
        raw.copy_from_slice(part);
    }
    u64::from_be_bytes(raw)
}

pub(crate) fn opaque8(bytes: &[u8], at: usize) -> [u8; 8] {
    let mut raw = [0; 8];
    if let Some(part) = bytes.get(at..at + 8) {
        raw.copy_from_slice(part);
    }
    raw
}

pub(crate) fn opaque4(bytes: &[u8], at: usize) -> [u8; 4] {
    let mut raw = [0; 4];
    if let Some(part) = bytes.get(at..at + 4) {
        raw.copy_from_slice(part);
    }
    raw
}

/// Refuses a payload whose length is outside `least..=most`.
pub(crate) fn check_length(command: Command, bytes: &[u8], least: usize, most: usize) -> Result<(), WireError> {
    if bytes.len() < least || bytes.len() > most {
        return Err(WireError::BadLength {
            command: command.number(),
            got: bytes.len() as u32,
            least: least as u32,
            most: most as u32,
        });
    }
    Ok(())
}

/// Checks a range named by the peer: not empty, whole sectors, at most `most_bytes`, inside the device (section 18).
pub fn check_range(sector: u64, size_bytes: u64, most_bytes: u64, device_sectors: u64) -> Result<(), WireError> {
    let end = sector.checked_add(size_bytes / 512);
    let fits = end.is_some_and(|end| end <= device_sectors);
    if size_bytes == 0 || size_bytes % 512 != 0 || size_bytes > most_bytes || !fits {
        return Err(WireError::BadRange { sector, size_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
