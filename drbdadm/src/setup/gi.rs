// SPDX-License-Identifier: GPL-2.0
//! `get-gi` and `show-gi` of a running device.

use super::outcome::Failure;
use crate::generations::{in_words, line, with_legend};
use drbd_core::md::flags;
use netlink_api::{status, Message};

/// Prints the generation identifiers of a GET_STATUS reply.
pub fn print(reply: &Message, legend: bool) -> Result<u8, Failure> {
    let Some((uuids, md_flags)) = status::generations(reply) else {
        return Err(Failure::with_code(1, "No uuids found in reply!\nMaybe you need to upgrade your userland tools?"));
    };
    if !legend {
        println!("{}", line(uuids, md_flags));
        return Ok(0);
    }
    println!("{}\n{}", with_legend(uuids, md_flags), in_words(md_flags));
    println!("meta-data: {}", if md_flags & flags::AL_CLEAN != 0 { "clean" } else { "need apply-al" });
    Ok(0)
}
