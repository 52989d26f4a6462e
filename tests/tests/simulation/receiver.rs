// SPDX-License-Identifier: GPL-2.0
//! What arrives on both connections, and the end of a connection.

use crate::heap::Merged;
use crate::network::{Message, Stream};
use crate::node::{Env, Item, Node, PeerIo, PeerKind, Receiver, SECTORS, VERSION};
use drbd_core::engine::table::Operation;
use drbd_core::engine::volume::{Acknowledgement, UnknownRequest};
use drbd_core::state::{Conn, Disk as DiskState, Kind, Refusal, Request};
use drbd_core::wire::bitmap_transfer::Transfer;
use drbd_core::wire::command::{MAX_DATA_BYTES, MAX_DISCARD_BYTES};
use drbd_core::wire::packet::*;
use drbd_core::wire::{check_range, Command, Header, Socket};

impl Node {
    fn take_apart(message: &Message, socket: Socket) -> (Command, Header, &[u8]) {
        let header = Header::decode(VERSION, &message.bytes).expect("a good header");
        let command = header.known_command().expect("a known command");
        assert_eq!(command.socket(), Some(socket), "{}", command.name());
        (command, header, &message.bytes[16..])
    }

    /// The connection ended within a packet: whatever it was, it is dropped.
    pub fn receive_piece(&mut self, env: &mut Env, piece: &Message) {
        match Header::decode(VERSION, &piece.bytes) {
            Ok(header) => {
                assert!(header.known_command().is_ok() && 16 + header.length as usize > piece.bytes.len() + piece.behind);
                crate::marks::fault("cable cut within a packet");
            }
            Err(_) => {
                assert!(piece.bytes.len() < 16, "a whole header");
                crate::marks::fault("cable cut within the header of a packet");
            }
        }
        self.lose(env, Conn::BrokenPipe);
    }

    /// One packet of the data connection.
    pub fn receive_data(&mut self, env: &mut Env, message: Message) {
        let (command, header, body) = Self::take_apart(&message, Socket::Data);
        match command {
            Command::Data => {
                let data = Data::decode(command, body).unwrap();
                self.receive_write(&data, header.length - Data::BYTES as u32, MAX_DATA_BYTES, message.data);
            }
            Command::Zeroes => {
                let discard = Discard::decode(command, body).unwrap();
                self.receive_write(&discard.data, discard.size_bytes, MAX_DISCARD_BYTES, message.data);
            }
            Command::RsDataRequest => {
                let request = BlockRequest::decode(command, body).unwrap();
                check_range(request.sector, request.size_bytes.into(), MAX_DATA_BYTES.into(), SECTORS).unwrap();
                self.peer_in_work += 1;
                self.begin_peer(PeerIo {
                    kind: PeerKind::ResyncRead,
                    slot: u32::MAX,
                    sector: request.sector,
                    size_bytes: request.size_bytes,
                    id: request.id,
                    flags: 0,
                    epoch: 0,
                    data: Vec::new(),
                });
            }
            Command::DataRequest => self.receive_read_request(&BlockRequest::decode(command, body).unwrap()),
            Command::OvRequest => self.receive_verify_request(&BlockRequest::decode(command, body).unwrap()),
            Command::OvReply => self.receive_verify_reply(&BlockRequest::decode(command, body).unwrap(), message.data),
            Command::DataReply => {
                let data = Data::decode(command, body).unwrap();
                self.receive_read_reply(env, &data, header.length - Data::BYTES as u32, &message.data);
            }
            Command::RsDataReply => {
                let data = Data::decode(command, body).unwrap();
                self.receive_resync(data.sector, header.length - Data::BYTES as u32, message.data);
            }
            Command::Barrier => {
                assert!(!self.epochs_in.is_full());
                let after = self.epochs_in.barrier(decode_barrier(body).unwrap());
                self.follow_epoch(after);
            }
            Command::OutOfSync => {
                let range = BlockRange::decode(command, body).unwrap();
                self.plane.mark_out_of_sync(range.sector, range.size_bytes);
            }
            Command::Bitmap | Command::CompressedBitmap => self.receive_bitmap(env, command, body),
            _ => self.receive_report(env, command, body),
        }
    }

    fn receive_write(&mut self, data: &Data, size_bytes: u32, most: u32, content: Vec<(u64, u64)>) {
        check_range(data.sector, size_bytes.into(), most.into(), SECTORS).unwrap();
        let epoch = self.epochs_in.write_received().epoch;
        self.plane.peer_write_arrived(data.sector, size_bytes);
        self.run_write(PeerIo {
            kind: PeerKind::Write,
            slot: u32::MAX,
            sector: data.sector,
            size_bytes,
            id: data.id,
            flags: data.flags,
            epoch,
            data: content,
        });
    }

    fn receive_resync(&mut self, sector: u64, size_bytes: u32, content: Vec<(u64, u64)>) {
        let slot = self.plane.find_resync_request(sector, size_bytes).expect("a reply to a request");
        self.peer_in_work += 1;
        self.begin_peer(PeerIo {
            kind: PeerKind::ResyncWrite,
            slot,
            sector,
            size_bytes,
            id: SYNCER_ID,
            flags: 0,
            epoch: 0,
            data: content,
        });
    }

    fn receive_bitmap(&mut self, env: &mut Env, command: Command, body: &[u8]) {
        if !matches!(self.state.conn, Conn::WFBitMapS | Conn::WFBitMapT) {
            self.lose(env, Conn::ProtocolError);
            return;
        }
        let mut transfer = self.receiving.take().unwrap_or_else(|| Transfer::new(SECTORS.div_ceil(8), 16));
        let mut sink = Merged(&mut self.plane.bitmap);
        match command {
            Command::Bitmap => transfer.receive_plain(body, &mut sink).unwrap(),
            _ => transfer.receive_compressed(body, &mut sink).unwrap(),
        }
        if !transfer.is_complete() {
            self.receiving = Some(transfer);
        } else if self.state.conn == Conn::WFBitMapT {
            self.enqueue(Item::Bitmap);
        } else {
            self.hard(&env.options, Request::none().conn(Conn::SyncSource).pdsk(DiskState::Inconsistent));
        }
    }

    /// One packet of the meta connection.
    pub fn receive_meta(&mut self, env: &mut Env, message: Message) {
        let (command, _, body) = Self::take_apart(&message, Socket::Meta);
        match command {
            Command::Ping => {
                // The answer may be all that the target waits for to end the resync.
                self.left_behind = false;
                let source = matches!(self.state.conn, Conn::SyncSource | Conn::PausedSyncS);
                self.may_be_finished |= source && self.plane.bitmap.weight() == 0 && env.options.duties.suspect_finished_resync;
                self.transmit(env, Stream::Meta, Self::packet(Command::PingAck, &[], 0, Vec::new()));
            }
            Command::PingAck => {
                if std::mem::take(&mut self.finishing) {
                    self.finish_target(env);
                }
            }
            Command::BarrierAck => self.receive_barrier_ack(env, body),
            Command::StateChgReply | Command::ConnStChgReply => {
                self.answered = Some(decode_word(command, body).unwrap() as i32);
                self.settle_change(env);
            }
            _ => self.receive_ack(env, command, &BlockAck::decode(command, body).unwrap()),
        }
    }

    fn receive_barrier_ack(&mut self, env: &mut Env, body: &[u8]) {
        let (number, set_size) = decode_barrier_ack(body).unwrap();
        let epoch = self.epochs_out.acknowledged(u32::from_le_bytes(number), set_size).expect("the barrier ack that is due");
        while let Some((slot, actions)) = self.plane.take_acknowledged_epoch(epoch).expect("every write was acknowledged before") {
            self.finish(env, slot, &actions);
        }
    }

    fn receive_ack(&mut self, env: &mut Env, command: Command, ack: &BlockAck) {
        let syncer = ack.id == SYNCER_ID;
        let what = match command {
            Command::RecvAck => Acknowledgement::Received,
            Command::WriteAck => Acknowledgement::Written,
            Command::RsWriteAck if !syncer => Acknowledgement::WrittenInSync,
            Command::NegAck if syncer => return self.plane.resync_failed(ack.size_bytes),
            Command::NegAck => Acknowledgement::Failed,
            Command::RsWriteAck => {
                self.plane.mark_in_sync(ack.sector, ack.size_bytes);
                return;
            }
            Command::OvResult => return self.receive_verify_result(ack),
            Command::NegRsDReply if self.receive_verify_refusal(ack) => return,
            Command::NegDReply => return self.receive_read_refusal(ack),
            Command::NegRsDReply => {
                if let Some(slot) = self.plane.find_resync_request(ack.sector, 0) {
                    let (_, actions) = self.plane.resync_write_done(slot, false);
                    self.resync_pending -= 1;
                    self.follow(&actions);
                }
                return;
            }
            other => panic!("{} is not expected", other.name()),
        };
        match self.plane.acknowledged(u64::from_be_bytes(ack.id), ack.sector, what) {
            Ok((slot, actions)) => self.finish(env, slot, &actions),
            Err(UnknownRequest { .. }) if what == Acknowledgement::Failed => {
                self.plane.peer_missed_range(ack.sector, ack.size_bytes);
            }
            Err(unknown) => panic!("{}: {unknown:?}", command.name()),
        }
    }

    /// The connection has ended for a reason. First step of its clean-up.
    pub fn lose(&mut self, env: &mut Env, reason: Conn) {
        if self.receiver != Receiver::Serving {
            return;
        }
        self.note(format!("lost: {reason}"));
        self.give_up |= reason == Conn::Disconnecting;
        self.hard(&env.options, Request::none().conn(reason));
        if let Some(link) = &mut env.link {
            if !link.cut {
                link.sever(&mut env.random, false);
            }
            link.left[self.me] = true;
        }
        self.state_sent = false;
        self.pending_change = None;
        self.answered = None;
        self.peer_uuids = None;
        self.receiving = None;
        self.consider_resync = false;
        self.finishing = false;
        self.discard_my_data = false;
        if !env.options.duties.keep_received_writes {
            self.peer_in_work -= self.held.len() as u32;
            self.held.clear();
        }
        self.clear_queues();
        self.receiver = Receiver::Flushing;
    }

    fn clear_queues(&mut self) {
        for (_, item) in std::mem::take(&mut self.queue) {
            let Item::Reply(io) = item else { continue };
            self.peer_in_work -= 1;
            if io.kind == PeerKind::VerifyCompare {
                let verdict = self.plane.verify_compared(io.slot, false);
                self.follow(&verdict.actions);
            }
        }
        self.acks.clear();
    }

    /// The worker has carried out all changes: every request that the peer had is settled without it (EP-6).
    pub fn settle_lost(&mut self, env: &mut Env) {
        while let Some((slot, entry, actions)) = self.plane.take_lost() {
            if entry.operation.is_application_write() {
                self.finish(env, slot, &actions);
            } else if entry.operation == Operation::RemoteRead {
                self.lose_read(slot, &actions);
            }
        }
        while self.plane.take_unanswered_resync_request().is_some() {
            self.resync_pending -= 1;
        }
        self.retry = true;
        self.receiver = Receiver::Draining;
    }

    /// Nothing of the old connection is left: the next attempt, or the end.
    pub fn reconnect(&mut self, env: &mut Env) {
        self.clear_queues();
        assert!(self.deferred.is_empty() && self.resync_pending == 0, "{} {}", self.deferred.len(), self.resync_pending);
        self.flush_wanted = false;
        self.epochs_in.reset();
        self.epochs_out.reset();
        self.sequence = 0;
        self.write_bitmap(env);
        if std::mem::take(&mut self.give_up) {
            self.hard(&env.options, Request::none().conn(Conn::Disconnecting));
            self.hard(&env.options, Request::none().conn(Conn::StandAlone));
            self.receiver = Receiver::StandAlone;
        } else {
            self.start_connecting(env);
        }
        self.note_lost_peer(env);
    }

    pub fn start_connecting(&mut self, env: &mut Env) {
        self.hard(&env.options, Request::none().conn(Conn::Unconnected));
        self.hard(&env.options, Request::none().conn(Conn::WFConnection));
        self.receiver = Receiver::Connecting;
    }

    /// The peer asks for a change.
    pub fn receive_change(&mut self, env: &mut Env, command: Command, body: &[u8]) {
        let (mask, value) = decode_state_change(command, body).unwrap();
        let request = Request { mask, value }.mirrored();
        let code = if self.pending_change.is_some() && self.resolver {
            Refusal::Concurrent.code()
        } else {
            self.change(&env.options, request, Kind::Soft).map_or_else(|refusal| refusal.code(), |()| 1)
        };
        let reply = if command == Command::ConnStChgReq { Command::ConnStChgReply } else { Command::StateChgReply };
        self.transmit(env, Stream::Meta, Self::packet(reply, &code.to_be_bytes(), 0, Vec::new()));
        if self.state.conn == Conn::TearDown {
            self.lose(env, Conn::TearDown);
        }
    }
}
