// SPDX-License-Identifier: GPL-2.0
//! Two ordered streams in each direction, which can be cut at any byte, and fall silent.

use crate::node::VERSION;
use crate::random::Random;
use drbd_core::wire::{Command, Header};
use std::collections::VecDeque;

/// A packet: header and fixed payload as on the wire, and the data it carries (sectors that are not zero).
#[derive(Clone)]
pub struct Message {
    pub bytes: Vec<u8>,
    pub data: Vec<(u64, u64)>,
    /// Bytes of data on the wire behind `bytes`.
    pub behind: usize,
    /// The connection ended within it: `bytes` are those that had arrived.
    pub in_part: bool,
}

impl Message {
    /// A report of the state.
    pub fn is_state(&self) -> bool {
        Header::decode(VERSION, &self.bytes).is_ok_and(|header| header.known_command() == Ok(Command::State))
    }

    /// What has arrived of it when the connection ends within it; `None`: not a byte.
    fn piece(&self, random: &mut Random) -> Option<Message> {
        // Half of the cuts within the header, if it is a long packet.
        let whole = self.bytes.len() + self.behind;
        let length = if random.once_in(2) { random.index(whole) } else { random.index(whole.min(24)) };
        let mut bytes = self.bytes.clone();
        bytes.truncate(length);
        (length > 0).then_some(Message { bytes, data: Vec::new(), behind: length.saturating_sub(self.bytes.len()), in_part: true })
    }
}

/// Which stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Data = 0,
    Meta = 1,
}

/// Both connections between the nodes.
#[derive(Default)]
pub struct Link {
    /// From node 0 and from node 1, data and meta.
    queues: [[VecDeque<Message>; 2]; 2],
    /// Nothing more arrives; what is queued still does.
    pub cut: bool,
    /// Which nodes have let go of it.
    pub left: [bool; 2],
    /// Nodes that hear nothing at the moment.
    pub silent: [bool; 2],
    /// Where within a packet it is cut; `None`: between packets alone.
    cuts: Option<Random>,
}

impl Link {
    /// A connection; `cuts` decides where within a packet it may end, if it may.
    pub fn new(cuts: Option<Random>) -> Self {
        Self { cuts, ..Self::default() }
    }

    pub fn send(&mut self, from: usize, stream: Stream, message: Message) {
        if !self.cut {
            self.queues[from][stream as usize].push_back(message);
        }
    }

    /// Something has arrived at `node`.
    pub fn has_message(&self, node: usize, stream: Stream) -> bool {
        !self.silent[node] && !self.queues[1 - node][stream as usize].is_empty()
    }

    /// What arrives next at `node` is a report of the state.
    pub fn state_is_next(&self, node: usize) -> bool {
        let next = self.queues[1 - node][Stream::Data as usize].front();
        next.is_some_and(Message::is_state)
    }

    pub fn receive(&mut self, node: usize, stream: Stream) -> Option<Message> {
        self.queues[1 - node][stream as usize].pop_front()
    }

    /// Each stream loses what is behind a point of its own; `silent`: all of it.
    pub fn sever(&mut self, random: &mut Random, silent: bool) {
        self.cut = true;
        let deaf = std::mem::take(&mut self.silent);
        for (from, queue) in self.queues.iter_mut().enumerate().flat_map(|(from, queues)| queues.iter_mut().map(move |queue| (from, queue))) {
            let none = silent || deaf[1 - from];
            let keep = if none { 0 } else { random.index(queue.len() + 1) };
            let piece = self.cuts.as_mut().filter(|_| !none).and_then(|cuts| queue.get(keep)?.piece(cuts));
            queue.truncate(keep);
            queue.extend(piece);
        }
    }

    /// `node` has crashed: what it sent may still arrive in part, nothing reaches it.
    pub fn leave(&mut self, node: usize, random: &mut Random) {
        if !self.cut {
            self.sever(random, false);
        }
        self.left[node] = true;
        for queue in &mut self.queues[1 - node] {
            queue.clear();
        }
    }
}
