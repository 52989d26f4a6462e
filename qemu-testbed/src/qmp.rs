// SPDX-License-Identifier: GPL-2.0
//! The control socket of a running QEMU: just what the tests need of its JSON protocol.

use anyhow::{bail, Context, Result};
use serde_json::{json, Value};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A connection in command mode.
pub struct Qmp {
    reader: BufReader<UnixStream>,
}

impl Qmp {
    /// Takes a connected socket through the greeting. Each later answer must come in 20 s.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut qmp = Self {
            reader: BufReader::new(stream),
        };
        let mut greeting = String::new();
        qmp.reader.read_line(&mut greeting)?;
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs one command and returns its answer; events in between are dropped.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.reader
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            if self
                .reader
                .read_line(&mut line)
                .context("QEMU does not answer")?
                == 0
            {
                bail!("QEMU closed its control socket during {command}");
            }
            let answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
        }
    }

    /// Stops the machine and writes its state into a file.
    pub fn save(&mut self, state: &Path) -> Result<()> {
        self.execute("stop", json!({}))?;
        self.execute("migrate", json!({"uri": format!("file:{}", state.display())}))?;
        self.wait_status("query-migrate", |status| match status {
            "completed" => Ok(true),
            "failed" | "cancelled" => bail!("QEMU did not write {}", state.display()),
            _ => Ok(false),
        })
    }

    /// Lets a machine go on that was started from such a file.
    pub fn wake(&mut self) -> Result<()> {
        self.wait_status("query-status", |status| Ok(status != "inmigrate"))?;
        self.execute("cont", json!({}))?;
        Ok(())
    }

    fn wait_status(&mut self, query: &str, done: impl Fn(&str) -> Result<bool>) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while !done(self.execute(query, json!({}))?["status"].as_str().unwrap_or_default())? {
            if Instant::now() > end {
                bail!("{query} does not come to an end within 60 s");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
