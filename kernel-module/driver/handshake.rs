// SPDX-License-Identifier: GPL-2.0
//! The resync handshake: what P_UUIDS and P_STATE of the peer lead to (behaviour.md section 4, wire-protocol.md sections 7 and 8).
//!
//! Receiver context. Every decision is one of `drbd_core::handshake`; here it is carried out. The control mutex is held from a decision to
//! what it changes, except while metadata that has to be on disk first is written: afterwards the vector is looked at again.

use super::connection::Link;
use super::control::facts;
use super::device::Device;
use super::packets;
use super::prelude::*;
use super::receiver::End;
use super::resource::{Control, Resource};
use drbd_core::handshake::compare::Correction;
use drbd_core::handshake::decide::Helpers;
use drbd_core::handshake::report::{interpret, Meaning, ReportFacts};
use drbd_core::handshake::uuids::{self, UuidsFacts, UuidsVerdict};
use drbd_core::handshake::{adopt, decide_with, must_repeat, Action, AdoptFacts, Adoption, Decision, Policies, Reason, Situation};
use drbd_core::md::{flags, Uuids};
use drbd_core::state::effects::md_flags;
use drbd_core::state::{evaluate, Conn, Disk, Kind, Request, Role, State};
use drbd_core::wire::packet::decode_word;
use drbd_core::wire::params::{uuid_flags, UuidsPacket};
use drbd_core::wire::Command;

/// Longest wait for the end of a change that the peer was asked about.
const ANSWER_TIMEOUT_SECONDS: Jiffies = 10;

/// The superblock says Primary, because of this node or of a peer that writes here without a disk of its own (SC-6).
fn is_marked_primary(state: &State) -> bool {
    md_flags(state) & flags::PRIMARY != 0
}

/// What a report was understood to say.
struct Understood {
    /// The own state that it was compared with.
    seen: State,
    /// The peer's disk, as it counts here.
    peer_disk: Disk,
    /// Connection state without a resync decision.
    conn: Conn,
    /// The decision, if there was a comparison.
    action: Option<Action>,
}

impl Resource {
    /// P_UUIDS (HS-44, UU-8, UU-13).
    pub(super) fn receive_uuids(self: &Arc<Self>, number: u16, body: &[u8]) -> Result<(), End> {
        let packet = UuidsPacket::decode(body).map_err(|_| End::Protocol)?;
        // A peer that agrees to a detach here makes a new generation at once; the answer, on the other socket, decides what it means.
        self.wait_control(ANSWER_TIMEOUT_SECONDS * HZ, |control| {
            control.volume(number).is_none_or(|volume| volume.pending_change.is_none()) || control.cstate != Conn::WFReportParams
        });
        let (device, verdict) = {
            let mut control = self.control.lock();
            let version = control.version;
            let Some(volume) = control.volume(number) else { return Ok(()) };
            volume.peer_uuids = Some(packet);
            let facts = UuidsFacts { own: volume.state, uuids: volume.uuids(), effective: volume.effective_uuid, version };
            let verdict = uuids::received(&facts, &packet);
            if let UuidsVerdict::AdoptGeneration(current) = verdict {
                volume.effective_uuid = current;
            }
            (volume.device.clone(), verdict)
        };
        match verdict {
            UuidsVerdict::Remember | UuidsVerdict::AdoptGeneration(_) => Ok(()),
            UuidsVerdict::Refuse { effective, .. } => {
                pr_err!("drbd{}: Can only connect to data with current UUID={:016X}\n", device.minor, effective & !1);
                Err(End::Refused)
            }
            UuidsVerdict::SkipInitialSync(set) => {
                self.skip_initial_sync(&device, set);
                Ok(())
            }
        }
    }

    /// UU-13: the peer says that both disks hold the same. The empty bitmap is on disk before the generation that needs it.
    fn skip_initial_sync(&self, device: &Device, set: Uuids) {
        pr_info!("drbd{}: Accepted new current UUID, preparing to skip initial sync\n", device.minor);
        super::bitmap_io::fill(device, false);
        if self.write_bitmap(device.volume).is_err() {
            return;
        }
        {
            let mut control = self.control.lock();
            let Some(index) = control.index(device.volume) else { return };
            if let Some(volume) = control.volumes.get_mut(index) {
                if let Some(disk) = volume.disk.as_mut() {
                    disk.uuids = set;
                }
                volume.effective_uuid = set.current;
                volume.log_suspended = false;
            }
            self.hard(&mut control, index, Request::none().disk(Disk::UpToDate).pdsk(Disk::UpToDate));
        }
        let _ = self.write_superblock(device.volume);
    }

    /// P_STATE (wire-protocol.md section 7).
    pub(super) fn receive_state(self: &Arc<Self>, link: &Arc<Link>, number: u16, body: &[u8]) -> Result<(), End> {
        let raw = decode_word(Command::State, body).map_err(|_| End::Protocol)?;
        let peer = State::unpack(raw).map_err(|error| {
            pr_err!("{}: impossible state {:08x} of the peer\n", self.display_name(), error.got);
            End::Protocol
        })?;
        // A generation that is due counts in a comparison: the peer's disk may be back before the worker has made it.
        self.wait_control(ANSWER_TIMEOUT_SECONDS * HZ, |control| {
            control.volume(number).is_none_or(|volume| !volume.uuid_pending) || control.cstate != Conn::WFReportParams
        });
        // HS-40: once more after the own disk was given up.
        while self.interpret_state(link, number, &peer)? {}
        Ok(())
    }

    /// One look at a report; true: the own vector has changed, look again.
    fn interpret_state(self: &Arc<Self>, link: &Arc<Link>, number: u16, peer: &State) -> Result<bool, End> {
        let (meaning, decision, seen) = {
            let mut control = self.control.lock();
            let Some(index) = control.index(number) else { return Ok(false) };
            let Some(volume) = control.volumes.get_mut(index) else { return Ok(false) };
            let facts = ReportFacts {
                has_peer_uuids: volume.peer_uuids.is_some(),
                peer_found_inconsistent: volume.peer_uuids.is_some_and(|known| known.flags & uuid_flags::INCONSISTENT != 0),
                consider_resync: core::mem::take(&mut volume.consider_resync),
                left_behind: volume.left_behind,
                blocks_failed: volume.device.plane.lock().core.resync_failed_bits() > 0,
            };
            let seen = volume.state;
            let meaning = interpret(&seen, peer, &facts);
            let decision = match meaning {
                Meaning::Adopt { handshake: true, peer_disk, .. } => Some(self.compare(&mut control, index, peer, peer_disk)),
                _ => None,
            };
            (meaning, decision, seen)
        };
        match meaning {
            Meaning::Lost => Err(End::Broken),
            Meaning::Ignore => Ok(false),
            Meaning::FinishVerify => {
                self.end_verify(number);
                Ok(false)
            }
            Meaning::FinishResync => {
                self.finish_source(number);
                Ok(false)
            }
            Meaning::FinishIncomplete => {
                self.finish_incomplete(number);
                Ok(false)
            }
            Meaning::Adopt { peer_disk, conn, .. } => {
                if let Some(decision) = &decision {
                    self.prepare(number, decision)?;
                }
                let action = decision.map(|decision| decision.action);
                self.adopt_report(link, number, peer, &Understood { seen, peer_disk, conn, action })
            }
        }
    }

    /// The comparison and the decision that follows from it (HS-10 to HS-30), noted in the log.
    fn compare(&self, control: &mut Control, index: usize, peer: &State, peer_disk: Disk) -> Decision {
        let policies = control.net.as_ref().map_or(Policies::default(), |net| Policies {
            after_sb_0p: net.after_sb_0p(),
            after_sb_1p: net.after_sb_1p(),
            after_sb_2p: net.after_sb_2p(),
            rr_conflict: net.rr_conflict(),
            always_asbp: net.always_asbp(),
        });
        let demoted = Request::none().role(Role::Secondary);
        let old = control.volumes.get(index).map_or(State::default(), |volume| volume.state);
        let may_demote = matches!(evaluate(&old, &demoted, Kind::Soft, &facts(control, index)), Ok(Some(_)));
        let mut situation = Situation {
            version: control.version,
            features: control.features,
            resolver: control.resolver,
            dry_run: control.dry_run,
            peer_disk,
            live_disk: old.disk,
            own_disk: old.disk,
            policies,
            ..Situation::default()
        };
        let (discard_my_data, mut own_flags) = (control.discard_my_data, 0);
        let known = control.volumes.get(index).and_then(|volume| volume.peer_uuids).unwrap_or_default();
        if let Some(volume) = control.volumes.get(index) {
            if let (Disk::Negotiating, Some(found)) = (old.disk, volume.found) {
                situation.own_disk = found.0;
            }
            let own = packets::own_uuids(volume, discard_my_data, 0);
            own_flags = own.flags;
            situation.own = uuids::peer_side(&own, old.role);
            if old.conn < Conn::Connected || old.disk == Disk::Negotiating {
                // HS-12: what the peer was told decides on both nodes.
                situation.own.dirty_bits = volume.device.told_bits.load(Relaxed);
            }
        }
        situation.peer = uuids::peer_side(&known, peer.role);
        let decision = decide_with(&situation, may_demote);
        if let Some(volume) = control.volumes.get_mut(index) {
            note_comparison(&volume.device, &situation, &decision, [own_flags, known.flags]);
            match decision.comparison.correction {
                Correction::None => {}
                // Rule 34 moves the base of the bitmap into history. That comes with the sync UUID: until the resync has begun, bits that are set
                // have to keep their meaning, or a connection lost here leaves two copies that count as equal.
                Correction::Own(set) if set.bitmap == 0 => {}
                Correction::Own(set) => {
                    if let Some(disk) = volume.disk.as_mut() {
                        disk.uuids = set;
                    }
                }
                Correction::Peer(set) => volume.peer_uuids = Some(UuidsPacket { uuids: set.to_array(), ..known }),
            }
            note_helpers(&volume.device, decision.helpers);
        }
        decision
    }

    /// What a decision needs before it comes into force: corrected generations on disk, every bit for a full sync (HS-29), the role of
    /// a Primary that has lost (SB-5).
    fn prepare(&self, number: u16, decision: &Decision) -> Result<(), End> {
        if matches!(decision.comparison.correction, Correction::Own(_)) {
            let _ = self.write_superblock(number);
        }
        if decision.demote {
            self.demote_loser(number)?;
        }
        if matches!(decision.action, Action::Source { full: true } | Action::Target { full: true }) {
            let Some(device) = self.connection.volume_list().find(number).cloned() else { return Ok(()) };
            pr_info!("drbd{}: Writing the whole bitmap, full sync required after handshake\n", device.minor);
            self.set_all_bits(number).map_err(|_| End::Refused)?;
        }
        Ok(())
    }

    /// SB-5: nobody has the device open.
    fn demote_loser(&self, number: u16) -> Result<(), End> {
        let Some(device) = self.connection.volume_list().find(number).cloned() else { return Ok(()) };
        device.primary.store(false, Release);
        {
            let mut control = self.control.lock();
            let Some(index) = control.index(number) else { return Ok(()) };
            if self.change(&mut control, index, Request::none().role(Role::Secondary), Kind::Soft).is_err() {
                device.primary.store(true, Release);
                device.note_helper_calls(super::device::PRIMARY_LOST_AFTER_SPLIT_BRAIN);
                return Err(End::Refused);
            }
        }
        pr_warn!("drbd{}: Successfully gave up primary role.\n", device.minor);
        if let Some(node) = device.node() {
            node.set_read_only(true);
        }
        Ok(())
    }

    /// The new vector; true: look at the report again.
    fn adopt_report(
        self: &Arc<Self>,
        link: &Arc<Link>,
        number: u16,
        peer: &State,
        report: &Understood,
    ) -> Result<bool, End> {
        let name = self.display_name();
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return Ok(false) };
        let Some(volume) = control.volumes.get(index) else { return Ok(false) };
        let old = volume.state;
        if old.conn <= Conn::TearDown {
            return Err(End::Broken);
        }
        // The worker may have gone a step further since, like a target that has sent its bitmap: the report shall not take it back.
        if report.action.is_none() && old != report.seen {
            return Ok(true);
        }
        let minor = volume.device.minor;
        if let Some(Action::Refuse(reason)) = report.action {
            log_refusal(name, reason);
        }
        let adopt_facts = AdoptFacts {
            found_at_attach: volume.found.map_or(Disk::Diskless, |found| found.0),
            uuid_deferred: volume.uuid_deferred,
            verdict_missed: volume.verdict_missed,
            dry_run_by_peer: control.dry_run_by_peer,
        };
        let (wanted, kind, aborted) = match adopt(&old, peer, report.peer_disk, report.conn, report.action, &adopt_facts) {
            Adoption::FailOwnDisk => {
                self.hard(&mut control, index, Request::none().disk(Disk::Failed));
                return Ok(true);
            }
            Adoption::Refuse => return Err(End::Refused),
            Adoption::ResetConnection => return Err(End::DryRun),
            Adoption::AbortFrozen => {
                drop(control);
                self.abandon_frozen(number);
                return Err(End::Protocol);
            }
            Adoption::Change { wanted, kind, peer_attach_aborted } => (wanted, kind, peer_attach_aborted),
        };
        if aborted {
            pr_err!("drbd{minor}: Disk attach process on the peer node was aborted.\n");
        }
        control.peer_role = peer.role;
        if let Some(volume) = control.volumes.get_mut(index).filter(|_| peer.conn == Conn::Ahead) {
            volume.starting = None;
        }
        self.change(&mut control, index, Request::whole(&wanted), kind).map_err(|refusal| {
            pr_err!("{}: connection refused: {}\n", name, refusal.text());
            End::Refused
        })?;
        let new = control.volumes.get(index).map_or(old, |volume| volume.state);
        if let Some(volume) = control.volumes.get_mut(index).filter(|_| new.conn >= Conn::Connected) {
            volume.verdict_missed = false;
        }
        if old.conn == Conn::WFReportParams && !control.volumes.iter().any(|volume| volume.state.conn == Conn::WFReportParams) {
            control.state_sent = false; // ST-9
            self.changed.wake_all();
        }
        if let Some(volume) = control.volumes.get(index).filter(|_| must_repeat(&old, &new, peer)) {
            self.send(number, packets::uuids(link.version, volume, false, 0));
            self.send(number, packets::state(link.version, number, &new));
        }
        drop(control);
        self.mark_before_writes(number, &old, &new);
        Ok(false)
    }

    /// A peer that writes here without a disk of its own: the superblock says so before its first write, or nobody would look at the
    /// activity log after a crash. Called before the next packet is read.
    pub(super) fn mark_before_writes(&self, number: u16, old: &State, new: &State) {
        if is_marked_primary(new) && !is_marked_primary(old) && new.role != Role::Primary && new.disk >= Disk::Inconsistent {
            let _ = self.write_superblock(number);
        }
    }
}

/// Both sides and the result, in the form of the C driver.
fn note_comparison(device: &Device, situation: &Situation, decision: &Decision, flags: [u64; 2]) {
    let minor = device.minor;
    for (text, side, flags) in [("self", &situation.own, flags[0]), ("peer", &situation.peer, flags[1])] {
        let [current, bitmap, young, old] = side.uuids.to_array();
        pr_info!(
            "drbd{}: {} {:016X}:{:016X}:{:016X}:{:016X} bits:{} flags:{:X}\n",
            minor, text, current, bitmap, young, old, side.dirty_bits, flags
        );
    }
    pr_info!("drbd{}: uuid_compare()={} by rule {}\n", minor, decision.comparison.number(), decision.comparison.rule);
}

/// HS-22, HS-25, HS-27, SB-5: the worker calls the helpers.
fn note_helpers(device: &Device, helpers: Helpers) {
    use super::device::{PRIMARY_LOST, PRIMARY_LOST_AFTER_SPLIT_BRAIN, SPLIT_BRAIN_SEEN, SPLIT_BRAIN_UNSOLVED};
    let wanted = [
        (helpers.initial_split_brain, SPLIT_BRAIN_SEEN),
        (helpers.pri_lost_after_sb, PRIMARY_LOST_AFTER_SPLIT_BRAIN),
        (helpers.split_brain, SPLIT_BRAIN_UNSOLVED),
        (helpers.pri_lost, PRIMARY_LOST),
    ];
    let bits = wanted.iter().filter(|row| row.0).fold(0, |bits, row| bits | row.1);
    if bits != 0 {
        device.note_helper_calls(bits);
    }
}

fn log_refusal(name: &str, reason: Reason) {
    match reason {
        Reason::SplitBrain => pr_alert!("{}: Split-Brain detected but unresolved, dropping connection!\n", name),
        Reason::Unrelated => pr_alert!("{}: Unrelated data, aborting!\n", name),
        other => pr_err!("{}: connection refused: {:?}\n", name, other),
    }
}
