// SPDX-License-Identifier: GPL-2.0
//! Issue 4 item 4 with real terminals and sockets: colours on a terminal and none in a pipe, the live screen, the exporter. They
//! work on any machine, with or without a driver.

#[path = "support/terminal.rs"]
mod terminal;

use rustix::process::{kill_process, Pid, Signal};
use rustix::termios::tcgetattr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use terminal::Terminal;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);
const PROC: &str = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n 7: cs:StandAlone ro:Primary/Unknown ds:UpToDate/DUnknown   r-----\n    ns:0\n";

fn tool(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drbdadm"));
    command
        .arg0(name)
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env("TERM", "vt100");
    command
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("drbdadm-views-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("scratch");
    path
}

/// Issue 4 item 4: in colour on a terminal, plain in a pipe. The same decision serves `drbdadm status` (and a machine with a driver
/// shows it in tests/tests/vm/views.rs).
#[test]
fn colours_are_for_terminals() {
    let place = scratch("colours");
    let file = place.join("proc");
    std::fs::write(&file, PROC).expect("written");
    let file = file.to_string_lossy().into_owned();
    let overview = || {
        let mut command = tool("drbd-overview");
        command.args(["--proc-drbd", &file]);
        command
    };
    let mut terminal = Terminal::open();
    let child = terminal.start(&mut overview());
    terminal.wait_for("\x1b[1;31mStandAlone\x1b[0m");
    assert_eq!(terminal.ended(child), 0);
    let piped = overview().output().expect("started");
    let text = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(
        text.contains("StandAlone") && !text.contains('\x1b'),
        "{text}"
    );
    // and not where a person has asked for none
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut terminal = Terminal::open();
        let child = terminal.start(overview().env(name, value));
        terminal.wait_for("StandAlone");
        assert_eq!(terminal.ended(child), 0);
        assert!(
            !terminal.text.contains('\x1b'),
            "{name}: {:?}",
            terminal.text
        );
    }
    let _ = std::fs::remove_dir_all(place);
}

/// Issue 4 item 4: `drbdadm top` is a live screen that gives the terminal back however it ends.
#[test]
fn the_live_screen_comes_and_goes() {
    for signal in [None, Some(Signal::TERM)] {
        let mut terminal = Terminal::open();
        let before = tcgetattr(&terminal.slave).expect("attributes");
        let mut top = tool("drbdadm");
        top.args(["top", "--interval=0.2", "--config-file=/dev/null"]);
        let child = terminal.start(&mut top);
        terminal.wait_for("\x1b[?1049h");
        // two pages
        terminal.wait_for("drbdadm top");
        terminal.text.clear();
        terminal.wait_for("drbdadm top");
        match signal {
            None => terminal.master.write_all(b"q").expect("typed"),
            Some(signal) => send(&child, signal),
        }
        assert_eq!(terminal.ended(child), 0);
        terminal.wait_for("\x1b[?1049l");
        let after = tcgetattr(&terminal.slave).expect("attributes");
        assert_eq!(before.local_modes, after.local_modes);
        assert_eq!(before.input_modes, after.input_modes);
    }
}

#[test]
fn one_page_of_the_screen_is_plain_text() {
    let mut top = tool("drbdadm");
    top.args(["top", "--once", "--interval=0.1", "--config-file=/dev/null"]);
    let output = top.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("drbdadm top  ") && !text.contains('\x1b'),
        "{text}"
    );
    let driver = std::path::Path::new("/proc/drbd").exists();
    assert_eq!(
        output.status.code(),
        Some(if driver { 0 } else { 20 }),
        "{text}"
    );
    assert!(driver || text.contains("modprobe drbd"), "{text}");
    for wrong in [
        &["top", "--interval=0"][..],
        &["top", "--once=5x"],
        &["exporter", "--listen=here"],
    ] {
        let output = tool("drbdadm").args(wrong).output().expect("started");
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(!output.stderr.is_empty(), "{wrong:?}");
    }
}

/// An exporter, and the line that says where it listens.
fn exporter(place: &str) -> (Child, String) {
    let listen = format!("--listen={place}");
    let mut child = tool("drbdadm")
        .args(["exporter", &listen, "--config-file=/dev/null"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut line = String::new();
    let pipe = child.stdout.take().expect("pipe");
    BufReader::new(pipe).read_line(&mut line).expect("a line");
    (child, line.trim().to_string())
}

fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> String {
    stream.write_all(request).expect("sent");
    let mut text = Vec::new();
    // a request that is refused may be cut off
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn send(child: &Child, signal: Signal) {
    let id = Pid::from_raw(child.id() as i32).expect("a process");
    kill_process(id, signal).expect("sent");
}

fn stop(mut child: Child) -> Option<i32> {
    send(&child, Signal::TERM);
    child.wait().expect("ended").code()
}

/// Issue 4 item 4: `drbdadm exporter` over HTTP on loopback.
#[test]
fn the_exporter_answers_on_loopback() {
    let (child, line) = exporter("127.0.0.1:0");
    let address = line
        .trim_start_matches("listening on http://")
        .trim_end_matches("/metrics")
        .to_string();
    let connect = || {
        let stream = TcpStream::connect(&address).unwrap_or_else(|error| panic!("{line}: {error}"));
        stream.set_read_timeout(Some(LIMIT)).expect("limit");
        stream
    };
    let text = ask(&mut connect(), b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(
        text.contains("Content-Type: text/plain; version=0.0.4"),
        "{text}"
    );
    assert!(text.contains("# TYPE drbd_up gauge\ndrbd_up "), "{text}");
    let head = ask(&mut connect(), b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert!(ask(&mut connect(), b"GET /nothing HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(ask(&mut connect(), b"\x00\xff\r\n\r\n").starts_with("HTTP/1.1 400 "));
    let long = [b"GET /metrics HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 9000]].concat();
    assert!(ask(&mut connect(), &long).starts_with("HTTP/1.1 431 "));
    // many that say nothing do not keep one from being answered
    let silent: Vec<TcpStream> = (0..10).map(|_| connect()).collect();
    assert!(ask(&mut connect(), b"GET / HTTP/1.1\r\n\r\n").contains("/metrics"));
    drop(silent);
    let second = tool("drbdadm")
        .args(["exporter", &format!("--listen={address}")])
        .output()
        .expect("started");
    assert_eq!(second.status.code(), Some(20));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("in use"),
        "{second:?}"
    );
    assert_eq!(stop(child), Some(0));
}

#[test]
fn the_exporter_answers_on_a_unix_socket_and_tidies_up() {
    let place = scratch("socket");
    let path = place.join("metrics.sock");
    // one that a dead process left behind
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let (child, line) = exporter(&format!("unix:{}", path.display()));
    assert!(line.contains("unix:"), "{line}");
    let mut stream = UnixStream::connect(&path).expect("connected");
    stream.set_read_timeout(Some(LIMIT)).expect("limit");
    let text = ask(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n");
    assert!(text.contains("drbd_configuration_valid 1"), "{text}");
    assert_eq!(stop(child), Some(0));
    assert!(!path.exists());
    // what is no socket stays
    std::fs::write(&path, "precious").expect("written");
    let listen = format!("--listen=unix:{}", path.display());
    let refused = tool("drbdadm")
        .args(["exporter", &listen])
        .output()
        .expect("started");
    assert_eq!(refused.status.code(), Some(20), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("kept"), "precious");
    // and the metrics once, as text
    let once = tool("drbdadm")
        .args(["exporter", "--once"])
        .output()
        .expect("started");
    assert!(
        String::from_utf8_lossy(&once.stdout).contains("drbd_up "),
        "{once:?}"
    );
    let _ = std::fs::remove_dir_all(place);
}
