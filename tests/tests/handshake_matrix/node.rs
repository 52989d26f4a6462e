// SPDX-License-Identifier: GPL-2.0
//! One node at the level of values: its vector, generations, number of set bits. Every decision is core's; this file only carries out.

use crate::notation::Options;
use drbd_core::handshake::report::{interpret, real_disk, Meaning, ReportFacts};
use drbd_core::handshake::uuids::{self, OwnFlags, UuidsFacts, UuidsVerdict};
use drbd_core::handshake::{adopt, decide, must_repeat, resync_end};
use drbd_core::handshake::{Action, AdoptFacts, Adoption, Situation};
use drbd_core::md::uuids::JUST_CREATED;
use drbd_core::md::Uuids;
use drbd_core::state::{
    attach, effects_with, evaluate, immediate, resource_effects, superblock_flags, Conn, Disk, EffectFacts, Effects, Facts, Immediate,
    Kind, Refusal, Request, Role, State, Thaw,
};
use drbd_core::wire::params::{features, uuid_flags, Protocol, UuidsPacket};

/// Bits of the recorded device.
pub const ALL_BITS: u64 = 8182;
const VERSION: u32 = 101;

/// What travels between the nodes.
#[derive(Clone, Debug)]
pub enum Packet {
    Protocol { policies: [u32; 3], two_primaries: bool, discard_my_data: bool, dry_run: bool },
    Uuids(UuidsPacket),
    State(u32),
    Bitmap(u64),
    SyncUuid(u64),
}

/// A node.
#[derive(Default)]
pub struct Node {
    pub state: State,
    pub options: Options,
    pub uuids: Uuids,
    pub flags: u32,
    pub bits: u64,
    pub crashed: bool,
    pub resolver: bool,
    pub helpers: Vec<&'static str>,
    /// Changes of the vector in the notation of the fixture.
    pub transitions: Vec<String>,
    /// Rule and result of every comparison.
    pub compared: Vec<(u32, i32)>,
    pub outbox: Vec<Packet>,
    pub has_net: bool,
    pub open: bool,
    pub found: Option<(Disk, Disk)>,
    pub effective: u64,
    pub peer_uuids: Option<UuidsPacket>,
    pub uuid_deferred: bool,
    pub state_sent: bool,
    pub discard_now: bool,
    pub dry_run_by_peer: bool,
    pub consider_resync: bool,
    pub random: u64,
}

impl Node {
    pub fn facts(&self) -> Facts {
        Facts {
            has_net: self.has_net,
            two_primaries: self.options.two_primaries,
            fencing: if self.state.disk >= Disk::Inconsistent { self.options.fencing } else { Default::default() },
            suspend_on_no_data: self.options.suspend_on_no_data,
            is_open: self.open,
            peer_primary_elsewhere: false,
            has_verify: false,
            version: VERSION,
            state_sent: self.state_sent,
            generation_matches: self.effective & !1 == self.uuids.current & !1,
            negotiated_disk: self.found,
        }
    }

    fn random(&mut self) -> u64 {
        self.random += 1;
        self.random << 16 | 0xbeef_0000_0000_0000 | u64::from(self.resolver) << 12
    }

    /// Evaluates a change and carries out what follows.
    pub fn change(&mut self, request: Request, kind: Kind) -> Result<(), Refusal> {
        let old = self.state;
        let Some(new) = evaluate(&old, &request, kind, &self.facts())? else { return Ok(()) };
        self.state = new;
        self.transitions.push(transition(&old, &new));
        if self.state_sent && new.conn != Conn::WFReportParams {
            self.state_sent = false;
        }
        let now = immediate(&old, &new);
        if now.has(Immediate::ADOPT_GENERATION) {
            self.effective = self.uuids.current;
        }
        self.consider_resync |= now.has(Immediate::CONSIDER_RESYNC);
        let facts = EffectFacts { bitmap_uuid_free: self.uuids.bitmap == 0, peer_missed_write: false, version: VERSION };
        let effects = effects_with(&old, &new, &facts);
        for (effect, _) in Effects::ALL.iter().filter(|row| effects.has(row.0)) {
            self.carry_out(*effect, &effects, &new);
        }
        let whole = resource_effects(&[(old, new)]);
        if whole.clear_susp_nod || whole.clear_susp_fen {
            assert!(whole.thaw.is_some_and(|thaw| thaw != Thaw::LocalOnly));
            self.uuid_deferred &= !whole.drop_deferred_uuids;
            let clear = Request::none().flag(drbd_core::state::vector::word::SUSP_NOD, false);
            self.change(clear, Kind::Hard)?;
        }
        self.flags = superblock_flags(self.flags, &self.state, self.crashed);
        Ok(())
    }

    fn carry_out(&mut self, effect: Effects, all: &Effects, new: &State) {
        let connected = new.conn >= Conn::Connected;
        match effect {
            Effects::CLEAR_CRASHED_PRIMARY => self.crashed = false,
            Effects::HELPER_PRIMARY_ON_INCONSISTENT => self.helpers.push("pri-on-incon-degr"),
            Effects::SEND_SYNC_UUID => {
                let random = self.random();
                let sync = self.uuids.start_as_source(random);
                self.outbox.push(Packet::SyncUuid(sync));
            }
            Effects::GREET_ATTACHED_PEER | Effects::ANNOUNCE_ATTACH => {
                self.send_uuids();
                self.outbox.push(Packet::State(new.pack()));
            }
            Effects::SEND_BITMAP => self.outbox.push(Packet::Bitmap(self.bits)),
            Effects::NEW_CURRENT_UUID if new.is_suspended() && !all.has(Effects::NEW_CURRENT_UUID_AT_ONCE) => self.uuid_deferred = true,
            Effects::NEW_CURRENT_UUID => {
                self.new_current_uuid();
                if connected {
                    self.send_uuids();
                }
            }
            Effects::SEND_STATE => self.outbox.push(Packet::State(new.pack())),
            Effects::START_FULL_SYNC => {
                self.bits = ALL_BITS;
                if new.conn == Conn::StartingSyncS {
                    self.start_resync(Conn::SyncSource);
                } else {
                    self.change(Request::none().conn(Conn::WFSyncUUID), Kind::Soft).unwrap();
                }
            }
            Effects::DISK_FAILED | Effects::DISK_GONE => {
                if connected {
                    self.outbox.push(Packet::State(new.pack()));
                }
                if new.disk == Disk::Failed {
                    self.change(Request::none().disk(Disk::Diskless), Kind::Hard).unwrap();
                }
            }
            _ => {}
        }
    }

    pub fn new_current_uuid(&mut self) {
        let random = self.random();
        self.uuids.new_current(random, self.state.role == Role::Primary);
        self.effective = self.uuids.current;
    }

    pub fn send_uuids(&mut self) {
        if self.state.sends_uuids() {
            let packet = self.uuids_packet(false);
            self.outbox.push(Packet::Uuids(packet));
        }
    }

    pub fn uuids_packet(&self, skip_initial_sync: bool) -> UuidsPacket {
        let flags = OwnFlags {
            discard_my_data: self.discard_now,
            crashed_primary: self.crashed,
            found_at_late_attach: self.found.map(|found| found.0),
            skip_initial_sync,
        };
        uuids::own_packet(&self.uuids, self.bits, &flags)
    }

    /// The disk is attached with what its superblock says; the code of a refusal.
    pub fn attach(&mut self) -> Result<(), i32> {
        let frozen = self.state.role == Role::Primary && self.state.susp_nod;
        self.crashed = attach::crashed_primary(self.flags, frozen);
        if attach::holds_other_data(&self.state, self.effective, self.uuids.current) {
            return Err(150);
        }
        self.change(Request::none().disk(Disk::Attaching), Kind::Soft).unwrap();
        if attach::sets_all_bits(self.flags, self.crashed) {
            self.bits = ALL_BITS;
            self.flags &= !drbd_core::md::flags::FULL_SYNC;
        }
        self.uuids.set_primary(self.state.role == Role::Primary);
        let found = attach::found(self.flags, self.state.pdsk, self.options.fencing);
        let end = attach::conclude(&self.state, found);
        if end.negotiates {
            self.found = Some(found);
            self.peer_uuids = None;
        }
        self.change(end.request, Kind::Soft).unwrap();
        Ok(())
    }

    /// What is sent as soon as the sockets stand (CO-6).
    pub fn greet(&mut self) {
        self.discard_now = self.options.discard_my_data;
        let policies = [self.options.policies.after_sb_0p, self.options.policies.after_sb_1p, self.options.policies.after_sb_2p];
        self.outbox.push(Packet::Protocol {
            policies,
            two_primaries: self.options.two_primaries,
            discard_my_data: self.discard_now,
            dry_run: self.options.tentative,
        });
        self.state_sent = true;
        self.send_uuids();
        self.outbox.push(Packet::State(self.state.pack()));
        self.options.discard_my_data = false;
        self.change(Request::none().conn(Conn::WFReportParams), Kind::Soft).unwrap();
    }

    /// Connection states after a loss (DC-4); the graceful way passes TearDown.
    pub fn lose_connection(&mut self, reason: Conn) {
        self.change(Request::none().conn(reason), Kind::Hard).unwrap();
        self.peer_uuids = None;
        self.outbox.clear();
        for conn in [Conn::Unconnected, Conn::WFConnection] {
            self.change(Request::none().conn(conn), Kind::Hard).unwrap();
        }
    }

    /// Gives up: StandAlone.
    pub fn refuse(&mut self) {
        self.change(Request::none().conn(Conn::Disconnecting), Kind::Hard).unwrap();
        self.change(Request::none().conn(Conn::StandAlone), Kind::Hard).unwrap();
        self.has_net = false;
        self.peer_uuids = None;
        self.outbox.clear();
    }

    /// A packet arrived. `false`: this node ends the connection.
    pub fn receive(&mut self, packet: &Packet) -> bool {
        match packet {
            Packet::Protocol { policies, two_primaries, discard_my_data, dry_run } => {
                self.dry_run_by_peer = *dry_run;
                self.matches_protocol(policies, *two_primaries, *discard_my_data)
            }
            Packet::Uuids(packet) => self.receive_uuids(packet),
            Packet::State(word) => self.receive_state(*word),
            Packet::Bitmap(bits) => {
                self.bits = self.bits.max(*bits);
                if self.state.conn == Conn::WFBitMapT {
                    self.outbox.push(Packet::Bitmap(self.bits));
                    self.change(Request::none().conn(Conn::WFSyncUUID), Kind::Soft).unwrap();
                } else {
                    assert_eq!(self.state.conn, Conn::WFBitMapS);
                    self.start_resync(Conn::SyncSource);
                }
                true
            }
            Packet::SyncUuid(sync) => {
                assert_eq!(self.state.conn, Conn::WFSyncUUID);
                self.uuids.start_as_target(*sync);
                self.uuids.set_primary(self.state.role == Role::Primary);
                self.start_resync(Conn::SyncTarget);
                true
            }
        }
    }

    fn matches_protocol(&self, policies: &[u32; 3], two_primaries: bool, discard_my_data: bool) -> bool {
        let protocol = |policies: [u32; 3], two_primaries, discard_my_data| Protocol {
            protocol: 3,
            after_sb_0p: policies[0],
            after_sb_1p: policies[1],
            after_sb_2p: policies[2],
            discard_my_data,
            dry_run: false,
            two_primaries,
            integrity: b"",
        };
        let own = [self.options.policies.after_sb_0p, self.options.policies.after_sb_1p, self.options.policies.after_sb_2p];
        // CO-7: the own wish to discard is one-shot and cleared by now.
        let own = protocol(own, self.options.two_primaries, self.options.discard_my_data);
        drbd_core::handshake::protocol::match_protocol(&own, &protocol(*policies, two_primaries, discard_my_data)).is_ok()
    }

    fn receive_uuids(&mut self, packet: &UuidsPacket) -> bool {
        let facts = UuidsFacts { own: self.state, uuids: self.uuids, effective: self.effective, version: VERSION };
        self.peer_uuids = Some(*packet);
        match uuids::received(&facts, packet) {
            UuidsVerdict::Refuse { .. } => return false,
            UuidsVerdict::SkipInitialSync(uuids) => {
                self.uuids = uuids;
                self.bits = 0;
                self.change(Request::none().disk(Disk::UpToDate).pdsk(Disk::UpToDate), Kind::Soft).unwrap();
            }
            UuidsVerdict::AdoptGeneration(current) => self.effective = current,
            UuidsVerdict::Remember => {}
        }
        true
    }

    fn receive_state(&mut self, word: u32) -> bool {
        let peer = State::unpack(word).unwrap();
        let facts = ReportFacts {
            has_peer_uuids: self.peer_uuids.is_some(),
            peer_found_inconsistent: self.peer_uuids.is_some_and(|packet| packet.flags & uuid_flags::INCONSISTENT != 0),
            consider_resync: self.consider_resync,
            ..ReportFacts::default()
        };
        match interpret(&self.state, &peer, &facts) {
            Meaning::Lost | Meaning::Ignore | Meaning::FinishVerify | Meaning::FinishIncomplete => true,
            Meaning::FinishResync => {
                if self.bits == 0 {
                    self.finish_resync();
                }
                true
            }
            Meaning::Adopt { handshake, peer_disk, conn } => {
                let action = if handshake { Some(self.compare(&peer, real_disk(&peer, &facts))) } else { None };
                self.adopt(word, &peer, peer_disk, conn, action)
            }
        }
    }

    fn adopt(&mut self, word: u32, peer: &State, peer_disk: Disk, conn: Conn, action: Option<Action>) -> bool {
        let old = self.state;
        let facts = AdoptFacts {
            found_at_attach: self.found.map_or(Disk::Diskless, |found| found.0),
            uuid_deferred: self.uuid_deferred,
            dry_run_by_peer: self.dry_run_by_peer,
            ..AdoptFacts::default()
        };
        match adopt(&old, peer, peer_disk, conn, action, &facts) {
            Adoption::FailOwnDisk => {
                self.change(Request::none().disk(Disk::Failed), Kind::Hard).unwrap();
                self.receive_state(word)
            }
            Adoption::Refuse => false,
            Adoption::ResetConnection => {
                self.lose_connection(Conn::ProtocolError);
                true
            }
            Adoption::AbortFrozen => panic!("no recorded case freezes"),
            Adoption::Change { wanted, kind, .. } => {
                if self.change(Request::whole(&wanted), kind).is_err() {
                    return false;
                }
                if must_repeat(&old, &self.state, peer) {
                    self.send_uuids();
                    self.outbox.push(Packet::State(self.state.pack()));
                }
                if self.state.disk != Disk::Negotiating {
                    self.found = None;
                }
                self.discard_now = false;
                true
            }
        }
    }

    /// The comparison and the decision, with its corrections, helpers, and the full bitmap.
    fn compare(&mut self, peer: &State, peer_disk: Disk) -> Action {
        self.consider_resync = false;
        let packet = self.peer_uuids.unwrap();
        let own = self.uuids_packet(false);
        let situation = Situation {
            own: uuids::peer_side(&own, self.state.role),
            peer: uuids::peer_side(&packet, peer.role),
            own_disk: match (self.state.disk, self.found) {
                (Disk::Negotiating, Some(found)) => found.0,
                (disk, _) => disk,
            },
            live_disk: self.state.disk,
            peer_disk,
            version: VERSION,
            features: features::OURS,
            resolver: self.resolver,
            policies: self.options.policies,
            dry_run: self.options.tentative || self.dry_run_by_peer,
        };
        let decision = decide(&situation);
        self.compared.push((decision.comparison.rule, decision.comparison.number()));
        match decision.comparison.correction {
            drbd_core::handshake::compare::Correction::None => {}
            drbd_core::handshake::compare::Correction::Own(set) => self.uuids = set,
            drbd_core::handshake::compare::Correction::Peer(set) => {
                self.peer_uuids = Some(UuidsPacket { uuids: set.to_array(), ..packet });
            }
        }
        let calls = decision.helpers;
        for (call, name) in [
            (calls.initial_split_brain, "initial-split-brain"),
            (calls.pri_lost_after_sb, "pri-lost-after-sb"),
            (calls.split_brain, "split-brain"),
            (calls.pri_lost, "pri-lost"),
        ] {
            if call {
                self.helpers.push(name);
            }
        }
        if matches!(decision.action, Action::Source { full: true } | Action::Target { full: true }) {
            self.bits = ALL_BITS;
        }
        decision.action
    }

    /// RS-2, RS-4.
    fn start_resync(&mut self, conn: Conn) {
        let request = Request::none().conn(conn);
        let request = if conn == Conn::SyncSource {
            self.helpers.push("before-resync-source");
            request.pdsk(Disk::Inconsistent)
        } else {
            self.helpers.push("before-resync-target");
            request.disk(Disk::Inconsistent)
        };
        self.change(request, Kind::Soft).unwrap();
    }

    /// The target has written the last block, or the source was told so.
    pub fn finish_resync(&mut self) {
        self.bits = 0;
        let peer = self.peer_uuids.map(|packet| Uuids::from_array(packet.uuids));
        let end = resync_end::finish(&self.state, &self.uuids, peer.as_ref(), 0);
        self.uuids = end.uuids;
        if let (Some(packet), Some(set)) = (&mut self.peer_uuids, end.peer) {
            packet.uuids = set.to_array();
        }
        if end.call_after_resync_target {
            self.helpers.push("after-resync-target");
        }
        self.change(end.request, Kind::Soft).unwrap();
    }

    /// UU-13 on the side of the administrator; the code of a refusal.
    pub fn skip_initial_sync_or_new_uuid(&mut self) -> Result<(), i32> {
        let skip = uuids::may_skip_initial_sync(&self.state, &self.uuids, VERSION, true);
        if self.state.conn != Conn::StandAlone && !skip {
            return Err(151);
        }
        self.uuids.clear_bitmap();
        self.new_current_uuid();
        self.bits = 0;
        if skip {
            let packet = self.uuids_packet(true);
            self.outbox.push(Packet::Uuids(packet));
            self.uuids.bitmap = 0;
            self.change(Request::none().disk(Disk::UpToDate).pdsk(Disk::UpToDate), Kind::Soft).unwrap();
        }
        Ok(())
    }

    /// Role change is agreed: generations follow (RO-4, RO-5).
    pub fn role_changed(&mut self, forced: bool) {
        let primary = self.state.role == Role::Primary;
        if primary && self.state.disk >= Disk::Inconsistent {
            let alone = self.state.conn < Conn::Connected || self.state.pdsk <= Disk::Failed;
            if (alone && self.uuids.bitmap == 0) || forced {
                self.new_current_uuid();
            }
        }
        self.uuids.set_primary(primary && self.uuids.current != JUST_CREATED);
        if self.state.conn >= Conn::WFReportParams {
            if forced {
                self.send_uuids();
            }
            self.outbox.push(Packet::State(self.state.pack()));
        }
    }
}

/// `state` and the fields that changed, as the fixture writes them.
fn transition(old: &State, new: &State) -> String {
    let fields = [
        ("role", old.role.name(), new.role.name()),
        ("peer", old.peer.name(), new.peer.name()),
        ("conn", old.conn.name(), new.conn.name()),
        ("disk", old.disk.name(), new.disk.name()),
        ("pdsk", old.pdsk.name(), new.pdsk.name()),
    ];
    let mut text = String::from("state");
    for (name, from, to) in fields.iter().filter(|field| field.1 != field.2) {
        text += &format!(" {name}:{from}>{to}");
    }
    text
}
