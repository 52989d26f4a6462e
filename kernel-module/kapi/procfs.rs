// SPDX-License-Identifier: GPL-2.0
//! A file in /proc that is written anew for every reader.

use super::raw::{b, x};
use core::fmt::{self, Write};
use core::ptr::{null_mut, NonNull};
use core::ffi::c_void;
use kernel::prelude::*;

/// Where `show` writes. Output that does not fit is asked for again by the kernel with a larger buffer.
pub(crate) struct ProcWriter {
    file: *mut b::seq_file,
}

impl Write for ProcWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the file is being shown; the text is as long as it says.
        unsafe { b::seq_write(self.file, text.as_ptr().cast(), text.len()) };
        Ok(())
    }
}

/// What a file shows.
pub(crate) trait ProcShow: 'static {
    /// Writes the whole contents. Process context.
    fn show(out: &mut ProcWriter) -> fmt::Result;
}

/// A file in /proc; dropping it waits for readers.
pub(crate) struct ProcFile {
    entry: NonNull<b::proc_dir_entry>,
}

// SAFETY: only removed, which may happen anywhere.
unsafe impl Send for ProcFile {}
// SAFETY: nothing to be done through a shared reference.
unsafe impl Sync for ProcFile {}

impl ProcFile {
    /// Creates the file, mode in octal. ENOMEM; the name must be free.
    pub(crate) fn create<T: ProcShow>(name: &CStr, mode: u16) -> Result<Self> {
        // SAFETY: the name is terminated, the function stays while the module is loaded, and `Drop` removes the file before.
        let entry = unsafe { x::proc_create_single_data(name.as_char_ptr(), mode, null_mut(), Some(show::<T>), null_mut()) };
        NonNull::new(entry).map(|entry| Self { entry }).ok_or(ENOMEM)
    }
}

impl Drop for ProcFile {
    fn drop(&mut self) {
        // SAFETY: created in `create`, removed once.
        unsafe { x::proc_remove(self.entry.as_ptr()) }
    }
}

/// # Safety
///
/// Called by the kernel with an open sequence file.
unsafe extern "C" fn show<T: ProcShow>(file: *mut b::seq_file, _data: *mut c_void) -> c_int {
    let mut out = ProcWriter { file };
    match T::show(&mut out) {
        Ok(()) => 0,
        Err(_) => -(b::EIO as c_int),
    }
}
