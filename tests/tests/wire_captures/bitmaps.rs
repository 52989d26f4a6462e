// SPDX-License-Identifier: GPL-2.0
//! Whole bitmap transfers: received by core as recorded, and sent by core from the bits that came out.

use crate::packets::{Conversation, Packet, Side};
use drbd_core::wire::bitmap_transfer::{Sink, Source, Transfer};
use drbd_core::wire::header::header_bytes;
use drbd_core::wire::params::Sizes;
use drbd_core::wire::Command;
use std::collections::BTreeMap;

/// Bits in a plain list.
struct Bits(Vec<bool>);

impl Source for Bits {
    fn bits(&self) -> u64 {
        self.0.len() as u64
    }
    fn run(&self, from: u64) -> Option<(u64, bool)> {
        let rest = self.0.get(from as usize..)?;
        let value = *rest.first()?;
        Some((rest.iter().take_while(|bit| **bit == value).count() as u64, value))
    }
    fn word(&self, index: u64) -> u64 {
        (0..64).filter(|bit| self.0.get((index * 64 + bit) as usize) == Some(&true)).fold(0, |word, bit| word | 1 << bit)
    }
}

impl Sink for Bits {
    fn set(&mut self, first: u64, end: u64) {
        self.0[first as usize..end as usize].fill(true);
    }
    fn or_word(&mut self, index: u64, word: u64) {
        for bit in (0..64).filter(|bit| word >> bit & 1 != 0) {
            self.0[(index * 64 + bit) as usize] = true;
        }
    }
}

/// Sectors of each volume: the smaller of the disks.
fn sizes(conversation: &Conversation) -> BTreeMap<u16, u64> {
    let mut sectors = BTreeMap::new();
    for side in &conversation.sides {
        for packet in side.packets.iter().filter(|packet| packet.header.command == Command::Sizes.number()) {
            let sizes = Sizes::decode(conversation.features, packet.payload()).unwrap();
            if sizes.disk_sectors > 0 {
                let known = sectors.entry(packet.header.volume).or_insert(sizes.disk_sectors);
                *known = sizes.disk_sectors.min(*known);
            }
        }
    }
    sectors
}

/// Plays the bitmaps of a conversation, whose nodes compress or not; how many there are.
pub fn play(conversation: &Conversation, use_rle: bool) -> usize {
    let sectors = sizes(conversation);
    let header = header_bytes(conversation.version);
    let mut transfers = 0;
    for side in &conversation.sides {
        for (volume, sectors) in &sectors {
            transfers += play_side(side, *volume, sectors.div_ceil(8), header, use_rle);
        }
    }
    transfers
}

fn play_side(side: &Side, volume: u16, bits: u64, header: usize, use_rle: bool) -> usize {
    let mut transfers = 0;
    let mut pieces: Vec<&Packet> = Vec::new();
    let mut target = Bits(vec![false; bits as usize]);
    let mut transfer = Transfer::new(bits, header);
    for packet in side.packets.iter().filter(|packet| packet.header.volume == volume) {
        match Command::from_number(packet.header.command) {
            Some(Command::Bitmap) => transfer.receive_plain(packet.payload(), &mut target).unwrap(),
            Some(Command::CompressedBitmap) => transfer.receive_compressed(packet.payload(), &mut target).unwrap(),
            _ => continue,
        }
        pieces.push(packet);
        if transfer.is_complete() {
            transfers += 1;
            send_again(&target, &pieces, header, use_rle);
            pieces.clear();
            target.0.fill(false);
            transfer = Transfer::new(bits, header);
        }
    }
    assert!(pieces.is_empty(), "a transfer without end");
    transfers
}

/// Sends the bits; the packets have to be those recorded.
fn send_again(bits: &Bits, recorded: &[&Packet], header: usize, use_rle: bool) {
    let mut out = [0; 4096];
    let mut transfer = Transfer::new(bits.bits(), header);
    for packet in recorded {
        let piece = transfer.next_piece(bits, use_rle, &mut out).unwrap();
        assert_eq!((piece.command.number(), &out[..piece.length]), (packet.header.command, packet.payload()));
    }
    assert!(transfer.is_complete());
}
