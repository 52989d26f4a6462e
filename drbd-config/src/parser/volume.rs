// SPDX-License-Identifier: GPL-2.0
//! `volume`, `device`, `disk` and `meta-disk`, in host sections and at resource level.

use super::{Parsed, Parser};
use crate::diagnostic::{Diagnostic, Position};
use crate::lexer::{Kind, Token};
use crate::model::{Device, HostSection, MetaDisk, MetaIndex, Resource, Spanned, Volume};
use crate::options::Place;

const MINOR_MAX: u64 = 1_048_575;
const VOLUME_MAX: u64 = 65_535;
const ITEMS: &[&str] = &["device", "disk", "meta-disk", "flexible-meta-disk"];

/// Where a statement stands, for the keys of things that are unique.
struct Owner<'a> {
    /// Host names; one empty name at resource level.
    names: &'a [String],
    stacked: bool,
}

impl Owner<'_> {
    /// Host names that are known.
    fn hosts(&self) -> impl Iterator<Item = &String> {
        self.names.iter().filter(|name| !name.is_empty())
    }
}

impl Parser {
    /// A statement that belongs to a volume, or a `volume` section.
    pub(super) fn volume_statement(
        &mut self,
        token: &Token,
        names: &[String],
        stacked: bool,
        volumes: &mut Vec<Volume>,
    ) -> Parsed<()> {
        let owner = Owner { names, stacked };
        let explicit = token.text == "volume";
        if volumes
            .first()
            .is_some_and(|volume| volume.implicit == explicit)
        {
            let text = "statements with and without 'volume' cannot be mixed";
            self.diagnostics
                .push(Diagnostic::error(&token.position, text));
        }
        if explicit {
            let number = self.plain_number("volume", 0, VOLUME_MAX)?;
            let mut volume = Volume::new(number, false, &token.position);
            self.mark("{")?;
            self.volume_body(&owner, &mut volume)?;
            volumes.push(volume);
            return Ok(());
        }
        let at = match volumes.iter().position(|volume| volume.implicit) {
            Some(at) => at,
            None => {
                volumes.push(Volume::new(0, true, &token.position));
                volumes.len() - 1
            }
        };
        let mut volume = volumes[at].clone();
        self.volume_item(token, &owner, &mut volume)?;
        volumes[at] = volume;
        Ok(())
    }

    fn volume_body(&mut self, owner: &Owner<'_>, volume: &mut Volume) -> Parsed<()> {
        loop {
            let token = self.lexer.take()?;
            if token.is("}") {
                return Ok(());
            }
            let allowed = if owner.stacked { &ITEMS[..1] } else { ITEMS };
            if token.kind != Kind::Keyword || !allowed.contains(&token.text.as_str()) {
                return Err(self.unexpected(&token, allowed));
            }
            self.volume_item(&token, owner, volume)?;
        }
    }

    fn volume_item(&mut self, token: &Token, owner: &Owner<'_>, volume: &mut Volume) -> Parsed<()> {
        match token.text.as_str() {
            "device" => {
                self.once(
                    token,
                    owner,
                    volume.implicit,
                    volume.device.as_ref().map(|device| &device.position),
                )?;
                volume.device = self.device(token)?;
                self.claim_device(owner, volume)
            }
            "disk" => {
                let options = self.lexer.peek()?.is("{");
                let section = volume
                    .disk_options
                    .settings
                    .first()
                    .map(|setting| &setting.position);
                let path = volume.disk.as_ref().map(|disk| &disk.position);
                // without 'volume' the options count as the disk statement
                let before = match (volume.implicit, options) {
                    (true, _) => section.or(path),
                    (false, true) => section,
                    (false, false) => path,
                };
                self.once(token, owner, volume.implicit, before)?;
                if options {
                    volume.disk_options.settings.clear();
                    return self.option_section(Place::Disk, &mut volume.disk_options);
                }
                let path = self.name("a path or '{' behind disk")?;
                self.mark(";")?;
                volume.disk = Some(Spanned {
                    text: path.text,
                    position: token.position.clone(),
                });
                Ok(())
            }
            _ => {
                self.once(
                    token,
                    owner,
                    volume.implicit,
                    volume.meta_disk.as_ref().map(|meta| &meta.position),
                )?;
                volume.meta_disk = Some(self.meta_disk(token)?);
                Ok(())
            }
        }
    }

    /// A statement stands once without 'volume' in a host section. Elsewhere the last one holds, with a warning;
    /// at resource level that is so for all but `device`.
    fn once(
        &mut self,
        token: &Token,
        owner: &Owner<'_>,
        implicit: bool,
        before: Option<&Position>,
    ) -> Parsed<()> {
        let Some(first) = before.filter(|_| !self.running) else {
            return Ok(());
        };
        let text = format!(
            "there is a {} statement already: first used at {first}",
            token.text
        );
        if implicit && (token.text == "device" || owner.hosts().next().is_some()) {
            return Err(Diagnostic::error(&token.position, text));
        }
        self.diagnostics.push(Diagnostic::warning(
            &token.position,
            format!("{text}; this one holds"),
        ));
        Ok(())
    }

    /// `NAME;`, `minor N;` or `NAME minor N;`. Faulty names are collected; `None`: no minor known.
    fn device(&mut self, statement: &Token) -> Parsed<Option<Device>> {
        let at = statement.position.clone();
        let mut token = self.lexer.take()?;
        let mut name = None;
        if token.is_name() {
            name = Some(token.text);
            token = self.lexer.take()?;
        }
        let mut minor = None;
        if token.is("minor") {
            minor = Some(self.plain_number("minor", 0, MINOR_MAX)?);
            token = self.lexer.take()?;
        } else if name.is_none() && token.is(";") {
            // as if the statement were not there: its absence is reported where the section ends
            return Ok(None);
        } else if name.is_none() {
            return Err(self.wanted(&token, "a device name or 'minor'"));
        }
        if !token.is(";") {
            let what = if minor.is_some() {
                "';'"
            } else {
                "'minor' or ';'"
            };
            return Err(self.wanted(&token, what));
        }
        let name = name.map(|name| {
            if name.starts_with("drbd") {
                format!("/dev/{name}")
            } else {
                name
            }
        });
        match judge_device(name.as_deref(), minor) {
            Ok(minor) => Ok(Some(Device {
                name,
                minor,
                position: at,
            })),
            Err(problems) => {
                let errors = problems
                    .into_iter()
                    .map(|text| Diagnostic::error(&at, text));
                self.diagnostics.extend(errors.filter(|_| !self.running));
                let minor = minor.and_then(|minor| u32::try_from(minor).ok());
                Ok(Some(Device {
                    name,
                    minor: minor.unwrap_or(u32::MAX),
                    position: at,
                }))
            }
        }
    }

    fn claim_device(&mut self, owner: &Owner<'_>, volume: &Volume) -> Parsed<()> {
        let Some(device) = volume.device.as_ref().filter(|d| d.minor != u32::MAX) else {
            return Ok(());
        };
        for host in owner.hosts() {
            let key = format!("device-minor:{host}:{}", device.minor);
            self.unique.claim("device-minor", &key, &device.position)?;
            if let Some(name) = &device.name {
                self.unique
                    .claim("device", &format!("device:{host}:{name}"), &device.position)?;
            }
        }
        Ok(())
    }

    fn meta_disk(&mut self, statement: &Token) -> Parsed<MetaDisk> {
        let position = statement.position.clone();
        let path = self.name("a path or internal")?.text;
        if path == "internal" {
            self.mark(";")?;
            return Ok(MetaDisk {
                path,
                index: MetaIndex::Internal,
                position,
            });
        }
        let token = self.lexer.take()?;
        if token.is(";") {
            return Ok(MetaDisk {
                path,
                index: MetaIndex::Flexible,
                position,
            });
        }
        if !token.is("[") || statement.text != "meta-disk" {
            return Err(self.wanted(
                &token,
                if statement.text == "meta-disk" {
                    "'[' or ';'"
                } else {
                    "';'"
                },
            ));
        }
        let slot = self.plain_number("meta-disk slot", 0, 65_535)?;
        self.mark("]")?;
        self.mark(";")?;
        Ok(MetaDisk {
            path,
            index: MetaIndex::Slot(slot),
            position,
        })
    }

    /// A slot or device for metadata belongs to one volume of a host. Checked where the host section
    /// ends, when everything inherited is known.
    pub(super) fn claim_meta_disks(&mut self, section: &HostSection, end: &Position) -> Parsed<()> {
        for meta in section
            .volumes
            .iter()
            .filter_map(|volume| volume.meta_disk.as_ref())
        {
            let index = match &meta.index {
                MetaIndex::Internal => continue,
                MetaIndex::Flexible => "flexible".to_string(),
                MetaIndex::Slot(slot) => slot.to_string(),
            };
            for host in &section.names {
                self.unique
                    .claim("meta-disk", &format!("{host}:{}[{index}]", meta.path), end)?;
            }
        }
        Ok(())
    }

    /// Copies the volume statements of the resource into a host section, statement by statement,
    /// where the section has none.
    pub(super) fn inherit_volumes(
        &mut self,
        section: &mut HostSection,
        resource: &Resource,
    ) -> Parsed<()> {
        let mixed = |volume: &Volume| {
            section
                .volumes
                .first()
                .is_some_and(|own| own.implicit != volume.implicit)
        };
        if resource.volumes.iter().any(mixed) {
            let text = format!(
                "in resource {}: statements with and without 'volume' cannot be mixed",
                resource.name
            );
            self.diagnostics
                .push(Diagnostic::error(&section.position, text));
            return Ok(());
        }
        let stacked = section.stacked_on().is_some();
        for given in &resource.volumes {
            let at = match section
                .volumes
                .iter()
                .position(|volume| volume.number == given.number)
            {
                Some(at) => at,
                None => {
                    section.volumes.push(Volume::new(
                        given.number,
                        given.implicit,
                        &given.position,
                    ));
                    section.volumes.len() - 1
                }
            };
            let mut volume = section.volumes[at].clone();
            let names = section.names.clone();
            let owner = Owner {
                names: &names,
                stacked,
            };
            self.inherit_volume(&owner, &mut volume, given, &section.position)?;
            section.volumes[at] = volume;
        }
        Ok(())
    }

    fn inherit_volume(
        &mut self,
        owner: &Owner<'_>,
        volume: &mut Volume,
        given: &Volume,
        at: &Position,
    ) -> Parsed<()> {
        if volume.device.is_none() && given.device.is_some() {
            volume.device.clone_from(&given.device);
            self.claim_device(owner, volume)?;
        }
        if owner.stacked {
            return Ok(());
        }
        if let (None, Some(disk)) = (&volume.disk, &given.disk) {
            for host in owner.hosts() {
                self.unique
                    .claim("disk", &format!("disk:{host}:{}", disk.text), at)?;
            }
            volume.disk = Some(disk.clone());
        }
        if volume.meta_disk.is_none() && given.meta_disk.is_some() {
            volume.meta_disk.clone_from(&given.meta_disk);
        }
        Ok(())
    }
}

/// The minor that a name and an explicit number give together, or everything that is wrong with them.
fn judge_device(name: Option<&str>, minor: Option<u64>) -> Result<u32, Vec<String>> {
    let Some(name) = name else {
        return minor
            .and_then(|minor| u32::try_from(minor).ok())
            .ok_or_else(Vec::new);
    };
    let mut problems = Vec::new();
    let Some(rest) = name.strip_prefix("/dev/drbd") else {
        problems.push(format!(
            "device name '{name}' has to begin with /dev/drbd (the /dev/ may be left out)"
        ));
        if minor.is_none() {
            problems.push(format!("'{name}' holds no minor number, and none is given"));
        }
        return Err(problems);
    };
    let numbered = rest
        .parse::<u32>()
        .ok()
        .filter(|_| rest.bytes().all(|b| b.is_ascii_digit()));
    match (numbered, minor) {
        (Some(own), None) => return Ok(own),
        (Some(own), Some(given)) if u64::from(own) == given => return Ok(own),
        (Some(_), Some(given)) => problems.push(format!(
            "device name '{name}' does not agree with minor {given}: write /dev/drbd{given}, leave one of them out, or use a name that begins with /dev/drbd_"
        )),
        (None, Some(given)) if rest.starts_with('_') => {
            return u32::try_from(given).map_err(|_| Vec::new());
        }
        (None, Some(_)) => problems.push(format!("device name '{name}' has to begin with /dev/drbd_ when it holds no minor")),
        (None, None) => problems.push(format!("'{name}' holds no minor number, and none is given")),
    }
    Err(problems)
}

#[cfg(test)]
mod tests {
    use super::judge_device;

    #[test]
    fn names_and_minors_have_to_agree() {
        assert_eq!(judge_device(Some("/dev/drbd7"), None), Ok(7));
        assert_eq!(judge_device(Some("/dev/drbd7"), Some(7)), Ok(7));
        assert_eq!(judge_device(Some("/dev/drbd_home"), Some(3)), Ok(3));
        assert_eq!(judge_device(None, Some(3)), Ok(3));
        for (name, minor) in [
            ("/dev/drbd7", Some(8)),
            ("/dev/drbd_x", None),
            ("/dev/nbd0", None),
            ("/dev/drbdx", Some(1)),
        ] {
            assert!(judge_device(Some(name), minor).is_err(), "{name}");
        }
    }
}
