// SPDX-License-Identifier: GPL-2.0
//! The quick-sync bitmap: one bit per 4 KiB of storage, set where the two copies may differ (metadata.md section 7).
//!
//! In memory it is a list of pages of 32768 bits (128 MiB of storage each). A page without any bit, and a page with all
//! bits set, take no memory. If memory for a page cannot be had while *setting* bits, the whole page counts as set: more is
//! resynced, nothing is lost. [`Bitmap`] is used under the spinlock of its volume.

pub mod arithmetic;
mod paged;

pub use arithmetic::{bits_for_sectors, pieces, BITS_PER_PAGE, SECTORS_PER_BIT};
pub use paged::{Bitmap, NoMemory, PageStore, PageView, Words};
