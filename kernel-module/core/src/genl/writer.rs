// SPDX-License-Identifier: GPL-2.0
//! Writing attributes into a lent buffer.

use super::{MANDATORY, NESTED};

/// Appends attributes; remembers when the buffer was too small.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    overflow: bool,
    mark: u16,
}

/// A container that is open; give it to [`Writer::end`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Open(usize);

impl<'a> Writer<'a> {
    /// As the kernel writes: no marks on inner attributes.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0, overflow: false, mark: 0 }
    }

    /// As the tools write: inner attributes carry the mandatory mark when `marked`.
    pub fn mark(&mut self, marked: bool) {
        self.mark = if marked { MANDATORY } else { 0 };
    }

    /// Bytes written; `None`: the buffer was too small.
    pub fn finish(&self) -> Option<usize> {
        (!self.overflow).then_some(self.length)
    }

    fn append(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + bytes.len()) {
            Some(place) if !self.overflow => {
                place.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            _ => self.overflow = true,
        }
    }

    fn pad(&mut self) {
        let missing = self.length.div_ceil(4) * 4 - self.length;
        self.append([0u8; 4].get(..missing).unwrap_or(&[]));
    }

    /// Any payload, in up to two parts.
    fn put(&mut self, kind: u16, payload: &[u8], tail: &[u8]) {
        let length = 4 + payload.len() + tail.len();
        let Ok(length) = u16::try_from(length) else {
            self.overflow = true;
            return;
        };
        self.append(&length.to_ne_bytes());
        self.append(&kind.to_ne_bytes());
        self.append(payload);
        self.append(tail);
        self.pad();
    }

    /// Raw bytes.
    pub fn bytes(&mut self, number: u16, payload: &[u8]) {
        self.put(number | self.mark, payload, &[]);
    }

    /// A string; the NUL is added.
    pub fn string(&mut self, number: u16, text: &[u8]) {
        self.put(number | self.mark, text, &[0]);
    }

    /// One byte.
    pub fn u8(&mut self, number: u16, value: u8) {
        self.put(number | self.mark, &[value], &[]);
    }

    /// 32 bits.
    pub fn u32(&mut self, number: u16, value: u32) {
        self.put(number | self.mark, &value.to_ne_bytes(), &[]);
    }

    /// 64 bits.
    pub fn u64(&mut self, number: u16, value: u64) {
        self.put(number | self.mark, &value.to_ne_bytes(), &[]);
    }

    /// Opens a container. The kernel leaves the nested bit out for containers 1, 2 and 8 (netlink-and-tools.md section 1).
    pub fn begin(&mut self, number: u16, nested: bool) -> Open {
        let start = self.length;
        let kind = if nested { number | NESTED } else { number };
        self.append(&0u16.to_ne_bytes());
        self.append(&kind.to_ne_bytes());
        Open(start)
    }

    /// Opens a container the way the kernel does.
    pub fn begin_reply(&mut self, number: u16) -> Open {
        self.begin(number, !matches!(number, 1 | 2 | 8))
    }

    /// Closes a container.
    pub fn end(&mut self, open: Open) {
        let length = self.length.saturating_sub(open.0);
        match (u16::try_from(length), self.buffer.get_mut(open.0..open.0 + 2)) {
            (Ok(length), Some(place)) => place.copy_from_slice(&length.to_ne_bytes()),
            _ => self.overflow = true,
        }
    }

    /// Appends bytes that are attributes already (an echoed CFG_CONTEXT).
    pub fn raw(&mut self, attributes: &[u8]) {
        self.append(attributes);
        self.pad();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Attributes;
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut buffer = [0u8; 128];
        let mut writer = Writer::new(&mut buffer);
        let open = writer.begin_reply(3);
        writer.string(1, b"/dev/sda");
        writer.u32(2, 7);
        writer.u64(3, 1 << 40);
        writer.u8(4, 1);
        writer.end(open);
        let length = writer.finish().unwrap();
        let container = Attributes::new(&buffer[..length]).next().unwrap().unwrap();
        assert_eq!((container.number, container.nested), (3, true));
        assert_eq!(container.inner().find(1).unwrap().string(), Some(&b"/dev/sda"[..]));
        assert_eq!(container.inner().find(2).unwrap().u32(), Some(7));
        assert_eq!(container.inner().find(3).unwrap().u64(), Some(1 << 40));
        assert_eq!(container.inner().count(), 4);
    }

    #[test]
    fn a_small_buffer_is_reported_and_garbage_ends_the_iteration() {
        let mut buffer = [0u8; 10];
        let mut writer = Writer::new(&mut buffer);
        writer.u64(1, 1);
        assert_eq!(writer.finish(), None);
        for length in 0..40 {
            let bytes = vec![0xffu8; length];
            assert!(Attributes::new(&bytes).count() <= 1);
        }
    }
}
