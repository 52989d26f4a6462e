// SPDX-License-Identifier: GPL-2.0
//! Establishing the two sockets when both nodes connect at once (wire-protocol.md 1.1, behaviour.md CO-1 to CO-3).

/// Role of a socket, as its first packet announces it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// P_INITIAL_DATA.
    Data,
    /// P_INITIAL_META.
    Meta,
}

/// What to do with a socket that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// Keep it in its slot.
    Store,
    /// The packets crossed: close the socket in the slot, keep this one, then toss the coin.
    Replace,
}

/// Which slots are filled, and who breaks ties.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Race {
    data: bool,
    meta: bool,
    resolver: bool,
}

impl Race {
    /// Both slots empty.
    pub const fn new() -> Self {
        Self { data: false, meta: false, resolver: false }
    }

    /// An outgoing connection succeeded: what it is, and which first packet to send. `None`: both slots are filled, close it.
    pub fn connected(&mut self) -> Option<Slot> {
        if !self.data {
            self.data = true;
            Some(Slot::Data)
        } else if !self.meta {
            self.meta = true;
            self.resolver = false;
            Some(Slot::Meta)
        } else {
            None
        }
    }

    /// An accepted connection announced itself.
    pub fn accepted(&mut self, slot: Slot) -> Accepted {
        if slot == Slot::Meta {
            self.resolver = true;
        }
        let filled = match slot {
            Slot::Data => &mut self.data,
            Slot::Meta => &mut self.meta,
        };
        if core::mem::replace(filled, true) {
            Accepted::Replace
        } else {
            Accepted::Store
        }
    }

    /// The socket of a slot was found dead.
    pub fn lost(&mut self, slot: Slot) {
        match slot {
            Slot::Data => self.data = false,
            Slot::Meta => self.meta = false,
        }
    }

    /// Both stand.
    pub const fn is_complete(&self) -> bool {
        self.data && self.meta
    }

    /// This node breaks ties: it accepted the meta connection (CO-2).
    pub const fn is_resolver(&self) -> bool {
        self.resolver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_that_accepts_the_meta_connection_is_the_resolver() {
        let (mut a, mut b) = (Race::new(), Race::new());
        assert_eq!(a.connected(), Some(Slot::Data));
        assert_eq!(b.accepted(Slot::Data), Accepted::Store);
        assert_eq!(b.connected(), Some(Slot::Meta));
        assert_eq!(a.accepted(Slot::Meta), Accepted::Store);
        assert!(a.is_complete() && b.is_complete());
        assert!(a.is_resolver() && !b.is_resolver());
    }

    #[test]
    fn crossed_packets_replace_the_older_socket() {
        let mut a = Race::new();
        a.connected();
        assert_eq!(a.accepted(Slot::Data), Accepted::Replace);
        a.lost(Slot::Data);
        assert_eq!(a.connected(), Some(Slot::Data));
    }
}
