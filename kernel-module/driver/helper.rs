// SPDX-License-Identifier: GPL-2.0
//! Calling the helper program that tells user space what happened and asks it for decisions
//! (netlink-and-tools.md section 10).
//!
//! Process context without any lock: the helper may use the driver. The caller waits for its end.

use super::device::Device;
use super::prelude::*;
use super::resource::Resource;
use super::status;
use crate::kapi::{params, umh};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::str::CString;

/// What the program is told: its first argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    PrimaryOnInconsistent,
    BeforeResyncSource,
    BeforeResyncTarget,
    AfterResyncTarget,
    InitialSplitBrain,
    SplitBrain,
    PrimaryLost,
    PrimaryLostAfterSplitBrain,
    LocalIoError,
    OutOfSync,
    FencePeer,
    UnfencePeer,
}

impl Event {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Event::PrimaryOnInconsistent => "pri-on-incon-degr",
            Event::BeforeResyncSource => "before-resync-source",
            Event::BeforeResyncTarget => "before-resync-target",
            Event::AfterResyncTarget => "after-resync-target",
            Event::InitialSplitBrain => "initial-split-brain",
            Event::SplitBrain => "split-brain",
            Event::PrimaryLost => "pri-lost",
            Event::PrimaryLostAfterSplitBrain => "pri-lost-after-sb",
            Event::LocalIoError => "local-io-error",
            Event::OutOfSync => "out-of-sync",
            Event::FencePeer => "fence-peer",
            Event::UnfencePeer => "unfence-peer",
        }
    }
}

/// Calls the helper about a volume; its exit code, 0 if it could not be run.
pub(crate) fn call(resource: &Arc<Resource>, device: &Arc<Device>, event: Event) -> i32 {
    let _ = resource.sync_superblock(device.volume);
    announced(resource, Some(&**device), event)
}

/// Calls the helper about the whole resource.
pub(crate) fn call_for_resource(resource: &Arc<Resource>, event: Event) -> i32 {
    let list = resource.connection.volume_list();
    for device in list.volumes.iter() {
        let _ = resource.sync_superblock(device.volume);
    }
    announced(resource, None, event)
}

/// Notes for /proc/drbd_waits that the program runs; the place where it is noted.
fn note_start(resource: &Resource, event: Event) -> Option<usize> {
    let mut helpers = resource.helpers.lock();
    let place = helpers.iter().position(Option::is_none)?;
    *helpers.get_mut(place)? = Some((event.name(), jiffies()));
    Some(place)
}

fn announced(resource: &Arc<Resource>, device: Option<&Device>, event: Event) -> i32 {
    status::notify_helper(resource, device, event.name(), None);
    let place = note_start(resource, event);
    let status = run(resource, device.map(|device| device.minor), event).unwrap_or(0);
    if let Some(place) = place {
        let mut helpers = resource.helpers.lock();
        helpers.get_mut(place).map(Option::take);
    }
    status::notify_helper(resource, device, event.name(), Some(status as u32));
    (status >> 8) & 0xff
}

/// Runs the program and waits for it; the raw wait status.
fn run(resource: &Resource, minor: Option<u32>, event: Event) -> Result<i32> {
    let mut path = [0u8; params::HELPER_PATH_BYTES];
    params::usermode_helper(&mut path);
    // What `echo` writes into the parameter ends with a newline.
    if let Some(newline) = path.iter_mut().find(|byte| **byte == b'\n') {
        *newline = 0;
    }
    let program = CStr::from_bytes_until_nul(&path).map_err(|_| EINVAL)?;
    let (name, program_text) = (event.name(), program.to_str().unwrap_or("?"));
    let event_name = CString::try_from_fmt(fmt!("{}", name))?;
    let object = match minor {
        Some(minor) => CString::try_from_fmt(fmt!("minor-{}", minor))?,
        None => CString::try_from_fmt(fmt!("{}", resource.display_name()))?,
    };
    let shown_object = object.to_str().unwrap_or("?");
    let peer = resource.control.lock().peer_address;
    let (family, address) = peer_strings(peer.as_ref())?;
    let fixed = [c"HOME=/", c"TERM=linux", c"PATH=/sbin:/usr/sbin:/bin:/usr/bin"];
    let environment = [fixed[0], fixed[1], fixed[2], &*family, &*address];
    let shown = if peer.is_some() { 5 } else { 3 };
    let of = resource.display_name();
    pr_info!("{}: helper command: {} {} {}\n", of, program_text, name, shown_object);
    let result = umh::run(&[program, &event_name, &object], environment.get(..shown).unwrap_or(&fixed));
    let status = match result {
        Ok(status) => status,
        Err(error) => {
            pr_info!("{}: helper command: {} {} {} could not be run ({})\n", of, program_text, name, shown_object, error.to_errno());
            return Err(error);
        }
    };
    let code = (status >> 8) & 0xff;
    pr_info!("{}: helper command: {} {} {} exit code {} ({:#x})\n", of, program_text, name, shown_object, code, status);
    Ok(status)
}

/// DRBD_PEER_AF and DRBD_PEER_ADDRESS.
fn peer_strings(peer: Option<&SocketAddress>) -> Result<(CString, CString)> {
    let unspecified = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let ip = peer.map_or(unspecified, |peer| match (<[u8; 16]>::try_from(peer.ip()), <[u8; 4]>::try_from(peer.ip())) {
        (Ok(v6), _) => IpAddr::V6(Ipv6Addr::from(v6)),
        (_, Ok(v4)) => IpAddr::V4(Ipv4Addr::from(v4)),
        _ => unspecified,
    });
    let family = if ip.is_ipv6() { "ipv6" } else { "ipv4" };
    Ok((
        CString::try_from_fmt(fmt!("DRBD_PEER_AF={}", family))?,
        CString::try_from_fmt(fmt!("DRBD_PEER_ADDRESS={}", Text(ip)))?,
    ))
}
