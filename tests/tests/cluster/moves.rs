// SPDX-License-Identifier: GPL-2.0
//! Planned and unplanned moves of the database (issue 4, line 7).

use crate::stack::{wait, Stack, StackOptions};
use crate::{bed, check};
use anyhow::{ensure, Result};

const DEBIAN_AGENT: &str = "ocf:linbit:drbd";

#[test]
fn standby_online_and_failing_monitors_with_the_agent_of_drbd_utils() {
    check(moves());
}

/// Each node in standby in turn, then a killed database and a resource that somebody took
/// down behind the agent's back; every confirmed row survives.
fn moves() -> Result<()> {
    let options = StackOptions { name: "cluster-moves", agent: DEBIAN_AGENT, lines: "" };
    let mut stack = Stack::start(&bed(), &options)?;
    let first = stack.database_somewhere()?;
    stack.rests_on(first)?;
    stack.create_table(first)?;
    stack.start_writer(first.other())?;
    for node in [first, first.other()] {
        stack.vm(node).ok(&format!("crm node standby {}", node.name()))?;
        let text = wait(stack.vm(node.other()), 400, "crm_mon -1 -r", "moved away", |t| {
            t.contains(&format!("Started {}", node.other().name())) && t.contains(&format!("Promoted: [ {} ]", node.other().name()))
        })?;
        ensure!(!text.contains("Failed Resource Actions"), "{text}");
        stack.more_rows(first.other(), 3)?;
        stack.vm(node).ok(&format!("crm node online {}", node.name()))?;
        stack.rests_on(node.other())?;
    }
    // back on the first node; its monitor of the database fails and starts it again
    stack.vm(first).ok("kill -9 $(pidof mariadbd)")?;
    wait(stack.vm(first), 300, "crm_mon -1 -rf", "the failure is counted", |t| t.contains("fail-count=1"))?;
    stack.rests_on(first)?;
    stack.more_rows(first.other(), 3)?;
    // the monitor of the other node's half of the mirror fails
    stack.vm(first.other()).ok("drbdadm down r0")?;
    wait(stack.vm(first), 300, "crm_mon -1 -rf", "the failure is counted", |t| {
        t.contains("p_drbd: migration-threshold=1000000 fail-count=1")
    })?;
    stack.rests_on(first)?;
    stack.more_rows(first.other(), 3)?;
    stack.all_rows_there(first.other(), first)?;
    stack.finish()
}

#[test]
fn a_killed_primary_is_replaced_and_comes_back() {
    check(killed());
}

/// The Primary reboots without warning, then the other one loses its power.
fn killed() -> Result<()> {
    let options = StackOptions { name: "cluster-killed", agent: DEBIAN_AGENT, lines: "" };
    let mut stack = Stack::start(&bed(), &options)?;
    let first = stack.database_somewhere()?;
    stack.create_table(first)?;
    let second = first.other();
    stack.start_writer(second)?;
    stack.vm(first).start_command("reboot -f")?;
    let on_second = format!("p_db\t(ocf:heartbeat:mysql):\t Started {}", second.name());
    wait(stack.vm(second), 400, "crm_mon -1 -r", "taken over", |t| t.contains(&on_second))?;
    stack.more_rows(second, 3)?;
    stack.vm(first).wait_ready()?;
    stack.rests_on(second)?;
    stack.all_rows_there(second, second)?;
    stack.start_writer(first)?;
    stack.vm(second).power_cut();
    let on_first = format!("p_db\t(ocf:heartbeat:mysql):\t Started {}", first.name());
    wait(stack.vm(first), 400, "crm_mon -1 -r", "taken over", |t| t.contains(&on_first))?;
    stack.more_rows(first, 3)?;
    stack.vm(second).boot()?;
    stack.rests_on(first)?;
    stack.all_rows_there(first, first)?;
    stack.finish()
}
