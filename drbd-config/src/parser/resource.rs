// SPDX-License-Identifier: GPL-2.0
//! `resource` and `common`.

use super::{near, Parsed, Parser};
use crate::diagnostic::Diagnostic;
use crate::lexer::{Kind, Token};
use crate::model::{HostKind, HostSection, Resource};
use crate::options::Place;

/// What may begin a statement of a resource.
const ITEMS: &[&str] = &[
    "protocol",
    "on",
    "floating",
    "stacked-on-top-of",
    "device",
    "disk",
    "meta-disk",
    "flexible-meta-disk",
    "volume",
    "net",
    "syncer",
    "startup",
    "handlers",
    "options",
    "proxy",
    "ignore-on",
];

impl Parser {
    /// `common { }`.
    pub(super) fn common(&mut self, keyword: &Token) -> Parsed<()> {
        self.unique
            .claim("resource section", "common", &keyword.position)?;
        let mut common = Resource {
            name: "common".into(),
            position: keyword.position.clone(),
            ..Resource::default()
        };
        self.mark("{")?;
        self.body(&mut common)?;
        if let Some(host) = common.hosts.last() {
            let text = "host sections cannot stand in the common section";
            self.diagnostics
                .push(Diagnostic::error(&host.position, text));
        }
        self.config.common = Some(common);
        Ok(())
    }

    /// `resource NAME { }` behind its keyword.
    pub(super) fn resource(&mut self) -> Parsed<()> {
        let name = match self.running {
            true => self.running_name()?,
            false => self.name("a name for the resource")?,
        };
        if name.text.is_empty() || name.text.chars().any(char::is_control) {
            let text = "a resource name cannot be empty or hold control characters";
            return Err(Diagnostic::error(&name.position, text).with_exit(1));
        }
        self.unique
            .claim("resource section", &name.text, &name.position)?;
        self.mark("{")?;
        let mut resource = Resource {
            name: name.text,
            position: name.position,
            ..Resource::default()
        };
        self.body(&mut resource)?;
        self.config.resources.push(resource);
        Ok(())
    }

    /// The name in front of the brace; drbdsetup shows names without quotes, whatever is in them.
    fn running_name(&mut self) -> Parsed<Token> {
        let mut name = self.lexer.take()?;
        while !self.lexer.peek()?.is("{") {
            let more = self.lexer.take()?;
            if more.kind == Kind::End {
                return Err(self.wanted(&more, "'{'"));
            }
            name.text = format!("{} {}", name.text, more.text);
        }
        Ok(name)
    }

    /// Everything up to the closing brace, or to the end of the file right behind a statement.
    fn body(&mut self, resource: &mut Resource) -> Parsed<()> {
        loop {
            let token = self.lexer.take()?;
            if token.is("}") || token.kind == Kind::End {
                self.compare_hosts(resource, &token.position);
                return Ok(());
            }
            if token.kind != Kind::Keyword {
                return Err(self.no_item(&token));
            }
            self.item(&token, resource)?;
        }
    }

    fn no_item(&self, token: &Token) -> Diagnostic {
        let hint = match token.text.as_str() {
            "node-id" | "connection" | "connection-mesh" | "path" | "quorum" | "transport" => {
                " (a word of DRBD 9)".into()
            }
            "include" => " (include stands outside of resources)".into(),
            _ => near(token, ITEMS),
        };
        let text = format!(
            "expected a statement of a resource ({}), found {}{hint}",
            ITEMS.join(", "),
            token.shown()
        );
        Diagnostic::error(&token.position, text)
    }

    fn section_claim(
        &mut self,
        what: &str,
        key: &str,
        resource: &Resource,
        token: &Token,
    ) -> Parsed<()> {
        self.unique.claim(
            &format!("{what} section"),
            &format!("{}:{key}", resource.name),
            &token.position,
        )
    }

    fn item(&mut self, token: &Token, resource: &mut Resource) -> Parsed<()> {
        match token.text.as_str() {
            "protocol" => self.protocol(token, resource),
            "net" => {
                self.section_claim("net", "net", resource, token)?;
                self.option_section(Place::Net, &mut resource.net)
            }
            "disk" if self.lexer.peek()?.is("{") => {
                self.section_claim("disk", "disk", resource, token)?;
                self.option_section(Place::Disk, &mut resource.disk)
            }
            "options" => {
                self.section_claim("resource options", "res_options", resource, token)?;
                self.option_section(Place::Options, &mut resource.options)
            }
            "handlers" => {
                self.section_claim("handlers", "handlers", resource, token)?;
                self.option_section(Place::Handlers, &mut resource.handlers)
            }
            "syncer" => {
                self.section_claim("syncer", "syncer", resource, token)?;
                self.syncer(resource)
            }
            "startup" => {
                self.section_claim("startup", "startup", resource, token)?;
                self.startup(resource)
            }
            "proxy" => {
                self.section_claim("proxy", "proxy", resource, token)?;
                self.proxy_options(&mut resource.proxy)
            }
            "device" | "disk" | "meta-disk" | "flexible-meta-disk" | "volume" => {
                let names = [String::new()];
                let mut volumes = std::mem::take(&mut resource.volumes);
                let result = self.volume_statement(token, &names, false, &mut volumes);
                resource.volumes = volumes;
                result
            }
            "on" | "floating" | "stacked-on-top-of" => self.host(token, resource),
            "ignore-on" => self.ignore_on(token, resource),
            "_this_host" | "_remote_host" if self.running => {
                let kind = if token.text == "_this_host" {
                    HostKind::This
                } else {
                    HostKind::Remote
                };
                let section = HostSection::new(kind, Vec::new(), &token.position);
                self.host_body(section, resource)
            }
            _ => Err(self.no_item(token)),
        }
    }

    fn ignore_on(&mut self, token: &Token, resource: &Resource) -> Parsed<()> {
        self.name("a host name")?;
        self.mark(";")?;
        let text = format!(
            "'ignore-on' in resource {} has no effect any more",
            resource.name
        );
        self.diagnostics
            .push(Diagnostic::warning(&token.position, text));
        Ok(())
    }

    /// All host sections have to define the same volumes, in the same way.
    fn compare_hosts(&mut self, resource: &Resource, end: &crate::diagnostic::Position) {
        if self.running {
            return;
        }
        let mut problems: Vec<String> = Vec::new();
        for host in &resource.hosts {
            for pair in host.volumes.windows(2) {
                if pair[0].number == pair[1].number {
                    problems.push(format!(
                        "volume {} of {} is defined twice",
                        pair[0].number,
                        host.title()
                    ));
                }
            }
        }
        if let Some((first, others)) = resource.hosts.split_first() {
            for other in others {
                compare_volumes(first, other, &mut problems);
            }
        }
        for problem in problems {
            self.diagnostics.push(Diagnostic::error(
                end,
                format!("in resource {}: {problem}", resource.name),
            ));
        }
    }
}

fn compare_volumes(first: &HostSection, other: &HostSection, problems: &mut Vec<String>) {
    let (a, b) = (first.title(), other.title());
    for volume in &first.volumes {
        match other.volumes.iter().find(|v| v.number == volume.number) {
            None => problems.push(format!("volume {} is defined for {a} and not for {b}", volume.number)),
            Some(same) if same.implicit != volume.implicit => problems.push(format!(
                "volume {} is written without 'volume' for one of {a} and {b}, with it for the other",
                volume.number
            )),
            Some(_) => {}
        }
    }
    for volume in &other.volumes {
        if !first.volumes.iter().any(|v| v.number == volume.number) {
            problems.push(format!(
                "volume {} is defined for {b} and not for {a}",
                volume.number
            ));
        }
    }
}
