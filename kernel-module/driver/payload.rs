// SPDX-License-Identifier: GPL-2.0
//! The sender's part for packets with a payload that a digest goes with: writes, zero-outs, and the replies to requests of the peer
//! (wire-protocol.md 9.2).

use super::device::Device;
use super::digest::DigestValue;
use super::peer_io::{Kind, PeerIo};
use super::prelude::*;
use super::sender::Sender;
use crate::kapi::bio::Segments;
use drbd_core::engine::table::Entry;
use drbd_core::wire::command::MAX_DATA_BYTES;
use drbd_core::wire::packet::Data;
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
            return;
        }
        let command = if io.kind == Kind::ResyncRead { Command::RsDataReply } else { Command::DataReply };
        self.send_data_reply(volume, command, io);
        self.connection.answer(io.generation, &[]);
        self.connection.peer_work_done.wake_all();
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
