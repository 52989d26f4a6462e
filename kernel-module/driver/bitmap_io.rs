// SPDX-License-Identifier: GPL-2.0
//! Reading and writing the bitmap on disk (metadata.md section 7). Process context.

use super::device::{Device, Plane};
use super::metadata::{Place, METADATA_TIMEOUT_SECONDS};
use super::prelude::*;
use super::resource::Resource;

/// Sectors of a page of the bitmap.
const PAGE_SECTORS: u64 = 8;

/// Pages read with one access.
const RUN_PAGES: usize = 16;

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

/// Writes the pages that differ from the disk, or only `only`. `settled`: the blocks that the bits speak of are durable; they are made so with
/// the first page.
pub(crate) fn write_changed(device: &Device, only: Option<usize>, settled: &mut bool) -> Result {
    let mut from = only.unwrap_or(0);
    let mut buffer = device.meta.lock();
    let Some(place) = device.metadata_place() else { return Ok(()) };
    loop {
        let (page, clearing) = {
            let mut plane = device.plane.lock();
            let Plane { core, .. } = &mut *plane;
            let Some(page) = core.bitmap.next_dirty_page(from).filter(|page| only.is_none_or(|only| *page == only)) else {
                break;
            };
            core.bitmap.clean_page(page);
            core.bitmap.store_page(page, buffer.bytes_mut());
            (page, core.gate().in_sync_states)
        };
        // While a resync runs, this page may speak of blocks written since the last flush.
        let durable = if *settled && !clearing { Ok(()) } else { place.settle_data(&mut buffer) };
        *settled = true;
        let sector = place.layout.bitmap_sector() + page as u64 * PAGE_SECTORS;
        let written = durable.and_then(|()| buffer.write(&place.meta, sector, super::metadata::RELAXED, place.limit));
        device.statistics.bitmap_writes.add(1);
        if let Err(error) = written {
            device.plane.lock().core.bitmap.dirty_page(page);
            return Err(device.metadata_failed(error));
        }
        from = page + 1;
    }
    Ok(())
}

impl Resource {
    /// Writes the changed pages of a volume's bitmap.
    pub(crate) fn write_bitmap(&self, number: u16) -> Result {
        let Some(device) = self.control.lock().volume(number).map(|volume| volume.device.clone()) else { return Ok(()) };
        write_changed(&device, None, &mut false)?;
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
            volume.device.plane.lock().core.bitmap.fill(true);
        }
        self.write_bitmap(number)?;
        super::metadata::set_full_sync(&mut self.control.lock(), number, false);
        self.write_superblock(number)
    }
}
