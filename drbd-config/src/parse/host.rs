// SPDX-License-Identifier: GPL-2.0
//! Host sections and volumes.

use super::{conflict, Parser, Step};
use crate::error::{Place, Problem};
use crate::lexer::{Kind, Token};
use crate::model::{floating_name, Host, HostKind, HostProxy, MetaDisk, Resource, Volume};

const HOST_ITEMS: &[&str] = &["disk", "device", "address", "meta-disk", "flexible-meta-disk", "volume", "options", "proxy"];

impl Parser<'_> {
    pub(super) fn on_host(&mut self, resource: &mut Resource, start: &Token) -> Step<()> {
        let mut names = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Sign('{') if !names.is_empty() => break,
                Kind::Quoted => names.push(token.text),
                Kind::Word if !crate::options::is_keyword(&token.text) => names.push(token.text),
                Kind::Number | Kind::Ipv4 => names.push(token.text),
                _ => return Err(self.unexpected(&token, &["a host name", "{"])),
            }
        }
        for name in &names {
            let what = format!("host section '{}: on {name}'", resource.name);
            let key = format!("{}: on {name}", resource.name);
            self.once(&what, &key, &start.place)?;
        }
        let host = self.host(resource, HostKind::On, names, start)?;
        resource.hosts.push(host);
        Ok(())
    }

    pub(super) fn floating(&mut self, resource: &mut Resource, start: &Token) -> Step<()> {
        let address = self.address()?;
        let name = floating_name(&address);
        let what = format!("host section '{}: on {name}'", resource.name);
        self.once(&what, &format!("{}: on {name}", resource.name), &start.place)?;
        let token = self.next();
        let mut host = empty(HostKind::Floating, vec![name], start);
        match token.kind {
            Kind::Sign(';') => {
                host.address = Some(address);
                self.inherit_volumes(resource, &mut host)?;
            }
            Kind::Sign('{') => {
                host.address = Some(address);
                self.host_items(resource, &mut host)?;
                self.inherit_volumes(resource, &mut host)?;
            }
            _ => return Err(self.unexpected(&token, &["{", ";"])),
        }
        resource.hosts.push(host);
        Ok(())
    }

    pub(super) fn stacked(&mut self, resource: &mut Resource, start: &Token) -> Step<()> {
        let lower = self.name("the name of the lower resource")?;
        self.once(
            &format!("stacked-on-top-of 'stacked:{}'", lower.text),
            &format!("stacked:{}", lower.text),
            &start.place,
        )?;
        self.sign('{')?;
        let host = self.host_after_brace(resource, HostKind::Stacked(lower.text), Vec::new(), start)?;
        resource.hosts.push(host);
        Ok(())
    }

    fn host(&mut self, resource: &Resource, kind: HostKind, names: Vec<String>, start: &Token) -> Step<Host> {
        self.host_after_brace(resource, kind, names, start)
    }

    fn host_after_brace(&mut self, resource: &Resource, kind: HostKind, names: Vec<String>, start: &Token) -> Step<Host> {
        let mut host = empty(kind, names, start);
        self.host_items(resource, &mut host)?;
        self.inherit_volumes(resource, &mut host)?;
        Ok(host)
    }

    fn host_items(&mut self, resource: &Resource, host: &mut Host) -> Step<()> {
        let stacked = host.is_stacked();
        let label = host.names.first().cloned().unwrap_or_default();
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::Sign('}'), _) => return Ok(()),
                (Kind::Word, "address") => {
                    if host.kind == HostKind::Floating {
                        return Err(Problem::at(
                            &token.place,
                            "address statement not allowed for floating {} host sections",
                        ));
                    }
                    let address = self.address()?;
                    self.sign(';')?;
                    if let Some(first) = &host.address {
                        let what = format!("address statement '{}:{label}:address'", resource.name);
                        return Err(conflict(&what, &token.place, &first.place));
                    }
                    host.address = Some(address);
                }
                (Kind::Word, "alternate-link-address") => {
                    host.alternate = Some(self.address()?);
                    self.sign(';')?;
                }
                (Kind::Word, "volume") => {
                    let mut volume = self.volume(&token, !stacked)?;
                    volume.implicit = false;
                    add_volume(&mut host.volumes, volume, &token.place)?;
                }
                (Kind::Word, "options") if !stacked => {
                    self.sign('{')?;
                    self.options_into("options", &mut host.options)?;
                }
                (Kind::Word, "proxy") => host.proxy = Some(self.host_proxy(&token)?),
                (Kind::Word, "disk" | "meta-disk" | "flexible-meta-disk") if stacked => {
                    return Err(self.unexpected(&token, &["device", "address", "proxy"]));
                }
                (Kind::Word, "device" | "disk" | "meta-disk" | "flexible-meta-disk") => {
                    implicit(&mut host.volumes, &token.place)?;
                    let mut volume = host.volumes.remove(0);
                    let scope = format!("{}:{label}", resource.name);
                    let result = self.volume_item(&mut volume, &token, &scope, false);
                    host.volumes.insert(0, volume);
                    result?;
                }
                _ if stacked => return Err(self.unexpected(&token, &["device", "address", "proxy"])),
                _ => return Err(self.unexpected(&token, HOST_ITEMS)),
            }
        }
    }

    /// What the resource says of its volumes holds for a host that says nothing of it.
    fn inherit_volumes(&mut self, resource: &Resource, host: &mut Host) -> Step<()> {
        let stacked = host.is_stacked();
        for outer in &resource.volumes {
            if let Some(own) = host.volumes.iter().find(|v| v.number == outer.number) {
                if own.implicit != outer.implicit && host.volumes.len() == 1 && own.implicit {
                    return Err(Problem::at(
                        &host.place.clone_line(),
                        format!("in resource {}: you must not mix implicit and explicit volumes", resource.name),
                    ));
                }
            }
            let own = match host.volumes.iter_mut().find(|v| v.number == outer.number) {
                Some(own) => own,
                None => {
                    host.volumes.push(Volume {
                        number: outer.number,
                        implicit: outer.implicit,
                        place: outer.place.clone(),
                        ..Volume::default()
                    });
                    host.volumes.sort_by_key(|v| v.number);
                    match host.volumes.iter_mut().find(|v| v.number == outer.number) {
                        Some(own) => own,
                        None => continue,
                    }
                }
            };
            if own.device.is_none() && own.minor.is_none() {
                own.device = outer.device.clone();
                own.minor = outer.minor;
            }
            if !stacked {
                if own.disk.is_none() {
                    own.disk = outer.disk.clone();
                    own.disk_inherited = outer.disk.is_some();
                }
                if own.meta.is_none() {
                    own.meta = outer.meta.clone();
                }
            }
        }
        let mixed = host.volumes.iter().any(|v| v.implicit) && host.volumes.iter().any(|v| !v.implicit);
        if mixed {
            return Err(Problem::at(
                &host.place.clone_line(),
                format!("in resource {}: you must not mix implicit and explicit volumes", resource.name),
            ));
        }
        Ok(())
    }

    /// `volume N { ... }`.
    pub(super) fn volume(&mut self, start: &Token, with_disk: bool) -> Step<Volume> {
        let (number, _) = self.integer("a volume number")?;
        self.sign('{')?;
        let mut volume = Volume {
            number: number as u32,
            place: start.place.clone(),
            ..Volume::default()
        };
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::Sign('}'), _) => return Ok(volume),
                (Kind::Word, "device") => self.volume_item(&mut volume, &token, "", false)?,
                (Kind::Word, "disk" | "meta-disk" | "flexible-meta-disk") if with_disk => {
                    self.volume_item(&mut volume, &token, "", false)?;
                }
                _ => return Err(self.unexpected(&token, &["device", "disk", "meta-disk", "flexible-meta-disk", "}"])),
            }
        }
    }

    /// One statement about a volume whose keyword was read. `scope` is for the message about a
    /// second one.
    pub(super) fn volume_item(&mut self, volume: &mut Volume, token: &Token, scope: &str, resource_level: bool) -> Step<()> {
        let twice = |what: &str| {
            let what = format!("{what} statement '{scope}:{what}'");
            conflict(&what, &token.place, &volume.place)
        };
        match token.text.as_str() {
            "device" => {
                if volume.device.is_some() || volume.minor.is_some() {
                    return Err(twice("device"));
                }
                self.device(volume)
            }
            "disk" => {
                if self.peek().kind == Kind::Sign('{') && !resource_level {
                    if !volume.disk_options.is_empty() || volume.disk.is_some() && volume.implicit {
                        return Err(twice("disk"));
                    }
                    self.next();
                    return self.options_into("disk", &mut volume.disk_options);
                }
                if volume.disk.is_some() {
                    return Err(twice("disk"));
                }
                let path = self.next();
                if !matches!(path.kind, Kind::Word | Kind::Quoted | Kind::Number) {
                    return Err(self.unexpected(&path, &["the path of a disk", "{"]));
                }
                volume.disk = Some(path.text);
                self.sign(';').map(|_| ())
            }
            _ => {
                if volume.meta.is_some() {
                    return Err(twice("meta-disk"));
                }
                self.meta_disk(volume, token.text == "meta-disk")
            }
        }
    }

    fn meta_disk(&mut self, volume: &mut Volume, index_allowed: bool) -> Step<()> {
        let path = self.next();
        if !matches!(path.kind, Kind::Word | Kind::Quoted | Kind::Number) {
            return Err(self.unexpected(&path, &["internal or the path of a device"]));
        }
        let next = self.next();
        match next.kind {
            Kind::Sign(';') if path.text == "internal" => volume.meta = Some(MetaDisk::Internal),
            Kind::Sign(';') => volume.meta = Some(MetaDisk::Flexible(path.text)),
            Kind::Sign('[') if index_allowed => {
                let (slot, _) = self.integer("a slot number")?;
                self.sign(']')?;
                self.sign(';')?;
                volume.meta = Some(MetaDisk::Indexed(path.text, slot as u32));
            }
            _ if index_allowed => return Err(self.unexpected(&next, &["[", ";"])),
            _ => return Err(self.unexpected(&next, &[";"])),
        }
        Ok(())
    }

    /// `NAME`, `minor N` or both.
    fn device(&mut self, volume: &mut Volume) -> Step<()> {
        let token = self.next();
        let named = match (&token.kind, token.text.as_str()) {
            (Kind::Word, "minor") => false,
            (Kind::Word | Kind::Quoted, _) => true,
            _ => return Err(self.unexpected(&token, &["a device name", "minor"])),
        };
        let mut explicit = None;
        if named {
            let next = self.next();
            match (&next.kind, next.text.as_str()) {
                (Kind::Sign(';'), _) => {}
                (Kind::Word, "minor") => {
                    explicit = Some(self.integer("a minor number")?.0 as u32);
                    self.sign(';')?;
                }
                _ => return Err(self.unexpected(&next, &["minor", ";"])),
            }
            self.device_name(volume, &token, explicit);
        } else {
            volume.minor = Some(self.integer("a minor number")?.0 as u32);
            self.sign(';')?;
        }
        Ok(())
    }

    fn device_name(&mut self, volume: &mut Volume, token: &Token, minor: Option<u32>) {
        let name = match token.text.strip_prefix("drbd") {
            Some(_) => format!("/dev/{}", token.text),
            None => token.text.clone(),
        };
        let mut complain = |text: String| self.config.problems.push(Problem::at(&token.place.clone_line(), text));
        volume.minor = minor;
        let Some(rest) = name.strip_prefix("/dev/drbd") else {
            complain(format!("the name of a device begins with /dev/drbd or drbd, this is '{}'", token.text));
            return;
        };
        match (rest.parse::<u32>(), minor) {
            (Ok(number), Some(minor)) if number != minor => {
                complain(format!("'{name}' is minor {number}, but minor {minor} is given"));
            }
            (Ok(number), _) => volume.minor = Some(number),
            (Err(_), None) => complain(format!("'{name}' needs a minor: device {name} minor N;")),
            (Err(_), Some(_)) if !rest.starts_with('_') => {
                complain(format!("a device name without number begins with /dev/drbd_, this is '{name}'"));
            }
            _ => {}
        }
        volume.device = Some(name);
    }

    fn host_proxy(&mut self, start: &Token) -> Step<HostProxy> {
        let on = self.next();
        if on.text != "on" || on.kind != Kind::Word {
            return Err(self.unexpected(&on, &["on"]));
        }
        let mut proxy = HostProxy {
            place: start.place.clone(),
            ..HostProxy::default()
        };
        loop {
            let token = self.next();
            match token.kind {
                Kind::Sign('{') if !proxy.names.is_empty() => break,
                Kind::Word | Kind::Quoted => proxy.names.push(token.text),
                _ => return Err(self.unexpected(&token, &["a host name", "{"])),
            }
        }
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::Sign('}'), _) => return Ok(proxy),
                (Kind::Word, "inside") => proxy.inside = Some(self.address()?),
                (Kind::Word, "outside") => proxy.outside = Some(self.address()?),
                (Kind::Word, "options") => {
                    self.sign('{')?;
                    let (mut options, mut plugin) = (Vec::new(), Vec::new());
                    self.proxy_options(&mut options, &mut plugin)?;
                    proxy.options = options;
                    proxy.plugin = plugin;
                    continue;
                }
                _ => return Err(self.unexpected(&token, &["inside", "outside", "options"])),
            }
            self.sign(';')?;
        }
    }

    /// `_this_host` and `_remote_host` of a running configuration.
    pub(super) fn running_host(&mut self, resource: &mut Resource, start: &Token) -> Step<()> {
        self.sign('{')?;
        let host = self.host_after_brace(&Resource::default(), HostKind::On, vec![start.text.clone()], start)?;
        resource.hosts.push(host);
        Ok(())
    }
}

fn empty(kind: HostKind, names: Vec<String>, start: &Token) -> Host {
    Host {
        kind,
        names,
        address: None,
        alternate: None,
        volumes: Vec::new(),
        options: Vec::new(),
        proxy: None,
        place: start.place.clone(),
    }
}

/// Makes sure that the implicit volume 0 is first.
pub(super) fn implicit(volumes: &mut Vec<Volume>, place: &Place) -> Step<()> {
    match volumes.first() {
        Some(first) if !first.implicit => Err(Problem::at(
            &place.clone_line(),
            "mixing explicit and implicit volumes is not allowed",
        )),
        Some(_) => Ok(()),
        None => {
            volumes.push(Volume {
                implicit: true,
                place: place.clone(),
                ..Volume::default()
            });
            Ok(())
        }
    }
}

/// Adds an explicit volume in order.
pub(super) fn add_volume(volumes: &mut Vec<Volume>, volume: Volume, place: &Place) -> Step<()> {
    if volumes.iter().any(|v| v.implicit) {
        return Err(Problem::at(
            &place.clone_line(),
            "mixing explicit and implicit volumes is not allowed",
        ));
    }
    if let Some(first) = volumes.iter().find(|v| v.number == volume.number) {
        let what = format!("volume '{}'", volume.number);
        return Err(conflict(&what, place, &first.place));
    }
    volumes.push(volume);
    volumes.sort_by_key(|v| v.number);
    Ok(())
}
