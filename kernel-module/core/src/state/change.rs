// SPDX-License-Identifier: GPL-2.0
//! Evaluation of a wanted change (behaviour.md 2.1). The only place that yields a new vector.

use super::rules::{hard_transition, sanitize, soft_transition, valid_state, Facts, Refusal};
use super::vector::{word, BadWord, Conn, Disk, Role, State};

/// How a change is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A fact of the environment: only sanitising and the hard rules apply.
    Hard,
    /// A wish: every rule applies.
    Soft,
}

/// A wanted change: the fields in `mask` take their value from `value`. Both in the layout of the packed word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// Fields to change (all ones in each).
    pub mask: u32,
    /// Their values.
    pub value: u32,
}

impl Request {
    /// Nothing.
    pub const fn none() -> Self {
        Self { mask: 0, value: 0 }
    }

    const fn field(self, mask: u32, value: u32) -> Self {
        Self { mask: self.mask | mask, value: self.value & !mask | value }
    }

    /// And the own role.
    pub const fn role(self, role: Role) -> Self {
        self.field(word::ROLE, role.number())
    }

    /// And the peer's role.
    pub const fn peer(self, role: Role) -> Self {
        self.field(word::PEER, role.number() << 2)
    }

    /// And the connection state.
    pub const fn conn(self, conn: Conn) -> Self {
        self.field(word::CONN, conn.number() << 4)
    }

    /// And the own disk.
    pub const fn disk(self, disk: Disk) -> Self {
        self.field(word::DISK, disk.number() << 9)
    }

    /// And the peer's disk.
    pub const fn pdsk(self, disk: Disk) -> Self {
        self.field(word::PDSK, disk.number() << 13)
    }

    /// Without the wish for this own disk state, if it is part of the request (ST-7).
    pub const fn without_disk(self, disk: Disk) -> Self {
        if self.mask & word::DISK == word::DISK && self.value & word::DISK == disk.number() << 9 {
            Self { mask: self.mask & !word::DISK, value: self.value & !word::DISK }
        } else {
            self
        }
    }

    /// And a flag of [`word`].
    pub const fn flag(self, mask: u32, set: bool) -> Self {
        self.field(mask, if set { mask } else { 0 })
    }

    /// Everything the vector of a volume says, except the suspension bits, which belong to the resource.
    pub const fn whole(state: &State) -> Self {
        const MASK: u32 = word::ROLE | word::PEER | word::CONN | word::DISK | word::PDSK | word::AFTR_ISP | word::PEER_ISP | word::USER_ISP;
        Self { mask: MASK, value: state.pack() & MASK }
    }

    /// The connection state asked for, if any.
    pub const fn conn_value(&self) -> Option<Conn> {
        if self.mask & word::CONN == 0 {
            None
        } else {
            Conn::from_number(self.value >> 4 & 0x1f)
        }
    }

    /// The connection state asked for, if it is part of the request and exists.
    pub const fn wanted_conn(&self) -> Option<Conn> {
        if self.mask & word::CONN == word::CONN {
            Conn::from_number((self.value & word::CONN) >> 4)
        } else {
            None
        }
    }

    /// The vector with the change applied, before sanitising.
    pub const fn apply(&self, old: &State) -> Result<State, BadWord> {
        State::unpack(old.pack() & !self.mask | self.value & self.mask)
    }

    /// The same request seen from the other node (ST-8).
    pub const fn mirrored(&self) -> Self {
        Self { mask: mirror_mask(self.mask), value: mirror_value(self.value) }
    }
}

const fn mirror_mask(mask: u32) -> u32 {
    // A mask that selects only part of the field cannot come from a sane peer and selects nothing.
    let conn = if mask & word::CONN == word::CONN { word::CONN } else { 0 };
    let swapped = (mask & word::ROLE) << 2 | (mask & word::PEER) >> 2 | conn | (mask & word::DISK) << 4 | (mask & word::PDSK) >> 4;
    let paused = mask & (word::AFTR_ISP | word::USER_ISP) != 0;
    swapped | if paused { word::PEER_ISP } else { 0 }
}

const fn mirror_value(value: u32) -> u32 {
    let conn = match value >> 4 & 0x1f {
        9 => 9,
        10 => 10,
        11 => 12,
        12 => 11,
        1 => 7,
        18 => 19,
        31 => 31,
        _ => 0,
    };
    let swapped = (value & word::ROLE) << 2 | (value & word::PEER) >> 2 | conn << 4 | (value & word::DISK) << 4 | (value & word::PDSK) >> 4;
    let paused = value & (word::AFTR_ISP | word::USER_ISP) != 0;
    swapped | if paused { word::PEER_ISP } else { 0 }
}

/// Evaluates a change. `Ok(None)`: nothing to do (code 2). A request that names a state which does not exist (only a
/// peer can send one) is refused as not supported (-17).
pub fn evaluate(old: &State, request: &Request, kind: Kind, facts: &Facts) -> Result<Option<State>, Refusal> {
    let wanted = request.apply(old).map_err(|_| Refusal::NotSupported)?;
    check(old, sanitize(old, wanted, facts), kind, facts)
}

/// Whether a sanitised vector may follow the old one.
pub(super) fn check(old: &State, new: State, kind: Kind, facts: &Facts) -> Result<Option<State>, Refusal> {
    if new == *old {
        return Ok(None); // ST-1
    }
    hard_transition(old, &new)?;
    if kind == Kind::Soft {
        if let Err(refusal) = valid_state(&new, facts) {
            // ST-2: a state that was broken in the same way before may be left step by step.
            if valid_state(old, facts) != Err(refusal) {
                return Err(refusal);
            }
        }
        soft_transition(old, &new, facts)?;
    }
    Ok(Some(new))
}

/// ST-5: the peer has to agree.
pub fn needs_cluster_wide(old: &State, new: &State) -> bool {
    if old.conn < Conn::Connected {
        return false;
    }
    let promoted = new.role == Role::Primary && old.role != Role::Primary;
    let entered = |conn: Conn| new.conn == conn && old.conn != conn;
    let failing = new.disk == Disk::Failed && old.disk != Disk::Failed;
    let a = new.conn >= Conn::Connected && (promoted || entered(Conn::StartingSyncT) || entered(Conn::StartingSyncS) || failing);
    let c = old.conn == Conn::Connected && (new.conn == Conn::VerifyS || new.conn == Conn::WFReportParams);
    a || new.conn == Conn::Disconnecting || c
}
