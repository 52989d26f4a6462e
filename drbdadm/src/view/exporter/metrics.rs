// SPDX-License-Identifier: GPL-2.0
//! A sample as metrics in the text format of Prometheus, version 0.0.4. [`METRICS`] says what there is; docs/metrics.md is made of it.

use super::super::block_io::{Io, Requests, MAJOR};
use super::super::sample::{Sample, Watched};
use super::super::why::Module;
use drbd_core::state::{Conn, Disk, Role};
use netlink_api::snapshot::{Resource, Volume};
use std::fmt::Write;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Bytes that a bit of the bitmap stands for.
const BLOCK: u64 = 4096;

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name.
    pub name: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// Names of its labels, separated by commas.
    pub labels: &'static str,
    /// What it says.
    pub help: &'static str,
}

const fn gauge(name: &'static str, labels: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: "gauge",
        labels,
        help,
    }
}

const fn counter(name: &'static str, labels: &'static str, help: &'static str) -> Metric {
    Metric {
        kind: "counter",
        ..gauge(name, labels, help)
    }
}

/// Labels of a volume.
const VOLUME: &str = "resource,volume,minor";
/// Labels of a state of a volume.
const STATE: &str = "resource,volume,minor,state";
/// Labels of a kind of requests.
const OPERATION: &str = "resource,volume,minor,operation";

/// Everything there is, in the order in which it is printed.
pub const METRICS: &[Metric] = &[
    gauge(
        "drbd_up",
        "",
        "1 when the driver answers, 0 when it is not loaded or silent",
    ),
    gauge(
        "drbd_driver_info",
        "version",
        "always 1; the version of the loaded driver",
    ),
    gauge(
        "drbd_configuration_valid",
        "",
        "1 when drbd.conf can be used",
    ),
    gauge(
        "drbd_resource_severity",
        "resource",
        "judgement of `drbdadm why`: 0 fine, 1 notice, 2 problem",
    ),
    gauge(
        "drbd_resource_running",
        "resource",
        "1 when the driver has the resource, 0 when it is only configured",
    ),
    gauge(
        "drbd_resource_role",
        "resource,role",
        "1 for the own role, 0 for the others",
    ),
    gauge(
        "drbd_resource_peer_role",
        "resource,role",
        "1 for the peer's role, 0 for the others",
    ),
    gauge(
        "drbd_resource_suspended",
        "resource,reason",
        "1 when application I/O is held back for that reason (user, no-data, fencing)",
    ),
    gauge(
        "drbd_connection_state",
        "resource,state",
        "1 for the state of the connection, 0 for the others",
    ),
    gauge(
        "drbd_connection_congested",
        "resource",
        "1 when the send buffer is full",
    ),
    gauge(
        "drbd_replication_state",
        STATE,
        "1 for the replication state, 0 for the others",
    ),
    gauge(
        "drbd_disk_state",
        STATE,
        "1 for the state of the own disk, 0 for the others",
    ),
    gauge(
        "drbd_peer_disk_state",
        STATE,
        "1 for the state of the peer's disk, 0 for the others",
    ),
    gauge(
        "drbd_size_bytes",
        VOLUME,
        "size of the device; 0 while it is not known",
    ),
    gauge(
        "drbd_out_of_sync_bytes",
        VOLUME,
        "data known to differ between the nodes",
    ),
    gauge(
        "drbd_resync_total_bytes",
        VOLUME,
        "data that differed when the running resync started; absent without one",
    ),
    gauge(
        "drbd_progress_ratio",
        VOLUME,
        "part of the running resync or verify that is done, 0 to 1; absent without one",
    ),
    gauge(
        "drbd_progress_bytes_per_second",
        VOLUME,
        "its speed in the last seconds; absent without one",
    ),
    counter(
        "drbd_sent_bytes_total",
        VOLUME,
        "data sent to the peer, resync included",
    ),
    counter(
        "drbd_received_bytes_total",
        VOLUME,
        "data received from the peer, resync included",
    ),
    counter(
        "drbd_disk_read_bytes_total",
        VOLUME,
        "data read from the backing device, resync included",
    ),
    counter(
        "drbd_disk_written_bytes_total",
        VOLUME,
        "data written to the backing device, resync included",
    ),
    counter(
        "drbd_activity_log_writes_total",
        VOLUME,
        "writes of the activity log",
    ),
    counter("drbd_bitmap_writes_total", VOLUME, "writes of the bitmap"),
    gauge(
        "drbd_application_pending",
        VOLUME,
        "requests of applications that are not completed",
    ),
    gauge(
        "drbd_disk_pending",
        VOLUME,
        "requests at the backing device",
    ),
    gauge(
        "drbd_peer_pending",
        VOLUME,
        "requests that wait for an answer of the peer",
    ),
    gauge(
        "drbd_peer_unacknowledged",
        VOLUME,
        "requests of the peer that it has no answer to yet",
    ),
    gauge(
        "drbd_blocked",
        VOLUME,
        "1 when new requests of applications wait",
    ),
    gauge(
        "drbd_activity_log_suspended",
        VOLUME,
        "1 when the activity log is not written",
    ),
    counter(
        "drbd_requests_total",
        OPERATION,
        "completed requests of applications (read, write, discard, flush)",
    ),
    counter(
        "drbd_request_bytes_total",
        OPERATION,
        "their data; not for flush",
    ),
    counter(
        "drbd_request_seconds_total",
        OPERATION,
        "the time they took, summed up: divided by their number it is the mean latency",
    ),
    counter(
        "drbd_backing_requests_total",
        OPERATION,
        "completed requests at the backing device, of all its users",
    ),
    counter(
        "drbd_backing_request_seconds_total",
        OPERATION,
        "the time they took, summed up",
    ),
];

/// The text under construction.
struct Page {
    /// Samples by metric, in the order of [`METRICS`].
    samples: Vec<String>,
}

impl Page {
    /// A value of a metric, for the values of its labels.
    fn add(&mut self, name: &str, values: &[&str], number: f64) {
        let Some(at) = METRICS.iter().position(|metric| metric.name == name) else {
            return;
        };
        let (Some(metric), Some(text)) = (METRICS.get(at), self.samples.get_mut(at)) else {
            return;
        };
        let names = metric.labels.split(',').filter(|name| !name.is_empty());
        let labels: Vec<String> = names
            .zip(values)
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        // writing to a string does not fail
        let _ = writeln!(text, "{name}{labels} {number}");
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (metric, samples) in METRICS
            .iter()
            .zip(&self.samples)
            .filter(|(_, s)| !s.is_empty())
        {
            let Metric {
                name, kind, help, ..
            } = metric;
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{samples}"
            );
        }
        text
    }
}

/// The value of a label.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn one(set: bool) -> f64 {
    f64::from(u8::from(set))
}

/// The metrics of a sample; `None`: no sample could be had in time.
pub fn render(sample: Option<&Sample>) -> String {
    let mut page = Page {
        samples: vec![String::new(); METRICS.len()],
    };
    let answers = sample.is_some_and(|sample| sample.module == Module::Loaded);
    page.add("drbd_up", &[], one(answers));
    let Some(sample) = sample else {
        return page.text();
    };
    if let Some(version) = sample
        .version
        .as_deref()
        .and_then(|text| text.split(' ').next())
    {
        page.add("drbd_driver_info", &[version], 1.0);
    }
    page.add("drbd_configuration_valid", &[], one(sample.fault.is_none()));
    let mut resources: Vec<&Watched> = sample.resources.iter().collect();
    resources.sort_by(|a, b| a.name.cmp(&b.name));
    for watched in resources {
        let name = watched.name.as_str();
        page.add(
            "drbd_resource_severity",
            &[name],
            f64::from(watched.severity as u8),
        );
        page.add(
            "drbd_resource_running",
            &[name],
            one(watched.running.is_some()),
        );
        let Some(resource) = &watched.running else {
            continue;
        };
        whole(&mut page, resource);
        for volume in &resource.volumes {
            let (number, minor) = (volume.number.to_string(), volume.minor.to_string());
            let place = [name, number.as_str(), minor.as_str()];
            states(&mut page, place, volume);
            numbers(&mut page, place, volume);
            progress(&mut page, place, watched, volume);
            requests(&mut page, place, sample, volume);
        }
    }
    page.text()
}

fn whole(page: &mut Page, resource: &Resource) {
    let name = resource.name.as_str();
    for role in Role::ALL {
        let labels = [name, role.name()];
        page.add("drbd_resource_role", &labels, one(resource.role == *role));
        page.add(
            "drbd_resource_peer_role",
            &labels,
            one(resource.peer_role == *role),
        );
    }
    for (reason, set) in ["user", "no-data", "fencing"]
        .iter()
        .zip(resource.suspended)
    {
        page.add("drbd_resource_suspended", &[name, reason], one(set));
    }
    let present = resource
        .connection
        .unwrap_or(Conn::StandAlone)
        .min(Conn::WFReportParams);
    for conn in Conn::ALL
        .iter()
        .filter(|conn| **conn <= Conn::WFReportParams)
    {
        let labels = [name, conn.connection_name()];
        page.add("drbd_connection_state", &labels, one(present == *conn));
    }
    page.add(
        "drbd_connection_congested",
        &[name],
        one(resource.congested),
    );
}

fn states(page: &mut Page, [name, number, minor]: [&str; 3], volume: &Volume) {
    let present = volume.state.conn.max(Conn::WFReportParams);
    for conn in Conn::ALL
        .iter()
        .filter(|conn| **conn >= Conn::WFReportParams)
    {
        let labels = [name, number, minor, conn.replication_name()];
        page.add("drbd_replication_state", &labels, one(present == *conn));
    }
    for disk in Disk::ALL {
        let labels = [name, number, minor, disk.name()];
        page.add("drbd_disk_state", &labels, one(volume.state.disk == *disk));
        page.add(
            "drbd_peer_disk_state",
            &labels,
            one(volume.state.pdsk == *disk),
        );
    }
}

fn numbers(page: &mut Page, place: [&str; 3], volume: &Volume) {
    let counters = &volume.counters;
    let rows = [
        ("drbd_size_bytes", volume.sectors * SECTOR),
        ("drbd_out_of_sync_bytes", volume.bits_out_of_sync * BLOCK),
        ("drbd_sent_bytes_total", counters.sent * SECTOR),
        ("drbd_received_bytes_total", counters.received * SECTOR),
        ("drbd_disk_read_bytes_total", counters.read * SECTOR),
        ("drbd_disk_written_bytes_total", counters.written * SECTOR),
        ("drbd_activity_log_writes_total", counters.log_writes),
        ("drbd_bitmap_writes_total", counters.bitmap_writes),
        (
            "drbd_application_pending",
            u64::from(counters.upper_pending),
        ),
        ("drbd_disk_pending", u64::from(counters.lower_pending)),
        ("drbd_peer_pending", u64::from(counters.peer_pending)),
        (
            "drbd_peer_unacknowledged",
            u64::from(counters.unacknowledged),
        ),
        ("drbd_blocked", u64::from(volume.blocked)),
        (
            "drbd_activity_log_suspended",
            u64::from(volume.log_suspended),
        ),
    ];
    for (name, value) in rows {
        page.add(name, &place, value as f64);
    }
}

/// A running resync or verify.
fn progress(page: &mut Page, place: [&str; 3], watched: &Watched, volume: &Volume) {
    let conn = volume.state.conn;
    if !conn.is_resync() && !conn.is_verify() {
        return;
    }
    if let Some((total, _)) = volume.run.filter(|_| conn.is_resync()) {
        page.add("drbd_resync_total_bytes", &place, (total * BLOCK) as f64);
    }
    let shown = watched.progress_of(volume.minor);
    let percent = volume.run_percent().or_else(|| shown?.percent());
    if let Some(percent) = percent {
        page.add("drbd_progress_ratio", &place, percent / 100.0);
    }
    if let Some(speed) = shown.and_then(|minor| minor.speed_kib) {
        page.add(
            "drbd_progress_bytes_per_second",
            &place,
            (speed * 1024) as f64,
        );
    }
}

/// What applications do, and what the backing device does.
fn requests(page: &mut Page, [name, number, minor]: [&str; 3], sample: &Sample, volume: &Volume) {
    let mut add = |io: &Io, names: [&str; 3]| {
        let kinds: [(&str, &Requests); 4] = [
            ("read", &io.reads),
            ("write", &io.writes),
            ("discard", &io.discards),
            ("flush", &io.flushes),
        ];
        for (operation, requests) in kinds {
            let labels = [name, number, minor, operation];
            page.add(names[0], &labels, requests.count as f64);
            page.add(names[1], &labels, requests.milliseconds as f64 / 1000.0);
            if operation != "flush" {
                page.add(names[2], &labels, (requests.sectors * SECTOR) as f64);
            }
        }
    };
    if let Some(io) = sample.disks.get(&(MAJOR, volume.minor)) {
        let names = [
            "drbd_requests_total",
            "drbd_request_seconds_total",
            "drbd_request_bytes_total",
        ];
        add(io, names);
    }
    let backing = sample.backing.get(&volume.minor);
    if let Some(io) = backing.and_then(|numbers| sample.disks.get(numbers)) {
        add(
            io,
            [
                "drbd_backing_requests_total",
                "drbd_backing_request_seconds_total",
                "",
            ],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample::tests::{resource, sample, volume};

    const PROC: &str = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n 1: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----\n    ns:1\n\t[=====>..............] sync'ed: 30.0% (1/2)K\n\tfinish: 0:00:12 speed: 40,960 (1) K/sec\n";

    fn example() -> Sample {
        let mut source = volume(1, Conn::SyncSource, Disk::UpToDate, Disk::Inconsistent);
        (source.bits_out_of_sync, source.run) = (75, Some((100, 0)));
        source.counters.sent = 10;
        let well = volume(0, Conn::Connected, Disk::UpToDate, Disk::UpToDate);
        let mut sample = sample(
            vec![resource("r0", source), resource("a\"b\\", well)],
            &["off"],
            PROC,
        );
        let io = Io {
            writes: Requests {
                count: 4,
                sectors: 32,
                milliseconds: 1500,
            },
            ..Io::default()
        };
        sample.disks.insert((MAJOR, 1), io);
        sample.disks.insert((254, 0), io);
        sample.backing.insert(1, (254, 0));
        sample
    }

    /// Issue 4 item 4: the exporter's metrics.
    #[test]
    fn a_sample_has_every_metric_with_its_labels() {
        let text = render(Some(&example()));
        for line in [
            "drbd_up 1",
            "drbd_driver_info{version=\"8.4.11\"} 1",
            "drbd_resource_severity{resource=\"r0\"} 1",
            "drbd_resource_severity{resource=\"off\"} 2",
            "drbd_resource_running{resource=\"off\"} 0",
            "drbd_resource_severity{resource=\"a\\\"b\\\\\"} 0",
            "drbd_connection_state{resource=\"r0\",state=\"Connected\"} 1",
            "drbd_connection_state{resource=\"r0\",state=\"StandAlone\"} 0",
            "drbd_replication_state{resource=\"r0\",volume=\"0\",minor=\"1\",state=\"SyncSource\"} 1",
            "drbd_disk_state{resource=\"r0\",volume=\"0\",minor=\"1\",state=\"UpToDate\"} 1",
            "drbd_peer_disk_state{resource=\"r0\",volume=\"0\",minor=\"1\",state=\"Inconsistent\"} 1",
            "drbd_out_of_sync_bytes{resource=\"r0\",volume=\"0\",minor=\"1\"} 307200",
            "drbd_progress_ratio{resource=\"r0\",volume=\"0\",minor=\"1\"} 0.25",
            "drbd_progress_bytes_per_second{resource=\"r0\",volume=\"0\",minor=\"1\"} 41943040",
            "drbd_sent_bytes_total{resource=\"r0\",volume=\"0\",minor=\"1\"} 5120",
            "drbd_request_seconds_total{resource=\"r0\",volume=\"0\",minor=\"1\",operation=\"write\"} 1.5",
            "drbd_request_bytes_total{resource=\"r0\",volume=\"0\",minor=\"1\",operation=\"write\"} 16384",
            "drbd_backing_requests_total{resource=\"r0\",volume=\"0\",minor=\"1\",operation=\"write\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        // each with help and type once, and with the labels that the table says
        for metric in METRICS {
            let kind = format!("# TYPE {} {}", metric.name, metric.kind);
            assert_eq!(
                text.lines().filter(|line| **line == kind).count(),
                1,
                "{kind}"
            );
            let start = format!("{}{{", metric.name);
            for line in text.lines().filter(|line| line.starts_with(&start)) {
                let inside = line.trim_start_matches(&start);
                let names: Vec<&str> = inside
                    .split("\",")
                    .filter_map(|part| part.split_once("=\"").map(|(name, _)| name))
                    .collect();
                assert_eq!(names.join(","), metric.labels, "{line}");
            }
        }
    }

    #[test]
    fn without_an_answer_it_is_down() {
        let text = render(None);
        assert!(
            text.ends_with("drbd_up 0\n") && text.lines().count() == 3,
            "{text}"
        );
        let mut sample = example();
        sample.module = Module::Absent;
        assert!(render(Some(&sample)).contains("drbd_up 0\n"));
    }

    /// Issue 4 item 4: documented metrics. Each line of the table in docs/metrics.md is a metric, and the reverse.
    #[test]
    fn the_documentation_is_complete_and_true() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let text = std::fs::read_to_string(path).expect("docs/metrics.md");
        let documented: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| `drbd_"))
            .collect();
        let labels = |metric: &Metric| metric.labels.replace(',', ", ");
        let expected: Vec<String> = METRICS
            .iter()
            .map(|m| format!("| `{}` | {} | {} | {} |", m.name, m.kind, labels(m), m.help))
            .collect();
        assert_eq!(documented, expected, "\n{}", expected.join("\n"));
    }
}
