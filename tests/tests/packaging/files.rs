// SPDX-License-Identifier: GPL-2.0
//! Files that are only put in their places (issue 4 line 5): they name what exists, and the sample
//! configuration is one the parser accepts.

use crate::bed::{executable, packaging};
use std::fs;
use std::path::Path;
use std::process::Command;

fn read(file: &str) -> String {
    fs::read_to_string(packaging(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Runs `packaging/install` with a placeholder for the compiled tool; returns the folder.
fn installed(name: &str) -> std::path::PathBuf {
    let top = std::env::temp_dir().join(format!("drbd-rs-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&top);
    let checkout = packaging("").parent().expect("checkout").to_path_buf();
    fs::create_dir_all(top.join("source/build")).expect("folder");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(checkout.join("packaging"))
        .arg(top.join("source/packaging"))
        .status();
    assert!(copied.expect("cp").success());
    let tool = top.join("source/build/drbdadm");
    executable(
        &tool,
        "#!/bin/sh\nfor f in drbdadm.8 drbd.conf.5 drbdadm.bash; do echo $1 >$2/$f; done\n",
    );
    install(&top);
    top
}

fn install(top: &Path) {
    let output = Command::new("sh")
        .arg(top.join("source/packaging/install"))
        .env("DESTDIR", top.join("root"))
        .output()
        .expect("sh");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn everything_users_have_paths_to_is_installed_there() {
    let top = installed("install-paths");
    let root = top.join("root");
    for path in [
        "usr/sbin/drbdadm",
        "usr/sbin/drbdsetup",
        "usr/sbin/drbdmeta",
        "usr/sbin/drbd-overview",
        "usr/share/man/man8/drbdadm.8",
        "usr/share/man/man5/drbd.conf.5",
        "usr/share/bash-completion/completions/drbdadm",
        "usr/share/bash-completion/completions/drbdsetup",
        "etc/init.d/drbd",
        "etc/drbd.conf",
        "etc/drbd.d/global_common.conf",
        "etc/ha.d/resource.d/drbddisk",
        "etc/ha.d/resource.d/drbdupper",
        "usr/lib/ocf/resource.d/linbit/drbd",
        "usr/lib/drbd/crm-fence-peer.sh",
        "usr/lib/drbd/crm-unfence-peer.sh",
        "usr/lib/drbd/notify-split-brain.sh",
        "usr/lib/drbd/notify-emergency-reboot.sh",
        "usr/lib/drbd/outdate-peer.sh",
        "usr/lib/drbd/snapshot-resync-target-lvm.sh",
        "usr/lib/drbd/unsnapshot-resync-target-lvm.sh",
        "usr/lib/drbd/stonith_admin-fence-peer.sh",
        "usr/lib/systemd/system/drbd.service",
        "usr/lib/systemd/system/drbd@.service",
        "usr/lib/systemd/system/drbd-exporter.service",
        "usr/sbin/drbd-overview",
        "usr/lib/udev/rules.d/65-drbd.rules",
        "usr/lib/tmpfiles.d/drbd.conf",
        "usr/lib/modules-load.d/drbd.conf",
    ] {
        assert!(root.join(path).exists(), "{path} is missing or a dead link");
    }
    // every program a unit starts, and every handler the sample names, is there
    for unit in fs::read_dir(packaging("systemd")).expect("units").flatten() {
        let text = fs::read_to_string(unit.path()).expect("unit");
        for line in text.lines().filter(|line| line.starts_with("Exec")) {
            let program = line.split_once('=').map_or("", |(_, rest)| rest);
            let program = program
                .trim_start_matches('-')
                .split(' ')
                .next()
                .unwrap_or("");
            let own = program.contains("drbd");
            assert!(
                !own || root.join(program.trim_start_matches('/')).exists(),
                "{line}"
            );
        }
    }
    let sample = read("config/global_common.conf");
    let mut handlers = 0;
    for piece in sample.split("/usr/lib/drbd/").skip(1) {
        let name = piece.split([' ', '"', ';']).next().unwrap_or("");
        assert!(root.join("usr/lib/drbd").join(name).exists(), "{name}");
        handlers += 1;
    }
    assert!(handlers > 5);
    fs::remove_dir_all(&top).expect("folder");
}

#[test]
fn installing_again_keeps_the_administrators_files() {
    let top = installed("install-again");
    let file = top.join("root/etc/drbd.d/global_common.conf");
    fs::write(&file, "# mine\n").expect("file");
    install(&top);
    assert_eq!(fs::read_to_string(&file).expect("file"), "# mine\n");
    fs::remove_dir_all(&top).expect("folder");
}

#[test]
fn the_sample_configuration_is_accepted_also_with_every_example_switched_on() {
    let folder = std::env::temp_dir().join(format!("drbd-rs-sample-{}", std::process::id()));
    fs::create_dir_all(folder.join("drbd.d")).expect("folder");
    let uncommented: String = read("config/global_common.conf")
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest)
                if rest.contains(';')
                    && line.starts_with('\t')
                    && !rest.starts_with(char::is_uppercase) =>
            {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(uncommented.contains("\nc-max-rate 200M;"), "{uncommented}");
    for global in [read("config/global_common.conf"), uncommented] {
        fs::write(folder.join("drbd.conf"), read("config/drbd.conf")).expect("file");
        fs::write(folder.join("drbd.d/global_common.conf"), &global).expect("file");
        fs::write(folder.join("drbd.d/r0.res"), read("config/example.res")).expect("file");
        let main = folder.join("drbd.conf").display().to_string();
        let loaded = drbd_config::Loader::new(&main).load();
        assert_eq!(loaded.exit(), None, "{:?}\n{global}", loaded.diagnostics);
    }
    fs::remove_dir_all(&folder).expect("folder");
}

#[test]
fn udev_makes_the_names_from_what_drbdadm_says() {
    let rules = read("udev/65-drbd.rules");
    for piece in [
        "IMPORT{program}=\"/usr/sbin/drbdadm sh-udev minor-%m\"",
        "SYMLINK+=\"drbd/by-res/$env{RESOURCE}\"",
        "SYMLINK+=\"drbd/by-disk/$env{DISK}\"",
        "ENV{DEVICE}==\"drbd_?*\", SYMLINK+=\"$env{DEVICE}\"",
    ] {
        assert!(rules.contains(piece), "{piece}");
    }
}

#[test]
fn both_packages_carry_what_is_installed() {
    let top = installed("install-spec");
    let root = top.join("root");
    let output = Command::new("find")
        .args([".", "!", "-type", "d"])
        .current_dir(&root)
        .output()
        .expect("find");
    let spec = read("rpm/drbd-rs.spec");
    let section = |from: &str, to: &str| {
        let rest = spec.split_once(from).map_or("", |(_, rest)| rest);
        rest.split_once(to)
            .map_or(rest, |(text, _)| text)
            .to_string()
    };
    let listed: Vec<String> = section("\n%files utils\n", "\n%files dkms")
        .lines()
        .filter_map(|line| line.split(' ').next_back())
        .map(|path| {
            path.replace("%{_sysconfdir}", "/etc")
                .replace("%{_prefix}", "/usr")
        })
        .collect();
    let of_spec = |file: &str| {
        listed.iter().any(|path| match path.split_once('*') {
            Some((start, _)) => file.starts_with(start),
            None => file == path || file.starts_with(&format!("{path}/")),
        })
    };
    let mut files = 0;
    for file in String::from_utf8_lossy(&output.stdout).lines() {
        let file = file.trim_start_matches('.');
        // the RPM leaves the init script to distributions that have such scripts
        assert!(
            of_spec(file) || file == "/etc/init.d/drbd",
            "{file} is in no line of %files"
        );
        files += 1;
    }
    assert!(files > 35, "{files}");
    fs::remove_dir_all(&top).expect("folder");
    // one version everywhere
    let workspace =
        fs::read_to_string(packaging("").parent().expect("checkout").join("Cargo.toml"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(workspace
        .expect("Cargo.toml")
        .contains(&format!("version = \"{version}\"")));
    assert!(spec.contains(&format!("\nVersion:        {version}\n")));
    assert!(read("debian/changelog").starts_with(&format!("drbd-rs ({version}-")));
}
