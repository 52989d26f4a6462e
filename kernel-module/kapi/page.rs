// SPDX-License-Identifier: GPL-2.0
//! Memory in whole pages: single pages for tables, and a pool for data in flight.
//!
//! Locks: [`PagePool`] takes its mutex `turn` before its spinlock `stock`; the spinlock is a leaf.

use super::raw::{b, x};
use super::sync::{new_mutex, new_spinlock_irq, Arc, Atomic, Mutex, Relaxed, SpinLockIrq};
use super::time::HZ;
use super::wait::{new_wait_queue, WaitQueue};
use core::ptr::NonNull;
use kernel::prelude::*;

/// Bytes of a page.
pub(crate) const PAGE_BYTES: usize = b::PAGE_SIZE;

/// One page of memory with its own contents: bitmap pages, tables.
pub(crate) struct Page {
    address: NonNull<[u8; PAGE_BYTES]>,
}

// SAFETY: the page is owned and only reached through `self`.
unsafe impl Send for Page {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Page {}

impl Page {
    /// A page full of zeros. Process context; does not wait for I/O; fails with ENOMEM.
    pub(crate) fn zeroed() -> Result<Self> {
        // SAFETY: no requirements; order 0.
        let address = unsafe { b::get_free_pages_noprof(x::GFP_NOIO | b::__GFP_ZERO, 0) };
        Ok(Page {
            address: NonNull::new(address as *mut [u8; PAGE_BYTES]).ok_or(ENOMEM)?,
        })
    }

    /// The contents.
    pub(crate) fn bytes(&self) -> &[u8; PAGE_BYTES] {
        // SAFETY: an owned page, always initialised.
        unsafe { self.address.as_ref() }
    }

    /// The contents, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; PAGE_BYTES] {
        // SAFETY: an owned page, always initialised; `self` is borrowed exclusively.
        unsafe { self.address.as_mut() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with order 0.
        unsafe { b::free_pages(self.address.as_ptr() as c_ulong, 0) }
    }
}

/// A page of a [`PagePool`] that somebody has to give back.
pub(super) type RawPage = NonNull<b::page>;

/// Pages at rest in the pool. Both vectors have room for `limit` pages from the start.
struct Stock {
    /// Nobody else uses these.
    free: KVec<RawPage>,
    /// Given back while the network still read them (zero-copy sends); oldest first, as a ring.
    lent: KVec<Option<RawPage>>,
    lent_first: usize,
    lent_count: usize,
}

// SAFETY: pages may be freed and used from any thread; the stock owns them.
unsafe impl Send for Stock {}

/// Pages for data in flight.
///
/// Pages are recycled without clearing, so nothing that was not written first may leave the
/// machine. A page that a zero-copy send still reads is not handed out again before the network
/// has let go of it. Taking pages never fails and never waits for I/O: when the allocator has
/// none, it waits for pages of the pool to come back.
#[pin_data]
pub(crate) struct PagePool {
    #[pin]
    stock: SpinLockIrq<Stock>,
    /// Held by the one request that waits for pages while holding some.
    #[pin]
    turn: Mutex<()>,
    #[pin]
    returned: WaitQueue,
    /// Pages handed out.
    in_use: Atomic<isize>,
    /// Most pages kept at rest, in each of the two lists.
    limit: usize,
}

impl PagePool {
    /// A pool with `reserve_pages` pages. Take at least as many as the largest request has
    /// (256), or two requests could wait for each other. Process context; fails with ENOMEM.
    pub(crate) fn new(reserve_pages: usize) -> Result<Arc<Self>> {
        let reserve_pages = reserve_pages.max(1);
        let mut free = KVec::with_capacity(reserve_pages, GFP_KERNEL)?;
        let mut lent = KVec::with_capacity(reserve_pages, GFP_KERNEL)?;
        for _ in 0..reserve_pages {
            lent.push(None, GFP_KERNEL)?;
        }
        for _ in 0..reserve_pages {
            let Some(page) = allocate(b::GFP_KERNEL) else {
                free.drain_all().for_each(release);
                return Err(ENOMEM);
            };
            free.push(page, GFP_KERNEL)?;
        }
        Arc::pin_init(
            pin_init!(PagePool {
                stock <- new_spinlock_irq!(
                    Stock { free, lent, lent_first: 0, lent_count: 0 },
                    "drbd_page_pool"
                ),
                turn <- new_mutex!((), "drbd_page_pool_turn"),
                returned <- new_wait_queue!("drbd_page_pool_returned"),
                in_use: Atomic::new(0),
                limit: reserve_pages,
            }),
            GFP_KERNEL,
        )
    }

    /// Pages handed out at the moment.
    pub(crate) fn in_use(&self) -> usize {
        usize::try_from(self.in_use.load(Relaxed)).unwrap_or(0)
    }

    /// Fills `count` places through `put`. Process context; may wait for pages to come back.
    pub(super) fn take(&self, count: usize, mut put: impl FnMut(RawPage)) {
        let mut left = count;
        self.take_some(&mut left, &mut put);
        if left > 0 {
            // Only one request at a time waits while it holds pages, so the others' pages come
            // back for certain.
            let _turn = self.turn.lock();
            loop {
                self.take_some(&mut left, &mut put);
                if left == 0 {
                    break;
                }
                // Pages that the network lets go of do not announce themselves.
                self.returned
                    .wait_timeout(HZ / 20, || !self.stock.lock().free.is_empty());
            }
        }
        self.in_use.fetch_add(count as isize, Relaxed);
    }

    /// Fills up to `count` places through `put`, with what is at hand: waits for nothing. Process context.
    pub(super) fn take_at_hand(&self, count: usize, mut put: impl FnMut(RawPage)) {
        let mut left = count;
        self.take_some(&mut left, &mut put);
        self.in_use.fetch_add(count.saturating_sub(left) as isize, Relaxed);
    }

    /// Takes from the stock first, then from the allocator; stops when both have nothing.
    fn take_some(&self, left: &mut usize, put: &mut impl FnMut(RawPage)) {
        let mut stock = self.stock.lock();
        while *left > 0 {
            let Some(page) = stock.pop() else { break };
            put(page);
            *left -= 1;
        }
        drop(stock);
        while *left > 0 {
            let Some(page) = allocate(x::GFP_NOIO | b::__GFP_NOWARN | x::__GFP_NORETRY) else {
                break;
            };
            put(page);
            *left -= 1;
        }
    }

    /// Takes pages back. Any context.
    ///
    /// # Safety
    ///
    /// Every page comes from [`Self::take`] and is given back once.
    pub(super) unsafe fn give_back(&self, pages: impl Iterator<Item = RawPage>) {
        let mut stock = self.stock.lock();
        let mut count = 0;
        for page in pages {
            count += 1;
            // SAFETY: the page is ours.
            let shared = unsafe { reference_count(page) } > 1;
            if let Some(page) = stock.put(page, shared, self.limit) {
                release(page);
            }
        }
        drop(stock);
        self.in_use.fetch_sub(count, Relaxed);
        self.returned.wake_all();
    }
}

impl Stock {
    /// A page that nobody else uses.
    fn pop(&mut self) -> Option<RawPage> {
        if let Some(page) = self.free.pop() {
            return Some(page);
        }
        let slot = self.lent.get_mut(self.lent_first)?;
        let page = (*slot)?;
        // SAFETY: the stock owns the page.
        if unsafe { reference_count(page) } > 1 {
            return None;
        }
        *slot = None;
        self.lent_first = (self.lent_first + 1) % self.lent.len();
        self.lent_count -= 1;
        Some(page)
    }

    /// Keeps a page; gives it back if there is no room.
    fn put(&mut self, page: RawPage, shared: bool, limit: usize) -> Option<RawPage> {
        if !shared {
            if self.free.len() >= limit {
                return Some(page);
            }
            return match self.free.push_within_capacity(page) {
                Ok(()) => None,
                Err(_) => Some(page),
            };
        }
        if self.lent_count >= limit {
            return Some(page);
        }
        let place = (self.lent_first + self.lent_count) % limit;
        match self.lent.get_mut(place) {
            Some(slot) => {
                *slot = Some(page);
                self.lent_count += 1;
                None
            }
            None => Some(page),
        }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        for page in &self.free {
            release(*page);
        }
        for page in self.lent.iter().flatten() {
            release(*page);
        }
    }
}

/// One page from the allocator.
fn allocate(flags: b::gfp_t) -> Option<RawPage> {
    // SAFETY: no requirements; order 0.
    NonNull::new(unsafe { b::alloc_pages(flags, 0) })
}

/// Gives up our reference; the page is freed when the network, too, has let go of it.
fn release(page: RawPage) {
    // SAFETY: only called for pages from `allocate` that are not used afterwards.
    unsafe { b::__free_pages(page.as_ptr(), 0) }
}

/// How many hold the page.
///
/// # Safety
///
/// The caller owns a reference to the page.
unsafe fn reference_count(page: RawPage) -> i32 {
    // SAFETY: the page exists; read like `atomic_read()`.
    unsafe { (&raw const (*page.as_ptr())._refcount.counter).read_volatile() }
}
