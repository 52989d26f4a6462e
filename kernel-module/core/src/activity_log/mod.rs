// SPDX-License-Identifier: GPL-2.0
//! The set of hot extents of a volume, and the transactions that change it (metadata.md 6.3, behaviour.md 6.2).
//!
//! An extent (4 MiB) must be in the on-disk log before a write to it starts. The set has a fixed number of slots;
//! each holds an extent and counts the writes in flight to it. A write whose extent is not in the set joins the *open* transaction;
//! [`ActivityLog::seal`] closes it for writing to disk, and until [`ActivityLog::committed`] says that it is stable its extents are not
//! hot for anybody. Only one transaction is being written at a time, but the next one fills meanwhile.
//!
//! Storage is lent; look-up goes through a chained hash of the same size. Used under the spinlock of the volume.

mod set;

pub use set::{ActivityLog, Begin, Change, Slot, Storage, CHANGES_PER_TRANSACTION, CONTEXT_PER_TRANSACTION, FREE};

#[cfg(test)]
mod tests;
