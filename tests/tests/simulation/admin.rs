// SPDX-License-Identifier: GPL-2.0
//! What an administrator does: roles, disconnect, connect.

use crate::node::{Env, Node, Receiver};
use drbd_core::md::uuids::JUST_CREATED;
use drbd_core::md::Uuids;
use drbd_core::state::{evaluate, needs_cluster_wide, Conn, Disk as DiskState, Kind, Refusal, Request, Role};
use drbd_core::wire::packet::encode_state_change;
use drbd_core::wire::Command;

impl Node {
    /// Asks for a change: decided here, or with the peer.
    pub fn ask(&mut self, env: &mut Env, request: Request, command: Command) -> Result<(), Refusal> {
        if self.pending_change.is_some() || self.role_changed {
            return Err(Refusal::InTransientState);
        }
        let Some(new) = evaluate(&self.state, &request, Kind::Soft, &self.facts())? else { return Ok(()) };
        if needs_cluster_wide(&self.state, &new) {
            self.pending_change = Some(request);
            self.enqueue_packet(command, &encode_state_change(request.mask, request.value));
        } else {
            self.assign(&env.options, new);
            self.changed(env, &request);
        }
        Ok(())
    }

    /// The peer has answered.
    pub fn settle_change(&mut self, env: &mut Env) {
        let (Some(request), Some(code)) = (self.pending_change.take(), self.answered.take()) else { return };
        if code >= 1 && self.change(&env.options, request, Kind::Soft).is_ok() {
            self.changed(env, &request);
        }
    }

    /// A change that was asked for is in force.
    fn changed(&mut self, env: &mut Env, request: &Request) {
        if request.conn_value() == Some(Conn::Disconnecting) {
            self.lose(env, Conn::Disconnecting);
        } else if request.conn_value().is_none() {
            self.role_changed = true;
        }
    }

    /// What the peer has sent is on the disk, also after its loss.
    pub fn may_promote(&self) -> bool {
        !matches!(self.receiver, Receiver::Flushing | Receiver::Draining)
    }

    pub fn promote(&mut self, env: &mut Env) {
        self.promote_by(env, Request::none().role(Role::Primary));
    }

    pub fn promote_by(&mut self, env: &mut Env, request: Request) {
        let _ = self.ask(env, request, Command::StateChgReq);
    }

    /// RO-3: no request of the application is left; with the duty, none that the peer has not on stable storage either.
    pub fn may_demote(&self, env: &Env) -> bool {
        let idle = self.plane.in_flight() == 0 && self.waiting.is_empty() && self.waiting_reads.is_empty();
        idle && (!env.options.duties.drain_before_demotion || self.plane.oldest_waiting_for_peer().is_none())
    }

    pub fn demote(&mut self, env: &mut Env) {
        self.primary = false;
        if self.ask(env, Request::none().role(Role::Secondary), Command::StateChgReq).is_err() {
            self.primary = true;
        }
    }

    /// RO-4, RO-5.
    pub fn finish_role(&mut self, env: &mut Env) {
        self.role_changed = false;
        let primary = self.state.role == Role::Primary;
        let alone = self.state.conn < Conn::Connected || self.state.pdsk <= DiskState::Failed;
        if primary && alone && self.attached && self.uuids.bitmap == 0 {
            self.uuids.new_current(env.random.next(), true);
        }
        if primary {
            self.discard_my_data = false;
        }
        if self.attached {
            self.uuids.set_primary(primary);
        }
        if self.attached {
            self.effective = self.uuids.current;
        }
        self.write_superblock(env);
        if self.receiver == Receiver::Serving && self.state.conn >= Conn::Connected {
            let word = self.state.pack().to_be_bytes();
            self.enqueue_packet(Command::State, &word);
        }
        self.primary = primary;
    }

    pub fn disconnect(&mut self, env: &mut Env) {
        match self.receiver {
            Receiver::Serving => {
                let _ = self.ask(env, Request::none().conn(Conn::Disconnecting), Command::ConnStChgReq);
            }
            Receiver::Connecting => {
                self.hard(&env.options, Request::none().conn(Conn::Disconnecting));
                self.hard(&env.options, Request::none().conn(Conn::StandAlone));
                self.receiver = Receiver::StandAlone;
            }
            _ => {}
        }
    }

    /// The data here is nothing any more.
    pub fn recreate_metadata(&mut self, env: &mut Env) {
        self.uuids = Uuids { current: JUST_CREATED, ..Uuids::default() };
        self.effective = 0;
        self.write_superblock(env);
    }

    pub fn connect(&mut self, env: &mut Env, discard_my_data: bool) {
        if self.receiver == Receiver::StandAlone {
            self.discard_my_data = discard_my_data;
            self.start_connecting(env);
        }
    }
}
