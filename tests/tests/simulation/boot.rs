// SPDX-License-Identifier: GPL-2.0
//! Power on: `drbdmeta apply-al`, then attach.

use crate::disk::Disk;
use crate::heap::{LogSlots, Pages};
use crate::node::{Env, Node, Options, PAGES, SECTORS};
use drbd_core::activity_log::{ActivityLog, FREE};
use drbd_core::bitmap::Bitmap;
use drbd_core::md::log_block::{self, Kind as BlockKind};
use drbd_core::md::{flags, superblock, Index, Superblock, Uuids};
use drbd_core::state::{attach, Disk as DiskState, Kind, Request, Role};

/// Bytes of bitmap an extent stands for.
const EXTENT_BITMAP_BYTES: usize = 128;

/// A disk as it is after the first full sync: UpToDate with this generation.
pub fn prepare(options: &Options, current: u64) -> Disk {
    let mut disk = Disk::new(options.internal, options.ordering != drbd_core::epoch::Ordering::Flush);
    let node = Node::off(0, disk.clone(), options);
    let block = Superblock {
        la_size: SECTORS,
        uuids: Uuids { current, ..Uuids::default() },
        flags: flags::AL_CLEAN | flags::CONSISTENT | flags::WAS_UP_TO_DATE,
        ..Superblock::fresh(&node.layout)
    };
    let mut bytes = [0; 4096];
    block.encode(&mut bytes);
    disk.meta.write(Disk::block_write(node.layout.superblock, &bytes));
    initialize_log(&node, &mut disk);
    disk.meta.flush();
    disk
}

fn initialize_log(node: &Node, disk: &mut Disk) {
    let mut bytes = [0; 4096];
    log_block::encode_initialized(&mut bytes);
    for block in 0..node.layout.geometry.blocks() {
        disk.meta.write(Disk::block_write(node.layout.al_sector() + block * 8, &bytes));
    }
}

impl Node {
    pub fn stored_superblock(&self) -> Superblock {
        Superblock::decode(&self.disk.read_block(self.layout.superblock))
    }

    /// What user space does before an attach. Every step is durable before the next.
    fn apply_log(&mut self) {
        let mut found = self.stored_superblock();
        if found.magic == superblock::MAGIC_CLEAN && found.flags & flags::AL_CLEAN != 0 {
            return;
        }
        let geometry = self.layout.geometry;
        let block = |position: u32| self.disk.read_block(self.layout.al_sector() + geometry.ring_block(position) * 8);
        let ring = log_block::survey(&geometry, |position| log_block::kind(&block(position))).expect("a ring that can be replayed");
        let mut slots = vec![FREE; log_block::MAX_SLOTS];
        for position in ring.positions(&geometry) {
            let block = block(position);
            if let BlockKind::Update(_) = log_block::kind(&block) {
                log_block::apply(&block, &mut slots);
            }
        }
        let extents: Vec<u32> = slots.iter().copied().filter(|extent| *extent != FREE).collect();
        self.note(format!("log replayed: flags {:#x}, extents {extents:?}", found.flags));
        if found.flags & flags::PRIMARY != 0 {
            for extent in slots.iter().filter(|extent| **extent != FREE) {
                self.mark_extent(*extent as usize);
            }
            self.disk.meta.flush();
        }
        let mut disk = self.disk.clone();
        initialize_log(self, &mut disk);
        self.disk = disk;
        self.disk.meta.flush();
        found.flags |= flags::AL_CLEAN;
        found.magic = superblock::MAGIC_CLEAN;
        let mut bytes = [0; 4096];
        found.encode(&mut bytes);
        self.disk.meta.write_through(Disk::block_write(self.layout.superblock, &bytes));
    }

    fn mark_extent(&mut self, extent: usize) {
        let start = extent * EXTENT_BITMAP_BYTES;
        let sector = self.layout.bitmap_sector() + (start / 4096 * 8) as u64;
        let mut page = self.disk.read_block(sector);
        page[start % 4096..][..EXTENT_BITMAP_BYTES].fill(0xff);
        self.disk.meta.write(Disk::block_write(sector, &page));
    }

    /// Powers the node on and attaches its disk.
    pub fn boot(&mut self, env: &mut Env) {
        let disk = std::mem::replace(&mut self.disk, Disk::new(true, false));
        let trace = std::mem::take(&mut self.trace);
        *self = Node { alive: true, trace, ..Node::off(self.me, disk, &env.options) };
        self.note("boot".to_owned());
        self.attach(env);
    }

    /// The disk is attached, to a node that has been up for a while or not.
    pub fn attach(&mut self, env: &mut Env) {
        self.apply_log();
        let found = self.stored_superblock();
        let layout = found.validate(Index::FlexibleExternal, 4096).expect("valid metadata");
        assert_eq!(layout, self.layout);
        if attach::holds_other_data(&self.state, self.effective, found.uuids.current) {
            return;
        }
        if self.change(&env.options, Request::none().disk(DiskState::Attaching), Kind::Soft).is_err() {
            return;
        }
        self.attached = true;
        self.given_up = false;
        self.uuids = found.uuids;
        self.flags = found.flags & !flags::AL_CLEAN;
        self.crashed_primary = attach::crashed_primary(found.flags, false);
        // Numbers start at 0, and so does the ring: a first transaction that is torn has to be at position 0 (metadata.md 6.4).
        self.plane.log = ActivityLog::new(LogSlots::new(env.options.log_slots));
        self.plane.forget_log_references();
        self.plane.bitmap = Bitmap::new(Pages::new(PAGES), SECTORS);
        if attach::sets_all_bits(found.flags, self.crashed_primary) {
            self.set_all_bits(env);
        } else {
            for page in 0..PAGES {
                let bytes = self.disk.read_block(self.layout.bitmap_sector() + page as u64 * 8);
                self.plane.bitmap.load_page(page, &bytes);
            }
        }
        self.stale_bits = self.uuids.bitmap == 0 && self.plane.bitmap.weight() > 0;
        self.uuids.set_primary(self.state.role == Role::Primary);
        let end = attach::conclude(&self.state, attach::found(found.flags, self.state.pdsk, self.conduct.fencing));
        if end.negotiates {
            self.found = Some(attach::found(found.flags, self.state.pdsk, self.conduct.fencing));
            self.peer_uuids = None;
        } else {
            self.effective = self.uuids.current;
        }
        self.change(&env.options, end.request, Kind::Hard).unwrap();
        self.write_superblock(env);
    }

    /// The disk is being given up: first no request uses it any more.
    pub fn give_up_disk(&mut self, env: &mut Env) {
        self.hard(&env.options, Request::none().disk(DiskState::Failed));
    }

    /// The last access has ended.
    pub fn disk_drained(&mut self, env: &mut Env) {
        self.draining = false;
        if !self.given_up {
            self.write_bitmap(env);
            self.write_superblock(env);
        }
        self.release_failed_writes(env);
        self.hard(&env.options, Request::none().disk(DiskState::Diskless));
    }

    pub fn let_go_of_disk(&mut self) {
        if self.state.disk == DiskState::Diskless {
            self.attached = false;
            self.uuids = Uuids::default();
        }
    }
}
