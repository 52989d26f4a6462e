// SPDX-License-Identifier: GPL-2.0
//! Configurations as text, byte for byte as `drbdadm dump` writes them (config-and-cli.md section 7).

use crate::diagnostic::absolute;
use crate::lexer::{Kind, Lexer};
use crate::model::{
    Config, Global, HostKind, HostSection, MetaIndex, ProxyHost, ProxyOptions, Resource, Section,
    UsageCount, Volume,
};
use std::fmt::Write;

/// Width of the name column of addresses and external metadata.
const WIDE: usize = 16;
/// Longest text that needs no quotes.
const PLAIN_MAX: usize = 80;

/// A word as it has to be written in a file: quoted when it is empty, long, or has other than word characters.
pub fn escape(text: &str) -> String {
    let plain = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if plain && !text.is_empty() && text.len() <= PLAIN_MAX {
        return text.to_string();
    }
    quote(text)
}

/// What the language takes a bare word for; `None`: more than one thing, or nothing.
fn kind(text: &str) -> Option<Kind> {
    let mut lexer = Lexer::new("", text.into(), 1);
    let token = lexer.take().ok().filter(|token| token.text == text)?;
    Some(token.kind)
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The same for a name: quoted too when the language takes the word for something else.
pub fn name(text: &str) -> String {
    match kind(text) {
        Some(Kind::Word) => escape(text),
        _ => quote(text),
    }
}

fn escape_all(words: &[String]) -> String {
    words
        .iter()
        .map(|word| name(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Collects lines with their indentation.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, level: usize, text: &str) {
        let _ = writeln!(self.text, "{:width$}{text}", "", width = 4 * level);
    }

    fn pair(&mut self, level: usize, name: &str, value: &str) {
        let width = 24usize.saturating_sub(4 * level);
        self.line(level, &format!("{name:<width$} {value:>3};"));
    }

    fn settings(&mut self, level: usize, section: &Section) {
        for setting in &section.settings {
            match &setting.value {
                Some(value) => self.pair(level, &setting.name, &escape(value)),
                None => self.line(level, &format!("{};", setting.name)),
            }
        }
    }

    fn section(&mut self, level: usize, name: &str, section: &Section) {
        if !section.is_empty() {
            self.line(level, &format!("{name} {{"));
            self.settings(level + 1, section);
            self.line(level, "}");
        }
    }

    fn address(&mut self, level: usize, name: &str, address: Option<&crate::Address>) {
        if let Some(address) = address {
            self.line(
                level,
                &format!("{name:<WIDE$} {} {};", address.family, address.host_port()),
            );
        }
    }

    fn proxy_options(&mut self, level: usize, name: &str, proxy: &ProxyOptions) {
        if proxy.is_empty() {
            return;
        }
        self.line(level, &format!("{name} {{"));
        self.settings(level + 1, &proxy.section);
        if !proxy.plugins.is_empty() {
            self.line(level + 1, "plugin {");
            for plugin in &proxy.plugins {
                self.line(level + 2, &format!("{plugin};"));
            }
            self.line(level + 1, "}");
        }
        self.line(level, "}");
    }

    fn volume_body(&mut self, level: usize, volume: &Volume, stacked: bool) {
        if !stacked {
            self.section(level, "disk", &volume.disk_options);
        }
        if let Some(device) = &volume.device {
            let name = device
                .name
                .as_ref()
                .map_or_else(String::new, |name| format!("{} ", escape(name)));
            self.pair(level, "device", &format!("{name}minor {}", device.minor));
        }
        if stacked {
            return;
        }
        if let Some(disk) = &volume.disk {
            self.pair(level, "disk", &escape(&disk.text));
        }
        let Some(meta) = &volume.meta_disk else {
            return;
        };
        match &meta.index {
            MetaIndex::Internal => self.pair(level, "meta-disk", "internal"),
            MetaIndex::Flexible => self.line(
                level,
                &format!("{:<WIDE$} {};", "meta-disk", escape(&meta.path)),
            ),
            MetaIndex::Slot(slot) => {
                self.line(
                    level,
                    &format!("{:<WIDE$} {} [{slot}];", "meta-disk", escape(&meta.path)),
                );
            }
        }
    }

    fn volume(&mut self, level: usize, volume: &Volume, stacked: bool) {
        if volume.implicit {
            self.volume_body(level, volume, stacked);
            return;
        }
        self.line(level, &format!("volume {} {{", volume.number));
        self.volume_body(level + 1, volume, stacked);
        self.line(level, "}");
    }

    fn host(&mut self, host: &HostSection) {
        let floating = host.kind == HostKind::Floating;
        let head = match &host.kind {
            HostKind::StackedOn(lower) => format!("stacked-on-top-of {}", name(lower)),
            HostKind::Floating => match &host.address {
                Some(address) => format!("floating {} {}", address.family, address.host_port()),
                None => "floating".into(),
            },
            _ => format!("on {}", escape_all(&host.names)),
        };
        self.line(1, &format!("{head} {{"));
        let stacked = host.stacked_on().is_some();
        if stacked {
            let names: String = host.names.iter().map(|name| format!("{name} ")).collect();
            self.line(2, &format!("# on {names}"));
        }
        self.section(2, "options", &host.options);
        for volume in &host.volumes {
            self.volume(2, volume, stacked);
        }
        if !floating {
            self.address(2, "address", host.address.as_ref());
        }
        self.address(2, "alternate-link-address", host.alternate.as_ref());
        if let Some(proxy) = &host.proxy {
            self.proxy(proxy);
        }
        self.line(1, "}");
    }

    fn proxy(&mut self, proxy: &ProxyHost) {
        self.line(2, &format!("proxy on {} {{", escape_all(&proxy.names)));
        self.address(3, "inside", proxy.inside.as_ref());
        self.address(3, "outside", proxy.outside.as_ref());
        self.proxy_options(3, "options", &proxy.options);
        self.line(2, "}");
    }

    fn startup(&mut self, resource: &Resource) {
        if resource.startup.is_empty()
            && resource.become_primary_on.is_empty()
            && !resource.stacked_timeouts
        {
            return;
        }
        self.line(1, "startup {");
        self.settings(2, &resource.startup);
        if !resource.become_primary_on.is_empty() {
            self.pair(
                2,
                "become-primary-on",
                &escape_all(&resource.become_primary_on),
            );
        }
        if resource.stacked_timeouts {
            self.line(2, "stacked-timeouts;");
        }
        self.line(1, "}");
    }

    fn sections(&mut self, resource: &Resource) {
        self.section(1, "options", &resource.options);
        self.section(1, "net", &resource.net);
        self.section(1, "disk", &resource.disk);
        self.startup(resource);
        self.proxy_options(1, "proxy", &resource.proxy);
        self.section(1, "handlers", &resource.handlers);
    }
}

/// The first line of a dump.
pub fn header(config: &Config) -> String {
    format!("# {}\n", absolute(&config.main_file))
}

/// `global { }`, empty text when everything is at its default and `always` is not set.
pub fn global(global: &Global, always: bool) -> String {
    let mut page = Page::default();
    let numbers = [
        ("minor-count", global.minor_count),
        ("dialog-refresh", global.dialog_refresh_seconds),
    ];
    let timeouts = [
        ("cmd-timeout-short", global.timeout_short_seconds),
        ("cmd-timeout-medium", global.timeout_medium_seconds),
        ("cmd-timeout-long", global.timeout_long_seconds),
    ];
    if global.disable_ip_verification {
        page.line(1, "disable-ip-verification;");
    }
    for (name, value) in numbers {
        if let Some(value) = value {
            page.line(1, &format!("{name} {value};"));
        }
    }
    match global.usage_count {
        UsageCount::No => page.line(1, "usage-count no;"),
        UsageCount::Yes => page.line(1, "usage-count yes;"),
        UsageCount::Ask if always => page.line(1, "usage-count ask;"),
        UsageCount::Ask => {}
    }
    for (name, value) in timeouts {
        if let Some(value) = value {
            page.line(1, &format!("{name} {value};"));
        }
    }
    match page.text.is_empty() && !always {
        true => String::new(),
        false => format!("global {{\n{}}}\n\n", page.text),
    }
}

/// `common { }`.
pub fn common(common: &Resource) -> String {
    let mut page = Page::default();
    page.line(0, "common {");
    page.sections(common);
    page.line(0, "}");
    page.text.push('\n');
    page.text
}

/// A resource with the two remarks in front.
pub fn resource(resource: &Resource, node: &str, ignored: bool, stacked: bool) -> String {
    let mut page = Page::default();
    let not = |is: bool| if is { "" } else { "not " };
    let name = name(&resource.name);
    page.line(
        0,
        &format!(
            "# resource {name} on {node}: {}ignored, {}stacked",
            not(ignored),
            not(stacked)
        ),
    );
    page.line(0, &format!("# defined at {}", resource.position.absolute()));
    page.line(0, &format!("resource {name} {{"));
    for host in &resource.hosts {
        page.host(host);
    }
    page.sections(resource);
    page.line(0, "}");
    page.text.push('\n');
    page.text
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn words_are_quoted_when_the_parser_needs_it() {
        assert_eq!(escape("/dev/sda7"), "/dev/sda7");
        assert_eq!(escape("my data"), "\"my data\"");
        assert_eq!(escape(""), "\"\"");
        assert_eq!(escape("a\"b\\c"), "\"a\\\"b\\\\c\"");
        assert_eq!(escape(&"x".repeat(81)), format!("\"{}\"", "x".repeat(81)));
    }
}
