// SPDX-License-Identifier: GPL-2.0
//! What is on a device already, before metadata goes there (metadata.md 10.2).

/// Bytes at the beginning that are looked at.
pub const PROBED_BYTES: usize = 68 << 10;

/// Name of a physical volume of LVM.
pub const PHYSICAL_VOLUME: &str = "LVM2 physical volume signature";

/// A kind of data and, where it can be told, how much of the device it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Only zeros.
    Nothing,
    /// Something unknown.
    SomeData,
    /// Swap, LVM: refuses any change of size.
    Claimed(&'static str),
    /// A file system and its size in KiB.
    FileSystem(&'static str, u64),
}

/// Looks at the first [`PROBED_BYTES`].
pub fn probe(bytes: &[u8]) -> Existing {
    if bytes.iter().all(|b| *b == 0) {
        return Existing::Nothing;
    }
    let part = |at: usize, length: usize| bytes.get(at..at + length).unwrap_or(&[]);
    let le16 = |at| {
        part(at, 2)
            .try_into()
            .map_or(0, |b| u64::from(u16::from_le_bytes(b)))
    };
    let le32 = |at| {
        part(at, 4)
            .try_into()
            .map_or(0, |b| u64::from(u32::from_le_bytes(b)))
    };
    let le64 = |at| part(at, 8).try_into().map_or(0, u64::from_le_bytes);
    let be32 = |at| {
        part(at, 4)
            .try_into()
            .map_or(0, |b| u64::from(u32::from_be_bytes(b)))
    };
    let be64 = |at| part(at, 8).try_into().map_or(0, u64::from_be_bytes);
    let swap = [4096, 8192].into_iter().any(|page: usize| {
        let mark = part(page - 10, 10);
        mark == b"SWAP-SPACE" || mark == b"SWAPSPACE2"
    });
    if swap {
        return Existing::Claimed("swap space signature");
    }
    if part(0x218, 4) == b"LVM2" {
        return Existing::Claimed(PHYSICAL_VOLUME);
    }
    if le16(0x438) == 0xef53 {
        let name = if part(0x45c, 1).first().is_some_and(|b| b & 4 != 0) {
            "ext3 filesystem"
        } else {
            "ext2 filesystem"
        };
        let block_bytes = if le32(0x418) > 2 {
            4096
        } else {
            1024u64 << le32(0x418)
        };
        return Existing::FileSystem(name, le32(0x404).saturating_mul(block_bytes) / 1024);
    }
    if part(0, 4) == b"XFSB" {
        return Existing::FileSystem("xfs filesystem", be64(8).saturating_mul(be32(4)) / 1024);
    }
    if part(0x8000, 4) == b"JFS1" {
        return Existing::FileSystem(
            "JFS filesystem",
            le64(0x8008).saturating_mul(le32(0x8018)) / 1024,
        );
    }
    if part(0x10034, 8) == b"ReIsErFs" || part(0x10034, 9) == b"ReIsEr2Fs" {
        return Existing::FileSystem(
            "reiser filesystem",
            le32(0x10000).saturating_mul(le16(0x1002c)) / 1024,
        );
    }
    Existing::SomeData
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_apart_and_measured() {
        let mut bytes = vec![0u8; PROBED_BYTES];
        assert_eq!(probe(&bytes), Existing::Nothing);
        bytes[5] = 1;
        assert_eq!(probe(&bytes), Existing::SomeData);
        bytes[0x438..0x43a].copy_from_slice(&0xef53u16.to_le_bytes());
        bytes[0x404..0x408].copy_from_slice(&16384u32.to_le_bytes());
        bytes[0x418..0x41c].copy_from_slice(&2u32.to_le_bytes());
        bytes[0x45c] = 4;
        assert_eq!(
            probe(&bytes),
            Existing::FileSystem("ext3 filesystem", 65536)
        );
        bytes[4086..4096].copy_from_slice(b"SWAPSPACE2");
        assert_eq!(probe(&bytes), Existing::Claimed("swap space signature"));
    }
}
