// SPDX-License-Identifier: GPL-2.0
//! Settings that the seed draws, what they lead to, and the faults that come with them.

use crate::marks;
use crate::node::{Env, Node};
use crate::random::Random;
use crate::world::World;
use drbd_core::handshake::decide::policy;
use drbd_core::handshake::{Action, Decision, Policies, Reason, Situation};
use drbd_core::state::disk_error::pass_on_degrades;
use drbd_core::state::vector::word;
use drbd_core::state::{evaluate, Conn, Disk, Kind, Request, Role};

/// What the options of a resource say. The defaults are those of the driver.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    /// They were drawn.
    pub drawn: bool,
    split_brain: Policies,
    /// on-io-error.
    on_io_error: OnIoError,
}

/// What becomes of a disk after an error.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum OnIoError {
    PassOn,
    CallLocalIoError,
    #[default]
    Detach,
}

/// What settings decide; each has to come about.
pub const OUTCOMES: &[&str] = &[
    "after-sb-0pri disconnect",
    "after-sb-0pri discard-younger-primary",
    "after-sb-0pri discard-older-primary",
    "after-sb-0pri discard-zero-changes",
    "after-sb-0pri discard-least-changes",
    "after-sb-0pri discard-local",
    "after-sb-0pri discard-remote",
    "after-sb-1pri disconnect",
    "after-sb-1pri consensus",
    "after-sb-1pri discard-secondary",
    "after-sb-1pri call-pri-lost-after-sb",
    "after-sb-1pri violently-as0p",
    "after-sb-2pri disconnect",
    "after-sb-2pri call-pri-lost-after-sb",
    "after-sb-2pri violently-as0p",
    "a Primary could not give up its role after a split brain",
    "split brain solved by a policy",
    "split brain solved by the administrator",
    "split brain not solved",
    "pause-sync",
    "resync-after",
    "on-io-error pass_on",
    "on-io-error call-local-io-error",
    "on-io-error detach",
    "timeout",
    "ping timeout",
];

impl Settings {
    pub fn draw(random: &mut Random) -> Self {
        use policy::{
            CALL_PRI_LOST, CONSENSUS, DISCARD_LEAST_CHANGES, DISCARD_LOCAL, DISCARD_OLDER_PRIMARY, DISCARD_REMOTE, DISCARD_SECONDARY,
            DISCARD_YOUNGER_PRIMARY, DISCARD_ZERO_CHANGES, DISCONNECT, VIOLENTLY,
        };
        let zero = [
            DISCONNECT,
            DISCARD_YOUNGER_PRIMARY,
            DISCARD_OLDER_PRIMARY,
            DISCARD_ZERO_CHANGES,
            DISCARD_LEAST_CHANGES,
            DISCARD_LOCAL,
            DISCARD_REMOTE,
        ];
        let split_brain = Policies {
            after_sb_0p: zero[random.index(zero.len())],
            after_sb_1p: [DISCONNECT, CONSENSUS, DISCARD_SECONDARY, CALL_PRI_LOST, VIOLENTLY][random.index(5)],
            after_sb_2p: [DISCONNECT, CALL_PRI_LOST, VIOLENTLY][random.index(3)],
            rr_conflict: [DISCONNECT, CALL_PRI_LOST, VIOLENTLY][random.index(3)],
            always_asbp: random.once_in(2),
        };
        let on_io_error = [OnIoError::PassOn, OnIoError::CallLocalIoError, OnIoError::Detach][random.index(3)];
        Self { drawn: true, split_brain, on_io_error }
    }

    /// Those of a node: "local" of one is "remote" of the other.
    pub fn policies(&self, node: usize) -> Policies {
        let mirrored = match (node, self.split_brain.after_sb_0p) {
            (1, policy::DISCARD_LOCAL) => policy::DISCARD_REMOTE,
            (1, policy::DISCARD_REMOTE) => policy::DISCARD_LOCAL,
            (_, other) => other,
        };
        Policies { after_sb_0p: mirrored, ..self.split_brain }
    }
}

/// Marks what policies had to decide.
pub fn mark_decision(situation: &Situation, decision: &Decision) {
    if !decision.helpers.initial_split_brain {
        return;
    }
    let policies = &situation.policies;
    marks::outcome(match [situation.own.role, situation.peer.role].iter().filter(|role| **role == Role::Primary).count() {
        0 => match policies.after_sb_0p {
            policy::DISCONNECT => "after-sb-0pri disconnect",
            policy::DISCARD_YOUNGER_PRIMARY => "after-sb-0pri discard-younger-primary",
            policy::DISCARD_OLDER_PRIMARY => "after-sb-0pri discard-older-primary",
            policy::DISCARD_ZERO_CHANGES => "after-sb-0pri discard-zero-changes",
            policy::DISCARD_LEAST_CHANGES => "after-sb-0pri discard-least-changes",
            policy::DISCARD_LOCAL => "after-sb-0pri discard-local",
            _ => "after-sb-0pri discard-remote",
        },
        1 => match policies.after_sb_1p {
            policy::DISCONNECT => "after-sb-1pri disconnect",
            policy::CONSENSUS => "after-sb-1pri consensus",
            policy::DISCARD_SECONDARY => "after-sb-1pri discard-secondary",
            policy::CALL_PRI_LOST => "after-sb-1pri call-pri-lost-after-sb",
            _ => "after-sb-1pri violently-as0p",
        },
        _ => match policies.after_sb_2p {
            policy::DISCONNECT => "after-sb-2pri disconnect",
            policy::CALL_PRI_LOST => "after-sb-2pri call-pri-lost-after-sb",
            _ => "after-sb-2pri violently-as0p",
        },
    });
    if decision.helpers.pri_lost_after_sb {
        marks::outcome("a Primary could not give up its role after a split brain");
    }
    if decision.solved_automatically {
        marks::outcome("split brain solved by a policy");
    }
    if decision.solved_manually {
        marks::outcome("split brain solved by the administrator");
    }
    if decision.action == Action::Refuse(Reason::SplitBrain) {
        marks::outcome("split brain not solved");
    }
}

impl Node {
    /// SB-5: nobody uses the device.
    pub fn may_lose_role(&self) -> bool {
        let demoted = Request::none().role(Role::Secondary);
        matches!(evaluate(&self.state, &demoted, Kind::Soft, &self.facts()), Ok(Some(_)))
    }

    /// SB-5: this Primary has lost.
    pub fn lose_role(&mut self, env: &mut Env) -> bool {
        self.primary = false;
        let demoted = self.change(&env.options, Request::none().role(Role::Secondary), Kind::Soft).is_ok();
        self.primary = !demoted;
        demoted
    }

    /// The peer does not answer: to a write within ko-count x timeout, or to a ping.
    pub fn time_out(&mut self, env: &mut Env) {
        let write = env.more.once_in(2);
        marks::outcome(if write { "timeout" } else { "ping timeout" });
        marks::fault("nothing arrives until a timeout");
        self.lose(env, if write { Conn::Timeout } else { Conn::NetworkFailure });
    }

    /// This copy may be lost: the other one is as good.
    pub fn both_good(&self) -> bool {
        self.state.conn == Conn::Connected && self.state.disk == Disk::UpToDate && self.state.pdsk == Disk::UpToDate
    }

    /// An access that ends now may be the one that fails (EIO): once, and while the other copy is good.
    pub fn fails(&mut self) -> bool {
        let fails = self.error_due && (self.both_good() || self.state.conn.is_verify());
        if fails {
            self.error_due = false;
            self.error_seen = true;
        }
        fails
    }

    /// ER-1: the worker looks at errors.
    pub fn apply_error_policy(&mut self, env: &mut Env) {
        self.error_seen = false;
        let source = matches!(self.state.conn, Conn::SyncSource | Conn::PausedSyncS);
        let forced = std::mem::take(&mut self.metadata_failed);
        let policy = if forced { OnIoError::Detach } else { env.settings.on_io_error };
        marks::outcome(match policy {
            OnIoError::PassOn => "on-io-error pass_on",
            OnIoError::CallLocalIoError => "on-io-error call-local-io-error",
            OnIoError::Detach => "on-io-error detach",
        });
        if policy == OnIoError::PassOn {
            let degrades = pass_on_degrades(&self.state, self.plane.lacks_write(self.state.is_suspended())) || !env.options.duties.note_failed_write_first;
            if self.state.disk > Disk::Inconsistent && degrades {
                self.hard(&env.options, Request::none().disk(Disk::Inconsistent));
                if self.state.disk > Disk::Inconsistent {
                    self.release_failed_writes(env);
                }
            } else if self.state.disk != Disk::Failed {
                self.release_failed_writes(env);
            }
        } else if self.state.disk > Disk::Failed {
            if source {
                marks::outcome("the source gives its disk up during a resync");
            }
            env.oracle.disk_fails(self.me);
            self.give_up_disk(env);
        } else if self.state.disk != Disk::Failed {
            self.release_failed_writes(env);
        }
    }

    /// pause-sync, resume-sync, and another device of resync-after that begins and ends.
    fn pause(&mut self, env: &mut Env, flag: u32, set: bool) {
        let old = self.state.conn;
        let _ = self.change(&env.options, Request::none().flag(flag, set), Kind::Hard);
        if set && old != self.state.conn {
            marks::outcome(if flag == word::USER_ISP { "pause-sync" } else { "resync-after" });
        }
    }
}

impl World {
    /// What may happen beside the simplest faults.
    pub fn more(&mut self) {
        match self.env.more.below(400) {
            0 | 1 => {
                let deaf = self.env.more.index(2);
                if let Some(link) = self.env.link.as_mut().filter(|link| !link.cut) {
                    link.silent[deaf] = true;
                    self.say(deaf, format_args!("hears nothing"));
                }
            }
            2 => {
                if let Some(link) = &mut self.env.link {
                    link.silent = [false; 2];
                }
            }
            3..=8 => {
                let at = self.env.more.index(2);
                let flag = if self.env.more.once_in(2) { word::USER_ISP } else { word::AFTR_ISP };
                let set = self.env.more.once_in(2);
                if self.nodes[at].alive {
                    self.nodes[at].pause(&mut self.env, flag, set);
                    self.watch(at);
                }
            }
            // One at a time, and nobody else is to be the only good copy meanwhile.
            9 | 10 if self.may_lose_a_disk() => {
                let at = self.env.more.index(2);
                let metadata = self.policies && self.env.extra.once_in(2);
                self.forget_errors();
                self.nodes[at].error_due = !metadata;
                self.nodes[at].metadata_error_due = metadata;
            }
            11 if self.may_lose_a_disk() => {
                let at = self.env.more.index(2);
                self.forget_errors();
                self.nodes[at].hangs = true;
                self.say(at, format_args!("disk hangs"));
                marks::fault("a disk hangs");
            }
            12..=15 => {
                let at = self.env.more.index(2);
                if self.nodes[at].hangs && self.nodes[at].alive {
                    self.end_hang(at);
                }
            }
            _ => {}
        }
    }

    /// It answers again, or it is named gone first.
    fn end_hang(&mut self, at: usize) {
        let (node, env) = (&mut self.nodes[at], &mut self.env);
        let target = self.resync_errors && matches!(node.state.conn, Conn::SyncTarget | Conn::PausedSyncT);
        let connected = target || node.state.conn == Conn::Connected;
        let alone_good = node.state.pdsk != Disk::UpToDate || !connected || !self.nodes[1 - at].alive;
        let node = &mut self.nodes[at];
        if node.given_up || alone_good || env.more.once_in(3) {
            node.hangs = false;
            return;
        }
        marks::fault("a disk that hangs is named gone");
        node.given_up = true;
        env.oracle.disk_fails(at);
        node.give_up_disk(env);
        self.watch(at);
    }

    /// Both copies are good, and both nodes know it.
    pub fn may_lose_a_disk(&self) -> bool {
        self.nodes.iter().all(|node| node.alive && node.state.disk == Disk::UpToDate && node.state.conn == Conn::Connected && !node.error_seen && !node.hangs)
    }

    /// Nothing of it goes on.
    pub fn calm_down(&mut self) {
        self.calm = true;
        if let Some(link) = &mut self.env.link {
            link.silent = [false; 2];
        }
        self.forget_errors();
        for node in &mut self.nodes {
            node.hangs = false;
            node.policy.fenced_at = 0;
            if node.alive {
                node.pause(&mut self.env, word::USER_ISP, false);
                node.pause(&mut self.env, word::AFTR_ISP, false);
            }
        }
    }
}
