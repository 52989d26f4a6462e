// SPDX-License-Identifier: GPL-2.0
//! Helper programs in user space. Process context, holding no lock that a request of the helper could need.

use super::raw::b;
use core::ptr::null_mut;
use kernel::prelude::*;

/// Most arguments or environment entries of a call.
const MAX_STRINGS: usize = 8;

fn pointers(strings: &[&CStr]) -> [*mut c_char; MAX_STRINGS + 1] {
    let mut out = [null_mut(); MAX_STRINGS + 1];
    for (place, text) in out.iter_mut().take(MAX_STRINGS).zip(strings) {
        *place = text.as_char_ptr().cast_mut();
    }
    out
}

/// Runs a program and waits for its end; a caller from user space that is killed does not wait any longer (EINTR). Returns the raw wait status (exit code times 256), or the error if it could not be started. At
/// most 8 arguments and 8 environment entries; more are dropped.
pub(crate) fn run(arguments: &[&CStr], environment: &[&CStr]) -> Result<i32> {
    let program = arguments.first().ok_or(EINVAL)?;
    let mut argv = pointers(arguments);
    let mut envp = pointers(environment);
    // SAFETY: all strings are terminated and both arrays end with null; they stay until the program has ended.
    let status = unsafe {
        b::call_usermodehelper(program.as_char_ptr(), argv.as_mut_ptr(), envp.as_mut_ptr(), (b::UMH_WAIT_PROC | b::UMH_KILLABLE) as c_int)
    };
    if status < 0 {
        return Err(Error::from_errno(status));
    }
    Ok(status)
}
