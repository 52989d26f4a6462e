// SPDX-License-Identifier: GPL-2.0
//! Changes that concern every volume of a resource (behaviour.md 2.1, ST-7, AC-4, AC-5, FE-9).

use super::change::{check, Kind, Request};
use super::rules::{conn_transition, sanitize, Facts, Refusal};
use super::vector::{Conn, Disk, Role, State};

/// Extremes over the volumes of a resource. With no volume: as the initial vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Role of the resource.
    pub role: Role,
    /// Role of the peer.
    pub peer: Role,
    /// Lowest connection state.
    pub lowest_conn: Conn,
    /// Highest connection state.
    pub highest_conn: Conn,
    /// Lowest own disk.
    pub lowest_disk: Disk,
    /// Highest own disk.
    pub highest_disk: Disk,
    /// Lowest disk of the peer.
    pub lowest_pdsk: Disk,
    /// Highest disk of the peer.
    pub highest_pdsk: Disk,
}

impl Summary {
    /// Over some vectors.
    pub fn of(states: impl IntoIterator<Item = State>) -> Self {
        states.into_iter().map(Self::one).reduce(Self::join).unwrap_or_else(|| Self::one(State::default()))
    }

    fn one(s: State) -> Self {
        Self {
            role: s.role,
            peer: s.peer,
            lowest_conn: s.conn,
            highest_conn: s.conn,
            lowest_disk: s.disk,
            highest_disk: s.disk,
            lowest_pdsk: s.pdsk,
            highest_pdsk: s.pdsk,
        }
    }

    fn join(self, other: Self) -> Self {
        Self {
            role: self.role.max(other.role),
            peer: self.peer.max(other.peer),
            lowest_conn: self.lowest_conn.min(other.lowest_conn),
            highest_conn: self.highest_conn.max(other.highest_conn),
            lowest_disk: self.lowest_disk.min(other.lowest_disk),
            highest_disk: self.highest_disk.max(other.highest_disk),
            lowest_pdsk: self.lowest_pdsk.min(other.lowest_pdsk),
            highest_pdsk: self.highest_pdsk.max(other.highest_pdsk),
        }
    }
}

/// Evaluates a connection-wide change. `connection` is the state of the sockets, which has to be able to move as well.
/// One refusing volume refuses all. `ignore_outdate_failure`: a volume asked to become Outdated that is below Outdated keeps its
/// disk state (ST-7). The new vectors go to `out`, in order; `Ok(false)`: nothing to do. Volumes beyond the end of
/// `out` are a mistake of the caller and refused as transient.
pub fn evaluate_all(
    connection: Conn,
    volumes: &[(State, Facts)],
    request: &Request,
    kind: Kind,
    ignore_outdate_failure: bool,
    out: &mut [State],
) -> Result<bool, Refusal> {
    let mut changed = false;
    if let Some(conn) = request.wanted_conn() {
        conn_transition(connection, conn)?;
        changed = connection != conn.min(Conn::WFReportParams);
    }
    if volumes.len() > out.len() {
        return Err(Refusal::InTransientState);
    }
    for ((old, facts), place) in volumes.iter().zip(out) {
        let wanted = request.apply(old).map_err(|_| Refusal::NotSupported)?;
        let mut new = sanitize(old, wanted, facts);
        if ignore_outdate_failure && new.disk == Disk::Outdated && old.disk < Disk::Outdated {
            new.disk = old.disk;
        }
        let evaluated = check(old, new, kind, facts)?;
        changed |= evaluated.is_some();
        *place = evaluated.unwrap_or(*old);
    }
    Ok(changed)
}

/// What becomes of requests that were frozen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thaw {
    /// AC-4, AC-5: the connection is back: send again what was not acknowledged (EP-7).
    Resend,
    /// AC-4: the disk is back: submit local I/O again (EP-8).
    RestartLocal,
    /// FE-9: the peer is fenced: complete by the local result (EP-6).
    LocalOnly,
}

/// Effects of a change on the resource as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ResourceEffects {
    /// Frozen requests go on, this way.
    pub thaw: Option<Thaw>,
    /// AC-4: then clear susp_nod.
    pub clear_susp_nod: bool,
    /// AC-5, FE-9: then clear susp_fen.
    pub clear_susp_fen: bool,
    /// AC-5: before, forget deferred new current UUIDs of all volumes.
    pub drop_deferred_uuids: bool,
    /// FE-9: before, create deferred new current UUIDs.
    pub create_deferred_uuids: bool,
}

/// Effects on the resource; `changes` holds old and new vector of every volume (equal where nothing changed).
pub fn resource_effects(changes: &[(State, State)]) -> ResourceEffects {
    let mut effects = ResourceEffects::default();
    if changes.is_empty() {
        return effects;
    }
    let all = |test: fn(&State) -> bool| changes.iter().all(|change| test(&change.1));
    let any_new = |test: fn(&State) -> bool| changes.iter().any(|change| test(&change.1));
    let all_connected = all(|s| s.conn >= Conn::Connected);
    let was_apart = changes.iter().any(|change| change.0.conn < Conn::Connected);
    let was_attaching = changes.iter().any(|change| matches!(change.0.disk, Disk::Attaching | Disk::Negotiating));
    if any_new(|s| s.susp_nod) {
        if was_attaching && all(|s| s.disk == Disk::UpToDate) {
            effects.thaw = Some(Thaw::RestartLocal);
        } else if was_apart && all_connected {
            effects.thaw = Some(Thaw::Resend);
        }
        effects.clear_susp_nod = effects.thaw.is_some();
    }
    if any_new(|s| s.susp_fen) {
        if all_connected {
            effects.thaw = Some(Thaw::Resend);
            // A peer that comes back without its disk takes no part in what is written from now on: that is a new generation after all.
            effects.create_deferred_uuids = any_new(|s| s.pdsk < Disk::Inconsistent);
            effects.drop_deferred_uuids = !effects.create_deferred_uuids;
            effects.clear_susp_fen = true;
        } else if all(|s| s.pdsk <= Disk::Outdated) {
            effects.thaw = Some(Thaw::LocalOnly);
            effects.create_deferred_uuids = true;
            effects.clear_susp_fen = true;
        }
    }
    effects
}
