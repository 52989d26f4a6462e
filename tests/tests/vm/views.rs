// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 4 on a pair: what drbd-overview, status, top, why and the exporter show before the driver is there, while a resync
//! runs, when all is well and when the peer is gone.

use crate::{bed, check};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Pair, PairOptions, Vm};
use std::time::Duration;

#[test]
fn overview_status_top_why_and_exporter_tell_the_same_story() {
    check(story());
}

/// A page of the live screen, taken while the device is written to.
fn page(vm: &mut Vm) -> Result<String> {
    vm.ok(
        "rm -f /tmp/done; (drbdadm top --once --interval=2 > /tmp/top 2>&1; touch /tmp/done) & \
         until [ -e /tmp/done ]; do dd if=/dev/zero of=/dev/drbd0 bs=16k count=4 oflag=direct 2>/dev/null || sleep 0.2; done; \
         cat /tmp/top",
    )
}

fn metrics(vm: &mut Vm) -> Result<String> {
    vm.ok("wget -q -O - http://127.0.0.1:9942/metrics")
}

/// The value of a metric.
fn value(text: &str, metric: &str) -> Result<f64> {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    Ok(found
        .with_context(|| format!("{metric} is not in\n{text}"))?
        .parse()?)
}

const PLACE: &str = "resource=\"r0\",volume=\"0\",minor=\"0\"";

fn story() -> Result<()> {
    let mut options = PairOptions::new("views");
    options.our_tools = [true, true];
    options.disk = "c-plan-ahead 0; resync-rate 100k;".into();
    let mut pair = Pair::boot(&bed(), &options)?;
    // the driver is not there: said by every view, with what to do
    ensure!(pair.a.ok("drbdadm overview")?.trim() == "drbd not loaded");
    ensure!(pair
        .a
        .exits(20, "drbdadm top --once")?
        .contains("not loaded: modprobe drbd"));
    ensure!(pair.a.ok("drbdadm why r0")?.contains("modprobe drbd"));
    ensure!(pair
        .a
        .ok("drbdadm exporter --once")?
        .contains("\ndrbd_up 0\n"));
    pair.a.start_exporter()?;
    ensure!(
        value(
            &metrics(&mut pair.a)?,
            "drbd_resource_running{resource=\"r0\"}"
        )? == 0.0
    );
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("modprobe drbd && drbdadm -- --force create-md r0 && drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.b.wait_for(40, "cat /proc/drbd", "cs:SyncTarget")?;

    // a resync that takes its time, and an application
    let text = page(&mut pair.a)?;
    ensure!(text.contains("1 resource, 1 notice"), "{text}");
    ensure!(
        text.contains("SyncSource [") && text.contains(" left"),
        "{text}"
    );
    let line = text
        .lines()
        .find(|line| line.contains("UpToDate/Inconsistent"));
    let columns: Vec<&str> = line.unwrap_or("").split_whitespace().collect();
    // VOL MINOR DISKS READ/s ms WRT/s ms SENT/s RECV/s OUT DISK-ms WAIT SIZE
    ensure!(columns.len() == 13, "{text}");
    ensure!(
        columns[5] != "0B" && columns[6] != "-" && columns[7] != "0B",
        "no writes: {text}"
    );
    ensure!(columns[10] != "-", "no latency of the disk: {text}");
    let shown = pair.b.ok("drbdadm top --once --interval=1")?;
    ensure!(
        shown.contains("Inconsistent/UpToDate") && shown.contains("SyncTarget ["),
        "{shown}"
    );
    ensure!(pair.a.ok("drbdadm why r0")?.contains("SyncSource"));
    let overview = pair.a.ok("drbdadm overview")?;
    ensure!(
        overview
            .starts_with("  0:r0/0  SyncSource Primary/Secondary UpToDate/Inconsistent C r-----"),
        "{overview}"
    );
    ensure!(overview.contains("sync'ed:"), "{overview}");
    // in colour on a terminal (the console), plain in a pipe
    let plain = pair.a.ok("drbdadm status r0")?;
    ensure!(
        plain.contains("replication:SyncSource") && !plain.contains('\x1b'),
        "{plain}"
    );
    pair.a.ok("drbdadm status r0 > /dev/ttyS0")?;
    let colored = "replication:\x1b[1;33mSyncSource\x1b[0m";
    let shows = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        pair.a.console().contains(colored)
    });
    ensure!(shows, "no colour on the console");
    let text = metrics(&mut pair.a)?;
    ensure!(
        value(
            &text,
            &format!("drbd_replication_state{{{PLACE},state=\"SyncSource\"}}")
        )? == 1.0
    );
    ensure!(
        value(
            &text,
            &format!("drbd_peer_disk_state{{{PLACE},state=\"Inconsistent\"}}")
        )? == 1.0
    );
    let done = value(&text, &format!("drbd_progress_ratio{{{PLACE}}}"))?;
    ensure!((0.0..1.0).contains(&done), "{text}");
    ensure!(
        value(
            &text,
            &format!("drbd_requests_total{{{PLACE},operation=\"write\"}}")
        )? > 0.0,
        "{text}"
    );
    ensure!(
        value(&text, &format!("drbd_sent_bytes_total{{{PLACE}}}"))? > 0.0,
        "{text}"
    );
    ensure!(
        value(&text, "drbd_resource_severity{resource=\"r0\"}")? == 1.0,
        "{text}"
    );

    // all is well
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdsetup disk-options 0 --resync-rate=200M")?;
    }
    pair.wait_synced(120)?;
    let text = page(&mut pair.a)?;
    ensure!(
        text.contains("Connected  protocol C") && !text.contains("SyncSource"),
        "{text}"
    );
    let text = metrics(&mut pair.a)?;
    ensure!(!text.contains("drbd_progress_ratio{"), "{text}");
    ensure!(
        value(&text, &format!("drbd_out_of_sync_bytes{{{PLACE}}}"))? == 0.0,
        "{text}"
    );

    // the peer goes
    pair.b.ok("drbdadm down r0")?;
    pair.a.wait_for(20, "drbdadm cstate r0", "WFConnection")?;
    let text = page(&mut pair.a)?;
    ensure!(
        text.contains("1 resource, 1 problem") && text.contains("r0  Primary/Unknown  Connecting"),
        "{text}"
    );
    let text = metrics(&mut pair.a)?;
    ensure!(
        value(&text, "drbd_resource_severity{resource=\"r0\"}")? == 2.0,
        "{text}"
    );
    ensure!(
        value(
            &text,
            "drbd_connection_state{resource=\"r0\",state=\"Connecting\"}"
        )? == 1.0,
        "{text}"
    );
    ensure!(
        value(&text, &format!("drbd_out_of_sync_bytes{{{PLACE}}}"))? > 0.0,
        "{text}"
    );
    // the exporter holds nothing: the driver goes while it runs
    pair.a.ok("drbdadm down r0 && rmmod drbd")?;
    ensure!(value(&metrics(&mut pair.a)?, "drbd_up")? == 0.0);
    pair.finish()
}

/// What a service does.
trait Service {
    /// Starts the exporter and waits until it answers.
    fn start_exporter(&mut self) -> Result<()>;
}

impl Service for Vm {
    fn start_exporter(&mut self) -> Result<()> {
        self.ok("drbdadm exporter > /dev/null 2>&1 &")?;
        self.wait_for(30, "wget -q -O - http://127.0.0.1:9942/metrics", "drbd_up")?;
        Ok(())
    }
}
