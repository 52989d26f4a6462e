// SPDX-License-Identifier: GPL-2.0
//! The metadata side of a node: core's activity log, bitmap, generations and states over a [`Disk`], with the writes in the order
//! of the driver (metadata.md 6.3, 7, 8.4; behaviour.md 2.8).

use super::disk::{Disk, Fact, BLOCK};
use super::heap::{LogSlots, Pages};
use drbd_core::activity_log::{ActivityLog, Begin, FREE};
use drbd_core::bitmap::arithmetic::pages_for_bits;
use drbd_core::bitmap::{bits_for_sectors, Bitmap};
use drbd_core::md::superblock::MAGIC_UNCLEAN;
use drbd_core::md::{flags, log_block, Geometry, Index, Layout, Superblock, Uuids};
use drbd_core::state::effects::{effects, Effects};
use drbd_core::state::{evaluate, superblock_flags, Conn, Disk as DiskState, Facts, Kind, Request, Role, State};
use std::collections::VecDeque;

/// Bits of an extent, extents of a page of the bitmap.
const EXTENT_BITS: u64 = 1024;
const EXTENTS_PER_PAGE: u32 = 32;

/// A source of chance that a seed determines.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

/// Something the driver must not leave out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Duty {
    /// The pages of extents that leave the log are on disk before the transaction.
    StoreEvicted,
    /// A transaction is on stable storage before the writes it is for.
    CommitBeforeWrite,
    /// The bitmap is on disk before the Primary mark goes.
    StoreBeforeDemotion,
    /// A new generation is on disk before a write completes that the peer lacks.
    StoreGeneration,
    /// The full-sync mark stands while all bits are being written.
    BracketAllBits,
    /// The marks stand while metadata moves.
    BracketMove,
}

/// A write in flight, in bits.
struct InFlight {
    first: u64,
    end: u64,
    /// The peer gets it too.
    replicated: bool,
}

/// How a node is made.
#[derive(Clone, Copy)]
pub struct Make {
    pub index: Index,
    pub device_sectors: u64,
    pub geometry: Geometry,
    pub log_slots: usize,
    pub seed: u64,
    /// What this node forgets, to see that it is noticed.
    pub forgets: Option<Duty>,
}

impl Make {
    /// Internal metadata on a device of `mib` MiB, the usual log area, few slots.
    pub fn internal(mib: u64, log_slots: usize, seed: u64) -> Self {
        Self { index: Index::Internal, device_sectors: mib << 11, geometry: Geometry::default(), log_slots, seed, forgets: None }
    }
}

/// See the module text.
pub struct Node {
    pub disk: Disk,
    pub random: Random,
    pub make: Make,
    pub layout: Layout,
    /// Size of the replicated device.
    pub sectors: u64,
    log: ActivityLog<LogSlots>,
    pub bitmap: Bitmap<Pages>,
    pub uuids: Uuids,
    /// What the peer has.
    pub peer: Uuids,
    pub state: State,
    kept_flags: u32,
    crashed_primary: bool,
    still_primary: bool,
    moving: bool,
    in_flight: VecDeque<InFlight>,
}

impl Node {
    /// A node whose data is up to date and the same as the peer's, connected, Secondary.
    pub fn new(make: Make) -> Self {
        let layout = Layout::compute(make.index, make.device_sectors, make.geometry).expect("a layout");
        let sectors = layout.usable_sectors(make.index, make.device_sectors);
        let mut random = Random(make.seed);
        let uuids = Uuids { current: random.next() & !1, ..Uuids::default() };
        let mut disk = Disk::default();
        let block = Superblock {
            la_size: sectors,
            uuids,
            flags: flags::AL_CLEAN | flags::CONSISTENT | flags::WAS_UP_TO_DATE,
            ..Superblock::fresh(&layout)
        };
        let mut bytes = [0; BLOCK];
        block.encode(&mut bytes);
        disk.format(layout.superblock / 8, &bytes);
        log_block::encode_initialized(&mut bytes);
        for number in 0..make.geometry.blocks() {
            disk.format(layout.al_sector() / 8 + number, &bytes);
        }
        disk.fact(Fact::Device(make.device_sectors, make.device_sectors));
        disk.fact(Fact::Sizes(sectors, sectors));
        let mut node = Self {
            log: ActivityLog::new(LogSlots::new(make.log_slots)),
            bitmap: Bitmap::new(Pages::new(pages_for_bits(bits_for_sectors(sectors))), sectors),
            uuids,
            peer: uuids,
            state: State { disk: DiskState::UpToDate, ..State::default() },
            kept_flags: 0,
            crashed_primary: false,
            still_primary: false,
            moving: false,
            in_flight: VecDeque::new(),
            disk,
            random,
            make,
            layout,
            sectors,
        };
        node.write_superblock();
        node.connect();
        node
    }

    fn forgets(&self, duty: Duty) -> bool {
        self.make.forgets == Some(duty)
    }

    pub fn bits(&self) -> u64 {
        self.bitmap.bits()
    }

    fn superblock(&self) -> Superblock {
        let when = |condition: bool, flag: u32| if condition { flag } else { 0 };
        let settled = superblock_flags(self.kept_flags, &self.state, self.crashed_primary) | when(self.still_primary, flags::PRIMARY);
        Superblock {
            la_size: self.sectors,
            uuids: self.uuids,
            flags: if self.moving { flags::while_moving(settled) } else { settled },
            magic: MAGIC_UNCLEAN,
            al_extents: self.make.log_slots as u32,
            ..Superblock::fresh(&self.layout)
        }
    }

    pub fn write_superblock(&mut self) {
        let mut bytes = [0; BLOCK];
        let block = self.superblock();
        block.encode(&mut bytes);
        self.disk.write(self.layout.superblock, &bytes, true, true);
    }

    /// Changed pages, or only `only`.
    fn write_pages(&mut self, only: Option<usize>) {
        let mut from = only.unwrap_or(0);
        while let Some(page) = self.bitmap.next_dirty_page(from).filter(|page| only.is_none_or(|only| *page == only)) {
            let mut bytes = [0; BLOCK];
            self.bitmap.clean_page(page);
            self.bitmap.store_page(page, &mut bytes);
            self.disk.write(self.layout.bitmap_sector() + page as u64 * 8, &bytes, false, false);
            from = page + 1;
        }
    }

    pub fn write_bitmap(&mut self) {
        self.write_pages(None);
        self.disk.flush();
    }

    /// Every bit, also on disk; the full-sync flag brackets it.
    pub fn set_all_bits(&mut self) {
        if !self.forgets(Duty::BracketAllBits) {
            self.kept_flags |= flags::FULL_SYNC;
        }
        self.write_superblock();
        self.bitmap.fill(true);
        let bits = self.bits();
        self.disk.fact(Fact::Need(0, bits));
        self.write_bitmap();
        self.kept_flags &= !flags::FULL_SYNC;
        self.write_superblock();
    }

    fn write_transaction(&mut self, durable: bool) {
        for position in 0.. {
            let Some(change) = self.log.change(position) else { break };
            if change.leaving != FREE && !self.forgets(Duty::StoreEvicted) {
                self.write_pages(Some((change.leaving / EXTENTS_PER_PAGE) as usize));
            }
        }
        let mut bytes = [0; BLOCK];
        log_block::encode_transaction(&self.log, &mut bytes);
        let sector = self.layout.transaction_sector(self.log.number());
        self.disk.write(sector, &bytes, durable, durable);
        self.log.committed();
    }

    pub fn commit(&mut self) {
        if self.log.has_changes() {
            self.log.seal();
            self.write_transaction(!self.forgets(Duty::CommitBeforeWrite));
        }
    }

    fn enter(&mut self, extent: u32) {
        loop {
            match self.log.begin(extent) {
                Begin::Hot => return,
                Begin::Pending => return self.disk.fact(Fact::Entered(extent)),
                Begin::Full => self.commit(),
                // Nothing of what waits for this commit may end before it.
                Begin::Starving => panic!("more extents in flight than the log has slots"),
            }
        }
    }

    /// Starts writes of these ranges of bits, with one transaction for all; each must be ended.
    pub fn write(&mut self, ranges: &[(u64, u64)]) {
        let replicated = self.state.replicates();
        for (first, end) in ranges {
            for extent in first / EXTENT_BITS..=(end - 1) / EXTENT_BITS {
                self.enter(extent as u32);
            }
        }
        self.commit();
        for (first, end) in ranges {
            self.disk.fact(Fact::Need(*first, *end));
            self.in_flight.push_back(InFlight { first: *first, end: *end, replicated });
        }
    }

    /// The oldest write in flight ends: on both nodes, or here alone.
    pub fn end_write(&mut self) {
        let Some(write) = self.in_flight.pop_front() else { return };
        if !write.replicated || !self.state.replicates() {
            self.bitmap.set_bits(write.first, write.end);
        }
        for bit in write.first..write.end {
            let rewritten = self.in_flight.iter().any(|other| other.first <= bit && bit < other.end);
            if !rewritten && self.bitmap.next_set(bit) != Some(bit) {
                self.disk.fact(Fact::Same(bit, bit + 1));
            }
        }
        for extent in write.first / EXTENT_BITS..=(write.end - 1) / EXTENT_BITS {
            self.log.put(extent as u32);
        }
    }

    pub fn end_all_writes(&mut self) {
        while !self.in_flight.is_empty() {
            self.end_write();
        }
    }

    pub fn writes_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// A range of a few bits, often in one of the extents that were used before.
    pub fn some_range(&mut self, extents: u64) -> (u64, u64) {
        let length = 1 + self.random.below(5);
        let extent = self.random.below(extents);
        let first = (extent * EXTENT_BITS + self.random.below(EXTENT_BITS)).min(self.bits() - length);
        (first, first + length)
    }

    /// Changes the vector by the rules, and carries out what follows from it, in order.
    pub fn change(&mut self, request: Request, kind: Kind) {
        let facts = Facts { has_net: true, version: 101, is_open: false, generation_matches: true, ..Facts::default() };
        let old = self.state;
        let new = evaluate(&old, &request, kind, &facts).unwrap_or_else(|refusal| panic!("{old} does not allow {request:?}: {}", refusal.text()));
        let Some(new) = new else { return };
        let effects = effects(&old, &new, self.uuids.bitmap == 0);
        let marked = |state: &State| drbd_core::state::effects::md_flags(state) & flags::PRIMARY != 0;
        self.still_primary |= !self.forgets(Duty::StoreBeforeDemotion) && marked(&old) && !marked(&new) && effects.has(Effects::WRITE_BITMAP);
        self.state = new;
        for (effect, _) in Effects::ALL {
            if effects.has(*effect) {
                self.carry_out(*effect);
            }
        }
    }

    fn carry_out(&mut self, effect: Effects) {
        match effect {
            Effects::CLEAR_CRASHED_PRIMARY => self.crashed_primary = false,
            Effects::SEND_SYNC_UUID => {
                let random = self.random.next();
                self.uuids.start_as_source(random);
                self.write_superblock();
            }
            Effects::NEW_CURRENT_UUID if self.forgets(Duty::StoreGeneration) => {}
            Effects::NEW_CURRENT_UUID => self.rotate(),
            Effects::WRITE_BITMAP | Effects::WRITE_CHANGED_BITMAP => {
                if self.forgets(Duty::StoreBeforeDemotion) {
                    self.write_superblock();
                }
                self.write_bitmap();
                self.still_primary = false;
            }
            Effects::WRITE_SUPERBLOCK => self.write_superblock(),
            _ => {}
        }
    }

    /// UU-1. Only behind it a write may complete that the peer lacks.
    pub fn rotate(&mut self) {
        let random = self.random.next();
        self.uuids.new_current(random, self.state.role == Role::Primary);
        self.write_superblock();
    }

    pub fn connect(&mut self) {
        self.state.conn = Conn::WFReportParams;
        self.change(Request::none().conn(Conn::Connected).pdsk(DiskState::UpToDate).peer(Role::Secondary), Kind::Hard);
    }

    pub fn promote(&mut self) {
        self.change(Request::none().role(Role::Primary), Kind::Soft);
        self.uuids.set_primary(true);
        self.write_superblock();
    }

    pub fn demote(&mut self) {
        self.end_all_writes();
        self.uuids.set_primary(false);
        self.change(Request::none().role(Role::Secondary), Kind::Soft);
    }

    /// The connection is lost: writes in flight are known here alone, and a Primary starts a new generation.
    pub fn lose_peer(&mut self) {
        let peer = self.peer.current;
        self.change(Request::none().conn(Conn::BrokenPipe), Kind::Hard);
        self.change(Request::none().conn(Conn::Unconnected), Kind::Hard);
        self.end_all_writes();
        if self.state.role == Role::Primary {
            self.disk.fact(Fact::AheadOf(peer));
        }
    }

    /// The peer returns and gets everything that it lacks.
    pub fn return_and_sync(&mut self) {
        self.state.conn = Conn::WFReportParams;
        let peer = if self.state.peer == Role::Unknown { Role::Secondary } else { self.state.peer };
        self.change(Request::none().conn(Conn::WFBitMapS).pdsk(DiskState::Consistent).peer(peer), Kind::Hard);
        self.change(Request::none().conn(Conn::SyncSource).pdsk(DiskState::Inconsistent), Kind::Hard);
        // From now on the sync UUID tells what the peer has.
        self.disk.fact(Fact::NotAhead);
        self.disk.fact(Fact::AheadOf(self.uuids.bitmap));
        self.peer.current = self.uuids.bitmap;
        let mut from = 0;
        let mut turns = 0;
        while let Some(first) = self.bitmap.next_set(from) {
            let end = self.bitmap.next_clear(first).unwrap_or(u64::MAX).min(self.bits()).min(first + 1024);
            let busy = self.in_flight.iter().any(|write| write.first < end && first < write.end);
            if !busy {
                self.bitmap.clear_bits(first, end);
                self.disk.fact(Fact::Same(first, end));
            }
            from = end;
            turns += 1;
            // RX-21: now and then on disk.
            if turns % 16 == 0 {
                self.write_bitmap();
            }
        }
        self.disk.fact(Fact::NotAhead);
        self.uuids.clear_bitmap();
        self.peer = Uuids { current: self.uuids.current & !1, ..self.uuids };
        self.write_superblock();
        self.change(Request::none().conn(Conn::Connected).pdsk(DiskState::UpToDate), Kind::Hard);
    }

    /// Becomes target of a resync of these ranges; `broken_off`: the connection is lost in the middle, and comes back.
    pub fn sync_from_peer(&mut self, ranges: &[(u64, u64)], full: bool, broken_off: bool) {
        let source = Uuids { current: self.random.next() & !1, bitmap: self.uuids.current, history: self.uuids.history };
        self.state.conn = Conn::WFReportParams;
        if full {
            self.set_all_bits();
        }
        self.change(Request::none().conn(Conn::WFBitMapT).pdsk(DiskState::UpToDate).peer(Role::Primary), Kind::Hard);
        for (first, end) in ranges {
            self.bitmap.set_bits(*first, *end);
        }
        self.uuids.start_as_target(source.bitmap.wrapping_add(1 << 48));
        self.write_superblock();
        self.change(Request::none().conn(Conn::SyncTarget).disk(DiskState::Inconsistent), Kind::Hard);
        self.disk.fact(Fact::Mixed(true));
        for (number, (first, end)) in ranges.iter().enumerate() {
            self.bitmap.clear_bits(*first, *end);
            self.disk.fact(Fact::Same(*first, *end));
            if number % 8 == 7 {
                self.write_bitmap();
            }
            if broken_off && number == ranges.len() / 2 {
                self.change(Request::none().conn(Conn::NetworkFailure), Kind::Hard);
                self.write_bitmap();
                self.state.conn = Conn::WFReportParams;
                self.change(Request::none().conn(Conn::WFBitMapT).pdsk(DiskState::UpToDate).peer(Role::Primary), Kind::Hard);
                self.change(Request::none().conn(Conn::SyncTarget), Kind::Hard);
            }
        }
        self.bitmap.fill(false);
        self.disk.fact(Fact::Mixed(false));
        self.uuids.finish_as_target(&source, false);
        self.write_superblock();
        self.change(Request::none().conn(Conn::Connected).disk(DiskState::UpToDate), Kind::Hard);
        self.peer = self.uuids;
    }

    /// SZ-8: another size, another place, or another log; `clean`: the new part is the same on both nodes.
    pub fn relocate(&mut self, device_sectors: u64, geometry: Geometry, sectors: Option<u64>, clean: bool) {
        let layout = Layout::compute(self.make.index, device_sectors, geometry).expect("a layout");
        let size = sectors.unwrap_or_else(|| layout.usable_sectors(self.make.index, device_sectors));
        let (old_size, moved) = (self.sectors, layout != self.layout);
        self.disk.fact(Fact::Device(device_sectors, self.make.device_sectors));
        self.disk.fact(Fact::Sizes(size, old_size));
        let pages = Pages::new(pages_for_bits(bits_for_sectors(size)));
        let old = std::mem::replace(&mut self.bitmap, Bitmap::new(Pages::new(0), 0));
        let old_bits = bits_for_sectors(old_size);
        self.bitmap = old.resized(pages, size, !clean).0;
        if moved {
            self.bitmap.dirty_all();
        }
        (self.layout, self.sectors, self.make.geometry, self.make.device_sectors) = (layout, size, geometry, device_sectors);
        self.moving = !self.forgets(Duty::BracketMove);
        self.write_superblock();
        for _ in 0..geometry.blocks() {
            self.log.seal();
            self.write_transaction(false);
        }
        self.write_bitmap();
        self.moving = false;
        self.write_superblock();
        self.disk.fact(Fact::Sizes(size, size));
        if size > old_size && !clean {
            self.disk.fact(Fact::Need(old_bits, self.bits()));
        }
    }

    /// AT-2 to AT-11 of an attach while disconnected: apply-al, the bitmap from the disk, the superblock.
    pub fn attach(&mut self) {
        self.apply_log();
        self.log = ActivityLog::new(LogSlots::new(self.make.log_slots));
        self.disk.fact(Fact::LogEmpty);
        let found = Superblock::decode(&self.disk.read(self.layout.superblock));
        self.crashed_primary = drbd_core::state::attach::crashed_primary(found.flags, false);
        self.kept_flags = found.flags & !flags::AL_CLEAN;
        let mut bitmap = Bitmap::new(Pages::new(pages_for_bits(self.bits())), self.sectors);
        for page in 0..bitmap.page_count() {
            bitmap.load_page(page, &self.disk.read(self.layout.bitmap_sector() + page as u64 * 8));
        }
        self.bitmap = bitmap;
        self.uuids = found.uuids;
        self.uuids.set_primary(false);
        let (disk, pdsk) = drbd_core::state::attach::found(found.flags, DiskState::DUnknown, drbd_core::state::Fencing::DontCare);
        self.state = State { disk, pdsk, ..State::default() };
        self.write_superblock();
    }

    /// What the tool does before, each step durable before the next.
    fn apply_log(&mut self) {
        let mut block = Superblock::decode(&self.disk.read(self.layout.superblock));
        let geometry = self.layout.geometry;
        let place = |position: u32| self.layout.al_sector() + geometry.ring_block(position) * 8;
        let Ok(ring) = log_block::survey(&geometry, |position| log_block::kind(&self.disk.read(place(position)))) else { return };
        let mut slots = vec![FREE; log_block::MAX_SLOTS];
        for position in ring.positions(&geometry) {
            let bytes = self.disk.read(place(position));
            if let log_block::Kind::Update(_) = log_block::kind(&bytes) {
                log_block::apply(&bytes, &mut slots);
            }
        }
        if block.flags & flags::PRIMARY != 0 {
            for extent in slots.into_iter().filter(|extent| *extent != FREE) {
                let sector = self.layout.bitmap_sector() + u64::from(extent / EXTENTS_PER_PAGE) * 8;
                let mut page = self.disk.read(sector);
                page[(extent % EXTENTS_PER_PAGE) as usize * 128..][..128].fill(0xff);
                self.disk.write(sector, &page, false, false);
            }
            self.disk.flush();
        }
        self.retire_ring(ring.span.map(|(oldest, _)| place(oldest)));
        block.flags |= flags::AL_CLEAN;
        block.magic = drbd_core::md::superblock::MAGIC_CLEAN;
        let mut bytes = [0; BLOCK];
        block.encode(&mut bytes);
        self.disk.write(self.layout.superblock, &bytes, true, true);
    }

    /// A transaction stands at position 0 until everything else is INITIALIZED (`known`: where one is).
    fn retire_ring(&mut self, known: Option<u64>) {
        let Some(known) = known else { return };
        let first = self.layout.al_sector();
        if !matches!(log_block::kind(&self.disk.read(first)), log_block::Kind::Update(_)) {
            let transaction = self.disk.read(known);
            self.disk.write(first, &transaction, false, false);
            self.disk.flush();
        }
        let mut bytes = [0; BLOCK];
        log_block::encode_initialized(&mut bytes);
        for block in 1..self.layout.geometry.blocks() {
            self.disk.write(first + block * 8, &bytes, false, false);
        }
        self.disk.flush();
        self.disk.write(first, &bytes, false, false);
        self.disk.flush();
    }

    /// Detach: the bitmap is written, then everything is forgotten.
    pub fn detach(&mut self) {
        self.end_all_writes();
        self.write_bitmap();
        self.write_superblock();
    }

    /// The power goes, everything is on the disk that was written; it comes back and attaches.
    pub fn lose_power(&mut self) {
        self.in_flight.clear();
        self.still_primary = false;
        self.attach();
    }
}
