// SPDX-License-Identifier: GPL-2.0
//! `testbed`: the demo, single scripts in a machine, and its console, from the command line.

use anyhow::Result;
use clap::{Parser, Subcommand};
use qemu_testbed::{bench, demo, Driver, Pair, PairOptions, SystemOptions, Systems, Testbed};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "Virtual machines for the Rust DRBD")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The tutorial, then a lost node and its return.
    Demo {
        /// Leave both machines up until Enter is pressed.
        #[arg(long)]
        keep: bool,
    },
    /// Boot a pair and run one script on node1 (with `node2 COMMAND` lines for the other).
    Run {
        /// Lines `1 COMMAND` and `2 COMMAND` run on that node; `cut`, `mend`, `kill 1`,
        /// `boot 1`, `compare`, `sleep N` act on the pair.
        script: PathBuf,
        /// Driver of node1: rust or c.
        #[arg(long, default_value = "rust")]
        node1: String,
        /// Driver of node2: rust or c.
        #[arg(long, default_value = "rust")]
        node2: String,
        /// Use our tools on both nodes.
        #[arg(long)]
        our_tools: bool,
        /// More lines for the net section.
        #[arg(long, default_value = "")]
        net: String,
    },
    /// Boot two complete Debian machines and act on the lines of standard input.
    Systems {
        /// Configuration file both get as /etc/drbd.d/r0.res.
        #[arg(long)]
        resource: Option<PathBuf>,
        /// File both get as /etc/corosync/corosync.conf; starts the cluster at boot.
        #[arg(long)]
        corosync: Option<PathBuf>,
        /// Keep Debian's drbd-utils instead of installing our tools over them.
        #[arg(long)]
        debian_tools: bool,
    },
    /// Count instructions per operation of our module and of the C module.
    Bench {
        /// QEMU plugin made from bench/count.c.
        #[arg(long)]
        plugin: PathBuf,
        /// Load generator made from bench/load.c.
        #[arg(long)]
        load: PathBuf,
        /// Runs of each module; the median counts.
        #[arg(long, default_value_t = 3)]
        repeats: usize,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Connect the terminal to the console of a running machine.
    Console {
        /// Socket, as the demo prints it.
        socket: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo { keep } => demo::run(keep),
        Command::Run {
            script,
            node1,
            node2,
            our_tools,
            net,
        } => run(&script, [&node1, &node2], our_tools, &net),
        Command::Systems {
            resource,
            corosync,
            debian_tools,
        } => systems([resource, corosync], debian_tools),
        Command::Bench {
            plugin,
            load,
            repeats,
            json,
        } => bench::run(&plugin, &load, repeats, json),
        Command::Console { socket } => console(&socket),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(script: &std::path::Path, drivers: [&str; 2], our_tools: bool, net: &str) -> Result<()> {
    let bed = Testbed::open()?;
    let driver = |name: &str| if name == "c" { Driver::C } else { Driver::Rust };
    let mut options = PairOptions::new("run")
        .drivers(driver(drivers[0]), driver(drivers[1]))
        .with_net(net);
    options.our_tools = [our_tools; 2];
    let mut pair = Pair::boot(&bed, &options)?;
    let mut worst = Ok(());
    for line in std::fs::read_to_string(script)?.lines() {
        println!("\n> {line}");
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let node = if rest.trim() == "2" {
            &mut pair.b
        } else {
            &mut pair.a
        };
        let done = match verb {
            "" | "#" => Ok(()),
            "cut" => node.set_link(false),
            "mend" => node.set_link(true),
            "kill" => {
                node.power_cut();
                Ok(())
            }
            "boot" => node.boot(),
            "compare" => pair.compare_disks(),
            "sleep" => {
                std::thread::sleep(Duration::from_secs_f32(rest.parse().unwrap_or(1.0)));
                Ok(())
            }
            "1" | "2" => {
                let node = if verb == "2" {
                    &mut pair.b
                } else {
                    &mut pair.a
                };
                node.run(rest).map(|o| {
                    print!("{}", o.text);
                    if o.code != 0 {
                        println!("[exit {}]", o.code);
                    }
                })
            }
            _ => anyhow::bail!("unknown line in the script: {line}"),
        };
        if let Err(error) = done {
            println!("[{error:#}]");
            worst = Err(error);
        }
    }
    for vm in [&pair.a, &pair.b] {
        println!(
            "\n--- console of {}\n{}",
            vm.options.name,
            dmesg(&vm.console())
        );
    }
    pair.finish()?;
    worst
}

/// Lines `1 COMMAND` and `2 COMMAND` run on that machine; `cut N` and `mend N` act on cable N
/// of the first, `kill M`, `boot M` and `ready M` on machine M.
fn systems(files: [Option<PathBuf>; 2], debian_tools: bool) -> Result<()> {
    let bed = Testbed::open_cluster()?;
    let mut options = SystemOptions::new("systems");
    options.our_tools = !debian_tools;
    options.cluster_stack = files[1].is_some();
    for (path, place) in files
        .iter()
        .zip(["etc/drbd.d/r0.res", "etc/corosync/corosync.conf"])
    {
        if let Some(path) = path {
            options.files.push((place.into(), std::fs::read(path)?));
        }
    }
    let mut pair = Systems::boot(&bed, &options)?;
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line?;
        println!("\n> {line}");
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let node = if verb == "2" || rest.trim() == "2" {
            &mut pair.b
        } else {
            &mut pair.a
        };
        let cable = || rest.trim().parse().unwrap_or(0);
        let done = match verb {
            "" => Ok(()),
            "cut" => pair.a.set_link_number(cable(), false),
            "mend" => pair.a.set_link_number(cable(), true),
            "kill" => {
                node.power_cut();
                Ok(())
            }
            "boot" => node.boot(),
            "ready" => node.wait_ready(),
            "start" => pair.a.start_command(rest),
            _ => node.run(rest).map(|o| println!("{}[exit {}]", o.text, o.code)),
        };
        if let Err(error) = done {
            println!("[{error:#}]");
        }
    }
    pair.finish()
}

fn dmesg(console: &str) -> String {
    let lines: Vec<&str> = console.lines().filter(|l| l.contains("drbd")).collect();
    lines[lines.len().saturating_sub(150)..].join("\n")
}

fn console(socket: &std::path::Path) -> Result<()> {
    let stream = UnixStream::connect(socket)?;
    let mut from_machine = stream.try_clone()?;
    std::thread::spawn(move || {
        let mut buffer = [0u8; 4096];
        while let Ok(n) = from_machine.read(&mut buffer) {
            if n == 0 {
                std::process::exit(0);
            }
            let _ = std::io::stdout().write_all(&buffer[..n]);
            let _ = std::io::stdout().flush();
        }
    });
    let mut to_machine = stream;
    std::io::copy(&mut std::io::stdin(), &mut to_machine)?;
    Ok(())
}
