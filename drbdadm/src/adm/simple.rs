// SPDX-License-Identifier: GPL-2.0
//! Commands that are a fixed list of calls for each resource or volume (config-and-cli.md section 9).

use super::backend::{Call, Runner};
use super::calls::{self, meta, minor};
use super::commands::{Command, Limit, Scope};
use super::session::{Session, Target};
use super::{registry, Failure};
use drbd_config::Volume;
use std::time::Duration;

/// One run of such a command.
struct Job<'a> {
    session: &'a Session,
    command: &'a Command,
    runner: &'a Runner,
    target: &'a Target<'a>,
}

/// Carries the command out for each target; the greatest code is the result, one of 20 or more ends it.
pub fn run(
    session: &Session,
    command: &Command,
    targets: &[Target<'_>],
    runner: &Runner,
) -> Result<u8, Failure> {
    let mut worst = 0;
    for target in targets {
        let job = Job {
            session,
            command,
            runner,
            target,
        };
        let code = match command.scope {
            Scope::Resource => job.resource()?,
            _ => job.volumes(),
        };
        worst = worst.max(code);
        if code >= 20 {
            break;
        }
    }
    Ok(worst)
}

impl Job<'_> {
    fn call(&self, call: &Call) -> u8 {
        self.runner.run(&self.target.resource.name, call)
    }

    fn quiet(&self, call: &Call) -> u8 {
        self.runner.run_quietly(&self.target.resource.name, call)
    }

    fn handed_on(&self) -> Vec<String> {
        self.session.args.setup_options.clone()
    }

    fn resource(&self) -> Result<u8, Failure> {
        let name = &self.target.resource.name;
        let call = match self.command.name {
            "connect" => calls::connect(self.session, self.target)?,
            "new-resource" => calls::new_resource(self.session, self.target),
            "net-options" | "disconnect" => {
                let complain = self.command.name == "net-options";
                let (own, peer) = self.session.endpoints(self.target, complain)?;
                Call::setup([self.command.name, &own, &peer]).words(self.handed_on())
            }
            other => Call::setup([other, name]).words(self.handed_on()),
        };
        let code = self.call(&call);
        if code == 0 && !self.runner.is_dry() {
            match self.command.name {
                "down" => registry::forget(self.target),
                "new-resource" => registry::remember_resource(self.session, self.target),
                _ => {}
            }
        }
        Ok(code)
    }

    /// The first volume that fails is the last.
    fn volumes(&self) -> u8 {
        self.target
            .volumes()
            .map(|volume| self.volume(volume))
            .find(|code| *code != 0)
            .unwrap_or(0)
    }

    fn volume(&self, volume: &Volume) -> u8 {
        let name = self.command.name;
        match name {
            "attach" => self.in_order(&calls::attach(self.session, volume)),
            "create-md" => self.create_md(volume),
            "dump-md" | "wipe-md" | "apply-al" | "set-gi" => {
                self.call(&meta(volume, name).words(self.handed_on()))
            }
            "invalidate" | "dstate" | "show-gi" | "get-gi" | "outdate" => self.or_metadata(volume),
            "resize" => self.resize(volume),
            "check-resize" => self.check_resize(volume),
            "wait-connect" => self.call(&calls::wait_connect(self.target, volume)),
            "new-minor" | "sh-new-minor" => self.new_minor(volume),
            "sh-b-pri" => self.become_primary(volume),
            _ => self.call(&Call::setup([name, &minor(volume)]).words(self.handed_on())),
        }
    }

    fn in_order(&self, calls: &[Call]) -> u8 {
        calls
            .iter()
            .map(|call| self.call(call))
            .find(|code| *code != 0)
            .unwrap_or(0)
    }

    fn new_minor(&self, volume: &Volume) -> u8 {
        let code = self.call(&calls::new_minor(self.target, volume));
        if code == 0 && !self.runner.is_dry() {
            registry::remember_minor(self.session, volume);
        }
        code
    }

    fn resize(&self, volume: &Volume) -> u8 {
        let [resize, check] = calls::resize(self.session, volume);
        let code = self.call(&resize);
        if code == 0 {
            // its outcome does not matter: it only notes the new size of the backing device
            self.quiet(&check);
        }
        code
    }

    fn check_resize(&self, volume: &Volume) -> u8 {
        let [resize, check] = calls::resize(self.session, volume);
        if self.quiet(&resize) != 0 {
            return self.call(&meta(volume, "check-resize"));
        }
        self.quiet(&check);
        0
    }

    /// drbdsetup first; when it has no answer, drbdmeta.
    fn or_metadata(&self, volume: &Volume) -> u8 {
        let name = self.command.name;
        let setup = Call::setup([name, &minor(volume)]).words(self.handed_on());
        let second = meta(volume, name).words(self.handed_on());
        let (code, complaint) = self
            .runner
            .run_holding_complaints(&self.target.resource.name, &setup);
        if self.runner.is_dry() {
            self.quiet(&second);
            return 0;
        }
        match (name, code) {
            (_, 0) => 0,
            ("outdate", 17) => code,
            ("outdate", 5) => match self.call(&second) {
                0 => 0,
                _ => 5,
            },
            // the driver knows better than the metadata, and refuses
            ("invalidate" | "dstate" | "get-gi", 11 | 17) => {
                eprint!("{complaint}");
                code
            }
            _ => self.call(&second),
        }
    }

    /// create-md; a device that had no identity gets one.
    fn create_md(&self, volume: &Volume) -> u8 {
        let create = meta(volume, "create-md")
            .words(self.handed_on())
            .limit(Limit::Never);
        let before = match self.runner.is_dry() {
            true => String::new(),
            false => self
                .runner
                .output(&meta(volume, "read-dev-uuid").words(self.handed_on())),
        };
        let code = self.call(&create);
        if code != 0 || self.runner.is_dry() {
            return code;
        }
        let known = u64::from_str_radix(before.trim().trim_start_matches("0x"), 16).unwrap_or(0);
        if let Some(identity) = if known == 0 { random() } else { Some(known) } {
            self.quiet(&meta(volume, "write-dev-uuid").words([format!("{identity:016X}")]));
        }
        code
    }

    fn become_primary(&self, volume: &Volume) -> u8 {
        let wanted = &self.target.resource.become_primary_on;
        let here = |name: &String| {
            name == "both" || *name == self.session.node || self.target.me.names.contains(name)
        };
        if !wanted.iter().any(here) {
            return 0;
        }
        let call = Call::setup(["primary", &minor(volume)]).words(self.handed_on());
        let mut code = self.call(&call);
        for _ in 1..5 {
            if code == 0 {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
            code = self.call(&call);
        }
        code
    }
}

/// A random number that is not 0; `None`: the kernel gives none.
fn random() -> Option<u64> {
    let mut bytes = [0u8; 8];
    let mut file = std::fs::File::open("/dev/urandom").ok()?;
    std::io::Read::read_exact(&mut file, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes).max(1))
}
