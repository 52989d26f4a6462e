// SPDX-License-Identifier: GPL-2.0
//! drbd.conf(5).

use super::about_options::find;
use super::roff::Page;
use drbd_config::options::{
    all, core_spec, OptionSpec, Place, Value, RENAMED, STARTUP_OWN, SYNCER,
};
use drbd_core::genl::attributes::{Kind, Spec, Unit};

const EXAMPLE: &str = "\
global { usage-count no; }
common {
    net { protocol C; }
}
resource r0 {
    net {
        cram-hmac-alg sha256;
        shared-secret \"choose-your-own\";
    }
    device    /dev/drbd0;
    disk      /dev/sdb1;
    meta-disk internal;
    on alice { address 10.0.0.1:7788; }
    on bob   { address 10.0.0.2:7788; }
}";

/// The page.
pub fn page() -> String {
    let mut page = Page::new("drbd.conf", 5, "configuration of DRBD");
    page.section("Description");
    page.text(
        "drbdadm(8) reads /etc/drbd.conf, which by custom includes /etc/drbd.d/global_common.conf and /etc/drbd.d/*.res. The files \
         are the same on both nodes. A faulty file is told with line and column, and nothing is done.",
    );
    page.example(EXAMPLE);
    page.section("Syntax");
    page.text(
        "A # begins a comment. A statement ends with a semicolon; a section is a keyword, for some a name, and statements in braces. \
         Values with blanks or special characters are put in quotes. A number may have one of the suffixes s (sectors of 512 bytes), K, \
         M, G, which multiply by powers of 1024. A switch is written NAME; or NAME yes; or NAME no;.",
    );
    page.section("Statements");
    for (term, rest, text) in STATEMENTS {
        page.item(term, rest, text);
    }
    for place in [
        Place::Net,
        Place::Disk,
        Place::Options,
        Place::Startup,
        Place::Handlers,
        Place::Global,
        Place::Proxy,
    ] {
        page.section(&format!("Section {}", place.name()));
        page.text(about_place(place));
        for option in all(place) {
            page.item(
                option.name,
                &value(place, &option),
                find(place, option.name).unwrap_or(""),
            );
            if let Some(words) = details(place, &option) {
                page.more(&words);
            }
        }
        if place == Place::Startup {
            for name in STARTUP_OWN {
                let rest = if *name == "become-primary-on" {
                    "HOST...|both"
                } else {
                    ""
                };
                page.item(name, rest, find(place, name).unwrap_or(""));
            }
        }
    }
    page.section("Older spellings");
    page.text(
        "Files of DRBD 8.3 are understood; drbdadm dump prints them in the present language.",
    );
    page.item(
        "protocol C;",
        "",
        "in a resource or in common: the net option.",
    );
    let moved: Vec<String> = SYNCER
        .iter()
        .map(|(old, place, new)| format!("{old} is {} {new}", place.name()))
        .collect();
    page.item("syncer { }", "", &format!("{}.", moved.join("; ")));
    for (place, old, new, fixed) in RENAMED {
        let fixed = fixed.map_or(String::new(), |word| format!(" {word}"));
        page.item(old, "", &format!("in {}: {new}{fixed}.", place.name()));
    }
    page.section("See also");
    page.text("drbdadm(8), drbdsetup(8)");
    page.finish()
}

const STATEMENTS: &[(&str, &str, &str)] = &[
    ("include", "FILE;", "Reads other files; wildcards are allowed. Relative to the file it stands in."),
    ("global", "{ }", "Settings of the tools, once."),
    ("common", "{ }", "Sections net, disk, options, startup, handlers and proxy for all resources; a resource may set its own values."),
    ("resource", "NAME { }", "What is mirrored: options, volumes and two hosts."),
    ("skip", "SECTION", "The section is read over."),
    ("on", "HOST... { }", "What belongs to the machine of that name (uname -n)."),
    ("floating", "ADDRESS { }", "The same for the machine that has this address."),
    ("stacked-on-top-of", "RESOURCE { }", "Mirrors the device of another resource to a third machine."),
    ("address", "[FAMILY] ADDRESS:PORT;", "Address of the machine: ipv4 or ipv6, the latter with the address in brackets."),
    ("volume", "NUMBER { }", "One of several devices of a resource; without it there is volume 0 alone."),
    ("device", "NAME [minor NUMBER];", "The DRBD device: /dev/drbdN, or /dev/drbd_NAME with a minor."),
    ("disk", "DISK;", "The backing disk."),
    ("meta-disk", "internal|DISK [INDEX];", "Where the metadata is: at the end of the disk, on a disk of its own, or in a slot there."),
    ("ignore-on", "HOST;", "Accepted, without effect."),
];

fn about_place(place: Place) -> &'static str {
    match place {
        Place::Net => "How the nodes talk to each other, and what happens when they disagree.",
        Place::Disk => "How the backing disks are used, and how fast they are resynchronised.",
        Place::Options => "The resource as a whole.",
        Place::Startup => "The start of the machine; used by the service drbd and by drbdadm wait-connect.",
        Place::Handlers => {
            "Programs that are run when something happens, by /bin/sh -c, with DRBD_RESOURCE, DRBD_MINOR, DRBD_VOLUME, DRBD_PEER and \
             others in the environment. Ready ones are in /usr/lib/drbd."
        }
        Place::Proxy => "A DRBD proxy between the nodes.",
        Place::Global => "The tools on this machine.",
    }
}

/// What stands behind the name.
fn value(place: Place, option: &OptionSpec) -> String {
    match core_spec(place, option.name).map(|spec| spec.kind) {
        Some(Kind::Enum(words)) => words
            .iter()
            .map(|(_, word)| *word)
            .collect::<Vec<_>>()
            .join("|"),
        _ => match option.value {
            Value::Text if place == Place::Handlers => "\"COMMAND\"".into(),
            Value::Text => "WORD".into(),
            Value::Bool => "[yes|no]".into(),
            Value::Number { .. } => "NUMBER".into(),
            Value::Protocol => "A|B|C".into(),
            Value::Flag => String::new(),
        },
    }
}

/// Unit, range and default.
fn details(place: Place, option: &OptionSpec) -> Option<String> {
    let spec = core_spec(place, option.name);
    let default = spec.and_then(default);
    let range = match (option.value, spec.map(|spec| spec.kind)) {
        (
            Value::Number {
                unit, least, most, ..
            },
            _,
        ) => {
            let unit = match unit {
                Unit::One => "",
                Unit::Sectors => " sectors of 512 bytes",
                Unit::Kib => " KiB",
                Unit::KibPerSecond => " KiB per second",
                Unit::Deciseconds => " tenths of a second",
                Unit::Seconds => " seconds",
                Unit::Bytes => " bytes",
            };
            Some(format!("{least} to {most}{unit}"))
        }
        _ => None,
    };
    match (range, default) {
        (Some(range), Some(default)) => Some(format!("Range: {range}. Default: {default}.")),
        (Some(range), None) => Some(format!("Range: {range}.")),
        (None, Some(default)) => Some(format!("Default: {default}.")),
        (None, None) => None,
    }
}

fn default(spec: &Spec) -> Option<String> {
    match spec.kind {
        Kind::Flag => Some(if spec.default != 0 { "yes" } else { "no" }.into()),
        Kind::Enum(words) => words
            .iter()
            .find(|(number, _)| u64::from(*number) == spec.default)
            .map(|(_, word)| (*word).to_string()),
        Kind::U32 | Kind::U64 => Some(spec.default.to_string()),
        Kind::S32 | Kind::Text(_) | Kind::Binary(_) => None,
    }
}
