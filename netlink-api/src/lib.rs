// SPDX-License-Identifier: GPL-2.0
//! The generic netlink family `drbd` from user space: messages, a client, and what replies mean.
//!
//! Numbers and attribute tables are those of [`drbd_core::genl`]; this crate adds the message
//! envelope, the socket and typed views of the dumps. Source: netlink-and-tools.md.

pub mod address;
pub mod build;
pub mod client;
pub mod datagram;
pub mod family;
pub mod message;
pub mod options;
pub mod replay;
pub mod snapshot;
pub mod status;

pub use build::{Context, Request};
pub use client::{Client, Error};
pub use message::Message;
pub use options::Options;
