// SPDX-License-Identifier: GPL-2.0
//! Reports of the peer: parameters, sizes, generations, states, and its requests for state changes (wire-protocol.md sections 6 to 8, 16).

use super::connection::Link;
use super::packets;
use super::prelude::*;
use super::receiver::End;
use super::resource::Resource;
use drbd_core::genl::config::{FixedString, NAME_BYTES};
use drbd_core::genl::NetConf;
use drbd_core::handshake::sync_param;
use drbd_core::state::{Conn, Disk, Request, Role, State};
use drbd_core::wire::packet::{decode_state_change, decode_sync_uuid};
use drbd_core::wire::params::SyncParam;
use drbd_core::wire::Command;

impl Resource {
    /// A packet of the control plane.
    pub(crate) fn receive_report(self: &Arc<Self>, link: &Arc<Link>, command: Command, volume: u16, body: &[u8]) -> Result<(), End> {
        let version = link.version;
        // What follows may wait for a disk or for a change under way; the peer's writes are not to wait with it.
        super::ack_receiver::send_acks(self);
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
        let (code, change) = {
            let mut control = self.control.lock();
            if whole {
                (self.change_connection_by_peer(&mut control, request), None)
            } else {
                let state = |control: &mut super::resource::Control| control.volume(volume).map_or(State::default(), |volume| volume.state);
                let old = state(&mut control);
                let code = self.change_by_peer(&mut control, volume, request);
                (code, Some((old, state(&mut control))))
            }
        };
        if let Some((old, new)) = change {
            self.mark_before_writes(volume, &old, &new);
        }
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

    /// UU-10: the resync starts here.
    fn receive_sync_uuid(self: &Arc<Self>, number: u16, body: &[u8]) -> Result<(), End> {
        let sync = decode_sync_uuid(body).map_err(|_| End::Protocol)?;
        let ready = self.wait_control(10 * HZ, |control| {
            control.cstate != Conn::WFReportParams
                || control.volume(number).is_none_or(|volume| {
                    matches!(volume.state.conn, Conn::WFSyncUUID | Conn::Behind) || volume.state.disk < Disk::Inconsistent
                })
        });
        if !ready || self.control.lock().cstate != Conn::WFReportParams {
            return Err(End::Broken);
        }
        if let Some(volume) = self.control.lock().volume(number) {
            if volume.state.disk < Disk::Inconsistent {
                pr_info!("drbd{}: the disk is gone: the sync UUID is ignored\n", volume.device.minor);
                return Ok(());
            }
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
}
