// SPDX-License-Identifier: GPL-2.0
//! Handlers: what the kernel has drbdadm run when something happens (config-and-cli.md section 18).

use super::backend::{Call, Program, Runner};
use super::calls::minor;
use super::commands::{Command, Limit, Scope};
use super::session::{Session, Target};
use super::Failure;
use drbd_config::HostSection;

/// Runs the configured programs; the code of the last one that failed is ours.
pub fn run(
    session: &Session,
    command: &Command,
    targets: &[Target<'_>],
    runner: &Runner,
) -> Result<u8, Failure> {
    let mut result = 0;
    for target in targets {
        let Some(program) = target.resource.handlers.get(command.name) else {
            continue;
        };
        let call = Call::new(Program::Shell, ["-c", program])
            .environment(environment(session, command, target));
        let code = runner.run(&target.resource.name, &call.limit(Limit::Long));
        if code != 0 {
            result = code;
        }
    }
    Ok(result)
}

fn environment(session: &Session, command: &Command, target: &Target<'_>) -> Vec<(String, String)> {
    let volumes: Vec<_> = target.volumes().collect();
    let minors: Vec<String> = volumes.iter().map(|volume| minor(volume)).collect();
    let file = std::path::absolute(&session.config.main_file);
    let file = file.map_or_else(
        |_| session.config.main_file.clone(),
        |path| path.display().to_string(),
    );
    let mut set = vec![
        ("DRBD_RESOURCE".to_string(), target.resource.name.clone()),
        ("DRBD_CONF".into(), file),
        ("DRBD_MINOR".into(), minors.join(" ")),
    ];
    if let [volume] = volumes[..] {
        if command.scope == Scope::OneVolume {
            set.push(("DRBD_VOLUME".into(), volume.number.to_string()));
            set.push(("DRBD_LL_DISK".into(), volume.disk_path().into()));
        }
    }
    if let Some(peer) = peer(session, target) {
        set.push((
            "DRBD_PEER".into(),
            peer.names.first().cloned().unwrap_or_default(),
        ));
        set.push(("DRBD_PEERS".into(), peer.names.join(" ")));
        if let Some(address) = &peer.address {
            set.push(("DRBD_PEER_AF".into(), address.family.clone()));
            set.push(("DRBD_PEER_ADDRESS".into(), address.host.clone()));
        }
    }
    set
}

/// The peer; when several are possible, the one whose address the kernel put into the environment.
fn peer<'a>(session: &'a Session, target: &Target<'a>) -> Option<&'a HostSection> {
    if let Ok(peer) = session.peer(target) {
        return Some(peer);
    }
    let family = std::env::var("DRBD_PEER_AF").ok()?;
    let address = std::env::var("DRBD_PEER_ADDRESS").ok()?;
    let others = session.binding.others(&session.config, target.index);
    let fits = |host: &&HostSection| {
        host.address
            .as_ref()
            .is_some_and(|a| a.family == family && a.host == address)
    };
    others.into_iter().find(fits)
}
