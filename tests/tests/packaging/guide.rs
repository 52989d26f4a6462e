// SPDX-License-Identifier: GPL-2.0
//! `docs/admin-guide.md` names what exists (issue 4, "Done when"): its configuration is accepted, its files are installed, its
//! cluster uses the agent's parameters. That its commands exist is tested beside the tables of the tools.

use crate::bed::packaging;
use std::fs;

/// A fenced block: what stands behind the language, and the text.
fn blocks(language: &str) -> Vec<(String, String)> {
    let guide = guide();
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in guide.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(head)) => {
                let (kind, rest) = head.split_once(' ').unwrap_or((head, ""));
                open = Some((format!("{kind} {rest}"), String::new()));
            }
            (Some(_), Some(_)) => {
                let (head, text) = open.take().expect("open");
                if let Some(rest) = head.strip_prefix(language) {
                    found.push((rest.trim().to_string(), text));
                }
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

fn guide() -> String {
    let path = packaging("")
        .parent()
        .expect("checkout")
        .join("docs/admin-guide.md");
    fs::read_to_string(path).expect("docs/admin-guide.md")
}

#[test]
fn the_configuration_of_the_guide_is_accepted() {
    let folder = std::env::temp_dir().join(format!("drbd-rs-guide-{}", std::process::id()));
    fs::create_dir_all(folder.join("drbd.d")).expect("folder");
    let main = fs::read_to_string(packaging("config/drbd.conf")).expect("sample");
    fs::write(folder.join("drbd.conf"), main).expect("file");
    let mut written = 0;
    for (head, text) in blocks("conf") {
        if let Some(path) = head.strip_prefix("both /etc/drbd.d/") {
            fs::write(folder.join("drbd.d").join(path), text).expect("file");
            written += 1;
        }
    }
    assert_eq!(written, 2);
    let file = folder.join("drbd.conf").display().to_string();
    let loaded = drbd_config::Loader::new(&file).load();
    assert_eq!(loaded.exit(), None, "{:?}", loaded.diagnostics);
    assert_eq!(loaded.config.resources.len(), 1);
    fs::remove_dir_all(&folder).expect("folder");
}

#[test]
fn what_the_guide_calls_is_installed() {
    let guide = guide();
    let installed = fs::read_to_string(packaging("install")).expect("packaging/install");
    let mut handlers = 0;
    for piece in guide.split("/usr/lib/drbd/").skip(1) {
        let name: String = piece
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
            .collect();
        let own = packaging("handlers").join(name.trim_end_matches(".sh"));
        assert!(own.exists() || installed.contains(&name), "{name}");
        handlers += 1;
    }
    assert!(handlers >= 5, "{handlers}");
    let makefile = fs::read_to_string(packaging("").parent().expect("checkout").join("Makefile"));
    let makefile = makefile.expect("Makefile");
    for target in ["deb", "all", "install"] {
        assert!(
            makefile
                .lines()
                .any(|line| line.starts_with(&format!("{target}:"))),
            "{target}"
        );
    }
    for unit in ["drbd.service", "drbd@.target"] {
        assert!(packaging("systemd").join(unit).exists(), "{unit}");
    }
    assert!(packaging("dkms/prepare").exists() && packaging("heartbeat/drbddisk").exists());
}

#[test]
fn the_cluster_of_the_guide_fits_the_agent() {
    let cluster = blocks("conf")
        .into_iter()
        .find(|(head, _)| head.ends_with("data.crm"))
        .expect("resources")
        .1;
    let agent = fs::read_to_string(packaging("ocf/drbd")).expect("agent");
    assert!(cluster.contains("ocf:linbit:drbd params drbd_resource=r0"));
    assert!(agent.contains("parameter drbd_resource"));
    // the time limits are not below those the agent asks for
    for action in ["start", "promote", "demote", "notify", "stop"] {
        let limit = |text: &str, from: &str, end: char| -> u32 {
            let rest = text.split_once(from).map_or("", |(_, rest)| rest);
            rest.split(end)
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
        };
        let asked = limit(
            &agent,
            &format!("<action name=\"{action}\" timeout=\""),
            '"',
        );
        let given = limit(&cluster, &format!("op {action} timeout="), ' ');
        assert!(
            asked > 0 && given >= asked,
            "{action}: {given} below {asked}"
        );
    }
    assert!(cluster.contains("notify=true") && cluster.contains("promotable=true"));
}
