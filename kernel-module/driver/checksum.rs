// SPDX-License-Identifier: GPL-2.0
//! Checksum based resync and thin resync (behaviour.md RX-8, RX-9, RX-11; wire-protocol.md 13.2).
//!
//! A target that uses checksums reads each range first and asks with its digest; the source answers with data only if its own differs. With
//! thin resync a source may say that a range is all zero, and the target discards it.

use super::connection::Link;
use super::device::Device;
use super::digest::DigestValue;
use super::peer_io::{self, Kind, PeerIo};
use super::prelude::*;
use super::queue::Outgoing;
use super::receiver::{find, End};
use super::resource::{Control, Resource};
use super::volume::Volume;
use drbd_core::resync::{sane_granularity, uses_checksums};
use drbd_core::wire::packet::{BlockAck, BlockRange, BlockRequest, SYNCER_ID};
use drbd_core::wire::params::features;
use drbd_core::wire::{check_range, Command, Header};

/// How a target asks for its ranges.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// With the digest of what is here.
    pub(crate) checksums: bool,
    /// Size of a request that may be answered "all zero", in bytes; 0: none.
    pub(crate) thin_bytes: u32,
}

/// The manner in which a resync that starts now asks (RX-11).
pub(crate) fn use_checksums(control: &Control, volume: &Volume) -> bool {
    let crashed = volume.disk.as_ref().is_some_and(|disk| disk.crashed_primary);
    let net = control.net.as_ref();
    let only = net.is_some_and(|net| net.csums_after_crash_only());
    uses_checksums(control.version, net.is_some_and(|net| !net.csums_alg().is_empty()), only, crashed)
}

/// The manner of a turn.
pub(crate) fn manner(control: &mut Control, number: u16) -> Manner {
    let thin = control.features & features::THIN_RESYNC != 0;
    let Some(volume) = control.volume(number) else { return Manner { checksums: false, thin_bytes: 0 } };
    let granularity = volume.disk.as_ref().map_or(0, |disk| disk.conf.rs_discard_granularity_bytes());
    Manner { checksums: volume.checksums, thin_bytes: if thin && !volume.checksums { granularity } else { 0 } }
}

/// rs-discard-granularity as the backing device can serve it (RX-8).
pub(crate) fn sanitize(minor: u32, conf: &mut drbd_core::genl::DiskConf, backing: &BlockDev) {
    let facts = backing.facts();
    let wanted = conf.rs_discard_granularity_bytes();
    let sane = sane_granularity(wanted, u64::from(facts.max_discard_sectors) * 512, facts.discard_granularity_bytes);
    if sane == wanted {
        return;
    }
    match sane {
        0 => pr_info!("drbd{}: rs_discard_granularity feature disabled\n", minor),
        _ => pr_info!("drbd{}: rs_discard_granularity changed to {}\n", minor, sane),
    }
    conf.numbers.set(drbd_core::genl::attributes::DISK_CONF, 25, u64::from(sane));
}

impl Resource {
    /// Asks for a range that is reserved; false: not now, the range has to be given back.
    pub(crate) fn ask_for(&self, device: &Arc<Device>, manner: Manner, sector: u64, size_bytes: u32) -> bool {
        if !manner.checksums {
            let command = if size_bytes == manner.thin_bytes { Command::RsThinReq } else { Command::RsDataRequest };
            return self.connection.enqueue(device.volume, Outgoing::Request { command, sector, size_bytes });
        }
        if !self.connection.reserve_ack() {
            return false;
        }
        let request = PeerIo::new(device, Kind::ChecksumRead, sector, size_bytes, SYNCER_ID);
        let io = device.peer_ios.with_pages(&device.pages, size_bytes, request);
        peer_io::account(device, &io);
        let backing = device.plane.lock().backing.clone();
        let submitted = backing.map(|dev| io.submit(&dev, Op::Read, OpFlags::default(), sector));
        if !matches!(submitted, Some(Ok(()))) {
            self.connection.put_acks(&[], 1);
            return false;
        }
        true
    }
}

/// Target: P_RS_IS_IN_SYNC.
pub(crate) fn in_sync(device: &Arc<Device>, ack: &BlockAck) -> Result<(), &'static str> {
    let actions = {
        let mut plane = device.plane.lock();
        let slot = plane.core.find_resync_request(ack.sector, ack.size_bytes).ok_or("nothing of the kind was asked for")?;
        plane.core.resync_write_done(slot, true).1
    };
    device.answered(ack.size_bytes);
    device.pace.equal_bits.fetch_add(u64::from(ack.size_bytes / 4096), Relaxed);
    if device.settled() {
        device.resource.wake_worker();
    }
    device.follow(&actions);
    Ok(())
}

/// A request with a digest behind its fixed part: P_CSUM_RS_REQUEST, P_OV_REPLY. The digest has to be as long as the algorithm makes it.
pub(crate) fn receive_with_digest(link: &Link, command: Command, header: &Header, digest_bytes: u32) -> Result<(BlockRequest, DigestValue), End> {
    let mut body = [0u8; BlockRequest::BYTES + crate::kapi::crypto::MAX_DIGEST_BYTES];
    let body = body.get_mut(..header.length as usize).ok_or(End::Protocol)?;
    link.data.receive_exact(body)?;
    let (fixed, digest) = body.split_at_checked(BlockRequest::BYTES).ok_or(End::Protocol)?;
    if digest_bytes == 0 || digest.len() != digest_bytes as usize {
        pr_err!("{}: digest of {} bytes, expected {}\n", command.name(), digest.len(), digest_bytes);
        return Err(End::Protocol);
    }
    let request = BlockRequest::decode(command, fixed).map_err(|_| End::Protocol)?;
    Ok((request, DigestValue::from_slice(digest).ok_or(End::Protocol)?))
}

/// Target: P_RS_DEALLOCATED: the range is all zero at the source.
pub(crate) fn receive_deallocated(resource: &Arc<Resource>, volume: u16, body: &[u8]) -> Result<(), End> {
    let range = BlockRange::decode(Command::RsDeallocated, body).map_err(|_| End::Protocol)?;
    let device = find(resource, volume)?;
    let sectors = device.plane.lock().core.bitmap.device_sectors();
    let most = u64::from(drbd_core::wire::command::MAX_DATA_BYTES);
    check_range(range.sector, u64::from(range.size_bytes), most, sectors).map_err(|_| End::Protocol)?;
    let slot = device.plane.lock().core.find_resync_request(range.sector, range.size_bytes).ok_or_else(|| {
        pr_err!("drbd{}: sector {} is called deallocated, but was not asked for\n", device.minor, range.sector);
        End::Protocol
    })?;
    super::receiver::reserve(resource)?;
    let request = PeerIo::new(&device, Kind::ResyncErase, range.sector, range.size_bytes, SYNCER_ID);
    let io = device.peer_ios.bare(request);
    io.slot.store(slot, Relaxed);
    device.answered(range.size_bytes);
    peer_io::begin_resync_write(&device, &io);
    Ok(())
}
