// SPDX-License-Identifier: GPL-2.0
//! Online verify: start and stop, and what ends it early (behaviour.md 7.6). What the disks hold is the same, so no block may count as
//! different that no disk has failed.

use crate::marks;
use crate::node::{Env, Item, Node, PeerIo, PeerKind, Receiver, SECTORS, VERSION};
use crate::world::{World, HOT_EXTENTS};
use drbd_core::engine::volume_peer::Begin;
use drbd_core::resync::verify::NO_STOP;
use drbd_core::state::{Conn, Disk, Request, State};
use drbd_core::wire::packet::{BlockAck, BlockRequest, SYNCER_ID, VERIFY_DIFFERENT_ID, VERIFY_EQUAL_ID};
use drbd_core::wire::Command;

/// How runs begin and end; each has to come about.
pub const OUTCOMES: &[&str] = &[
    "a verify begins",
    "a verify is refused",
    "a verify ends at its stop sector",
    "a verify ends with the device",
    "a verify ends with the connection",
    "a verify ends with a disk",
    "a verify begins where the last one ended early",
    "a block without digest counts as different",
];

/// Stands in for the zeros of a digest that could not be made.
const NO_DIGEST: [(u64, u64); 1] = [(u64::MAX, 0)];

impl Node {
    /// `drbdadm verify` with start and stop.
    fn start_verify(&mut self, env: &mut Env, start: u64, stop: u64) {
        let before = self.plane.verify;
        self.plane.verify.plan(start, stop);
        if self.ask(env, Request::none().conn(Conn::VerifyS), Command::StateChgReq).is_err() {
            self.plane.verify.plan(before.next_start(), NO_STOP);
            marks::outcome("a verify is refused");
        }
    }

    /// SC-3, SC-5, OV-5: the vector has changed from `old`.
    pub fn verify_changes(&mut self, old: &State) {
        let new = self.state;
        if old.conn.is_verify() && !new.conn.is_verify() {
            let cut = new.conn < Conn::Connected;
            if cut || new.disk <= Disk::Failed || new.pdsk <= Disk::Failed {
                marks::outcome(if cut { "a verify ends with the connection" } else { "a verify ends with a disk" });
            }
            let _ = self.plane.verify.take_difference();
            let _ = self.plane.verify_end();
            while let Some((_, actions)) = self.plane.take_abandoned_verify() {
                self.follow(&actions);
            }
        }
        if new.conn.is_verify() && !old.conn.is_verify() {
            let bits = self.plane.bitmap.bits();
            if new.conn == Conn::VerifyS {
                marks::outcome("a verify begins");
                self.plane.verify.begin_source(bits, VERSION);
            } else {
                self.plane.verify.begin_target(bits);
            }
        }
    }

    /// VerifyS may ask for more.
    pub fn may_verify(&self) -> bool {
        self.state.conn == Conn::VerifyS && self.after.is_empty() && self.plane.verify.next_block(SECTORS, true).is_some()
    }

    /// One turn of VerifyS.
    pub fn verify_blocks(&mut self, env: &mut Env) {
        for _ in 0..1 + env.asks.below(3) {
            let Some((sector, size_bytes)) = self.plane.verify.next_block(SECTORS, true) else { return };
            let Begin::Go(_) = self.plane.verify_request_begin(sector, size_bytes) else { return };
            self.plane.verify.block_asked();
            self.enqueue(Item::VerifyRequest { sector, size_bytes });
        }
    }

    /// Every verdict is there.
    pub fn may_end_verify(&self) -> bool {
        self.state.conn.is_verify() && self.after.is_empty() && self.plane.verify.is_finished(SECTORS, true)
    }

    pub fn end_verify(&mut self, env: &mut Env) {
        if self.state.conn.is_verify() {
            let at_end = self.plane.verify.left_bits() == 0;
            marks::outcome(if at_end { "a verify ends with the device" } else { "a verify ends at its stop sector" });
            self.hard(&env.options, Request::none().conn(Conn::Connected));
        }
    }

    /// Work for a verify, not before writes that wait for an earlier epoch.
    fn run_verify(&mut self, io: PeerIo) {
        self.peer_in_work += 1;
        if self.held.is_empty() {
            self.begin_peer(io);
        } else {
            self.held.push_back(io);
        }
    }

    fn verify_io(kind: PeerKind, slot: u32, request: &BlockRequest, data: Vec<(u64, u64)>) -> PeerIo {
        PeerIo { kind, slot, sector: request.sector, size_bytes: request.size_bytes, id: SYNCER_ID, flags: 0, epoch: 0, data }
    }

    /// VerifyT: P_OV_REQUEST.
    pub fn receive_verify_request(&mut self, request: &BlockRequest) {
        let _ = self.plane.verify.first_request(request.sector, VERSION);
        self.run_verify(Self::verify_io(PeerKind::VerifyRead, u32::MAX, request, Vec::new()));
    }

    /// VerifyS: P_OV_REPLY.
    pub fn receive_verify_reply(&mut self, request: &BlockRequest, digest: Vec<(u64, u64)>) {
        match self.plane.find_verify_request(request.sector, request.size_bytes) {
            Some(slot) => self.run_verify(Self::verify_io(PeerKind::VerifyCompare, slot, request, digest)),
            // Of a run that was given up: the peer waits for a verdict.
            None => self.acknowledge(Command::OvResult, &PeerIo { id: VERIFY_EQUAL_ID, ..Self::verify_io(PeerKind::VerifyCompare, 0, request, Vec::new()) }),
        }
    }

    /// VerifyT: P_OV_RESULT.
    pub fn receive_verify_result(&mut self, ack: &BlockAck) {
        let differs = ack.id == VERIFY_DIFFERENT_ID;
        self.stale_bits |= differs;
        let (verdict, _) = self.plane.verify_result(ack.sector, ack.size_bytes, differs);
        self.follow(&verdict.actions);
    }

    /// P_NEG_RS_DREPLY; false: it is about something else.
    pub fn receive_verify_refusal(&mut self, ack: &BlockAck) -> bool {
        let Some(slot) = self.plane.find_verify_request(ack.sector, ack.size_bytes) else { return false };
        let verdict = self.plane.verify_compared(slot, false);
        self.follow(&verdict.actions);
        true
    }

    pub fn begin_verify(&mut self, io: &PeerIo) -> Begin {
        match io.kind {
            _ if !self.plane.gate().local_up_to_date => Begin::NoDisk,
            PeerKind::VerifyRead => self.plane.verify_read_begin(io.sector, io.size_bytes),
            _ if self.receiver != Receiver::Serving => Begin::NoDisk,
            _ => self.plane.verify_compare_begin(io.slot),
        }
    }

    /// There is no disk for it, or nobody who asks any more (OV-3).
    pub fn refuse_verify(&mut self, io: PeerIo) {
        if io.kind == PeerKind::VerifyCompare {
            return self.send_verdict(io, false);
        }
        if self.receiver == Receiver::Serving {
            self.acknowledge(Command::NegRsDReply, &io);
        }
        self.peer_in_work -= 1;
    }

    /// The disk has answered.
    pub fn verify_read_ended(&mut self, env: &mut Env, mut io: PeerIo) {
        let fails = self.fails();
        if fails {
            marks::fault("a read of a verify fails");
        }
        let (serving, slot) = (self.receiver == Receiver::Serving, io.slot);
        let own = if fails { NO_DIGEST.to_vec() } else { self.disk.data.read(io.sector, u64::from(io.size_bytes / 512)) };
        let actions = if io.kind == PeerKind::VerifyRead {
            io.data = own;
            let (_, actions) = self.plane.verify_read_done(slot);
            if serving {
                self.enqueue(Item::Reply(io));
            } else {
                self.peer_in_work -= 1;
            }
            actions
        } else if serving {
            let failed = fails || io.data == NO_DIGEST;
            io.flags = u32::from(failed || io.data != own);
            let range = io.sector..io.sector + u64::from(io.size_bytes / 512);
            let known = failed || self.plane.bitmap.any_set(io.sector, io.size_bytes) || env.oracle.has_failed(range);
            assert!(io.flags == 0 || known, "verify finds {}+{} different: {:?} here, {:?} there", io.sector, io.size_bytes / 512, own, io.data);
            if failed {
                marks::outcome("a block without digest counts as different");
            }
            self.enqueue(Item::Reply(io));
            self.plane.verify_compare_read(slot)
        } else {
            self.send_verdict(io, false);
            return;
        };
        self.follow(&actions);
    }

    /// VerifyS: the verdict about a block.
    pub fn send_verdict(&mut self, io: PeerIo, differs: bool) {
        self.stale_bits |= differs;
        let verdict = self.plane.verify_compared(io.slot, differs);
        if self.receiver == Receiver::Serving {
            self.acknowledge(Command::OvResult, &PeerIo { id: if differs { VERIFY_DIFFERENT_ID } else { VERIFY_EQUAL_ID }, ..io });
        }
        self.peer_in_work -= 1;
        self.follow(&verdict.actions);
    }
}

impl World {
    /// The administrator has a few blocks compared, at times with a disk that is about to fail.
    pub fn verify_device(&mut self) {
        if !self.env.asks.once_in(60) {
            return;
        }
        let at = self.env.asks.index(2);
        let fails = self.env.asks.once_in(6) && self.may_lose_a_disk();
        let (node, env) = (&mut self.nodes[at], &mut self.env);
        let continues = node.plane.verify.next_start() != 0 && env.asks.once_in(2);
        let first = match env.asks.below(5) {
            _ if continues => node.plane.verify.next_start(),
            0 => SECTORS - 8 * env.asks.below(9),
            _ => HOT_EXTENTS[env.asks.index(HOT_EXTENTS.len())] * 8192 + 4 * env.asks.below(9),
        };
        let stop = if first > SECTORS - 80 { NO_STOP } else { first + 8 * (1 + env.asks.below(12)) };
        // One command at a time.
        let busy = node.pending_change.is_some() || node.role_changed || node.state.conn.is_verify();
        if !node.alive || node.receiver != Receiver::Serving || node.state.conn < Conn::Connected || busy {
            return;
        }
        node.start_verify(env, first, stop);
        if continues {
            marks::outcome("a verify begins where the last one ended early");
        }
        if fails {
            self.forget_errors();
            let at = self.env.asks.index(2);
            self.nodes[at].error_due = true;
        }
        self.watch(at);
    }
}
