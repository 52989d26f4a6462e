// SPDX-License-Identifier: GPL-2.0
//! One node: the whole life of a resource, with Debian's unmodified tools (issue line 2, 6c).

use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Clock, Pair, PairOptions, Vm, VmOptions};

/// One machine with our module, Debian's tools and two empty disks.
pub fn single(name: &str) -> Result<Vm> {
    single_with(name, Vec::new())
}

/// The same with more files.
pub fn single_with(name: &str, files: Vec<(String, Vec<u8>)>) -> Result<Vm> {
    Vm::start(&bed(), VmOptions { files, ..single_options(name)? })
}

/// What such a machine is made of.
pub fn single_options(name: &str) -> Result<VmOptions> {
    let bed = bed();
    Ok(VmOptions {
        name: "node1".into(),
        folder: bed.run_folder(name)?,
        module: bed.module.clone(),
        our_tools: false,
        disks_mib: vec![64, 300],
        scsi: false,
        links: Vec::new(),
        memory_mib: 512,
        processors: 2,
        append: String::new(),
        files: Vec::new(),
        tree: None,
        clock: Clock::Host,
    })
}

/// Stops the machine; its kernel log has to be clean.
pub fn end(mut vm: Vm) -> Result<()> {
    vm.power_cut();
    vm.check_kernel_log()?;
    std::fs::remove_dir_all(&vm.options.folder)?;
    Ok(())
}

const SETUP: &str = "drbdsetup-84";

#[test]
fn debug_life_cycle_of_a_resource() {
    check(life_cycle());
}

fn life_cycle() -> Result<()> {
    let mut vm = single("lifecycle")?;
    let s = SETUP;
    vm.ok("modprobe drbd")?;
    ensure!(vm.ok("grep drbd /proc/devices")?.contains("147 drbd"));
    let proc = vm.ok("cat /proc/drbd")?;
    ensure!(proc.starts_with("version: 8.4.11 (api:1/proto:86-101)\n"), "{proc}");
    vm.ok("drbdmeta --force 0 v08 /dev/vda internal create-md")?;
    vm.ok(&format!("{s} new-resource r0 && {s} new-minor r0 0 0"))?;
    ensure!(vm.ok("cat /proc/drbd")?.contains(" 0: cs:Unconfigured"));
    vm.ok(&format!("{s} attach 0 /dev/vda /dev/vda internal"))?;
    ensure!(vm.ok(&format!("{s} dstate 0"))?.trim() == "Inconsistent/DUnknown");
    // refused without good data, accepted by force
    let refusal = vm.exits(17, &format!("{s} primary 0"))?;
    ensure!(refusal.contains("(-2) Need access to UpToDate data"), "{refusal}");
    vm.ok(&format!("{s} primary 0 --force"))?;
    ensure!(vm.ok(&format!("{s} role 0"))?.trim() == "Primary/Unknown");
    vm.ok("mke2fs -q -F /dev/drbd0 && mkdir -p /m && mount /dev/drbd0 /m && cp -a /bin /m && sync")?;
    let busy = vm.exits(11, &format!("{s} secondary 0"))?;
    ensure!(busy.contains("(-12) Device is held open by someone"), "{busy}");
    vm.ok("umount /m && e2fsck -fn /dev/drbd0")?;
    scribble(&mut vm, "/dev/drbd0", 4000, 300)?;
    // around the page cache
    let contents = "dd if=/dev/drbd0 bs=1M iflag=direct 2>/dev/null | md5sum";
    let sum = vm.ok(contents)?;
    vm.ok(&format!("{s} secondary 0"))?;
    vm.ok("! dd if=/dev/zero of=/dev/drbd0 bs=4k count=1 2>/dev/null")?;
    vm.ok(&format!("{s} detach 0"))?;
    ensure!(vm.ok("cat /proc/drbd")?.contains(" 0: cs:Unconfigured"));
    // metadata as the real drbdmeta sees it, and back again
    vm.ok("drbdmeta 0 v08 /dev/vda internal apply-al")?;
    ensure!(vm.ok("drbdmeta 0 v08 /dev/vda internal dump-md")?.contains("la-size-sect"));
    vm.ok(&format!("{s} attach 0 /dev/vda /dev/vda internal"))?;
    ensure!(vm.ok(&format!("{s} dstate 0"))?.trim() == "UpToDate/DUnknown");
    vm.ok(&format!("{s} primary 0"))?;
    ensure!(vm.ok(contents)? == sum);
    vm.ok(&format!("{s} secondary 0 && {s} down r0"))?;
    vm.ok("rmmod drbd && ! test -e /proc/drbd")?;
    vm.ok("modprobe drbd && rmmod drbd")?;
    end(vm)
}

#[test]
fn external_metadata_flexible_and_indexed() {
    check(external());
}

fn external() -> Result<()> {
    let mut vm = single("external")?;
    let s = SETUP;
    vm.ok("modprobe drbd")?;
    for (kind, index) in [("flex-external", "flexible"), ("0", "0"), ("1", "1")] {
        vm.ok(&format!("drbdmeta --force 0 v08 /dev/vdb {kind} create-md"))?;
        vm.ok(&format!("{s} new-resource r0 && {s} new-minor r0 0 0"))?;
        vm.ok(&format!("{s} attach 0 /dev/vda /dev/vdb {index} && {s} primary 0 --force"))?;
        ensure!(vm.ok("cat /sys/block/drbd0/size")?.trim() == "131072");
        scribble(&mut vm, "/dev/drbd0", 16000, 384)?;
        vm.ok(&format!("{s} secondary 0 && {s} down r0"))?;
        vm.ok(&format!("drbdmeta 0 v08 /dev/vdb {kind} apply-al"))?;
        vm.ok("dd if=/dev/zero of=/dev/vdb bs=1M count=300 2>/dev/null")?;
    }
    // no metadata there: refused with the documented code and text
    vm.ok(&format!("{s} new-resource r0 && {s} new-minor r0 0 0"))?;
    let text = vm.exits(10, &format!("{s} attach 0 /dev/vda /dev/vdb flexible"))?;
    ensure!(text.contains("(119) No valid meta-data signature found."), "{text}");
    end(vm)
}

#[test]
fn a_write_before_a_power_cut_is_covered_by_the_activity_log() {
    check(power_cut());
}

/// Crashes while Primary and alone; the real drbdmeta must find every written extent.
fn power_cut() -> Result<()> {
    let mut options = PairOptions::new("apply-al");
    options.disk_mib = 64;
    let mut pair = Pair::synced(&bed(), &options)?;
    pair.b.power_cut();
    pair.a.wait_for(40, "cat /proc/drbd", "cs:WFConnection")?;
    for block in [10u64, 5000, 9000, 16000] {
        scribble(&mut pair.a, "/dev/drbd0", block, 7)?;
    }
    pair.a.power_cut();
    pair.a.boot()?;
    pair.a.ok("drbdmeta 0 v08 /dev/vda internal apply-al")?;
    let dump = pair.a.ok("drbdmeta 0 v08 /dev/vda internal dump-md")?;
    let bits = dump
        .split("bits-set ")
        .nth(1)
        .and_then(|t| t.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok())
        .unwrap_or_else(|| dump.matches("FF").count() as u64 * 8);
    ensure!(bits >= 28, "only {bits} bits set after apply-al:\n{dump}");
    // AT-7: a node that was alone before waits for the time meant for that, until it has been connected
    const WAIT: &str = "drbdsetup wait-connect 0 --wfc-timeout=300 --degr-wfc-timeout=1 --outdated-wfc-timeout=1";
    pair.a.ok("modprobe drbd && drbdadm up r0")?;
    pair.a.exits(5, WAIT)?;
    // the survivor of the pair gets all of it
    pair.b.boot()?;
    pair.b.ok("modprobe drbd && drbdadm up r0")?;
    pair.wait_synced(60)?;
    pair.compare_disks()?;
    pair.finish()
}
