// SPDX-License-Identifier: GPL-2.0
//! Requests to block devices.
//!
//! [`Io<T>`] is a counted handle. Behind it lie, in one block of memory, the bookkeeping
//! ([`Header`]), the driver's own data `T` and the bio. While a request is in flight the block
//! layer owns the bio and one reference; `completed` gets that reference back.

use super::parent::{ParentBio, ParentCell};
use super::segments::Segments;
use super::status::{BlkStatus, Op, OpFlags};
use crate::kapi::bdev::BlockDev;
use crate::kapi::deferred::InProcess;
use crate::kapi::module::ModuleRef;
use crate::kapi::page::{PagePool, RawPage, PAGE_BYTES};
use crate::kapi::raw::{b, x};
use crate::kapi::sync::{Arc, Atomic, Full, Relaxed, Release};
use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ops::Deref;
use core::ptr::{null, null_mut, NonNull};
use kernel::prelude::*;
use kernel::sync::Refcount;
use kernel::types::Opaque;

/// Largest request in bytes: what one bio holds.
pub(crate) const MAX_IO_BYTES: u32 = b::BIO_MAX_VECS * PAGE_BYTES as u32;

/// What an [`IoSet`] is used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IoKind {
    /// Requests of applications, and requests without data.
    Parents,
    /// Requests with pages of their own.
    Pages,
}

/// The driver's part of a request.
pub(crate) trait IoClient: Send + Sync + Sized + 'static {
    /// The request ended; called once per successful `submit`, in any context. It may be
    /// submitted again from here in process context only.
    fn completed(io: Io<Self>, status: BlkStatus);
}

/// Bookkeeping of a request; the bio follows at [`IoSet::FRONT_PAD`].
#[repr(C)]
pub(super) struct Header<T: IoClient> {
    references: Refcount,
    in_flight: Atomic<bool>,
    /// It is in an [`super::IoQueue`], whose owner has `next`.
    linked: Atomic<bool>,
    pub(super) next: UnsafeCell<Option<NonNull<Header<T>>>>,
    /// The bio is as it was allocated: no reset needed before submitting.
    fresh: Atomic<bool>,
    parent: ParentCell,
    /// The device of the flight; touched only by the one who holds `in_flight`.
    device: UnsafeCell<Option<BlockDev>>,
    set: *const IoSet<T>,
    /// Owned pages come from here; null without such.
    pool: *const PagePool,
    /// The data: first vector, bytes to skip in it, length.
    vectors: *mut b::bio_vec,
    vector_count: u16,
    index: u32,
    skip: u32,
    size_bytes: u32,
    pub(super) data: T,
}

/// Where requests of one kind come from.
pub(crate) struct IoSet<T: IoClient> {
    bios: InProcess<BioSet>,
    kind: IoKind,
    _client: PhantomData<fn(T)>,
}

/// The kernel's bio set, at a fixed address.
struct BioSet {
    inner: Pin<KBox<Opaque<b::bio_set>>>,
    /// A request that a disk never answers keeps its set, and so the code that its end would run: rmmod says "in use" at once.
    _module: ModuleRef,
}

// SAFETY: bio sets may be used and freed from any thread.
unsafe impl Send for BioSet {}
// SAFETY: as above.
unsafe impl Sync for BioSet {}

impl Drop for BioSet {
    fn drop(&mut self) {
        // SAFETY: initialised in `IoSet::new`; every request held a reference and is gone.
        unsafe { b::bioset_exit(self.inner.get()) }
    }
}

/// A counted handle of a request. The last one drops `T`, in any context.
pub(crate) struct Io<T: IoClient> {
    header: NonNull<Header<T>>,
}

// SAFETY: like `Arc`, as the bounds of `IoClient` allow; the bookkeeping is atomic or owned by
// the flight.
unsafe impl<T: IoClient> Send for Io<T> {}
// SAFETY: as above.
unsafe impl<T: IoClient> Sync for Io<T> {}

impl<T: IoClient> IoSet<T> {
    const FRONT_PAD: usize = {
        // The slab behind a bio set promises no more than this.
        assert!(align_of::<Header<T>>() <= b::ARCH_KMALLOC_MINALIGN);
        size_of::<Header<T>>().next_multiple_of(16)
    };

    /// Makes a set with `reserve` requests that are there even without memory. Each reserved
    /// request of kind [`IoKind::Pages`] takes 4 KiB more. Process context; fails with ENOMEM.
    pub(crate) fn new(kind: IoKind, reserve: u32) -> Result<Arc<Self>> {
        let module = ModuleRef::get()?;
        let zeroed = pin_init::init_zeroed::<Opaque<b::bio_set>>();
        let inner = KBox::pin_init(zeroed, GFP_KERNEL)?;
        let flags = match kind {
            IoKind::Parents => b::BIOSET_PERCPU_CACHE,
            IoKind::Pages => b::BIOSET_PERCPU_CACHE | b::BIOSET_NEED_BVECS,
        };
        // SAFETY: `bioset_init` wants zeroed memory of the right type at a fixed address.
        kernel::error::to_result(unsafe {
            b::bioset_init(
                inner.get(),
                reserve.max(1),
                Self::FRONT_PAD as c_uint,
                flags as c_int,
            )
        })?;
        let bios = InProcess::new(BioSet { inner, _module: module })?;
        Ok(Arc::new(
            Self {
                bios,
                kind,
                _client: PhantomData,
            },
            GFP_KERNEL,
        )?)
    }

    /// A request for an application's bio: it works on the same pages. `make` gives the driver's
    /// data. Answer the application with [`Io::finish_parent`]. Process context; never fails.
    pub(crate) fn for_parent<I>(
        self: &Arc<Self>,
        parent: ParentBio,
        make: impl FnOnce(&ParentBio) -> I,
    ) -> Io<T>
    where
        I: PinInit<T, Infallible>,
    {
        let data = make(&parent);
        let source = parent.as_ptr();
        let bio = self.allocate(0);
        // SAFETY: both bios exist; the parent's vectors stay until it is ended, and `submit`
        // takes a hold on it.
        unsafe {
            let iter = (*source).bi_iter;
            (*bio).bi_io_vec = (*source).bi_io_vec;
            (*bio).bi_opf |= (*source).bi_opf & x::KEPT_HINTS;
            (*bio).bi_ioprio = (*source).bi_ioprio;
            (*bio).bi_write_hint = (*source).bi_write_hint;
            x::kapi_bio_set_cloned(bio);
            let extent = Extent {
                vectors: (*source).bi_io_vec,
                vector_count: 0,
                index: iter.bi_idx,
                skip: x::kapi_bio_skip(source),
                size_bytes: iter.bi_size,
            };
            self.build(bio, Some(parent), null(), extent, data)
        }
    }

    /// A request with `size_bytes` of memory of its own, from `pool`; contents undefined. The
    /// size is cut to [`MAX_IO_BYTES`]; the set has to be of kind [`IoKind::Pages`], or the
    /// request gets no memory. Process context; never fails, may wait for pages.
    pub(crate) fn with_pages(
        self: &Arc<Self>,
        pool: &Arc<PagePool>,
        size_bytes: u32,
        data: impl PinInit<T, Infallible>,
    ) -> Io<T> {
        self.with_pages_waiting(pool, size_bytes, data, true)
    }

    /// The same with as much memory as is at hand, down to nothing at all. Process context; does not wait for pages.
    pub(crate) fn with_pages_at_hand(
        self: &Arc<Self>,
        pool: &Arc<PagePool>,
        size_bytes: u32,
        data: impl PinInit<T, Infallible>,
    ) -> Io<T> {
        self.with_pages_waiting(pool, size_bytes, data, false)
    }

    /// `wait`: until all pages are there.
    fn with_pages_waiting(
        self: &Arc<Self>,
        pool: &Arc<PagePool>,
        size_bytes: u32,
        data: impl PinInit<T, Infallible>,
        wait: bool,
    ) -> Io<T> {
        let size_bytes = match self.kind {
            IoKind::Pages => size_bytes.min(MAX_IO_BYTES),
            IoKind::Parents => 0,
        };
        let count = size_bytes.div_ceil(PAGE_BYTES as u32) as u16;
        let bio = self.allocate(count);
        // SAFETY: the bio is ours and has room for `count` vectors.
        unsafe {
            let vectors = (*bio).bi_io_vec;
            let mut used: u16 = 0;
            let mut left = size_bytes;
            let mut put = |page: RawPage| {
                let bytes = left.min(PAGE_BYTES as u32);
                vectors.add(used as usize).write(b::bio_vec {
                    bv_page: page.as_ptr(),
                    bv_len: bytes,
                    bv_offset: 0,
                });
                used = used.wrapping_add(1);
                left = left.wrapping_sub(bytes);
            };
            if wait {
                pool.take(count as usize, &mut put);
            } else {
                pool.take_at_hand(count as usize, &mut put);
            }
            let extent = Extent {
                vectors,
                vector_count: used,
                index: 0,
                skip: 0,
                size_bytes: size_bytes.wrapping_sub(left),
            };
            let pool = Arc::into_raw(pool.clone());
            self.build(bio, None, pool, extent, data)
        }
    }

    /// A request without data: flush, discard, write zeroes. Process context; never fails.
    pub(crate) fn bare(self: &Arc<Self>, data: impl PinInit<T, Infallible>) -> Io<T> {
        let bio = self.allocate(0);
        let extent = Extent {
            vectors: null_mut(),
            vector_count: 0,
            index: 0,
            skip: 0,
            size_bytes: 0,
        };
        // SAFETY: the bio is ours; no data.
        unsafe { self.build(bio, None, null(), extent, data) }
    }

    /// A bio of the set, without device.
    fn allocate(&self, vectors: u16) -> *mut b::bio {
        // SAFETY: the set is initialised; with GFP_NOIO the allocation waits rather than fails.
        unsafe { b::bio_alloc_bioset(null_mut(), vectors, 0, x::GFP_NOIO, self.bios.inner.get()) }
    }

    /// Fills in the front part of a bio.
    ///
    /// # Safety
    ///
    /// The bio comes from this set and is handed over, and so is the reference behind `pool`.
    /// The extent describes memory that stays until the parent is ended, or pages of the pool.
    unsafe fn build(
        self: &Arc<Self>,
        bio: *mut b::bio,
        parent: Option<ParentBio>,
        pool: *const PagePool,
        extent: Extent,
        data: impl PinInit<T, Infallible>,
    ) -> Io<T> {
        // SAFETY: the set was made with this front pad.
        let header = unsafe { bio.byte_sub(Self::FRONT_PAD).cast::<Header<T>>() };
        // SAFETY: memory of the right size and alignment that is all ours; every field is
        // written, and the initialiser of `data` cannot fail.
        unsafe {
            (&raw mut (*header).references).write(Refcount::new(1));
            (&raw mut (*header).in_flight).write(Atomic::new(false));
            (&raw mut (*header).linked).write(Atomic::new(false));
            (&raw mut (*header).next).write(UnsafeCell::new(None));
            (&raw mut (*header).fresh).write(Atomic::new(true));
            (&raw mut (*header).parent).write(ParentCell::new(parent));
            (&raw mut (*header).device).write(UnsafeCell::new(None));
            (&raw mut (*header).set).write(Arc::into_raw(self.clone()));
            (&raw mut (*header).pool).write(pool);
            (&raw mut (*header).vectors).write(extent.vectors);
            (&raw mut (*header).vector_count).write(extent.vector_count);
            (&raw mut (*header).index).write(extent.index);
            (&raw mut (*header).skip).write(extent.skip);
            (&raw mut (*header).size_bytes).write(extent.size_bytes);
            let Ok(()) = data.__pinned_init(&raw mut (*header).data);
            Io {
                header: NonNull::new_unchecked(header),
            }
        }
    }
}

/// Where the data of a request lies.
struct Extent {
    vectors: *mut b::bio_vec,
    vector_count: u16,
    index: u32,
    skip: u32,
    size_bytes: u32,
}

impl<T: IoClient> Io<T> {
    #[inline]
    fn header(&self) -> &Header<T> {
        // SAFETY: the handle counts.
        unsafe { self.header.as_ref() }
    }

    #[inline]
    fn bio(&self) -> *mut b::bio {
        // SAFETY: the bio follows at this offset in the same block of memory.
        unsafe { self.header.as_ptr().byte_add(IoSet::<T>::FRONT_PAD).cast() }
    }

    /// Takes the link for a queue; false: the request is in one.
    pub(super) fn claim_link(&self) -> bool {
        !self.header().linked.xchg(true, Full)
    }

    /// Gives the link back.
    pub(super) fn release_link(&self) {
        self.header().linked.store(false, Release);
    }

    /// The handle without its count.
    pub(super) fn into_raw(self) -> NonNull<Header<T>> {
        core::mem::ManuallyDrop::new(self).header
    }

    /// The handle again.
    ///
    /// # Safety
    ///
    /// From [`Self::into_raw`], once.
    pub(super) const unsafe fn from_raw(header: NonNull<Header<T>>) -> Self {
        Self { header }
    }

    /// Whether both are handles of the same request.
    pub(crate) fn ptr_eq(&self, other: &Self) -> bool {
        self.header == other.header
    }

    /// Length of the data in bytes (of the range, for a discard or write-zeroes of a parent).
    #[inline]
    pub(crate) fn size_bytes(&self) -> u32 {
        self.header().size_bytes
    }

    /// Whether the block layer has it.
    pub(crate) fn in_flight(&self) -> bool {
        self.header().in_flight.load(Relaxed)
    }

    /// Hands the request to `dev`: all its data, at `sector` (512-byte units, on the device).
    /// Process context. EBUSY: it is in flight already. EPIPE: the parent was answered. EINVAL: a
    /// transfer without memory for it, or a read into the pages of an application's write.
    pub(crate) fn submit(&self, dev: &BlockDev, op: Op, flags: OpFlags, sector: u64) -> Result {
        let bytes = if op == Op::Flush {
            0
        } else {
            self.size_bytes()
        };
        self.submit_sized(dev, op, flags, sector, bytes)
    }

    /// Like [`Self::submit`], for operations without data of their own: `size_bytes` of the
    /// device from `sector` on. With data, the length is cut to what there is.
    pub(crate) fn submit_sized(
        &self,
        dev: &BlockDev,
        op: Op,
        flags: OpFlags,
        sector: u64,
        size_bytes: u32,
    ) -> Result {
        let header = self.header();
        if op.has_data() && !self.may_transfer(op, size_bytes) {
            return Err(EINVAL);
        }
        if header.in_flight.xchg(true, Full) {
            return Err(EBUSY);
        }
        if header.parent.exists() && !header.parent.hold() {
            header.in_flight.store(false, Relaxed);
            return Err(EPIPE);
        }
        let size_bytes = if op.has_data() {
            size_bytes.min(header.size_bytes)
        } else {
            size_bytes
        };
        let bio = self.bio();
        let reset = !header.fresh.xchg(false, Relaxed);
        // SAFETY: not in flight, so the bio and `device` are ours; the vectors cover
        // `size_bytes`. The flight gets a reference of its own, and a hold on the parent.
        unsafe {
            if reset {
                let kept = (*bio).bi_opf & (x::KEPT_HINTS | x::REQ_ALLOC_CACHE);
                b::bio_reset(bio, null_mut(), kept);
                (*bio).bi_vcnt = header.vector_count;
                if header.parent.exists() {
                    x::kapi_bio_set_cloned(bio);
                }
            }
            (*bio).bi_opf |= op.to_raw() | flags.to_raw();
            x::kapi_bio_set_range(bio, sector, size_bytes, header.index, header.skip);
            (*bio).bi_vcnt = header.vector_count;
            (*bio).bi_end_io = Some(end_io::<T>);
            (*bio).bi_private = self.header.as_ptr().cast();
            let source = header
                .parent
                .view()
                .map_or(null_mut(), |view| view.as_ptr());
            x::kapi_bio_attach(bio, dev.as_ptr(), source);
            *header.device.get() = Some(dev.clone());
            header.references.inc();
            b::submit_bio_noacct(bio);
        }
        Ok(())
    }

    /// Whether there is memory for this transfer, and it may be read into.
    fn may_transfer(&self, op: Op, size_bytes: u32) -> bool {
        let header = self.header();
        let parent_op = header.parent.view().map_or(op, |view| view.op());
        let readable_into = op != Op::Read || parent_op == Op::Read;
        !header.vectors.is_null() && parent_op.has_data() && readable_into && size_bytes > 0
    }

    /// The data, for sending, receiving or digests; kept valid by the guard. `None`: it was the
    /// data of an application's bio that has been answered.
    pub(crate) fn data(&self) -> Option<IoData<'_, T>> {
        if self.header().parent.exists() && !self.header().parent.hold() {
            return None;
        }
        Some(IoData { io: self })
    }

    /// Copies from memory of its own; returns the number of bytes, cut to what there is.
    pub(crate) fn read_bytes(&self, offset: usize, out: &mut [u8]) -> usize {
        self.data()
            .map_or(0, |data| data.segments().copy_to(offset, out))
    }

    /// Copies into memory of its own, or of an application's read; returns the number of bytes.
    pub(crate) fn write_bytes(&self, offset: usize, from: &[u8]) -> usize {
        self.data()
            .map_or(0, |data| data.segments().copy_from(offset, from))
    }

    /// Answers the application as soon as neither disk nor network use its pages any more. Only
    /// the first call counts and gives true. Any context.
    pub(crate) fn finish_parent(&self, status: BlkStatus) -> bool {
        self.header().parent.finish(status)
    }

    /// Whether the request belongs to an application's bio that was not answered yet.
    pub(crate) fn has_unfinished_parent(&self) -> bool {
        self.header().parent.exists() && !self.header().parent.is_finished()
    }

    /// Fills the pages of an application's read with zeros.
    pub(crate) fn zero_fill_parent(&self) {
        if let (Some(_data), Some(view)) = (self.data(), self.header().parent.view()) {
            view.zero_fill();
        }
    }
}

impl<T: IoClient> Deref for Io<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.header().data
    }
}

impl<T: IoClient> Clone for Io<T> {
    #[inline]
    fn clone(&self) -> Self {
        self.header().references.inc();
        Self {
            header: self.header,
        }
    }
}

impl<T: IoClient> Drop for Io<T> {
    fn drop(&mut self) {
        if !self.header().references.dec_and_test() {
            return;
        }
        let header = self.header.as_ptr();
        let bio = self.bio();
        // SAFETY: that was the last reference; nothing is in flight and nobody holds the parent.
        // The memory goes with `bio_put`, the set it belongs to after that.
        unsafe {
            (*header).parent.finish(BlkStatus::IOERR);
            let set = Arc::from_raw((*header).set);
            core::ptr::drop_in_place(&raw mut (*header).data);
            if !(*header).pool.is_null() {
                let pool = Arc::from_raw((*header).pool);
                let vectors = (*header).vectors;
                let count = (*header).vector_count as usize;
                pool.give_back(
                    (0..count).filter_map(|index| NonNull::new((*vectors.add(index)).bv_page)),
                );
            }
            b::bio_put(bio);
            drop(set);
        }
    }
}

/// The data of a request, kept in place while this lives.
pub(crate) struct IoData<'a, T: IoClient> {
    io: &'a Io<T>,
}

impl<T: IoClient> IoData<'_, T> {
    /// All of it.
    pub(crate) fn segments(&self) -> Segments<'_> {
        let header = self.io.header();
        let parent_op = header.parent.view().map(|view| view.op());
        if header.vectors.is_null() || parent_op.is_some_and(|op| !op.has_data()) {
            return Segments::EMPTY;
        }
        // SAFETY: the vectors cover the size; they stay because of the hold on the parent, or
        // because they are the request's own.
        unsafe {
            Segments::new(
                header.vectors.add(header.index as usize),
                header.skip as usize,
                header.size_bytes as usize,
                parent_op != Some(Op::Write),
            )
        }
    }
}

impl<T: IoClient> Drop for IoData<'_, T> {
    fn drop(&mut self) {
        if self.io.header().parent.exists() {
            self.io.header().parent.release();
        }
    }
}

/// The block layer is done with a bio.
///
/// # Safety
///
/// The bio was submitted by [`Io::submit_sized`].
unsafe extern "C" fn end_io<T: IoClient>(bio: *mut b::bio) {
    // SAFETY: `submit_sized` put the header there and gave the flight a reference.
    let (io, status) = unsafe {
        let header = NonNull::new_unchecked((*bio).bi_private.cast::<Header<T>>());
        (Io { header }, BlkStatus((*bio).bi_status))
    };
    // SAFETY: the flight still owns `device`.
    let device = unsafe { (*io.header().device.get()).take() };
    io.header()
        .in_flight
        .store(false, crate::kapi::sync::Release);
    if io.header().parent.exists() {
        io.header().parent.release();
    }
    T::completed(io, status);
    drop(device);
}

/// Runs `body`; requests submitted in it reach the device together. Process context.
pub(crate) fn plugged<R>(body: impl FnOnce() -> R) -> R {
    let mut plug = b::blk_plug::default();
    // SAFETY: the plug stays in place until it is finished in the same function.
    unsafe { b::blk_start_plug(&raw mut plug) };
    let result = body();
    // SAFETY: started above by this thread.
    unsafe { b::blk_finish_plug(&raw mut plug) };
    result
}

const _: () = assert!(offset_of!(b::bio, bi_next) == 0);
