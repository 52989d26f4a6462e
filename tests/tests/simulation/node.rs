// SPDX-License-Identifier: GPL-2.0
//! A node: core, and the shell around it as in the driver, cut into steps that the world takes in any order.
//!
//! This file has what the steps share, and the control plane: gate, changes of the vector, the worker.
//! Metadata is written in one step, but the power may fail behind every single write (`fuse`).

use crate::disk::{Bytes, Disk, Write};
use crate::duties::Duties;
use crate::heap::{Heap, LogSlots, Pages};
use crate::network::{Link, Message, Stream};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::settings::Settings;
use drbd_core::activity_log::ActivityLog;
use drbd_core::bitmap::Bitmap;
use drbd_core::engine::gate::Gate;
use drbd_core::engine::volume::{Actions, DataPlane, Stamp};
use drbd_core::epoch::{BarrierAck, Ordering, ReceiverEpochs, SenderEpochs};
use drbd_core::handshake::report;
use drbd_core::md::{superblock, Geometry, Index, Layout, Superblock, Uuids};
use drbd_core::state::disk_error::flags_of_disk;
use drbd_core::state::{bits_missing, effects, evaluate, superblock_flags, Conn, Disk as DiskState, EffectFacts, Effects, Facts, Kind, Refusal, Request, Role, State};
use drbd_core::wire::bitmap_transfer::Transfer;
use drbd_core::wire::packet::BlockAck;
use drbd_core::wire::params::{features, UuidsPacket};
use drbd_core::wire::{Command, Header, HeaderFormat};
use std::collections::{BTreeMap, VecDeque};

/// Sectors of the device: 64 extents of the activity log, two pages of bitmap, and a last block that is cut off.
pub const SECTORS: u64 = 2 * 32768 * 8 - 3;
/// Pages of the bitmap.
pub const PAGES: usize = 2;
pub const VERSION: u32 = 101;
pub const FEATURES: u32 = features::OURS;

/// What is the same for a whole run.
#[derive(Clone, Copy)]
pub struct Options {
    /// 1 = A, 2 = B, 3 = C.
    pub protocol: u32,
    pub internal: bool,
    pub ordering: Ordering,
    pub slots: usize,
    pub log_slots: usize,
    pub max_epoch_size: u32,
    pub max_request_bytes: u32,
    pub compress: bool,
    pub duties: Duties,
    pub conduct: crate::policies::Conduct,
}

/// Everything outside of the nodes.
pub struct Env {
    pub random: Random,
    /// Chance of what is drawn beside the simplest faults.
    pub more: Random,
    /// Chance of what policies add.
    pub extra: Random,
    /// Chance of reads.
    pub asks: Random,
    /// Chance of what fails in a resync.
    pub flaws: Random,
    pub settings: Settings,
    pub link: Option<Link>,
    pub oracle: Oracle,
    pub options: Options,
    /// Steps taken.
    pub now: u64,
}

/// A change of the vector that the worker has still to carry out.
pub struct AfterChange {
    pub old: State,
    pub new: State,
    pub effects: Effects,
}

/// What the sender queue holds.
pub enum Item {
    Packet(Message),
    ResyncRequest { sector: u64, size_bytes: u32 },
    VerifyRequest { sector: u64, size_bytes: u32 },
    Reply(PeerIo),
    Bitmap,
}

/// An acknowledgement to send.
pub enum Ack {
    Block(Command, BlockAck),
    Barrier(BarrierAck),
}

/// What a request on behalf of the peer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerKind {
    Write,
    ResyncRead,
    ResyncWrite,
    /// Of the peer's application.
    Read,
    VerifyRead,
    VerifyCompare,
}

/// Work for the peer.
#[derive(Clone, Debug)]
pub struct PeerIo {
    pub kind: PeerKind,
    pub slot: u32,
    pub sector: u64,
    pub size_bytes: u32,
    pub id: [u8; 8],
    pub flags: u32,
    pub epoch: u32,
    pub data: Vec<(u64, u64)>,
}

/// Disk access under way.
pub enum Io {
    App(u32),
    /// An empty flush, and the time it was submitted.
    Flush(u64),
    Read(crate::reads::AppRead),
    Peer(PeerIo),
    /// The block of the sealed transaction.
    Transaction(Write<Box<Bytes>>),
}

/// How far the receiver has come with the end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Receiver {
    /// No connection wanted.
    StandAlone,
    /// Waits for the peer.
    Connecting,
    /// Reads packets.
    Serving,
    /// The worker has to be done with the changes first.
    Flushing,
    /// Work for the peer has to end.
    Draining,
}

/// An application write in its slot.
#[derive(Clone, Copy)]
pub struct AppWrite {
    pub tag: u64,
    pub sector: u64,
    pub size_bytes: u32,
    pub fua: bool,
    pub operation: drbd_core::engine::table::Operation,
}

/// See the module text.
pub struct Node {
    pub me: usize,
    pub alive: bool,
    /// Metadata writes until the power fails.
    pub fuse: Option<u64>,
    pub disk: Disk,
    pub layout: Layout,
    pub plane: DataPlane<Heap>,
    pub state: State,
    pub uuids: Uuids,
    pub flags: u32,
    pub crashed_primary: bool,
    pub effective: u64,
    /// The disk is attached, or being given up.
    pub attached: bool,
    /// The bitmap on disk had bits from before the last resync: more than needed, which does no harm.
    pub stale_bits: bool,
    /// The next access to the disk that ends fails.
    pub error_due: bool,
    /// So many accesses of a resync that end next fail.
    pub resync_errors_due: u32,
    /// It is one of the metadata.
    pub metadata_error_due: bool,
    /// An access to the metadata has failed: the disk will be given up, whatever on-io-error says.
    pub metadata_failed: bool,
    /// The disk answers nothing at the moment.
    pub hangs: bool,
    /// It was named gone (`detach --force`, disk-timeout): nobody waits for it any more.
    pub given_up: bool,
    /// The worker has an error to look at.
    pub error_seen: bool,
    /// Disk states as the attach found them, while Negotiating.
    pub found: Option<(DiskState, DiskState)>,
    /// The worker waits for the last access to a disk that is being given up.
    pub draining: bool,
    pub peer_uuids: Option<UuidsPacket>,
    /// Blocks out of sync as the peer was told last.
    pub told_bits: u64,
    /// This source has answered a ping while no bit was left: the target may have ended the resync.
    pub may_be_finished: bool,
    /// This source was Ahead, and the peer may not know yet that it is the target.
    pub left_behind: bool,
    /// Blocks that the disk lacks may have no bit here.
    pub bits_missing: bool,
    pub log_suspended: bool,
    pub uuid_pending: bool,
    pub state_sent: bool,
    pub consider_resync: bool,
    pub resolver: bool,
    /// The next connection, or this one, discards the data here.
    pub discard_my_data: bool,
    pub receiving: Option<Transfer>,
    pub pending_change: Option<Request>,
    pub answered: Option<i32>,
    pub primary: bool,
    /// The role has changed; the rest follows when the worker has carried out what came before, or its older reports would come last.
    pub role_changed: bool,
    /// Demoted, but the bitmap is not on disk yet.
    pub still_primary: bool,
    pub after: VecDeque<AfterChange>,
    pub receiver: Receiver,
    /// The receiver ends in StandAlone.
    pub give_up: bool,
    pub finishing: bool,
    pub resync_cursor: u64,
    pub resync_pending: u32,
    pub queue: VecDeque<(u64, Item)>,
    pub order: u64,
    pub closed_epoch: u32,
    pub epochs_out: SenderEpochs,
    pub epochs_in: Box<ReceiverEpochs>,
    pub acks: VecDeque<Ack>,
    pub sequence: u32,
    pub flush_wanted: bool,
    pub held: VecDeque<PeerIo>,
    pub deferred: VecDeque<PeerIo>,
    pub peer_ios: BTreeMap<u32, PeerIo>,
    pub peer_in_work: u32,
    pub apps: BTreeMap<u32, AppWrite>,
    /// Application writes kept aside.
    pub waiting: VecDeque<AppWrite>,
    pub flush_waiting: bool,
    /// Application reads at the peer, and those kept aside.
    pub reads: BTreeMap<u32, crate::reads::AppRead>,
    pub waiting_reads: VecDeque<crate::reads::AppRead>,
    /// The data plane said that what waits may try again.
    pub retry: bool,
    pub log_kicked: bool,
    pub ios: Vec<Io>,
    /// Its policies.
    pub conduct: crate::policies::Conduct,
    /// What policies keep in mind.
    pub policy: crate::policies::Memory,
    /// Kinds of changes of the vector, newest last, for the report of a failure.
    pub trace: VecDeque<String>,
}

impl Node {
    /// A node without power over a disk.
    pub fn off(me: usize, disk: Disk, options: &Options) -> Self {
        let layout = Layout::compute(Index::FlexibleExternal, 4096, Geometry::default()).unwrap();
        let log = ActivityLog::new(LogSlots::new(options.log_slots));
        let bitmap = Bitmap::new(Pages::new(PAGES), SECTORS);
        let mut epochs_in = Box::new(ReceiverEpochs::new());
        let _ = epochs_in.set_ordering(options.ordering);
        Self {
            me,
            alive: false,
            fuse: None,
            disk,
            layout,
            plane: DataPlane::new(vec![Default::default(); options.slots], log, bitmap),
            state: State::default(),
            uuids: Uuids::default(),
            flags: 0,
            crashed_primary: false,
            effective: 0,
            attached: false,
            stale_bits: false,
            error_due: false,
            resync_errors_due: 0,
            metadata_error_due: false,
            metadata_failed: false,
            hangs: false,
            given_up: false,
            error_seen: false,
            found: None,
            draining: false,
            peer_uuids: None,
            told_bits: 0,
            may_be_finished: false,
            left_behind: false,
            bits_missing: false,
            log_suspended: false,
            uuid_pending: false,
            state_sent: false,
            consider_resync: false,
            resolver: false,
            discard_my_data: false,
            receiving: None,
            pending_change: None,
            answered: None,
            primary: false,
            role_changed: false,
            still_primary: false,
            after: VecDeque::new(),
            receiver: Receiver::StandAlone,
            give_up: false,
            finishing: false,
            resync_cursor: 0,
            resync_pending: 0,
            queue: VecDeque::new(),
            order: 0,
            closed_epoch: 0,
            epochs_out: SenderEpochs::new(),
            epochs_in,
            acks: VecDeque::new(),
            sequence: 0,
            flush_wanted: false,
            held: VecDeque::new(),
            deferred: VecDeque::new(),
            peer_ios: BTreeMap::new(),
            peer_in_work: 0,
            apps: BTreeMap::new(),
            waiting: VecDeque::new(),
            flush_waiting: false,
            reads: BTreeMap::new(),
            waiting_reads: VecDeque::new(),
            retry: false,
            log_kicked: false,
            ios: Vec::new(),
            conduct: options.conduct,
            policy: Default::default(),
            trace: VecDeque::new(),
        }
    }

    /// The power has failed within this step: nothing more leaves the node.
    pub fn is_dying(&self) -> bool {
        self.fuse == Some(0)
    }

    /// Nothing uses the disk, no transaction of the log either (the driver writes one at a time, and what a detach writes comes after it).
    pub fn is_idle(&self) -> bool {
        self.plane.is_drained() && !self.ios.iter().any(|io| matches!(io, Io::Transaction(_)))
    }

    fn gate(&self, options: &Options, open: bool) -> Gate {
        let state = &self.state;
        let in_sync_states = state.conn.may_set_in_sync();
        Gate {
            open: open && state.admits_io(VERSION) && !self.uuid_pending,
            local: state.disk >= DiskState::Inconsistent,
            local_up_to_date: state.disk == DiskState::UpToDate,
            bits_missing: self.bits_missing,
            replicate: state.replicates() && state.conn >= Conn::Connected,
            notify_out_of_sync: state.notifies_out_of_sync(),
            remote_read: state.pdsk == DiskState::UpToDate && state.conn >= Conn::Connected,
            peer_lacks: state.conn >= Conn::Connected && state.pdsk != DiskState::UpToDate,
            writable: state.disk == DiskState::UpToDate || state.pdsk == DiskState::UpToDate,
            in_sync_states,
            want_receive_ack: options.protocol == 2,
            want_write_ack: options.protocol == 3 || in_sync_states,
            log_activity: !self.log_suspended,
            log_peer_writes: state.pdsk < DiskState::Inconsistent,
            log_until_stored: self.still_primary,
            suspended: state.is_suspended(),
            two_primaries: false,
            max_in_flight: 1000,
            ..self.conduct.gate(state)
        }
    }

    pub fn publish(&mut self, options: &Options, open: bool) {
        let gate = self.gate(options, open);
        let actions = self.plane.publish(gate);
        self.follow(&actions);
    }

    /// Wakes whoever an event allows to go on.
    pub fn follow(&mut self, actions: &Actions) {
        self.retry |= actions.retry;
    }

    pub fn stamp(order: &mut u64, closed: u32) -> Stamp {
        *order += 1;
        Stamp { order: *order, closed }
    }

    pub fn facts(&self) -> Facts {
        Facts {
            has_net: true,
            has_verify: true,
            version: VERSION,
            state_sent: self.state_sent,
            is_open: self.plane.in_flight() > 0 || !self.waiting.is_empty() || !self.waiting_reads.is_empty(),
            generation_matches: self.effective & !1 == self.uuids.current & !1,
            negotiated_disk: self.found,
            fencing: self.fencing(),
            suspend_on_no_data: self.conduct.suspend_on_no_data,
            ..Facts::default()
        }
    }

    /// A local change of the vector.
    pub fn change(&mut self, options: &Options, request: Request, kind: Kind) -> Result<(), Refusal> {
        let old = self.state;
        if let Some(new) = evaluate(&old, &request, kind, &self.facts())? {
            self.assign(options, new);
        }
        Ok(())
    }

    /// A fact; cannot be refused except where it makes no sense.
    pub fn hard(&mut self, options: &Options, request: Request) {
        let _ = self.change(options, request, Kind::Hard);
    }

    /// Puts a vector in force.
    pub fn assign(&mut self, options: &Options, mut new: State) {
        let old = self.state;
        if std::mem::take(&mut self.may_be_finished) {
            let apart = new.conn < Conn::Connected;
            let lost = matches!(old.conn, Conn::SyncSource | Conn::PausedSyncS) && (apart || new.pdsk <= DiskState::Failed);
            if lost {
                // The target may count as UpToDate by now: its report was lost, or overtaken by that of its disk.
                self.uuids.clear_bitmap();
            }
            if lost && apart {
                new.pdsk = DiskState::DUnknown;
            }
            self.may_be_finished = !lost && matches!(new.conn, Conn::SyncSource | Conn::PausedSyncS);
        }
        let facts = EffectFacts {
            bitmap_uuid_free: self.attached && self.uuids.bitmap == 0,
            peer_missed_write: options.duties.new_generation_without_peer_write && self.plane.peer_missed_write(),
            version: VERSION,
        };
        let mut effects = effects::effects_with(&old, &new, &facts);
        self.publish(options, false);
        crate::marks::edge(&old, &new);
        self.state = new;
        self.bits_missing = bits_missing(&old, &new, self.bits_missing);
        if !old.conn.is_resync() && new.conn.is_resync() {
            self.plane.resync_begins();
        }
        self.left_behind = report::left_behind(&old, &new, self.left_behind);
        self.verify_changes(&old);
        self.flags = superblock_flags(self.flags, &new, self.crashed_primary);
        if effects.has(Effects::NEW_CURRENT_UUID) && new.is_suspended() && !effects.has(Effects::NEW_CURRENT_UUID_AT_ONCE) {
            self.policy.uuid_deferred = true;
            effects = effects.without(Effects::NEW_CURRENT_UUID);
        }
        self.uuid_pending |= effects.has(Effects::NEW_CURRENT_UUID) && options.duties.store_generation_before_completion;
        self.consider_resync |= effects.has(Effects::CONSIDER_RESYNC);
        let marked = |state: &State| effects::md_flags(state) & drbd_core::md::flags::PRIMARY != 0;
        self.still_primary |= marked(&old) && !marked(&new) && effects.has(Effects::WRITE_BITMAP) && options.duties.store_bitmap_before_demotion;
        if effects.has(Effects::RESUME_LOG) {
            self.log_suspended = false;
        }
        if old.disk < DiskState::Consistent && new.disk >= DiskState::Consistent {
            self.effective = self.uuids.current;
        }
        if self.state_sent && new.conn != Conn::WFReportParams {
            self.state_sent = false;
            self.policy.verdict_missed = new.conn < Conn::Connected;
        }
        if new.disk != DiskState::Negotiating {
            self.found = None;
        }
        self.note(format!("{new}"));
        if self.announces_at_once(options, &new, effects) {
            self.enqueue_packet(Command::State, &new.pack().to_be_bytes());
        }
        if new.conn == Conn::Ahead && effects.has(Effects::SEND_STATE) {
            self.enqueue_packet(Command::State, &new.pack().to_be_bytes());
            effects = effects.without(Effects::SEND_STATE);
        }
        self.after.push_back(AfterChange { old, new, effects });
        self.publish(options, true);
    }

    /// The gate is still closed: what is queued now leaves before every request that the change gives another meaning.
    fn announces_at_once(&self, options: &Options, new: &State, effects: Effects) -> bool {
        effects.has(Effects::DISK_FAILED) && new.conn >= Conn::Connected && options.duties.announce_failed_disk_first
    }

    pub fn note(&mut self, text: String) {
        self.trace.push_back(text);
        if self.trace.len() > 60 {
            self.trace.pop_front();
        }
    }

    /// The worker carries out the oldest change.
    pub fn work(&mut self, env: &mut Env) {
        let Some(change) = self.after.pop_front() else { return };
        for (effect, _) in Effects::ALL {
            if *effect == Effects::SEND_SYNC_UUID && !self.is_dying() {
                self.reconsider_suspension(env, &change);
            }
            if change.effects.has(*effect) && !self.is_dying() {
                self.carry_out(env, &change, *effect);
            }
        }
    }

    fn carry_out(&mut self, env: &mut Env, change: &AfterChange, effect: Effects) {
        match effect {
            Effects::CLEAR_CRASHED_PRIMARY => {
                self.crashed_primary = false;
                self.flags = superblock_flags(self.flags, &self.state, false);
            }
            Effects::SEND_SYNC_UUID => self.send_sync_uuid(env),
            Effects::SEND_BITMAP => self.enqueue(Item::Bitmap),
            Effects::NEW_CURRENT_UUID => {
                if self.error_seen && !self.state_sent {
                    self.apply_error_policy(env);
                }
                self.rotate_uuid(env);
            }
            Effects::WRITE_BITMAP | Effects::WRITE_CHANGED_BITMAP => {
                self.plane.mark_frozen();
                self.write_bitmap(env);
                self.still_primary = false;
                self.publish(&env.options, true);
            }
            Effects::GREET_ATTACHED_PEER | Effects::ANNOUNCE_ATTACH => {
                self.send_uuids();
                self.report(&change.new);
            }
            Effects::DISK_FAILED | Effects::DISK_GONE => {
                let announced = self.announces_at_once(&env.options, &change.new, change.effects);
                if change.new.conn >= Conn::Connected && !announced {
                    self.enqueue_packet(Command::State, &change.new.pack().to_be_bytes());
                }
                self.draining = effect == Effects::DISK_FAILED;
                if effect == Effects::DISK_GONE {
                    self.let_go_of_disk();
                }
            }
            Effects::SEND_STATE => self.report(&change.new),
            Effects::WRITE_SUPERBLOCK => {
                self.write_superblock(env);
                if self.state.disk <= DiskState::Inconsistent {
                    self.release_failed_writes(env);
                }
            }
            _ => {}
        }
    }

    fn report(&mut self, change: &State) {
        let state = effects::reported(change, &self.state);
        self.enqueue_packet(Command::State, &state.pack().to_be_bytes());
    }

    /// AC-9, UU-1.
    pub fn rotate_uuid(&mut self, env: &mut Env) {
        if self.attached && self.uuids.bitmap == 0 && self.state.disk != DiskState::Failed {
            self.uuids.new_current(env.random.next(), self.state.role == Role::Primary);
            self.effective = self.uuids.current;
        }
        self.write_superblock(env);
        self.uuid_pending = false;
        if self.state.conn >= Conn::Connected {
            self.send_uuids();
        }
        self.publish(&env.options, true);
    }

    /// One write of metadata; the power may fail behind it.
    pub fn write_meta(&mut self, write: Write<Box<Bytes>>, durable: bool) {
        if self.is_dying() || (self.hangs && self.given_up) {
            return;
        }
        if self.metadata_error_due && self.both_good() {
            self.metadata_error_due = false;
            self.metadata_failed = true;
            self.error_seen = true;
            crate::marks::fault("a write of metadata fails");
            return;
        }
        if durable {
            self.disk.flush_meta();
        }
        let fails = self.fuse == Some(1);
        if durable && !fails {
            self.disk.meta.write_through(write);
        } else {
            self.disk.meta.write(write);
        }
        self.fuse = self.fuse.map(|left| left - 1);
    }

    /// Metadata that comes next may no longer cover blocks written before.
    pub fn settle_data(&mut self, env: &Env) {
        if env.options.duties.flush_data_before_metadata && !self.is_dying() {
            self.disk.flush_data();
        }
    }

    pub fn write_superblock(&mut self, env: &Env) {
        if !self.attached {
            return;
        }
        self.settle_data(env);
        let lacks = self.state.disk == DiskState::Failed && self.plane.missed_write() && env.options.duties.note_failed_write_first;
        let block = Superblock {
            la_size: SECTORS,
            uuids: self.uuids,
            flags: flags_of_disk(self.flags, lacks) | if self.still_primary { drbd_core::md::flags::PRIMARY } else { 0 },
            magic: superblock::MAGIC_UNCLEAN,
            ..Superblock::fresh(&self.layout)
        };
        let mut bytes = [0; 4096];
        block.encode(&mut bytes);
        self.write_meta(Disk::block_write(self.layout.superblock, &bytes), true);
    }

    pub fn write_bitmap(&mut self, env: &Env) {
        if !self.attached {
            return;
        }
        self.settle_data(env);
        self.write_pages(None);
        if !self.is_dying() {
            self.disk.flush_meta();
        }
    }

    /// Writes the pages that differ from the disk, or only `only`.
    pub fn write_pages(&mut self, only: Option<usize>) {
        let mut from = only.unwrap_or(0);
        while let Some(page) = self.plane.bitmap.next_dirty_page(from).filter(|page| only.is_none_or(|only| *page == only)) {
            let mut bytes = [0; 4096];
            self.plane.bitmap.clean_page(page);
            self.plane.bitmap.store_page(page, &mut bytes);
            self.write_meta(Disk::block_write(self.layout.bitmap_sector() + page as u64 * 8, &bytes), false);
            from = page + 1;
        }
    }

    /// HS-29: every bit, also on disk; the flag brackets it.
    pub fn set_all_bits(&mut self, env: &Env) {
        self.flags |= drbd_core::md::flags::FULL_SYNC;
        self.write_superblock(env);
        self.plane.bitmap.fill(true);
        self.write_bitmap(env);
        self.flags &= !drbd_core::md::flags::FULL_SYNC;
        self.write_superblock(env);
    }

    /// Starts a disk access, unless the power is gone.
    pub fn begin_io(&mut self, io: Io) {
        if !self.is_dying() {
            self.ios.push(io);
        }
    }

    pub fn enqueue(&mut self, item: Item) {
        self.order += 1;
        self.queue.push_back((self.order, item));
    }

    pub fn packet(command: Command, payload: &[u8], extra: usize, data: Vec<(u64, u64)>) -> Message {
        let length = (payload.len() + extra) as u32;
        let mut bytes = vec![0; 16];
        let head = Header::new(0, command, length).encode(HeaderFormat::for_version(VERSION, length), &mut bytes);
        bytes.truncate(head);
        bytes.extend_from_slice(payload);
        Message { bytes, data, behind: extra, in_part: false }
    }

    pub fn enqueue_packet(&mut self, command: Command, payload: &[u8]) {
        self.enqueue(Item::Packet(Self::packet(command, payload, 0, Vec::new())));
    }

    /// A report of the state waits to be sent, or will as soon as the worker comes to it.
    pub fn has_reports(&self) -> bool {
        !self.after.is_empty() || self.queue.iter().any(|(_, item)| matches!(item, Item::Packet(message) if message.is_state()))
    }

    /// Hands a packet to a socket.
    pub fn transmit(&mut self, env: &mut Env, stream: Stream, message: Message) {
        if self.is_dying() {
            return;
        }
        if let Some(link) = env.link.as_mut().filter(|link| !link.left[self.me]) {
            link.send(self.me, stream, message);
        }
    }
}
