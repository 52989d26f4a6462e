// SPDX-License-Identifier: GPL-2.0
//! Issue 4, "What wrong input gets", of commands: module not loaded, not root, wrong metadata version, missing resource; each answer
//! says what to do. Who uses a busy device is tested in `busy`, the lock in `locks`, odd arguments in `robustness`.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::Scratch;

/// Bytes of the device in the file.
const DEVICE: u64 = 200 << 20;

/// What everybody but root is told who meets a wall.
const NEEDS_ROOT: &str = "This needs root: try again with 'sudo'.";

fn tool(name: &str, place: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drbdadm"));
    let command = command.arg0(name).args(words).current_dir(place);
    command.stdin(Stdio::null()).output().expect("started")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_module_that_is_not_loaded_is_told_with_how_to_load_it() {
    if Path::new("/proc/drbd").exists() {
        return; // a machine with a driver: tests/tests/vm/views.rs looks at one before and after it is loaded
    }
    for words in [
        &["show"][..],
        &["role", "0"],
        &["primary", "0"],
        &["status"],
    ] {
        let output = tool("drbdsetup", Path::new("/"), words);
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(20), "{words:?}: {text}");
        assert!(
            text.contains("Could not stat /proc/drbd: No such file or directory"),
            "{text}"
        );
        assert!(
            text.contains("'modprobe drbd' loads it; 'dmesg' tells why it cannot."),
            "{text}"
        );
    }
}

/// What cannot be up is down (netlink-and-tools.md section 7, transcript 01), so that a service that stops succeeds.
#[test]
fn what_takes_down_succeeds_without_a_module() {
    if Path::new("/proc/drbd").exists() {
        return; // the transcripts in tests/tests/vm show it before the module is loaded
    }
    let place = Path::new("/");
    for words in [
        &["down", "r0"][..],
        &["secondary", "0"],
        &["detach", "0"],
        &["disconnect", "127.0.0.1:7788", "127.0.0.2:7788"],
    ] {
        let output = tool("drbdsetup", place, words);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(errors(&output).contains("nothing is up"), "{output:?}");
        let output = tool("drbdsetup-84", place, words);
        assert_eq!(output.status.code(), Some(20), "{words:?}");
    }
    let scratch = Scratch::new("drbdadm-down");
    let node = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let config = format!(
        "resource r0 {{ device minor 0; disk /dev/x; meta-disk internal; on {} {{ address 127.0.0.1:7788; }} \
         on zz {{ address 127.0.0.2:7788; }} }}\n",
        node.trim()
    );
    fs::write(scratch.0.join("drbd.conf"), config).expect("written");
    let output = tool("drbdadm", &scratch.0, &["-c", "drbd.conf", "down", "r0"]);
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn whoever_is_not_root_is_told_so() {
    let scratch = Scratch::new("drbdadm-not-root");
    // where anybody may execute it
    let program = scratch.0.join("drbdmeta");
    // by another process: an open file that this one may hand on to a child of another test cannot be executed
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_drbdadm"))
        .arg(&program)
        .status();
    assert!(copied.expect("cp").success());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).expect("mode");
    let secret = scratch.0.join("disk");
    fs::write(&secret, "").expect("written");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).expect("mode");
    let words = [
        "-",
        "v08",
        &secret.display().to_string(),
        "internal",
        "dump-md",
    ];
    let output = unprivileged(&program)
        .args(words)
        .stdin(Stdio::null())
        .output();
    let output = output.expect("this test needs setpriv (util-linux)");
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(20), "{text}");
    assert!(text.contains("Permission denied"), "{text}");
    assert!(text.contains(NEEDS_ROOT), "{text}");
    // a configuration for root's eyes, and one that includes such a file
    let open = scratch.0.join("open.conf");
    fs::write(&open, "include \"disk\";\n").expect("written");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("mode");
    for (file, code) in [("disk", 20), ("open.conf", 10)] {
        for json in [&[][..], &["--json"]] {
            let path = scratch.0.join(file).display().to_string();
            let words = ["drbdadm", "-c", &path, "status"];
            let program = scratch.0.join("drbdadm");
            if !program.exists() {
                std::os::unix::fs::symlink("drbdmeta", &program).expect("link");
            }
            let output = unprivileged(&program).args(&words[1..]).args(json).output();
            let output = output.expect("started");
            let text = errors(&output);
            assert_eq!(output.status.code(), Some(code), "{file}: {text}");
            assert!(text.contains("Permission denied"), "{file}: {text}");
            assert!(text.contains(NEEDS_ROOT), "{file}: {text}");
            assert!(!text.contains("os error"), "{file}: {text}");
        }
    }
}

/// The program as somebody who is not root.
fn unprivileged(program: &std::path::Path) -> Command {
    let is_root = fs::metadata("/proc/self").expect("own process").uid() == 0;
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program);
    command
}

/// A superblock of that format, with nothing but its magic, where internal metadata is.
fn foreign(place: &Path, magic_at: u64, magic: [u8; 4]) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(place.join("disk")).expect("disk");
    file.set_len(DEVICE).expect("size");
    file.write_all_at(&magic, DEVICE - 4096 + magic_at)
        .expect("written");
}

#[test]
fn metadata_of_another_version_is_told_with_what_to_do() {
    let scratch = Scratch::new("drbdadm-version");
    let place = &scratch.0;
    foreign(place, 60, [0x83, 0x74, 0x02, 0x6D]);
    for command in [
        "dump-md",
        "apply-al",
        "outdate",
        "invalidate",
        "dstate",
        "get-gi",
        "show-gi",
    ] {
        let words = ["--force", "-", "v08", "disk", "internal", command];
        let output = tool("drbdmeta", place, &words);
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{command}: {text}");
        assert!(
            text.contains("metadata of DRBD 9 (v09")
                && text.contains("this is DRBD 8.4 and needs v08"),
            "{command}: {text}"
        );
        assert!(text.contains("create-md"), "{command}: {text}");
    }
    // not even by force
    let words = ["--force", "-", "v08", "disk", "internal", "create-md"];
    let output = tool("drbdmeta", place, &words);
    assert_eq!(output.status.code(), Some(40), "{}", errors(&output));
    assert!(
        errors(&output).contains("does not convert it"),
        "{}",
        errors(&output)
    );
    // a format that is none of ours
    for format in ["v07", "v09"] {
        let output = tool(
            "drbdmeta",
            place,
            &["-", format, "disk", "internal", "dump-md"],
        );
        assert_eq!(output.status.code(), Some(20));
        let wanted = format!("Unknown format '{format}'. This drbdmeta reads and writes v08.");
        assert!(errors(&output).contains(&wanted), "{}", errors(&output));
    }
}

#[test]
fn a_missing_resource_is_told_before_anything_is_called() {
    let scratch = Scratch::new("drbdadm-missing");
    let node = fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let text = format!(
        "global {{ disable-ip-verification; }}\n\
         resource web {{ device minor 0; disk /dev/null; meta-disk internal; handlers {{ split-brain \"touch called\"; }}\n\
         on {} {{ address 127.0.0.1:7788; }} on zz {{ address 127.0.0.2:7788; }} }}\n",
        node.trim()
    );
    fs::write(scratch.0.join("drbd.conf"), text).expect("written");
    let run = |words: &[&str]| {
        tool(
            "drbdadm",
            &scratch.0,
            &[&["-c", "drbd.conf"], words].concat(),
        )
    };
    let output = run(&["split-brain", "web", "wab"]);
    let text = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(
            "'wab' is not defined in the configuration for this host (did you mean 'web'?)"
        ),
        "{text}"
    );
    assert!(
        !scratch.0.join("called").exists(),
        "the handler of the first name ran"
    );
    let output = run(&["primary"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("No resource names specified\n"));
    assert_eq!(run(&["split-brain", "web"]).status.code(), Some(0));
    assert!(scratch.0.join("called").exists());
}
