// SPDX-License-Identifier: GPL-2.0
//! Keeping a lost peer from doing harm: the fence-peer helper (behaviour.md section 11), in promotion and after a lost connection.
//!
//! Holds no lock while the helper runs. After a lost connection a work item runs it, never two at once for a resource; what it reports
//! counts only if the connection has not come back meanwhile (FE-5).

use super::control::fencing_of;
use super::helper::{self, Event};
use super::prelude::*;
use super::registry::REGISTRY;
use super::resource::{Control, Resource};
use crate::kapi::thread::NoIoScope;
use drbd_core::state::fencing::{counts, is_due, policy, succeeded, unfence_is_due, FenceResult};
use drbd_core::state::vector::word;
use drbd_core::state::{Conn, Disk, Fencing, Kind, Request, Summary, Thaw};

impl Control {
    /// Extremes over the volumes.
    pub(crate) fn summary(&self) -> Summary {
        Summary::of(self.volumes.iter().map(|volume| volume.state))
    }

    /// The fencing policy in force; `None`: no volume has data worth fencing for.
    fn fencing_policy(&self) -> Option<Fencing> {
        let disks = self.volumes.iter().filter_map(|volume| volume.disk.as_ref().map(|disk| (volume.state.disk, fencing_of(&disk.conf))));
        policy(disks)
    }

    /// Connections there have been, over all volumes.
    fn connects(&self) -> u32 {
        self.volumes.iter().fold(0, |sum, volume| sum.wrapping_add(volume.connects))
    }
}

impl Resource {
    /// FE-1: after the clean-up of a connection: fences in the background if it has to be.
    pub(crate) fn fence_lost_peer(self: &Arc<Self>) {
        let due = is_due(&self.control.lock().summary());
        if let Some(registry) = REGISTRY.get().filter(|_| due) {
            let _ = registry.helper_queue.enqueue::<Arc<Resource>, 4>(self.clone());
        }
    }

    /// Has the peer fenced as the policy says; true: it can do no harm (FE-6). Waits for the helper.
    pub(crate) fn fence_peer(self: &Arc<Self>) -> bool {
        let name = self.display_name();
        let (policy, connects) = {
            let control = self.control.lock();
            if control.cstate >= Conn::WFReportParams {
                return false;
            }
            (control.fencing_policy(), control.connects())
        };
        match policy {
            None => {
                pr_warn!("{}: Not fencing peer, I'm not even Consistent myself.\n", name);
                self.give_up_fencing();
                return false;
            }
            Some(Fencing::DontCare) => return true, // FE-3
            Some(_) => {}
        }
        let code = helper::call_for_resource(self, Event::FencePeer); // FE-4
        let result = FenceResult::from_exit(code as u8);
        match result {
            FenceResult::Broken { .. } => {
                pr_err!("{}: fence-peer helper broken, returned {}\n", name, code);
                return false;
            }
            FenceResult::PeerShot if policy != Some(Fencing::ResourceAndStonith) => {
                pr_err!("{}: fence-peer() = 7 && fencing != Stonith !!!\n", name);
            }
            _ => {}
        }
        pr_info!("{}: fence-peer helper returned {}: {}\n", name, code, result.text());
        let mut control = self.control.lock();
        let down = control.cstate < Conn::WFReportParams && !control.state_sent;
        if down && !counts(control.cstate, connects, control.connects()) {
            pr_info!("{}: Ignoring fence-peer exit code\n", name);
        } else if down {
            if let Some(request) = result.request(&control.summary()) {
                // FE-10: a running Primary is not outdated, whatever the helper says.
                if let Err(refusal) = self.change_all(&mut control, request, Kind::Soft) {
                    pr_info!("{}: State change failed: {}\n", name, refusal.text());
                }
            }
        }
        succeeded(&control.summary())
    }

    /// Nothing here is worth fencing for: requests that wait for it fail, if the connection is still down.
    fn give_up_fencing(&self) {
        let mut control = self.control.lock();
        if control.cstate >= Conn::WFReportParams || !control.volumes.iter().any(|volume| volume.state.susp_fen) {
            return;
        }
        let still = control.volumes.iter().any(|volume| volume.state.susp || volume.state.susp_nod);
        let request = Request::none().flag(word::SUSP_FEN, false);
        if still {
            let _ = self.change_all(&mut control, request, Kind::Hard);
        } else {
            drop(control);
            self.resume(Thaw::LocalOnly, request);
        }
    }

    /// RX-22, FE-12: this source has finished; when every volume is good on both nodes, the peer may be released.
    pub(crate) fn unfence_peer(self: &Arc<Self>, number: u16) {
        let due = {
            let mut control = self.control.lock();
            let policy = control.volume(number).and_then(|volume| volume.disk.as_ref()).map(|disk| fencing_of(&disk.conf));
            unfence_is_due(policy, control.volumes.iter().map(|volume| volume.state))
        };
        if due {
            helper::call_for_resource(self, Event::UnfencePeer);
        }
    }
}

impl WorkItem<4> for Resource {
    type Pointer = Arc<Resource>;

    fn run(resource: Arc<Resource>) {
        let _no_io = NoIoScope::enter();
        // FE-7: whether I/O waits for this was decided when the connection was lost. FE-9: success thaws through the change of state that it
        // makes.
        let fenced = resource.fence_peer();
        let policy = resource.control.lock().fencing_policy();
        if fenced && policy == Some(Fencing::DontCare) {
            return;
        }
        let frozen = resource.control.lock().volumes.iter().any(|volume| volume.state.susp_fen && volume.state.pdsk > Disk::Outdated);
        if frozen {
            pr_warn!("{}: I/O stays frozen until the peer is fenced, comes back, or resume-io\n", resource.display_name());
        }
    }
}
