// SPDX-License-Identifier: GPL-2.0
//! /proc/drbd_waits: which request, command, helper or metadata access waits for what, and for how long. `drbdsetup waits` shows it.
//!
//! The first line is `v: 0`, the second names the columns; they are separated by tabs. One line for each kind of thing that waits, with the
//! oldest of its kind; `-` where a column says nothing. A line per thing, so that nothing is written when nothing waits.

use super::device::{now, Device};
use super::prelude::*;
use super::registry::REGISTRY;
use super::resource::{Control, Resource};
use crate::kapi::procfs::{ProcShow, ProcWriter};
use crate::kapi::time::ms_from_jiffies;
use core::fmt::{self, Write};
use drbd_core::engine::waits::Kind;
use drbd_core::genl::command_name;
use drbd_core::state::{Conn, Disk};

/// The file.
pub(crate) struct Show;

/// Ticks of the 32-bit clock as milliseconds.
fn ms(ticks: u32) -> u64 {
    ms_from_jiffies(ticks as Jiffies)
}

/// Milliseconds since a tick.
fn ms_since(tick: Jiffies) -> u64 {
    ms_from_jiffies(jiffies().wrapping_sub(tick))
}

impl ProcShow for Show {
    fn show(out: &mut ProcWriter) -> fmt::Result {
        writeln!(out, "v: 0")?;
        writeln!(out, "resource\tvolume\tminor\twhat\tcount\tage_ms\tsector\tbytes\twaits_for")?;
        let Some(registry) = REGISTRY.get() else { return Ok(()) };
        let mut index = 0;
        while let Some(resource) = registry.nth_resource(index) {
            index += 1;
            show_resource(out, &resource)?;
            let list = resource.connection.volume_list();
            for device in list.volumes.iter() {
                show_volume(out, device)?;
            }
        }
        Ok(())
    }
}

fn show_resource(out: &mut ProcWriter, resource: &Resource) -> fmt::Result {
    let name = resource.display_name();
    if let Some(holder) = resource.turn.holder() {
        let program = CStr::from_bytes_until_nul(&holder.program).ok().and_then(|text| text.to_str().ok()).unwrap_or("?");
        let (command, age) = (command_name(holder.command), ms_since(holder.since));
        writeln!(out, "{name}\t-\t-\tcommand\t1\t{age}\t-\t-\t{command} of {program}[{}]", holder.pid)?;
    }
    let helpers = *resource.helpers.lock();
    for (event, since) in helpers.into_iter().flatten() {
        writeln!(out, "{name}\t-\t-\thelper\t1\t{}\t-\t-\tthe end of the program called for {event}", ms_since(since))?;
    }
    Ok(())
}

/// Why requests are not admitted.
fn obstacle(control: &mut Control, device: &Device) -> &'static str {
    let version = control.version;
    let Some(volume) = control.volume(device.volume) else { return "the end of the volume" };
    let state = volume.state;
    match () {
        () if state.susp => "suspended-io: resume-io",
        () if state.susp_nod => "suspended-io: data",
        () if state.susp_fen => "suspended-io: fencing",
        () if matches!(state.disk, Disk::Attaching | Disk::Negotiating) => "the disk is being attached",
        () if volume.uuid_pending => "a new generation on disk",
        () if volume.frozen > 0 => "a change of the disk",
        () if state.conn > Conn::Connected && !state.admits_io(version) => "the start of the resync",
        () => "room, or an overlapping request",
    }
}

fn show_volume(out: &mut ProcWriter, device: &Device) -> fmt::Result {
    let resource = &device.resource;
    let (name, number, minor) = (resource.display_name(), device.volume, device.minor);
    let (waits, reads, reads_since, weight_of_disk) = {
        let plane = device.plane.lock();
        (plane.core.waits(now()), plane.local_reads, plane.local_reads_since, plane.core.local_references())
    };
    for (kind, waiting) in Kind::ALL.iter().zip(waits.iter()) {
        if waiting.count > 0 {
            let (count, age, text) = (waiting.count, ms(waiting.age), Text(waiting.waits_for));
            let kind = kind.name();
            writeln!(out, "{name}\t{number}\t{minor}\t{kind}\t{count}\t{age}\t{}\t{}\t{}", waiting.sector, waiting.size_bytes, text.0)?;
        }
    }
    if reads > 0 {
        let age = ms(now().wrapping_sub(reads_since));
        writeln!(out, "{name}\t{number}\t{minor}\tread\t{reads}\t{age}\t-\t-\tlocal-disk")?;
    }
    let blocked = device.blocked.load(Relaxed);
    if blocked > 0 {
        let age = ms(now().wrapping_sub(device.blocked_since.load(Relaxed)));
        let why = obstacle(&mut resource.control.lock(), device);
        writeln!(out, "{name}\t{number}\t{minor}\tadmission\t{blocked}\t{age}\t-\t-\t{why}")?;
    }
    if let Some(access) = device.given_up.running() {
        let what = if access.write { "metadata-write" } else { "metadata-read" };
        let age = ms_since(access.since);
        writeln!(out, "{name}\t{number}\t{minor}\t{what}\t1\t{age}\t{}\t4096\tlocal-disk", access.sector)?;
    }
    let failing = resource.control.lock().volume(number).is_some_and(|volume| volume.state.disk == Disk::Failed);
    if failing {
        writeln!(out, "{name}\t{number}\t{minor}\tdetach\t{weight_of_disk}\t-\t-\t-\trequests at the local-disk")?;
    }
    Ok(())
}
