// SPDX-License-Identifier: GPL-2.0
//! Requests of the application, ends of disk accesses, and the log writer.

use crate::disk::{Bytes, Disk, Write};
use crate::node::{AppWrite, Env, Io, Node, PeerKind};
use drbd_core::engine::request::Flags;
use drbd_core::engine::table::Operation;
use drbd_core::engine::volume::{Actions, Admit, AdmitRead, Launch, WriteRequest};
use drbd_core::engine::volume_log::Launched;
use drbd_core::state::Conn;

impl Node {
    /// The application writes; the data is a tag of its own in every sector.
    pub fn submit_write(&mut self, env: &mut Env, sector: u64, count: u64, fua: bool, zeroes: bool) {
        let tag = env.oracle.submitted(self.me, sector, count, env.now, fua);
        let operation = if zeroes { Operation::WriteZeroes } else { Operation::Write };
        let write = AppWrite { tag, sector, size_bytes: count as u32 * 512, fua, operation };
        self.admit(env, write);
    }

    fn admit(&mut self, env: &mut Env, write: AppWrite) {
        let flags = Flags::NONE.with_if(Flags::FUA.with(Flags::PREFLUSH), write.fua);
        let request = WriteRequest { sector: write.sector, size_bytes: write.size_bytes, operation: write.operation, flags };
        let (order, closed) = (&mut self.order, self.closed_epoch);
        match self.plane.admit_write(&request, env.now as u32, || Self::stamp(order, closed)) {
            Admit::Go(launch) => {
                self.apps.insert(launch.slot, write);
                self.start(env, launch);
            }
            Admit::LogWait(slot) => {
                self.apps.insert(slot, write);
                self.log_kicked = true;
            }
            Admit::Wait => self.waiting.push_back(write),
            Admit::Fail => env.oracle.failed(write.tag, env.now),
        }
    }

    fn start(&mut self, env: &mut Env, launch: Launch) {
        env.oracle.launched(self.apps[&launch.slot].tag, self.me, self.plane.entry(launch.slot).flags.has(Flags::NET_QUEUED));
        if self.state.conn == Conn::Ahead {
            env.oracle.launched_ahead(self.apps[&launch.slot].tag);
        }
        self.policy.congested |= launch.congested;
        if let Some(ok) = launch.complete {
            assert!(!ok);
            let write = self.apps.remove(&launch.slot).unwrap();
            env.oracle.failed(write.tag, env.now);
        } else if launch.local {
            self.begin_io(Io::App(launch.slot));
        }
    }

    /// An empty flush of the application.
    pub fn submit_flush(&mut self, env: &mut Env) {
        if self.plane.gate().open && !self.plane.gate().local {
            return;
        }
        let (order, closed) = (&mut self.order, self.closed_epoch);
        match self.plane.admit_read(0, 0, Flags::NONE, env.now as u32, || Self::stamp(order, closed)) {
            AdmitRead::Local => self.begin_io(Io::Flush(env.now)),
            AdmitRead::Wait => self.flush_waiting = true,
            other => assert_eq!(other, AdmitRead::Fail),
        }
    }

    /// A completed write of the sector is still on the transfer log: the peer has not said yet that it has it.
    pub fn owes(&self, env: &Env, sector: u64) -> bool {
        let completed = |flags: Flags| flags.has(Flags::ON_LOG) && flags.has(Flags::COMPLETED);
        let entries = (0..env.options.slots as u32).map(|slot| self.plane.entry(slot));
        let mut open = entries.filter(|entry| entry.operation.is_application_write() && completed(entry.flags));
        open.any(|entry| (entry.sector..entry.sector + u64::from(entry.size_bytes / 512)).contains(&sector))
    }

    /// What was kept aside tries again.
    pub fn retry_waiting(&mut self, env: &mut Env) {
        self.retry = false;
        let mut waiting = std::mem::take(&mut self.waiting);
        if waiting.len() > 1 && env.random.once_in(3) {
            // Writers are threads: they come back in any order.
            let at = env.random.index(waiting.len());
            waiting.rotate_left(at);
        }
        for write in waiting {
            self.admit(env, write);
        }
        self.retry_reads(env);
        if std::mem::take(&mut self.flush_waiting) {
            self.submit_flush(env);
        }
        self.retry_deferred(env);
        if self.plane.log_work_waiting() {
            self.log_kicked = true;
        }
    }

    /// Does what an event about an application request asked for.
    pub fn finish(&mut self, env: &mut Env, slot: u32, actions: &Actions) {
        if let Some(epoch) = actions.close_epoch {
            let wanted = epoch.wrapping_add(1);
            if wanted.wrapping_sub(self.closed_epoch).wrapping_sub(1) < 1 << 31 {
                self.closed_epoch = wanted;
            }
        }
        if let Some(ok) = actions.complete {
            let flags = self.plane.entry(slot).flags;
            let write = self.apps.remove(&slot).expect("a request completes once");
            if self.is_dying() {
                return;
            }
            if ok {
                env.oracle.acked(write.tag, self.me, flags.has(Flags::LOCAL_OK), flags.has(Flags::NET_OK), env.now);
            } else {
                env.oracle.failed(write.tag, env.now);
            }
        }
        self.follow(actions);
    }

    /// A disk access ends.
    pub fn end_io(&mut self, env: &mut Env, index: usize) {
        match self.ios.swap_remove(index) {
            Io::App(slot) => {
                let write = self.apps[&slot];
                let fails = self.fails();
                if fails {
                    crate::marks::fault("a write of the application fails");
                    env.oracle.failed_here(self.me, write.tag);
                }
                if !fails || env.more.once_in(2) {
                    self.disk.write_data(content(&write), write.fua, write.fua);
                }
                if fails && env.options.duties.note_failed_write_first {
                    let actions = self.plane.local_failed(slot);
                    self.follow(&actions);
                    return;
                }
                let actions = self.plane.local_done(slot, !fails);
                self.finish(env, slot, &actions);
            }
            Io::Read(read) => self.local_read_ended(env, read),
            Io::Flush(submitted) => {
                self.disk.flush_data();
                env.oracle.flushed(self.me, submitted);
                let actions = self.plane.local_read_done(None);
                self.follow(&actions);
            }
            Io::Transaction(write) => {
                self.write_meta(write, true);
                if self.metadata_failed && env.options.duties.hold_writes_of_failed_log {
                    self.plane.transaction_failed();
                } else {
                    self.plane.transaction_committed();
                }
                self.launch_ready(env);
                self.log_kicked = true;
            }
            Io::Peer(io) => self.peer_io_ended(env, io),
        }
    }

    /// The superblock says that the disk lacks them.
    pub fn release_failed_writes(&mut self, env: &mut Env) {
        let mut any = false;
        while let Some((slot, actions)) = self.plane.take_failed_write() {
            self.finish(env, slot, &actions);
            any = true;
        }
        if any && !self.state.is_suspended() {
            self.release_unsuspended(env);
        }
    }

    /// Power off in the middle of things: each access under way may have reached the cache.
    pub fn interrupted_ios(&mut self, env: &mut Env) {
        for io in std::mem::take(&mut self.ios) {
            if env.random.once_in(2) {
                continue;
            }
            match io {
                Io::App(slot) => self.disk.data.write(content(&self.apps[&slot])),
                Io::Peer(io) if matches!(io.kind, PeerKind::Write | PeerKind::ResyncWrite) => self.disk.data.write(Node::content_of(&io)),
                Io::Transaction(write) => {
                    // The flush that belongs to it comes first.
                    self.disk.flush_meta();
                    self.disk.meta.write(write);
                }
                _ => {}
            }
        }
    }

    /// The log writer: one turn.
    pub fn write_log(&mut self, env: &mut Env) {
        self.log_kicked = false;
        if self.plane.log.is_sealed() {
            return;
        }
        if self.plane.collect_transaction() && self.plane.log.seal() {
            self.write_evicted(env);
            if self.is_dying() {
                return;
            }
            let write = self.transaction();
            self.begin_io(Io::Transaction(write));
        }
        self.launch_ready(env);
    }

    /// Before a transaction: the pages of extents that leave.
    pub fn write_evicted(&mut self, env: &Env) {
        self.settle_data(env);
        let mut position = 0;
        while let Some(change) = self.plane.log.change(position) {
            env.oracle.say(format_args!("n{} log slot {}: {} for {}", self.me, change.slot, change.extent, change.leaving as i32));
            if change.leaving != drbd_core::activity_log::FREE && env.options.duties.store_bitmap_before_eviction {
                self.write_pages(Some((change.leaving / 32) as usize));
            }
            position += 1;
        }
    }

    /// The block of the sealed transaction.
    pub fn transaction(&self) -> Write<Box<Bytes>> {
        let mut bytes = [0; 4096];
        drbd_core::md::log_block::encode_transaction(&self.plane.log, &mut bytes);
        Disk::block_write(self.layout.transaction_sector(self.plane.log.number()), &bytes)
    }

    fn launch_ready(&mut self, env: &mut Env) {
        loop {
            let (order, closed) = (&mut self.order, self.closed_epoch);
            match self.plane.take_launchable(env.now as u32, || Self::stamp(order, closed)) {
                None => {
                    self.log_kicked |= self.plane.has_unlogged();
                    break;
                }
                Some(Launched::Application(launch)) => self.start(env, launch),
                Some(Launched::Peer(slot)) => {
                    let io = self.peer_ios[&slot].clone();
                    self.begin_io(Io::Peer(io));
                }
                Some(Launched::Again { .. }) => panic!("one node writes"),
                Some(Launched::PeerWithoutDisk(slot)) => {
                    let io = self.peer_ios.remove(&slot).unwrap();
                    let actions = self.plane.drop_peer_write(slot);
                    self.follow(&actions);
                    self.refuse_write(io);
                }
            }
        }
    }
}

/// What a write puts on a disk.
pub fn content(write: &AppWrite) -> Write<u64> {
    let count = u64::from(write.size_bytes / 512);
    Write { first: write.sector, count, values: (write.sector..write.sector + count).map(|sector| (sector, write.tag)).collect() }
}
