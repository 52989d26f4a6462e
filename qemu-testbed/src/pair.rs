// SPDX-License-Identifier: GPL-2.0
//! Two machines with one replicated disk between them, `node1` and `node2`.

use crate::testbed::Testbed;
use crate::vm::{Clock, Link, Vm, VmOptions};
use anyhow::{bail, Context, Result};
use std::fs;
use std::io::Read;
use std::path::PathBuf;

/// Which driver a node loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// Ours.
    Rust,
    /// The C driver of the same kernel.
    C,
}

/// How a pair is made. [`PairOptions::new`] gives the usual one.
#[derive(Clone, Debug)]
pub struct PairOptions {
    /// Name of the run, for its folder.
    pub name: String,
    /// Drivers of node1 and node2.
    pub drivers: [Driver; 2],
    /// Whether the nodes use our tools (else Debian's drbd-utils).
    pub our_tools: [bool; 2],
    /// Size of the backing disk /dev/vda of each node.
    pub disk_mib: u64,
    /// How many backing disks of that size each node has: /dev/vda, /dev/vdb ...
    pub disks: usize,
    /// Lines for the `net` section.
    pub net: String,
    /// Lines for the `disk` section.
    pub disk: String,
    /// More files for both nodes: path in the machine, content.
    pub files: Vec<(String, Vec<u8>)>,
}

impl PairOptions {
    /// Our driver on both nodes, Debian's tools, 64 MiB, protocol C, quick timers.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            drivers: [Driver::Rust, Driver::Rust],
            our_tools: [false, false],
            disk_mib: 64,
            disks: 1,
            net: "protocol C; connect-int 3; ping-int 3; ping-timeout 10; timeout 30;".into(),
            disk: "c-plan-ahead 0; resync-rate 200M;".into(),
            files: Vec::new(),
        }
    }

    /// The same with other drivers.
    pub fn drivers(mut self, node1: Driver, node2: Driver) -> Self {
        self.drivers = [node1, node2];
        self
    }

    /// The same with more lines in the `net` section.
    pub fn with_net(mut self, lines: &str) -> Self {
        self.net.push_str(lines);
        self
    }
}

/// Two running machines.
pub struct Pair {
    /// node1, 10.0.0.1.
    pub a: Vm,
    /// node2, 10.0.0.2.
    pub b: Vm,
    folder: PathBuf,
    finished: bool,
}

impl Pair {
    /// Boots both nodes with an `/etc/drbd.conf` for resource r0 on /dev/vda, metadata
    /// internal; nothing is loaded or created yet.
    pub fn boot(bed: &Testbed, options: &PairOptions) -> Result<Self> {
        let folder = bed.run_folder(&options.name)?;
        let node = |index: usize| {
            let (own, peer) = (index + 1, 2 - index);
            VmOptions {
                name: format!("node{own}"),
                folder: folder.clone(),
                module: match options.drivers[index] {
                    Driver::Rust => bed.module.clone(),
                    Driver::C => bed.c_module(),
                },
                our_tools: options.our_tools[index],
                disks_mib: vec![options.disk_mib; options.disks],
                scsi: false,
                links: vec![Link {
                    address: format!("10.0.0.{own}"),
                    own: folder.join(format!("link{own}")),
                    peer: folder.join(format!("link{peer}")),
                }],
                memory_mib: 512,
                processors: 2,
                append: String::new(),
                files: options
                    .files
                    .iter()
                    .cloned()
                    .chain([("etc/drbd.conf".into(), configuration(options).into_bytes())])
                    .collect(),
                tree: None,
                clock: Clock::Host,
            }
        };
        let (first, second) = (node(0), node(1));
        let other_bed = bed.clone();
        let other = std::thread::spawn(move || Vm::start(&other_bed, second));
        let a = Vm::start(bed, first);
        let b = match other.join() {
            Ok(b) => b,
            Err(_) => bail!("the thread that boots node2 panicked"),
        };
        Ok(Self {
            a: a?,
            b: b?,
            folder,
            finished: false,
        })
    }

    /// Boots and brings r0 up on both nodes: connected, both Secondary and Inconsistent.
    pub fn up(bed: &Testbed, options: &PairOptions) -> Result<Self> {
        let mut pair = Self::boot(bed, options)?;
        for node in [&mut pair.a, &mut pair.b] {
            node.ok("modprobe drbd")?;
            node.ok("drbdadm -- --force create-md r0")?;
            node.ok("drbdadm up r0")?;
        }
        pair.wait_connected()?;
        Ok(pair)
    }

    /// Like [`Pair::up`], then makes node1 primary by force and waits for the full sync.
    pub fn synced(bed: &Testbed, options: &PairOptions) -> Result<Self> {
        let mut pair = Self::up(bed, options)?;
        pair.a.ok("drbdadm primary --force r0")?;
        pair.wait_synced(120)?;
        Ok(pair)
    }

    /// Waits until both nodes see each other.
    pub fn wait_connected(&mut self) -> Result<()> {
        for node in [&mut self.a, &mut self.b] {
            node.wait_until(40, "cat /proc/drbd", "connected", |t| {
                ["cs:Connected", "cs:Sync", "cs:WFBitMap"]
                    .iter()
                    .any(|s| t.contains(s))
            })?;
        }
        Ok(())
    }

    /// Waits until both nodes call both disks up to date.
    pub fn wait_synced(&mut self, seconds: u64) -> Result<()> {
        for node in [&mut self.a, &mut self.b] {
            node.wait_until(seconds, "cat /proc/drbd", "synced", |t| {
                t.contains("cs:Connected") && t.contains("ds:UpToDate/UpToDate")
            })?;
        }
        Ok(())
    }

    /// Compares the data areas of both backing disks (all but the metadata at the end, which
    /// differs by design). Both machines must have written everything: call it after a
    /// `sync` with nobody writing.
    ///
    /// # Errors
    /// The first differing 4 KiB block and how many differ.
    pub fn compare_disks(&self) -> Result<()> {
        compare(&self.a, &self.b)
    }

    /// Stops both machines, checks both kernel logs and removes the run's folder.
    pub fn finish(mut self) -> Result<()> {
        for node in [&mut self.a, &mut self.b] {
            node.check_leaks()?;
        }
        self.a.power_cut();
        self.b.power_cut();
        self.a.check_kernel_log()?;
        self.b.check_kernel_log()?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.a.power_cut();
        self.b.power_cut();
        if self.finished && std::env::var_os("DRBD_RS_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        } else {
            eprintln!("consoles and disks are kept in {}", self.folder.display());
        }
    }
}

/// Size of the metadata area that [`compare`] leaves out: a disk of up to 1 GiB needs less.
const METADATA_BYTES: u64 = 128 << 10;

fn compare(a: &Vm, b: &Vm) -> Result<()> {
    const BLOCK: usize = 4096;
    let open = |vm: &Vm| fs::File::open(vm.disk(0)).context("opening a backing disk");
    let (mut left, mut right) = (open(a)?, open(b)?);
    let size = left.metadata()?.len().min(right.metadata()?.len()) - METADATA_BYTES;
    let (mut first, mut count, mut at) = (None, 0u64, 0u64);
    let (mut x, mut y) = (vec![0u8; 256 * BLOCK], vec![0u8; 256 * BLOCK]);
    while at < size {
        let part = (size - at).min(x.len() as u64) as usize;
        left.read_exact(&mut x[..part])?;
        right.read_exact(&mut y[..part])?;
        if x[..part] != y[..part] {
            for (i, (p, q)) in x[..part]
                .chunks(BLOCK)
                .zip(y[..part].chunks(BLOCK))
                .enumerate()
            {
                if p != q {
                    count += 1;
                    first.get_or_insert(at / BLOCK as u64 + i as u64);
                }
            }
        }
        at += part as u64;
    }
    match first {
        None => Ok(()),
        Some(block) => bail!("the disks differ in {count} blocks of 4 KiB, the first is {block}"),
    }
}

fn configuration(options: &PairOptions) -> String {
    format!(
        "global {{ usage-count no; }}\n\
         resource r0 {{\n\
         \x20 net {{ {} }}\n\
         \x20 disk {{ {} }}\n\
         \x20 device /dev/drbd0;\n\
         \x20 disk /dev/vda;\n\
         \x20 meta-disk internal;\n\
         \x20 on node1 {{ address 10.0.0.1:7788; }}\n\
         \x20 on node2 {{ address 10.0.0.2:7788; }}\n\
         }}\n",
        options.net, options.disk
    )
}

/// Attaches a disk that has just been given up. The node shows Diskless a moment before it has closed the disk (so does the C driver).
pub fn attach_again(vm: &mut Vm, volume: &str) -> Result<()> {
    let command = format!("drbdadm attach {volume} 2>&1; echo exit code $?");
    let text = vm.wait_until(20, &command, "the disk is closed", |text| !text.contains("busy"))?;
    anyhow::ensure!(text.ends_with("exit code 0\n"), "{text}");
    Ok(())
}
