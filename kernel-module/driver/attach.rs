// SPDX-License-Identifier: GPL-2.0
//! Attaching and detaching disks (behaviour.md section 10, netlink-and-tools.md section 11).

use super::bitmap_io;
use super::control::publish;
use super::device::{Device, Plane};
use super::metadata::METADATA_TIMEOUT_SECONDS;
use super::prelude::*;
use super::resource::{Control, Resource};
use super::storage::{BitmapPages, LogSlots};
use super::volume::Attached;
use drbd_core::activity_log::ActivityLog;
use drbd_core::bitmap::arithmetic::pages_for_bits;
use drbd_core::bitmap::{bits_for_sectors, Bitmap};
use drbd_core::genl::{ret, DiskConf};
use drbd_core::md::layout::agreed_size;
use drbd_core::md::uuids::same;
use drbd_core::md::{flags, Index, Layout, MetaDataError, Superblock};
use drbd_core::state::{Conn, Disk, Kind, Request, Role};

/// A refusal for user space: code and info text.
pub(crate) struct Refused {
    pub(crate) code: i32,
    pub(crate) info: &'static str,
}

impl Refused {
    pub(crate) const fn code(code: i32) -> Self {
        Self { code, info: "" }
    }
}

/// Largest size this disk offers, in sectors.
pub(crate) fn usable_sectors(disk: &Attached) -> u64 {
    disk.layout.usable_sectors(disk.index, disk.backing.capacity_sectors())
}

/// Both devices, open.
struct Opened {
    backing: BlockDev,
    meta: BlockDev,
    index: Index,
}

fn path(text: &[u8]) -> Result<CString> {
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    CString::try_from_fmt(fmt!("{}", text))
}

use kernel::str::CString;

fn open(conf: &DiskConf) -> Result<Opened, Refused> {
    let index = Index::from_number(conf.meta_index).ok_or(Refused::code(ret::MD_IDX_INVALID))?;
    let token = HolderToken::new().map_err(|_| Refused::code(ret::NOMEM))?;
    let backing_path = path(conf.backing_device.as_bytes()).map_err(|_| Refused::code(ret::OPEN_DISK))?;
    let meta_path = path(conf.meta_device.as_bytes()).map_err(|_| Refused::code(ret::OPEN_MD_DISK))?;
    let backing = BlockDev::open(&backing_path, Claim::By(&token)).map_err(|error| {
        pr_err!("open(\"{}\") failed with {}\n", &*backing_path.to_str().unwrap_or("?"), error.to_errno());
        Refused::code(ret::OPEN_DISK)
    })?;
    let claim = if matches!(index, Index::Slot(_)) { Claim::SharedMeta } else { Claim::By(&token) };
    let meta = BlockDev::open(&meta_path, claim).map_err(|error| {
        pr_err!("open(\"{}\") failed with {}\n", &*meta_path.to_str().unwrap_or("?"), error.to_errno());
        Refused::code(ret::OPEN_MD_DISK)
    })?;
    if backing.same_device(&meta) != index.is_internal() {
        return Err(Refused::code(ret::MD_IDX_INVALID));
    }
    Ok(Opened { backing, meta, index })
}

fn read_superblock(device: &Device, opened: &Opened) -> Result<Superblock, Refused> {
    let mut buffer = device.meta.lock();
    let sector = Superblock::sector(opened.index, opened.meta.capacity_sectors());
    buffer.read(&opened.meta, sector, METADATA_TIMEOUT_SECONDS * HZ).map_err(|_| Refused::code(ret::IO_MD_DISK))?;
    Ok(Superblock::decode(buffer.bytes()))
}

fn explain(device: &Device, error: MetaDataError) -> Refused {
    let minor = device.minor;
    match error {
        MetaDataError::Unclean => pr_err!("drbd{minor}: Found unclean meta data. Did you \"drbdadm apply-al\"?\n"),
        MetaDataError::OldMagic => pr_err!("drbd{minor}: Found old (0.7) meta data magic. Did you \"drbdadm create-md\"?\n"),
        MetaDataError::NoMagic { got } => {
            pr_err!("drbd{minor}: Meta data magic not found (got {got:08x}). Did you \"drbdadm create-md\"?\n")
        }
        MetaDataError::BytesPerBit { got } => pr_err!("drbd{minor}: unexpected bm_bytes_per_bit: {got} (expected 4096)\n"),
        MetaDataError::Striping { stripes, stripe_size_4k } => pr_err!(
            "drbd{minor}: invalid activity log striping: al_stripes={stripes}, al_stripe_size_4k={stripe_size_4k}\n"
        ),
        MetaDataError::Offsets => pr_err!("drbd{minor}: meta data offsets don't make sense\n"),
        MetaDataError::DeviceTooSmall { needed } => {
            pr_err!("drbd{minor}: refusing attach: md-device too small, at least {needed} sectors needed\n")
        }
    }
    Refused::code(error.code())
}

/// How long a detach waits for the disk to give everything back.
const GRACEFUL_DETACH_LIMIT: Jiffies = 300 * HZ;
/// How long a detach by force waits for the state Diskless before it reports success.
const FORCED_DETACH_LIMIT: Jiffies = 2 * HZ;

/// How long an attach waits for requests that the previous disk still has (AT-1).
const PREVIOUS_DISK_LIMIT: Jiffies = 10 * HZ;

impl Resource {
    /// ATTACH. The caller has the turn.
    pub(crate) fn attach(&self, device: &Arc<Device>, mut conf: DiskConf) -> Result<(), Refused> {
        let number = device.volume;
        {
            let mut control = self.control.lock();
            let stonith_and_a = conf.fencing() == 2 && control.net.as_ref().is_some_and(|net| net.protocol() == 1);
            let volume = control.volume(number).ok_or(Refused::code(ret::MINOR_INVALID))?;
            if volume.state.disk > Disk::Diskless {
                return Err(Refused::code(ret::DISK_CONFIGURED));
            }
            // AT-4.
            if stonith_and_a {
                return Err(Refused::code(ret::STONITH_AND_PROT_A));
            }
        }
        // AT-1: what the previous disk still has in hand would be taken for requests of the new one.
        let idle = || device.plane.lock().core.local_references() == 0;
        if device.idle.wait_interruptible_timeout(PREVIOUS_DISK_LIMIT, idle) != Wait::Ready {
            return Err(Refused { code: ret::DISK_CONFIGURED, info: "the previous disk has not answered all its requests yet" });
        }
        device.given_up.set(false);
        // AT-2, AT-3.
        let opened = open(&conf)?;
        let found = read_superblock(device, &opened)?;
        let layout = found.validate(opened.index, opened.meta.capacity_sectors()).map_err(|error| explain(device, error))?;
        // A metadata device of its own may have grown meanwhile (metadata.md 2.2).
        let grown = match opened.index {
            Index::FlexibleExternal => Layout::compute(opened.index, opened.meta.capacity_sectors(), layout.geometry),
            _ => None,
        };
        let layout = grown.unwrap_or(layout);
        let extents = conf.al_extents().clamp(67, layout.geometry.max_slots().max(67));
        conf.numbers.set(drbd_core::genl::attributes::DISK_CONF, 10, u64::from(extents));
        super::checksum::sanitize(device.minor, &mut conf, &opened.backing);
        let own = layout.usable_sectors(opened.index, opened.backing.capacity_sectors());
        // SZ-11, here and in what follows.
        if own < conf.disk_sectors() {
            pr_err!("drbd{}: max capacity {} smaller than disk size {}\n", device.minor, own, conf.disk_sectors());
            return Err(Refused::code(ret::DISK_TOO_SMALL));
        }
        let disk = Attached {
            known_sectors: super::resize::capacities(&opened.backing, &opened.meta),
            moving: false,
            backing: opened.backing,
            meta: opened.meta,
            index: opened.index,
            layout,
            uuids: found.uuids,
            device_uuid: found.device_uuid,
            la_size: found.la_size,
            peer_max_bio_bytes: found.peer_max_bio_bytes,
            crashed_primary: drbd_core::state::attach::crashed_primary(found.flags, self.is_frozen_primary(number)),
            state_flags: found.flags & !(flags::FULL_SYNC | flags::AL_DISABLED | flags::AL_CLEAN | flags::CRASHED_PRIMARY),
            kept_flags: found.flags & (flags::FULL_SYNC | flags::AL_DISABLED),
            still_primary: false,
            written: None,
            conf,
        };
        self.begin_attach(device, &disk, &found)?;
        let outcome = self.set_up_disk(device, disk, &found, extents);
        let mut control = self.control.lock();
        if let Some(index) = control.index(number) {
            if outcome.is_err() {
                // AT-12.
                self.hard(&mut control, index, Request::none().disk(Disk::Diskless));
            }
            if let Some(volume) = control.volumes.get_mut(index) {
                volume.frozen = volume.frozen.saturating_sub(1);
            }
            publish(&control, index, true);
        }
        drop(control);
        if outcome.is_ok() {
            let _ = self.write_superblock(number);
            if let Some(node) = device.node() {
                node.uevent_change();
            }
        }
        outcome
    }

    /// A Primary that waits for its data did not crash (UU-17).
    fn is_frozen_primary(&self, number: u16) -> bool {
        self.control.lock().volume(number).is_some_and(|volume| volume.state.role == Role::Primary && volume.state.susp_nod)
    }

    /// AT-5, AT-6: no more I/O, state Attaching, and the data has to be what the node works with.
    fn begin_attach(&self, device: &Device, disk: &Attached, found: &Superblock) -> Result<(), Refused> {
        let mut control = self.control.lock();
        let index = control.index(device.volume).ok_or(Refused::code(ret::MINOR_INVALID))?;
        let volume = control.volumes.get_mut(index).ok_or(Refused::code(ret::MINOR_INVALID))?;
        let someone_primary = volume.state.role == Role::Primary || volume.state.peer == Role::Primary;
        if volume.state.pdsk < Disk::UpToDate && someone_primary && volume.effective_uuid != 0 && !same(volume.effective_uuid, found.uuids.current) {
            pr_err!("drbd{}: Can only attach to data with current UUID={:016X}\n", device.minor, volume.effective_uuid & !1);
            return Err(Refused::code(ret::DATA_NOT_CURRENT));
        }
        let own = usable_sectors(disk);
        if own < volume.sectors {
            return Err(Refused::code(ret::DISK_TOO_SMALL));
        }
        volume.frozen += 1;
        self.change(&mut control, index, Request::none().disk(Disk::Attaching), Kind::Soft)
            .map_err(|refusal| Refused::code(refusal.code()))?;
        Ok(())
    }

    /// AT-8 to AT-11.
    fn set_up_disk(&self, device: &Arc<Device>, mut disk: Attached, found: &Superblock, extents: u32) -> Result<(), Refused> {
        let number = device.volume;
        let own = usable_sectors(&disk);
        let (peer, connected) = {
            let mut control = self.control.lock();
            let volume = control.volume(number).ok_or(Refused::code(ret::MINOR_INVALID))?;
            let peer = volume.peer_sizes.map_or(0, |sizes| sizes.disk_sectors);
            (peer, volume.state.conn >= Conn::Connected)
        };
        super::dependencies::accept(device, disk.conf.resync_after())?;
        let after = disk.conf.resync_after();
        let (sectors, _) = agreed_size(own, peer, found.la_size, disk.conf.disk_sectors());
        if sectors < found.la_size && found.flags & flags::CONSISTENT != 0 && sectors != disk.conf.disk_sectors() {
            pr_err!("drbd{}: refusing to truncate a consistent device ({} < {})\n", device.minor, sectors, found.la_size);
            return Err(Refused::code(ret::IMPLICIT_SHRINK));
        }
        let grown = sectors != found.la_size;
        let all_set = found.flags & flags::FULL_SYNC != 0 || (disk.crashed_primary && found.flags & flags::AL_DISABLED != 0) || grown;
        Self::prepare_plane(device, sectors, extents).map_err(|_| Refused::code(ret::NOMEM_BITMAP))?;
        let moved = disk.layout.md_size != u64::from(found.md_size);
        disk.moving = grown || moved;
        if grown {
            disk.kept_flags &= !flags::FULL_SYNC;
        }
        self.install(device, disk, sectors).map_err(|_| Refused::code(ret::NOMEM))?;
        self.fill_bitmap(device, all_set, grown || moved).map_err(|_| Refused::code(ret::IO_MD_DISK))?;
        let full = {
            let plane = device.plane.lock();
            plane.core.bitmap.weight() == plane.core.bitmap.bits()
        };
        self.finish_attach(device, found, connected, full);
        self.set_resync_after(device, after);
        Ok(())
    }

    /// New storage for bitmap and activity log.
    fn prepare_plane(device: &Device, sectors: u64, extents: u32) -> Result {
        let pages = BitmapPages::new(pages_for_bits(bits_for_sectors(sectors)))?;
        // The ring is initialized whenever a disk is attached, so numbers start anew: a first block that a power cut tears is then the
        // one at the start of the ring, which apply-al accepts (metadata.md 6.2).
        let log = ActivityLog::new(LogSlots::new(extents as usize)?);
        // A transaction of the log before is over.
        let _one_at_a_time = device.log.lock();
        let mut plane = device.plane.lock();
        let Plane { core, .. } = &mut *plane;
        let old_bitmap = core::mem::replace(&mut core.bitmap, Bitmap::new(pages, sectors));
        let old_log = core::mem::replace(&mut core.log, log);
        core.forget_log_references();
        drop(plane);
        drop((old_bitmap, old_log));
        Ok(())
    }

    /// Puts the disk in place, the size in force, and the limits on the queue.
    fn install(&self, device: &Arc<Device>, disk: Attached, sectors: u64) -> Result {
        let (backing, meta) = (disk.backing.clone(), disk.meta.clone());
        let disk = KBox::new(disk, GFP_KERNEL)?;
        {
            let mut control = self.control.lock();
            let volume = control.volume(device.volume).ok_or(ENODEV)?;
            volume.disk = Some(disk);
            if let Some(disk) = volume.disk.as_mut() {
                disk.la_size = sectors;
            }
            volume.sectors = sectors;
        }
        device.plane.lock().backing = Some(backing.clone());
        if let Some(node) = device.node() {
            self.reconsider_limits(device);
            device.exported_sectors.store(sectors, Relaxed);
            node.set_capacity_and_notify(sectors);
            let _ = node.link_lower(&backing);
            if !backing.same_device(&meta) {
                let _ = node.link_lower(&meta);
            }
        }
        Ok(())
    }

    /// The bitmap from disk, or all set; written with a new log where the size or the place is new (SZ-8).
    fn fill_bitmap(&self, device: &Device, all_set: bool, new_place: bool) -> Result {
        if all_set && !new_place {
            return self.set_all_bits(device.volume);
        }
        if all_set {
            bitmap_io::fill(device, true);
        } else {
            bitmap_io::read(device)?;
        }
        if new_place {
            device.plane.lock().core.bitmap.dirty_all();
            let _one_at_a_time = device.log.lock();
            self.store_metadata(device)?;
        }
        Ok(())
    }

    /// `full`: every block is marked already, so there is nothing to log until a peer comes (AT-8).
    fn finish_attach(&self, device: &Device, found: &Superblock, connected: bool, full: bool) {
        let mut control = self.control.lock();
        let Some(index) = control.index(device.volume) else { return };
        let disk = found_disk(found.flags);
        let peer_outdated = found.flags & flags::PEER_OUTDATED != 0;
        let Some(volume) = control.volumes.get_mut(index) else { return };
        let dont_care = volume.disk.as_ref().is_none_or(|disk| disk.conf.fencing() == 0);
        let disk = if disk == Disk::Consistent && (peer_outdated || dont_care) { Disk::UpToDate } else { disk };
        let pdsk = if peer_outdated { Disk::Outdated } else { Disk::DUnknown };
        volume.found = Some((disk, pdsk));
        volume.log_suspended = full && !connected;
        volume.ran_degraded = drbd_core::state::attach::ran_degraded(found.flags, volume.state.role);
        let primary = volume.state.role == Role::Primary;
        if let Some(attached) = volume.disk.as_mut() {
            attached.uuids.set_primary(primary);
            if volume.effective_uuid == 0 || !connected {
                volume.effective_uuid = attached.uuids.current;
            }
        }
        let request = if connected {
            volume.peer_uuids = None;
            Request::none().disk(Disk::Negotiating)
        } else {
            Request::none().disk(disk).pdsk(pdsk)
        };
        self.hard(&mut control, index, request);
    }

    /// DETACH (DT-1, DT-2). The caller has the turn, unless by force: that overtakes a command that waits for the disk.
    pub(crate) fn detach(&self, device: &Arc<Device>, force: bool) -> Result<i32, Refused> {
        if !force {
            return self.detach_within(device, GRACEFUL_DETACH_LIMIT)?.ok_or(Refused::code(ret::INTR));
        }
        let number = device.volume;
        let diskless = |control: &mut Control| control.volume(number).is_none_or(|volume| volume.state.disk == Disk::Diskless);
        device.given_up.set(true);
        device.idle.wake_all();
        // An attach ends by itself now, and would not expect its disk to be taken away.
        let attaching = |control: &mut Control| control.volume(number).is_some_and(|volume| volume.state.disk == Disk::Attaching);
        self.wait_control(FORCED_DETACH_LIMIT, |control| !attaching(control));
        {
            let mut control = self.control.lock();
            let index = control.index(number).ok_or(Refused::code(ret::MINOR_INVALID))?;
            if diskless(&mut control) {
                return Ok(2);
            }
            if !attaching(&mut control) {
                self.hard(&mut control, index, Request::none().disk(Disk::Failed));
            }
        }
        self.wait_control(FORCED_DETACH_LIMIT, diskless);
        Ok(1)
    }

    /// A detach without force that waits at most `timeout`; `None`: the disk has not let go of everything yet.
    pub(crate) fn detach_within(&self, device: &Arc<Device>, timeout: Jiffies) -> Result<Option<i32>, Refused> {
        let number = device.volume;
        let diskless = |control: &mut Control| control.volume(number).is_none_or(|volume| volume.state.disk == Disk::Diskless);
        if diskless(&mut self.control.lock()) {
            return Ok(Some(2));
        }
        self.change_by_admin(number, Request::none().disk(Disk::Failed)).map_err(|refusal| Refused::code(refusal.code()))?;
        Ok(self.wait_control(timeout, diskless).then_some(1))
    }

    /// DT-3, in the worker: drains the disk, writes what is left, and releases it.
    pub(crate) fn drain_disk(&self, device: &Arc<Device>) {
        device.idle.wait_timeout(METADATA_TIMEOUT_SECONDS * HZ, || {
            device.given_up.is_set() || device.plane.lock().core.is_drained()
        });
        let _ = self.write_bitmap(device.volume);
        let _ = self.write_superblock(device.volume);
        self.release_failed_writes(device);
        let mut control = self.control.lock();
        if let Some(index) = control.index(device.volume) {
            self.hard(&mut control, index, Request::none().disk(Disk::Diskless));
        }
    }

    /// The disk is Diskless: let go of it.
    pub(crate) fn release_disk(&self, device: &Arc<Device>) {
        let disk = {
            let mut control = self.control.lock();
            let Some(volume) = control.volume(device.volume) else { return };
            if volume.state.disk != Disk::Diskless {
                return;
            }
            volume.disk.take()
        };
        self.set_resync_after(device, super::dependencies::NONE);
        let backing = device.plane.lock().backing.take();
        if let (Some(node), Some(disk)) = (device.node(), disk.as_ref()) {
            node.unlink_lower(&disk.backing);
            if !disk.backing.same_device(&disk.meta) {
                node.unlink_lower(&disk.meta);
            }
        }
        drop(backing);
        self.reconsider_limits(device);
        if let Some(disk) = disk {
            let Attached { backing, meta, .. } = KBox::into_inner(disk);
            let separate = !backing.same_device(&meta);
            if separate {
                meta.close(5 * HZ);
            } else {
                drop(meta);
            }
            backing.close(5 * HZ);
        }
    }
}

/// AT-9: the disk state the superblock stands for.
fn found_disk(flags: u32) -> Disk {
    match (flags & flags::CONSISTENT != 0, flags & flags::WAS_UP_TO_DATE != 0) {
        (false, _) => Disk::Inconsistent,
        (true, false) => Disk::Outdated,
        (true, true) => Disk::Consistent,
    }
}

/// Looks at the control state without changing it.
pub(crate) fn is_attached(control: &Control, number: u16) -> bool {
    control.index(number).and_then(|index| control.volumes.get(index)).is_some_and(|volume| volume.disk.is_some())
}
