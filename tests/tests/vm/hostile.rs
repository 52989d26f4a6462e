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

/// Connections that are offended at the same time, each of a resource of its own.
const LANES: usize = 4;

/// The configuration of resource r`lane` of both nodes.
fn resource(lane: usize, net: &str) -> String {
    let disk = char::from(b'a' + lane as u8);
    let on = |node: usize| format!(" on node{node} {{ address 10.0.0.{node}:{}; }}\n", 7788 + lane);
    format!(
        "resource r{lane} {{\n net {{ {net} }}\n disk {{ c-plan-ahead 0; resync-rate 200M; }}\n device /dev/drbd{lane};\n \
         disk /dev/vd{disk};\n meta-disk internal;\n{}{}}}\n",
        on(1),
        on(2)
    )
}

/// Every packet kind with wrong lengths, bodies, volumes and sockets, before and after the
/// parameter exchange, and garbage: each ends its connection with a line in the log; afterwards
/// a real peer connects and syncs, and no memory is missing.
fn hostile() -> Result<()> {
    let binary = env!("CARGO_BIN_EXE_scripted_peer");
    let mut options = PairOptions::new("hostile");
    let net = "protocol C; connect-int 1; ping-int 1; ping-timeout 2; timeout 9;";
    let configuration: String = (0..LANES).map(|lane| resource(lane, net)).collect();
    options.disks = LANES;
    let content = std::fs::read(binary).context("reading the scripted peer")?;
    options.files = vec![("bin/scripted-peer".into(), content), ("root/lanes".into(), configuration.into_bytes())];
    let mut pair = Pair::boot(&bed(), &options)?;
    pair.b.ok("{ echo 'global { usage-count no; }'; cat /root/lanes; } > /etc/drbd.conf")?;
    pair.a.ok("{ echo 'global { usage-count no; }'; cat /root/lanes; } > /etc/drbd.conf; modprobe drbd && drbdadm -- --force create-md all && drbdadm up all")?;
    // refused for ever by what a peer said: the administrator tries again
    pair.a.ok(
        "(while :; do for minor in $(sed -n 's/^ *\\([0-9]*\\): cs:StandAlone.*/\\1/p' /proc/drbd); do drbdadm connect r$minor; done; sleep 0.2; done) \
         > /dev/null 2>&1 & echo $! > /tmp/again",
    )?;
    let free = |pair: &mut Pair| -> Result<u64> {
        let text = pair.a.ok("echo 3 > /proc/sys/vm/drop_caches; sleep 1; grep MemAvailable /proc/meminfo")?;
        let number = text.split_whitespace().find_map(|w| w.parse().ok());
        number.context("MemAvailable is no number")
    };
    let before = free(&mut pair)?;
    let played = pair.b.run_within(
        &format!(
            "for lane in $(seq 0 {last}); do scripted-peer 10.0.0.1:$((7788 + lane)) 1 $lane {LANES} & peers=\"$peers $!\"; done; \
             for peer in $peers; do wait $peer || exit 1; done",
            last = LANES - 1
        ),
        Duration::from_secs(900),
    )?;
    ensure!(played.code == 0, "{}\n{}", played.text, pair.a.ok("dmesg | tail -60; cat /proc/drbd")?);
    ensure!(played.text.matches(" 0 connections not ended").count() == LANES, "{}", played.text);
    let scenarios: usize = played.text.lines().filter_map(|line| line.strip_prefix("played ")?.split(' ').next()?.parse::<usize>().ok()).sum();
    ensure!(scenarios > 700, "only {scenarios} scenarios:\n{}", played.text);
    eprintln!("{scenarios} scenarios");
    let after = free(&mut pair)?;
    ensure!(before < after + 16_384, "{before} KiB were available before, {after} after");
    // the log names what came and what was expected
    let log = pair.a.console();
    for said in ["bad magic", "unknown packet", "bytes, expected", "unknown volume", "does not belong on the data socket", "Digest integrity check FAILED: 8s +4096"] {
        ensure!(log.contains(said), "the log never says '{said}'");
    }
    pair.a.ok(&format!("kill $(cat /tmp/again); drbdadm down {}", (1..LANES).map(|lane| format!("r{lane} ")).collect::<String>()))?;
    pair.b.ok("modprobe drbd && drbdadm -- --force create-md r0 && drbdadm up r0")?;
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(60)?;
    pair.compare_disks()?;
    pair.finish()
}
