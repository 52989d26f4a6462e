// SPDX-License-Identifier: GPL-2.0
//! Tutorial 4: the commands of 8.0 to 8.3, and Heartbeat with drbddisk.

use super::{answering, boot_with, partition, shows, slowly, start_service, watch_sync, Setting};
use crate::{bed, check};
use anyhow::{ensure, Result};

const HA_CF: &str = "keepalive 2
deadtime 30
initdead 60
ucast eth0 192.168.1.11
ucast eth0 192.168.1.12
auto_failback off
node drbd1
node drbd2
crm no
";

#[test]
fn tutorial_4_heartbeat_with_drbddisk() {
    check(tutorial);
}

fn tutorial() -> Result<()> {
    let setting = Setting {
        name: "tutorial-heartbeat",
        case: "seed-4-r0",
        hosts: ["drbd1", "drbd2"],
        networks: [["192.168.1.11", "192.168.1.12"], ["10.0.1.1", "10.0.1.2"]],
        disks_mib: vec![104, 104],
    };
    let mut machines = boot_with(&bed(), &setting, |options| {
        Ok(options
            .file("etc/ha.d/ha.cf", HA_CF)
            .file("etc/ha.d/haresources", "drbd1 drbddisk::r0 Filesystem::/dev/drbd0::/mnt::ext3\n")
            .file("root/authkeys", "auth 1\n1 crc\n"))
    })?;
    for vm in [&mut machines.a, &mut machines.b] {
        partition(vm, "/dev/sdb")?;
        let text = answering(vm, "drbdadm create-md r0", "")?;
        ensure!(text.contains("success"), "{text}");
    }
    // both nodes wait for each other in the start script, so the first one is started by itself
    start_service(&mut machines, "/etc/init.d/drbd start")?;
    machines.a.wait_for(60, "cat /proc/drbd", "ro:Secondary/Secondary ds:Inconsistent/Inconsistent")?;
    machines.a.ok("drbdsetup /dev/drbd0 primary -o")?;
    shows(&mut machines.a, "cat /proc/drbd", &["ro:Primary/Secondary"])?;
    shows(&mut machines.b, "cat /proc/drbd", &["ro:Secondary/Primary"])?;
    watch_sync(&mut machines)?;
    machines.a.ok("mkfs.ext3 -q /dev/drbd0 && mount /dev/drbd0 /mnt && echo hello > /mnt/file && umount /mnt")?;
    machines.both("chkconfig drbd on")?;
    machines.both("systemctl is-enabled drbd.service && install -m 600 /root/authkeys /etc/ha.d/authkeys")?;
    machines.a.ok("drbdadm secondary r0")?;
    machines.both("/etc/init.d/heartbeat start")?;
    machines.a.wait_for(240, "cat /proc/mounts", "/dev/drbd0 /mnt ext3")?;
    shows(&mut machines.a, "cat /mnt/file; cat /proc/drbd", &["hello", "ro:Primary/Secondary ds:UpToDate/UpToDate"])?;
    shows(&mut machines.a, "/etc/ha.d/resource.d/drbddisk r0 status", &["running (Primary)"])?;
    // the first node leaves, the second takes the file system over
    slowly(&mut machines.a, "/etc/init.d/heartbeat stop")?;
    machines.b.wait_for(240, "cat /proc/mounts", "/dev/drbd0 /mnt ext3")?;
    shows(&mut machines.b, "cat /mnt/file; cat /proc/drbd", &["hello", "ro:Primary/Secondary ds:UpToDate/UpToDate"])?;
    shows(&mut machines.a, "cat /proc/drbd", &["ro:Secondary/Primary"])?;
    slowly(&mut machines.b, "/etc/init.d/heartbeat stop && umount /mnt 2>/dev/null; true")?;
    machines.finish()
}
