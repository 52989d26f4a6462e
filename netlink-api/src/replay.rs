// SPDX-License-Identifier: GPL-2.0
//! Recorded conversations in place of the kernel, for tests and for looking at captures.
//!
//! The text form is that of `tests/fixtures/netlink`: `== title`, `$ command line`, its output (`2> ` before lines of
//! standard error), `[exit N]`, then one line for each message: `> HEX` sent, `< HEX` received. Other lines are remarks.

use crate::datagram::GENL_ID_CTRL;
use std::collections::VecDeque;

/// Bytes of nlmsghdr.
const HEADER_BYTES: usize = 16;

/// One message of a conversation, with all headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// From the tool to the kernel.
    Sent(Vec<u8>),
    /// One datagram from the kernel.
    Received(Vec<u8>),
}

impl Step {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Step::Sent(bytes) | Step::Received(bytes) => bytes,
        }
    }

    fn is_family_lookup(&self) -> bool {
        word16(self.bytes(), 4) == GENL_ID_CTRL
    }
}

/// What the tool asked and what the kernel answered, in order.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    steps: VecDeque<Step>,
    differences: Vec<String>,
}

impl Replay {
    /// A conversation; the lookup of the family is left out.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps
                .into_iter()
                .filter(|step| !step.is_family_lookup())
                .collect(),
            differences: Vec::new(),
        }
    }

    /// Takes what the tool sends in place of the kernel and returns the recorded sequence number. Sequence number and
    /// port are not compared: they vary.
    pub fn send(&mut self, bytes: &[u8]) -> u32 {
        match self.steps.pop_front() {
            Some(Step::Sent(recorded)) => {
                if stable(&recorded) != stable(bytes) {
                    self.differences.push(format!(
                        "recorded {}\n    sent {}",
                        to_hex(&recorded),
                        to_hex(bytes)
                    ));
                }
                word32(&recorded, 8)
            }
            Some(step) => {
                self.differences.push(format!(
                    "sent before the recorded answer was read: {}",
                    to_hex(bytes)
                ));
                self.steps.push_front(step);
                word32(bytes, 8)
            }
            None => {
                self.differences
                    .push(format!("sent after the end: {}", to_hex(bytes)));
                word32(bytes, 8)
            }
        }
    }

    /// The next datagram of the kernel; `None`: there is none before the next request.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        match self.steps.pop_front() {
            Some(Step::Received(bytes)) => Some(bytes),
            Some(step) => {
                self.steps.push_front(step);
                None
            }
            None => None,
        }
    }

    /// What was sent and does not match the recording.
    pub fn differences(&self) -> &[String] {
        &self.differences
    }

    /// What was recorded and did not happen.
    pub fn remaining(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }
}

/// One recorded run of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// What it shows.
    pub title: String,
    /// The command line, the tool first.
    pub command: String,
    /// Lines of standard output.
    pub output: Vec<String>,
    /// Lines of standard error.
    pub errors: Vec<String>,
    /// Exit code.
    pub exit: Option<u8>,
    /// The conversation.
    pub steps: Vec<Step>,
}

/// Reads a file of recorded runs.
pub fn parse_runs(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut messages = false;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("== ") {
            runs.push(Run {
                title: title.into(),
                ..Run::default()
            });
            messages = false;
            continue;
        }
        let Some(run) = runs.last_mut() else { continue };
        if let Some(bytes) = line.strip_prefix("> ").and_then(from_hex) {
            run.steps.push(Step::Sent(bytes));
            messages = true;
        } else if let Some(bytes) = line.strip_prefix("< ").and_then(from_hex) {
            run.steps.push(Step::Received(bytes));
            messages = true;
        } else if let Some(command) = line.strip_prefix("$ ") {
            run.command = command.into();
        } else if let Some(error) = line.strip_prefix("2> ") {
            run.errors.push(error.into());
        } else if let Some(code) = line
            .strip_prefix("[exit ")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            run.exit = code.parse().ok();
        } else if !messages && run.exit.is_none() {
            run.output.push(line.into());
        }
    }
    runs
}

/// The bytes of a message without sequence number and port.
fn stable(bytes: &[u8]) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    if let Some(varying) = copy.get_mut(8..HEADER_BYTES) {
        varying.fill(0);
    }
    copy
}

fn word16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

/// Bytes as hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes; `None`: something else.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end();
    if text.is_empty() || text.len() % 2 != 0 || !text.is_ascii() {
        return None;
    }
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_read_with_output_errors_exit_code_and_messages() {
        let runs = parse_runs("== one\n$ tool x\nout\n2> err\n2> \n[exit 3]\n> 0102\n    remark\n< 03\n== two\n$ tool y\n");
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0].output, ["out"]);
        assert_eq!(runs[0].errors, ["err", ""]);
        assert_eq!(runs[0].exit, Some(3));
        assert_eq!(
            runs[0].steps,
            [Step::Sent(vec![1, 2]), Step::Received(vec![3])]
        );
        assert_eq!(runs[1].command, "tool y");
    }

    #[test]
    fn a_request_that_differs_is_reported_and_one_with_another_sequence_number_is_not() {
        let mut recorded = vec![0u8; 28];
        recorded[8] = 7;
        let mut replay = Replay::new([Step::Sent(recorded.clone()), Step::Sent(recorded.clone())]);
        let mut mine = recorded;
        mine[8] = 9;
        assert_eq!(replay.send(&mine), 7);
        assert!(replay.differences().is_empty());
        mine[20] = 1;
        replay.send(&mine);
        assert_eq!(replay.differences().len(), 1);
        assert_eq!(replay.receive(), None);
    }
}
