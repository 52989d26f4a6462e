// SPDX-License-Identifier: GPL-2.0
//! The generic netlink family. The attribute tables are those of `core::genl::attributes`; the kernel validates requests against
//! the policies made from them here, strictly, before a handler sees them (netlink-and-tools.md section 1).
//!
//! Handlers run in the process context of the caller, several at a time: the driver serialises what has to be (`driver/turn.rs`), so that
//! a helper which one of them waits for may ask about everything.

use super::module;
use super::raw::{b, x};
use super::sync::{Acquire, Atomic, Release};
use core::ffi::c_void;
use core::ptr::null_mut;
use drbd_core::genl::attributes::{self, CommandSpec, Kind};
use drbd_core::genl::{FAMILY, GROUP, USER_HEADER_BYTES};
use kernel::error::to_result;
use kernel::prelude::*;

/// Longest payload of a message, headers not counted.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 3584;
/// Highest container number.
const MAX_CONTAINER: usize = 24;
/// Highest attribute number inside a container.
const MAX_ATTRIBUTE: usize = 36;

/// The family while it is registered.
static REGISTERED: Atomic<*mut x::genl_family> = Atomic::new(null_mut());

/// A request.
pub(crate) struct Request<'a> {
    /// Command number.
    pub(crate) command: u8,
    /// Minor of the user header.
    pub(crate) minor: u32,
    /// Flags of the user header.
    pub(crate) flags: u32,
    /// NLM_F_EXCL was set.
    pub(crate) exclusive: bool,
    /// The caller may see secrets (CAP_SYS_ADMIN).
    pub(crate) may_see_secrets: bool,
    /// All attributes.
    pub(crate) attributes: &'a [u8],
}

/// The answer to a request.
pub(crate) struct Reply {
    /// Return code of the user header.
    pub(crate) code: i32,
    /// Attributes.
    pub(crate) payload: KVec<u8>,
}

/// Where a dump stands; zero at its start, kept by the kernel between calls.
pub(crate) struct Cursor<'a> {
    args: &'a mut [c_long; 6],
}

impl Cursor<'_> {
    /// Value `index` of 0..6.
    pub(crate) fn get(&self, index: usize) -> u64 {
        self.args.get(index).map_or(0, |value| *value as u64)
    }

    /// Remembers a value.
    pub(crate) fn set(&mut self, index: usize, value: u64) {
        if let Some(place) = self.args.get_mut(index) {
            *place = value as c_long;
        }
    }
}

/// Takes the messages of a dump.
pub(crate) struct DumpOutput {
    skb: *mut b::sk_buff,
    portid: u32,
    sequence: u32,
}

impl DumpOutput {
    /// Appends a message; `false`: no room, ask again with the next call. `listed`: part of the list (MULTI, with the port of the reader).
    pub(crate) fn message(&mut self, command: u8, minor: u32, code: i32, listed: bool, payload: &[u8]) -> bool {
        let flags = if listed { b::NLM_F_MULTI as c_int } else { 0 };
        let portid = if listed { self.portid } else { 0 };
        put(self.skb, portid, self.sequence, flags, command, minor, code as u32, payload)
    }
}

/// What the driver answers with.
pub(crate) trait Handler: 'static {
    /// Handles a `do` request.
    fn request(request: &Request<'_>) -> Reply;
    /// Adds messages of a dump until there is no room or nothing is left. An error ends the dump with its number.
    fn dump(request: &Request<'_>, cursor: &mut Cursor<'_>, out: &mut DumpOutput) -> Result;
}

/// Policies and operations; at a fixed address while registered.
struct Tables {
    family: x::genl_family,
    groups: [x::genl_multicast_group; 1],
    operations: [x::genl_ops; attributes::COMMANDS.len()],
    inner: [[x::nla_policy; MAX_ATTRIBUTE + 1]; MAX_CONTAINER + 1],
    outer: [[x::nla_policy; MAX_CONTAINER + 1]; attributes::COMMANDS.len()],
}

/// The registered family; dropping it unregisters.
pub(crate) struct Family {
    tables: KBox<Tables>,
}

// SAFETY: the tables are only read by the kernel after registration.
unsafe impl Send for Family {}
// SAFETY: as above.
unsafe impl Sync for Family {}

fn leaf(kind: Kind) -> (u32, u16) {
    match kind {
        Kind::Flag => (x::NLA_U8, 0),
        Kind::U32 | Kind::Enum(_) => (x::NLA_U32, 0),
        Kind::S32 => (x::NLA_S32, 0),
        Kind::U64 => (x::NLA_U64, 0),
        Kind::Text(most) => (x::NLA_NUL_STRING, most),
        Kind::Binary(most) => (x::NLA_BINARY, most),
    }
}

impl Tables {
    fn fill<H: Handler>(&mut self) {
        for (number, policies) in self.inner.iter_mut().enumerate() {
            for spec in attributes::of_container(number as u16) {
                if let Some(policy) = policies.get_mut(usize::from(spec.number)) {
                    let (kind, most) = leaf(spec.kind);
                    policy.type_ = kind as u8;
                    policy.len = most;
                }
            }
        }
        for ((spec, operation), outer) in attributes::COMMANDS.iter().zip(&mut self.operations).zip(&mut self.outer) {
            let mut highest = 0;
            for &container in spec.containers {
                let (Some(policy), Some(inner)) = (outer.get_mut(usize::from(container)), self.inner.get(usize::from(container))) else {
                    continue;
                };
                highest = highest.max(u32::from(container));
                policy.type_ = x::NLA_NESTED as u8;
                let table = attributes::of_container(container);
                if let Some(last) = table.iter().map(|spec| spec.number).max() {
                    policy.len = last;
                    // SAFETY: the union is a pointer in this type of policy.
                    unsafe { *policy.__bindgen_anon_1.nested_policy.as_mut() = inner.as_ptr() };
                }
            }
            fill_operation::<H>(operation, spec, outer.as_ptr(), highest);
        }
        self.fill_family();
    }

    fn fill_family(&mut self) {
        copy_name(&mut self.family.name, FAMILY);
        copy_name(&mut self.groups[0].name, GROUP);
        self.family.version = 1;
        self.family.hdrsize = USER_HEADER_BYTES as c_uint;
        self.family.set_netnsok(1);
        // A command that waits keeps nobody else's from running.
        self.family.set_parallel_ops(1);
        self.family.resv_start_op = 42;
        self.family.module = module::this_module();
        self.family.ops = self.operations.as_ptr();
        self.family.n_ops = self.operations.len() as u8;
        self.family.mcgrps = self.groups.as_ptr();
        self.family.n_mcgrps = 1;
    }
}

fn copy_name(place: &mut [c_char], name: &str) {
    let room = place.len().saturating_sub(1);
    for (place, byte) in place.iter_mut().take(room).zip(name.bytes()) {
        *place = byte as c_char;
    }
}

fn fill_operation<H: Handler>(operation: &mut x::genl_ops, spec: &CommandSpec, policy: *const x::nla_policy, highest: u32) {
    operation.cmd = spec.number;
    operation.policy = policy;
    operation.maxattr = highest;
    operation.flags = if spec.admin { x::GENL_ADMIN_PERM as u8 } else { 0 };
    operation.doit = if spec.doit { Some(doit::<H>) } else { None };
    operation.dumpit = if spec.dump { Some(dumpit::<H>) } else { None };
}

impl Family {
    /// Registers. ENOMEM, EEXIST.
    pub(crate) fn register<H: Handler>() -> Result<Self> {
        // Zeroed in place: the tables are too large for the stack.
        let mut tables = KBox::<Tables>::new_uninit(GFP_KERNEL)?;
        // SAFETY: all zero is valid for every member (pointers, numbers, optional functions).
        let mut tables = unsafe {
            tables.as_mut_ptr().write_bytes(0, 1);
            tables.assume_init()
        };
        tables.fill::<H>();
        // SAFETY: the tables stay in their box until `Drop` has unregistered the family.
        to_result(unsafe { x::genl_register_family(&raw mut tables.family) })?;
        REGISTERED.store(&raw mut tables.family, Release);
        Ok(Self { tables })
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        REGISTERED.store(null_mut(), Release);
        // SAFETY: registered in `register`; waits for running handlers.
        unsafe { x::genl_unregister_family(&raw mut self.tables.family) };
    }
}

/// Appends a whole message to a buffer.
#[allow(clippy::too_many_arguments)]
fn put(skb: *mut b::sk_buff, portid: u32, sequence: u32, flags: c_int, command: u8, minor: u32, second: u32, payload: &[u8]) -> bool {
    let family = REGISTERED.load(Acquire);
    if family.is_null() {
        return false;
    }
    // SAFETY: the buffer is ours; every call checks the room that is left.
    unsafe {
        let header: *mut c_void = x::genlmsg_put(skb, portid, sequence, family, flags, command).cast();
        if header.is_null() {
            return false;
        }
        header.cast::<u32>().write_unaligned(minor);
        header.cast::<u32>().add(1).write_unaligned(second);
        if !payload.is_empty() && x::kapi_skb_append(skb, payload.as_ptr().cast(), payload.len() as c_uint).is_null() {
            x::kapi_genl_cancel(skb, header);
            return false;
        }
        x::kapi_genl_end(skb, header);
    }
    true
}

/// Sends a message to the multicast group, in every namespace. Process context; lost silently without memory or listeners.
pub(crate) fn multicast(command: u8, minor: u32, code: i32, sequence: u32, payload: &[u8]) {
    let family = REGISTERED.load(Acquire);
    if family.is_null() {
        return;
    }
    // SAFETY: a fresh buffer; multicast consumes it, otherwise it is freed.
    unsafe {
        let skb = x::kapi_genl_new(payload.len().max(256) as c_uint + 64);
        if skb.is_null() {
            return;
        }
        if put(skb, 0, sequence, 0, command, minor, code as u32, payload) {
            x::genlmsg_multicast_allns(family, skb, 0, 0);
        } else {
            x::kapi_skb_free(skb);
        }
    }
}

const HEADERS: c_uint = 4 + USER_HEADER_BYTES as c_uint;

/// # Safety
///
/// The message is one the kernel has validated: a generic netlink header and a user header of 8 bytes are there.
unsafe fn request<'a>(header: *const b::nlmsghdr, skb: *mut b::sk_buff) -> Request<'a> {
    let mut bytes = 0;
    // SAFETY: promised by the caller.
    unsafe {
        let attributes = x::kapi_nlh_data(header.cast(), HEADERS, &raw mut bytes).cast::<u8>();
        let user = attributes.sub(USER_HEADER_BYTES).cast::<u32>();
        let command = attributes.sub(HEADERS as usize).read();
        Request {
            command,
            minor: user.read_unaligned(),
            flags: user.add(1).read_unaligned(),
            exclusive: u32::from((*header).nlmsg_flags) & b::NLM_F_EXCL != 0,
            may_see_secrets: x::kapi_capable(skb, b::CAP_SYS_ADMIN as c_int),
            attributes: core::slice::from_raw_parts(attributes, bytes as usize),
        }
    }
}

/// # Safety
///
/// Called by the kernel for a validated request.
unsafe extern "C" fn doit<H: Handler>(skb: *mut b::sk_buff, info: *mut x::genl_info) -> c_int {
    // SAFETY: the kernel passes a valid request.
    let asked = unsafe { request((*info).nlhdr.cast(), skb) };
    let reply = H::request(&asked);
    // SAFETY: a fresh buffer; the reply consumes it, otherwise it is freed.
    unsafe {
        let answer = x::kapi_genl_new(reply.payload.len().max(64) as c_uint + 64);
        if answer.is_null() {
            return -(b::ENOMEM as c_int);
        }
        let whole = put(answer, (*info).snd_portid, (*info).snd_seq, 0, asked.command, asked.minor, reply.code as u32, &reply.payload);
        if !whole {
            x::kapi_skb_free(answer);
            return -(b::EMSGSIZE as c_int);
        }
        x::kapi_genl_reply(answer, info)
    }
}

/// # Safety
///
/// Called by the kernel for a validated dump request.
unsafe extern "C" fn dumpit<H: Handler>(skb: *mut b::sk_buff, callback: *mut x::netlink_callback) -> c_int {
    // SAFETY: the kernel passes a valid callback; nobody else uses it meanwhile.
    unsafe {
        let asked = request((*callback).nlh.cast(), x::kapi_request_skb(callback));
        let args = &mut *(&raw mut (*callback).__bindgen_anon_1.args).cast::<[c_long; 6]>();
        let mut out = DumpOutput { skb, portid: x::kapi_portid(callback), sequence: (*(*callback).nlh).nlmsg_seq };
        match H::dump(&asked, &mut Cursor { args }, &mut out) {
            Ok(()) => x::kapi_skb_len(skb) as c_int,
            Err(error) => error.to_errno(),
        }
    }
}
