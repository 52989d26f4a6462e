// SPDX-License-Identifier: GPL-2.0
//! Building requests.

pub use crate::address::{format_address, parse_address};
use crate::message::{Message, NO_MINOR};
use crate::options::Options;
pub use crate::options::{parse_number, spec_of, OptionError};
use drbd_core::genl::{container, Writer};

/// Largest request, in bytes; texts of the command line are limited by the caller.
const MAX_REQUEST_BYTES: usize = 1 << 16;

/// What a request is about, besides a minor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Volume number.
    pub volume: Option<u32>,
    /// Resource name.
    pub resource: Option<String>,
    /// Own address, as raw sockaddr.
    pub own_address: Option<Vec<u8>>,
    /// The peer's address, as raw sockaddr.
    pub peer_address: Option<Vec<u8>>,
}

impl Context {
    /// Just a resource.
    pub fn resource(name: &str) -> Self {
        Self {
            resource: Some(name.into()),
            ..Self::default()
        }
    }
}

/// A request in the making.
#[derive(Clone, Debug)]
pub struct Request {
    command: u8,
    minor: u32,
    flags: i32,
    context: Option<Context>,
    options: Vec<(u16, Options)>,
}

impl Request {
    /// About nothing yet.
    pub fn new(command: u8) -> Self {
        Self {
            command,
            minor: NO_MINOR,
            flags: 0,
            context: None,
            options: Vec::new(),
        }
    }

    /// About a minor.
    pub fn minor(mut self, minor: u32) -> Self {
        self.minor = minor;
        self
    }

    /// With a context.
    pub fn context(mut self, context: Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Options that are not given get their defaults.
    pub fn set_defaults(mut self, yes: bool) -> Self {
        self.flags = i32::from(yes);
        self
    }

    /// With a container of options; left out when there are none and `always` is not set.
    pub fn options(mut self, container: u16, options: Options, always: bool) -> Self {
        if always || !options.is_empty() {
            self.options.push((container, options));
        }
        self
    }

    /// Encodes the message. `raw` writes attributes that are not options (the devices of an
    /// attach) at the end of container `in_container`.
    pub fn build_with(self, in_container: u16, raw: impl Fn(&mut Writer<'_>)) -> Message {
        let mut buffer = vec![0u8; MAX_REQUEST_BYTES];
        let mut writer = Writer::new(&mut buffer);
        if let Some(context) = &self.context {
            write_context(&mut writer, context);
        }
        for (number, options) in &self.options {
            let open = writer.begin(*number, true);
            options.write(&mut writer);
            if *number == in_container {
                raw(&mut writer);
            }
            writer.end(open);
        }
        let length = writer.finish().unwrap_or(0);
        buffer.truncate(length);
        Message {
            command: self.command,
            minor: self.minor,
            code: self.flags,
            attributes: buffer,
        }
    }

    /// Encodes the message.
    pub fn build(self) -> Message {
        self.build_with(0, |_| {})
    }
}

/// In the order of the tools: name, addresses, volume.
fn write_context(writer: &mut Writer<'_>, context: &Context) {
    let open = writer.begin(container::CFG_CONTEXT, true);
    writer.mark(true);
    if let Some(name) = &context.resource {
        writer.string(2, name.as_bytes());
    }
    if let Some(address) = &context.own_address {
        writer.bytes(3, address);
    }
    if let Some(address) = &context.peer_address {
        writer.bytes(4, address);
    }
    if let Some(volume) = context.volume {
        writer.u32(1, volume);
    }
    writer.mark(false);
    writer.end(open);
}
