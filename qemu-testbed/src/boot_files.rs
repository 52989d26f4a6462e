// SPDX-License-Identifier: GPL-2.0
//! The initramfs a machine boots: the cached base, followed by an overlay with its own files.
//!
//! On the stock and the debug kernel the initramfs is the whole system. On the full flavour
//! it only copies the overlay into the root disk, at the machine's first boot, and hands over
//! to systemd.

use crate::agent::GUEST_LOOP;
use crate::cpio::Archive;
use crate::testbed::{Flavour, Testbed};
use crate::vm::VmOptions;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The beginning of `/init`: what is the same for every machine of a flavour.
const START: &str = r#"#!/bin/sh
export PATH=/usr/local/sbin:/bin:/sbin:/usr/bin:/usr/sbin:/usr/lib/drbd HOME=/root TERM=vt100
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t devpts devpts /dev/pts 2>/dev/null
mount -t debugfs debug /sys/kernel/debug 2>/dev/null
mkdir -p /run /var/lock /var/run/drbd /var/lib/drbd /run/lock
tree=/lib/modules/$(uname -r); dep=$tree/modules.dep
if [ ! -f $dep ]; then
    # the debug kernel: its few modules come with the overlay
    mkdir -p $tree/kernel
    mv /overlay/modules/*.ko $tree/kernel/ 2>/dev/null
    for m in brd dm-mod; do echo "kernel/$m.ko:"; done > $dep
    for m in dm-delay dm-flakey; do echo "kernel/$m.ko: kernel/dm-mod.ko"; done >> $dep
fi
modprobe -qa virtio_net virtio-rng crc32c-cryptoapi 2>/dev/null
ip link set lo up
echo 30 > /proc/sys/kernel/hung_task_timeout_secs 2>/dev/null
"#;

/// What makes it this machine: run by `/init`, or by the agent of a machine that was woken.
const PERSONALITY: &str = r#"tree=/lib/modules/$(uname -r); dep=$tree/modules.dep
needs=; [ -f $tree/kernel/lru_cache.ko ] && needs=kernel/lru_cache.ko
mkdir -p $tree/updates
mv /overlay/drbd.ko $tree/updates/drbd.ko
sed -i '/drbd\.ko:/d' $dep
echo "updates/drbd.ko: $needs" >> $dep
hostname -F /etc/hostname
modprobe -q virtio_blk 2>/dev/null
while read -r link hardware; do ip link set $link address $hardware; done < /overlay/links
[ -f /overlay/address ] && { ip addr add $(cat /overlay/address)/24 dev eth0; ip link set eth0 up; }
[ -f /overlay/shell ] && (while :; do setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'; sleep 1; done) &
"#;

/// The port the agent listens on.
const PORT: &str = "port=/dev/$(ls /sys/class/virtio-ports 2>/dev/null | head -n 1)\n";

/// Run by the agent of a machine that was woken, before [`PERSONALITY`]: the time of day is that of the moment it was put to sleep, and nobody may
/// take random numbers before the kernel has new ones. `TIME` stands for the seconds since 1970.
const WAKE: &str = r#"date -s @TIME > /dev/null
until dmesg | grep -q 'reseeded due to virtual machine fork'; do usleep 20000; done
"#;

/// Agent of a machine with systemd; a service of the image starts it.
const SERVICE_HEAD: &str = "port=$(ls -d /dev/virtio-ports/agent /dev/vport* 2>/dev/null | head -n 1)\n";

/// What the kernel command line needs beside the console.
pub fn kernel_parameters(bed: &Testbed) -> &'static str {
    match bed.flavour {
        Flavour::Full => "net.ifnames=0 systemd.show_status=0 audit=0 tsc=reliable",
        _ => "",
    }
}

/// The image for QEMU's `-initrd`.
pub fn initrd(bed: &Testbed, options: &VmOptions) -> Result<Vec<u8>> {
    let overlay = match bed.flavour {
        Flavour::Full => system_overlay(bed, options)?,
        _ => {
            let mut archive = start(bed, &format!("{START}. /overlay/personality\n{PORT}{GUEST_LOOP}"))?;
            personality(bed, options, &mut archive, "")?;
            archive.finish()
        }
    };
    with_base(bed, &overlay)
}

/// The same for a machine that is nobody yet and is to be put to sleep (stock kernel only).
pub fn sleeper(bed: &Testbed) -> Result<Vec<u8>> {
    with_base(bed, &start(bed, &sleeper_init())?.finish())
}

/// Its `/init`.
pub fn sleeper_init() -> String {
    format!("{START}{PORT}{GUEST_LOOP}")
}

/// What makes a machine of that image the one of `options`: an archive, and the command that takes it from the agent's port.
pub fn awakening(bed: &Testbed, options: &VmOptions) -> Result<(String, Vec<u8>)> {
    let mut archive = Archive::new();
    archive.directory("overlay");
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    personality(bed, options, &mut archive, &WAKE.replace("TIME", &now.to_string()))?;
    let archive = archive.finish();
    Ok((format!("head -c {} <&3 | cpio -idu 2>/dev/null; . /overlay/personality", archive.len()), archive))
}

fn with_base(bed: &Testbed, overlay: &[u8]) -> Result<Vec<u8>> {
    let mut image = read(&bed.base())?;
    while image.len() % 4 != 0 {
        image.push(0);
    }
    image.extend_from_slice(overlay);
    Ok(image)
}

fn tools(bed: &Testbed) -> Result<&Path> {
    let tools = bed.tools.as_deref();
    tools.context("our tools are not built: run `make all`")
}

/// An archive with `/init` and the modules of a kernel of our own.
fn start(bed: &Testbed, init: &str) -> Result<Archive> {
    let mut archive = Archive::new();
    archive.directory("overlay");
    let extra = bed.extra_modules();
    if !extra.is_empty() {
        archive.directory("overlay/modules");
    }
    for module in extra {
        let name = module
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        archive.file(&format!("overlay/modules/{name}"), &read(&module)?);
    }
    archive.file("init", init.as_bytes());
    Ok(archive)
}

/// Adds what this machine has for itself; `first`: lines to run before [`PERSONALITY`].
fn personality(bed: &Testbed, options: &VmOptions, archive: &mut Archive, first: &str) -> Result<()> {
    archive.file("overlay/drbd.ko", &read(&options.module)?);
    archive.file("overlay/personality", format!("{first}{PERSONALITY}").as_bytes());
    archive.file("etc/hostname", format!("{}\n", options.name).as_bytes());
    let links = options.links.iter().enumerate();
    let links: String = links.map(|(number, link)| format!("eth{number} {}\n", link.hardware_address(number))).collect();
    archive.file("overlay/links", links.as_bytes());
    if let Some(link) = options.links.first() {
        archive.file("overlay/address", format!("{}\n", link.address).as_bytes());
    }
    if options.our_tools {
        for folder in ["usr/local", "usr/local/sbin"] {
            archive.directory(folder);
        }
        archive.file("usr/local/sbin/drbdadm", &read(tools(bed)?)?);
        for name in ["drbdsetup", "drbdmeta"] {
            archive.symlink(&format!("usr/local/sbin/{name}"), "drbdadm");
        }
    }
    for (name, content) in &options.files {
        archive.file(name, content);
    }
    Ok(())
}

/// Files of one Debian machine, below `overlay/`, with the folders above them.
struct System {
    archive: Archive,
    folders: BTreeSet<String>,
}

impl System {
    fn folders_of(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            if self.folders.insert(path[..at].to_owned()) {
                self.archive.directory(&path[..at]);
            }
        }
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        let path = format!("overlay/{path}");
        self.folders_of(&path);
        self.archive.file(&path, content);
    }

    /// Everything below `folder`, in the order of names.
    fn tree(&mut self, folder: &Path, below: &str) -> Result<()> {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .with_context(|| format!("reading {}", folder.display()))?
            .collect::<std::io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{below}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.symlink(&path, &target.to_string_lossy());
            } else if kind.is_dir() {
                self.tree(&entry.path(), &format!("{path}/"))?;
            } else {
                let mode = entry.metadata()?.permissions().mode() & 0o7777;
                let path = format!("overlay/{path}");
                self.folders_of(&path);
                self.archive.file_with_mode(&path, mode, &read(&entry.path())?);
            }
        }
        Ok(())
    }

    fn symlink(&mut self, path: &str, target: &str) {
        let path = format!("overlay/{path}");
        self.folders_of(&path);
        self.archive.symlink(&path, target);
    }
}

fn system_overlay(bed: &Testbed, options: &VmOptions) -> Result<Vec<u8>> {
    let mut system = System {
        archive: Archive::new(),
        folders: BTreeSet::new(),
    };
    let release = fs::read_to_string(bed.release_file()).context("reading the kernel release")?;
    let release = release.trim();
    let module = format!("usr/lib/modules/{release}/updates/drbd.ko");
    system.file(&module, &read(&options.module)?);
    system.file("etc/hostname", format!("{}\n", options.name).as_bytes());
    for (number, link) in options.links.iter().enumerate() {
        let network = format!(
            "[Match]\nName=eth{number}\n[Network]\nAddress={}/24\nLinkLocalAddressing=no\n\
             ConfigureWithoutCarrier=yes\nIgnoreCarrierLoss=yes\n",
            link.address
        );
        let path = format!("etc/systemd/network/10-eth{number}.network");
        system.file(&path, network.as_bytes());
    }
    let agent = format!("{SERVICE_HEAD}{GUEST_LOOP}");
    system.file("usr/lib/testbed/agent", agent.as_bytes());
    if options.our_tools {
        system.file("usr/sbin/drbdadm", &read(tools(bed)?)?);
        for name in ["drbdsetup", "drbdmeta"] {
            system.symlink(&format!("usr/sbin/{name}"), "drbdadm");
        }
    }
    if let Some(folder) = &options.tree {
        system.tree(folder, "")?;
    }
    for (name, content) in &options.files {
        system.file(name.trim_start_matches('/'), content);
    }
    Ok(system.archive.finish())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
