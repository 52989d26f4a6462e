// SPDX-License-Identifier: GPL-2.0
//! The size of a volume: the resize command, P_SIZES of the peer, and how a new size or a new place of the metadata gets to
//! the disk (behaviour.md section 5, metadata.md 8.4).
//!
//! Locks of [`Resource::relocate`], outermost first: the log writer of the volume (no transaction meanwhile), the metadata buffer (nobody
//! still writes to the old place), the control mutex, the data plane.

use super::attach::Refused;
use super::control::publish;
use super::device::Device;
use super::packets;
use super::prelude::*;
use super::receiver::End;
use super::resource::{Control, Resource};
use super::status::{self, Notify};
use super::storage::BitmapPages;
use super::volume::Attached;
use drbd_core::bitmap::arithmetic::pages_for_bits;
use drbd_core::bitmap::{bits_for_sectors, Bitmap};
use drbd_core::genl::{attributes, ret, Attribute};
use drbd_core::handshake::sizes::{after_resize, check_resize, evaluate, Growth, ResizeCommand, ResizeFlags, SizeFacts};
use drbd_core::md::layout::{agreed_size, Geometry};
use drbd_core::md::Layout;
use drbd_core::state::{Conn, Kind, Request};
use drbd_core::wire::params::Sizes;

/// How long a shrink waits for writes behind the new end.
const RETIRED_AREA_LIMIT: Jiffies = 60 * HZ;

/// What became of the size.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Same,
    Moved,
    Grew,
    Shrank,
}

/// A resize command as it came.
struct Wanted {
    command: ResizeCommand,
    stripes: Option<u32>,
    stripe_kib: Option<u32>,
}

impl Wanted {
    fn read(parameters: Option<Attribute<'_>>) -> Self {
        let find = |number: u16| parameters.as_ref().and_then(|found| found.inner().find(number));
        let flag = |number: u16| find(number).and_then(|attribute| attribute.u8()).unwrap_or(0) != 0;
        let command = ResizeCommand {
            user_sectors: find(1).and_then(|attribute| attribute.u64()).unwrap_or(0),
            force: flag(2),
            no_resync: flag(3),
            log_kib: None,
        };
        Self { command, stripes: find(4).and_then(|attribute| attribute.u32()), stripe_kib: find(5).and_then(|attribute| attribute.u32()) }
    }

    /// The activity log as it shall be, and its size in KiB if that is news.
    fn geometry(&self, now: Geometry) -> (Geometry, Option<u64>) {
        let stripes = self.stripes.unwrap_or(now.stripes);
        let kib = self.stripe_kib.unwrap_or(now.stripe_size_4k.saturating_mul(4));
        let new = Geometry { stripes, stripe_size_4k: kib / 4 };
        (new, (new != now).then(|| u64::from(stripes) * u64::from(kib)))
    }
}

/// The layout on the metadata device as large as it is now.
pub(crate) fn layout_now(disk: &Attached, geometry: Geometry) -> Option<Layout> {
    if geometry == disk.layout.geometry && disk.meta.capacity_sectors() == disk.known_sectors.1 {
        return Some(disk.layout);
    }
    Layout::compute(disk.index, disk.meta.capacity_sectors(), geometry)
}

/// Sizes of the data and the metadata device in sectors.
pub(crate) fn capacities(backing: &BlockDev, meta: &BlockDev) -> (u64, u64) {
    (backing.capacity_sectors(), meta.capacity_sectors())
}

/// Stores the limit of the administrator, in sectors.
fn set_user_sectors(disk: &mut Attached, sectors: u64) {
    disk.conf.numbers.set(attributes::DISK_CONF, 4, sectors);
}

fn size_facts(control: &Control, index: usize, own_sectors: u64) -> SizeFacts {
    let Some(volume) = control.volumes.get(index) else { return SizeFacts::default() };
    let disk = volume.disk.as_ref();
    SizeFacts {
        own: volume.state,
        own_sectors,
        user_sectors: disk.map_or(0, |disk| disk.conf.disk_sectors()),
        last_sectors: disk.map_or(0, |disk| disk.la_size),
        current_sectors: volume.sectors,
    }
}

impl Resource {
    /// Holds the application's I/O back until [`Self::thaw_volume`].
    pub(crate) fn freeze_volume(&self, number: u16) {
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        if let Some(volume) = control.volumes.get_mut(index) {
            volume.frozen = volume.frozen.saturating_add(1);
        }
        publish(&control, index, true);
    }

    /// Lets it go on.
    pub(crate) fn thaw_volume(&self, number: u16) {
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        if let Some(volume) = control.volumes.get_mut(index) {
            volume.frozen = volume.frozen.saturating_sub(1);
        }
        publish(&control, index, true);
    }

    /// RESIZE. The caller has the turn.
    pub(crate) fn resize(self: &Arc<Self>, device: &Arc<Device>, parameters: Option<Attribute<'_>>) -> Result<(), Refused> {
        let number = device.volume;
        let mut wanted = Wanted::read(parameters);
        let (sectors, layout, old_user) = self.plan_resize(device, &mut wanted)?;
        self.freeze_volume(number);
        let outcome = self.relocate(device, sectors, layout, !wanted.command.no_resync);
        match &outcome {
            Ok(outcome) => self.announce_resize(number, *outcome, &wanted.command),
            Err(_) => {
                if let Some(disk) = self.control.lock().volume(number).and_then(|volume| volume.disk.as_mut()) {
                    set_user_sectors(disk, old_user);
                }
            }
        }
        self.thaw_volume(number);
        outcome.map(|_| ())
    }

    /// SZ-10, SZ-2, SZ-3: the new size and place, or why not. Also the limit of the administrator as it was; the new one is stored.
    fn plan_resize(&self, device: &Device, wanted: &mut Wanted) -> Result<(u64, Layout, u64), Refused> {
        let mut control = self.control.lock();
        let version = control.version;
        let volume = control.volume(device.volume).ok_or(Refused::code(ret::MINOR_INVALID))?;
        let state = volume.state;
        let known_peer = volume.peer_sizes.map_or(0, |sizes| sizes.disk_sectors);
        let Some(disk) = volume.disk.as_mut() else { return Err(Refused::code(ret::NO_DISK)) };
        let (geometry, log_kib) = wanted.geometry(disk.layout.geometry);
        wanted.command.log_kib = log_kib;
        check_resize(&state, version, &wanted.command).map_err(|refusal| Refused::code(refusal.code()))?;
        if log_kib.is_some() && geometry.max_slots() < disk.conf.al_extents() {
            return Err(Refused { code: ret::MD_LAYOUT_TOO_SMALL, info: "the activity log could not hold al-extents" });
        }
        let layout = layout_now(disk, geometry).ok_or(Refused::code(ret::MD_LAYOUT_NO_FIT))?;
        let own = layout.usable_sectors(disk.index, disk.backing.capacity_sectors());
        let assumed = wanted.command.force && state.conn < Conn::Connected;
        if assumed {
            pr_warn!("drbd{}: Resize while not connected was forced by the user!\n", device.minor);
        }
        let user = wanted.command.user_sectors;
        let (sectors, ignored) = agreed_size(own, if assumed { own } else { known_peer }, disk.la_size, user);
        if ignored {
            pr_err!("drbd{}: Requested disk size is too big ({} > {})\n", device.minor, user, sectors);
        }
        if sectors < disk.la_size {
            if log_kib.is_some() && user == 0 {
                pr_warn!("drbd{}: Implicit shrink not allowed. Use --size={}s for explicit shrink.\n", device.minor, sectors);
                return Err(Refused::code(ret::IMPLICIT_SHRINK));
            }
            if ignored {
                return Err(Refused::code(ret::MD_LAYOUT_NO_FIT));
            }
        }
        let old_user = disk.conf.disk_sectors();
        set_user_sectors(disk, user);
        Ok((sectors, layout, old_user))
    }

    /// Tells the peer, whose answer starts the resync of a new area (SZ-4, SZ-9).
    fn announce_resize(&self, number: u16, outcome: Outcome, command: &ResizeCommand) {
        let mut control = self.control.lock();
        let (version, features) = (control.version, control.features);
        let Some(volume) = control.volume(number) else { return };
        if let Some(disk) = volume.disk.as_mut() {
            disk.known_sectors = capacities(&disk.backing, &disk.meta);
        }
        if volume.state.conn != Conn::Connected {
            return;
        }
        volume.resize_pending |= outcome == Outcome::Grew;
        let flags = ResizeFlags { forced: command.force, no_resync: command.no_resync };
        self.send(number, packets::uuids(version, volume, false, 0));
        self.send(number, packets::sizes_with(version, features, volume, true, flags));
    }

    /// P_SIZES (SZ-4 to SZ-9).
    pub(crate) fn receive_sizes(self: &Arc<Self>, features: u32, number: u16, body: &[u8]) -> Result<(), End> {
        let sizes = Sizes::decode(features, body).map_err(|_| End::Protocol)?;
        let found = {
            let mut control = self.control.lock();
            let Some(index) = control.index(number) else { return Ok(()) };
            self.evaluate_sizes(&mut control, index, &sizes)?
        };
        let Some((device, sectors, layout)) = found else { return Ok(()) };
        // The limits of the queue first: what the peer cannot do is not accepted any more when the new size shows.
        self.reconsider_limits(&device);
        self.freeze_volume(number);
        let outcome = match (sectors, layout) {
            (Some(sectors), Some(layout)) => self.relocate(&device, sectors, layout, !sizes.no_resync).map_err(|_| End::Broken),
            (Some(sectors), None) => {
                self.show_size(&device, sectors);
                Ok(Outcome::Same)
            }
            (None, _) => Ok(Outcome::Same),
        };
        if let Ok(outcome) = outcome {
            self.after_sizes(&device, &sizes, outcome == Outcome::Grew);
        }
        self.thaw_volume(number);
        outcome.map(|_| ())
    }

    /// What a P_SIZES says about this node: its size and the layout of its disk. `None` for a size that stays.
    #[allow(clippy::type_complexity)]
    fn evaluate_sizes(&self, control: &mut Control, index: usize, sizes: &Sizes) -> Result<Option<(Arc<Device>, Option<u64>, Option<Layout>)>, End> {
        let Some(volume) = control.volumes.get_mut(index) else { return Ok(None) };
        volume.peer_sizes = Some(*sizes);
        let device = volume.device.clone();
        let minor = device.minor;
        // A device that grew unnoticed counts from the next resize on, not from any connect.
        let connected = volume.state.conn >= Conn::Connected;
        let layout = volume.disk.as_ref().map(|disk| {
            if connected { layout_now(disk, disk.layout.geometry).unwrap_or(disk.layout) } else { disk.layout }
        });
        let own = match (volume.disk.as_ref(), layout) {
            (Some(disk), Some(layout)) => layout.usable_sectors(disk.index, disk.backing.capacity_sectors()),
            _ => 0,
        };
        let verdict = evaluate(&size_facts(control, index, own), sizes).map_err(|shrink| {
            pr_err!("drbd{}: The peer's disk size is too small! ({} < {} sectors)\n", minor, shrink.wanted_sectors, shrink.current_sectors);
            End::Refused
        })?;
        if verdict.warn_disk {
            pr_warn!("drbd{}: Considerable difference in lower level device sizes: {}s vs. {}s\n", minor, sizes.disk_sectors, own);
        }
        if verdict.warn_user {
            pr_warn!("drbd{}: Considerable difference in user requested size\n", minor);
        }
        if verdict.both_diskless {
            pr_warn!("drbd{}: Ignored diskless peer device size\n", minor);
        }
        let Some(volume) = control.volumes.get_mut(index) else { return Ok(None) };
        let current = volume.sectors;
        let Some(disk) = volume.disk.as_mut() else { return Ok(Some((device, verdict.new_sectors, None))) };
        if let Some(user) = verdict.new_user_sectors {
            pr_info!("drbd{}: Peer sets u_size to {} sectors (old: {})\n", minor, user, disk.conf.disk_sectors());
            set_user_sectors(disk, user);
        }
        if verdict.user_ignored {
            pr_err!("drbd{}: Requested disk size is too big ({} > {})\n", minor, disk.conf.disk_sectors(), verdict.new_sectors.unwrap_or(current));
        }
        let sectors = verdict.new_sectors.unwrap_or(current);
        Ok(Some((device, Some(sectors).filter(|sectors| *sectors != 0), layout)))
    }

    /// The answer to a P_SIZES, and what happens to a new area (SZ-9).
    fn after_sizes(self: &Arc<Self>, device: &Device, sizes: &Sizes, grew: bool) {
        let number = device.volume;
        let mut control = self.control.lock();
        let (version, features, resolver) = (control.version, control.features, control.resolver);
        let Some(index) = control.index(number) else { return };
        let Some(volume) = control.volumes.get_mut(index) else { return };
        let mut disk_changed = false;
        if let Some(disk) = volume.disk.as_mut() {
            let now = capacities(&disk.backing, &disk.meta);
            disk_changed = core::mem::replace(&mut disk.known_sectors, now) != now;
        }
        let state = volume.state;
        let pending = state.conn > Conn::WFReportParams && core::mem::take(&mut volume.resize_pending);
        let after = after_resize(&state, sizes, volume.sectors, grew, pending, disk_changed, resolver);
        if after.reply {
            let flags = ResizeFlags { forced: sizes.forced, no_resync: sizes.no_resync };
            self.send(number, packets::sizes_with(version, features, volume, false, flags));
        }
        if after.growth == Growth::AssumedClean {
            pr_info!("drbd{}: Resync of new storage suppressed with --assume-clean\n", device.minor);
        }
        self.fill_new_area(&mut control, index, after.growth);
    }

    fn fill_new_area(&self, control: &mut Control, index: usize, growth: Growth) {
        let Some(volume) = control.volumes.get_mut(index) else { return };
        match growth {
            Growth::None | Growth::AssumedClean => return,
            Growth::Remember => {
                volume.new_area_remembered = true;
                return;
            }
            Growth::Source | Growth::Target => {}
        }
        pr_info!("drbd{}: Resync of new storage after online grow\n", volume.device.minor);
        if growth == Growth::Source {
            volume.new_area_due = true;
            self.begin_resync(control, index, true);
        } else if let Err(refusal) = self.change(control, index, Request::none().conn(Conn::WFSyncUUID), Kind::Soft) {
            pr_err!("{}: the new area is not synced: {}\n", self.display_name(), refusal.text());
        }
    }

    /// AC-22: a disk was missing when the device grew; now both are there.
    pub(crate) fn fill_remembered_area(&self, number: u16) {
        let mut control = self.control.lock();
        let resolver = control.resolver;
        let Some(index) = control.index(number) else { return };
        let Some(volume) = control.volumes.get_mut(index) else { return };
        if core::mem::take(&mut volume.new_area_remembered) && volume.state.conn == Conn::Connected {
            let growth = drbd_core::handshake::sizes::growth(&volume.state, false, resolver);
            self.fill_new_area(&mut control, index, growth);
        }
    }

    /// SZ-8: puts a size and a layout in force. A crash on the way leaves a superblock, at the old or the new place, that asks for a full sync or is as before.
    /// The caller has frozen the volume.
    fn relocate(self: &Arc<Self>, device: &Arc<Device>, sectors: u64, layout: Layout, set_new: bool) -> Result<Outcome, Refused> {
        let number = device.volume;
        let out_of_memory = |_| {
            pr_err!("drbd{}: no memory for the bitmap, the size stays\n", device.minor);
            Refused::code(ret::NOMEM_BITMAP)
        };
        let pages = BitmapPages::new(pages_for_bits(bits_for_sectors(sectors))).map_err(out_of_memory)?;
        let empty = BitmapPages::new(0).map_err(out_of_memory)?;
        let one_at_a_time = device.log.lock();
        let (old_sectors, moved, retired, old_pages) = {
            let nobody_writes = device.meta.lock();
            let mut control = self.control.lock();
            let Some(volume) = control.volume(number) else { return Ok(Outcome::Same) };
            let same_size = volume.sectors == sectors;
            let Some(disk) = volume.disk.as_mut() else { return Ok(Outcome::Same) };
            let moved = disk.layout != layout;
            if same_size && !moved && disk.la_size == sectors {
                return Ok(Outcome::Same);
            }
            let old_sectors = core::mem::replace(&mut disk.la_size, sectors);
            // The old superblock, where it comes to lie among the data.
            let retired = Some(disk.layout.superblock).filter(|old| moved && disk.index.is_internal() && old + 8 <= layout.bitmap_sector());
            disk.layout = layout;
            disk.moving = true;
            volume.sectors = sectors;
            // AT-8: with clean blocks there is something to log again.
            volume.log_suspended &= set_new || sectors <= old_sectors;
            let mut plane = device.plane.lock();
            let old = core::mem::replace(&mut plane.core.bitmap, Bitmap::new(empty, 0));
            let (mut new, old_pages) = old.resized(pages, sectors, set_new);
            if moved {
                new.dirty_all();
            }
            plane.core.bitmap = new;
            drop(plane);
            drop(control);
            drop(nobody_writes);
            (old_sectors, moved, retired, old_pages)
        };
        drop(old_pages);
        if sectors < old_sectors {
            self.show_size(device, sectors);
            // The metadata may come to lie where they write.
            let deadline = jiffies().wrapping_add(RETIRED_AREA_LIMIT);
            while device.plane.lock().core.is_active_behind(sectors) && crate::kapi::time::is_before(jiffies(), deadline) {
                device.idle.wait_timeout(HZ / 10 + 1, || false);
            }
        }
        let what = match (sectors != old_sectors, moved) {
            (true, true) => "size changed and md moved",
            (true, false) => "size changed",
            _ => "md moved",
        };
        pr_info!("drbd{}: Writing the whole bitmap, {}\n", device.minor, what);
        // An error of the disk gives the disk up, not the size.
        if let (Ok(()), Some(sector)) = (self.store_metadata(device), retired) {
            device.erase_metadata(sector);
        }
        drop(one_at_a_time);
        if sectors > old_sectors {
            self.show_size(device, sectors);
        }
        Ok(match sectors.cmp(&old_sectors) {
            core::cmp::Ordering::Greater if old_sectors != 0 => Outcome::Grew,
            core::cmp::Ordering::Less => Outcome::Shrank,
            _ => Outcome::Moved,
        })
    }

    /// Steps 2 to 5 of metadata.md 8.4: superblock with the marks of `moving`, log, bitmap, superblock without. The caller holds `log`.
    pub(crate) fn store_metadata(&self, device: &Device) -> Result {
        let number = device.volume;
        self.write_superblock(number)?;
        device.fill_log()?;
        self.write_bitmap(number)?;
        if let Some(disk) = self.control.lock().volume(number).and_then(|volume| volume.disk.as_mut()) {
            disk.moving = false;
        }
        self.write_superblock(number)
    }

    /// A size in sectors becomes visible: to the block layer, to the checks of what the peer sends, and to user space.
    pub(crate) fn show_size(&self, device: &Device, sectors: u64) {
        if let Some(volume) = self.control.lock().volume(device.volume) {
            volume.sectors = sectors;
        }
        device.exported_sectors.store(sectors, Relaxed);
        pr_info!("drbd{}: size = {} KB\n", device.minor, sectors / 2);
        if let Some(node) = device.node() {
            node.set_capacity_and_notify(sectors);
        }
        status::notify_device(self, device.volume, Notify::Change);
    }
}
