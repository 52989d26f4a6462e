// SPDX-License-Identifier: GPL-2.0
//! Sections full of options, and the values of options.

use super::{near, Parsed, Parser};
use crate::diagnostic::Diagnostic;
use crate::lexer::{Kind, Token};
use crate::model::{ProxyOptions, Resource, Section, Setting};
use crate::options::{self, Place, Value};

/// Names, for messages, of everything that may begin a statement of a section.
fn known_names(place: Place) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = options::all(place).iter().map(|spec| spec.name).collect();
    if place == Place::Startup {
        names.extend(options::STARTUP_OWN);
    }
    names
}

impl Parser {
    /// `{ option... }` of a plain section.
    pub(super) fn option_section(&mut self, place: Place, section: &mut Section) -> Parsed<()> {
        self.mark("{")?;
        loop {
            let token = self.lexer.take()?;
            if token.is("}") {
                return Ok(());
            }
            self.option_line(place, &token, section)?;
        }
    }

    /// One option up to its `;`.
    pub(super) fn option_line(
        &mut self,
        place: Place,
        token: &Token,
        section: &mut Section,
    ) -> Parsed<()> {
        if token.kind == Kind::Keyword && options::FORGOTTEN.contains(&token.text.as_str()) {
            self.option_value()?;
            self.mark(";")?;
            return Ok(());
        }
        if self.running && token.text == "discard-my-data" {
            while !self.lexer.take()?.is(";") {}
            return Ok(());
        }
        let renamed = options::RENAMED
            .iter()
            .find(|(at, old, _, _)| *at == place && *old == token.text);
        if let Some((_, _, new, Some(value))) = renamed.filter(|_| token.kind == Kind::Keyword) {
            self.mark(";")?;
            self.add(section, new, Some((*value).into()), token);
            return Ok(());
        }
        let name = renamed.map_or(token.text.as_str(), |(_, _, new, _)| new);
        if token.kind != Kind::Keyword || options::find(place, name).is_none() {
            return Err(self.no_option(place, token));
        }
        self.named_option(place, name, token, section)
    }

    fn no_option(&self, place: Place, token: &Token) -> Diagnostic {
        let known = known_names(place);
        let elsewhere = [
            Place::Net,
            Place::Disk,
            Place::Options,
            Place::Startup,
            Place::Handlers,
        ]
        .into_iter()
        .find(|other| *other != place && options::find(*other, &token.text).is_some());
        let hint = match elsewhere.filter(|_| token.kind == Kind::Keyword) {
            Some(other) => format!(" (it belongs into the {} section)", other.name()),
            None => near(token, &known),
        };
        let text = format!(
            "expected an option of the {} section, found {}{hint}",
            place.name(),
            token.shown()
        );
        Diagnostic::error(&token.position, text)
    }

    /// The value and `;` of an option with that present name.
    fn named_option(
        &mut self,
        place: Place,
        name: &str,
        token: &Token,
        section: &mut Section,
    ) -> Parsed<()> {
        let Some(spec) = options::find(place, name) else {
            return Err(self.no_option(place, token));
        };
        let value = match spec.value {
            Value::Flag => None,
            Value::Bool => Some(self.bool_value()?),
            Value::Text => Some(self.option_value()?.text),
            Value::Number {
                unit,
                least,
                most,
                checked,
            } => {
                let value = self.option_value()?;
                if checked && !self.running {
                    self.checked_number(token, &value, unit, least, most)?;
                }
                Some(value.text)
            }
            Value::Protocol => Some(self.protocol_value()?),
        };
        if spec.value == Value::Bool && value.as_deref() == Some("") {
            self.add(section, spec.name, Some("yes".into()), token);
            return Ok(());
        }
        self.mark(";")?;
        self.add(section, spec.name, value, token);
        Ok(())
    }

    fn add(&self, section: &mut Section, name: &str, value: Option<String>, token: &Token) {
        section.settings.push(Setting {
            name: name.into(),
            value,
            position: token.position.clone(),
        });
    }

    /// `yes`, `no`, or nothing behind which the `;` was taken.
    fn bool_value(&mut self) -> Parsed<String> {
        let token = self.lexer.take()?;
        if token.is(";") {
            return Ok(String::new());
        }
        if token.is("yes") || token.is("no") {
            return Ok(token.text);
        }
        Err(self.unexpected(&token, &["yes", "no", ";"]))
    }

    /// A word, a number, a quoted text, or the keyword `on`.
    pub(super) fn option_value(&mut self) -> Parsed<Token> {
        let token = self.lexer.take()?;
        match token.kind {
            Kind::Word | Kind::Quoted | Kind::Number => Ok(token),
            Kind::Keyword if token.text == "on" => Ok(token),
            _ => Err(self.wanted(&token, "a value")),
        }
    }

    /// `A`, `B` or `C`.
    pub(super) fn protocol_value(&mut self) -> Parsed<String> {
        let token = self.option_value()?;
        let upper = token.text.to_ascii_uppercase();
        if ["A", "B", "C"].contains(&upper.as_str()) {
            return Ok(upper);
        }
        let text = format!(
            "protocol '{}' does not exist: expected A, B or C",
            token.text
        );
        self.diagnostics
            .push(Diagnostic::error(&token.position, text));
        Ok(token.text)
    }

    /// `protocol X;`
    pub(super) fn protocol(&mut self, keyword: &Token, resource: &mut Resource) -> Parsed<()> {
        self.unique.claim(
            "protocol statement",
            &format!("{}: protocol", resource.name),
            &keyword.position,
        )?;
        let value = self.protocol_value()?;
        self.mark(";")?;
        let mut net = std::mem::take(&mut resource.net);
        self.add(&mut net, "protocol", Some(value), keyword);
        resource.net = net;
        Ok(())
    }

    /// The 8.3 `syncer` section: every option goes where it lives now.
    pub(super) fn syncer(&mut self, resource: &mut Resource) -> Parsed<()> {
        self.mark("{")?;
        loop {
            let token = self.lexer.take()?;
            if token.is("}") {
                return Ok(());
            }
            let found = options::SYNCER
                .iter()
                .find(|(old, _, _)| *old == token.text && token.kind == Kind::Keyword);
            let Some((_, place, name)) = found else {
                let known: Vec<&str> = options::SYNCER.iter().map(|(old, _, _)| *old).collect();
                let text = format!(
                    "expected an option of the syncer section, found {}{}",
                    token.shown(),
                    near(&token, &known)
                );
                return Err(Diagnostic::error(&token.position, text));
            };
            let mut section = Section::default();
            self.named_option(*place, name, &token, &mut section)?;
            let target = match place {
                Place::Net => &mut resource.net,
                Place::Disk => &mut resource.disk,
                _ => &mut resource.options,
            };
            target.settings.append(&mut section.settings);
        }
    }

    /// `startup { }`.
    pub(super) fn startup(&mut self, resource: &mut Resource) -> Parsed<()> {
        self.mark("{")?;
        let mut section = std::mem::take(&mut resource.startup);
        loop {
            let token = self.lexer.take()?;
            if token.is("}") {
                resource.startup = section;
                return Ok(());
            } else if token.is("stacked-timeouts") {
                self.mark(";")?;
                resource.stacked_timeouts = true;
            } else if token.is("become-primary-on") {
                resource.become_primary_on = self.words_until_semicolon()?;
            } else {
                self.option_line(Place::Startup, &token, &mut section)?;
            }
        }
    }

    fn words_until_semicolon(&mut self) -> Parsed<Vec<String>> {
        let mut words = vec![self.name("a host name")?.text];
        loop {
            let token = self.lexer.take()?;
            if token.is(";") {
                return Ok(words);
            }
            if !token.is_name() {
                return Err(self.wanted(&token, "a host name or ';'"));
            }
            words.push(token.text);
        }
    }

    /// `proxy { }` with `plugin { }`.
    pub(super) fn proxy_options(&mut self, proxy: &mut ProxyOptions) -> Parsed<()> {
        self.mark("{")?;
        loop {
            let token = self.lexer.take()?;
            if token.is("}") {
                return Ok(());
            } else if token.is("plugin") {
                self.plugin(proxy)?;
            } else {
                self.option_line(Place::Proxy, &token, &mut proxy.section)?;
            }
        }
    }

    fn plugin(&mut self, proxy: &mut ProxyOptions) -> Parsed<()> {
        self.mark("{")?;
        let mut words: Vec<String> = Vec::new();
        loop {
            let token = self.lexer.take()?;
            match token.kind {
                Kind::Mark if token.text == "}" && words.is_empty() => return Ok(()),
                Kind::Mark if token.text == ";" => {
                    proxy.plugins.push(std::mem::take(&mut words).join(" "))
                }
                Kind::Word | Kind::Quoted | Kind::Number | Kind::Keyword => words.push(token.text),
                _ => return Err(self.wanted(&token, "a word of a plugin line")),
            }
        }
    }
}
