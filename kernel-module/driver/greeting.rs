// SPDX-License-Identifier: GPL-2.0
//! Our side of the parameter exchange, and the bitmap exchange (wire-protocol.md sections 6 and 12).

use super::connection::Link;
use super::establish::NoLink;
use super::prelude::*;
use super::receiver::{find, End};
use super::resource::{Control, Resource};
use drbd_core::handshake::sync_param::AdoptedProtocol;
use drbd_core::state::{Conn, Kind, Request};
use drbd_core::wire::bitmap_transfer::Transfer;
use drbd_core::wire::header::header_bytes;
use drbd_core::wire::params::Protocol;
use drbd_core::wire::{Command, Header};

/// Longest wait for the end of a change of role, which writes metadata.
const ROLE_TIMEOUT_SECONDS: Jiffies = 100;

impl Resource {
    /// P_PROTOCOL, then for every volume its parameters, and WFReportParams (CO-6).
    pub(crate) fn greet_peer(&self, link: &Arc<Link>) -> Result<(), NoLink> {
        // What the peer is told has to be whole; a change of role, and a new generation, end without the peer.
        let whole = |control: &Control| !control.role_unfinished && !control.volumes.iter().any(|volume| volume.generation_is_due());
        self.wait_control(ROLE_TIMEOUT_SECONDS * HZ, |control| whole(control));
        let mut control = self.control.lock();
        if control.cstate != Conn::WFConnection || !whole(&control) {
            return Err(NoLink::Again);
        }
        // As it is now: it may have changed since the attempt began.
        let net = control.net.as_ref().and_then(|net| KBox::new(**net, GFP_KERNEL).ok()).ok_or(NoLink::Again)?;
        let (version, features) = (link.version, link.features);
        control.version = version;
        control.features = features;
        control.resolver = link.resolver;
        control.discard_my_data = net.discard_my_data();
        control.dry_run = net.tentative();
        control.dry_run_by_peer = false;
        self.connection.set_options(&net, version);
        // The names were checked when they were configured.
        let integrity = super::digest::by_name(if version >= 87 { net.integrity_alg() } else { &[] }).map_err(|_| NoLink::Again)?;
        self.connection.digests.integrity_out.install(integrity);
        self.connection.digests.integrity_in.install(None);
        self.connection.digests.set_block_algorithms(&net).map_err(|_| NoLink::Again)?;
        let discard = control.discard_my_data;
        let mut packets = KVec::with_capacity(1 + 4 * control.volumes.len(), GFP_KERNEL).map_err(|_| NoLink::Again)?;
        let mut put = |packet: Result<super::queue::Packet>| -> Result<(), NoLink> {
            packet.and_then(|packet| Ok(packets.push(packet, GFP_KERNEL)?)).map_err(|_| NoLink::Again)
        };
        put(super::packets::protocol(version, &net, discard, control.dry_run))?;
        for volume in control.volumes.iter_mut() {
            volume.ran_degraded = false;
            put(super::packets::sync_param(version, volume, &net))?;
            put(super::packets::sizes(version, features, volume))?;
            if volume.state.disk >= drbd_core::state::Disk::Negotiating {
                put(super::packets::uuids(version, volume, discard, 0))?;
            }
            put(super::packets::state(version, volume.number(), &volume.state))?;
            volume.device.sequence.store(0, Relaxed);
        }
        // Nobody changes what is being told (ST-9), and nobody waits for the socket to look at it.
        control.state_sent = !control.volumes.is_empty();
        drop(control);
        let sent = packets.iter().enumerate().try_for_each(|(at, packet)| {
            let more = if at + 1 < packets.len() { More::Yes } else { More::No };
            link.data.send(&packet.bytes, more, &mut || false).map(drop)
        });
        let mut control = self.control.lock();
        if sent.is_err() || control.cstate != Conn::WFConnection {
            control.state_sent = false;
            return Err(NoLink::Again);
        }
        if let Some(net) = control.net.as_mut() {
            net.clear_one_shot();
        }
        control.cstate = Conn::WFReportParams;
        let _ = self.change_all(&mut control, Request::none().conn(Conn::WFReportParams), Kind::Hard);
        drop(control);
        self.connection.set_link(Some(link.clone()));
        Ok(())
    }

    /// Our bitmap has been sent: the target waits for the sync UUID from here on.
    pub(crate) fn bitmap_sent(&self, number: u16) {
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        if control.volumes.get(index).is_some_and(|volume| volume.state.conn == Conn::WFBitMapT) {
            self.hard(&mut control, index, Request::none().conn(Conn::WFSyncUUID));
        }
    }

    /// The peer's bitmap is complete (RS-1).
    fn bitmap_received(&self, number: u16) {
        let mut control = self.control.lock();
        let Some(index) = control.index(number) else { return };
        match control.volumes.get(index).map(|volume| volume.state.conn) {
            Some(Conn::WFBitMapT) => {
                self.connection.enqueue(number, super::queue::Outgoing::Bitmap);
            }
            Some(Conn::WFBitMapS) => self.begin_resync(&mut control, index, true),
            _ => {}
        }
    }

    /// P_PROTOCOL of the peer (CO-7).
    pub(crate) fn receive_protocol(&self, command: Command, version: u32, body: &[u8]) -> Result<(), End> {
        let peer = Protocol::decode(command, version, body).map_err(|_| End::Protocol)?;
        let mut control = self.control.lock();
        control.dry_run |= peer.dry_run;
        control.dry_run_by_peer |= peer.dry_run;
        let discard = control.discard_my_data;
        let Some(net) = control.net.as_ref() else { return Err(End::Broken) };
        let refused = |error: drbd_core::handshake::protocol::Incompatible| {
            pr_err!("{}: incompatible {} settings\n", self.display_name(), error.option);
            End::Refused
        };
        if command == Command::ProtocolUpdate {
            let adopted = drbd_core::handshake::sync_param::adopt_protocol(&peer).map_err(refused)?;
            self.adopt_protocol(&mut control, &adopted);
        } else {
            let own = super::packets::protocol_of(net, discard, false);
            drbd_core::handshake::protocol::match_protocol(&own, &peer).map_err(refused)?;
        }
        drop(control);
        self.adopt_integrity(peer.integrity)
    }

    /// What the peer sends from here on carries digests of this algorithm; ours in the other direction stays (wire-protocol.md 6.2).
    fn adopt_integrity(&self, name: &[u8]) -> Result<(), End> {
        let shown = core::str::from_utf8(name).ok().filter(|text| !text.is_empty()).unwrap_or("(none)");
        let digest = super::digest::by_name(name).map_err(|_| {
            pr_err!("{}: peer data-integrity-alg {} not supported\n", self.display_name(), shown);
            End::Refused
        })?;
        let hasher = &self.connection.digests.integrity_in;
        if digest.is_some() || hasher.bytes() != 0 {
            pr_info!("{}: peer data-integrity-alg: {}\n", self.display_name(), shown);
        }
        hasher.install(digest);
        Ok(())
    }

    /// CO-7: settings the peer has changed on the live connection hold here too.
    fn adopt_protocol(&self, control: &mut Control, adopted: &AdoptedProtocol) {
        let version = control.version;
        let Some(net) = control.net.as_mut() else { return };
        let table = drbd_core::genl::attributes::NET_CONF;
        let two_primaries = u32::from(adopted.two_primaries);
        let pairs = [(6, adopted.protocol), (17, adopted.after_sb_0p), (18, adopted.after_sb_1p), (19, adopted.after_sb_2p), (24, two_primaries)];
        for (number, value) in pairs {
            net.numbers.set(table, number, u64::from(value));
        }
        self.connection.set_options(net, version);
        for index in 0..control.volumes.len() {
            super::control::publish(control, index, true);
        }
    }
}

/// A piece of the peer's bitmap.
pub(crate) fn receive_bitmap(resource: &Arc<Resource>, link: &Link, command: Command, header: &Header) -> Result<(), End> {
    let device = find(resource, header.volume)?;
    let mut page = Page::zeroed().map_err(|_| End::Broken)?;
    let body = page.bytes_mut().get_mut(..header.length as usize).ok_or(End::Protocol)?;
    if !body.is_empty() {
        link.data.receive_exact(body)?;
    }
    let waiting = resource.control.lock().volume(device.volume).is_some_and(|volume| {
        matches!(volume.state.conn, Conn::WFBitMapS | Conn::WFBitMapT)
    });
    if !waiting {
        pr_err!("drbd{}: unexpected bitmap\n", device.minor);
        return Err(End::Protocol);
    }
    let bits = device.plane.lock().core.bitmap.bits();
    let mut transfer = resource
        .control
        .lock()
        .volume(device.volume)
        .and_then(|volume| volume.receiving.take())
        .unwrap_or_else(|| Transfer::new(bits, header_bytes(link.version)));
    // Received bits are ORed into our own.
    let mut sink = super::bitmap_io::Shared(&device);
    let merged = match command {
        Command::Bitmap => transfer.receive_plain(body, &mut sink),
        _ => transfer.receive_compressed(body, &mut sink),
    };
    merged.map_err(|error| {
        pr_err!("drbd{}: bitmap: {:?}\n", device.minor, error);
        End::Protocol
    })?;
    if transfer.is_complete() {
        resource.bitmap_received(device.volume);
    } else if let Some(volume) = resource.control.lock().volume(device.volume) {
        volume.receiving = Some(transfer);
    }
    Ok(())
}
