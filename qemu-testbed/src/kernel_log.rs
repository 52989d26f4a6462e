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

/// The console of a node with the C driver, without the report of a defect of its own: it writes metadata within an RCU read-side
/// critical section when fencing has succeeded.
pub fn without_defect_of_c_driver(console: &str) -> String {
    let mut inside = false;
    let mut keep = |line: &&str| {
        inside |= line.contains("WARNING: kernel/rcu/tree_plugin.h") && line.contains("drbd_w_");
        let kept = !inside;
        inside &= !line.contains("end trace");
        kept
    };
    console.lines().filter(|line| keep(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{complaints, without_defect_of_c_driver};

    #[test]
    fn only_the_known_report_of_the_c_driver_is_left_out() {
        let report = "[1] WARNING: kernel/rcu/tree_plugin.h:332 at rcu_note_context_switch+0x3aa/0x5d0, CPU#0: drbd_w_r0/155\n\
                      [1] Call Trace:\n[1] ---[ end trace 0000000000000000 ]---\n";
        assert_eq!(complaints(report).len(), 2);
        let kept = without_defect_of_c_driver(&format!("{report}[2] BUG: another\n"));
        assert_eq!(complaints(&kept), ["[2] BUG: another"]);
    }

    #[test]
    fn complaints_are_found_and_normal_lines_are_not() {
        let log = "[1] drbd: initialized\n[2] WARNING: CPU: 0 PID: 1\n[3] block drbd0: role( Secondary -> Primary )\n\
                   [4] INFO: task drbd_w_r0:99 blocked for more than 30 seconds.\n";
        assert_eq!(complaints(log).len(), 2);
        assert!(complaints("Command line: oops=panic WARNING: none").is_empty());
    }
}
