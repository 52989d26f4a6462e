// SPDX-License-Identifier: GPL-2.0
//! Messages with their netlink headers: what is written to the socket and read from it.

use crate::client::Error;
use crate::message::Message;
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;

/// Bytes of nlmsghdr.
const HEADER_BYTES: usize = 16;
/// nlmsghdr flag of an error: the request is not repeated in full.
const CAPPED: u16 = 0x100;
/// nlmsghdr flag of an error: attributes follow.
const ACK_TLVS: u16 = 0x200;
/// Attribute of an extended acknowledgement: what is wrong, as text.
const ACK_TEXT: u16 = 1;

/// What a netlink message is to the one who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message of the family.
    Message(Message),
    /// The kernel refuses the request: errno (positive; 0 is an acknowledgement), and what it says about it.
    Refused(i32, Option<String>),
    /// End of a dump: 0 or errno (positive).
    Done(i32),
}

/// A request with its headers.
pub fn encode(message: &Message, family: u16, flags: u16, sequence: u32) -> Vec<u8> {
    let mut generic = GenlMessage::from_payload(message.clone());
    generic.set_resolved_family_id(family);
    let mut header = NetlinkHeader::default();
    header.sequence_number = sequence;
    header.flags = flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(generic));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

/// The messages of one datagram with their sequence numbers; messages that are of no interest are left out.
///
/// # Errors
/// [`Error::Malformed`]: a message that is not one of the family.
pub fn decode(datagram: &[u8]) -> Result<Vec<(u32, Item)>, Error> {
    let mut items = Vec::new();
    let mut rest = datagram;
    while rest.len() >= HEADER_BYTES {
        let length = rest
            .get(..4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_ne_bytes) as usize;
        let Some(one) = rest.get(..length).filter(|one| one.len() >= HEADER_BYTES) else {
            return Err(Error::Malformed(format!(
                "a message of {length} bytes in {} bytes",
                rest.len()
            )));
        };
        let message = NetlinkMessage::<GenlMessage<Message>>::deserialize(one)
            .map_err(|e| Error::Malformed(e.to_string()))?;
        let sequence = message.header.sequence_number;
        let item = match message.payload {
            NetlinkPayload::InnerMessage(inner) => Some(Item::Message(inner.payload)),
            NetlinkPayload::Error(error) => {
                let text = acknowledged_text(message.header.flags, &error.header);
                Some(Item::Refused(
                    error.code.map_or(0, |code| code.get().saturating_neg()),
                    text,
                ))
            }
            NetlinkPayload::Done(done) => Some(Item::Done(done.code.saturating_neg())),
            _ => None,
        };
        items.extend(item.map(|item| (sequence, item)));
        rest = rest.get(length.div_ceil(4) * 4..).unwrap_or(&[]);
    }
    Ok(items)
}

/// The text of an extended acknowledgement, which follows the header of the request and, unless capped, its body.
fn acknowledged_text(flags: u16, after_code: &[u8]) -> Option<String> {
    if flags & ACK_TLVS == 0 {
        return None;
    }
    let request_bytes = after_code
        .get(..4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_ne_bytes) as usize;
    let skipped = if flags & CAPPED != 0 {
        HEADER_BYTES
    } else {
        request_bytes.div_ceil(4) * 4
    };
    let attributes = drbd_core::genl::Attributes::new(after_code.get(skipped..)?);
    let text = attributes.find(ACK_TEXT)?.string()?;
    Some(String::from_utf8_lossy(text).into_owned())
}
