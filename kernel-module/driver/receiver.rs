// SPDX-License-Identifier: GPL-2.0
//! The receiver thread: establishes the connection, then handles what comes on the data socket, until the connection ends or is not
//! wanted any more (behaviour.md DC-4, TO-6). It never waits for a disk, except when it cleans up.

use super::acks::Ack;
use super::conflicts;
use super::connection::Link;
use super::control::publish;
use super::device::Device;
use super::digest::DigestValue;
use super::establish::{self, NoLink, Plan};
use super::peer_io::{self, Kind as PeerKind, PeerIo};
use super::prelude::*;
use super::resource::Resource;
use crate::kapi::bio::Segments;
use drbd_core::epoch::AfterWrite;
use drbd_core::state::{Conn, Kind, Request};
use drbd_core::wire::command::{MAX_DATA_BYTES, MAX_DISCARD_BYTES};
use drbd_core::wire::header::header_bytes;
use drbd_core::wire::packet::{data_flags, decode_barrier, BlockRange, BlockRequest, Data, Discard, SYNCER_ID};
use drbd_core::wire::params::features;
use drbd_core::wire::{check_range, Command, Header, Socket as Side};

/// Why the connection ends.
pub(crate) enum End {
    /// Socket closed or failed.
    Broken,
    /// The peer does not keep to the protocol.
    Protocol,
    /// Refused: do not try again.
    Refused,
    /// HS-42: the peer has asked for a dry run, which ends the connection.
    DryRun,
}

impl From<NetError> for End {
    fn from(_: NetError) -> Self {
        End::Broken
    }
}

/// Body of the thread.
pub(crate) fn run(resource: &Arc<Resource>, thread: &ThisThread) {
    while !thread.should_stop() {
        thread.flush_signals();
        let Some(plan) = begin(resource) else { break };
        match connect(resource, &plan, thread) {
            Ok(link) => serve(resource, &link, thread),
            Err(NoLink::GiveUp) => {
                set_all(resource, Conn::Disconnecting);
            }
            Err(NoLink::Again) => {
                crate::kapi::wait::sleep_interruptible(HZ);
            }
        }
        // Whatever ended the connection, the cleaning up is not to be cut short by its signal.
        thread.flush_signals();
        super::cleanup::clean_up(resource);
        let mut control = resource.control.lock();
        if control.cstate == Conn::Disconnecting || thread.should_stop() {
            break;
        }
        control.cstate = Conn::Unconnected;
        let _ = resource.change_all(&mut control, Request::none().conn(Conn::Unconnected), Kind::Hard);
    }
    set_all(resource, Conn::Disconnecting);
    stand_alone(resource);
}

fn set_all(resource: &Resource, conn: Conn) {
    let mut control = resource.control.lock();
    control.cstate = conn;
    let _ = resource.change_all(&mut control, Request::none().conn(conn), Kind::Hard);
    drop(control);
    resource.changed.wake_all();
}

/// The end of the road: StandAlone, the network configuration is forgotten.
fn stand_alone(resource: &Resource) {
    resource.wait_for_worker(10 * HZ);
    // Handlers about a split brain are told who the peer was.
    let list = resource.connection.volume_list();
    let told = || list.volumes.iter().all(|device| device.helper_calls.load(Relaxed) == 0);
    resource.changed.wait_timeout(10 * HZ, || resource.connection.hurry.load(Acquire) || told());
    let mut control = resource.control.lock();
    let _ = resource.change_all(&mut control, Request::none().conn(Conn::StandAlone), Kind::Hard);
    let configured = control.net.is_some();
    drop(control);
    // Listeners see the connection StandAlone with its addresses, then gone.
    resource.wait_for_worker(10 * HZ);
    if configured {
        super::status::notify_connection(resource, super::status::Notify::Destroy);
    }
    let mut control = resource.control.lock();
    control.cstate = Conn::StandAlone;
    control.net = None;
    control.own_address = None;
    control.peer_address = None;
    for index in 0..control.volumes.len() {
        publish(&control, index, true);
    }
    drop(control);
    resource.changed.wake_all();
}

/// WFConnection, and the plan for this attempt. `None`: not wanted.
fn begin(resource: &Resource) -> Option<Plan> {
    let mut control = resource.control.lock();
    if control.cstate != Conn::Unconnected {
        return None;
    }
    let plan = Plan {
        own: control.own_address?,
        peer: control.peer_address?,
    };
    control.cstate = Conn::WFConnection;
    let _ = resource.change_all(&mut control, Request::none().conn(Conn::WFConnection), Kind::Hard);
    Some(plan)
}

/// Sockets, version, authentication, and our side of the parameter exchange.
fn connect(resource: &Arc<Resource>, plan: &Plan, thread: &ThisThread) -> Result<Arc<Link>, NoLink> {
    let sockets = establish::establish(resource, plan, thread)?;
    // As it is now: the peer may have been away for days.
    let net = resource.net_options().ok_or(NoLink::Again)?;
    let (version, features) = establish::agree(resource, &sockets, &net, thread)?;
    if !net.cram_hmac_alg().is_empty() {
        establish::authenticate(resource, &sockets.data, version, &net)?;
    }
    sockets.data.set_send_timeout(jiffies_from_deciseconds(net.timeout_deciseconds()));
    sockets.data.set_receive_timeout(Jiffies::MAX);
    pr_info!("{}: Handshake successful: agreed protocol version {} (features {:#x})\n", resource.display_name(), version, features);
    let link = Link { data: into_arc(sockets.data)?, meta: into_arc(sockets.meta)?, version, features, resolver: sockets.resolver };
    let link = Arc::new(link, GFP_KERNEL).map_err(|_| NoLink::Again)?;
    resource.greet_peer(&link)?;
    Ok(link)
}

fn into_arc(socket: Socket) -> Result<Arc<Socket>, NoLink> {
    Arc::new(socket, GFP_KERNEL).map_err(|_| NoLink::Again)
}

/// The connected phase: starts the ack receiver, reads packets.
fn serve(resource: &Arc<Resource>, link: &Arc<Link>, thread: &ThisThread) {
    let connection = &resource.connection;
    connection.ping_wanted.store(false, Release);
    connection.pings_answered.store(connection.pings_sent.load(Acquire), Release);
    let (for_acks, link_for_acks) = (resource.clone(), link.clone());
    let acks = KThread::spawn(fmt!("drbd_a_{}", resource.display_name()), move |thread| {
        super::ack_receiver::run(&for_acks, &link_for_acks, thread)
    });
    let end = match &acks {
        Ok(acks) => {
            resource.set_ack_receiver(acks.task());
            packets(resource, link, thread)
        }
        Err(_) => End::Broken,
    };
    if let (End::Broken, Ok(acks)) = (&end, &acks) {
        await_answer(resource, acks, thread);
    }
    let conn = match end {
        End::Broken => Conn::BrokenPipe, // TO-5
        End::Protocol | End::DryRun => Conn::ProtocolError,
        End::Refused => Conn::Disconnecting,
    };
    // CO-9: what was said here is the peer's to read, so that it comes to its own verdict; the end of the other socket would interrupt it.
    // It closes that one when it has come to the end of this, and this one when it has its verdict: two nodes that refuse each other do
    // not wait. Without that, a slower peer would try its dry run again and again.
    let patient = matches!(end, End::Refused | End::DryRun);
    {
        let mut control = resource.control.lock();
        if control.cstate == Conn::WFReportParams {
            control.cstate = conn;
            let _ = resource.change_all(&mut control, Request::none().conn(conn), Kind::Hard);
        } else if control.cstate == Conn::TearDown || conn == Conn::Disconnecting {
            if conn == Conn::Disconnecting {
                control.cstate = conn;
            }
            let request = Request::none().conn(control.cstate);
            let _ = resource.change_all(&mut control, request, Kind::Hard);
        }
    }
    resource.changed.wake_all();
    link.data.shutdown();
    if let (true, Ok(acks)) = (patient, &acks) {
        linger(resource, acks, thread, || !link.data.peer_closed());
    }
    link.meta.shutdown();
    if let Ok(acks) = acks {
        acks.stop();
    }
}

/// A peer that agrees to a change of the connection (a disconnect) closes it right after its answer, which is on the other socket: that comes
/// first, or a Secondary that leaves would not become Outdated (DC-3).
fn await_answer(resource: &Resource, acks: &KThread, thread: &ThisThread) {
    linger(resource, acks, thread, || {
        let control = resource.control.lock();
        control.asked.is_some() && control.cstate == Conn::WFReportParams
    });
}

/// Leaves the other socket to the ack receiver until it has come to the end of it, while `wanted` holds; no longer than [`farewell`].
fn linger(resource: &Resource, acks: &KThread, thread: &ThisThread, wanted: impl Fn() -> bool) {
    let deadline = jiffies().wrapping_add(farewell(resource));
    while wanted() && !acks.is_finished() && !thread.should_stop() && crate::kapi::time::is_before(jiffies(), deadline) {
        crate::kapi::wait::sleep_interruptible(jiffies_from_ms(10));
        if crate::kapi::wait::signal_pending() {
            break;
        }
    }
}

/// How long a refused peer may take to read to the end: as long as it may take for an answer in the handshake (CO-5).
fn farewell(resource: &Resource) -> Jiffies {
    4 * resource.control.lock().net.as_ref().map_or(HZ / 2, |net| jiffies_from_deciseconds(net.ping_timeout_deciseconds()))
}

fn packets(resource: &Arc<Resource>, link: &Arc<Link>, thread: &ThisThread) -> End {
    loop {
        if thread.should_stop() {
            return End::Broken;
        }
        if let Err(end) = one_packet(resource, link) {
            return end;
        }
    }
}

fn one_packet(resource: &Arc<Resource>, link: &Arc<Link>) -> Result<(), End> {
    let mut head = [0u8; 16];
    let place = head.get_mut(..header_bytes(link.version)).ok_or(End::Protocol)?;
    receive_patiently(resource, link, place)?;
    let connection = &resource.connection;
    connection.data_received_at.store(super::device::now(), Relaxed);
    let name = resource.display_name();
    let header = Header::decode(link.version, place).map_err(|error| {
        pr_err!("{}: data socket: {}\n", name, Text(error));
        End::Protocol
    })?;
    let command = header.known_command().map_err(|error| {
        pr_err!("{}: data socket: {}\n", name, Text(error));
        End::Protocol
    })?;
    if command.socket() == Some(Side::Meta) {
        pr_err!("{}: {} does not belong on the data socket\n", name, command.name());
        return Err(End::Protocol);
    }
    let outcome = handle(resource, link, command, &header);
    if matches!(outcome, Err(End::Protocol)) {
        pr_err!("{}: error receiving {}, length {}\n", name, command.name(), header.length);
    }
    outcome
}

/// Receives, sending the acknowledgements that have gathered before it sleeps.
fn receive_patiently(resource: &Arc<Resource>, link: &Link, place: &mut [u8]) -> Result<(), End> {
    let mut done = 0;
    while done < place.len() {
        if resource.connection.has_acks() && !link.data.has_data(place.len() - done) {
            super::ack_receiver::send_acks(resource);
        }
        let Some(rest) = place.get_mut(done..) else { break };
        match link.data.receive(rest) {
            Ok(got) => done += got,
            Err(NetError::Interrupted) if resource.control.lock().cstate == Conn::WFReportParams => {
                // Only a signal that asks the thread to end, or to look at the state, comes here.
                return Err(End::Broken);
            }
            Err(_) => return Err(End::Broken),
        }
    }
    Ok(())
}

fn handle(resource: &Arc<Resource>, link: &Arc<Link>, command: Command, header: &Header) -> Result<(), End> {
    match command {
        Command::Data => receive_write(resource, link, header),
        Command::Trim | Command::Zeroes => receive_discard(resource, link, command, header),
        Command::DataReply | Command::RsDataReply => receive_reply(resource, link, command, header),
        Command::Bitmap | Command::CompressedBitmap => super::greeting::receive_bitmap(resource, link, command, header),
        Command::CsumRsRequest => receive_checksum_request(resource, link, header),
        Command::OvReply => super::verify::receive_reply(resource, link, header),
        _ => {
            let mut payload = [0u8; 160];
            let body = payload.get_mut(..header.length as usize).ok_or(End::Protocol)?;
            if !body.is_empty() {
                link.data.receive_exact(body)?;
            }
            dispatch(resource, link, command, header.volume, body)
        }
    }
}

fn dispatch(resource: &Arc<Resource>, link: &Arc<Link>, command: Command, volume: u16, body: &[u8]) -> Result<(), End> {
    match command {
        Command::UnplugRemote | Command::DelayProbe => Ok(()),
        Command::Barrier => receive_barrier(resource, body),
        Command::DataRequest | Command::RsDataRequest | Command::RsThinReq => receive_request(resource, command, volume, body),
        Command::OvRequest => super::verify::receive_request(resource, link, volume, body),
        Command::RsDeallocated => super::checksum::receive_deallocated(resource, volume, body),
        Command::OutOfSync => {
            let range = BlockRange::decode(command, body).map_err(|_| End::Protocol)?;
            let device = find(resource, volume)?;
            check(&device, range.sector, range.size_bytes, MAX_DISCARD_BYTES)?;
            device.plane.lock().core.mark_out_of_sync(range.sector, range.size_bytes);
            Ok(())
        }
        _ => resource.receive_report(link, command, volume, body),
    }
}

/// The volume, which a packet with data has to name rightly.
pub(crate) fn find(resource: &Resource, volume: u16) -> Result<Arc<Device>, End> {
    resource.connection.volume_list().find(volume).cloned().ok_or_else(|| {
        pr_err!("{}: packet for unknown volume {}\n", resource.display_name(), volume);
        End::Protocol
    })
}

pub(crate) fn check(device: &Device, sector: u64, size_bytes: u32, most: u32) -> Result<(), End> {
    let sectors = device.plane.lock().core.bitmap.device_sectors().max(device.exported_sectors.load(Relaxed));
    check_range(sector, u64::from(size_bytes), u64::from(most), sectors).map_err(|error| {
        pr_err!("drbd{}: {}; the device has {} sectors\n", device.minor, Text(error), sectors);
        End::Protocol
    })
}

/// Waits until another request of the peer may be in work.
pub(crate) fn reserve(resource: &Arc<Resource>) -> Result<(), End> {
    let connection = &resource.connection;
    loop {
        if connection.reserve_ack() {
            return Ok(());
        }
        super::ack_receiver::send_acks(resource);
        if connection.reserve_ack() || (connection.grow() && connection.reserve_ack()) {
            return Ok(());
        }
        if resource.control.lock().cstate != Conn::WFReportParams {
            return Err(End::Broken);
        }
        connection.peer_work_done.wait_interruptible_timeout(HZ / 10 + 1, || false);
    }
}

fn receive_write(resource: &Arc<Resource>, link: &Link, header: &Header) -> Result<(), End> {
    let mut head = [0u8; Data::BYTES];
    link.data.receive_exact(&mut head)?;
    let data = Data::decode(Command::Data, &head).map_err(|_| End::Protocol)?;
    let device = find(resource, header.volume)?;
    let (size, digest) = receive_digest(resource, link, header)?;
    check(&device, data.sector, size, MAX_DATA_BYTES)?;
    reserve(resource)?;
    let mut request = PeerIo::new(&device, PeerKind::Write(Op::Write), data.sector, size, data.id);
    request.flags = data.flags;
    request.epoch = open_epoch(resource)?;
    let io = device.peer_ios.with_pages(&device.pages, size, request);
    receive_into(resource, link, &io, digest)?;
    conflicts::wait_for_sequence(resource, link, &device, data.sequence)?;
    device.statistics.received.add(u64::from(size / 512));
    run_write(resource, &device, &io);
    Ok(())
}

fn receive_discard(resource: &Arc<Resource>, link: &Link, command: Command, header: &Header) -> Result<(), End> {
    let mut head = [0u8; Discard::BYTES];
    link.data.receive_exact(&mut head)?;
    let discard = Discard::decode(command, &head).map_err(|_| End::Protocol)?;
    let device = find(resource, header.volume)?;
    check(&device, discard.data.sector, discard.size_bytes, MAX_DISCARD_BYTES)?;
    reserve(resource)?;
    // A peer without P_ZEROES means a zero-out by its P_TRIM (wire-protocol.md section 4).
    let discards = command == Command::Trim && link.features & features::WZEROES != 0;
    let op = if discards { Op::Discard } else { Op::WriteZeroes };
    let mut request = PeerIo::new(&device, PeerKind::Write(op), discard.data.sector, discard.size_bytes, discard.data.id);
    request.flags = discard.data.flags;
    request.epoch = open_epoch(resource)?;
    let io = device.peer_ios.bare(request);
    conflicts::wait_for_sequence(resource, link, &device, discard.data.sequence)?;
    run_write(resource, &device, &io);
    Ok(())
}

/// Receives the data of a request of the peer into its pages, and compares it with the digest that came before it; gives its reservation
/// back on failure.
fn receive_into(resource: &Resource, link: &Link, io: &Io<PeerIo>, digest: Option<DigestValue>) -> Result<(), End> {
    let pages = io.data();
    let received = pages.as_ref().map_or(Ok(()), |pages| link.data.receive_segments(pages.segments()));
    let received = received.map_err(End::from).and_then(|()| match (digest, &pages) {
        (Some(digest), Some(pages)) => check_digest(resource, &io.device, pages.segments(), &digest, io.sector),
        _ => Ok(()),
    });
    if received.is_err() {
        resource.connection.put_acks(&[], 1);
    }
    received
}

/// The digest of a packet with data, if the peer sends such, and the length of the data behind it.
fn receive_digest(resource: &Resource, link: &Link, header: &Header) -> Result<(u32, Option<DigestValue>), End> {
    let bytes = resource.connection.digests.integrity_in.bytes();
    let size = header.length.checked_sub(Data::BYTES as u32 + bytes).ok_or(End::Protocol)?;
    Ok((size, super::digest::receive(link, bytes)?))
}

/// Data that is not what the peer made the digest of ends the connection; the range is resynced on the next one.
fn check_digest(resource: &Resource, device: &Device, data: Segments<'_>, digest: &DigestValue, sector: u64) -> Result<(), End> {
    if resource.connection.digests.integrity_in.of_pages(data).is_some_and(|own| own == *digest) {
        return Ok(());
    }
    pr_err!("drbd{}: Digest integrity check FAILED: {}s +{}\n", device.minor, sector, data.len());
    Err(End::Protocol)
}

/// The epoch that a write arriving now belongs to.
fn open_epoch(resource: &Resource) -> Result<u32, End> {
    Ok(resource.connection.epochs_in.lock().write_received().epoch)
}

/// Submits a write, or holds it until earlier epochs are on stable storage.
fn run_write(resource: &Arc<Resource>, device: &Arc<Device>, io: &Io<PeerIo>) {
    let connection = &resource.connection;
    // Without a disk it is not received, but refused (ER-5).
    if io.flags & data_flags::SEND_RECEIVE_ACK != 0 && device.plane.lock().core.gate().local {
        connection.put_block_ack(device, io.ack(Command::RecvAck));
    }
    if device.plane.lock().core.gate().two_primaries {
        conflicts::register(device, io);
    }
    let held = {
        let epochs = connection.epochs_in.lock();
        if epochs.may_submit(io.epoch) {
            false
        } else {
            drop(epochs);
            // Before it can be taken from there: what the peer's disk misses is noted with the state of this moment.
            device.plane.lock().core.peer_write_arrived(io.sector, io.size_bytes);
            connection.hold(io.clone())
        }
    };
    if held {
        // The epoch may have ended meanwhile.
        release_held(resource);
        return;
    }
    connection.receiver_submits.store(true, Release);
    peer_io::begin_write(device, io);
    connection.receiver_submits.store(false, Release);
}

fn receive_barrier(resource: &Arc<Resource>, body: &[u8]) -> Result<(), End> {
    let number = decode_barrier(body).map_err(|_| End::Protocol)?;
    loop {
        {
            let mut epochs = resource.connection.epochs_in.lock();
            if !epochs.is_full() {
                let after = epochs.barrier(number);
                drop(epochs);
                follow_epoch(resource, after);
                return Ok(());
            }
        }
        if resource.control.lock().cstate != Conn::WFReportParams {
            return Err(End::Broken);
        }
        resource.connection.peer_work_done.wait_interruptible_timeout(HZ / 50 + 1, || false);
    }
}

/// Does what an event of the receiving epochs asks for; any context.
pub(crate) fn follow_epoch(resource: &Arc<Resource>, after: AfterWrite) {
    let connection = &resource.connection;
    let mut after = after;
    if after.flush {
        if connection.has_write_cache() {
            super::connection::start_flush(resource);
        } else {
            // What is written is durable: nothing to wait for, and nobody to wake.
            after = connection.epochs_in.lock().flushed();
        }
    }
    if after.progress {
        loop {
            let ack = {
                let mut epochs = connection.epochs_in.lock();
                match epochs.next_ack() {
                    None if !connection.has_write_cache() && epochs.needs_flush() => {
                        let _ = epochs.flushed();
                        epochs.next_ack()
                    }
                    other => other,
                }
            };
            let Some(ack) = ack else { break };
            connection.put_acks(&[Ack::Barrier { number: ack.number, set_size: ack.set_size }], 0);
        }
        if connection.epochs_in.lock().needs_flush() {
            super::connection::start_flush(resource);
        }
        if connection.has_held() {
            super::connection::start_release(resource);
        }
        connection.acks_waiting(resource);
    }
}

/// Submits held writes whose epoch may run now. Process context.
pub(crate) fn release_held(resource: &Arc<Resource>) {
    let connection = &resource.connection;
    if !connection.has_held() {
        return;
    }
    let _in_order = connection.release.lock();
    while let Some(io) = connection.take_held() {
        let device = io.device.clone();
        match io.kind {
            PeerKind::Write(_) => peer_io::begin_write(&device, &io),
            _ => peer_io::begin_read(&device, &io),
        }
    }
}

/// Starts a read for the peer, behind the writes that stand before it in the data stream. Process context.
pub(crate) fn run_read(resource: &Arc<Resource>, device: &Arc<Device>, io: &Io<PeerIo>) {
    let connection = &resource.connection;
    let in_order = connection.release.lock();
    if connection.has_held() && connection.hold(io.clone()) {
        drop(in_order);
        release_held(resource);
        return;
    }
    peer_io::begin_read(device, io);
}

fn receive_request(resource: &Arc<Resource>, command: Command, volume: u16, body: &[u8]) -> Result<(), End> {
    let request = BlockRequest::decode(command, body).map_err(|_| End::Protocol)?;
    let device = find(resource, volume)?;
    check(&device, request.sector, request.size_bytes, MAX_DATA_BYTES)?;
    reserve(resource)?;
    let kind = match command {
        Command::DataRequest => PeerKind::Read,
        Command::RsThinReq => PeerKind::ThinRead,
        _ => PeerKind::ResyncRead,
    };
    let io = PeerIo::new(&device, kind, request.sector, request.size_bytes, request.id);
    read_for_peer(resource, &device, io);
    Ok(())
}

/// P_CSUM_RS_REQUEST.
fn receive_checksum_request(resource: &Arc<Resource>, link: &Link, header: &Header) -> Result<(), End> {
    let bytes = resource.connection.digests.csums.bytes();
    let (request, digest) = super::checksum::receive_with_digest(link, Command::CsumRsRequest, header, bytes)?;
    let device = find(resource, header.volume)?;
    check(&device, request.sector, request.size_bytes, MAX_DATA_BYTES)?;
    reserve(resource)?;
    let mut io = PeerIo::new(&device, PeerKind::ChecksumCompare, request.sector, request.size_bytes, SYNCER_ID);
    io.digest = KBox::new(digest, GFP_KERNEL).ok();
    read_for_peer(resource, &device, io);
    Ok(())
}

/// Starts a read for the peer now, or when the application leaves the disk to it.
fn read_for_peer(resource: &Arc<Resource>, device: &Arc<Device>, request: PeerIo) {
    let (size, background) = (request.size_bytes, request.kind != PeerKind::Read);
    let io = device.peer_ios.with_pages(&device.pages, size, request);
    if !(background && device.keep_waiting(&io)) {
        run_read(resource, device, &io);
    }
}

fn receive_reply(resource: &Arc<Resource>, link: &Link, command: Command, header: &Header) -> Result<(), End> {
    let mut head = [0u8; Data::BYTES];
    link.data.receive_exact(&mut head)?;
    let data = Data::decode(command, &head).map_err(|_| End::Protocol)?;
    let device = find(resource, header.volume)?;
    let (size, digest) = receive_digest(resource, link, header)?;
    check(&device, data.sector, size, MAX_DATA_BYTES)?;
    device.statistics.received.add(u64::from(size / 512));
    if command == Command::RsDataReply {
        return receive_resync(resource, link, &device, &data, size, digest);
    }
    let (slot, io) = {
        let plane = device.plane.lock();
        let slot = plane.core.find_remote_read(u64::from_be_bytes(data.id), data.sector, size).map_err(|_| End::Protocol)?;
        (slot, plane.request(slot))
    };
    // The request stays in its slot until all is well: should the connection end here, it is tried again.
    if let Some(pages) = io.as_ref().and_then(|io| io.data()) {
        link.data.receive_segments(pages.segments())?;
        if let Some(digest) = digest {
            check_digest(resource, &device, pages.segments(), &digest, data.sector)?;
        }
    }
    let (actions, taken) = {
        let mut plane = device.plane.lock();
        (plane.core.remote_read_done(slot), plane.take(slot))
    };
    drop(taken);
    if let Some(io) = io {
        io.finish_parent(BlkStatus::OK);
    }
    device.follow(&actions);
    Ok(())
}

fn receive_resync(
    resource: &Arc<Resource>,
    link: &Link,
    device: &Arc<Device>,
    data: &Data,
    size: u32,
    digest: Option<DigestValue>,
) -> Result<(), End> {
    let slot = device.plane.lock().core.find_resync_request(data.sector, size).ok_or_else(|| {
        pr_err!("drbd{}: resync data for sector {} that was not asked for\n", device.minor, data.sector);
        End::Protocol
    })?;
    reserve(resource)?;
    let request = PeerIo::new(device, PeerKind::ResyncWrite, data.sector, size, SYNCER_ID);
    let io = device.peer_ios.with_pages(&device.pages, size, request);
    receive_into(resource, link, &io, digest)?;
    io.slot.store(slot, Relaxed);
    device.answered(size);
    resource.connection.receiver_submits.store(true, Release);
    peer_io::begin_resync_write(device, &io);
    resource.connection.receiver_submits.store(false, Release);
    Ok(())
}
