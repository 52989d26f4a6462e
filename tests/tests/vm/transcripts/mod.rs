// SPDX-License-Identifier: GPL-2.0
//! Issue 4 items 2, 3 and "Done when": the recorded transcripts of the C driver and drbd-utils pass with our tools on our driver, two
//! machines as in the recording. Compared are standard output, exit code, whether there is something on standard error and the codes in
//! it; every difference stands in docs/differences.md, and the transcript says which line.

mod plain;
mod script;

use crate::{bed, check};
use anyhow::{ensure, Context, Result};
use plain::{codes, plain};
use qemu_testbed::{Clock, Link, Testbed, Vm, VmOptions};
use script::{read, Act, Part, Step};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Backing devices vda to vde in KiB.
const DISKS_KIB: [u64; 5] = [64 << 10, 160 << 10, 512, 40 << 10, 32 << 10];
/// The same of the recordings of the configuration's fixtures (10 and 11).
const SMALL_DISKS_KIB: [u64; 2] = [32 << 10, 32 << 10];
/// How long what a command shows may take to become what was recorded.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between commands and their standard error.
const MARK: &str = "@@errors";

/// What both nodes are configured with at first.
const CONFIGURATION: &str = "global { usage-count no; }
common { net { protocol C; } }
resource r0 {
  on n1 { device /dev/drbd0; disk /dev/vda; address 10.0.0.1:7789; meta-disk internal; }
  on n2 { device /dev/drbd0; disk /dev/vda; address 10.0.0.2:7789; meta-disk internal; }
}
";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts")
}

struct Stage {
    nodes: [Vm; 2],
    folder: PathBuf,
    /// What differs and should not.
    faults: Vec<String>,
}

impl Stage {
    fn open(bed: &Testbed, disks_kib: &[u64]) -> Result<Self> {
        let folder = bed.run_folder("transcripts")?;
        let options = |own: usize| VmOptions {
            name: format!("n{own}"),
            folder: folder.clone(),
            module: bed.module.clone(),
            our_tools: true,
            disks_mib: vec![0; disks_kib.len()],
            scsi: false,
            links: vec![Link {
                address: format!("10.0.0.{own}"),
                own: folder.join(format!("link{own}")),
                peer: folder.join(format!("link{}", 3 - own)),
            }],
            memory_mib: 512,
            processors: 2,
            append: String::new(),
            files: vec![
                ("etc/drbd.conf".into(), CONFIGURATION.into()),
                ("overlay/init-drbd".into(), include_bytes!("../../../../packaging/init/drbd").to_vec()),
                ("overlay/drbddisk".into(), include_bytes!("../../../../packaging/heartbeat/drbddisk").to_vec()),
            ],
            tree: None,
            clock: Clock::Host,
        };
        for name in ["n1", "n2"] {
            for (index, kib) in disks_kib.iter().enumerate() {
                fs::File::create(folder.join(format!("{name}-disk{index}.img")))?.set_len(kib << 10)?;
            }
        }
        let (first, second) = (options(1), options(2));
        let other_bed = bed.clone();
        let other = std::thread::spawn(move || Vm::start(&other_bed, second));
        let a = Vm::start(bed, first);
        let b = other.join().map_err(|_| anyhow::anyhow!("the thread that boots n2 panicked"))?;
        let mut nodes = [a?, b?];
        for node in &mut nodes {
            node.ok(
                "ln -s drbdadm /usr/local/sbin/drbdsetup-84; ln -s drbdadm /usr/local/sbin/drbd-overview\n\
                 mkdir -p /etc/init.d /etc/ha.d/resource.d /var/lib/drbd\n\
                 cp /overlay/init-drbd /etc/init.d/drbd; cp /overlay/drbddisk /etc/ha.d/resource.d/drbddisk\n\
                 chmod 755 /etc/init.d/drbd /etc/ha.d/resource.d/drbddisk",
            )?;
        }
        Ok(Self { nodes, folder, faults: Vec::new() })
    }

    /// Output and standard error apart.
    fn run(&mut self, node: usize, command: &str) -> Result<(Vec<String>, Vec<String>, i32)> {
        // `exit` keeps the subshell alive: what it says about the command (Terminated) belongs to standard error
        let text = format!("(\n{command}\nexit $?\n) 2> /run/errors\ncode=$?\necho {MARK}\ncat /run/errors\nexit $code");
        let done = self.nodes[node].run(&text)?;
        let (output, errors) = done.text.split_once(&format!("{MARK}\n")).unwrap_or((&done.text, ""));
        let lines = |text: &str| text.lines().map(String::from).collect();
        Ok((lines(output), lines(errors), done.code))
    }

    /// Once several things differ, what follows often does too, and nobody waits long for it.
    fn patience(&self) -> Duration {
        if self.faults.len() < 4 { PATIENCE } else { PATIENCE / 12 }
    }

    /// Plays one transcript.
    fn play(&mut self, name: &str) -> Result<()> {
        let text = fs::read_to_string(fixtures().join(name)).with_context(|| name.to_string())?;
        let differences = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differences.md"))?;
        for act in read(&text).with_context(|| name.to_string())? {
            match act {
                Act::Unseen(node, command) => {
                    self.nodes[node].ok(&command).with_context(|| name.to_string())?;
                }
                Act::Until(node, wanted) => {
                    self.nodes[node].wait_for(40, "cat /proc/drbd", &wanted).with_context(|| name.to_string())?;
                }
                Act::Freeze(node, frozen) => self.nodes[node].freeze(frozen)?,
                Act::Cable(up) => {
                    for node in &mut self.nodes {
                        node.set_link(up)?;
                    }
                }
                Act::Log(node, kind, wanted, line) => self.look(name, node, kind, &wanted, line)?,
                Act::Step(step) => {
                    for words in step.differs.iter().map(|d| &d.1).chain(step.lacks.iter().map(|l| &l.1)) {
                        ensure!(differences.contains(words.as_str()), "{name}:{}: docs/differences.md does not say '{words}'", step.line);
                    }
                    self.step(name, &step).with_context(|| format!("{name}:{}: {}", step.line, step.command))?;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, name: &str, step: &Step) -> Result<()> {
        let begin = Instant::now();
        let asks = ["cat /proc", "status", "events2 --now", "get-gi", "role", "cstate", "dstate", "dmesg", "ps "];
        let repeatable = asks.iter().any(|word| step.command.contains(word));
        loop {
            let (output, errors, code) = self.run(step.node, &step.command)?;
            let fault = fault(step, &output, &errors, code);
            let Some(fault) = fault else { return Ok(()) };
            if !repeatable || begin.elapsed() > self.patience() {
                self.faults.push(format!("{name}:{}: {}\n{fault}", step.line, step.command));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a listener wrote to its log since the last look.
    fn look(&mut self, name: &str, node: usize, kind: &str, wanted: &[String], line: usize) -> Result<()> {
        let begin = Instant::now();
        let file = if kind == "helper" { "/run/uh.log" } else { "/run/uevents.log" };
        loop {
            let text = self.nodes[node].ok(&format!("touch {file}; cat {file}"))?;
            let (mut seen, mut wanted) = (blocks(&text.lines().collect::<Vec<_>>()), blocks(wanted));
            seen.sort();
            wanted.sort();
            if seen == wanted || begin.elapsed() > self.patience() {
                if seen != wanted {
                    self.faults.push(format!("{name}:{line}: {kind}\nseen {seen:#?}\nrecorded {wanted:#?}"));
                }
                self.nodes[node].ok(&format!(": > {file}"))?;
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn close(mut self) -> Result<()> {
        ensure!(self.faults.is_empty(), "{} differ:\n\n{}", self.faults.len(), self.faults.join("\n\n"));
        for node in &mut self.nodes {
            node.check_leaks()?;
            node.power_cut();
            node.check_kernel_log()?;
        }
        if std::env::var_os("DRBD_RS_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
        Ok(())
    }
}

/// Entries of a log, each with its lines in order.
fn blocks<S: AsRef<str>>(lines: &[S]) -> Vec<Vec<String>> {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    for line in plain(lines) {
        if line.starts_with("==") || line.starts_with("ACTION=") || blocks.is_empty() {
            blocks.push(Vec::new());
        }
        if let Some(block) = blocks.last_mut().filter(|_| !line.is_empty()) {
            block.push(line);
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// What is not as recorded.
fn fault(step: &Step, output: &[String], errors: &[String], code: i32) -> Option<String> {
    let skipped = |part: Part| step.differs.as_ref().is_some_and(|(p, _)| *p == part || *p == Part::All);
    let ours = step.command.contains("drbd");
    let mut text = String::new();
    let mut recorded = plain(&step.output);
    if let Some((beginning, _)) = &step.lacks {
        recorded.retain(|line| !line.trim_start().starts_with(beginning.as_str()));
    }
    if !skipped(Part::Output) && plain(output) != recorded {
        text += &format!("output\n{}\nrecorded\n{}\n", plain(output).join("\n"), recorded.join("\n"));
    }
    let same_code = if ours { code == step.exit } else { (code == 0) == (step.exit == 0) };
    if !skipped(Part::Exit) && !same_code {
        text += &format!("exit {code}, recorded {}\n", step.exit);
    }
    let same_errors = errors.is_empty() == step.errors.is_empty() && codes(errors) == codes(&step.errors);
    if !skipped(Part::Errors) && !same_errors {
        text += &format!("standard error\n{}\nrecorded\n{}\n", errors.join("\n"), step.errors.join("\n"));
    }
    (!text.is_empty()).then_some(text)
}

#[test]
fn the_recorded_life_cycle_passes_with_our_tools_on_our_driver() {
    check(play(&DISKS_KIB, &["02-lifecycle.txt"]));
}

#[test]
fn the_recorded_states_pass_with_our_tools_on_our_driver() {
    check(play(&DISKS_KIB, &["03-proc-states.txt"]));
}

#[test]
fn the_recorded_errors_pass_with_our_tools_on_our_driver() {
    check(play(&DISKS_KIB, &["01-module.txt", "04-errors.txt"]));
}

#[test]
fn the_recorded_helpers_and_uevents_pass_with_our_tools_on_our_driver() {
    check(play(&DISKS_KIB, &["06-helpers.txt", "07-uevents-udev-debugfs.txt"]));
}

#[test]
fn the_recorded_commands_of_the_configuration_s_fixtures_pass_with_our_tools_on_our_driver() {
    check(play(&SMALL_DISKS_KIB, &["10-one-node.txt", "11-two-nodes.txt"]));
}

/// Plays transcripts one after another on the same two machines; 04 needs fresh disks, the others wipe them.
fn play(disks_kib: &[u64], names: &[&str]) -> Result<()> {
    let mut stage = Stage::open(&bed(), disks_kib)?;
    for name in names {
        let begin = Instant::now();
        if let Err(error) = stage.play(name) {
            stage.faults.push(format!("{error:#}"));
        }
        eprintln!("{name}: {:.1} s", begin.elapsed().as_secs_f32());
    }
    stage.close()
}
