// SPDX-License-Identifier: GPL-2.0
//! Coverage marks: which faults came about and which edges of the state vector were taken, in all runs of this process.

use drbd_core::state::{Conn, Disk, State};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::Mutex;

/// Every fault of the fault model.
pub const FAULTS: [&str; 26] = [
    "cable cut, what is on its way arrives in part",
    "cable cut, nothing arrives",
    "a node loses power",
    "power fails at a write of metadata",
    "both nodes without power",
    "an unflushed write is lost",
    "an unflushed write is kept",
    "an unflushed write is torn at its end",
    "an unflushed write is torn anywhere",
    "a disk fails",
    "power comes back",
    "cable cut within a packet",
    "cable cut within the header of a packet",
    "nothing arrives until a timeout",
    "a write for the peer fails",
    "a write of the application fails",
    "a write of metadata fails",
    "a read of the application fails",
    "a read for the peer fails",
    "a read of a verify fails",
    "a read for a resync fails",
    "a write of a resync fails",
    "the disk of a target fails",
    "the disk of a target hangs",
    "a disk hangs",
    "a disk that hangs is named gone",
];

static SEEN: [AtomicBool; FAULTS.len()] = [const { AtomicBool::new(false) }; FAULTS.len()];
static CONN: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];
static DISK: [AtomicU32; 16] = [const { AtomicU32::new(0) }; 16];

/// A fault has come about.
pub fn fault(name: &str) {
    let index = FAULTS.iter().position(|known| *known == name).expect("a fault of the model");
    SEEN[index].store(true, Relaxed);
}

/// The vector of a node has changed.
pub fn edge(old: &State, new: &State) {
    if old.conn != new.conn {
        CONN[old.conn.number() as usize].fetch_or(1 << new.conn.number(), Relaxed);
    }
    if old.disk != new.disk {
        DISK[old.disk.number() as usize].fetch_or(1 << new.disk.number(), Relaxed);
    }
}

/// What the settings led to, by name; every one of [`crate::settings::OUTCOMES`], [`crate::policies::OUTCOMES`],
/// [`crate::reads::OUTCOMES`], [`crate::verify::OUTCOMES`] and [`crate::resync_errors::OUTCOMES`] has to come about.
static OUTCOMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// A setting has decided something.
pub fn outcome(name: &'static str) {
    OUTCOMES.lock().unwrap().insert(name);
}

/// Outcomes that never came about.
pub fn missing_outcomes() -> Vec<&'static str> {
    let seen = OUTCOMES.lock().unwrap();
    let all = [crate::settings::OUTCOMES, crate::policies::OUTCOMES, crate::reads::OUTCOMES, crate::verify::OUTCOMES, crate::resync_errors::OUTCOMES];
    all.concat().into_iter().filter(|name| !seen.contains(name)).collect()
}

/// Faults that never came about.
pub fn missing_faults() -> Vec<&'static str> {
    FAULTS.iter().zip(&SEEN).filter(|(_, seen)| !seen.load(Relaxed)).map(|(name, _)| *name).collect()
}

/// Every edge that was taken, as `old new`, sorted by number.
pub fn edges() -> Vec<String> {
    let conns = Conn::ALL.iter().flat_map(|old| Conn::ALL.iter().map(move |new| (old, new)));
    let conns = conns.filter(|(old, new)| CONN[old.number() as usize].load(Relaxed) >> new.number() & 1 != 0);
    let disks = Disk::ALL.iter().flat_map(|old| Disk::ALL.iter().map(move |new| (old, new)));
    let disks = disks.filter(|(old, new)| DISK[old.number() as usize].load(Relaxed) >> new.number() & 1 != 0);
    conns.map(|(old, new)| format!("{old} {new}")).chain(disks.map(|(old, new)| format!("{old} {new}"))).collect()
}
