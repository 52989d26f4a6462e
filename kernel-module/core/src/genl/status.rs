// SPDX-License-Identifier: GPL-2.0
//! What the kernel reports: status, information and statistics containers (netlink-and-tools.md sections 3 to 5).

use super::numbers::container;
use super::writer::Writer;

/// CFG_CONTEXT of a reply; fields that are not there are left out.
#[derive(Clone, Copy, Default, Debug)]
pub struct Context<'a> {
    /// Volume.
    pub volume: Option<u32>,
    /// Resource.
    pub resource: Option<&'a [u8]>,
    /// Own address, a raw sockaddr.
    pub own_address: Option<&'a [u8]>,
    /// The peer's address.
    pub peer_address: Option<&'a [u8]>,
}

impl Context<'_> {
    /// Writes the container.
    pub fn write(&self, writer: &mut Writer<'_>) {
        let open = writer.begin_reply(container::CFG_CONTEXT);
        if let Some(volume) = self.volume {
            writer.u32(1, volume);
        }
        if let Some(resource) = self.resource {
            writer.string(2, resource);
        }
        if let Some(address) = self.own_address {
            writer.bytes(3, address);
        }
        if let Some(address) = self.peer_address {
            writer.bytes(4, address);
        }
        writer.end(open);
    }
}

/// Why a STATE_INFO is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason<'a> {
    /// Asked for.
    Status,
    /// The state changed: previous and new word.
    StateChange(u32, u32),
    /// A helper program is called.
    HelperCalled(&'a [u8]),
    /// It ended with this raw status.
    HelperDone(&'a [u8], u32),
    /// A resync made progress.
    SyncProgress,
}

/// The part of STATE_INFO that needs a disk.
#[derive(Clone, Copy, Default, Debug)]
pub struct DiskInfo {
    /// Current, bitmap, history.
    pub uuids: [u64; 4],
    /// Superblock flags.
    pub flags: u32,
    /// Bits in all.
    pub bits_total: u64,
    /// Bits out of sync.
    pub bits_out_of_sync: u64,
    /// During resync or verify: bits at the start, and failed ones.
    pub resync: Option<(u64, u64)>,
}

/// STATE_INFO.
#[derive(Clone, Copy, Default, Debug)]
pub struct StateInfo {
    /// Packed vector.
    pub state: u32,
    /// Size in sectors.
    pub capacity_sectors: u64,
    /// Effective data UUID.
    pub effective_uuid: u64,
    /// With a disk.
    pub disk: Option<DiskInfo>,
    /// Sent, received, read, written sectors; activity-log and bitmap writes.
    pub counters: [u64; 6],
    /// Application requests, requests at the peer, resync requests at the peer.
    pub pending: [u32; 3],
}

impl StateInfo {
    /// Writes the container in the kernel's order.
    pub fn write(&self, writer: &mut Writer<'_>, reason: Reason<'_>) {
        let open = writer.begin_reply(container::STATE_INFO);
        let number = match reason {
            Reason::Status => 1,
            Reason::StateChange(..) => 2,
            Reason::HelperCalled(_) => 3,
            Reason::HelperDone(..) => 4,
            Reason::SyncProgress => 5,
        };
        writer.u32(1, number);
        writer.u32(2, self.state);
        writer.u64(4, self.effective_uuid);
        writer.u64(3, self.capacity_sectors);
        for (number, counter) in (15u16..).zip(self.counters) {
            writer.u64(number, counter);
        }
        for (number, count) in (21u16..).zip(self.pending) {
            writer.u32(number, count);
        }
        if let Some(disk) = &self.disk {
            let mut raw = [0u8; 32];
            for (place, uuid) in raw.chunks_exact_mut(8).zip(disk.uuids) {
                place.copy_from_slice(&uuid.to_ne_bytes());
            }
            writer.bytes(7, &raw);
            writer.u32(8, disk.flags);
            writer.u64(9, disk.bits_total);
            writer.u64(10, disk.bits_out_of_sync);
            if let Some((total, failed)) = disk.resync {
                writer.u64(11, total);
                writer.u64(12, failed);
            }
        }
        match reason {
            Reason::StateChange(previous, new) => {
                writer.u32(5, previous);
                writer.u32(6, new);
            }
            Reason::HelperCalled(name) => writer.string(13, name),
            Reason::HelperDone(name, status) => {
                writer.u32(14, status);
                writer.string(13, name);
            }
            Reason::Status | Reason::SyncProgress => {}
        }
        writer.end(open);
    }
}

/// Writes a container of 32-bit members numbered from 1; `None` leaves the number out.
pub fn write_words(writer: &mut Writer<'_>, number: u16, words: &[Option<u32>]) {
    let open = writer.begin_reply(number);
    for (number, word) in (1u16..).zip(words) {
        if let Some(word) = word {
            writer.u32(number, *word);
        }
    }
    writer.end(open);
}

/// RESOURCE_INFO: role and the three suspension bits.
pub fn write_resource_info(writer: &mut Writer<'_>, role: u32, susp: bool, susp_nod: bool, susp_fen: bool) {
    let open = writer.begin_reply(container::RESOURCE_INFO);
    writer.u32(1, role);
    for (number, set) in (2u16..).zip([susp, susp_nod, susp_fen]) {
        writer.u8(number, u8::from(set));
    }
    writer.end(open);
}

/// DEVICE_STATISTICS.
#[derive(Clone, Copy, Default, Debug)]
pub struct DeviceStatistics {
    /// Size, read, written (sectors), activity-log writes, bitmap writes.
    pub counters: [u64; 5],
    /// Application requests, local references.
    pub pending: [u32; 2],
    /// New application I/O would wait.
    pub upper_blocked: bool,
    /// Activity-log updates are suspended.
    pub log_suspended: bool,
    /// Effective data UUID.
    pub exposed_uuid: u64,
    /// Current UUID.
    pub current_uuid: u64,
    /// Superblock flags.
    pub disk_flags: u32,
    /// History UUIDs; `None` without a disk.
    pub history: Option<[u64; 2]>,
}

impl DeviceStatistics {
    /// Writes the container. The history carries 32 bytes as the C driver's does (netlink-and-tools.md 13.4).
    pub fn write(&self, writer: &mut Writer<'_>) {
        let open = writer.begin_reply(container::DEVICE_STATISTICS);
        for (number, counter) in (1u16..).zip(self.counters) {
            writer.u64(number, counter);
        }
        for (number, count) in (6u16..).zip(self.pending) {
            writer.u32(number, count);
        }
        writer.u8(8, u8::from(self.upper_blocked));
        writer.u8(9, 0);
        writer.u8(10, u8::from(self.log_suspended));
        writer.u64(11, self.exposed_uuid);
        writer.u64(12, self.current_uuid);
        writer.u32(13, self.disk_flags);
        let mut raw = [0u8; 32];
        let history = self.history.map_or(&[][..], |history| {
            for (place, uuid) in raw.chunks_exact_mut(8).zip(history) {
                place.copy_from_slice(&uuid.to_ne_bytes());
            }
            &raw[..]
        });
        writer.bytes(14, history);
        writer.end(open);
    }
}

/// PEER_DEVICE_STATISTICS.
#[derive(Clone, Copy, Default, Debug)]
pub struct PeerDeviceStatistics {
    /// Received and sent sectors.
    pub transferred: [u64; 2],
    /// Requests at the peer, requests of the peer.
    pub pending: [u32; 2],
    /// Sectors out of sync, sectors that failed to resync.
    pub out_of_sync: [u64; 2],
    /// Bitmap UUID.
    pub bitmap_uuid: u64,
    /// 1 connected, 2 outdated, 8 full sync.
    pub flags: u32,
}

impl PeerDeviceStatistics {
    /// Writes the container.
    pub fn write(&self, writer: &mut Writer<'_>) {
        let open = writer.begin_reply(container::PEER_DEVICE_STATISTICS);
        writer.u64(1, self.transferred[0]);
        writer.u64(2, self.transferred[1]);
        writer.u32(3, self.pending[0]);
        writer.u32(4, self.pending[1]);
        writer.u64(5, self.out_of_sync[0]);
        writer.u64(6, self.out_of_sync[1]);
        writer.u64(7, self.bitmap_uuid);
        writer.u32(9, self.flags);
        writer.end(open);
    }
}
