// SPDX-License-Identifier: GPL-2.0
//! Administrative commands by netlink (netlink-and-tools.md section 2): checks in the documented order, then the work.

use super::attach::Refused;
use super::control::{publish, Changed};
use super::device::Device;
use super::network;
use super::options;
use super::prelude::*;
use super::registry::{Registry, REGISTRY};
use super::removal;
use super::resource::Resource;
use super::status::{self, Notify};
use super::volume::Volume;
use crate::kapi::genl::{Cursor, DumpOutput, Handler, Reply, Request as Message};
use drbd_core::genl::config::ConfigError;
use drbd_core::genl::{command, container, ret, Attribute, Attributes, DiskConf, NetConf, ResourceOptions, FLAG_SET_DEFAULTS, NO_MINOR};
use drbd_core::state::vector::word;
use drbd_core::state::{Conn, Disk, Request, Role};

/// How long a deletion waits until what it deleted is closed: a busy node may take seconds, a disk that does not answer for ever.
const SETTLE_LIMIT: Jiffies = 10 * HZ;

/// Entry of the family.
pub(crate) struct Admin;

impl Handler for Admin {
    fn request(message: &Message<'_>) -> Reply {
        let outcome = match REGISTRY.get() {
            Some(registry) => run(&registry, message),
            None => Err(Refused::code(ret::NOMEM)),
        };
        if matches!(message.command, command::DOWN | command::DEL_MINOR | command::DEL_RESOURCE) {
            // Whoever unloads the module next finds nothing of it in use.
            crate::kapi::settle(SETTLE_LIMIT);
        }
        let (code, info) = match &outcome {
            Ok(done) => (done.code, ""),
            Err(refused) => (refused.code, refused.info),
        };
        let echo = raw_container(message.attributes, container::CFG_CONTEXT);
        let mut payload = status::encode(|writer| {
            if let Some(echo) = echo {
                writer.raw(echo);
            }
            if !info.is_empty() {
                let open = writer.begin_reply(container::CFG_REPLY);
                writer.string(1, info.as_bytes());
                writer.end(open);
            }
        });
        if let Ok(done) = outcome {
            let _ = payload.extend_from_slice(&done.payload, GFP_KERNEL);
        }
        Reply { code, payload }
    }

    fn dump(message: &Message<'_>, cursor: &mut Cursor<'_>, out: &mut DumpOutput) -> Result {
        status::dump(message, cursor, out)
    }
}

/// Success: the code, and attributes for the reply.
pub(super) struct Done {
    pub(super) code: i32,
    pub(super) payload: KVec<u8>,
}

impl Done {
    pub(super) fn code(code: i32) -> Result<Self, Refused> {
        Ok(Self { code, payload: KVec::new() })
    }

    pub(super) fn ok() -> Result<Self, Refused> {
        Self::code(ret::NO_ERROR)
    }
}

pub(super) fn invalid(info: &'static str) -> Refused {
    Refused { code: ret::INVALID_REQUEST, info }
}

fn raw_container(attributes: &[u8], number: u16) -> Option<&[u8]> {
    let found = Attributes::new(attributes).find(number)?;
    // The attribute with its header, padded.
    let start = (found.payload.as_ptr() as usize).checked_sub(attributes.as_ptr() as usize)?.checked_sub(4)?;
    attributes.get(start..start + 4 + found.payload.len())
}

/// What CFG_CONTEXT names.
#[derive(Default)]
pub(super) struct Named<'a> {
    pub(super) volume: Option<u32>,
    pub(super) name: Option<&'a [u8]>,
    pub(super) own: Option<&'a [u8]>,
    pub(super) peer: Option<&'a [u8]>,
}

fn named<'a>(message: &Message<'a>) -> Named<'a> {
    let Some(context) = Attributes::new(message.attributes).find(container::CFG_CONTEXT) else { return Named::default() };
    let inner = context.inner();
    Named {
        volume: inner.find(1).and_then(|attribute| attribute.u32()),
        name: inner.find(2).and_then(|attribute| attribute.string()),
        own: inner.find(3).map(|attribute| attribute.payload),
        peer: inner.find(4).map(|attribute| attribute.payload),
    }
}

pub(super) fn container_of<'a>(message: &Message<'a>, number: u16) -> Option<Attribute<'a>> {
    Attributes::new(message.attributes).find(number)
}

fn flag(message: &Message<'_>, number: u16, attribute: u16) -> bool {
    let found = container_of(message, number).and_then(|found| found.inner().find(attribute));
    found.and_then(|attribute| attribute.u8()).unwrap_or(0) != 0
}

pub(super) fn mandatory(error: ConfigError) -> Refused {
    let code = if error == ConfigError::CpuMask { ret::INVALID_REQUEST } else { ret::MANDATORY_TAG };
    Refused { code, info: error.text() }
}

fn run(registry: &Arc<Registry>, message: &Message<'_>) -> Result<Done, Refused> {
    let context = named(message);
    match message.command {
        command::NEW_RESOURCE => return new_resource(registry, message, &context),
        command::NEW_MINOR => return new_minor(registry, message, &context),
        command::CONNECT => return network::connect(registry, message, &context),
        command::DEL_RESOURCE | command::RESOURCE_OPTS | command::DOWN => {
            let resource = needs_resource(registry, &context)?;
            return for_resource(registry, message, &resource);
        }
        command::DISCONNECT | command::CHG_NET_OPTS => {
            let resource = needs_connection(registry, message, &context)?;
            return for_connection(message, &resource);
        }
        _ => {}
    }
    let device = registry.device(message.minor).ok_or(Refused { code: ret::MINOR_INVALID, info: "unknown minor" })?;
    if let Some(name) = context.name {
        if registry.resource(name).is_some() && device.resource.name() != name {
            return Err(invalid("minor exists in different resource"));
        }
    }
    if context.volume.is_some_and(|volume| volume != u32::from(device.volume)) {
        return Err(invalid("minor exists as different volume"));
    }
    for_device(registry, message, &device)
}

pub(super) fn needs_resource(registry: &Registry, context: &Named<'_>) -> Result<Arc<Resource>, Refused> {
    let name = context.name.ok_or(invalid("unknown resource"))?;
    registry.resource(name).ok_or(Refused { code: ret::RES_NOT_KNOWN, info: "unknown resource" })
}

fn needs_connection(registry: &Registry, message: &Message<'_>, context: &Named<'_>) -> Result<Arc<Resource>, Refused> {
    if context.name.is_some_and(|name| registry.resource(name).is_some()) {
        return Err(invalid("no resource name expected"));
    }
    if message.minor != NO_MINOR && registry.device(message.minor).is_some() {
        return Err(invalid("no minor number expected"));
    }
    let (Some(own), Some(peer)) = (context.own, context.peer) else { return Err(invalid("unknown connection")) };
    let lists = registry.lists.lock();
    let found = lists.resources.iter().find(|resource| {
        let control = resource.control.lock();
        let same = |address: &Option<SocketAddress>, raw: &[u8]| address.as_ref().is_some_and(|address| raw.starts_with(address.as_bytes()));
        same(&control.own_address, own) && same(&control.peer_address, peer)
    });
    found.cloned().ok_or(invalid("unknown connection"))
}

fn new_resource(registry: &Registry, message: &Message<'_>, context: &Named<'_>) -> Result<Done, Refused> {
    let mut options = ResourceOptions::default();
    if let Some(found) = container_of(message, container::RESOURCE_OPTS) {
        options.read(found.payload).map_err(mandatory)?;
    }
    let name = context.name.filter(|name| !name.is_empty()).ok_or(Refused { code: ret::MANDATORY_TAG, info: "resource name missing" })?;
    if name.contains(&b'/') {
        return Err(invalid("invalid resource name"));
    }
    if registry.resource(name).is_some() {
        return if message.exclusive { Err(invalid("resource exists")) } else { Done::ok() };
    }
    let configuring = registry.configuring.lock();
    if registry.resource(name).is_some() {
        return Done::ok();
    }
    let resource = Resource::create(name, options).map_err(|_| Refused::code(ret::NOMEM))?;
    let pushed = registry.lists.lock().resources.push(resource.clone(), GFP_KERNEL);
    if pushed.is_err() {
        resource.stop_threads();
        return Err(Refused::code(ret::NOMEM));
    }
    drop(configuring);
    status::notify_resource(&resource, Notify::Create);
    Done::ok()
}

fn new_minor(registry: &Arc<Registry>, message: &Message<'_>, context: &Named<'_>) -> Result<Done, Refused> {
    let resource = needs_resource(registry, context)?;
    // Checks 7 and 8 of every command come before those of this one.
    if let Some(device) = registry.device(message.minor) {
        if !Arc::ptr_eq(&device.resource, &resource) {
            return Err(invalid("minor exists in different resource"));
        }
        if context.volume.is_some_and(|volume| volume != u32::from(device.volume)) {
            return Err(invalid("minor exists as different volume"));
        }
    }
    if message.minor > 1_048_575 {
        return Err(invalid("requested minor out of range"));
    }
    let volume = context.volume.and_then(|volume| u16::try_from(volume).ok()).filter(|volume| *volume < u16::MAX);
    let volume = volume.ok_or(invalid("requested volume id out of range"))?;
    let _turn = resource.turn.take(message.command)?;
    let configuring = registry.configuring.lock();
    still_there(&resource)?;
    if let Some(device) = registry.device(message.minor) {
        let same = device.volume == volume && Arc::ptr_eq(&device.resource, &resource);
        return if same && !message.exclusive { Done::ok() } else { Err(Refused::code(ret::MINOR_OR_VOLUME_EXISTS)) };
    }
    if resource.control.lock().index(volume).is_some() {
        return Err(Refused::code(ret::MINOR_OR_VOLUME_EXISTS));
    }
    let device = Device::create(&resource, message.minor, volume, registry).map_err(|_| Refused::code(ret::NOMEM))?;
    add_volume(registry, &resource, &device).map_err(|_| Refused::code(ret::NOMEM))?;
    drop(configuring);
    status::notify_device(&resource, volume, Notify::Create);
    Done::ok()
}

fn add_volume(registry: &Registry, resource: &Arc<Resource>, device: &Arc<Device>) -> Result {
    {
        let mut lists = registry.lists.lock();
        lists.devices.push(device.clone(), GFP_KERNEL)?;
        let mut at = lists.devices.len();
        while at > 1 {
            at -= 1;
            let out_of_order = match (lists.devices.get(at - 1), lists.devices.get(at)) {
                (Some(before), Some(after)) => before.minor > after.minor,
                _ => false,
            };
            if !out_of_order {
                break;
            }
            lists.devices.swap(at - 1, at);
        }
    }
    let mut control = resource.control.lock();
    control.volumes.push(Volume::new(device.clone()), GFP_KERNEL)?;
    control.sort_volumes();
    resource.connection.set_volumes(&control)?;
    if let Some(index) = control.index(device.volume) {
        let first = control.volumes.iter().find(|volume| volume.number() != device.volume).map(|volume| volume.state);
        if let Some(volume) = control.volumes.get_mut(index) {
            let state = &mut volume.state;
            state.conn = Conn::StandAlone;
            let like = first.unwrap_or_default();
            (state.susp, state.susp_nod, state.susp_fen) = (like.susp, like.susp_nod, like.susp_fen);
        }
        publish(&control, index, true);
    }
    Ok(())
}

/// While the command waited for its turn, the resource may have been deleted.
fn still_there(resource: &Resource) -> Result<(), Refused> {
    if resource.control.lock().deleted {
        return Err(Refused { code: ret::RES_NOT_KNOWN, info: "unknown resource" });
    }
    Ok(())
}

fn for_resource(registry: &Arc<Registry>, message: &Message<'_>, resource: &Arc<Resource>) -> Result<Done, Refused> {
    let _turn = resource.turn.take(message.command)?;
    still_there(resource)?;
    match message.command {
        command::RESOURCE_OPTS => options::change_resource(message, resource),
        command::DEL_RESOURCE => removal::delete_resource(registry, resource),
        _ => removal::down(registry, resource),
    }
}

fn for_connection(message: &Message<'_>, resource: &Arc<Resource>) -> Result<Done, Refused> {
    let configured = || if resource.control.lock().own_address.is_none() { Err(invalid("unknown connection")) } else { Ok(()) };
    if message.command == command::DISCONNECT {
        let force = flag(message, container::DISCONNECT_PARMS, 1);
        // By force it overtakes a command that waits, perhaps for what it ends.
        let _turn = if force { None } else { Some(resource.turn.take(message.command)?) };
        configured()?;
        let ended = resource.disconnect(force).map_err(|refusal| Refused::code(refusal.code()))?;
        return if ended || force { Done::ok() } else { Err(Refused { code: ret::INTR, info: "the connection ends as soon as the disk answers" }) };
    }
    let _turn = resource.turn.take(message.command)?;
    configured()?;
    let defaults = message.flags & FLAG_SET_DEFAULTS != 0;
    let mut net = match resource.control.lock().net.as_ref() {
        None => return Err(invalid("net conf missing, try connect")),
        Some(_) if defaults => KBox::new(NetConf::default(), GFP_KERNEL),
        Some(net) => KBox::new(**net, GFP_KERNEL),
    }
    .map_err(|_| Refused::code(ret::NOMEM))?;
    if let Some(found) = container_of(message, container::NET_CONF) {
        net.read_change(found.payload).map_err(mandatory)?;
    }
    network::change_options(resource, net)
}

fn for_device(registry: &Arc<Registry>, message: &Message<'_>, device: &Arc<Device>) -> Result<Done, Refused> {
    let resource = &device.resource;
    if message.command == command::GET_STATUS {
        return Ok(Done { code: ret::NO_ERROR, payload: status::minor_status(device, message.may_see_secrets) });
    }
    if message.command == command::GET_TIMEOUT_TYPE {
        let kind = resource.control.lock().volume(device.volume).map_or(0, |volume| {
            drbd_core::state::attach::waiting_time(volume.state.pdsk, volume.ran_degraded)
        });
        let payload = status::encode(|writer| {
            let open = writer.begin_reply(container::TIMEOUT_PARMS);
            writer.u32(1, kind);
            writer.end(open);
        });
        return Ok(Done { code: ret::NO_ERROR, payload });
    }
    if message.command == command::DETACH && flag(message, container::DETACH_PARMS, 1) {
        return resource.detach(device, true).and_then(Done::code);
    }
    let _turn = resource.turn.take(message.command)?;
    if resource.control.lock().index(device.volume).is_none() {
        return Err(Refused { code: ret::MINOR_INVALID, info: "unknown minor" });
    }
    let number = device.volume;
    let by_state = |request: Request| -> Result<Done, Refused> {
        resource.change_by_admin(number, request).map_err(|refusal| Refused::code(refusal.code())).and_then(|changed| Done::code(changed.code()))
    };
    match message.command {
        command::DEL_MINOR => removal::delete_minor(registry, device),
        command::ATTACH => {
            let mut conf = DiskConf::default();
            let found = container_of(message, container::DISK_CONF).ok_or(Refused { code: ret::MANDATORY_TAG, info: "required attribute missing" })?;
            conf.read(found.payload, true).map_err(mandatory)?;
            resource.attach(device, conf)?;
            Done::ok()
        }
        command::DETACH => resource.detach(device, false).and_then(Done::code),
        command::PRIMARY => resource.set_role(device, Role::Primary, flag(message, container::SET_ROLE_PARMS, 1)).and_then(Done::code),
        command::SECONDARY => resource.set_role(device, Role::Secondary, false).and_then(Done::code),
        command::SUSPEND_IO => by_state(Request::none().flag(word::SUSP, true)),
        command::RESUME_IO => resource.resume_io(number).map_err(|refusal| Refused::code(refusal.code())).and_then(Done::code),
        command::OUTDATE => by_state(Request::none().disk(Disk::Outdated)),
        command::PAUSE_SYNC => pause_sync(resource, number, true),
        command::RESUME_SYNC => pause_sync(resource, number, false),
        command::INVALIDATE | command::INVAL_PEER => invalidate(resource, device, message.command == command::INVALIDATE),
        command::NEW_C_UUID => new_current_uuid(resource, device, flag(message, container::NEW_C_UUID_PARMS, 1)),
        command::CHG_DISK_OPTS => options::change_disk(message, device),
        command::RESIZE => {
            resource.resize(device, container_of(message, container::RESIZE_PARMS))?;
            Done::ok()
        }
        command::START_OV => super::verify::start(message, resource, device),
        _ => Err(Refused::code(ret::PACKET_NR)),
    }
}

/// RX-18. What a change of state says against it is not reported.
fn pause_sync(resource: &Resource, number: u16, pause: bool) -> Result<Done, Refused> {
    let Ok(Changed::Nothing) = resource.change_by_admin(number, Request::none().flag(word::USER_ISP, pause)) else { return Done::ok() };
    let state = resource.control.lock().volume(number).map(|volume| volume.state).unwrap_or_default();
    let is_paused = matches!(state.conn, Conn::PausedSyncS | Conn::PausedSyncT);
    Err(Refused::code(match (pause, state.aftr_isp, state.peer_isp) {
        (true, ..) => ret::PAUSE_IS_SET,
        (false, true, _) if is_paused => ret::PIC_AFTER_DEP,
        (false, false, true) if is_paused => ret::PIC_PEER_DEP,
        _ => ret::PAUSE_IS_CLEAR,
    }))
}

/// UU-16: alone, a Secondary gives up its own data (`local`), a Primary that of its peer; connected, a full sync does.
fn invalidate(resource: &Arc<Resource>, device: &Arc<Device>, local: bool) -> Result<Done, Refused> {
    let number = device.volume;
    let (state, attached) = {
        let mut control = resource.control.lock();
        let attached = super::attach::is_attached(&control, number);
        (control.volume(number).map(|volume| volume.state).unwrap_or_default(), attached)
    };
    if !attached {
        return Err(Refused::code(ret::NO_DISK));
    }
    let role = if local { Role::Secondary } else { Role::Primary };
    let alone = state.conn == Conn::StandAlone && state.role == role;
    let request = match (alone, local) {
        (true, true) => Request::none().disk(Disk::Inconsistent),
        (true, false) => Request::none().pdsk(Disk::Inconsistent),
        (false, true) => Request::none().conn(Conn::StartingSyncT),
        (false, false) => Request::none().conn(Conn::StartingSyncS),
    };
    let changed = resource.change_by_admin(number, request).map_err(|refusal| Refused::code(refusal.code()))?;
    if !alone {
        return Done::code(changed.code());
    }
    resource.set_all_bits(number).map_err(|_| Refused::code(ret::IO_MD_DISK))?;
    if !local {
        // Nothing is left to log (metadata.md 6.3).
        let mut control = resource.control.lock();
        let Some(index) = control.index(number) else { return Done::code(1) };
        if let Some(volume) = control.volumes.get_mut(index).filter(|volume| volume.state.conn < Conn::Connected) {
            volume.log_suspended = true;
        }
        publish(&control, index, true);
    }
    Done::code(1)
}

/// UU-13.
fn new_current_uuid(resource: &Arc<Resource>, device: &Arc<Device>, clear_bitmap: bool) -> Result<Done, Refused> {
    let number = device.volume;
    let skip = {
        let mut control = resource.control.lock();
        let version = control.version;
        let Some(volume) = control.volume(number) else { return Err(Refused::code(ret::MINOR_INVALID)) };
        let (conn, primary) = (volume.state.conn, volume.state.role == Role::Primary);
        let Some(disk) = volume.disk.as_mut() else { return Err(Refused::code(ret::NO_DISK)) };
        let fresh = disk.uuids.current == drbd_core::md::uuids::JUST_CREATED;
        let skip = conn == Conn::Connected && version >= 90 && fresh && clear_bitmap;
        if conn != Conn::StandAlone && !skip {
            return Err(Refused::code(ret::CONNECTED));
        }
        disk.uuids.clear_bitmap();
        disk.uuids.new_current(random_u64(), primary);
        if skip {
            disk.uuids.bitmap = 0;
        }
        volume.effective_uuid = disk.uuids.current;
        if clear_bitmap {
            super::bitmap_io::fill(&volume.device, false);
            volume.log_suspended = false;
        }
        skip
    };
    if clear_bitmap {
        resource.write_bitmap(number).map_err(|_| Refused::code(ret::IO_MD_DISK))?;
    }
    if skip {
        let mut control = resource.control.lock();
        let version = control.version;
        if let Some(volume) = control.volume(number) {
            let flags = drbd_core::wire::params::uuid_flags::SKIP_INITIAL_SYNC;
            resource.send(number, super::packets::uuids(version, volume, false, flags));
        }
        if let Some(index) = control.index(number) {
            resource.hard(&mut control, index, Request::none().disk(Disk::UpToDate).pdsk(Disk::UpToDate));
        }
    }
    resource.write_superblock(number).map_err(|_| Refused::code(ret::IO_MD_DISK))?;
    Done::ok()
}
