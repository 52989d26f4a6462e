// SPDX-License-Identifier: GPL-2.0
//! The run-length code of P_COMPRESSED_BITMAP (wire-protocol.md 12.2).

/// A level of the code: (prefix value, prefix bits, data bits, first run length).
type Level = (u64, u32, u32, u64);

const LEVELS: [Level; 10] = [
    (0x00, 1, 1, 1),
    (0x01, 2, 1, 3),
    (0x03, 3, 2, 5),
    (0x07, 4, 3, 9),
    (0x0f, 5, 5, 17),
    (0x1f, 6, 8, 49),
    (0x3f, 8, 13, 305),
    (0x7f, 8, 21, 8_497),
    (0xbf, 8, 34, 2_105_649),
    (0xff, 8, 56, 17_181_974_833),
];

/// A code word that is no code word, or a run length of 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadCode;

/// Writes a bit stream, least significant bit first.
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut [u8],
    bits: usize,
}

impl<'a> BitWriter<'a> {
    /// An empty stream over `out`, which is cleared.
    pub fn new(out: &'a mut [u8]) -> Self {
        out.fill(0);
        Self { out, bits: 0 }
    }

    /// Appends the code word of a run (>= 1); `false`: it does not fit, nothing was written.
    pub fn put_run(&mut self, run: u64) -> bool {
        let Some(&(prefix, prefix_bits, data_bits, first)) = LEVELS.iter().rev().find(|level| run >= level.3) else {
            return false;
        };
        let word = (run - first) << prefix_bits | prefix;
        let length = (prefix_bits + data_bits) as usize;
        if self.bits + length > self.out.len() * 8 {
            return false;
        }
        for bit in 0..length {
            if word >> bit & 1 != 0 {
                let at = self.bits + bit;
                if let Some(byte) = self.out.get_mut(at / 8) {
                    *byte |= 1 << (at % 8);
                }
            }
        }
        self.bits += length;
        true
    }

    /// Bytes in use, and unused bits of the last.
    pub fn finish(self) -> (usize, u8) {
        let bytes = self.bits.div_ceil(8);
        (bytes, (bytes * 8 - self.bits) as u8)
    }
}

/// Reads runs from a bit stream.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
    end: usize,
}

impl<'a> BitReader<'a> {
    /// A stream whose last byte has `unused_bits` unused bits (0..7).
    pub fn new(bytes: &'a [u8], unused_bits: u8) -> Self {
        let end = (bytes.len() * 8).saturating_sub(usize::from(unused_bits & 7));
        Self { bytes, position: 0, end }
    }

    fn peek(&self) -> u64 {
        let first = self.position / 8;
        let shift = self.position % 8;
        let mut word = 0u128;
        for index in 0..9 {
            word |= u128::from(self.bytes.get(first + index).copied().unwrap_or(0)) << (8 * index);
        }
        (word >> shift) as u64
    }
}

impl Iterator for BitReader<'_> {
    type Item = Result<u64, BadCode>;

    /// The next run length.
    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        let word = self.peek();
        let level = LEVELS.iter().find(|level| word & ((1 << level.1) - 1) == level.0);
        let Some(&(_, prefix_bits, data_bits, first)) = level else { return Some(Err(BadCode)) };
        let length = (prefix_bits + data_bits) as usize;
        if self.position + length > self.end {
            self.position = self.end;
            return Some(Err(BadCode));
        }
        self.position += length;
        let data = word >> prefix_bits & (u64::MAX >> (64 - data_bits));
        Some(first.checked_add(data).ok_or(BadCode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(runs: &[u64]) -> (Vec<u8>, u8) {
        let mut buffer = [0u8; 256];
        let mut writer = BitWriter::new(&mut buffer);
        for run in runs {
            assert!(writer.put_run(*run));
        }
        let (bytes, unused) = writer.finish();
        (buffer[..bytes].to_vec(), unused)
    }

    #[test]
    fn the_recorded_examples_are_reproduced() {
        assert_eq!(encode(&[1014]), (vec![0x3f, 0xc5, 0x02], 3));
        assert_eq!(encode(&[2038]), (vec![0x3f, 0xc5, 0x06], 3));
        assert_eq!(encode(&[32, 16, 1990]), (vec![0xef, 0xdd, 0x7f, 0x2a, 0x0d], 2));
    }

    #[test]
    fn every_level_boundary_survives_a_round_trip() {
        let mut runs = Vec::new();
        for level in LEVELS {
            runs.extend([level.3, level.3 + 1, level.3 + (1u64 << level.2) - 1]);
        }
        let (bytes, unused) = encode(&runs);
        let back: Result<Vec<u64>, _> = BitReader::new(&bytes, unused).collect();
        assert_eq!(back, Ok(runs));
    }

    #[test]
    fn any_bytes_decode_to_runs_or_an_error_without_looping() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let bytes = state.to_le_bytes();
            let count = BitReader::new(&bytes, (state >> 3) as u8).take(100).count();
            assert!(count <= 65);
        }
    }
}
