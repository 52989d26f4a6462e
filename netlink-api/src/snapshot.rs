// SPDX-License-Identifier: GPL-2.0
//! Everything the driver tells about its resources at one moment, typed: what `status`, the live screen, the exporter and the
//! explanations start from.
//!
//! Two sources are put together: GET_STATUS (state words, identifiers, counters, configuration) and the four dumps of `status`
//! (what the resource, its devices, its connection and its peer devices add). A resource that comes or goes in between is
//! left out.

use crate::address::format_address;
use crate::build::{Context, Request};
use crate::client::{Client, Error};
use crate::message::Message;
use crate::status::{context, generations, state};
use drbd_core::genl::{command, container, ret};
use drbd_core::state::{Conn, Disk, Role, State};

/// What the four dumps say about one resource.
#[derive(Clone, Debug)]
pub struct Parts {
    /// GET_RESOURCES.
    pub resource: Message,
    /// GET_DEVICES.
    pub devices: Vec<Message>,
    /// GET_CONNECTIONS.
    pub connections: Vec<Message>,
    /// GET_PEER_DEVICES.
    pub peers: Vec<Message>,
}

impl Parts {
    /// Whether the resource was there all the time.
    fn is_complete(&self) -> bool {
        let mut all = self
            .devices
            .iter()
            .chain(&self.connections)
            .chain(&self.peers);
        all.all(|message| message.code == ret::NO_ERROR)
    }
}

/// The four dumps for one resource or for all, in the order of the driver.
///
/// # Errors
/// The kernel refuses, or the socket's fault.
pub async fn parts(client: &mut Client, wanted: Option<&str>) -> Result<Vec<Parts>, Error> {
    let resources = client
        .dump(&Request::new(command::GET_RESOURCES).build())
        .await?;
    let mut found = Vec::new();
    for resource in resources {
        let name = context(&resource).resource.unwrap_or_default();
        if wanted.is_some_and(|w| w != name) {
            continue;
        }
        let about = |number| {
            Request::new(number)
                .context(Context::resource(&name))
                .build()
        };
        let devices = client.dump(&about(command::GET_DEVICES)).await?;
        let connections = client.dump(&about(command::GET_CONNECTIONS)).await?;
        let peers = if devices.is_empty() || connections.is_empty() {
            Vec::new()
        } else {
            client.dump(&about(command::GET_PEER_DEVICES)).await?
        };
        let parts = Parts {
            resource,
            devices,
            connections,
            peers,
        };
        if parts.is_complete() {
            found.push(parts);
        }
    }
    Ok(found)
}

/// A resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Name.
    pub name: String,
    /// Own role.
    pub role: Role,
    /// I/O is held back: by an administrator, for lack of data, for the sake of fencing.
    pub suspended: [bool; 3],
    /// `none`, `drain` or `flush`.
    pub write_ordering: &'static str,
    /// State of the connection; `None`: no connection is configured.
    pub connection: Option<Conn>,
    /// The peer's role.
    pub peer_role: Role,
    /// The send buffer is full.
    pub congested: bool,
    /// `A`, `B` or `C`.
    pub protocol: Option<char>,
    /// Own endpoint, with family and port.
    pub own_address: Option<String>,
    /// The peer's endpoint.
    pub peer_address: Option<String>,
    /// on-no-data-accessible is suspend-io.
    pub suspends_without_data: bool,
    /// By number.
    pub volumes: Vec<Volume>,
}

impl Resource {
    /// I/O is held back for whatever reason.
    pub fn is_suspended(&self) -> bool {
        self.suspended.contains(&true)
    }
}

/// Bytes and requests since the volume was created. Sectors of 512 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sent to the peer, sectors.
    pub sent: u64,
    /// Received from the peer, sectors.
    pub received: u64,
    /// Read from the disk, sectors.
    pub read: u64,
    /// Written to the disk, sectors.
    pub written: u64,
    /// Writes of the activity log.
    pub log_writes: u64,
    /// Writes of the bitmap.
    pub bitmap_writes: u64,
    /// Application requests in flight.
    pub upper_pending: u32,
    /// Requests to the disk in flight.
    pub lower_pending: u32,
    /// Requests that wait for the peer.
    pub peer_pending: u32,
    /// Requests of the peer that it has no answer to.
    pub unacknowledged: u32,
}

/// The disk under a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// Path of the backing device.
    pub path: String,
    /// Path of the metadata device.
    pub meta_path: String,
    /// -3 internal, -2 flexible, else the slot.
    pub meta_index: i32,
    /// 0 dont-care, 1 resource-only, 2 resource-and-stonith.
    pub fencing: u32,
    /// Minor whose resync comes first; -1: none.
    pub resync_after: i32,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Number.
    pub number: u32,
    /// Minor.
    pub minor: u32,
    /// State vector.
    pub state: State,
    /// Size in sectors.
    pub sectors: u64,
    /// Current, bitmap and two history identifiers, and the flags of the superblock; `None` without a disk.
    pub generations: Option<([u64; 4], u32)>,
    /// Blocks of 4 KiB on the disk.
    pub bits: u64,
    /// Blocks known to differ.
    pub bits_out_of_sync: u64,
    /// Blocks of the running resync or verify at its start, and those that failed; `None`: none runs.
    pub run: Option<(u64, u64)>,
    /// Counters.
    pub counters: Counters,
    /// New application requests wait.
    pub blocked: bool,
    /// The activity log is not written.
    pub log_suspended: bool,
    /// The disk; `None` without.
    pub backing: Option<Backing>,
}

impl Volume {
    /// StandAlone, Diskless and Secondary: nothing was configured, or all was taken away.
    pub fn is_unconfigured(&self) -> bool {
        let state = &self.state;
        state.conn == Conn::StandAlone
            && state.disk == Disk::Diskless
            && state.role == Role::Secondary
    }

    /// How much of the device is in sync, in percent.
    pub fn in_sync_percent(&self) -> f64 {
        match self.bits {
            0 => 100.0,
            bits => 100.0 * (1.0 - self.bits_out_of_sync.min(bits) as f64 / bits as f64),
        }
    }

    /// How much of the running resync is done, in percent; `None`: none runs. Of a verify the driver tells only what differs.
    pub fn run_percent(&self) -> Option<f64> {
        let (total, _) = self.run.filter(|(total, _)| *total > 0)?;
        if self.state.conn.is_verify() {
            return None;
        }
        Some(100.0 * (1.0 - self.bits_out_of_sync.min(total) as f64 / total as f64))
    }
}

/// Asks the driver about one resource or all.
///
/// # Errors
/// The kernel refuses, or the socket's fault. A resource that does not exist gives an empty list.
pub async fn take(client: &mut Client, wanted: Option<&str>) -> Result<Vec<Resource>, Error> {
    let request = Request::new(command::GET_STATUS);
    let request = match wanted {
        Some(name) => request.context(Context::resource(name)),
        None => request,
    };
    let status = match client.dump(&request.build()).await {
        Err(Error::Refused(..)) if wanted.is_some() => return Ok(Vec::new()),
        status => status?,
    };
    Ok(assemble(&status, &parts(client, wanted).await?))
}

/// Puts the replies together.
pub fn assemble(status: &[Message], parts: &[Parts]) -> Vec<Resource> {
    parts.iter().map(|parts| resource(status, parts)).collect()
}

fn resource(status: &[Message], parts: &Parts) -> Resource {
    let info = container::RESOURCE_INFO;
    let name = context(&parts.resource).resource.unwrap_or_default();
    let ours: Vec<&Message> = status
        .iter()
        .filter(|reply| context(reply).resource.as_deref() == Some(&name))
        .collect();
    let set = |number| parts.resource.flag(info, number).unwrap_or(false);
    let first = ours.first().copied();
    let connection = parts.connections.first();
    let place = connection.map(context).unwrap_or_default();
    let number = |message: Option<&Message>, container, number| message?.u32(container, number);
    let mut volumes: Vec<Volume> = ours
        .iter()
        .filter_map(|reply| volume(reply, parts))
        .collect();
    volumes.sort_by_key(|volume| volume.number);
    Resource {
        role: parts
            .resource
            .u32(info, 1)
            .and_then(Role::from_number)
            .unwrap_or(Role::Unknown),
        suspended: [set(2), set(3), set(4)],
        write_ordering: write_ordering(
            number(Some(&parts.resource), container::RESOURCE_STATISTICS, 1).unwrap_or(0),
        ),
        connection: number(connection, container::CONNECTION_INFO, 1).and_then(Conn::from_number),
        peer_role: number(connection, container::CONNECTION_INFO, 2)
            .and_then(Role::from_number)
            .unwrap_or(Role::Unknown),
        congested: connection
            .and_then(|c| c.flag(container::CONNECTION_STATISTICS, 1))
            .unwrap_or(false),
        protocol: number(first, container::NET_CONF, 6).and_then(|wire| match wire {
            1 => Some('A'),
            2 => Some('B'),
            3 => Some('C'),
            _ => None,
        }),
        own_address: place.own_address.as_deref().map(endpoint),
        peer_address: place.peer_address.as_deref().map(endpoint),
        suspends_without_data: number(first, container::RESOURCE_OPTS, 2) == Some(1),
        volumes,
        name,
    }
}

/// An address as the command line takes it: `ipv4:10.0.0.1:7789`.
pub fn endpoint(address: &[u8]) -> String {
    format_address(address).replacen(' ', ":", 1)
}

/// The word for a number of `write-ordering`.
pub fn write_ordering(number: u32) -> &'static str {
    ["none", "drain", "flush"]
        .get(number as usize)
        .copied()
        .unwrap_or("none")
}

fn volume(reply: &Message, parts: &Parts) -> Option<Volume> {
    let info = container::STATE_INFO;
    let state = state(reply)?;
    let number = context(reply).volume?;
    let long = |attribute| reply.u64(info, attribute).unwrap_or(0);
    let device = parts.devices.iter().find(|d| d.minor == reply.minor);
    let peer = parts
        .peers
        .iter()
        .find(|p| context(p).volume == Some(number));
    let of_device = |attribute| device.and_then(|d| d.u32(container::DEVICE_STATISTICS, attribute));
    let of_peer =
        |attribute| peer.and_then(|p| p.u32(container::PEER_DEVICE_STATISTICS, attribute));
    let is_set = |attribute| {
        device
            .and_then(|d| d.flag(container::DEVICE_STATISTICS, attribute))
            .unwrap_or(false)
    };
    Some(Volume {
        number,
        minor: reply.minor,
        state,
        sectors: long(3),
        generations: generations(reply),
        bits: long(9),
        bits_out_of_sync: long(10),
        run: reply.u64(info, 11).map(|total| (total, long(12))),
        counters: Counters {
            sent: long(15),
            received: long(16),
            read: long(17),
            written: long(18),
            log_writes: long(19),
            bitmap_writes: long(20),
            upper_pending: of_device(6).unwrap_or(0),
            lower_pending: of_device(7).unwrap_or(0),
            peer_pending: of_peer(3).unwrap_or(0),
            unacknowledged: of_peer(4).unwrap_or(0),
        },
        blocked: is_set(8),
        log_suspended: is_set(10),
        backing: backing(reply),
    })
}

fn backing(reply: &Message) -> Option<Backing> {
    let disk = container::DISK_CONF;
    Some(Backing {
        path: reply.text(disk, 1)?,
        meta_path: reply.text(disk, 2)?,
        meta_index: reply.u32(disk, 3)? as i32,
        fencing: reply.u32(disk, 7).unwrap_or(0),
        resync_after: reply.u32(disk, 9).map_or(-1, |minor| minor as i32),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::{parse_runs, Replay, Run};

    fn recorded(file: &str, command: &str) -> Run {
        let path = format!(
            "{}/../tests/fixtures/netlink/{file}",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(path).expect("fixture");
        parse_runs(&text)
            .into_iter()
            .find(|run| run.command.ends_with(command))
            .expect("recorded")
    }

    #[test]
    fn a_recorded_resource_is_read_whole_and_asks_only_what_the_tools_ask() {
        let steps = [
            recorded("02-get-status.txt", "drbdsetup-84 show").steps,
            recorded("30-status-dumps.txt", "status --verbose --statistics").steps,
        ];
        let mut client = Client::replay(Replay::new(steps.concat()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        let found = runtime
            .block_on(take(&mut client, None))
            .expect("recorded answers");
        let replay = client.into_replay().expect("a recording");
        assert!(
            replay.differences().is_empty(),
            "{:?}",
            replay.differences()
        );
        let [resource] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            (resource.name.as_str(), resource.role),
            ("r0", Role::Primary)
        );
        assert_eq!(resource.connection, Some(Conn::WFReportParams));
        assert_eq!(resource.own_address.as_deref(), Some("ipv4:10.0.0.1:7789"));
        assert_eq!(resource.write_ordering, "flush");
        let [volume] = &resource.volumes[..] else {
            panic!("{resource:?}")
        };
        assert!(volume.sectors > 0 && volume.bits > 0, "{volume:?}");
        assert!(volume
            .backing
            .as_ref()
            .is_some_and(|b| b.path == "/dev/vda"));
    }

    #[test]
    fn percentages_have_no_division_by_zero() {
        let mut volume = Volume::default();
        assert_eq!(volume.in_sync_percent(), 100.0);
        assert_eq!(volume.run_percent(), None);
        (volume.bits, volume.bits_out_of_sync, volume.run) = (200, 50, Some((100, 0)));
        assert_eq!(volume.in_sync_percent(), 75.0);
        assert_eq!(volume.run_percent(), Some(50.0));
        volume.run = Some((0, 0));
        assert_eq!(volume.run_percent(), None);
    }
}
