// SPDX-License-Identifier: GPL-2.0
//! Digests of the kernel's crypto interface. Making one takes process context; computing may happen anywhere the owner may
//! borrow it exclusively.

use super::bio::Segments;
use super::raw::x;
use core::ffi::c_void;
use core::ptr::NonNull;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;

/// Largest digest in bytes.
pub(crate) const MAX_DIGEST_BYTES: usize = 64;

/// A digest with its working memory.
pub(crate) struct Digest {
    transform: NonNull<c_void>,
    /// The descriptor; 64-bit words for its alignment.
    working: KVec<u64>,
    size: usize,
}

// SAFETY: transforms may be used from any thread; the working memory is borrowed exclusively.
unsafe impl Send for Digest {}
// SAFETY: shared references give no access to it.
unsafe impl Sync for Digest {}

impl Drop for Digest {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed once.
        unsafe { x::kapi_shash_free(self.transform.as_ptr()) }
    }
}

impl Digest {
    /// By its name in the kernel ("sha1", "hmac(sha256)", "crc32c"). ENOENT: unknown.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: the name is terminated.
        let raw = from_err_ptr(unsafe { x::kapi_shash_alloc(name.as_char_ptr()) })?;
        let transform = NonNull::new(raw).ok_or(ENOENT)?;
        // SAFETY: the transform is alive.
        let (working, size) = unsafe { (x::kapi_shash_descsize(raw) as usize, x::kapi_shash_digestsize(raw) as usize) };
        let mut digest = Self { transform, working: KVec::new(), size };
        if size > MAX_DIGEST_BYTES {
            return Err(EINVAL);
        }
        digest.working.extend_with(working.div_ceil(8), 0, GFP_KERNEL)?;
        Ok(digest)
    }

    /// The key of a keyed digest.
    pub(crate) fn set_key(&mut self, key: &[u8]) -> Result {
        // SAFETY: the key is as long as it says.
        to_result(unsafe { x::kapi_shash_setkey(self.transform.as_ptr(), key.as_ptr(), key.len() as c_uint) })
    }

    /// Length of the digest in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn descriptor(&mut self) -> *mut c_void {
        self.working.as_mut_ptr().cast()
    }

    /// Starts a computation.
    pub(crate) fn begin(&mut self) -> Result {
        let transform = self.transform.as_ptr();
        // SAFETY: the working memory has the size the transform asked for.
        to_result(unsafe { x::kapi_shash_init(self.descriptor(), transform) })
    }

    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result {
        // SAFETY: begun; the slice is valid.
        to_result(unsafe { x::kapi_shash_update(self.descriptor(), bytes.as_ptr().cast(), bytes.len() as c_uint) })
    }

    /// Adds the bytes of pages.
    pub(crate) fn update_segments(&mut self, data: Segments<'_>) -> Result {
        for piece in data.pieces() {
            // SAFETY: begun; the piece is that long, and may change while it is read, which only spoils the result.
            to_result(unsafe { x::kapi_shash_update(self.descriptor(), piece.address.cast_const().cast(), piece.bytes as c_uint) })?;
        }
        Ok(())
    }

    /// Ends a computation; the digest stands at the start of `out`, its length is returned.
    pub(crate) fn finish(&mut self, out: &mut [u8; MAX_DIGEST_BYTES]) -> Result<usize> {
        // SAFETY: begun; digests are no longer than `out`.
        to_result(unsafe { x::kapi_shash_final(self.descriptor(), out.as_mut_ptr().cast()) })?;
        Ok(self.size)
    }

    /// The digest of one slice.
    pub(crate) fn compute(&mut self, bytes: &[u8], out: &mut [u8; MAX_DIGEST_BYTES]) -> Result<usize> {
        self.begin()?;
        self.update(bytes)?;
        self.finish(out)
    }
}

/// CRC-32C without inversions; any context.
pub(crate) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    // SAFETY: the slice is valid.
    unsafe { x::kapi_crc32c(seed, bytes.as_ptr().cast(), bytes.len()) }
}
