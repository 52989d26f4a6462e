// SPDX-License-Identifier: GPL-2.0
//! A terminal for the tests of what a person sees and types.
#![allow(dead_code)] // each test uses a part

use rustix::pty::{grantpt, openpt, ptsname, unlockpt, OpenptFlags};
use rustix::termios::{tcsetwinsize, Winsize};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// A terminal of 100 columns with a program on it.
pub struct Terminal {
    /// The keyboard, and what is shown.
    pub master: File,
    /// The end of the program.
    pub slave: File,
    shown: Receiver<Vec<u8>>,
    /// What was shown so far.
    pub text: String,
}

impl Terminal {
    /// An empty one.
    pub fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let path = std::ffi::OsStr::from_bytes(name.as_bytes());
        let slave = File::options()
            .read(true)
            .write(true)
            .open(path)
            .expect("opened");
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).expect("size");
        let master = File::from(master);
        let mut reader = master.try_clone().expect("cloned");
        let (send, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0u8; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if send.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            master,
            slave,
            shown,
            text: String::new(),
        }
    }

    /// A program whose terminal it is.
    pub fn start(&self, command: &mut Command) -> Child {
        let end = || Stdio::from(self.slave.try_clone().expect("cloned"));
        command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("started")
    }

    /// Reads until that stands there.
    pub fn wait_for(&mut self, wanted: &str) {
        let end = Instant::now() + LIMIT;
        while !self.text.contains(wanted) {
            let left = end.saturating_duration_since(Instant::now());
            let bytes = self.shown.recv_timeout(left);
            let bytes =
                bytes.unwrap_or_else(|_| panic!("{wanted:?} does not appear in {:?}", self.text));
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// The exit code of the program.
    pub fn ended(&mut self, mut child: Child) -> i32 {
        let end = Instant::now() + LIMIT;
        loop {
            match child.try_wait().expect("waited") {
                Some(status) => return status.code().unwrap_or(-1),
                None if Instant::now() > end => {
                    child.kill().expect("killed");
                    panic!("it does not end");
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}
