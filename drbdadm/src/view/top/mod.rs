// SPDX-License-Identifier: GPL-2.0
//! `drbdadm top`: a live screen of all resources (issue 4 item 4). [`page`] makes the text, [`screen`] has the terminal; without a
//! terminal, or with `--once`, pages are simply printed.

mod page;
mod screen;

use super::paint;
use super::sample::Sampler;
use super::why::Module;
use page::page;
use screen::{Key, Screen};
use std::io::IsTerminal;
use std::time::Duration;

/// Exit code for a wrong command line.
const USAGE: u8 = 1;
/// Exit code of `--once` when the driver is not there or does not answer.
const NO_DRIVER: u8 = 20;
/// Columns where no terminal tells how many there are.
const COLUMNS: usize = 120;
/// Bounds of `--interval`, seconds.
const INTERVALS: std::ops::RangeInclusive<f64> = 0.1..=3600.0;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Options {
    once: bool,
    interval: Duration,
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut found = Options {
        once: false,
        interval: Duration::from_secs(2),
    };
    for word in words {
        match (word.as_str(), word.strip_prefix("--interval=")) {
            ("--once", _) => found.once = true,
            (_, Some(number)) => {
                let seconds = number
                    .parse()
                    .ok()
                    .filter(|seconds| INTERVALS.contains(seconds));
                let seconds: f64 = seconds.ok_or_else(|| {
                    format!("--interval takes seconds from 0.1 to 3600, not '{number}'")
                })?;
                found.interval = Duration::from_secs_f64(seconds);
            }
            _ => return Err(format!("unknown option '{word}'")),
        }
    }
    Ok(found)
}

/// Shows the named resources, or all, until it is told to end.
pub fn run(config: Option<&str>, words: &[String], names: &[String]) -> u8 {
    let options = match options(words) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("drbdadm top: {text}");
            return USAGE;
        }
    };
    let all = names.first().is_none_or(|name| name == "all");
    let names = if all { &[] } else { names };
    let mut sampler = Sampler::new(config);
    if options.once {
        return once(&mut sampler, options, names);
    }
    match std::io::stdout().is_terminal().then(Screen::open).flatten() {
        Some(screen) => live(&mut sampler, options, names, screen),
        None => endless(&mut sampler, options, names),
    }
}

/// One page, after an interval in which rates are measured.
fn once(sampler: &mut Sampler, options: Options, names: &[String]) -> u8 {
    let first = sampler.take();
    let second = (first.module == Module::Loaded).then(|| {
        std::thread::sleep(options.interval);
        sampler.take()
    });
    let (now, earlier) = match &second {
        Some(second) => (second, Some(&first)),
        None => (&first, None),
    };
    let columns = screen::columns().unwrap_or(COLUMNS);
    print!(
        "{}",
        page(now, earlier, names, columns).whole(columns, paint::is_welcome())
    );
    match now.module {
        Module::Loaded => 0,
        _ => NO_DRIVER,
    }
}

/// Page after page; the end of the reader ends it.
fn endless(sampler: &mut Sampler, options: Options, names: &[String]) -> u8 {
    let mut earlier = None;
    loop {
        let now = sampler.take();
        println!(
            "{}",
            page(&now, earlier.as_ref(), names, COLUMNS).whole(COLUMNS, false)
        );
        earlier = Some(now);
        std::thread::sleep(options.interval);
    }
}

fn live(sampler: &mut Sampler, options: Options, names: &[String], mut screen: Screen) -> u8 {
    let mut earlier = None;
    loop {
        let now = sampler.take();
        loop {
            screen.draw(&|columns| page(&now, earlier.as_ref(), names, columns));
            let left = options.interval.saturating_sub(now.at.elapsed());
            match screen.key(left) {
                Some(Key::Quit) => return 0,
                Some(Key::Scroll(blocks)) => screen.scroll(blocks),
                Some(Key::Refresh) | None => break,
                Some(Key::Other) => {}
            }
        }
        earlier = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_bounds() {
        let words = |line: &str| {
            line.split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        let found = options(&words("--once --interval=0.5")).expect("valid");
        assert!(found.once && found.interval == Duration::from_millis(500));
        for wrong in [
            "--interval=0",
            "--interval=nan",
            "--interval=1e9",
            "--interval=",
            "--twice",
        ] {
            assert!(options(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
