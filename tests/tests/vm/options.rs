// SPDX-License-Identifier: GPL-2.0
//! Options changed while they are in use (issue 3 line 7), and what wrong values get: the documented code, and the old values stay.

use crate::{bed, check, scribble};
use anyhow::{ensure, Context, Result};
use qemu_testbed::{Pair, PairOptions, Vm};

/// What the driver says is configured.
fn shown(vm: &mut Vm) -> Result<String> {
    vm.ok("drbdsetup show r0 --show-defaults")
}

/// A change that is in force afterwards.
fn takes(vm: &mut Vm, command: &str, wanted: &[&str]) -> Result<()> {
    vm.ok(&format!("drbdsetup {command}"))?;
    let text = shown(vm)?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for option in wanted {
        ensure!(words.contains(option), "after {command} no '{option}' in\n{text}");
    }
    Ok(())
}

/// A change that is refused with `answer`; nothing of it is in force.
fn refuses(vm: &mut Vm, command: &str, code: i32, answer: &str) -> Result<()> {
    let before = shown(vm)?;
    let text = vm.exits(code, &format!("drbdsetup {command} 2>&1"))?;
    ensure!(text.contains(answer), "{command} said {text}, not {answer}");
    ensure!(shown(vm)? == before, "{command} was refused, and changed something");
    Ok(())
}

/// Where the threads of r0 may run, as the kernel prints masks.
fn masks(vm: &mut Vm) -> Result<Vec<String>> {
    let text = vm.ok("for p in /proc/[0-9]*; do grep -q '^Name:.drbd_[wsra]_r0' $p/status 2>/dev/null && grep Cpus_allowed: $p/status; done; true")?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().nth(1)).map(String::from).collect())
}

#[test]
fn debug_options_change_while_in_use_or_are_refused_with_their_code() {
    check(options());
}

fn options() -> Result<()> {
    let mut options = PairOptions::new("options");
    options.our_tools = [true, true];
    let mut pair = Pair::synced(&bed(), &options)?;
    disk(&mut pair)?;
    net(&mut pair)?;
    times(&mut pair)?;
    resource(&mut pair)?;
    // a node whose log was changed while it ran loses nothing when its power goes
    scribble(&mut pair.a, "/dev/drbd0", 3000, 40)?;
    pair.a.power_cut();
    pair.a.boot()?;
    pair.b.ok("drbdadm disconnect r0; drbdadm connect r0")?;
    pair.a.ok("modprobe drbd && drbdadm up r0")?;
    pair.wait_synced(90)?;
    pair.compare_disks()?;
    pair.finish()
}

fn disk(pair: &mut Pair) -> Result<()> {
    let a = &mut pair.a;
    for (given, wanted) in [
        ("--resync-rate=1M", "resync-rate 1024k;"),
        ("--c-plan-ahead=20 --c-delay-target=7 --c-fill-target=2M", "c-delay-target 7;"),
        ("--c-max-rate=5M --c-min-rate=0", "c-min-rate 0k;"),
        ("--on-io-error=pass_on", "on-io-error pass_on;"),
        ("--fencing=resource-only", "fencing resource-only;"),
        ("--fencing=dont-care", "fencing dont-care;"),
        ("--disk-flushes=no --md-flushes=no", "disk-flushes no;"),
        ("--disk-flushes --md-flushes", "disk-flushes yes;"),
        ("--read-balancing=round-robin", "read-balancing round-robin;"),
        ("--rs-discard-granularity=65536", "rs-discard-granularity 65536;"),
        ("--discard-zeroes-if-aligned=no", "discard-zeroes-if-aligned no;"),
        ("--resync-after=9", "resync-after 9;"),
        ("--resync-after=-1", "resync-after -1;"),
    ] {
        takes(a, &format!("disk-options 0 {given}"), &[wanted])?;
    }
    // the set of hot extents grows and shrinks under writes, and is cut to what the log on disk can hold
    a.ok("(dd if=/dev/urandom of=/dev/drbd0 bs=4k seek=9000 count=300 oflag=direct; echo done) > /tmp/w 2>&1 &")?;
    for (given, kept) in [("67", "67"), ("1237", "1237"), ("65534", "6433")] {
        takes(a, &format!("disk-options 0 --al-extents={given}"), &[&format!("al-extents {kept};")])?;
    }
    a.wait_for(60, "cat /tmp/w", "done")?;
    scribble(a, "/dev/drbd0", 100, 20)?;
    refuses(a, "disk-options 7 --resync-rate=1M", 10, "(127)")?;
    for (given, kept) in [("--resync-rate=0", "resync-rate 1k;"), ("--al-extents=66", "al-extents 67;"), ("--c-plan-ahead=301", "c-plan-ahead 300;")] {
        takes(a, &format!("disk-options 0 {given}"), &[kept])?;
    }
    for (given, exit, word) in [
        ("--resync-rate=8G", 10, "(126)"),
        ("--disk-timeout=6001", 10, "(126)"),
        ("--c-max-rate=249", 10, "(126)"),
        ("--on-io-error=panic", 20, "on-io-error"),
        ("--read-balancing=2", 20, "read-balancing"),
        ("--size=1G", 20, "size"),
    ] {
        refuses(a, &format!("disk-options 0 {given}"), exit, word)?;
    }
    takes(a, "disk-options 0 --set-defaults", &["resync-rate 250k;", "al-extents 1237;", "read-balancing prefer-local;"])?;
    // without a disk there is nothing to change
    let text = pair.b.exits(10, "drbdsetup detach 0 && drbdsetup disk-options 0 --resync-rate=1M 2>&1")?;
    ensure!(text.contains("(138)"), "{text}");
    pair.b.ok("drbdadm attach r0")?;
    pair.wait_synced(60)
}

fn net(pair: &mut Pair) -> Result<()> {
    const OF: &str = "net-options 10.0.0.1:7788 10.0.0.2:7788";
    for (given, wanted) in [
        ("--timeout=50 --ping-int=4 --ping-timeout=9 --connect-int=7 --ko-count=3", "ko-count 3;"),
        ("--max-buffers=4000 --max-epoch-size=500 --unplug-watermark=64", "max-epoch-size 500;"),
        ("--sndbuf-size=256K --rcvbuf-size=128K --tcp-cork=no", "tcp-cork no;"),
        ("--after-sb-0pri=discard-zero-changes --after-sb-1pri=consensus", "after-sb-1pri consensus;"),
        ("--rr-conflict=call-pri-lost --always-asbp", "always-asbp yes;"),
        ("--use-rle=no --socket-check-timeout=7", "socket-check-timeout 7;"),
        ("--verify-alg=sha1 --csums-alg=crc32c --csums-after-crash-only", "csums-alg \"crc32c\";"),
        ("--data-integrity-alg=crc32c", "data-integrity-alg \"crc32c\";"),
    ] {
        takes(&mut pair.a, &format!("{OF} {given}"), &[wanted])?;
        scribble(&mut pair.a, "/dev/drbd0", 5000, 4)?;
    }
    // the peer takes over what both have to agree on
    for (letter, on_congestion) in [("A", "pull-ahead"), ("B", "block"), ("C", "block")] {
        takes(&mut pair.a, &format!("{OF} --protocol={letter} --on-congestion={on_congestion}"), &[&format!("protocol {letter};")])?;
        pair.b.wait_for(20, "drbdsetup show r0 --show-defaults | tr -s ' \\t' ' '", &format!("protocol {letter};"))?;
        scribble(&mut pair.a, "/dev/drbd0", 6000, 8)?;
    }
    let a = &mut pair.a;
    takes(a, "disk-options 0 --fencing=resource-and-stonith", &["fencing resource-and-stonith;"])?;
    for (given, code) in [
        ("--protocol=A", "(154)"),
        ("--protocol=B --allow-two-primaries", "(139)"),
        ("--on-congestion=pull-ahead", "(155)"),
        ("--csums-alg=nonsense", "(144)"),
        ("--verify-alg=nonsense", "(146)"),
        ("--data-integrity-alg=nonsense", "(141)"),
        ("--cram-hmac-alg=nonsense", "(120)"),
    ] {
        refuses(a, &format!("{OF} {given}"), 10, code)?;
    }
    takes(a, "disk-options 0 --fencing=dont-care", &["fencing dont-care;"])?;
    for (given, exit, word) in [
        ("--timeout=0", 10, "(126)"),
        ("--timeout=601", 10, "(126)"),
        ("--ko-count=201", 10, "(126)"),
        ("--max-buffers=31", 10, "(126)"),
        ("--max-epoch-size=0 --ping-int=5", 10, "(126)"),
        ("--protocol=D", 20, "protocol"),
        ("--tcp-cork=perhaps", 20, "tcp-cork"),
        ("--discard-my-data", 20, "discard-my-data"),
        ("--nonsense=1", 20, "nonsense"),
    ] {
        refuses(a, &format!("{OF} {given}"), exit, word)?;
    }
    refuses(a, "net-options 10.0.0.1:7788 10.0.0.9:7788 --timeout=50", 10, "(162)")?;
    Ok(())
}

/// Times and secrets count from the moment they are changed, also for a node that waits for its peer; and nodes with very different times
/// connect (of the C driver neither does).
fn times(pair: &mut Pair) -> Result<()> {
    const OF: &str = "net-options 10.0.0.1:7788 10.0.0.2:7788";
    let again = |pair: &mut Pair| -> Result<()> {
        for command in ["drbdadm disconnect r0", "drbdadm connect r0"] {
            pair.a.ok(command)?;
            pair.b.ok(command)?;
        }
        pair.wait_synced(30)
    };
    again(pair)?;
    // the connection was made with 3 s and 1 s
    pair.b.ok("drbdsetup net-options 10.0.0.2:7788 10.0.0.1:7788 --ping-int=120 --ping-timeout=300")?;
    takes(&mut pair.a, &format!("{OF} --ping-int=120 --ping-timeout=300"), &["ping-int 120;", "ping-timeout 300;"])?;
    pair.b.freeze(true)?;
    pair.a.ok("sleep 6; grep -q cs:Connected /proc/drbd")?;
    pair.a.ok(&format!("drbdsetup {OF} --ping-int=1 --ping-timeout=5"))?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    pair.b.freeze(false)?;
    pair.wait_synced(60)?;
    // TO-2: a send that blocks for ko-count times the time-out ends the connection, whatever the pings say. The oldest request comes to the same
    // limit (TO-3), and before, as it does not wait for the buffers to be full: so the limit is far from the first complaint of the sender.
    takes(&mut pair.a, &format!("{OF} --ping-int=120 --ping-timeout=300 --timeout=10 --ko-count=10"), &["ko-count 10;"])?;
    pair.b.freeze(true)?;
    pair.a.ok("for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/dev/drbd0 bs=1M seek=$i count=1 oflag=direct 2>/dev/null & done; wait")?;
    pair.a.ok("dmesg | grep 'sending has blocked for the time-out' && dmesg | grep 'conn( Connected -> Timeout )'")?;
    pair.b.freeze(false)?;
    pair.wait_synced(60)?;
    // while it waits, a node is told of a secret and of another pace
    pair.b.ok("drbdadm disconnect r0")?;
    pair.a.wait_for(20, "cat /proc/drbd", "cs:WFConnection")?;
    pair.a.ok(&format!("drbdsetup {OF} --cram-hmac-alg=sha1 --shared-secret=given-later --connect-int=2 --ping-timeout=100"))?;
    let change = "s/ping-timeout [0-9]*;/ping-timeout 5; cram-hmac-alg sha1; shared-secret given-later;/";
    pair.b.ok(&format!("cp /etc/drbd.conf /tmp/; sed -i '{change}' /etc/drbd.conf; drbdadm connect r0"))?;
    pair.wait_synced(30)?;
    // the other way round: the node with the short times was there first
    pair.a.ok("drbdadm disconnect r0")?;
    let change = "s/ping-timeout [0-9]*;/ping-timeout 5; socket-check-timeout 120; cram-hmac-alg sha1; shared-secret given-later;/";
    pair.a.ok(&format!("cp /etc/drbd.conf /tmp/; sed -i '{change}' /etc/drbd.conf; drbdadm connect r0"))?;
    pair.wait_synced(30)?;
    for node in [&mut pair.a, &mut pair.b] {
        node.ok("cp /tmp/drbd.conf /etc/")?;
    }
    again(pair)
}

fn resource(pair: &mut Pair) -> Result<()> {
    let a = &mut pair.a;
    ensure!(masks(a)? == ["3"; 4], "{:?}", masks(a)?);
    for (mask, seen) in [("2", "2"), ("1", "1"), ("fffffffe", "2"), ("10", "3")] {
        takes(a, &format!("resource-options r0 --cpu-mask={mask}"), &[&format!("cpu-mask \"{mask}\";")])?;
        ensure!(masks(a)? == [seen; 4], "{mask}: {:?}", masks(a)?);
    }
    takes(a, "resource-options r0 --on-no-data-accessible=suspend-io", &["on-no-data-accessible suspend-io;"])?;
    for mask in ["xyz", "1,,2", "123456789"] {
        refuses(a, &format!("resource-options r0 --cpu-mask={mask}"), 10, "(162)").context(mask)?;
    }
    refuses(a, "resource-options r0 --on-no-data-accessible=panic", 20, "on-no-data-accessible")?;
    refuses(a, "resource-options nobody --cpu-mask=1", 10, "(158)")?;
    takes(a, "resource-options r0 --set-defaults", &["on-no-data-accessible io-error;"])?;
    ensure!(masks(a)? == ["3"; 4], "{:?}", masks(a)?);
    Ok(())
}
