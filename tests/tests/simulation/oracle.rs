// SPDX-License-Identifier: GPL-2.0
//! The model: which writes each node has to hold, may hold, and must not have.
//!
//! Every write puts a tag of its own into its sectors, so the content of a disk tells which write came last.

use std::collections::{BTreeMap, BTreeSet};

/// A write of the application.
struct Entry {
    sector: u64,
    count: u64,
    submitted: u64,
    /// When the application heard of its end, good or bad, or the node went down.
    ended: Option<u64>,
    acked: bool,
    fua: bool,
    by: usize,
    /// Crashes of the peer before it was sent there.
    crashes: u32,
    /// Disks of the peer given up before it was sent there.
    failures: u32,
    /// The node has to show it, or something newer.
    must: [bool; 2],
    /// It survives a crash of the node.
    durable: [bool; 2],
    /// The write completed with a copy on this node, or the node has taken it over by a resync.
    certified: [bool; 2],
    /// The node was Ahead when it came.
    ahead: bool,
    /// The disk of the node could not write it.
    failed_at: [bool; 2],
}

/// See the module text.
pub struct Oracle {
    protocol: u32,
    nonvolatile: bool,
    writes: Vec<Entry>,
    /// Writes that may be on a node.
    lineage: [BTreeSet<u64>; 2],
    by_sector: BTreeMap<u64, Vec<u64>>,
    /// The administrator has given up the data of this node.
    discarded: [bool; 2],
    crashes: [u32; 2],
    failures: [u32; 2],
    /// Acknowledged writes.
    pub acked: u64,
    pub verbose: bool,
}

impl Oracle {
    pub fn new(protocol: u32, nonvolatile: bool) -> Self {
        Self {
            protocol,
            nonvolatile,
            writes: Vec::new(),
            lineage: [BTreeSet::new(), BTreeSet::new()],
            by_sector: BTreeMap::new(),
            discarded: [false; 2],
            crashes: [0; 2],
            failures: [0; 2],
            acked: 0,
            verbose: false,
        }
    }

    /// A line of the trace.
    pub fn say(&self, text: std::fmt::Arguments<'_>) {
        if self.verbose {
            eprintln!("       {text}");
        }
    }

    fn at(&mut self, tag: u64) -> &mut Entry {
        &mut self.writes[tag as usize - 1]
    }

    fn get(&self, tag: u64) -> &Entry {
        &self.writes[tag as usize - 1]
    }

    /// A new write; its tag.
    pub fn submitted(&mut self, by: usize, sector: u64, count: u64, now: u64, fua: bool) -> u64 {
        let flags = [false; 2];
        self.say(format_args!("n{by} write {} of {sector}+{count} fua {fua}", self.writes.len() + 1));
        self.writes.push(Entry {
            sector,
            count,
            submitted: now,
            ended: None,
            acked: false,
            fua,
            by,
            crashes: 0,
            failures: 0,
            must: flags,
            durable: flags,
            certified: flags,
            ahead: false,
            failed_at: flags,
        });
        let tag = self.writes.len() as u64;
        self.lineage[by].insert(tag);
        for sector in sector..sector + count {
            self.by_sector.entry(sector).or_default().push(tag);
        }
        tag
    }

    /// It goes to the disk, and perhaps to the peer.
    pub fn launched(&mut self, tag: u64, by: usize, replicated: bool) {
        self.say(format_args!("n{by} launched {tag}, replicated {replicated}"));
        let (crashes, failures) = (self.crashes[1 - by], self.failures[1 - by]);
        (self.at(tag).crashes, self.at(tag).failures) = (crashes, failures);
        if replicated {
            self.lineage[1 - by].insert(tag);
        }
    }

    /// It goes to the disk of a node that is Ahead.
    pub fn launched_ahead(&mut self, tag: u64) {
        self.at(tag).ahead = true;
    }

    /// The application was told of its success, with a copy here and there.
    pub fn acked(&mut self, tag: u64, by: usize, local: bool, remote: bool, now: u64) {
        let (protocol, nonvolatile, crashes, failures) = (self.protocol, self.nonvolatile, self.crashes[1 - by], self.failures[1 - by]);
        self.acked += 1;
        self.say(format_args!("n{by} completed {tag}, local {local} remote {remote}"));
        let write = self.at(tag);
        write.ended = Some(now);
        write.acked = true;
        write.certified = [local, local];
        // Under protocol A the peer may not have what was handed to the socket; then it is nowhere.
        write.certified[1 - by] = remote && (local || protocol > 1);
        write.must[by] = local;
        write.must[1 - by] = remote && protocol > 1;
        let stable = write.fua || nonvolatile;
        write.durable[by] = local && stable;
        write.durable[1 - by] = remote && protocol == 3 && stable;
        if write.failed_at[1 - by] {
            (write.must[1 - by], write.certified[1 - by], write.durable[1 - by]) = (false, false, false);
        }
        // It may be gone there before we hear that it was there.
        let gone = write.crashes != crashes || (protocol < 3 && write.failures != failures);
        write.must[1 - by] &= !gone || write.durable[1 - by];
    }

    pub fn failed(&mut self, tag: u64, now: u64) {
        self.at(tag).ended = Some(now);
    }

    /// A flush of the application has ended that was submitted then.
    pub fn flushed(&mut self, node: usize, submitted: u64) {
        for write in self.writes.iter_mut().filter(|write| write.ended.is_some_and(|ended| ended <= submitted)) {
            write.durable[node] |= write.must[node];
        }
    }

    /// The node has lost its memory and its cache.
    pub fn crashed(&mut self, node: usize, now: u64) {
        self.crashes[node] += 1;
        for write in &mut self.writes {
            write.must[node] &= write.durable[node];
            if write.by == node {
                write.ended.get_or_insert(now);
            }
        }
    }

    /// A node could not write what it was sent; it may have said before that it received it.
    pub fn not_written(&mut self, node: usize, data: &[(u64, u64)]) {
        for (_, tag) in data {
            self.say(format_args!("n{node} error of {tag} of the peer"));
            let write = self.at(*tag);
            write.must[node] = false;
            write.certified[node] = false;
            write.failed_at[node] = true;
        }
    }

    /// A node could not do a write of its own.
    pub fn failed_here(&mut self, node: usize, tag: u64) {
        self.say(format_args!("n{node} error of {tag}"));
        self.at(tag).failed_at[node] = true;
    }

    /// The disk of a node is given up: what was received, and not written yet, never will be.
    pub fn disk_fails(&mut self, node: usize) {
        self.failures[node] += 1;
        let unwritten = self.protocol < 3;
        for write in self.writes.iter_mut().filter(|write| unwritten && write.by != node) {
            write.must[node] &= write.durable[node];
        }
    }

    /// The administrator lets this node's data go.
    pub fn discards(&mut self, node: usize) {
        self.discarded[node] = true;
    }

    /// A resync begins: nothing may be on the target alone.
    pub fn resync_begins(&self, source: usize, target: usize) {
        for (tag, write) in (1u64..).zip(&self.writes) {
            let lost = write.acked && write.certified[target] && !write.certified[source];
            assert!(!lost || self.discarded[target], "write {tag} was completed with a copy on node {target} alone, which becomes target");
        }
    }

    /// The target now has what the source has, durably; `until` then, when the source let go of it.
    pub fn resync_ended(&mut self, source: usize, target: usize, until: u64) {
        let mut lineage = self.lineage[source].clone();
        lineage.extend(self.lineage[target].iter().filter(|tag| self.get(**tag).ended.is_none()));
        self.lineage[target] = lineage;
        self.discarded[target] = false;
        for write in self.writes.iter_mut().filter(|write| write.ended.is_some_and(|ended| ended <= until)) {
            write.must[target] = write.must[source];
            write.certified[target] = write.certified[source];
            write.durable[target] = write.durable[source];
        }
    }

    /// Both nodes have found out that they hold the same.
    pub fn found_equal(&mut self) {
        let both: BTreeSet<u64> = self.lineage[0].union(&self.lineage[1]).copied().collect();
        self.lineage = [both.clone(), both];
        for write in &mut self.writes {
            write.must = [write.must[0] || write.must[1]; 2];
            write.certified = [write.certified[0] || write.certified[1]; 2];
        }
    }

    /// The data of the node is to be overwritten by that of the other.
    pub fn gives_up(&self, node: usize) -> bool {
        self.discarded[node]
    }

    /// A read of the application on `node` has found `data`: nothing older than what had been completed when it was `submitted`, as far as a
    /// node that `counts` has it.
    pub fn read_ended(&self, node: usize, range: std::ops::Range<u64>, data: &[(u64, u64)], submitted: u64, counts: [bool; 2]) {
        for sector in range {
            let Some(tags) = self.by_sector.get(&sector) else { continue };
            // What the loser of a split brain has to let go counts nowhere, whoever is asked (SB-5, HS-23).
            let held = |write: &Entry| (0..2).any(|at| counts[at] && !self.discarded[at] && write.must[at]);
            let known = tags.iter().filter(|tag| self.lineage[node].contains(tag)).map(|tag| self.get(*tag));
            let before = known.filter(|write| write.acked && write.ended < Some(submitted) && held(write));
            let Some(newest) = before.max_by_key(|write| write.submitted) else { continue };
            let value = data.iter().find(|(found, _)| *found == sector).map_or(0, |(_, value)| *value);
            let older = value == 0 || self.get(value).ended.is_some_and(|ended| ended < newest.submitted);
            assert!(!older, "node {node} read {value} of sector {sector}, after a write of {}+{} had completed", newest.sector, newest.count);
        }
    }

    /// A disk could not do a write of this range.
    pub fn has_failed(&self, mut range: std::ops::Range<u64>) -> bool {
        let failed = |tag: &u64| self.get(*tag).failed_at != [false; 2];
        range.any(|sector| self.by_sector.get(&sector).is_some_and(|tags| tags.iter().any(failed)))
    }

    /// Writes were completed that the node has no copy of.
    pub fn is_behind(&self, node: usize) -> bool {
        self.writes.iter().any(|write| write.acked && write.certified[1 - node] && !write.certified[node])
    }

    /// Some of them by a node that was Ahead.
    pub fn is_left_behind(&self, node: usize) -> bool {
        self.writes.iter().any(|write| write.ahead && write.acked && write.certified[1 - node] && !write.certified[node])
    }

    /// A sector lies in a write that has not ended.
    pub fn is_in_flight(&self, sector: u64) -> bool {
        self.by_sector.get(&sector).is_some_and(|tags| tags.iter().any(|tag| self.get(*tag).ended.is_none()))
    }

    /// After a crash of a Secondary: where a write of the peer is to be seen, everything that was completed before it was submitted is
    /// (EP-1, EP-3). For writes since the nodes came together.
    pub fn check_order(&self, node: usize, contents: &BTreeMap<u64, u64>, since: u64) {
        let value = |sector: u64| contents.get(&sector).copied().unwrap_or(0);
        let sent = |tag: &u64| {
            let write = self.get(*tag);
            self.lineage[node].contains(tag) && write.by != node && write.submitted > since
        };
        let visible = |tag: &u64| (0..self.get(*tag).count).any(|offset| value(self.get(*tag).sector + offset) == *tag);
        let tags = || (1..=self.writes.len() as u64).filter(sent);
        let Some(newest) = tags().filter(visible).max_by_key(|tag| self.get(*tag).submitted) else { return };
        let before = |write: &Entry| write.acked && write.ended < Some(self.get(newest).submitted);
        for (tag, write) in tags().map(|tag| (tag, self.get(tag))).filter(|(_, write)| before(write) && write.certified[node]) {
            for sector in write.sector..write.sector + write.count {
                let found = value(sector);
                let older = found == 0 || self.get(found).ended.is_some_and(|ended| ended < write.submitted);
                assert!(!older, "node {node}: {newest} has overtaken {tag}, of which sector {sector} holds {found}");
            }
        }
    }

    /// Every sector of the node holds what it may.
    pub fn check(&self, node: usize, contents: &BTreeMap<u64, u64>) {
        for (sector, tags) in &self.by_sector {
            let value = contents.get(sector).copied().unwrap_or(0);
            let mine = || tags.iter().filter(|tag| self.lineage[node].contains(tag)).map(|tag| (*tag, self.get(*tag)));
            let newest = mine().filter(|(_, write)| write.must[node]).max_by_key(|(_, write)| write.submitted);
            let Some((newest, write)) = newest else {
                assert!(value == 0 || mine().any(|(tag, _)| tag == value), "node {node}: sector {sector} holds {value} of elsewhere");
                continue;
            };
            let Some((_, found)) = mine().find(|(tag, _)| *tag == value) else {
                panic!("node {node}: sector {sector} holds {value} instead of {newest} of {}+{}", write.sector, write.count);
            };
            let replaced = found.ended.is_some_and(|ended| ended < write.submitted);
            assert!(!replaced, "node {node}: sector {sector} holds {value}, which {newest} has replaced");
        }
    }
}
