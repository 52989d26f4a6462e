// SPDX-License-Identifier: GPL-2.0
//! The module parameters of `params.c`, as they are at the moment of asking.

use super::sync::{Atomic, Relaxed};

/// Size of the usermode_helper parameter with its terminating 0.
pub(crate) const HELPER_PATH_BYTES: usize = 80;

extern "C" {
    #[link_name = "drbd_usermode_helper"]
    static mut USERMODE_HELPER: [u8; HELPER_PATH_BYTES];
    #[link_name = "drbd_minor_count"]
    static mut MINOR_COUNT: u32;
    #[link_name = "drbd_disable_sendpage"]
    static mut DISABLE_SENDPAGE: bool;
    #[link_name = "drbd_proc_details"]
    static mut PROC_DETAILS: i32;
    #[link_name = "drbd_allow_oos"]
    static mut ALLOW_OOS: bool;
}

/// Path of the helper program; copied because root may change it at any time. `out` ends with 0.
pub(crate) fn usermode_helper(out: &mut [u8; HELPER_PATH_BYTES]) {
    // SAFETY: an array of this size in params.c; a change at the same time gives a mix of both
    // values, as it does in C.
    *out = unsafe { (&raw const USERMODE_HELPER).read_volatile() };
    if let Some(last) = out.last_mut() {
        *last = 0;
    }
}

/// The parameter minor_count; check the range 1 to 255 at load.
pub(crate) fn minor_count() -> u32 {
    // SAFETY: a word of params.c that only changes at load.
    unsafe { (&raw const MINOR_COUNT).read_volatile() }
}

/// Whether data is to be copied into socket buffers instead of lending pages.
pub(crate) fn disable_sendpage() -> bool {
    // SAFETY: a bool of params.c, written by the parameter code as one byte of 0 or 1.
    unsafe { (&raw const DISABLE_SENDPAGE).read_volatile() }
}

/// Amount of detail in /proc/drbd.
pub(crate) fn proc_details() -> i32 {
    // SAFETY: a word of params.c, written as a whole.
    unsafe { Atomic::from_ptr(&raw mut PROC_DETAILS).load(Relaxed) }
}

/// Whether a Secondary may be opened for reading.
pub(crate) fn allow_oos() -> bool {
    // SAFETY: as for `disable_sendpage`.
    unsafe { (&raw const ALLOW_OOS).read_volatile() }
}
