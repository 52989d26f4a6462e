// SPDX-License-Identifier: GPL-2.0
//! Sections of options, and the items of a resource.

use super::{Parser, Step};
use crate::error::{did_you_mean, Problem};
use crate::lexer::{Kind, Token};
use crate::model::{OptionEntry, Options, Resource};
use crate::options::{self, Form, Known};
use drbd_core::genl::attributes::Unit;

impl Parser<'_> {
    pub(super) fn global(&mut self, start: &Token) -> Step<()> {
        self.once("global section 'global'", "global", &start.place)?;
        if self.config.resources.iter().any(|r| !r.hosts.is_empty() || !r.name.is_empty()) {
            self.config.warnings.push(format!(
                "{}: You should put the global {{}} section\n\tin front of any resource {{}} section",
                start.place.clone_line()
            ));
        }
        self.config.global.present = true;
        self.sign('{')?;
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::Sign('}'), _) => return Ok(()),
                (Kind::Word, "usage-count") => {
                    let value = self.next();
                    if !["yes", "no", "ask"].contains(&value.text.as_str()) {
                        return Err(self.unexpected(&value, &["yes", "no", "ask"]));
                    }
                    self.sign(';')?;
                    let entry = entry(&token, "usage-count", Some(value.text));
                    self.config.global.options.push(entry);
                }
                _ => {
                    let Some(known) = options::GLOBAL.iter().find(|k| k.name == token.text && token.kind == Kind::Word) else {
                        let names: Vec<&str> = options::GLOBAL.iter().map(|k| k.name).collect();
                        return Err(self.unexpected(&token, &names));
                    };
                    let found = self.option(&token, known)?;
                    self.config.global.options.extend(found);
                }
            }
        }
    }

    /// The statements of a resource or of common, to its closing brace.
    pub(super) fn resource_items(&mut self, resource: &mut Resource, common: bool) -> Step<()> {
        const EXPECTED: &[&str] = &[
            "protocol", "on", "disk", "net", "syncer", "startup", "handlers", "options", "proxy", "volume", "device", "meta-disk",
            "floating", "stacked-on-top-of", "ignore-on",
        ];
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::Sign('}'), _) => break,
                // A resource that ends with the file is closed by it.
                (Kind::End, _) => break,
                (Kind::Word, "protocol") => {
                    self.section_once(resource, "protocol", &token, "protocol statement", ": protocol")?;
                    let entry = self.protocol(&token)?;
                    resource.net.push(entry);
                }
                (Kind::Word, "on" | "floating" | "stacked-on-top-of") if common => {
                    return Err(Problem::at(
                        &token.place,
                        "in the common section, there are no host sections allowed",
                    ));
                }
                (Kind::Word, "on") => self.on_host(resource, &token)?,
                (Kind::Word, "floating") => self.floating(resource, &token)?,
                (Kind::Word, "stacked-on-top-of") => self.stacked(resource, &token)?,
                (Kind::Word, "ignore-on") => self.ignore_on(resource, &token)?,
                (Kind::Word, "disk") => self.resource_disk(resource, &token)?,
                (Kind::Word, "device" | "meta-disk" | "flexible-meta-disk") => self.implicit_item(resource, &token)?,
                (Kind::Word, "volume") => {
                    let volume = self.volume(&token, true)?;
                    super::host::add_volume(&mut resource.volumes, volume, &token.place)?;
                }
                (Kind::Word, "net" | "options" | "startup" | "handlers" | "syncer") => self.section(resource, &token)?,
                (Kind::Word, "proxy") => self.proxy(resource, &token)?,
                (Kind::Word, "_this_host" | "_remote_host") => self.running_host(resource, &token)?,
                _ => return Err(self.unexpected(&token, EXPECTED)),
            }
        }
        Ok(())
    }

    fn ignore_on(&mut self, resource: &Resource, token: &Token) -> Step<()> {
        self.name("a host name")?;
        self.sign(';')?;
        self.config.warnings.push(format!(
            "{}: in resource {}, WARN: The 'ignore-on' keyword is deprecated.",
            token.place.clone_line(),
            resource.name
        ));
        Ok(())
    }

    /// A section that may be given once.
    fn section_once(&mut self, resource: &mut Resource, name: &str, token: &Token, what: &str, key: &str) -> Step<()> {
        if let Some((_, first)) = resource.sections_seen.iter().find(|(n, _)| n == name) {
            let what = format!("{what} '{}{key}'", resource.name);
            return Err(super::conflict(&what, &token.place, first));
        }
        resource.sections_seen.push((name.into(), token.place.clone()));
        Ok(())
    }

    fn section(&mut self, resource: &mut Resource, token: &Token) -> Step<()> {
        let name = token.text.clone();
        let (what, key) = if name == "options" {
            ("resource options section".to_string(), ":res_options".to_string())
        } else {
            (format!("{name} section"), format!(":{name}"))
        };
        self.section_once(resource, &name, token, &what, &key)?;
        self.sign('{')?;
        match name.as_str() {
            "syncer" => self.syncer(resource),
            "startup" => self.startup(resource),
            "net" => self.options_into(&name, &mut resource.net),
            "handlers" => self.options_into(&name, &mut resource.handlers),
            _ => self.options_into(&name, &mut resource.options),
        }
    }

    fn resource_disk(&mut self, resource: &mut Resource, token: &Token) -> Step<()> {
        if self.peek().kind == Kind::Sign('{') {
            self.section_once(resource, "disk", token, "disk section", ":disk")?;
            self.next();
            return self.options_into("disk", &mut resource.disk);
        }
        self.implicit_item(resource, token)
    }

    /// `device`, `disk` and so on without `volume`: they describe volume 0.
    fn implicit_item(&mut self, resource: &mut Resource, token: &Token) -> Step<()> {
        let place = token.place.clone();
        super::host::implicit(&mut resource.volumes, &place)?;
        let mut volume = resource.volumes.remove(0);
        let result = self.volume_item(&mut volume, token, &resource.name, true);
        resource.volumes.insert(0, volume);
        result
    }

    fn syncer(&mut self, resource: &mut Resource) -> Step<()> {
        loop {
            let token = self.next();
            if token.kind == Kind::Sign('}') {
                return Ok(());
            }
            let known = (token.kind == Kind::Word).then(|| options::of_syncer(&token.text)).flatten();
            let Some((section, known)) = known else {
                return Err(self.unexpected(&token, &["a syncer option keyword"]));
            };
            let found = self.option(&token, known)?;
            match section {
                "disk" => resource.disk.extend(found),
                "net" => resource.net.extend(found),
                _ => resource.options.extend(found),
            }
        }
    }

    fn startup(&mut self, resource: &mut Resource) -> Step<()> {
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::Sign('}'), _) => return Ok(()),
                (Kind::Word, "become-primary-on") => {
                    while self.peek().kind != Kind::Sign(';') {
                        let name = self.next();
                        match name.kind {
                            Kind::Word | Kind::Quoted => resource.become_primary_on.push(name.text),
                            _ => return Err(self.unexpected(&name, &["a host name or 'both'"])),
                        }
                    }
                    self.sign(';')?;
                }
                (Kind::Word, "stacked-timeouts") => {
                    self.sign(';')?;
                    resource.stacked_timeouts = true;
                }
                _ => {
                    let known = self.known("startup", &token)?;
                    let found = self.option(&token, known)?;
                    resource.startup.extend(found);
                }
            }
        }
    }

    /// Options to the closing brace.
    pub(super) fn options_into(&mut self, section: &str, into: &mut Options) -> Step<()> {
        loop {
            let token = self.next();
            if token.kind == Kind::Sign('}') {
                return Ok(());
            }
            let known = self.known(section, &token)?;
            let found = self.option(&token, known)?;
            into.extend(found);
        }
    }

    fn known(&self, section: &str, token: &Token) -> Step<&'static Known> {
        let all = options::of_section(section);
        let find = |list: &'static [Known]| list.iter().find(|k| k.name == token.text && token.kind == Kind::Word);
        if let Some(known) = find(all).or_else(|| find(options::OBSOLETE)) {
            return Ok(known);
        }
        let mut problem = self.unexpected(token, &["an option keyword"]);
        let names: Vec<&str> = all.iter().map(|k| k.name).collect();
        let near = did_you_mean(&token.text, names.iter().copied());
        problem.text = format!("an option of {section} expected, found {}{near}\n    known are: {}", token.shown(), names.join(", "));
        if problem.excerpt.is_some() {
            problem.text = problem.text.replace("\n    known are", "; known are");
        }
        Err(problem)
    }

    fn protocol(&mut self, token: &Token) -> Step<OptionEntry> {
        let value = self.next();
        if !matches!(value.kind, Kind::Word | Kind::Quoted) {
            return Err(self.unexpected(&value, &["a value"]));
        }
        self.sign(';')?;
        if !["a", "b", "c"].contains(&value.text.to_lowercase().as_str()) {
            return Err(Problem::at(&value.place, format!("unknown protocol '{}', should be one of A,B,C", value.text)));
        }
        Ok(entry(token, "protocol", Some(value.text)))
    }

    /// The rest of an option whose name was read; nothing for one without effect.
    pub(super) fn option(&mut self, token: &Token, known: &'static Known) -> Step<Option<OptionEntry>> {
        match known.form {
            Form::Flag => {
                self.sign(';')?;
                Ok(Some(entry(token, known.today, None)))
            }
            Form::Negated(today) => {
                self.sign(';')?;
                Ok(Some(entry(token, today, Some("no".into()))))
            }
            Form::Bool => {
                let value = self.next();
                let word = match (&value.kind, value.text.as_str()) {
                    (Kind::Sign(';'), _) => return Ok(Some(entry(token, known.today, Some("yes".into())))),
                    (Kind::Word, word @ ("yes" | "no")) => word.to_string(),
                    _ => return Err(self.unexpected(&value, &["yes", "no", ";"])),
                };
                self.sign(';')?;
                Ok(Some(entry(token, known.today, Some(word))))
            }
            Form::Protocol => self.protocol(token).map(Some),
            Form::Obsolete => {
                self.value()?;
                self.sign(';')?;
                Ok(None)
            }
            Form::Value => {
                let value = self.value()?;
                self.sign(';')?;
                Ok(Some(entry(token, known.today, Some(value.text))))
            }
            Form::Number(unit, least, most) => {
                let value = self.value()?;
                self.sign(';')?;
                self.check_range(known, &value, unit, least, most)?;
                Ok(Some(entry(token, known.today, Some(value.text))))
            }
        }
    }

    fn check_range(&mut self, known: &Known, value: &Token, unit: Unit, least: u64, most: u64) -> Step<()> {
        let number = options::to_unit(&value.text, unit).map_err(|text| Problem {
            exit: 20,
            ..Problem::general(20, text)
        })?;
        if number < least || number > most {
            let suffix = match unit {
                Unit::Sectors => "s",
                Unit::KibPerSecond => "k",
                _ => "",
            };
            let text = format!(
                "{} {} => {number}{suffix} out of range [{least}..{most}]{suffix}.",
                known.name, value.text
            );
            self.config.problems.push(Problem::at(&value.place.clone_line(), text));
        }
        Ok(())
    }

    fn proxy(&mut self, resource: &mut Resource, token: &Token) -> Step<()> {
        self.section_once(resource, "proxy", token, "proxy section", ":proxy")?;
        self.sign('{')?;
        let (mut found, mut plugin) = (Options::new(), Vec::new());
        self.proxy_options(&mut found, &mut plugin)?;
        resource.proxy = found;
        resource.plugin = plugin;
        Ok(())
    }

    /// Options and plugin lines to the closing brace.
    pub(super) fn proxy_options(&mut self, into: &mut Options, plugin: &mut Vec<String>) -> Step<()> {
        loop {
            let token = self.next();
            match (&token.kind, token.text.as_str()) {
                (Kind::Sign('}'), _) => return Ok(()),
                (Kind::Word, "plugin") => {
                    self.sign('{')?;
                    self.plugin_lines(plugin)?;
                }
                _ => {
                    let known = self.known("proxy", &token)?;
                    let found = self.option(&token, known)?;
                    into.extend(found);
                }
            }
        }
    }

    fn plugin_lines(&mut self, plugin: &mut Vec<String>) -> Step<()> {
        let mut words: Vec<String> = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::Sign('}') if words.is_empty() => return Ok(()),
                Kind::Sign(';') => plugin.push(std::mem::take(&mut words).join(" ")),
                Kind::Word | Kind::Number | Kind::Quoted | Kind::Ipv4 => words.push(token.text),
                _ => return Err(self.unexpected(&token, &["a word of the plugin's options", ";"])),
            }
        }
    }
}

fn entry(token: &Token, name: &str, value: Option<String>) -> OptionEntry {
    OptionEntry {
        name: name.into(),
        value,
        place: token.place.clone(),
    }
}
