// SPDX-License-Identifier: GPL-2.0
//! Disconnecting on request of the administrator: which request to try next after a refusal (behaviour.md 10.3, DC-2, DC-3).

use super::change::{Kind, Request};
use super::rules::Refusal;
use super::vector::{Conn, Disk};

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Try this request, connection wide.
    Attempt {
        /// What to ask for.
        request: Request,
        /// Hard when forced.
        kind: Kind,
    },
    /// It is disconnected already: success.
    Done,
    /// Tell the administrator.
    GiveUp(Refusal),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Plain,
    OutdatePeer,
    PlainAgain,
    OutdateSelf,
    Forced,
}

/// A disconnect in progress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Departure {
    stage: Stage,
}

impl Departure {
    /// Begins; `force`: no questions asked. Attempt [`Departure::attempt`] first.
    pub const fn new(force: bool) -> Self {
        Self { stage: if force { Stage::Forced } else { Stage::Plain } }
    }

    /// The attempt to make now.
    pub const fn attempt(&self) -> Next {
        let plain = Request::none().conn(Conn::Disconnecting);
        let (request, kind) = match self.stage {
            Stage::Plain | Stage::PlainAgain => (plain, Kind::Soft),
            Stage::OutdatePeer => (plain.pdsk(Disk::Outdated), Kind::Soft),
            Stage::OutdateSelf => (plain.disk(Disk::Outdated), Kind::Soft),
            Stage::Forced => (plain, Kind::Hard),
        };
        Next::Attempt { request, kind }
    }

    /// An attempt was refused; `connection` is the state of the connection by now.
    pub fn refused(&mut self, refusal: Refusal, connection: Conn) -> Next {
        self.stage = match (self.stage, refusal) {
            (_, Refusal::AlreadyStandAlone) => return Next::Done,
            (Stage::Plain, Refusal::PrimaryNop) => Stage::OutdatePeer,
            (Stage::OutdatePeer, Refusal::OutdateWithoutConnection) => Stage::PlainAgain,
            (Stage::Plain, Refusal::RefusedByPeer) if connection <= Conn::WFConnection => Stage::Plain,
            (Stage::Plain, Refusal::RefusedByPeer) => Stage::OutdateSelf,
            (Stage::OutdateSelf, Refusal::IsDiskless | Refusal::LowerThanOutdated) => Stage::Forced,
            _ => return Next::GiveUp(refusal),
        };
        self.attempt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(next: Next) -> (u32, u32, Kind) {
        match next {
            Next::Attempt { request, kind } => (request.mask, request.value, kind),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn dc_2_a_peer_that_refuses_wants_to_see_this_node_outdated() {
        let mut departure = Departure::new(false);
        assert_eq!(words(departure.attempt()), (0x1f0, 0x10, Kind::Soft));
        let next = departure.refused(Refusal::RefusedByPeer, Conn::WFReportParams);
        assert_eq!(words(next), (0x1ff0, 0xa10, Kind::Soft));
        let mut diskless = departure;
        assert_eq!(departure.refused(Refusal::RefusedByPeer, Conn::WFReportParams), Next::GiveUp(Refusal::RefusedByPeer));
        assert_eq!(words(diskless.refused(Refusal::IsDiskless, Conn::WFReportParams)), (0x1f0, 0x10, Kind::Hard));
    }

    #[test]
    fn dc_2_a_primary_with_fencing_asks_to_outdate_the_peer() {
        let mut departure = Departure::new(false);
        let next = departure.refused(Refusal::PrimaryNop, Conn::WFReportParams);
        assert_eq!(words(next), (0x1e1f0, 0xa010, Kind::Soft));
        let next = departure.refused(Refusal::OutdateWithoutConnection, Conn::WFConnection);
        assert_eq!(words(next), (0x1f0, 0x10, Kind::Soft));
        assert_eq!(departure.refused(Refusal::PrimaryNop, Conn::WFConnection), Next::GiveUp(Refusal::PrimaryNop));
    }

    #[test]
    fn dc_2_standalone_is_success() {
        assert_eq!(Departure::new(false).refused(Refusal::AlreadyStandAlone, Conn::StandAlone), Next::Done);
    }
}
