// SPDX-License-Identifier: GPL-2.0
//! Raw C bindings: `b` is `kernel::bindings`, `x` what our own bindgen run adds to it (see
//! `extra.h`, `extra.allow` and the top-level Kbuild). Only files of `kapi` use this module.

pub(super) use kernel::bindings as b;

/// The generated bindings. Names defined here win over those of `kernel::bindings`.
#[allow(
    missing_docs,
    dead_code,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unsafe_op_in_unsafe_fn,
    unreachable_pub,
    improper_ctypes,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]
pub(super) mod x {
    include!(env!("DRBD_EXTRA_RS"));
}
