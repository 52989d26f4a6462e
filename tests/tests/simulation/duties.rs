// SPDX-License-Identifier: GPL-2.0
//! What the shell has to do so that the decisions of core come true.

/// What the shell promises beside core; a test takes each away to see that it is needed.
#[derive(Clone, Copy)]
pub struct Duties {
    /// The data device is flushed before metadata that no longer covers its blocks, also when it is another device.
    pub flush_data_before_metadata: bool,
    /// The target has the merged bitmap on disk before it asks for the first block.
    pub store_bitmap_before_resync: bool,
    /// A demotion waits until the peer has acknowledged every epoch.
    pub drain_before_demotion: bool,
    /// The new generation is on disk before a write completes without the peer.
    pub store_generation_before_completion: bool,
    /// Changed pages of the bitmap are on disk before an extent leaves the activity log.
    pub store_bitmap_before_eviction: bool,
    /// Writes that were received, and wait for an earlier epoch, are carried out when the connection ends.
    pub keep_received_writes: bool,
    /// The superblock says Primary until the bitmap of a demotion is on disk.
    pub store_bitmap_before_demotion: bool,
    /// A source that answered a ping while no bit was left, and is lost before it hears of the end, treats the target as finished.
    pub suspect_finished_resync: bool,
    /// The peer hears that the disk fails before it gets a write that has no copy here.
    pub announce_failed_disk_first: bool,
    /// The bitmap is sent when the peer has answered for all writes before it.
    pub drain_before_bitmap: bool,
    /// A node whose peer could not do a write of it begins a new generation when it loses contact to that disk, although nobody is Primary.
    pub new_generation_without_peer_write: bool,
    /// A write that failed here completes when the superblock says that this disk lacks data.
    pub note_failed_write_first: bool,
    /// The correction of rule 34 comes into force with its resync.
    pub keep_generation_until_resync: bool,
    /// Writes whose transaction of the activity log failed do not go to the disk.
    pub hold_writes_of_failed_log: bool,
}

/// As the driver does it.
pub const ALL_DUTIES: Duties = Duties {
    flush_data_before_metadata: true,
    store_bitmap_before_resync: true,
    drain_before_demotion: true,
    store_generation_before_completion: true,
    store_bitmap_before_eviction: true,
    keep_received_writes: true,
    store_bitmap_before_demotion: true,
    suspect_finished_resync: true,
    drain_before_bitmap: true,
    announce_failed_disk_first: true,
    new_generation_without_peer_write: true,
    note_failed_write_first: true,
    keep_generation_until_resync: true,
    hold_writes_of_failed_log: true,
};
