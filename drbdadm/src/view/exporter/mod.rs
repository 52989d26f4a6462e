// SPDX-License-Identifier: GPL-2.0
//! `drbdadm exporter`: metrics for Prometheus over HTTP, on a loopback address or a Unix socket (issue 4 item 4, docs/metrics.md).
//!
//! [`metrics`] makes the text, [`server`] answers requests. It needs no rights.

mod metrics;
mod server;

use super::sample::Sampler;
use server::{Place, Server};

/// Exit code for a wrong command line.
const USAGE: u8 = 1;
/// Exit code when the address cannot be used.
const CANNOT_LISTEN: u8 = 20;
/// Where it listens unless it is told.
const PLACE: &str = "127.0.0.1:9942";

fn options(words: &[String]) -> Result<(bool, Place), String> {
    let (mut once, mut place) = (false, Place::parse(PLACE)?);
    for word in words {
        match (word.as_str(), word.strip_prefix("--listen=")) {
            ("--once", _) => once = true,
            (_, Some(text)) => place = Place::parse(text)?,
            _ => return Err(format!("unknown option '{word}'")),
        }
    }
    Ok((once, place))
}

/// Answers requests until it is told to end; with `--once` prints the metrics, for a collector of text files.
pub fn run(config: Option<&str>, words: &[String]) -> u8 {
    let (once, place) = match options(words) {
        Ok(found) => found,
        Err(text) => {
            eprintln!("drbdadm exporter: {text}");
            return USAGE;
        }
    };
    let mut sampler = Sampler::new(config);
    if once {
        print!("{}", metrics::render(Some(&sampler.take())));
        return 0;
    }
    let served = server::run(&place, Server::new(sampler));
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!(
                "drbdadm exporter: {place}: {}",
                netlink_api::client::plain(&error)
            );
            CANNOT_LISTEN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_a_place() {
        let words = |line: &str| {
            line.split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        let (once, place) = options(&words("")).expect("valid");
        assert!(!once && place.to_string() == PLACE);
        let (once, place) = options(&words("--once --listen=unix:/run/x.sock")).expect("valid");
        assert!(once && place.to_string() == "unix:/run/x.sock");
        for wrong in [
            "--listen=",
            "--listen=80",
            "--listen=unix:",
            "--lisen=[::1]:1",
        ] {
            assert!(options(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
