// SPDX-License-Identifier: GPL-2.0
//! What a request to a device may look like: decided anew at attach, detach, connect and
//! when the peer says what it can do (behaviour.md SZ-13, SZ-14, IO-2).

use super::device::Device;
use super::prelude::*;
use super::resource::Resource;
use drbd_core::handshake::sizes::max_bio;
use drbd_core::state::Conn;
use drbd_core::wire::command::MAX_DATA_BYTES;
use drbd_core::wire::params::features;

/// Largest discard or write-zeroes: 32 extents of the activity log (128 MiB).
const MAX_ERASE_SECTORS: u32 = 32 << 13;
/// The same for a peer that only knows the length field of a data packet.
const MAX_OLD_DISCARD_SECTORS: u32 = 4 << 11;
/// Unit of discards while there is no disk that says otherwise.
const DISKLESS_DISCARD_BYTES: u32 = 512;

impl Resource {
    /// The same for all volumes, when an option of the connection has changed. The caller holds no lock but `admin`.
    pub(crate) fn reconsider_all_limits(&self) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            self.reconsider_limits(device);
        }
    }

    /// Applies the limits that follow from the disk and the peer of a volume. The caller holds
    /// no lock; process context.
    pub(crate) fn reconsider_limits(&self, device: &Arc<Device>) {
        let Some(node) = device.node() else { return };
        let (backing, connected, agreed, largest, integrity) = {
            let mut control = self.control.lock();
            let cached = |volume: &super::volume::Volume| volume.disk.as_ref().is_some_and(|disk| disk.backing.facts().write_cache);
            self.connection.write_cache.store(control.volumes.iter().any(cached), Relaxed);
            let (version, agreed) = (control.version, control.features);
            let integrity = control.net.as_ref().is_some_and(|net| !net.integrity_alg().is_empty());
            let Some(volume) = control.volume(device.volume) else { return };
            let connected = volume.state.conn >= Conn::WFReportParams && volume.peer_sizes.is_some();
            let announced = volume.peer_sizes.map_or(0, |sizes| sizes.max_bio_bytes);
            let backing = volume.disk.as_ref().map(|disk| disk.backing.clone());
            let local = backing.as_ref().map(|dev| dev.facts().max_hw_sectors.saturating_mul(512));
            let known = volume.disk.as_ref().map_or(0, |disk| disk.peer_max_bio_bytes);
            let (largest, remember) = max_bio(if connected { version } else { 0 }, known, announced, local);
            if let Some(disk) = volume.disk.as_mut() {
                disk.peer_max_bio_bytes = remember;
            }
            (backing, connected, agreed, largest, integrity)
        };
        let facts = backing.as_ref().map(|dev| dev.facts());
        let peer_can = |feature: u32| !connected || agreed & feature != 0;
        let has_discard = facts.as_ref().map_or(connected, |facts| facts.max_discard_sectors > 0);
        let discard = match (has_discard && peer_can(features::TRIM), peer_can(features::WSAME)) {
            (false, _) => 0,
            (true, true) => MAX_ERASE_SECTORS,
            (true, false) => MAX_OLD_DISCARD_SECTORS,
        };
        let unit = facts.as_ref().map_or(DISKLESS_DISCARD_BYTES, |facts| facts.discard_granularity_bytes.max(512));
        let zeroes = match (peer_can(features::WZEROES), integrity) {
            (false, _) => 0,
            (true, false) => MAX_ERASE_SECTORS,
            // They travel as data (super::payload), so they are no longer than data can be.
            (true, true) => largest.min(MAX_DATA_BYTES) >> 9,
        };
        let changed = node.update_limits(|limits| {
            limits.reset();
            if let Some(backing) = &backing {
                limits.stack(backing, 0);
            }
            limits.max_io_bytes(largest);
            limits.discard(discard, if discard > 0 { unit } else { 0 });
            limits.write_zeroes(zeroes);
        });
        if let Err(error) = changed {
            pr_warn!("drbd{}: the limits of disk and peer do not fit together ({})\n", device.minor, error.to_errno());
        }
    }
}
