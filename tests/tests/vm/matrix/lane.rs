// SPDX-License-Identifier: GPL-2.0
//! One case on its own disks, minor and port, beside other cases on the same two machines. drbdsetup of Debian finds out which driver is there
//! and then starts drbdsetup-84: here that is called at once.

use super::area::Area;
use crate::notation::{hex_number, Symbols};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;

/// Module parameter usermode_helper of every node: notes which helper was called for whom.
pub const HELPER: &str = "#!/bin/sh\necho \"$1\" >> /tmp/helpers-$2\nexit 0\n";

/// A case and where it is played.
pub struct Lane<'a> {
    pub case: &'a Value,
    pub symbols: &'a Value,
    /// Minor, number of the disk, and difference of the port.
    pub number: usize,
    /// Agreed size of the fixture, in sectors.
    pub device_sectors: u64,
}

impl Lane<'_> {
    pub fn id(&self) -> &str {
        self.case["id"].as_str().unwrap_or("?")
    }

    fn disk(&self) -> String {
        format!("/dev/vd{}", char::from(b'a' + self.number as u8))
    }

    fn endpoints(&self, node: usize) -> (String, String) {
        let address = |node: usize| format!("ipv4:10.0.0.{}:{}", node + 1, 7700 + self.number);
        (address(node), address(1 - node))
    }

    /// The node that connects first.
    pub fn first(&self) -> usize {
        usize::from(self.case["connect_order"] == "ba")
    }

    fn options(&self, node: usize, key: &str) -> String {
        let list = self.case[super::NODES[node]][key].as_array();
        list.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Writes the metadata a node starts with; `changed` replaces fields.
    pub fn write_area(&self, node: usize, changed: Option<&Value>, image: &Path) -> Result<()> {
        let own = &self.case[super::NODES[node]];
        let field = |name: &str| changed.map(|changed| &changed[name]).filter(|value| !value.is_null()).unwrap_or(&own[name]);
        if own["uuid"].is_null() {
            return Ok(());
        }
        Area {
            la_size: self.device_sectors,
            uuids: Symbols(self.symbols).set(field("uuid")),
            flags: field("md_flags").as_str().map_or(0, hex_number) as u32,
            bits: field("bits").as_u64().unwrap_or(0),
        }
        .write(image)
    }

    /// Resource, minor, disk, role: everything before connecting. The metadata was just written, its log is empty.
    pub fn set_up(&self, node: usize) -> String {
        let (number, own) = (self.number, &self.case[super::NODES[node]]);
        let resource_options = self.options(node, "res_opts");
        let mut script = format!("drbdsetup-84 new-resource r{number} {resource_options}; drbdsetup-84 new-minor r{number} {number} 0\n");
        if own["attach"] == true {
            script += &self.attach_clean(node);
        }
        if own["role"] == "Primary" {
            script += &format!("drbdsetup-84 primary {number}\n");
        }
        if own["hold_open"] == true {
            script += &format!("sleep 1000 < /dev/drbd{number} > /dev/null 2>&1 & echo $! > /tmp/holder-{number}\n");
        }
        script
    }

    /// As drbdadm does it: the log of the last run is applied first.
    pub fn attach(&self, node: usize) -> String {
        format!("drbdmeta {} v08 {} internal apply-al; {}", self.number, self.disk(), self.attach_clean(node))
    }

    fn attach_clean(&self, node: usize) -> String {
        let rate = self.case[super::NODES[node]]["resync_rate"].as_u64().unwrap_or(1);
        let (number, disk, options) = (self.number, self.disk(), self.options(node, "disk_opts"));
        format!("drbdsetup-84 attach {number} {disk} {disk} internal --c-plan-ahead 0 --resync-rate {rate} {options}\n")
    }

    pub fn connect(&self, node: usize) -> String {
        let (local, remote) = self.endpoints(node);
        let common: Vec<&str> = self.case["net_opts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (number, own) = (self.number, self.options(node, "net_opts"));
        // On a loaded machine an answer takes seconds, and a connection that is made anew is not what was recorded. Where the peer's loss
        // is part of the case, it has to be noticed in the time that was recorded.
        let patience = if common.contains(&"--ping-int") { 20 } else { 150 };
        let options = format!("--ping-timeout {patience} --socket-check-timeout 10 --connect-int 3");
        format!("drbdsetup-84 connect r{number} {local} {remote} {options} {} {own}\n", common.join(" "))
    }

    /// A step's command with the names of this lane.
    pub fn command(&self, node: usize, text: &str) -> String {
        let (local, remote) = self.endpoints(node);
        let (number, disk) = (self.number.to_string(), self.disk());
        let word = |word: &str| match word {
            "$S" => "drbdsetup-84".to_string(),
            "$LOCAL" => local.clone(),
            "$REMOTE" | "$REMOTE;" => word.replace("$REMOTE", &remote),
            "$BD" => disk.clone(),
            "0" | "0;" => word.replace('0', &number),
            "r0" | "r0;" => word.replace("r0", &format!("r{number}")),
            "of=/dev/drbd0" => format!("of=/dev/drbd{number}"),
            _ => word.to_string(),
        };
        if self.number == 0 {
            // Nothing to rename; the words of longer commands may mean something else.
            let text = text.replace("$S", "drbdsetup-84").replace("$LOCAL", &local).replace("$REMOTE", &remote);
            return text.replace("$BD", &disk) + "\n";
        }
        text.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n"
    }

    /// The steps; without any in the fixture, just `connect`.
    pub fn steps(&self) -> Vec<Value> {
        match self.case["steps"].as_array() {
            Some(steps) => steps.clone(),
            None => vec![serde_json::json!(["connect"])],
        }
    }

    /// Forgets what was logged for this minor.
    pub fn clear_log(&self) -> String {
        let number = self.number;
        format!("rm -f /tmp/helpers-minor-{number}; echo matrix-clear drbd{number}: > /dev/kmsg\n")
    }

    /// Ends the case.
    pub fn tear_down(&self, node: usize) -> String {
        let number = self.number;
        let (local, remote) = self.endpoints(node);
        let held = if self.case[super::NODES[node]]["hold_open"] == true { format!("kill $(cat /tmp/holder-{number})\n") } else { String::new() };
        format!(
            "{held}drbdsetup-84 disconnect --force {local} {remote} 2>/dev/null\n\
             drbdsetup-84 down r{number} 2>/dev/null || {{ drbdsetup-84 secondary {number}; drbdsetup-84 detach --force {number}; drbdsetup-84 down r{number}; }}\n"
        )
    }
}

/// Before a batch: nothing of the one before is left in the kernel's log or among the notes of the helpers.
pub const CLEAR: &str = "dmesg -c > /dev/null; rm -f /tmp/helpers-minor-* /tmp/holder-*\n";

/// Prints what the reports of a batch of `lanes` are made of. A program takes its milliseconds to start, so one serves all where it can.
pub fn query(lanes: usize) -> String {
    let mut script = "echo '== proc'; cat /proc/drbd; echo '== log'; dmesg | grep -E 'uuid_compare|matrix-clear'\n".to_string();
    for number in 0..lanes {
        script += &format!(
            "echo '== gi {number}'; drbdsetup-84 get-gi {number} 2>/dev/null; echo '== helpers {number}'\n\
             [ -f /tmp/helpers-minor-{number} ] && while read -r name; do echo $name; done < /tmp/helpers-minor-{number}\n"
        );
    }
    script
}
