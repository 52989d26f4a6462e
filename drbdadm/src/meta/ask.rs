// SPDX-License-Identifier: GPL-2.0
//! Questions that need a typed `yes`.

use std::io::{BufRead, IsTerminal, Write};

/// Asks on standard error; `force` answers yes.
pub fn confirm(question: &str, force: bool) -> bool {
    let mut out = std::io::stderr().lock();
    if force {
        let _ = writeln!(out, "\n{question}\n*** confirmation forced via --force option ***");
        return true;
    }
    let _ = write!(out, "\n{question}\n[need to type 'yes' to confirm] ");
    let _ = out.flush();
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        // A pipe may answer, as in `yes yes | drbdadm create-md`; nothing there means no.
        let mut line = String::new();
        if stdin.lock().read_line(&mut line).unwrap_or(0) == 0 {
            let _ = writeln!(out, "\nstdin not a TTY, not waiting for confirmation");
            return false;
        }
        let _ = writeln!(out);
        return line.trim() == "yes";
    }
    let mut line = String::new();
    let _ = stdin.lock().read_line(&mut line);
    let _ = writeln!(out);
    line.trim() == "yes"
}
