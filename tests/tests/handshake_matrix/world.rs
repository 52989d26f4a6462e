// SPDX-License-Identifier: GPL-2.0
//! Two nodes, the packets between them, and the steps of a recorded case.

use crate::node::{Node, Packet};
use crate::notation::{hex_number, Options, Symbols};
use drbd_core::md::Uuids;
use drbd_core::state::promotion::{Next, Promotion};
use drbd_core::state::{departure, needs_cluster_wide, Conn, Kind, Refusal, Request, Role, State};
use serde_json::Value;
use std::collections::VecDeque;

/// Everything that is played.
pub struct World<'a> {
    pub nodes: [Node; 2],
    symbols: Symbols<'a>,
    case: &'a Value,
    wires: [VecDeque<Packet>; 2],
    linked: bool,
    cable: bool,
    /// The recording shows a resync that ran to its end.
    finishes: bool,
}

fn index(name: &str) -> usize {
    usize::from(name == "b")
}

/// Name of a node.
pub fn name(node: usize) -> &'static str {
    ["a", "b"][node]
}

impl<'a> World<'a> {
    pub fn new(case: &'a Value, symbols: &'a Value) -> Self {
        let finishes = case["decision"].as_str().unwrap().ends_with("finished");
        let mut world = World {
            nodes: [Node::default(), Node::default()],
            symbols: Symbols(symbols),
            case,
            wires: Default::default(),
            linked: false,
            cable: true,
            finishes,
        };
        for node in 0..2 {
            world.set_up(node);
        }
        world
    }

    fn set_up(&mut self, node: usize) {
        let given = &self.case[name(node)];
        let mut options = Options::default();
        for list in [&self.case["net_opts"], &given["net_opts"], &given["disk_opts"], &given["res_opts"]] {
            options.add(list);
        }
        let mut fresh = Node { options, resolver: node == 1, open: given["hold_open"] == true, ..Node::default() };
        if !given["uuid"].is_null() {
            fresh.uuids = Uuids::from_array(self.symbols.set(&given["uuid"]));
            fresh.flags = hex_number(given["md_flags"].as_str().unwrap()) as u32;
            fresh.bits = given["bits"].as_u64().unwrap();
        }
        if given["attach"] == true {
            fresh.attach().unwrap();
        }
        self.nodes[node] = fresh;
        if given["role"] == "Primary" {
            self.promote(node, false).unwrap();
        }
    }

    /// Plays every step of the case.
    pub fn play(&mut self) {
        match self.case["steps"].as_array() {
            None => self.connect_both(),
            Some(steps) => {
                let mut shell_results = 0;
                for step in steps {
                    self.step(step, &mut shell_results);
                    self.settle();
                }
            }
        }
        self.settle();
    }

    fn step(&mut self, step: &Value, results: &mut usize) {
        match step[0].as_str().unwrap() {
            "connect" => self.connect_both(),
            "attach" => {
                let node = index(step[1].as_str().unwrap());
                let outcome = self.nodes[node].attach();
                let recorded = self.case["step_results"].as_array().and_then(|list| list.get(*results));
                if let Some(code) = recorded.and_then(|result| result["error_codes"][0].as_i64()) {
                    assert_eq!(outcome, Err(code as i32), "attach");
                    *results += 1;
                } else {
                    outcome.unwrap();
                }
            }
            "sh" => {
                let (node, line) = (index(step[1].as_str().unwrap()), step[2].as_str().unwrap());
                let mut outcome = Ok(());
                for command in line.split(';').filter(|command| !command.trim().is_empty()) {
                    outcome = outcome.and(self.shell(node, command.trim()));
                    self.settle();
                }
                self.check_step(node, outcome, &self.case["step_results"][*results]);
                *results += 1;
            }
            "setmd" => {
                let node = &mut self.nodes[index(step[1].as_str().unwrap())];
                node.flags = hex_number(step[2]["md_flags"].as_str().unwrap()) as u32;
                node.uuids = Uuids::from_array(self.symbols.set(&step[2]["uuid"]));
            }
            "clearlog" => {
                for node in &mut self.nodes {
                    node.helpers.clear();
                    node.compared.clear();
                    node.transitions.clear();
                }
            }
            "settle" | "sleep" => {}
            other => panic!("step {other}"),
        }
    }

    fn check_step(&self, node: usize, outcome: Result<(), i32>, recorded: &Value) {
        let code = recorded["error_codes"][0].as_i64().unwrap_or(101) as i32;
        assert_eq!(outcome.err().unwrap_or(101), code, "code of a step");
        if !recorded["uuid_then"].is_null() {
            let (got, mut names) = (self.nodes[node].uuids.to_array(), Default::default());
            assert!(self.symbols.matches(got, &recorded["uuid_then"], &mut names), "{got:x?}, recorded {}", recorded["uuid_then"]);
        }
        let then = &recorded["state_then"];
        if !then.is_null() {
            assert_eq!(differences(&self.nodes[node].state, then), Vec::<String>::new());
        }
    }

    fn shell(&mut self, node: usize, command: &str) -> Result<(), i32> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["$S", "primary", "0"] => self.promote(node, false).map_err(Refusal::code),
            ["$S", "primary", "0", "--force"] => self.promote(node, true).map_err(Refusal::code),
            ["$S", "secondary", "0"] => {
                self.cluster_wide(node, Request::none().role(Role::Secondary)).map_err(Refusal::code)?;
                self.nodes[node].role_changed(false);
                Ok(())
            }
            ["$S", "disconnect", "--force", ..] => {
                self.nodes[node].refuse();
                Ok(())
            }
            ["$S", "disconnect", ..] => self.disconnect(node).map_err(Refusal::code),
            ["$S", "connect", ..] => {
                self.start_net(node);
                self.link(node);
                Ok(())
            }
            ["$S", "detach", "0"] => {
                let failed = Request::none().disk(drbd_core::state::Disk::Failed);
                self.cluster_wide(node, failed).map_err(Refusal::code)
            }
            ["$S", "invalidate", "0"] => self.invalidate(node).map_err(Refusal::code),
            ["$S", "new-current-uuid", "0", "--clear-bitmap"] => self.nodes[node].skip_initial_sync_or_new_uuid(),
            ["$S", "down", "r0"] => {
                let old = std::mem::take(&mut self.nodes[node]);
                self.nodes[node] =
                    Node { options: old.options, uuids: old.uuids, resolver: old.resolver, bits: old.bits, ..Node::default() };
                Ok(())
            }
            ["$S", "attach", ..] => self.nodes[node].attach(),
            ["dd", ..] => {
                self.nodes[node].bits = 3;
                Ok(())
            }
            ["ip", "link", "set", "eth0", to] => {
                self.cable = *to == "up";
                if !self.cable {
                    self.unlink();
                }
                Ok(())
            }
            ["$S", "show-gi" | "new-resource" | "new-minor", ..] | ["sleep" | "cat" | "grep", ..] => Ok(()),
            other => panic!("command {other:?}"),
        }
    }

    /// A soft change with the consent of the peer where ST-5 asks for it.
    fn cluster_wide(&mut self, node: usize, request: Request) -> Result<(), Refusal> {
        let own = &self.nodes[node];
        let wanted = drbd_core::state::evaluate(&own.state, &request, Kind::Soft, &own.facts())?;
        if self.linked && wanted.is_some_and(|new| needs_cluster_wide(&own.state, &new)) {
            self.nodes[1 - node].change(request.mirrored(), Kind::Soft).map_err(|_| Refusal::RefusedByPeer)?;
        }
        self.nodes[node].change(request, Kind::Soft)
    }

    fn promote(&mut self, node: usize, force: bool) -> Result<(), Refusal> {
        let mut promotion = Promotion::new(force);
        while let Err(refusal) = self.cluster_wide(node, promotion.request()) {
            match promotion.refused(refusal, &self.nodes[node].state) {
                Next::Attempt { .. } | Next::Pause => {}
                Next::Fence => panic!("no recorded case fences"),
                Next::GiveUp(refusal) => return Err(refusal),
            }
        }
        self.nodes[node].role_changed(promotion.is_forced());
        Ok(())
    }

    fn invalidate(&mut self, node: usize) -> Result<(), Refusal> {
        match self.cluster_wide(node, Request::none().conn(Conn::StartingSyncT)) {
            Err(Refusal::NeedConnection) => {
                self.nodes[node].bits = crate::node::ALL_BITS;
                self.nodes[node].change(Request::none().disk(drbd_core::state::Disk::Inconsistent), Kind::Soft)
            }
            other => other,
        }
    }

    fn disconnect(&mut self, node: usize) -> Result<(), Refusal> {
        let mut departure = departure::Departure::new(false);
        let mut next = departure.attempt();
        loop {
            match next {
                departure::Next::Attempt { request, .. } => match self.cluster_wide(node, request) {
                    Ok(()) => break,
                    Err(refusal) => next = departure.refused(refusal, self.nodes[node].state.conn),
                },
                departure::Next::Done => break,
                departure::Next::GiveUp(refusal) => return Err(refusal),
            }
        }
        self.close(node);
        Ok(())
    }

    fn start_net(&mut self, node: usize) {
        let own = &mut self.nodes[node];
        if own.has_net {
            return;
        }
        own.has_net = true;
        own.change(Request::none().conn(Conn::Unconnected), Kind::Hard).unwrap();
        own.change(Request::none().conn(Conn::WFConnection), Kind::Hard).unwrap();
    }

    fn connect_both(&mut self) {
        for node in 0..2 {
            // Refused with code 123 before anything happens.
            if !(self.nodes[node].options.discard_my_data && self.nodes[node].state.role == Role::Primary) {
                self.start_net(node);
            }
        }
        self.link(if self.case["connect_order"] == "ba" { 0 } else { 1 });
    }

    /// Both wait: the sockets come up. `later` started last and breaks ties (CO-2).
    fn link(&mut self, later: usize) {
        if self.linked || !self.cable || self.nodes.iter().any(|node| node.state.conn != Conn::WFConnection) {
            return;
        }
        self.linked = true;
        for node in 0..2 {
            self.nodes[node].resolver = node == later;
        }
        for node in 0..2 {
            self.nodes[node].greet();
        }
    }

    /// A node has given up the connection.
    fn close(&mut self, node: usize) {
        if self.nodes[node].state.conn != Conn::StandAlone {
            self.nodes[node].refuse();
        }
        // What it had sent is still read by the other, then the end of the stream; unless the recording saw the sockets die before.
        let recorded = &self.case["result"][name(1 - node)]["handshakes"];
        let died_early = self.case["race"] == true && recorded.as_array().is_none_or(Vec::is_empty);
        if !died_early {
            self.drain(1 - node);
        }
        self.unlink();
    }

    fn unlink(&mut self) {
        self.linked = false;
        for node in 0..2 {
            self.wires[node].clear();
            let conn = self.nodes[node].state.conn;
            if conn >= Conn::WFReportParams || conn.is_failure() {
                let reason = if conn.is_failure() { conn } else { Conn::BrokenPipe };
                self.nodes[node].lose_connection(reason);
            }
            self.nodes[node].outbox.clear();
        }
    }

    fn drain(&mut self, node: usize) {
        while let Some(packet) = self.wires[node].pop_front() {
            if self.nodes[node].state.conn < Conn::WFReportParams {
                return;
            }
            if !self.nodes[node].receive(&packet) {
                self.nodes[node].refuse();
            }
            self.nodes[node].outbox.clear();
        }
    }

    /// Delivers packets until nothing moves.
    fn settle(&mut self) {
        for _ in 0..200 {
            for node in 0..2 {
                let sent = std::mem::take(&mut self.nodes[node].outbox);
                if self.linked {
                    self.wires[1 - node].extend(sent);
                }
            }
            let Some(node) = (0..2).find(|node| !self.wires[*node].is_empty()) else {
                if self.finish_resync() {
                    continue;
                }
                return;
            };
            let packet = self.wires[node].pop_front().unwrap();
            if !self.nodes[node].receive(&packet) {
                self.nodes[node].refuse();
                self.close(node);
            } else if self.linked && self.nodes[node].state.conn < Conn::WFReportParams {
                self.close_softly(node);
            }
        }
        panic!("the nodes never settle");
    }

    /// A node reset the connection and would connect again; the recorded dry runs end here.
    fn close_softly(&mut self, node: usize) {
        self.drain(1 - node);
        self.unlink();
        assert_eq!(self.nodes[node].state.conn, Conn::WFConnection);
    }

    /// A running resync ends when it is empty, or when the recording says it did. `true`: something was done.
    fn finish_resync(&mut self) -> bool {
        let Some(target) = (0..2).find(|node| self.nodes[*node].state.conn == Conn::SyncTarget) else { return false };
        if self.nodes[target].bits != 0 && !self.finishes {
            return false;
        }
        self.nodes[1 - target].bits = 0;
        self.nodes[target].finish_resync();
        true
    }
}

/// Fields of a vector that differ from a recorded status.
pub fn differences(state: &State, recorded: &Value) -> Vec<String> {
    let flags = state.flags(false);
    let fields = [
        ("cstate", state.conn.name()),
        ("role", state.role.name()),
        ("peer", state.peer.name()),
        ("disk", state.disk.name()),
        ("pdsk", state.pdsk.name()),
        ("flags", std::str::from_utf8(&flags).unwrap()),
    ];
    let differ = fields.iter().filter(|(field, got)| recorded[field] != **got);
    differ.map(|(field, got)| format!("{field} {got}, recorded {}", recorded[field])).collect()
}
