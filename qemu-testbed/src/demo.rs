// SPDX-License-Identifier: GPL-2.0
//! `make demo`: the tutorial every DRBD user knows, then a lost node and its return.

use crate::pair::{Pair, PairOptions};
use crate::testbed::Testbed;
use crate::vm::Vm;
use anyhow::{bail, Result};
use std::io::Write;
use std::time::{Duration, Instant};

/// Runs the demo; with `keep` the machines stay up until the user presses Enter.
pub fn run(keep: bool) -> Result<()> {
    let started = Instant::now();
    let mut bed = Testbed::open()?;
    bed.wakes = false;
    title("Two machines with the stock Debian kernel and our drbd.ko");
    let mut options = PairOptions::new("demo");
    options.our_tools = [bed.tools.is_some(); 2];
    options.disk_mib = 128;
    options.disk = "c-plan-ahead 0; resync-rate 40M;".into();
    let mut pair = Pair::boot(&bed, &options)?;
    set_up(&mut pair)?;
    use_it(&mut pair)?;
    lose_a_node(&mut pair)?;
    let resynced_kib = bring_it_back(&mut pair)?;
    title("Compare both backing disks, block by block");
    for node in [&mut pair.a, &mut pair.b] {
        show(node, "sync")?;
    }
    pair.compare_disks()?;
    println!("All data blocks of both backing disks are equal.");
    if keep {
        wait_for_user(&pair)?;
    }
    pair.finish()?;
    println!(
        "\nSummary: full sync, mirrored writes, clean role switch, plug pulled during writes,\n\
         survivor promoted, {resynced_kib} KiB resynced instead of {} KiB, disks equal,\n\
         no complaint in either kernel log. {:.0} s.",
        (options.disk_mib << 10),
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

fn set_up(pair: &mut Pair) -> Result<()> {
    title("Metadata and resource on both nodes");
    for node in [&mut pair.a, &mut pair.b] {
        show(node, "modprobe drbd && cat /sys/module/drbd/version")?;
        show(node, "drbdadm -- --force create-md r0")?;
        show(node, "drbdadm up r0")?;
    }
    pair.wait_connected()?;
    show(&mut pair.a, "cat /proc/drbd")?;
    title("The first full sync");
    show(&mut pair.a, "drbdadm primary --force r0")?;
    for _ in 0..60 {
        let text = show(&mut pair.a, "cat /proc/drbd")?;
        if text.contains("ds:UpToDate/UpToDate") {
            break;
        }
        std::thread::sleep(Duration::from_millis(1000));
    }
    pair.wait_synced(60)
}

fn use_it(pair: &mut Pair) -> Result<()> {
    title("A file system on the mirrored device");
    for command in [
        "mkfs.ext4 -q -F /dev/drbd0",
        "mkdir -p /mnt/data && mount /dev/drbd0 /mnt/data",
        "cp -r /usr/sbin /mnt/data/ && echo 'written on node1' > /mnt/data/hello",
        "cd /mnt/data && find . -type f | sort | xargs sha256sum > /mnt/data/sums; wc -l sums",
        "umount /mnt/data",
    ] {
        show(&mut pair.a, command)?;
    }
    title("Switch the roles");
    show(&mut pair.a, "drbdadm secondary r0")?;
    for command in [
        "drbdadm primary r0",
        "mkdir -p /mnt/data && mount /dev/drbd0 /mnt/data && cat /mnt/data/hello",
        "cd /mnt/data && grep -v sums sums | sha256sum -c | grep -vc OK; true",
        "cat /proc/drbd",
    ] {
        show(&mut pair.b, command)?;
    }
    Ok(())
}

fn lose_a_node(pair: &mut Pair) -> Result<()> {
    title("node2 is Primary and writes; then its plug is pulled");
    let writer = "i=0; while :; do i=$((i+1)); head -c 300000 /dev/urandom > /mnt/data/file$((i % 40)); sync; done";
    prompt(&pair.b, writer);
    pair.b.start_command(writer)?;
    std::thread::sleep(Duration::from_secs(2));
    pair.b.power_cut();
    println!("*** node2 has no power any more");
    pair.a.wait_for(40, "cat /proc/drbd", "cs:WFConnection")?;
    show(&mut pair.a, "cat /proc/drbd")?;
    title("Promote the survivor and write on");
    for command in [
        "drbdadm primary r0",
        "mkdir -p /mnt/data && mount /dev/drbd0 /mnt/data && cat /mnt/data/hello",
        "head -c 5000000 /dev/urandom > /mnt/data/after-the-loss && sync && ls /mnt/data | wc -l",
        "cat /proc/drbd",
    ] {
        show(&mut pair.a, command)?;
    }
    Ok(())
}

fn bring_it_back(pair: &mut Pair) -> Result<u64> {
    title("node2 comes back; only what changed is resynced");
    pair.b.boot()?;
    show(&mut pair.b, "modprobe drbd && drbdadm up r0")?;
    pair.wait_synced(120)?;
    let text = show(&mut pair.b, "cat /proc/drbd")?;
    show(&mut pair.a, "umount /mnt/data && drbdadm secondary r0")?;
    let received = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("nr:"))
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    Ok(received)
}

fn wait_for_user(pair: &Pair) -> Result<()> {
    println!("\nBoth machines stay up. Consoles, from another terminal:");
    for vm in [&pair.a, &pair.b] {
        println!("  make console SOCKET={}", vm.console_socket().display());
    }
    print!("Press Enter to end. ");
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(())
}

fn title(text: &str) {
    println!("\n=== {text}");
}

fn prompt(node: &Vm, command: &str) {
    println!("{}:~# {command}", node.options.name);
}

fn show(node: &mut Vm, command: &str) -> Result<String> {
    prompt(node, command);
    let output = node.run(command)?;
    print!("{}", output.text);
    if output.code != 0 {
        bail!(
            "exit code {}\nkernel log:\n{}",
            output.code,
            tail(&node.console())
        );
    }
    Ok(output.text)
}

fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
