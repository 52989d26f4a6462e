// SPDX-License-Identifier: GPL-2.0
//! `wait-con-int`: the boot dialogue that waits for the peers, and can be told to stop (config-and-cli.md section 12).

use super::backend::{Call, Runner};
use super::calls::wait_connect;
use super::checks;
use super::commands::Command;
use super::select;
use super::session::{Session, Target};
use super::Failure;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::Child;
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

const NO_TERMINAL: &str = "WARN: stdin/stdout is not a TTY; using /dev/console";
/// How long only dots are shown.
const QUIET_SECONDS: u64 = 10;

/// Waits for all volumes of all resources. The result is always 0: booting goes on.
pub fn run(session: &Session, command: &Command, runner: &Runner) -> Result<u8, Failure> {
    let targets: Vec<Target<'_>> = select::ours(session).collect();
    if checks::wants_addresses(&session.args, command) {
        checks::addresses(session, &targets)?;
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !terminal {
        print!("{NO_TERMINAL}");
        eprint!("{NO_TERMINAL}");
        let _ = std::io::stdout().flush();
    }
    let calls: Vec<(&str, Call)> = targets
        .iter()
        .flat_map(|target| {
            target
                .volumes()
                .map(|v| (target.resource.name.as_str(), wait_connect(target, v)))
        })
        .collect();
    if runner.is_dry() {
        calls.iter().for_each(|(about, call)| {
            runner.run(about, call);
        });
        return Ok(0);
    }
    let mut waiting: Vec<Child> = calls
        .iter()
        .filter_map(|(_, call)| runner.start(call))
        .collect();
    match Console::open(terminal) {
        Some(console) => dialogue(session, &targets, &mut waiting, console),
        None => {
            println!(
                "\nTo go on without the DRBD connections, end this process: kill {}",
                std::process::id()
            );
            waiting.iter_mut().for_each(|child| {
                let _ = child.wait();
            });
        }
    }
    Ok(0)
}

/// Where the administrator sits.
struct Console {
    output: Box<dyn Write>,
    lines: Receiver<String>,
}

impl Console {
    fn open(terminal: bool) -> Option<Self> {
        let (output, input): (Box<dyn Write>, Box<dyn std::io::Read + Send>) = if terminal {
            (Box::new(std::io::stdout()), Box::new(std::io::stdin()))
        } else {
            let output = std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/console")
                .ok()?;
            (Box::new(output), Box::new(File::open("/dev/console").ok()?))
        };
        let (sender, lines) = channel();
        // it ends with the process: a line that nobody types cannot be waited for
        std::thread::spawn(move || {
            for line in BufReader::new(input).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Some(Self { output, lines })
    }

    fn say(&mut self, text: &str) {
        let _ = self.output.write_all(text.as_bytes());
        let _ = self.output.flush();
    }
}

/// Some are still waiting.
fn busy(waiting: &mut [Child]) -> bool {
    waiting
        .iter_mut()
        .any(|child| matches!(child.try_wait(), Ok(None)))
}

fn dialogue(
    session: &Session,
    targets: &[Target<'_>],
    waiting: &mut [Child],
    mut console: Console,
) {
    let start = Instant::now();
    for _ in 0..QUIET_SECONDS {
        for _ in 0..10 {
            if !busy(waiting) {
                return console.say("\n");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        console.say(".");
    }
    console.say(&explanation(targets));
    console.say(" To abort waiting enter 'yes' [ -- ]:");
    let refresh = session.config.global.dialog_refresh_seconds.unwrap_or(1);
    let mut shown = Instant::now();
    while busy(waiting) {
        match console.lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) if line.trim() == "yes" => {
                waiting.iter_mut().for_each(|child| {
                    let _ = child.kill();
                    let _ = child.wait();
                });
                return;
            }
            Ok(_) => console.say(" To abort waiting enter 'yes' [ -- ]:"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
        if refresh > 0 && shown.elapsed() >= Duration::from_secs(refresh) {
            shown = Instant::now();
            console.say(&format!(
                "\x1b[s\x1b[31G[{:4}]:\x1b[u",
                start.elapsed().as_secs()
            ));
        }
    }
    console.say("\n");
}

fn explanation(targets: &[Target<'_>]) -> String {
    let value = |name: &str| {
        targets
            .first()
            .and_then(|t| t.resource.startup.get(name))
            .unwrap_or("0")
            .to_string()
    };
    let line = "*".repeat(63);
    format!(
        "\n{line}\n DRBD waits for its peers before the machine goes on booting.\n \
         - When this node was alone before the reboot, it waits\n   {} seconds. [degr-wfc-timeout]\n \
         - Else it waits {} seconds. [wfc-timeout]\n   0 seconds mean for ever; the times come from resource '{}'.\n{line}\n",
        value("degr-wfc-timeout"),
        value("wfc-timeout"),
        targets.first().map_or("", |target| &target.resource.name)
    )
}
