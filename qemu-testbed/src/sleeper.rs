// SPDX-License-Identifier: GPL-2.0
//! Machines that have booted once and sleep in a file since. A machine of the same make is woken from it instead of booting,
//! which saves an emulated processor some seconds. It is asleep before anything that makes it node1 or node2 happens, before the driver of
//! its disks is loaded, and with nothing of ours in it; what it knew of random numbers is replaced when it wakes.

use crate::boot_files;
use crate::machine::{self, Start};
use crate::testbed::Testbed;
use crate::vm::{Clock, Link, Vm, VmOptions};
use anyhow::{Context, Result};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One that nobody has woken for so long is removed.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Whether such a machine can be woken from a file.
pub(crate) fn may_sleep(bed: &Testbed, options: &VmOptions) -> bool {
    bed.wakes && matches!(options.clock, Clock::Host)
}

/// The file with a sleeping machine of the make of `options`, put to sleep now if it is the first; none: it has to boot.
pub(crate) fn find(bed: &Testbed, options: &VmOptions) -> Option<PathBuf> {
    if !may_sleep(bed, options) {
        return None;
    }
    let found = find_or_make(bed, options);
    found.map_err(|error| eprintln!("no machine sleeps ({error:#}), {} boots", options.name)).ok()
}

fn find_or_make(bed: &Testbed, options: &VmOptions) -> Result<PathBuf> {
    let state = bed.sleepers().join(make(bed, options)?);
    if !state.exists() {
        forget(&bed.sleepers());
        put_to_sleep(bed, options, &state)?;
    }
    fs::File::open(&state)?.set_modified(SystemTime::now())?;
    Ok(state)
}

/// A machine like that of `options` that is nobody yet.
fn nobody(options: &VmOptions, folder: &Path) -> VmOptions {
    VmOptions {
        name: "sleeper".into(),
        folder: folder.into(),
        disks_mib: vec![1; options.disks_mib.len()],
        links: (0..options.links.len())
            .map(|number| Link {
                address: "0.0.0.0".into(),
                own: folder.join(format!("link{number}")),
                peer: folder.join("nowhere"),
            })
            .collect(),
        ..options.clone()
    }
}

/// What machines have in common of which one can be woken as the other.
fn make(bed: &Testbed, options: &VmOptions) -> Result<String> {
    let command = machine::command(bed, &nobody(options, Path::new("/")), &Start::Boot(Path::new("initrd")))?;
    let mut hasher = DefaultHasher::new();
    command.get_args().for_each(|argument| argument.hash(&mut hasher));
    boot_files::sleeper_init().hash(&mut hasher);
    for path in [bed.kernel(), bed.base(), bed.root().join("usr/bin/qemu-system-x86_64")] {
        let about = fs::metadata(&path).with_context(|| path.display().to_string())?;
        (about.len(), about.modified()?).hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Boots a machine that is nobody yet and leaves its state in the file `state`.
fn put_to_sleep(bed: &Testbed, options: &VmOptions, state: &Path) -> Result<()> {
    let folder = bed.run_folder("sleeper")?;
    // Of the same file system as the one it is renamed to; another test may do so too, and either will do.
    let making = state.with_extension(format!("{}-{}", std::process::id(), options.name));
    fs::create_dir_all(bed.sleepers())?;
    let make = || -> Result<()> {
        let mut vm = Vm::off(bed, nobody(options, &folder));
        vm.boot_image(&boot_files::sleeper(bed)?)?;
        vm.check_kernel_log()?;
        vm.save(&making)?;
        Ok(fs::rename(&making, state)?)
    };
    let made = make();
    let _ = fs::remove_file(&making);
    let _ = fs::remove_dir_all(&folder);
    made
}

/// Removes those nobody needs any more.
fn forget(sleepers: &Path) {
    for entry in fs::read_dir(sleepers).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > FORGOTTEN) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
