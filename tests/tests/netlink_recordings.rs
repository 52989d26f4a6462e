// SPDX-License-Identifier: GPL-2.0
//! Netlink traffic of the C driver and its tools (`fixtures/netlink`) through the codecs of `netlink-api`, and against the attribute
//! tables of core.

#[path = "netlink/mod.rs"]
mod netlink;

use drbd_core::genl::attributes::{of_container, Kind, COMMANDS};
use drbd_core::genl::{container, Attribute, Attributes, MANDATORY, NESTED};
use netlink::{files, messages, runs, FAMILY};
use netlink_api::datagram::{decode, encode, Item};
use netlink_api::family;
use netlink_api::replay::to_hex;

/// nlmsghdr type of a refusal.
const ERROR: u16 = 2;

#[test]
fn the_family_is_looked_up_as_recorded() {
    let run = &runs("00-family.txt")[0];
    let (request, answer) = (run.steps[0].bytes(), run.steps[1].bytes());
    let sequence = u32::from_ne_bytes(request[8..12].try_into().unwrap());
    let mine = family::lookup(sequence);
    assert_eq!(to_hex(&mine[..12]), to_hex(&request[..12]));
    assert_eq!(to_hex(&mine[20..]), to_hex(&request[20..]), "attributes");
    assert_eq!(mine[16], request[16], "command");
    let found = family::answer(answer).unwrap();
    assert_eq!(found.id, FAMILY);
    assert_eq!(found.events_group, 9);
}

#[test]
fn a_lookup_without_the_module_is_told_apart_from_another_interface() {
    let run = &runs("00-family.txt")[0];
    let mut refusal = vec![36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    refusal.extend_from_slice(&(-2i32).to_ne_bytes());
    refusal.extend_from_slice(&run.steps[0].bytes()[..16]);
    assert!(matches!(
        family::answer(&refusal),
        Err(netlink_api::Error::NoFamily)
    ));
    let mut other = run.steps[1].bytes().to_vec();
    // The attribute "version" (type 3, 4 bytes) is at this place of the recording.
    let at = other
        .windows(8)
        .position(|w| w == [8, 0, 3, 0, 1, 0, 0, 0])
        .unwrap();
    other[at + 4] = 2;
    let error = family::answer(&other).unwrap_err();
    assert!(matches!(
        error,
        netlink_api::Error::ApiMismatch {
            version: 2,
            header_bytes: 8
        }
    ));
    for length in 0..other.len() {
        // Garbage is an error, not a panic.
        let _ = family::answer(&other[..length]);
    }
}

#[test]
fn every_message_survives_decoding_and_encoding() {
    let mut count = 0;
    for message in messages(&files()).iter().filter(|m| m.kind() == FAMILY) {
        let items = decode(&message.bytes).unwrap();
        let [(sequence, Item::Message(decoded))] = items.as_slice() else {
            panic!("{}: {items:?}", message.place)
        };
        let flags = u16::from_ne_bytes([message.bytes[6], message.bytes[7]]);
        let mut again = encode(decoded, FAMILY, flags, *sequence);
        // The port of the sender is the kernel's business.
        again[12..16].copy_from_slice(&message.bytes[12..16]);
        assert_eq!(to_hex(&again), to_hex(&message.bytes), "{}", message.place);
        count += 1;
    }
    assert!(count > 300, "{count}");
}

#[test]
fn truncated_and_damaged_datagrams_are_errors_or_messages_but_never_a_panic() {
    for message in messages(&files()).iter().step_by(7) {
        for length in 0..message.bytes.len() {
            let _ = decode(&message.bytes[..length]);
            let mut damaged = message.bytes.clone();
            damaged[length] ^= 0x55;
            let _ = decode(&damaged);
        }
    }
}

fn length_fits(kind: Kind, attribute: &Attribute<'_>) -> bool {
    let length = attribute.payload.len();
    match kind {
        Kind::Flag => length == 1,
        Kind::U32 | Kind::S32 | Kind::Enum(_) => length == 4,
        Kind::U64 => length == 8,
        Kind::Text(most) => length <= usize::from(most) + 1 && attribute.payload.last() == Some(&0),
        Kind::Binary(most) => length <= usize::from(most),
    }
}

/// Types of the attributes of a container as they are on the wire, with their flag bits.
fn raw_types(payload: &[u8]) -> Vec<u16> {
    let mut types = Vec::new();
    let mut rest = payload;
    while rest.len() >= 4 {
        let length = u16::from_ne_bytes([rest[0], rest[1]]) as usize;
        types.push(u16::from_ne_bytes([rest[2], rest[3]]));
        rest = rest.get(length.div_ceil(4) * 4..).unwrap_or(&[]);
    }
    types
}

#[test]
fn the_tables_describe_every_attribute_the_tools_send() {
    // Refused by the kernel, and recorded for that: a second address pair; a name and options that are too long.
    let unknown = |number: u16| number == 35;
    for message in messages(&files())
        .iter()
        .filter(|m| m.sent && m.kind() == FAMILY)
    {
        let command = COMMANDS
            .iter()
            .find(|c| c.number == message.bytes[16])
            .expect("command");
        for outer in Attributes::new(message.attributes()) {
            let outer = outer.unwrap();
            assert!(outer.nested, "{}", message.place);
            assert!(
                command.containers.contains(&outer.number),
                "{}: {}",
                message.place,
                outer.number
            );
            let types = raw_types(outer.payload);
            for (inner, raw) in outer.inner().zip(types) {
                let inner = inner.unwrap();
                if outer.number == container::NET_CONF && unknown(inner.number) {
                    continue;
                }
                let spec = of_container(outer.number)
                    .iter()
                    .find(|spec| spec.number == inner.number);
                let spec = spec.unwrap_or_else(|| {
                    panic!("{}: {}/{}", message.place, outer.number, inner.number)
                });
                assert!(
                    length_fits(spec.kind, &inner) || message.place.contains("too long"),
                    "{}: {spec:?}",
                    message.place
                );
                if !spec.option.is_empty() {
                    assert_eq!(
                        raw & MANDATORY != 0,
                        spec.marked,
                        "{}: {spec:?}",
                        message.place
                    );
                }
            }
        }
    }
}

#[test]
fn the_tables_describe_every_option_the_kernel_reports() {
    let configuration = [
        container::DISK_CONF,
        container::NET_CONF,
        container::RESOURCE_OPTS,
    ];
    let mut seen = 0;
    for message in messages(&files())
        .iter()
        .filter(|m| !m.sent && m.kind() == FAMILY)
    {
        for outer in Attributes::new(message.attributes())
            .flatten()
            .filter(|o| configuration.contains(&o.number))
        {
            let reported: Vec<u16> = outer.inner().flatten().map(|a| a.number).collect();
            let known: Vec<u16> = of_container(outer.number)
                .iter()
                .map(|spec| spec.number)
                .collect();
            assert_eq!(
                reported, known,
                "{}: container {}",
                message.place, outer.number
            );
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn containers_carry_the_nested_bit_as_documented() {
    for message in messages(&files())
        .iter()
        .filter(|m| !m.sent && m.kind() == FAMILY)
    {
        // A reply to a request echoes the context of the request, bits included.
        let echoed = |number: u16| number == container::CFG_CONTEXT && message.bytes[6] & 2 == 0;
        for raw in raw_types(message.attributes()) {
            let number = raw & !(NESTED | MANDATORY);
            if !echoed(number) {
                assert_eq!(
                    raw & NESTED != 0,
                    !matches!(number, 1 | 2 | 8),
                    "{}: {number}",
                    message.place
                );
            }
        }
    }
}

#[test]
fn refusals_carry_errno_and_the_kernels_remark() {
    let all = messages(&["90-hand-made-requests.txt".to_string()]);
    let mut remarks = Vec::new();
    for message in all.iter().filter(|m| !m.sent && m.kind() == ERROR) {
        let items = decode(&message.bytes).unwrap();
        let [(_, Item::Refused(errno, remark))] = items.as_slice() else {
            panic!("{items:?}")
        };
        remarks.push((
            message.place.rsplit(": ").next().unwrap_or("").to_string(),
            *errno,
            remark.clone(),
        ));
    }
    let find = |title: &str| {
        remarks
            .iter()
            .find(|(t, ..)| t.contains(title))
            .unwrap_or_else(|| panic!("{title}: {remarks:?}"))
    };
    for (title, errno) in [
        ("container without the NESTED bit", 22),
        ("string without NUL", 22),
        ("name of 129 characters", 22),
        ("unknown top-level attribute 30", 22),
        ("unknown command 99", 95),
        ("u32 attribute of two bytes", 22),
    ] {
        assert_eq!(find(title).1, errno, "{title}");
    }
    assert!(
        remarks.iter().any(|(_, _, remark)| remark.is_some()),
        "{remarks:?}"
    );
    for (title, errno, remark) in &remarks {
        if let Some(remark) = remark {
            assert!(
                remark.is_ascii() && remark.len() > 5,
                "{title}: {errno} {remark}"
            );
        }
    }
}
