// SPDX-License-Identifier: GPL-2.0
//! Reads of the application: here, at the peer, and those that a disk fails (behaviour.md 6.6, ER-2, WR-1).

use crate::marks;
use crate::node::{Env, Io, Item, Node, PeerIo, PeerKind, Receiver};
use crate::world::World;
use drbd_core::engine::request::Flags;
use drbd_core::engine::table::Entry;
use drbd_core::engine::volume::{Actions, AdmitRead};
use drbd_core::engine::volume_read::ReadBalancing;
use drbd_core::state::{Conn, Disk};
use drbd_core::wire::packet::{BlockAck, BlockRequest, Data};
use drbd_core::wire::Command;

/// What becomes of reads; each has to come about.
pub const OUTCOMES: &[&str] = &[
    "a read here",
    "a read at the peer",
    "a read that failed here succeeds at the peer",
    "a read that the peer could not serve is tried again",
    "a read whose connection was lost is tried again",
    "a read without good data fails",
];

/// read-balancing, drawn where reads are.
pub const BALANCING: [ReadBalancing; 5] =
    [ReadBalancing::PreferLocal, ReadBalancing::PreferLocal, ReadBalancing::PreferRemote, ReadBalancing::RoundRobin, ReadBalancing::LeastPending];

/// A read of the application.
#[derive(Clone, Copy)]
pub struct AppRead {
    sector: u64,
    count: u64,
    submitted: u64,
    /// The data here had not been given up then.
    sound: bool,
    failed_here: bool,
}

impl Node {
    pub fn submit_read(&mut self, env: &mut Env, sector: u64, count: u64) {
        let sound = !env.oracle.gives_up(self.me);
        self.route_read(env, AppRead { sector, count, submitted: env.now, sound, failed_here: false });
    }

    fn route_read(&mut self, env: &mut Env, read: AppRead) {
        let (order, closed) = (&mut self.order, self.closed_epoch);
        let size_bytes = read.count as u32 * 512;
        match self.plane.admit_read(read.sector, size_bytes, Flags::NONE, env.now as u32, || Self::stamp(order, closed)) {
            AdmitRead::Local => self.begin_io(Io::Read(read)),
            AdmitRead::Remote(slot) => assert!(self.reads.insert(slot, read).is_none()),
            AdmitRead::Wait => self.waiting_reads.push_back(read),
            AdmitRead::Fail => marks::outcome("a read without good data fails"),
        }
    }

    /// Reads that were kept aside, or failed, come again.
    pub fn retry_reads(&mut self, env: &mut Env) {
        for read in std::mem::take(&mut self.waiting_reads) {
            self.route_read(env, read);
        }
    }

    fn try_again(&mut self, read: AppRead) {
        self.waiting_reads.push_back(read);
        self.retry = true;
    }

    /// The local disk has answered.
    pub fn local_read_ended(&mut self, env: &mut Env, read: AppRead) {
        let fails = self.fails();
        let actions = self.plane.local_read_done(fails.then_some((read.sector, read.count as u32 * 512)));
        self.follow(&actions);
        if fails {
            marks::fault("a read of the application fails");
            self.try_again(AppRead { failed_here: true, ..read });
        } else {
            marks::outcome("a read here");
            let data = self.disk.data.read(read.sector, read.count);
            self.check_read(env, &read, &data);
        }
    }

    fn check_read(&self, env: &Env, read: &AppRead, data: &[(u64, u64)]) {
        // An incomplete copy may have less than was completed on it: by protocol A a write counts that never left for the peer (WR-2), and the
        // resync takes it back (EP-6).
        let here = self.state.disk == Disk::UpToDate;
        let there = !here || (self.state.conn >= Conn::Connected && self.state.pdsk == Disk::UpToDate);
        let mut counts = [here; 2];
        counts[1 - self.me] = there;
        if read.sound && !env.oracle.gives_up(self.me) && !self.is_dying() {
            let range = read.sector..read.sector + read.count;
            env.oracle.read_ended(self.me, range, data, read.submitted, counts);
        }
    }

    /// The sender's part: P_DATA_REQUEST.
    pub fn remote_read_request(entry: &Entry) -> [u8; BlockRequest::BYTES] {
        BlockRequest { sector: entry.sector, id: entry.id.to_be_bytes(), size_bytes: entry.size_bytes }.encode()
    }

    /// P_DATA_REQUEST has come. It is not to pass writes that wait for an earlier epoch.
    pub fn receive_read_request(&mut self, request: &BlockRequest) {
        self.peer_in_work += 1;
        let (sector, size_bytes, id) = (request.sector, request.size_bytes, request.id);
        let io = PeerIo { kind: PeerKind::Read, slot: u32::MAX, sector, size_bytes, id, flags: 0, epoch: 0, data: Vec::new() };
        if self.held.is_empty() {
            self.begin_peer(io);
        } else {
            self.held.push_back(io);
        }
    }

    /// The disk has answered a read for the peer.
    pub fn peer_read_ended(&mut self, mut io: PeerIo) {
        let slot = io.slot;
        let fails = self.fails();
        if fails {
            marks::fault("a read for the peer fails");
            self.refuse_read(&io);
        } else if self.receiver == Receiver::Serving {
            io.data = self.disk.data.read(io.sector, u64::from(io.size_bytes / 512));
            self.enqueue(Item::Reply(io));
        } else {
            self.peer_in_work -= 1;
        }
        let actions = self.plane.resync_read_done(slot);
        self.follow(&actions);
    }

    /// RD-4.
    pub fn refuse_read(&mut self, io: &PeerIo) {
        if self.receiver == Receiver::Serving {
            self.acknowledge(Command::NegDReply, io);
        }
        self.peer_in_work -= 1;
    }

    /// P_DATA_REPLY.
    pub fn receive_read_reply(&mut self, env: &mut Env, data: &Data, size_bytes: u32, content: &[(u64, u64)]) {
        let slot = self.plane.find_remote_read(u64::from_be_bytes(data.id), data.sector, size_bytes).expect("a reply to a request");
        let actions = self.plane.remote_read_done(slot);
        let read = self.reads.remove(&slot).unwrap();
        marks::outcome(if read.failed_here { "a read that failed here succeeds at the peer" } else { "a read at the peer" });
        self.check_read(env, &read, content);
        self.follow(&actions);
    }

    /// P_NEG_DREPLY.
    pub fn receive_read_refusal(&mut self, ack: &BlockAck) {
        let slot = self.plane.find_remote_read(u64::from_be_bytes(ack.id), ack.sector, 0).expect("an answer to a request");
        let actions = self.plane.remote_read_done(slot);
        let read = self.reads.remove(&slot).unwrap();
        marks::outcome("a read that the peer could not serve is tried again");
        self.try_again(read);
        self.follow(&actions);
    }

    /// The connection is gone; `actions` says whether the answer had come.
    pub fn lose_read(&mut self, slot: u32, actions: &Actions) {
        if actions.complete.is_some() {
            let read = self.reads.remove(&slot).unwrap();
            marks::outcome("a read whose connection was lost is tried again");
            self.try_again(read);
        }
        self.follow(actions);
    }
}

impl World {
    /// The application reads, where it writes as well.
    pub fn read_device(&mut self) {
        if !self.env.asks.once_in(8) {
            return;
        }
        let at = self.env.asks.index(2);
        let (node, env) = (&mut self.nodes[at], &mut self.env);
        if !node.alive || !node.primary || node.waiting_reads.len() > 4 {
            return;
        }
        env.now += 1;
        let extent = crate::world::HOT_EXTENTS[env.asks.index(crate::world::HOT_EXTENTS.len())];
        let sector = extent * 8192 + env.asks.below(56);
        let count = [1, 8, 8, 16, 40][env.asks.index(5)];
        node.submit_read(env, sector, count);
    }
}
