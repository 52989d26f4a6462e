// SPDX-License-Identifier: GPL-2.0
//! Work for the peer: replicated writes, resync reads and writes, their acknowledgements and epochs.

use crate::disk::Write;
use crate::network::Stream;
use crate::node::{Ack, Env, Io, Node, PeerIo, PeerKind, Receiver};
use drbd_core::engine::volume_conflict::Register;
use drbd_core::engine::volume_peer::Begin;
use drbd_core::epoch::AfterWrite;
use drbd_core::wire::packet::{data_flags, encode_barrier_ack, BlockAck};
use drbd_core::wire::Command;

impl Node {
    /// What a request of the peer puts on the disk.
    pub fn content_of(io: &PeerIo) -> Write<u64> {
        Write { first: io.sector, count: u64::from(io.size_bytes / 512), values: io.data.clone() }
    }

    /// A write has arrived whole.
    pub fn run_write(&mut self, io: PeerIo) {
        self.peer_in_work += 1;
        // Without a disk it is not received in any sense that counts.
        if io.flags & data_flags::SEND_RECEIVE_ACK != 0 && self.plane.gate().local {
            self.acknowledge(Command::RecvAck, &io);
        }
        if self.epochs_in.may_submit(io.epoch) {
            self.begin_peer(io);
        } else {
            self.held.push_back(io);
        }
    }

    /// Starts work for the peer where range and log permit.
    pub fn begin_peer(&mut self, mut io: PeerIo) {
        let begin = match io.kind {
            PeerKind::Write => self.begin_write(&mut io),
            PeerKind::Read if self.receiver != Receiver::Serving || !self.plane.gate().local_up_to_date => Begin::NoDisk,
            PeerKind::ResyncRead if !self.plane.gate().local_up_to_date => Begin::NoDisk,
            PeerKind::ResyncRead | PeerKind::Read => self.plane.resync_read_begin(io.sector, io.size_bytes),
            PeerKind::VerifyRead | PeerKind::VerifyCompare => self.begin_verify(&io),
            PeerKind::ResyncWrite => self.plane.resync_write_begin(io.slot),
        };
        match begin {
            Begin::Go(slot) => {
                io.slot = slot;
                self.peer_ios.insert(slot, io.clone());
                self.begin_io(Io::Peer(io));
            }
            Begin::LogWait(slot) => {
                io.slot = slot;
                self.peer_ios.insert(slot, io);
                self.log_kicked = true;
            }
            Begin::Wait => self.deferred.push_back(io),
            Begin::NoDisk => match io.kind {
                PeerKind::Write => self.refuse_write(io),
                PeerKind::Read => self.refuse_read(&io),
                PeerKind::VerifyRead | PeerKind::VerifyCompare => self.refuse_verify(io),
                PeerKind::ResyncRead => {
                    self.acknowledge(Command::NegRsDReply, &io);
                    self.peer_in_work -= 1;
                }
                PeerKind::ResyncWrite => {
                    let (_, actions) = self.plane.resync_write_done(io.slot, false);
                    self.acknowledge(Command::NegAck, &io);
                    self.peer_in_work -= 1;
                    self.resync_pending -= 1;
                    self.follow(&actions);
                }
            },
        }
    }

    /// A write has its range from its first try.
    fn begin_write(&mut self, io: &mut PeerIo) -> Begin {
        if io.slot == u32::MAX {
            match self.plane.peer_write_register(io.sector, io.size_bytes, io.flags & data_flags::MAY_SET_IN_SYNC != 0) {
                Register::Slot(slot) => io.slot = slot,
                Register::NotNow => return Begin::Wait,
                Register::NoDisk => return Begin::NoDisk,
            }
        }
        let begin = self.plane.peer_write_continue(io.slot);
        if begin == Begin::NoDisk {
            let actions = self.plane.drop_peer_write(io.slot);
            self.follow(&actions);
        }
        begin
    }

    pub fn retry_deferred(&mut self, _env: &mut Env) {
        for io in std::mem::take(&mut self.deferred) {
            self.begin_peer(io);
        }
    }

    pub fn refuse_write(&mut self, io: PeerIo) {
        self.acknowledge(Command::NegAck, &io);
        self.write_accounted(&io);
    }

    pub fn acknowledge(&mut self, command: Command, io: &PeerIo) {
        let ack = BlockAck { sector: io.sector, id: io.id, size_bytes: io.size_bytes, sequence: 0 };
        self.acks.push_back(Ack::Block(command, ack));
    }

    /// The disk has answered.
    pub fn peer_io_ended(&mut self, env: &mut Env, io: PeerIo) {
        assert!(self.peer_ios.remove(&io.slot).is_some());
        env.oracle.say(format_args!("n{} ended {:?} {}+{} in slot {}", self.me, io.kind, io.sector, io.size_bytes / 512, io.slot));
        match io.kind {
            PeerKind::Write => {
                let flagged = |flag: u32| io.flags & flag != 0;
                let fails = self.fails();
                if fails {
                    crate::marks::fault("a write for the peer fails");
                    env.oracle.not_written(self.me, &io.data);
                }
                if !fails || env.more.once_in(2) {
                    self.disk.write_data(Self::content_of(&io), flagged(data_flags::FLUSH), flagged(data_flags::FUA));
                }
                let end = self.plane.peer_write_done(io.slot, !fails);
                if fails {
                    self.acknowledge(Command::NegAck, &io);
                } else if flagged(data_flags::SEND_WRITE_ACK) {
                    self.acknowledge(if end.in_sync { Command::RsWriteAck } else { Command::WriteAck }, &io);
                }
                self.write_accounted(&io);
                self.follow(&end.actions);
            }
            PeerKind::ResyncWrite => self.resync_write_ended(env, &io),
            PeerKind::Read => self.peer_read_ended(io),
            PeerKind::VerifyRead | PeerKind::VerifyCompare => self.verify_read_ended(env, io),
            PeerKind::ResyncRead => self.resync_read_ended(io),
        }
    }

    /// A write of the peer is over, and its acknowledgement queued.
    fn write_accounted(&mut self, io: &PeerIo) {
        self.peer_in_work -= 1;
        let after = self.epochs_in.write_finished(io.epoch);
        self.follow_epoch(after);
    }

    pub fn follow_epoch(&mut self, after: AfterWrite) {
        self.flush_wanted |= after.flush;
        if after.progress {
            while let Some(ack) = self.epochs_in.next_ack() {
                self.acks.push_back(Ack::Barrier(ack));
            }
            self.flush_wanted |= self.epochs_in.needs_flush();
        }
    }

    /// The flush an epoch waits for.
    pub fn flush_epoch(&mut self) {
        self.flush_wanted = false;
        self.disk.flush_data();
        let after = self.epochs_in.flushed();
        self.follow_epoch(after);
    }

    /// There are held writes whose epoch may run.
    pub fn may_release(&self) -> bool {
        self.held.front().is_some_and(|io| io.kind != PeerKind::Write || self.epochs_in.may_submit(io.epoch))
    }

    pub fn release_held(&mut self) {
        while self.may_release() {
            let io = self.held.pop_front().unwrap();
            self.begin_peer(io);
        }
    }

    /// Sends all acknowledgements that have gathered.
    pub fn send_acks(&mut self, env: &mut Env) {
        for ack in std::mem::take(&mut self.acks) {
            let message = match ack {
                Ack::Block(command, mut ack) => {
                    self.sequence += 1;
                    ack.sequence = self.sequence;
                    Self::packet(command, &ack.encode(), 0, Vec::new())
                }
                Ack::Barrier(ack) => Self::packet(Command::BarrierAck, &encode_barrier_ack(ack.number, ack.set_size), 0, Vec::new()),
            };
            self.transmit(env, Stream::Meta, message);
        }
    }
}
