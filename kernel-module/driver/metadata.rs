// SPDX-License-Identifier: GPL-2.0
//! Writing the superblock (metadata.md section 3). Process context; waits for the disk.
//!
//! Locks: the metadata buffer of the device, then the control mutex, then (for a disk that has failed) the data plane.

use super::device::Device;
use super::prelude::*;
use super::resource::{Control, Resource};
use super::volume::{Attached, Volume};
use drbd_core::md::superblock::MAGIC_UNCLEAN;
use drbd_core::md::{flags, Layout, Superblock};
use drbd_core::state::disk_error::flags_of_disk;
use drbd_core::state::Disk;

/// Longest wait for a metadata access; then the disk is given up.
pub(crate) const METADATA_TIMEOUT_SECONDS: Jiffies = 60;

/// Guarantees of a metadata write: durable, and after everything before it.
pub(crate) const DURABLE: MetaFlags = MetaFlags { flush_before: true, fua: true };
/// Without md-flushes.
pub(crate) const RELAXED: MetaFlags = MetaFlags { flush_before: false, fua: false };

/// The superblock as it should stand now. `None` without a disk.
pub(crate) fn superblock(volume: &Volume) -> Option<Superblock> {
    let disk = volume.disk.as_ref()?;
    let when = |condition: bool, flag: u32| if condition { flag } else { 0 };
    let al_disabled = !disk.conf.al_updates();
    let lacks = volume.state.disk == Disk::Failed && volume.device.plane.lock().core.missed_write();
    let settled = flags_of_disk(disk.state_flags, lacks)
        | when(disk.crashed_primary, flags::CRASHED_PRIMARY)
        | when(disk.still_primary, flags::PRIMARY)
        | disk.kept_flags & flags::FULL_SYNC
        | when(al_disabled, flags::AL_DISABLED);
    Some(Superblock {
        la_size: disk.la_size,
        uuids: disk.uuids,
        device_uuid: disk.device_uuid,
        flags: if disk.moving { flags::while_moving(settled) } else { settled },
        magic: MAGIC_UNCLEAN,
        md_size: u32::try_from(disk.layout.md_size).unwrap_or(u32::MAX),
        al_offset: disk.layout.al_offset,
        al_extents: disk.conf.al_extents(),
        bm_offset: disk.layout.bm_offset,
        bytes_per_bit: 4096,
        peer_max_bio_bytes: disk.peer_max_bio_bytes,
        al_stripes: disk.layout.geometry.stripes,
        al_stripe_size_4k: disk.layout.geometry.stripe_size_4k,
    })
}

impl Resource {
    /// Writes the superblock of a volume as it stands now. An error gives the disk up (behaviour.md 6.7).
    pub(crate) fn write_superblock(&self, number: u16) -> Result {
        self.write_superblock_if(number, |_, _| true)
    }

    /// The same, if it differs from what was written last: before a helper looks at it (section 12).
    pub(crate) fn sync_superblock(&self, number: u16) -> Result {
        self.write_superblock_if(number, |block, last| Some(block) != last)
    }

    fn write_superblock_if(&self, number: u16, wanted: impl Fn(&Superblock, Option<&Superblock>) -> bool) -> Result {
        let Some(device) = self.connection.volume_list().find(number).cloned() else { return Ok(()) };
        // Before the block is made, so that no older one is written after a newer one.
        let mut buffer = device.meta.lock();
        let (place, block) = {
            let mut control = self.control.lock();
            let Some(volume) = control.volume(number) else { return Ok(()) };
            let (Some(block), Some(disk)) = (superblock(volume), volume.disk.as_mut()) else { return Ok(()) };
            if volume.state.disk < Disk::Attaching || !wanted(&block, disk.written.as_ref()) {
                return Ok(());
            }
            disk.written = Some(block);
            (place_of(disk), block)
        };
        let settled = place.settle_data_apart(&mut buffer);
        block.encode(buffer.bytes_mut());
        let written = settled.and_then(|()| buffer.write(&place.meta, place.layout.superblock, place.guarantees, place.limit));
        drop(buffer);
        written.map_err(|error| {
            pr_err!("drbd{}: writing the superblock failed\n", device.minor);
            device.metadata_failed(error)
        })
    }
}

/// Where the metadata of a volume is.
pub(crate) struct Place {
    pub(crate) meta: BlockDev,
    pub(crate) layout: Layout,
    /// What a write of the activity log has to guarantee.
    pub(crate) guarantees: MetaFlags,
    /// The data device, if what it has written may be lost with the power.
    volatile: Option<BlockDev>,
    /// Longest wait for an access: disk-timeout, if it is set (ER-6).
    pub(crate) limit: Jiffies,
}

impl Place {
    /// Makes the data durable before metadata says that it needs no attention any more: a bit that is clear, an extent that is cold, a
    /// generation that is complete. A disk that refuses to flush has no cache worth the name; one that is silent is an error.
    pub(crate) fn settle_data(&self, buffer: &mut MetaBuffer) -> Result<(), MetaError> {
        match self.volatile.as_ref().map(|data| buffer.flush(data, self.limit)) {
            Some(Err(MetaError::TimedOut)) => Err(MetaError::TimedOut),
            _ => Ok(()),
        }
    }

    /// The same where the data is on another device than the metadata: the write of a durable block does not reach it.
    pub(crate) fn settle_data_apart(&self, buffer: &mut MetaBuffer) -> Result<(), MetaError> {
        match &self.volatile {
            Some(data) if !data.same_device(&self.meta) => self.settle_data(buffer),
            _ => Ok(()),
        }
    }
}

fn place_of(disk: &Attached) -> Place {
    Place {
        meta: disk.meta.clone(),
        layout: disk.layout,
        guarantees: if disk.conf.md_flushes() { DURABLE } else { RELAXED },
        limit: match disk.conf.disk_timeout_deciseconds() {
            0 => METADATA_TIMEOUT_SECONDS * HZ,
            limit => jiffies_from_deciseconds(limit),
        },
        volatile: (disk.conf.disk_flushes() && disk.backing.facts().write_cache).then(|| disk.backing.clone()),
    }
}

impl Device {
    /// An access to the metadata has failed: the disk is given up, by force if it was silent.
    pub(crate) fn metadata_failed(&self, error: MetaError) -> Error {
        if matches!(error, MetaError::TimedOut) && !self.given_up.is_set() {
            pr_warn!("drbd{}: the metadata device does not answer\n", self.minor);
            self.given_up.set(true);
        }
        self.report_error(super::device::ERROR_METADATA);
        EIO
    }

    /// Overwrites a superblock that is none any more with zeros. Process context; an error gives the disk up.
    pub(crate) fn erase_metadata(&self, sector: u64) {
        let mut buffer = self.meta.lock();
        let Some(place) = self.metadata_place() else { return };
        buffer.bytes_mut().fill(0);
        if let Err(error) = buffer.write(&place.meta, sector, RELAXED, place.limit) {
            let _ = self.metadata_failed(error);
        }
    }

    /// Where the metadata is now. To be asked with the metadata buffer in hand: then it stays there until the buffer is given back.
    pub(crate) fn metadata_place(&self) -> Option<Place> {
        let mut control = self.resource.control.lock();
        control.volume(self.volume)?.disk.as_ref().map(|disk| place_of(disk))
    }
}

/// The flags on disk that keep their meaning across a change of state.
pub(crate) fn set_full_sync(control: &mut Control, number: u16, on: bool) {
    if let Some(disk) = control.volume(number).and_then(|volume| volume.disk.as_mut()) {
        disk.kept_flags = if on { disk.kept_flags | flags::FULL_SYNC } else { disk.kept_flags & !flags::FULL_SYNC };
    }
}
