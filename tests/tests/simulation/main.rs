// SPDX-License-Identifier: GPL-2.0
//! Two nodes built from the parts of core as the driver builds them, over disks with a volatile cache and a network that can be cut
//! anywhere. Chance comes from a seed alone, so each run repeats exactly.
//!
//! What has to hold, in every run: a write that was completed is on the survivor; a resync never runs from old data to new; bits and activity log know
//! of every block that differs; after a resync both disks are equal; nothing waits for ever.
//!
//! `SIMULATION_SEED=n` repeats one seed, with every step; `SIMULATION_SEEDS=n` sets how many are run.

mod admin;
mod boot;
mod disk;
mod handshake;
mod heap;
mod network;
mod node;
mod oracle;
mod peer;
mod random;
mod receiver;
mod requests;
mod sender;
mod world;

use node::Duties;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Plan, Summary, World};

const ALL_DUTIES: Duties = Duties {
    flush_data_before_metadata: true,
    store_bitmap_before_resync: true,
    drain_before_demotion: true,
    store_generation_before_completion: true,
    store_bitmap_before_eviction: true,
    keep_received_writes: true,
    store_bitmap_before_demotion: true,
    suspect_finished_resync: true,
    drain_before_bitmap: true,
    announce_failed_disk_first: true,
};

/// Steps with faults in a run.
const STEPS: u32 = 1200;

/// Runs a seed; the trace when something did not hold.
fn run(plan: &Plan) -> Result<Summary, String> {
    let mut world = World::new(plan);
    catch_unwind(AssertUnwindSafe(|| world.run(plan))).map_err(|_| world.trace())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_history_loses_a_completed_write_or_leaves_the_disks_different() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let plan = Plan { seed, steps: STEPS, duties: ALL_DUTIES, verbose: true };
        run(&plan).unwrap_or_else(|trace| panic!("{trace}"));
        return;
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(10_000);
    let next = AtomicU64::new(0);
    let (acked, crashes) = (AtomicU64::new(0), AtomicU64::new(0));
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    break;
                }
                let plan = Plan { seed, steps: STEPS, duties: ALL_DUTIES, verbose: false };
                let summary = run(&plan).unwrap_or_else(|trace| {
                    let command = "cargo test -p drbd-tests --test simulation no_history -- --nocapture";
                    panic!("{trace}\nrepeat with: SIMULATION_SEED={seed} {command}")
                });
                acked.fetch_add(summary.acked, Ordering::Relaxed);
                crashes.fetch_add(u64::from(summary.crashes), Ordering::Relaxed);
            });
        }
    });
    let (acked, crashes) = (acked.into_inner(), crashes.into_inner());
    println!("{seeds} seeds: {acked} writes completed, {crashes} crashes");
    assert!(acked > seeds * 10 && crashes > seeds / 2, "{acked} writes, {crashes} crashes: the runs prove little");
}

/// The first of some seeds in which something does not hold without one of the shell's duties.
fn caught_without(forget: impl Fn(&mut Duties), seeds: std::ops::Range<u64>) -> Option<u64> {
    let mut duties = ALL_DUTIES;
    forget(&mut duties);
    seeds.into_iter().find(|seed| run(&Plan { seed: *seed, steps: STEPS, duties, verbose: false }).is_err())
}

/// A duty, how to forget it, and seeds to try: a good deal more than it takes.
type Row = (&'static str, fn(&mut Duties), std::ops::Range<u64>);

/// The model is worth what it finds: each duty that the shell forgets is noticed.
#[test]
fn every_duty_of_the_shell_is_missed_when_it_is_forgotten() {
    let rows: [Row; 10] = [
        ("flush_data_before_metadata", |duties| duties.flush_data_before_metadata = false, 0..500),
        ("store_bitmap_before_resync", |duties| duties.store_bitmap_before_resync = false, 0..500),
        ("drain_before_demotion", |duties| duties.drain_before_demotion = false, 600..3000),
        ("store_generation_before_completion", |duties| duties.store_generation_before_completion = false, 0..1500),
        ("store_bitmap_before_eviction", |duties| duties.store_bitmap_before_eviction = false, 0..500),
        ("keep_received_writes", |duties| duties.keep_received_writes = false, 0..2000),
        ("store_bitmap_before_demotion", |duties| duties.store_bitmap_before_demotion = false, 29_000..60_000),
        ("announce_failed_disk_first", |duties| duties.announce_failed_disk_first = false, 500..5000),
        ("drain_before_bitmap", |duties| duties.drain_before_bitmap = false, 74_000..100_000),
        ("suspect_finished_resync", |duties| duties.suspect_finished_resync = false, 0..3000),
    ];
    for (name, forget, seeds) in rows {
        let found = caught_without(forget, seeds.clone());
        assert!(found.is_some(), "{name} makes no difference in seeds {seeds:?}");
    }
}
