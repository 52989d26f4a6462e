// SPDX-License-Identifier: GPL-2.0
//! Control packets, encoded whole with their header.

use super::prelude::*;
use super::queue::Packet;
use super::volume::Volume;
use drbd_core::genl::{DiskConf, NetConf};
use drbd_core::handshake::sizes::{own_sizes, ResizeFlags, SizeFacts};
use drbd_core::state::{Disk, Request, State};
use drbd_core::wire::packet::encode_state_change;
use drbd_core::wire::params::{features, max_bio_bytes, uuid_flags, Controller, Protocol, QueueLimits, Sizes, SyncParam, UuidsPacket};
use drbd_core::wire::{Command, Header, HeaderFormat};

/// A packet with this payload for an agreed version.
pub(crate) fn packet(version: u32, volume: u16, command: Command, payload: &[u8]) -> Result<Packet> {
    let mut bytes = KVec::with_capacity(16 + payload.len(), GFP_KERNEL)?;
    let mut head = [0; 16];
    let format = HeaderFormat::for_version(version, payload.len() as u32);
    let length = Header::new(volume, command, payload.len() as u32).encode(format, &mut head);
    bytes.extend_from_slice(head.get(..length).unwrap_or(&[]), GFP_KERNEL)?;
    bytes.extend_from_slice(payload, GFP_KERNEL)?;
    Ok(Packet { bytes: KBox::new(bytes, GFP_KERNEL)? })
}

/// P_STATE.
pub(crate) fn state(version: u32, volume: u16, state: &State) -> Result<Packet> {
    packet(version, volume, Command::State, &state.pack().to_be_bytes())
}

/// P_STATE_CHG_REQ or P_CONN_ST_CHG_REQ.
pub(crate) fn state_change(version: u32, volume: u16, command: Command, request: Request) -> Result<Packet> {
    packet(version, volume, command, &encode_state_change(request.mask, request.value))
}

/// P_SYNC_UUID.
pub(crate) fn sync_uuid(version: u32, volume: u16, uuid: u64) -> Result<Packet> {
    packet(version, volume, Command::SyncUuid, &uuid.to_be_bytes())
}

/// Our P_UUIDS as a value; `flags` beside those that follow from the volume.
pub(crate) fn own_uuids(volume: &Volume, discard_my_data: bool, flags: u64) -> UuidsPacket {
    let dirty_bits = volume.device.plane.lock().core.bitmap.weight();
    let crashed = volume.disk.as_ref().is_some_and(|disk| disk.crashed_primary);
    let inconsistent = volume.state.disk == Disk::Negotiating && volume.found.is_some_and(|found| found.0 == Disk::Inconsistent);
    let when = |condition: bool, flag: u64| if condition { flag } else { 0 };
    UuidsPacket {
        uuids: volume.uuids().to_array(),
        dirty_bits,
        flags: flags
            | when(discard_my_data, uuid_flags::DISCARD_MY_DATA)
            | when(crashed, uuid_flags::CRASHED_PRIMARY)
            | when(inconsistent, uuid_flags::INCONSISTENT),
    }
}

/// P_UUIDS. Remembers the number of bits the peer is told, which counts in the handshake (HS-12).
pub(crate) fn uuids(version: u32, volume: &Volume, discard_my_data: bool, flags: u64) -> Result<Packet> {
    let payload = own_uuids(volume, discard_my_data, flags);
    volume.device.told_bits.store(payload.dirty_bits, Relaxed);
    packet(version, volume.number(), Command::Uuids, &payload.encode())
}

/// P_SIZES.
pub(crate) fn sizes(version: u32, agreed: u32, volume: &Volume) -> Result<Packet> {
    sizes_with(version, agreed, volume, false, ResizeFlags::default())
}

/// P_SIZES of a resize. `ask`: request an answer by a current size of 0.
pub(crate) fn sizes_with(version: u32, agreed: u32, volume: &Volume, ask: bool, flags: ResizeFlags) -> Result<Packet> {
    let disk = volume.disk.as_ref();
    // SZ-15: told; what the peer tells of its own is not used.
    let limits = (agreed & features::WSAME != 0).then(|| {
        disk.map_or(QueueLimits { logical_block_bytes: 512, physical_block_bytes: 512, io_min_bytes: 512, ..QueueLimits::default() }, |disk| {
            let facts = disk.backing.facts();
            QueueLimits {
                physical_block_bytes: facts.physical_block_bytes,
                logical_block_bytes: facts.logical_block_bytes,
                alignment_offset_bytes: 0,
                io_min_bytes: facts.io_min_bytes,
                io_opt_bytes: facts.io_opt_bytes,
                discard: facts.max_discard_sectors > 0,
            }
        })
    });
    let facts = SizeFacts {
        own: volume.state,
        own_sectors: disk.map_or(0, |disk| super::attach::usable_sectors(disk)),
        user_sectors: disk.map_or(0, |disk| disk.conf.disk_sectors()),
        last_sectors: disk.map_or(0, |disk| disk.la_size),
        current_sectors: volume.sectors,
    };
    let payload = own_sizes(&facts, max_bio_bytes(version), ask, flags, limits);
    let mut out = [0; Sizes::MAX_BYTES];
    let length = payload.encode(&mut out);
    packet(version, volume.number(), Command::Sizes, out.get(..length).unwrap_or(&[]))
}

/// P_SYNC_PARAM or P_SYNC_PARAM89 (RX-15); a diskless node reports the defaults.
pub(crate) fn sync_param(version: u32, volume: &Volume, net: &NetConf) -> Result<Packet> {
    let defaults = DiskConf::default();
    let conf = volume.disk.as_ref().map_or(&defaults, |disk| &disk.conf);
    let payload = SyncParam {
        resync_rate: conf.resync_rate_kib(),
        verify: net.verify_alg(),
        csums: net.csums_alg(),
        controller: Some(Controller {
            plan_ahead: conf.plan_ahead_deciseconds(),
            delay_target: conf.delay_target_deciseconds(),
            fill_target: conf.fill_target_sectors(),
            max_rate: conf.max_rate_kib(),
        }),
    };
    let mut out = [0; SyncParam::MAX_BYTES];
    let length = payload.encode(version, &mut out);
    packet(version, volume.number(), SyncParam::command(version), out.get(..length).unwrap_or(&[]))
}

/// Our P_PROTOCOL as a value.
pub(crate) fn protocol_of(net: &NetConf, discard_my_data: bool, dry_run: bool) -> Protocol<'_> {
    Protocol {
        protocol: net.protocol(),
        after_sb_0p: net.after_sb_0p(),
        after_sb_1p: net.after_sb_1p(),
        after_sb_2p: net.after_sb_2p(),
        discard_my_data,
        dry_run,
        two_primaries: net.two_primaries(),
        integrity: net.integrity_alg(),
    }
}

/// P_PROTOCOL.
pub(crate) fn protocol(version: u32, net: &NetConf, discard_my_data: bool, dry_run: bool) -> Result<Packet> {
    let mut out = [0; Protocol::MAX_BYTES];
    let length = protocol_of(net, discard_my_data, dry_run).encode(version, &mut out);
    packet(version, 0, Command::Protocol, out.get(..length).unwrap_or(&[]))
}

/// P_PROTOCOL_UPDATE.
pub(crate) fn protocol_update(version: u32, net: &NetConf) -> Result<Packet> {
    let mut out = [0; Protocol::MAX_BYTES];
    let length = protocol_of(net, false, false).encode(version, &mut out);
    packet(version, 0, Command::ProtocolUpdate, out.get(..length).unwrap_or(&[]))
}
