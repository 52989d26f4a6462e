// SPDX-License-Identifier: GPL-2.0
//! A folder with stand-ins for the programs that scripts call, and the environment to run them in.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Exit code and output of a script, and the calls of stand-ins it made.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// One line per call of a stand-in, `NAME ARGUMENTS`.
    pub calls: Vec<String>,
}

impl Outcome {
    /// The calls that start with `prefix`.
    pub fn calls_of(&self, prefix: &str) -> Vec<&str> {
        self.calls
            .iter()
            .map(String::as_str)
            .filter(|call| call.starts_with(prefix))
            .collect()
    }

    /// Some call is exactly this.
    pub fn called(&self, line: &str) -> bool {
        self.calls.iter().any(|call| call == line)
    }
}

/// The folder, removed at the end.
pub struct Bed {
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

/// Writes a program. A shell writes it: a file that this process itself has open for writing may be open in a child of another
/// test's thread too, and then it cannot be executed (ETXTBSY).
pub fn executable(path: &Path, text: &str) {
    let mut shell = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh");
    let mut input = shell.stdin.take().expect("pipe");
    input.write_all(text.as_bytes()).expect("program");
    drop(input);
    assert!(shell.wait().expect("sh").success(), "{}", path.display());
}

/// Path of a file below `packaging/`.
pub fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the checkout")
        .join("packaging")
        .join(file)
}

impl Bed {
    /// With stand-ins that do nothing and succeed: logger, mail, sleep; and no driver.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("drbd-rs-packaging-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("bin")).expect("temporary folder");
        let mut bed = Self {
            folder,
            variables: Vec::new(),
        };
        bed.stand_in("logger", "");
        bed.stand_in("sleep", "");
        for (name, file) in [
            ("PROC_DRBD", "proc_drbd"),
            ("DRBD_DEFAULTS", "default"),
            ("DRBD_LOCK_FOLDER", "locks"),
            ("HARESOURCES", "haresources"),
            ("DRBD_SYSRQ_TRIGGER", "sysrq"),
        ] {
            let path = bed.path(file);
            bed.set(name, &path.display().to_string());
        }
        bed
    }

    /// A path in the folder.
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Writes a file of the folder.
    pub fn file(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("file in the temporary folder");
    }

    /// Reads a file of the folder; empty when it is not there.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Makes the program `name`: records its call, then runs `body`, a piece of shell that
    /// finds `$bed` (the folder) and ends with exit code 0 unless it says otherwise. The call of a
    /// logger is not recorded.
    pub fn stand_in(&mut self, name: &str, body: &str) {
        let record = match name {
            "logger" | "sleep" => String::new(),
            _ => format!("echo \"{name}${{*:+ }}$*\" >>\"$bed/calls\"\n"),
        };
        let text = format!(
            "#!/bin/sh\nbed='{}'\n{record}{body}\nexit 0\n",
            self.folder.display()
        );
        executable(&self.path("bin").join(name), &text);
    }

    /// Sets an environment variable for all runs.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.into()));
    }

    /// Runs a script of `packaging/` under the name `name`.
    pub fn run_as(&self, script: &str, name: &str, arguments: &[&str]) -> Outcome {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        symlink(packaging(script), &path).expect("link to the script");
        self.command(&path, arguments)
    }

    /// Runs a script of `packaging/`, at most 20 seconds.
    pub fn run(&self, script: &str, arguments: &[&str]) -> Outcome {
        self.command(&packaging(script), arguments)
    }

    fn command(&self, script: &Path, arguments: &[&str]) -> Outcome {
        let _ = fs::remove_file(self.path("calls"));
        let output = Command::new("timeout")
            .current_dir(&self.folder)
            .arg("20")
            .arg("sh")
            .arg(script)
            .args(arguments)
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("sh");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            calls: self.read("calls").lines().map(String::from).collect(),
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
