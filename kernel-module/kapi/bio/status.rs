// SPDX-License-Identifier: GPL-2.0
//! What a block I/O is to do, and how it ended.

use crate::kapi::raw::{b, x};
use kernel::prelude::*;

/// The outcome of an I/O, in the block layer's terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlkStatus(pub(super) u8);

impl BlkStatus {
    /// Success.
    pub(crate) const OK: Self = Self(0);
    /// The device failed.
    pub(crate) const IOERR: Self = Self(x::BLK_STS_IOERR as u8);
    /// The device does not know this operation.
    pub(crate) const NOTSUPP: Self = Self(x::BLK_STS_NOTSUPP as u8);
    /// The device took too long.
    pub(crate) const TIMEOUT: Self = Self(x::BLK_STS_TIMEOUT as u8);
    /// The device has no space left.
    pub(crate) const NOSPC: Self = Self(x::BLK_STS_NOSPC as u8);
    /// Damaged data.
    pub(crate) const MEDIUM: Self = Self(x::BLK_STS_MEDIUM as u8);
    /// No memory; try again.
    pub(crate) const RESOURCE: Self = Self(x::BLK_STS_RESOURCE as u8);

    /// Whether it succeeded.
    #[inline]
    pub(crate) const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// As a negative errno, 0 for success.
    pub(crate) fn errno(self) -> i32 {
        // SAFETY: a table look-up; unknown values give -EIO.
        unsafe { b::blk_status_to_errno(self.0) }
    }

    /// From a negative errno or 0.
    pub(crate) fn from_errno(errno: i32) -> Self {
        // SAFETY: a table look-up; unknown values give an I/O error.
        Self(unsafe { b::errno_to_blk_status(errno) })
    }

    /// As a result.
    pub(crate) fn to_result(self) -> Result {
        if self.is_ok() {
            Ok(())
        } else {
            Err(Error::from_errno(self.errno()))
        }
    }
}

/// What an I/O does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Write nothing, but everything written before becomes durable (an empty write with the
    /// preflush flag).
    Flush,
    /// The contents are not needed any more.
    Discard,
    /// The contents become zeros.
    WriteZeroes,
}

/// Modifiers of an I/O.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct OpFlags {
    /// Somebody waits for it.
    pub(crate) sync: bool,
    /// It ends only when the data is durable.
    pub(crate) fua: bool,
    /// Everything written before becomes durable first.
    pub(crate) preflush: bool,
    /// Read in advance; may fail for no reason.
    pub(crate) readahead: bool,
    /// Write zeros without giving up the blocks.
    pub(crate) no_unmap: bool,
    /// Metadata.
    pub(crate) meta: bool,
    /// Of high priority.
    pub(crate) prio: bool,
    /// Of low priority.
    pub(crate) background: bool,
}

impl Op {
    /// From the operation bits of a bio of `size` bytes. `None`: nothing we handle.
    pub(super) fn from_raw(opf: u32, size: u32) -> Option<Self> {
        match opf & x::REQ_OP_MASK {
            b::req_op_REQ_OP_READ => Some(Self::Read),
            b::req_op_REQ_OP_WRITE if size == 0 => Some(Self::Flush),
            b::req_op_REQ_OP_WRITE => Some(Self::Write),
            b::req_op_REQ_OP_DISCARD => Some(Self::Discard),
            b::req_op_REQ_OP_WRITE_ZEROES => Some(Self::WriteZeroes),
            _ => None,
        }
    }

    /// The operation bits, with the preflush flag of a flush.
    pub(super) const fn to_raw(self) -> u32 {
        match self {
            Self::Read => b::req_op_REQ_OP_READ,
            Self::Write => b::req_op_REQ_OP_WRITE,
            Self::Flush => b::req_op_REQ_OP_WRITE | x::REQ_PREFLUSH,
            Self::Discard => b::req_op_REQ_OP_DISCARD,
            Self::WriteZeroes => b::req_op_REQ_OP_WRITE_ZEROES,
        }
    }

    /// Whether the bio carries data.
    pub(crate) const fn has_data(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }
}

impl OpFlags {
    /// The flags of a bio.
    pub(super) const fn from_raw(opf: u32) -> Self {
        Self {
            sync: opf & x::REQ_SYNC != 0,
            fua: opf & x::REQ_FUA != 0,
            preflush: opf & x::REQ_PREFLUSH != 0,
            readahead: opf & x::REQ_RAHEAD != 0,
            no_unmap: opf & x::REQ_NOUNMAP != 0,
            meta: opf & x::REQ_META != 0,
            prio: opf & x::REQ_PRIO != 0,
            background: opf & x::REQ_BACKGROUND != 0,
        }
    }

    /// The flag bits of a bio.
    pub(super) const fn to_raw(self) -> u32 {
        const fn bit(set: bool, bit: u32) -> u32 {
            if set {
                bit
            } else {
                0
            }
        }
        bit(self.sync, x::REQ_SYNC)
            | bit(self.fua, x::REQ_FUA)
            | bit(self.preflush, x::REQ_PREFLUSH)
            | bit(self.readahead, x::REQ_RAHEAD)
            | bit(self.no_unmap, x::REQ_NOUNMAP)
            | bit(self.meta, x::REQ_META)
            | bit(self.prio, x::REQ_PRIO)
            | bit(self.background, x::REQ_BACKGROUND)
    }
}
