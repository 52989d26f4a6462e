// SPDX-License-Identifier: GPL-2.0
//! Reading and writing the bitmap on disk (metadata.md section 7). Process context.

use super::device::{Device, Plane};
use super::metadata::{Place, METADATA_TIMEOUT_SECONDS};
use super::prelude::*;
use super::resource::Resource;
use drbd_core::bitmap::pieces;
use drbd_core::wire::bitmap_transfer::{Sink, Source};

/// Sectors of a page of the bitmap.
const PAGE_SECTORS: u64 = 8;

/// Pages read or written with one access.
const RUN_PAGES: usize = 64;

/// Pages changed under one hold of the volume's lock, with interrupts off: those given back are freed meanwhile.
const CHANGE_PAGES: u64 = 64;

/// Pages looked at under one hold of the lock.
pub(crate) const LOOK_PAGES: u64 = 1024;

/// Sets or clears bits `first..end`, however many.
pub(crate) fn change(device: &Device, first: u64, end: u64, set: bool) {
    for (from, to) in pieces(first, end, CHANGE_PAGES) {
        let bitmap = &mut device.plane.lock().core.bitmap;
        if set {
            bitmap.set_bits(from, to);
        } else {
            bitmap.clear_bits(from, to);
        }
    }
}

/// Sets or clears every bit.
pub(crate) fn fill(device: &Device, set: bool) {
    let bits = device.plane.lock().core.bitmap.bits();
    change(device, 0, bits, set);
}

/// The bitmap of a volume as what a transfer sends and receives; each call holds the lock for a moment only. What is set meanwhile is in the
/// part still to come, or travels as a notice.
pub(crate) struct Shared<'a>(pub(crate) &'a Device);

impl Source for Shared<'_> {
    fn bits(&self) -> u64 {
        self.0.plane.lock().core.bitmap.bits()
    }

    fn run(&self, from: u64) -> Option<(u64, bool)> {
        let mut joined: Option<(u64, bool)> = None;
        for (at, end) in pieces(from, self.bits(), LOOK_PAGES) {
            let Some((length, value)) = self.0.plane.lock().core.bitmap.run_before(at, end) else { break };
            joined = match joined {
                None => Some((length, value)),
                Some((before, first)) if first == value => Some((before + length, first)),
                same => return same,
            };
            if at + length < end {
                break;
            }
        }
        joined
    }

    fn word(&self, index: u64) -> u64 {
        self.0.plane.lock().core.bitmap.word(index)
    }
}

impl Sink for Shared<'_> {
    fn set(&mut self, first: u64, end: u64) {
        change(self.0, first, end, true);
    }

    fn or_word(&mut self, index: u64, word: u64) {
        self.0.plane.lock().core.bitmap.or_word(index, word);
    }
}

/// Reads the whole bitmap.
pub(crate) fn read(device: &Device) -> Result {
    let pages = device.plane.lock().core.bitmap.page_count();
    let mut buffer = device.meta.lock();
    let Place { meta, layout, .. } = device.metadata_place().ok_or(ENODEV)?;
    let mut first = 0;
    while first < pages {
        let count = (pages - first).min(RUN_PAGES);
        let sector = layout.bitmap_sector() + first as u64 * PAGE_SECTORS;
        let load = |page: usize, bytes: &[u8; 4096]| device.plane.lock().core.bitmap.load_page(first + page, bytes);
        buffer.read_run(&meta, &device.pages, sector, count, METADATA_TIMEOUT_SECONDS * HZ, load).map_err(|_| EIO)?;
        first += count;
    }
    Ok(())
}

/// Writes page `page` if it differs from the disk. `settled`: the blocks that the bits speak of are durable; they are made so with the first page.
pub(crate) fn write_page(device: &Device, page: usize, settled: &mut bool) -> Result {
    let mut buffer = device.meta.lock();
    let Some(place) = device.metadata_place() else { return Ok(()) };
    let mut run = buffer.run(&device.pages, 1);
    gather(device, &mut buffer, &mut run, page, settled);
    write(device, &place, &mut buffer, run, page, settled)
}

/// Writes every page that differs from the disk, neighbours together. Others may use the metadata in between.
pub(crate) fn write_changed(device: &Device) -> Result {
    let mut from = 0;
    let mut settled = false;
    loop {
        let (first, count) = {
            let plane = device.plane.lock();
            let bitmap = &plane.core.bitmap;
            let end = from + LOOK_PAGES as usize;
            match bitmap.next_dirty_page_before(from, end) {
                Some(first) => (first, (first..first + RUN_PAGES).take_while(|page| bitmap.is_dirty(*page)).count()),
                None if end < bitmap.page_count() => {
                    from = end;
                    continue;
                }
                None => return Ok(()),
            }
        };
        let mut buffer = device.meta.lock();
        let Some(place) = device.metadata_place() else { return Ok(()) };
        let mut run = buffer.run(&device.pages, count);
        while !run.is_full() && gather(device, &mut buffer, &mut run, first, &mut settled) {}
        from = first + run.blocks().max(1);
        write(device, &place, &mut buffer, run, first, &mut settled)?;
    }
}

/// Adds the next page to a run that begins with page `first`; it counts as written then. False: it does not differ from the disk.
fn gather(device: &Device, buffer: &mut MetaBuffer, run: &mut MetaRun, first: usize, settled: &mut bool) -> bool {
    let page = first + run.blocks();
    {
        let mut plane = device.plane.lock();
        let Plane { core, .. } = &mut *plane;
        if !core.bitmap.is_dirty(page) {
            return false;
        }
        core.bitmap.clean_page(page);
        core.bitmap.store_page(page, buffer.bytes_mut());
        // While a resync runs, this page may speak of blocks written since the last flush.
        *settled &= !core.gate().in_sync_states;
    }
    run.push(buffer.bytes());
    true
}

/// Writes a run of pages that begins with page `first`.
fn write(device: &Device, place: &Place, buffer: &mut MetaBuffer, run: MetaRun, first: usize, settled: &mut bool) -> Result {
    let count = run.blocks();
    if count == 0 {
        return Ok(());
    }
    let durable = if *settled { Ok(()) } else { place.settle_data(buffer) };
    *settled = true;
    let sector = place.layout.bitmap_sector() + first as u64 * PAGE_SECTORS;
    let written = durable.and_then(|()| buffer.write_run(&place.meta, run, sector, place.limit));
    device.statistics.bitmap_writes.add(count as u64);
    // RX-14: no application's traffic.
    device.pace.background_sectors.fetch_add(count as u64 * PAGE_SECTORS, Relaxed);
    written.map_err(|error| {
        let mut plane = device.plane.lock();
        (first..first + count).for_each(|page| plane.core.bitmap.dirty_page(page));
        drop(plane);
        device.metadata_failed(error)
    })
}

impl Resource {
    /// Writes the changed pages of a volume's bitmap.
    pub(crate) fn write_bitmap(&self, number: u16) -> Result {
        let Some(device) = self.control.lock().volume(number).map(|volume| volume.device.clone()) else { return Ok(()) };
        write_changed(&device)?;
        let mut buffer = device.meta.lock();
        match device.metadata_place() {
            Some(place) => buffer.flush(&place.meta, place.limit).map_err(|error| device.metadata_failed(error)),
            None => Ok(()),
        }
    }

    /// Sets every bit on disk too; the full-sync flag brackets it, so a crash in between means a full sync.
    pub(crate) fn set_all_bits(&self, number: u16) -> Result {
        super::metadata::set_full_sync(&mut self.control.lock(), number, true);
        self.write_superblock(number)?;
        if let Some(volume) = self.control.lock().volume(number) {
            fill(&volume.device, true);
        }
        self.write_bitmap(number)?;
        super::metadata::set_full_sync(&mut self.control.lock(), number, false);
        self.write_superblock(number)
    }
}
