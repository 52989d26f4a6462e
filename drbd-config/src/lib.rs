// SPDX-License-Identifier: GPL-2.0
//! The language of `drbd.conf` (8.4): scanner, parser, typed model with positions, inheritance,
//! checks and the two dump formats (config-and-cli.md sections 1 to 7).
//!
//! A configuration is read with [`Loader`], bound to a machine with [`bind()`], completed with
//! [`expand()`] and written with [`print`] and [`xml`]. What is wrong is told by
//! [`Diagnostic`]: file, line, column, what was expected, what came, and the nearest known word.

pub mod address;
mod bind;
mod diagnostic;
mod expand;
mod glob;
mod keywords;
mod lexer;
pub mod loader;
pub mod model;
pub mod number;
pub mod options;
mod parser;
pub mod print;
mod unique;
pub mod xml;

pub use address::Address;
pub use bind::{bind, Binding, Identity};
pub use diagnostic::{distance, nearest, Diagnostic, Position, Severity};
pub use expand::expand;
pub use loader::{parse_running, parse_text, Loaded, Loader};
pub use model::{Config, HostKind, HostSection, Resource, Section, Volume};
