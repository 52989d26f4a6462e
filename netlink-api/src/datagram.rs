// SPDX-License-Identifier: GPL-2.0
//! Messages with their netlink headers: what is written to the socket and read from it.

use crate::client::Error;
use crate::message::{Message, FAMILY};
use drbd_core::genl::Attributes;
use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;

/// Bytes of nlmsghdr.
const HEADER_BYTES: usize = 16;
/// Type of the messages of the controller, and number of its multicast group.
pub const GENL_ID_CTRL: u16 = 16;
/// Command of the controller: a family was removed.
const DELETE_FAMILY: u8 = 2;
/// Attribute of the controller: name of a family.
const FAMILY_NAME: u16 = 2;
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
    /// The module was unloaded.
    Gone,
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
        rest = rest.get(length.div_ceil(4) * 4..).unwrap_or(&[]);
        if word16(one, 4) == GENL_ID_CTRL {
            items.extend(unloaded(one).then_some((0, Item::Gone)));
            continue;
        }
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
    }
    Ok(items)
}

fn word16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_ne_bytes)
}

/// Whether a message of the controller says that the family is gone.
fn unloaded(message: &[u8]) -> bool {
    let command = message.get(HEADER_BYTES).copied();
    let attributes = Attributes::new(message.get(HEADER_BYTES + 4..).unwrap_or(&[]));
    let name = attributes.find(FAMILY_NAME).and_then(|a| a.string());
    command == Some(DELETE_FAMILY) && name == Some(FAMILY.as_bytes())
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
    let attributes = Attributes::new(after_code.get(skipped..)?);
    let text = attributes.find(ACK_TEXT)?.string()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::NLM_F_REQUEST;

    fn controller(command: u8, name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; HEADER_BYTES];
        bytes.extend_from_slice(&[command, 2, 0, 0]);
        bytes.extend_from_slice(&(4 + name.len() as u16 + 1).to_ne_bytes());
        bytes.extend_from_slice(&FAMILY_NAME.to_ne_bytes());
        bytes.extend_from_slice(name);
        bytes.resize(bytes.len().div_ceil(4) * 4 + 4, 0);
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&GENL_ID_CTRL.to_ne_bytes());
        bytes
    }

    #[test]
    fn the_end_of_the_module_is_noticed_and_that_of_others_is_not() {
        assert_eq!(
            decode(&controller(2, b"drbd")).expect("valid"),
            [(0, Item::Gone)]
        );
        assert_eq!(decode(&controller(1, b"drbd")).expect("valid"), []);
        assert_eq!(decode(&controller(2, b"nl80211")).expect("valid"), []);
    }

    #[test]
    fn several_messages_in_one_datagram_are_taken_apart() {
        let message = Message {
            command: 14,
            minor: 3,
            code: 0,
            attributes: vec![5, 0, 1, 0, 7, 0, 0, 0],
        };
        let mut bytes = encode(&message, 26, NLM_F_REQUEST, 8);
        bytes.extend(encode(&message, 26, NLM_F_REQUEST, 9));
        let expected = [
            (8, Item::Message(message.clone())),
            (9, Item::Message(message)),
        ];
        assert_eq!(decode(&bytes).expect("valid"), expected);
        let length = bytes.len();
        assert!(decode(&bytes[..length - 1]).is_err());
    }
}
