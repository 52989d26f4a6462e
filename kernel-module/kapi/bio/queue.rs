// SPDX-License-Identifier: GPL-2.0
//! Requests in a row, linked through themselves: a queue that has room for all and costs no memory.

use super::io::{Header, Io, IoClient};
use core::ptr::NonNull;

/// A first-in first-out queue of handles. A request is in one queue at a time.
pub(crate) struct IoQueue<T: IoClient> {
    ends: Option<(NonNull<Header<T>>, NonNull<Header<T>>)>,
}

// SAFETY: it owns handles, which may be sent.
unsafe impl<T: IoClient> Send for IoQueue<T> {}

impl<T: IoClient> IoQueue<T> {
    /// An empty queue.
    pub(crate) const fn new() -> Self {
        Self { ends: None }
    }

    /// Nothing is in it.
    pub(crate) const fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    /// The data of the oldest.
    pub(crate) fn front(&self) -> Option<&T> {
        // SAFETY: the queue owns a handle of it, so it exists as long as the queue is not changed.
        self.ends.map(|(first, _)| unsafe { &(*first.as_ptr()).data })
    }

    /// Appends; gives the handle back when the request is in a queue already. Any context.
    pub(crate) fn push(&mut self, io: Io<T>) -> Result<(), Io<T>> {
        if !io.claim_link() {
            return Err(io);
        }
        let header = io.into_raw();
        self.ends = match self.ends {
            None => Some((header, header)),
            Some((first, last)) => {
                // SAFETY: `last` is in this queue, so it exists, and its link belongs to whoever has the queue.
                unsafe { *last.as_ref().next.get() = Some(header) };
                Some((first, header))
            }
        };
        Ok(())
    }

    /// Takes the oldest. Any context.
    pub(crate) fn pop(&mut self) -> Option<Io<T>> {
        let (first, last) = self.ends?;
        // SAFETY: as in `push`.
        let next = unsafe { (*first.as_ref().next.get()).take() };
        self.ends = next.map(|next| (next, last));
        // SAFETY: the handle that `push` took apart.
        let io = unsafe { Io::from_raw(first) };
        io.release_link();
        Some(io)
    }
}

impl<T: IoClient> Drop for IoQueue<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
