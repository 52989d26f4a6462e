// SPDX-License-Identifier: GPL-2.0
//! The kernel, made safe: the only code of the project that may be unsafe.

mod raw;
pub(crate) fn probe() -> usize {
    // SAFETY: reads a counter.
    unsafe { raw::x::kapi_jiffies() as usize + raw::x::GFP_NOIO as usize + raw::b::PAGE_SIZE as usize }
}
