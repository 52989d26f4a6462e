// SPDX-License-Identifier: GPL-2.0
//! `up` and `adjust`: calls collected over all resources and carried out stage by stage (config-and-cli.md section 11).

use super::backend::{Call, Runner};
use super::calls::{attach, connect, new_minor, new_resource};
use super::commands::Command;
use super::session::{Session, Target};
use super::{adjust, registry, Failure};
use drbd_config::Volume;
use std::collections::BTreeSet;
use std::io::Write;

/// A stage; they follow each other in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Resources and minors come and go.
    CreateResource,
    /// Options of resources.
    AdjustResource,
    /// New minors of running resources.
    PrepareDisk,
    /// Disks.
    AdjustDisk,
    /// Connections that go.
    PrepareNet,
    /// Connections.
    AdjustNet,
}

impl Stage {
    const fn title(self) -> &'static str {
        match self {
            Stage::CreateResource => "create res",
            Stage::AdjustResource => "adjust res",
            Stage::PrepareDisk => "prepare disk",
            Stage::AdjustDisk => "adjust disk",
            Stage::PrepareNet => "prepare net",
            Stage::AdjustNet => "adjust net",
        }
    }

    /// A failure makes the rest for that resource pointless.
    const fn is_vital(self) -> bool {
        matches!(self, Stage::CreateResource | Stage::PrepareDisk)
    }
}

/// What is noted when a step succeeded.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// Nothing.
    None,
    /// The resource is there.
    Resource(Target<'a>),
    /// The minor is there.
    Minor(&'a Volume),
    /// The minor is gone.
    Gone(u32),
}

/// Calls waiting for their stage; the first that fails ends the step.
#[derive(Debug)]
struct Step<'a> {
    stage: Stage,
    resource: &'a str,
    calls: Vec<Call>,
    note: Note<'a>,
    /// Why it cannot be done.
    refusal: Option<String>,
}

/// Everything that is to be done.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    steps: Vec<Step<'a>>,
}

impl<'a> Plan<'a> {
    /// Adds a step.
    pub fn add(&mut self, stage: Stage, target: &Target<'a>, calls: Vec<Call>) {
        self.add_noted(stage, target, calls, Note::None);
    }

    /// Adds a step whose success is noted.
    pub fn add_noted(
        &mut self,
        stage: Stage,
        target: &Target<'a>,
        calls: Vec<Call>,
        note: Note<'a>,
    ) {
        let lines = |calls: &[Call]| calls.iter().map(Call::line).collect::<Vec<_>>();
        let resource = &target.resource.name;
        // two volumes named one by one make their resource once
        let known = |step: &Step<'_>| step.stage == stage && lines(&step.calls) == lines(&calls);
        if !self.steps.iter().any(known) {
            self.steps.push(Step {
                stage,
                resource,
                calls,
                note,
                refusal: None,
            });
        }
    }

    /// All calls in the order in which they would be carried out.
    pub fn lines(&self) -> Vec<String> {
        let mut steps: Vec<&Step<'_>> = self.steps.iter().collect();
        steps.sort_by_key(|step| step.stage);
        let calls = steps.iter().flat_map(|step| &step.calls);
        calls.map(Call::line).collect()
    }

    /// Adds the calls, or a step that fails with the text.
    pub fn add_or_refuse(
        &mut self,
        stage: Stage,
        target: &Target<'a>,
        calls: Result<Vec<Call>, Failure>,
    ) {
        match calls {
            Ok(calls) => self.add(stage, target, calls),
            Err(failure) => {
                let (resource, calls, note) = (&target.resource.name, Vec::new(), Note::None);
                self.steps.push(Step {
                    stage,
                    resource,
                    calls,
                    note,
                    refusal: Some(failure.text),
                });
            }
        }
    }
}

/// Everything for a resource that is not running. `up` makes the minors together with the resource, `adjust` in
/// the stage for new minors.
pub fn plan_up<'a>(session: &Session, target: &Target<'a>, minors: Stage, plan: &mut Plan<'a>) {
    if target.volumes().next().is_none() {
        return;
    }
    let create = vec![new_resource(session, target)];
    plan.add_noted(
        Stage::CreateResource,
        target,
        create,
        Note::Resource(*target),
    );
    for volume in target.volumes() {
        let create = vec![new_minor(target, volume)];
        plan.add_noted(minors, target, create, Note::Minor(volume));
    }
    for volume in target.volumes() {
        plan.add(Stage::AdjustDisk, target, attach(session, volume));
    }
    plan.add_or_refuse(
        Stage::AdjustNet,
        target,
        connect(session, target).map(|call| vec![call]),
    );
}

/// Carries out `up`, `adjust` or `adjust-with-progress`.
pub fn run(
    session: &Session,
    command: &Command,
    targets: &[Target<'_>],
    runner: &Runner,
) -> Result<u8, Failure> {
    let mut plan = Plan::default();
    for target in targets {
        match command.name {
            "up" => plan_up(session, target, Stage::CreateResource, &mut plan),
            _ => adjust::plan(session, target, runner, &mut plan)?,
        }
    }
    let progress = command.name == "adjust-with-progress" && !runner.is_dry();
    Ok(Carrier {
        session,
        runner,
        progress,
        failed: BTreeSet::new(),
        result: 0,
    }
    .carry_out(plan))
}

struct Carrier<'a> {
    session: &'a Session,
    runner: &'a Runner,
    progress: bool,
    failed: BTreeSet<String>,
    result: u8,
}

impl Carrier<'_> {
    fn say(&self, text: &str) {
        if self.progress {
            print!("{text}");
            let _ = std::io::stdout().flush();
        }
    }

    fn carry_out(mut self, mut plan: Plan<'_>) -> u8 {
        // stable: the order within a stage stays
        plan.steps.sort_by_key(|step| step.stage);
        self.say("[");
        let mut current = None;
        let mut named = None;
        for step in &plan.steps {
            if current != Some(step.stage) {
                if self.result != 0 && !self.progress {
                    break;
                }
                current = Some(step.stage);
                named = None;
                self.say(&format!("\n{:>15}:", step.stage.title()));
            }
            self.step(step, &mut named);
            if self.runner.timed_out() {
                return 20;
            }
        }
        self.say("\n]\n");
        self.result
    }

    /// Carries out one step; `named` is the resource shown last in this stage.
    fn step(&mut self, step: &Step<'_>, named: &mut Option<String>) {
        if self.failed.contains(step.resource) {
            let name = step.calls.last().map_or("", Call::name);
            match self.progress {
                true => self.say(&format!(" [skipped:{}]", step.resource)),
                false => eprintln!(
                    "drbdadm: {name} {}: skipped due to earlier error",
                    step.resource
                ),
            }
            return;
        }
        if named.as_deref() != Some(step.resource) {
            *named = Some(step.resource.into());
            self.say(&format!(" {}", step.resource));
        }
        if let Some(text) = &step.refusal {
            eprintln!("{text}");
            self.result = 1;
            self.say(":failed(connect:20)");
            return;
        }
        for call in &step.calls {
            let code = self.runner.run(step.resource, call);
            if code != 0 {
                self.result = 1;
                self.say(&format!(":failed({}:{code})", call.name()));
                if step.stage.is_vital() {
                    self.failed.insert(step.resource.into());
                }
                return;
            }
        }
        if !self.runner.is_dry() {
            match step.note {
                Note::None => {}
                Note::Resource(target) => registry::remember_resource(self.session, &target),
                Note::Minor(volume) => registry::remember_minor(self.session, volume),
                Note::Gone(minor) => registry::forget_minor(minor),
            }
        }
    }
}
