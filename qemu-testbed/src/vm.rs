// SPDX-License-Identifier: GPL-2.0
//! One virtual machine: boots, runs commands, can lose its power.

use crate::agent::{Agent, Output};
use crate::boot_files;
use crate::kernel_log;
use crate::machine::{self, Start};
use crate::qmp::Qmp;
use crate::sleeper;
use crate::testbed::{Flavour, Testbed};
use anyhow::{bail, Context, Result};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// What a machine consists of.
#[derive(Clone, Debug)]
pub struct VmOptions {
    /// Host name, also the name of its files in the run folder.
    pub name: String,
    /// Folder of the run.
    pub folder: PathBuf,
    /// drbd.ko the machine's `modprobe drbd` loads.
    pub module: PathBuf,
    /// Use our tools under the names drbdadm, drbdsetup and drbdmeta instead of Debian's.
    pub our_tools: bool,
    /// Backing disks /dev/vda, /dev/vdb ...: raw files, created sparse when missing.
    pub disks_mib: Vec<u64>,
    /// The disks are SCSI disks, /dev/sda, /dev/sdb ... (full flavour only).
    pub scsi: bool,
    /// Network interfaces eth0, eth1 ...
    pub links: Vec<Link>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub processors: u32,
    /// More kernel command line.
    pub append: String,
    /// Files put into the machine: path in it, content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Folder whose content goes into the machine too, with its modes and symbolic links (full
    /// flavour only); `files` win over it.
    pub tree: Option<PathBuf>,
    /// What its time goes by.
    pub clock: Clock,
}

/// What the time of a machine goes by.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The time of this host.
    Host,
    /// The instructions it executes, one a nanosecond; while it has nothing to do, time passes at once. Whatever else the host does, the same takes as
    /// long. Needs one processor.
    Instructions,
    /// The same, with the instructions counted by a plugin.
    Counted {
        /// The plugin.
        plugin: PathBuf,
        /// The file it writes.
        out: PathBuf,
    },
}

/// One end of a cable between two machines.
#[derive(Clone, Debug)]
pub struct Link {
    /// Own IPv4 address, in a network of 24 bits.
    pub address: String,
    /// Datagram socket of this end.
    pub own: PathBuf,
    /// Datagram socket of the other end.
    pub peer: PathBuf,
}

impl Link {
    /// The Ethernet address of interface `number`.
    pub(crate) fn hardware_address(&self, number: usize) -> String {
        let last = self.address.rsplit('.').next().unwrap_or("1");
        format!("52:54:00:00:{number:02x}:{:02x}", last.parse::<u8>().unwrap_or(1))
    }
}

impl VmOptions {
    /// A file of this machine in the run folder.
    pub(crate) fn file(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}-{suffix}", self.name))
    }

    /// Path of backing disk `index` on the host.
    pub(crate) fn disk(&self, index: usize) -> PathBuf {
        self.file(&format!("disk{index}.img"))
    }
}

/// A machine, running or without power.
pub struct Vm {
    /// As given, with later changes (module, files) taking effect at the next boot.
    pub options: VmOptions,
    bed: Testbed,
    running: Option<Running>,
}

struct Running {
    child: Child,
    agent: Agent,
    qmp: Qmp,
    /// The command last started and when, to be shown.
    trace: Option<(Instant, String)>,
}

/// Longest time a boot may take, generous for a loaded machine.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// How often a machine is started until it comes up.
const BOOT_ATTEMPTS: u32 = 3;
/// The limit with systemd.
const SYSTEM_BOOT_LIMIT: Duration = Duration::from_secs(400);
/// Limit of [`Vm::run`].
const COMMAND_LIMIT: Duration = Duration::from_secs(120);
/// Bounds of waits are stated for an idle machine with four processors; others are slower.
pub const PATIENCE: u32 = 3;

impl Vm {
    /// Creates the disks that are missing and boots.
    pub fn start(bed: &Testbed, options: VmOptions) -> Result<Self> {
        let mut vm = Self::off(bed, options);
        vm.boot()?;
        Ok(vm)
    }

    /// A machine without power.
    pub(crate) fn off(bed: &Testbed, options: VmOptions) -> Self {
        Self {
            options,
            bed: bed.clone(),
            running: None,
        }
    }

    /// Writes the machine's state into a file; it stands still from then on.
    pub(crate) fn save(&mut self, state: &Path) -> Result<()> {
        self.powered()?.qmp.save(state)
    }

    /// Boots the machine, which must be without power; waits until it takes commands.
    pub fn boot(&mut self) -> Result<()> {
        if self.bed.flavour == Flavour::Full {
            return self.switch_on(false);
        }
        // On an overloaded host an emulated machine may stand still before its kernel is up, with nothing of ours in it yet.
        for attempt in 1..BOOT_ATTEMPTS {
            let console = self.file("console.log");
            let said = fs::metadata(&console).map_or(0, |about| about.len());
            match self.switch_on(attempt == 1) {
                Ok(()) => return Ok(()),
                Err(_) if self.is_running() => {
                    eprintln!("{} did not come up, it is started once more", self.options.name);
                    self.power_cut();
                    fs::OpenOptions::new().write(true).open(&console)?.set_len(said)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.switch_on(false)
    }

    /// `may_wake`: a sleeping machine will do.
    fn switch_on(&mut self, may_wake: bool) -> Result<()> {
        if self.running.is_some() {
            bail!("{} is already running", self.options.name);
        }
        let began = Instant::now();
        let asleep = if may_wake { sleeper::find(&self.bed, &self.options) } else { None };
        let how = match &asleep {
            Some(state) => self.wake(state).map(|()| "wakes"),
            None => self.boot_image(&boot_files::initrd(&self.bed, &self.options)?).map(|()| "boots"),
        }?;
        if std::env::var_os("DRBD_RS_TRACE").is_some() {
            eprintln!("{} {:.1} s# {how}", self.options.name, began.elapsed().as_secs_f32());
        }
        Ok(())
    }

    /// Goes on from the file of a sleeping machine.
    fn wake(&mut self, state: &Path) -> Result<()> {
        self.power_on(&Start::Wake(state))?;
        let (command, archive) = boot_files::awakening(&self.bed, &self.options)?;
        let running = self.powered()?;
        running.qmp.wake()?;
        running.agent.start(&command)?;
        running.agent.send(&archive)?;
        let said = self.finish_command(BOOT_LIMIT)?;
        if said.code != 0 || self.ok("cat /etc/hostname")?.trim() != self.options.name {
            bail!("{} woke up wrong: {}", self.options.name, said.text);
        }
        Ok(())
    }

    /// Boots with the initramfs `image`.
    pub(crate) fn boot_image(&mut self, image: &[u8]) -> Result<()> {
        let initrd = self.file("initrd");
        fs::write(&initrd, image).with_context(|| format!("writing {}", initrd.display()))?;
        self.power_on(&Start::Boot(&initrd))?;
        self.wait_ready()
    }

    /// Starts QEMU and connects to it.
    fn power_on(&mut self, start: &Start) -> Result<()> {
        let (agent_path, qmp_path) = (self.file("agent"), self.file("qmp"));
        let ends = self.options.links.iter().map(|link| link.own.clone());
        for path in [agent_path.clone(), qmp_path.clone(), self.console_socket()].into_iter().chain(ends) {
            let _ = fs::remove_file(path);
        }
        machine::make_disks(&self.options)?;
        let errors = fs::File::create(self.file("qemu.err"))?;
        let mut child = machine::command(&self.bed, &self.options, start)?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .context("starting QEMU")?;
        let connected = connect(&agent_path, &mut child).and_then(|agent| {
            let qmp = Qmp::new(connect(&qmp_path, &mut child)?)?;
            Ok((Agent::new(agent)?, qmp))
        });
        let (agent, qmp) = match connected {
            Ok(ends) => ends,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                let said = fs::read_to_string(self.file("qemu.err")).unwrap_or_default();
                return Err(error.context(format!("QEMU said: {said}")));
            }
        };
        self.running = Some(Running { child, agent, qmp, trace: None });
        Ok(())
    }

    /// Waits until the machine takes commands, after it was started or rebooted itself.
    pub fn wait_ready(&mut self) -> Result<()> {
        let limit = match self.bed.flavour {
            Flavour::Full => SYSTEM_BOOT_LIMIT,
            _ => BOOT_LIMIT,
        };
        let ready = self.powered()?.agent.wait_ready(limit);
        ready.with_context(|| {
            let console = self.console();
            let from = console.len().saturating_sub(3000);
            format!(
                "{} does not boot; its console ends with:\n{}",
                self.options.name,
                console.get(from..).unwrap_or("")
            )
        })
    }

    /// Runs a shell command, at most two minutes; on a complete Debian system, where a script may start hundreds of programs,
    /// [`PATIENCE`] times as long.
    pub fn run(&mut self, command: &str) -> Result<Output> {
        let limit = match self.bed.flavour {
            Flavour::Full => COMMAND_LIMIT * PATIENCE,
            _ => COMMAND_LIMIT,
        };
        self.run_within(command, limit)
    }

    /// Runs a shell command.
    ///
    /// # Errors
    /// The machine is without power, or the command does not end within `limit`.
    pub fn run_within(&mut self, command: &str, limit: Duration) -> Result<Output> {
        self.start_command(command)?;
        self.finish_command(limit).with_context(|| format!("{}# {command}", self.options.name))
    }

    /// Starts a command that [`Vm::finish_command`] collects, or that a power cut ends. With `DRBD_RS_TRACE` in the environment standard error
    /// shows it with its seconds.
    pub fn start_command(&mut self, command: &str) -> Result<()> {
        let trace = std::env::var_os("DRBD_RS_TRACE").map(|_| (Instant::now(), command.to_string()));
        let running = self.powered()?;
        running.trace = trace;
        running.agent.start(command)
    }

    /// Waits for the command last started.
    pub fn finish_command(&mut self, limit: Duration) -> Result<Output> {
        let running = self.powered()?;
        let output = running.agent.finish(limit);
        if let Some((start, command)) = running.trace.take() {
            eprintln!("{} {:.1} s# {command}", self.options.name, start.elapsed().as_secs_f32());
        }
        output
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub fn ok(&mut self, command: &str) -> Result<String> {
        let output = self.run(command)?;
        if output.code != 0 {
            bail!(
                "{}# {command}\nended with exit code {}:\n{}\nkernel log:\n{}",
                self.options.name,
                output.code,
                output.text,
                self.log_tail()
            );
        }
        Ok(output.text)
    }

    /// Runs a command that must end with exit code `code`, and returns what it printed.
    pub fn exits(&mut self, code: i32, command: &str) -> Result<String> {
        let output = self.run(command)?;
        if output.code != code {
            bail!(
                "{}# {command}\nended with exit code {}, expected {code}:\n{}",
                self.options.name,
                output.code,
                output.text
            );
        }
        Ok(output.text)
    }

    /// Repeats `command` until its output contains `wanted`, at most `seconds` times [`PATIENCE`].
    pub fn wait_for(&mut self, seconds: u64, command: &str, wanted: &str) -> Result<String> {
        self.wait_until(seconds, command, wanted, |text| text.contains(wanted))
    }

    /// Repeats `command` until its output satisfies `done`; `what` names that in the error.
    pub fn wait_until(
        &mut self,
        seconds: u64,
        command: &str,
        what: &str,
        done: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let end = Instant::now() + Duration::from_secs(seconds) * PATIENCE;
        // What takes long is looked at less often: looking costs an emulated processor 20 ms.
        let mut pause = Duration::from_millis(50);
        loop {
            let look = Instant::now();
            let text = self.run(command)?.text;
            let took = look.elapsed();
            if done(&text) {
                return Ok(text);
            }
            if Instant::now() > end {
                bail!(
                    "{}# {command}\nnot within {seconds} s times {PATIENCE}: {what}; last seen:\n{text}\nkernel log:\n{}",
                    self.options.name,
                    self.log_tail()
                );
            }
            std::thread::sleep(pause.max(took));
            pause = (pause * 5 / 4).min(Duration::from_millis(500));
        }
    }

    /// Cuts or mends the first network link, as if the cable were pulled.
    pub fn set_link(&mut self, up: bool) -> Result<()> {
        self.set_link_number(0, up)
    }

    /// Cuts or mends network link `number`, counted from 0.
    pub fn set_link_number(&mut self, number: usize, up: bool) -> Result<()> {
        let arguments = serde_json::json!({"name": format!("net{number}"), "up": up});
        self.powered()?.qmp.execute("set_link", arguments)?;
        Ok(())
    }

    /// Stops the virtual processors: the node is silent but its connections stay.
    pub fn freeze(&mut self, frozen: bool) -> Result<()> {
        let command = if frozen { "stop" } else { "cont" };
        self.powered()?
            .qmp
            .execute(command, serde_json::json!({}))?;
        Ok(())
    }

    /// Pulls the plug.
    pub fn power_cut(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Whether the machine has power.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// What the console of all boots said so far.
    pub fn console(&self) -> String {
        fs::read(self.file("console.log"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Fails if the kernel complained about anything in any boot.
    pub fn check_kernel_log(&self) -> Result<()> {
        let mut console = self.console();
        if self.options.module == self.bed.c_module() {
            console = kernel_log::without_defect_of_c_driver(&console);
        }
        let found = kernel_log::complaints(&console);
        if let Some(first) = found.first() {
            let at = console.find(first.as_str()).unwrap_or(0);
            bail!(
                "the kernel of {} complains {} times, first:\n{}",
                self.options.name,
                found.len(),
                console[at..].chars().take(4000).collect::<String>()
            );
        }
        Ok(())
    }

    /// On the debug kernel: fails if memory the driver allocated is reachable from nowhere.
    pub fn check_leaks(&mut self) -> Result<()> {
        if self.bed.flavour != Flavour::Debug || self.running.is_none() {
            return Ok(());
        }
        let scan = "f=/sys/kernel/debug/kmemleak; [ -f $f ] || exit 0; echo scan > $f; sleep 6; echo scan > $f; cat $f";
        let text = self.run(scan)?.text;
        if text.contains("drbd") {
            bail!("memory has leaked on {}:\n{}", self.options.name, text.chars().take(4000).collect::<String>());
        }
        Ok(())
    }

    /// Path of backing disk `index` on the host.
    pub fn disk(&self, index: usize) -> PathBuf {
        self.options.disk(index)
    }

    /// Unix socket of the console, for `testbed console`.
    pub fn console_socket(&self) -> PathBuf {
        self.file("console.sock")
    }

    fn log_tail(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn powered(&mut self) -> Result<&mut Running> {
        let name = &self.options.name;
        self.running
            .as_mut()
            .with_context(|| format!("{name} has no power"))
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.options.file(suffix)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.power_cut();
    }
}

fn connect(path: &Path, child: &mut Child) -> Result<UnixStream> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Ok(stream) = UnixStream::connect(path) {
            return Ok(stream);
        }
        if let Some(status) = child.try_wait()? {
            bail!("QEMU ended at once: {status}");
        }
        if Instant::now() > end {
            bail!("QEMU does not open {}", path.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
