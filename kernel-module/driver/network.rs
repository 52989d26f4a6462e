// SPDX-License-Identifier: GPL-2.0
//! CONNECT, the checks of network options, and DISCONNECT.

use super::admin::{container_of, invalid, mandatory, needs_resource, Done, Named};
use super::attach::Refused;
use super::control::publish;
use super::prelude::*;
use super::queue::{Outgoing, ProtocolUpdate};
use super::registry::Registry;
use super::resource::Resource;
use super::status::{self, Notify};
use crate::kapi::genl::Request as Message;
use drbd_core::genl::{container, ret, NetConf};
use drbd_core::state::departure::{Departure, Next};
use drbd_core::state::{Conn, Kind, Refusal, Request, Role};

/// CONNECT (DC-1).
pub(super) fn connect(registry: &Arc<Registry>, message: &Message<'_>, context: &Named<'_>) -> Result<Done, Refused> {
    let resource = needs_resource(registry, context)?;
    let (own, peer) = match (context.own.and_then(SocketAddress::from_bytes), context.peer.and_then(SocketAddress::from_bytes)) {
        (Some(own), Some(peer)) => (own, peer),
        _ => return Err(invalid("connection endpoint(s) missing")),
    };
    let mut net = KBox::new(NetConf::default(), GFP_KERNEL).map_err(|_| Refused::code(ret::NOMEM))?;
    if let Some(found) = container_of(message, container::NET_CONF) {
        net.read(found.payload).map_err(mandatory)?;
    }
    let _turn = resource.turn.take(message.command)?;
    if resource.control.lock().deleted {
        return Err(Refused { code: ret::RES_NOT_KNOWN, info: "unknown resource" });
    }
    let configuring = registry.configuring.lock();
    for other in registry.lists.lock().resources.iter() {
        let control = other.control.lock();
        if control.own_address == Some(own) {
            return Err(Refused::code(ret::LOCAL_ADDR));
        }
        if control.peer_address == Some(peer) {
            return Err(Refused::code(ret::PEER_ADDR));
        }
    }
    resource.collect_finished_receiver();
    check_net(&resource, &net)?;
    {
        let mut control = resource.control.lock();
        if control.cstate != Conn::StandAlone {
            return Err(Refused::code(ret::NET_CONFIGURED));
        }
        control.net = Some(net);
        control.own_address = Some(own);
        control.peer_address = Some(peer);
        drop(control);
        drop(configuring);
        status::notify_connection(&resource, Notify::Create);
        let mut control = resource.control.lock();
        control.cstate = Conn::Unconnected;
        resource
            .change_all(&mut control, Request::none().conn(Conn::Unconnected), Kind::Hard)
            .map_err(|refusal| Refused::code(refusal.code()))?;
    }
    resource.reconsider_all_limits();
    resource.connection.hurry.store(false, Release);
    resource.start_receiver().map_err(|_| Refused::code(ret::NOMEM))?;
    Done::code(1)
}

/// Option checks of CONNECT and CHG_NET_OPTS, and the algorithms.
pub(super) fn check_net(resource: &Resource, net: &NetConf) -> Result<(), Refused> {
    use crate::kapi::crypto::Digest;
    use kernel::str::CString;
    // DP-1.
    if net.two_primaries() && net.protocol() != 3 {
        return Err(Refused::code(ret::NOT_PROTO_C));
    }
    {
        let control = resource.control.lock();
        let stonith = control.volumes.iter().any(|volume| volume.disk.as_ref().is_some_and(|disk| disk.conf.fencing() == 2));
        if net.protocol() == 1 && stonith {
            return Err(Refused::code(ret::STONITH_AND_PROT_A));
        }
        if net.discard_my_data() && control.role() == Role::Primary {
            return Err(Refused::code(ret::DISCARD_IMPOSSIBLE));
        }
    }
    // CG-5.
    if net.on_congestion() != 0 && net.protocol() != 1 {
        return Err(Refused::code(ret::CONG_NOT_PROTO_A));
    }
    let known = |name: &[u8], keyed: bool, code: i32| -> Result<(), Refused> {
        if name.is_empty() {
            return Ok(());
        }
        let text = core::str::from_utf8(name).map_err(|_| Refused::code(code))?;
        let full = if keyed { CString::try_from_fmt(fmt!("hmac({})", text)) } else { CString::try_from_fmt(fmt!("{}", text)) };
        let full = full.map_err(|_| Refused::code(ret::NOMEM))?;
        Digest::new(&full).map(drop).map_err(|_| Refused::code(code))
    };
    known(net.csums_alg(), false, ret::CSUMS_ALG)?;
    known(net.verify_alg(), false, ret::VERIFY_ALG)?;
    known(net.integrity_alg(), false, ret::INTEGRITY_ALG)?;
    known(net.cram_hmac_alg(), true, ret::AUTH_ALG)?;
    Ok(())
}

/// CHG_NET_OPTS: puts checked options in force, and tells the peer. The caller has the turn.
pub(super) fn change_options(resource: &Arc<Resource>, net: KBox<NetConf>) -> Result<Done, Refused> {
    running(resource, &net)?;
    check_net(resource, &net)?;
    let integrity = super::digest::by_name(net.integrity_alg()).map_err(|_| Refused::code(ret::INTEGRITY_ALG))?;
    let digests = &resource.connection.digests;
    digests.set_block_algorithms(&net).map_err(|_| Refused::code(ret::NOMEM))?;
    {
        let mut control = resource.control.lock();
        let version = control.version;
        let connected = control.cstate == Conn::WFReportParams;
        resource.connection.set_options(&net, version);
        if connected && version >= 100 {
            let packet = super::packets::protocol_update(version, &net).map_err(|_| Refused::code(ret::NOMEM))?;
            let update = KBox::new(ProtocolUpdate { packet, integrity }, GFP_KERNEL).map_err(|_| Refused::code(ret::NOMEM))?;
            resource.connection.enqueue(0, Outgoing::ProtocolUpdate(update));
        }
        control.net = Some(net);
        for index in 0..control.volumes.len() {
            if let (Some(volume), Some(net), true) = (control.volumes.get(index), control.net.as_ref(), connected) {
                resource.send(volume.number(), super::packets::sync_param(version, volume, net));
            }
            publish(&control, index, true);
        }
    }
    resource.follow_times();
    resource.reconsider_all_limits();
    resource.wake_worker();
    Done::ok()
}

impl Resource {
    /// The network options as they are now; `None`: there is no connection configured.
    pub(crate) fn net_options(&self) -> Option<KBox<NetConf>> {
        self.control.lock().net.as_ref().and_then(|net| KBox::new(**net, GFP_KERNEL).ok())
    }

    /// Has the threads of the connection take over the times that are configured now.
    fn follow_times(&self) {
        if let (Some(link), Some(net)) = (self.connection.link(), self.net_options()) {
            let timeout = jiffies_from_deciseconds(net.timeout_deciseconds());
            link.data.set_send_timeout(timeout);
            link.meta.set_send_timeout(timeout);
        }
        self.wake_ack_receiver();
        if self.connection.awaits_peer.load(Acquire) {
            self.signal_receiver();
        }
    }
}

/// What may not change while it is in use.
fn running(resource: &Resource, net: &NetConf) -> Result<(), Refused> {
    let control = resource.control.lock();
    let Some(old) = control.net.as_ref() else { return Err(invalid("net conf missing, try connect")) };
    let old_peer = control.cstate == Conn::WFReportParams && control.version < 100;
    let same = old.protocol() == net.protocol() && old.two_primaries() == net.two_primaries() && old.integrity_alg() == net.integrity_alg();
    if old_peer && !same {
        return Err(Refused::code(ret::NEED_APV_100));
    }
    let any = |wanted: fn(Conn) -> bool| control.volumes.iter().any(|volume| wanted(volume.state.conn));
    let both_primary = control.role() == Role::Primary && control.volumes.iter().any(|volume| volume.state.peer == Role::Primary);
    if both_primary && !net.two_primaries() {
        return Err(Refused::code(ret::NEED_ALLOW_TWO_PRI));
    }
    let resync = any(|conn| matches!(conn, Conn::SyncSource | Conn::SyncTarget | Conn::PausedSyncS | Conn::PausedSyncT));
    if resync && old.csums_alg() != net.csums_alg() {
        return Err(Refused::code(ret::CSUMS_RESYNC_RUNNING));
    }
    if any(Conn::is_verify) && old.verify_alg() != net.verify_alg() {
        return Err(Refused::code(ret::VERIFY_RUNNING));
    }
    Ok(())
}

/// How long a disconnect waits for StandAlone.
const GRACEFUL_LIMIT: Jiffies = 120 * HZ;
/// The same by force.
const FORCED_LIMIT: Jiffies = 10 * HZ;

impl Resource {
    /// DISCONNECT (DC-2). The caller has the turn, unless by force: that overtakes a command that waits. True: StandAlone is reached; false:
    /// it will be, but the receiver still waits for something.
    pub(crate) fn disconnect(&self, force: bool) -> Result<bool, Refusal> {
        self.disconnect_within(force, if force { FORCED_LIMIT } else { GRACEFUL_LIMIT })
    }

    /// The same with another limit for the wait for StandAlone.
    pub(crate) fn disconnect_within(&self, force: bool, timeout: Jiffies) -> Result<bool, Refusal> {
        if self.control.lock().cstate == Conn::StandAlone {
            return Ok(true);
        }
        let mut departure = Departure::new(force);
        let mut next = departure.attempt();
        loop {
            match next {
                Next::Attempt { request, kind: Kind::Soft } => match self.ask_connection(request) {
                    Ok(()) | Err(Refusal::InTransientState) => break,
                    Err(refusal) => {
                        let connection = self.control.lock().cstate;
                        next = departure.refused(refusal, connection);
                    }
                },
                Next::Attempt { .. } | Next::Done => break,
                Next::GiveUp(refusal) => return Err(refusal),
            }
        }
        {
            let mut control = self.control.lock();
            // The receiver may have reached the end already, once the peer had agreed.
            if control.cstate != Conn::StandAlone {
                control.cstate = Conn::Disconnecting;
                let _ = self.change_all(&mut control, Request::none().conn(Conn::Disconnecting), Kind::Hard);
            }
        }
        if force {
            self.connection.hurry.store(true, Release);
        }
        self.interrupt_receiver();
        self.changed.wake_all();
        self.connection.peer_work_done.wake_all();
        Ok(self.wait_stand_alone(timeout))
    }

    /// Waits for the end of the receiver's work; false: it goes on.
    pub(crate) fn wait_stand_alone(&self, timeout: Jiffies) -> bool {
        let ended = self.wait_control(timeout, |control| control.cstate == Conn::StandAlone);
        if ended {
            self.collect_receiver();
        }
        ended
    }
}
