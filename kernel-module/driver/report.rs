// SPDX-License-Identifier: GPL-2.0
//! Reports of the peer: parameters, sizes, generations, states, and its requests for state changes (wire-protocol.md sections 6 to 8, 16).

use super::connection::Link;
use super::control::facts;
use super::packets;
use super::prelude::*;
use super::receiver::End;
use super::resource::{Control, Resource};
use drbd_core::handshake::decide::{decide, Action, Helpers, Policies, Reason, Situation};
use drbd_core::genl::config::{FixedString, NAME_BYTES};
use drbd_core::genl::NetConf;
use drbd_core::handshake::report::{interpret, Meaning, ReportFacts};
use drbd_core::handshake::sync_param;
use drbd_core::handshake::Peer;
use drbd_core::md::Uuids;
use drbd_core::state::vector::word;
use drbd_core::state::{Conn, Disk, Kind, Request, Role, State};
use drbd_core::wire::packet::{decode_state_change, decode_sync_uuid, decode_word};
use drbd_core::wire::params::{uuid_flags, SyncParam, UuidsPacket};
use drbd_core::wire::Command;

impl Resource {
    /// A packet of the control plane.
    pub(crate) fn receive_report(self: &Arc<Self>, link: &Arc<Link>, command: Command, volume: u16, body: &[u8]) -> Result<(), End> {
        let version = link.version;
        match command {
            Command::Protocol | Command::ProtocolUpdate => return self.receive_protocol(command, version, body),
            Command::StateChgReq | Command::ConnStChgReq => return self.receive_change(link, command, volume, body),
            _ => {}
        }
        // Parameters of a volume unknown here are read and dropped (section 6).
        if self.control.lock().index(volume).is_none() {
            return match command {
                Command::SyncParam | Command::SyncParam89 | Command::Sizes | Command::Uuids | Command::State => Ok(()),
                _ => Err(End::Protocol),
            };
        }
        match command {
            Command::SyncParam | Command::SyncParam89 => self.receive_sync_param(version, volume, body),
            Command::Sizes => self.receive_sizes(link.features, volume, body),
            Command::Uuids => self.receive_uuids(volume, body),
            Command::State => self.receive_state(link, volume, body),
            Command::SyncUuid => self.receive_sync_uuid(volume, body),
            _ => {
                pr_err!("{}: {} is not expected now\n", self.display_name(), command.name());
                Err(End::Protocol)
            }
        }
    }

    fn receive_change(self: &Arc<Self>, link: &Arc<Link>, command: Command, volume: u16, body: &[u8]) -> Result<(), End> {
        let (mask, value) = decode_state_change(command, body).map_err(|_| End::Protocol)?;
        let request = Request { mask, value };
        let whole = command == Command::ConnStChgReq || (link.version < 100 && request.conn_value() == Some(Conn::Disconnecting));
        let code = {
            let mut control = self.control.lock();
            if whole {
                self.change_connection_by_peer(&mut control, request)
            } else {
                self.change_by_peer(&mut control, volume, request)
            }
        };
        let reply = if command == Command::ConnStChgReq { Command::ConnStChgReply } else { Command::StateChgReply };
        let packet = packets::packet(link.version, volume, reply, &code.to_be_bytes()).map_err(|_| End::Broken)?;
        let one_at_a_time = self.connection.meta_send.lock();
        let sent = link.meta.send(&packet.bytes, More::No, &mut || false);
        drop(one_at_a_time);
        sent?;
        self.changed.wake_all();
        if self.control.lock().cstate == Conn::TearDown {
            return Err(End::Broken);
        }
        Ok(())
    }

    /// CO-8: algorithms have to match during the handshake, later they are adopted; numbers are adopted always.
    fn receive_sync_param(&self, version: u32, number: u16, body: &[u8]) -> Result<(), End> {
        let peer = SyncParam::decode(version, body).map_err(|_| End::Protocol)?;
        let mut control = self.control.lock();
        let Some(net) = control.net.as_ref() else { return Err(End::Broken) };
        let (verify, csums) = (net.verify_alg(), net.csums_alg());
        let connecting = control.volumes.iter().any(|volume| volume.number() == number && volume.state.conn == Conn::WFReportParams);
        let new = sync_param::check(verify, csums, &peer, version, connecting).map_err(|error| {
            let shown = |name| core::str::from_utf8(name).unwrap_or("?");
            let (own, theirs) = if error.option == "verify-alg" { (verify, peer.verify) } else { (csums, peer.csums) };
            pr_err!("{}: Different {} settings. me=\"{}\" peer=\"{}\"\n", self.display_name(), error.option, shown(own), shown(theirs));
            End::Refused
        })?;
        if new != sync_param::NewAlgorithms::default() {
            if let Some(net) = control.net.as_mut() {
                self.adopt_algorithms(net, &new)?;
            }
        }
        let Some(disk) = control.volume(number).and_then(|volume| volume.disk.as_mut()) else { return Ok(()) };
        if let Some(rates) = sync_param::adopted(&peer, true) {
            let table = drbd_core::genl::attributes::DISK_CONF;
            let numbers = &mut disk.conf.numbers;
            numbers.set(table, 8, u64::from(rates.resync_rate));
            if let Some(controller) = rates.controller {
                numbers.set(table, 11, u64::from(controller.plan_ahead));
                numbers.set(table, 12, u64::from(controller.delay_target));
                numbers.set(table, 13, u64::from(controller.fill_target));
                numbers.set(table, 14, u64::from(controller.max_rate));
            }
        }
        Ok(())
    }

    /// The peer's algorithms for checksum resync and verify hold here too.
    fn adopt_algorithms(&self, net: &mut NetConf, new: &sync_param::NewAlgorithms<'_>) -> Result<(), End> {
        let unknown = |_| {
            pr_err!("{}: the peer uses a verify-alg or csums-alg that is not known here\n", self.display_name());
            End::Refused
        };
        let digests = &self.connection.digests;
        for (name, option, hasher) in [(new.verify, "verify-alg", &digests.verify), (new.csums, "csums-alg", &digests.csums)] {
            if let Some(name) = name {
                hasher.install(super::digest::by_name(name).map_err(unknown)?);
                pr_info!("{}: using {}: \"{}\"\n", self.display_name(), option, core::str::from_utf8(name).unwrap_or("?"));
            }
        }
        let (verify, csums) = (FixedString::<NAME_BYTES>::from_bytes(net.verify_alg()), FixedString::from_bytes(net.csums_alg()));
        let (verify, csums) = (verify.unwrap_or_default(), csums.unwrap_or_default());
        net.set_block_algorithms(new.verify.unwrap_or(verify.as_bytes()), new.csums.unwrap_or(FixedString::<NAME_BYTES>::as_bytes(&csums)));
        Ok(())
    }

    fn receive_uuids(self: &Arc<Self>, number: u16, body: &[u8]) -> Result<(), End> {
        let packet = UuidsPacket::decode(body).map_err(|_| End::Protocol)?;
        let mut write = false;
        {
            let mut control = self.control.lock();
            let Some(index) = control.index(number) else { return Ok(()) };
            let Some(volume) = control.volumes.get_mut(index) else { return Ok(()) };
            let uuids = Uuids::from_array(packet.uuids);
            volume.peer_uuids = Some((uuids, packet.dirty_bits, packet.flags));
            let state = volume.state;
            let diskless_primary = state.disk < Disk::Inconsistent && state.role == Role::Primary;
            if diskless_primary && volume.effective_uuid != 0 && !drbd_core::md::uuids::same(volume.effective_uuid, uuids.current) {
                if state.conn < Conn::Connected || state.pdsk == Disk::Diskless {
                    pr_err!("drbd{}: Can only connect to data with current UUID={:016X}\n", volume.device.minor, volume.effective_uuid & !1);
                    return Err(End::Refused);
                }
                volume.effective_uuid = uuids.current;
            } else if state.disk < Disk::Inconsistent {
                volume.effective_uuid = uuids.current;
            }
            // UU-13: skip the initial sync.
            let skip = packet.flags & uuid_flags::SKIP_INITIAL_SYNC != 0;
            let fresh = volume.disk.as_ref().is_some_and(|disk| disk.uuids.current == drbd_core::md::uuids::JUST_CREATED);
            if skip && fresh && state.conn == Conn::Connected && control.version >= 90 {
                let Some(volume) = control.volumes.get_mut(index) else { return Ok(()) };
                volume.device.plane.lock().core.bitmap.fill(false);
                if let Some(disk) = volume.disk.as_mut() {
                    disk.uuids.current = uuids.current & !1;
                    disk.uuids.bitmap = 0;
                }
                volume.effective_uuid = uuids.current;
                volume.log_suspended = false;
                self.hard(&mut control, index, Request::none().disk(Disk::UpToDate).pdsk(Disk::UpToDate));
                write = true;
            }
        }
        if write {
            let _ = self.write_bitmap(number);
            let _ = self.write_superblock(number);
        }
        Ok(())
    }

    /// UU-10: the resync starts here.
    fn receive_sync_uuid(self: &Arc<Self>, number: u16, body: &[u8]) -> Result<(), End> {
        let sync = decode_sync_uuid(body).map_err(|_| End::Protocol)?;
        let ready = self.wait_control(10 * HZ, |control| {
            control.cstate != Conn::WFReportParams
                || control.volume(number).is_none_or(|volume| matches!(volume.state.conn, Conn::WFSyncUUID | Conn::Behind))
        });
        if !ready || self.control.lock().cstate != Conn::WFReportParams {
            return Err(End::Broken);
        }
        if let Some(volume) = self.control.lock().volume(number) {
            let primary = volume.state.role == Role::Primary;
            if let Some(disk) = volume.disk.as_mut() {
                disk.uuids.start_as_target(sync);
                disk.uuids.set_primary(primary);
            }
        }
        let _ = self.write_superblock(number);
        let mut control = self.control.lock();
        if let Some(index) = control.index(number) {
            self.begin_resync(&mut control, index, false);
        }
        Ok(())
    }

    /// P_STATE (section 7).
    fn receive_state(self: &Arc<Self>, link: &Arc<Link>, number: u16, body: &[u8]) -> Result<(), End> {
        let raw = decode_word(Command::State, body).map_err(|_| End::Protocol)?;
        let peer = State::unpack(raw).map_err(|error| {
            pr_err!("{}: impossible state {:08x} of the peer\n", self.display_name(), error.got);
            End::Protocol
        })?;
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return Ok(()) };
        let Some(volume) = control.volumes.get_mut(index) else { return Ok(()) };
        let own = volume.state;
        let facts = ReportFacts {
            has_peer_uuids: volume.peer_uuids.is_some(),
            peer_found_inconsistent: volume.peer_uuids.is_some_and(|known| known.2 & uuid_flags::INCONSISTENT != 0),
            consider_resync: volume.consider_resync,
        };
        volume.consider_resync = false;
        match interpret(&own, &peer, &facts) {
            Meaning::Lost => Err(End::Broken),
            Meaning::Ignore => Ok(()),
            Meaning::FinishResync => {
                drop(control);
                self.finish_source(number);
                Ok(())
            }
            Meaning::FinishVerify => {
                self.hard(&mut control, index, Request::none().conn(Conn::Connected));
                Ok(())
            }
            Meaning::Adopt { handshake, peer_disk, conn } => {
                let conn = if handshake { self.run_handshake(&mut control, index, &peer, peer_disk)? } else { Some(conn) };
                let Some(conn) = conn else { return Ok(()) };
                if self.must_abandon_frozen(&control, index, conn, peer_disk) {
                    drop(control);
                    self.abandon_frozen(number);
                    return Err(End::Protocol);
                }
                self.adopt(&mut control, link, index, &own, &peer, peer_disk, conn)
            }
        }
    }

    /// The comparison and what it leads to; `None`: the peer's attach was refused, stay as we are.
    fn run_handshake(&self, control: &mut Control, index: usize, peer: &State, peer_disk: Disk) -> Result<Option<Conn>, End> {
        let (resolver, version, features, dry_run, discard) =
            (control.resolver, control.version, control.features, control.dry_run, control.discard_my_data);
        let policies = control.net.as_ref().map_or(Policies::default(), |net| Policies {
            after_sb_0p: net.after_sb_0p(),
            after_sb_1p: net.after_sb_1p(),
            after_sb_2p: net.after_sb_2p(),
            rr_conflict: net.rr_conflict(),
            always_asbp: net.always_asbp(),
        });
        let Some(volume) = control.volumes.get_mut(index) else { return Ok(None) };
        let dirty_bits = volume.device.plane.lock().core.bitmap.weight();
        let own_disk = match (volume.state.disk, volume.found) {
            (Disk::Negotiating, Some(found)) => found.0,
            (disk, _) => disk,
        };
        let (peer_uuids, peer_bits, peer_flags) = volume.peer_uuids.unwrap_or_default();
        let situation = Situation {
            own: Peer {
                uuids: volume.uuids(),
                dirty_bits,
                crashed_primary: volume.disk.as_ref().is_some_and(|disk| disk.crashed_primary),
                discard_my_data: discard,
                role: volume.state.role,
            },
            peer: Peer {
                uuids: peer_uuids,
                dirty_bits: peer_bits,
                crashed_primary: peer_flags & uuid_flags::CRASHED_PRIMARY != 0,
                discard_my_data: peer_flags & uuid_flags::DISCARD_MY_DATA != 0,
                role: peer.role,
            },
            own_disk,
            live_disk: volume.state.disk,
            peer_disk,
            version,
            features,
            resolver,
            policies,
            dry_run,
        };
        let decision = decide(&situation);
        let minor = volume.device.minor;
        for (text, side, flags) in [("self", &situation.own, 0), ("peer", &situation.peer, peer_flags)] {
            let [current, bitmap, young, old] = side.uuids.to_array();
            pr_info!(
                "drbd{}: {} {:016X}:{:016X}:{:016X}:{:016X} bits:{} flags:{:X}\n",
                minor, text, current, bitmap, young, old, side.dirty_bits, flags
            );
        }
        pr_info!("drbd{}: uuid_compare()={} by rule {}\n", minor, decision.comparison.number(), decision.comparison.rule);
        match decision.comparison.correction {
            drbd_core::handshake::compare::Correction::Own(uuids) => {
                if let Some(disk) = volume.disk.as_mut() {
                    disk.uuids = uuids;
                }
            }
            drbd_core::handshake::compare::Correction::Peer(uuids) => volume.peer_uuids = Some((uuids, peer_bits, peer_flags)),
            drbd_core::handshake::compare::Correction::None => {}
        }
        let attaching = (volume.state.disk == Disk::Negotiating, peer.disk == Disk::Negotiating);
        self.note_helpers(volume.device.clone(), decision.helpers);
        match decision.action {
            Action::None => Ok(Some(Conn::Connected)),
            Action::Source { full } | Action::Target { full } => {
                if full {
                    volume.device.plane.lock().core.bitmap.fill(true);
                    pr_info!("drbd{}: full sync: all bits set\n", minor);
                }
                let source = matches!(decision.action, Action::Source { .. });
                Ok(Some(if source { Conn::WFBitMapS } else { Conn::WFBitMapT }))
            }
            Action::Refuse(reason) => self.refuse(control, index, reason, attaching),
        }
    }

    /// HS-40 to HS-42.
    fn refuse(&self, control: &mut Control, index: usize, reason: Reason, attaching: (bool, bool)) -> Result<Option<Conn>, End> {
        let name = self.display_name();
        match reason {
            Reason::SplitBrain => {
                pr_alert!("{}: Split-Brain detected but unresolved, dropping connection!\n", name);
            }
            Reason::Unrelated => pr_alert!("{}: Unrelated data, aborting!\n", name),
            other => pr_err!("{}: connection refused: {:?}\n", name, other),
        }
        if attaching.0 {
            self.hard(control, index, Request::none().disk(Disk::Failed));
            return Ok(None);
        }
        if attaching.1 {
            pr_err!("{}: the peer's attach was refused\n", name);
            return Ok(None);
        }
        Err(End::Refused)
    }

    /// HS-22, HS-25, HS-27, SB-5: the worker calls the helpers.
    fn note_helpers(&self, device: Arc<super::device::Device>, helpers: Helpers) {
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

    /// Steps 8 and 9: takes over what the peer reported.
    #[allow(clippy::too_many_arguments)]
    fn adopt(
        self: &Arc<Self>,
        control: &mut Control,
        link: &Arc<Link>,
        index: usize,
        own: &State,
        peer: &State,
        peer_disk: Disk,
        conn: Conn,
    ) -> Result<(), End> {
        let establishing = own.conn == Conn::WFReportParams;
        let mut request = Request::none()
            .conn(conn)
            .peer(peer.role)
            .pdsk(peer_disk)
            .flag(word::PEER_ISP, peer.aftr_isp || peer.user_isp);
        if own.disk == Disk::Negotiating && matches!(conn, Conn::Connected | Conn::WFBitMapS) {
            let found = control.volumes.get(index).and_then(|volume| volume.found);
            request = request.disk(found.map_or(Disk::Inconsistent, |found| found.0));
        } else if own.disk == Disk::Negotiating {
            request = request.disk(Disk::Inconsistent);
        }
        control.peer_role = peer.role;
        let kind = if establishing { Kind::Soft } else { Kind::Hard };
        self.change(control, index, request, kind).map_err(|refusal| {
            pr_err!("{}: connection refused: {}\n", self.display_name(), refusal.text());
            End::Refused
        })?;
        if establishing {
            let waiting = control.volumes.iter().any(|volume| volume.state.conn == Conn::WFReportParams);
            if !waiting {
                control.state_sent = false;
                self.changed.wake_all();
            }
        }
        let Some(volume) = control.volumes.get(index) else { return Ok(()) };
        let now = volume.state.conn;
        let wants = !establishing && own.conn == Conn::Connected && now > Conn::Connected;
        if wants && peer.conn <= Conn::Connected && peer.disk != Disk::Negotiating && own.disk != Disk::Negotiating {
            self.send(volume.number(), packets::uuids(link.version, volume, false, 0));
            self.send(volume.number(), packets::state(link.version, volume.number(), &volume.state));
        }
        let _ = facts(control, index);
        Ok(())
    }
}
