// SPDX-License-Identifier: GPL-2.0
//! Other programs of the system, asked with a time limit.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for one of them.
const LIMIT: Duration = Duration::from_secs(5);
/// Where they are looked for.
const PLACES: &[&str] = &["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// What a program prints; `None`: there is no such program, it failed, or it did not end in time.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let path = PLACES
        .iter()
        .map(|place| Path::new(place).join(program))
        .find(|path| path.exists())?;
    let mut child = Command::new(path)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut pipe = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).ok().map(|_| text)
    });
    let end = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                // a program stuck in the kernel does not die; it is not waited for
                let _ = child.kill();
                return None;
            }
        }
    };
    let text = reader.join().ok()??;
    status
        .success()
        .then(|| String::from_utf8_lossy(&text).into_owned())
}
