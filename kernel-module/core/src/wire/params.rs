// SPDX-License-Identifier: GPL-2.0
//! Packets of the handshake: features, protocol, sync parameters, sizes, UUIDs (wire-protocol.md sections 4, 6, 8).

use super::{be16, be32, be64, check_length, Command, WireError};

/// Lowest protocol version this driver speaks.
pub const PROTOCOL_MIN: u32 = 86;
/// Highest protocol version this driver speaks.
pub const PROTOCOL_MAX: u32 = 101;

/// Feature bits (section 4).
pub mod features {
    /// P_TRIM may be sent.
    pub const TRIM: u32 = 1;
    /// P_RS_THIN_REQ and P_RS_DEALLOCATED.
    pub const THIN_RESYNC: u32 = 2;
    /// P_SIZES carries the limits of the backing device.
    pub const WSAME: u32 = 4;
    /// P_ZEROES.
    pub const WZEROES: u32 = 8;
    /// What this driver offers.
    pub const OURS: u32 = TRIM | THIN_RESYNC | WSAME | WZEROES;
}

/// P_CONNECTION_FEATURES.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// Lowest version understood.
    pub lowest: u32,
    /// Highest version understood.
    pub highest: u32,
    /// Feature bits.
    pub flags: u32,
}

impl Features {
    /// What this driver says.
    pub const OURS: Features = Features { lowest: PROTOCOL_MIN, highest: PROTOCOL_MAX, flags: features::OURS };

    /// Encodes.
    pub fn encode(&self) -> [u8; 72] {
        let mut out = [0; 72];
        out[0..4].copy_from_slice(&self.lowest.to_be_bytes());
        out[4..8].copy_from_slice(&self.flags.to_be_bytes());
        out[8..12].copy_from_slice(&self.highest.to_be_bytes());
        out
    }

    /// Decodes; a maximum of 0 counts as the minimum.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_length(Command::ConnectionFeatures, bytes, 72, 72)?;
        let lowest = be32(bytes, 0);
        let highest = match be32(bytes, 8) {
            0 => lowest,
            highest => highest,
        };
        Ok(Self { lowest, highest, flags: be32(bytes, 4) })
    }

    /// Version and features both sides understand; `None`: no common version.
    pub fn agree(&self, peer: &Features) -> Option<(u32, u32)> {
        let overlap = self.lowest <= peer.highest && peer.lowest <= self.highest;
        overlap.then_some((self.highest.min(peer.highest), self.flags & peer.flags))
    }
}

/// P_PROTOCOL and P_PROTOCOL_UPDATE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol<'a> {
    /// 1 = A, 2 = B, 3 = C.
    pub protocol: u32,
    /// after-sb-0pri.
    pub after_sb_0p: u32,
    /// after-sb-1pri.
    pub after_sb_1p: u32,
    /// after-sb-2pri.
    pub after_sb_2p: u32,
    /// The sender wants to discard its data.
    pub discard_my_data: bool,
    /// The sender only wants to see what would happen.
    pub dry_run: bool,
    /// Two primaries allowed.
    pub two_primaries: bool,
    /// Integrity algorithm, without the NUL.
    pub integrity: &'a [u8],
}

/// An algorithm name in a field: up to the NUL. `None`: no NUL.
fn name(field: &[u8]) -> Option<&[u8]> {
    let end = field.iter().position(|byte| *byte == 0)?;
    field.get(..end)
}

fn named(command: Command, field: &[u8]) -> Result<&[u8], WireError> {
    name(field).ok_or(WireError::BadValue { command: command.number(), field: "algorithm name without end", got: field.len() as u64 })
}

impl<'a> Protocol<'a> {
    /// Longest encoding.
    pub const MAX_BYTES: usize = 24 + 64;

    /// Encodes for an agreed version; returns the length.
    pub fn encode(&self, version: u32, out: &mut [u8; 88]) -> usize {
        let flags = u32::from(self.discard_my_data) | u32::from(self.dry_run && version >= 92) << 1;
        let words = [self.protocol, self.after_sb_0p, self.after_sb_1p, self.after_sb_2p, flags, u32::from(self.two_primaries)];
        for (place, word) in out.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        if version < 87 {
            return 24;
        }
        let length = self.integrity.len().min(63);
        out[24..24 + length].copy_from_slice(&self.integrity[..length]);
        out[24 + length] = 0;
        24 + length + 1
    }

    /// Decodes.
    pub fn decode(command: Command, version: u32, bytes: &'a [u8]) -> Result<Self, WireError> {
        let integrity = if version >= 87 {
            check_length(command, bytes, 25, Self::MAX_BYTES)?;
            named(command, &bytes[24..])?
        } else {
            check_length(command, bytes, 24, 24)?;
            &[]
        };
        Ok(Self {
            protocol: be32(bytes, 0),
            after_sb_0p: be32(bytes, 4),
            after_sb_1p: be32(bytes, 8),
            after_sb_2p: be32(bytes, 12),
            discard_my_data: be32(bytes, 16) & 1 != 0,
            dry_run: version >= 92 && be32(bytes, 16) & 2 != 0,
            two_primaries: be32(bytes, 20) != 0,
            integrity,
        })
    }
}

/// P_SYNC_PARAM and P_SYNC_PARAM89.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncParam<'a> {
    /// Fixed resync rate in KiB/s.
    pub resync_rate: u32,
    /// Verify algorithm (version >= 88).
    pub verify: &'a [u8],
    /// Checksum algorithm (version >= 89).
    pub csums: &'a [u8],
    /// Controller settings (version >= 95).
    pub controller: Option<Controller>,
}

/// Settings of the resync controller on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Controller {
    /// c-plan-ahead in 0.1 s.
    pub plan_ahead: u32,
    /// c-delay-target in 0.1 s.
    pub delay_target: u32,
    /// c-fill-target in sectors.
    pub fill_target: u32,
    /// c-max-rate in KiB/s.
    pub max_rate: u32,
}

impl<'a> SyncParam<'a> {
    /// Longest encoding.
    pub const MAX_BYTES: usize = 148;

    /// The command for an agreed version.
    pub const fn command(version: u32) -> Command {
        if version >= 89 {
            Command::SyncParam89
        } else {
            Command::SyncParam
        }
    }

    /// Encodes for an agreed version; returns the length.
    pub fn encode(&self, version: u32, out: &mut [u8; 148]) -> usize {
        *out = [0; 148];
        out[0..4].copy_from_slice(&self.resync_rate.to_be_bytes());
        if version < 88 {
            return 4;
        }
        let verify = self.verify.len().min(63);
        out[4..4 + verify].copy_from_slice(&self.verify[..verify]);
        if version < 89 {
            return 4 + verify + 1;
        }
        let csums = self.csums.len().min(63);
        out[68..68 + csums].copy_from_slice(&self.csums[..csums]);
        let (95.., Some(c)) = (version, self.controller) else { return 132 };
        for (place, word) in out[132..148].chunks_exact_mut(4).zip([c.plan_ahead, c.delay_target, c.fill_target, c.max_rate]) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        148
    }

    /// Decodes; the length has to be that of the version exactly.
    pub fn decode(version: u32, bytes: &'a [u8]) -> Result<Self, WireError> {
        let command = Self::command(version);
        let (least, most) = match version {
            0..=87 => (4, 4),
            88 => (5, 68),
            89..=94 => (132, 132),
            _ => (148, 148),
        };
        check_length(command, bytes, least, most)?;
        let (mut verify, mut csums): (&[u8], &[u8]) = (&[], &[]);
        if version == 88 {
            verify = named(command, &bytes[4..])?;
        } else if version >= 89 {
            verify = named(command, &bytes[4..68])?;
            csums = named(command, &bytes[68..132])?;
        }
        let controller = (version >= 95).then(|| Controller {
            plan_ahead: be32(bytes, 132),
            delay_target: be32(bytes, 136),
            fill_target: be32(bytes, 140),
            max_rate: be32(bytes, 144),
        });
        Ok(Self { resync_rate: be32(bytes, 0), verify, csums, controller })
    }
}

/// P_SIZES.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Usable size of the backing disk in sectors, 0 when diskless.
    pub disk_sectors: u64,
    /// Size limit of the administrator in sectors, 0 for none.
    pub user_sectors: u64,
    /// Current size of the replicated device in sectors; 0 asks for an answer.
    pub current_sectors: u64,
    /// Largest bio in bytes.
    pub max_bio_bytes: u32,
    /// Resize was forced.
    pub forced: bool,
    /// Do not resync the grown area.
    pub no_resync: bool,
    /// Limits of the backing device, with feature WSAME.
    pub limits: Option<QueueLimits>,
}

/// The part of P_SIZES that comes with feature WSAME.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueLimits {
    /// Physical block size in bytes.
    pub physical_block_bytes: u32,
    /// Logical block size in bytes.
    pub logical_block_bytes: u32,
    /// Alignment offset in bytes.
    pub alignment_offset_bytes: u32,
    /// Minimum I/O size in bytes.
    pub io_min_bytes: u32,
    /// Optimal I/O size in bytes.
    pub io_opt_bytes: u32,
    /// The disk can discard.
    pub discard: bool,
}

impl Sizes {
    /// Longest encoding.
    pub const MAX_BYTES: usize = 56;

    /// Encodes; with limits 56 bytes, without 32.
    pub fn encode(&self, out: &mut [u8; Self::MAX_BYTES]) -> usize {
        *out = [0; Self::MAX_BYTES];
        out[0..8].copy_from_slice(&self.disk_sectors.to_be_bytes());
        out[8..16].copy_from_slice(&self.user_sectors.to_be_bytes());
        out[16..24].copy_from_slice(&self.current_sectors.to_be_bytes());
        out[24..28].copy_from_slice(&self.max_bio_bytes.to_be_bytes());
        let flags = u16::from(self.forced) | u16::from(self.no_resync) << 1;
        out[30..32].copy_from_slice(&flags.to_be_bytes());
        let Some(limits) = self.limits else { return 32 };
        let words = [
            limits.physical_block_bytes,
            limits.logical_block_bytes,
            limits.alignment_offset_bytes,
            limits.io_min_bytes,
            limits.io_opt_bytes,
        ];
        for (place, word) in out[32..52].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        out[52] = u8::from(limits.discard);
        56
    }

    /// Decodes; `features` decides the length.
    pub fn decode(features: u32, bytes: &[u8]) -> Result<Self, WireError> {
        let long = features & self::features::WSAME != 0;
        let length = if long { 56 } else { 32 };
        check_length(Command::Sizes, bytes, length, length)?;
        let limits = long.then(|| QueueLimits {
            physical_block_bytes: be32(bytes, 32),
            logical_block_bytes: be32(bytes, 36),
            alignment_offset_bytes: be32(bytes, 40),
            io_min_bytes: be32(bytes, 44),
            io_opt_bytes: be32(bytes, 48),
            discard: bytes[52] != 0,
        });
        let flags = be16(bytes, 30);
        Ok(Self {
            disk_sectors: be64(bytes, 0),
            user_sectors: be64(bytes, 8),
            current_sectors: be64(bytes, 16),
            max_bio_bytes: be32(bytes, 24),
            forced: flags & 1 != 0,
            no_resync: flags & 2 != 0,
            limits,
        })
    }
}

/// P_UUIDS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UuidsPacket {
    /// Current, bitmap, history 0, history 1.
    pub uuids: [u64; 4],
    /// Dirty bits at the sender.
    pub dirty_bits: u64,
    /// See [`uuid_flags`].
    pub flags: u64,
}

/// Flags of P_UUIDS (section 8).
pub mod uuid_flags {
    /// The sender wants to discard its data.
    pub const DISCARD_MY_DATA: u64 = 1;
    /// The sender crashed while Primary.
    pub const CRASHED_PRIMARY: u64 = 2;
    /// The disk was found Inconsistent at a late attach.
    pub const INCONSISTENT: u64 = 4;
    /// Skip the initial sync.
    pub const SKIP_INITIAL_SYNC: u64 = 8;
}

impl UuidsPacket {
    /// Encodes.
    pub fn encode(&self) -> [u8; 48] {
        let mut out = [0; 48];
        let [current, bitmap, history_0, history_1] = self.uuids;
        for (place, word) in out.chunks_exact_mut(8).zip([current, bitmap, history_0, history_1, self.dirty_bits, self.flags]) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// Decodes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        check_length(Command::Uuids, bytes, 48, 48)?;
        let word = |index: usize| be64(bytes, index * 8);
        Ok(Self { uuids: [word(0), word(1), word(2), word(3)], dirty_bits: word(4), flags: word(5) })
    }
}

/// Largest bio in bytes an agreed version allows (section 4.1).
pub const fn max_bio_bytes(version: u32) -> u32 {
    match version {
        0..=94 => 32768,
        95..=99 => 131_072,
        _ => 1 << 20,
    }
}
