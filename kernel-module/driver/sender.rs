// SPDX-License-Identifier: GPL-2.0
//! The sender thread: everything that leaves on the data socket.
//!
//! It takes the oldest of what the volumes and the queue hold, by order number, and gives each write its epoch at that moment
//! (behaviour.md EP-1, EP-2). A barrier rides in the segment of the write that follows; only when nothing follows for a while
//! it goes out alone. Nothing is held while the socket blocks.

use super::connection::{Connection, Link, VolumeList};
use super::device::Device;
use super::prelude::*;
use super::queue::{Item, Outgoing, ProtocolUpdate};
use super::resource::Resource;
use drbd_core::engine::request::Flags;
use drbd_core::engine::table::{Entry, Operation};
use drbd_core::state::Conn;
use drbd_core::wire::bitmap_transfer::Transfer;
use drbd_core::wire::packet::{data_flags, encode_barrier, BlockRange, BlockRequest, Data, Discard, SYNCER_ID};
use drbd_core::wire::params::features;
use drbd_core::wire::{Command, Header};

/// Idle time before a due barrier goes out alone.
const IDLE_BARRIER_MS: u64 = 20;

/// Longest sleep without work; whoever brings some wakes the thread.
const NAP: Jiffies = 300 * HZ;

/// What comes next.
enum Next {
    Request(Arc<Device>),
    Item,
}

/// Body of the thread.
pub(crate) fn run(resource: &Arc<Resource>, thread: &ThisThread) {
    let connection = &resource.connection;
    while !thread.should_stop() {
        thread.flush_signals();
        let Some(link) = connection.link() else {
            connection.sender_wait.wait_interruptible_timeout(NAP, || thread.should_stop() || connection.link().is_some());
            continue;
        };
        let list = connection.volume_list();
        let mut sender = Sender { resource, connection, link, list, broken: false };
        sender.work(thread);
    }
}

pub(super) struct Sender<'a> {
    pub(super) resource: &'a Arc<Resource>,
    pub(super) connection: &'a Connection,
    pub(super) link: Arc<Link>,
    list: Arc<VolumeList>,
    broken: bool,
}

impl Sender<'_> {
    /// Sends until the link changes.
    fn work(&mut self, thread: &ThisThread) {
        while !thread.should_stop() && self.same_link() {
            match self.next() {
                Some(next) if !self.broken => self.send_next(next),
                Some(_) => {
                    self.sleep(thread, HZ / 10);
                }
                None => {
                    // While writes wait for their barrier, completions may make it due at any time: they do not wake this thread.
                    let open = self.connection.epochs_out.lock().has_open_writes();
                    let woken = self.sleep(thread, if open { jiffies_from_ms(IDLE_BARRIER_MS) } else { NAP });
                    self.resource.end_worker_nap();
                    if !woken {
                        self.idle_barrier();
                    }
                }
            }
        }
    }

    fn same_link(&mut self) -> bool {
        let list = self.connection.volume_list();
        if !Arc::ptr_eq(&list, &self.list) {
            self.list = list;
        }
        self.connection.link().is_some_and(|link| Arc::ptr_eq(&link, &self.link))
    }

    /// Waits for work; true: there is some.
    fn sleep(&self, thread: &ThisThread, timeout: Jiffies) -> bool {
        self.connection.sender_sleeps.store(true, Release);
        let ready = || (self.next().is_some() && !self.broken) || thread.should_stop() || !self.link_unchanged();
        let woken = self.connection.sender_wait.wait_interruptible_timeout(timeout, ready) == Wait::Ready;
        self.connection.sender_sleeps.store(false, Release);
        woken
    }

    fn link_unchanged(&self) -> bool {
        self.connection.link().is_some_and(|link| Arc::ptr_eq(&link, &self.link))
    }

    /// The oldest thing to send.
    fn next(&self) -> Option<Next> {
        let mut best = self.connection.queue_order().map(|order| (order, Next::Item));
        for device in self.list.volumes.iter() {
            if let Some((_, order)) = device.plane.lock().core.peek_send() {
                if best.as_ref().is_none_or(|(other, _)| order < *other) {
                    best = Some((order, Next::Request(device.clone())));
                }
            }
        }
        best.map(|(_, next)| next)
    }

    fn send_next(&mut self, next: Next) {
        match next {
            Next::Request(device) => self.send_request(&device),
            Next::Item => {
                if let Some(item) = self.connection.dequeue() {
                    self.send_item(item);
                }
            }
        }
    }

    /// Notes a failed send: the receiver takes the connection down.
    pub(super) fn check(&mut self, result: Result<(), NetError>) -> bool {
        if let Err(error) = result {
            if !self.broken {
                pr_info!("{}: sending failed: {:?}\n", self.resource.display_name(), error);
            }
            self.broken = true;
            if error == NetError::TimedOut {
                self.resource.give_up_connection(Conn::Timeout); // TO-2
            }
            self.link.data.shutdown();
            self.link.meta.shutdown();
        }
        !self.broken
    }

    /// Whether something follows at once, so that segments may be joined.
    pub(super) fn more(&self) -> More {
        if self.next().is_some() {
            More::Yes
        } else {
            More::No
        }
    }

    pub(super) fn header(&self, volume: u16, command: Command, length: u32, out: &mut [u8; 64]) -> usize {
        Header::new(volume, command, length).encode(self.link.header_format(length), out)
    }

    /// Sends a header with a fixed payload in one call.
    pub(super) fn send_small(&mut self, volume: u16, command: Command, payload: &[u8], extra: u32, more: More) -> bool {
        let mut out = [0u8; 64];
        let head = self.header(volume, command, payload.len() as u32 + extra, &mut out);
        if let Some(place) = out.get_mut(head..head + payload.len()) {
            place.copy_from_slice(payload);
        }
        let bytes = out.get(..head + payload.len()).unwrap_or(&[]);
        let result = self.link.data.send(bytes, more, &mut self.resource.patience());
        self.check(result)
    }

    /// Closes the epoch first where it must be; false: stalled or broken.
    fn prepare_epoch(&mut self, closed: u32) -> bool {
        let due = self.connection.epochs_out.lock().must_close(closed, self.connection.max_epoch_size.load(Relaxed));
        !due || self.end_epoch()
    }

    /// Sends the barrier of the current epoch; false: stalled or broken.
    fn end_epoch(&mut self) -> bool {
        let number = self.connection.epochs_out.lock().close();
        match number {
            Some(number) => self.send_small(0, Command::Barrier, &encode_barrier(number.to_le_bytes()), 0, More::Yes),
            None => {
                // Too many epochs are open: wait for acknowledgements.
                self.connection.sender_wait.wait_interruptible_timeout(HZ / 50 + 1, || false);
                false
            }
        }
    }

    fn idle_barrier(&mut self) {
        let closed = self.connection.closed_epoch.load(Acquire);
        let number = {
            let mut epochs = self.connection.epochs_out.lock();
            if epochs.idle_barrier_due(closed) { epochs.close() } else { None }
        };
        if let Some(number) = number {
            self.send_small(0, Command::Barrier, &encode_barrier(number.to_le_bytes()), 0, More::No);
        }
    }

    fn send_request(&mut self, device: &Arc<Device>) {
        let (operation, closed) = {
            let plane = device.plane.lock();
            let Some((slot, _)) = plane.core.peek_send() else { return };
            let entry = plane.entry(slot);
            (entry.operation, entry.epoch)
        };
        let write = operation.is_application_write();
        // EP-2: what was sent before is confirmed while notices alone go out.
        let ends = operation == Operation::OutOfSyncNotice && self.connection.epochs_out.lock().has_open_writes();
        if (write && !self.prepare_epoch(closed)) || (ends && !self.end_epoch()) {
            return;
        }
        let epoch = if write { self.connection.epochs_out.lock().join() } else { 0 };
        let (slot, entry, io, retry) = {
            let mut plane = device.plane.lock();
            let Some((slot, entry)) = plane.core.begin_send(epoch) else { return };
            // A notice has given its slot back.
            let retry = entry.operation == Operation::OutOfSyncNotice && plane.core.take_retry();
            (slot, entry, plane.request(slot), retry)
        };
        if retry {
            device.retry_waiting();
        }
        let ok = match entry.operation {
            Operation::OutOfSyncNotice => {
                let payload = BlockRange { sector: entry.sector, size_bytes: entry.size_bytes }.encode();
                let more = self.more();
                self.send_small(device.volume, Command::OutOfSync, &payload, 0, more)
            }
            Operation::RemoteRead => {
                let payload = BlockRequest { sector: entry.sector, id: entry.id.to_be_bytes(), size_bytes: entry.size_bytes }.encode();
                let more = self.more();
                self.send_small(device.volume, Command::DataRequest, &payload, 0, more)
            }
            Operation::Write => self.send_write(device, &entry, io.as_ref()),
            _ => self.send_discard(device, &entry),
        };
        if write {
            device.statistics.sent.add(u64::from(entry.size_bytes / 512));
            let (actions, held) = {
                let mut plane = device.plane.lock();
                let actions = plane.core.sent(slot, ok);
                (actions, actions.complete.and_then(|_| plane.take(slot)))
            };
            device.finish(held, &actions);
        }
    }

    pub(super) fn head_of(&self, device: &Device, entry: &Entry) -> Data {
        let when = |flag: Flags, bit: u32| if entry.flags.has(flag) { bit } else { 0 };
        let mut flags = when(Flags::SYNC, data_flags::RW_SYNC) | when(Flags::MAY_SET_IN_SYNC, data_flags::MAY_SET_IN_SYNC);
        if self.link.version >= 95 {
            flags |= when(Flags::FUA, data_flags::FUA) | when(Flags::PREFLUSH, data_flags::FLUSH);
        }
        if self.link.version >= 100 {
            flags |= when(Flags::WANT_RECEIVE_ACK, data_flags::SEND_RECEIVE_ACK) | when(Flags::WANT_WRITE_ACK, data_flags::SEND_WRITE_ACK);
        }
        Data { sector: entry.sector, id: entry.id.to_be_bytes(), sequence: device.next_sequence(), flags }
    }

    fn send_write(&mut self, device: &Arc<Device>, entry: &Entry, io: Option<&Io<super::device::AppIo>>) -> bool {
        let payload = self.head_of(device, entry).encode();
        let Some(io) = io else { return self.check(Err(NetError::Failed(EIO))) };
        let Some(data) = io.data() else { return self.check(Err(NetError::Failed(EIO))) };
        if self.connection.digests.integrity_out.bytes() != 0 {
            return self.send_write_with_digest(device, entry, &payload, data.segments());
        }
        let mut out = [0u8; 64];
        let head = self.header(device.volume, Command::Data, payload.len() as u32 + entry.size_bytes, &mut out);
        if let Some(place) = out.get_mut(head..head + payload.len()) {
            place.copy_from_slice(&payload);
        }
        let bytes = out.get(..head + payload.len()).unwrap_or(&[]);
        let result = self.link.data.send(bytes, More::Yes, &mut self.resource.patience());
        if !self.check(result) {
            return false;
        }
        // Protocol A completes before the peer has the data: the pages may change, so they are copied.
        let waits = entry.flags.has(Flags::WANT_RECEIVE_ACK.with(Flags::WANT_WRITE_ACK));
        let mode = if waits { PageMode::Splice } else { PageMode::Copy };
        let more = self.more();
        let result = self.link.data.send_segments(data.segments(), mode, more, &mut self.resource.patience());
        self.check(result)
    }

    fn send_discard(&mut self, device: &Arc<Device>, entry: &Entry) -> bool {
        let mut data = self.head_of(device, entry);
        let zeroes = entry.operation == Operation::WriteZeroes;
        if zeroes && self.connection.digests.integrity_out.bytes() != 0 {
            return self.send_zero_data(device, entry, &data.encode());
        }
        // A peer without P_ZEROES takes a P_TRIM for a zero-out (wire-protocol.md section 4).
        let zeroes = zeroes && self.link.features & features::WZEROES != 0;
        data.flags |= if zeroes { data_flags::ZEROES } else { data_flags::DISCARD };
        if zeroes && entry.flags.has(Flags::MAY_UNMAP) {
            data.flags |= data_flags::DISCARD;
        }
        let command = if zeroes { Command::Zeroes } else { Command::Trim };
        let payload = Discard { data, size_bytes: entry.size_bytes }.encode();
        let more = self.more();
        self.send_small(device.volume, command, &payload, 0, more)
    }

    fn send_item(&mut self, item: Item) {
        match item.what {
            Outgoing::Packet(packet) => {
                let more = self.more();
                let result = self.link.data.send(&packet.bytes, more, &mut self.resource.patience());
                self.check(result);
            }
            Outgoing::Request { command, sector, size_bytes } => {
                let payload = BlockRequest { sector, id: SYNCER_ID, size_bytes }.encode();
                let more = self.more();
                self.send_small(item.volume, command, &payload, 0, more);
            }
            Outgoing::Reply { io } => self.send_reply(item.volume, &io),
            Outgoing::Bitmap => self.send_bitmap(item.volume),
            Outgoing::ProtocolUpdate(update) => {
                let ProtocolUpdate { packet, integrity } = KBox::into_inner(update);
                let more = self.more();
                let result = self.link.data.send(&packet.bytes, more, &mut self.resource.patience());
                self.check(result);
                self.connection.digests.integrity_out.install(integrity);
            }
        }
    }

    /// The whole bitmap of a volume (wire-protocol.md section 12).
    fn send_bitmap(&mut self, volume: u16) {
        let Some(device) = self.list.find(volume).cloned() else { return };
        // Blocks the peer turns out not to have get their bits first.
        while device.plane.lock().core.has_unacknowledged() && self.link_unchanged() && !self.broken {
            self.idle_barrier();
            self.connection.sender_wait.wait_interruptible_timeout(jiffies_from_ms(5), || false);
        }
        device.plane.lock().core.mark_frozen();
        let Ok(mut page) = Page::zeroed() else {
            self.check(Err(NetError::Failed(ENOMEM)));
            return;
        };
        let header = drbd_core::wire::header::header_bytes(self.link.version);
        let mut transfer = Transfer::new(device.plane.lock().core.bitmap.bits(), header);
        let compress = self.connection.use_rle.load(Relaxed) && self.link.version >= 90;
        loop {
            let Some(piece) = transfer.next_piece(&super::bitmap_io::Shared(&device), compress, page.bytes_mut()) else { break };
            let mut out = [0u8; 64];
            let head = self.header(volume, piece.command, piece.length as u32, &mut out);
            let more = if piece.length > 0 { More::Yes } else { More::No };
            let result = self.link.data.send(out.get(..head).unwrap_or(&[]), more, &mut self.resource.patience());
            if !self.check(result) {
                return;
            }
            let result = self.link.data.send(page.bytes().get(..piece.length).unwrap_or(&[]), More::No, &mut self.resource.patience());
            if !self.check(result) {
                return;
            }
        }
        self.resource.bitmap_sent(volume);
    }
}

impl Resource {
    /// Decides, when a send has blocked for the time-out, whether to go on: until ko-count runs out (behaviour.md TO-2).
    pub(crate) fn patience(&self) -> impl FnMut() -> bool + '_ {
        let mut left = self.connection.ko_count.load(Relaxed);
        let forever = left == 0;
        move || {
            self.connection.ping_wanted.store(true, Release);
            self.wake_ack_receiver();
            left = left.saturating_sub(1);
            if !forever {
                pr_err!("{}: sending has blocked for the time-out, ko = {}\n", self.display_name(), left);
            }
            forever || left > 0
        }
    }
}
