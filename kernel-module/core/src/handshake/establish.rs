// SPDX-License-Identifier: GPL-2.0
//! The loop that establishes both sockets (wire-protocol.md 1.1, behaviour.md CO-1 to CO-5), as a state machine around [`Race`]. The caller owns
//! the sockets and the clock: it does what a [`Step`] says and reports how that went.

use super::race::{Accepted, Race, Slot};

/// What the caller has to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Try to connect to the peer, for connect-int at most.
    Connect,
    /// Keep the outgoing socket in this slot and send its first packet.
    Announce(Slot),
    /// Wait socket-check-timeout, then look whether both sockets live ([`Event::Checked`]).
    Check,
    /// Wait for an incoming connection, for connect-int -/+ 1/7; then read its first header, for 4 x ping-timeout.
    Listen,
    /// Both sockets stand: stop listening and go on with the features.
    Done,
    /// The administrator disconnected: close everything.
    Stop,
    /// The local side can not work (bind or listen failed): StandAlone.
    GiveUp,
}

/// How the last step went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The outgoing connection stands.
    Connected,
    /// It does not; `local`: because of this machine, not because the peer is absent (CO-4).
    ConnectFailed {
        /// Creating or binding the socket failed.
        local: bool,
    },
    /// The first packet was sent, or could not be: then the check will find the socket dead.
    Announced,
    /// A connection came in and announced itself, or (`None`) sent something else and was closed. `coin` is a random bit.
    Accepted {
        /// What it is.
        slot: Option<Slot>,
        /// Random.
        coin: bool,
    },
    /// Nobody connected in time.
    AcceptTimedOut,
    /// The sockets were looked at; an empty slot counts as dead.
    Checked {
        /// The data socket lives.
        data: bool,
        /// The meta socket lives.
        meta: bool,
    },
    /// The administrator disconnected.
    Cancelled,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Connecting,
    Announcing,
    CheckingAfterConnect,
    Listening,
    CheckingAfterAccept,
    Over,
}

/// The loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectLoop {
    race: Race,
    phase: Phase,
    replaced: Option<Slot>,
}

impl Default for ConnectLoop {
    fn default() -> Self {
        Self::new()
    }
}

impl ConnectLoop {
    /// Begins; the first step is [`Step::Connect`].
    pub const fn new() -> Self {
        Self { race: Race::new(), phase: Phase::Connecting, replaced: None }
    }

    /// This node breaks ties. Meaningful after [`Step::Done`].
    pub const fn is_resolver(&self) -> bool {
        self.race.is_resolver()
    }

    /// The slot whose older socket has to be closed in favour of the one just accepted.
    pub const fn replaced(&self) -> Option<Slot> {
        self.replaced
    }

    /// Before an accepted socket is stored, the sockets in the slots are looked at: tells what was found.
    pub fn looked_at(&mut self, data: bool, meta: bool) {
        if !data {
            self.race.lost(Slot::Data);
        }
        if !meta {
            self.race.lost(Slot::Meta);
        }
    }

    /// What follows from an event. An event that does not belong to the last step repeats that step.
    pub fn next(&mut self, event: Event) -> Step {
        self.replaced = None;
        match (self.phase, event) {
            (_, Event::Cancelled) => self.over(Step::Stop),
            (Phase::Connecting, Event::ConnectFailed { local: true }) => self.over(Step::GiveUp),
            (Phase::Connecting, Event::ConnectFailed { local: false }) => self.listen(),
            (Phase::Connecting, Event::Connected) => match self.race.connected() {
                Some(slot) => {
                    self.phase = Phase::Announcing;
                    Step::Announce(slot)
                }
                None => self.check(Phase::CheckingAfterConnect),
            },
            (Phase::Announcing, Event::Announced) => self.after_connect(),
            (Phase::Listening, Event::AcceptTimedOut) => self.after_listen(),
            (Phase::Listening, Event::Accepted { slot, coin }) => self.accepted(slot, coin),
            (Phase::CheckingAfterConnect | Phase::CheckingAfterAccept, Event::Checked { data, meta }) => self.checked(data, meta),
            _ => self.repeat(),
        }
    }

    fn over(&mut self, step: Step) -> Step {
        self.phase = Phase::Over;
        step
    }

    fn listen(&mut self) -> Step {
        self.phase = Phase::Listening;
        Step::Listen
    }

    fn connect(&mut self) -> Step {
        self.phase = Phase::Connecting;
        Step::Connect
    }

    fn check(&mut self, phase: Phase) -> Step {
        self.phase = phase;
        Step::Check
    }

    fn after_connect(&mut self) -> Step {
        if self.race.is_complete() {
            self.check(Phase::CheckingAfterConnect)
        } else {
            self.listen()
        }
    }

    fn after_listen(&mut self) -> Step {
        if self.race.is_complete() {
            self.check(Phase::CheckingAfterAccept)
        } else {
            self.connect()
        }
    }

    fn accepted(&mut self, slot: Option<Slot>, coin: bool) -> Step {
        let toss = match slot {
            None => true,
            Some(slot) => match self.race.accepted(slot) {
                Accepted::Store => false,
                Accepted::Replace => {
                    self.replaced = Some(slot);
                    true
                }
            },
        };
        if toss && coin {
            self.listen()
        } else {
            self.after_listen()
        }
    }

    fn checked(&mut self, data: bool, meta: bool) -> Step {
        self.looked_at(data, meta);
        if self.race.is_complete() {
            return self.over(Step::Done);
        }
        if self.phase == Phase::CheckingAfterConnect {
            self.listen()
        } else {
            self.connect()
        }
    }

    fn repeat(&self) -> Step {
        match self.phase {
            Phase::Connecting | Phase::Announcing => Step::Connect,
            Phase::CheckingAfterConnect | Phase::CheckingAfterAccept => Step::Check,
            Phase::Listening => Step::Listen,
            Phase::Over => Step::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALIVE: Event = Event::Checked { data: true, meta: true };

    fn accept(slot: Slot) -> Event {
        Event::Accepted { slot: Some(slot), coin: false }
    }

    #[test]
    fn co_2_the_node_that_starts_later_becomes_the_resolver() {
        let (mut early, mut late) = (ConnectLoop::new(), ConnectLoop::new());
        assert_eq!(early.next(Event::ConnectFailed { local: false }), Step::Listen);
        assert_eq!(late.next(Event::Connected), Step::Announce(Slot::Data));
        assert_eq!(late.next(Event::Announced), Step::Listen);
        assert_eq!(early.next(accept(Slot::Data)), Step::Connect);
        assert_eq!(early.next(Event::Connected), Step::Announce(Slot::Meta));
        assert_eq!(early.next(Event::Announced), Step::Check);
        assert_eq!(late.next(accept(Slot::Meta)), Step::Check);
        assert_eq!((early.next(ALIVE), late.next(ALIVE)), (Step::Done, Step::Done));
        assert!(late.is_resolver() && !early.is_resolver());
    }

    #[test]
    fn wire_1_1_crossed_packets_keep_the_accepted_socket_and_toss_a_coin() {
        for (coin, expected) in [(true, Step::Listen), (false, Step::Connect)] {
            let mut node = ConnectLoop::new();
            node.next(Event::Connected);
            node.next(Event::Announced);
            assert_eq!(node.next(Event::Accepted { slot: Some(Slot::Data), coin }), expected);
            assert_eq!(node.replaced(), Some(Slot::Data));
            node.next(Event::AcceptTimedOut);
            assert_eq!(node.replaced(), None);
        }
    }

    #[test]
    fn a_socket_found_dead_empties_its_slot_and_the_loop_goes_on() {
        let mut node = ConnectLoop::new();
        node.next(Event::ConnectFailed { local: false });
        node.next(accept(Slot::Data));
        node.next(Event::Connected);
        assert_eq!(node.next(Event::Announced), Step::Check);
        assert_eq!(node.next(Event::Checked { data: false, meta: true }), Step::Listen);
        assert_eq!(node.next(accept(Slot::Data)), Step::Check);
        assert_eq!(node.next(ALIVE), Step::Done);
    }

    #[test]
    fn co_1_one_node_may_open_both_sockets() {
        let mut node = ConnectLoop::new();
        node.next(Event::Connected);
        node.next(Event::Announced);
        assert_eq!(node.next(Event::AcceptTimedOut), Step::Connect);
        assert_eq!(node.next(Event::Connected), Step::Announce(Slot::Meta));
        assert_eq!(node.next(Event::Announced), Step::Check);
        assert_eq!(node.next(ALIVE), Step::Done);
        assert!(!node.is_resolver());
    }

    #[test]
    fn garbage_is_closed_and_local_errors_end_the_attempt() {
        let mut node = ConnectLoop::new();
        node.next(Event::ConnectFailed { local: false });
        assert_eq!(node.next(Event::Accepted { slot: None, coin: true }), Step::Listen);
        assert_eq!(node.next(Event::Accepted { slot: None, coin: false }), Step::Connect);
        let mut other = node;
        assert_eq!(node.next(Event::ConnectFailed { local: true }), Step::GiveUp);
        assert_eq!(other.next(Event::Cancelled), Step::Stop);
    }

    /// Two nodes that always try at the same moment: every first packet crosses. Random waits break the symmetry.
    #[test]
    fn two_loops_meet_whatever_the_coins_say() {
        for seed in 0u64..2000 {
            assert!(meets(seed), "seed {seed}");
        }
    }

    struct Node {
        machine: ConnectLoop,
        step: Step,
        /// Numbers of the sockets in the slots: data, meta.
        sockets: [Option<u32>; 2],
        waiting: u32,
    }

    fn index(slot: Slot) -> usize {
        usize::from(slot == Slot::Meta)
    }

    /// Plays both loops in rounds of the check interval. A connect succeeds while the other node listens or has yet to accept.
    fn meets(seed: u64) -> bool {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut coin = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 1 != 0
        };
        let node = || Node { machine: ConnectLoop::new(), step: Step::Connect, sockets: [None; 2], waiting: 0 };
        let mut nodes = [node(), node()];
        let mut backlog: [Vec<(Slot, u32)>; 2] = [Vec::new(), Vec::new()];
        let mut number = 0;
        for _ in 0..400 {
            for me in 0..2 {
                number += 1;
                step(&mut nodes, &mut backlog, me, number, &mut coin);
            }
            if nodes.iter().all(|node| node.step == Step::Done) {
                return nodes[0].machine.is_resolver() != nodes[1].machine.is_resolver() && nodes[0].sockets == nodes[1].sockets;
            }
        }
        false
    }

    fn step(nodes: &mut [Node; 2], backlog: &mut [Vec<(Slot, u32)>; 2], me: usize, number: u32, coin: &mut dyn FnMut() -> bool) {
        let other = 1 - me;
        let alive = |number: Option<u32>, nodes: &[Node; 2], backlog: &[Vec<(Slot, u32)>; 2]| {
            number.is_some_and(|n| nodes[other].sockets.contains(&Some(n)) || backlog[other].iter().any(|entry| entry.1 == n))
        };
        let event = match nodes[me].step {
            Step::Connect if nodes[other].step == Step::Done => Event::ConnectFailed { local: false },
            Step::Connect => Event::Connected,
            Step::Announce(slot) => {
                nodes[me].sockets[index(slot)] = Some(number);
                backlog[other].push((slot, number));
                Event::Announced
            }
            Step::Listen if backlog[me].is_empty() => {
                nodes[me].waiting += 1;
                if nodes[me].waiting < 2 || coin() {
                    return;
                }
                Event::AcceptTimedOut
            }
            Step::Listen => {
                let (slot, number) = backlog[me].remove(0);
                let living = nodes[me].sockets.map(|socket| alive(socket, nodes, backlog));
                nodes[me].machine.looked_at(living[0], living[1]);
                nodes[me].sockets[index(slot)] = Some(number);
                Event::Accepted { slot: Some(slot), coin: coin() }
            }
            Step::Check => {
                let living = nodes[me].sockets.map(|socket| alive(socket, nodes, backlog));
                for (socket, lives) in nodes[me].sockets.iter_mut().zip(living) {
                    if !lives {
                        *socket = None;
                    }
                }
                Event::Checked { data: living[0], meta: living[1] }
            }
            Step::Done | Step::Stop | Step::GiveUp => return,
        };
        nodes[me].waiting = 0;
        nodes[me].step = nodes[me].machine.next(event);
    }
}
