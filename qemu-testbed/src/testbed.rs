// SPDX-License-Identifier: GPL-2.0
//! Where the things are that `scripts/setup.sh` made.

use crate::machine::is_emulated;
use anyhow::{bail, Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which kernel the virtual machines boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// The stock Debian kernel.
    Stock,
    /// The full flavour of the stock kernel on a complete Debian system with systemd
    /// (`scripts/setup.sh cluster`).
    Full,
    /// Our build with lockdep and other checkers (`scripts/debug-kernel.sh`).
    Debug,
    /// Our build with KASAN (`scripts/kasan-kernel.sh`).
    Kasan,
}

/// The cache, and the files of this checkout that go into the machines.
#[derive(Clone, Debug)]
pub struct Testbed {
    cache: PathBuf,
    /// Our module, built for the flavour.
    pub module: PathBuf,
    /// Our `drbdadm`, also called as drbdsetup and drbdmeta; none: only Debian's tools.
    pub tools: Option<PathBuf>,
    /// Kernel the machines boot.
    pub flavour: Flavour,
    /// A machine that has booted before may be woken instead of booting once more: the kernel has to notice that it is another machine now, and
    /// the drivers of disks have to be modules, so that the size of a disk is looked up after it woke. The stock kernel does and has.
    pub wakes: bool,
}

impl Testbed {
    /// The testbed as the environment describes it, after `make all`:
    /// `DRBD_RS_MODULE` (path of drbd.ko), `DRBD_RS_TOOLS` (path of drbdadm),
    /// `DRBD_RS_FLAVOUR` (`stock`, `debug` or `kasan`), `DRBD_RS_WAKE=no` (see [`Testbed::wakes`]).
    ///
    /// # Errors
    /// What is missing and which command makes it.
    pub fn open() -> Result<Self> {
        Self::with_flavour(match std::env::var("DRBD_RS_FLAVOUR").as_deref() {
            Ok("debug") => Flavour::Debug,
            Ok("kasan") => Flavour::Kasan,
            _ => Flavour::Stock,
        })
    }

    /// The same for complete Debian machines; `DRBD_RS_FLAVOUR` has no meaning here.
    ///
    /// # Errors
    /// What is missing and which command makes it.
    pub fn open_cluster() -> Result<Self> {
        Self::with_flavour(Flavour::Full)
    }

    fn with_flavour(flavour: Flavour) -> Result<Self> {
        let cache = cache_folder()?;
        let module = match std::env::var_os("DRBD_RS_MODULE") {
            Some(path) => PathBuf::from(path),
            None => checkout()?.join("build").join(match flavour {
                Flavour::Stock => "drbd.ko",
                Flavour::Full => "drbd-full.ko",
                Flavour::Debug => "drbd-debug.ko",
                Flavour::Kasan => "drbd-kasan.ko",
            }),
        };
        let tools = std::env::var_os("DRBD_RS_TOOLS")
            .map(PathBuf::from)
            .or_else(|| Some(checkout().ok()?.join("build/drbdadm")))
            .filter(|p| p.exists());
        let bed = Self {
            cache,
            module,
            tools,
            flavour,
            wakes: flavour == Flavour::Stock && is_emulated() && std::env::var("DRBD_RS_WAKE").as_deref() != Ok("no"),
        };
        let made_by = match flavour {
            Flavour::Stock => "make all",
            Flavour::Full => "make test-cluster",
            Flavour::Debug => "make test-debug",
            Flavour::Kasan => "make torture KERNEL=kasan",
        };
        for path in [bed.base(), bed.kernel(), bed.module.clone()] {
            if !path.exists() {
                bail!("{} is missing: run `{made_by}`", path.display());
            }
        }
        Ok(bed)
    }

    /// The Debian root with the tools of the C driver.
    pub fn root(&self) -> PathBuf {
        self.cache.join("root")
    }

    /// Base initramfs.
    pub fn base(&self) -> PathBuf {
        self.cache.join(match self.flavour {
            Flavour::Full => "cluster/initrd.cpio",
            _ => "vm/base.cpio",
        })
    }

    /// Folder of the machines that sleep.
    pub fn sleepers(&self) -> PathBuf {
        self.cache.join("vm/sleepers")
    }

    /// Disk image under every Debian machine.
    pub fn root_image(&self) -> PathBuf {
        self.cache.join("cluster/base.img")
    }

    /// File with the release of the full flavour's kernel.
    pub fn release_file(&self) -> PathBuf {
        self.cache.join("cluster/release")
    }

    /// The tree of a kernel of our own; none: a stock kernel.
    fn own_tree(&self) -> Option<PathBuf> {
        let name = match self.flavour {
            Flavour::Stock | Flavour::Full => return None,
            Flavour::Debug => "debug-kernel",
            Flavour::Kasan => "kasan-kernel",
        };
        Some(self.cache.join("root/build").join(name))
    }

    /// Kernel image: without its compression if it can be, which takes CONFIG_PVH; the small kernels are built without it.
    pub fn kernel(&self) -> PathBuf {
        match self.own_tree() {
            Some(tree) => tree.join("arch/x86/boot/bzImage"),
            None if self.flavour == Flavour::Full => self.cache.join("cluster/vmlinux"),
            None => self.cache.join("vm/vmlinux"),
        }
    }

    /// Modules of a kernel of our own that tests load, empty for the stock kernel (its base
    /// has them).
    pub fn extra_modules(&self) -> Vec<PathBuf> {
        let Some(tree) = self.own_tree() else {
            return Vec::new();
        };
        [
            "block/brd.ko",
            "md/dm-mod.ko",
            "md/dm-delay.ko",
            "md/dm-flakey.ko",
        ]
        .iter()
        .map(|m| tree.join("drivers").join(m))
        .filter(|m| m.exists())
        .collect()
    }

    /// The C driver of the same kernel.
    pub fn c_module(&self) -> PathBuf {
        self.cache.join(match self.flavour {
            Flavour::Full => "cluster/drbd-c.ko",
            _ => "vm/drbd-c.ko",
        })
    }

    /// A program of the build root, run through that root's own dynamic linker.
    pub fn program(&self, path: &str) -> Command {
        let root = self.cache.join("root");
        let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(root.join("usr/lib/x86_64-linux-gnu"))
            .arg(root.join(path))
            .env_remove("LD_PRELOAD");
        command
    }

    /// A QEMU command of the build root.
    pub fn qemu(&self) -> Command {
        let share = self.cache.join("root/usr/share");
        let mut command = self.program("usr/bin/qemu-system-x86_64");
        command.arg("-L").arg(share.join("qemu"));
        command.arg("-L").arg(share.join("seabios"));
        command
    }

    /// A new empty folder for one run of a machine or a pair.
    pub fn run_folder(&self, name: &str) -> Result<PathBuf> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = std::env::temp_dir().join(format!(
            "drbd-rs-{}-{name}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(path)
    }
}

/// `$DRBD_RS_CACHE`, else `$XDG_CACHE_HOME/drbd-rs`, else `~/.cache/drbd-rs`.
pub fn cache_folder() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("DRBD_RS_CACHE") {
        return Ok(path.into());
    }
    if let Some(path) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(Path::new(&path).join("drbd-rs"));
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(Path::new(&home).join(".cache/drbd-rs"))
}

/// Top of the checkout this crate was compiled from.
pub fn checkout() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .context("the crate has no parent folder")
}
