// SPDX-License-Identifier: GPL-2.0
//! Exit codes and texts of failures (netlink-and-tools.md section 6).

use super::commands::COMMANDS;
use super::terminal::Terminal;
use super::usage;
use drbd_core::genl::ret;
use drbd_core::state::Refusal;
use netlink_api::{status, Error, Message};

/// The help text that goes with a failure, on standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Help {
    /// None.
    None,
    /// An empty line.
    EmptyLine,
    /// That of the command with this name.
    Command(&'static str),
    /// The list of all commands, and a complaint at its end.
    General(Option<String>),
}

/// A command that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// For standard output.
    pub help: Help,
    /// For standard error; may be empty.
    pub text: String,
    /// The code the driver answered with, if it did.
    pub driver: Option<i32>,
}

/// Exit code for faults of the call, the tool or the kernel interface.
pub const TOOL: u8 = 20;
const ADMIN: u8 = 10;

impl Failure {
    /// A fault found before the driver was asked.
    pub fn tool(text: impl Into<String>) -> Self {
        Self::with_code(TOOL, text)
    }

    /// With an exit code of its own.
    pub fn with_code(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            help: Help::None,
            text: text.into(),
            driver: None,
        }
    }

    /// A fault of the command line, with help.
    pub fn usage(help: Help, text: impl Into<String>) -> Self {
        Self {
            code: TOOL,
            help,
            text: text.into(),
            driver: None,
        }
    }

    /// The socket or the kernel refuses: `OBJECT: reason`, and what the kernel adds.
    pub fn socket(object: &str, error: &Error) -> Self {
        match error {
            Error::NoFamily | Error::ApiMismatch { .. } => Self::tool(error.to_string()),
            Error::Refused(_, Some(remark)) => Self::tool(format!(
                "{object}: {error}\nadditional info from kernel:\n{remark}"
            )),
            _ => Self::tool(format!("{object}: {error}")),
        }
    }

    /// A dump ended with an errno.
    pub fn dump(error: &Error) -> Self {
        match error {
            Error::Refused(..) => Self::tool(format!("received netlink error reply: {error}")),
            _ => Self::tool(error.to_string()),
        }
    }

    /// Prints it.
    pub fn print(&self, terminal: &mut Terminal<'_>) {
        let program = terminal.program.as_str();
        let help = match &self.help {
            Help::None => String::new(),
            Help::EmptyLine => "\n".into(),
            Help::General(complaint) => usage::general(program, complaint.as_deref()),
            Help::Command(name) => COMMANDS
                .iter()
                .find(|command| command.name == *name)
                .map_or(String::new(), |command| {
                    usage::of_command_text(program, command)
                }),
        };
        terminal.print(&help);
        if !self.text.is_empty() {
            terminal.note(&self.text);
        }
    }
}

/// What a reply means for the command on `object`.
pub fn check(object: &str, reply: &Message) -> Result<(), Failure> {
    let code = reply.code;
    if code == ret::NO_ERROR || (1..=4).contains(&code) {
        return Ok(());
    }
    let (exit, mut text) = match (ret::text(code), Some(Refusal::from_code(code)).filter(|refusal| refusal.code() == code)) {
        (Some(text), _) => (ADMIN, format!("{object}: Failure: ({code}) {text}")),
        (None, Some(refusal)) => {
            let exit = match refusal {
                Refusal::LowerThanOutdated => 5,
                Refusal::NoLocalDisk => 16,
                Refusal::NoUpToDateDisk => 17,
                _ => 11,
            };
            (exit, format!("{object}: State change failed: ({code}) {}", refusal.text()))
        }
        (None, None) if code == 0 => (11, format!("{object}: State change failed: (0)unknown error.")),
        (None, None) => (
            TOOL,
            format!("{object}: Failure: ({code}) Error code {code} unknown.\nThese tools are older than the driver: update them."),
        ),
    };
    let info = status::info_texts(reply);
    if !info.is_empty() {
        text.push_str("\nadditional info from kernel:\n");
        text.push_str(&info.join("\n"));
    }
    Err(Failure {
        driver: Some(code),
        ..Failure::with_code(exit, text)
    })
}

/// A command that does not concern any object that exists.
pub fn no_such(name: &str) -> Failure {
    Failure::with_code(ADMIN, format!("{name}: No such resource"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: i32) -> Message {
        Message {
            command: 14,
            minor: 0,
            code,
            attributes: Vec::new(),
        }
    }

    #[test]
    fn exit_codes_follow_the_reference() {
        let code = |value| check("0", &reply(value)).map_or_else(|f| f.code, |()| 0);
        let table = [
            (101, 0),
            (1, 0),
            (2, 0),
            (-2, 17),
            (-12, 11),
            (-16, 5),
            (-4, 16),
            (0, 11),
            (162, 10),
            (99, 20),
            (200, 20),
            (-3, 20),
            (-22, 20),
        ];
        for (value, exit) in table {
            assert_eq!(code(value), exit, "{value}");
        }
    }

    #[test]
    fn texts_name_the_object_and_the_number() {
        let failure = check("0", &reply(-2)).expect_err("refused");
        assert_eq!(
            failure.text,
            "0: State change failed: (-2) Need access to UpToDate data"
        );
        let failure = check("r0", &reply(159)).expect_err("refused");
        assert_eq!(
            failure.text,
            "r0: Failure: (159) Resource still in use (delete all minors first)"
        );
    }
}
