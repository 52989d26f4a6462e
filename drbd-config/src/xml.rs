// SPDX-License-Identifier: GPL-2.0
//! Configurations as XML, byte for byte as `drbdadm dump-xml` writes them (config-and-cli.md section 7).

use crate::address::Address;
use crate::diagnostic::absolute;
use crate::model::{
    Config, HostKind, HostSection, MetaIndex, ProxyHost, ProxyOptions, Resource, Section, Setting,
    Volume,
};
use std::fmt::Write;

/// A text with the five special characters replaced.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

#[derive(Debug, Default)]
struct Page {
    text: String,
    level: usize,
}

impl Page {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{:width$}{text}", "", width = 4 * self.level);
    }

    /// `<open>` ... `</name>` around what `body` writes.
    fn element(&mut self, open: &str, body: impl FnOnce(&mut Self)) {
        self.line(&format!("<{open}>"));
        self.level += 1;
        body(self);
        self.level -= 1;
        let name = open.split(' ').next().unwrap_or("");
        self.line(&format!("</{name}>"));
    }

    fn setting(&mut self, setting: &Setting) {
        let value = setting
            .value
            .as_ref()
            .map_or_else(String::new, |value| format!(" value=\"{}\"", escape(value)));
        self.line(&format!(
            "<option name=\"{}\"{value}/>",
            escape(&setting.name)
        ));
    }

    fn section(&mut self, name: &str, section: &Section) {
        if section.is_empty() {
            return;
        }
        self.element(&format!("section name=\"{name}\""), |page| {
            section.settings.iter().for_each(|s| page.setting(s))
        });
    }

    fn address(&mut self, name: &str, address: Option<&Address>) {
        if let Some(address) = address {
            let Address {
                family, host, port, ..
            } = address;
            self.line(&format!(
                "<{name} family=\"{family}\" port=\"{port}\">{}</{name}>",
                escape(host)
            ));
        }
    }

    fn volume(&mut self, volume: &Volume) {
        self.element(&format!("volume vnr=\"{}\"", volume.number), |page| {
            page.section("disk", &volume.disk_options);
            if let Some(device) = &volume.device {
                let name = escape(device.name.as_deref().unwrap_or(""));
                page.line(&format!(
                    "<device minor=\"{}\">{name}</device>",
                    device.minor
                ));
            }
            if let Some(disk) = &volume.disk {
                page.line(&format!("<disk>{}</disk>", escape(&disk.text)));
            }
            if let Some(meta) = &volume.meta_disk {
                let index = match &meta.index {
                    MetaIndex::Slot(slot) => format!(" index=\"{slot}\""),
                    _ => String::new(),
                };
                page.line(&format!(
                    "<meta-disk{index}>{}</meta-disk>",
                    escape(&meta.path)
                ));
            }
        });
    }

    fn host(&mut self, host: &HostSection) {
        let open = match host.kind {
            HostKind::Floating => "host floating=\"1\"".to_string(),
            _ => format!("host name=\"{}\"", escape(&host.title())),
        };
        self.element(&open, |page| {
            page.section("options", &host.options);
            host.volumes.iter().for_each(|volume| page.volume(volume));
            page.address("address", host.address.as_ref());
            if let Some(proxy) = &host.proxy {
                page.proxy(proxy);
            }
        });
    }

    fn proxy(&mut self, proxy: &ProxyHost) {
        self.element(
            &format!("proxy hostname=\"{}\"", escape(&proxy.names.join(" "))),
            |page| {
                page.address("inside", proxy.inside.as_ref());
                page.address("outside", proxy.outside.as_ref());
                page.proxy_options("options", &proxy.options);
            },
        );
    }

    fn proxy_options(&mut self, name: &str, proxy: &ProxyOptions) {
        if proxy.is_empty() {
            return;
        }
        self.element(&format!("section name=\"{name}\""), |page| {
            proxy
                .section
                .settings
                .iter()
                .for_each(|setting| page.setting(setting));
            if !proxy.plugins.is_empty() {
                page.element("section name=\"plugin\"", |page| {
                    for plugin in &proxy.plugins {
                        page.line(&format!("<option name=\"{}\"/>", escape(plugin)));
                    }
                });
            }
        });
    }

    fn startup(&mut self, resource: &Resource) {
        let mut section = resource.startup.clone();
        let mut add = |name: &str, value: Option<String>| {
            section.settings.push(Setting {
                name: name.into(),
                value,
                position: resource.position.clone(),
            });
        };
        if !resource.become_primary_on.is_empty() {
            add(
                "become-primary-on",
                Some(resource.become_primary_on.join(" ")),
            );
        }
        if resource.stacked_timeouts {
            add("stacked-timeouts", None);
        }
        self.section("startup", &section);
    }

    fn sections(&mut self, resource: &Resource) {
        self.section("options", &resource.options);
        self.section("net", &resource.net);
        self.section("disk", &resource.disk);
        self.startup(resource);
        self.proxy_options("proxy", &resource.proxy);
        self.section("handlers", &resource.handlers);
    }

    fn resource(&mut self, resource: &Resource) {
        let (name, place) = (
            escape(&resource.name),
            escape(&resource.position.absolute()),
        );
        self.element(
            &format!("resource name=\"{name}\" conf-file-line=\"{place}\""),
            |page| {
                resource.hosts.iter().for_each(|host| page.host(host));
                page.sections(resource);
            },
        );
    }

    fn global(&mut self, config: &Config) {
        let global = &config.global;
        let (count, refresh) = (global.minor_count, global.dialog_refresh_seconds);
        if !global.disable_ip_verification && count.is_none() && refresh.is_none() {
            return;
        }
        self.element("global", |page| {
            if global.disable_ip_verification {
                page.line("<disable-ip-verification/>");
            }
            if let Some(count) = count {
                page.line(&format!("<minor-count count=\"{count}\"/>"));
            }
            if let Some(refresh) = refresh {
                page.line(&format!("<dialog-refresh refresh=\"{refresh}\"/>"));
            }
        });
    }
}

/// The whole configuration.
pub fn config(config: &Config) -> String {
    let mut page = Page::default();
    page.element(
        &format!("config file=\"{}\"", escape(&absolute(&config.main_file))),
        |page| {
            page.global(config);
            if let Some(common) = &config.common {
                page.element("common", |page| page.sections(common));
            }
            config
                .resources
                .iter()
                .for_each(|resource| page.resource(resource));
        },
    );
    page.text
}

/// One resource.
pub fn resource(resource: &Resource) -> String {
    let mut page = Page::default();
    page.resource(resource);
    page.text
}
