// SPDX-License-Identifier: GPL-2.0
//! /proc/drbd (netlink-and-tools.md section 9).

use super::prelude::*;
use super::registry::REGISTRY;
use super::resource::Control;
use super::volume::Volume;
use crate::kapi::procfs::{ProcShow, ProcWriter};
use core::fmt::Write;
use drbd_core::epoch::Ordering;
use drbd_core::resync::{Details, Report};
use drbd_core::state::{Conn, Disk, Role};

/// The file.
pub(crate) struct Show;

impl ProcShow for Show {
    fn show(out: &mut ProcWriter) -> core::fmt::Result {
        writeln!(out, "version: 8.4.11 (api:1/proto:86-101)")?;
        writeln!(out, "srcversion: {:<24}", "D4BD0000000000000000000")?;
        let Some(registry) = REGISTRY.get() else { return Ok(()) };
        let mut next = 0;
        let mut expected = 0;
        while let Some(device) = registry.next_device(next) {
            let minor = device.minor;
            if minor > 0 && minor != expected {
                writeln!(out)?;
            }
            expected = minor + 1;
            next = minor + 1;
            let mut control = device.resource.control.lock();
            let protocol = control.net.as_ref().map_or(' ', |net| match net.protocol() {
                1 => 'A',
                2 => 'B',
                _ => 'C',
            });
            let Some(index) = control.index(device.volume) else { continue };
            show_volume(out, &mut control, index, minor, protocol)?;
        }
        Ok(())
    }
}

fn show_volume(out: &mut ProcWriter, control: &mut Control, index: usize, minor: u32, protocol: char) -> core::fmt::Result {
    let Some(volume) = control.volumes.get(index) else { return Ok(()) };
    let state = volume.state;
    if state.conn == Conn::StandAlone && state.disk == Disk::Diskless && state.role == Role::Secondary {
        return writeln!(out, "{minor:2}: cs:Unconfigured");
    }
    let flags = state.flags(volume.log_suspended);
    write!(out, "{minor:2}: cs:{} ro:{}/{} ds:{}/{} {protocol} ", state.conn, state.role, state.peer, state.disk, state.pdsk)?;
    for letter in flags {
        out.write_char(letter as char)?;
    }
    writeln!(out)?;
    counters(out, volume)?;
    if matches!(state.conn, Conn::SyncSource | Conn::SyncTarget | Conn::VerifyS | Conn::VerifyT) {
        let left = super::throttle::left_bits(volume);
        let details = (crate::kapi::params::proc_details() >= 1).then(|| details(volume, left));
        let report = Report {
            verify: state.conn.is_verify(),
            left_bits: left,
            device_bits: volume.sectors.div_ceil(8),
            now_ms: super::resync::now_ms(),
            want_kib: matches!(state.conn, Conn::SyncTarget | Conn::VerifyS).then_some(u64::from(volume.pacer.want_kib)),
            details,
        };
        volume.resync.write(out, &report)?;
    }
    let level = crate::kapi::params::proc_details();
    let plane = volume.device.plane.lock();
    if level >= 1 && state.disk >= Disk::Failed {
        plane.core.log.write_statistics(out)?;
    }
    if level >= 2 {
        writeln!(out, "\tblocked on activity log: {}", plane.core.waiting_for_log())?;
    }
    Ok(())
}

fn details(volume: &Volume, left: u64) -> Details {
    let plane = volume.device.plane.lock();
    let verify = volume.state.conn.is_verify();
    let position_bit = if verify { plane.core.bitmap.bits().saturating_sub(left) } else { volume.resync_cursor };
    Details { position_bit, stop_sector: plane.core.verify.stop_sector().filter(|_| verify) }
}

fn counters(out: &mut ProcWriter, volume: &Volume) -> core::fmt::Result {
    let device = &volume.device;
    let stats = &device.statistics;
    let connection = &device.resource.connection;
    let (local, pending, application, weight) = {
        let plane = device.plane.lock();
        (plane.core.local_references(), plane.core.pending_at_peer(), plane.core.in_flight(), plane.core.bitmap.weight())
    };
    let ordering = match connection.epochs_in.lock().ordering() {
        Ordering::None => 'n',
        Ordering::Drain => 'd',
        Ordering::Flush => 'f',
    };
    writeln!(
        out,
        "    ns:{} nr:{} dw:{} dr:{} al:{} bm:{} lo:{} pe:{} ua:{} ap:{} ep:{} wo:{} oos:{}",
        stats.sent.get() / 2,
        stats.received.get() / 2,
        stats.written.get() / 2,
        stats.read.get() / 2,
        stats.log_writes.get(),
        stats.bitmap_writes.get(),
        local,
        i64::from(pending) + i64::from(device.resync_pending.load(Relaxed)),
        connection.peer_requests_in_work(),
        application,
        connection.epochs_in.lock().open(),
        ordering,
        weight * 4
    )
}
