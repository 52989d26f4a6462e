// SPDX-License-Identifier: GPL-2.0
//! Codecs of the wire are inverses for every value, and refuse every other length. Values are drawn from fixed seeds.

use drbd_core::bitmap::{Bitmap, NoMemory, PageStore, PageView, Words};
use drbd_core::state::{Conn, Disk, Role, State};
use drbd_core::wire::bitmap_transfer::{Sink, Source, Transfer};
use drbd_core::wire::packet::*;
use drbd_core::wire::params::{Controller, Features, Protocol, QueueLimits, Sizes, SyncParam, UuidsPacket};
use drbd_core::wire::rle::{BitReader, BitWriter};
use drbd_core::wire::{header, Command, Header, HeaderFormat};
use std::fmt::Debug;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    /// Any value, with a liking for the ends of the range.
    fn word(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => self.below(256),
            3 => u64::MAX - self.below(256),
            _ => self.next(),
        }
    }
    fn half(&mut self) -> u32 {
        self.word() as u32
    }
    fn flag(&mut self) -> bool {
        self.below(2) == 0
    }
    fn id(&mut self) -> [u8; 8] {
        self.word().to_ne_bytes()
    }
    fn name(&mut self) -> Vec<u8> {
        (0..self.below(64)).map(|_| 1 + self.below(255) as u8).collect()
    }
}

/// `bytes` decode to `value`; any other length is refused.
fn inverse<T: PartialEq + Debug, E: Debug>(value: T, bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, E>) {
    assert_eq!(decode(bytes).unwrap(), value);
    assert!(decode(&bytes[..bytes.len() - 1]).is_err(), "{value:?} with a byte less");
    assert!(decode(&[]).is_err(), "nothing as {value:?}");
    assert!(decode(&[bytes, &[0]].concat()).is_err(), "{value:?} with a byte more");
}

#[test]
fn packets_of_fixed_length_decode_to_what_was_encoded_and_have_one_length() {
    let mut random = Random(1);
    for _ in 0..2000 {
        let data = Data { sector: random.word(), id: random.id(), sequence: random.half(), flags: random.half() };
        inverse(data, &data.encode(), |bytes| Data::decode(Command::Data, bytes));
        let discard = Discard { data, size_bytes: random.half() };
        inverse(discard, &discard.encode(), |bytes| Discard::decode(Command::Trim, bytes));
        let request = BlockRequest { sector: random.word(), id: random.id(), size_bytes: random.half() };
        inverse(request, &request.encode(), |bytes| BlockRequest::decode(Command::DataRequest, bytes));
        let ack = BlockAck { sector: random.word(), id: random.id(), size_bytes: random.half(), sequence: random.half() };
        inverse(ack, &ack.encode(), |bytes| BlockAck::decode(Command::WriteAck, bytes));
        let range = BlockRange { sector: random.word(), size_bytes: random.half() };
        inverse(range, &range.encode(), |bytes| BlockRange::decode(Command::OutOfSync, bytes));
        let number = random.half().to_ne_bytes();
        inverse(number, &encode_barrier(number), decode_barrier);
        let set_size = random.half();
        inverse((number, set_size), &encode_barrier_ack(number, set_size), decode_barrier_ack);
        let change = (random.half(), random.half());
        inverse(change, &encode_state_change(change.0, change.1), |bytes| decode_state_change(Command::StateChgReq, bytes));
        inverse(set_size, &set_size.to_be_bytes(), |bytes| decode_word(Command::StateChgReply, bytes));
        let uuid = random.word();
        inverse(uuid, &uuid.to_be_bytes(), decode_sync_uuid);
        let uuids = UuidsPacket { uuids: [random.word(), random.word(), random.word(), random.word()], dirty_bits: random.word(), flags: random.word() };
        inverse(uuids, &uuids.encode(), UuidsPacket::decode);
        let features = Features { lowest: random.half(), highest: random.half().max(1), flags: random.half() };
        inverse(features, &features.encode(), Features::decode);
    }
}

#[test]
fn handshake_packets_decode_to_what_was_encoded_for_every_version() {
    let mut random = Random(2);
    for version in (86..=101).cycle().take(3200) {
        let integrity = if version < 87 { Vec::new() } else { random.name() };
        let protocol = Protocol {
            protocol: random.half(),
            after_sb_0p: random.half(),
            after_sb_1p: random.half(),
            after_sb_2p: random.half(),
            discard_my_data: random.flag(),
            dry_run: version >= 92 && random.flag(),
            two_primaries: random.flag(),
            integrity: &integrity,
        };
        let mut out = [0xaa; Protocol::MAX_BYTES];
        let length = protocol.encode(version, &mut out);
        assert_eq!(Protocol::decode(Command::Protocol, version, &out[..length]), Ok(protocol));
        assert!(Protocol::decode(Command::Protocol, version, &out[..length - 1]).is_err(), "the end of the name is missing");
        let (verify, csums) = (random.name(), random.name());
        let controller =
            Controller { plan_ahead: random.half(), delay_target: random.half(), fill_target: random.half(), max_rate: random.half() };
        let param = SyncParam {
            resync_rate: random.half(),
            verify: if version < 88 { b"" } else { &verify },
            csums: if version < 89 { b"" } else { &csums },
            controller: (version >= 95).then_some(controller),
        };
        let mut out = [0xaa; SyncParam::MAX_BYTES];
        let length = param.encode(version, &mut out);
        assert_eq!(SyncParam::decode(version, &out[..length]), Ok(param));
        assert!(SyncParam::decode(version, &out[..length - 1]).is_err());
    }
    for _ in 0..2000 {
        let limits = QueueLimits {
            physical_block_bytes: random.half(),
            logical_block_bytes: random.half(),
            alignment_offset_bytes: random.half(),
            io_min_bytes: random.half(),
            io_opt_bytes: random.half(),
            discard: random.flag(),
        };
        let sizes = Sizes {
            disk_sectors: random.word(),
            user_sectors: random.word(),
            current_sectors: random.word(),
            max_bio_bytes: random.half(),
            forced: random.flag(),
            no_resync: random.flag(),
            limits: random.flag().then_some(limits),
        };
        let mut out = [0xaa; Sizes::MAX_BYTES];
        let length = sizes.encode(&mut out);
        inverse(sizes, &out[..length], |bytes| Sizes::decode(if sizes.limits.is_some() { 15 } else { 11 }, bytes));
    }
}

#[test]
fn headers_of_every_version_command_and_length_decode_to_what_was_encoded() {
    for version in 86..=101 {
        for command in Command::ALL {
            assert_eq!(Command::from_number(command.number()), Some(*command));
            let (least, most) = command.length_limits();
            for length in [least, most, least + (most - least) / 2] {
                let format = HeaderFormat::for_version(version, length);
                if format == HeaderFormat::V80 && length > 0xffff {
                    continue; // Below 95 nothing is that long.
                }
                let header = Header::new(if version >= 100 { 0x1234 } else { 0 }, *command, length);
                let mut out = [0; 16];
                let bytes = header.encode(format, &mut out);
                assert_eq!(bytes, header::header_bytes(version));
                assert_eq!(Header::decode(version, &out[..bytes]), Ok(header));
                assert_eq!(header.known_command(), Ok(*command));
            }
            let refused = |length| Header::new(0, *command, length).known_command().is_err();
            assert!(refused(most + 1) && (least == 0 || refused(least - 1)));
        }
    }
}

#[test]
fn every_state_vector_fits_its_word() {
    for role in Role::ALL {
        for conn in Conn::ALL {
            for (disk, pdsk) in Disk::ALL.iter().flat_map(|disk| Disk::ALL.iter().map(move |pdsk| (disk, pdsk))) {
                let state = State { role: *role, conn: *conn, disk: *disk, pdsk: *pdsk, susp_fen: true, peer_isp: true, ..State::default() };
                assert_eq!(State::unpack(state.pack()), Ok(state));
            }
        }
    }
    let mut random = Random(3);
    for _ in 0..100_000 {
        let word = random.half();
        if let Ok(state) = State::unpack(word) {
            assert_eq!(state.pack(), word & 0x7f_ffff);
        }
    }
}

#[test]
fn run_lengths_of_any_size_come_back_until_the_buffer_is_full() {
    let mut random = Random(4);
    for _ in 0..5000 {
        let mut buffer = vec![0xff; 1 + random.below(200) as usize];
        let mut writer = BitWriter::new(&mut buffer);
        let mut runs = Vec::new();
        loop {
            let run = 1 + (random.next() >> random.below(64)) % (1 << 56);
            if !writer.put_run(run) {
                break;
            }
            runs.push(run);
        }
        let (bytes, unused) = writer.finish();
        assert!(bytes <= buffer.len());
        let back: Result<Vec<u64>, _> = BitReader::new(&buffer[..bytes], unused).collect();
        assert_eq!(back, Ok(runs));
    }
}

/// Pages of a bitmap on the heap.
struct Pages(Vec<(Option<Box<Words>>, bool, u32, bool)>);

impl PageStore for Pages {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn view(&self, index: usize) -> PageView<'_> {
        match &self.0[index] {
            (Some(words), ..) => PageView::Present(words),
            (None, true, ..) => PageView::AllSet,
            _ => PageView::Clean,
        }
    }
    fn present(&mut self, index: usize) -> Result<&mut Words, NoMemory> {
        let page = &mut self.0[index];
        let fill = if page.1 { u64::MAX } else { 0 };
        Ok(page.0.get_or_insert_with(|| Box::new([fill; 512])))
    }
    fn set_uniform(&mut self, index: usize, all_set: bool) {
        (self.0[index].0, self.0[index].1) = (None, all_set);
    }
    fn weight(&self, index: usize) -> u32 {
        self.0[index].2
    }
    fn record(&mut self, index: usize, weight: u32, dirty: bool) {
        (self.0[index].2, self.0[index].3) = (weight, dirty);
    }
    fn is_dirty(&self, index: usize) -> bool {
        self.0[index].3
    }
    fn swap_page(&mut self, other: &mut Self, index: usize) {
        std::mem::swap(&mut self.0[index], &mut other.0[index]);
    }
}

struct Map(Bitmap<Pages>);

impl Source for Map {
    fn bits(&self) -> u64 {
        self.0.bits()
    }
    fn run(&self, from: u64) -> Option<(u64, bool)> {
        self.0.run(from)
    }
    fn word(&self, index: u64) -> u64 {
        self.0.word(index)
    }
}

impl Sink for Map {
    fn set(&mut self, first: u64, end: u64) {
        self.0.set_bits(first, end);
    }
    fn or_word(&mut self, index: u64, word: u64) {
        self.0.or_word(index, word);
    }
}

fn map(sectors: u64) -> Map {
    Map(Bitmap::new(Pages((0..sectors.div_ceil(8 * 32768)).map(|_| (None, false, 0, false)).collect()), sectors))
}

/// Sets random runs: few long ones, many short ones, or every other bit.
fn scatter(map: &mut Map, random: &mut Random) {
    let bits = map.0.bits();
    let longest = [bits, 4000, 40, 2][random.below(4) as usize].max(1);
    let mut at = random.below(longest + 1);
    while at < bits {
        let end = (at + 1 + random.below(longest)).min(bits);
        map.0.set_bits(at, end);
        at = end + 1 + random.below(longest);
    }
}

#[test]
fn bitmaps_of_any_size_and_pattern_arrive_ored_into_what_was_there() {
    let mut random = Random(5);
    for round in 0..400 {
        let sectors = 1 + random.below(if round % 10 == 0 { 2_000_000 } else { 40_000 });
        let (mut source, mut target, mut expected) = (map(sectors), map(sectors), map(sectors));
        scatter(&mut source, &mut random);
        let mut before = map(sectors);
        scatter(&mut before, &mut random);
        for bits in [&source, &before] {
            for index in 0..bits.0.bits().div_ceil(64) {
                expected.0.or_word(index, bits.0.word(index));
            }
        }
        for index in 0..before.0.bits().div_ceil(64) {
            target.0.or_word(index, before.0.word(index));
        }
        let header = if random.flag() { 8 } else { 16 };
        let (mut sender, mut receiver) = (Transfer::new(source.bits(), header), Transfer::new(source.bits(), header));
        let mut out = [0; 4096];
        loop {
            let compress = random.below(4) != 0;
            let Some(piece) = sender.next_piece(&source, compress, &mut out) else { break };
            let (least, most) = piece.command.length_limits();
            assert!((least..=most).contains(&(piece.length as u32)) && piece.length + header <= 4096);
            match piece.command {
                Command::Bitmap => receiver.receive_plain(&out[..piece.length], &mut target).unwrap(),
                _ => receiver.receive_compressed(&out[..piece.length], &mut target).unwrap(),
            }
        }
        assert!(sender.is_complete() && receiver.is_complete());
        assert_eq!(target.0.weight(), expected.0.weight());
        assert!((0..target.0.bits().div_ceil(64)).all(|index| target.0.word(index) == expected.0.word(index)));
    }
}

#[test]
fn bitmap_packets_of_nonsense_are_refused_or_stay_inside_the_bitmap() {
    let mut random = Random(6);
    for _ in 0..20_000 {
        let mut target = map(1 + random.below(70_000));
        let mut receiver = Transfer::new(target.bits(), 16);
        let bytes: Vec<u8> = (0..random.below(64)).map(|at| if at == 0 { 2 | (random.next() as u8 & 0xf0) } else { random.next() as u8 }).collect();
        for _ in 0..2 {
            let _ = receiver.receive_compressed(&bytes, &mut target);
            let _ = receiver.receive_plain(&bytes, &mut target);
        }
        assert!(target.0.weight() <= target.bits());
    }
}
