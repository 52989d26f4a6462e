// SPDX-License-Identifier: GPL-2.0
//! Running shell commands in a virtual machine.
//!
//! One command is one line on the virtio port, with `\\` and `\n` for backslash and newline; the
//! guest's `/init` runs it in a shell of its own, and answers with the output, followed by a line
//! `@@exit CODE@@`. An emulated processor takes milliseconds to start a program, so nothing is
//! started but what the command asks for.

use anyhow::{bail, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a command printed (both streams, in order) and its exit code.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit code of the shell.
    pub code: i32,
    /// Standard output and standard error.
    pub text: String,
}

/// The `/init` of every virtual machine, after the part the overlay puts before it.
pub const GUEST_LOOP: &str = r#"
exec 3<>$port
echo "@@ready@@" >&3
while IFS= read -r line <&3; do
    [ -n "$line" ] || continue
    printf %b "$line" > /run/command
    (. /run/command) > /run/output 2>&1 < /dev/null
    code=$?
    cat /run/output >&3
    echo "@@exit $code@@" >&3
done
"#;

/// Host side of the port.
pub struct Agent {
    stream: UnixStream,
    pending: Vec<u8>,
}

impl Agent {
    /// Takes a connected socket.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            stream,
            pending: Vec::new(),
        })
    }

    /// Waits until the guest's loop runs.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        self.read_until("@@ready@@\n", limit).map(|_| ())
    }

    /// Sends a command without waiting for its answer; [`Agent::finish`] collects it.
    pub fn start(&mut self, command: &str) -> Result<()> {
        let mut line = command.replace('\\', r"\\").replace('\n', r"\n");
        line.push('\n');
        self.stream.write_all(line.as_bytes())?;
        Ok(())
    }

    /// Sends the bytes which the command last started takes from the port.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Waits for the end of the command last started.
    pub fn finish(&mut self, limit: Duration) -> Result<Output> {
        let mut text = self.read_until("@@\n", limit)?;
        while !text.contains("@@exit ") {
            let more = self.read_until("@@\n", limit)?;
            text.push_str(&more);
        }
        let at = text.rfind("@@exit ").unwrap_or(0);
        let code = text[at..]
            .trim_start_matches("@@exit ")
            .trim_end_matches("@@\n")
            .parse()
            .unwrap_or(-1);
        text.truncate(at);
        Ok(Output { code, text })
    }

    fn read_until(&mut self, mark: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        let mut searched = 0;
        loop {
            let from = searched.min(self.pending.len());
            if let Some(at) = find(&self.pending[from..], mark.as_bytes()) {
                let taken: Vec<u8> = self.pending.drain(..from + at + mark.len()).collect();
                return Ok(String::from_utf8_lossy(&taken).into_owned());
            }
            searched = self.pending.len().saturating_sub(mark.len());
            let mut buffer = [0u8; 16384];
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the virtual machine has gone"),
                Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => bail!("the virtual machine has gone: {e}"),
            }
            if Instant::now() > end {
                let got = String::from_utf8_lossy(&self.pending).into_owned();
                bail!(
                    "no end of the command within {} s; so far: {got}",
                    limit.as_secs()
                );
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_exit_code_are_taken_apart() {
        let (host, mut guest) = UnixStream::pair().expect("socket pair");
        let mut agent = Agent::new(host).expect("agent");
        agent.start("printf 'a\\n'\ntrue").expect("start");
        let mut line = [0; 19];
        guest.read_exact(&mut line).expect("read");
        assert_eq!(&line, br"printf 'a\\n'\ntrue");
        guest
            .write_all(b"one\nan @@ inside@@\ntwo@@exit 17@@\n")
            .expect("write");
        let output = agent.finish(Duration::from_secs(2)).expect("finish");
        assert_eq!(
            (output.code, output.text.as_str()),
            (17, "one\nan @@ inside@@\ntwo")
        );
    }
}
