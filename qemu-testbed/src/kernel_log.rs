// SPDX-License-Identifier: GPL-2.0
//! What in a kernel log is a failure, whatever the test itself says.

/// Beginnings of complaints. A line with one of them fails the test that caused it.
const COMPLAINTS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "kernel BUG",
    "Oops",
    "Call Trace:",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "suspicious RCU",
    "sleeping function called",
    "INFO: task",
    "blocked for more than",
    "rust_kernel: panicked",
    "rust_panic",
    "Kernel panic",
    "unreferenced object",
    "ODEBUG:",
    "list_add corruption",
    "list_del corruption",
    "general protection fault",
    "unable to handle",
    "refcount_t:",
];

/// Lines of a console that are complaints of the kernel, in order.
pub fn complaints(console: &str) -> Vec<String> {
    console
        .lines()
        .filter(|line| !line.contains("ommand line:"))
        .filter(|line| COMPLAINTS.iter().any(|c| line.contains(c)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::complaints;

    #[test]
    fn complaints_are_found_and_normal_lines_are_not() {
        let log = "[1] drbd: initialized\n[2] WARNING: CPU: 0 PID: 1\n[3] block drbd0: role( Secondary -> Primary )\n\
                   [4] INFO: task drbd_w_r0:99 blocked for more than 30 seconds.\n";
        assert_eq!(complaints(log).len(), 2);
        assert!(complaints("Command line: oops=panic WARNING: none").is_empty());
    }
}
