// SPDX-License-Identifier: GPL-2.0
//! A disk with a volatile cache: what was not flushed is lost, kept or torn at sectors when the node crashes.

use crate::marks;
use crate::random::Random;
use std::collections::BTreeMap;

/// A write of whole sectors. Sectors without a value become zero.
#[derive(Clone)]
pub struct Write<V> {
    pub first: u64,
    pub count: u64,
    pub values: Vec<(u64, V)>,
}

/// Writes the cache holds at most before the disk writes some back by itself.
const CACHE: usize = 48;

/// A device; sectors that are absent are zero.
#[derive(Clone)]
pub struct Device<V> {
    current: BTreeMap<u64, V>,
    stable: BTreeMap<u64, V>,
    cache: Vec<Write<V>>,
}

fn apply<V: Clone>(map: &mut BTreeMap<u64, V>, write: &Write<V>, wanted: impl Fn(u64) -> bool) {
    let range = write.first..write.first + write.count;
    let old: Vec<u64> = map.range(range).map(|(sector, _)| *sector).filter(|sector| wanted(*sector)).collect();
    for sector in old {
        map.remove(&sector);
    }
    for (sector, value) in write.values.iter().filter(|(sector, _)| wanted(*sector)) {
        map.insert(*sector, value.clone());
    }
}

impl<V: Clone> Device<V> {
    pub fn new() -> Self {
        Self { current: BTreeMap::new(), stable: BTreeMap::new(), cache: Vec::new() }
    }

    /// Puts a write into the cache.
    pub fn write(&mut self, write: Write<V>) {
        apply(&mut self.current, &write, |_| true);
        self.cache.push(write);
        if self.cache.len() > CACHE {
            let oldest = self.cache.remove(0);
            apply(&mut self.stable, &oldest, |_| true);
        }
    }

    /// A write that is durable when it ends; older ones to the same sectors have gone before.
    pub fn write_through(&mut self, write: Write<V>) {
        let overlaps = |other: &Write<V>| other.first < write.first + write.count && write.first < other.first + other.count;
        for cached in self.cache.iter().filter(|cached| overlaps(cached)) {
            apply(&mut self.stable, cached, |_| true);
        }
        self.cache.retain(|cached| !overlaps(cached));
        apply(&mut self.current, &write, |_| true);
        apply(&mut self.stable, &write, |_| true);
    }

    pub fn flush(&mut self) {
        for write in self.cache.drain(..) {
            apply(&mut self.stable, &write, |_| true);
        }
    }

    /// The power fails.
    pub fn crash(&mut self, random: &mut Random) {
        for write in std::mem::take(&mut self.cache) {
            let end = write.first + random.below(write.count + 1);
            let holes = random.next();
            let kind = random.below(4);
            marks::fault(["an unflushed write is lost", "an unflushed write is kept", "an unflushed write is torn at its end", "an unflushed write is torn anywhere"][kind as usize]);
            match kind {
                0 => {}
                1 => apply(&mut self.stable, &write, |_| true),
                2 => apply(&mut self.stable, &write, |sector| sector < end),
                _ => apply(&mut self.stable, &write, |sector| holes >> (sector % 64) & 1 != 0),
            }
        }
        self.current = self.stable.clone();
    }

    pub fn get(&self, sector: u64) -> Option<&V> {
        self.current.get(&sector)
    }

    /// Sectors of a range that are not zero.
    pub fn read(&self, first: u64, count: u64) -> Vec<(u64, V)> {
        self.current.range(first..first + count).map(|(sector, value)| (*sector, value.clone())).collect()
    }

    /// Everything that is not zero.
    pub fn contents(&self) -> &BTreeMap<u64, V> {
        &self.current
    }
}

/// A sector of metadata.
pub type Bytes = [u8; 512];

/// The disk of a node: data, and metadata on the same device or on another.
#[derive(Clone)]
pub struct Disk {
    pub data: Device<u64>,
    pub meta: Device<Box<Bytes>>,
    /// Both are one device: a flush of one is a flush of the other.
    pub internal: bool,
    /// Writes are durable at once.
    pub nonvolatile: bool,
}

impl Disk {
    pub fn new(internal: bool, nonvolatile: bool) -> Self {
        Self { data: Device::new(), meta: Device::new(), internal, nonvolatile }
    }

    pub fn flush_data(&mut self) {
        self.data.flush();
        if self.internal {
            self.meta.flush();
        }
    }

    pub fn flush_meta(&mut self) {
        self.meta.flush();
        if self.internal {
            self.data.flush();
        }
    }

    /// A write of data. FUA and preflush as the flags say.
    pub fn write_data(&mut self, write: Write<u64>, preflush: bool, fua: bool) {
        if preflush {
            self.flush_data();
        }
        if fua || self.nonvolatile {
            self.data.write_through(write);
        } else {
            self.data.write(write);
        }
    }

    /// A 4 KiB block of metadata as a write.
    pub fn block_write(sector: u64, block: &[u8]) -> Write<Box<Bytes>> {
        let values = (sector..).zip(block.chunks_exact(512)).map(|(at, part)| (at, Box::new(part.try_into().unwrap()))).collect();
        Write { first: sector, count: (block.len() / 512) as u64, values }
    }

    /// Reads a 4 KiB block of metadata.
    pub fn read_block(&self, sector: u64) -> Vec<u8> {
        (sector..sector + 8).flat_map(|at| self.meta.get(at).map_or([0; 512], |part| **part)).collect()
    }

    pub fn crash(&mut self, random: &mut Random) {
        self.data.crash(random);
        self.meta.crash(random);
    }
}
