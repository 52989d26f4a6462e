// SPDX-License-Identifier: GPL-2.0
//! One virtual machine: boots, runs commands, can lose its power.

use crate::agent::{Agent, Output};
use crate::boot_files;
use crate::kernel_log;
use crate::qmp::Qmp;
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

/// A machine, running or without power.
pub struct Vm {
    /// As given, with later changes (module, files) taking effect at the next boot.
    pub options: VmOptions,
    bed: Testbed,
    running: Option<Running>,
    boots: u32,
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
        let mut vm = Self {
            options,
            bed: bed.clone(),
            running: None,
            boots: 0,
        };
        vm.boot()?;
        Ok(vm)
    }

    /// Boots the machine, which must be without power; waits until it takes commands.
    pub fn boot(&mut self) -> Result<()> {
        if self.bed.flavour == Flavour::Full {
            return self.switch_on();
        }
        // On an overloaded host an emulated machine may stand still before its kernel is up, with nothing of ours in it yet.
        for _ in 1..BOOT_ATTEMPTS {
            let console = self.file("console.log");
            let said = fs::metadata(&console).map_or(0, |about| about.len());
            match self.switch_on() {
                Ok(()) => return Ok(()),
                Err(_) if self.is_running() => {
                    eprintln!("{} did not come up, it is started once more", self.options.name);
                    self.power_cut();
                    fs::OpenOptions::new().write(true).open(&console)?.set_len(said)?;
                }
                Err(error) => return Err(error),
            }
        }
        self.switch_on()
    }

    fn switch_on(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("{} is already running", self.options.name);
        }
        self.boots += 1;
        let initrd = self.file("initrd");
        let image = boot_files::initrd(&self.bed, &self.options)?;
        fs::write(&initrd, image).with_context(|| format!("writing {}", initrd.display()))?;
        let (agent_path, qmp_path) = (self.file("agent"), self.file("qmp"));
        for path in [&agent_path, &qmp_path, &self.file("console.sock")] {
            let _ = fs::remove_file(path);
        }
        let errors = fs::File::create(self.file("qemu.err"))?;
        let mut child = self
            .command(&initrd)?
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
        let start = Instant::now();
        let ready = self.wait_ready();
        if std::env::var_os("DRBD_RS_TRACE").is_some() {
            eprintln!("{} {:.1} s# boots", self.options.name, start.elapsed().as_secs_f32());
        }
        ready
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
        self.file(&format!("disk{index}.img"))
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
        self.options
            .folder
            .join(format!("{}-{suffix}", self.options.name))
    }

    fn command(&self, initrd: &Path) -> Result<std::process::Command> {
        let options = &self.options;
        let mut command = self.bed.qemu();
        let accelerator: &[&str] = match std::env::var("DRBD_RS_ACCEL").as_deref() {
            Ok("kvm") => &["-accel", "kvm"],
            _ => &["-accel", "tcg,thread=multi"],
        };
        let counted: &[&str] = &[
            "-accel",
            "tcg,thread=single",
            "-icount",
            "shift=0,sleep=off,align=off",
        ];
        // An emulator carries out `rep movsb` byte by byte: without these the kernel copies by words. What is counted stays as on
        // a real processor.
        let by_host = matches!(options.clock, Clock::Host);
        let (accelerator, processor) = if !by_host {
            (counted, "max")
        } else {
            (accelerator, "max,-erms,-fsrm,-fsrs,-fzrm,-la57")
        };
        if let Clock::Counted { plugin, out } = &options.clock {
            command
                .arg("-plugin")
                .arg(format!("{},out={}", plugin.display(), out.display()));
        }
        command.args(accelerator).args([
            "-M",
            "q35",
            "-cpu",
            processor,
            "-nodefaults",
            "-nographic",
            "-device",
            "virtio-rng-pci,ioeventfd=off",
            "-device",
            "virtio-serial-pci,max_ports=2,ioeventfd=off",
        ]);
        // KASAN takes an eighth for its shadow, and holds freed memory back for a while
        let memory = match self.bed.flavour {
            Flavour::Kasan => options.memory_mib * 2,
            _ => options.memory_mib,
        };
        command
            .arg("-smp")
            .arg(options.processors.to_string())
            .arg("-m")
            .arg(memory.to_string())
            .arg("-kernel")
            .arg(self.bed.kernel())
            .arg("-initrd")
            .arg(initrd)
            .arg("-append")
            .arg(format!(
                "console=ttyS0 no_timer_check panic=-1 oops=panic mitigations=off loglevel=7 random.trust_cpu=on {} {} {}",
                boot_files::kernel_parameters(&self.bed),
                if by_host { clock_parameter() } else { String::new() },
                options.append
            ));
        let socket = |id: &str, path: PathBuf| {
            format!("socket,id={id},path={},server=on,wait=off", path.display())
        };
        command
            .arg("-chardev")
            .arg(format!(
                "{},logfile={},logappend=on",
                socket("console", self.file("console.sock")),
                self.file("console.log").display()
            ))
            .args(["-serial", "chardev:console"])
            .arg("-chardev")
            .arg(socket("agent", self.file("agent")))
            .args(["-device", "virtserialport,chardev=agent,name=agent"])
            .arg("-qmp")
            .arg(format!(
                "unix:{},server=on,wait=off",
                self.file("qmp").display()
            ));
        if options.scsi {
            command.args(["-device", "virtio-scsi-pci,id=scsi"]);
        }
        // A machine that loses power leaves what it has written in the host's memory: nothing is lost if the host does not write it out at
        // each flush.
        let cache = if by_host { "unsafe" } else { "writeback" };
        for (index, size_mib) in options.disks_mib.iter().enumerate() {
            let path = self.disk(index);
            if !path.exists() {
                fs::File::create(&path)?.set_len(size_mib << 20)?;
            }
            command
                .arg("-drive")
                .arg(format!(
                    "file={},if=none,id=disk{index},format=raw,cache={cache},discard=unmap",
                    path.display()
                ))
                .arg("-device")
                .arg(if options.scsi {
                    format!("scsi-hd,bus=scsi.0,scsi-id={index},drive=disk{index}")
                } else {
                    format!("virtio-blk-pci,drive=disk{index},ioeventfd=off")
                });
        }
        if self.bed.flavour == Flavour::Full {
            self.root_disk(&mut command)?;
        } else {
            command.arg("-no-reboot");
        }
        for (number, link) in options.links.iter().enumerate() {
            let _ = fs::remove_file(&link.own);
            let last = link.address.rsplit('.').next().unwrap_or("1");
            command
                .arg("-netdev")
                .arg(format!(
                    "dgram,id=net{number},local.type=unix,local.path={},remote.type=unix,remote.path={}",
                    link.own.display(),
                    link.peer.display()
                ))
                .arg("-device")
                .arg(format!(
                    "virtio-net-pci,netdev=net{number},id=nic{number},ioeventfd=off,mac=52:54:00:00:{number:02x}:{:02x}",
                    last.parse::<u8>().unwrap_or(1)
                ));
        }
        Ok(command)
    }

    /// The disk with the Debian system: an overlay of the common image, made at the first boot
    /// and kept over the later ones. The guest finds it by its label.
    fn root_disk(&self, command: &mut std::process::Command) -> Result<()> {
        let overlay = self.file("root.qcow2");
        if !overlay.exists() {
            let done = self
                .bed
                .program("usr/bin/qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
                .args([self.bed.root_image(), overlay.clone()])
                .output()?;
            if !done.status.success() {
                bail!("qemu-img: {}", String::from_utf8_lossy(&done.stderr));
            }
        }
        command
            .arg("-drive")
            .arg(format!(
                "file={},if=none,id=root,format=qcow2,cache=unsafe",
                overlay.display()
            ))
            .args(["-device", "virtio-blk-pci,drive=root,ioeventfd=off"]);
        Ok(())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.power_cut();
    }
}

/// The kernel parameter that names the speed of the time stamp counter, which in an emulated processor is that of this
/// one: on a loaded host a machine that measures it may get a fraction, and its clock then runs several times too fast.
/// Empty where this host does not know its own.
fn clock_parameter() -> String {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    counter_khz(&about).map_or_else(String::new, |khz| format!("tsc_early_khz={khz}"))
}

/// Speed of the time stamp counter in kHz, from the text of `/proc/cpuinfo`: where a counter of constant speed makes
/// "bogomips" twice its MHz.
fn counter_khz(about: &str) -> Option<u64> {
    let value = |key: &str| {
        let line = about.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim())
    };
    value("flags")?.split(' ').find(|flag| *flag == "constant_tsc")?;
    let (whole, hundredths) = value("bogomips")?.split_once('.')?;
    let hundredths = format!("{whole}{hundredths}").parse::<u64>().ok()?;
    Some(hundredths * 5).filter(|khz| (100_000..100_000_000).contains(khz))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_of_the_counter_is_half_the_bogomips() {
        let about = "cpu MHz\t\t: 800.000\nflags\t\t: fpu constant_tsc msr\nbogomips\t: 5192.24\n";
        assert_eq!(counter_khz(about), Some(2_596_120));
        assert_eq!(counter_khz(&about.replace("constant_tsc ", "")), None);
        assert_eq!(counter_khz("Features : fp\nBogoMIPS : 50.00\n"), None);
    }
}
