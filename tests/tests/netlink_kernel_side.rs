// SPDX-License-Identifier: GPL-2.0
//! What the C driver wrote (`fixtures/netlink`), written again by core: each container is read into values and encoded, and has to
//! come out byte for byte.

#[path = "netlink/mod.rs"]
mod netlink;

use drbd_core::genl::config::{DiskConf, NetConf, ResourceOptions};
use drbd_core::genl::status::{
    write_resource_info, write_words, Context, DeviceStatistics, DiskInfo, PeerDeviceStatistics,
    Reason, StateInfo,
};
use drbd_core::genl::{container, Attribute, Attributes, Writer};
use netlink::{files, messages, Recorded, FAMILY};
use netlink_api::replay::to_hex;

fn u32_of(container: &Attribute<'_>, number: u16) -> u32 {
    container
        .inner()
        .find(number)
        .and_then(|a| a.u32())
        .unwrap_or_default()
}

fn u64_of(container: &Attribute<'_>, number: u16) -> u64 {
    container
        .inner()
        .find(number)
        .and_then(|a| a.u64())
        .unwrap_or_default()
}

fn flag_of(container: &Attribute<'_>, number: u16) -> bool {
    container
        .inner()
        .find(number)
        .and_then(|a| a.u8())
        .unwrap_or_default()
        != 0
}

fn words_of(container: &Attribute<'_>, count: u16) -> Vec<Option<u32>> {
    (1..=count)
        .map(|number| container.inner().find(number).and_then(|a| a.u32()))
        .collect()
}

/// Writes a container of the recording with core; `None`: core leaves it to the driver.
fn again(recorded: &Attribute<'_>, secret: bool) -> Option<Vec<u8>> {
    let mut buffer = vec![0u8; 4096];
    let mut writer = Writer::new(&mut buffer);
    match recorded.number {
        container::CFG_CONTEXT => context(recorded, &mut writer),
        container::DISK_CONF => {
            let mut values = DiskConf::default();
            values.read(recorded.payload, true).unwrap();
            let open = writer.begin_reply(recorded.number);
            values.write(&mut writer);
            writer.end(open);
        }
        container::NET_CONF => {
            let mut values = NetConf::default();
            values.read(recorded.payload).unwrap();
            let open = writer.begin_reply(recorded.number);
            values.write(&mut writer, secret);
            writer.end(open);
        }
        container::RESOURCE_OPTS => {
            let mut values = ResourceOptions::default();
            values.read(recorded.payload).unwrap();
            let open = writer.begin_reply(recorded.number);
            values.write(&mut writer);
            writer.end(open);
        }
        container::STATE_INFO => state_info(recorded, &mut writer),
        container::RESOURCE_INFO => {
            let flag = |number| flag_of(recorded, number);
            write_resource_info(&mut writer, u32_of(recorded, 1), flag(2), flag(3), flag(4));
        }
        container::DEVICE_STATISTICS => device_statistics(recorded, &mut writer),
        container::PEER_DEVICE_STATISTICS => peer_device_statistics(recorded, &mut writer),
        container::TIMEOUT_PARMS
        | container::DEVICE_INFO
        | container::RESOURCE_STATISTICS
        | container::NOTIFICATION_HEADER => {
            write_words(&mut writer, recorded.number, &words_of(recorded, 1))
        }
        container::CONNECTION_INFO => {
            write_words(&mut writer, recorded.number, &words_of(recorded, 2))
        }
        container::PEER_DEVICE_INFO => {
            write_words(&mut writer, recorded.number, &words_of(recorded, 5))
        }
        _ => return None,
    }
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    Some(buffer)
}

fn context(recorded: &Attribute<'_>, writer: &mut Writer<'_>) {
    let find = |number| recorded.inner().find(number);
    let context = Context {
        volume: find(1).and_then(|a| a.u32()),
        resource: find(2).and_then(|a| a.string()),
        own_address: find(3).map(|a| a.payload),
        peer_address: find(4).map(|a| a.payload),
    };
    context.write(writer);
}

fn four(bytes: &[u8]) -> [u64; 4] {
    let mut numbers = [0; 4];
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_ne_bytes(bytes.try_into().unwrap());
    }
    numbers
}

fn state_info(recorded: &Attribute<'_>, writer: &mut Writer<'_>) {
    let disk = recorded.inner().find(7).map(|uuids| DiskInfo {
        uuids: four(uuids.payload),
        flags: u32_of(recorded, 8),
        bits_total: u64_of(recorded, 9),
        bits_out_of_sync: u64_of(recorded, 10),
        resync: recorded
            .inner()
            .find(11)
            .map(|_| (u64_of(recorded, 11), u64_of(recorded, 12))),
    });
    let info = StateInfo {
        state: u32_of(recorded, 2),
        capacity_sectors: u64_of(recorded, 3),
        effective_uuid: u64_of(recorded, 4),
        disk,
        counters: [15, 16, 17, 18, 19, 20].map(|number| u64_of(recorded, number)),
        pending: [21, 22, 23].map(|number| u32_of(recorded, number)),
    };
    let helper = recorded
        .inner()
        .find(13)
        .and_then(|a| a.string())
        .unwrap_or_default();
    let reason = match u32_of(recorded, 1) {
        1 => Reason::Status,
        2 => Reason::StateChange(u32_of(recorded, 5), u32_of(recorded, 6)),
        3 => Reason::HelperCalled(helper),
        4 => Reason::HelperDone(helper, u32_of(recorded, 14)),
        5 => Reason::SyncProgress,
        other => panic!("reason {other}"),
    };
    info.write(writer, reason);
}

fn device_statistics(recorded: &Attribute<'_>, writer: &mut Writer<'_>) {
    let history = recorded
        .inner()
        .find(14)
        .filter(|a| !a.payload.is_empty())
        .map(|a| {
            let [younger, older, ..] = four(a.payload);
            [younger, older]
        });
    let statistics = DeviceStatistics {
        counters: [1, 2, 3, 4, 5].map(|number| u64_of(recorded, number)),
        pending: [6, 7].map(|number| u32_of(recorded, number)),
        upper_blocked: flag_of(recorded, 8),
        log_suspended: flag_of(recorded, 10),
        exposed_uuid: u64_of(recorded, 11),
        current_uuid: u64_of(recorded, 12),
        disk_flags: u32_of(recorded, 13),
        history,
    };
    statistics.write(writer);
}

fn peer_device_statistics(recorded: &Attribute<'_>, writer: &mut Writer<'_>) {
    let statistics = PeerDeviceStatistics {
        transferred: [1, 2].map(|number| u64_of(recorded, number)),
        pending: [3, 4].map(|number| u32_of(recorded, number)),
        out_of_sync: [5, 6].map(|number| u64_of(recorded, number)),
        bitmap_uuid: u64_of(recorded, 7),
        flags: u32_of(recorded, 9),
    };
    statistics.write(writer);
}

/// Messages of the kernel. Replies to a single request echo its context, so that is left out.
fn from_kernel() -> Vec<Recorded> {
    messages(&files())
        .into_iter()
        .filter(|m| !m.sent && m.kind() == FAMILY)
        .collect()
}

#[test]
fn every_container_of_the_c_driver_is_written_again_byte_for_byte() {
    let mut written = std::collections::BTreeMap::<u16, usize>::new();
    for message in from_kernel() {
        let mut rest = message.attributes();
        while rest.len() >= 4 {
            let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
            let padded = length.div_ceil(4) * 4;
            let raw = &rest[..padded];
            let outer = Attributes::new(raw).next().unwrap().unwrap();
            rest = &rest[padded..];
            let echoed = outer.number == container::CFG_CONTEXT
                && u16::from_ne_bytes([raw[2], raw[3]]) & 0x8000 != 0;
            if echoed {
                continue;
            }
            if let Some(mine) = again(&outer, true) {
                assert_eq!(
                    to_hex(&mine),
                    to_hex(raw),
                    "{}: container {}",
                    message.place,
                    outer.number
                );
                *written.entry(outer.number).or_default() += 1;
            }
        }
    }
    let kinds: Vec<u16> = written.keys().copied().collect();
    assert_eq!(
        kinds,
        [2, 3, 4, 5, 8, 11, 15, 16, 17, 18, 19, 20, 22, 23],
        "{written:?}"
    );
}

#[test]
fn the_shared_secret_is_blanked_for_those_who_may_not_see_it() {
    let mut checked = 0;
    for message in messages(&files())
        .iter()
        .filter(|m| m.sent && m.kind() == FAMILY)
    {
        let Some(net) = Attributes::new(message.attributes()).find(container::NET_CONF) else {
            continue;
        };
        if net.inner().find(1).is_none() {
            continue;
        }
        let shown = again(&net, true).unwrap();
        let hidden = again(&net, false).unwrap();
        let secret = |bytes: &[u8]| {
            let net = Attributes::new(bytes).find(container::NET_CONF).unwrap();
            net.inner().find(1).unwrap().string().unwrap().to_vec()
        };
        assert_eq!(
            secret(&shown),
            net.inner().find(1).unwrap().string().unwrap()
        );
        assert_eq!(secret(&hidden), b"");
        checked += 1;
    }
    assert!(checked > 0);
}
