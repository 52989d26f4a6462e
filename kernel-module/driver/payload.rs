// SPDX-License-Identifier: GPL-2.0
//! The sender's part for packets with a payload that a digest goes with: writes, zero-outs, and the replies to requests of the peer
//! (wire-protocol.md 9.2).

use super::device::Device;
use super::digest::{DigestValue, Hasher};
use super::peer_io::{Kind, PeerIo};
use super::prelude::*;
use super::sender::Sender;
use crate::kapi::bio::Segments;
use drbd_core::engine::table::Entry;
use drbd_core::wire::command::MAX_DATA_BYTES;
use drbd_core::wire::packet::{BlockRange, BlockRequest, Data, SYNCER_ID};
use drbd_core::wire::Command;

/// Header, head and digest of a packet.
const HEAD_BYTES: usize = 16 + Data::BYTES + crate::kapi::crypto::MAX_DIGEST_BYTES;

impl Sender<'_> {
    /// Header, head and digest of a packet whose `size_bytes` of data follow.
    fn send_head(&mut self, volume: u16, command: Command, head: &[u8], digest: &DigestValue, size_bytes: u32) -> bool {
        let digest = digest.as_slice();
        let mut header = [0u8; 64];
        let length = (head.len() + digest.len()) as u32 + size_bytes;
        let header_length = self.header(volume, command, length, &mut header);
        let mut out = [0u8; HEAD_BYTES];
        let mut used = 0;
        for part in [header.get(..header_length).unwrap_or(&[]), head, digest] {
            if let Some(place) = out.get_mut(used..used + part.len()) {
                place.copy_from_slice(part);
                used += part.len();
            }
        }
        let result = self.link.data.send(out.get(..used).unwrap_or(&[]), More::Yes, &mut self.resource.patience());
        self.check(result)
    }

    /// P_DATA with a digest in front of the data. The data is copied: what the peer gets then is what the digest was made of, unless the
    /// application changed its buffer in between, which a second look tells from damage on the way.
    pub(super) fn send_write_with_digest(&mut self, device: &Arc<Device>, entry: &Entry, head: &[u8], data: Segments<'_>) -> bool {
        let hasher = &self.connection.digests.integrity_out;
        let Some(digest) = hasher.of_pages(data) else { return self.check(Err(NetError::Failed(EIO))) };
        if !self.send_head(device.volume, Command::Data, head, &digest, entry.size_bytes) {
            return false;
        }
        let more = self.more();
        let result = self.link.data.send_segments(data, PageMode::Copy, more, &mut self.resource.patience());
        if hasher.of_pages(data).is_some_and(|again| again != digest) {
            let (minor, sector, size) = (device.minor, entry.sector, entry.size_bytes);
            pr_warn!("drbd{}: Digest mismatch, buffer modified by upper layers during write: {}s +{}\n", minor, sector, size);
        }
        self.check(result)
    }

    /// A zero-out for a peer that gets digests: as P_DATA full of zeros, because the C driver looks for a digest in P_ZEROES
    /// (wire-protocol.md 19.1). The limits of the device keep such requests within a P_DATA; one that was admitted before the algorithm was
    /// configured may be larger, and ends the connection, so that its range is resynced.
    pub(super) fn send_zero_data(&mut self, device: &Arc<Device>, entry: &Entry, head: &[u8]) -> bool {
        let Ok(page) = Page::zeroed() else { return self.check(Err(NetError::Failed(ENOMEM))) };
        if entry.size_bytes > MAX_DATA_BYTES {
            pr_warn!("drbd{}: a zero-out of {} bytes cannot be sent with data-integrity-alg\n", device.minor, entry.size_bytes);
            return self.check(Err(NetError::Failed(EIO)));
        }
        let digest = self.connection.digests.integrity_out.of_repeated(&page, entry.size_bytes);
        let Some(digest) = digest else { return self.check(Err(NetError::Failed(EIO))) };
        let mut ok = self.send_head(device.volume, Command::Data, head, &digest, entry.size_bytes);
        let mut left = entry.size_bytes as usize;
        while ok && left > 0 {
            let part = page.bytes().get(..left).unwrap_or(page.bytes().as_slice());
            left -= part.len();
            let more = if left > 0 { More::Yes } else { self.more() };
            let result = self.link.data.send(part, more, &mut self.resource.patience());
            ok = self.check(result);
        }
        ok
    }

    /// The answer to a request of the peer.
    pub(super) fn send_reply(&mut self, volume: u16, io: &Io<PeerIo>) {
        if self.connection.generation() != io.generation {
            super::peer_io::abandon(io);
            return;
        }
        let mut answered = false;
        match io.kind {
            Kind::VerifyRead => self.send_verify_reply(volume, io),
            Kind::VerifyCompare => {
                let own = self.digest_of(&self.connection.digests.verify, io);
                let equal = !io.failed.load(Relaxed) && own.is_some() && own.as_ref() == io.digest.as_deref();
                super::verify::verdict(&io.device, io, !equal);
                answered = true;
            }
            Kind::ChecksumRead => self.send_checksum_request(volume, io),
            Kind::ChecksumCompare if self.is_equal(io) => answered = true,
            Kind::ThinRead if io.data().is_some_and(|data| data.segments().is_zero()) => {
                let payload = BlockRange { sector: io.sector, size_bytes: io.size_bytes }.encode();
                let more = self.more();
                self.send_small(volume, Command::RsDeallocated, &payload, 0, more);
            }
            Kind::Read => self.send_data_reply(volume, Command::DataReply, io),
            _ => self.send_data_reply(volume, Command::RsDataReply, io),
        }
        if !answered {
            self.connection.answer(&io.device, io.generation, None);
        }
        self.connection.peer_work_done.wake_all();
    }

    fn digest_of(&self, hasher: &Hasher, io: &Io<PeerIo>) -> Option<DigestValue> {
        io.data().and_then(|data| hasher.of_pages(data.segments()))
    }

    /// Source of a checksum resync: tells the target if its block is the same already.
    fn is_equal(&self, io: &Io<PeerIo>) -> bool {
        let own = self.digest_of(&self.connection.digests.csums, io);
        if own.is_none() || own.as_ref() != io.digest.as_deref() {
            return false;
        }
        io.device.plane.lock().core.mark_in_sync(io.sector, io.size_bytes);
        io.device.pace.equal_bits.fetch_add(u64::from(io.size_bytes / 4096), Relaxed);
        if self.connection.answer(&io.device, io.generation, Some(io.ack(Command::RsIsInSync))) {
            self.connection.acks_waiting(self.resource);
        }
        true
    }

    /// Target of a checksum resync: asks with the digest of what is here; plainly if that could not be read.
    fn send_checksum_request(&mut self, volume: u16, io: &Io<PeerIo>) {
        let head = BlockRequest { sector: io.sector, id: SYNCER_ID, size_bytes: io.size_bytes }.encode();
        let digest = if io.failed.load(Relaxed) { None } else { self.digest_of(&self.connection.digests.csums, io) };
        match digest {
            Some(digest) => self.send_with_digest(volume, Command::CsumRsRequest, &head, &digest),
            None => {
                let more = self.more();
                self.send_small(volume, Command::RsDataRequest, &head, 0, more);
            }
        }
    }

    /// VerifyT: the digest of a block; zeros for one that could not be read.
    fn send_verify_reply(&mut self, volume: u16, io: &Io<PeerIo>) {
        let hasher = &self.connection.digests.verify;
        let digest = if io.failed.load(Relaxed) { Some(DigestValue::zeroes(hasher.bytes())) } else { self.digest_of(hasher, io) };
        let head = BlockRequest { sector: io.sector, id: io.id, size_bytes: io.size_bytes }.encode();
        match digest {
            Some(digest) => self.send_with_digest(volume, Command::OvReply, &head, &digest),
            None => {
                self.check(Err(NetError::Failed(EIO)));
            }
        }
    }

    /// A packet that ends with a digest.
    fn send_with_digest(&mut self, volume: u16, command: Command, head: &[u8; BlockRequest::BYTES], digest: &DigestValue) {
        let mut payload = [0u8; BlockRequest::BYTES + crate::kapi::crypto::MAX_DIGEST_BYTES];
        let length = BlockRequest::BYTES + digest.as_slice().len();
        if let Some((fixed, rest)) = payload.split_first_chunk_mut::<{ BlockRequest::BYTES }>() {
            *fixed = *head;
            if let Some(place) = rest.get_mut(..digest.as_slice().len()) {
                place.copy_from_slice(digest.as_slice());
            }
        }
        self.send_long(volume, command, payload.get(..length).unwrap_or(&[]));
    }

    /// A packet whose payload does not fit in the small buffer of the others.
    fn send_long(&mut self, volume: u16, command: Command, payload: &[u8]) {
        let mut header = [0u8; 64];
        let used = self.header(volume, command, payload.len() as u32, &mut header);
        let mut out = [0u8; HEAD_BYTES];
        if let Some((fixed, rest)) = out.split_at_mut_checked(used) {
            fixed.copy_from_slice(header.get(..used).unwrap_or(&[]));
            if let Some(place) = rest.get_mut(..payload.len()) {
                place.copy_from_slice(payload);
            }
        }
        let more = self.more();
        let bytes = out.get(..used + payload.len()).unwrap_or(&[]);
        let result = self.link.data.send(bytes, more, &mut self.resource.patience());
        self.check(result);
    }

    fn send_data_reply(&mut self, volume: u16, command: Command, io: &Io<PeerIo>) {
        let Some(data) = io.data() else { return };
        let head = Data { sector: io.sector, id: io.id, sequence: 0, flags: 0 }.encode();
        let ok = if self.connection.digests.integrity_out.bytes() == 0 {
            self.send_small(volume, command, &head, io.size_bytes, More::Yes)
        } else {
            match self.connection.digests.integrity_out.of_pages(data.segments()) {
                Some(digest) => self.send_head(volume, command, &head, &digest, io.size_bytes),
                None => self.check(Err(NetError::Failed(EIO))),
            }
        };
        if ok {
            let more = self.more();
            let result = self.link.data.send_segments(data.segments(), PageMode::Splice, more, &mut self.resource.patience());
            self.check(result);
        }
        io.device.statistics.sent.add(u64::from(io.size_bytes / 512));
    }
}
