// SPDX-License-Identifier: GPL-2.0
//! Typed views of what the driver reports.

use crate::build::Context;
use crate::message::Message;
use drbd_core::genl::container;
use drbd_core::resync::per_mille;
use drbd_core::state::{Conn, Disk, Role, State};

/// The context of a reply.
pub fn context(message: &Message) -> Context {
    let c = container::CFG_CONTEXT;
    Context {
        volume: message.u32(c, 1),
        resource: message.text(c, 2),
        own_address: message.bytes(c, 3),
        peer_address: message.bytes(c, 4),
    }
}

/// The state vector of a GET_STATUS reply; `None` without STATE_INFO.
pub fn state(message: &Message) -> Option<State> {
    message
        .u32(container::STATE_INFO, 2)
        .and_then(|word| State::unpack(word).ok())
}

/// Current, bitmap and two history UUIDs, and the superblock flags; `None` without a disk.
pub fn generations(message: &Message) -> Option<([u64; 4], u32)> {
    let raw = message.bytes(container::STATE_INFO, 7)?;
    let mut uuids = [0u64; 4];
    for (uuid, bytes) in uuids.iter_mut().zip(raw.chunks_exact(8)) {
        *uuid = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some((uuids, message.u32(container::STATE_INFO, 8)?))
}

/// How much of a resync or verify is done, in percent with one decimal; `None` while there is none. The steps are as coarse as
/// those of /proc/drbd.
pub fn resync_percent(message: &Message) -> Option<String> {
    let total = message.u64(container::STATE_INFO, 11)?;
    let left = message.u64(container::STATE_INFO, 10)?;
    let per_mille = per_mille(total, left);
    Some(format!("{}.{}", per_mille / 10, per_mille % 10))
}

/// Text the driver adds to its reply.
pub fn info_texts(message: &Message) -> Vec<String> {
    let Some(reply) = message.container(container::CFG_REPLY) else {
        return Vec::new();
    };
    reply
        .inner()
        .flatten()
        .filter(|a| a.number == 1)
        .filter_map(|a| a.string().map(|s| String::from_utf8_lossy(s).into_owned()))
        .collect()
}

/// The name of a role number, `Unknown` for what is none.
pub fn role_name(number: u32) -> &'static str {
    Role::from_number(number).map_or("Unknown", Role::name)
}

/// The name of a disk state number.
pub fn disk_name(number: u32) -> &'static str {
    Disk::from_number(number).map_or("DUnknown", Disk::name)
}

/// The name of a connection state as the newer status calls it.
pub fn connection_name(number: u32) -> &'static str {
    Conn::from_number(number).map_or("Unknown", Conn::connection_name)
}

/// The name of a replication state as the newer status calls it.
pub fn replication_name(number: u32) -> &'static str {
    Conn::from_number(number).map_or("Unknown", Conn::replication_name)
}
