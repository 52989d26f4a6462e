// SPDX-License-Identifier: GPL-2.0
//! The pages of a bio, borrowed: for sending, receiving, digests and copies.

use crate::kapi::raw::{b, x};
use core::marker::PhantomData;

/// A range of bytes that lies in the pages of a bio. `Copy`, cheap, and only as good as the
/// borrow it comes from.
///
/// The contents can change at any time (applications may write into buffers that are on their
/// way), so there is no slice of them to be had: bytes are copied, sent or digested.
#[derive(Clone, Copy)]
pub(crate) struct Segments<'a> {
    /// First vector that the range touches.
    vectors: *const b::bio_vec,
    /// Bytes of the first vector before the range.
    skip: usize,
    /// Length of the range in bytes.
    bytes: usize,
    /// The owner expects the contents to change: memory of our own, or of a read.
    writable: bool,
    _borrow: PhantomData<&'a b::bio_vec>,
}

// SAFETY: a description of memory that several threads may read and write, as the type says.
unsafe impl Send for Segments<'_> {}
// SAFETY: as above.
unsafe impl Sync for Segments<'_> {}

/// A contiguous piece of a range.
pub(in crate::kapi) struct Piece {
    /// Page in which it begins.
    pub(in crate::kapi) page: *mut b::page,
    /// Address of its first byte.
    pub(in crate::kapi) address: *mut u8,
    /// Its length in bytes; may go beyond the page (pages that follow each other in memory).
    pub(in crate::kapi) bytes: usize,
}

impl<'a> Segments<'a> {
    /// No bytes.
    pub(crate) const EMPTY: Self = Self {
        vectors: core::ptr::null(),
        skip: 0,
        bytes: 0,
        writable: false,
        _borrow: PhantomData,
    };

    /// The range of `bytes` bytes that begins `skip` bytes into `vectors`.
    ///
    /// # Safety
    ///
    /// During `'a` the vectors cover at least `skip + bytes` bytes, describe memory of the
    /// direct mapping and do not change. `writable` only if the memory may be written to.
    pub(in crate::kapi) const unsafe fn new(
        vectors: *const b::bio_vec,
        skip: usize,
        bytes: usize,
        writable: bool,
    ) -> Self {
        Self {
            vectors,
            skip,
            bytes,
            writable,
            _borrow: PhantomData,
        }
    }

    /// Length in bytes.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there are no bytes.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The part of `bytes` bytes from `offset`, cut to what there is.
    pub(crate) fn slice(&self, offset: usize, bytes: usize) -> Segments<'a> {
        let offset = offset.min(self.bytes);
        let bytes = bytes.min(self.bytes - offset);
        if bytes == 0 {
            return Segments::EMPTY;
        }
        let mut vectors = self.vectors;
        let mut skip = self.skip.wrapping_add(offset);
        // SAFETY: at least one byte remains beyond `offset`, so the walk ends inside the vectors.
        unsafe {
            while skip >= (*vectors).bv_len as usize {
                skip -= (*vectors).bv_len as usize;
                vectors = vectors.add(1);
            }
        }
        Segments {
            vectors,
            skip,
            bytes,
            writable: self.writable,
            _borrow: PhantomData,
        }
    }

    /// Whether data may be put here: not into the pages of an application's write, which can be
    /// anybody's memory.
    pub(crate) const fn is_writable(&self) -> bool {
        self.writable
    }

    /// What an `iov_iter` needs: first vector, number of vectors, bytes to skip in the first.
    pub(in crate::kapi) fn raw(&self) -> (*const b::bio_vec, usize, usize) {
        let mut count = 0;
        let mut covered = 0usize;
        let end = self.skip.wrapping_add(self.bytes);
        while self.bytes > 0 && covered < end {
            // SAFETY: the range ends inside the vectors.
            covered = covered.wrapping_add(unsafe { (*self.vectors.add(count)).bv_len } as usize);
            count += 1;
        }
        (self.vectors, count, self.skip)
    }

    /// The contiguous pieces, in order.
    pub(in crate::kapi) fn pieces(&self) -> Pieces<'a> {
        Pieces { rest: *self }
    }

    /// Copies bytes from `offset` on into `out`; the number copied is cut to what there is.
    pub(crate) fn copy_to(&self, offset: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in self.slice(offset, out.len()).pieces() {
            if let Some(target) = out.get_mut(done..done + piece.bytes) {
                // SAFETY: the piece is that long and not part of `out`, which is borrowed
                // exclusively; a writer at the same time can only spoil the contents.
                unsafe {
                    core::ptr::copy_nonoverlapping(piece.address, target.as_mut_ptr(), piece.bytes)
                };
                done += piece.bytes;
            }
        }
        done
    }

    /// Copies `from` to `offset` on; the number copied is cut to what there is, and 0 if the
    /// range is not writable.
    pub(crate) fn copy_from(&self, offset: usize, from: &[u8]) -> usize {
        let mut done = 0;
        if !self.writable {
            return 0;
        }
        for piece in self.slice(offset, from.len()).pieces() {
            if let Some(source) = from.get(done..done + piece.bytes) {
                // SAFETY: as in `copy_to`, in the other direction.
                unsafe {
                    core::ptr::copy_nonoverlapping(source.as_ptr(), piece.address, piece.bytes)
                };
                done += piece.bytes;
            }
        }
        done
    }

    /// Fills everything with zeros, if it is writable.
    pub(crate) fn zero_fill(&self) {
        if !self.writable {
            return;
        }
        for piece in self.pieces() {
            // SAFETY: the piece is that long.
            unsafe { core::ptr::write_bytes(piece.address, 0, piece.bytes) };
        }
    }

    /// Whether every byte is 0.
    pub(crate) fn is_zero(&self) -> bool {
        self.pieces().all(|piece| {
            // SAFETY: the piece is that long.
            unsafe { b::memchr_inv(piece.address.cast(), 0, piece.bytes) }.is_null()
        })
    }
}

/// Iterator over the pieces of a range.
pub(in crate::kapi) struct Pieces<'a> {
    rest: Segments<'a>,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.rest.bytes == 0 {
            return None;
        }
        // SAFETY: bytes remain, so the first vector exists.
        let vector = unsafe { *self.rest.vectors };
        let here = (vector.bv_len as usize).wrapping_sub(self.rest.skip);
        let bytes = here.min(self.rest.bytes);
        let offset = (vector.bv_offset as usize).wrapping_add(self.rest.skip);
        // SAFETY: the page is in the direct mapping, and pages of one vector follow each other.
        let address = unsafe {
            x::kapi_page_address(vector.bv_page)
                .cast::<u8>()
                .add(offset)
        };
        // SAFETY: the page structs of one vector follow each other as well.
        let page = unsafe { vector.bv_page.add(offset / b::PAGE_SIZE) };
        self.rest.bytes -= bytes;
        self.rest.skip = 0;
        // SAFETY: at most one beyond the last vector, and then not read.
        self.rest.vectors = unsafe { self.rest.vectors.add(1) };
        Some(Piece {
            page,
            address,
            bytes,
        })
    }
}
