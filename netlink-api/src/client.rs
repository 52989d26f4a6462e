// SPDX-License-Identifier: GPL-2.0
//! A tokio client of the family.

use crate::message::{Message, FAMILY};
use netlink_packet_core::{
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NLM_F_DUMP, NLM_F_REQUEST,
};
use netlink_packet_generic::ctrl::nlas::{GenlCtrlAttrs, McastGrpAttrs};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::GenlMessage;
use netlink_sys::{protocols::NETLINK_GENERIC, AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use std::collections::VecDeque;
use std::time::Duration;
use thiserror::Error;

/// Longest wait for a reply (netlink-and-tools.md section 7).
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a request has no reply of the driver.
#[derive(Debug, Error)]
pub enum Error {
    /// The module is not loaded.
    #[error("the drbd module is not loaded; load it with 'modprobe drbd'")]
    NoFamily,
    /// The family is not the one of 8.4.
    #[error("API mismatch: the kernel has version {version} with a header of {header_bytes} bytes, expected version 1 with 8")]
    ApiMismatch {
        /// Version of the family.
        version: u32,
        /// Size of its user header.
        header_bytes: u32,
    },
    /// The kernel refuses the message with an errno.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    /// The kernel sent something that is not a message.
    #[error("malformed message from the kernel: {0}")]
    Malformed(String),
    /// Nothing came in time.
    #[error("no answer from the kernel within {} s", REPLY_TIMEOUT.as_secs())]
    Timeout,
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// An open socket with the family resolved.
pub struct Client {
    socket: TokioSocket,
    family: u16,
    events_group: u32,
    sequence: u32,
    pending: VecDeque<(u32, Item)>,
}

#[derive(Debug)]
enum Item {
    Message(Message),
    Error(i32),
    Done(i32),
}

impl Client {
    /// Opens a socket and looks the family up.
    pub async fn open() -> Result<Self, Error> {
        let mut socket = TokioSocket::new(NETLINK_GENERIC)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_ref().set_rx_buf_sz(1 << 20)?;
        let seconds = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| d.as_secs() as u32);
        let mut client = Self {
            socket,
            family: 0,
            events_group: 0,
            sequence: seconds,
            pending: VecDeque::new(),
        };
        client.resolve().await?;
        Ok(client)
    }

    async fn resolve(&mut self) -> Result<(), Error> {
        let mut request = NetlinkMessage::from(GenlMessage::from_payload(GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.into())],
        }));
        request.header.flags = NLM_F_REQUEST;
        self.sequence = self.sequence.wrapping_add(1);
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0)).await?;
        let (reply, _) = tokio::time::timeout(REPLY_TIMEOUT, self.socket.recv_from_full())
            .await
            .map_err(|_| Error::Timeout)??;
        let reply = NetlinkMessage::<GenlMessage<GenlCtrl>>::deserialize(&reply)
            .map_err(|e| Error::Malformed(e.to_string()))?;
        let attributes = match reply.payload {
            NetlinkPayload::InnerMessage(message) => message.payload.nlas,
            NetlinkPayload::Error(_) => return Err(Error::NoFamily),
            _ => return Err(Error::Malformed("unexpected answer to GETFAMILY".into())),
        };
        let (mut version, mut header_bytes) = (0, 0);
        for attribute in attributes {
            match attribute {
                GenlCtrlAttrs::FamilyId(id) => self.family = id,
                GenlCtrlAttrs::Version(v) => version = v,
                GenlCtrlAttrs::HdrSize(size) => header_bytes = size,
                GenlCtrlAttrs::McastGroups(groups) => {
                    for group in groups {
                        let named = group.iter().any(|a| matches!(a, McastGrpAttrs::Name(n) if n == "events"));
                        for part in &group {
                            if let (true, McastGrpAttrs::Id(id)) = (named, part) {
                                self.events_group = *id;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        if version != 1 || header_bytes != 8 {
            return Err(Error::ApiMismatch {
                version,
                header_bytes,
            });
        }
        Ok(())
    }

    async fn send(&mut self, message: &Message, flags: u16) -> Result<u32, Error> {
        let mut generic = GenlMessage::from_payload(message.clone());
        generic.set_resolved_family_id(self.family);
        let mut header = NetlinkHeader::default();
        self.sequence = self.sequence.wrapping_add(1);
        header.sequence_number = self.sequence;
        header.flags = flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(generic));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0)).await?;
        Ok(self.sequence)
    }

    /// Sends a request and waits for its one reply.
    pub async fn ask(&mut self, message: &Message) -> Result<Message, Error> {
        let sequence = self.send(message, NLM_F_REQUEST).await?;
        match self.receive_reply(sequence).await? {
            Item::Message(reply) => Ok(reply),
            Item::Error(errno) => Err(Error::Refused(errno)),
            Item::Done(_) => Err(Error::Malformed("end of a dump instead of a reply".into())),
        }
    }

    /// Sends a dump request and collects its parts. A part with an error code ends it.
    pub async fn dump(&mut self, message: &Message) -> Result<Vec<Message>, Error> {
        let sequence = self.send(message, NLM_F_REQUEST | NLM_F_DUMP).await?;
        let mut parts = Vec::new();
        loop {
            match self.receive_reply(sequence).await? {
                Item::Message(part) => {
                    let failed = part.code != drbd_core::genl::ret::NO_ERROR;
                    parts.push(part);
                    if failed {
                        return Ok(parts);
                    }
                }
                Item::Error(errno) => return Err(Error::Refused(errno)),
                Item::Done(0) => return Ok(parts),
                Item::Done(errno) => return Err(Error::Refused(-errno)),
            }
        }
    }

    /// Joins the group of notifications; [`Client::event`] delivers them.
    pub fn subscribe(&mut self) -> Result<(), Error> {
        Ok(self.socket.socket_mut().add_membership(self.events_group)?)
    }

    /// The next notification (or part of a dump that runs), with its sequence number;
    /// `None` after `limit`.
    pub async fn event(&mut self, limit: Option<Duration>) -> Result<Option<(u32, Message)>, Error> {
        loop {
            if let Some((sequence, item)) = self.pending.pop_front() {
                if let Item::Message(message) = item {
                    return Ok(Some((sequence, message)));
                }
                continue;
            }
            match limit {
                None => self.fill().await?,
                Some(limit) => match tokio::time::timeout(limit, self.fill()).await {
                    Ok(filled) => filled?,
                    Err(_) => return Ok(None),
                },
            }
        }
    }

    /// Starts a dump whose parts come through [`Client::event`].
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
        let (datagram, _) = self.socket.recv_from_full().await?;
        let mut rest = &datagram[..];
        while rest.len() >= 16 {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let Some(one) = rest.get(..length).filter(|_| length >= 16) else { break };
            let message = NetlinkMessage::<GenlMessage<Message>>::deserialize(one)
                .map_err(|e| Error::Malformed(e.to_string()))?;
            let sequence = message.header.sequence_number;
            let item = match message.payload {
                NetlinkPayload::InnerMessage(inner) => Some(Item::Message(inner.payload)),
                NetlinkPayload::Error(error) => Some(Item::Error(error.code.map_or(0, |c| -c.get()))),
                NetlinkPayload::Done(done) => Some(Item::Done(done.code)),
                _ => None,
            };
            self.pending.extend(item.map(|item| (sequence, item)));
            rest = rest.get(length.div_ceil(4) * 4..).unwrap_or(&[]);
        }
        Ok(())
    }
}
