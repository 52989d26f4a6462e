// SPDX-License-Identifier: GPL-2.0
//! The digests of a connection: data-integrity-alg in each direction, csums-alg and verify-alg.
//!
//! Each direction of the data stream has an algorithm of its own (wire-protocol.md 6.2): a node announces its own in P_PROTOCOL or
//! P_PROTOCOL_UPDATE, and uses it from exactly there on. The threads that compute hold the mutex of one digest for as long as a computation
//! takes; nothing else is locked then. Without an algorithm all that is left of this on the write path is one load of [`Hasher::bytes`].

use super::connection::Link;
use super::prelude::*;
use super::receiver::End;
use crate::kapi::bio::Segments;
use crate::kapi::crypto::{Digest, MAX_DIGEST_BYTES};
use kernel::str::CString;

/// One algorithm in use, or none.
#[pin_data]
pub(crate) struct Hasher {
    bytes: Atomic<u32>,
    #[pin]
    digest: Mutex<Option<KBox<Digest>>>,
}

/// A computed or received digest.
#[derive(Clone, Copy)]
pub(crate) struct DigestValue {
    bytes: [u8; MAX_DIGEST_BYTES],
    length: usize,
}

impl DigestValue {
    /// As it travels.
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// A digest that came with a packet; `None`: longer than any algorithm's.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut value = Self { bytes: [0; MAX_DIGEST_BYTES], length: bytes.len() };
        value.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(value)
    }

    /// `length` zero bytes: what stands for the digest of a block that could not be read (wire-protocol.md section 15).
    pub(crate) fn zeroes(length: u32) -> Self {
        Self { bytes: [0; MAX_DIGEST_BYTES], length: (length as usize).min(MAX_DIGEST_BYTES) }
    }
}

impl PartialEq for DigestValue {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Hasher {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            bytes: Atomic::new(0),
            digest <- new_mutex!(None, "drbd_digest"),
        })
    }

    /// Length of its digests in bytes; 0: no algorithm.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes.load(Relaxed)
    }

    /// Replaces the algorithm. Process context.
    pub(crate) fn install(&self, digest: Option<KBox<Digest>>) {
        let mut place = self.digest.lock();
        self.bytes.store(digest.as_ref().map_or(0, |digest| digest.size() as u32), Relaxed);
        let old = core::mem::replace(&mut *place, digest);
        drop(place);
        drop(old);
    }

    fn compute(&self, feed: impl FnOnce(&mut Digest) -> Result) -> Option<DigestValue> {
        let mut place = self.digest.lock();
        let digest = (*place).as_mut()?;
        let mut value = DigestValue { bytes: [0; MAX_DIGEST_BYTES], length: 0 };
        digest.begin().ok()?;
        feed(digest).ok()?;
        value.length = digest.finish(&mut value.bytes).ok()?;
        Some(value)
    }

    /// The digest of pages; `None` without an algorithm. Process context.
    pub(crate) fn of_pages(&self, data: Segments<'_>) -> Option<DigestValue> {
        self.compute(|digest| digest.update_segments(data))
    }

    /// The digest of `size_bytes` times what `page` repeats. Process context.
    pub(crate) fn of_repeated(&self, page: &Page, size_bytes: u32) -> Option<DigestValue> {
        self.compute(|digest| {
            let mut left = size_bytes as usize;
            while left > 0 {
                let part = page.bytes().get(..left).unwrap_or(page.bytes().as_slice());
                digest.update(part)?;
                left -= part.len();
            }
            Ok(())
        })
    }
}

/// All of a connection.
#[pin_data]
pub(crate) struct Digests {
    /// data-integrity-alg for what we send. The sender thread uses and changes it.
    #[pin]
    pub(crate) integrity_out: Hasher,
    /// The peer's algorithm, for what it sends. The receiver thread uses and changes it.
    #[pin]
    pub(crate) integrity_in: Hasher,
    /// csums-alg.
    #[pin]
    pub(crate) csums: Hasher,
    /// verify-alg.
    #[pin]
    pub(crate) verify: Hasher,
}

impl Digests {
    /// No algorithm anywhere.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            integrity_out <- Hasher::new(),
            integrity_in <- Hasher::new(),
            csums <- Hasher::new(),
            verify <- Hasher::new(),
        })
    }

    /// Takes over csums-alg and verify-alg, which hold for the connection as a whole. Process context.
    pub(crate) fn set_block_algorithms(&self, net: &drbd_core::genl::NetConf) -> Result {
        let (csums, verify) = (by_name(net.csums_alg())?, by_name(net.verify_alg())?);
        self.csums.install(csums);
        self.verify.install(verify);
        Ok(())
    }
}

/// The digest of an option; `None` for an empty name. Process context; ENOENT: the kernel does not know it.
pub(crate) fn by_name(name: &[u8]) -> Result<Option<KBox<Digest>>> {
    if name.is_empty() {
        return Ok(None);
    }
    let text = core::str::from_utf8(name).map_err(|_| ENOENT)?;
    let name = CString::try_from_fmt(fmt!("{}", text))?;
    Ok(Some(KBox::new(Digest::new(&name)?, GFP_KERNEL)?))
}

/// The digest that stands in front of a payload, when the peer sends one.
pub(crate) fn receive(link: &Link, bytes: u32) -> Result<Option<DigestValue>, End> {
    if bytes == 0 {
        return Ok(None);
    }
    let mut value = DigestValue::zeroes(bytes);
    let place = value.bytes.get_mut(..value.length).ok_or(End::Protocol)?;
    link.data.receive_exact(place)?;
    Ok(Some(value))
}
