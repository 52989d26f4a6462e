// SPDX-License-Identifier: GPL-2.0
//! The driver: threads, locks and I/O around `drbd_core`. Safe code only; what is unsafe is in `kapi`.
//! docs/architecture.md shows how the files fit together.

mod prelude;

pub(crate) mod acks;
pub(crate) mod ack_receiver;
pub(crate) mod admin;
pub(crate) mod attach;
pub(crate) mod bitmap_io;
pub(crate) mod checksum;
mod conflicts;
pub(crate) mod cleanup;
pub(crate) mod congestion;
pub(crate) mod connection;
pub(crate) mod control;
pub(crate) mod dependencies;
pub(crate) mod device;
pub(crate) mod digest;
pub(crate) mod erase;
pub(crate) mod establish;
pub(crate) mod fencing;
pub(crate) mod flush;
pub(crate) mod greeting;
pub(crate) mod handshake;
pub(crate) mod helper;
pub(crate) mod limits;
pub(crate) mod log_writer;
pub(crate) mod metadata;
pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod packets;
pub(crate) mod payload;
pub(crate) mod peer_io;
pub(crate) mod proc;
pub(crate) mod queue;
pub(crate) mod receiver;
pub(crate) mod registry;
pub(crate) mod removal;
pub(crate) mod report;
mod resize;
pub(crate) mod resource;
pub(crate) mod resync;
pub(crate) mod role;
mod room;
pub(crate) mod sender;
pub(crate) mod status;
pub(crate) mod storage;
pub(crate) mod suspension;
pub(crate) mod throttle;
pub(crate) mod timer;
pub(crate) mod turn;
pub(crate) mod verify;
pub(crate) mod volume;
pub(crate) mod waits;
pub(crate) mod worker;
