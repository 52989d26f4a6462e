// SPDX-License-Identifier: GPL-2.0
//! Seeing what happens: `drbd-overview`, `drbdadm top`, `drbdadm why`, `drbdadm exporter`.
//!
//! Each is a pure function from what is known to text, and a thin part that collects what is known. They work without root
//! and without a usable configuration, as far as that goes.

pub mod block_io;
pub mod exporter;
pub mod outside;
pub mod overview;
pub mod paint;
pub mod proc_drbd;
pub mod sample;
pub mod space;
pub mod top;
pub mod why;

use netlink_api::{Client, Error};
use std::future::Future;
use std::pin::Pin;

/// What a question to the driver is answered with.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// Opens a socket, asks, and waits for the answer.
///
/// # Errors
/// The module is not loaded, or does not answer.
pub fn with_client<T>(
    ask: impl for<'a> FnOnce(&'a mut Client) -> Answer<'a, T>,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut client = Client::open().await?;
        ask(&mut client).await
    })
}
