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

/// What differs between two state vectors, as the log prints it: `role( Secondary -> Primary )`.
pub struct Transition {
    /// Before.
    pub old: State,
    /// After.
    pub new: State,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = (&self.old, &self.new);
        let mut part = |name: &str, before: &dyn fmt::Display, after: &dyn fmt::Display, differs: bool| {
            if differs {
                write!(f, "{name}( {before} -> {after} ) ")
            } else {
                Ok(())
            }
        };
        part("peer", &old.peer.name(), &new.peer.name(), old.peer != new.peer)?;
        part("role", &old.role.name(), &new.role.name(), old.role != new.role)?;
        part("conn", &old.conn.name(), &new.conn.name(), old.conn != new.conn)?;
        part("disk", &old.disk.name(), &new.disk.name(), old.disk != new.disk)?;
        part("pdsk", &old.pdsk.name(), &new.pdsk.name(), old.pdsk != new.pdsk)?;
        let flags = |s: &State| [s.susp, s.susp_nod, s.susp_fen, s.aftr_isp, s.peer_isp, s.user_isp].map(u8::from);
        let names = ["susp", "susp_nod", "susp_fen", "aftr_isp", "peer_isp", "user_isp"];
        for ((name, before), after) in names.iter().zip(flags(old)).zip(flags(new)) {
            part(name, &before, &after, before != after)?;
        }
        Ok(())
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
