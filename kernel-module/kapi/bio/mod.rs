// SPDX-License-Identifier: GPL-2.0
//! Block I/O: bios of applications ([`ParentBio`]) and our own requests ([`Io`]).
//!
//! A request is one allocation from a mempool: the caller's data, our bookkeeping and the bio
//! lie side by side. Nothing here fails or waits for I/O once an [`IoSet`] exists.

mod io;
mod parent;
mod queue;
mod segments;
mod status;

pub(crate) use io::{plugged, Io, IoClient, IoData, IoKind, IoSet};
pub(crate) use parent::ParentBio;
pub(crate) use queue::IoQueue;
pub(crate) use segments::Segments;
pub(crate) use status::{BlkStatus, Op, OpFlags};
