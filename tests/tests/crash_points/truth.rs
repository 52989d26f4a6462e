// SPDX-License-Identifier: GPL-2.0
//! What has to be found after a crash, whatever was lost: kept beside the disk, and compared with what recovery makes of it.

use super::disk::{Crash, Fact, BLOCK};
use super::heap::Pages;
use drbd_core::activity_log::FREE;
use drbd_core::bitmap::arithmetic::pages_for_bits;
use drbd_core::bitmap::{bits_for_sectors, Bitmap};
use drbd_core::md::log_block::{self, Kind, RingError};
use drbd_core::md::superblock::{MAGIC_CLEAN, MAGIC_UNCLEAN};
use drbd_core::handshake::compare::{compare, Outcome, Peer};
use drbd_core::md::{flags, Index, Layout, Superblock, Uuids};
use drbd_core::state::attach;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Bits of an extent of the activity log.
const EXTENT_BITS: u64 = 1024;

/// See the module text.
#[derive(Clone, Default)]
pub struct Truth {
    /// First bit and end of the ranges that have to be set; they do not touch.
    needed: BTreeMap<u64, u64>,
    entered: BTreeSet<u32>,
    ahead_of: Option<u64>,
    mixed: bool,
    sizes: [u64; 2],
    /// Sectors of the metadata device: as it is, and as it was before.
    pub device: [u64; 2],
}

impl Truth {
    pub fn learn(&mut self, fact: &Fact) {
        match *fact {
            Fact::Need(first, end) => {
                self.take_out(first, end);
                self.needed.insert(first, end);
            }
            Fact::Same(first, end) => self.take_out(first, end),
            Fact::Entered(extent) => {
                self.entered.insert(extent);
            }
            Fact::LogEmpty => self.entered.clear(),
            Fact::AheadOf(generation) => self.ahead_of = Some(generation),
            Fact::NotAhead => self.ahead_of = None,
            Fact::Mixed(mixed) => self.mixed = mixed,
            Fact::Sizes(now, other) => self.sizes = [now, other],
            Fact::Device(now, before) => self.device = [now, before],
        }
    }

    fn take_out(&mut self, first: u64, end: u64) {
        let touched: Vec<(u64, u64)> = self.needed.range(..end).rev().take_while(|(_, stop)| **stop > first).map(|(a, b)| (*a, *b)).collect();
        for (start, stop) in touched {
            self.needed.remove(&start);
            if start < first {
                self.needed.insert(start, first);
            }
            if stop > end {
                self.needed.insert(end, stop);
            }
        }
    }

    /// Compares what was recovered with what is true.
    pub fn check(&self, found: &Recovered) -> Result<(), String> {
        let block = &found.superblock;
        let fail = |text: String| Err(format!("{text}\n{block:x?}\nlog: {:?}", found.active));
        if !self.sizes.contains(&block.la_size) {
            return fail(format!("size {} is none of {:?}", block.la_size, self.sizes));
        }
        if self.mixed && block.flags & flags::CONSISTENT != 0 {
            return fail("mixed data counts as consistent".into());
        }
        if let Some(generation) = self.ahead_of {
            let own = Peer { uuids: block.uuids, crashed_primary: attach::crashed_primary(block.flags, false), ..Peer::default() };
            let peer = Peer { uuids: Uuids { current: generation, ..Uuids::default() }, ..Peer::default() };
            let comparison = compare(&own, &peer, 101, 0, false);
            if !matches!(comparison.result, Outcome::Source { .. }) {
                return fail(format!("a peer of generation {generation:x} would not be resynced: {comparison:?}"));
            }
        }
        let beyond = found.active.iter().flatten().find(|extent| !self.entered.contains(extent));
        if let (Some(extent), false) = (beyond, found.set_all) {
            return fail(format!("extent {extent} is in the log, and never entered it"));
        }
        let bits = found.bitmap.bits();
        for (first, end) in &self.needed {
            let clear = found.bitmap.next_clear(*first).unwrap_or(u64::MAX);
            if clear < (*end).min(bits) && !found.set_all {
                return fail(format!("bit {clear} is clear, but {first} to {end} are out of sync"));
            }
        }
        Ok(())
    }
}

/// What a node has after a crash, `apply-al` and attach.
pub struct Recovered {
    pub superblock: Superblock,
    /// Where it stood, in sectors of the device.
    pub layout: Layout,
    /// Extents of the log; none: there was nothing to apply.
    pub active: Option<BTreeSet<u32>>,
    /// What `apply-al` leaves of the bitmap, and what the attach reads.
    pub bitmap: Bitmap<Pages>,
    /// The attach sets all bits.
    pub set_all: bool,
}

/// Recovery by the functions of core that the tool and the driver use.
pub struct Recovery {
    kinds: HashMap<u64, Kind>,
    slots: Vec<u32>,
    index: Index,
}

impl Recovery {
    pub fn new(index: Index) -> Self {
        Self { kinds: HashMap::new(), slots: vec![FREE; log_block::MAX_SLOTS], index }
    }

    fn kind(&mut self, crash: &Crash<'_>, sector: u64) -> Kind {
        let Some(version) = crash.block(sector / 8) else { return Kind::Invalid };
        // Torn ones do not come again.
        if version.id >= 1 << 40 {
            return log_block::kind(&version.bytes[..]);
        }
        *self.kinds.entry(version.id).or_insert_with(|| log_block::kind(&version.bytes[..]))
    }

    /// The superblock at the place for the size of the device, or for the size it had (the tool remembers that one).
    fn superblock(&self, crash: &Crash<'_>, device: [u64; 2]) -> Result<(Superblock, u64), String> {
        for sectors in device {
            let block = Superblock::decode(&crash.read(Superblock::sector(self.index, sectors)));
            if [MAGIC_CLEAN, MAGIC_UNCLEAN].contains(&block.magic) {
                return Ok((block, sectors));
            }
        }
        Err("no superblock".into())
    }

    fn active(&mut self, crash: &Crash<'_>, layout: &Layout) -> Result<Option<BTreeSet<u32>>, RingError> {
        let geometry = layout.geometry;
        let place = |position: u32| layout.al_sector() + geometry.ring_block(position) * 8;
        let ring = log_block::survey(&geometry, |position| self.kind(crash, place(position)))?;
        if ring.span.is_none() {
            return Ok(None);
        }
        self.slots.fill(FREE);
        for position in ring.positions(&geometry) {
            if let Kind::Update(_) = self.kind(crash, place(position)) {
                log_block::apply(&crash.read(place(position)), &mut self.slots);
            }
        }
        Ok(Some(self.slots.iter().copied().filter(|extent| *extent != FREE).collect()))
    }

    /// `apply-al` and what the attach makes of it.
    pub fn recover(&mut self, crash: &Crash<'_>, device: [u64; 2]) -> Result<Recovered, String> {
        let (mut block, sectors) = self.superblock(crash, device)?;
        let clean = Superblock { magic: MAGIC_CLEAN, flags: block.flags | flags::AL_CLEAN, ..block };
        let layout = clean.validate(self.index, sectors).map_err(|error| format!("{error:?} in {block:x?}"))?;
        let primary = block.flags & flags::PRIMARY != 0;
        let was_clean = block.magic == MAGIC_CLEAN && block.flags & flags::AL_CLEAN != 0;
        let set_all = attach::sets_all_bits(block.flags, attach::crashed_primary(block.flags, false));
        let active = match self.active(crash, &layout) {
            Ok(active) => active,
            Err(error) if primary && !was_clean => return Err(format!("the ring cannot be replayed: {error:?}")),
            Err(_) => None,
        };
        let mut bitmap = Bitmap::new(Pages::new(pages_for_bits(bits_for_sectors(block.la_size))), block.la_size);
        for page in 0..bitmap.page_count() {
            bitmap.load_page(page, &crash.read(layout.bitmap_sector() + page as u64 * (BLOCK / 512) as u64));
        }
        for extent in active.iter().flatten().filter(|_| primary) {
            let first = u64::from(*extent) * EXTENT_BITS;
            bitmap.set_bits(first.min(bitmap.bits()), (first + EXTENT_BITS).min(bitmap.bits()));
        }
        block = clean;
        Ok(Recovered { superblock: block, layout, active, bitmap, set_all })
    }
}
