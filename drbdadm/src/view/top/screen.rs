// SPDX-License-Identifier: GPL-2.0
//! The terminal of the live screen: its other page, without echo; what was there before comes back at the end.

use super::super::paint;
use super::page::{Line, Page};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr, OptionalActions, Termios};
use std::io::{stdin, stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{signal, SignalKind};

/// Other page, no cursor.
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
/// The reverse.
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";
/// Lines and columns where the terminal does not tell.
const SIZE: (usize, usize) = (24, 80);
/// A signal is noticed after this long.
const SLICE: Duration = Duration::from_millis(200);

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// q, Ctrl-C, or nobody is there any more.
    Quit,
    /// Up or down by so many resources.
    Scroll(isize),
    /// Space.
    Refresh,
    /// Anything else.
    Other,
}

/// The terminal while it is ours.
pub struct Screen {
    before: Option<Termios>,
    told_to_end: Arc<AtomicBool>,
    first: usize,
    blocks: usize,
}

/// Columns of the terminal, when standard output is one.
pub fn columns() -> Option<usize> {
    let size = tcgetwinsize(stdout()).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

fn size() -> (usize, usize) {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            (usize::from(size.ws_row), usize::from(size.ws_col))
        }
        _ => SIZE,
    }
}

impl Screen {
    /// Takes the terminal; `None`: standard output cannot be written.
    pub fn open() -> Option<Self> {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // without it the keyboard is not read key by key
            let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
        }
        write(OPEN).then_some(Self {
            before,
            told_to_end: listen(),
            first: 0,
            blocks: 0,
        })
    }

    /// Draws a page of the present size of the terminal.
    pub fn draw(&mut self, make: &dyn Fn(usize) -> Page) {
        let (lines, columns) = size();
        let page = make(columns);
        self.blocks = page.blocks.len();
        self.first = self.first.min(self.blocks.saturating_sub(1));
        let shown = fit(&page, self.first, lines);
        let colors = paint::is_welcome();
        let mut text = String::from("\x1b[H");
        for (at, line) in shown.iter().enumerate() {
            let end = if at + 1 < lines {
                "\x1b[K\r\n"
            } else {
                "\x1b[K"
            };
            text.push_str(&line.text(columns, colors));
            text.push_str(end);
        }
        text.push_str("\x1b[J");
        write(&text);
    }

    /// Waits for a key.
    pub fn key(&mut self, limit: Duration) -> Option<Key> {
        let end = Instant::now() + limit;
        let stdin = stdin();
        loop {
            if self.told_to_end.load(Ordering::Relaxed) {
                return Some(Key::Quit);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let slice = Timespec::try_from(left.min(SLICE)).ok()?;
            let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
            if !matches!(poll(&mut ready, Some(&slice)), Ok(1..)) {
                continue;
            }
            let mut bytes = [0u8; 16];
            let count = rustix::io::read(&stdin, &mut bytes).unwrap_or(0);
            return Some(key(bytes.get(..count).unwrap_or(&[])));
        }
    }

    /// Moves the page.
    pub fn scroll(&mut self, blocks: isize) {
        self.first = self
            .first
            .saturating_add_signed(blocks)
            .min(self.blocks.saturating_sub(1));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(CLOSE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Signals that end the program do so through the loop, so that the terminal is given back.
fn listen() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&told);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let signals = (
                signal(SignalKind::terminate()),
                signal(SignalKind::hangup()),
            );
            if let (Ok(mut terminate), Ok(mut hangup)) = signals {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                flag.store(true, Ordering::Relaxed);
            }
        });
    });
    told
}

fn write(text: &str) -> bool {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

fn key(bytes: &[u8]) -> Key {
    match bytes {
        [] | [b'q' | b'Q' | 3 | 4, ..] => Key::Quit,
        [b' ' | b'\r', ..] => Key::Refresh,
        [b'k', ..] | [27, b'[' | b'O', b'A', ..] => Key::Scroll(-1),
        [b'j', ..] | [27, b'[' | b'O', b'B', ..] => Key::Scroll(1),
        [27, b'[', b'5', ..] => Key::Scroll(-5),
        [27, b'[', b'6', ..] => Key::Scroll(5),
        [b'g', ..] | [27, b'[', b'H', ..] => Key::Scroll(isize::MIN),
        _ => Key::Other,
    }
}

/// The lines that fit, from that resource on; the last one tells how many are hidden.
fn fit(page: &Page, first: usize, lines: usize) -> Vec<Line> {
    let mut shown: Vec<Line> = page.head.iter().take(lines).cloned().collect();
    let blocks = page.blocks.get(first..).unwrap_or(&[]);
    for (at, block) in blocks.iter().enumerate() {
        let is_last = at + 1 == blocks.len();
        let room = lines.saturating_sub(shown.len());
        if block.len() + usize::from(!is_last) > room {
            shown.truncate(lines.saturating_sub(1));
            let hidden = format!("... {} more; arrow keys move, q ends", blocks.len() - at);
            shown.push(Line::from(hidden));
            break;
        }
        shown.extend(block.iter().cloned());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let block = |name: &str| vec![Line::from(name.to_string()), Line::from("x".to_string())];
        let page = Page {
            head: vec![Line::from("head".to_string())],
            blocks: vec![block("a"), block("b"), block("c")],
        };
        let text = |first, lines| -> Vec<String> {
            fit(&page, first, lines)
                .iter()
                .map(|line| line.text(40, false))
                .collect()
        };
        assert_eq!(text(0, 7), ["head", "a", "x", "b", "x", "c", "x"]);
        assert_eq!(
            text(0, 6),
            [
                "head",
                "a",
                "x",
                "b",
                "x",
                "... 1 more; arrow keys move, q ends"
            ]
        );
        assert_eq!(text(1, 5), ["head", "b", "x", "c", "x"]);
        for lines in 0..9 {
            assert!(text(0, lines).len() <= lines.max(1), "{lines}");
        }
    }

    #[test]
    fn keys() {
        assert_eq!(key(b"q"), Key::Quit);
        assert_eq!(key(&[3]), Key::Quit);
        assert_eq!(key(b"\x1b[B"), Key::Scroll(1));
        assert_eq!(key(b"\x1b"), Key::Other);
    }
}
