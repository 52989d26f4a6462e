// SPDX-License-Identifier: GPL-2.0
//! Tutorial 0: the service, then the same resource in the hands of Pacemaker.

use super::{answering, boot_with, shows, slowly, start_service, watch_sync, Setting};
use crate::stack::{corosync, wait};
use crate::{bed, check};
use anyhow::{ensure, Result};

#[test]
fn tutorial_0_the_service_then_pacemaker() {
    check(tutorial);
}

fn tutorial() -> Result<()> {
    let setting = Setting {
        name: "tutorial-pacemaker",
        case: "seed-0-mystore",
        hosts: ["node1.tanxw.com", "node2.tanxw.com"],
        networks: [["172.16.27.1", "172.16.27.2"], ["10.0.1.1", "10.0.1.2"]],
        disks_mib: vec![160],
    };
    let mut machines = boot_with(&bed(), &setting, |mut options| {
        options.cluster_stack = true;
        Ok(options.file("etc/corosync/corosync.conf", &corosync(setting.hosts, setting.networks[0])))
    })?;
    for vm in [&mut machines.a, &mut machines.b] {
        // an extended partition with /dev/sda5 in it
        vm.ok("printf 'n\\ne\\n1\\n\\n\\nn\\n\\n\\nw\\n' | fdisk /dev/sda >/dev/null && udevadm settle && test -b /dev/sda5")?;
        let text = answering(vm, "drbdadm create-md mystore", "yes")?;
        ensure!(text.contains("success"), "{text}");
    }
    start_service(&mut machines, "service drbd start")?;
    machines.a.wait_for(60, "cat /proc/drbd", "ro:Secondary/Secondary ds:Inconsistent/Inconsistent")?;
    machines.a.ok("drbdadm primary --force mystore")?;
    watch_sync(&mut machines)?;
    let a = &mut machines.a;
    a.ok("mke2fs -q -t ext4 -L DRBD /dev/drbd0 && mkdir -p /mydata && mount /dev/drbd0 /mydata")?;
    a.ok("cp /etc/fstab /mydata/ && umount /mydata && drbdadm secondary mystore")?;
    let b = &mut machines.b;
    b.ok("drbdadm primary mystore && mkdir -p /mydata && mount /dev/drbd0 /mydata && cmp /etc/fstab /mydata/fstab")?;
    b.ok("umount /mydata && drbdadm secondary mystore")?;
    machines.both("service drbd stop && chkconfig drbd off && test ! -e /proc/drbd")?;

    let a = &mut machines.a;
    wait(a, 300, "crm_mon -1", "both nodes are online", |t| {
        t.contains("Online: [ node1.tanxw.com node2.tanxw.com ]")
    })?;
    shows(a, "crm ra meta ocf:linbit:drbd", &["drbd_resource"])?;
    slowly(a, &format!("crm configure <<'END'\n{}\ncommit\nEND", CRM.join("\n")))?;
    let on = |host: &str| (format!("Promoted: [ {host} ]"), format!("Started {host}"));
    let text = wait(a, 400, "crm_mon -1 -r", "the file system is mounted", |t| {
        setting.hosts.iter().any(|host| {
            let (promoted, started) = on(host);
            t.contains(&promoted) && t.contains(&started)
        })
    })?;
    let first = usize::from(text.contains(&on(setting.hosts[1]).1));
    for from in [first, 1 - first] {
        let (old, new) = (setting.hosts[from], setting.hosts[1 - from]);
        machines.a.ok(&format!("crm node standby {old}"))?;
        wait(&mut machines.a, 400, "crm_mon -1 -r", "moved", |t| {
            let (promoted, started) = on(new);
            t.contains(&promoted) && t.contains(&started)
        })?;
        let vm = if from == 0 { &mut machines.b } else { &mut machines.a };
        vm.ok("cmp /etc/fstab /mydata/fstab")?;
        machines.a.ok(&format!("crm node online {old}"))?;
        wait(&mut machines.a, 400, "crm_mon -1 -r", "the other one is back", |t| {
            t.contains(&format!("Unpromoted: [ {old} ]"))
        })?;
        watch_sync(&mut machines)?;
    }
    machines.finish()
}

/// What the text configures, in today's words for master and slave, and with limits for slow
/// machines where the text has 20 s, typed at the prompt of one `crm configure`. Nothing starts before `commit`.
const CRM: [&str; 6] = [
    "property stonith-enabled=false no-quorum-policy=ignore",
    "primitive mystore ocf:linbit:drbd params drbd_resource=mystore \
     op monitor role=Promoted interval=30s timeout=120s op monitor role=Unpromoted interval=60s timeout=120s \
     op start timeout=240s op stop timeout=240s op promote timeout=240s op demote timeout=240s op notify timeout=240s",
    "clone ms_mystore mystore meta promotable=true promoted-max=1 promoted-node-max=1 clone-max=2 \
     clone-node-max=1 notify=True",
    "primitive mydata ocf:heartbeat:Filesystem params device=/dev/drbd0 directory=/mydata fstype=ext4 \
     op monitor interval=30s timeout=120s op start timeout=240s op stop timeout=240s",
    "colocation mydata_with_ms_mystore inf: mydata ms_mystore:Promoted",
    "order mydata_after_ms_mystore Mandatory: ms_mystore:promote mydata:start",
];
