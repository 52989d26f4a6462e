// SPDX-License-Identifier: GPL-2.0
//! Two ordered streams in each direction, which can be cut at any packet.

use crate::random::Random;
use std::collections::VecDeque;

/// A packet: header and fixed payload as on the wire, and the data it carries (sectors that are not zero).
#[derive(Clone)]
pub struct Message {
    pub bytes: Vec<u8>,
    pub data: Vec<(u64, u64)>,
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
}

impl Link {
    pub fn send(&mut self, from: usize, stream: Stream, message: Message) {
        if !self.cut {
            self.queues[from][stream as usize].push_back(message);
        }
    }

    /// Something has arrived at `node`.
    pub fn has_message(&self, node: usize, stream: Stream) -> bool {
        !self.queues[1 - node][stream as usize].is_empty()
    }

    pub fn receive(&mut self, node: usize, stream: Stream) -> Option<Message> {
        self.queues[1 - node][stream as usize].pop_front()
    }

    /// Each stream loses what is behind a point of its own; `silent`: all of it.
    pub fn sever(&mut self, random: &mut Random, silent: bool) {
        self.cut = true;
        for queue in self.queues.iter_mut().flatten() {
            let keep = if silent { 0 } else { random.index(queue.len() + 1) };
            queue.truncate(keep);
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
