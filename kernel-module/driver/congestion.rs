// SPDX-License-Identifier: GPL-2.0
//! A link that cannot take what is written: pulling ahead of the peer, and back (behaviour.md 6.5, CG-1 to CG-3).
//!
//! Worker context. The data plane notices the congestion ([`super::device::Device::congested`]).

use super::device::Device;
use super::prelude::*;
use super::resource::Resource;
use drbd_core::state::{Conn, Kind, Request};

/// on-congestion: go on without the peer.
const PULL_AHEAD: u32 = 1;
/// on-congestion: give the connection up.
const DISCONNECT: u32 = 2;

impl Resource {
    /// Acts on congestion that was noticed, and ends the state Ahead when the peer has caught up with what it was sent.
    pub(crate) fn follow_congestion(self: &Arc<Self>) {
        let list = self.connection.volume_list();
        for device in list.volumes.iter() {
            if device.congested.xchg(false, Full) {
                self.leave_behind(device);
            }
            self.return_to_peer(device);
        }
    }

    /// CG-2.
    fn leave_behind(&self, device: &Device) {
        let mut control = self.control.lock();
        let Some(index) = control.index(device.volume) else { return };
        let allowed = control.version >= 96 && control.volumes.get(index).is_some_and(|volume| volume.state.may_pull_ahead());
        // A disk that fails may be about to make the peer's copy the only good one.
        let allowed = allowed && !device.plane.lock().core.has_failed_writes();
        match control.net.as_ref().filter(|_| allowed).map(|net| net.on_congestion()) {
            Some(PULL_AHEAD) => {
                pr_info!("drbd{}: Congestion threshold reached, pulling ahead of the peer\n", device.minor);
                if let Some(volume) = control.volumes.get_mut(index) {
                    volume.caught_up_at = None;
                }
                let _ = self.change(&mut control, index, Request::none().conn(Conn::Ahead), Kind::Soft);
            }
            Some(DISCONNECT) => {
                pr_info!("drbd{}: Congestion threshold reached, disconnecting\n", device.minor);
                if self.change_all(&mut control, Request::none().conn(Conn::Disconnecting), Kind::Soft).is_ok() {
                    control.cstate = Conn::Disconnecting;
                    drop(control);
                    self.changed.wake_all();
                    self.interrupt_receiver();
                }
            }
            _ => {}
        }
    }

    /// CG-3: a second after the last answer, if nothing of the peer is in work, it gets what it missed.
    fn return_to_peer(&self, device: &Device) {
        let mut control = self.control.lock();
        let Some(index) = control.index(device.volume) else { return };
        let Some(volume) = control.volumes.get_mut(index).filter(|volume| volume.state.conn == Conn::Ahead) else { return };
        if !device.plane.lock().core.peer_has_everything() {
            volume.caught_up_at = None;
            return;
        }
        let since = *volume.caught_up_at.get_or_insert(jiffies());
        let due = !crate::kapi::time::is_before(jiffies(), since.wrapping_add(HZ));
        let idle = self.connection.peer_requests_in_work() == 0 && device.resync_pending.load(Relaxed) == 0;
        if due && idle && volume.starting.is_none() {
            self.begin_resync(&mut control, index, true);
        }
    }
}
