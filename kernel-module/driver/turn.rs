// SPDX-License-Identifier: GPL-2.0
//! One administrative command at a time for a resource (behaviour.md ST-4), and no command that waits for ever.
//!
//! # Every wait of the driver
//!
//! A command waits in the context of the tool: each of its waits ends by a signal and by a limit. A thread or work item waits with a
//! limit, or for something that is certain. Mutexes are held only over memory accesses, never over a wait for disk, peer or helper; the
//! exceptions are named.
//!
//! | who waits | for what | ends after |
//! |---|---|---|
//! | any command | its turn ([`Turn`]) | signal, 120 s |
//! | any command | a transient state, the peer's answer (`control.rs`) | signal, 90 s, loss of the connection |
//! | `primary` | a ping, a dying peer (`role.rs`) | signal, 10 s, ping-timeout |
//! | `secondary` | the peer's answers (`role.rs`) | signal, 60 s, loss of the connection |
//! | `primary`, worker | a helper program (`kapi/umh.rs`) | its end; SIGKILL of the command. A worker waits as long as the helper runs |
//! | `attach` | the previous disk (`attach.rs`); metadata | 10 s; 60 s for each block, `detach --force` |
//! | `detach` | the drained disk | signal, 300 s; by force 2 s |
//! | `disconnect` | StandAlone (`network.rs`) | signal, 120 s; by force 10 s |
//! | `down` | each of its steps (`admin.rs`) | signal, 30 s; then the disk is given up |
//! | del-minor, del-resource | the worker, the ends of the threads | signal, 10 s; then they end on their own |
//! | worker | metadata, the last local request (`metadata.rs`, `attach.rs`) | 60 s each, `detach --force` |
//! | worker | a disk's close (`kapi/bdev.rs`) | 5 s |
//! | receiver | the socket; connect, handshake | peer's death (ping, timeouts), signal |
//! | receiver | the peer's answer to a change (`handshake.rs`) | signal, 10 s, loss of the connection |
//! | receiver | the end of a change of role (`greeting.rs`) | signal, 100 s |
//! | receiver | a refused peer reads to the end (`receiver.rs`) | signal, 4 ping-timeouts |
//! | receiver, cleaning up | the worker, requests of the peer at the disks (`receiver.rs`) | 60 s each, `disconnect --force`, `detach --force` |
//! | sender, ack receiver | the socket | send timeout times ko-count, ping-timeout, signal |
//! | log writer, erase and ack work | the disk | the disk; nobody waits for them |
//! | application | room, an open gate, an overlap (`device.rs`) | naps of 1 s until admitted; that is what suspended I/O means |
//! | rmmod | nothing: any resource, or a request that a disk has not given back, keeps the module in use | at once |
//!
//! `Device::meta` is held over one metadata access, `Connection::meta_send` over one send; both end as the access or the send does.
//! `Registry::configuring` is held while a disk node is added or removed.
//!
//! /proc/drbd_waits ([`super::waits`]) tells what is waited for at the moment.

use super::attach::Refused;
use super::prelude::*;
use crate::kapi::thread::{current_name, current_pid};
use drbd_core::genl::ret;

/// How long a command waits for the one before it.
const LIMIT: Jiffies = 120 * HZ;

/// Who has the turn.
#[derive(Clone, Copy)]
pub(crate) struct Holder {
    /// Number of the command.
    pub(crate) command: u8,
    /// The program: process and name.
    pub(crate) pid: i32,
    pub(crate) program: [u8; 16],
    /// Since when.
    pub(crate) since: Jiffies,
}

/// See the module text.
#[pin_data]
pub(crate) struct Turn {
    #[pin]
    holder: SpinLockIrq<Option<Holder>>,
    #[pin]
    free: WaitQueue,
}

/// The turn; ends when dropped.
pub(crate) struct Guard<'a>(&'a Turn);

impl Turn {
    /// Nobody's turn.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            holder <- new_spinlock_irq!(None, "drbd_turn"),
            free <- new_wait_queue!("drbd_turn_free"),
        })
    }

    /// Waits for the turn. Process context of a command; code 129 after a signal or the limit.
    pub(crate) fn take(&self, command: u8) -> Result<Guard<'_>, Refused> {
        let mut program = [0; 16];
        current_name(&mut program);
        let mine = Holder { command, pid: current_pid(), program, since: jiffies() };
        let taken = self.free.wait_interruptible_timeout(LIMIT, || {
            let mut holder = self.holder.lock();
            let free = holder.is_none();
            if free {
                *holder = Some(Holder { since: jiffies(), ..mine });
            }
            free
        });
        match taken {
            Wait::Ready => Ok(Guard(self)),
            _ => Err(Refused { code: ret::INTR, info: "another command for this resource has not ended yet" }),
        }
    }

    /// Who has it.
    pub(crate) fn holder(&self) -> Option<Holder> {
        *self.holder.lock()
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        *self.0.holder.lock() = None;
        self.0.free.wake_all();
    }
}
