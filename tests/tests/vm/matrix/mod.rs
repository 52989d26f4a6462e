// SPDX-License-Identifier: GPL-2.0
//! Every recorded decision of the handshake, driven on two machines in the three pairings of drivers (behaviour.md sections 3 and
//! 4; issue 3 line 1), and always-asbp. Sixteen cases at a time, each with its own disks, minor and port.

mod area;
mod lane;
mod report;

use crate::{bed, check};
use anyhow::{ensure, Context, Result};
use lane::Lane;
use qemu_testbed::{Driver, Pair, PairOptions, Vm};
use report::Report;
use serde_json::Value;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Names of the nodes in the fixture.
const NODES: [&str; 2] = ["a", "b"];
/// Cases played at once.
const LANES: usize = 16;
/// Longest time until the states of a batch stand still.
const SETTLE_LIMIT: Duration = Duration::from_secs(180);
/// Loops that keep a node busy, so that it comes to its decisions long after the other one.
const START_BUSY_LOOPS: &str = "for loop in $(seq 20); do (while :; do :; done) > /dev/null 2>&1 & echo $!; done > /tmp/busy";
/// States that are on the way to another one.
const PASSING: [&str; 12] = [
    "Unconnected", "Disconnecting", "Timeout", "BrokenPipe", "NetworkFailure", "ProtocolError", "TearDown", "WFReportParams",
    "WFBitMapS", "WFBitMapT", "WFSyncUUID", "StartingSync",
];

#[test]
fn recorded_decisions_rust_and_rust() {
    check(play("matrix-rr", Driver::Rust, Driver::Rust));
}

#[test]
fn recorded_decisions_rust_and_c() {
    check(play("matrix-rc", Driver::Rust, Driver::C));
}

#[test]
fn recorded_decisions_c_and_rust() {
    check(play("matrix-cr", Driver::C, Driver::Rust));
}

/// Decided by who breaks ties: the node that started later, unless the first one happens to try again in that moment (CO-2).
fn is_tie(case: &Value) -> bool {
    ["eq-crash-both-ab", "sb0-zero-both-ba", "sb0-least-tie", "sb0-least-tie-ba"].iter().any(|id| case["id"] == *id)
}

/// The two machines.
struct Nodes(Pair);

impl Nodes {
    fn node(&mut self, index: usize) -> &mut Vm {
        if index == 0 { &mut self.0.a } else { &mut self.0.b }
    }

    /// One script on each node, at the same time.
    fn both(&mut self, scripts: [String; 2]) -> Result<[String; 2]> {
        let scripts = scripts.map(|script| if script.is_empty() { ":".to_string() } else { script });
        self.0.a.start_command(&scripts[0])?;
        self.0.b.start_command(&scripts[1])?;
        let a = self.0.a.finish_command(Duration::from_secs(120))?.text;
        let b = self.0.b.finish_command(Duration::from_secs(120))?.text;
        Ok([a, b])
    }

    /// Waits until nothing has changed for a second and nobody is on the way.
    fn settle(&mut self, lanes: usize) -> Result<()> {
        let limit = Instant::now() + SETTLE_LIMIT;
        let states = "cat /proc/drbd".to_string();
        // minor, connection, roles, disks; not the flags and the counters
        let of = |text: &String| -> String {
            let lines = text.lines().filter(|line| line.contains(": cs:"));
            lines.map(|line| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ") + "\n").collect()
        };
        let mut before = [String::new(), String::new()];
        let mut since = Instant::now();
        loop {
            let now = self.both([states.clone(), states.clone()])?.each_ref().map(of);
            // Two nodes that wait for each other are about to meet.
            let meeting = |lane: usize| now.iter().all(|text| text.lines().any(|line| line.starts_with(&format!("{lane}: cs:WFConnection"))));
            let passing = now.iter().any(|text| PASSING.iter().any(|state| text.contains(state))) || (0..lanes).any(meeting);
            if now != before || passing {
                since = Instant::now();
                before = now;
            }
            if since.elapsed() > Duration::from_millis(1200) || Instant::now() > limit {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn play(name: &str, node1: Driver, node2: Driver) -> Result<()> {
    let text = std::fs::read_to_string(drbd_tests::fixture("handshake-matrix.json"))?;
    let matrix: Value = serde_json::from_str(&text)?;
    let only = std::env::var("DRBD_RS_CASE").unwrap_or_default();
    let recorded = matrix["cases"].as_array().map_or(&[][..], Vec::as_slice);
    let derived = [always_asbp(recorded)?];
    let cases: Vec<&Value> = recorded.iter().chain(&derived).collect();
    let cases: Vec<&Value> = cases.into_iter().filter(|case| only.is_empty() || case["id"] == only.as_str()).collect();
    let mut options = PairOptions::new(name).drivers(node1, node2);
    options.disk_mib = 32;
    options.disks = LANES;
    options.files.push(("sbin/matrix-helper".into(), lane::HELPER.as_bytes().to_vec()));
    let mut nodes = Nodes(Pair::boot(&bed(), &options)?);
    let load = "chmod 755 /sbin/matrix-helper; modprobe drbd usermode_helper=/sbin/matrix-helper minor_count=32";
    for node in 0..2 {
        nodes.node(node).ok(load)?;
    }
    // A case that takes the network down plays alone, and one in which it matters who connects first.
    let (alone, beside): (Vec<&Value>, Vec<&Value>) =
        cases.iter().partition(|case| case["steps"].to_string().contains("ip link") || is_tie(case));
    let mut wrong = Vec::new();
    for batch in beside.chunks(LANES).chain(alone.chunks(1)) {
        let lanes = lanes_of(&matrix, batch);
        let mut deviating = play_batch(&mut nodes, &lanes, false)?;
        if !deviating.is_empty() && batch.len() == 1 && is_tie(batch[0]) {
            eprintln!("once more, the nodes may have met the other way round: {}", deviating.join("; "));
            deviating = play_batch(&mut nodes, &lanes, false)?;
        }
        wrong.extend(deviating);
    }
    // HS-42: a slow node that asks for a dry run comes to its own verdict; its peer, which only resets the connection, waits for that.
    let dry: Vec<&Value> = cases.iter().copied().filter(|case| case["id"].as_str().is_some_and(|id| id.ends_with("-dry"))).collect();
    if node2 == Driver::Rust && !dry.is_empty() {
        wrong.extend(play_batch(&mut nodes, &lanes_of(&matrix, &dry), true)?.iter().map(|line| format!("on a slow node {line}")));
    }
    ensure!(wrong.is_empty(), "{} of {} cases deviate:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    ensure!(!only.is_empty() || cases.len() >= 115, "only {} cases", cases.len());
    for node in 0..2 {
        nodes.node(node).ok("rmmod drbd")?;
    }
    nodes.0.finish()
}

/// HS-23: the recorded split brain of which only the histories meet, with always-asbp: the node with fewer changes becomes the target of a
/// full sync, which is recorded for a disk that was Inconsistent.
fn always_asbp(cases: &[Value]) -> Result<Value> {
    let of = |id: &str| cases.iter().find(|case| case["id"] == id).with_context(|| format!("no case {id}"));
    let mut case = of("hist-sb-pol")?.clone();
    case["id"] = "hist-sb-always-asbp".into();
    case["race"] = false.into();
    case["net_opts"].as_array_mut().context("no options")?.push("--always-asbp=yes".into());
    case["result"] = of("hist-sb-inc")?["result"].clone();
    for node in NODES {
        let helpers = case["result"][node]["helpers"].as_array_mut().context("no helpers")?;
        helpers.insert(0, "initial-split-brain".into());
    }
    Ok(case)
}

fn lanes_of<'a>(matrix: &'a Value, batch: &[&'a Value]) -> Vec<Lane<'a>> {
    let device_sectors = matrix["device_sectors"].as_u64().unwrap_or(0);
    let lane = |(number, case): (usize, &&'a Value)| Lane { case, symbols: &matrix["symbols"], number, device_sectors };
    batch.iter().enumerate().map(lane).collect()
}

fn scripts(lanes: &[Lane<'_>], script: impl Fn(&Lane<'_>, usize) -> String) -> [String; 2] {
    [0, 1].map(|node| lanes.iter().map(|lane| script(lane, node)).collect())
}

/// Plays cases beside each other; what deviates. `slow`: the first node is kept busy meanwhile.
fn play_batch(nodes: &mut Nodes, lanes: &[Lane<'_>], slow: bool) -> Result<Vec<String>> {
    for lane in lanes {
        for node in 0..2 {
            let image = nodes.node(node).disk(lane.number);
            lane.write_area(node, None, &image)?;
        }
    }
    nodes.both([lane::CLEAR, lane::CLEAR].map(String::from))?;
    nodes.both(scripts(lanes, |lane, node| lane.set_up(node)))?;
    if slow {
        nodes.node(0).ok(START_BUSY_LOOPS)?;
    }
    let steps: Vec<Vec<Value>> = lanes.iter().map(Lane::steps).collect();
    for turn in 0..steps.iter().map(Vec::len).max().unwrap_or(0) {
        let due = |wanted: &str| -> Vec<(&Lane<'_>, &Value)> {
            let pairs = lanes.iter().zip(&steps).filter_map(|(lane, steps)| Some((lane, steps.get(turn)?)));
            pairs.filter(|(_, step)| step[0] == wanted).collect()
        };
        take_turn(nodes, lanes.len(), &due)?;
    }
    nodes.settle(lanes.len())?;
    if slow {
        nodes.node(0).ok("kill $(cat /tmp/busy)")?;
    }
    let texts = nodes.both([lane::query(lanes.len()), lane::query(lanes.len())])?;
    let mut wrong = Vec::new();
    for lane in lanes {
        let race = lane.case["race"] == true;
        let mut bound = HashMap::new();
        let reports = texts.each_ref().map(|text| Report::parse(text, lane.number));
        for (node, report) in reports.iter().enumerate() {
            let recorded = &lane.case["result"][NODES[node]];
            for line in report.differences(recorded, race, lane.symbols, &mut bound) {
                wrong.push(format!("{} {}: {line}", lane.id(), NODES[node]));
            }
        }
        if race && reports.iter().all(|report| report.cstate() != "StandAlone") {
            let seen: Vec<String> = reports.iter().map(|report| format!("{} {:?}", report.cstate(), report.compared)).collect();
            wrong.push(format!("{}: nobody refused: {}", lane.id(), seen.join(", ")));
        }
    }
    nodes.both(scripts(lanes, |lane, node| lane.tear_down(node)))?;
    Ok(wrong)
}

/// One step of every lane: connecting and commands first, then the pauses.
fn take_turn<'a>(nodes: &mut Nodes, lanes: usize, due: &dyn Fn(&str) -> Vec<(&'a Lane<'a>, &'a Value)>) -> Result<()> {
    let connecting = due("connect");
    for second in [false, true] {
        let mut scripts = [String::new(), String::new()];
        for (lane, _) in &connecting {
            let node = if second { 1 - lane.first() } else { lane.first() };
            scripts[node] += &lane.connect(node);
        }
        if !connecting.is_empty() {
            nodes.both(scripts)?;
            // CO-2: the later node becomes the resolver only if the first one waits already.
            std::thread::sleep(Duration::from_millis(800));
        }
    }
    for (lane, step) in due("setmd") {
        let node = usize::from(step[1] == "b");
        let image = nodes.node(node).disk(lane.number);
        lane.write_area(node, Some(&step[2]), &image)?;
    }
    let mut scripts = [String::new(), String::new()];
    for (lane, step) in due("sh") {
        let node = usize::from(step[1] == "b");
        scripts[node] += &lane.command(node, step[2].as_str().unwrap_or("false"));
    }
    for (lane, step) in due("attach") {
        let node = usize::from(step[1] == "b");
        scripts[node] += &lane.attach(node);
    }
    for (lane, _) in due("clearlog") {
        for script in &mut scripts {
            *script += &lane.clear_log();
        }
    }
    // A new role has its effect at the peer before anything else happens.
    let promoted = scripts.iter().any(|script| script.contains(" primary "));
    if scripts.iter().any(|script| !script.is_empty()) {
        nodes.both(scripts)?;
    }
    if promoted {
        std::thread::sleep(Duration::from_secs(1));
    }
    let pause = due("sleep").iter().filter_map(|(_, step)| step[1].as_f64()).fold(0.0, f64::max);
    std::thread::sleep(Duration::from_secs_f64(pause));
    if !due("settle").is_empty() || !connecting.is_empty() {
        nodes.settle(lanes)?;
    }
    Ok(())
}
