// SPDX-License-Identifier: GPL-2.0
//! How each thing is said to drbdsetup and drbdmeta (config-and-cli.md section 9).

use super::backend::{Call, Program};
use super::commands::Limit;
use super::session::{Session, Target};
use super::Failure;
use drbd_config::model::{MetaIndex, Setting};
use drbd_config::{Address, Section, Volume};

/// A minor as text.
pub fn minor(volume: &Volume) -> String {
    volume.minor().to_string()
}

/// `--name=value` for each option.
pub fn arguments(section: &Section) -> Vec<String> {
    let one = |setting: &Setting| match &setting.value {
        Some(value) => format!("--{}={value}", setting.name),
        None => format!("--{}", setting.name),
    };
    section.settings.iter().map(one).collect()
}

/// The index for drbdmeta, or (`attach`) for drbdsetup.
pub fn meta_index(volume: &Volume, attach: bool) -> String {
    match volume.meta_disk.as_ref().map(|meta| &meta.index) {
        None | Some(MetaIndex::Internal) => "internal".into(),
        Some(MetaIndex::Flexible) if attach => "flexible".into(),
        Some(MetaIndex::Flexible) => "flex-external".into(),
        Some(MetaIndex::Slot(slot)) => slot.to_string(),
    }
}

/// `drbdmeta MINOR v08 DEVICE INDEX COMMAND`.
pub fn meta(volume: &Volume, command: &str) -> Call {
    let words = [
        minor(volume),
        "v08".into(),
        volume.meta_path().into(),
        meta_index(volume, false),
        command.into(),
    ];
    Call::new(Program::Meta, words).limit(Limit::Long)
}

/// The disk options as drbdsetup takes them: resources in `resync-after` become minors.
pub fn disk_options(session: &Session, volume: &Volume) -> Section {
    let mut section = volume.disk_options.clone();
    for setting in section
        .settings
        .iter_mut()
        .filter(|setting| setting.name == "resync-after")
    {
        let minor = setting
            .value
            .as_deref()
            .map(|text| session.minor_after(text));
        if let Some(Ok(minor)) = minor {
            setting.value = Some(minor);
        }
    }
    section
}

/// The net options as drbdsetup takes them: `discard-node-HOST` becomes local or remote.
pub fn net_options(session: &Session, target: &Target<'_>) -> Section {
    let mut section = target.resource.net.clone();
    for setting in section
        .settings
        .iter_mut()
        .filter(|setting| setting.name == "after-sb-0pri")
    {
        if let Some(host) = setting
            .value
            .as_deref()
            .and_then(|value| value.strip_prefix("discard-node-"))
        {
            let here = host == session.node || target.me.names.iter().any(|name| name == host);
            setting.value = Some(
                if here {
                    "discard-local"
                } else {
                    "discard-remote"
                }
                .into(),
            );
        }
    }
    section
}

/// `new-resource`.
pub fn new_resource(session: &Session, target: &Target<'_>) -> Call {
    Call::setup(["new-resource", &target.resource.name])
        .words(arguments(&target.resource.options))
        .words(session.args.setup_options.clone())
}

/// `new-minor`.
pub fn new_minor(target: &Target<'_>, volume: &Volume) -> Call {
    Call::setup([
        "new-minor",
        &target.resource.name,
        &minor(volume),
        &volume.number.to_string(),
    ])
}

/// `apply-al`, then `attach`.
pub fn attach(session: &Session, volume: &Volume) -> Vec<Call> {
    let handed_on = &session.args.setup_options;
    let words = [
        "attach",
        &minor(volume),
        volume.disk_path(),
        volume.meta_path(),
        &meta_index(volume, true),
    ];
    let attach = Call::setup(words)
        .words(arguments(&disk_options(session, volume)))
        .words(handed_on.clone())
        .limit(Limit::Medium);
    vec![meta(volume, "apply-al").words(handed_on.clone()), attach]
}

/// `resize` to the configured size, and `check-resize`.
pub fn resize(session: &Session, volume: &Volume) -> [Call; 2] {
    let mut size = volume.disk_options.clone();
    size.settings.retain(|setting| setting.name == "size");
    let resize = Call::setup(["resize", &minor(volume)])
        .words(arguments(&size))
        .words(session.args.setup_options.clone())
        .limit(Limit::Short);
    [
        resize,
        Call::setup(["check-resize", &minor(volume)]).limit(Limit::Short),
    ]
}

/// `connect`.
pub fn connect(session: &Session, target: &Target<'_>) -> Result<Call, Failure> {
    let (own, peer) = session.endpoints(target, true)?;
    let mut call = Call::setup(["connect", &target.resource.name, &own, &peer]);
    let alternate = session
        .peer(target)
        .ok()
        .and_then(|peer| peer.alternate.as_ref())
        .map(Address::endpoint);
    if let (Some(mine), Some(theirs)) = (&target.me.alternate, alternate) {
        let words = [
            "--alternate-address",
            &mine.endpoint(),
            "--alternate-peer-address",
            &theirs,
        ];
        call = call.words(words.map(str::to_string));
    }
    let call = call.words(arguments(&net_options(session, target)));
    Ok(call
        .words(session.args.setup_options.clone())
        .limit(Limit::Short))
}

/// `wait-connect` with the times of the startup section.
pub fn wait_connect(target: &Target<'_>, volume: &Volume) -> Call {
    let call = Call::setup(["wait-connect", &minor(volume)]).limit(Limit::Never);
    let resource = target.resource;
    if target.me.stacked_on().is_some() && !resource.stacked_timeouts {
        let pause = resource
            .net
            .get("connect-int")
            .and_then(|value| value.parse::<u64>().ok());
        let seconds = pause.map_or(20, |seconds| 2 * seconds);
        return call.words(["--wfc-timeout".to_string(), seconds.to_string()]);
    }
    call.words(arguments(&resource.startup))
}
