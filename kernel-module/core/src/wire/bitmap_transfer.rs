// SPDX-License-Identifier: GPL-2.0
//! The exchange of a whole bitmap in either direction (wire-protocol.md section 12).

use super::rle::{BitReader, BitWriter};
use super::{check_length, Command, WireError};

/// Read access to the bits being sent. They may change between two calls.
pub trait Source {
    /// Number of bits.
    fn bits(&self) -> u64;
    /// Run of equal bits from a position: length and value; `None` at the end.
    fn run(&self, from: u64) -> Option<(u64, bool)>;
    /// Word `index`, 64 bits, padding zero.
    fn word(&self, index: u64) -> u64;
}

/// Where received bits go; they are ORed into what is there.
pub trait Sink {
    /// Sets bits `first..end`.
    fn set(&mut self, first: u64, end: u64);
    /// Sets the bits of a word.
    fn or_word(&mut self, index: u64, word: u64);
}

/// Words a full plain packet carries: as many as fit into 4096 bytes with the header (12.1).
pub const fn plain_words(header_bytes: usize) -> u64 {
    ((4096 - header_bytes) / 8) as u64
}

/// Progress of one transfer; the same for both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    bits: u64,
    /// Next bit.
    position: u64,
    header_bytes: usize,
    last_was_plain: bool,
    terminated: bool,
}

/// A piece to send: the command and the bytes of the payload in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// P_BITMAP or P_COMPRESSED_BITMAP.
    pub command: Command,
    /// Payload length.
    pub length: usize,
}

impl Transfer {
    /// At the start of a bitmap of `bits`; `header_bytes` is 8 or 16.
    pub const fn new(bits: u64, header_bytes: usize) -> Self {
        Self { bits, position: 0, header_bytes, last_was_plain: false, terminated: bits == 0 }
    }

    const fn words(&self) -> u64 {
        self.bits.div_ceil(64)
    }

    /// All bits were transferred, and the terminator too where one is due (12.1).
    pub const fn is_complete(&self) -> bool {
        self.position >= self.bits && (!self.last_was_plain || self.terminated)
    }

    /// Fills `out` (4096 bytes) with the payload of the next packet; `None` when complete.
    pub fn next_piece(&mut self, source: &impl Source, compress: bool, out: &mut [u8]) -> Option<Piece> {
        if self.position >= self.bits {
            if !self.last_was_plain || self.terminated {
                return None;
            }
            self.terminated = true;
            return Some(Piece { command: Command::Bitmap, length: 0 });
        }
        if compress {
            if let Some(piece) = self.compressed(source, out) {
                return Some(piece);
            }
        }
        Some(self.plain(source, out))
    }

    fn plain(&mut self, source: &impl Source, out: &mut [u8]) -> Piece {
        let first = self.position / 64;
        let count = plain_words(self.header_bytes).min(self.words() - first);
        for (offset, place) in (0..count).zip(out.chunks_exact_mut(8)) {
            place.copy_from_slice(&source.word(first + offset).to_le_bytes());
        }
        self.position = ((first + count) * 64).min(self.bits);
        self.last_was_plain = true;
        Piece { command: Command::Bitmap, length: count as usize * 8 }
    }

    /// One compressed packet, unless the plain one would be shorter (the fall-back rule of 12.2).
    fn compressed(&mut self, source: &impl Source, out: &mut [u8]) -> Option<Piece> {
        let room = (4096 - self.header_bytes).min(out.len());
        let (head, rest) = out.get_mut(..room)?.split_first_mut()?;
        let mut writer = BitWriter::new(rest);
        let mut position = self.position;
        let (mut run, first_is_set) = source.run(position)?;
        let mut value = first_is_set;
        while writer.put_run(run) {
            position += run;
            // The bits may change between two looks. A run of the value before would count as its opposite: it begins the next packet.
            match source.run(position).filter(|_| position < self.bits) {
                Some((next, is_set)) if is_set != value => (run, value) = (next, is_set),
                _ => break,
            }
        }
        let (bytes, unused) = writer.finish();
        if position - self.position < bytes as u64 * 8 {
            return None;
        }
        *head = 2 | unused << 4 | u8::from(first_is_set) << 7;
        self.position = position;
        self.last_was_plain = false;
        Some(Piece { command: Command::CompressedBitmap, length: bytes + 1 })
    }

    /// Takes in a P_BITMAP.
    pub fn receive_plain(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), WireError> {
        let first = self.position / 64;
        let count = if self.position >= self.bits { 0 } else { plain_words(self.header_bytes).min(self.words() - first) };
        check_length(Command::Bitmap, bytes, count as usize * 8, count as usize * 8)?;
        if count == 0 {
            self.terminated = true;
            return Ok(());
        }
        for (offset, chunk) in (0..count).zip(bytes.chunks_exact(8)) {
            let mut raw = [0; 8];
            raw.copy_from_slice(chunk);
            let word = u64::from_le_bytes(raw);
            if word != 0 {
                sink.or_word(first + offset, word);
            }
        }
        self.position = ((first + count) * 64).min(self.bits);
        self.last_was_plain = true;
        self.terminated = false;
        Ok(())
    }

    /// Takes in a P_COMPRESSED_BITMAP.
    pub fn receive_compressed(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), WireError> {
        check_length(Command::CompressedBitmap, bytes, 2, 4096 - self.header_bytes)?;
        let bad = |field, got| WireError::BadValue { command: Command::CompressedBitmap.number(), field, got };
        let head = bytes[0];
        if head & 0x0f != 2 {
            return Err(bad("encoding", u64::from(head & 0x0f)));
        }
        let mut value = head & 0x80 != 0;
        for run in BitReader::new(&bytes[1..], head >> 4 & 7) {
            let run = run.map_err(|_| bad("code word", self.position))?;
            let end = self.position.checked_add(run).filter(|end| *end <= self.bits).ok_or(bad("run length", run))?;
            if value {
                sink.set(self.position, end);
            }
            value = !value;
            self.position = end;
        }
        self.last_was_plain = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bits(Vec<bool>);

    impl Source for Bits {
        fn bits(&self) -> u64 {
            self.0.len() as u64
        }
        fn run(&self, from: u64) -> Option<(u64, bool)> {
            let value = *self.0.get(from as usize)?;
            Some((self.0[from as usize..].iter().take_while(|bit| **bit == value).count() as u64, value))
        }
        fn word(&self, index: u64) -> u64 {
            (0..64).filter(|bit| self.0.get((index * 64 + bit) as usize) == Some(&true)).fold(0, |word, bit| word | 1 << bit)
        }
    }

    impl Sink for Bits {
        fn set(&mut self, first: u64, end: u64) {
            self.0[first as usize..end as usize].fill(true);
        }
        fn or_word(&mut self, index: u64, word: u64) {
            for bit in (0..64).filter(|bit| word >> bit & 1 != 0) {
                self.0[(index * 64 + bit) as usize] = true;
            }
        }
    }

    fn transfer(source: &Bits, compress: bool, header: usize) -> Vec<(Command, usize)> {
        let mut target = Bits(vec![false; source.0.len()]);
        let (mut sender, mut receiver) = (Transfer::new(source.bits(), header), Transfer::new(source.bits(), header));
        let mut pieces = Vec::new();
        let mut buffer = [0u8; 4096];
        while let Some(piece) = sender.next_piece(source, compress, &mut buffer) {
            assert!(!receiver.is_complete());
            let payload = &buffer[..piece.length];
            match piece.command {
                Command::Bitmap => receiver.receive_plain(payload, &mut target).unwrap(),
                _ => receiver.receive_compressed(payload, &mut target).unwrap(),
            }
            pieces.push((piece.command, piece.length));
        }
        assert!(sender.is_complete() && receiver.is_complete());
        assert_eq!(source.0, target.0);
        pieces
    }

    #[test]
    fn a_plain_transfer_is_cut_as_recorded_and_ends_with_an_empty_packet() {
        let source = Bits((0..40_960).map(|bit| bit % 3 == 0).collect());
        let pieces = transfer(&source, false, 16);
        assert_eq!(pieces, [(Command::Bitmap, 4080), (Command::Bitmap, 1040), (Command::Bitmap, 0)]);
    }

    #[test]
    fn random_bitmaps_arrive_whole_in_every_mix_of_codes() {
        let mut state = 7u64;
        for round in 0..200u64 {
            let mut random = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state >> 33
            };
            let mut bits = Vec::new();
            while bits.len() < 20_000 + round as usize * 431 {
                let value = random() % 2 == 0;
                let run = if random() % 3 == 0 { random() % 5000 } else { random() % 4 };
                bits.extend(core::iter::repeat_n(value, run as usize));
            }
            let source = Bits(bits);
            transfer(&source, round % 2 == 0, if round % 3 == 0 { 8 } else { 16 });
        }
        let alternating = Bits((0..70_000).map(|bit| bit % 2 == 0).collect());
        assert_eq!(transfer(&alternating, true, 16)[0].0, Command::Bitmap, "alternating bits fall back to plain");
    }

    /// Flips the bit behind each run that it tells of, so that the next run has the value of the one before.
    struct Restless(core::cell::RefCell<Bits>);

    impl Source for Restless {
        fn bits(&self) -> u64 {
            self.0.borrow().bits()
        }
        fn run(&self, from: u64) -> Option<(u64, bool)> {
            let (length, value) = self.0.borrow().run(from)?;
            if let Some(next) = self.0.borrow_mut().0.get_mut((from + length) as usize) {
                *next = value;
            }
            Some((length, value))
        }
        fn word(&self, index: u64) -> u64 {
            self.0.borrow().word(index)
        }
    }

    #[test]
    fn what_is_set_all_the_time_arrives_however_the_bits_around_it_change() {
        let bits: Vec<bool> = (0..60_000).map(|bit| bit / 500 % 2 == 1 || bit % 7919 == 0).collect();
        let source = Restless(core::cell::RefCell::new(Bits(bits.clone())));
        let mut target = Bits(vec![false; bits.len()]);
        let (mut sender, mut receiver) = (Transfer::new(source.bits(), 16), Transfer::new(source.bits(), 16));
        let mut buffer = [0u8; 4096];
        while let Some(piece) = sender.next_piece(&source, true, &mut buffer) {
            let payload = &buffer[..piece.length];
            match piece.command {
                Command::Bitmap => receiver.receive_plain(payload, &mut target).unwrap(),
                _ => receiver.receive_compressed(payload, &mut target).unwrap(),
            }
        }
        assert!(receiver.is_complete());
        let after = source.0.into_inner();
        assert!((0..bits.len()).all(|bit| target.0[bit] || !bits[bit] || !after.0[bit]), "a bit was lost");
    }
}
