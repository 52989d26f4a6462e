// SPDX-License-Identifier: GPL-2.0
//! Disks that fail accesses of a resync (behaviour.md RX-9, RX-10, RX-21, UU-12): its reads on the source, whose disk is the only good one then,
//! and its writes on the target. An access fails, but what the disk holds stays, so nothing is lost: the next resync gets what this one did not.

use crate::marks;
use crate::node::{Env, Item, Node, PeerIo, Receiver};
use crate::world::World;
use drbd_core::state::{Conn, Request};
use drbd_core::handshake::resync_end::ResyncEnd;
use drbd_core::wire::Command;

/// How a resync with errors ends; each has to come about.
pub const OUTCOMES: &[&str] =
    &["a resync ends without blocks that failed", "a block that failed is in sync when its resync ends", "the source gives its disk up during a resync"];

impl Node {
    /// An access of a resync that ends now may be one that fails.
    fn resync_fails(&mut self) -> bool {
        let fails = self.resync_errors_due > 0 && self.state.conn.is_resync();
        if fails {
            self.resync_errors_due -= 1;
            self.error_seen = true;
        }
        fails
    }

    /// The source's disk has answered.
    pub fn resync_read_ended(&mut self, mut io: PeerIo) {
        let (slot, serving, fails) = (io.slot, self.receiver == Receiver::Serving, self.resync_fails());
        if fails {
            marks::fault("a read for a resync fails");
        }
        if serving && !fails {
            io.data = self.disk.data.read(io.sector, u64::from(io.size_bytes / 512));
            self.enqueue(Item::Reply(io));
        } else {
            if serving {
                self.plane.resync_failed(io.size_bytes);
                self.acknowledge(Command::NegRsDReply, &io);
            }
            self.peer_in_work -= 1;
        }
        let actions = self.plane.resync_read_done(slot);
        self.follow(&actions);
    }

    /// The target's disk has answered. What it could not write may have come about all the same.
    pub fn resync_write_ended(&mut self, env: &mut Env, io: &PeerIo) {
        let fails = self.resync_fails();
        if fails {
            marks::fault("a write of a resync fails");
        }
        if !fails || env.flaws.once_in(2) {
            self.disk.write_data(Self::content_of(io), false, false);
        }
        let (in_sync, actions) = self.plane.resync_write_done(io.slot, !fails);
        self.acknowledge(if in_sync { Command::RsWriteAck } else { Command::NegAck }, io);
        self.peer_in_work -= 1;
        self.resync_pending -= 1;
        self.follow(&actions);
    }

    /// How the target's resync has ended.
    pub fn mark_resync_end(&self, end: &ResyncEnd) {
        if !end.complete {
            marks::outcome("a resync ends without blocks that failed");
        } else if self.plane.resync_failed_bits() > 0 {
            marks::outcome("a block that failed is in sync when its resync ends");
        }
    }

    /// UU-12: the target has ended it.
    pub fn finish_incomplete(&mut self, env: &mut Env) {
        self.hard(&env.options, Request::none().conn(Conn::Connected).pdsk(drbd_core::state::Disk::Inconsistent));
    }
}

impl World {
    /// Some accesses of the resync that runs are to fail, on one node at a time, or the disk of its target.
    pub fn break_resync(&mut self) {
        if !self.env.flaws.once_in(30) {
            return;
        }
        let at = self.env.flaws.index(2);
        let times = [1, 1, 2, 5][self.env.flaws.index(4)];
        let busy = |node: &Node| node.error_seen || node.hangs || !node.alive;
        if !self.nodes[at].state.conn.is_resync() || self.nodes.iter().any(busy) {
            return;
        }
        self.forget_errors();
        let target = matches!(self.nodes[at].state.conn, Conn::SyncTarget | Conn::PausedSyncT);
        match self.env.flaws.below(8) {
            0 if target => {
                marks::fault("the disk of a target fails");
                self.env.oracle.disk_fails(at);
                self.nodes[at].give_up_disk(&mut self.env);
                self.watch(at);
            }
            1 if target => {
                marks::fault("the disk of a target hangs");
                self.nodes[at].hangs = true;
            }
            _ => self.nodes[at].resync_errors_due = times,
        }
    }

    /// No access is to fail.
    pub fn forget_errors(&mut self) {
        for node in &mut self.nodes {
            (node.error_due, node.metadata_error_due, node.resync_errors_due) = (false, false, 0);
        }
    }
}
