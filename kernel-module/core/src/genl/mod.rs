// SPDX-License-Identifier: GPL-2.0
//! The generic netlink interface of DRBD 8.4 (netlink-and-tools.md): numbers, attribute tables, codecs.
//!
//! * [`numbers`] — commands, containers, return codes.
//! * [`attributes`] — every attribute of every container in one table: type, limits, defaults, option names.
//! * [`reader`], [`writer`] — attributes in lent buffers.
//! * [`config`] — disk, network and resource options as values.
//! * [`status`] — what the kernel reports.

pub mod attributes;
pub mod config;
pub mod cpu_mask;
pub mod numbers;
pub mod reader;
pub mod status;
pub mod writer;

pub use config::{DiskConf, FixedString, NetConf, ResourceOptions};
pub use numbers::{command, command_name, container, ret};
pub use reader::{Attribute, Attributes};
pub use writer::Writer;

/// Bytes of the user header: minor and flags, or minor and return code.
pub const USER_HEADER_BYTES: usize = 8;
/// "No minor" in the user header.
pub const NO_MINOR: u32 = u32::MAX;
/// User header flag: options not given return to their defaults.
pub const FLAG_SET_DEFAULTS: u32 = 1;
/// Nested bit of an attribute type.
pub const NESTED: u16 = 0x8000;
/// Historic "mandatory" mark on inner attributes; ignored.
pub const MANDATORY: u16 = 0x4000;
/// The type itself.
pub const TYPE_MASK: u16 = 0x3fff;
/// Name of the family.
pub const FAMILY: &str = "drbd";
/// Name of the multicast group.
pub const GROUP: &str = "events";
