// SPDX-License-Identifier: GPL-2.0
//! A tokio client of the family.

use crate::datagram::{decode, encode, Item, GENL_ID_CTRL};
use crate::family::{self, Family};
use crate::message::Message;
use crate::replay::Replay;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{
    protocols::NETLINK_GENERIC, AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket,
};
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// Longest wait for a reply (netlink-and-tools.md section 7).
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
/// Receive buffer of the socket, so that a burst of notifications fits.
const BUFFER_BYTES: usize = 1 << 20;
/// errno of a receive buffer that overflowed.
const NO_BUFFERS: i32 = 105;
/// The family in the recordings.
const RECORDED_FAMILY: Family = Family {
    id: 26,
    events_group: 9,
};

/// Why a request has no reply of the driver.
#[derive(Debug, Error)]
pub enum Error {
    /// The module is not loaded.
    #[error("the drbd module is not loaded; load it with 'modprobe drbd'")]
    NoFamily,
    /// The family is not the one of 8.4.
    #[error("API mismatch! The kernel has version {version} with a header of {header_bytes} bytes, expected version 1 with 8")]
    ApiMismatch {
        /// Version of the family.
        version: u32,
        /// Size of its user header.
        header_bytes: u32,
    },
    /// The kernel refuses the message with an errno, and may say why.
    #[error("{}", errno_text(*.0))]
    Refused(i32, Option<String>),
    /// The kernel sent something that is not a message.
    #[error("malformed message from the kernel: {0}")]
    Malformed(String),
    /// Nothing came in time.
    #[error("no answer from the kernel within {} s", REPLY_TIMEOUT.as_secs())]
    Timeout,
    /// The module was unloaded meanwhile.
    #[error("the drbd module was unloaded")]
    Gone,
    /// The recording is at its end.
    #[error("the recording has no further message")]
    EndOfRecording,
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// The text of an errno, as the C library has it.
pub fn errno_text(errno: i32) -> String {
    plain(&std::io::Error::from_raw_os_error(errno))
}

/// The text of an I/O error without the number that the standard library adds.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

/// Where messages go.
enum Link {
    Kernel(TokioSocket),
    Replay(Replay),
}

/// An open socket with the family resolved.
pub struct Client {
    link: Link,
    family: Family,
    sequence: u32,
    pending: VecDeque<(u32, Item)>,
}

impl Client {
    /// Opens a socket and looks the family up.
    ///
    /// # Errors
    /// [`Error::NoFamily`] without the module, [`Error::ApiMismatch`], or the socket's fault.
    pub async fn open() -> Result<Self, Error> {
        let mut socket = TokioSocket::new(NETLINK_GENERIC)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_ref().set_rx_buf_sz(BUFFER_BYTES)?;
        // A kernel without it only says less about what it refuses.
        let _ = socket.socket_ref().set_ext_ack(true);
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| d.as_secs() as u32);
        socket
            .send_to(&family::lookup(seconds), &SocketAddr::new(0, 0))
            .await?;
        let (answer, _) = tokio::time::timeout(REPLY_TIMEOUT, socket.recv_from_full())
            .await
            .map_err(|_| Error::Timeout)??;
        Ok(Self {
            family: family::answer(&answer)?,
            link: Link::Kernel(socket),
            sequence: seconds,
            pending: VecDeque::new(),
        })
    }

    /// A client that talks to a recording instead of the kernel.
    pub fn replay(recording: Replay) -> Self {
        Self {
            link: Link::Replay(recording),
            family: RECORDED_FAMILY,
            sequence: 0,
            pending: VecDeque::new(),
        }
    }

    /// The recording of [`Client::replay`] as far as it was not used up.
    pub fn into_replay(self) -> Option<Replay> {
        match self.link {
            Link::Replay(recording) => Some(recording),
            Link::Kernel(_) => None,
        }
    }

    async fn send(&mut self, message: &Message, flags: u16) -> Result<u32, Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = encode(message, self.family.id, flags, self.sequence);
        match &mut self.link {
            Link::Kernel(socket) => {
                socket.send_to(&bytes, &SocketAddr::new(0, 0)).await?;
            }
            Link::Replay(recording) => self.sequence = recording.send(&bytes),
        }
        Ok(self.sequence)
    }

    /// Sends a request and waits for its one reply.
    ///
    /// # Errors
    /// [`Error::Refused`] when the kernel does not hand the request to the driver.
    pub async fn ask(&mut self, message: &Message) -> Result<Message, Error> {
        let sequence = self.send(message, NLM_F_REQUEST).await?;
        match self.receive_reply(sequence).await? {
            Item::Message(reply) => Ok(reply),
            Item::Refused(errno, text) => Err(Error::Refused(errno, text)),
            Item::Gone => Err(Error::Gone),
            Item::Done(_) => Err(Error::Malformed("end of a dump instead of a reply".into())),
        }
    }

    /// Sends a dump request and collects its parts. A part with an error code ends it.
    ///
    /// # Errors
    /// [`Error::Refused`] when the dump ends with an errno.
    pub async fn dump(&mut self, message: &Message) -> Result<Vec<Message>, Error> {
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_DUMP).await?;
        let mut parts = Vec::new();
        loop {
            match self.receive_reply(sequence).await? {
                Item::Message(part) => {
                    let failed = part.code != drbd_core::genl::ret::NO_ERROR;
                    parts.push(part);
                    if failed {
                        self.abandon().await?;
                        return Ok(parts);
                    }
                }
                Item::Gone => return Err(Error::Gone),
                Item::Done(0) => return Ok(parts),
                Item::Done(errno) => return Err(Error::Refused(errno, None)),
                Item::Refused(errno, text) => return Err(Error::Refused(errno, text)),
            }
        }
    }

    /// A dump that fails goes on for ever with the C driver (netlink-and-tools.md section 4); only a new socket gets rid of it.
    async fn abandon(&mut self) -> Result<(), Error> {
        if let Link::Kernel(_) = self.link {
            *self = Box::pin(Self::open()).await?;
        }
        Ok(())
    }

    /// Joins the group of notifications; [`Client::event`] delivers them.
    ///
    /// # Errors
    /// The socket's fault.
    pub fn subscribe(&mut self) -> Result<(), Error> {
        match &mut self.link {
            Link::Kernel(socket) => {
                let socket = socket.socket_mut();
                socket.add_membership(self.family.events_group)?;
                // Tells when the module is unloaded.
                Ok(socket.add_membership(u32::from(GENL_ID_CTRL))?)
            }
            Link::Replay(_) => Ok(()),
        }
    }

    /// The next notification (or part of a dump that runs), with its sequence number; `None` after `limit`.
    ///
    /// Notifications that came too fast are lost; their sequence numbers tell how many.
    ///
    /// # Errors
    /// [`Error::Refused`] when the dump that runs ends with an errno; [`Error::Gone`] when the module is unloaded; the
    /// socket's fault.
    pub async fn event(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<Option<(u32, Message)>, Error> {
        loop {
            match self.pending.pop_front() {
                Some((sequence, Item::Message(message))) => return Ok(Some((sequence, message))),
                Some((_, Item::Done(0) | Item::Refused(0, _))) => continue,
                Some((_, Item::Gone)) => return Err(Error::Gone),
                Some((_, Item::Done(errno))) => return Err(Error::Refused(errno, None)),
                Some((_, Item::Refused(errno, text))) => return Err(Error::Refused(errno, text)),
                None => {}
            }
            let filled = match limit {
                None => self.fill().await,
                Some(limit) => match tokio::time::timeout(limit, self.fill()).await {
                    Err(_) | Ok(Err(Error::EndOfRecording)) => return Ok(None),
                    Ok(filled) => filled,
                },
            };
            match filled {
                Err(Error::Socket(error)) if error.raw_os_error() == Some(NO_BUFFERS) => {}
                filled => filled?,
            }
        }
    }

    /// Starts a dump whose parts come through [`Client::event`].
    ///
    /// # Errors
    /// The socket's fault.
    pub async fn start_dump(&mut self, message: &Message) -> Result<u32, Error> {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP).await
    }

    async fn receive_reply(&mut self, sequence: u32) -> Result<Item, Error> {
        loop {
            if let Some(at) = self.pending.iter().position(|(s, _)| *s == sequence) {
                if let Some((_, item)) = self.pending.remove(at) {
                    return Ok(item);
                }
            }
            tokio::time::timeout(REPLY_TIMEOUT, self.fill())
                .await
                .map_err(|_| Error::Timeout)??;
        }
    }

    /// Receives one datagram, which may hold several messages.
    async fn fill(&mut self) -> Result<(), Error> {
        let datagram = match &mut self.link {
            Link::Kernel(socket) => socket.recv_from_full().await?.0,
            Link::Replay(recording) => recording.receive().ok_or(Error::EndOfRecording)?,
        };
        self.pending.extend(decode(&datagram)?);
        Ok(())
    }
}
