// SPDX-License-Identifier: GPL-2.0
//! The tutorials (issue 4, line 6): each is one test that types their commands in their
//! order on two machines with the names and addresses of the text, and checks what a reader is
//! told to see. Their configuration files are those of `fixtures/config/cases/seed-*`, without
//! the typing errors.

mod build_and_mysql;
mod ext3;
mod heartbeat;
mod pacemaker;
mod two_primaries;

use crate::packaged::Packaged;
use anyhow::{ensure, Context, Result};
use qemu_testbed::testbed::checkout;
use qemu_testbed::{SystemOptions, Systems, Testbed, Vm};
use std::time::Duration;

/// The distributions of the tutorials had this command; here it stands for what replaced it.
const CHKCONFIG: &str = r#"#!/bin/sh
case $1:$2 in
--add:*) exec systemctl daemon-reload ;;
*:on) exec systemctl -q enable "$1" ;;
*:off) exec systemctl -q disable "$1" ;;
esac
echo "chkconfig: not known: $*" >&2; exit 1
"#;

/// What a tutorial's machines are called and where they are.
struct Setting {
    name: &'static str,
    /// Case with the configuration, below `fixtures/config/cases`.
    case: &'static str,
    hosts: [&'static str; 2],
    /// Addresses on eth0 and on eth1.
    networks: [[&'static str; 2]; 2],
    /// Sizes of /dev/sda, /dev/sdb ... (all the same: disks may be found in any order).
    disks_mib: Vec<u64>,
}

/// Options for machines with everything `make install` installs and the tutorial's files.
fn options(setting: &Setting, packaged: &Packaged) -> Result<SystemOptions> {
    let mut options = SystemOptions::new(setting.name).file("usr/sbin/chkconfig", CHKCONFIG);
    options.hosts = setting.hosts.map(String::from);
    options.networks = setting.networks;
    options.disks_mib.clone_from(&setting.disks_mib);
    options.scsi = true;
    options.tree = Some(packaged.folder.clone());
    let case = checkout()?.join("tests/fixtures/config/cases").join(setting.case);
    for (folder, below) in [(case.clone(), "etc/"), (case.join("drbd.d"), "etc/drbd.d/")] {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "drbd.conf" || name.ends_with(".res") || name == "global_common.conf" {
                let content = std::fs::read(entry.path()).with_context(|| format!("reading {name}"))?;
                options.files.push((format!("{below}{name}"), content));
            }
        }
    }
    Ok(options)
}

/// Boots the machines of a tutorial; `more` adds what this one needs beside.
fn boot_with(bed: &Testbed, setting: &Setting, more: impl FnOnce(SystemOptions) -> Result<SystemOptions>) -> Result<Systems> {
    let packaged = Packaged::install(setting.name)?;
    let mut machines = Systems::boot(bed, &more(options(setting, &packaged)?)?)?;
    // udev loads the driver of the disks when it comes to it
    let last = char::from(b'a' + setting.disks_mib.len() as u8 - 1);
    for vm in [&mut machines.a, &mut machines.b] {
        vm.wait_for(120, "ls /dev/sd?", &format!("/dev/sd{last}"))?;
    }
    Ok(machines)
}

/// Types a command that must succeed and show every one of `words`, in this order.
fn shows(vm: &mut Vm, command: &str, words: &[&str]) -> Result<String> {
    let text = vm.ok(command)?;
    in_order(&text, words).with_context(|| format!("{}# {command}", vm.options.name))?;
    Ok(text)
}

/// Types a command that must fail with `code` and show every one of `words`, in this order.
fn refuses(vm: &mut Vm, code: i32, command: &str, words: &[&str]) -> Result<()> {
    let text = vm.exits(code, command)?;
    in_order(&text, words).with_context(|| format!("{}# {command}", vm.options.name))
}

fn in_order(text: &str, words: &[&str]) -> Result<()> {
    let mut rest = text;
    for word in words {
        let at = rest.find(word);
        ensure!(at.is_some(), "does not show '{word}' where it should:\n{text}");
        rest = &rest[at.unwrap_or(0) + word.len()..];
    }
    Ok(())
}

/// Types a command on a terminal and answers `answer` until it ends.
fn answering(vm: &mut Vm, command: &str, answer: &str) -> Result<String> {
    let typed = format!(
        "(while sleep 1 && echo '{answer}'; do :; done) | script -qec '{command}' /dev/null"
    );
    let output = vm.run_within(&typed, Duration::from_secs(300))?;
    Ok(output.text)
}

/// Types a command that must succeed and may take long.
fn slowly(vm: &mut Vm, command: &str) -> Result<()> {
    let output = vm.run_within(command, Duration::from_secs(600))?;
    ensure!(
        output.code == 0,
        "{}# {command}\nended with exit code {}:\n{}",
        vm.options.name,
        output.code,
        output.text
    );
    Ok(())
}

/// Starts the service on both nodes; each waits for the other, so the first does it beside.
fn start_service(machines: &mut Systems, command: &str) -> Result<()> {
    machines.a.ok(&format!("setsid {command} </dev/null >/root/start.log 2>&1 & sleep 1"))?;
    slowly(&mut machines.b, &format!("{command} </dev/null"))?;
    machines.a.wait_until(300, "pgrep -f 'drbd (re)?start' || echo none", "the service is up", |t| t.contains("none"))?;
    Ok(())
}

/// Makes one partition of the whole disk, as the tutorials do with fdisk.
fn partition(vm: &mut Vm, disk: &str) -> Result<()> {
    vm.ok(&format!(
        "printf 'n\\np\\n1\\n\\n\\nw\\n' | fdisk {disk} >/dev/null && udevadm settle && test -b {disk}1"
    ))?;
    Ok(())
}

/// Waits for the end of the first synchronisation, watching /proc/drbd as the reader does.
fn watch_sync(machines: &mut Systems) -> Result<()> {
    for vm in [&mut machines.a, &mut machines.b] {
        vm.wait_until(900, "cat /proc/drbd", "all volumes are in sync", |t| {
            let volumes = t.matches(" cs:").count();
            volumes > 0
                && t.matches(" cs:Connected ").count() == volumes
                && t.matches(" ds:UpToDate/UpToDate ").count() == volumes
                && t.matches(" oos:0").count() == volumes
        })?;
    }
    Ok(())
}
