// SPDX-License-Identifier: GPL-2.0
//! Crash points: the metadata side of a node runs each workload over a disk that remembers its writes; then, for every state that
//! a crash can leave the disk in - at every boundary between two writes, with every subset of the sectors of the write under way, and with
//! what was not flushed there or gone - the node is recovered and compared with what has to hold:
//!
//! * the superblock is one that was written, with a size and a generation that belong together;
//! * the log can be replayed, names every extent with writes in flight, and none that never entered it;
//! * every block that may differ from the peer's has its bit set, or all have;
//! * a peer that lacks completed writes would be resynced from here; mixed data does not count as consistent.
//!
//! `CRASH_POINTS_SCALE=n` makes the workloads longer. The real `drbdmeta apply-al` does the same to a sample of the states in the
//! virtual-machine tests (`crash_states_agree_with_drbdmeta`).

#[allow(dead_code)]
mod disk;
#[path = "../simulation/heap.rs"]
#[allow(dead_code)]
mod heap;
mod node;
#[allow(dead_code)]
mod truth;
mod workloads;

use disk::Walk;
use node::{Duty, Node};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use truth::{Recovery, Truth};

/// Runs through every crash state of a workload; how many there were.
fn crash_everywhere(node: &Node) -> Result<u64, String> {
    let mut recovery = Recovery::new(node.make.index);
    let truth = std::cell::RefCell::new(Truth::default());
    let mut states = 0;
    Walk::new(&node.disk).run(
        |fact| truth.borrow_mut().learn(fact),
        |crash| {
            states += 1;
            let found = recovery.recover(crash, truth.borrow().device)?;
            truth.borrow().check(&found)
        },
    )?;
    Ok(states)
}

#[test]
fn every_crash_point_of_every_workload_recovers() {
    let scale = std::env::var("CRASH_POINTS_SCALE").ok().and_then(|value| value.parse().ok()).unwrap_or(30);
    let next = AtomicUsize::new(0);
    let total = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, workload)) = workloads::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let states = crash_everywhere(&workload(scale, None)).unwrap_or_else(|text| panic!("{name}: {text}"));
                    println!("{states:8} states: {name}");
                    total.fetch_add(states, Ordering::Relaxed);
                }
            });
        }
    });
    let states = total.into_inner();
    println!("{states} states in {} workloads", workloads::ALL.len());
    assert!(states >= 100_000, "only {states} states");
}

/// The model is worth what it finds: each duty that a node forgets is noticed in the workload that is about it.
#[test]
fn every_duty_is_missed_when_it_is_forgotten() {
    let rows = [
        (Duty::StoreEvicted, "log: writes that only this node has"),
        (Duty::CommitBeforeWrite, "log: cold extents"),
        (Duty::StoreBeforeDemotion, "bitmap: written at every demotion"),
        (Duty::StoreGeneration, "attach: detached"),
        (Duty::BracketAllBits, "bitmap: all bits set"),
        (Duty::BracketMove, "size: internal metadata moves"),
    ];
    for (duty, about) in rows {
        let (_, workload) = workloads::ALL.iter().find(|(name, _)| name.starts_with(about)).expect("a workload");
        assert!(crash_everywhere(&workload(30, Some(duty))).is_err(), "{duty:?} makes no difference");
    }
}
