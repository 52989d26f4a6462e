// SPDX-License-Identifier: GPL-2.0
//! Promotion: which request to try next after a refusal (behaviour.md 2.9, RO-2).

use super::change::Request;
use super::rules::Refusal;
use super::vector::{Disk, Role, State};

/// Attempts before the last refusal is final.
const MAX_ATTEMPTS: u8 = 4;

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Try [`Promotion::request`] as a soft change, cluster wide where ST-5 says so.
    Attempt {
        /// Log a refusal.
        verbose: bool,
    },
    /// Run fencing (section 11), then report to [`Promotion::fenced`].
    Fence,
    /// Wait ping-timeout + 0.1 s (a dead peer may be noticed), then attempt.
    Pause,
    /// It can not be promoted.
    GiveUp(Refusal),
}

/// A promotion in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promotion {
    force: bool,
    attempts: u8,
    last_try: bool,
    upgrade_disk: bool,
    outdate_peer: bool,
    forced: bool,
    refusal: Refusal,
}

impl Promotion {
    /// Begins; `force` as the administrator asked. Attempt [`Promotion::request`] first.
    pub const fn new(force: bool) -> Self {
        Self {
            force,
            attempts: 1,
            last_try: false,
            upgrade_disk: false,
            outdate_peer: false,
            forced: false,
            refusal: Refusal::InTransientState,
        }
    }

    /// The request to attempt now.
    pub const fn request(&self) -> Request {
        let mut request = Request::none().role(Role::Primary);
        if self.upgrade_disk {
            request = request.disk(Disk::UpToDate);
        }
        if self.outdate_peer {
            request = request.pdsk(Disk::Outdated);
        }
        request
    }

    /// The disk was declared UpToDate by force: a new current UUID is due (RO-4) and UUIDs are sent (RO-5).
    pub const fn is_forced(&self) -> bool {
        self.forced
    }

    /// Forced against a peer that could not be fenced: split brain may follow.
    pub const fn risks_split_brain(&self) -> bool {
        self.outdate_peer
    }

    /// An attempt was refused while the volume was in `state`.
    pub fn refused(&mut self, refusal: Refusal, state: &State) -> Next {
        self.refusal = refusal;
        if self.last_try {
            return Next::GiveUp(refusal);
        }
        match refusal {
            Refusal::RefusedByPeer if self.outdate_peer => {
                self.outdate_peer = false;
                self.again()
            }
            Refusal::NoUpToDateDisk if self.force && state.disk >= Disk::Inconsistent && state.disk < Disk::UpToDate => {
                self.upgrade_disk = true;
                self.forced = true;
                self.again()
            }
            Refusal::NoUpToDateDisk if state.disk == Disk::Consistent && !self.outdate_peer => Next::Fence,
            Refusal::PrimaryNop if !self.outdate_peer => Next::Fence,
            Refusal::TwoPrimaries if self.attempts < MAX_ATTEMPTS => {
                self.attempts = MAX_ATTEMPTS;
                Next::Pause
            }
            Refusal::TwoPrimaries => Next::GiveUp(refusal),
            _ => {
                self.last_try = true;
                Next::Attempt { verbose: true }
            }
        }
    }

    /// Fencing that was asked for has ended; `success` as FE-6 says.
    pub fn fenced(&mut self, success: bool) -> Next {
        match self.refusal {
            Refusal::NoUpToDateDisk if success => self.upgrade_disk = true,
            Refusal::PrimaryNop if !success && self.force => self.outdate_peer = true,
            _ => {}
        }
        self.again()
    }

    fn again(&mut self) -> Next {
        if self.attempts >= MAX_ATTEMPTS {
            return Next::GiveUp(self.refusal);
        }
        self.attempts += 1;
        Next::Attempt { verbose: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Conn;

    fn alone(disk: Disk) -> State {
        State { disk, conn: Conn::WFConnection, ..State::default() }
    }

    #[test]
    fn ro_2_fencing_that_fails_is_tried_four_times() {
        let mut promotion = Promotion::new(false);
        let state = alone(Disk::Consistent);
        for attempt in 1..=4 {
            assert_eq!(promotion.refused(Refusal::NoUpToDateDisk, &state), Next::Fence);
            let next = promotion.fenced(false);
            if attempt < 4 {
                assert_eq!(next, Next::Attempt { verbose: false });
            } else {
                assert_eq!(next, Next::GiveUp(Refusal::NoUpToDateDisk));
            }
        }
    }

    #[test]
    fn ro_2_after_fencing_the_disk_counts_as_up_to_date() {
        let mut promotion = Promotion::new(false);
        assert_eq!(promotion.refused(Refusal::NoUpToDateDisk, &alone(Disk::Consistent)), Next::Fence);
        assert_eq!(promotion.fenced(true), Next::Attempt { verbose: false });
        assert_eq!(promotion.request(), Request::none().role(Role::Primary).disk(Disk::UpToDate));
        assert!(!promotion.is_forced());
    }

    #[test]
    fn ro_2_force_upgrades_the_disk_with_the_recorded_request() {
        let mut promotion = Promotion::new(true);
        assert_eq!(promotion.refused(Refusal::NoUpToDateDisk, &alone(Disk::Inconsistent)), Next::Attempt { verbose: false });
        assert_eq!((promotion.request().mask, promotion.request().value), (0x1e03, 0x1001));
        assert!(promotion.is_forced());
    }

    #[test]
    fn ro_2_force_against_a_peer_that_was_not_fenced_outdates_it() {
        let mut promotion = Promotion::new(true);
        let state = alone(Disk::UpToDate);
        assert_eq!(promotion.refused(Refusal::PrimaryNop, &state), Next::Fence);
        assert_eq!(promotion.fenced(false), Next::Attempt { verbose: false });
        assert!(promotion.risks_split_brain());
        assert_eq!(promotion.refused(Refusal::RefusedByPeer, &state), Next::Attempt { verbose: false });
        assert_eq!(promotion.request(), Request::none().role(Role::Primary));
    }

    #[test]
    fn ro_2_two_primaries_wait_once_for_a_dead_peer_to_be_noticed() {
        let mut promotion = Promotion::new(false);
        let state = alone(Disk::UpToDate);
        assert_eq!(promotion.refused(Refusal::TwoPrimaries, &state), Next::Pause);
        assert_eq!(promotion.refused(Refusal::TwoPrimaries, &state), Next::GiveUp(Refusal::TwoPrimaries));
    }

    #[test]
    fn ro_2_an_outdated_disk_is_refused_after_one_verbose_attempt() {
        let mut promotion = Promotion::new(false);
        let state = alone(Disk::Outdated);
        assert_eq!(promotion.refused(Refusal::NoUpToDateDisk, &state), Next::Attempt { verbose: true });
        assert_eq!(promotion.refused(Refusal::NoUpToDateDisk, &state), Next::GiveUp(Refusal::NoUpToDateDisk));
    }
}
