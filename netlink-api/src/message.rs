// SPDX-License-Identifier: GPL-2.0
//! One message of the family: user header and attributes (netlink-and-tools.md section 1).

use drbd_core::genl::{Attribute, Attributes};
use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

/// Minor of a message that is not about one.
pub const NO_MINOR: u32 = u32::MAX;
/// Name of the family.
pub const FAMILY: &str = "drbd";
/// Version of the family.
pub const VERSION: u8 = 1;

/// A request, reply or notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Command number, see [`drbd_core::genl::command`].
    pub command: u8,
    /// Minor, or [`NO_MINOR`].
    pub minor: u32,
    /// Flags of a request, return code of a reply.
    pub code: i32,
    /// The attributes, encoded.
    pub attributes: Vec<u8>,
}

impl Message {
    /// The first top-level container with this number.
    pub fn container(&self, number: u16) -> Option<Attribute<'_>> {
        Attributes::new(&self.attributes).find(number)
    }

    /// A member of a container as 32 bits.
    pub fn u32(&self, container: u16, number: u16) -> Option<u32> {
        self.container(container)?.inner().find(number)?.u32()
    }

    /// A member of a container as 64 bits.
    pub fn u64(&self, container: u16, number: u16) -> Option<u64> {
        self.container(container)?.inner().find(number)?.u64()
    }

    /// A member of a container as a flag.
    pub fn flag(&self, container: u16, number: u16) -> Option<bool> {
        Some(self.container(container)?.inner().find(number)?.u8()? != 0)
    }

    /// A member of a container as text.
    pub fn text(&self, container: u16, number: u16) -> Option<String> {
        let bytes = self.container(container)?.inner().find(number)?.string()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A member of a container as raw bytes.
    pub fn bytes(&self, container: u16, number: u16) -> Option<Vec<u8>> {
        Some(
            self.container(container)?
                .inner()
                .find(number)?
                .payload
                .to_vec(),
        )
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        8 + self.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..4].copy_from_slice(&self.minor.to_ne_bytes());
        buffer[4..8].copy_from_slice(&self.code.to_ne_bytes());
        buffer[8..8 + self.attributes.len()].copy_from_slice(&self.attributes);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let word = |at: usize| -> Result<[u8; 4], DecodeError> {
            bytes
                .get(at..at + 4)
                .and_then(|b| b.try_into().ok())
                .ok_or_else(|| {
                    DecodeError::from("a message of the drbd family has at least 8 bytes")
                })
        };
        Ok(Self {
            command: header.cmd,
            minor: u32::from_ne_bytes(word(0)?),
            code: i32::from_ne_bytes(word(4)?),
            attributes: bytes.get(8..).unwrap_or(&[]).to_vec(),
        })
    }
}
