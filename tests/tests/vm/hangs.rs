// SPDX-License-Identifier: GPL-2.0
//! Nothing hangs (issue 3 line 8): commands end while a disk or the peer is silent, while a resync runs, while I/O is suspended; and
//! `waits` says what waits for what.

use crate::failures::wrap_disk;
use crate::{bed, check, scribble};
use anyhow::{ensure, Result};
use qemu_testbed::{Pair, PairOptions, Vm};
use std::time::{Duration, Instant};

/// The disk of `back` does not answer any more.
const HANG: &str = "dmsetup suspend --noflush --nolockfs back";
/// It answers again.
const HEAL: &str = "dmsetup resume back";

/// A command that has to end within `seconds`, whatever it answers.
fn within(vm: &mut Vm, seconds: u64, command: &str) -> Result<(i32, String)> {
    let asked = Instant::now();
    let done = vm.run_within(command, Duration::from_secs(seconds + 60))?;
    let took = asked.elapsed().as_secs();
    ensure!(took <= seconds, "{command} took {took} s, at most {seconds} are allowed\n{}", done.text);
    println!("{command}: exit {} after {took} s {}", done.code, done.text.trim());
    Ok((done.code, done.text))
}

fn up(name: &str, wrapped: bool) -> Result<Pair> {
    let mut options = PairOptions::new(name);
    options.our_tools = [true, true];
    let mut pair = Pair::boot(&bed(), &options)?;
    if wrapped {
        wrap_disk(&mut pair.a)?;
    }
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("modprobe drbd && drbdadm -- --force create-md r0 && drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.wait_synced(60)?;
    Ok(pair)
}

#[test]
fn debug_commands_end_while_the_disk_hangs_and_waits_names_the_cause() {
    check(disk_hangs());
}

fn disk_hangs() -> Result<()> {
    let mut pair = up("hang-commands", true)?;
    ensure!(pair.a.ok("drbdsetup waits")?.trim() == "nothing waits");
    // on the Primary: a write hangs in the disk, a read behind it
    pair.a.ok(HANG)?;
    pair.a.ok("(dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=100 count=2 oflag=direct; echo done) > /tmp/w 2>&1 &")?;
    pair.a.ok("(dd if=/dev/drbd0 of=/dev/null bs=4k count=1 iflag=direct; echo done) > /tmp/r 2>&1 &")?;
    let told = pair.a.wait_until(20, "drbdadm waits r0", "write and read named", |t| {
        t.contains("write of 4096 bytes at sector 800 for") && t.contains("local-disk") && t.contains(": read for")
    })?;
    println!("{told}");
    // everything that only looks answers
    for look in ["drbdadm status r0", "drbdadm role r0", "drbdsetup show r0", "cat /proc/drbd", "drbdsetup events2 --now", "drbdadm dstate r0"] {
        let (code, text) = within(&mut pair.a, 10, look)?;
        ensure!(code == 0, "{look}: {text}");
    }
    // a graceful detach waits for the disk, is seen to do so, and is overtaken by force
    pair.a.ok("(drbdadm detach r0; echo code $?) > /tmp/detach 2>&1 &")?;
    let told = pair.a.wait_for(20, "drbdsetup waits 0; drbdsetup waits r0", "detach of drbdsetup[")?;
    println!("{told}");
    // another command of the same resource waits for its turn and is ended by a signal
    let (code, text) = within(&mut pair.a, 15, "timeout -s INT 2 drbdsetup resource-options r0 --on-no-data-accessible=io-error; echo code $?")?;
    ensure!(code == 0 && text.contains("code 130") || text.contains("code 124"), "{text}");
    // one of another resource does not wait at all
    let (code, text) = within(&mut pair.a, 10, "drbdsetup new-resource other && drbdsetup new-minor other 7 0 && drbdsetup down other")?;
    ensure!(code == 0, "{text}");
    let (code, text) = within(&mut pair.a, 20, "drbdadm detach --force r0")?;
    ensure!(code == 0, "{text}");
    pair.a.wait_for(20, "cat /proc/drbd", "ds:Diskless/UpToDate")?;
    pair.a.wait_for(10, "cat /tmp/detach", "code 0")?;
    // the peer serves, an attach of the disk that still has requests is refused
    scribble(&mut pair.a, "/dev/drbd0", 3000, 20)?;
    let (code, text) = within(&mut pair.a, 30, "drbdadm attach r0 2>&1")?;
    ensure!(code == 20 && text.contains("busy"), "{code} {text}");
    let (code, text) = within(&mut pair.a, 30, "drbdsetup attach 0 /dev/mapper/back /dev/mapper/back internal 2>&1")?;
    ensure!(code == 10 && text.contains("has not answered"), "{code} {text}");
    // the module stays while the disk has its requests; nothing else does
    pair.b.ok("drbdadm disconnect --force r0")?;
    pair.a.ok(HEAL)?;
    pair.a.wait_for(30, "cat /tmp/w /tmp/r | grep -c done", "2")?;
    pair.a.ok("drbdadm down r0 && rmmod drbd")?;
    pair.b.ok("drbdadm down r0 && rmmod drbd")?;
    pair.finish()
}

#[test]
fn down_ends_while_the_disk_of_a_secondary_hangs_and_rmmod_says_busy_at_once() {
    check(secondary_hangs());
}

/// The peer's writes and a metadata write hang in the disk of the Secondary. The Primary notices and goes on; `disconnect --force` and
/// `down` end; the module can be unloaded when the disk has let go, not before.
fn secondary_hangs() -> Result<()> {
    let mut pair = up("hang-secondary", true)?;
    pair.a.ok("drbdadm secondary r0")?;
    pair.b.ok("drbdadm primary r0")?;
    pair.a.ok(HANG)?;
    pair.b.ok("(dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=200 count=20 oflag=direct; echo done) > /tmp/w 2>&1 &")?;
    pair.a.wait_for(20, "drbdsetup waits", "peer-request of 4096 bytes")?;
    let told = pair.b.wait_for(20, "drbdsetup waits", "write of 4096 bytes at sector 1600 for")?;
    ensure!(told.contains(": peer"), "{told}");
    let (code, text) = within(&mut pair.a, 30, "drbdadm disconnect --force r0")?;
    ensure!(code == 0, "{text}");
    pair.b.wait_for(30, "cat /tmp/w", "done")?;
    pair.a.wait_for(30, "cat /proc/drbd", "cs:StandAlone")?;
    // a new connection while the old writes are still at the disk: nothing of them is answered
    pair.a.ok("drbdadm connect r0")?;
    pair.b.wait_until(60, "cat /proc/drbd", "connected again", |t| t.contains("cs:Sync") || t.contains("cs:Connected") || t.contains("WFBitMap"))?;
    let (code, text) = within(&mut pair.a, 100, "drbdadm down r0")?;
    ensure!(code == 0, "{text}");
    let (code, text) = within(&mut pair.a, 5, "rmmod drbd 2>&1")?;
    ensure!(code != 0 && (text.contains("in use") || text.contains("unavailable") || text.contains("busy")), "{text}");
    pair.a.ok(HEAL)?;
    pair.a.wait_until(30, "rmmod drbd 2>&1; grep -c ^drbd /proc/modules", "unloaded", |t| t.trim().ends_with('0'))?;
    // what the disk missed comes with the next connection
    pair.a.ok("modprobe drbd && drbdadm apply-al r0 && drbdadm up r0")?;
    pair.wait_synced(60)?;
    pair.b.ok("sync; drbdadm secondary r0")?;
    std::thread::sleep(Duration::from_millis(500));
    pair.compare_disks()?;
    pair.finish()
}

#[test]
fn commands_end_while_the_peer_is_silent_during_a_resync_and_while_io_is_suspended() {
    check(silent_peer());
}

fn silent_peer() -> Result<()> {
    let mut options = PairOptions::new("hang-peer");
    options.our_tools = [true, true];
    options.disk = "c-plan-ahead 0; resync-rate 1M;".into();
    let mut pair = Pair::up(&bed(), &options)?;
    pair.a.ok("drbdadm primary --force r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:SyncSource")?;
    // in the middle of a resync
    pair.b.wait_for(20, "drbdsetup waits", "resync of")?;
    let (code, text) = within(&mut pair.b, 20, "drbdadm down r0")?;
    ensure!(code == 0, "{text}");
    pair.b.ok("drbdadm up r0")?;
    pair.a.wait_for(30, "cat /proc/drbd", "cs:SyncSource")?;
    let (code, text) = within(&mut pair.a, 20, "drbdadm disconnect r0 && drbdadm connect r0")?;
    ensure!(code == 0, "{text}");
    pair.a.wait_for(30, "cat /proc/drbd", "cs:SyncSource")?;
    pair.a.ok("drbdadm disk-options --resync-rate=200M r0")?;
    pair.b.ok("drbdadm disk-options --resync-rate=200M r0")?;
    pair.wait_synced(60)?;
    // the peer is silent
    pair.b.freeze(true)?;
    pair.a.ok("(dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=50 count=1 oflag=direct; echo done) > /tmp/w 2>&1 &")?;
    for command in ["drbdadm status r0", "drbdadm pause-sync r0; drbdadm resume-sync r0", "drbdadm outdate r0", "drbdadm disconnect --force r0"] {
        let (_, text) = within(&mut pair.a, 30, command)?;
        println!("{text}");
    }
    pair.a.wait_for(20, "cat /tmp/w", "done")?;
    pair.a.ok("drbdadm connect r0")?;
    // a graceful disconnect from a node that stays silent
    let (code, text) = within(&mut pair.a, 30, "drbdadm disconnect r0")?;
    ensure!(code == 0, "{text}");
    pair.b.freeze(false)?;
    pair.b.wait_until(30, "cat /proc/drbd", "alone", |t| t.contains("WFConnection") || t.contains("StandAlone"))?;
    pair.a.ok("drbdadm connect r0")?;
    pair.wait_synced(60)?;
    // suspended I/O: the writer waits, the commands do not
    pair.a.ok("drbdadm suspend-io r0")?;
    pair.a.ok("(dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=60 count=1 oflag=direct; echo done) > /tmp/s 2>&1 &")?;
    let told = pair.a.wait_for(20, "drbdsetup waits", "suspended-io: resume-io")?;
    println!("{told}");
    for command in ["drbdadm status r0", "drbdadm disconnect r0", "drbdadm connect r0", "drbdadm detach --force r0"] {
        let (_, text) = within(&mut pair.a, 30, command)?;
        println!("{text}");
    }
    let (code, _) = within(&mut pair.a, 20, "drbdadm down r0")?;
    ensure!(code == 11, "down of an open device answered {code}");
    pair.a.ok("drbdadm resume-io r0")?;
    pair.a.wait_for(30, "cat /tmp/s", "done")?;
    pair.a.ok("drbdadm down r0 && rmmod drbd")?;
    pair.b.ok("drbdadm down r0 && rmmod drbd")?;
    pair.finish()
}

#[test]
fn a_helper_that_never_ends_is_named_and_keeps_no_command_for_ever() {
    check(helper_hangs());
}

fn helper_hangs() -> Result<()> {
    let mut options = PairOptions::new("hang-helper");
    options.our_tools = [true, true];
    let script = "#!/bin/sh\nexec sleep 100000\n".into();
    options.files = vec![("root/helper".into(), script)];
    let mut pair = Pair::boot(&bed(), &options)?;
    pair.a.ok("chmod +x /root/helper; modprobe drbd usermode_helper=/root/helper")?;
    pair.b.ok("modprobe drbd")?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("drbdadm -- --force create-md r0 && drbdadm up r0")?;
    }
    pair.wait_connected()?;
    pair.b.ok("drbdadm primary --force r0")?;
    let told = pair.a.wait_for(30, "drbdsetup waits", "called for before-resync-target")?;
    println!("{told}");
    let (code, text) = within(&mut pair.a, 10, "drbdadm status r0")?;
    ensure!(code == 0, "{text}");
    // the worker is with the helper: down cannot finish, but it ends and says what failed
    let (code, text) = within(&mut pair.a, 110, "drbdadm down r0 2>&1")?;
    ensure!(code != 0 && text.contains("failed to"), "{code} {text}");
    // the helper ends: so does everything else
    pair.a.ok("killall sleep || kill $(pidof sleep)")?;
    let (code, text) = within(&mut pair.a, 60, "drbdadm down r0 2>&1")?;
    ensure!(code == 0, "{text}");
    pair.a.wait_until(20, "rmmod drbd 2>&1; grep -c ^drbd /proc/modules", "unloaded", |t| t.trim().ends_with('0'))?;
    pair.finish()
}
