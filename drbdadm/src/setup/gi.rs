// SPDX-License-Identifier: GPL-2.0
//! `get-gi` and `show-gi` of a running device.

use super::outcome::Failure;
use crate::generations::{in_words, line, with_legend};
use drbd_core::md::flags;
use netlink_api::{status, Message};

/// The generation identifiers of a GET_STATUS reply, with or without legend.
pub fn text(reply: &Message, legend: bool) -> Result<String, Failure> {
    let Some((uuids, md_flags)) = status::generations(reply) else {
        return Err(Failure::with_code(1, "Device has no disk"));
    };
    if !legend {
        return Ok(format!("{}\n", line(uuids, md_flags)));
    }
    let log = if md_flags & flags::AL_CLEAN != 0 {
        "clean"
    } else {
        "need apply-al"
    };
    Ok(format!(
        "{}\n{}\nmeta-data: {log}\n",
        with_legend(uuids, md_flags),
        in_words(md_flags)
    ))
}
