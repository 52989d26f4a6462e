// SPDX-License-Identifier: GPL-2.0
//! Greeting, reports of the peer, start and end of a resync.

use crate::network::Stream;
use crate::node::{Env, Item, Node, Receiver, FEATURES, SECTORS, VERSION};
use drbd_core::engine::volume_peer::Begin;
use drbd_core::handshake::compare::Correction;
use drbd_core::handshake::report::{interpret, Meaning, ReportFacts};
use drbd_core::handshake::uuids::{self, OwnFlags, UuidsFacts, UuidsVerdict};
use drbd_core::handshake::{adopt, decide_with, must_repeat, resync_end, Action, AdoptFacts, Adoption, Reason, Situation};
use drbd_core::md::{flags, Uuids};
use drbd_core::resync::{next_request, Limits};
use drbd_core::state::effects::md_flags;
use drbd_core::state::{Conn, Disk as DiskState, Request, State};
use drbd_core::wire::packet::{decode_sync_uuid, decode_word};
use drbd_core::wire::params::{max_bio_bytes, uuid_flags, Protocol, Sizes, UuidsPacket};
use drbd_core::wire::Command;

impl Node {
    fn own_uuids(&self) -> UuidsPacket {
        let flags = OwnFlags {
            discard_my_data: self.discard_my_data,
            crashed_primary: self.crashed_primary,
            found_at_late_attach: self.found.map(|found| found.0),
            skip_initial_sync: false,
        };
        uuids::own_packet(&self.uuids, self.plane.bitmap.weight(), &flags)
    }

    pub fn send_uuids(&mut self) {
        if self.state.sends_uuids() {
            let packet = self.own_uuids();
            self.told_bits = packet.dirty_bits;
            self.enqueue_packet(Command::Uuids, &packet.encode());
        }
    }

    fn protocol(&self, env: &Env, discard_my_data: bool) -> Protocol<'static> {
        let policies = env.settings.policies(self.me);
        Protocol {
            protocol: env.options.protocol,
            after_sb_0p: policies.after_sb_0p,
            after_sb_1p: policies.after_sb_1p,
            after_sb_2p: policies.after_sb_2p,
            discard_my_data,
            dry_run: false,
            two_primaries: false,
            integrity: b"",
        }
    }

    /// The sockets stand (CO-6).
    pub fn greet(&mut self, env: &mut Env, resolver: bool) {
        self.resolver = resolver;
        self.receiver = Receiver::Serving;
        let mut out = [0; Protocol::MAX_BYTES];
        let length = self.protocol(env, self.discard_my_data).encode(VERSION, &mut out);
        self.transmit(env, Stream::Data, Self::packet(Command::Protocol, &out[..length], 0, Vec::new()));
        let sizes = Sizes {
            disk_sectors: if self.attached { SECTORS } else { 0 },
            user_sectors: 0,
            current_sectors: SECTORS,
            max_bio_bytes: max_bio_bytes(VERSION),
            limits: Some(Default::default()),
            ..Sizes::default()
        };
        let mut out = [0; Sizes::MAX_BYTES];
        let length = sizes.encode(&mut out);
        self.transmit(env, Stream::Data, Self::packet(Command::Sizes, &out[..length], 0, Vec::new()));
        if self.state.sends_uuids() {
            self.told_bits = self.own_uuids().dirty_bits;
            let packet = self.own_uuids().encode();
            self.transmit(env, Stream::Data, Self::packet(Command::Uuids, &packet, 0, Vec::new()));
        }
        let state = self.state.pack().to_be_bytes();
        self.transmit(env, Stream::Data, Self::packet(Command::State, &state, 0, Vec::new()));
        self.hard(&env.options, Request::none().conn(Conn::WFReportParams));
        self.state_sent = true;
    }

    /// Packets of the control plane.
    pub fn receive_report(&mut self, env: &mut Env, command: Command, body: &[u8]) {
        match command {
            Command::Protocol => {
                let peer = Protocol::decode(command, VERSION, body).unwrap();
                drbd_core::handshake::protocol::match_protocol(&self.protocol(env, false), &peer).unwrap();
            }
            Command::Sizes => assert!([0, SECTORS].contains(&Sizes::decode(FEATURES, body).unwrap().disk_sectors)),
            Command::Uuids => {
                let packet = UuidsPacket::decode(body).unwrap();
                let facts = UuidsFacts { own: self.state, uuids: self.uuids, effective: self.effective, version: VERSION };
                self.peer_uuids = Some(packet);
                match uuids::received(&facts, &packet) {
                    UuidsVerdict::Remember => {}
                    UuidsVerdict::AdoptGeneration(current) => self.effective = current,
                    UuidsVerdict::Refuse { .. } => self.lose(env, Conn::Disconnecting),
                    other => panic!("{other:?}"),
                }
            }
            Command::State => self.receive_state(env, State::unpack(decode_word(command, body).unwrap()).unwrap()),
            Command::SyncUuid => self.receive_sync_uuid(env, decode_sync_uuid(body).unwrap()),
            Command::StateChgReq | Command::ConnStChgReq => self.receive_change(env, command, body),
            other => panic!("{} is not expected", other.name()),
        }
    }

    fn receive_state(&mut self, env: &mut Env, peer: State) {
        let facts = ReportFacts {
            has_peer_uuids: self.peer_uuids.is_some(),
            peer_found_inconsistent: self.peer_uuids.is_some_and(|packet| packet.flags & uuid_flags::INCONSISTENT != 0),
            consider_resync: std::mem::take(&mut self.consider_resync),
            left_behind: self.left_behind,
            blocks_failed: self.plane.resync_failed_bits() > 0,
        };
        match interpret(&self.state, &peer, &facts) {
            Meaning::Lost => self.lose(env, Conn::BrokenPipe),
            Meaning::Ignore => {}
            Meaning::FinishVerify => self.end_verify(env),
            Meaning::FinishResync => self.finish_source(env),
            Meaning::FinishIncomplete => self.finish_incomplete(env),
            Meaning::Adopt { handshake, peer_disk, conn } => {
                let action = if handshake { Some(self.compare(env, &peer, peer_disk)) } else { None };
                self.adopt(env, &peer, peer_disk, conn, action);
            }
        }
    }

    fn compare(&mut self, env: &mut Env, peer: &State, peer_disk: DiskState) -> Action {
        let packet = self.peer_uuids.unwrap();
        let mut own = uuids::peer_side(&self.own_uuids(), self.state.role);
        if self.state.conn < Conn::Connected || self.state.disk == DiskState::Negotiating {
            // HS-12: what the peer was told decides on both nodes.
            own.dirty_bits = self.told_bits;
        }
        let may_demote = self.may_lose_role();
        let situation = Situation {
            own,
            peer: uuids::peer_side(&packet, peer.role),
            own_disk: match (self.state.disk, self.found) {
                (DiskState::Negotiating, Some(found)) => found.0,
                (disk, _) => disk,
            },
            live_disk: self.state.disk,
            peer_disk,
            version: VERSION,
            features: FEATURES,
            resolver: self.resolver,
            policies: env.settings.policies(self.me),
            dry_run: false,
        };
        let decision = decide_with(&situation, may_demote);
        crate::settings::mark_decision(&situation, &decision);
        let bits = (situation.own.dirty_bits, situation.peer.dirty_bits);
        env.oracle.say(format_args!("n{} {:?} against {:?}, bits {bits:?}, resolver {}, {:?}", self.me, self.state.role, peer.role, self.resolver, situation.policies));
        self.note(format!("rule {} {:?}", decision.comparison.rule, decision.action));
        env.oracle.say(format_args!("n{} rule {}: own {:x?} peer {:x?}", self.me, decision.comparison.rule, self.uuids.to_array(), packet.uuids));
        match decision.comparison.correction {
            Correction::None => {}
            // Rule 34: with the start of the resync.
            Correction::Own(set) if set.bitmap == 0 && env.options.duties.keep_generation_until_resync => {}
            Correction::Own(set) => {
                self.uuids = set;
                self.stale_bits |= self.plane.bitmap.weight() > 0;
                self.write_superblock(env);
            }
            Correction::Peer(set) => self.peer_uuids = Some(UuidsPacket { uuids: set.to_array(), ..packet }),
        }
        if decision.demote && !self.lose_role(env) {
            return Action::Refuse(Reason::SplitBrain);
        }
        if decision.solved_manually || decision.solved_automatically {
            env.oracle.discards(if matches!(decision.action, Action::Target { .. }) { self.me } else { 1 - self.me });
        }
        if matches!(decision.action, Action::Source { full: true } | Action::Target { full: true }) {
            self.set_all_bits(env);
        }
        decision.action
    }

    fn adopt(&mut self, env: &mut Env, peer: &State, peer_disk: DiskState, conn: Conn, action: Option<Action>) {
        let old = self.state;
        let facts = AdoptFacts {
            found_at_attach: self.found.map_or(DiskState::Diskless, |found| found.0),
            uuid_deferred: self.policy.uuid_deferred,
            verdict_missed: self.policy.verdict_missed,
            ..AdoptFacts::default()
        };
        match adopt(&old, peer, peer_disk, conn, action, &facts) {
            Adoption::FailOwnDisk => {
                self.hard(&env.options, Request::none().disk(DiskState::Failed));
                self.receive_state(env, *peer);
            }
            Adoption::Refuse => self.lose(env, Conn::Disconnecting),
            Adoption::Change { wanted, kind, .. } => {
                if self.change(&env.options, Request::whole(&wanted), kind).is_err() {
                    self.lose(env, Conn::Disconnecting);
                    return;
                }
                let marked = |state: &State| md_flags(state) & flags::PRIMARY != 0;
                if marked(&self.state) && !marked(&old) {
                    // The peer writes here without a disk of its own: before its first write the log has to count.
                    self.write_superblock(env);
                }
                if must_repeat(&old, &self.state, peer) {
                    self.send_uuids();
                    let word = self.state.pack().to_be_bytes();
                    self.enqueue_packet(Command::State, &word);
                }
            }
            Adoption::AbortFrozen => {
                self.abandon_frozen(env);
                self.lose(env, Conn::ProtocolError);
            }
            other => panic!("{other:?}"),
        }
    }

    /// AC-6. A connection that is lost already gets no new generation: each would push an older one out of the history. But without any the
    /// bits would mean nothing.
    pub fn send_sync_uuid(&mut self, env: &mut Env) {
        let started = matches!(self.state.conn, Conn::SyncSource | Conn::PausedSyncS);
        if !started && (self.uuids.bitmap != 0 || !self.attached) {
            return;
        }
        let sync = self.uuids.start_as_source(env.random.next());
        self.write_superblock(env);
        if started {
            self.enqueue_packet(Command::SyncUuid, &sync.to_be_bytes());
        }
    }

    /// UU-10, RS-4.
    fn receive_sync_uuid(&mut self, env: &mut Env, sync: u64) {
        if !matches!(self.state.conn, Conn::WFSyncUUID | Conn::Behind) {
            // The disk went away meanwhile.
            return;
        }
        if env.options.duties.store_bitmap_before_resync {
            self.write_bitmap(env);
        }
        self.uuids.start_as_target(sync);
        self.resync_cursor = 0;
        self.hard(&env.options, Request::none().conn(Conn::SyncTarget).disk(DiskState::Inconsistent));
        self.write_superblock(env);
    }

    /// The target may ask for more.
    pub fn may_request(&self) -> bool {
        self.state.conn == Conn::SyncTarget && self.after.is_empty() && self.resync_pending < 4 && self.plane.bitmap.weight() > 0
    }

    /// One turn of the target (RX-6).
    pub fn request_blocks(&mut self, env: &mut Env) {
        let limits = Limits { max_bytes: env.options.max_request_bytes, thin_bytes: 0 };
        for _ in 0..1 + env.random.below(3) {
            let range = next_request(&self.plane.bitmap, self.resync_cursor, limits);
            let Some(range) = range else {
                self.resync_cursor = 0;
                return;
            };
            self.resync_cursor = range.next_bit;
            if let Begin::Go(_) = self.plane.resync_request_begin(range.sector, range.size_bytes) {
                self.resync_pending += 1;
                self.enqueue(Item::ResyncRequest { sector: range.sector, size_bytes: range.size_bytes });
            }
        }
    }

    /// RX-21: no bit is set but those of blocks that failed, and the end is not under way yet.
    pub fn may_finish(&self) -> bool {
        self.state.conn == Conn::SyncTarget
            && self.after.is_empty()
            && !self.finishing
            && resync_end::is_over(self.state.conn, self.plane.bitmap.weight(), self.plane.resync_failed_bits(), VERSION)
            && self.resync_pending == 0
    }

    /// RX-22: the peer has to have seen every ack before it hears of the end.
    pub fn begin_finish(&mut self, env: &mut Env) {
        self.finishing = true;
        self.send_acks(env);
        self.transmit(env, Stream::Meta, Self::packet(Command::Ping, &[], 0, Vec::new()));
    }

    pub fn finish_target(&mut self, env: &mut Env) {
        if self.state.conn == Conn::SyncTarget && self.plane.bitmap.weight() <= self.plane.resync_failed_bits() {
            self.end_resync(env, self.plane.bitmap.weight());
        }
    }

    fn finish_source(&mut self, env: &mut Env) {
        if self.plane.bitmap.weight() <= self.plane.resync_failed_bits() {
            self.end_resync(env, 0);
        }
    }

    fn end_resync(&mut self, env: &mut Env, left: u64) {
        let peer = self.peer_uuids.map(|packet| Uuids::from_array(packet.uuids));
        let end = resync_end::finish(&self.state, &self.uuids, peer.as_ref(), left);
        self.mark_resync_end(&end);
        self.uuids = end.uuids;
        if let (Some(packet), Some(set)) = (&mut self.peer_uuids, end.peer) {
            packet.uuids = set.to_array();
        }
        if end.complete {
            self.effective = self.uuids.current;
        }
        self.hard(&env.options, end.request);
    }
}
