// SPDX-License-Identifier: GPL-2.0
//! DKMS and `make KDIR=...` (issue 4 line 5, issue 2 line 1): the scripts say what is missing instead of failing in the middle,
//! and build with the compilers of the kernel.

use crate::bed::{packaging, Bed, Outcome};
use std::fs;
use std::process::Command;

const RUSTC: &str = "rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)";

fn config(rust: &str) -> String {
    format!(
        "CONFIG_CC_VERSION_TEXT=\"x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0\"\n\
         CONFIG_RUSTC_VERSION_TEXT=\"{RUSTC}\"\n{rust}\n"
    )
}

/// Headers as Debian ships them, and all programs `prepare` wants.
fn bed_with_headers() -> Bed {
    let mut bed = Bed::new();
    for folder in ["headers", "sources", "trees"] {
        fs::create_dir_all(bed.path(folder)).expect("folder");
    }
    bed.file("headers/.config", &config("CONFIG_RUST=y"));
    for (name, folder) in [
        ("DRBD_RS_HEADERS", "headers"),
        ("DRBD_RS_SOURCES", "sources"),
        ("DRBD_RS_KERNELS", "trees"),
        ("DRBD_RS_RUSTC", "bin/rustc"),
    ] {
        let path = bed.path(folder).display().to_string();
        bed.set(name, &path);
    }
    for program in [
        "make",
        "bc",
        "bison",
        "flex",
        "xz",
        "flock",
        "bindgen",
        "x86_64-linux-gnu-gcc-14",
    ] {
        bed.stand_in(program, "");
    }
    stand_in_rustc(&mut bed, RUSTC);
    bed.stand_in("dpkg-query", "echo 7.2.12-1");
    bed
}

fn stand_in_rustc(bed: &mut Bed, version: &str) {
    let library = "sysroot/lib/rustlib/src/rust/library/core/src";
    fs::create_dir_all(bed.path(library)).expect("folder");
    bed.file(&format!("{library}/lib.rs"), "");
    let body =
        format!("case $1 in --version) echo '{version}' ;; *) echo \"$bed/sysroot\" ;; esac");
    bed.stand_in("rustc", &body);
}

fn prepare(bed: &Bed) -> Outcome {
    bed.run("dkms/prepare", &["7.2.12+deb13-amd64"])
}

#[test]
fn a_kernel_that_cannot_load_the_module_is_refused_with_the_reason() {
    let bed = bed_with_headers();
    bed.file("headers/.config", &config("# CONFIG_RUST is not set"));
    let outcome = prepare(&bed);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.err.contains("without Rust support"), "{outcome:?}");
}

#[test]
fn missing_packages_are_named_with_the_command_that_installs_them() {
    let bed = bed_with_headers();
    fs::remove_file(bed.path("bin/bindgen")).expect("stand-in");
    fs::remove_file(bed.path("bin/x86_64-linux-gnu-gcc-14")).expect("stand-in");
    let outcome = prepare(&bed);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let line = outcome.err.lines().last().unwrap_or("");
    assert!(line.contains("apt install "), "{outcome:?}");
    assert!(line.ends_with("linux-source-7.2"), "{outcome:?}");
    for program in ["bindgen", "gcc-14"] {
        // where the machine has them anyway they are not missing
        let there = ["/usr/bin/", "/bin/"].iter().any(|folder| {
            let name = program.replace("gcc-14", "x86_64-linux-gnu-gcc-14");
            fs::exists(format!("{folder}{name}")).unwrap_or(false)
        });
        assert!(there || line.contains(program), "{program}: {outcome:?}");
    }
    fs::remove_file(bed.path("headers/.config")).expect("file");
    let outcome = prepare(&bed);
    assert!(
        outcome
            .err
            .contains("apt install linux-headers-7.2.12+deb13-amd64"),
        "{outcome:?}"
    );
}

#[test]
fn another_compiler_or_another_version_of_the_source_is_refused() {
    let mut bed = bed_with_headers();
    bed.file("sources/linux-source-7.2.tar.xz", "");
    stand_in_rustc(&mut bed, "rustc 1.96.1");
    let outcome = prepare(&bed);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.err.contains("was built with 'rustc 1.85.1"),
        "{outcome:?}"
    );
    stand_in_rustc(&mut bed, RUSTC);
    bed.stand_in(
        "dpkg-query",
        "case $* in *linux-source*) echo 7.2.11-1 ;; *) echo 7.2.12-1 ;; esac",
    );
    let outcome = prepare(&bed);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(
        outcome.err.contains("linux-source-7.2 is version 7.2.11-1"),
        "{outcome:?}"
    );
}

#[test]
fn a_tree_that_has_the_metadata_is_taken_as_it_is() {
    let bed = bed_with_headers();
    fs::create_dir_all(bed.path("headers/rust")).expect("folder");
    bed.file("headers/rust/libkernel.rmeta", "");
    let outcome = prepare(&bed);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(
        outcome.out.trim(),
        bed.path("headers").display().to_string()
    );
}

#[test]
fn the_build_takes_the_compilers_the_tree_was_prepared_with() {
    let mut bed = bed_with_headers();
    bed.file("Kbuild", "");
    let tree = bed.path("headers").display().to_string();
    let outcome = bed.run("dkms/build", &[&tree, "modules"]);
    assert!(
        outcome.code == 1 && outcome.err.contains("lacks the Rust metadata"),
        "{outcome:?}"
    );
    fs::create_dir_all(bed.path("headers/rust")).expect("folder");
    bed.file("headers/rust/libkernel.rmeta", "");
    let outcome = bed.run("dkms/build", &[&tree, "modules"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let here = bed.path("").display().to_string();
    assert!(
        outcome.called(&format!(
            "make -C {tree} M={} CC=x86_64-linux-gnu-gcc-14 HOSTCC=x86_64-linux-gnu-gcc-14 RUSTC=rustc modules",
            here.trim_end_matches('/')
        )),
        "{outcome:?}"
    );
    // DKMS gives the release of the kernel
    let outcome = bed.run("dkms/build", &["7.2.12+deb13-amd64", "modules"]);
    assert_eq!(
        outcome.calls_of(&format!("make -C {tree} ")).len(),
        1,
        "{outcome:?}"
    );
    stand_in_rustc(&mut bed, "rustc 1.96.1");
    fs::write(
        bed.path("headers/.config"),
        config("CONFIG_RUST=y").replace("1.85.1", "1.0.77"),
    )
    .expect("file");
    let outcome = bed.run("dkms/build", &[&tree, "modules"]);
    assert!(
        outcome.code == 1 && outcome.err.contains("which is not installed"),
        "{outcome:?}"
    );
    fs::remove_file(bed.path("Kbuild")).expect("file");
    let outcome = bed.run("dkms/build", &[&tree, "modules"]);
    assert!(outcome.err.contains("folder with Kbuild"), "{outcome:?}");
}

#[test]
fn dkms_gets_every_source_file_of_the_module_and_nothing_that_was_built() {
    let bed = Bed::new();
    let root = bed.path("root");
    let output = Command::new("sh")
        .arg(packaging("dkms/install-source"))
        .arg("1.2.3")
        .env("DESTDIR", &root)
        .output()
        .expect("sh");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let source = root.join("usr/src/drbd-rs-1.2.3");
    let configuration = fs::read_to_string(source.join("dkms.conf")).expect("dkms.conf");
    for line in [
        "PACKAGE_VERSION=\"1.2.3\"",
        "MAKE[0]=\"packaging/dkms/build ${kernelver} modules\"",
        "AUTOINSTALL=\"yes\"",
    ] {
        assert!(configuration.contains(line), "{line}");
    }
    for script in ["build", "prepare"] {
        assert!(
            source.join("packaging/dkms").join(script).exists(),
            "{script}"
        );
    }
    let checkout = packaging("").parent().expect("checkout").to_path_buf();
    let listed = |folder: &std::path::Path| {
        let output = Command::new("sh")
            .arg("-c")
            .arg("find Kbuild kernel-module -name '*.rs' ! -name extra.rs -o -name Kbuild -o -name '*.c' ! -name '*.mod.c' ! -name extra_wrap.c -o -name '*.h' | sort")
            .current_dir(folder)
            .output()
            .expect("find");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(listed(&source), listed(&checkout));
    let built = Command::new("find")
        .arg(&source)
        .args(["-name", "*.o", "-o", "-name", "*.ko"])
        .output();
    assert!(built.expect("find").stdout.is_empty());
}
