// SPDX-License-Identifier: GPL-2.0
//! Reading attributes from a buffer. The sender may be anybody: every length is checked, nothing panics.

use super::{NESTED, TYPE_MASK};

/// One attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attribute<'a> {
    /// Type without its flag bits.
    pub number: u16,
    /// The nested bit was set.
    pub nested: bool,
    /// Payload.
    pub payload: &'a [u8],
}

/// The buffer is no sequence of attributes. The sender is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Attributes in order of appearance.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Over a message body or the payload of a container.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first attribute with this number; malformed remains are ignored.
    pub fn find(self, number: u16) -> Option<Attribute<'a>> {
        self.flatten().find(|attribute| attribute.number == number)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header: [u8; 4] = match self.rest.get(..4).and_then(|bytes| bytes.try_into().ok()) {
            Some(header) => header,
            None => {
                self.rest = &[];
                return Some(Err(Malformed));
            }
        };
        let [l0, l1, t0, t1] = header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let kind = u16::from_ne_bytes([t0, t1]);
        let Some(payload) = self.rest.get(4..length) else {
            self.rest = &[];
            return Some(Err(Malformed));
        };
        let next = length.div_ceil(4) * 4;
        self.rest = self.rest.get(next..).unwrap_or(&[]);
        Some(Ok(Attribute { number: kind & TYPE_MASK, nested: kind & NESTED != 0, payload }))
    }
}

impl<'a> Attribute<'a> {
    /// As one byte.
    pub fn u8(&self) -> Option<u8> {
        self.payload.first().copied()
    }

    /// As 32 bits.
    pub fn u32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.payload.get(..4)?.try_into().ok()?))
    }

    /// As 64 bits.
    pub fn u64(&self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.payload.get(..8)?.try_into().ok()?))
    }

    /// As a string without its NUL; `None` without one.
    pub fn string(&self) -> Option<&'a [u8]> {
        let end = self.payload.iter().position(|byte| *byte == 0)?;
        self.payload.get(..end)
    }

    /// The attributes inside.
    pub const fn inner(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }
}
