// SPDX-License-Identifier: GPL-2.0
//! `on`, `floating`, `stacked-on-top-of`, addresses and `proxy on`.

use super::{near, Parsed, Parser};
use crate::address::Address;
use crate::diagnostic::{Diagnostic, Position};
use crate::lexer::{Kind, Token};
use crate::model::{HostKind, HostSection, ProxyHost, ProxyOptions, Resource};
use crate::options::Place;

const HOST_ITEMS: &[&str] = &[
    "device",
    "disk",
    "meta-disk",
    "flexible-meta-disk",
    "address",
    "alternate-link-address",
    "volume",
    "options",
    "proxy",
];
const STACKED_ITEMS: &[&str] = &[
    "device",
    "volume",
    "address",
    "alternate-link-address",
    "proxy",
];

impl Parser {
    /// A host section behind its keyword.
    pub(super) fn host(&mut self, keyword: &Token, resource: &mut Resource) -> Parsed<()> {
        let at = &keyword.position;
        let section = match keyword.text.as_str() {
            "on" => {
                let names = self.host_names()?;
                for name in &names {
                    self.unique.claim(
                        "host section",
                        &format!("{}: on {name}", resource.name),
                        at,
                    )?;
                }
                HostSection::new(HostKind::Named, names, at)
            }
            "floating" => {
                let address = self.address(None)?;
                self.claim_address(&address, "")?;
                let name = address.floating_name();
                let mut section = HostSection::new(HostKind::Floating, vec![name], at);
                section.address = Some(address);
                section
            }
            _ => {
                let lower = self.name("a resource name")?;
                self.unique.claim(
                    "stacked section",
                    &format!("{}:stacked:{}", resource.name, lower.text),
                    at,
                )?;
                HostSection::new(HostKind::StackedOn(lower.text), Vec::new(), at)
            }
        };
        if section.kind == HostKind::Floating && self.lexer.peek()?.is(";") {
            let end = self.lexer.take()?.position;
            return self.finish_host(section, resource, &end);
        }
        if section.kind != HostKind::Named {
            self.mark("{")?;
        }
        self.host_items(section, resource)
    }

    /// `{ ... }` of a host section that has no names.
    pub(super) fn host_body(
        &mut self,
        section: HostSection,
        resource: &mut Resource,
    ) -> Parsed<()> {
        self.mark("{")?;
        self.host_items(section, resource)
    }

    /// One name or more, and the `{`.
    fn host_names(&mut self) -> Parsed<Vec<String>> {
        let mut names = vec![self.name("a host name")?.text];
        loop {
            let token = self.lexer.take()?;
            if token.is("{") {
                return Ok(names);
            }
            if !token.is_name() {
                return Err(self.wanted(&token, "a host name or '{'"));
            }
            names.push(token.text);
        }
    }

    fn host_items(&mut self, mut section: HostSection, resource: &mut Resource) -> Parsed<()> {
        loop {
            let token = self.lexer.take()?;
            if token.is("}") {
                return self.finish_host(section, resource, &token.position);
            }
            let known = if section.stacked_on().is_some() {
                STACKED_ITEMS
            } else {
                HOST_ITEMS
            };
            if token.kind != Kind::Keyword || !known.contains(&token.text.as_str()) {
                let what = if section.stacked_on().is_some() {
                    "stacked section"
                } else {
                    "host section"
                };
                let text = format!(
                    "expected a statement of a {what} ({}), found {}{}",
                    known.join(", "),
                    token.shown(),
                    near(&token, known)
                );
                return Err(Diagnostic::error(&token.position, text));
            }
            self.host_item(&token, &mut section, resource)?;
        }
    }

    fn host_item(
        &mut self,
        token: &Token,
        section: &mut HostSection,
        resource: &Resource,
    ) -> Parsed<()> {
        let key = |what: &str, section: &HostSection| {
            format!("{}:{}:{what}", resource.name, section.title())
        };
        match token.text.as_str() {
            "address" => {
                if section.kind == HostKind::Floating {
                    let text = "a floating section has its address in front of the brace";
                    return Err(Diagnostic::error(&token.position, text));
                }
                self.unique.claim(
                    "address statement",
                    &key("address", section),
                    &token.position,
                )?;
                let address = self.address(Some(token))?;
                self.mark(";")?;
                let owner = section.names.first().unwrap_or(&resource.name);
                self.claim_address(&address, owner)?;
                section.address = Some(address);
            }
            "alternate-link-address" => {
                self.unique.claim(
                    "alternate address statement",
                    &key("alt-address", section),
                    &token.position,
                )?;
                section.alternate = Some(self.address(Some(token))?);
                self.mark(";")?;
            }
            "options" => self.option_section(Place::Options, &mut section.options)?,
            "proxy" => section.proxy = Some(self.proxy_host(token)?),
            _ => {
                let stacked = section.stacked_on().is_some();
                let names = section.names.clone();
                self.volume_statement(token, &names, stacked, &mut section.volumes)?;
            }
        }
        Ok(())
    }

    fn claim_address(&mut self, address: &Address, host: &str) -> Parsed<()> {
        let key = match address.is_loopback() && !host.is_empty() {
            true => format!("{host}:{}", address.host_port()),
            false => address.host_port(),
        };
        self.unique.claim("IP", &key, &address.position)
    }

    /// `[family] A:PORT`; the position is that of the statement.
    fn address(&mut self, statement: Option<&Token>) -> Parsed<Address> {
        let mut token = self.lexer.take()?;
        let position = statement.map_or_else(|| token.position.clone(), |s| s.position.clone());
        let mut family = String::from("ipv4");
        if token.kind == Kind::Keyword
            && ["ipv4", "ipv6", "sdp", "ssocks", "sci"].contains(&token.text.as_str())
        {
            family = if token.text == "sci" {
                "ssocks".into()
            } else {
                token.text
            };
            if family == "ipv6" {
                self.mark("[")?;
            }
            token = self.lexer.take()?;
        } else if token.kind != Kind::Ipv4 {
            let text = format!(
                "expected an IPv4 address or one of ipv4, ipv6, sdp, ssocks; found {}",
                token.shown()
            );
            return Err(Diagnostic::error(&token.position, text));
        }
        let (wanted, what) = if family == "ipv6" {
            (Kind::Ipv6, "an IPv6 address")
        } else {
            (Kind::Ipv4, "an IPv4 address")
        };
        if token.kind != wanted {
            return Err(self.wanted(&token, what));
        }
        if family == "ipv6" {
            self.mark("]")?;
        }
        self.mark(":")?;
        let port = self.plain_number("port", 1, 65_535)?;
        Ok(Address {
            family,
            host: token.text,
            port,
            position,
        })
    }

    /// `on HOST... { inside ...; outside ...; options { } }`
    fn proxy_host(&mut self, keyword: &Token) -> Parsed<ProxyHost> {
        let on = self.lexer.take()?;
        if !on.is("on") {
            return Err(self.wanted(&on, "'on'"));
        }
        let names = self.host_names()?;
        let position = keyword.position.clone();
        let mut proxy = ProxyHost {
            names,
            inside: None,
            outside: None,
            options: ProxyOptions::default(),
            position,
        };
        loop {
            let token = self.lexer.take()?;
            match token.text.as_str() {
                "}" if token.is("}") => break,
                "inside" if token.is("inside") => proxy.inside = Some(self.address(Some(&token))?),
                "outside" if token.is("outside") => {
                    proxy.outside = Some(self.address(Some(&token))?)
                }
                "options" if token.is("options") => {
                    self.proxy_options(&mut proxy.options)?;
                    continue;
                }
                _ => return Err(self.unexpected(&token, &["inside", "outside", "options"])),
            }
            self.mark(";")?;
        }
        for (missing, what) in [
            (proxy.inside.is_none(), "inside"),
            (proxy.outside.is_none(), "outside"),
        ] {
            if missing {
                let text = format!(
                    "the proxy section of {} has no '{what}' statement",
                    proxy.names.join(" ")
                );
                self.diagnostics
                    .push(Diagnostic::error(&proxy.position, text));
            }
        }
        Ok(proxy)
    }

    /// Inherits the volume statements written so far, looks for what is missing, and adds the section.
    fn finish_host(
        &mut self,
        mut section: HostSection,
        resource: &mut Resource,
        end: &Position,
    ) -> Parsed<()> {
        if !self.running {
            self.inherit_volumes(&mut section, resource)?;
            self.claim_meta_disks(&section, end)?;
            self.missing_statements(&section, resource);
        }
        section.volumes.sort_by_key(|volume| volume.number);
        resource.hosts.push(section);
        Ok(())
    }

    fn missing_statements(&mut self, section: &HostSection, resource: &Resource) {
        let mut missing: Vec<(&str, String)> = Vec::new();
        for volume in &section.volumes {
            let of = if volume.implicit {
                String::new()
            } else {
                format!(" for volume {}", volume.number)
            };
            if volume.device.is_none() {
                missing.push(("device", of.clone()));
            }
            if section.stacked_on().is_none() {
                if volume.disk.is_none() {
                    missing.push(("disk", of.clone()));
                }
                if volume.meta_disk.is_none() {
                    missing.push(("meta-disk", of));
                }
            }
        }
        if section.address.is_none() {
            missing.push(("address", String::new()));
        }
        for (keyword, of) in missing {
            let title = section
                .stacked_on()
                .map_or_else(|| section.title(), |lower| format!("top of {lower}"));
            let text = format!(
                "in resource {}, on {title}: there is no '{keyword}' statement{of}",
                resource.name
            );
            self.diagnostics
                .push(Diagnostic::error(&section.position, text));
        }
    }
}
