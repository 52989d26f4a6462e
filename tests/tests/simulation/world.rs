// SPDX-License-Identifier: GPL-2.0
//! Two nodes, their network, and chance: which step comes next, what fails when, and what has to hold.

use crate::boot;
use crate::marks;
use crate::network::{Link, Stream};
use crate::duties::Duties;
use crate::node::{Env, Node, Options, Receiver, SECTORS};
use crate::oracle::Oracle;
use crate::policies::Conduct;
use crate::random::Random;
use crate::settings::Settings;
use drbd_core::epoch::Ordering;
use drbd_core::state::{Conn, Disk as DiskState, Fencing, Role};

/// Places the application writes to: extents, and an offset within.
pub const HOT_EXTENTS: [u64; 12] = [0, 1, 2, 3, 7, 8, 20, 31, 32, 33, 50, 63];
/// Steps without a fault in which everything has to come to rest.
const PATIENCE: u32 = 200_000;

/// A step of a node.
#[derive(Clone, Copy, Debug)]
enum Step {
    Work,
    Drained,
    Role,
    EndIo,
    Retry,
    Log,
    Send,
    Barrier,
    Data,
    Meta,
    Acks,
    Flush,
    Release,
    Request,
    Finish,
    Settle,
    Reconnect,
    NoticeLoss,
    TimeOut,
    Error,
    Congested,
    Return,
    Fence,
    Stranded,
    Verify,
    EndVerify,
}

/// What the run is to show.
#[derive(Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    pub steps: u32,
    pub duties: Duties,
    /// Draws settings, and faults beyond the simplest, from a second source of chance; without it the history is the same otherwise.
    pub settings: bool,
    /// Draws what [`crate::policies`] has, from a third one.
    pub policies: bool,
    /// Draws reads of the application and online verify ([`crate::reads`], [`crate::verify`]), from a fourth one.
    pub reads: bool,
    /// Draws accesses of a resync that fail ([`crate::resync_errors`]), from a fifth one.
    pub resync_errors: bool,
    pub verbose: bool,
}

/// See the module text.
pub struct World {
    pub nodes: [Node; 2],
    pub env: Env,
    verbose: bool,
    /// As the plan says.
    pub policies: bool,
    pub resync_errors: bool,
    /// No more faults.
    pub calm: bool,
    /// Connection state of each node after the last step.
    seen: [Conn; 2],
    /// When each node was last lost to the other.
    left_at: [u64; 2],
    /// When each node last became a good copy of the other.
    joined_at: [u64; 2],
    crashes: u32,
}

/// What a run did.
#[derive(Default, Clone, Copy)]
pub struct Summary {
    pub acked: u64,
    pub crashes: u32,
}

fn options(random: &mut Random, duties: Duties, conduct: Conduct) -> Options {
    Options {
        conduct,
        protocol: [3, 3, 3, 2, 1][random.index(5)],
        internal: random.once_in(2),
        ordering: [Ordering::Flush, Ordering::Flush, Ordering::Drain][random.index(3)],
        slots: [12, 24, 64][random.index(3)],
        log_slots: [4, 7, 9][random.index(3)],
        max_epoch_size: [2, 8, 2048][random.index(3)],
        max_request_bytes: [1 << 17, 1 << 19, 1 << 20][random.index(3)],
        compress: random.once_in(2),
        duties,
    }
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let mut extra = Random::new(plan.seed ^ 0x5555_5555_5555_5555);
        let conduct = if plan.policies { Conduct::draw(&mut extra) } else { Conduct::default() };
        let mut asks = Random::new(!plan.seed ^ 0x5555_5555_5555_5555);
        let mut options = options(&mut random, plan.duties, conduct);
        if conduct.fencing == Fencing::ResourceAndStonith {
            // AT-4.
            options.protocol = options.protocol.max(2);
        }
        if plan.reads {
            options.conduct.read_balancing = crate::reads::BALANCING[asks.index(crate::reads::BALANCING.len())];
        }
        let mut more = Random::new(!plan.seed);
        let settings = if plan.settings { Settings::draw(&mut more) } else { Settings::default() };
        let disk = boot::prepare(&options, 0x1234_5678_9abc_def0);
        let nodes = [Node::off(0, disk.clone(), &options), Node::off(1, disk, &options)];
        let mut oracle = Oracle::new(options.protocol, options.ordering != Ordering::Flush);
        oracle.verbose = plan.verbose;
        let flaws = Random::new(plan.seed ^ 0x3333_3333_3333_3333);
        let env = Env { random, more, extra, asks, flaws, settings, link: None, oracle, options, now: 0 };
        Self { nodes, env, verbose: plan.verbose, policies: plan.policies, resync_errors: plan.resync_errors, calm: false, seen: [Conn::StandAlone; 2], left_at: [0; 2], joined_at: [0; 2], crashes: 0 }
    }

    /// Runs to the end; panics when something does not hold.
    pub fn run(&mut self, plan: &Plan) -> Summary {
        for node in 0..2 {
            self.boot(node);
        }
        self.settle();
        self.nodes[0].promote(&mut self.env);
        for _ in 0..plan.steps {
            if plan.settings {
                self.more();
            }
            if plan.policies {
                self.administer_policies();
            }
            if plan.reads {
                self.read_device();
                self.verify_device();
            }
            if plan.resync_errors {
                self.break_resync();
            }
            match self.env.random.below(120) {
                0 => self.fault(),
                1..=3 => self.administer(),
                4..=18 => self.use_device(),
                _ => {
                    self.step();
                }
            }
        }
        self.heal();
        Summary { acked: self.env.oracle.acked, crashes: self.crashes }
    }

    pub fn trace(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            text += &format!("node {}: {:?} {}\n", node.me, node.receiver, node.state);
            node.trace.iter().for_each(|line| text += &format!("    {line}\n"));
        }
        text
    }

    pub fn say(&mut self, node: usize, text: std::fmt::Arguments<'_>) {
        if self.verbose {
            eprintln!("{:6} n{node} {text}", self.env.now);
        }
    }

    fn possible(&self) -> Vec<(usize, Step)> {
        let mut steps = Vec::new();
        for node in self.nodes.iter().filter(|node| node.alive) {
            let link = self.env.link.as_ref().filter(|link| !link.left[node.me]);
            let serving = node.receiver == Receiver::Serving;
            let has = |stream| serving && link.is_some_and(|link| link.has_message(node.me, stream));
            // Who writes metadata waits with the disk.
            let waits = node.hangs && !node.given_up;
            let rows = [
                (!node.after.is_empty() && !node.draining && !waits, Step::Work),
                (node.draining && (node.is_idle() || node.given_up), Step::Drained),
                (node.role_changed && node.after.is_empty() && !node.draining && !waits, Step::Role),
                (!node.ios.is_empty() && !node.hangs, Step::EndIo),
                (node.retry, Step::Retry),
                (node.log_kicked && !node.plane.log.is_sealed() && !waits, Step::Log),
                (node.may_send(&self.env), Step::Send),
                (node.idle_barrier_due(&self.env), Step::Barrier),
                (has(Stream::Data) && !node.epochs_in.is_full() && !(node.uuid_pending && link.is_some_and(|link| link.state_is_next(node.me))), Step::Data),
                (has(Stream::Meta), Step::Meta),
                (serving && !node.acks.is_empty(), Step::Acks),
                (node.flush_wanted && !node.hangs, Step::Flush),
                (node.may_release(), Step::Release),
                (serving && node.may_request(), Step::Request),
                (serving && node.may_finish(), Step::Finish),
                (serving && node.may_verify(), Step::Verify),
                (serving && node.may_end_verify(), Step::EndVerify),
                (node.receiver == Receiver::Flushing && node.after.is_empty(), Step::Settle),
                (node.receiver == Receiver::Draining && node.peer_in_work == 0 && !waits, Step::Reconnect),
                (serving && link.is_some_and(|link| link.cut), Step::NoticeLoss),
                (serving && link.is_some_and(|link| link.silent != [false; 2]), Step::TimeOut),
                (node.error_seen && !node.state_sent, Step::Error),
                (node.policy.congested && node.after.is_empty(), Step::Congested),
                // It waits for a second, so that reports from before have arrived.
                (node.may_return_to_peer() && !waits && !has(Stream::Data) && !self.nodes[1 - node.me].has_reports(), Step::Return),
                (node.policy.fence_due && node.policy.fenced_at <= self.env.now && !waits, Step::Fence),
                (node.plane.stranded().is_some() && node.after.is_empty(), Step::Stranded),
            ];
            steps.extend(rows.into_iter().filter(|row| row.0).map(|row| (node.me, row.1)));
        }
        steps
    }

    /// One step of one node; false: there is none.
    fn step(&mut self) -> bool {
        if self.establish() {
            return true;
        }
        let steps = self.possible();
        if steps.is_empty() {
            return false;
        }
        let (at, step) = steps[self.env.random.index(steps.len())];
        self.env.now += 1;
        self.take(at, step);
        self.after_step(at, step);
        true
    }

    fn take(&mut self, at: usize, step: Step) {
        let (node, env) = (&mut self.nodes[at], &mut self.env);
        match step {
            Step::Work => node.work(env),
            Step::Drained => node.disk_drained(env),
            Step::Role => node.finish_role(env),
            Step::EndIo => {
                let index = env.random.index(node.ios.len());
                node.end_io(env, index);
            }
            Step::Retry => node.retry_waiting(env),
            Step::Log => node.write_log(env),
            Step::Send => node.send_next(env),
            Step::Barrier => node.send_barrier(env),
            Step::Data | Step::Meta => {
                let stream = if matches!(step, Step::Data) { Stream::Data } else { Stream::Meta };
                let message = env.link.as_mut().and_then(|link| link.receive(at, stream)).unwrap();
                if message.in_part {
                    node.receive_piece(env, &message);
                } else if stream == Stream::Data {
                    node.receive_data(env, message);
                } else {
                    node.receive_meta(env, message);
                }
            }
            Step::Acks => node.send_acks(env),
            Step::Flush => node.flush_epoch(),
            Step::Release => node.release_held(),
            Step::Request => node.request_blocks(env),
            Step::Finish => node.begin_finish(env),
            Step::Verify => node.verify_blocks(env),
            Step::EndVerify => {
                node.end_verify(env);
                // It has had an answer to a ping before; that is all the ping is for.
                let peer = &mut self.nodes[1 - at];
                peer.left_behind &= peer.state.conn != Conn::VerifyT;
            }
            Step::Settle => node.settle_lost(env),
            Step::Reconnect => node.reconnect(env),
            Step::NoticeLoss => node.lose(env, Conn::BrokenPipe),
            Step::TimeOut => node.time_out(env),
            Step::Error => node.apply_error_policy(env),
            Step::Congested => node.follow_congestion(env),
            Step::Return => node.return_to_peer(env),
            Step::Fence => self.fence(at),
            Step::Stranded => node.release_stranded(env),
        }
    }

    fn after_step(&mut self, at: usize, step: Step) {
        if self.verbose {
            let state = self.nodes[at].state;
            self.say(at, format_args!("{step:?} -> {state}"));
        }
        if self.nodes[at].is_dying() {
            self.crash(at);
        } else if matches!(step, Step::Role) {
            self.check_new_primary(at);
        }
        if self.env.link.as_ref().is_some_and(|link| link.left == [true; 2]) {
            self.env.link = None;
        }
        self.watch(at);
    }

    fn establish(&mut self) -> bool {
        // A change of role that is not complete would change the generations behind the peer's back.
        let ready = self.nodes.iter().all(|node| node.alive && node.receiver == Receiver::Connecting && !node.role_changed && !node.generation_is_due());
        if !ready || self.env.link.is_some() {
            return false;
        }
        let cuts = self.env.settings.drawn.then(|| Random::new(self.env.more.next()));
        self.env.link = Some(Link::new(cuts));
        let resolver = self.env.random.index(2);
        for node in &mut self.nodes {
            let is_resolver = node.me == resolver;
            node.greet(&mut self.env, is_resolver);
        }
        self.watch(0);
        self.watch(1);
        true
    }

    /// Checks that belong to changes of the connection state.
    pub fn watch(&mut self, at: usize) {
        let conn = self.nodes[at].state.conn;
        let before = std::mem::replace(&mut self.seen[at], conn);
        let other = 1 - at;
        if before == conn || !self.nodes[at].alive {
            return;
        }
        let both = self.nodes[other].alive;
        if before >= Conn::Connected && conn < Conn::Connected {
            self.left_at[at] = self.env.now;
        }
        // Epochs belong to a connection (EP-1): what was lost with the one before has bits (EP-6), and by protocol A may be nowhere else (WR-2).
        if matches!(conn, Conn::Connected | Conn::WFBitMapS | Conn::SyncSource | Conn::PausedSyncS) {
            self.joined_at[at] = self.env.now;
        }
        let current = self.nodes[at].state.disk == DiskState::UpToDate && self.nodes[at].state.pdsk == DiskState::UpToDate;
        match (before, conn) {
            (Conn::PausedSyncS, Conn::SyncSource) | (Conn::SyncSource, Conn::PausedSyncS) => {}
            (_, Conn::SyncSource | Conn::PausedSyncS) if both => {
                self.env.oracle.resync_begins(at, other);
                // After congestion what the peer has acknowledged may still be on its way to its disk; its epoch answers for that.
                if before != Conn::Ahead {
                    self.bits_cover_differences(at);
                }
            }
            (Conn::SyncTarget | Conn::PausedSyncT, Conn::Connected) if self.nodes[at].state.disk == DiskState::UpToDate => {
                let together = both && matches!(self.nodes[other].state.conn, Conn::SyncSource | Conn::PausedSyncS);
                // Protocols A and B: what was acknowledged may still wait for its epoch there.
                if together && self.nodes[at].peer_in_work == 0 {
                    self.same_contents("after a resync");
                }
                let until = if both && self.nodes[other].state.conn >= Conn::Connected { self.env.now } else { self.left_at[other] };
                self.env.oracle.resync_ended(other, at, until);
            }
            // A node whose I/O is frozen may still find that the other was restarted (HS-9). One whose disk has failed a write has not looked at that
            // yet, and will say so (ER-4); until then its own bits mark the block.
            (Conn::WFReportParams, Conn::Connected) if current && both && !self.nodes[other].state.is_suspended() && !self.has_errors() => {
                let agrees = matches!(self.nodes[other].state.conn, Conn::WFReportParams | Conn::Connected);
                if agrees && self.nodes[other].state.disk == DiskState::UpToDate {
                    self.same_contents("after a connect without resync");
                    self.env.oracle.found_equal();
                }
            }
            _ => {}
        }
    }

    fn has_errors(&self) -> bool {
        self.nodes.iter().any(|node| node.error_seen)
    }

    /// Sectors outside of writes in flight that differ.
    fn differences(&self) -> Vec<u64> {
        let [a, b] = [&self.nodes[0].disk.data, &self.nodes[1].disk.data];
        let differs = |sector: &&u64| a.get(**sector) != b.get(**sector) && !self.env.oracle.is_in_flight(**sector);
        let mut found: Vec<u64> = a.contents().keys().chain(b.contents().keys()).filter(differs).copied().collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn same_contents(&self, when: &str) {
        let found = self.differences();
        let show = |at: usize| found.iter().map(|sector| self.nodes[at].disk.data.get(*sector).copied().unwrap_or(0)).collect::<Vec<_>>();
        assert!(found.is_empty(), "the disks differ {when}: sectors {found:?} hold {:?} and {:?}", show(0), show(1));
    }

    /// At the start of a resync the source knows of every block that differs. Except for writes of the target that have completed and are on
    /// their way to the source: by protocol A that is when they are handed to the socket (WR-2), so a bitmap that was queued before may overtake
    /// their data, though no block request can. They stay on the target's transfer log until the source has them (WR-3); should the connection
    /// end first, or the target lose power, bits or activity log mark them there (EP-6, WR-4, AL-1), and a later handshake merges them (RS-1).
    fn bits_cover_differences(&self, source: usize) {
        let bitmap = &self.nodes[source].plane.bitmap;
        let on_its_way = |sector: u64| self.env.options.protocol == 1 && self.nodes[1 - source].owes(&self.env, sector);
        for sector in self.differences().into_iter().filter(|sector| !on_its_way(*sector)) {
            assert!(bitmap.any_set(sector, 512), "sector {sector} differs at the start of a resync, and no bit says so");
        }
    }

    fn boot(&mut self, at: usize) {
        self.say(at, format_args!("boot"));
        self.nodes[at].boot(&mut self.env);
        let node = &self.nodes[at];
        if node.state.disk == DiskState::UpToDate && !node.crashed_primary {
            self.env.oracle.check_order(at, node.disk.data.contents(), self.joined_at[at]);
        }
        self.nodes[at].start_connecting(&mut self.env);
        self.seen[at] = self.nodes[at].state.conn;
    }

    /// The power of a node fails.
    pub fn crash(&mut self, at: usize) {
        self.say(at, format_args!("crash"));
        self.crashes += 1;
        marks::fault(if self.nodes[at].is_dying() { "power fails at a write of metadata" } else { "a node loses power" });
        if !self.nodes[1 - at].alive {
            marks::fault("both nodes without power");
        }
        self.left_at[at] = self.env.now;
        let node = &mut self.nodes[at];
        node.interrupted_ios(&mut self.env);
        node.disk.crash(&mut self.env.random);
        node.alive = false;
        node.fuse = None;
        self.env.oracle.crashed(at, self.env.now);
        if let Some(link) = &mut self.env.link {
            link.leave(at, &mut self.env.random);
        }
    }

    fn fault(&mut self) {
        let at = self.env.random.index(2);
        match self.env.random.below(8) {
            // One at a time, and not while a handshake looks at it: a copy that is nowhere can not be kept.
            6 if self.may_lose_a_disk() => {
                self.forget_errors();
                self.env.oracle.disk_fails(at);
                self.nodes[at].give_up_disk(&mut self.env);
                marks::fault("a disk fails");
            }
            0 | 1 => {
                if let Some(link) = self.env.link.as_mut().filter(|link| !link.cut) {
                    let silent = self.env.random.once_in(2);
                    link.sever(&mut self.env.random, silent);
                    marks::fault(if silent { "cable cut, nothing arrives" } else { "cable cut, what is on its way arrives in part" });
                    self.say(2, format_args!("cut"));
                }
            }
            2 if self.nodes[at].alive => self.crash(at),
            3 if self.nodes[at].alive => self.nodes[at].fuse = Some(1 + self.env.random.below(8)),
            _ => {
                for at in 0..2 {
                    if !self.nodes[at].alive {
                        marks::fault("power comes back");
                        self.boot(at);
                    }
                }
            }
        }
    }

    /// A node alone whose bitmap counts from a generation makes no new one when it is promoted (UU-4). If the other node has gone on without it,
    /// nobody can tell later that both did: the administrator has to know, and this one does.
    fn would_split_unseen(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let alone = node.state.conn < Conn::Connected || node.state.pdsk <= DiskState::Failed;
        // So does a source that loses power after it has let the target finish, and goes on: the target would be the other one.
        let other = &self.nodes[1 - at];
        // A node that is Ahead completes writes in the old generation (CG-3), and if it loses power before the new one is on its disk, the peer may
        // not have heard of that state.
        let unknown = !other.alive && self.env.oracle.is_left_behind(at);
        let generations = if unknown { other.stored_superblock().uuids } else { other.uuids };
        let same_generation = (node.uuids.current ^ generations.current) & !1 == 0;
        let gone_on = self.env.oracle.is_behind(at) || (same_generation && other.state.role == Role::Primary);
        let parted = node.uuids.bitmap != 0 && (node.uuids.current ^ generations.bitmap) & !1 == 0;
        alone && (parted || ((node.uuids.bitmap != 0 || same_generation) && gone_on))
    }

    /// Without the peer, a disk that missed writes is not brought back, nor any disk under a Primary.
    fn may_attach(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let safe = node.state.conn >= Conn::Connected || (node.state.role == Role::Secondary && !self.env.oracle.is_behind(at));
        node.state.disk == DiskState::Diskless && !node.attached && safe && node.is_idle() && !node.hangs
    }

    fn administer(&mut self) {
        let at = self.env.random.index(2);
        let unseen = self.would_split_unseen(at);
        let may_attach = self.may_attach(at);
        let (node, env) = (&mut self.nodes[at], &mut self.env);
        if !node.alive {
            return;
        }
        let current = node.state.disk == DiskState::UpToDate;
        match env.random.below(12) {
            10 | 11 if may_attach => node.attach(env),
            0..=4 if node.state.role == Role::Secondary && current && !unseen && node.may_promote() && !node.wants_fencing() => {
                node.promote(env);
            }
            0..=4 if node.wants_fencing() && !unseen && node.may_promote() => self.promote_with_fencing(at),
            5 | 6 if node.primary && node.may_demote(env) => node.demote(env),
            7 => node.disconnect(env),
            8 | 9 => {
                let discard = !node.primary && env.random.once_in(4);
                node.connect(env, discard);
            }
            _ => {}
        }
        if self.nodes[at].is_dying() {
            self.crash(at);
        }
        self.watch(at);
    }

    fn check_new_primary(&self, at: usize) {
        if self.nodes[at].primary && self.nodes[at].state.disk == DiskState::UpToDate {
            self.env.oracle.check(at, self.nodes[at].disk.data.contents());
        }
    }

    fn use_device(&mut self) {
        let at = self.env.random.index(2);
        let (node, env) = (&mut self.nodes[at], &mut self.env);
        if !node.alive || !node.primary || node.waiting.len() > 6 {
            return;
        }
        if env.random.once_in(12) {
            node.submit_flush(env);
            return;
        }
        env.now += 1;
        let extent = HOT_EXTENTS[env.random.index(HOT_EXTENTS.len())];
        let start = extent * 8192 + env.random.below(40);
        let count = [1, 2, 7, 8, 8, 9, 16, 24][env.random.index(8)];
        let sector = if env.random.once_in(20) { SECTORS - count } else { start };
        let (fua, zeroes) = (env.random.once_in(8), env.random.once_in(10));
        node.submit_write(env, sector, count, fua && !zeroes, zeroes);
    }

    /// Takes steps until none is left.
    fn settle(&mut self) {
        for _ in 0..PATIENCE {
            if !self.step() {
                return;
            }
        }
        panic!("no rest after {PATIENCE} steps");
    }

    fn is_healed(&self) -> bool {
        self.nodes.iter().all(|node| {
            let state = &node.state;
            node.alive && state.conn == Conn::Connected && state.disk == DiskState::UpToDate && state.pdsk == DiskState::UpToDate
        })
    }

    /// No more faults: everything comes together again, and then both disks are the same.
    fn heal(&mut self) {
        for node in &mut self.nodes {
            node.fuse = None;
        }
        self.calm_down();
        for round in 0..16 {
            for at in 0..2 {
                if !self.nodes[at].alive {
                    self.boot(at);
                }
            }
            self.settle();
            self.attach_all();
            self.settle();
            self.resume_all();
            self.settle();
            for node in &self.nodes {
                let stuck = node.plane.in_flight() > 0 || !node.waiting.is_empty() || !node.waiting_reads.is_empty();
                assert!(!stuck, "node {}: {} requests stuck, {} wait", node.me, node.plane.in_flight(), node.waiting.len() + node.waiting_reads.len());
                assert!(!node.state.conn.is_resync(), "node {}: {} for ever", node.me, node.state.conn);
            }
            if self.is_healed() {
                return self.check_healed();
            }
            self.reconcile(round);
            self.settle();
        }
        panic!("the nodes do not come together");
    }

    /// Disks that are detached come back, while their node is alone: what they hold may have to be argued about.
    fn attach_all(&mut self) {
        for at in 0..2 {
            if self.nodes[at].state.disk > DiskState::Negotiating {
                continue;
            }
            self.nodes[at].demote(&mut self.env);
            self.nodes[at].disconnect(&mut self.env);
            self.settle();
            let node = &mut self.nodes[at];
            if node.state.disk == DiskState::Diskless && !node.attached && node.is_idle() {
                node.attach(&mut self.env);
            }
            self.nodes[at].connect(&mut self.env, false);
        }
    }

    /// Split brain: one of the nodes lets its data go.
    fn reconcile(&mut self, round: usize) {
        for node in self.nodes.iter_mut().filter(|node| node.primary) {
            node.demote(&mut self.env);
        }
        // After an error that was passed on the copy stays Inconsistent until the next handshake.
        if let Some(at) = (0..2).find(|at| self.nodes[*at].state.conn == Conn::Connected && self.nodes[*at].state.disk == DiskState::Inconsistent) {
            self.nodes[at].disconnect(&mut self.env);
        }
        self.settle();
        let alone: Vec<usize> = (0..2).filter(|at| self.nodes[*at].receiver == Receiver::StandAlone).collect();
        let victim = alone.get(round % 2).or(alone.first()).copied();
        for at in alone {
            if round > 3 && matches!(self.nodes[at].state.disk, DiskState::Inconsistent | DiskState::Outdated) {
                // Its generation has fallen out of the history of the other: create-md, and all over again.
                self.nodes[at].recreate_metadata(&mut self.env);
            }
            self.nodes[at].connect(&mut self.env, Some(at) == victim && round > 0);
        }
    }

    fn check_healed(&mut self) {
        self.same_contents("at the end");
        for at in 0..2 {
            let node = &self.nodes[at];
            let stale = self.nodes.iter().any(|node| node.stale_bits);
            assert!(stale || node.plane.bitmap.weight() == 0, "node {at} has {} bits left", node.plane.bitmap.weight());
            assert_eq!(node.plane.pending_at_peer(), 0);
            assert_eq!(node.plane.local_references(), 0);
            assert_eq!(node.uuids.current & !1, self.nodes[1 - at].uuids.current & !1, "generations");
            self.env.oracle.check(at, node.disk.data.contents());
        }
    }
}
