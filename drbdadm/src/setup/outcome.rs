// SPDX-License-Identifier: GPL-2.0
//! Exit codes and texts of failures (netlink-and-tools.md section 6).

use drbd_core::genl::ret;
use drbd_core::state::Refusal;
use netlink_api::{status, Error, Message};

/// A command that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// For standard error.
    pub text: String,
}

/// Exit code for faults of the call, the tool or the kernel interface.
pub const TOOL: u8 = 20;
const ADMIN: u8 = 10;

impl Failure {
    /// A fault found before the driver was asked.
    pub fn tool(text: impl Into<String>) -> Self {
        Self {
            code: TOOL,
            text: text.into(),
        }
    }

    /// With an exit code of its own.
    pub fn with_code(code: u8, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// The socket or the kernel refuses: `OBJECT: reason`.
    pub fn socket(object: &str, error: &Error) -> Self {
        Self::tool(format!("{object}: {}", plain(error)))
    }

    /// Prints it.
    pub fn print(&self) {
        if !self.text.is_empty() {
            eprintln!("{}", self.text);
        }
    }
}

/// Text of an error without the number that the standard library adds.
fn plain(error: &Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// What a reply means for the command on `object`.
pub fn check(object: &str, reply: &Message) -> Result<(), Failure> {
    let code = reply.code;
    if code == ret::NO_ERROR || (1..=4).contains(&code) {
        return Ok(());
    }
    let (exit, mut text) = if code > 100 {
        match ret::text(code) {
            Some(text) => (ADMIN, format!("{object}: Failure: ({code}) {text}")),
            None => (
                TOOL,
                format!("{object}: Failure: ({code}) Error code {code} unknown.\nYou should update the drbd userland tools."),
            ),
        }
    } else {
        let exit = match code {
            -16 => 5,
            -4 => 16,
            -2 => 17,
            _ => 11,
        };
        if code >= 0 {
            (11, format!("{object}: State change failed: ({code})unknown error."))
        } else {
            let refusal = Refusal::from_code(code);
            (exit, format!("{object}: State change failed: ({code}) {}", refusal.text()))
        }
    };
    let info = status::info_texts(reply);
    if !info.is_empty() {
        text.push_str("\nadditional info from kernel:\n");
        text.push_str(&info.join("\n"));
    }
    Err(Failure::with_code(exit, text))
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
        let table = [(101, 0), (1, 0), (2, 0), (-2, 17), (-12, 11), (-16, 5), (-4, 16), (0, 11), (162, 10), (99, 11), (200, 20)];
        for (value, exit) in table {
            assert_eq!(code(value), exit, "{value}");
        }
    }

    #[test]
    fn texts_name_the_object_and_the_number() {
        let failure = check("0", &reply(-2)).expect_err("refused");
        assert_eq!(failure.text, "0: State change failed: (-2) Need access to UpToDate data");
        let failure = check("r0", &reply(159)).expect_err("refused");
        assert_eq!(failure.text, "r0: Failure: (159) Resource still in use (delete all minors first)");
    }
}
