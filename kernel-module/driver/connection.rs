// SPDX-License-Identifier: GPL-2.0
//! The connection of a resource to its peer, as its threads share it.
//!
//! Owned parts: sockets (set by the receiver thread when both stand, cleared by it when the connection ends), the
//! queue of outgoing packets, the epochs of both directions, the acknowledgements waiting to go out. The state of the
//! connection is control-plane business ([`super::control`]). Each spinlock here is innermost and held alone.

use super::acks::{Ack, AckQueue};
use super::device::Device;
use super::peer_io::PeerIo;
use super::resource::Resource;
use super::prelude::*;
use super::queue::{Item, Outgoing, Packet, SendQueue};
use drbd_core::engine::volume::Stamp;
use drbd_core::genl::NetConf;
use drbd_core::epoch::{ReceiverEpochs, SenderEpochs};
use drbd_core::wire::HeaderFormat;

/// Both sockets and what was agreed about them.
pub(crate) struct Link {
    pub(crate) data: Arc<Socket>,
    pub(crate) meta: Arc<Socket>,
    /// Agreed protocol version, 86..101.
    pub(crate) version: u32,
    /// Agreed features.
    pub(crate) features: u32,
    /// This node breaks ties (behaviour.md CO-2).
    pub(crate) resolver: bool,
}

impl Link {
    /// Header format of a packet with `length` bytes behind the header (wire-protocol.md 2.4).
    pub(crate) fn header_format(&self, length: u32) -> HeaderFormat {
        HeaderFormat::for_version(self.version, length)
    }
}

/// The volumes of the resource, ascending by number; replaced as a whole.
pub(crate) struct VolumeList {
    pub(crate) volumes: KVec<Arc<Device>>,
}

impl VolumeList {
    /// The volume with this number.
    pub(crate) fn find(&self, volume: u16) -> Option<&Arc<Device>> {
        self.volumes.iter().find(|device| device.volume == volume)
    }
}

/// See the module text.
#[pin_data]
pub(crate) struct Connection {
    #[pin]
    link: SpinLockIrq<Option<Arc<Link>>>,
    #[pin]
    queue: SpinLockIrq<SendQueue>,
    #[pin]
    pub(crate) volumes: SpinLockIrq<Arc<VolumeList>>,
    #[pin]
    pub(crate) sender_wait: WaitQueue,
    pub(crate) sender_sleeps: Atomic<bool>,
    order: Atomic<u64>,
    #[pin]
    pub(crate) epochs_out: SpinLockIrq<SenderEpochs>,
    /// One more than the youngest epoch of which a write was completed to the application; 0: none.
    pub(crate) closed_epoch: Atomic<u32>,
    #[pin]
    pub(crate) epochs_in: SpinLockIrq<ReceiverEpochs>,
    #[pin]
    acks: SpinLockIrq<AckQueue>,
    /// Serialises senders on the meta socket.
    #[pin]
    pub(crate) meta_send: Mutex<()>,
    /// Room in the ack queue appeared, or requests of the peer ended.
    #[pin]
    pub(crate) peer_work_done: WaitQueue,
    /// The receiver thread is submitting a bio: acks put meanwhile are its to send.
    pub(crate) receiver_submits: Atomic<bool>,
    /// The receiver waits for acknowledgements that the peer sent before what it reads (DP-2).
    pub(crate) sequence_waits: Atomic<bool>,
    /// See [`Connection::has_write_cache`].
    pub(crate) write_cache: Atomic<bool>,
    /// jiffies of the last byte received on the data socket.
    pub(crate) data_received_at: Atomic<u32>,
    /// The receiver waits for the peer to connect.
    pub(crate) awaits_peer: Atomic<bool>,
    /// A ping shall be sent now, unless one is on its way.
    pub(crate) ping_wanted: Atomic<bool>,
    /// Both wrap.
    pub(crate) pings_sent: Atomic<u32>,
    pub(crate) pings_answered: Atomic<u32>,
    #[pin]
    pub(crate) ping_wait: WaitQueue,
    /// The connection is ended by force: nothing at the disks is waited for.
    pub(crate) hurry: Atomic<bool>,
    /// Writes of the peer that wait for earlier epochs to be on stable storage, and reads behind them.
    #[pin]
    held: SpinLockIrq<IoQueue<PeerIo>>,
    /// Held while work of the peer is started, so that a read does not pass a write that stands before it.
    #[pin]
    pub(crate) release: Mutex<()>,
    /// An epoch is finished and its disks have to be flushed.
    flush_wanted: Atomic<bool>,
    /// Options of the connection that threads look at without a lock.
    pub(crate) max_epoch_size: Atomic<u32>,
    pub(crate) ko_count: Atomic<u32>,
    /// ping-int in seconds, ping-timeout in tenths.
    pub(crate) ping_int: Atomic<u32>,
    pub(crate) ping_timeout: Atomic<u32>,
    pub(crate) use_rle: Atomic<bool>,
    /// Below version 100 there are no flags: the receiver acts by its own protocol.
    pub(crate) always_ack: Atomic<bool>,
    /// Integrity, checksum and verify algorithms.
    #[pin]
    pub(crate) digests: super::digest::Digests,
}

impl Connection {
    /// A connection without sockets.
    pub(crate) fn new() -> Result<impl PinInit<Self>> {
        let queue = SendQueue::new()?;
        let acks = AckQueue::new()?;
        let list = Arc::new(VolumeList { volumes: KVec::new() }, GFP_KERNEL)?;
        Ok(pin_init!(Self {
            link <- new_spinlock_irq!(None, "drbd_link"),
            queue <- new_spinlock_irq!(queue, "drbd_queue"),
            volumes <- new_spinlock_irq!(list, "drbd_volumes"),
            sender_wait <- new_wait_queue!("drbd_sender"),
            sender_sleeps: Atomic::new(false),
            order: Atomic::new(0),
            epochs_out <- new_spinlock_irq!(SenderEpochs::new(), "drbd_epochs_out"),
            closed_epoch: Atomic::new(0),
            epochs_in <- new_spinlock_irq!(ReceiverEpochs::new(), "drbd_epochs_in"),
            acks <- new_spinlock_irq!(acks, "drbd_acks"),
            meta_send <- new_mutex!((), "drbd_meta_send"),
            peer_work_done <- new_wait_queue!("drbd_peer_work"),
            receiver_submits: Atomic::new(false),
            sequence_waits: Atomic::new(false),
            write_cache: Atomic::new(true),
            data_received_at: Atomic::new(0),
            awaits_peer: Atomic::new(false),
            ping_wanted: Atomic::new(false),
            pings_sent: Atomic::new(0),
            pings_answered: Atomic::new(0),
            ping_wait <- new_wait_queue!("drbd_ping"),
            hurry: Atomic::new(false),
            held <- new_spinlock_irq!(IoQueue::new(), "drbd_held"),
            release <- new_mutex!((), "drbd_release"),
            flush_wanted: Atomic::new(false),
            max_epoch_size: Atomic::new(2048),
            ko_count: Atomic::new(7),
            ping_int: Atomic::new(10),
            ping_timeout: Atomic::new(5),
            use_rle: Atomic::new(true),
            always_ack: Atomic::new(false),
            digests <- super::digest::Digests::new(),
        }))
    }

    /// The sockets in use, if any.
    pub(crate) fn link(&self) -> Option<Arc<Link>> {
        self.link.lock().clone()
    }

    /// Publishes or withdraws the sockets; returns the old ones. The sender starts, or stops, to use them.
    pub(crate) fn set_link(&self, link: Option<Arc<Link>>) -> Option<Arc<Link>> {
        let old = core::mem::replace(&mut *self.link.lock(), link);
        self.sender_wait.wake_all();
        old
    }

    /// The peer has answered the ping with this number, counted from 1.
    pub(crate) fn is_answered(&self, number: u32) -> bool {
        self.pings_answered.load(Acquire).wrapping_sub(number) as i32 >= 0
    }

    /// A ping waits for its answer.
    pub(crate) fn awaits_answer(&self) -> bool {
        !self.is_answered(self.pings_sent.load(Acquire))
    }

    /// The volumes as they are now.
    pub(crate) fn volume_list(&self) -> Arc<VolumeList> {
        self.volumes.lock().clone()
    }

    /// Publishes the volumes of the resource.
    pub(crate) fn set_volumes(&self, control: &super::resource::Control) -> Result {
        let mut volumes = KVec::with_capacity(control.volumes.len(), GFP_KERNEL)?;
        for volume in control.volumes.iter() {
            volumes.push(volume.device.clone(), GFP_KERNEL)?;
        }
        let (now, size) = {
            let queue = self.queue.lock();
            (queue.size_for(0, 0), queue.size_for(volumes.len(), 0))
        };
        if size != now {
            let longer = SendQueue::places(size)?;
            let shorter = self.queue.lock().grow(longer, size);
            drop(shorter);
        }
        let list = Arc::new(VolumeList { volumes }, GFP_KERNEL)?;
        let old = core::mem::replace(&mut *self.volumes.lock(), list);
        drop(old);
        self.sender_wait.wake_all();
        Ok(())
    }

    /// The next position in the order of packets on the data socket.
    pub(crate) fn next_order(&self) -> u64 {
        self.order.fetch_add(1, Relaxed)
    }

    /// The place of an application request among the packets.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { order: self.next_order(), closed: self.closed_epoch.load(Acquire) }
    }

    /// Wakes the sender thread if it sleeps.
    pub(crate) fn wake_sender(&self) {
        if self.sender_sleeps.load(Acquire) {
            self.sender_wait.wake_all();
        }
    }

    /// Queues something for the data socket; false: there is no room. Requests and replies are then their owner's to settle, any context. A control
    /// packet cannot be missing from what the peer is told: the connection ends, and is made anew.
    pub(crate) fn enqueue(&self, volume: u16, what: Outgoing) -> bool {
        let item = Item { order: self.next_order(), volume, what };
        let refused = self.queue.lock().put(item).err();
        let ok = refused.is_none();
        if refused.is_some_and(|item| matches!(item.what, Outgoing::Packet(_) | Outgoing::Bitmap | Outgoing::ProtocolUpdate(_))) {
            self.cut_off();
        }
        self.wake_sender();
        ok
    }

    /// Ends the connection because the peer cannot be told what it has to know. Process context.
    pub(crate) fn cut_off(&self) {
        if let Some(link) = self.link() {
            pr_err!("no room or memory for a packet; the connection has to be made anew\n");
            link.data.shutdown();
            link.meta.shutdown();
        }
    }

    /// Queues an encoded packet.
    pub(crate) fn enqueue_packet(&self, volume: u16, packet: Result<Packet>) -> bool {
        packet.map(|packet| self.enqueue(volume, Outgoing::Packet(packet))).unwrap_or(false)
    }

    /// Order number of the oldest entry of the queue.
    pub(crate) fn queue_order(&self) -> Option<u64> {
        self.queue.lock().peek_order()
    }

    /// Takes the oldest entry of the queue.
    pub(crate) fn dequeue(&self) -> Option<Item> {
        self.queue.lock().take()
    }

    /// Places left for resync requests.
    pub(crate) fn room_for_requests(&self) -> usize {
        self.queue.lock().room_for_requests()
    }

    /// Makes room for more requests of the peer in work, and for more resync requests. False: there is as much as there may be, or no memory.
    /// Process context, where waiting for memory does no I/O.
    pub(crate) fn grow(&self) -> bool {
        let now = self.acks.lock().limit();
        if now >= super::acks::CAPACITY {
            return false;
        }
        let limit = (2 * now).min(super::acks::CAPACITY);
        let size = self.queue.lock().size_for(0, limit);
        let (Ok(out), Ok(acks)) = (SendQueue::places(size), AckQueue::places(limit)) else { return false };
        // Where replies go first, then who brings them. What is too small by now comes back, to be freed here.
        let old_out = self.queue.lock().grow(out, size);
        let grown = self.acks.lock().grow(acks, limit);
        drop(old_out);
        grown.is_ok()
    }

    /// A write of this epoch is about to be completed to the application (behaviour.md EP-1).
    pub(crate) fn close_epoch(&self, epoch: u32) {
        let wanted = epoch.wrapping_add(1);
        let mut seen = self.closed_epoch.load(Relaxed);
        // The numbers of one connection grow (and wrap), a lower one is old news.
        while wanted.wrapping_sub(seen).wrapping_sub(1) < 1 << 31 {
            match self.closed_epoch.cmpxchg(seen, wanted, Release) {
                Ok(_) => break,
                Err(current) => seen = current,
            }
        }
        // Nothing to send at once: the barrier rides with the next write, or goes out after a moment of idleness.
    }

    /// Puts acknowledgements in the queue; from any context. Sends nothing itself.
    pub(crate) fn put_acks(&self, acks: &[Ack], finished_requests: usize) {
        let mut queue = self.acks.lock();
        for ack in acks {
            queue.put(*ack);
        }
        for _ in 0..finished_requests {
            queue.unreserve();
        }
    }

    /// The end of a request of the peer that began in `generation`, and its acknowledgement; false: its connection was given up, nobody waits for it.
    pub(crate) fn answer(&self, device: &Device, generation: u32, ack: Option<Ack>) -> bool {
        let mut queue = self.acks.lock();
        if queue.generation() != generation {
            return false;
        }
        if let Some(ack) = ack {
            queue.put(ack.numbered(device.next_sequence()));
        }
        queue.unreserve();
        true
    }

    /// An acknowledgement before the end, with the next number of its volume: the order of numbers is that of the queue.
    pub(crate) fn put_block_ack(&self, device: &Device, ack: Ack) {
        let mut queue = self.acks.lock();
        queue.put(ack.numbered(device.next_sequence()));
    }

    /// Which connection the requests of the peer belong to that begin now.
    pub(crate) fn generation(&self) -> u32 {
        self.acks.lock().generation()
    }

    /// The connection is gone, and its requests at the disks are not waited for.
    pub(crate) fn abandon_peer_requests(&self) {
        self.acks.lock().abandon();
    }

    /// Takes the oldest acknowledgement.
    pub(crate) fn take_ack(&self) -> Option<Ack> {
        self.acks.lock().take()
    }

    /// Something waits to be sent on the meta socket.
    pub(crate) fn has_acks(&self) -> bool {
        !self.acks.lock().is_empty()
    }

    /// Room for one more request of the peer.
    pub(crate) fn reserve_ack(&self) -> bool {
        self.acks.lock().reserve()
    }

    /// Requests of the peer in work ("ua" in /proc/drbd).
    pub(crate) fn peer_requests_in_work(&self) -> usize {
        self.acks.lock().in_work()
    }

    /// Forgets queued packets and acks when the connection is gone.
    pub(crate) fn clear_queues(&self) {
        loop {
            let item = self.queue.lock().take();
            let Some(item) = item else { break };
            if let Outgoing::Reply { io } = item.what {
                super::peer_io::abandon(&io);
                self.acks.lock().unreserve();
            }
        }
        self.acks.lock().clear();
    }

    /// Takes over the options of a network configuration.
    pub(crate) fn set_options(&self, net: &NetConf, version: u32) {
        self.max_epoch_size.store(net.max_epoch_size(), Relaxed);
        self.ko_count.store(net.ko_count(), Relaxed);
        self.ping_int.store(net.ping_int_seconds(), Relaxed);
        self.ping_timeout.store(net.ping_timeout_deciseconds(), Relaxed);
        self.use_rle.store(net.use_rle(), Relaxed);
        self.always_ack.store(version < 100 && net.protocol() == 3, Relaxed);
    }

    /// Holds a write until its epoch may run; false: it waits for something else already, and runs then.
    pub(crate) fn hold(&self, io: Io<PeerIo>) -> bool {
        self.held.lock().push(io).is_ok()
    }

    /// Writes are held.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.lock().is_empty()
    }

    /// Takes the oldest of what is held if it may run now: a write whose epoch may, a read.
    pub(crate) fn take_held(&self) -> Option<Io<PeerIo>> {
        let mut held = self.held.lock();
        let oldest = held.front()?;
        let write = matches!(oldest.kind, super::peer_io::Kind::Write(_));
        if write && !self.epochs_in.lock().may_submit(oldest.epoch) {
            return None;
        }
        held.pop()
    }

    /// Takes the oldest held write, whatever its epoch: nobody waits for the order of a lost connection.
    pub(crate) fn take_any_held(&self) -> Option<Io<PeerIo>> {
        self.held.lock().pop()
    }

    /// Takes the order to flush.
    pub(crate) fn take_flush(&self) -> bool {
        self.flush_wanted.xchg(false, Full)
    }
}

impl Connection {
    /// A disk of the resource has a volatile write cache, so that what it has written is not durable yet.
    pub(crate) fn has_write_cache(&self) -> bool {
        self.write_cache.load(Relaxed)
    }
}

/// Has the disks of all volumes flushed by the ack work item; any context.
pub(crate) fn start_flush(resource: &Arc<Resource>) {
    resource.connection.flush_wanted.store(true, Release);
    resource.kick_acks();
}

/// Has held writes submitted by the ack work item; any context.
pub(crate) fn start_release(resource: &Arc<Resource>) {
    resource.kick_acks();
}
