// SPDX-License-Identifier: GPL-2.0
//! Names of states as the event stream prints them (netlink-and-tools.md section 5); `/proc/drbd` and the log use [`Conn::name`].

use super::vector::{Conn, State};
use core::fmt;

impl Conn {
    /// Name as the state of the connection (socket) of a resource.
    pub const fn connection_name(self) -> &'static str {
        match self {
            Conn::WFConnection => "Connecting",
            Conn::WFReportParams => "Connected",
            other => other.name(),
        }
    }

    /// Name as the replication state of a volume.
    pub const fn replication_name(self) -> &'static str {
        match self {
            Conn::WFReportParams => "Off",
            Conn::Connected => "Established",
            other => other.name(),
        }
    }

    /// The reverse of [`Conn::replication_name`] and [`Conn::name`].
    pub fn from_name(name: &str) -> Option<Conn> {
        Conn::ALL.iter().copied().find(|conn| conn.name() == name || conn.replication_name() == name)
    }
}

/// Up to three words joined by commas, or `no`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reasons([Option<&'static str>; 3]);

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for word in self.0.iter().flatten() {
            if !first {
                f.write_str(",")?;
            }
            first = false;
            f.write_str(word)?;
        }
        if first {
            f.write_str("no")?;
        }
        Ok(())
    }
}

fn when(set: bool, word: &'static str) -> Option<&'static str> {
    set.then_some(word)
}

impl Reasons {
    /// Why I/O is suspended.
    pub fn suspended(user: bool, no_data: bool, fencing: bool) -> Self {
        Reasons([when(user, "user"), when(no_data, "no-data"), when(fencing, "fencing")])
    }

    /// Why a resync is paused.
    pub fn resync_suspended(user: bool, peer: bool, dependency: bool) -> Self {
        Reasons([when(user, "user"), when(peer, "peer"), when(dependency, "dependency")])
    }
}

impl State {
    /// Value of the field `suspended`.
    pub fn suspended(&self) -> Reasons {
        Reasons::suspended(self.susp, self.susp_nod, self.susp_fen)
    }

    /// Value of the field `resync-suspended`.
    pub fn resync_suspended(&self) -> Reasons {
        Reasons::resync_suspended(self.user_isp, self.peer_isp, self.aftr_isp)
    }
}
