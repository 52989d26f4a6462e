// SPDX-License-Identifier: GPL-2.0
//! `sh-*`: answers for scripts (config-and-cli.md section 10).

use super::backend::{shell_escape, Call, Runner};
use super::calls::{meta_index, minor};
use super::commands::{Command, Scope};
use super::session::{Session, Target};
use super::{select, usage, Failure};
use drbd_config::{print, Volume};

/// Commands about the whole configuration.
pub fn whole(session: &Session, command: &Command, runner: &Runner) -> Result<u8, Failure> {
    match command.name {
        "sh-resources" => {
            let names: Vec<String> = select::ours(session)
                .map(|t| print::escape(&t.resource.name))
                .collect();
            if !names.is_empty() {
                println!("{}", names.join(" "));
            }
        }
        "sh-mod-parms" => println!("minor_count={}", minor_count(session)),
        _ => return status(session, runner),
    }
    Ok(0)
}

/// Room for minors: what is configured, or all in use and three more, within 32 and 255.
fn minor_count(session: &Session) -> u64 {
    let most = session
        .targets()
        .iter()
        .flat_map(Target::volumes)
        .map(Volume::minor)
        .max();
    let used = most.map_or(0, |minor| u64::from(minor) + 1);
    session
        .config
        .global
        .minor_count
        .unwrap_or_else(|| (used + 3).clamp(32, 255))
}

/// Commands about what was named.
pub fn each(session: &Session, command: &Command, targets: &[Target<'_>]) -> Result<u8, Failure> {
    for target in targets {
        if command.scope == Scope::Resource {
            println!("{}", resource_answer(session, command, target)?);
            continue;
        }
        for volume in target.volumes() {
            println!("{}", volume_answer(session, command, target, volume));
        }
    }
    Ok(0)
}

fn resource_answer(
    session: &Session,
    command: &Command,
    target: &Target<'_>,
) -> Result<String, Failure> {
    if command.name == "sh-resource" {
        return Ok(print::escape(&target.resource.name));
    }
    if !session.args.stacked {
        return Err(Failure::usage(
            "sh-lr-of works with the option --stacked only",
        ));
    }
    let lower = target
        .resource
        .hosts
        .iter()
        .find_map(|host| host.stacked_on());
    Ok(lower.unwrap_or("").into())
}

fn volume_answer(
    session: &Session,
    command: &Command,
    target: &Target<'_>,
    volume: &Volume,
) -> String {
    match command.name {
        "sh-dev" => volume.device_path(),
        "sh-minor" => minor(volume),
        "sh-ll-dev" => volume.disk_path().into(),
        "sh-md-dev" => volume.meta_path().into(),
        "sh-md-idx" => meta_index(volume, true),
        "sh-ip" => target
            .me
            .address
            .as_ref()
            .map_or_else(String::new, |address| address.host.clone()),
        _ => udev(session, target, volume),
    }
}

fn udev(session: &Session, target: &Target<'_>, volume: &Volume) -> String {
    let name = &target.resource.name;
    let resource = match volume.implicit && !session.config.global.udev_always_use_vnr {
        true => name.clone(),
        false => format!("{name}/{}", volume.number),
    };
    let bare = |path: &str| path.strip_prefix("/dev/").unwrap_or(path).to_string();
    format!(
        "RESOURCE={resource}\nDEVICE={}\nDISK={}",
        bare(&volume.device_path()),
        bare(volume.disk_path())
    )
}

/// `sh-status`: assignments for the shell, with those of drbdsetup in between.
fn status(session: &Session, runner: &Runner) -> Result<u8, Failure> {
    if !runner.is_dry() {
        let file = std::path::absolute(&session.config.main_file);
        let file = file.map_or_else(
            |_| session.config.main_file.clone(),
            |path| path.display().to_string(),
        );
        println!(
            "_drbd_version={}\n_drbd_api=1\n_config_file={}\n\n",
            usage::TOOLS_VERSION,
            shell_escape(&file)
        );
    }
    for target in session.targets() {
        println!("_conf_res_name={}", shell_escape(&target.resource.name));
        println!("_conf_file_line={}\n", target.resource.position.absolute());
        let lower = target.me.stacked_on();
        let mut first = true;
        for volume in target.volumes() {
            let below = lower.and_then(|lower| below(session, lower, volume.number));
            // once for a resource; on top of another one, the device below differs from volume to volume
            if first {
                println!(
                    "_stacked_on={}",
                    lower.map_or_else(String::new, shell_escape)
                );
            }
            if first || lower.is_some() {
                println!(
                    "_stacked_on_device={}",
                    below.map_or_else(String::new, Volume::device_path)
                );
                println!(
                    "_stacked_on_minor={}",
                    below.map_or_else(String::new, minor)
                );
            }
            first = false;
            println!("_conf_volume={}", volume.number);
            let call = Call::setup(["sh-status", &minor(volume)])
                .words(session.args.setup_options.clone());
            let code = runner.run(&target.resource.name, &call);
            if code != 0 {
                return Ok(code);
            }
        }
    }
    Ok(0)
}

fn below<'a>(session: &'a Session, lower: &str, number: u64) -> Option<&'a Volume> {
    let index = session
        .config
        .resources
        .iter()
        .position(|resource| resource.name == lower)?;
    session
        .target(index)?
        .me
        .volumes
        .iter()
        .find(|volume| volume.number == number)
}
