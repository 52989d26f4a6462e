// SPDX-License-Identifier: GPL-2.0
//! `adjust`: the least that makes the running configuration equal to the file (config-and-cli.md section 11).

use super::backend::{Call, Runner};
use super::calls::{
    arguments, attach, connect, disk_options, minor, net_options, new_minor, resize,
};
use super::session::{Session, Target};
use super::stages::{plan_up, Note, Plan, Stage};
use super::Failure;
use drbd_config::model::{HostKind, MetaIndex};
use drbd_config::options::{is_default, same_value, Place};
use drbd_config::{parse_running, Address, HostSection, Resource, Section, Volume};

/// What runs under the name of a resource.
struct Running {
    resource: Resource,
}

impl Running {
    fn host(&self, kind: &HostKind) -> Option<&HostSection> {
        self.resource.hosts.iter().find(|host| host.kind == *kind)
    }

    fn volumes(&self) -> &[Volume] {
        self.host(&HostKind::This).map_or(&[], |host| &host.volumes)
    }

    fn address(&self, kind: &HostKind) -> Option<&Address> {
        self.host(kind)?.address.as_ref()
    }
}

/// Names a file that says what runs, in the form of `drbdsetup show`, instead of asking.
const RUNNING_SHOW: &str = "DRBD_RUNNING_SHOW";

/// What `drbdsetup show` prints, or what stands in the file instead.
fn show(name: &str, runner: &Runner) -> Result<String, Failure> {
    let Some(file) = std::env::var_os(RUNNING_SHOW) else {
        return Ok(runner.output(&Call::setup(["show", name])));
    };
    std::fs::read(&file)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|error| {
            let reason = drbd_config::loader::reason(&error);
            let file = std::path::Path::new(&file).display();
            Failure::new(
                10,
                format!("{RUNNING_SHOW}: cannot open '{file}': {reason}"),
            )
        })
}

/// `None`: nothing runs. Text that is not understood is an error: to take it for nothing
/// would create again what is there.
fn running(target: &Target<'_>, runner: &Runner) -> Result<Option<Running>, Failure> {
    let name = &target.resource.name;
    let text = show(name, runner)?;
    let found = parse_running(&text).map_err(|problem| {
        Failure::new(
            10,
            format!("the running configuration of {name} is not understood: {problem}"),
        )
    })?;
    let found = found.into_iter().find(|resource| resource.name == *name);
    Ok(found.map(|resource| Running { resource }))
}

/// Plans what is needed for one resource.
pub fn plan<'a>(
    session: &Session,
    target: &Target<'a>,
    runner: &Runner,
    plan: &mut Plan<'a>,
) -> Result<(), Failure> {
    let Some(running) = running(target, runner)? else {
        plan_up(session, target, Stage::PrepareDisk, plan);
        return Ok(());
    };
    let job = Job {
        session,
        target,
        running: &running,
        reasons: session.args.verbose > 2,
    };
    if let Err(failure) = job.net(plan) {
        plan.add_or_refuse(Stage::AdjustNet, target, Err(failure));
    }
    job.resource_options(plan);
    if target.volume.is_none() {
        job.obsolete(plan);
    }
    for volume in target.volumes() {
        job.volume(volume, plan);
    }
    Ok(())
}

struct Job<'s, 'a> {
    session: &'s Session,
    target: &'s Target<'a>,
    running: &'s Running,
    reasons: bool,
}

impl<'a> Job<'_, 'a> {
    fn resource_options(&self, plan: &mut Plan<'a>) {
        let wanted = &self.target.resource.options;
        if differ(
            Place::Options,
            &self.running.resource.options,
            wanted,
            self.reasons,
        ) {
            let words = [
                "resource-options",
                &self.target.resource.name,
                "--set-defaults",
            ];
            plan.add(
                Stage::AdjustResource,
                self.target,
                vec![Call::setup(words).words(arguments(wanted))],
            );
        }
    }

    /// Volumes that run and are not wanted any more, or under another minor.
    fn obsolete(&self, plan: &mut Plan<'a>) {
        for old in self.running.volumes() {
            let wanted = self
                .target
                .me
                .volumes
                .iter()
                .find(|volume| volume.number == old.number);
            if wanted.is_some_and(|volume| volume.minor() == old.minor()) {
                continue;
            }
            if old.disk.is_some() {
                plan.add(
                    Stage::CreateResource,
                    self.target,
                    vec![Call::setup(["detach", &minor(old)])],
                );
            }
            let gone = Note::Gone(old.minor());
            plan.add_noted(
                Stage::CreateResource,
                self.target,
                vec![Call::setup(["del-minor", &minor(old)])],
                gone,
            );
        }
    }

    fn volume(&self, volume: &'a Volume, plan: &mut Plan<'a>) {
        let same = |old: &&Volume| old.number == volume.number && old.minor() == volume.minor();
        let Some(old) = self.running.volumes().iter().find(same) else {
            let create = vec![new_minor(self.target, volume)];
            plan.add_noted(Stage::PrepareDisk, self.target, create, Note::Minor(volume));
            plan.add(Stage::AdjustDisk, self.target, attach(self.session, volume));
            return;
        };
        if old.disk.is_none() {
            plan.add(Stage::AdjustDisk, self.target, attach(self.session, volume));
            return;
        }
        let bvecs = |volume: &Volume| option_number(volume, "max-bio-bvecs");
        if moved(old, volume) || bvecs(old) != bvecs(volume) {
            plan.add(
                Stage::CreateResource,
                self.target,
                vec![Call::setup(["detach", &minor(volume)])],
            );
            plan.add(Stage::AdjustDisk, self.target, attach(self.session, volume));
            return;
        }
        if option_number(old, "size") != option_number(volume, "size") {
            plan.add(
                Stage::AdjustDisk,
                self.target,
                resize(self.session, volume).to_vec(),
            );
        }
        self.disk_options(old, volume, plan);
    }

    fn disk_options(&self, old: &Volume, volume: &Volume, plan: &mut Plan<'a>) {
        let mut then = old.disk_options.clone();
        let mut now = disk_options(self.session, volume);
        for name in ["size", "max-bio-bvecs"] {
            then.remove(name);
            now.remove(name);
        }
        if differ(Place::Disk, &then, &now, self.reasons) {
            let call = Call::setup(["disk-options", &minor(volume), "--set-defaults"])
                .words(arguments(&now));
            plan.add(Stage::AdjustDisk, self.target, vec![call]);
        }
    }

    fn net(&self, plan: &mut Plan<'a>) -> Result<(), Failure> {
        let wanted = net_options(self.session, self.target);
        let (own, peer) = self.session.endpoints(self.target, true)?;
        let then = (
            self.running.address(&HostKind::This),
            self.running.address(&HostKind::Remote),
        );
        let same = self.same_addresses(then);
        if let ((Some(then_own), Some(then_peer)), false) = (then, same) {
            let (then_own, then_peer) = (then_own.endpoint(), then_peer.endpoint());
            if self.reasons {
                eprintln!("network addresses differ:\n\trunning: {then_own} -- {then_peer}\n\t config: {own} -- {peer}");
            }
            let call = Call::setup(["disconnect", &then_own, &then_peer]);
            plan.add(Stage::PrepareNet, self.target, vec![call]);
        }
        let changed = differ(
            Place::Net,
            &self.running.resource.net,
            &wanted,
            self.reasons,
        );
        if !same {
            plan.add(
                Stage::AdjustNet,
                self.target,
                vec![connect(self.session, self.target)?],
            );
        } else if changed {
            let call = Call::setup(["net-options", &own, &peer, "--set-defaults"])
                .words(arguments(&wanted));
            plan.add(Stage::AdjustNet, self.target, vec![call]);
        }
        Ok(())
    }

    /// Both ends of the running connection are the configured ones.
    fn same_addresses(&self, then: (Option<&Address>, Option<&Address>)) -> bool {
        let (Some(then_own), Some(then_peer)) = then else {
            return false;
        };
        let inside = self
            .target
            .me
            .proxy
            .as_ref()
            .and_then(|proxy| proxy.inside.as_ref());
        let peer = inside.or_else(|| {
            self.session
                .peer(self.target)
                .ok()
                .and_then(|host| host.address.as_ref())
        });
        let own = self.target.me.address.as_ref();
        own.is_some_and(|own| own.same_as(then_own))
            && peer.is_some_and(|peer| peer.same_as(then_peer))
    }
}

/// Another disk, or metadata somewhere else. The slot of external metadata is not compared.
fn moved(old: &Volume, new: &Volume) -> bool {
    let internal = |volume: &Volume| {
        volume
            .meta_disk
            .as_ref()
            .is_none_or(|meta| meta.index == MetaIndex::Internal)
    };
    old.disk_path() != new.disk_path()
        || internal(old) != internal(new)
        || old.meta_path() != new.meta_path()
}

/// A number of the disk section in its unit, 0 when it is not there.
fn option_number(volume: &Volume, name: &str) -> u64 {
    let unit = drbd_config::options::core_spec(Place::Disk, name).map(|spec| spec.unit);
    let value = volume.disk_options.get(name);
    unit.and_then(|unit| drbd_config::number::parse(value?, unit))
        .unwrap_or(0)
}

/// The sections mean different things; the first difference is told when `reasons` is set.
fn differ(place: Place, running: &Section, wanted: &Section, reasons: bool) -> bool {
    let reason = difference(place, running, wanted);
    if let (Some(text), true) = (&reason, reasons) {
        eprintln!("{text}");
    }
    reason.is_some()
}

fn difference(place: Place, running: &Section, wanted: &Section) -> Option<String> {
    for old in &running.settings {
        let (name, then) = (&old.name, old.value.as_deref().unwrap_or(""));
        // of an option given twice the last one holds
        let now = wanted
            .settings
            .iter()
            .rev()
            .find(|setting| setting.name == *name);
        match now.map(|setting| setting.value.as_deref().unwrap_or("")) {
            Some(now) if !same_value(place, name, then, now) => {
                return Some(format!(
                    "the value of '{name}' differs: running {then}, in the file {now}"
                ));
            }
            None if !is_default(place, name, then) => {
                return Some(format!("only in the running configuration: {name} {then}"))
            }
            _ => {}
        }
    }
    for new in &wanted.settings {
        let now = new.value.as_deref().unwrap_or("");
        if running.get(&new.name).is_none() && !is_default(place, &new.name, now) {
            return Some(format!("only in the file: {} {now}", new.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use drbd_config::model::Setting;
    use drbd_config::Position;

    fn section(text: &[(&str, &str)]) -> Section {
        let one = |(name, value): &(&str, &str)| Setting {
            name: (*name).into(),
            value: Some((*value).into()),
            position: Position::default(),
        };
        Section {
            settings: text.iter().map(one).collect(),
        }
    }

    #[test]
    fn sections_are_compared_by_meaning_with_defaults_filled_in() {
        let running = section(&[("resync-rate", "5120k")]);
        assert_eq!(
            difference(
                Place::Disk,
                &running,
                &section(&[("resync-rate", "5M"), ("on-io-error", "detach")])
            ),
            None
        );
        assert!(difference(Place::Disk, &running, &section(&[])).is_some());
        assert!(difference(Place::Net, &section(&[]), &section(&[("timeout", "50")])).is_some());
        assert_eq!(
            difference(Place::Net, &section(&[]), &section(&[("protocol", "C")])),
            None
        );
        assert_eq!(
            difference(
                Place::Net,
                &section(&[("timeout", "60")]),
                &section(&[("timeout", "50"), ("timeout", "60")])
            ),
            None
        );
    }
}
