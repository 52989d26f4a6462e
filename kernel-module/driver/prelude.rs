// SPDX-License-Identifier: GPL-2.0
//! What nearly every file of the driver uses.

pub(crate) use crate::kapi::bdev::{BlockDev, Claim, HolderToken};
pub(crate) use crate::kapi::bio::{BlkStatus, Io, IoClient, IoKind, IoQueue, IoSet, Op, OpFlags, ParentBio};
pub(crate) use crate::kapi::disk::{BlockOps, Disk, OpenMode};
pub(crate) use crate::kapi::limits::Limits;
pub(crate) use crate::kapi::meta::{GivenUp, MetaBuffer, MetaError, MetaFlags, MetaRun};
pub(crate) use crate::kapi::net::{More, NetError, PageMode, Socket, SocketAddress};
pub(crate) use crate::kapi::page::{Page, PagePool};
pub(crate) use crate::kapi::sync::{
    new_mutex, new_spinlock_irq, Acquire, Arc, ArcBorrow, Atomic, Full, Mutex, Relaxed, Release, SpinLockIrq,
};
pub(crate) use crate::kapi::thread::{KThread, ThisThread};
pub(crate) use crate::kapi::time::{jiffies, jiffies_from_deciseconds, jiffies_from_ms, random_u64, Jiffies, HZ};
pub(crate) use crate::kapi::wait::{new_wait_queue, Wait, WaitQueue};
pub(crate) use crate::kapi::workqueue::{impl_has_work, new_work, Work, WorkItem, WorkQueue, WorkQueueKind};
pub(crate) use kernel::prelude::*;

/// Text of a value of the core, in the form that the kernel's log macros take.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: core::fmt::Display> kernel::fmt::Display for Text<T> {
    fn fmt(&self, out: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        core::fmt::Display::fmt(&self.0, out)
    }
}
