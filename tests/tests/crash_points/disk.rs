// SPDX-License-Identifier: GPL-2.0
//! A metadata device that remembers every write, and all states that a crash can leave it in.
//!
//! Fault model: a write that was completed and then flushed, or was written through (FUA), stays. Any other write since may be there
//! or not, each on its own. The write that was under way when the power went may have any subset of its eight 512-byte
//! sectors on the disk; a sector is old or new, never a mixture.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub const BLOCK: usize = 4096;
const SECTOR: usize = 512;

/// One content of a 4 KiB block, with a number that no other content has.
#[derive(Clone)]
pub struct Version {
    pub id: u64,
    pub bytes: Arc<[u8; BLOCK]>,
}

/// Blocks by number (byte offset / 4096); absent ones are zero.
pub type Blocks = BTreeMap<u64, Version>;

/// Something that is true from here on, whatever the disk says.
#[derive(Clone, Debug)]
pub enum Fact {
    /// These bits may stand for blocks that differ from the peer's: they have to be found set after a crash.
    Need(u64, u64),
    /// They are the same again.
    Same(u64, u64),
    /// An extent has entered the activity log: it may be found there.
    Entered(u32),
    /// The log starts anew with an attach.
    LogEmpty,
    /// Writes were completed that a peer of this generation lacks.
    AheadOf(u64),
    /// No such writes any more.
    NotAhead,
    /// The data is partly old and partly new.
    Mixed(bool),
    /// The size that is in force, and the one it may still or already be, in sectors.
    Sizes(u64, u64),
    /// Sectors of the metadata device: now, and before it was last resized.
    Device(u64, u64),
}

pub enum Op {
    Write { block: u64, new: Version, flush_before: bool, through: bool },
    Flush,
    Fact(Fact),
}

/// The device while it is being used.
#[derive(Default)]
pub struct Disk {
    /// As it was before the first operation.
    pub initial: Blocks,
    current: Blocks,
    pub ops: Vec<Op>,
    versions: u64,
}

impl Disk {
    /// Puts a block there before anything begins.
    pub fn format(&mut self, block: u64, bytes: &[u8]) {
        let version = self.version(bytes);
        self.initial.insert(block, version.clone());
        self.current.insert(block, version);
    }

    fn version(&mut self, bytes: &[u8]) -> Version {
        self.versions += 1;
        Version { id: self.versions, bytes: Arc::new(bytes.try_into().expect("a block")) }
    }

    /// A write at a 4 KiB boundary; `through`: it is on stable storage when it ends.
    pub fn write(&mut self, sector: u64, bytes: &[u8], flush_before: bool, through: bool) {
        assert_eq!(sector % 8, 0);
        let new = self.version(bytes);
        self.current.insert(sector / 8, new.clone());
        self.ops.push(Op::Write { block: sector / 8, new, flush_before, through });
    }

    pub fn flush(&mut self) {
        self.ops.push(Op::Flush);
    }

    pub fn fact(&mut self, fact: Fact) {
        self.ops.push(Op::Fact(fact));
    }

    pub fn read(&self, sector: u64) -> [u8; BLOCK] {
        self.current.get(&(sector / 8)).map_or([0; BLOCK], |version| *version.bytes)
    }
}

/// A state of the disk after a crash: `over` lies over `stable`.
pub struct Crash<'a> {
    pub stable: &'a Blocks,
    pub over: &'a [(u64, Version)],
}

impl Crash<'_> {
    pub fn block(&self, block: u64) -> Option<&Version> {
        self.over.iter().rev().find(|(at, _)| *at == block).map(|(_, version)| version).or_else(|| self.stable.get(&block))
    }

    pub fn read(&self, sector: u64) -> [u8; BLOCK] {
        self.block(sector / 8).map_or([0; BLOCK], |version| *version.bytes)
    }

    /// Everything that is not zero, as an image holds it.
    pub fn blocks(&self) -> Blocks {
        let mut all = self.stable.clone();
        all.extend(self.over.iter().cloned());
        all
    }
}

/// Every subset of the sectors in which `new` differs from `old`, the empty and the full one left out.
fn torn(old: &[u8; BLOCK], new: &[u8; BLOCK]) -> Vec<[u8; BLOCK]> {
    let differing: Vec<usize> = (0..8).filter(|sector| old[sector * SECTOR..][..SECTOR] != new[sector * SECTOR..][..SECTOR]).collect();
    (1..(1usize << differing.len()).saturating_sub(1))
        .map(|subset| {
            let mut mixed = *old;
            for (_, sector) in differing.iter().enumerate().filter(|(index, _)| subset >> index & 1 != 0) {
                mixed[sector * SECTOR..][..SECTOR].copy_from_slice(&new[sector * SECTOR..][..SECTOR]);
            }
            mixed
        })
        .collect()
}

/// Walks through the operations and shows every state that a crash at that point can leave. `fact` sees the facts in between.
pub struct Walk<'a> {
    stable: Blocks,
    /// Written, not flushed.
    pending: Vec<(u64, Version)>,
    ops: &'a [Op],
    /// Numbers for torn blocks, apart from those of whole ones.
    next_torn: u64,
}

impl<'a> Walk<'a> {
    pub fn new(disk: &'a Disk) -> Self {
        Self { stable: disk.initial.clone(), pending: Vec::new(), ops: &disk.ops, next_torn: 1 << 40 }
    }

    fn settle(&mut self) {
        self.stable.extend(self.pending.drain(..));
    }

    /// `step` gets each fact, or each crash state; it may return an error, which ends the walk with the number of the operation.
    pub fn run(mut self, mut fact: impl FnMut(&Fact), mut crash: impl FnMut(&Crash<'_>) -> Result<(), String>) -> Result<(), String> {
        for (number, op) in self.ops.iter().enumerate() {
            let told = match op {
                Op::Fact(news) => {
                    fact(news);
                    // The same disk, more to hold; a size only says where to look.
                    match news {
                        Fact::Device(..) => Ok(()),
                        _ => self.show(&[], &mut crash),
                    }
                }
                Op::Flush => {
                    self.settle();
                    self.show(&[], &mut crash)
                }
                Op::Write { block, new, flush_before, through } => {
                    if *flush_before {
                        self.settle();
                    }
                    let shown = self.show(&[(*block, new.clone())], &mut crash);
                    if *through {
                        self.pending.retain(|(at, _)| at != block);
                        self.stable.insert(*block, new.clone());
                    } else {
                        self.pending.push((*block, new.clone()));
                    }
                    shown
                }
            };
            told.map_err(|text| format!("operation {number}: {text}"))?;
        }
        Ok(())
    }

    /// Shows the states with `current` (nothing, or one write) under way.
    fn show(&mut self, current: &[(u64, Version)], crash: &mut impl FnMut(&Crash<'_>) -> Result<(), String>) -> Result<(), String> {
        let mut seen: HashSet<Vec<u64>> = HashSet::new();
        let all = [&self.pending[..], current].concat();
        let mut choices = vec![Vec::new(), all.clone()];
        for index in 0..all.len() {
            choices.push(vec![all[index].clone()]);
            choices.push(all.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, write)| write.clone()).collect());
        }
        for (block, new) in current {
            for others in [&[][..], &self.pending[..]] {
                let under = Crash { stable: &self.stable, over: others };
                for mixed in torn(&under.read(block * 8), &new.bytes) {
                    self.next_torn += 1;
                    choices.push([others, &[(*block, Version { id: self.next_torn, bytes: Arc::new(mixed) })]].concat());
                }
            }
        }
        for over in choices {
            if seen.insert(over.iter().map(|(_, version)| version.id).collect()) {
                crash(&Crash { stable: &self.stable, over: &over })?;
            }
        }
        Ok(())
    }
}
