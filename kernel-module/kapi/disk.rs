// SPDX-License-Identifier: GPL-2.0
//! Our own disks: /dev/drbdN.
//!
//! Locks: the mutex `links` is taken before the kernel's locks of the disks it links.

use super::bdev::BlockDev;
use super::bio::ParentBio;
use super::limits::Limits;
use super::raw::{b, x};
use super::sync::{new_mutex, Acquire, Arc, ArcBorrow, Atomic, Full, Mutex};
use super::time::HZ;
use core::fmt::Write;
use core::marker::PhantomData;
use core::ptr::{null, null_mut, NonNull};
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;
use kernel::types::ForeignOwnable;

/// The major number of DRBD devices.
pub(crate) const MAJOR: u32 = 147;

/// Disks that exist, with openers or without.
static LIVE_DISKS: Atomic<i32> = Atomic::new(0);

/// The registered major number.
pub(crate) struct Major(());

impl Major {
    /// Registers major 147 as "drbd". EBUSY if another driver has it. Process context.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: the name lives for ever.
        to_result(unsafe { b::__register_blkdev(MAJOR, c"drbd".as_char_ptr(), None) })?;
        Ok(Major(()))
    }
}

impl Drop for Major {
    fn drop(&mut self) {
        // The last part of a disk that was still open goes a moment after its last close.
        let mut rounds = 0u32;
        while LIVE_DISKS.load(Acquire) > 0 {
            rounds = rounds.saturating_add(1);
            if rounds == 500 {
                pr_err!("waiting for a disk that nobody removed\n");
            }
            super::wait::sleep(HZ / 50 + 1);
        }
        // SAFETY: registered in `register`.
        unsafe { b::unregister_blkdev(MAJOR, c"drbd".as_char_ptr()) }
    }
}

/// How a disk is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenMode {
    /// For writing.
    pub(crate) write: bool,
    /// Exclusively (mount, mkfs).
    pub(crate) exclusive: bool,
    /// Without waiting, not even for the medium.
    pub(crate) no_delay: bool,
}

/// What the owner of a disk does.
pub(crate) trait BlockOps: Send + Sync + Sized + 'static {
    /// Takes over a bio that is within the limits of the disk. Process context of whoever
    /// submits. Must not wait for I/O that it submits itself: that starts only after it returns.
    fn submit(device: ArcBorrow<'_, Self>, bio: ParentBio);

    /// Somebody opens the disk; an error refuses. Process context, the disk's open lock is held.
    fn open(device: ArcBorrow<'_, Self>, mode: OpenMode) -> Result;

    /// One opener is gone. Process context, the disk's open lock is held.
    fn release(device: ArcBorrow<'_, Self>);
}

/// A disk in the system. It holds a reference on `D` until its last opener is gone, and `D` may
/// hold the disk: take it out of `D` and call [`Disk::remove`] to end both.
#[pin_data(PinnedDrop)]
pub(crate) struct Disk<D: BlockOps> {
    disk: NonNull<b::gendisk>,
    #[pin]
    links: Mutex<Links>,
    _device: PhantomData<D>,
}

/// The state of a disk in sysfs.
struct Links {
    removed: bool,
    lower: KVec<BlockDev>,
}

// SAFETY: a gendisk is counted and may be used from any thread; `D` is shared between threads
// by the block layer, which its bounds allow.
unsafe impl<D: BlockOps> Send for Disk<D> {}
// SAFETY: as above.
unsafe impl<D: BlockOps> Sync for Disk<D> {}

impl<D: BlockOps> Disk<D> {
    const OPS: b::block_device_operations = b::block_device_operations {
        submit_bio: Some(submit_bio::<D>),
        poll_bio: None,
        open: Some(open::<D>),
        release: Some(release::<D>),
        ioctl: None,
        compat_ioctl: None,
        check_events: None,
        unlock_native_capacity: None,
        getgeo: None,
        set_read_only: None,
        free_disk: Some(free_disk::<D>),
        swap_slot_free_notify: None,
        report_zones: None,
        devnode: None,
        get_unique_id: None,
        owner: &raw mut x::__this_module,
        pr_ops: null(),
        alternative_gpt_sector: None,
    };

    /// Creates and adds /dev/drbd`minor`, read-only and with capacity 0. Process context.
    /// Fails with ENOMEM, EINVAL (limits), EEXIST (name or minor taken).
    pub(crate) fn new(minor: u32, device: Arc<D>, limits: &Limits) -> Result<Arc<Self>> {
        let mut limits = limits.clone();
        // SAFETY: the limits and the lock class are valid; the class lives for ever.
        let disk = from_err_ptr(unsafe {
            b::__blk_alloc_disk(
                limits.as_mut_ptr(),
                b::NUMA_NO_NODE,
                kernel::static_lock_class!().as_ptr(),
            )
        })?;
        let disk = NonNull::new(disk).ok_or(ENOMEM)?;
        let raw = disk.as_ptr();
        // SAFETY: the disk is ours alone until it is added; it is put again on failure.
        unsafe {
            (*raw).major = MAJOR as c_int;
            (*raw).first_minor = minor as c_int;
            (*raw).minors = 1;
            (*raw).flags |= x::GENHD_FL_NO_PART as c_int;
            (*raw).fops = &Self::OPS;
            set_name(&mut (*raw).disk_name, minor);
            b::set_capacity(raw, 0);
            b::set_disk_ro(raw, true);
        }
        let this = Arc::pin_init(
            pin_init!(Self {
                disk,
                links <- new_mutex!(
                    Links { removed: true, lower: KVec::new() },
                    "drbd_disk_links"
                ),
                _device: PhantomData,
            }),
            GFP_KERNEL,
        )
        // SAFETY: never added, nobody else knows it.
        .inspect_err(|_| unsafe { b::put_disk(raw) })?;
        LIVE_DISKS.fetch_add(1, Full);
        // SAFETY: everything is set up; the reference on the device goes with `free_disk`, which
        // is called only for disks that were added.
        let added = unsafe {
            (*raw).private_data = device.into_foreign();
            to_result(b::device_add_disk(null_mut(), raw, null_mut()))
        };
        if let Err(error) = added {
            // SAFETY: `free_disk` is not called for a disk that was never added.
            unsafe { drop(Arc::<D>::from_foreign((*raw).private_data)) };
            LIVE_DISKS.fetch_sub(1, Full);
            return Err(error);
        }
        this.links.lock().removed = false;
        Ok(this)
    }

    fn as_ptr(&self) -> *mut b::gendisk {
        self.disk.as_ptr()
    }

    /// Sets the size in sectors of 512 bytes, quietly. Process context.
    pub(crate) fn set_capacity(&self, sectors: u64) {
        // SAFETY: the disk is counted.
        unsafe { b::set_capacity(self.as_ptr(), sectors) }
    }

    /// Sets the size and tells user space; true if it did. Process context.
    pub(crate) fn set_capacity_and_notify(&self, sectors: u64) -> bool {
        // SAFETY: the disk is counted.
        unsafe { b::set_capacity_and_notify(self.as_ptr(), sectors) }
    }

    /// The size in sectors of 512 bytes.
    pub(crate) fn capacity_sectors(&self) -> u64 {
        // SAFETY: the disk is counted, and `part0` lives as long.
        unsafe { (&raw const (*(*self.as_ptr()).part0).bd_nr_sectors).read_volatile() }
    }

    /// Makes the disk read-only or writable, and tells user space. Process context.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        // SAFETY: the disk is counted.
        unsafe { b::set_disk_ro(self.as_ptr(), read_only) }
    }

    /// Number of openers.
    pub(crate) fn open_count(&self) -> u32 {
        // SAFETY: the disk is counted, and `part0` lives as long.
        unsafe { x::kapi_disk_openers(self.as_ptr()) }
    }

    /// Sends a change event. Process context.
    pub(crate) fn uevent_change(&self) {
        // SAFETY: the disk is counted.
        unsafe { b::disk_uevent(self.as_ptr(), b::kobject_action_KOBJ_CHANGE) }
    }

    /// Changes the limits. No I/O may be on its way in the meantime: the caller has stopped it.
    /// Process context; `change` runs with the kernel's mutex of the limits held. EINVAL if they contradict each other; they are as before then.
    pub(crate) fn update_limits(&self, change: impl FnOnce(&mut Limits)) -> Result {
        let mut limits = Limits::stacking();
        // SAFETY: the disk has a queue; `commit` gives the lock back that `start` takes.
        unsafe {
            let queue = (*self.as_ptr()).queue;
            x::kapi_limits_start_update(queue, limits.as_mut_ptr());
            change(&mut limits);
            limits.complete();
            to_result(b::queue_limits_commit_update(queue, limits.as_mut_ptr()))
        }
    }

    /// Makes the slaves/ and holders/ links of sysfs between the disk and one below it, once per
    /// pair. Process context. ENODEV after [`Self::remove`].
    pub(crate) fn link_lower(&self, lower: &BlockDev) -> Result {
        let mut links = self.links.lock();
        if links.removed {
            return Err(ENODEV);
        }
        links.lower.reserve(1, GFP_KERNEL)?;
        // SAFETY: the disk is added; the device is open and claimed, and stays so while the
        // handle is on the list.
        to_result(unsafe { b::bd_link_disk_holder(lower.as_ptr(), self.as_ptr()) })?;
        Ok(links.lower.push(lower.clone(), GFP_KERNEL)?)
    }

    /// Undoes [`Self::link_lower`]. Process context.
    pub(crate) fn unlink_lower(&self, lower: &BlockDev) {
        let mut links = self.links.lock();
        if let Some(place) = links.lower.iter().position(|one| one.same_device(lower)) {
            self.unlink_at(&mut links, place);
        }
    }

    fn unlink_at(&self, links: &mut Links, place: usize) {
        if let Ok(lower) = links.lower.remove(place) {
            // SAFETY: linked in `link_lower`; the disk is still added.
            unsafe { b::bd_unlink_disk_holder(lower.as_ptr(), self.as_ptr()) }
        }
    }

    /// Takes the disk out of the system; waits until `submit` is not running any more. Process
    /// context. Openers keep what is left of it until they close it.
    pub(crate) fn remove(&self) {
        let mut links = self.links.lock();
        if links.removed {
            return;
        }
        while !links.lower.is_empty() {
            self.unlink_at(&mut links, 0);
        }
        links.removed = true;
        drop(links);
        // SAFETY: added in `new`, removed once.
        unsafe { b::del_gendisk(self.as_ptr()) }
    }
}

#[pinned_drop]
impl<D: BlockOps> PinnedDrop for Disk<D> {
    fn drop(self: Pin<&mut Self>) {
        self.remove();
        // SAFETY: our reference; the rest goes when the last opener is gone.
        unsafe { b::put_disk(self.as_ptr()) }
    }
}

/// Writes `drbdN` into a disk's name.
fn set_name(name: &mut [c_char; 32], minor: u32) {
    struct Cursor<'a>(core::slice::IterMut<'a, c_char>);
    impl Write for Cursor<'_> {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for byte in text.bytes() {
                *self.0.next().ok_or(core::fmt::Error)? = byte as c_char;
            }
            Ok(())
        }
    }
    name.fill(0);
    // A u32 fits.
    let _ = write!(Cursor(name.iter_mut()), "drbd{minor}");
}

/// # Safety
///
/// `disk` was made by [`Disk::<D>::new`] and `free_disk` was not called yet.
unsafe fn device<'a, D: BlockOps>(disk: *mut b::gendisk) -> ArcBorrow<'a, D> {
    // SAFETY: `new` stored an `Arc<D>` there.
    unsafe { Arc::<D>::borrow((*disk).private_data) }
}

/// # Safety
///
/// Called by the block layer with a bio for a disk of ours.
unsafe extern "C" fn submit_bio<D: BlockOps>(bio: *mut b::bio) {
    // SAFETY: the bio is ours from here on; its device is part of the disk.
    unsafe {
        let bio = b::bio_split_to_limits(bio);
        if bio.is_null() {
            return;
        }
        let disk = (*(*bio).bi_bdev).bd_disk;
        if let Some(parent) = ParentBio::from_raw(bio) {
            D::submit(device::<D>(disk), parent);
        }
    }
}

/// # Safety
///
/// Called by the block layer with a disk of ours.
unsafe extern "C" fn open<D: BlockOps>(disk: *mut b::gendisk, mode: b::blk_mode_t) -> c_int {
    let mode = OpenMode {
        write: mode & x::BLK_OPEN_WRITE != 0,
        exclusive: mode & x::BLK_OPEN_EXCL != 0,
        no_delay: mode & x::BLK_OPEN_NDELAY != 0,
    };
    // SAFETY: guaranteed by the caller.
    match D::open(unsafe { device::<D>(disk) }, mode) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// Called by the block layer with a disk of ours.
unsafe extern "C" fn release<D: BlockOps>(disk: *mut b::gendisk) {
    // SAFETY: guaranteed by the caller.
    D::release(unsafe { device::<D>(disk) });
}

/// # Safety
///
/// Called by the block layer when a disk of ours that was added goes, once.
unsafe extern "C" fn free_disk<D: BlockOps>(disk: *mut b::gendisk) {
    // SAFETY: `new` stored an `Arc<D>` there; this is the last use.
    drop(unsafe { Arc::<D>::from_foreign((*disk).private_data) });
    LIVE_DISKS.fetch_sub(1, Full);
}
