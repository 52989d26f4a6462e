// SPDX-License-Identifier: GPL-2.0
//! Calling drbdsetup, drbdmeta and handlers, or showing how they would be called.

use super::args::Args;
use super::commands::Limit;
use super::session::Session;
use super::Failure;
use std::cell::Cell;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// drbdsetup.
    Setup,
    /// drbdmeta.
    Meta,
    /// drbd-proxy-ctl.
    ProxyCtl,
    /// A shell with a handler.
    Shell,
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Program::Setup => "drbdsetup",
            Program::Meta => "drbdmeta",
            Program::ProxyCtl => "drbd-proxy-ctl",
            Program::Shell => "/bin/sh",
        }
    }
}

/// A call of a program.
#[derive(Clone, Debug)]
pub struct Call {
    program: Program,
    words: Vec<String>,
    limit: Option<Limit>,
    environment: Vec<(String, String)>,
}

impl Call {
    /// A call with words.
    pub fn new<W: Into<String>>(program: Program, words: impl IntoIterator<Item = W>) -> Self {
        let words = words.into_iter().map(Into::into).collect();
        Self {
            program,
            words,
            limit: None,
            environment: Vec::new(),
        }
    }

    /// A call of drbdsetup.
    pub fn setup<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Self {
        Self::new(Program::Setup, words)
    }

    /// With more words.
    pub fn words(mut self, words: impl IntoIterator<Item = String>) -> Self {
        self.words.extend(words);
        self
    }

    /// With a limit other than the command's.
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// With more environment.
    pub fn environment(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        self
    }

    /// The subcommand.
    pub fn name(&self) -> &str {
        let at = if self.program == Program::Meta { 4 } else { 0 };
        self.words.get(at).map_or("", String::as_str)
    }

    /// The line for a shell.
    pub fn line(&self) -> String {
        let words = self.words.iter().map(|word| shell_escape(word));
        std::iter::once(self.program.name().to_string())
            .chain(words)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The line for messages.
    fn plain_line(&self) -> String {
        format!("{} {}", self.program.name(), self.words.join(" "))
    }
}

/// A backslash before everything a shell would not take as it is.
pub fn shell_escape(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    for c in word.chars() {
        if !(c.is_alphanumeric() || "/._-:=,@%+".contains(c)) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Programs named on the command line have to be executable.
pub fn check_programs(args: &Args) -> Result<(), Failure> {
    let given = [
        ("drbdsetup", &args.drbdsetup),
        ("drbdmeta", &args.drbdmeta),
        ("drbd-proxy-ctl", &args.proxy_ctl),
    ];
    for (name, path) in given {
        if let Some(path) = path {
            if !is_executable(Path::new(path)) {
                return Err(Failure::new(
                    20,
                    format!("cannot find the program {name}: '{path}' is not executable"),
                ));
            }
        }
    }
    Ok(())
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// The program in the search path, or in the places for administrators.
fn in_path(name: &str) -> Option<PathBuf> {
    let path =
        std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/sbin:/usr/bin:/sbin:/bin"));
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|place| place.join(name))
        .find(|found| is_executable(found))
}

/// Carries out calls as the options of drbdadm say.
#[derive(Debug)]
pub struct Runner {
    dry: bool,
    shown: bool,
    varname: Option<String>,
    programs: [Option<String>; 3],
    limits_seconds: [u64; 3],
    limit: Limit,
    timed_out: Cell<bool>,
}

impl Runner {
    /// For one run; `limit` holds for calls without their own.
    pub fn new(session: &Session, limit: Limit) -> Self {
        let (args, global) = (&session.args, &session.config.global);
        Self {
            dry: args.dry_run > 0,
            shown: args.dry_run > 0 || args.verbose > 0,
            varname: args.varname.clone(),
            programs: [
                args.drbdsetup.clone(),
                args.drbdmeta.clone(),
                args.proxy_ctl.clone(),
            ],
            limits_seconds: [
                global.timeout_short_seconds.unwrap_or(5),
                global.timeout_medium_seconds.unwrap_or(121),
                global.timeout_long_seconds.unwrap_or(600),
            ],
            limit,
            timed_out: Cell::new(false),
        }
    }

    /// Calls are only shown.
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    fn show(&self, about: &str, call: &Call) {
        if let Some(name) = self.varname.as_ref().filter(|_| !about.is_empty()) {
            println!("{name}={}", shell_escape(about));
        }
        println!("{}", call.line());
    }

    fn command(&self, call: &Call) -> Command {
        let name = call.program.name();
        let given = match call.program {
            Program::Setup => self.programs[0].clone(),
            Program::Meta => self.programs[1].clone(),
            Program::ProxyCtl => self.programs[2].clone(),
            Program::Shell => Some(name.into()),
        };
        let found = given.map(PathBuf::from).or_else(|| in_path(name));
        let mut command = match (found, std::env::current_exe()) {
            (Some(path), _) => Command::new(path),
            // this program is drbdsetup and drbdmeta too
            (None, Ok(own)) if call.program != Program::ProxyCtl => Command::new(own),
            _ => Command::new(name),
        };
        command
            .arg0(name)
            .args(&call.words)
            .envs(call.environment.iter().cloned());
        command
    }

    /// Runs a call and tells when it fails with a code of 10 or more.
    pub fn run(&self, about: &str, call: &Call) -> u8 {
        let code = self.attempt(about, call, Stdio::inherit());
        if code >= 10 {
            eprintln!(
                "Command '{}' terminated with exit code {code}",
                call.plain_line()
            );
        }
        code
    }

    /// Runs a call and returns what it wrote to standard error instead of showing it.
    pub fn run_holding_complaints(&self, about: &str, call: &Call) -> (u8, String) {
        if self.shown {
            self.show(about, call);
        }
        if self.dry {
            return (0, String::new());
        }
        let _ = std::io::stdout().flush();
        let mut command = self.command(call);
        command.stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            return (20, String::new());
        };
        // read beside the wait for its end, so that neither a full pipe nor the time limit is missed
        let reader = child.stderr.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = pipe.read_to_end(&mut text);
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let code = self.wait(call, child);
        let text = match self.timed_out() {
            true => None,
            false => reader.and_then(|reader| reader.join().ok()),
        };
        (code, text.unwrap_or_default())
    }

    /// A call exceeded its time limit.
    pub fn timed_out(&self) -> bool {
        self.timed_out.get()
    }

    /// Runs a call whose failure is no news and whose complaints nobody should see.
    pub fn run_quietly(&self, about: &str, call: &Call) -> u8 {
        self.attempt(about, call, Stdio::null())
    }

    fn attempt(&self, about: &str, call: &Call, errors: Stdio) -> u8 {
        if self.shown {
            self.show(about, call);
        }
        if self.dry {
            return 0;
        }
        let _ = std::io::stdout().flush();
        let mut command = self.command(call);
        command.stderr(errors);
        match command.spawn() {
            Ok(child) => self.wait(call, child),
            Err(error) => {
                eprintln!("cannot run '{}': {error}", call.plain_line());
                20
            }
        }
    }

    /// Starts a call without waiting for it.
    pub fn start(&self, call: &Call) -> Option<Child> {
        self.command(call).stdin(Stdio::null()).spawn().ok()
    }

    /// What a call writes, whatever its code; its complaints are dropped. It is carried out in a dry run too.
    pub fn output(&self, call: &Call) -> String {
        let result = self
            .command(call)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        result.map_or_else(
            |_| String::new(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    /// Whether a call succeeds, and what it writes to standard output and standard error. It is carried out in a dry run too.
    pub fn capture(&self, call: &Call) -> (bool, String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self.command(call).stdin(Stdio::null()).output() {
            Ok(output) => (
                output.status.success(),
                text(&output.stdout),
                text(&output.stderr),
            ),
            Err(error) => (false, String::new(), error.to_string()),
        }
    }

    fn wait(&self, call: &Call, mut child: Child) -> u8 {
        let seconds = match call.limit.unwrap_or(self.limit) {
            Limit::Short => self.limits_seconds[0],
            Limit::Medium => self.limits_seconds[1],
            Limit::Long => self.limits_seconds[2],
            Limit::Never => 0,
        };
        if seconds == 0 {
            return child.wait().map_or(20, exit_code);
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut pause = Duration::from_micros(500);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return exit_code(status),
                Ok(None) if Instant::now() < end => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                _ => {
                    // a program stuck in the kernel does not die; it is not waited for
                    let _ = child.kill();
                    self.timed_out.set(true);
                    eprintln!(
                        "Command '{}' did not terminate within {seconds} seconds",
                        call.plain_line()
                    );
                    return 20;
                }
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    if status.signal().is_some() {
        return 20;
    }
    status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_pasted_into_a_shell() {
        let call = Call::setup(["connect", "my data", "ipv6:[::1]:7"]);
        assert_eq!(call.line(), "drbdsetup connect my\\ data ipv6:\\[::1\\]:7");
        assert_eq!(
            shell_escape("env | grep ^DRBD_"),
            "env\\ \\|\\ grep\\ \\^DRBD_"
        );
        assert_eq!(
            Call::new(
                Program::Meta,
                ["0", "v08", "/dev/a", "internal", "apply-al"]
            )
            .name(),
            "apply-al"
        );
    }
}
