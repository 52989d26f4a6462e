// SPDX-License-Identifier: GPL-2.0
//! Lower block devices: the backing disk and the metadata disk.

use super::deferred::InProcess;
use super::module::ModuleRef;
use super::raw::{b, x};
use super::sync::Arc;
use super::time::Jiffies;
use super::wait::{new_completion, Completion};
use core::fmt;
use core::ptr::null;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;

/// Who holds a device exclusively. Keep one per volume: the same token may open the same device
/// twice (data and internal metadata), another one gets EBUSY.
pub(crate) struct HolderToken {
    /// Its address is the identity, so it must not be of size 0.
    _place: u64,
}

impl HolderToken {
    /// Fails with ENOMEM.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self { _place: 0 }, GFP_KERNEL)?)
    }
}

/// The holder that all volumes share.
static SHARED: HolderToken = HolderToken { _place: 0 };

/// How a device is claimed.
pub(crate) enum Claim<'a> {
    /// For one volume.
    By(&'a Arc<HolderToken>),
    /// For metadata of several volumes in one device.
    SharedMeta,
}

/// An open file of a block device.
struct OpenFile {
    file: *mut b::file,
    closed: Arc<Completion>,
    /// The holder's address stays taken until the claim is given up.
    _token: Option<Arc<HolderToken>>,
    /// Requests in flight hold the device, and their end runs code of the module.
    _module: ModuleRef,
}

// SAFETY: the file is owned; it may be closed by any thread.
unsafe impl Send for OpenFile {}
// SAFETY: shared access only reads the pointer.
unsafe impl Sync for OpenFile {}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: opened in `BlockDev::open`, put once. Gives up the claim at once.
        unsafe { b::bdev_fput(self.file) };
        self.closed.complete_all();
    }
}

struct Inner {
    bdev: *mut b::block_device,
    file: InProcess<OpenFile>,
}

// SAFETY: the block device lives as long as its file is open; all functions used on it may be
// called from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

/// An open block device, counted. I/O in flight holds a reference, so it is closed when the last
/// handle is gone *and* all I/O has ended.
#[derive(Clone)]
pub(crate) struct BlockDev {
    inner: Arc<Inner>,
}

/// A device number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DevNumber {
    /// Major number.
    pub(crate) major: u32,
    /// Minor number.
    pub(crate) minor: u32,
}

/// What a device can do; sizes in bytes, or in sectors of 512 bytes where the name says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueFacts {
    /// It has a volatile write cache: flushes matter.
    pub(crate) write_cache: bool,
    /// It knows forced unit access.
    pub(crate) fua: bool,
    /// It is a rotating disk.
    pub(crate) rotational: bool,
    /// Its data must not change while it is written.
    pub(crate) stable_writes: bool,
    /// Largest discard; 0: none.
    pub(crate) max_discard_sectors: u32,
    /// Unit of discards.
    pub(crate) discard_granularity_bytes: u32,
    /// Offset of the first such unit.
    pub(crate) discard_alignment_bytes: u32,
    /// Largest write-zeroes; 0: none.
    pub(crate) max_write_zeroes_sectors: u32,
    /// Largest write-zeroes that gives up the blocks; 0: none.
    pub(crate) max_write_zeroes_unmap_sectors: u32,
    /// Largest I/O.
    pub(crate) max_hw_sectors: u32,
    /// Unit of addressing.
    pub(crate) logical_block_bytes: u32,
    /// Unit of writing without a read before.
    pub(crate) physical_block_bytes: u32,
    /// Smallest efficient I/O.
    pub(crate) io_min_bytes: u32,
    /// Best I/O size; 0: unknown.
    pub(crate) io_opt_bytes: u32,
}

/// Whether zeroing may give up the blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZeroMode {
    /// The device may unmap them.
    MayUnmap,
    /// They stay allocated.
    NoUnmap,
}

impl BlockDev {
    /// Opens a device for reading and writing, exclusively. Process context. The errors are the
    /// kernel's: ENOENT, ENOTBLK, EBUSY (claimed by another), EACCES (read-only), ENXIO ...
    pub(crate) fn open(path: &CStr, claim: Claim<'_>) -> Result<Self> {
        let (holder, token) = match claim {
            Claim::By(token) => (Arc::as_ptr(token), Some(token.clone())),
            Claim::SharedMeta => (&raw const SHARED, None),
        };
        let module = ModuleRef::get()?;
        let closed = Arc::pin_init(new_completion!("drbd_bdev_closed"), GFP_KERNEL)?;
        // SAFETY: the path is terminated; the holder's address stays ours until the file is
        // closed; no holder operations.
        let file = from_err_ptr(unsafe {
            b::bdev_file_open_by_path(
                path.as_char_ptr(),
                x::BLK_OPEN_READ | x::BLK_OPEN_WRITE,
                holder.cast_mut().cast(),
                null(),
            )
        })?;
        let open = OpenFile {
            file,
            closed,
            _token: token,
            _module: module,
        };
        // SAFETY: the file is open.
        let bdev = unsafe { b::file_bdev(file) };
        let inner = Inner {
            bdev,
            file: InProcess::new(open)?,
        };
        Ok(Self {
            inner: Arc::new(inner, GFP_KERNEL)?,
        })
    }

    /// Gives up this handle and waits at most `timeout` jiffies until the device is closed,
    /// which takes the end of all I/O and of all other handles. Process context. False: it will
    /// be closed later.
    pub(crate) fn close(self, timeout: Jiffies) -> bool {
        let closed = self.inner.file.closed.clone();
        drop(self);
        closed.wait_timeout(timeout)
    }

    pub(super) fn as_ptr(&self) -> *mut b::block_device {
        self.inner.bdev
    }

    /// Size in sectors of 512 bytes.
    pub(crate) fn capacity_sectors(&self) -> u64 {
        // SAFETY: the device is open; a resize writes the word as a whole.
        unsafe { (&raw const (*self.as_ptr()).bd_nr_sectors).read_volatile() }
    }

    /// Its number.
    pub(crate) fn device_number(&self) -> DevNumber {
        // SAFETY: the device is open; the number does not change.
        let number = unsafe { (*self.as_ptr()).bd_dev };
        DevNumber {
            major: number >> 20,
            minor: number & 0xf_ffff,
        }
    }

    /// Whether both are the same device (or partition).
    pub(crate) fn same_device(&self, other: &Self) -> bool {
        core::ptr::eq(self.as_ptr(), other.as_ptr())
    }

    /// Whether it cannot be written (now).
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: the device is open.
        unsafe { x::kapi_bdev_read_only(self.as_ptr()) }
    }

    /// Writes its kernel name, for example `sda1`.
    pub(crate) fn write_name(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let mut text = [0u8; 40];
        // SAFETY: the buffer and its size; the device is open.
        unsafe { x::kapi_bdev_name(self.as_ptr(), text.as_mut_ptr(), text.len()) };
        let name = CStr::from_bytes_until_nul(&text).map_err(|_| fmt::Error)?;
        out.write_str(name.to_str().map_err(|_| fmt::Error)?)
    }

    /// What the device can do.
    pub(crate) fn facts(&self) -> QueueFacts {
        // SAFETY: the device is open, and so is its queue; single words are read, which may
        // change at any time but are each valid.
        let limits = unsafe { &raw const (*(*self.as_ptr()).bd_queue).limits };
        macro_rules! read {
            ($field:ident) => {
                // SAFETY: as above.
                unsafe { (&raw const (*limits).$field).read_volatile() }
            };
        }
        let features = read!(features);
        QueueFacts {
            // SAFETY: the device is open.
            write_cache: unsafe { x::kapi_bdev_write_cache(self.as_ptr()) },
            // SAFETY: as above.
            fua: unsafe { x::kapi_bdev_fua(self.as_ptr()) },
            rotational: features & b::BLK_FEAT_ROTATIONAL != 0,
            stable_writes: features & x::BLK_FEAT_STABLE_WRITES != 0,
            max_discard_sectors: read!(max_discard_sectors),
            discard_granularity_bytes: read!(discard_granularity),
            // SAFETY: as above.
            discard_alignment_bytes: unsafe { b::bdev_discard_alignment(self.as_ptr()) },
            max_write_zeroes_sectors: read!(max_write_zeroes_sectors),
            max_write_zeroes_unmap_sectors: read!(max_wzeroes_unmap_sectors),
            max_hw_sectors: read!(max_hw_sectors),
            logical_block_bytes: read!(logical_block_size),
            physical_block_bytes: read!(physical_block_size),
            io_min_bytes: read!(io_min),
            io_opt_bytes: read!(io_opt),
        }
    }

    /// Sectors read and written so far on the whole disk of the device, by anybody.
    pub(crate) fn sectors_done(&self) -> u64 {
        // SAFETY: the device is open, and so its disk stays.
        unsafe { x::kapi_bdev_sectors_done(self.as_ptr()) as u64 }
    }

    /// Unit of addressing in bytes.
    pub(crate) fn logical_block_bytes(&self) -> u32 {
        self.facts().logical_block_bytes
    }

    /// Makes everything written so far durable; waits for it. Process context.
    pub(crate) fn flush(&self) -> Result {
        // SAFETY: the device is open.
        to_result(unsafe { b::blkdev_issue_flush(self.as_ptr()) })
    }

    /// Fills a range with zeros; waits for it. Process context.
    pub(crate) fn zeroout(&self, sector: u64, sectors: u64, mode: ZeroMode) -> Result {
        let flags = match mode {
            ZeroMode::MayUnmap => 0,
            ZeroMode::NoUnmap => x::ZERO_NOUNMAP,
        };
        // SAFETY: the device is open; the range is checked by the block layer.
        to_result(unsafe {
            b::blkdev_issue_zeroout(self.as_ptr(), sector, sectors, x::GFP_NOIO, flags)
        })
    }

    /// Discards a range; waits for it. Process context. EOPNOTSUPP if the device has no discard.
    pub(crate) fn discard(&self, sector: u64, sectors: u64) -> Result {
        // SAFETY: the device is open; the range is checked by the block layer.
        to_result(unsafe { b::blkdev_issue_discard(self.as_ptr(), sector, sectors, x::GFP_NOIO) })
    }
}
