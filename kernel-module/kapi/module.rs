// SPDX-License-Identifier: GPL-2.0
//! The module itself: references that keep it loaded, and the caller's rights.

use super::raw::b;
use kernel::prelude::*;

/// Keeps the module loaded; rmmod answers "module is in use" while one exists.
pub(crate) struct ModuleRef(());

impl ModuleRef {
    /// Takes a reference. ENODEV if the module is being unloaded.
    pub(crate) fn get() -> Result<Self> {
        // SAFETY: the pointer is this module.
        if unsafe { b::try_module_get(crate::THIS_MODULE.as_ptr()) } {
            Ok(ModuleRef(()))
        } else {
            Err(ENODEV)
        }
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: the reference was taken in `get`.
        unsafe { b::module_put(crate::THIS_MODULE.as_ptr()) }
    }
}

/// Whether the calling thread has CAP_SYS_ADMIN (it may see shared secrets).
pub(crate) fn capable_sys_admin() -> bool {
    // SAFETY: process context is all it needs.
    unsafe { b::capable(b::CAP_SYS_ADMIN as c_int) }
}

/// The module as the kernel's structures name their owner.
pub(super) fn this_module() -> *mut b::module {
    crate::THIS_MODULE.as_ptr()
}
