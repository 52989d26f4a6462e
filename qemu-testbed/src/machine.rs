// SPDX-License-Identifier: GPL-2.0
//! The machine QEMU is asked for.

use crate::boot_files;
use crate::sleeper;
use crate::testbed::{Flavour, Testbed};
use crate::vm::{Clock, VmOptions};
use anyhow::{bail, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// How a machine starts.
pub(crate) enum Start<'a> {
    /// With this initramfs.
    Boot(&'a Path),
    /// As it was when it was put to sleep, from the file with its state.
    Wake(&'a Path),
}

/// Whether the processor is emulated: always, but with `DRBD_RS_ACCEL=kvm`.
pub(crate) fn is_emulated() -> bool {
    std::env::var("DRBD_RS_ACCEL").as_deref() != Ok("kvm")
}

/// The command that starts QEMU for such a machine. Its disks must be there ([`make_disks`]).
pub(crate) fn command(bed: &Testbed, options: &VmOptions, start: &Start) -> Result<Command> {
    let mut command = bed.qemu();
    let accelerator: &[&str] = if is_emulated() { &["-accel", "tcg,thread=multi"] } else { &["-accel", "kvm"] };
    let counted: &[&str] = &[
        "-accel",
        "tcg,thread=single",
        "-icount",
        "shift=0,sleep=off,align=off",
    ];
    // An emulator carries out `rep movsb` byte by byte: without these the kernel copies by words. The C library's functions for AVX
    // take a seventh longer. What is counted stays as on a real processor.
    let by_host = matches!(options.clock, Clock::Host);
    let (accelerator, processor) = if !by_host {
        (counted, "max")
    } else {
        (accelerator, "max,-erms,-fsrm,-fsrs,-fzrm,-la57,-avx,-avx2")
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
    let memory = match bed.flavour {
        Flavour::Kasan => options.memory_mib * 2,
        _ => options.memory_mib,
    };
    command
        .arg("-smp")
        .arg(options.processors.to_string())
        .arg("-m")
        .arg(memory.to_string())
        .arg("-kernel")
        .arg(bed.kernel())
        .arg("-append")
        .arg(format!(
            "console=ttyS0 no_timer_check panic=-1 oops=panic mitigations=off loglevel=7 random.trust_cpu=on {} {} {}",
            boot_files::kernel_parameters(bed),
            if by_host { clock_parameter() } else { String::new() },
            options.append
        ));
    if sleeper::may_sleep(bed, options) {
        // Tells the kernel that it is another machine now, so that it takes new random numbers.
        command.args(["-device", "vmgenid,guid=auto"]);
    }
    match start {
        Start::Boot(initrd) => command.arg("-initrd").arg(initrd),
        Start::Wake(state) => command.arg("-incoming").arg(format!("file:{}", state.display())),
    };
    let socket = |id: &str, path: &Path| {
        format!("socket,id={id},path={},server=on,wait=off", path.display())
    };
    command
        .arg("-chardev")
        .arg(format!(
            "{},logfile={},logappend=on",
            socket("console", &options.file("console.sock")),
            options.file("console.log").display()
        ))
        .args(["-serial", "chardev:console"])
        .arg("-chardev")
        .arg(socket("agent", &options.file("agent")))
        .args(["-device", "virtserialport,chardev=agent,name=agent"])
        .arg("-qmp")
        .arg(format!(
            "unix:{},server=on,wait=off",
            options.file("qmp").display()
        ));
    if options.scsi {
        command.args(["-device", "virtio-scsi-pci,id=scsi"]);
    }
    // A machine that loses power leaves what it has written in the host's memory: nothing is lost if the host does not write it out at
    // each flush.
    let cache = if by_host { "unsafe" } else { "writeback" };
    for index in 0..options.disks_mib.len() {
        command
            .arg("-drive")
            .arg(format!(
                "file={},if=none,id=disk{index},format=raw,cache={cache},discard=unmap",
                options.disk(index).display()
            ))
            .arg("-device")
            .arg(if options.scsi {
                format!("scsi-hd,bus=scsi.0,scsi-id={index},drive=disk{index}")
            } else {
                format!("virtio-blk-pci,drive=disk{index},ioeventfd=off")
            });
    }
    if bed.flavour == Flavour::Full {
        root_disk(bed, options, &mut command)?;
    } else {
        command.arg("-no-reboot");
    }
    for (number, link) in options.links.iter().enumerate() {
        command
            .arg("-netdev")
            .arg(format!(
                "dgram,id=net{number},local.type=unix,local.path={},remote.type=unix,remote.path={}",
                link.own.display(),
                link.peer.display()
            ))
            .arg("-device")
            .arg(format!(
                "virtio-net-pci,netdev=net{number},id=nic{number},ioeventfd=off,mac={}",
                link.hardware_address(number)
            ));
    }
    Ok(command)
}

/// Creates the backing disks that are missing, as raw files without content.
pub(crate) fn make_disks(options: &VmOptions) -> Result<()> {
    for (index, size_mib) in options.disks_mib.iter().enumerate() {
        let path = options.disk(index);
        if !path.exists() {
            fs::File::create(&path)?.set_len(size_mib << 20)?;
        }
    }
    Ok(())
}

/// The disk with the Debian system: an overlay of the common image, made at the first boot
/// and kept over the later ones. The guest finds it by its label.
fn root_disk(bed: &Testbed, options: &VmOptions, command: &mut Command) -> Result<()> {
    let overlay = options.file("root.qcow2");
    if !overlay.exists() {
        let done = bed
            .program("usr/bin/qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .args([bed.root_image(), overlay.clone()])
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
