// SPDX-License-Identifier: GPL-2.0
//! Write epochs of both directions of a connection (wire-protocol.md 9.4, behaviour.md 6.4).

mod receiver;
mod sender;

pub use receiver::{AfterWrite, BarrierAck, Ordering, ReceiverEpochs, Received, OPEN_EPOCHS};
pub use sender::{Mismatch, SenderEpochs};
