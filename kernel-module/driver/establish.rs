// SPDX-License-Identifier: GPL-2.0
//! Getting both sockets, and agreeing on version and identity (wire-protocol.md sections 1, 4, 5; behaviour.md CO-1 to CO-5).

use super::prelude::*;
use super::resource::Resource;
use crate::kapi::crypto::{Digest, MAX_DIGEST_BYTES};
use crate::kapi::time::random_bytes;
use drbd_core::genl::NetConf;
use drbd_core::handshake::race::{Accepted, Race, Slot};
use drbd_core::state::Conn;
use drbd_core::wire::header::header_bytes;
use drbd_core::wire::params::Features;
use drbd_core::wire::{Command, Header, HeaderFormat};
use kernel::str::CString;

/// Why there is no connection.
pub(crate) enum NoLink {
    /// Try again, after a moment.
    Again,
    /// Give up: StandAlone.
    GiveUp,
}

/// The sockets and who breaks ties.
pub(crate) struct Sockets {
    pub(crate) data: Socket,
    pub(crate) meta: Socket,
    pub(crate) resolver: bool,
    /// Still open: a peer that starts anew shows there.
    listener: Socket,
}

/// Addresses of one attempt. The options are looked at when they are needed: an attempt lasts as long as the peer is away.
pub(crate) struct Plan {
    pub(crate) own: SocketAddress,
    pub(crate) peer: SocketAddress,
}

/// The longest socket-check-timeout or ping-timeout a peer may have, and a bit (see [`Sockets::wait_for_peer`]).
const PEER_CHECK_LIMIT: Jiffies = 32 * HZ;

/// How long the answers of a handshake may take (CO-5).
fn handshake_timeout(net: &NetConf) -> Jiffies {
    4 * jiffies_from_deciseconds(net.ping_timeout_deciseconds())
}

fn wanted(resource: &Resource, thread: &ThisThread) -> bool {
    !thread.should_stop() && resource.control.lock().cstate == Conn::WFConnection
}

fn first_packet(slot: Slot) -> Command {
    match slot {
        Slot::Data => Command::InitialData,
        Slot::Meta => Command::InitialMeta,
    }
}

fn send_first(socket: &Socket, slot: Slot) -> bool {
    let mut out = [0u8; 16];
    let length = Header::new(0, first_packet(slot), 0).encode(HeaderFormat::V80, &mut out);
    socket.send(out.get(..length).unwrap_or(&[]), More::No, &mut || false).is_ok()
}

fn listen(plan: &Plan, net: &NetConf) -> Result<Socket, NetError> {
    let socket = Socket::new(plan.own.family())?;
    socket.prepare();
    socket.set_buffers(net.sndbuf_bytes(), net.rcvbuf_bytes());
    socket.bind(&plan.own)?;
    socket.listen(5)?;
    Ok(socket)
}

/// Why an attempt to reach the peer failed (CO-4).
enum Unreached {
    /// The own side cannot do it: no socket, or not from the own address.
    Own(NetError),
    /// Nobody answers: try again.
    Peer,
}

fn connect(plan: &Plan, net: &NetConf) -> Result<Socket, Unreached> {
    let limit = net.connect_int_seconds() as Jiffies * HZ;
    let own = |error| match error {
        NetError::Failed(_) => Unreached::Own(error),
        _ => Unreached::Peer,
    };
    let socket = Socket::new(plan.peer.family()).map_err(own)?;
    socket.prepare();
    socket.set_buffers(net.sndbuf_bytes(), net.rcvbuf_bytes());
    socket.set_send_timeout(limit);
    socket.set_receive_timeout(limit);
    socket.bind(&plan.own.without_port()).map_err(own)?;
    socket.connect(&plan.peer).map_err(|_| Unreached::Peer)?;
    Ok(socket)
}

/// Both slots on the way.
struct Slots {
    race: Race,
    data: Option<Socket>,
    meta: Option<Socket>,
}

impl Slots {
    fn put(&mut self, slot: Slot, socket: Socket) {
        *(if slot == Slot::Data { &mut self.data } else { &mut self.meta }) = Some(socket);
    }

    /// Forgets what the peer has closed.
    fn drop_dead(&mut self) {
        for (slot, place) in [(Slot::Data, &mut self.data), (Slot::Meta, &mut self.meta)] {
            if !place.as_ref().is_some_and(|socket| socket.is_alive()) {
                *place = None;
                self.race.lost(slot);
            }
        }
    }
}

/// Both sockets, by connecting and listening in turns. Ends when the administrator changes his mind.
pub(crate) fn establish(resource: &Resource, plan: &Plan, thread: &ThisThread) -> Result<Sockets, NoLink> {
    let name = resource.display_name();
    let listener = listen(plan, &*resource.net_options().ok_or(NoLink::Again)?).map_err(|error| {
        pr_err!("{}: listening failed: {:?}\n", name, error);
        NoLink::GiveUp
    })?;
    let mut slots = Slots { race: Race::new(), data: None, meta: None };
    let net = loop {
        if !wanted(resource, thread) {
            return Err(NoLink::Again);
        }
        thread.flush_signals();
        let net = resource.net_options().ok_or(NoLink::Again)?;
        match connect(plan, &net) {
            Ok(socket) => match slots.race.connected() {
                Some(slot) if send_first(&socket, slot) => slots.put(slot, socket),
                Some(slot) => slots.race.lost(slot),
                None => {}
            },
            Err(Unreached::Own(error)) => {
                pr_err!("{}: no socket from the own address: {:?}\n", name, error);
                return Err(NoLink::GiveUp);
            }
            Err(Unreached::Peer) => {}
        }
        if settled(resource, &net, thread, &mut slots) {
            break net;
        }
        accept_some(resource, &net, thread, &listener, &mut slots);
        if settled(resource, &net, thread, &mut slots) {
            break net;
        }
    };
    let resolver = slots.race.is_resolver();
    match (slots.data, slots.meta) {
        (Some(data), Some(meta)) => {
            for (socket, priority) in [(&data, 4), (&meta, 6)] {
                socket.prepare();
                socket.set_latency(priority);
            }
            data.set_send_timeout(handshake_timeout(&net));
            meta.set_send_timeout(jiffies_from_deciseconds(net.timeout_deciseconds()));
            meta.set_receive_timeout(net.ping_int_seconds() as Jiffies * HZ);
            Ok(Sockets { data, meta, resolver, listener })
        }
        _ => Err(NoLink::Again),
    }
}

/// Step 3: with both slots filled, waits and looks whether both are alive (CO-3). A peer that sends has done so already, and does not wait for
/// long: its first packet ends the wait.
fn settled(resource: &Resource, net: &NetConf, thread: &ThisThread, slots: &mut Slots) -> bool {
    if !slots.race.is_complete() {
        return false;
    }
    let check = match net.socket_check_timeout_deciseconds() {
        0 => net.ping_timeout_deciseconds(),
        other => other,
    };
    if let Some(data) = &slots.data {
        data.wait_for_data(jiffies_from_deciseconds(check));
    }
    if !wanted(resource, thread) {
        return false;
    }
    slots.drop_dead();
    slots.race.is_complete()
}

/// Step 4: waits for incoming connections.
fn accept_some(resource: &Resource, net: &NetConf, thread: &ThisThread, listener: &Socket, slots: &mut Slots) {
    let interval = net.connect_int_seconds() as Jiffies * HZ;
    let jitter = interval / 7;
    let mut wait = if random_u64() & 1 == 0 { interval + jitter } else { interval - jitter };
    loop {
        listener.set_receive_timeout(wait);
        resource.connection.awaits_peer.store(true, Release);
        let accepted = listener.accept();
        resource.connection.awaits_peer.store(false, Release);
        let Ok(socket) = accepted else { return };
        socket.set_receive_timeout(handshake_timeout(net));
        socket.set_send_timeout(handshake_timeout(net));
        let mut head = [0u8; 8];
        let slot = match socket.receive_exact(&mut head).ok().and_then(|()| Header::decode(80, &head).ok()).map(|header| header.command) {
            Some(number) if number == Command::InitialData.number() => Some(Slot::Data),
            Some(number) if number == Command::InitialMeta.number() => Some(Slot::Meta),
            other => {
                pr_info!("{}: first packet {:?} is not what was expected\n", resource.display_name(), other);
                None
            }
        };
        // What the peer has closed meanwhile did not cross.
        slots.drop_dead();
        let crossed = match slot {
            Some(slot) => {
                let outcome = slots.race.accepted(slot);
                slots.put(slot, socket);
                outcome == Accepted::Replace
            }
            None => true,
        };
        if !crossed || random_u64() & 1 == 0 || !wanted(resource, thread) {
            return;
        }
        // The peer tosses a coin too. If both wait, not for long, and not equally long.
        wait = (HZ / 10 + random_u64() as Jiffies % HZ).min(interval);
    }
}

impl Sockets {
    /// Waits for the first packet of a peer that has come to see that both sockets stand. A peer with a much longer socket-check-timeout (or
    /// ping-timeout) is still busy with that when this node's limit for an answer (CO-5) has passed: ending the connection would only have it
    /// start anew, and so for ever. So it is waited for as long as both sockets stand, unless it starts anew by itself.
    fn wait_for_peer(&self, resource: &Resource, limit: Jiffies, thread: &ThisThread) -> Result<(), NoLink> {
        let deadline = jiffies().wrapping_add(PEER_CHECK_LIMIT);
        let mut arrived = self.data.wait_for_data(limit);
        while !arrived && wanted(resource, thread) && crate::kapi::time::is_before(jiffies(), deadline) {
            self.listener.set_receive_timeout(1);
            if !self.meta.is_alive() || self.listener.accept().is_ok() {
                break;
            }
            arrived = self.data.wait_for_data(HZ / 2);
        }
        if arrived { Ok(()) } else { Err(NoLink::Again) }
    }
}

/// Sends a packet of the handshake phase.
fn send(socket: &Socket, version: u32, command: Command, payload: &[u8]) -> Result<(), NoLink> {
    let packet = super::packets::packet(version, 0, command, payload).map_err(|_| NoLink::Again)?;
    socket.send(&packet.bytes, More::No, &mut || false).map_err(|_| NoLink::Again)
}

/// Receives a header.
fn receive_header(socket: &Socket, version: u32) -> Result<Header, NoLink> {
    let mut head = [0u8; 16];
    let place = head.get_mut(..header_bytes(version)).ok_or(NoLink::Again)?;
    socket.receive_exact(place).map_err(|_| NoLink::Again)?;
    Header::decode(version, place).map_err(|error| {
        pr_err!("handshake: {}\n", Text(error));
        NoLink::GiveUp
    })
}

/// Version and features (section 4).
pub(crate) fn agree(resource: &Resource, sockets: &Sockets, net: &NetConf, thread: &ThisThread) -> Result<(u32, u32), NoLink> {
    let name = resource.display_name();
    let data = &sockets.data;
    send(data, 80, Command::ConnectionFeatures, &Features::OURS.encode())?;
    sockets.wait_for_peer(resource, handshake_timeout(net), thread)?;
    data.set_receive_timeout(handshake_timeout(net));
    let header = receive_header(data, 80)?;
    if header.command != Command::ConnectionFeatures.number() || header.length != 72 {
        pr_err!("{}: expected P_CONNECTION_FEATURES of 72 bytes, got {:#06x} of {}\n", name, header.command, header.length);
        return Err(NoLink::GiveUp);
    }
    let mut payload = [0u8; 72];
    data.receive_exact(&mut payload).map_err(|_| NoLink::Again)?;
    let peer = Features::decode(&payload).map_err(|_| NoLink::GiveUp)?;
    let agreed = Features::OURS.agree(&peer);
    agreed.ok_or_else(|| {
        pr_err!("{}: incompatible protocol versions: peer speaks {}-{}, we speak 86-101\n", name, peer.lowest, peer.highest);
        NoLink::GiveUp
    })
}

fn hmac(net: &NetConf) -> Result<Digest, NoLink> {
    let algorithm = core::str::from_utf8(net.cram_hmac_alg()).map_err(|_| NoLink::GiveUp)?;
    let name = CString::try_from_fmt(fmt!("hmac({})", algorithm)).map_err(|_| NoLink::Again)?;
    let mut digest = Digest::new(&name).map_err(|_| NoLink::GiveUp)?;
    digest.set_key(net.shared_secret()).map_err(|_| NoLink::GiveUp)?;
    Ok(digest)
}

/// Challenge and response in both directions (section 5).
pub(crate) fn authenticate(resource: &Resource, data: &Socket, version: u32, net: &NetConf) -> Result<(), NoLink> {
    let name = resource.display_name();
    let mut digest = hmac(net)?;
    let mut challenge = [0u8; 64];
    random_bytes(&mut challenge);
    send(data, version, Command::AuthChallenge, &challenge)?;
    let header = receive_header(data, version)?;
    if header.command != Command::AuthChallenge.number() || header.length < 64 || header.length > 128 {
        pr_err!("{}: expected P_AUTH_CHALLENGE of 64 to 128 bytes, got {:#06x} of {}\n", name, header.command, header.length);
        return Err(NoLink::GiveUp);
    }
    let mut theirs = [0u8; 128];
    let theirs = theirs.get_mut(..header.length as usize).ok_or(NoLink::GiveUp)?;
    data.receive_exact(theirs).map_err(|_| NoLink::Again)?;
    if theirs.get(..64) == Some(&challenge[..]) {
        pr_err!("{}: the peer sent our own challenge back\n", name);
        return Err(NoLink::GiveUp);
    }
    let mut response = [0u8; MAX_DIGEST_BYTES];
    let length = digest.compute(theirs, &mut response).map_err(|_| NoLink::GiveUp)?;
    send(data, version, Command::AuthResponse, response.get(..length).unwrap_or(&[]))?;
    let header = receive_header(data, version)?;
    if header.command != Command::AuthResponse.number() || header.length as usize != length {
        pr_err!("{}: expected P_AUTH_RESPONSE of {} bytes, got {:#06x} of {}\n", name, length, header.command, header.length);
        return Err(NoLink::Again);
    }
    let mut answer = [0u8; MAX_DIGEST_BYTES];
    let answer = answer.get_mut(..length).ok_or(NoLink::GiveUp)?;
    data.receive_exact(answer).map_err(|_| NoLink::Again)?;
    let mut expected = [0u8; MAX_DIGEST_BYTES];
    let length = digest.compute(&challenge, &mut expected).map_err(|_| NoLink::GiveUp)?;
    // Every byte is compared, so the time tells nothing.
    let difference = answer.iter().zip(expected.get(..length).unwrap_or(&[])).fold(0, |sum, (a, b)| sum | (a ^ b));
    if difference != 0 {
        pr_err!("{}: authentication of the peer failed\n", name);
        return Err(NoLink::GiveUp);
    }
    Ok(())
}
