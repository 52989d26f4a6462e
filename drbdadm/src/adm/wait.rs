// SPDX-License-Identifier: GPL-2.0
//! `wait-con-int`: the boot dialogue that waits for the peers, and can be told to stop (config-and-cli.md section 12).

use super::backend::{Call, Runner};
use super::calls::wait_connect;
use super::checks;
use super::commands::Command;
use super::select;
use super::session::{Session, Target};
use super::Failure;
use rustix::termios::{tcgetattr, tcsetattr, LocalModes, OptionalActions, Termios};
use std::fs::File;
use std::io::{BufReader, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::Child;
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

const NO_TERMINAL: &str = "WARN: stdin/stdout is not a TTY; using /dev/console";
/// How long only dots are shown.
const QUIET_SECONDS: u64 = 10;
const PROMPT: &str = " To abort waiting enter 'yes' [ -- ]:";
/// So many Ctrl-C or Ctrl-D end the wait like a yes.
const ENOUGH_INTERRUPTS: u32 = 3;
/// Characters of an answer that are kept.
const LONGEST_ANSWER: usize = 80;

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

/// Where the administrator sits. The keyboard is read key by key, so that Ctrl-C means what the dialogue makes of it.
struct Console {
    output: Box<dyn Write>,
    keys: Receiver<u8>,
    /// The keyboard, and how it was before.
    before: Option<(File, Termios)>,
    typed: Vec<u8>,
    interrupts: u32,
}

impl Console {
    fn open(terminal: bool) -> Option<Self> {
        let (output, input): (Box<dyn Write>, File) = if terminal {
            let input = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
            (Box::new(std::io::stdout()), File::from(input))
        } else {
            let output = std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/console")
                .ok()?;
            (Box::new(output), File::open("/dev/console").ok()?)
        };
        let before = tcgetattr(&input).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_modes
                .remove(LocalModes::ICANON | LocalModes::ISIG | LocalModes::ECHO);
            let _ = tcsetattr(&input, OptionalActions::Now, &raw);
        }
        let kept = input.try_clone().ok()?;
        let (sender, keys) = channel();
        // it ends with the process: a key that nobody presses cannot be waited for
        std::thread::spawn(move || {
            for key in BufReader::new(input).bytes().map_while(Result::ok) {
                if sender.send(key).is_err() {
                    return;
                }
            }
        });
        Some(Self {
            output,
            keys,
            before: before.map(|before| (kept, before)),
            typed: Vec::new(),
            interrupts: 0,
        })
    }

    fn say(&mut self, text: &str) {
        let _ = self.output.write_all(text.as_bytes());
        let _ = self.output.flush();
    }

    /// Takes a key; true: the administrator does not want to wait any longer.
    fn key(&mut self, key: u8) -> bool {
        match key {
            // Ctrl-C and Ctrl-D
            3 | 4 => {
                self.interrupts += 1;
                if self.interrupts < ENOUGH_INTERRUPTS {
                    return false;
                }
                self.say("\n");
                return true;
            }
            b'\r' | b'\n' => {
                self.say("\n");
                let line = std::mem::take(&mut self.typed);
                if line.trim_ascii() == b"yes" {
                    return true;
                }
                self.say(PROMPT);
            }
            8 | 127 if !self.typed.is_empty() => {
                self.typed.pop();
                self.say("\x08 \x08");
            }
            b' '..=b'~' if self.typed.len() < LONGEST_ANSWER => {
                self.typed.push(key);
                self.say(&char::from(key).to_string());
            }
            _ => {}
        }
        false
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some((keyboard, before)) = &self.before {
            let _ = tcsetattr(keyboard, OptionalActions::Now, before);
        }
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
    console.say(PROMPT);
    let refresh = session.config.global.dialog_refresh_seconds.unwrap_or(1);
    let mut shown = Instant::now();
    while busy(waiting) {
        match console.keys.recv_timeout(Duration::from_millis(100)) {
            Ok(key) => {
                if console.key(key) {
                    waiting.iter_mut().for_each(|child| {
                        let _ = child.kill();
                        let _ = child.wait();
                    });
                    return;
                }
            }
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
