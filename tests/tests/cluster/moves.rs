// SPDX-License-Identifier: GPL-2.0
//! Planned and unplanned moves of the database (issue 4, line 7). After each: every confirmed
//! row there, one Primary, both disks in sync.

use crate::stack::{wait, Node, Scripts, Stack};
use crate::{bed, check};
use anyhow::{ensure, Result};
use std::time::Duration;

#[test]
fn the_agent_of_drbd_utils_drives_our_tools_and_our_module() {
    check(|| everything("cluster-debian", Scripts::Debian));
}

#[test]
fn our_agent_and_our_handlers_do_the_same() {
    check(|| everything("cluster-ours", Scripts::Ours));
}

/// All moves on one pair of machines; the writer is always on the node that stays.
fn everything(name: &str, scripts: Scripts) -> Result<()> {
    let mut stack = Stack::start(&bed(), name, scripts)?;
    let first = stack.database_somewhere()?;
    stack.rests_on(first)?;
    stack.create_table(first)?;
    stack.start_writer(first.other())?;
    println!("{name}: the replication network is cut");
    cut(&mut stack, first)?;
    println!("{name}: standby and online");
    standby_and_online(&mut stack, first)?;
    println!("{name}: failing monitors");
    failing_monitors(&mut stack, first)?;
    println!("{name}: the Primary reboots");
    killed(&mut stack, first)?;
    stack.finish()
}

/// Text of crm_mon where the database runs on `node`.
fn runs_on(node: Node) -> String {
    format!("p_db\t(ocf:heartbeat:mysql):\t Started {}", node.name())
}

/// Each node in standby in turn; the database ends where it was.
fn standby_and_online(stack: &mut Stack, first: Node) -> Result<()> {
    for node in [first, first.other()] {
        let goes_to = node.other();
        stack.vm(node).ok(&format!("crm node standby {}", node.name()))?;
        let promoted = format!("Promoted: [ {} ]", goes_to.name());
        let text = wait(stack.vm(goes_to), 400, "crm_mon -1 -r", "moved away", |t| {
            t.contains(&runs_on(goes_to)) && t.contains(&promoted)
        })?;
        ensure!(!text.contains("Failed Resource Actions"), "{text}");
        stack.more_rows(first.other(), 3)?;
        stack.vm(node).ok(&format!("crm node online {}", node.name()))?;
        stack.rests_on(goes_to)?;
    }
    rows(stack, first.other(), first)
}

/// The database is killed, then the mirror is taken down on the Secondary behind the agent's
/// back: both monitors fail, and what they watch is started again.
fn failing_monitors(stack: &mut Stack, first: Node) -> Result<()> {
    let failures = |what: &'static str| move |t: &str| t.contains(&format!("{what}: migration-threshold=1000000 fail-count=1"));
    stack.vm(first).ok("kill -9 $(pidof mariadbd)")?;
    wait(stack.vm(first), 300, "crm_mon -1 -rf", "the failure is counted", failures("p_db"))?;
    stack.rests_on(first)?;
    stack.more_rows(first.other(), 3)?;
    stack.vm(first.other()).ok("drbdadm down r0")?;
    wait(stack.vm(first), 300, "crm_mon -1 -rf", "the failure is counted", failures("p_drbd"))?;
    stack.rests_on(first)?;
    stack.more_rows(first.other(), 3)?;
    stack.fenced(first, false)?;
    rows(stack, first.other(), first)?;
    stack.vm(first).ok("crm resource cleanup")?;
    Ok(())
}

/// Nothing replicates any more: the handler forbids the peer the promoted role, so that it
/// stays Secondary even when the node with the good data dies. With that node and the cable
/// back, the peer is brought up to date and may be promoted again.
fn cut(stack: &mut Stack, first: Node) -> Result<()> {
    let second = first.other();
    stack.vm(first).set_link_number(1, false)?;
    stack.fenced(first, true)?;
    wait(stack.vm(first), 60, "cat /proc/drbd", "the peer's disk is outdated", |t| {
        t.contains("ro:Primary/Unknown ds:UpToDate/Outdated")
    })?;
    stack.more_rows(second, 3)?;
    stack.vm(first).power_cut();
    let offline = format!("OFFLINE: [ {} ]", first.name());
    wait(stack.vm(second), 300, "crm_mon -1 -r", "the other node is gone", |t| t.contains(&offline))?;
    let rest = stack.vm(second).run_within("crm_resource --wait --timeout 500s", Duration::from_secs(600))?;
    ensure!(rest.code == 0, "the cluster does not come to rest: {}", rest.text);
    let text = stack.vm(second).ok("crm_mon -1 -r")?;
    ensure!(text.contains("p_db\t(ocf:heartbeat:mysql):\t Stopped"), "old data are in use: {text}");
    let role = stack.vm(second).ok("drbdadm role r0")?;
    ensure!(role.trim() == "Secondary/Unknown", "with old data it is {role}");
    stack.vm(first).boot()?;
    stack.rests_on(first)?;
    stack.fenced(first, false)?;
    stack.more_rows(second, 3)?;
    rows(stack, second, first)
}

/// The Primary reboots without warning, then the other one, which took over, loses its power.
fn killed(stack: &mut Stack, first: Node) -> Result<()> {
    let second = first.other();
    stack.vm(first).start_command("reboot -f")?;
    wait(stack.vm(second), 400, "crm_mon -1 -r", "taken over", |t| t.contains(&runs_on(second)))?;
    stack.more_rows(second, 3)?;
    stack.vm(first).wait_ready()?;
    stack.rests_on(second)?;
    stack.fenced(second, false)?;
    stack.all_rows_there(second, second)?;
    stack.start_writer(first)?;
    stack.vm(second).power_cut();
    wait(stack.vm(first), 400, "crm_mon -1 -r", "taken over", |t| t.contains(&runs_on(first)))?;
    stack.more_rows(first, 3)?;
    stack.vm(second).boot()?;
    stack.rests_on(first)?;
    stack.fenced(first, false)?;
    stack.all_rows_there(first, first)?;
    Ok(())
}

/// Checks the rows and lets the writer go on.
fn rows(stack: &mut Stack, writer: Node, database: Node) -> Result<()> {
    stack.all_rows_there(writer, database)?;
    stack.start_writer(writer)
}
