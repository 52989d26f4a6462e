// SPDX-License-Identifier: GPL-2.0
//! Two primaries and a file system that both nodes mount (issue 3, line 6): OCFS2 with its own cluster stack. Both create files at the same
//! time, one node dies, the other goes on, and the dead one comes back.

use crate::{bed, check};
use anyhow::{ensure, Result};
use qemu_testbed::{SystemOptions, Systems, Vm};

const DRBD: &str = "resource r0 {
    net { protocol C; allow-two-primaries yes; ping-timeout 30; timeout 60; connect-int 3;
        after-sb-1pri discard-secondary; }
    disk { c-plan-ahead 0; resync-rate 200M; }
    device /dev/drbd0; disk /dev/vda; meta-disk internal;
    on node1 { address 10.0.1.1:7788; }
    on node2 { address 10.0.1.2:7788; }
}
";

/// The OCFS2 cluster `name` of two nodes, each with its name and its address, for a testbed's machine. `threshold`: a node is dead after 2 s times
/// one less without its heartbeat; `idle_ms`: or after so many milliseconds without a word on the network.
pub(crate) fn with_o2cb(options: SystemOptions, name: &str, nodes: [(&str, &str); 2], threshold: u32, idle_ms: u32) -> SystemOptions {
    let (cluster, o2cb) = o2cb_files(name, nodes, threshold, idle_ms);
    options.file("etc/ocfs2/cluster.conf", &cluster).file("etc/default/o2cb", &o2cb)
}

fn o2cb_files(name: &str, nodes: [(&str, &str); 2], threshold: u32, idle_ms: u32) -> (String, String) {
    let mut cluster = format!("cluster:\n\tnode_count = 2\n\tname = {name}\n");
    for (number, (node, address)) in nodes.iter().enumerate() {
        cluster += &format!("\nnode:\n\tip_port = 7777\n\tip_address = {address}\n\tnumber = {number}\n\tname = {node}\n\tcluster = {name}\n");
    }
    let o2cb = format!(
        "O2CB_ENABLED=true\nO2CB_BOOTCLUSTER={name}\nO2CB_HEARTBEAT_THRESHOLD={threshold}\nO2CB_IDLE_TIMEOUT_MS={idle_ms}\n\
         O2CB_KEEPALIVE_DELAY_MS=2000\nO2CB_RECONNECT_DELAY_MS=2000\n"
    );
    (cluster, o2cb)
}

/// Creates, moves and removes files in a folder of its own and in a common one. `ME` names the node.
const WORK: &str = r#"
cat >/root/work <<'END'
cd /shared || exit 1
mkdir -p both "of-$1" || exit 1
for i in $(seq 25); do
    head -c $((i * 1500)) /dev/urandom >"of-$1/$i" && cp "of-$1/$i" "both/$1-$i" && echo "$1 $i" >>"log-$1" || exit 1
    [ $((i % 5)) = 0 ] && { sync; mv "both/$1-$i" "both/moved-$1-$i" && rm "of-$1/$((i - 1))" || exit 1; }
done
sync; echo good >/root/worked
END
rm -f /root/worked; setsid sh /root/work ME >/root/work.log 2>&1 </dev/null &
"#;

/// Everything there is, by name and content.
const CONTENTS: &str = "cd /shared && find . -type f -not -path './lost+found/*' | sort | xargs sha256sum";

#[test]
fn two_mounts_of_ocfs2_survive_the_death_of_one_node() {
    check(ocfs2);
}

fn up(vm: &mut Vm) -> Result<()> {
    vm.ok("modprobe drbd && drbdadm up r0")?;
    Ok(())
}

fn mount(vm: &mut Vm) -> Result<()> {
    vm.ok("drbdadm primary r0 && systemctl start o2cb.service && mkdir -p /shared && mount -t ocfs2 /dev/drbd0 /shared")?;
    Ok(())
}

fn in_sync(machines: &mut Systems) -> Result<()> {
    for vm in [&mut machines.a, &mut machines.b] {
        vm.wait_until(300, "cat /proc/drbd", "in sync", |text| {
            text.contains("cs:Connected") && text.contains("ds:UpToDate/UpToDate") && text.contains("oos:0")
        })?;
    }
    Ok(())
}

/// Both see the same files, `count` of them.
fn same_files(machines: &mut Systems, count: usize) -> Result<String> {
    let (left, right) = (machines.a.ok(CONTENTS)?, machines.b.ok(CONTENTS)?);
    ensure!(left == right, "the nodes see different files:\n{left}\n{right}");
    ensure!(left.lines().count() == count, "not {count} files:\n{left}");
    Ok(left)
}

fn ocfs2() -> Result<()> {
    let options = SystemOptions::new("ocfs2").file("etc/drbd.d/r0.res", DRBD);
    let options = with_o2cb(options, "pair", [("node1", "10.0.1.1"), ("node2", "10.0.1.2")], 31, 60_000);
    let mut machines = Systems::boot(&bed(), &options)?;
    for vm in [&mut machines.a, &mut machines.b] {
        vm.ok("modprobe drbd && drbdadm create-md r0 && drbdadm up r0")?;
    }
    machines.a.wait_for(120, "drbdadm cstate r0", "Connected")?;
    machines.a.ok("drbdadm primary --force r0")?;
    in_sync(&mut machines)?;
    machines.both("systemctl start o2cb.service")?;
    machines.a.ok("mkfs.ocfs2 -q -N 2 -L shared --cluster-stack=o2cb --cluster-name=pair -x /dev/drbd0 </dev/null")?;
    mount(&mut machines.a)?;
    mount(&mut machines.b)?;
    // both at once
    machines.a.ok(&WORK.replace("ME", "one"))?;
    machines.b.ok(&WORK.replace("ME", "two"))?;
    for vm in [&mut machines.a, &mut machines.b] {
        vm.wait_for(900, "cat /root/worked /root/work.log 2>/dev/null; true", "good")?;
    }
    let before = same_files(&mut machines, 2 * (20 + 25) + 2)?;
    ensure!(machines.a.ok("cat /shared/log-* | sort -u | wc -l")?.trim() == "50");
    // one dies with the file system mounted; its locks are recovered, and the other goes on
    machines.b.ok("echo unsynced >/shared/last-words; sync")?;
    machines.b.power_cut();
    machines.a.wait_for(120, "drbdadm cstate r0", "WFConnection")?;
    machines.a.ok("(cd /shared && echo still >here && mkdir alone && cp both/* alone/ && rm both/moved-two-25 && sync && echo good >/root/alone) >/root/alone.log 2>&1 </dev/null &")?;
    machines.a.wait_for(600, "cat /root/alone /root/alone.log 2>/dev/null; true", "good")?;
    let after = machines.a.ok(CONTENTS)?;
    let kept = before.lines().filter(|line| !line.ends_with("both/moved-two-25"));
    for line in kept {
        ensure!(after.contains(line), "{line} is gone");
    }
    ensure!(after.contains("./last-words"));
    // and it comes back
    machines.b.boot()?;
    up(&mut machines.b)?;
    in_sync(&mut machines)?;
    mount(&mut machines.b)?;
    machines.b.ok("echo again >/shared/again && sync")?;
    same_files(&mut machines, after.lines().count() + 1)?;
    for vm in [&mut machines.b, &mut machines.a] {
        vm.ok("umount /shared")?;
    }
    machines.b.ok("drbdadm secondary r0")?;
    let text = machines.a.ok("fsck.ocfs2 -fn /dev/drbd0 2>&1")?;
    ensure!(text.contains("All passes succeeded"), "{text}");
    machines.a.ok("drbdadm secondary r0")?;
    machines.finish()
}
