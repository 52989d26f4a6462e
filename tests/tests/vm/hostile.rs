// SPDX-License-Identifier: GPL-2.0
//! A peer that sends what no peer would (issue: "what wrong input gets").

use crate::{bed, check};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Pair, PairOptions};
use std::time::Duration;

#[test]
fn a_hostile_peer_costs_connections_and_nothing_else() {
    check(hostile());
}

/// Every packet kind with wrong lengths, bodies, volumes and sockets, before and after the
/// parameter exchange, and garbage: each ends its connection with a line in the log; afterwards
/// a real peer connects and syncs, and no memory is missing.
fn hostile() -> Result<()> {
    let binary = env!("CARGO_BIN_EXE_scripted_peer");
    let mut options = PairOptions::new("hostile");
    options.net = "protocol C; connect-int 1; ping-int 1; ping-timeout 2; timeout 9;".into();
    let content = std::fs::read(binary).context("reading the scripted peer")?;
    options.files = vec![("bin/scripted-peer".into(), content)];
    let mut pair = Pair::boot(&bed(), &options)?;
    pair.a.ok("modprobe drbd && drbdadm -- --force create-md r0 && drbdadm up r0")?;
    pair.a.ok("(while :; do grep -q cs:StandAlone /proc/drbd && drbdadm connect r0; sleep 0.2; done) > /dev/null 2>&1 &")?;
    let free = |pair: &mut Pair| -> Result<u64> {
        let text = pair.a.ok("echo 3 > /proc/sys/vm/drop_caches; sleep 1; grep MemAvailable /proc/meminfo")?;
        let number = text.split_whitespace().find_map(|w| w.parse().ok());
        number.context("MemAvailable is no number")
    };
    let before = free(&mut pair)?;
    let played = pair.b.run_within("scripted-peer 10.0.0.1:7788 1", Duration::from_secs(900))?;
    ensure!(played.code == 0, "{}\n{}", played.text, pair.a.ok("dmesg | tail -60; cat /proc/drbd")?);
    ensure!(played.text.contains(" 0 connections not ended"), "{}", played.text);
    let after = free(&mut pair)?;
    ensure!(before < after + 16_384, "{before} KiB were available before, {after} after");
    // the log names what came and what was expected
    let log = pair.a.console();
    for said in ["bad magic", "unknown packet", "bytes, expected", "unknown volume", "does not belong on the data socket", "Digest integrity check FAILED: 8s +4096"] {
        ensure!(log.contains(said), "the log never says '{said}'");
    }
    pair.b.ok("modprobe drbd && drbdadm -- --force create-md r0 && drbdadm up r0")?;
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(60)?;
    pair.compare_disks()?;
    pair.finish()
}
