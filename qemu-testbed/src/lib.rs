// SPDX-License-Identifier: GPL-2.0
//! Virtual machines for the tests, the demo and the measurements.
//!
//! [`Testbed`] knows the cache that `scripts/setup.sh` fills. A [`Vm`] boots the stock kernel
//! with an initramfs made of the cached base and an overlay of our own; an agent in it runs
//! shell commands that come over a virtio port. A [`Pair`] is two of them joined by a link
//! that can be cut. On the stock kernel a machine that booted once sleeps in the cache, and later ones are woken from it. Everything talks over unix sockets, every wait has an end, and every
//! machine's kernel log is searched for complaints when it stops.

pub mod agent;
pub mod bench;
pub mod boot_files;
pub mod cpio;
pub mod demo;
pub mod kernel_log;
mod machine;
pub mod pair;
pub mod qmp;
mod sleeper;
pub mod systems;
pub mod testbed;
pub mod vm;

pub use agent::Output;
pub use pair::{Driver, Pair, PairOptions};
pub use systems::{SystemOptions, Systems};
pub use testbed::Testbed;
pub use vm::{Clock, Link, Vm, VmOptions};
