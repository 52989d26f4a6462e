// SPDX-License-Identifier: GPL-2.0
//! Corosync, Pacemaker and MariaDB on a replicated disk, as the tutorials set them up with crm.

use crate::packaged::Packaged;
use anyhow::{bail, ensure, Result};
use qemu_testbed::vm::PATIENCE;
use qemu_testbed::{SystemOptions, Systems, Testbed, Vm};
use std::time::{Duration, Instant};

/// Configuration of corosync for two nodes on one cable.
pub fn corosync(hosts: [&str; 2], addresses: [&str; 2]) -> String {
    let node = |index: usize| {
        format!(
            "    node {{\n        ring0_addr: {}\n        name: {}\n        nodeid: {}\n    }}\n",
            addresses[index],
            hosts[index],
            index + 1
        )
    };
    format!("{TOTEM}nodelist {{\n{}{}}}\n", node(0), node(1))
}

const TOTEM: &str = "totem {
    version: 2
    cluster_name: testbed
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: 10000
}
quorum {
    provider: corosync_votequorum
    two_node: 1
    wait_for_all: 0
}
logging {
    to_syslog: yes
}
";

/// MariaDB listens for the writer on the other node, and trusts it.
const MARIADB: &str = "[mysqld]
bind-address = 0.0.0.0
innodb_buffer_pool_size = 32M
innodb_log_file_size = 16M
performance_schema = off
skip-name-resolve
[client]
skip-ssl
";

/// Resource of the tutorials: master/slave, file system, database, colocation and order.
/// Operations take longer here than on real machines; the limits allow for that.
const RESOURCES: &str = "property stonith-enabled=false no-quorum-policy=ignore
rsc_defaults resource-stickiness=100
op_defaults timeout=240
primitive p_drbd ocf:linbit:drbd params drbd_resource=r0 \\
  op start timeout=240 interval=0 op stop timeout=240 interval=0 \\
  op promote timeout=240 interval=0 op demote timeout=240 interval=0 \\
  op notify timeout=240 interval=0 \\
  op monitor role=Promoted interval=10 timeout=120 op monitor role=Unpromoted interval=15 timeout=120
clone ms_drbd p_drbd meta promotable=true promoted-max=1 promoted-node-max=1 \\
  clone-max=2 clone-node-max=1 notify=true
primitive p_fs ocf:heartbeat:Filesystem params device=/dev/drbd0 directory=/var/lib/mysql fstype=ext4 \\
  op start timeout=240 interval=0 op stop timeout=240 interval=0 op monitor interval=20 timeout=120
primitive p_ip ocf:heartbeat:IPaddr2 params ip=10.0.0.100 cidr_netmask=24 \\
  op monitor interval=30 timeout=120
primitive p_db ocf:heartbeat:mysql params binary=/usr/sbin/mariadbd client_binary=/usr/bin/mariadb \\
  config=/etc/mysql/my.cnf datadir=/var/lib/mysql \\
  op start timeout=300 interval=0 op stop timeout=300 interval=0 op monitor interval=10 timeout=120
group g_db p_fs p_ip p_db
colocation c_db inf: g_db ms_drbd:Promoted
order o_db Mandatory: ms_drbd:promote g_db:start
";

/// Whose scripts the cluster calls; driver and tools are ours in both cases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scripts {
    /// Agent and handlers of Debian's drbd-utils, unmodified.
    Debian,
    /// Everything that `packaging/install` installs.
    Ours,
}

/// The running cluster.
pub struct Stack {
    /// Both machines.
    pub machines: Systems,
    /// Read again when a machine boots.
    _packaged: Option<Packaged>,
}

/// One of the two machines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// node1
    One,
    /// node2
    Two,
}

impl Node {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::One => Self::Two,
            Self::Two => Self::One,
        }
    }

    /// Its host name.
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "node1",
            Self::Two => "node2",
        }
    }
}

/// The mirror, on a cable of its own, with the fencing that the handlers' documentation shows.
const MIRROR: &str = "resource r0 {
  net { protocol C; cram-hmac-alg sha1; shared-secret secret; connect-int 5; ping-int 5; ping-timeout 30; timeout 60; }
  disk { resync-rate 200M; c-plan-ahead 0; on-io-error detach; fencing resource-only; }
  handlers {
    fence-peer \"/usr/lib/drbd/crm-fence-peer.sh\";
    unfence-peer \"/usr/lib/drbd/crm-unfence-peer.sh\";
  }
  device /dev/drbd0;
  disk /dev/vda;
  meta-disk internal;
  on node1 { address 10.0.1.1:7788; }
  on node2 { address 10.0.1.2:7788; }
}
";

/// Id of the constraint that either handler places.
pub const CONSTRAINT: &str = "drbd-fence-by-handler-r0-ms_drbd";

impl Stack {
    /// Boots both machines, makes the mirror with the database on it, hands it to Pacemaker
    /// and waits until the database runs.
    pub fn start(bed: &Testbed, name: &str, scripts: Scripts) -> Result<Self> {
        let mut system = SystemOptions::new(name)
            .file("etc/corosync/corosync.conf", &corosync(["node1", "node2"], ["10.0.0.1", "10.0.0.2"]))
            .file("etc/mysql/mariadb.conf.d/99-testbed.cnf", MARIADB)
            .file("etc/drbd.d/r0.res", MIRROR)
            .file("root/crm.conf", RESOURCES);
        system.cluster_stack = true;
        let packaged = match scripts {
            Scripts::Debian => None,
            Scripts::Ours => Some(Packaged::install(name)?),
        };
        system.tree = packaged.as_ref().map(|p| p.folder.clone());
        let mut machines = Systems::boot(bed, &system)?;
        machines.both("modprobe drbd && drbdadm create-md r0 && drbdadm up r0")?;
        // both disks are empty: no need to copy one over the other
        machines.a.ok("drbdadm wait-connect r0 && drbdadm new-current-uuid --clear-bitmap r0")?;
        machines.a.ok("drbdadm primary r0")?;
        let mut stack = Self {
            machines,
            _packaged: packaged,
        };
        stack.synced()?;
        let a = &mut stack.machines.a;
        a.ok("mkfs.ext4 -q /dev/drbd0 && mount /dev/drbd0 /mnt && chown mysql: /mnt")?;
        a.ok("cp -a /var/lib/mysql/. /mnt/ && umount /mnt && drbdadm secondary r0")?;
        stack.machines.both("drbdadm down r0")?;
        let a = &mut stack.machines.a;
        wait(a, 180, "crm_mon -1", "both nodes are online", |t| {
            t.contains("Online: [ node1 node2 ]")
        })?;
        a.ok("crm configure load update /root/crm.conf")?;
        a.ok("! crm_verify -LV 2>&1 | grep -v Blind")?;
        stack.database_somewhere()?;
        Ok(stack)
    }

    /// The machine of a node.
    pub fn vm(&mut self, node: Node) -> &mut Vm {
        match node {
            Node::One => &mut self.machines.a,
            Node::Two => &mut self.machines.b,
        }
    }

    /// Waits until both disks are up to date.
    pub fn synced(&mut self) -> Result<()> {
        for vm in [&mut self.machines.a, &mut self.machines.b] {
            wait(vm, 240, "cat /proc/drbd", "synced", |t| {
                t.contains("cs:Connected") && t.contains("ds:UpToDate/UpToDate") && t.contains("oos:0")
            })?;
        }
        Ok(())
    }

    /// Waits until the database runs on one of the nodes, and says which.
    pub fn database_somewhere(&mut self) -> Result<Node> {
        let text = wait(
            self.vm(Node::One),
            400,
            "crm_mon -1 -r",
            "the database runs",
            |t| t.contains("p_db\t(ocf:heartbeat:mysql):\t Started node"),
        )?;
        Ok(if text.contains("p_db\t(ocf:heartbeat:mysql):\t Started node1") {
            Node::One
        } else {
            Node::Two
        })
    }

    /// Waits until the cluster rests with everything on `primary`: the database there, one
    /// Primary, the peer Secondary and in sync, no operation failed or pending.
    pub fn rests_on(&mut self, primary: Node) -> Result<()> {
        let name = primary.name();
        let started = format!("p_db\t(ocf:heartbeat:mysql):\t Started {name}");
        let promoted = format!("Promoted: [ {name} ]");
        let unpromoted = format!("Unpromoted: [ {} ]", primary.other().name());
        wait(self.vm(primary), 400, "crm_mon -1 -r", "at rest on it", |t| {
            t.contains(&started) && t.contains(&promoted) && t.contains(&unpromoted)
        })?;
        self.synced()?;
        let role = self.vm(primary).ok("drbdadm role r0")?;
        ensure!(role.trim() == "Primary/Secondary", "{name} is {role}");
        let role = self.vm(primary.other()).ok("drbdadm role r0")?;
        ensure!(role.trim() == "Secondary/Primary", "the other one is {role}");
        Ok(())
    }

    /// What the constraints say about fencing: whether the handler's constraint is there.
    pub fn fenced(&mut self, ask: Node, wanted: bool) -> Result<()> {
        let what = if wanted { "the peer is fenced" } else { "the peer is not fenced any more" };
        wait(self.vm(ask), 300, "cibadmin -Ql -o constraints", what, |t| {
            t.contains("c_db") && t.contains(CONSTRAINT) == wanted
        })?;
        Ok(())
    }

    /// Ends the machines and checks the kernel logs.
    pub fn finish(self) -> Result<()> {
        self.machines.finish()
    }
}

/// Repeats `command` until `done` likes what it prints, at most `seconds` times [`PATIENCE`]. In between it pauses two seconds, or twice as long
/// as the command took: crm_mon needs seconds of a loaded emulated processor, which the cluster wants for itself.
pub fn wait(vm: &mut Vm, seconds: u64, command: &str, what: &str, done: impl Fn(&str) -> bool) -> Result<String> {
    let end = Instant::now() + Duration::from_secs(seconds) * PATIENCE;
    loop {
        let look = Instant::now();
        let text = vm.run(command)?.text;
        let took = look.elapsed();
        if done(&text) {
            return Ok(text);
        }
        if Instant::now() > end {
            let more = vm.run("crm_mon -1 -rfA; cat /proc/drbd; journalctl --no-pager -n 80")?.text;
            bail!(
                "{}# {command}\nnot within {seconds} s times {PATIENCE}: {what}; last seen:\n{text}\n{more}",
                vm.options.name
            );
        }
        std::thread::sleep(Duration::from_secs(2).max(took * 2));
    }
}
