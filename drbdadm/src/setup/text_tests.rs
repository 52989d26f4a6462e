// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 3, show, status and events: texts of states that the recorded conversations do not have, against what the C driver's tool printed for them on the same
//! kernel (fixture transcripts 02, 03 and 05).

use super::sh_status::block;
use super::show;
use super::status::{Detail, Parts};
use super::status_text::render;
use drbd_core::genl::status::{
    write_resource_info, write_words, Context, DeviceStatistics, PeerDeviceStatistics, Reason,
    StateInfo,
};
use drbd_core::genl::{
    command, container, DiskConf, FixedString, NetConf, ResourceOptions, Writer,
};
use drbd_core::state::{Conn, Disk, Role, State};
use netlink_api::Message;

const OWN: [u8; 16] = [2, 0, 0x1e, 0x6d, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
const PEER: [u8; 16] = [2, 0, 0x1e, 0x6d, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];

fn message(command: u8, minor: u32, write: impl Fn(&mut Writer<'_>)) -> Message {
    let mut attributes = vec![0; 4096];
    let mut writer = Writer::new(&mut attributes);
    write(&mut writer);
    let length = writer.finish().expect("fits");
    attributes.truncate(length);
    Message {
        command,
        minor,
        code: 101,
        attributes,
    }
}

fn context(volume: Option<u32>, addresses: bool) -> Context<'static> {
    Context {
        volume,
        resource: Some(b"r0"),
        own_address: addresses.then_some(&OWN[..]),
        peer_address: addresses.then_some(&PEER[..]),
    }
}

/// A resource as the dumps of `status` show it.
#[derive(Default)]
struct Node {
    state: State,
    volumes: Vec<u32>,
    statistics: DeviceStatistics,
    peer_statistics: PeerDeviceStatistics,
    congested: bool,
}

impl Node {
    fn connected(state: State) -> Self {
        Self {
            state,
            volumes: vec![0],
            statistics: DeviceStatistics {
                counters: [130_992, 0, 0, 8, 0],
                ..DeviceStatistics::default()
            },
            ..Self::default()
        }
    }

    fn parts(&self) -> Parts {
        let s = &self.state;
        let resource = message(command::GET_RESOURCES, u32::MAX, |w| {
            context(None, false).write(w);
            write_resource_info(w, s.role as u32, s.susp, s.susp_nod, s.susp_fen);
            write_words(w, container::RESOURCE_STATISTICS, &[Some(2)]);
        });
        let device = |volume: &u32| {
            message(command::GET_DEVICES, *volume + 3, |w| {
                context(Some(*volume), false).write(w);
                write_words(w, container::DEVICE_INFO, &[Some(s.disk as u32)]);
                self.statistics.write(w);
            })
        };
        let connection = message(command::GET_CONNECTIONS, u32::MAX, |w| {
            context(None, true).write(w);
            let state = (s.conn as u32).min(Conn::WFReportParams as u32);
            write_words(
                w,
                container::CONNECTION_INFO,
                &[Some(state), Some(s.peer as u32)],
            );
            let open = w.begin_reply(container::CONNECTION_STATISTICS);
            w.u8(1, u8::from(self.congested));
            w.end(open);
        });
        let peer = |volume: &u32| {
            message(command::GET_PEER_DEVICES, *volume + 3, |w| {
                context(Some(*volume), true).write(w);
                let replication = (s.conn as u32).max(Conn::WFReportParams as u32);
                let flags = [s.user_isp, s.peer_isp, s.aftr_isp].map(|set| Some(u32::from(set)));
                let [user, peer, after] = flags;
                write_words(
                    w,
                    container::PEER_DEVICE_INFO,
                    &[Some(replication), Some(s.pdsk as u32), user, peer, after],
                );
                self.peer_statistics.write(w);
            })
        };
        let configured = s.conn > Conn::StandAlone;
        Parts {
            resource,
            devices: self.volumes.iter().map(device).collect(),
            connections: if configured {
                vec![connection]
            } else {
                Vec::new()
            },
            peers: if configured {
                self.volumes.iter().map(peer).collect()
            } else {
                Vec::new()
            },
        }
    }

    fn text(&self, verbose: bool, statistics: bool) -> String {
        render(
            &self.parts(),
            Detail {
                verbose,
                statistics,
                color: false,
            },
        )
    }
}

fn sync_source() -> State {
    State {
        role: Role::Primary,
        peer: Role::Secondary,
        conn: Conn::SyncSource,
        disk: Disk::UpToDate,
        pdsk: Disk::Inconsistent,
        ..State::default()
    }
}

fn connecting() -> State {
    State {
        conn: Conn::WFConnection,
        disk: Disk::Inconsistent,
        pdsk: Disk::DUnknown,
        ..State::default()
    }
}

#[test]
fn a_node_that_waits_for_its_peer_says_so_and_no_more() {
    let node = Node::connected(connecting());
    assert_eq!(
        node.text(false, false),
        "r0 role:Secondary\n  disk:Inconsistent\n  peer connection:Connecting\n\n"
    );
    assert_eq!(
        node.text(false, true),
        "r0 role:Secondary\n  disk:Inconsistent\n      read:0 written:0\n  peer connection:Connecting\n    \
         peer-disk:DUnknown\n        received:0 sent:0\n\n"
    );
}

#[test]
fn several_volumes_are_numbered() {
    let mut node = Node::connected(sync_source());
    node.volumes = vec![0, 1];
    node.congested = true;
    node.peer_statistics.out_of_sync = [118_704, 0];
    assert_eq!(
        node.text(false, false),
        "r0 role:Primary\n  volume:0 disk:UpToDate\n  volume:1 disk:UpToDate\n  peer role:Secondary congested:yes\n    \
         volume:0 replication:SyncSource peer-disk:Inconsistent done:9.38\n    \
         volume:1 replication:SyncSource peer-disk:Inconsistent done:9.38\n\n"
    );
    // The peer lacks the volumes.
    node.congested = false;
    let mut parts = node.parts();
    node.state = connecting();
    parts.peers = node.parts().peers;
    let text = render(&parts, Detail::default());
    assert!(
        text.ends_with("  peer role:Secondary\n    volume:0\n    volume:1\n\n"),
        "{text}"
    );
    assert!(node
        .text(false, false)
        .ends_with("  peer connection:Connecting\n\n"));
    node.volumes = vec![3];
    assert!(node
        .text(false, false)
        .contains("\n  volume:3 disk:Inconsistent\n"));
}

#[test]
fn a_paused_resync_tells_who_paused_it_on_a_line_of_its_own() {
    let state = State {
        conn: Conn::PausedSyncS,
        peer_isp: true,
        aftr_isp: true,
        ..sync_source()
    };
    let mut node = Node::connected(state);
    node.peer_statistics.out_of_sync = [130_992, 0];
    assert!(node.text(false, false).contains(
        "    replication:PausedSyncS peer-disk:Inconsistent done:0.00\n        resync-suspended:peer,dependency\n"
    ));
    node.state = State {
        aftr_isp: false,
        pdsk: Disk::UpToDate,
        ..state
    };
    assert!(node
        .text(false, false)
        .contains("done:0.00 resync-suspended:peer\n"));
}

#[test]
fn suspended_io_is_told_in_every_form() {
    let state = State {
        susp: true,
        susp_fen: true,
        ..sync_source()
    };
    let mut node = Node::connected(state);
    node.statistics.upper_blocked = true;
    assert!(node
        .text(false, false)
        .starts_with("r0 role:Primary suspended:user,fencing\n  disk:UpToDate blocked:upper\n"));
    assert!(node
        .text(false, true)
        .contains("\n      read:0 written:0 blocked:upper\n"));
    let full = node.text(true, true);
    assert!(full.starts_with("r0 role:Primary suspended:user,fencing\n    write-ordering:flush\n  volume:0 minor:3 disk:UpToDate\n"));
    assert!(full.contains("upper-pending:0\n      lower-pending:0 al-suspended:no blocked:upper\n"));
}

#[test]
fn colours_do_not_count_as_columns() {
    let parts = Node::connected(sync_source()).parts();
    let plain = render(
        &parts,
        Detail {
            verbose: true,
            statistics: true,
            color: false,
        },
    );
    let colored = render(
        &parts,
        Detail {
            verbose: true,
            statistics: true,
            color: true,
        },
    );
    assert!(colored.contains("\x1b[1;32mUpToDate\x1b[0m"));
    let mut stripped = String::new();
    for part in colored.split('\x1b') {
        stripped.push_str(
            part.split_once('m')
                .filter(|_| part.starts_with('['))
                .map_or(part, |(_, rest)| rest),
        );
    }
    assert_eq!(stripped, plain);
}

fn status_reply(
    volume: Option<u32>,
    state: Option<State>,
    write: impl Fn(&mut Writer<'_>),
) -> Message {
    message(
        command::GET_STATUS,
        volume.map_or(u32::MAX, |v| v + 3),
        |w| {
            context(volume, state.is_some_and(|s| s.conn > Conn::StandAlone)).write(w);
            write(w);
            if let Some(state) = state {
                StateInfo {
                    state: state.pack(),
                    ..StateInfo::default()
                }
                .write(w, Reason::Status);
            }
        },
    )
}

#[test]
fn a_resource_without_volumes_or_options_is_shown_empty() {
    let reply = status_reply(None, None, |_| {});
    assert_eq!(
        show::render(std::slice::from_ref(&reply), false),
        "resource r0 {\n    _this_host {\n    }\n}\n"
    );
    let text = block(&reply);
    assert!(text.starts_with("_minor=4294967295\n_res_name=r0\n_volume=-1\n_known=NA # not available or not yet created\n\n_cstate=Unconfigured\n"));
    assert!(text.ends_with("_resynced_percent=\n\n_sh_status_process\n\n\n"));
}

/// The agents of the cluster give it to `eval`, as root.
#[test]
fn a_name_cannot_be_taken_for_a_command_by_a_shell() {
    let named = |name: &'static [u8]| {
        message(command::GET_STATUS, 0, |w| {
            Context {
                resource: Some(name),
                ..context(Some(0), false)
            }
            .write(w);
        })
    };
    let text = block(&named(b"r0;reboot $(id)"));
    assert!(
        text.contains("\n_res_name=r0\\;reboot\\ \\$\\(id\\)\n"),
        "{text}"
    );
    assert!(block(&named(b"web-1.a")).contains("\n_res_name=web-1.a\n"));
}

#[test]
fn the_running_configuration_is_shown_with_quotes_and_units() {
    let disk = |index, meta: &[u8]| DiskConf {
        backing_device: FixedString::from_bytes(b"/dev/vde").expect("fits"),
        meta_device: FixedString::from_bytes(meta).expect("fits"),
        meta_index: index,
        ..DiskConf::default()
    };
    let reply = |volume, index, meta: &'static [u8]| {
        status_reply(Some(volume), Some(connecting()), move |w| {
            let open = w.begin_reply(container::RESOURCE_OPTS);
            ResourceOptions {
                on_no_data: 1,
                ..ResourceOptions::default()
            }
            .write(w);
            w.end(open);
            let open = w.begin_reply(container::DISK_CONF);
            let mut disk = disk(index, meta);
            disk.numbers
                .set(drbd_core::genl::attributes::DISK_CONF, 4, 40_960);
            disk.numbers
                .set(drbd_core::genl::attributes::DISK_CONF, 8, 10_240);
            disk.write(w);
            w.end(open);
            let open = w.begin_reply(container::NET_CONF);
            let mut net = vec![0; 64];
            let mut secret = Writer::new(&mut net);
            secret.string(1, b"s e\"c");
            let length = secret.finish().expect("fits");
            let mut values = NetConf::default();
            values.read(&net[..length]).expect("read");
            values.write(w, true);
            w.end(open);
        })
    };
    let replies = [
        reply(0, -3, b"/dev/vde"),
        reply(1, -2, b"/dev/vdd"),
        reply(2, 5, b"/dev/vdd"),
    ];
    let text = show::render(&replies, false);
    let head = "resource r0 {\n    options {\n        on-no-data-accessible\tsuspend-io;\n    }\n    net {\n        \
                shared-secret   \t\"s e\\\"c\";\n    }\n    _remote_host {\n        address\t\t\tipv4 10.0.0.2:7789;\n    }\n    \
                _this_host {\n        address\t\t\tipv4 10.0.0.1:7789;\n        volume 0 {\n            device\t\t\tminor 3;\n            \
                disk\t\t\t\"/dev/vde\";\n            meta-disk\t\t\tinternal;\n            disk {\n                \
                size            \t40960s; # bytes\n                resync-rate     \t10240k; # bytes/second\n            }\n";
    assert!(text.starts_with(head), "{text}");
    assert!(text.contains("            meta-disk\t\t\t\"/dev/vdd\";\n"));
    assert!(text.contains("            meta-disk\t\t\t\"/dev/vdd\" [ 5 ];\n"));
    assert!(text.ends_with("            }\n        }\n    }\n}\n"));
}

#[test]
fn flags_of_a_volume_are_ones_or_nothing() {
    let state = State {
        susp_nod: true,
        user_isp: true,
        ..connecting()
    };
    let text = block(&status_reply(Some(0), Some(state), |_| {}));
    assert!(text
        .contains("_known=Configured\n\n_cstate=WFConnection\n_role=Secondary\n_peer=Unknown\n"));
    assert!(text.contains("\n\n_flags_susp=1\n_flags_aftr_isp=\n_flags_peer_isp=\n_flags_user_isp=1\n\n_resynced_percent=\n"));
    let text = block(&status_reply(Some(0), Some(State::default()), |_| {}));
    assert!(text.contains("_volume=0\n_known=Unconfigured\n\n_cstate=Unconfigured\n"));
}
