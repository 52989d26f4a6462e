// SPDX-License-Identifier: GPL-2.0
//! `status --json` (docs/json.md). The members are called as the newer status of DRBD 9 calls them; sizes are KiB.

use crate::json::hex;
use netlink_api::snapshot::{Resource, Volume};
use serde_json::{json, Value};

/// The name of the schema.
pub const SCHEMA: &str = "drbd-status";

/// One resource.
pub fn resource(resource: &Resource) -> Value {
    let [user, no_data, fencing] = resource.suspended;
    json!({
        "name": resource.name,
        "role": resource.role.name(),
        "suspended": resource.is_suspended(),
        "suspended-by": words(&[(user, "user"), (no_data, "no-data"), (fencing, "fencing")]),
        "write-ordering": resource.write_ordering,
        "devices": resource.volumes.iter().map(device).collect::<Vec<_>>(),
        "connections": connection(resource).into_iter().collect::<Vec<_>>(),
    })
}

fn words(reasons: &[(bool, &str)]) -> Value {
    let set = reasons.iter().filter(|(set, _)| *set);
    set.map(|(_, word)| Value::from(*word)).collect()
}

fn device(volume: &Volume) -> Value {
    let counters = &volume.counters;
    let backing = volume.backing.as_ref();
    json!({
        "volume": volume.number,
        "minor": volume.minor,
        "disk-state": volume.state.disk.name(),
        "backing-dev": backing.map(|b| b.path.as_str()),
        "meta-dev": backing.map(|b| b.meta_path.as_str()),
        "size": volume.sectors / 2,
        "read": counters.read / 2,
        "written": counters.written / 2,
        "al-writes": counters.log_writes,
        "bm-writes": counters.bitmap_writes,
        "upper-pending": counters.upper_pending,
        "lower-pending": counters.lower_pending,
        "blocked": volume.blocked,
        "al-suspended": volume.log_suspended,
        "generations": volume.generations.map(|([current, bitmap, young, old], flags)| json!({
            "current": hex(current),
            "bitmap": hex(bitmap),
            "history": [hex(young), hex(old)],
            "flags": flags,
        })),
    })
}

fn connection(resource: &Resource) -> Option<Value> {
    let connection = resource.connection?;
    let peers: Vec<Value> = resource.volumes.iter().map(peer_device).collect();
    Some(json!({
        "name": "peer",
        "connection-state": connection.connection_name(),
        "peer-role": resource.peer_role.name(),
        "congested": resource.congested,
        "protocol": resource.protocol.map(String::from),
        "local-address": resource.own_address,
        "peer-address": resource.peer_address,
        "peer_devices": peers,
    }))
}

fn peer_device(volume: &Volume) -> Value {
    let (state, counters) = (&volume.state, &volume.counters);
    let replication = state.conn.max(drbd_core::state::Conn::WFReportParams);
    json!({
        "volume": volume.number,
        "replication-state": replication.replication_name(),
        "peer-disk-state": state.pdsk.name(),
        "resync-suspended-by": words(&[
            (state.user_isp, "user"),
            (state.peer_isp, "peer"),
            (state.aftr_isp, "dependency"),
        ]),
        "received": counters.received / 2,
        "sent": counters.sent / 2,
        "out-of-sync": volume.bits_out_of_sync * 4,
        "pending": counters.peer_pending,
        "unacked": counters.unacknowledged,
        "percent-in-sync": rounded(volume.in_sync_percent()),
        "resync-done-percent": volume.run_percent().map(rounded),
    })
}

fn rounded(percent: f64) -> f64 {
    (percent * 100.0).floor() / 100.0
}
