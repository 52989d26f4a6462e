// SPDX-License-Identifier: GPL-2.0
//! Changing the state of volumes: evaluation, the gate, and the two-phase protocol with the peer (behaviour.md section 2).

use super::prelude::*;
use super::queue::{Outgoing, Packet};
use super::resource::{AfterChange, Control, Resource};
use super::volume::Volume;
use drbd_core::engine::gate::Gate;
use drbd_core::engine::volume_read::ReadBalancing;
use drbd_core::genl::DiskConf;
use drbd_core::handshake::report::left_behind;
use drbd_core::state::effects::EffectFacts;
use drbd_core::state::names::Transition;
use drbd_core::state::{bits_missing, effects, evaluate, needs_cluster_wide, Conn, Disk, Effects, Facts, Fencing, Kind, Refusal, Request, Role, State};
use drbd_core::wire::Command;

/// How long a change waits for a transient state to pass, or for the peer's answer, before it is given up. The peer is declared dead
/// long before, so this only bounds what should not happen.
const CHANGE_TIMEOUT_SECONDS: Jiffies = 90;

/// Outcome of a change: what the tools see as success codes 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Changed {
    /// Done.
    Yes,
    /// It was so already.
    Nothing,
}

impl Changed {
    /// Code on netlink.
    pub(crate) const fn code(self) -> i32 {
        match self {
            Changed::Yes => 1,
            Changed::Nothing => 2,
        }
    }
}

/// What the rules look at.
pub(crate) fn facts(control: &Control, index: usize) -> Facts {
    let Some(volume) = control.volumes.get(index) else { return Facts::default() };
    let net = control.net.as_ref();
    let fencing = volume.disk.as_ref().filter(|_| volume.state.has_disk()).map_or(Fencing::DontCare, |disk| fencing_of(&disk.conf));
    let stored = volume.disk.as_ref().map_or(0, |disk| disk.uuids.current);
    Facts {
        has_net: net.is_some(),
        two_primaries: net.is_some_and(|net| net.two_primaries()),
        fencing,
        suspend_on_no_data: control.options.on_no_data != 0,
        is_open: volume.device.openers.load(Acquire) > 0,
        peer_primary_elsewhere: control.volumes.iter().enumerate().any(|(place, other)| place != index && other.state.peer == Role::Primary),
        has_verify: net.is_some_and(|net| !net.verify_alg().is_empty()),
        version: control.version,
        state_sent: control.state_sent,
        generation_matches: drbd_core::md::uuids::same(volume.effective_uuid, stored),
        negotiated_disk: volume.found,
    }
}

/// The policy of a disk.
pub(crate) fn fencing_of(conf: &DiskConf) -> Fencing {
    match conf.fencing() {
        0 => Fencing::DontCare,
        1 => Fencing::ResourceOnly,
        _ => Fencing::ResourceAndStonith,
    }
}

/// The gate that belongs to the present state.
fn gate(control: &Control, volume: &Volume, open: bool) -> Gate {
    let state = &volume.state;
    let protocol = control.net.as_ref().map_or(3, |net| net.protocol());
    let in_sync_states = state.conn.may_set_in_sync();
    let congestion = control.net.as_ref().filter(|net| net.on_congestion() != 0 && control.version >= 96 && state.may_pull_ahead());
    let updates = volume.disk.as_ref().is_some_and(|disk| disk.conf.al_updates());
    Gate {
        open: open && state.admits_io(control.version) && !volume.uuid_pending && !volume.failure_untold && volume.frozen == 0,
        local: state.disk >= Disk::Inconsistent && volume.disk.is_some(),
        local_up_to_date: state.disk == Disk::UpToDate,
        bits_missing: volume.bits_missing,
        replicate: state.replicates() && state.conn >= Conn::Connected,
        notify_out_of_sync: state.notifies_out_of_sync(),
        remote_read: state.pdsk == Disk::UpToDate && state.conn >= Conn::Connected,
        peer_lacks: state.conn >= Conn::Connected && state.pdsk != Disk::UpToDate,
        writable: state.disk == Disk::UpToDate || state.pdsk == Disk::UpToDate,
        in_sync_states,
        // WR-2.
        want_receive_ack: protocol == 2,
        want_write_ack: protocol == 3 || in_sync_states,
        log_activity: updates && !volume.log_suspended, // AL-7
        log_peer_writes: state.pdsk < Disk::Inconsistent,
        log_until_stored: volume.disk.as_ref().is_some_and(|disk| disk.still_primary),
        suspended: state.is_suspended(),
        two_primaries: control.net.as_ref().is_some_and(|net| net.two_primaries()),
        resolver: control.resolver,
        max_in_flight: control.net.as_ref().map_or(1_000_000, |net| net.max_buffers().max(32)),
        hold_failed: control.options.on_no_data != 0 && (state.may_write() || state.is_suspended()),
        read_balancing: ReadBalancing::from_number(volume.disk.as_ref().map_or(0, |disk| disk.conf.read_balancing())),
        congestion_fill: congestion.map_or(0, |net| net.congestion_fill_sectors()),
        congestion_extents: congestion.map_or(0, |net| net.congestion_extents()),
    }
}

/// Publishes the facts of a volume to its data plane; `open` false keeps requests out for a moment.
pub(crate) fn publish(control: &Control, index: usize, open: bool) {
    let Some(volume) = control.volumes.get(index) else { return };
    let new = gate(control, volume, open);
    let actions = volume.device.plane.lock().core.publish(new);
    volume.device.follow(&actions);
}

/// Nobody becomes Primary while writes of a peer that was lost are still on their way to the disk: they would overwrite newer ones.
fn wait_for_lost_peer(control: &Control, old: &State, new: &State) -> Result<(), Refusal> {
    let ending = control.cstate.is_failure() || control.cstate == Conn::Disconnecting;
    let promoted = new.role == Role::Primary && old.role != Role::Primary;
    if promoted && ending { Err(Refusal::InTransientState) } else { Ok(()) }
}

/// A source is lost to a target that may have ended the resync: it counts as finished here too. Otherwise both could go on from the same
/// generation, and the next handshake would not see that both did.
fn settle_possible_end(volume: &mut Volume, new: State) -> State {
    if !core::mem::take(&mut volume.may_be_finished) || !matches!(volume.state.conn, Conn::SyncSource | Conn::PausedSyncS) {
        return new;
    }
    let apart = new.conn < Conn::Connected;
    if !apart && new.pdsk > Disk::Failed {
        volume.may_be_finished = matches!(new.conn, Conn::SyncSource | Conn::PausedSyncS);
        return new;
    }
    if let Some(disk) = volume.disk.as_mut() {
        disk.uuids.clear_bitmap();
    }
    // A disk that has failed since is reported ahead of the end of the resync.
    State { pdsk: if apart { Disk::DUnknown } else { new.pdsk }, ..new }
}

impl Resource {
    /// Puts a new vector in force: the only place where a state is assigned.
    fn assign(&self, control: &mut Control, index: usize, new: State) -> Result<(), Refusal> {
        let Some(volume) = control.volumes.get_mut(index) else { return Err(Refusal::IsDiskless) };
        let old = volume.state;
        let new = settle_possible_end(volume, new);
        let free = volume.uuids().bitmap == 0;
        let facts = EffectFacts {
            bitmap_uuid_free: free && volume.disk.is_some(),
            peer_missed_write: volume.device.plane.lock().core.peer_missed_write(),
            version: control.version,
        };
        let mut effects = effects::effects_with(&old, &new, &facts);
        if control.after.reserve(1, GFP_KERNEL).is_err() {
            return Err(Refusal::InTransientState);
        }
        publish(control, index, false);
        let Some(volume) = control.volumes.get_mut(index) else { return Err(Refusal::IsDiskless) };
        volume.state = new;
        volume.bits_missing = bits_missing(&old, &new, volume.bits_missing);
        volume.left_behind = left_behind(&old, &new, volume.left_behind);
        super::verify::state_changes(volume, &old, facts.version);
        super::resync::state_changes(volume, &old);
        if let Some(disk) = volume.disk.as_mut().filter(|_| new.disk >= Disk::Inconsistent) {
            let unmarked = disk.state_flags & !effects::md_flags(&new) & drbd_core::md::flags::PRIMARY != 0;
            disk.still_primary |= unmarked && effects.has(Effects::WRITE_BITMAP);
            disk.state_flags = effects::md_flags(&new);
        }
        if effects.has(Effects::NEW_CURRENT_UUID) {
            if new.is_suspended() && !effects.has(Effects::NEW_CURRENT_UUID_AT_ONCE) {
                // UU-6, FE-8: it may turn out that nothing was written without the peer.
                volume.uuid_deferred = true;
                effects = effects.without(Effects::NEW_CURRENT_UUID);
            } else {
                volume.uuid_pending = true;
            }
        }
        volume.consider_resync |= effects.has(Effects::CONSIDER_RESYNC);
        if effects.has(Effects::RESUME_LOG) {
            volume.log_suspended = false;
        }
        let shown = Text(Transition { old, new });
        pr_info!("{}/{} drbd{}: {}\n", self.display_name(), volume.number(), volume.device.minor, shown);
        if old.disk < Disk::Consistent && new.disk >= Disk::Consistent {
            volume.effective_uuid = volume.uuids().current; // SC-7
        }
        if old.conn < Conn::Connected && new.conn >= Conn::Connected {
            volume.device.connected_at.store(super::device::now(), Relaxed);
            volume.connects = volume.connects.wrapping_add(1);
        }
        let number = volume.number();
        if effects.has(Effects::DISK_FAILED) && new.conn >= Conn::Connected {
            // The peer hears of it before it gets a write that has no copy here; with a helper that is to be called first (AC-19), writes wait.
            volume.failure_untold = true;
        }
        if new.conn == Conn::Ahead && effects.has(Effects::SEND_STATE) {
            // The notices that follow mean something to a peer that is Behind only.
            self.send(number, super::packets::state(facts.version, number, &new));
            effects = effects.without(Effects::SEND_STATE);
        }
        let change = AfterChange { volume: number, old, new, effects };
        let _ = control.after.push_within_capacity(change);
        control.changes_queued += 1;
        let helper_first = control.volumes.get(index).is_some_and(|volume| volume.calls_for_local_error());
        if effects.has(Effects::DISK_FAILED) && !helper_first {
            self.tell_failure(control, number, &new);
        }
        publish(control, index, true);
        self.spread_suspension(control, &new);
        self.wake_worker();
        self.changed.wake_all();
        Ok(())
    }

    /// Assigns a change asked for by the administrator. After one of the role the rest of RO-3 to RO-5 is still to come: see
    /// [`Control::role_unfinished`].
    fn assign_role(&self, control: &mut Control, index: usize, new: State) -> Result<(), Refusal> {
        let old = control.volumes.get(index).map_or(new.role, |volume| volume.state.role);
        self.assign(control, index, new)?;
        control.role_unfinished |= old != new.role;
        Ok(())
    }

    /// Queues the report of a disk that has failed (AC-19), once; writes may go on behind it.
    pub(crate) fn tell_failure(&self, control: &mut Control, number: u16, state: &State) {
        let version = control.version;
        let Some(volume) = control.volume(number) else { return };
        if core::mem::take(&mut volume.failure_untold) {
            self.send(number, super::packets::state(version, number, state));
        }
    }

    /// The suspension bits belong to the resource (behaviour.md 1.4): every volume shows those of the last change.
    fn spread_suspension(&self, control: &mut Control, new: &State) {
        for index in 0..control.volumes.len() {
            let Some(volume) = control.volumes.get_mut(index) else { continue };
            let state = &mut volume.state;
            if (state.susp, state.susp_nod, state.susp_fen) != (new.susp, new.susp_nod, new.susp_fen) {
                (state.susp, state.susp_nod, state.susp_fen) = (new.susp, new.susp_nod, new.susp_fen);
                publish(control, index, true);
            }
        }
    }

    /// A local change of one volume.
    pub(crate) fn change(&self, control: &mut Control, index: usize, request: Request, kind: Kind) -> Result<Changed, Refusal> {
        let Some(old) = control.volumes.get(index).map(|volume| volume.state) else { return Ok(Changed::Nothing) };
        match evaluate(&old, &request, kind, &facts(control, index))? {
            None => Ok(Changed::Nothing),
            Some(new) => self.assign(control, index, new).map(|()| Changed::Yes),
        }
    }

    /// A local change of all volumes at once; with [`Kind::Soft`] one refusal refuses all.
    pub(crate) fn change_all(&self, control: &mut Control, request: Request, kind: Kind) -> Result<(), Refusal> {
        self.change_all_but(control, request, kind, false)
    }

    /// The same. `ignore_outdate_failure`: a volume below Outdated keeps its disk state when asked to become Outdated (ST-7).
    fn change_all_but(&self, control: &mut Control, request: Request, kind: Kind, ignore_outdate_failure: bool) -> Result<(), Refusal> {
        let wanted = |old: &State| match ignore_outdate_failure && old.disk < Disk::Outdated {
            true => request.without_disk(Disk::Outdated),
            false => request,
        };
        for index in 0..control.volumes.len() {
            let Some(old) = control.volumes.get(index).map(|volume| volume.state) else { continue };
            evaluate(&old, &wanted(&old), kind, &facts(control, index))?;
        }
        for index in 0..control.volumes.len() {
            let Some(old) = control.volumes.get(index).map(|volume| volume.state) else { continue };
            self.change(control, index, wanted(&old), kind)?;
        }
        Ok(())
    }

    /// A change asked for by the administrator: the peer is asked where ST-5 says so, transient states are waited out (ST-3, ST-6).
    /// The caller has the turn.
    pub(crate) fn change_by_admin(&self, volume: u16, request: Request) -> Result<Changed, Refusal> {
        let deadline = jiffies().wrapping_add(CHANGE_TIMEOUT_SECONDS * HZ);
        loop {
            let seen = {
                let mut control = self.control.lock();
                let index = control.index(volume).ok_or(Refusal::IsDiskless)?;
                match self.try_change(&mut control, index, request) {
                    Ok(Some(changed)) => return Ok(changed),
                    Ok(None) => None,
                    Err(Refusal::InTransientState) => Some(control.changes_queued),
                    Err(refusal) => return Err(refusal),
                }
            };
            if crate::kapi::time::is_before(deadline, jiffies()) {
                return Err(Refusal::InTransientState);
            }
            match seen {
                Some(queued) => {
                    if !self.wait_control(HZ / 5, |control| control.changes_queued != queued) && crate::kapi::wait::signal_pending() {
                        return Err(Refusal::InTransientState);
                    }
                }
                None => {
                    if let Some(outcome) = self.await_peer(volume, request)? {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// `Ok(None)`: the peer was asked.
    fn try_change(&self, control: &mut Control, index: usize, request: Request) -> Result<Option<Changed>, Refusal> {
        let Some(old) = control.volumes.get(index).map(|volume| volume.state) else { return Ok(Some(Changed::Nothing)) };
        let Some(new) = evaluate(&old, &request, Kind::Soft, &facts(control, index))? else {
            return Ok(Some(Changed::Nothing));
        };
        wait_for_lost_peer(control, &old, &new)?;
        if !needs_cluster_wide(&old, &new) {
            return self.assign_role(control, index, new).map(|()| Some(Changed::Yes));
        }
        let number = match control.volumes.get_mut(index) {
            Some(volume) => {
                volume.pending_change = Some(None);
                volume.number()
            }
            None => return Err(Refusal::IsDiskless),
        };
        let packet = super::packets::state_change(control.version, number, Command::StateChgReq, request);
        self.connection.enqueue_packet(number, packet);
        Ok(None)
    }

    /// Waits for the peer's answer, or for the change to become local. `Ok(None)`: try again.
    fn await_peer(&self, volume: u16, request: Request) -> Result<Option<Changed>, Refusal> {
        let answered = self.wait_control(CHANGE_TIMEOUT_SECONDS * HZ, |control| {
            let connected = control.cstate == Conn::WFReportParams;
            control.volume(volume).is_none_or(|volume| !matches!(volume.pending_change, Some(None)) || !connected)
        });
        let mut control = self.control.lock();
        let Some(index) = control.index(volume) else { return Err(Refusal::IsDiskless) };
        let answer = control.volumes.get_mut(index).and_then(|volume| volume.pending_change.take()).flatten();
        match answer {
            Some(1..) => {
                let old = control.volumes.get(index).map(|volume| volume.state).unwrap_or_default();
                match evaluate(&old, &request, Kind::Soft, &facts(&control, index))? {
                    None => Ok(Some(Changed::Nothing)),
                    Some(new) => {
                        wait_for_lost_peer(&control, &old, &new)?;
                        self.assign_role(&mut control, index, new).map(|()| Some(Changed::Yes))
                    }
                }
            }
            Some(code) if code == Refusal::Concurrent.code() => Err(Refusal::Concurrent),
            Some(_) => Err(Refusal::RefusedByPeer),
            None if answered => Ok(None),
            None => Err(Refusal::InTransientState),
        }
    }

    /// The peer asks for a change of a volume (ST-6): decided here, answered by the caller with the code.
    pub(crate) fn change_by_peer(&self, control: &mut Control, volume: u16, request: Request) -> i32 {
        let Some(index) = control.index(volume) else { return Refusal::IsDiskless.code() };
        let busy = control.volumes.get(index).is_some_and(|volume| volume.pending_change.is_some());
        if busy && control.resolver {
            return Refusal::Concurrent.code();
        }
        match self.change(control, index, request.mirrored(), Kind::Soft) {
            Ok(changed) => changed.code(),
            Err(refusal) => {
                pr_info!("{}/{}: peer's state change refused: {}\n", self.display_name(), volume, refusal.text());
                refusal.code()
            }
        }
    }

    /// The peer asks for a change of the connection.
    pub(crate) fn change_connection_by_peer(&self, control: &mut Control, request: Request) -> i32 {
        if control.pending_change.is_some() && control.resolver {
            return Refusal::Concurrent.code();
        }
        match self.change_all_but(control, request.mirrored(), Kind::Soft, true) {
            Ok(()) => {
                let down = request.mirrored().conn_value() == Some(Conn::TearDown);
                if down {
                    control.cstate = Conn::TearDown;
                }
                1
            }
            Err(refusal) => {
                pr_info!("{}: peer's state change refused: {}\n", self.display_name(), refusal.text());
                refusal.code()
            }
        }
    }

    /// Asks the peer for a change of the whole connection, and waits for the answer. The caller has the turn.
    pub(crate) fn ask_connection(&self, request: Request) -> Result<(), Refusal> {
        {
            let mut control = self.control.lock();
            for index in 0..control.volumes.len() {
                let Some(old) = control.volumes.get(index).map(|volume| volume.state) else { continue };
                evaluate(&old, &request, Kind::Soft, &facts(&control, index))?;
            }
            if control.cstate != Conn::WFReportParams || control.volumes.is_empty() {
                return Ok(());
            }
            control.pending_change = Some(None);
            control.asked = Some(request);
            let command = if control.version >= 100 { Command::ConnStChgReq } else { Command::StateChgReq };
            let packet = super::packets::state_change(control.version, 0, command, request);
            self.connection.enqueue_packet(0, packet);
        }
        self.wait_control(CHANGE_TIMEOUT_SECONDS * HZ, |control| {
            !matches!(control.pending_change, Some(None)) || control.cstate != Conn::WFReportParams
        });
        let mut control = self.control.lock();
        control.asked = None;
        match control.pending_change.take().flatten() {
            None | Some(1..) => Ok(()),
            Some(_) => Err(Refusal::RefusedByPeer),
        }
    }

    /// A hard fact about a volume; cannot be refused except where it makes no sense.
    pub(crate) fn hard(&self, control: &mut Control, index: usize, request: Request) {
        let _ = self.change(control, index, request, Kind::Hard);
    }

    /// Sends a packet about a volume.
    pub(crate) fn send(&self, volume: u16, packet: Result<Packet>) {
        match packet {
            Ok(packet) => {
                self.connection.enqueue(volume, Outgoing::Packet(packet));
            }
            Err(_) => self.connection.cut_off(),
        }
    }
}
