// SPDX-License-Identifier: GPL-2.0
//! Looking up the family at the controller of generic netlink (netlink-and-tools.md section 1).

use crate::client::Error;
use crate::message::FAMILY;
use drbd_core::genl::GROUP;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload, NLM_F_REQUEST};
use netlink_packet_generic::ctrl::nlas::{GenlCtrlAttrs, McastGrpAttrs};
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::GenlMessage;

/// What the kernel calls the family at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// Type of its messages.
    pub id: u16,
    /// Number of the multicast group of notifications.
    pub events_group: u32,
}

/// The lookup request.
pub fn lookup(sequence: u32) -> Vec<u8> {
    let mut request = NetlinkMessage::from(GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.into())],
    }));
    request.header.flags = NLM_F_REQUEST;
    request.header.sequence_number = sequence;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    bytes
}

/// Reads the answer.
///
/// # Errors
/// [`Error::NoFamily`] without the module, [`Error::ApiMismatch`] for another interface than that of 8.4.
pub fn answer(datagram: &[u8]) -> Result<Family, Error> {
    let reply = NetlinkMessage::<GenlMessage<GenlCtrl>>::deserialize(datagram)
        .map_err(|e| Error::Malformed(e.to_string()))?;
    let attributes = match reply.payload {
        NetlinkPayload::InnerMessage(message) => message.payload.nlas,
        NetlinkPayload::Error(_) => return Err(Error::NoFamily),
        _ => return Err(Error::Malformed("unexpected answer to GETFAMILY".into())),
    };
    let mut family = Family::default();
    let (mut version, mut header_bytes) = (0, 0);
    for attribute in attributes {
        match attribute {
            GenlCtrlAttrs::FamilyId(id) => family.id = id,
            GenlCtrlAttrs::Version(number) => version = number,
            GenlCtrlAttrs::HdrSize(size) => header_bytes = size,
            GenlCtrlAttrs::McastGroups(groups) => {
                for group in groups {
                    family.events_group = group_number(&group).unwrap_or(family.events_group);
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
    Ok(family)
}

/// The number of a group, if it is the one of notifications.
fn group_number(attributes: &[McastGrpAttrs]) -> Option<u32> {
    let named = attributes
        .iter()
        .any(|a| matches!(a, McastGrpAttrs::Name(name) if name == GROUP));
    attributes.iter().find_map(|attribute| match attribute {
        McastGrpAttrs::Id(id) if named => Some(*id),
        _ => None,
    })
}
