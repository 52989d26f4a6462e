// SPDX-License-Identifier: GPL-2.0
//! What arbitrary bytes are given to: one function for each way in from outside. None of them may panic, or
//! overflow, or run for ever, whatever the bytes are; what is understood must survive being written and read again.
//!
//! `fuzz/` feeds them from libFuzzer, the test `fuzz_corpus` from the corpus that is kept there.

use drbd_core::activity_log::FREE;
use drbd_core::genl::config::{DiskConf, NetConf, ResourceOptions};
use drbd_core::genl::{Attributes, Writer};
use drbd_core::handshake::auth::Auth;
use drbd_core::md::{crc32c, log_block, Geometry, Index, Superblock, BLOCK_BYTES};
use drbd_core::state::State;
use drbd_core::wire::bitmap_transfer::{Sink, Transfer};
use drbd_core::wire::packet::{self, BlockAck, BlockRange, BlockRequest, Data, Discard};
use drbd_core::wire::params::{Features, Protocol, Sizes, SyncParam, UuidsPacket};
use drbd_core::wire::{Command, Header};

/// What a target does with its input.
pub type Target = fn(&[u8]);

/// The ways in, by the name of their corpus.
pub const TARGETS: [(&str, Target); 4] = [("wire", wire), ("netlink", netlink), ("metadata", metadata), ("configuration", configuration)];

/// Counts, and holds no memory: sizes come from the bytes.
#[derive(Default)]
struct Counter {
    bits: u64,
    limit: u64,
}

impl Sink for Counter {
    fn set(&mut self, first: u64, end: u64) {
        assert!(first <= end && end <= self.limit, "bits {first} to {end} of {}", self.limit);
        self.bits = self.bits.wrapping_add(end - first);
    }

    fn or_word(&mut self, index: u64, word: u64) {
        assert!(index < self.limit.div_ceil(64), "word {index} of {} bits", self.limit);
        self.bits = self.bits.wrapping_add(u64::from(word.count_ones()));
    }
}

/// A stream of packets: the first byte chooses the version, then headers with their bodies follow each other.
pub fn wire(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let version = 86 + u32::from(first & 15);
    let bits = 1 + (u64::from(first >> 4) << 13);
    let mut transfer = Transfer::new(bits, 16);
    let mut counter = Counter { bits: 0, limit: bits };
    let mut auth = Auth::new([7; 64], 20);
    while let Ok(header) = Header::decode(version, rest) {
        let Some(body) = rest.get(16.min(rest.len())..) else { return };
        let length = (header.length as usize).min(body.len());
        let (body, behind) = body.split_at(length);
        if let Ok(command) = header.known_command() {
            let _ = command.name();
            let _ = packet(command, version, body);
            let _ = transfer.receive_plain(body, &mut counter);
            let _ = transfer.receive_compressed(body, &mut counter);
        }
        if auth.announced(header.command, body.len()).is_ok() {
            let _ = auth.received(header.command, body);
        }
        rest = behind;
        if length == 0 && rest.is_empty() {
            return;
        }
    }
}

/// Every body a command may have.
fn packet(command: Command, version: u32, body: &[u8]) -> Option<()> {
    let _ = Data::decode(command, body).map(|data| assert_eq!(Data::decode(command, &data.encode()), Ok(data)));
    let _ = Discard::decode(command, body);
    let _ = BlockRequest::decode(command, body);
    let _ = BlockAck::decode(command, body);
    let _ = BlockRange::decode(command, body);
    let _ = packet::decode_barrier(body);
    let _ = packet::decode_barrier_ack(body);
    let _ = packet::decode_state_change(command, body).map(|(mask, value)| (State::unpack(mask), State::unpack(value)));
    let _ = packet::decode_word(command, body).map(State::unpack);
    let _ = packet::decode_sync_uuid(body);
    let _ = UuidsPacket::decode(body);
    let _ = Features::decode(body);
    let _ = Sizes::decode(0, body);
    let _ = Sizes::decode(u32::MAX, body);
    let _ = SyncParam::decode(version, body);
    if let Ok(protocol) = Protocol::decode(command, version, body) {
        let mut out = [0; Protocol::MAX_BYTES];
        let length = protocol.encode(version, &mut out);
        assert_eq!(Protocol::decode(command, version, out.get(..length)?), Ok(protocol));
    }
    Some(())
}

/// Containers of a request that are looked at; the driver asks for one or two.
const CONTAINERS: usize = 4;

/// The attributes of a request: containers with options, read as the driver reads them. The number of a container says what is in it.
pub fn netlink(bytes: &[u8]) {
    for attribute in Attributes::new(bytes).flatten().take(CONTAINERS) {
        let _ = (attribute.u8(), attribute.u32(), attribute.u64(), attribute.string());
        for inner in attribute.inner().take(100).flatten() {
            let _ = (inner.u8(), inner.u32(), inner.u64(), inner.string());
        }
        match attribute.number % 3 {
            0 => disk_options(attribute.payload),
            1 => resource_options(attribute.payload),
            _ => net_options(attribute.payload),
        }
    }
}

fn disk_options(payload: &[u8]) {
    let mut disk = DiskConf::default();
    if disk.read(payload, false).is_ok() && disk != DiskConf::default() {
        let mut again = DiskConf::default();
        // what is written has the devices, as an ATTACH has
        written(|writer| disk.write(writer), |payload| again.read(payload, true).is_ok());
        assert_eq!(again, disk);
    }
}

fn net_options(payload: &[u8]) {
    let mut net = NetConf::default();
    if net.read(payload).is_ok() && net != NetConf::default() {
        let mut again = NetConf::default();
        written(|writer| net.write(writer, true), |payload| again.read(payload).is_ok());
        assert_eq!(again, net);
    }
}

fn resource_options(payload: &[u8]) {
    let mut options = ResourceOptions::default();
    if options.read(payload).is_ok() && options != ResourceOptions::default() {
        let mut again = ResourceOptions::default();
        written(|writer| options.write(writer), |payload| again.read(payload).is_ok());
        assert_eq!(again, options);
    }
}

fn written(write: impl FnOnce(&mut Writer<'_>), read: impl FnOnce(&[u8]) -> bool) {
    let mut buffer = [0; 4096];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer);
    let length = writer.finish().unwrap_or(0);
    assert!(length > 0 && read(&buffer[..length]), "what was written is not read again");
}

/// A superblock and blocks of the activity log. The first byte says what the rest is; a block of the log gets the checksum that
/// makes it valid, unless the byte says otherwise.
pub fn metadata(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    if first & 3 != 0 {
        return superblock(*first, rest);
    }
    let geometry = Geometry { stripes: 1 + u32::from(first >> 2 & 3), stripe_size_4k: 8 };
    let mut ring = [[0xff; BLOCK_BYTES]; 4];
    let mut count = 0;
    for (piece, block) in rest.chunks(512).zip(&mut ring) {
        block[..piece.len()].copy_from_slice(piece);
        if first & 0x80 == 0 {
            block[..4].copy_from_slice(&[0x69, 0xcb, 0x65, 0xa2]);
            block[8..12].fill(0);
            let crc = crc32c(0, block);
            block[8..12].copy_from_slice(&crc.to_be_bytes());
        }
        count += 1;
    }
    let ring = &ring[..count];
    let mut kinds = [log_block::Kind::Invalid; 4];
    kinds.iter_mut().zip(ring).for_each(|(kind, block)| *kind = log_block::kind(block));
    let which = |position: u32| position as usize % ring.len().max(1);
    let at = |position: u32| ring.get(which(position));
    let survey = log_block::survey(&geometry, |position| kinds[..count].get(which(position)).copied().unwrap_or(log_block::Kind::Invalid));
    let Ok(survey) = survey else { return };
    let mut slots = [FREE; 1024];
    for position in survey.positions(&geometry) {
        assert!(u64::from(position) < geometry.blocks());
        if let Some(block) = at(position) {
            log_block::apply(block, &mut slots);
        }
    }
}

fn superblock(first: u8, rest: &[u8]) {
    let mut block = [0; BLOCK_BYTES];
    let length = rest.len().min(BLOCK_BYTES);
    block[..length].copy_from_slice(&rest[..length]);
    let decoded = Superblock::decode(&block);
    let mut again = [0; BLOCK_BYTES];
    decoded.encode(&mut again);
    assert_eq!(Superblock::decode(&again), decoded);
    let index = [Index::Internal, Index::FlexibleExternal, Index::Slot(u32::from(first >> 4))][usize::from(first & 3) - 1];
    for sectors in [0, 7, 2048, 131_072, 1 << 31, u64::MAX] {
        if let Ok(layout) = decoded.validate(index, sectors) {
            assert!(layout.al_sector() < sectors && layout.bitmap_sector() < sectors);
            let _ = layout.transaction_sector(u32::MAX);
            let _ = layout.usable_sectors(index, sectors);
        }
    }
}

/// A configuration file, and the output of `drbdsetup show`.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // An include would read files of this machine.
    if text.contains("include") {
        return;
    }
    let _ = drbd_config::parse_running(text);
    let loaded = drbd_config::parse_text("fuzz", text);
    for diagnostic in &loaded.diagnostics {
        let _ = diagnostic.to_string();
    }
    if loaded.exit().is_none() {
        let _ = drbd_config::print::header(&loaded.config);
        for resource in &loaded.config.resources {
            let _ = drbd_config::print::resource(resource, "node", false, false);
        }
    }
}
