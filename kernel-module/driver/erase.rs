// SPDX-License-Identifier: GPL-2.0
//! Discards and write-zeroes on the local disk, of the application and of the peer
//! (behaviour.md WR-9). The block layer offers them only as waiting calls once alignment and
//! missing support are taken into account, so a work item per volume carries them out.

use super::device::{AppIo, Device};
use super::peer_io::PeerIo;
use super::prelude::*;
use super::registry::REGISTRY;
use crate::kapi::bdev::ZeroMode;
use crate::kapi::thread::NoIoScope;

/// A range to erase, and who waits for it.
pub(crate) enum Erase {
    /// Of the application.
    App(Io<AppIo>),
    /// Of the peer.
    Peer(Io<PeerIo>),
}

/// Ranges that wait; no two overlap, so their order does not matter.
pub(crate) struct Erases {
    app: IoQueue<AppIo>,
    peer: IoQueue<PeerIo>,
}

impl Erases {
    /// None.
    pub(crate) const fn new() -> Self {
        Self { app: IoQueue::new(), peer: IoQueue::new() }
    }

    fn push(&mut self, what: Erase) -> core::result::Result<(), Erase> {
        match what {
            Erase::App(io) => self.app.push(io).map_err(Erase::App),
            Erase::Peer(io) => self.peer.push(io).map_err(Erase::Peer),
        }
    }

    fn pop(&mut self) -> Option<Erase> {
        self.app.pop().map(Erase::App).or_else(|| self.peer.pop().map(Erase::Peer))
    }
}

/// What an erased range has to be like afterwards.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// First sector.
    pub(crate) sector: u64,
    /// Length in bytes, a multiple of 512.
    pub(crate) size_bytes: u32,
    /// Blocks may be given up.
    pub(crate) may_unmap: bool,
    /// A discard: giving blocks up is what is wanted.
    pub(crate) discard: bool,
}

impl Device {
    /// Queues a range; any context. The requester's completion comes later, from the work item.
    pub(crate) fn erase(self: &Arc<Self>, what: Erase) {
        let refused = self.erases.lock().push(what).err();
        if let Some(refused) = refused {
            // It is queued already: a broken driver.
            end(refused, BlkStatus::RESOURCE);
            return;
        }
        if let Some(registry) = REGISTRY.get() {
            let _ = registry.log_queue.enqueue::<Arc<Device>, 3>(self.clone());
        }
    }

    /// Erases one range; waits for the disk.
    fn carry_out(&self, order: Order) -> Result {
        let (backing, aligned_is_enough) = {
            let mut control = self.resource.control.lock();
            let disk = control.volume(self.volume).and_then(|volume| volume.disk.as_ref()).ok_or(EIO)?;
            (disk.backing.clone(), disk.conf.discard_zeroes_if_aligned())
        };
        let facts = backing.facts();
        let (sector, sectors) = (order.sector, u64::from(order.size_bytes / 512));
        let mode = if order.may_unmap { ZeroMode::MayUnmap } else { ZeroMode::NoUnmap };
        if !order.discard || facts.max_discard_sectors == 0 || !aligned_is_enough {
            return backing.zeroout(sector, sectors, mode);
        }
        let unit = u64::from(facts.discard_granularity_bytes / 512).max(1);
        let shift = u64::from(facts.discard_alignment_bytes / 512).checked_rem(unit).unwrap_or(0);
        let end = sector.saturating_add(sectors);
        let first = align_up(sector, unit, shift);
        let last = align_down(end, unit, shift);
        if first >= last {
            return backing.zeroout(sector, sectors, mode);
        }
        if first > sector {
            backing.zeroout(sector, first - sector, mode)?;
        }
        backing.discard(first, last - first)?;
        if end > last {
            backing.zeroout(last, end - last, mode)?;
        }
        Ok(())
    }
}

fn align_up(sector: u64, unit: u64, shift: u64) -> u64 {
    match sector.wrapping_sub(shift).checked_rem(unit) {
        None | Some(0) => sector,
        Some(past) => sector.saturating_add(unit - past),
    }
}

fn align_down(sector: u64, unit: u64, shift: u64) -> u64 {
    sector.saturating_sub(sector.wrapping_sub(shift).checked_rem(unit).unwrap_or(0))
}

fn end(what: Erase, status: BlkStatus) {
    match what {
        Erase::App(io) => AppIo::completed(io, status),
        Erase::Peer(io) => PeerIo::completed(io, status),
    }
}

impl WorkItem<3> for Device {
    type Pointer = Arc<Device>;

    fn run(device: Arc<Device>) {
        let _no_io = NoIoScope::enter();
        loop {
            let next = device.erases.lock().pop();
            let Some(what) = next else { break };
            let order = match &what {
                Erase::App(io) => io.erase_order(),
                Erase::Peer(io) => io.erase_order(),
            };
            let status = match device.carry_out(order) {
                Ok(()) => BlkStatus::OK,
                Err(_) => BlkStatus::IOERR,
            };
            end(what, status);
        }
    }
}
