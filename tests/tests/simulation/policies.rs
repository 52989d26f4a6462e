// SPDX-License-Identifier: GPL-2.0
//! Policies that stop I/O or go on without the peer: fencing with every answer of the helper, on-no-data-accessible, on-congestion.

use crate::marks;
use crate::node::{AfterChange, Env, Node, Receiver};
use crate::random::Random;
use crate::world::World;
use drbd_core::engine::gate::Gate;
use drbd_core::engine::volume_read::ReadBalancing;
use drbd_core::state::fencing::{is_due, succeeded, FenceResult};
use drbd_core::state::vector::word;
use drbd_core::state::{resource_effects, Conn, Disk, Fencing, Kind, Request, Role, State, Summary, Thaw};

/// on-congestion.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Congestion {
    #[default]
    Block,
    PullAhead,
    Disconnect,
}

/// What the options say, the same on both nodes.
#[derive(Clone, Copy, Default)]
pub struct Conduct {
    congestion: Congestion,
    congestion_fill: u32,
    congestion_extents: u32,
    pub fencing: Fencing,
    pub suspend_on_no_data: bool,
    pub read_balancing: ReadBalancing,
}

/// What a node keeps in mind for them.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    pub congested: bool,
    /// A new generation was put off while I/O is suspended (UU-7).
    pub uuid_deferred: bool,
    /// A handshake broke off after the peer was told of the state here (HS-9).
    pub verdict_missed: bool,
    /// FE-1: the fence-peer helper is to run.
    pub fence_due: bool,
    /// When it comes back with an answer.
    pub fenced_at: u64,
}

/// What policies decide; each has to come about.
pub const OUTCOMES: &[&str] = &[
    "on-congestion pull-ahead",
    "on-congestion disconnect",
    "back from Ahead",
    "fencing resource-only",
    "fencing resource-and-stonith",
    "fence-peer 3",
    "fence-peer 4",
    "fence-peer 5",
    "fence-peer 6",
    "fence-peer 7",
    "fence-peer broken",
    "promoted after fencing",
    "frozen requests sent again",
    "frozen requests end by the local result",
    "no data: I/O suspended",
    "resume-io",
];

impl Conduct {
    pub fn draw(random: &mut Random) -> Self {
        Self {
            congestion: [Congestion::Block, Congestion::PullAhead, Congestion::Disconnect][random.index(3)],
            congestion_fill: [0, 20, 60][random.index(3)],
            congestion_extents: [0, 3][random.index(2)],
            fencing: [Fencing::DontCare, Fencing::ResourceOnly, Fencing::ResourceAndStonith][random.index(3)],
            suspend_on_no_data: random.once_in(2),
            ..Self::default()
        }
    }

    /// Their part of the gate.
    pub fn gate(&self, state: &State) -> Gate {
        let watches = self.congestion != Congestion::Block && state.may_pull_ahead();
        Gate {
            hold_failed: self.suspend_on_no_data && (state.may_write() || state.is_suspended()),
            read_balancing: self.read_balancing,
            congestion_fill: if watches { self.congestion_fill } else { 0 },
            congestion_extents: if watches { self.congestion_extents } else { 0 },
            ..Gate::default()
        }
    }
}

impl Node {
    /// The policy, while there is a disk that has it.
    pub fn fencing(&self) -> Fencing {
        if self.attached { self.conduct.fencing } else { Fencing::DontCare }
    }

    /// CG-2.
    pub fn follow_congestion(&mut self, env: &mut Env) {
        self.policy.congested = false;
        if !self.state.may_pull_ahead() || self.plane.has_failed_writes() {
            return;
        }
        if self.conduct.congestion == Congestion::PullAhead {
            if self.change(&env.options, Request::none().conn(Conn::Ahead), Kind::Soft).is_ok() {
                marks::outcome("on-congestion pull-ahead");
            }
        } else if self.change(&env.options, Request::none().conn(Conn::Disconnecting), Kind::Soft).is_ok() {
            marks::outcome("on-congestion disconnect");
            self.lose(env, Conn::Disconnecting);
        }
    }

    /// CG-3.
    pub fn may_return_to_peer(&self) -> bool {
        let idle = self.peer_in_work == 0 && self.resync_pending == 0;
        self.state.conn == Conn::Ahead && self.receiver == Receiver::Serving && idle && self.plane.peer_has_everything()
    }

    /// The peer gets what it missed.
    pub fn return_to_peer(&mut self, env: &mut Env) {
        marks::outcome("back from Ahead");
        self.write_bitmap(env);
        if !self.is_dying() {
            self.hard(&env.options, Request::none().conn(Conn::SyncSource).pdsk(Disk::Inconsistent));
        }
    }

    /// AC-4, AC-5, FE-9: a change that has come into force may end a suspension.
    pub fn reconsider_suspension(&mut self, env: &mut Env, change: &AfterChange) {
        if !self.state.susp_nod && !self.state.susp_fen {
            return;
        }
        let effects = resource_effects(&[(change.old, self.state)]);
        self.policy.uuid_deferred &= !effects.drop_deferred_uuids;
        let Some(thaw) = effects.thaw else { return };
        if effects.create_deferred_uuids {
            self.create_deferred_uuid(env);
        }
        let request = Request::none();
        let request = if effects.clear_susp_nod { request.flag(word::SUSP_NOD, false) } else { request };
        let request = if effects.clear_susp_fen { request.flag(word::SUSP_FEN, false) } else { request };
        self.resume(env, thaw, request);
    }

    /// The generation that was put off comes now: what the peer is told has to be whole.
    pub fn generation_is_due(&self) -> bool {
        self.uuid_pending || (self.policy.uuid_deferred && self.state.thaws_by_fencing())
    }

    fn create_deferred_uuid(&mut self, env: &mut Env) {
        if std::mem::take(&mut self.policy.uuid_deferred) {
            self.rotate_uuid(env);
        }
    }

    fn resume(&mut self, env: &mut Env, thaw: Thaw, request: Request) {
        if self.is_dying() {
            return;
        }
        loop {
            let (order, closed) = (&mut self.order, self.closed_epoch);
            let Some((slot, actions)) = self.plane.take_frozen(thaw, env.now as u32, || Self::stamp(order, closed)) else { break };
            marks::outcome(if thaw == Thaw::LocalOnly { "frozen requests end by the local result" } else { "frozen requests sent again" });
            if let Some(write) = self.apps.get(&slot).filter(|_| thaw == Thaw::Resend) {
                env.oracle.launched(write.tag, self.me, true);
            }
            self.finish(env, slot, &actions);
        }
        self.hard(&env.options, request);
        self.retry = true;
        self.log_kicked = true;
    }

    /// What was kept for a suspension that did not come goes on with the result it has.
    pub fn release_unsuspended(&mut self, env: &mut Env) {
        self.resume(env, Thaw::LocalOnly, Request::none());
    }

    /// What nothing else would let go on.
    pub fn release_stranded(&mut self, env: &mut Env) {
        if let Some(thaw) = self.plane.stranded() {
            marks::outcome("frozen requests of no suspension");
            self.resume(env, thaw, Request::none());
        }
    }

    /// HS-9.
    pub fn abandon_frozen(&mut self, env: &mut Env) {
        self.create_deferred_uuid(env);
        self.resume(env, Thaw::LocalOnly, Request::none().flag(word::SUSP, false));
    }

    /// FE-1: after the clean-up of a connection.
    pub fn note_lost_peer(&mut self, env: &mut Env) {
        if self.fencing() != Fencing::DontCare && is_due(&Summary::of([self.state])) {
            self.policy.fence_due = true;
            self.policy.fenced_at = env.now + [0, 0, 40, 200][env.extra.index(4)];
        }
    }

    /// RO-2: without the peer it is not promoted before that can do no harm.
    pub fn wants_fencing(&self) -> bool {
        let alone = self.state.conn < Conn::WFReportParams && self.state.pdsk > Disk::Outdated;
        self.fencing() != Fencing::DontCare && self.state.role == Role::Secondary && alone && self.state.disk >= Disk::Consistent
    }

    /// resume-io (UU-7, FE-9).
    fn resume_io(&mut self, env: &mut Env) {
        marks::outcome("resume-io");
        self.create_deferred_uuid(env);
        let connected = self.state.conn >= Conn::Connected;
        let request = Request::none().flag(word::SUSP, false).flag(word::SUSP_NOD, false).flag(word::SUSP_FEN, false);
        self.resume(env, if connected { Thaw::Resend } else { Thaw::LocalOnly }, request);
    }

    /// FE-5, FE-6: what the helper said; true: the peer can do no harm.
    fn fenced(&mut self, env: &mut Env, exit: u8) -> bool {
        let result = FenceResult::from_exit(exit);
        if let Some(request) = result.request(&Summary::of([self.state])) {
            let _ = self.change(&env.options, request, Kind::Soft);
        }
        succeeded(&Summary::of([self.state]))
    }
}

impl World {
    /// The helper looks at the peer, or does something about it, and tells the truth.
    fn ask_helper(&mut self, at: usize) -> u8 {
        let peer = 1 - at;
        if self.env.extra.once_in(8) {
            marks::outcome("fence-peer broken");
            return 1;
        }
        if !self.nodes[peer].alive {
            marks::outcome("fence-peer 5");
            return 5;
        }
        if !self.calm && self.env.extra.once_in(4) {
            marks::outcome("fence-peer 7");
            self.crash(peer);
            return 7;
        }
        let (node, env) = (&mut self.nodes[peer], &mut self.env);
        if node.state.role == Role::Primary {
            marks::outcome("fence-peer 6");
            return 6;
        }
        if node.state.disk == Disk::Inconsistent {
            marks::outcome("fence-peer 3");
            return 3;
        }
        if node.state.conn < Conn::Connected && node.state.disk >= Disk::Outdated {
            let outdated = node.change(&env.options, Request::none().disk(Disk::Outdated), Kind::Soft).is_ok();
            if outdated {
                marks::outcome("fence-peer 4");
                return 4;
            }
        }
        marks::outcome("fence-peer broken");
        1
    }

    /// FE-1 to FE-9: the peer is lost to a Primary.
    pub fn fence(&mut self, at: usize) {
        self.nodes[at].policy.fence_due = false;
        let state = self.nodes[at].state;
        if state.conn >= Conn::WFReportParams {
            return;
        }
        if state.disk < Disk::Consistent {
            // Nothing here is worth it.
            let request = Request::none().flag(word::SUSP_FEN, false);
            if state.susp_fen && state.susp_nod {
                let (node, env) = (&mut self.nodes[at], &mut self.env);
                node.hard(&env.options, request);
            } else if state.susp_fen {
                self.nodes[at].resume(&mut self.env, Thaw::LocalOnly, request);
            }
            return;
        }
        match self.nodes[at].fencing() {
            Fencing::DontCare => return,
            Fencing::ResourceOnly => marks::outcome("fencing resource-only"),
            Fencing::ResourceAndStonith => marks::outcome("fencing resource-and-stonith"),
        }
        let exit = self.ask_helper(at);
        self.say(at, format_args!("fence-peer {exit}"));
        self.nodes[at].fenced(&mut self.env, exit);
    }

    /// FE-2: the helper comes first.
    pub fn promote_with_fencing(&mut self, at: usize) {
        let exit = self.ask_helper(at);
        self.say(at, format_args!("fence-peer {exit} for a promotion"));
        let (node, env) = (&mut self.nodes[at], &mut self.env);
        if node.fenced(env, exit) {
            marks::outcome("promoted after fencing");
            let request = Request::none().role(Role::Primary);
            let request = if node.state.disk == Disk::Consistent { request.disk(Disk::UpToDate) } else { request };
            node.promote_by(env, request);
        }
    }

    /// What an administrator does about suspended I/O.
    pub fn administer_policies(&mut self) {
        let at = self.env.extra.index(2);
        let node = &mut self.nodes[at];
        if node.state.susp_nod {
            marks::outcome("no data: I/O suspended");
        }
        if self.env.extra.below(300) == 0 && node.alive && node.state.susp_fen && !node.state_sent && node.after.is_empty() && !node.hangs {
            node.resume_io(&mut self.env);
            self.finish_administration(at);
        }
    }

    fn finish_administration(&mut self, at: usize) {
        if self.nodes[at].is_dying() {
            self.crash(at);
        }
        self.watch(at);
    }

    /// At the end nothing stays frozen.
    pub fn resume_all(&mut self) {
        for at in 0..2 {
            if self.nodes[at].state.is_suspended() || self.nodes[at].plane.has_frozen() {
                self.nodes[at].resume_io(&mut self.env);
            }
        }
    }
}
