// SPDX-License-Identifier: GPL-2.0
//! Reads of the application: from the local disk or from the peer (behaviour.md 6.6).

use super::request::Flags;
use super::table::{Entry, Operation};
use super::volume::{Actions, AdmitRead, DataPlane, Stamp, Storage, UnknownRequest};

/// Where a read goes that either node could serve (RD-3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadBalancing {
    /// Here. Also what when-congested-remote means in this version.
    #[default]
    PreferLocal,
    /// To the peer.
    PreferRemote,
    /// Here and there in turns.
    RoundRobin,
    /// To the peer when more local I/O is pending than there, this read included.
    LeastPending,
    /// By the bit of the sector number that changes from one stripe to the next.
    Striping {
        /// Number of that bit.
        bit: u32,
    },
}

impl ReadBalancing {
    /// From the number on netlink (DISK_CONF 21); anything unknown is local.
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => ReadBalancing::PreferRemote,
            2 => ReadBalancing::RoundRobin,
            3 => ReadBalancing::LeastPending,
            // 32 KiB are 64 sectors.
            5..=10 => ReadBalancing::Striping { bit: number - 5 + 6 },
            _ => ReadBalancing::PreferLocal,
        }
    }
}

impl<T: Storage> DataPlane<T> {
    /// RD-3, for a read that both nodes could serve.
    fn prefers_peer(&mut self, sector: u64) -> bool {
        match self.gate.read_balancing {
            ReadBalancing::PreferLocal => false,
            ReadBalancing::PreferRemote => true,
            ReadBalancing::RoundRobin => {
                let remote = self.next_read_remote;
                self.next_read_remote = !remote;
                remote
            }
            ReadBalancing::LeastPending => self.local_references >= self.pending_at_peer,
            ReadBalancing::Striping { bit } => sector >> bit & 1 != 0,
        }
    }

    /// The peer has not said yet what became of a completed write of this range (protocols A and B): it may still be under way to its disk, or
    /// about to fail. Only reads that read-balancing would send away ask, so that the way through the log costs nobody else.
    fn awaits_epoch_of(&self, sector: u64, size_bytes: u32) -> bool {
        let end = |from: u64, bytes: u32| from.saturating_add(u64::from(bytes.div_ceil(512)));
        let unsafe_there = |entry: &Entry| {
            entry.flags.has(Flags::COMPLETED)
                && !entry.flags.has(Flags::WANT_WRITE_ACK)
                && entry.sector < end(sector, size_bytes)
                && sector < end(entry.sector, entry.size_bytes)
        };
        self.table.find_in_log(&self.transfer_log, unsafe_there).is_some()
    }

    /// RD-3, for a range with a good copy here: the peer is preferred, and its copy is as new. What has a bit is missing there; the peer may not
    /// have said what became of its disk.
    fn reads_at_peer(&mut self, sector: u64, size_bytes: u32) -> bool {
        self.gate.remote_read
            && size_bytes != 0
            && self.prefers_peer(sector)
            && !self.bitmap.any_set(sector, size_bytes)
            && !self.awaits_epoch_of(sector, size_bytes)
    }

    /// Admits an application read (IO-1, RD-1 to RD-3).
    pub fn admit_read(&mut self, sector: u64, size_bytes: u32, flags: Flags, now: u32, stamp: impl FnOnce() -> Stamp) -> AdmitRead {
        if !self.gate.open || self.in_flight >= self.gate.max_in_flight {
            self.has_waiters = true;
            return AdmitRead::Wait;
        }
        let gate = self.gate;
        let here = gate.local && (size_bytes == 0 || gate.local_up_to_date || (!gate.bits_missing && !self.bitmap.any_set(sector, size_bytes)));
        if here && !self.reads_at_peer(sector, size_bytes) {
            self.in_flight += 1;
            self.local_references += 1;
            return AdmitRead::Local;
        }
        if !gate.remote_read {
            self.has_waiters |= gate.hold_failed;
            return if gate.hold_failed { AdmitRead::Wait } else { AdmitRead::Fail };
        }
        let slot = if self.has_room(1) { self.table.take(Operation::RemoteRead, sector, size_bytes) } else { None };
        let Some(slot) = slot else {
            self.has_waiters = true;
            return AdmitRead::Wait;
        };
        self.in_flight += 1;
        self.begun(slot, now);
        self.set_flags(slot, flags.with(Flags::NET_QUEUED));
        self.queue_send(slot, now, stamp);
        AdmitRead::Remote(slot)
    }

    /// A local read or empty flush admitted by [`Self::admit_read`] has ended. `failed_range`: a read that failed; its blocks are
    /// marked out of sync first (ER-2). The caller retries it through admission, or fails it.
    pub fn local_read_done(&mut self, failed_range: Option<(u64, u32)>) -> Actions {
        if let Some((sector, size_bytes)) = failed_range {
            self.bitmap.set_range(sector, size_bytes);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        let mut actions = Actions { retry: self.take_waiters(), ..Actions::default() };
        self.drop_local_reference(&mut actions);
        actions
    }

    /// The data for a read we sent to the peer is about to arrive: finds the request.
    pub fn find_remote_read(&self, id: u64, sector: u64, size_bytes: u32) -> Result<u32, UnknownRequest> {
        let unknown = UnknownRequest { id, sector };
        let slot = self.table.find(id).ok_or(unknown)?;
        let entry = self.table.get(slot);
        let matches = entry.operation == Operation::RemoteRead
            && entry.flags.has(Flags::NET_PENDING)
            && entry.sector == sector
            && (size_bytes == entry.size_bytes || size_bytes == 0);
        matches.then_some(slot).ok_or(unknown)
    }

    /// The peer answered a read. On failure the caller admits the read again or fails it.
    pub fn remote_read_done(&mut self, slot: u32) -> Actions {
        let entry = self.table.get(slot);
        if entry.operation == Operation::RemoteRead && entry.flags.has(Flags::NET_PENDING) {
            self.pending_at_peer = self.pending_at_peer.saturating_sub(1);
            // It stays on the read log, answered, until it reaches the head.
            self.set_flags(slot, entry.flags.without(Flags::NET_PENDING).with(Flags::COMPLETED));
            self.in_flight = self.in_flight.saturating_sub(1);
            self.trim_reads();
            return Actions { retry: self.take_waiters(), ..Actions::default() };
        }
        Actions::default()
    }

    /// Drops answered reads from the head of the read log.
    fn trim_reads(&mut self) {
        while let Some(slot) = self.read_log.front() {
            if !self.table.get(slot).flags.has(Flags::COMPLETED) {
                break;
            }
            self.table.pop_log(&mut self.read_log);
            self.table.release(slot);
        }
    }
}
