// SPDX-License-Identifier: GPL-2.0
//! TCP sockets of the kernel, in the initial network namespace. Process context throughout.
//!
//! A [`Socket`] may be shared by a thread that sends and one that receives; each direction is serialised. Receiving reads ahead, in memory
//! of the socket.
//! [`Socket::shutdown`] from any thread ends what the others wait for. Waits end by the time-outs set on the socket, by a
//! signal to the thread, or by the peer.

use super::bio::Segments;
use super::raw::{b, x};
use super::read_ahead::ReadAhead;
use super::sync::{new_mutex, Mutex};
use super::time::Jiffies;
use core::mem::{size_of, zeroed};
use core::pin::Pin;
use core::ptr::{null_mut, NonNull};
use kernel::prelude::*;

const IPPROTO_TCP: c_int = 6;

/// Longest raw socket address handled (sockaddr_in6).
const ADDRESS_BYTES: usize = 28;

/// How a socket call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NetError {
    /// The time-out of the socket passed.
    TimedOut,
    /// A signal came.
    Interrupted,
    /// The peer closed the connection in an orderly way.
    Closed,
    /// Nothing listens there, or it cannot be reached now: worth another try.
    Absent,
    /// Any other error: a broken connection, or a local problem.
    Failed(Error),
}

impl NetError {
    fn from_errno(errno: c_int) -> Self {
        match errno.unsigned_abs() {
            b::EAGAIN | b::ETIMEDOUT | b::EINPROGRESS => NetError::TimedOut,
            b::ERESTARTSYS | b::EINTR => NetError::Interrupted,
            b::ECONNREFUSED | b::EHOSTUNREACH | b::ENETUNREACH | b::EHOSTDOWN | b::ENETDOWN => NetError::Absent,
            _ => NetError::Failed(Error::from_errno(errno)),
        }
    }
}

/// A raw socket address, IPv4 or IPv6, as it comes by netlink.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketAddress {
    bytes: [u8; ADDRESS_BYTES],
    length: usize,
}

impl SocketAddress {
    /// From the raw form. `None`: neither sockaddr_in nor sockaddr_in6.
    pub(crate) fn from_bytes(raw: &[u8]) -> Option<Self> {
        let family = u16::from_ne_bytes([*raw.first()?, *raw.get(1)?]);
        let length = match c_uint::from(family) {
            b::AF_INET => 16,
            b::AF_INET6 => 28,
            _ => return None,
        };
        let mut bytes = [0; ADDRESS_BYTES];
        bytes.get_mut(..length)?.copy_from_slice(raw.get(..length)?);
        Some(Self { bytes, length })
    }

    /// The raw form.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// AF_INET or AF_INET6.
    pub(crate) fn family(&self) -> c_int {
        c_int::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]))
    }

    /// It is an IPv6 address.
    pub(crate) fn is_ipv6(&self) -> bool {
        self.length == 28
    }

    /// The same address with port 0.
    pub(crate) fn without_port(mut self) -> Self {
        self.bytes[2] = 0;
        self.bytes[3] = 0;
        self
    }

    /// The IP address in network order: 4 or 16 bytes.
    pub(crate) fn ip(&self) -> &[u8] {
        let range = if self.is_ipv6() { 8..24 } else { 4..8 };
        self.bytes.get(range).unwrap_or(&[])
    }
}

/// Whether more follows at once: then the kernel may wait with an incomplete segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum More {
    /// Something follows.
    Yes,
    /// Send now.
    No,
}

/// How pages are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PageMode {
    /// By reference; the contents must stay until the peer has acknowledged them at its level.
    Splice,
    /// Copied.
    Copy,
}

/// A TCP socket.
pub(crate) struct Socket {
    raw: NonNull<b::socket>,
    /// What has been received and not yet been asked for. Held by whoever receives.
    ahead: Pin<KBox<Mutex<ReadAhead>>>,
}

// SAFETY: the socket calls lock what they touch.
unsafe impl Send for Socket {}
// SAFETY: as above.
unsafe impl Sync for Socket {}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: created by the kernel, released once.
        unsafe { b::sock_release(self.raw.as_ptr()) }
    }
}

fn check(result: c_int) -> Result<usize, NetError> {
    if result < 0 {
        Err(NetError::from_errno(result))
    } else {
        Ok(result as usize)
    }
}

impl Socket {
    /// A new stream socket of an address family.
    pub(crate) fn new(family: c_int) -> Result<Self, NetError> {
        let mut raw = null_mut();
        // SAFETY: `init_net` is the initial namespace; `raw` is a place for the result.
        check(unsafe {
            b::sock_create_kern(&raw mut b::init_net, family, b::sock_type_SOCK_STREAM as c_int, IPPROTO_TCP, &raw mut raw)
        })?;
        Self::own(raw)
    }

    /// Takes over a socket that the kernel made.
    fn own(raw: *mut b::socket) -> Result<Self, NetError> {
        let raw = NonNull::new(raw).ok_or(NetError::Failed(EINVAL))?;
        match KBox::pin_init(new_mutex!(ReadAhead::new(), "drbd_read_ahead"), GFP_KERNEL) {
            Ok(ahead) => Ok(Self { raw, ahead }),
            Err(error) => {
                // SAFETY: nobody else has it.
                unsafe { b::sock_release(raw.as_ptr()) };
                Err(NetError::Failed(error))
            }
        }
    }

    fn as_ptr(&self) -> *mut b::socket {
        self.raw.as_ptr()
    }

    /// Prepares for use below a block device: allocations do no I/O; address reuse.
    pub(crate) fn prepare(&self) {
        // SAFETY: the socket is alive.
        unsafe {
            x::kapi_sock_prepare(self.as_ptr());
            x::kapi_sock_reuse(self.as_ptr());
        }
    }

    /// No delay for small messages, and a priority class (4 bulk, 6 interactive).
    pub(crate) fn set_latency(&self, priority: u32) {
        // SAFETY: the socket is alive.
        unsafe {
            x::kapi_tcp_nodelay(self.as_ptr());
            x::kapi_sock_priority(self.as_ptr(), priority);
        }
    }

    /// Buffer sizes in bytes; 0 leaves the kernel's own choice.
    pub(crate) fn set_buffers(&self, send: u32, receive: u32) {
        // SAFETY: the socket is alive.
        unsafe {
            if send != 0 {
                x::kapi_sock_send_buffer(self.as_ptr(), send as c_int);
            }
            if receive != 0 {
                x::kapi_sock_receive_buffer(self.as_ptr(), receive as c_int);
            }
        }
    }

    /// How long a send may block; `Jiffies::MAX`: for ever.
    pub(crate) fn set_send_timeout(&self, ticks: Jiffies) {
        // SAFETY: the socket is alive.
        unsafe { x::kapi_sock_send_timeout(self.as_ptr(), ticks.min(c_long::MAX as Jiffies) as c_long) }
    }

    /// How long a receive or accept may block; `Jiffies::MAX`: for ever.
    pub(crate) fn set_receive_timeout(&self, ticks: Jiffies) {
        // SAFETY: the socket is alive.
        unsafe { x::kapi_sock_receive_timeout(self.as_ptr(), ticks.min(c_long::MAX as Jiffies) as c_long) }
    }

    /// Holds incomplete segments back, or lets them go.
    pub(crate) fn set_cork(&self, on: bool) {
        // SAFETY: the socket is alive.
        unsafe { x::kapi_tcp_cork(self.as_ptr(), on) }
    }

    /// Acknowledge what was received at once.
    pub(crate) fn quick_ack(&self) {
        // SAFETY: the socket is alive.
        unsafe { x::kapi_tcp_quickack(self.as_ptr()) }
    }

    /// Binds to a local address.
    pub(crate) fn bind(&self, address: &SocketAddress) -> Result<(), NetError> {
        let mut raw = address.bytes;
        // SAFETY: the address is as long as it says.
        check(unsafe { b::kernel_bind(self.as_ptr(), raw.as_mut_ptr().cast(), address.length as c_int) }).map(drop)
    }

    /// Starts to listen.
    pub(crate) fn listen(&self, backlog: i32) -> Result<(), NetError> {
        // SAFETY: the socket is alive.
        check(unsafe { b::kernel_listen(self.as_ptr(), backlog) }).map(drop)
    }

    /// Waits for a connection, at most the receive time-out. The new socket inherits the time-outs: set them anew.
    pub(crate) fn accept(&self) -> Result<Socket, NetError> {
        let mut raw = null_mut();
        // SAFETY: the socket listens; `raw` is a place for the result.
        check(unsafe { b::kernel_accept(self.as_ptr(), &raw mut raw, 0) })?;
        Self::own(raw)
    }

    /// Connects, at most for the send time-out.
    pub(crate) fn connect(&self, address: &SocketAddress) -> Result<(), NetError> {
        let mut raw = address.bytes;
        // SAFETY: the address is as long as it says.
        check(unsafe { b::kernel_connect(self.as_ptr(), raw.as_mut_ptr().cast(), address.length as c_int, 0) }).map(drop)
    }

    /// Sends all of `bytes`. When the send time-out passes, `patience` decides whether to go on.
    pub(crate) fn send(&self, bytes: &[u8], more: More, patience: &mut impl FnMut() -> bool) -> Result<(), NetError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut vector = b::kvec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() };
            // SAFETY: all zero is a valid message header.
            let mut message: b::msghdr = unsafe { zeroed() };
            message.msg_flags = flags(more) as _;
            // SAFETY: the vector describes `rest`, which outlives the call.
            let sent = check(unsafe { b::kernel_sendmsg(self.as_ptr(), &raw mut message, &raw mut vector, 1, rest.len()) });
            match sent {
                Ok(sent) => rest = rest.get(sent..).unwrap_or(&[]),
                Err(NetError::TimedOut) if patience() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends the bytes of `data`. With [`PageMode::Splice`] the pages go out by reference, except those the network cannot take.
    pub(crate) fn send_segments(
        &self,
        data: Segments<'_>,
        mode: PageMode,
        more: More,
        patience: &mut impl FnMut() -> bool,
    ) -> Result<(), NetError> {
        // SAFETY: only looks at the page structs of a range that is kept in place.
        let splice = mode == PageMode::Splice && data.pieces().all(|piece| unsafe { x::kapi_sendpage_ok(piece.page) });
        let (vectors, count, skip) = data.raw();
        // SAFETY: all zero is a valid message header.
        let mut message: b::msghdr = unsafe { zeroed() };
        // SAFETY: the vectors cover the range and stay during the call.
        unsafe { b::iov_iter_bvec(&raw mut message.msg_iter, 1, vectors, count as c_ulong, data.len()) };
        message.msg_iter.iov_offset = skip;
        let mut left = data.len();
        while left > 0 {
            message.msg_flags = (flags(more) | if splice { x::MSG_SPLICE_PAGES } else { 0 }) as _;
            // SAFETY: the iterator is set up, and advanced by each call.
            match check(unsafe { b::sock_sendmsg(self.as_ptr(), &raw mut message) }) {
                Ok(sent) => left = left.saturating_sub(sent),
                Err(NetError::TimedOut) if patience() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Receives at least one byte, at most `out.len()`.
    pub(crate) fn receive(&self, out: &mut [u8]) -> Result<usize, NetError> {
        let mut ahead = self.ahead.lock();
        if ahead.len() == 0 {
            if !ReadAhead::serves(out.len()) {
                return self.receive_with(out, 0);
            }
            ahead.fill(|room| self.receive_with(room, 0))?;
        }
        Ok(ahead.take(out))
    }

    fn receive_with(&self, out: &mut [u8], extra: c_int) -> Result<usize, NetError> {
        let mut vector = b::kvec { iov_base: out.as_mut_ptr().cast(), iov_len: out.len() };
        // SAFETY: all zero is a valid message header.
        let mut message: b::msghdr = unsafe { zeroed() };
        // SAFETY: the vector describes `out`.
        let got = check(unsafe {
            b::kernel_recvmsg(self.as_ptr(), &raw mut message, &raw mut vector, 1, out.len(), x::MSG_NOSIGNAL | extra)
        })?;
        if got == 0 && !out.is_empty() {
            return Err(NetError::Closed);
        }
        Ok(got)
    }

    /// Receives exactly `out.len()` bytes; the receive time-out counts for each piece. After an error what had come of up to 512 bytes is
    /// still there for the next attempt.
    pub(crate) fn receive_exact(&self, out: &mut [u8]) -> Result<(), NetError> {
        let mut ahead = self.ahead.lock();
        if ReadAhead::serves(out.len()) {
            while ahead.len() < out.len() {
                ahead.fill(|room| self.receive_with(room, 0))?;
            }
        }
        let mut done = ahead.take(out);
        while done < out.len() {
            let Some(rest) = out.get_mut(done..) else { break };
            done += self.receive_with(rest, x::MSG_WAITALL)?;
        }
        Ok(())
    }

    /// Receives exactly the bytes of `into`.
    pub(crate) fn receive_segments(&self, into: Segments<'_>) -> Result<(), NetError> {
        let mut ahead = self.ahead.lock();
        let held = into.copy_from(0, ahead.waiting());
        ahead.skip(held);
        let into = into.slice(held, into.len());
        let (vectors, count, skip) = into.raw();
        // SAFETY: all zero is a valid message header.
        let mut message: b::msghdr = unsafe { zeroed() };
        // SAFETY: the vectors cover the range and stay during the call.
        unsafe { b::iov_iter_bvec(&raw mut message.msg_iter, 0, vectors, count as c_ulong, into.len()) };
        message.msg_iter.iov_offset = skip;
        let mut left = into.len();
        while left > 0 {
            // SAFETY: the iterator is set up, and advanced by each call.
            let got = check(unsafe { b::sock_recvmsg(self.as_ptr(), &raw mut message, x::MSG_NOSIGNAL | x::MSG_WAITALL) })?;
            if got == 0 {
                return Err(NetError::Closed);
            }
            left = left.saturating_sub(got);
        }
        Ok(())
    }

    /// Whether the connection stands: data is pending, or none has come yet. Does not block.
    pub(crate) fn is_alive(&self) -> bool {
        let mut probe = [0u8; 4];
        match self.receive_with(&mut probe, x::MSG_DONTWAIT | x::MSG_PEEK) {
            Ok(_) | Err(NetError::TimedOut) => true,
            Err(_) => false,
        }
    }

    /// Whether `bytes` bytes were received, or something more is waiting. Does not block. For the thread that receives.
    pub(crate) fn has_data(&self, bytes: usize) -> bool {
        let mut probe = [0u8; 1];
        self.ahead.lock().len() >= bytes || !matches!(self.receive_with(&mut probe, x::MSG_DONTWAIT | x::MSG_PEEK), Err(NetError::TimedOut))
    }

    /// Waits until something has come, or the connection has ended; at most `ticks`, and until a signal. False: neither. For the thread that
    /// receives; the receive time-out has to be set anew.
    pub(crate) fn wait_for_data(&self, ticks: Jiffies) -> bool {
        if self.ahead.lock().len() > 0 {
            return true;
        }
        self.set_receive_timeout(ticks.max(1));
        let mut probe = [0u8; 1];
        !matches!(self.receive_with(&mut probe, x::MSG_PEEK), Err(NetError::TimedOut | NetError::Interrupted))
    }

    /// Ends both directions; wakes whoever blocks on the socket.
    pub(crate) fn shutdown(&self) {
        // SAFETY: the socket is alive.
        unsafe { b::kernel_sock_shutdown(self.as_ptr(), b::sock_shutdown_cmd_SHUT_RDWR) };
    }

    /// After [`Socket::shutdown`]: has the peer closed this connection too, or is it gone?
    pub(crate) fn peer_closed(&self) -> bool {
        // SAFETY: the socket is alive; its state is read once.
        unsafe { x::kapi_sock_peer_closed(self.as_ptr()) }
    }

    /// Bytes queued for sending, and the size of the queue.
    pub(crate) fn send_queue(&self) -> (u32, u32) {
        // SAFETY: the socket is alive.
        unsafe { (x::kapi_sock_queued(self.as_ptr()).max(0) as u32, x::kapi_sock_send_space(self.as_ptr()).max(0) as u32) }
    }
}

fn flags(more: More) -> c_int {
    x::MSG_NOSIGNAL | if more == More::Yes { x::MSG_MORE } else { 0 }
}

const _: () = assert!(size_of::<b::sockaddr>() <= ADDRESS_BYTES);
