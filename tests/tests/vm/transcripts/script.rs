// SPDX-License-Identifier: GPL-2.0
//! The recorded transcripts (tests/fixtures/transcripts) as a list of what to do and what must come of it.
//!
//! Lines that begin with `@` are stage directions, which the recording does not have: what happened unseen between two commands, and
//! which outcome differs on purpose. tests/fixtures/transcripts/README.md explains them.

use anyhow::{bail, Context, Result};

/// A command of the recording, and what came of it.
#[derive(Debug, Default, Clone)]
pub struct Step {
    /// Line of the transcript.
    pub line: usize,
    /// 0 is n1, 1 is n2.
    pub node: usize,
    pub command: String,
    pub output: Vec<String>,
    pub errors: Vec<String>,
    /// Lines of the kernel log.
    pub log: Vec<String>,
    pub exit: i32,
    /// What is not compared: where it differs on purpose, with words of docs/differences.md; where it varies, with none.
    pub differs: Option<(Part, String)>,
    /// Beginning of the recorded lines that are not there on purpose, with words of docs/differences.md.
    pub lacks: Option<(String, String)>,
}

/// What of a step is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Output,
    Errors,
    Exit,
    All,
}

/// What happens next.
#[derive(Debug, Clone)]
pub enum Act {
    Step(Step),
    /// A command that is not in the recording and must succeed.
    Unseen(usize, String),
    /// Waits until `/proc/drbd` contains the text.
    Until(usize, String),
    /// Stops (or continues) the processors of a node.
    Freeze(usize, bool),
    /// Plugs the network cable of both nodes in or out.
    Cable(bool),
    /// What a log file has got since the last look: helper calls or uevents.
    Log(usize, &'static str, Vec<String>, usize),
}

fn node(word: &str) -> Result<usize> {
    match word {
        "n1" => Ok(0),
        "n2" => Ok(1),
        other => bail!("no node {other}"),
    }
}

/// What is said about the next command.
#[derive(Default)]
struct Remarks {
    differs: Option<(Part, String)>,
    lacks: Option<(String, String)>,
}

fn direction(line: &str, remarks: &mut Remarks) -> Result<Option<Act>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
    Ok(Some(match word {
        "n1" | "n2" => Act::Unseen(node(word)?, rest.into()),
        "until" => Act::Until(node(first)?, text.into()),
        "freeze" => Act::Freeze(node(first)?, true),
        "thaw" => Act::Freeze(node(first)?, false),
        "unplug" => Act::Cable(false),
        "plug" => Act::Cable(true),
        "differs" | "varies" => {
            let part = match first {
                "output" => Part::Output,
                "errors" => Part::Errors,
                "exit" => Part::Exit,
                "all" => Part::All,
                other => bail!("no part {other}"),
            };
            remarks.differs = Some((part, if word == "differs" { text.into() } else { String::new() }));
            return Ok(None);
        }
        "lacks" => {
            remarks.lacks = Some((first.into(), text.into()));
            return Ok(None);
        }
        other => bail!("no direction {other}"),
    }))
}

/// Reads a transcript.
pub fn read(text: &str) -> Result<Vec<Act>> {
    let mut acts: Vec<Act> = Vec::new();
    let mut remarks = Remarks::default();
    let mut ended = true;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("@end ") {
            break;
        }
        if let Some(words) = line.strip_prefix('@') {
            let act = direction(words, &mut remarks).with_context(|| format!("line {}", number + 1))?;
            acts.extend(act);
            ended = true;
            continue;
        }
        let command = [("n1$ ", 0), ("n2$ ", 1), ("$ ", 0)].iter().find_map(|(p, n)| Some((line.strip_prefix(p)?, *n)));
        if let Some((command, node)) = command {
            let Remarks { differs, lacks } = std::mem::take(&mut remarks);
            let step = Step { line: number + 1, node, command: command.into(), differs, lacks, ..Step::default() };
            acts.push(Act::Step(step));
            ended = false;
            continue;
        }
        let log = ["helper", "uevents"].iter().find(|kind| line.starts_with(&format!("{kind}(n")) && line.ends_with("):"));
        if let Some(kind) = log {
            let at = usize::from(line.contains("(n2)"));
            acts.push(Act::Log(at, kind, Vec::new(), number + 1));
            ended = false;
            continue;
        }
        if let (Some(Act::Step(step)), Some(logged)) = (acts.last_mut(), line.strip_prefix("K: ")) {
            step.log.push(logged.into());
            continue;
        }
        match acts.last_mut() {
            Some(Act::Step(step)) if !ended => {
                if let Some(code) = line.strip_prefix("[exit ") {
                    step.exit = code.trim_end_matches(']').parse().context("exit code")?;
                    ended = true;
                } else if let Some(error) = line.strip_prefix("2> ").or_else(|| line.strip_prefix("2>").filter(|l| l.is_empty())) {
                    step.errors.push(error.into());
                } else {
                    step.output.push(line.into());
                }
            }
            Some(Act::Log(_, kind, lines, _)) if !ended => {
                if line.is_empty() && *kind == "helper" || line.starts_with('#') {
                    ended = true;
                } else if !line.starts_with("K: ") {
                    lines.push(line.into());
                }
            }
            _ => {}
        }
    }
    Ok(acts)
}
