// SPDX-License-Identifier: GPL-2.0
//! Two samples as a page: all resources, problems first, each volume with rates, latencies and progress.

use super::super::block_io::{Io, MAJOR};
use super::super::paint::{colored, tone, Tone};
use super::super::sample::{Sample, Watched};
use super::super::why::{Module, Severity};
use netlink_api::snapshot::{Resource, Volume};

/// Columns that need this much room are left out on a smaller screen.
const WIDE: usize = 100;
/// Characters of a progress bar.
const BAR: usize = 20;
/// Bytes of a sector.
const SECTOR: u64 = 512;
/// What stands where nothing is known.
const NOTHING: &str = "-";

/// A line: words with their colours, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(Vec<(String, Tone)>);

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self::plain(text)
    }
}

impl Line {
    fn plain(text: impl Into<String>) -> Self {
        Self(vec![(text.into(), Tone::Plain)])
    }

    fn push(&mut self, text: impl Into<String>, tone: Tone) {
        self.0.push((text.into(), tone));
    }

    /// As text of at most that many columns.
    pub fn text(&self, columns: usize, colors: bool) -> String {
        let mut room = columns;
        let mut text = String::new();
        for (word, tone) in &self.0 {
            let part: String = word
                .chars()
                .take(room)
                .filter(|c| !c.is_control())
                .collect();
            room -= part.chars().count();
            text.push_str(&match colors {
                true if !part.is_empty() => colored(&part, *tone),
                _ => part,
            });
        }
        text.trim_end().to_string()
    }
}

/// The lines at the top, and the resources below them, which may be more than fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// What is always shown.
    pub head: Vec<Line>,
    /// One block of lines for each resource.
    pub blocks: Vec<Vec<Line>>,
}

impl Page {
    /// Everything as text.
    pub fn whole(&self, columns: usize, colors: bool) -> String {
        let lines = self.head.iter().chain(self.blocks.iter().flatten());
        lines
            .map(|line| line.text(columns, colors) + "\n")
            .collect()
    }
}

/// Makes a page. Without an earlier sample there are no rates. `wanted`: these resources, or all.
pub fn page(now: &Sample, earlier: Option<&Sample>, wanted: &[String], columns: usize) -> Page {
    let shown: Vec<&Watched> = now
        .resources
        .iter()
        .filter(|watched| wanted.is_empty() || wanted.contains(&watched.name))
        .collect();
    let span = Span {
        now,
        earlier,
        seconds: earlier.map_or(0.0, |earlier| {
            now.at.duration_since(earlier.at).as_secs_f64()
        }),
        wide: columns >= WIDE,
    };
    let mut head = vec![title(now, &shown)];
    head.extend(faults(now));
    head.push(Line::plain(""));
    if shown.iter().any(|watched| watched.running.is_some()) {
        head.push(columns_line(span.wide));
    }
    let missing = wanted
        .iter()
        .filter(|name| shown.iter().all(|watched| watched.name != **name));
    let blocks = missing
        .map(|name| vec![missing_line(name)])
        .chain(shown.iter().map(|watched| block(&span, watched)))
        .collect();
    Page { head, blocks }
}

fn title(now: &Sample, shown: &[&Watched]) -> Line {
    let clock = crate::setup::timestamp(now.time);
    let clock = clock.get(11..19).unwrap_or("").to_string();
    let mut line = Line::plain(format!("drbdadm top  {clock} UTC"));
    if let Some(version) = now
        .version
        .as_deref()
        .and_then(|text| text.split(' ').next())
    {
        line.push(format!("  driver {version}"), Tone::Plain);
    }
    let number = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    line.push(
        format!("  {}", number(shown.len(), "resource")),
        Tone::Plain,
    );
    let count = |severity| {
        shown
            .iter()
            .filter(|watched| watched.severity == severity)
            .count()
    };
    for severity in [Severity::Problem, Severity::Notice] {
        if count(severity) > 0 {
            line.push(", ", Tone::Plain);
            line.push(number(count(severity), severity.name()), severity.tone());
        }
    }
    if !shown.is_empty() && count(Severity::Fine) == shown.len() {
        line.push(", ", Tone::Plain);
        line.push("all is well", Tone::Good);
    }
    line
}

fn faults(now: &Sample) -> Vec<Line> {
    let mut lines = Vec::new();
    let driver = match &now.module {
        Module::Loaded => None,
        Module::Absent => Some("The drbd module is not loaded: modprobe drbd".to_string()),
        Module::Silent(why) => Some(format!("The driver does not answer: {why}")),
    };
    let configuration = now.fault.as_ref().map(|fault| {
        let first = fault
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("");
        format!("The configuration cannot be used: {first}")
    });
    for text in driver.into_iter().chain(configuration) {
        lines.push(Line(vec![(text, Tone::Bad)]));
    }
    if now.resources.is_empty() && now.module == Module::Loaded {
        lines.push(Line::plain("No resource runs and none is configured."));
    }
    lines
}

fn missing_line(name: &str) -> Line {
    let mut line = Line::default();
    line.push(name, Tone::Bad);
    line.push("  neither runs nor is configured", Tone::Plain);
    line
}

/// The time between two samples.
struct Span<'a> {
    now: &'a Sample,
    earlier: Option<&'a Sample>,
    seconds: f64,
    wide: bool,
}

/// What came between the two samples.
struct Between {
    device: Io,
    disk: Option<Io>,
    sent: u64,
    received: u64,
}

impl Span<'_> {
    fn between(&self, name: &str, volume: &Volume) -> Option<Between> {
        let earlier = self.earlier.filter(|_| self.seconds > 0.0)?;
        let then = earlier
            .resources
            .iter()
            .find(|watched| watched.name == name)?;
        let then = then
            .running
            .as_ref()?
            .volumes
            .iter()
            .find(|v| v.minor == volume.minor)?;
        let io = |key: (u32, u32)| {
            let (now, then) = (self.now.disks.get(&key)?, earlier.disks.get(&key)?);
            Some(Io {
                reads: now.reads.since(&then.reads),
                writes: now.writes.since(&then.writes),
                discards: now.discards.since(&then.discards),
                flushes: now.flushes.since(&then.flushes),
                in_flight: now.in_flight,
            })
        };
        let more = |now: u64, then: u64| now.saturating_sub(then);
        let disk = self.now.backing.get(&volume.minor).copied();
        Some(Between {
            device: io((MAJOR, volume.minor)).unwrap_or_default(),
            disk: disk.and_then(io),
            sent: more(volume.counters.sent, then.counters.sent),
            received: more(volume.counters.received, then.counters.received),
        })
    }

    fn rate(&self, sectors: u64) -> String {
        bytes(((sectors * SECTOR) as f64 / self.seconds) as u64)
    }
}

/// Bytes in at most six characters.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64;
    let mut unit = "";
    for name in ["K", "M", "G", "T", "P", "E"] {
        if value < 1000.0 {
            break;
        }
        value /= 1024.0;
        unit = name;
    }
    match value < 99.95 {
        true => format!("{value:.1}{unit}"),
        false => format!("{value:.0}{unit}"),
    }
}

/// A latency in at most five characters.
fn latency(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => NOTHING.into(),
        Some(ms) if ms < 9.995 => format!("{ms:.2}"),
        Some(ms) if ms < 99.95 => format!("{ms:.1}"),
        Some(ms) if ms < 9999.5 => format!("{ms:.0}"),
        Some(ms) => format!("{:.0}s", ms / 1000.0),
    }
}

/// Headings and widths: how to read a volume's line. READ and WRITE are what applications do, with their mean latency; DISK is the
/// latency of writes on the backing device; WAIT counts requests of applications that are not completed.
fn columns_line(wide: bool) -> Line {
    let mut line = format!(
        "{:>3} {:>5} {:<21} {:>6} {:>5} {:>6} {:>5} {:>6} {:>6} {:>6}",
        "VOL", "MINOR", "DISKS", "READ/s", "ms", "WRT/s", "ms", "SENT/s", "RECV/s", "OUT"
    );
    if wide {
        line.push_str(&format!(" {:>7} {:>5} {:>7}", "DISK ms", "WAIT", "SIZE"));
    }
    Line::plain(line)
}

fn block(span: &Span<'_>, watched: &Watched) -> Vec<Line> {
    let mut head = Line::default();
    head.push(watched.name.clone(), watched.severity.tone());
    let mut lines = Vec::new();
    match &watched.running {
        None => head.push(format!("  {}", watched.summary), Tone::Plain),
        Some(resource) => {
            state_words(&mut head, resource);
            lines.push(head);
            if watched.severity != Severity::Fine {
                let mut line = Line::default();
                line.push("    ", Tone::Plain);
                line.push(watched.summary.clone(), watched.severity.tone());
                lines.push(line);
            }
            for volume in &resource.volumes {
                lines.push(volume_line(span, watched, volume));
                lines.extend(progress(watched, volume));
            }
            return lines;
        }
    }
    lines.push(head);
    lines
}

fn state_words(line: &mut Line, resource: &Resource) {
    let pair = [resource.role.name(), resource.peer_role.name()];
    line.push("  ", Tone::Plain);
    push_pair(line, pair);
    let connection = resource
        .connection
        .map_or("StandAlone", |conn| conn.connection_name());
    line.push("  ", Tone::Plain);
    line.push(connection, tone(connection));
    if let Some(protocol) = resource.protocol {
        line.push(format!("  protocol {protocol}"), Tone::Plain);
    }
    if resource.is_suspended() {
        line.push("  ", Tone::Plain);
        line.push("I/O suspended", Tone::Bad);
    }
    if resource.congested {
        line.push("  ", Tone::Plain);
        line.push("send buffer full", Tone::Notice);
    }
}

fn push_pair(line: &mut Line, [own, peer]: [&str; 2]) {
    line.push(own, tone(own));
    line.push("/", Tone::Plain);
    line.push(peer, tone(peer));
}

fn volume_line(span: &Span<'_>, watched: &Watched, volume: &Volume) -> Line {
    let mut line = Line::plain(format!("{:>3} {:>5} ", volume.number, volume.minor));
    let disks = [volume.state.disk.name(), volume.state.pdsk.name()];
    push_pair(&mut line, disks);
    let used: usize = disks.iter().map(|word| word.len()).sum::<usize>() + 1;
    line.push(" ".repeat(21usize.saturating_sub(used)), Tone::Plain);
    let between = span.between(&watched.name, volume);
    let unknown = || NOTHING.to_string();
    let rate = |pick: fn(&Between) -> u64| {
        between
            .as_ref()
            .map_or_else(unknown, |between| span.rate(pick(between)))
    };
    let ms = |pick: fn(&Between) -> Option<f64>| latency(between.as_ref().and_then(pick));
    let out = volume.bits_out_of_sync * 4096;
    line.push(
        format!(
            " {:>6} {:>5} {:>6} {:>5} {:>6} {:>6}",
            rate(|b| b.device.reads.sectors),
            ms(|b| b.device.reads.latency()),
            rate(|b| b.device.writes.sectors),
            ms(|b| b.device.writes.latency()),
            rate(|b| b.sent),
            rate(|b| b.received),
        ),
        Tone::Plain,
    );
    let tone = if out > 0 { Tone::Notice } else { Tone::Plain };
    line.push(
        format!(" {:>6}", if out > 0 { bytes(out) } else { NOTHING.into() }),
        tone,
    );
    if span.wide {
        let disk = latency(
            between
                .as_ref()
                .and_then(|between| between.disk?.writes.latency()),
        );
        let waiting = volume.counters.upper_pending;
        let size = bytes(volume.sectors * SECTOR);
        line.push(format!(" {disk:>7} {waiting:>5} {size:>7}"), Tone::Plain);
    }
    if volume.blocked {
        line.push("  blocked", Tone::Bad);
    }
    line
}

/// The bar of a resync or verify.
fn progress(watched: &Watched, volume: &Volume) -> Option<Line> {
    let state = volume.state.conn;
    if !state.is_resync() && !state.is_verify() {
        return None;
    }
    let shown = watched
        .progress_of(volume.minor)
        .and_then(|minor| minor.percent());
    let percent = shown.or_else(|| volume.run_percent())?.clamp(0.0, 100.0);
    let done = (percent * BAR as f64 / 100.0) as usize;
    let bar = match done {
        BAR => "=".repeat(BAR),
        _ => format!("{}>{}", "=".repeat(done), ".".repeat(BAR - 1 - done)),
    };
    let mut line = Line::plain("          ");
    line.push(state.name(), tone(state.name()));
    line.push(format!(" [{bar}] {percent:.1}%"), Tone::Plain);
    if let Some(minor) = watched.progress_of(volume.minor) {
        if let Some(speed) = minor.speed_kib {
            line.push(format!("  {}/s", bytes(speed * 1024)), Tone::Plain);
        }
        if let Some(finish) = &minor.finish {
            line.push(format!("  {finish} left"), Tone::Plain);
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::block_io::Requests;
    use crate::view::sample::tests::{resource, sample, volume};
    use drbd_core::state::{Conn, Disk};
    use std::time::Duration;

    const PROC: &str = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n 2: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----\n    ns:1\n\t[=====>..............] sync'ed: 30.0% (1/2)K\n\tfinish: 0:00:12 speed: 40,960 (1) K/sec\n";

    /// Two samples two seconds apart: one resource is well and busy, one resyncs, one does not run.
    fn two() -> [Sample; 2] {
        let well = volume(0, Conn::Connected, Disk::UpToDate, Disk::UpToDate);
        let mut target = volume(2, Conn::SyncTarget, Disk::Inconsistent, Disk::UpToDate);
        (target.bits_out_of_sync, target.run) = (70_000, Some((100_000, 0)));
        let take = |sent: u64, io: Io, disk: Io| {
            let (mut well, target) = (well.clone(), target.clone());
            well.counters.sent = sent;
            let mut sample = sample(
                vec![resource("a", well), resource("b", target)],
                &["off"],
                PROC,
            );
            sample.time = Duration::from_secs(3661);
            sample.disks.insert((MAJOR, 0), io);
            sample.disks.insert((254, 0), disk);
            sample.backing.insert(0, (254, 0));
            sample
        };
        let io = |count, sectors, milliseconds| Io {
            writes: Requests {
                count,
                sectors,
                milliseconds,
            },
            ..Io::default()
        };
        let first = take(1000, io(10, 80, 5), io(1, 1, 1));
        let mut second = take(9192, io(210, 8272, 905), io(201, 1, 81));
        second.at = first.at + Duration::from_secs(2);
        [first, second]
    }

    /// Issue 4 item 4: all resources with progress, rates and latencies, problems first.
    #[test]
    fn a_page_has_problems_first_progress_rates_and_latencies() {
        let [first, second] = two();
        let text = page(&second, Some(&first), &[], 120).whole(120, false);
        let expected = "\
drbdadm top  01:01:01 UTC  driver 8.4.11  3 resources, 1 problem, 1 notice

VOL MINOR DISKS                 READ/s    ms  WRT/s    ms SENT/s RECV/s    OUT DISK ms  WAIT    SIZE
off  The resource is configured but not set up (Unconfigured).
b  Primary/Secondary  Connected  protocol C
    Data of this volume is being fetched
  0     2 Inconsistent/UpToDate     0B     -     0B     -     0B     0B   273M       -     0    1.0G
          SyncTarget [======>.............] 30.0%  40.0M/s  0:00:12 left
a  Primary/Secondary  Connected  protocol C
  0     0 UpToDate/UpToDate         0B     -   2.0M  4.50   2.0M     0B      -    0.40     0    1.0G
";
        let summary = text.lines().nth(5).expect("a line about b").to_string();
        assert!(summary.starts_with("    ") && summary.len() > 10, "{text}");
        let expected = expected.replace("    Data of this volume is being fetched", &summary);
        assert_eq!(text, expected);
    }

    #[test]
    fn a_small_screen_cuts_and_a_first_page_has_no_rates() {
        let [first, _] = two();
        let text = page(&first, None, &[], 80).whole(80, false);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        let line = text.lines().last().expect("a line");
        assert_eq!(
            line,
            "  0     0 UpToDate/UpToDate          -     -      -     -      -      -      -"
        );
        assert!(text.contains("MINOR") && !text.contains("WAIT"));
    }

    #[test]
    fn colours_change_nothing_but_the_colour_and_names_choose() {
        let [first, second] = two();
        let page = page(&second, Some(&first), &["a".into(), "zz".into()], 100);
        let mut text = page.whole(100, true);
        assert!(text.contains("\x1b[1;32mUpToDate\x1b[0m"), "{text}");
        for code in ["\x1b[1;31m", "\x1b[1;32m", "\x1b[1;33m", "\x1b[0m"] {
            text = text.replace(code, "");
        }
        assert_eq!(text, page.whole(100, false));
        assert!(
            text.contains("zz  neither runs nor is configured"),
            "{text}"
        );
        assert!(!text.contains("Inconsistent"), "{text}");
    }

    #[test]
    fn numbers_keep_their_columns() {
        for (number, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (102_400, "100K"),
            (1_048_000, "1.0M"),
            (u64::MAX, "16.0E"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [
            (0.014, "0.01"),
            (42.04, "42.0"),
            (1234.0, "1234"),
            (61_000.0, "61s"),
        ] {
            assert_eq!(latency(Some(number)), text);
        }
    }

    #[test]
    fn what_is_wrong_with_everything_stands_on_top() {
        let [mut first, _] = two();
        first.module = Module::Absent;
        first.fault = Some("\ndrbd.conf:3:1: nonsense\nmore".into());
        let text = page(&first, None, &[], 100).whole(100, false);
        assert!(text.contains("modprobe drbd"), "{text}");
        assert!(
            text.contains("cannot be used: drbd.conf:3:1: nonsense\n"),
            "{text}"
        );
    }
}
