// SPDX-License-Identifier: GPL-2.0
//! Two complete Debian machines, joined by two cables: eth0 (usually 10.0.0.x) for the cluster
//! and eth1 (usually 10.0.1.x) for replication, so that each can be cut alone.

use crate::testbed::Testbed;
use crate::vm::{Clock, Link, Vm, VmOptions};
use anyhow::{bail, Result};
use std::fs;
use std::path::PathBuf;

/// How the two machines are made.
#[derive(Clone, Debug)]
pub struct SystemOptions {
    /// Name of the run, for its folder.
    pub name: String,
    /// Host names; both resolve to the addresses on eth0.
    pub hosts: [String; 2],
    /// Addresses of both machines on eth0 and on eth1, in networks of 24 bits.
    pub networks: [[&'static str; 2]; 2],
    /// Sizes of the disks of each machine.
    pub disks_mib: Vec<u64>,
    /// The disks are SCSI disks, /dev/sda, /dev/sdb ..., instead of /dev/vda, /dev/vdb ...
    pub scsi: bool,
    /// Memory of each machine.
    pub memory_mib: u32,
    /// Start corosync and pacemaker at boot, as their packages have it.
    pub cluster_stack: bool,
    /// Install our tools over Debian's drbd-utils.
    pub our_tools: bool,
    /// Files both machines get before their first boot: path, content.
    pub files: Vec<(String, Vec<u8>)>,
    /// A folder with more of them, for example what `packaging/install` made.
    pub tree: Option<PathBuf>,
}

impl SystemOptions {
    /// Hosts node1 and node2 with our driver and tools and one disk of 160 MiB.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            hosts: ["node1".into(), "node2".into()],
            networks: [["10.0.0.1", "10.0.0.2"], ["10.0.1.1", "10.0.1.2"]],
            disks_mib: vec![160],
            scsi: false,
            memory_mib: 1024,
            cluster_stack: false,
            our_tools: true,
            files: Vec::new(),
            tree: None,
        }
    }

    /// The same with one more file.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.into(), content.as_bytes().to_vec()));
        self
    }
}

/// Two running Debian machines.
pub struct Systems {
    /// The first, usually 10.0.0.1 and 10.0.1.1.
    pub a: Vm,
    /// The second, usually 10.0.0.2 and 10.0.1.2.
    pub b: Vm,
    folder: PathBuf,
    finished: bool,
}

impl Systems {
    /// Boots both machines and waits until they take commands.
    pub fn boot(bed: &Testbed, options: &SystemOptions) -> Result<Self> {
        let folder = bed.run_folder(&options.name)?;
        let hosts = format!(
            "127.0.0.1 localhost\n{} {}\n{} {}\n",
            options.networks[0][0], options.hosts[0], options.networks[0][1], options.hosts[1]
        );
        let machine = |index: usize| {
            let (own, peer) = (index + 1, 2 - index);
            let link = |number: usize| Link {
                address: options.networks[number][index].into(),
                own: folder.join(format!("link{number}-{own}")),
                peer: folder.join(format!("link{number}-{peer}")),
            };
            let mut files = vec![("etc/hosts".to_owned(), hosts.clone().into_bytes())];
            files.extend(options.files.iter().cloned());
            VmOptions {
                name: options.hosts[index].clone(),
                folder: folder.clone(),
                module: bed.module.clone(),
                our_tools: options.our_tools,
                disks_mib: options.disks_mib.clone(),
                scsi: options.scsi,
                links: vec![link(0), link(1)],
                memory_mib: options.memory_mib,
                processors: 2,
                append: if options.cluster_stack {
                    String::new()
                } else {
                    "nocluster systemd.mask=pacemaker.service".into()
                },
                files,
                tree: options.tree.clone(),
                clock: Clock::Host,
            }
        };
        let (first, second) = (machine(0), machine(1));
        let other_bed = bed.clone();
        let other = std::thread::spawn(move || Vm::start(&other_bed, second));
        let a = Vm::start(bed, first);
        let b = match other.join() {
            Ok(b) => b,
            Err(_) => bail!("the thread that boots the second machine panicked"),
        };
        Ok(Self {
            a: a?,
            b: b?,
            folder,
            finished: false,
        })
    }

    /// Runs a command that must succeed on both machines, one after the other.
    pub fn both(&mut self, command: &str) -> Result<()> {
        self.a.ok(command)?;
        self.b.ok(command)?;
        Ok(())
    }

    /// Stops both machines, checks both kernel logs and removes the run's folder.
    pub fn finish(mut self) -> Result<()> {
        self.a.power_cut();
        self.b.power_cut();
        self.a.check_kernel_log()?;
        self.b.check_kernel_log()?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Systems {
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
