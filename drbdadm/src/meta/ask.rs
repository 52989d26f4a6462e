// SPDX-License-Identifier: GPL-2.0
//! Questions that need a typed `yes` (metadata.md 10.1).

use std::io::{BufRead, IsTerminal, Write};

/// Asks on standard error. `force` answers yes; where nobody can answer, the answer is no.
pub fn confirm(question: &str, force: bool) -> bool {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "\n{question}");
    if force {
        let _ = writeln!(out, "*** confirmation forced via --force option ***");
        return true;
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let _ = writeln!(out, "stdin not a TTY, not waiting for confirmation");
        return false;
    }
    let _ = write!(out, "[need to type 'yes' to confirm] ");
    let _ = out.flush();
    let mut line = String::new();
    let _ = stdin.lock().read_line(&mut line);
    let _ = writeln!(out);
    line.trim_end_matches('\n') == "yes"
}
