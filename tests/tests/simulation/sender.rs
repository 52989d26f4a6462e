// SPDX-License-Identifier: GPL-2.0
//! The sender: everything that leaves on the data connection, oldest first.

use crate::heap::Sent;
use crate::network::Stream;
use crate::node::{Env, Item, Node, PeerKind, Receiver, SECTORS, VERSION};
use drbd_core::engine::request::Flags;
use drbd_core::engine::table::{Entry, Operation};
use drbd_core::state::{Conn, Request};
use drbd_core::wire::bitmap_transfer::Transfer;
use drbd_core::wire::packet::{data_flags, encode_barrier, BlockRange, BlockRequest, Data, Discard, SYNCER_ID};
use drbd_core::wire::Command;

impl Node {
    /// The sender has something to do.
    pub fn may_send(&self, env: &Env) -> bool {
        let next = self.queue.front();
        let request = self.plane.peek_send().filter(|(_, order)| next.is_none_or(|(other, _)| order < other));
        let bitmap_waits = matches!(next, Some((_, Item::Bitmap))) && self.plane.has_unacknowledged();
        self.receiver == Receiver::Serving
            && (request.is_some() || (next.is_some() && !(bitmap_waits && env.options.duties.drain_before_bitmap)))
    }

    /// A closed epoch waits for its barrier, and nothing else is to be sent.
    pub fn idle_barrier_due(&self, env: &Env) -> bool {
        self.receiver == Receiver::Serving && !self.may_send(env) && self.epochs_out.idle_barrier_due(self.closed_epoch)
    }

    pub fn send_barrier(&mut self, env: &mut Env) {
        if let Some(number) = self.epochs_out.close() {
            self.transmit(env, Stream::Data, Self::packet(Command::Barrier, &encode_barrier(number.to_le_bytes()), 0, Vec::new()));
        }
    }

    /// Sends the oldest of all.
    pub fn send_next(&mut self, env: &mut Env) {
        let item_order = self.queue.front().map(|(order, _)| *order);
        match self.plane.peek_send() {
            Some((slot, order)) if item_order.is_none_or(|other| order < other) => self.send_request(env, slot),
            _ => {
                let (_, item) = self.queue.pop_front().unwrap();
                self.send_item(env, item);
            }
        }
    }

    fn send_request(&mut self, env: &mut Env, slot: u32) {
        let waiting = self.plane.entry(slot);
        let write = waiting.operation.is_application_write();
        if write && self.epochs_out.must_close(waiting.epoch, env.options.max_epoch_size) {
            self.send_barrier(env);
        }
        let epoch = if write { self.epochs_out.join() } else { 0 };
        let (slot, entry) = self.plane.begin_send(epoch).unwrap();
        match entry.operation {
            Operation::OutOfSyncNotice => {
                self.retry |= self.plane.take_retry();
                let range = BlockRange { sector: entry.sector, size_bytes: entry.size_bytes };
                self.transmit(env, Stream::Data, Self::packet(Command::OutOfSync, &range.encode(), 0, Vec::new()));
            }
            Operation::RemoteRead => {
                self.transmit(env, Stream::Data, Self::packet(Command::DataRequest, &Self::remote_read_request(&entry), 0, Vec::new()));
            }
            Operation::Write | Operation::WriteZeroes => {
                self.send_write(env, slot, &entry);
                let actions = self.plane.sent(slot, true);
                self.finish(env, slot, &actions);
            }
            other => panic!("{other:?} is not sent"),
        }
    }

    fn send_write(&mut self, env: &mut Env, slot: u32, entry: &Entry) {
        let when = |flag: Flags, bit: u32| if entry.flags.has(flag) { bit } else { 0 };
        let flags = when(Flags::MAY_SET_IN_SYNC, data_flags::MAY_SET_IN_SYNC)
            | when(Flags::FUA, data_flags::FUA)
            | when(Flags::PREFLUSH, data_flags::FLUSH)
            | when(Flags::WANT_RECEIVE_ACK, data_flags::SEND_RECEIVE_ACK)
            | when(Flags::WANT_WRITE_ACK, data_flags::SEND_WRITE_ACK);
        self.sequence += 1;
        let data = Data { sector: entry.sector, id: entry.id.to_be_bytes(), sequence: self.sequence, flags };
        // The tags stand for the data; those of a zero-out ride along for the model alone.
        let content = crate::requests::content(&self.apps[&slot]).values;
        let message = if entry.operation == Operation::Write {
            Self::packet(Command::Data, &data.encode(), entry.size_bytes as usize, content)
        } else {
            let data = Data { flags: flags | data_flags::ZEROES, ..data };
            Self::packet(Command::Zeroes, &Discard { data, size_bytes: entry.size_bytes }.encode(), 0, content)
        };
        self.transmit(env, Stream::Data, message);
    }

    fn send_item(&mut self, env: &mut Env, item: Item) {
        match item {
            Item::Packet(message) => self.transmit(env, Stream::Data, message),
            Item::ResyncRequest { sector, size_bytes } => {
                let request = BlockRequest { sector, id: SYNCER_ID, size_bytes };
                self.transmit(env, Stream::Data, Self::packet(Command::RsDataRequest, &request.encode(), 0, Vec::new()));
            }
            Item::VerifyRequest { sector, size_bytes } => {
                let request = BlockRequest { sector, id: SYNCER_ID, size_bytes };
                self.transmit(env, Stream::Data, Self::packet(Command::OvRequest, &request.encode(), 0, Vec::new()));
            }
            Item::Reply(io) if io.kind == PeerKind::VerifyCompare => {
                let differs = io.flags != 0;
                self.send_verdict(io, differs);
            }
            Item::Reply(io) if io.kind == PeerKind::VerifyRead => {
                let head = BlockRequest { sector: io.sector, id: io.id, size_bytes: io.size_bytes };
                self.transmit(env, Stream::Data, Self::packet(Command::OvReply, &head.encode(), 20, io.data));
                self.peer_in_work -= 1;
            }
            Item::Reply(io) => {
                let head = Data { sector: io.sector, id: io.id, sequence: 0, flags: 0 };
                let command = if io.kind == PeerKind::Read { Command::DataReply } else { Command::RsDataReply };
                let message = Self::packet(command, &head.encode(), io.size_bytes as usize, io.data);
                self.transmit(env, Stream::Data, message);
                self.peer_in_work -= 1;
            }
            Item::Bitmap => self.send_bitmap(env),
        }
    }

    fn send_bitmap(&mut self, env: &mut Env) {
        self.plane.mark_frozen();
        let mut transfer = Transfer::new(SECTORS.div_ceil(8), drbd_core::wire::header::header_bytes(VERSION));
        let mut bytes = [0; 4096];
        while let Some(piece) = transfer.next_piece(&Sent(&self.plane.bitmap), env.options.compress, &mut bytes) {
            self.transmit(env, Stream::Data, Self::packet(piece.command, &bytes[..piece.length], 0, Vec::new()));
        }
        if self.state.conn == Conn::WFBitMapT {
            self.hard(&env.options, Request::none().conn(Conn::WFSyncUUID));
        }
    }
}
