// SPDX-License-Identifier: GPL-2.0
//! Empty flushes of a node that works without a disk: what was written before is durable at the peer when they end (goes beyond
//! behaviour.md WR-8).

use super::device::{now, Device};
use super::prelude::*;

/// Between two looks; the barrier that the answer belongs to leaves within 20 ms.
const NAP_MS: u64 = 4;

impl Device {
    /// Waits until the peer has acknowledged the epochs of all writes so far, or is lost. Context of the application; a dead peer is noticed by
    /// ping and by the request timer.
    pub(super) fn settle_at_peer(&self) {
        let began = now();
        loop {
            {
                let plane = self.plane.lock();
                let gate = plane.core.gate();
                let oldest = plane.core.oldest_waiting_for_peer();
                let earlier = oldest.is_some_and(|queued_at| began.wrapping_sub(queued_at) as i32 >= 0);
                if gate.local || !(gate.replicate || gate.suspended) || !earlier {
                    return;
                }
            }
            self.waiters.wait_timeout(jiffies_from_ms(NAP_MS), || false);
        }
    }
}
