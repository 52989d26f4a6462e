// SPDX-License-Identifier: GPL-2.0
//! Two complete Debian machines on which `docs/admin-guide.md` is typed, block by block (issue 4, "Done when"), with the package
//! that `make deb` made. `make test-packages` runs it.
//!
//! A block of the guide says in its first line where it belongs: `sh both`, `sh alice`, `conf both /path`; `sh both yes` asks something on
//! the terminal, and is answered yes. What differs from a reader's machines: packages of Debian are in the image, and the time limits are those of slow virtual machines.

use anyhow::{bail, ensure, Context, Result};
use qemu_testbed::{SystemOptions, Systems, Testbed, Vm};
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A fenced block of the guide.
#[derive(Clone, Debug)]
struct Block {
    /// `sh` or `conf`.
    kind: String,
    /// `both`, `alice`, `bob`, or what else stands there.
    place: String,
    /// Path of a file, or `yes`.
    path: String,
    text: String,
}

fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The blocks that are typed on the machines, in order.
fn blocks() -> Result<VecDeque<Block>> {
    let guide = fs::read_to_string(checkout().join("docs/admin-guide.md")).context("docs/admin-guide.md")?;
    let mut found = VecDeque::new();
    let mut open: Option<Block> = None;
    for line in guide.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(head)) => {
                let mut words = head.split(' ').map(str::to_string);
                let mut next = || words.next().unwrap_or_default();
                open = Some(Block { kind: next(), place: next(), path: next(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take().filter(|block| block.place != "install")),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    Ok(found)
}

/// The reader: types the next blocks, and looks at what the guide promises.
struct Reader {
    machines: Systems,
    blocks: VecDeque<Block>,
}

impl Reader {
    fn vm(&mut self, name: &str) -> Result<&mut Vm> {
        match name {
            "alice" | "split-brain-survivor" => Ok(&mut self.machines.a),
            "bob" | "split-brain-victim" => Ok(&mut self.machines.b),
            _ => bail!("the guide has a block for '{name}'"),
        }
    }

    /// Types the next block, which has to begin with `start`; returns what it printed.
    fn types(&mut self, start: &str) -> Result<String> {
        let block = self.blocks.pop_front().context("the guide has ended")?;
        let begins = if block.kind == "conf" { &block.path } else { &block.text };
        ensure!(begins.starts_with(start), "the next block of the guide is not '{start}', but {block:?}");
        let command = match block.kind.as_str() {
            "conf" => {
                let folder = block.path.rsplit_once('/').map_or("/", |(folder, _)| folder);
                format!("mkdir -p {folder}\ncat >{} <<'END_OF_FILE'\n{}END_OF_FILE\n", block.path, slow(&block.text))
            }
            _ if block.path == "yes" => format!(
                "cat >/root/typed <<'END_OF_FILE'\nset -e\n{}END_OF_FILE\n\
                 (while sleep 2 && echo yes; do :; done) | script -qec 'sh /root/typed' /dev/null",
                block.text
            ),
            _ => format!("set -e\n{}", block.text),
        };
        let places = match block.place.as_str() {
            "both" => vec!["alice", "bob"],
            one => vec![one],
        };
        let mut printed = String::new();
        for place in places {
            let output = self.vm(place)?.run_within(&command, Duration::from_secs(300))?;
            ensure!(output.code == 0, "{place}# {command}\nended with {}:\n{}", output.code, output.text);
            printed.push_str(&output.text);
        }
        Ok(printed)
    }

    /// Waits until `command` on `place` prints all of `wanted`.
    fn sees(&mut self, place: &str, command: &str, wanted: &[&str]) -> Result<()> {
        let what = wanted.join(", ");
        let vm = self.vm(place)?;
        let seen = vm.wait_until(400, command, &what, |text| wanted.iter().all(|one| text.contains(one)));
        if let Err(error) = seen {
            let more = vm.run("crm_mon -1 -rfA; cat /proc/drbd; journalctl --no-pager -n 60")?.text;
            return Err(error.context(more));
        }
        Ok(())
    }
}

/// Longer limits, for machines that are emulated on a loaded host.
fn slow(text: &str) -> String {
    let mut slow = text.replace("cluster_name: data", "cluster_name: data\n    token: 15000");
    for limit in ["timeout=20", "timeout=40", "timeout=60", "timeout=90", "timeout=100"] {
        slow = slow.replace(limit, "timeout=240");
    }
    slow
}

/// The package of the tools, newest first.
fn package() -> Result<Vec<u8>> {
    let folder = checkout().join("build");
    let found = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let path = found
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("drbd-rs-utils_")))
        .max()
        .context("no build/drbd-rs-utils_*.deb: run `make deb`")?;
    fs::read(&path).with_context(|| path.display().to_string())
}

#[test]
fn a_newcomer_follows_the_guide_to_a_file_system_that_fails_over() {
    let bed = match Testbed::open_cluster() {
        Ok(bed) => bed,
        Err(error) => panic!("virtual machines cannot run: {error:#}"),
    };
    if let Err(error) = newcomer(&bed) {
        panic!("{error:?}");
    }
}

fn newcomer(bed: &Testbed) -> Result<()> {
    let mut options = SystemOptions::new("guide");
    options.hosts = ["alice".into(), "bob".into()];
    options.disks_mib = vec![8, 200];
    options.cluster_stack = true;
    options.our_tools = false;
    options.files.push(("root/drbd-rs-utils.deb".into(), package()?));
    let mut reader = Reader { machines: Systems::boot(bed, &options)?, blocks: blocks()? };
    // in place of the blocks that fetch and compile packages
    for name in ["alice", "bob"] {
        let command = "dpkg --purge --force-depends drbd-utils && dpkg -i /root/drbd-rs-utils.deb";
        let output = reader.vm(name)?.run_within(command, Duration::from_secs(300))?;
        ensure!(output.code == 0, "{}", output.text);
    }
    mirror(&mut reader)?;
    cluster(&mut reader)?;
    new_disk(&mut reader)?;
    split_brain(&mut reader)?;
    afterwards(&mut reader)?;
    ensure!(reader.blocks.is_empty(), "not typed: {:?}", reader.blocks);
    reader.machines.finish()
}

/// Chapters 2 and 3.
fn mirror(reader: &mut Reader) -> Result<()> {
    reader.types("cat >>/etc/hosts")?;
    let printed = reader.types("modprobe drbd")?;
    ensure!(printed.matches("version: 8.4.11").count() == 2, "{printed}");
    let ours = reader.vm("alice")?.ok("modinfo -F filename drbd; readlink -f /usr/sbin/drbdsetup")?;
    ensure!(ours.contains("/updates/drbd.ko") && ours.contains("/usr/sbin/drbdadm"), "{ours}");
    reader.types("/etc/drbd.d/r0.res")?;
    reader.types("drbdadm create-md r0")?;
    reader.sees("alice", "drbdadm cstate r0", &["Connected"])?;
    let status = reader.types("drbdadm primary --force r0")?;
    ensure!(status.contains("role:Primary"), "{status}");
    reader.types("mkfs.ext4 /dev/drbd0")?;
    let states = reader.types("drbdsetup wait-sync")?;
    ensure!(states.contains("UpToDate/UpToDate"), "{states}");
    reader.types("umount /srv/data")?;
    let hello = reader.types("drbdadm primary r0")?;
    ensure!(hello.contains("hello from alice"), "{hello}");
    reader.types("umount /srv/data")?;
    Ok(())
}

/// Chapter 4.
fn cluster(reader: &mut Reader) -> Result<()> {
    reader.types("drbdadm down r0")?;
    reader.types("systemctl stop pacemaker")?;
    reader.types("/etc/corosync/corosync.conf")?;
    reader.types("systemctl enable corosync")?;
    reader.sees("alice", "crm_mon -1", &["Online: [ alice bob ]"])?;
    reader.sees("bob", "crm_mon -1", &["Online: [ alice bob ]"])?;
    reader.types("/root/data.crm")?;
    reader.types("crm configure load")?;
    reader.sees("alice", "crm_mon -1 -r", &["p_fs\t(ocf:heartbeat:Filesystem):\t Started", "p_ip\t(ocf:heartbeat:IPaddr2):\t Started"])?;
    reader.sees("alice", "drbdadm dstate r0", &["UpToDate/UpToDate"])?;
    reader.types("crm node standby alice")?;
    let started_on_bob = ["p_fs\t(ocf:heartbeat:Filesystem):\t Started bob", "p_ip\t(ocf:heartbeat:IPaddr2):\t Started bob"];
    reader.sees("bob", "crm_mon -1 -r", &started_on_bob)?;
    let hello = reader.types("cat /srv/data/hello")?;
    ensure!(hello.contains("hello from alice"), "{hello}");
    reader.vm("bob")?.ok("ip address show | grep 10.0.0.100 && echo written on bob >/srv/data/second && sync")?;
    reader.types("crm node online alice")?;
    reader.sees("alice", "drbdadm role r0; drbdadm dstate r0", &["Secondary/Primary", "UpToDate/UpToDate"])?;
    // the plug of bob is pulled
    reader.vm("bob")?.power_cut();
    reader.sees("alice", "cat /srv/data/hello /srv/data/second; ip address show", &["hello from alice", "written on bob", "10.0.0.100"])?;
    reader.vm("alice")?.ok("echo written while bob was away >/srv/data/third && sync")?;
    reader.vm("bob")?.boot()?;
    reader.sees("bob", "drbdadm role r0; drbdadm dstate r0", &["Secondary/Primary", "UpToDate/UpToDate"])?;
    // fencing
    reader.types("/etc/drbd.d/global_common.conf")?;
    reader.types("drbdadm adjust r0")?;
    let shown = reader.vm("alice")?.ok("drbdsetup show r0")?;
    ensure!(shown.contains("resource-only"), "{shown}");
    Ok(())
}

/// Chapter 7: bob gets another disk, and all of it is copied.
fn new_disk(reader: &mut Reader) -> Result<()> {
    reader.machines.both("systemctl stop pacemaker corosync")?;
    // no fencing, so that both can be promoted without each other
    reader.machines.both("echo 'global { usage-count no; }' >/etc/drbd.d/global_common.conf; drbdadm up r0")?;
    reader.sees("alice", "drbdadm cstate r0; drbdadm dstate r0", &["Connected", "UpToDate/UpToDate"])?;
    let kib = reader.vm("alice")?.ok("echo $(($(cat /sys/block/drbd0/size) / 2))")?;
    let bob = reader.vm("bob")?;
    bob.ok("drbdadm detach r0 && drbdadm dstate r0 | grep -x Diskless/UpToDate && dd if=/dev/zero of=/dev/vdb bs=1M count=200 conv=fsync")?;
    reader.types("drbdadm create-md r0")?;
    // as fast as it goes
    reader.machines.both("drbdsetup disk-options 0 --c-plan-ahead=0 --resync-rate=200M")?;
    reader.sees("bob", "dmesg", &[&format!("Began resync as SyncTarget (will sync {} KB", kib.trim())])?;
    reader.sees("alice", "drbdadm dstate r0", &["UpToDate/UpToDate"])?;
    Ok(())
}

/// Chapter 7: both become Primary without seeing each other, and bob gives up.
fn split_brain(reader: &mut Reader) -> Result<()> {
    reader.machines.both("drbdadm disconnect r0 && drbdadm primary r0")?;
    for (name, file) in [("alice", "kept"), ("bob", "thrown-away")] {
        let write = format!("mount /dev/drbd0 /srv/data && echo x >/srv/data/{file} && umount /srv/data");
        reader.vm(name)?.ok(&write)?;
    }
    reader.machines.both("drbdadm connect r0")?;
    reader.sees("alice", "dmesg", &["Split-Brain detected"])?;
    reader.sees("alice", "drbdadm cstate r0", &["StandAlone"])?;
    // as the guide says, if this one came to no verdict of its own
    let settled = "drbdadm cstate r0 | grep -qx WFConnection && drbdadm disconnect r0; drbdadm cstate r0";
    reader.sees("bob", settled, &["StandAlone"])?;
    let why = reader.vm("alice")?.run("drbdadm why r0")?.text;
    ensure!(why.contains("--discard-my-data"), "{why}");
    reader.types("drbdadm secondary r0")?;
    if reader.vm("alice")?.ok("drbdadm cstate r0")?.contains("StandAlone") {
        reader.types("drbdadm connect r0")?;
    } else {
        reader.blocks.pop_front();
    }
    reader.sees("bob", "drbdadm dstate r0", &["UpToDate/UpToDate"])?;
    let files = reader.vm("alice")?.ok("mount /dev/drbd0 /srv/data && ls /srv/data && umount /srv/data")?;
    ensure!(files.contains("kept") && !files.contains("thrown-away"), "{files}");
    Ok(())
}

/// A command within the text of chapter 7, comparing both copies; and chapter 8, the mirror is taken away.
fn afterwards(reader: &mut Reader) -> Result<()> {
    reader.machines.both("sed -i 's/protocol C;/protocol C; verify-alg crc32c;/' /etc/drbd.d/r0.res && drbdadm adjust r0")?;
    reader.machines.both("drbdsetup disk-options 0 --c-plan-ahead=0 --resync-rate=200M")?;
    reader.vm("alice")?.ok("drbdadm verify r0")?;
    reader.sees("alice", "dmesg; cat /proc/drbd", &["Online verify done", "cs:Connected", "oos:0"])?;
    let said = reader.types("drbdadm down r0")?;
    ensure!(said.matches("successfully wiped out").count() == 2, "{said}");
    for name in ["alice", "bob"] {
        let files = reader.vm(name)?.ok("mount /dev/vdb /srv/data && cat /srv/data/hello && ls /srv/data && umount /srv/data")?;
        ensure!(files.contains("hello from alice") && files.contains("kept"), "{files}");
    }
    Ok(())
}
