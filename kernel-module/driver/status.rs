// SPDX-License-Identifier: GPL-2.0
//! What netlink reports: status replies, dumps and events (netlink-and-tools.md sections 4 and 5).

use super::device::Device;
use super::prelude::*;
use super::registry::{Registry, REGISTRY};
use super::resource::{AfterChange, Control, Resource};
use super::volume::Volume;
use crate::kapi::genl::{self, Cursor, DumpOutput, Request, MAX_PAYLOAD_BYTES};
use drbd_core::epoch::Ordering;
use drbd_core::genl::status::{
    write_resource_info, write_words, Context, DeviceStatistics, DiskInfo, PeerDeviceStatistics, Reason, StateInfo,
};
use drbd_core::genl::{command, container, ret, Attributes, Writer, NO_MINOR};
use drbd_core::state::{Conn, Disk, State};

/// Sequence numbers of the two generations of events.
static EVENT_SEQUENCE: Atomic<u32> = Atomic::new(3);
static NOTIFY_SEQUENCE: Atomic<u32> = Atomic::new(3);

/// Kinds of a notification.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notify {
    Exists = 0,
    Create = 1,
    Change = 2,
    Destroy = 3,
    Call = 4,
    Response = 5,
}

const CONTINUES: u32 = 0x8000;

fn buffer() -> Result<KVec<u8>> {
    let mut buffer = KVec::new();
    buffer.extend_with(MAX_PAYLOAD_BYTES, 0, GFP_KERNEL)?;
    Ok(buffer)
}

/// Encodes a payload; empty without memory.
pub(crate) fn encode(write: impl FnOnce(&mut Writer<'_>)) -> KVec<u8> {
    let Ok(mut buffer) = buffer() else { return KVec::new() };
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer);
    let length = writer.finish().unwrap_or(0);
    buffer.truncate(length);
    buffer
}

fn context_of<'a>(resource: &'a Resource, control: &'a Control, volume: Option<u16>) -> Context<'a> {
    let configured = control.net.is_some();
    Context {
        volume: volume.map(u32::from),
        resource: Some(resource.name()),
        own_address: control.own_address.as_ref().filter(|_| configured).map(|address| address.as_bytes()),
        peer_address: control.peer_address.as_ref().filter(|_| configured).map(|address| address.as_bytes()),
    }
}

fn state_info(volume: &Volume) -> StateInfo {
    let device = &volume.device;
    let stats = &device.statistics;
    let (pending, application, weight, bits, failed) = {
        let plane = device.plane.lock();
        let core = &plane.core;
        (core.pending_at_peer(), core.in_flight(), core.bitmap.weight(), core.bitmap.bits(), core.resync_failed_bits())
    };
    let syncing = volume.state.conn >= Conn::SyncSource && volume.state.conn <= Conn::PausedSyncT;
    let disk = volume.disk.as_ref().map(|disk| DiskInfo {
        uuids: disk.uuids.to_array(),
        flags: super::metadata::superblock(volume).map_or(0, |block| block.flags),
        bits_total: bits,
        bits_out_of_sync: weight,
        resync: syncing.then_some((volume.resync.total_bits, failed)),
    });
    StateInfo {
        state: volume.state.pack(),
        capacity_sectors: volume.sectors,
        effective_uuid: volume.effective_uuid,
        disk,
        counters: [
            stats.sent.get(),
            stats.received.get(),
            stats.read.get(),
            stats.written.get(),
            stats.log_writes.get(),
            stats.bitmap_writes.get(),
        ],
        pending: [application, pending, device.resync_pending.load(Relaxed).max(0) as u32],
    }
}

/// Payload of a status reply or event about a volume.
pub(crate) fn volume_status(resource: &Resource, control: &Control, volume: &Volume, reason: Reason<'_>, secret: bool, echo: Option<&[u8]>) -> KVec<u8> {
    encode(|writer| {
        match echo {
            Some(raw) => writer.raw(raw),
            None => context_of(resource, control, Some(volume.number())).write(writer),
        }
        if echo.is_some() {
            context_of(resource, control, Some(volume.number())).write(writer);
        }
        let open = writer.begin_reply(container::RESOURCE_OPTS);
        control.options.write(writer);
        writer.end(open);
        if let Some(disk) = volume.disk.as_ref() {
            let open = writer.begin_reply(container::DISK_CONF);
            disk.conf.write(writer);
            writer.end(open);
        }
        if let Some(net) = control.net.as_ref() {
            let open = writer.begin_reply(container::NET_CONF);
            net.write(writer, secret);
            writer.end(open);
        }
        state_info(volume).write(writer, reason);
    })
}

/// GET_STATUS of one minor.
pub(crate) fn minor_status(device: &Device, secret: bool) -> KVec<u8> {
    let resource = &device.resource;
    let control = resource.control.lock();
    match control.volumes.iter().find(|volume| volume.number() == device.volume) {
        Some(volume) => volume_status(resource, &control, volume, Reason::Status, secret, None),
        None => KVec::new(),
    }
}

/// All dumps.
pub(crate) fn dump(request: &Request<'_>, cursor: &mut Cursor<'_>, out: &mut DumpOutput) -> Result {
    let Some(registry) = REGISTRY.get() else { return Ok(()) };
    let filter = Attributes::new(request.attributes).find(container::CFG_CONTEXT);
    let name = filter.and_then(|context| context.inner().find(2)).and_then(|name| name.string());
    if request.command == command::GET_STATUS {
        if filter.is_some() && name.is_none() {
            return Err(EINVAL);
        }
        if name.is_some_and(|name| registry.resource(name).is_none()) {
            return Err(ENODEV);
        }
    }
    let filtered = !matches!(request.command, command::GET_RESOURCES | command::GET_INITIAL_STATE);
    if let Some(name) = name.filter(|_| filtered && request.command != command::GET_STATUS) {
        if registry.resource(name).is_none() {
            // Once: the C driver repeats it for ever (docs/differences.md).
            if cursor.get(2) == 0 {
                out.message(request.command, NO_MINOR, ret::RES_NOT_KNOWN, true, &[]);
                cursor.set(2, 1);
            }
            return Ok(());
        }
    }
    loop {
        let Some(resource) = registry.nth_resource(cursor.get(0) as usize) else {
            return finish_dump(request, cursor, out);
        };
        let skip = name.is_some_and(|name| filtered && name != resource.name());
        if skip || !dump_resource(request, &registry, &resource, cursor, out) {
            if !skip && cursor.get(3) != 0 {
                cursor.set(3, 0);
                return Ok(());
            }
        }
        let next = cursor.get(0) + 1;
        cursor.set(0, next);
        cursor.set(1, 0);
    }
}

fn finish_dump(request: &Request<'_>, cursor: &mut Cursor<'_>, out: &mut DumpOutput) -> Result {
    if request.command == command::GET_INITIAL_STATE && cursor.get(2) == 0 {
        let payload = encode(|writer| write_words(writer, container::NOTIFICATION_HEADER, &[Some(0)]));
        if out.message(command::INITIAL_STATE_DONE, NO_MINOR, ret::NO_ERROR, false, &payload) {
            cursor.set(2, 1);
        }
    }
    Ok(())
}

/// Messages about one resource from position `cursor[1]` on; false: no room (`cursor[3]` set), come back.
fn dump_resource(request: &Request<'_>, _registry: &Registry, resource: &Arc<Resource>, cursor: &mut Cursor<'_>, out: &mut DumpOutput) -> bool {
    let control = resource.control.lock();
    let secret = request.may_see_secrets;
    let volumes = control.volumes.len() as u64;
    loop {
        let at = cursor.get(1);
        let volume = control.volumes.get(at as usize);
        let minor = volume.map_or(NO_MINOR, |volume| volume.device.minor);
        let fits = match request.command {
            command::GET_STATUS => match volume {
                Some(volume) => {
                    let payload = volume_status(resource, &control, volume, Reason::Status, secret, None);
                    out.message(command::GET_STATUS, minor, ret::NO_ERROR, true, &payload)
                }
                None if volumes == 0 && at == 0 => {
                    let payload = encode(|writer| {
                        context_of(resource, &control, None).write(writer);
                        if let Some(net) = control.net.as_ref() {
                            let open = writer.begin_reply(container::NET_CONF);
                            net.write(writer, false);
                            writer.end(open);
                        }
                    });
                    out.message(command::GET_STATUS, NO_MINOR, ret::NO_ERROR, true, &payload)
                }
                None => return true,
            },
            command::GET_RESOURCES if at == 0 => {
                let payload = encode(|writer| {
                    Context { resource: Some(resource.name()), ..Context::default() }.write(writer);
                    let open = writer.begin_reply(container::RESOURCE_OPTS);
                    control.options.write(writer);
                    writer.end(open);
                    resource_info(writer, &control);
                    resource_statistics(writer, resource);
                });
                out.message(request.command, NO_MINOR, ret::NO_ERROR, true, &payload)
            }
            command::GET_CONNECTIONS if at == 0 && control.net.is_some() => {
                let payload = encode(|writer| {
                    context_of(resource, &control, None).write(writer);
                    if let Some(net) = control.net.as_ref() {
                        let open = writer.begin_reply(container::NET_CONF);
                        net.write(writer, secret);
                        writer.end(open);
                    }
                    connection_info(writer, &control);
                    write_connection_statistics(writer);
                });
                out.message(request.command, NO_MINOR, ret::NO_ERROR, true, &payload)
            }
            command::GET_DEVICES => match volume {
                Some(volume) => {
                    let payload = encode(|writer| {
                        Context { volume: Some(u32::from(volume.number())), resource: Some(resource.name()), ..Context::default() }.write(writer);
                        if let Some(disk) = volume.disk.as_ref() {
                            let open = writer.begin_reply(container::DISK_CONF);
                            disk.conf.write(writer);
                            writer.end(open);
                        }
                        write_words(writer, container::DEVICE_INFO, &[Some(volume.state.disk.number())]);
                        device_statistics(volume).write(writer);
                    });
                    out.message(request.command, minor, ret::NO_ERROR, true, &payload)
                }
                None => return true,
            },
            command::GET_PEER_DEVICES if control.net.is_some() => match volume {
                Some(volume) => {
                    let payload = encode(|writer| {
                        context_of(resource, &control, Some(volume.number())).write(writer);
                        peer_device_info(writer, volume);
                        peer_device_statistics(volume).write(writer);
                    });
                    out.message(request.command, minor, ret::NO_ERROR, true, &payload)
                }
                None => return true,
            },
            command::GET_INITIAL_STATE => match initial(resource, &control, at) {
                Some((number, minor, payload)) => out.message(number, minor, ret::NO_ERROR, false, &payload),
                None => return true,
            },
            _ => return true,
        };
        if !fits {
            cursor.set(3, 1);
            return false;
        }
        cursor.set(1, at + 1);
    }
}

/// Message `at` of the initial state of a resource.
fn initial(resource: &Arc<Resource>, control: &Control, at: u64) -> Option<(u8, u32, KVec<u8>)> {
    let volumes = control.volumes.len() as u64;
    let last = 1 + 2 * volumes;
    let kind = Notify::Exists as u32 | if at < last { CONTINUES } else { 0 };
    match at {
        0 => Some((command::RESOURCE_STATE, NO_MINOR, resource_message(resource, control, kind, true))),
        1 => Some((command::CONNECTION_STATE, NO_MINOR, connection_message(resource, control, kind, true))),
        _ => {
            let index = at - 2;
            let volume = control.volumes.get((index % volumes.max(1)) as usize)?;
            if index < volumes {
                Some((command::DEVICE_STATE, volume.device.minor, device_message(resource, volume, kind, true)))
            } else if index < 2 * volumes {
                Some((command::PEER_DEVICE_STATE, NO_MINOR, peer_device_message(resource, control, volume, kind, true)))
            } else {
                None
            }
        }
    }
}

fn resource_info(writer: &mut Writer<'_>, control: &Control) {
    let suspended = |pick: fn(&drbd_core::state::State) -> bool| control.volumes.iter().any(|volume| pick(&volume.state));
    write_resource_info(writer, control.role().number(), suspended(|s| s.susp), suspended(|s| s.susp_nod), suspended(|s| s.susp_fen));
}

fn resource_statistics(writer: &mut Writer<'_>, resource: &Resource) {
    let ordering = match resource.connection.epochs_in.lock().ordering() {
        Ordering::None => 0,
        Ordering::Drain => 1,
        Ordering::Flush => 2,
    };
    write_words(writer, container::RESOURCE_STATISTICS, &[Some(ordering)]);
}

fn connection_info(writer: &mut Writer<'_>, control: &Control) {
    let peer = control.volumes.iter().map(|volume| volume.state.peer).find(|role| role.number() == 1).unwrap_or(
        control.volumes.first().map_or(drbd_core::state::Role::Unknown, |volume| volume.state.peer),
    );
    write_words(writer, container::CONNECTION_INFO, &[Some(control.cstate.number().min(9)), Some(peer.number())]);
}

fn write_connection_statistics(writer: &mut Writer<'_>) {
    let open = writer.begin_reply(container::CONNECTION_STATISTICS);
    writer.u8(1, 0);
    writer.end(open);
}

fn peer_device_info(writer: &mut Writer<'_>, volume: &Volume) {
    let s = &volume.state;
    let words = [
        Some(s.conn.number().max(9)),
        Some(s.pdsk.number()),
        Some(u32::from(s.user_isp)),
        Some(u32::from(s.peer_isp)),
        Some(u32::from(s.aftr_isp)),
    ];
    write_words(writer, container::PEER_DEVICE_INFO, &words);
}

fn device_statistics(volume: &Volume) -> DeviceStatistics {
    let device = &volume.device;
    let stats = &device.statistics;
    let plane = device.plane.lock();
    DeviceStatistics {
        counters: [volume.sectors, stats.read.get(), stats.written.get(), stats.log_writes.get(), stats.bitmap_writes.get()],
        pending: [plane.core.in_flight(), plane.core.local_references()],
        upper_blocked: !plane.core.gate().open && volume.state.disk > Disk::Diskless,
        log_suspended: volume.log_suspended,
        exposed_uuid: volume.effective_uuid,
        current_uuid: volume.uuids().current,
        disk_flags: 0,
        history: volume.disk.as_ref().map(|disk| disk.uuids.history),
    }
}

fn peer_device_statistics(volume: &Volume) -> PeerDeviceStatistics {
    let device = &volume.device;
    let stats = &device.statistics;
    let plane = device.plane.lock();
    PeerDeviceStatistics {
        transferred: [stats.received.get(), stats.sent.get()],
        pending: [plane.core.pending_at_peer(), device.resource.connection.peer_requests_in_work() as u32],
        out_of_sync: [plane.core.bitmap.weight() * 8, plane.core.resync_failed_bits() * 8],
        bitmap_uuid: volume.uuids().bitmap,
        flags: u32::from(volume.state.conn > Conn::WFReportParams) | if volume.state.pdsk == Disk::Outdated { 2 } else { 0 },
    }
}

fn header(writer: &mut Writer<'_>, kind: u32) {
    write_words(writer, container::NOTIFICATION_HEADER, &[Some(kind)]);
}

fn resource_message(resource: &Resource, control: &Control, kind: u32, info: bool) -> KVec<u8> {
    encode(|writer| {
        Context { resource: Some(resource.name()), ..Context::default() }.write(writer);
        header(writer, kind);
        if info {
            resource_info(writer, control);
        }
        resource_statistics(writer, resource);
    })
}

fn connection_message(resource: &Resource, control: &Control, kind: u32, info: bool) -> KVec<u8> {
    encode(|writer| {
        context_of(resource, control, None).write(writer);
        header(writer, kind);
        if info {
            connection_info(writer, control);
        }
        write_connection_statistics(writer);
    })
}

fn device_message(resource: &Resource, volume: &Volume, kind: u32, info: bool) -> KVec<u8> {
    encode(|writer| {
        Context { volume: Some(u32::from(volume.number())), resource: Some(resource.name()), ..Context::default() }.write(writer);
        header(writer, kind);
        if info {
            write_words(writer, container::DEVICE_INFO, &[Some(volume.state.disk.number())]);
        }
        device_statistics(volume).write(writer);
    })
}

fn peer_device_message(resource: &Resource, control: &Control, volume: &Volume, kind: u32, info: bool) -> KVec<u8> {
    encode(|writer| {
        context_of(resource, control, Some(volume.number())).write(writer);
        header(writer, kind);
        if info {
            peer_device_info(writer, volume);
        }
        peer_device_statistics(volume).write(writer);
    })
}

/// Sends a notification; number and sending are one step, so that listeners see the numbers in order.
fn notify(number: u8, minor: u32, payload: &[u8]) {
    let Some(registry) = REGISTRY.get() else { return };
    let _in_order = registry.notifications.lock();
    let sequence = NOTIFY_SEQUENCE.fetch_add(1, Relaxed);
    genl::multicast(number, minor, ret::NO_ERROR, sequence, payload);
}

/// The same for the older kind of event.
fn notify_event(minor: u32, payload: &[u8]) {
    let Some(registry) = REGISTRY.get() else { return };
    let _in_order = registry.notifications.lock();
    let sequence = EVENT_SEQUENCE.fetch_add(1, Relaxed);
    genl::multicast(command::EVENT, minor, ret::NO_ERROR, sequence, payload);
}

/// A helper is about to be called, or has ended with a raw status. `device`: `None` when it is about the whole resource.
pub(crate) fn notify_helper(resource: &Arc<Resource>, device: Option<&Device>, name: &'static str, status: Option<u32>) {
    let control = resource.control.lock();
    let volume = device.and_then(|device| control.volumes.iter().find(|volume| volume.number() == device.volume));
    let kind = if status.is_some() { Notify::Response } else { Notify::Call };
    let payload = encode(|writer| {
        context_of(resource, &control, device.map(|device| device.volume)).write(writer);
        header(writer, kind as u32);
        let open = writer.begin_reply(container::HELPER);
        writer.string(1, name.as_bytes());
        writer.u32(2, status.unwrap_or(0));
        writer.end(open);
    });
    notify(command::HELPER, device.map_or(NO_MINOR, |device| device.minor), &payload);
    let reason = match status {
        None => Reason::HelperCalled(name.as_bytes()),
        Some(status) => Reason::HelperDone(name.as_bytes(), status),
    };
    if let Some(volume) = volume {
        notify_event(volume.device.minor, &volume_status(resource, &control, volume, reason, false, None));
    }
}

/// AC-1: one change of state as new-style and old-style events.
pub(crate) fn notify_change(resource: &Arc<Resource>, device: &Arc<Device>, change: &AfterChange) {
    let control = resource.control.lock();
    let Some(volume) = control.volumes.iter().find(|volume| volume.number() == change.volume) else { return };
    let (old, new) = (&change.old, &change.new);
    let suspension = |state: &State| (state.susp, state.susp_nod, state.susp_fen);
    let connection = |state: &State| (state.conn.number().min(9), state.peer);
    let peer_device = |state: &State| (state.conn.number().max(9), state.pdsk, state.user_isp, state.peer_isp, state.aftr_isp);
    let changed = [
        old.role != new.role || suspension(old) != suspension(new),
        connection(old) != connection(new),
        old.disk != new.disk,
        peer_device(old) != peer_device(new) && control.net.is_some(),
    ];
    for (place, _) in changed.iter().enumerate().filter(|(_, changed)| **changed) {
        let more = changed.iter().skip(place + 1).any(|later| *later);
        let kind = Notify::Change as u32 | if more { CONTINUES } else { 0 };
        match place {
            0 => notify(command::RESOURCE_STATE, NO_MINOR, &resource_message(resource, &control, kind, true)),
            1 => notify(command::CONNECTION_STATE, NO_MINOR, &connection_message(resource, &control, kind, true)),
            2 => notify(command::DEVICE_STATE, device.minor, &device_message(resource, volume, kind, true)),
            _ => notify(command::PEER_DEVICE_STATE, NO_MINOR, &peer_device_message(resource, &control, volume, kind, true)),
        }
    }
    let payload = volume_status(resource, &control, volume, Reason::StateChange(old.pack(), new.pack()), false, None);
    notify_event(device.minor, &payload);
}

/// Creation and destruction of a resource.
pub(crate) fn notify_resource(resource: &Resource, kind: Notify) {
    let control = resource.control.lock();
    notify(command::RESOURCE_STATE, NO_MINOR, &resource_message(resource, &control, kind as u32, kind != Notify::Destroy));
}

/// Creation and destruction of a configured connection, with what it means for every volume.
pub(crate) fn notify_connection(resource: &Resource, kind: Notify) {
    let control = resource.control.lock();
    let create = kind != Notify::Destroy;
    let count = control.volumes.len();
    let connection = |more: bool| {
        let flags = kind as u32 | if more { CONTINUES } else { 0 };
        notify(command::CONNECTION_STATE, NO_MINOR, &connection_message(resource, &control, flags, create));
    };
    if create {
        connection(count > 0);
    }
    for (at, volume) in control.volumes.iter().enumerate() {
        let more = at + 1 < count || !create;
        let flags = kind as u32 | if more { CONTINUES } else { 0 };
        notify(command::PEER_DEVICE_STATE, NO_MINOR, &peer_device_message(resource, &control, volume, flags, create));
    }
    if !create {
        connection(false);
    }
}

/// Blocks got in sync since the last such event, or a resync as target has ended.
pub(crate) fn notify_progress(resource: &Resource, number: u16) {
    let control = resource.control.lock();
    if let Some(volume) = control.volumes.iter().find(|volume| volume.number() == number) {
        notify_event(volume.device.minor, &volume_status(resource, &control, volume, Reason::SyncProgress, false, None));
    }
}

/// Creation and destruction of a volume.
pub(crate) fn notify_device(resource: &Resource, number: u16, kind: Notify) {
    let control = resource.control.lock();
    if let Some(volume) = control.volumes.iter().find(|volume| volume.number() == number) {
        notify(command::DEVICE_STATE, volume.device.minor, &device_message(resource, volume, kind as u32, kind != Notify::Destroy));
    }
}
