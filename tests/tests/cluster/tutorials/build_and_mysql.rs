// SPDX-License-Identifier: GPL-2.0
//! Tutorial 2: driver and tools from source, then MySQL's data on the mirror.

use super::{answering, boot_with, partition, shows, slowly, start_service, watch_sync, Setting};
use crate::{bed, check};
use anyhow::{ensure, Context, Result};
use qemu_testbed::testbed::checkout;
use std::process::Command;
use std::time::Duration;

#[test]
fn tutorial_2_from_source_with_mysql() {
    check(tutorial);
}

/// `make KDIR=... && make install` on the machine that has the kernel's tree, the build root;
/// returns the folder that the installed module is in.
fn build() -> Result<std::path::PathBuf> {
    let script = checkout()?.join("qemu-testbed/scripts/install-module.sh");
    let done = Command::new(&script).output().context("install-module.sh")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "make install: {said}");
    Ok(String::from_utf8_lossy(&done.stdout).trim().into())
}

/// From here on the module that `make install` made is the only one in updates/. depmod unpacks every module there is, four thousand of them:
/// those of devices and protocols that no machine here has go first.
const DEPMOD: &str = "rmmod drbd; m=/lib/modules/$(uname -r); rm -f $m/updates/*; cp /root/updates/* $m/updates/ || exit
    rm -rf $m/kernel/sound $m/kernel/drivers/net/*/ $m/kernel/net/*/
    for d in $m/kernel/drivers/*/; do case $d in */block/|*/scsi/|*/virtio/|*/md/|*/char/|*/net/) ;; *) rm -rf $d ;; esac; done
    depmod && chkconfig --add drbd";

fn tutorial() -> Result<()> {
    let setting = Setting {
        name: "tutorial-mysql",
        case: "seed-2-mystore",
        hosts: ["server12.neo.com", "server13.neo.com"],
        networks: [["192.168.100.12", "192.168.100.13"], ["10.0.1.1", "10.0.1.2"]],
        disks_mib: vec![420, 420],
    };
    let installed = build()?;
    let mut machines = boot_with(&bed(), &setting, |mut options| {
        let module = std::fs::read_dir(&installed)?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with("drbd.ko"))
            .context("make install left no drbd.ko")?;
        let name = module.file_name().to_string_lossy().into_owned();
        options.files.push((format!("root/updates/{name}"), std::fs::read(module.path())?));
        Ok(options)
    })?;
    // depmod looks into every module and takes minutes: both at once
    for vm in [&mut machines.a, &mut machines.b] {
        vm.start_command(DEPMOD)?;
    }
    for vm in [&mut machines.a, &mut machines.b] {
        let output = vm.finish_command(Duration::from_secs(900))?;
        ensure!(output.code == 0, "depmod: {}", output.text);
    }
    for vm in [&mut machines.a, &mut machines.b] {
        shows(vm, "modprobe drbd && modinfo drbd && cat /proc/drbd", &["/updates/drbd.ko", "version: 8.4.11 (api:1/proto:86-101)"])?;
        partition(vm, "/dev/sdb")?;
        let text = answering(vm, "drbdadm create-md mystore", "yes")?;
        ensure!(text.contains("success"), "{text}");
    }
    start_service(&mut machines, "service drbd start")?;
    machines.a.wait_for(60, "cat /proc/drbd", "ro:Secondary/Secondary ds:Inconsistent/Inconsistent")?;
    // slow enough to be seen, whatever the configuration allows
    machines.both("drbdsetup disk-options 0 --c-plan-ahead=0 --resync-rate=2M")?;
    machines.a.ok("drbdadm primary --force mystore")?;
    machines.a.wait_for(60, "drbd-overview", "sync'ed:")?;
    shows(
        &mut machines.a,
        "drbd-overview",
        &["0:mystore/0", "SyncSource", "Primary/Secondary", "UpToDate/Inconsistent", "C r-----", "[", "sync'ed:", "%"],
    )?;
    machines.both("drbdadm adjust mystore")?;
    let a = &mut machines.a;
    a.ok("mkfs.ext4 -q /dev/drbd0 && mount /dev/drbd0 /var/lib/mysql && chown mysql: /var/lib/mysql")?;
    a.ok("mariadb-install-db --user=mysql --skip-test-db >/dev/null 2>&1")?;
    slowly(a, "systemctl start mariadb")?;
    a.ok("mariadb -e 'create database d; create table d.t (n int primary key) engine=innodb; insert into d.t values (1), (2), (3)'")?;
    watch_sync(&mut machines)?;
    let a = &mut machines.a;
    slowly(a, "systemctl stop mariadb && umount /var/lib/mysql && drbdadm secondary mystore")?;
    let b = &mut machines.b;
    slowly(b, "drbdadm primary mystore && mount /dev/drbd0 /var/lib/mysql && systemctl start mariadb")?;
    shows(b, "mariadb -N -e 'select sum(n) from d.t'", &["6"])?;
    shows(b, "drbd-overview", &["0:mystore/0", "Connected", "Primary/Secondary", "UpToDate/UpToDate", "C r-----", "/var/lib/mysql ext4"])?;
    slowly(b, "systemctl stop mariadb && umount /var/lib/mysql && drbdadm secondary mystore")?;
    machines.finish()
}
