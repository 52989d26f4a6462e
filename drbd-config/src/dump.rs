// SPDX-License-Identifier: GPL-2.0
//! Printing a configuration in its own language (config-and-cli.md section 7).

use crate::model::{Address, Config, Host, HostKind, MetaDisk, Options, Resource, Volume};
use std::fmt::Write;

/// Where a resource stands for this machine.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Name of this machine.
    pub host: String,
    /// No host section is about this machine.
    pub ignored: bool,
    /// It is stacked.
    pub stacked: bool,
}

fn pad(text: &mut String, level: usize) {
    text.push_str(&"    ".repeat(level));
}

/// Quotes a value where the language needs it.
pub fn quoted(value: &str) -> String {
    let plain = !value.is_empty()
        && value.len() <= 80
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    if plain {
        return value.into();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn named(text: &mut String, level: usize, name: &str, value: &str) {
    let width = 24usize.saturating_sub(4 * level);
    pad(text, level);
    let _ = writeln!(text, "{name:<width$} {value:>3};");
}

fn option_lines(text: &mut String, level: usize, options: &Options) {
    for option in options {
        match &option.value {
            Some(value) => named(text, level, &option.name, &quoted(value)),
            None => {
                pad(text, level);
                let _ = writeln!(text, "{};", option.name);
            }
        }
    }
}

fn section(text: &mut String, level: usize, name: &str, options: &Options) {
    if options.is_empty() {
        return;
    }
    pad(text, level);
    let _ = writeln!(text, "{name} {{");
    option_lines(text, level + 1, options);
    pad(text, level);
    text.push_str("}\n");
}

/// The global section; with `always` also when nothing is set.
pub fn global(config: &Config, always: bool) -> String {
    let mut text = String::new();
    let shown: Options = config.global.options.clone();
    if shown.is_empty() && !always {
        return text;
    }
    text.push_str("global {\n");
    let mut ordered = Options::new();
    for known in crate::options::GLOBAL.iter().filter(|k| k.name != "usage-count") {
        ordered.extend(shown.iter().filter(|o| o.name == known.name).cloned());
    }
    option_lines(&mut text, 1, &ordered);
    ordered.clear();
    ordered.extend(shown.iter().filter(|o| o.name == "usage-count").cloned());
    option_lines(&mut text, 1, &ordered);
    text.push_str("}\n\n");
    text
}

/// The common section.
pub fn common(config: &Config) -> String {
    let Some(common) = &config.common else { return String::new() };
    let mut text = String::from("common {\n");
    sections(&mut text, common);
    text.push_str("}\n\n");
    text
}

fn sections(text: &mut String, resource: &Resource) {
    section(text, 1, "options", &resource.options);
    section(text, 1, "net", &resource.net);
    section(text, 1, "disk", &resource.disk);
    startup(text, resource);
    proxy(text, 1, "proxy", &resource.proxy, &resource.plugin);
    section(text, 1, "handlers", &resource.handlers);
}

fn startup(text: &mut String, resource: &Resource) {
    if resource.startup.is_empty() && resource.become_primary_on.is_empty() && !resource.stacked_timeouts {
        return;
    }
    text.push_str("    startup {\n");
    option_lines(text, 2, &resource.startup);
    if resource.stacked_timeouts {
        text.push_str("        stacked-timeouts;\n");
    }
    if !resource.become_primary_on.is_empty() {
        let hosts: Vec<String> = resource.become_primary_on.iter().map(|h| quoted(h)).collect();
        let _ = writeln!(text, "        become-primary-on {};", hosts.join(" "));
    }
    text.push_str("    }\n");
}

fn proxy(text: &mut String, level: usize, name: &str, options: &Options, plugin: &[String]) {
    if options.is_empty() && plugin.is_empty() {
        return;
    }
    pad(text, level);
    let _ = writeln!(text, "{name} {{");
    option_lines(text, level + 1, options);
    if !plugin.is_empty() {
        pad(text, level + 1);
        text.push_str("plugin {\n");
        for line in plugin {
            pad(text, level + 2);
            let _ = writeln!(text, "{line};");
        }
        pad(text, level + 1);
        text.push_str("}\n");
    }
    pad(text, level);
    text.push_str("}\n");
}

/// A resource with its heading.
pub fn resource(resource: &Resource, file: &str, standing: &Standing) -> String {
    let not = |set: bool| if set { "" } else { "not " };
    let mut text = format!(
        "# resource {} on {}: {}ignored, {}stacked\n# defined at {file}:{}\n",
        resource.name,
        standing.host,
        not(standing.ignored),
        not(standing.stacked),
        resource.place.line
    );
    let _ = writeln!(text, "resource {} {{", quoted(&resource.name));
    for host in &resource.hosts {
        host_section(&mut text, host);
    }
    sections(&mut text, resource);
    text.push_str("}\n\n");
    text
}

fn host_section(text: &mut String, host: &Host) {
    match &host.kind {
        HostKind::On => {
            let names: Vec<String> = host.names.iter().map(|n| quoted(n)).collect();
            let _ = writeln!(text, "    on {} {{", names.join(" "));
        }
        HostKind::Floating => {
            let address = host.address.as_ref().map_or(String::new(), |a| format!("{} {a}", a.family));
            let _ = writeln!(text, "    floating {address} {{");
        }
        HostKind::Stacked(lower) => {
            let _ = writeln!(text, "    stacked-on-top-of {} {{", quoted(lower));
            let _ = writeln!(text, "        # on {} ", host.names.join(" "));
        }
    }
    section(text, 2, "options", &host.options);
    for volume in &host.volumes {
        if volume.implicit {
            volume_lines(text, 2, volume, host.is_stacked());
        } else {
            let _ = writeln!(text, "        volume {} {{", volume.number);
            volume_lines(text, 3, volume, host.is_stacked());
            text.push_str("        }\n");
        }
    }
    if let (Some(address), true) = (&host.address, host.kind != HostKind::Floating) {
        address_line(text, 2, "address", address);
    }
    if let Some(alternate) = &host.alternate {
        address_line(text, 2, "alternate-link-address", alternate);
    }
    if let Some(own) = &host.proxy {
        let _ = writeln!(text, "        proxy on {} {{", own.names.join(" "));
        if let Some(inside) = &own.inside {
            address_line(text, 3, "inside", inside);
        }
        if let Some(outside) = &own.outside {
            address_line(text, 3, "outside", outside);
        }
        proxy(text, 3, "options", &own.options, &own.plugin);
        text.push_str("        }\n");
    }
    text.push_str("    }\n");
}

fn address_line(text: &mut String, level: usize, name: &str, address: &Address) {
    pad(text, level);
    let _ = writeln!(text, "{name:<16} {} {address};", address.family);
}

fn volume_lines(text: &mut String, level: usize, volume: &Volume, stacked: bool) {
    section(text, level, "disk", &volume.disk_options);
    let minor = volume.minor.map_or(String::new(), |m| format!("minor {m}"));
    let device = match &volume.device {
        Some(name) => format!("{} {minor}", quoted(name)),
        None => minor,
    };
    named(text, level, "device", &device);
    if stacked {
        return;
    }
    if let Some(disk) = &volume.disk {
        named(text, level, "disk", &quoted(disk));
    }
    match &volume.meta {
        Some(MetaDisk::Internal) => named(text, level, "meta-disk", "internal"),
        Some(MetaDisk::Flexible(path)) => {
            pad(text, level);
            let _ = writeln!(text, "{:<16} {};", "meta-disk", quoted(path));
        }
        Some(MetaDisk::Indexed(path, slot)) => {
            pad(text, level);
            let _ = writeln!(text, "{:<16} {} [{slot}];", "meta-disk", quoted(path));
        }
        None => {}
    }
}
