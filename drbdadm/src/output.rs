// SPDX-License-Identifier: GPL-2.0
//! Printing that cannot panic: `print!` and its sisters of the standard library do when nobody reads any more.
//!
//! The macros here take the place of the standard ones in the whole program. A reader that is gone (`drbdadm dump | head -1`)
//! ends the program with the exit code that a shell shows for SIGPIPE, as it ends the tools of the C driver; any other fault of
//! standard output is told and ends it with 20. What cannot be written to standard error is lost.

use std::fmt::Arguments;
use std::io::{stderr, stdout, Error, ErrorKind, Write};

/// Exit code of a program whose reader went away, as a shell shows it.
const READER_GONE: i32 = 141;
/// Exit code when the output cannot be written.
const CANNOT_WRITE: i32 = 20;

macro_rules! print {
    ($($text:tt)*) => { $crate::output::to_stdout(format_args!($($text)*)) };
}

macro_rules! println {
    () => { $crate::output::to_stdout(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::line_to_stdout(format_args!($($text)*)) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::output::to_stderr(format_args!($($text)*)) };
}

macro_rules! eprintln {
    () => { $crate::output::to_stderr(format_args!("\n")) };
    ($($text:tt)*) => { $crate::output::line_to_stderr(format_args!($($text)*)) };
}

/// `print!`
pub fn to_stdout(text: Arguments<'_>) {
    let done = stdout().lock().write_fmt(text);
    done.unwrap_or_else(|error| end(&error));
}

/// `println!`
pub fn line_to_stdout(text: Arguments<'_>) {
    let mut out = stdout().lock();
    let done = out.write_fmt(text).and_then(|()| out.write_all(b"\n"));
    done.unwrap_or_else(|error| end(&error));
}

/// `eprint!`
pub fn to_stderr(text: Arguments<'_>) {
    // There is no better place to complain.
    let _ = stderr().lock().write_fmt(text);
}

/// `eprintln!`
pub fn line_to_stderr(text: Arguments<'_>) {
    let mut out = stderr().lock();
    let _ = out.write_fmt(text).and_then(|()| out.write_all(b"\n"));
}

/// Ends the program because standard output is no use any more.
fn end(error: &Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(READER_GONE);
    }
    eprintln!("writing to standard output: {error}");
    std::process::exit(CANNOT_WRITE);
}

/// Runs the program; a fault of the program itself is told in one line, without a trace of its stack, and gives `broken`.
pub fn guarded(program: &str, broken: u8, run: impl FnOnce() -> u8 + std::panic::UnwindSafe) -> u8 {
    let name = program.to_string();
    std::panic::set_hook(Box::new(move |fault| {
        let place = fault
            .location()
            .map_or_else(|| "?".into(), |l| format!("{}:{}", l.file(), l.line()));
        let text = fault.payload();
        let text = text
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| text.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        eprintln!("{name}: internal error at {place}: {text}");
        eprintln!("This is a fault of the tool, not of its input. Please report it with the command line.");
    }));
    std::panic::catch_unwind(run).unwrap_or(broken)
}
