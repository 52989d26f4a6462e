// SPDX-License-Identifier: GPL-2.0
//! What the control plane publishes to the data plane of a volume: a snapshot of everything a request
//! needs to know, so that the write path never looks at the state vector.

use super::volume_read::ReadBalancing;

/// How a change of the state vector reaches requests. Copied under the volume lock; the control plane closes
/// the gate, queues the packets that announce the change, and opens it again with the new facts, so no
/// request can slip between a state packet and the requests that follow it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gate {
    /// New application requests pass (behaviour.md IO-1). Otherwise they wait.
    pub open: bool,
    /// The local disk may be used (disk >= Inconsistent).
    pub local: bool,
    /// Local reads need no look at the bitmap (disk UpToDate); with `local` alone only blocks in sync may be read (RD-1).
    pub local_up_to_date: bool,
    /// Blocks that the local disk lacks may have no bit here ([`bits_missing`](crate::state::bits_missing)).
    pub bits_missing: bool,
    /// Writes are sent to the peer (WR-6).
    pub replicate: bool,
    /// Writes are announced by P_OUT_OF_SYNC instead (WR-6).
    pub notify_out_of_sync: bool,
    /// The peer can serve reads (pdsk UpToDate, RD-2).
    pub remote_read: bool,
    /// The peer is there, and its data is not good: a copy with it alone is none.
    pub peer_lacks: bool,
    /// Writes are allowed at all: own disk or the peer's is UpToDate (WR-7).
    pub writable: bool,
    /// Connection state is one of 16..21: writes carry MAY_SET_IN_SYNC and want a write ack (wire 3.2).
    pub in_sync_states: bool,
    /// The peer must say when it received the data (protocol B).
    pub want_receive_ack: bool,
    /// The peer must say when it wrote the data (protocol C, or a resync runs).
    pub want_write_ack: bool,
    /// The activity log is kept (not suspended, al-updates on).
    pub log_activity: bool,
    /// The peer has no usable disk while the node writes for it: peer writes use the log too (AL-8).
    pub log_peer_writes: bool,
    /// The superblock still says Primary until the bitmap of a change is on disk: writes of the peer use the log as before, for bits that were
    /// set when they arrived may be in memory alone.
    pub log_until_stored: bool,
    /// I/O is suspended: requests that lose their connection stay frozen (EP-6).
    pub suspended: bool,
    /// on-no-data-accessible is suspend-io, and there was good data when the state last changed: what finds none now is frozen instead of
    /// failed (ER-7), because the change that suspends I/O is about to follow.
    pub hold_failed: bool,
    /// Overlapping writes of both nodes are possible (two primaries).
    pub two_primaries: bool,
    /// This node decides about them (CO-2).
    pub resolver: bool,
    /// Requests in flight allowed at once (max-buffers).
    pub max_in_flight: u32,
    /// Who serves a read that both could serve (RD-3).
    pub read_balancing: ReadBalancing,
    /// CG-1: sectors on their way to the peer that count as congestion; 0: none.
    pub congestion_fill: u32,
    /// CG-1: hot extents that count as congestion; 0: none.
    pub congestion_extents: u32,
}
