// SPDX-License-Identifier: GPL-2.0
//! Addresses of a connection: text to raw sockaddr and back (netlink-and-tools.md sections 1 and 7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

/// Port when none is given.
pub const DEFAULT_PORT: u16 = 7788;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Family of the other transports the tools know (`ssocks`, `sdp`) unless the kernel says otherwise.
const AF_INET_SDP: u16 = 27;

/// A raw sockaddr from `[FAMILY:]ADDRESS[:PORT]`. FAMILY is ipv4 (also for a host name), ipv6, ssocks or sdp. The port defaults to
/// [`DEFAULT_PORT`] and is cut to 16 bits, as the tools of the C driver do.
///
/// # Errors
/// The text to print: what is not understood or cannot be resolved.
pub fn parse_address(text: &str) -> Result<Vec<u8>, String> {
    match text.split_once(':') {
        Some(("ipv6", rest)) => parse_v6(text, rest),
        Some((family @ ("ipv4" | "ssocks" | "sdp"), rest)) => parse_v4(family, rest),
        _ if text.starts_with('[') => parse_v6(text, text),
        _ => parse_v4("ipv4", text),
    }
}

fn port(text: Option<&str>) -> Result<u16, String> {
    let Some(text) = text else {
        return Ok(DEFAULT_PORT);
    };
    let number: u64 = text
        .parse()
        .map_err(|_| format!("{text} is not a valid number"))?;
    Ok((number & 0xffff) as u16)
}

fn parse_v4(family: &str, text: &str) -> Result<Vec<u8>, String> {
    let (host, number) = match text.split_once(':') {
        Some((host, number)) => (host, Some(number)),
        None => (text, None),
    };
    let ip = match host.parse() {
        Ok(ip) => ip,
        Err(_) => resolve(host)?,
    };
    let family = if family == "ipv4" {
        AF_INET
    } else {
        AF_INET_SDP
    };
    let mut raw = Vec::with_capacity(16);
    raw.extend_from_slice(&family.to_ne_bytes());
    raw.extend_from_slice(&port(number)?.to_be_bytes());
    raw.extend_from_slice(&ip.octets());
    raw.extend_from_slice(&[0; 8]);
    Ok(raw)
}

fn resolve(host: &str) -> Result<Ipv4Addr, String> {
    let fail =
        |reason: &str| format!("can not resolve the hostname: gethostbyname({host}): {reason}");
    if host.is_empty() {
        return Err(fail("Unknown host"));
    }
    let found = (host, 0).to_socket_addrs().map_err(|error| {
        let text = error.to_string();
        fail(match text.rsplit(": ").next() {
            Some("Temporary failure in name resolution") => "Host name lookup failure",
            Some("Name or service not known") | None => "Unknown host",
            Some(other) => other,
        })
    })?;
    let v4 = found.filter_map(|address| match address.ip() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    });
    v4.into_iter().next().ok_or_else(|| fail("no IPv4 address"))
}

fn parse_v6(whole: &str, text: &str) -> Result<Vec<u8>, String> {
    let malformed = || format!("unexpected ipv6 format: {text}");
    let (host, number, remark) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']').ok_or_else(malformed)? {
            (host, "") => (host, None, String::new()),
            (host, rest) => (
                host,
                Some(rest.strip_prefix(':').ok_or_else(malformed)?),
                String::new(),
            ),
        },
        None => {
            let (host, number) = text.rsplit_once(':').ok_or_else(malformed)?;
            (
                host,
                Some(number),
                format!("interpreting {whole} as ipv6:[{host}]:{number}\n"),
            )
        }
    };
    let (ip, scope) = host.split_once('%').unwrap_or((host, ""));
    let ip: Ipv6Addr = ip.parse().map_err(|_| {
        let reason = match ip.parse::<Ipv4Addr>() {
            Ok(_) => "Address family for hostname not supported",
            Err(_) => "Name or service not known",
        };
        format!("{remark}getaddrinfo {host}: {reason}")
    })?;
    let mut raw = Vec::with_capacity(28);
    raw.extend_from_slice(&AF_INET6.to_ne_bytes());
    raw.extend_from_slice(&port(number)?.to_be_bytes());
    raw.extend_from_slice(&[0; 4]);
    raw.extend_from_slice(&ip.octets());
    raw.extend_from_slice(&scope_number(scope)?.to_ne_bytes());
    Ok(raw)
}

/// The number of an interface from its number or name; 0 without one.
fn scope_number(scope: &str) -> Result<u32, String> {
    if scope.is_empty() {
        return Ok(0);
    }
    if let Ok(number) = scope.parse() {
        return Ok(number);
    }
    let known = !scope.contains('/');
    let path = format!("/sys/class/net/{scope}/ifindex");
    let text = if known {
        std::fs::read_to_string(path).ok()
    } else {
        None
    };
    text.and_then(|t| t.trim().parse().ok())
        .ok_or_else(|| format!("{scope}: there is no network interface of this name"))
}

/// `ipv4 10.0.0.1:7788` for a raw sockaddr, as `show` prints it.
pub fn format_address(raw: &[u8]) -> String {
    let family = raw
        .get(..2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_ne_bytes);
    let port = raw
        .get(2..4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_be_bytes);
    let v4 = raw
        .get(4..8)
        .and_then(|b| <[u8; 4]>::try_from(b).ok())
        .map(Ipv4Addr::from);
    let v6 = raw
        .get(8..24)
        .and_then(|b| <[u8; 16]>::try_from(b).ok())
        .map(Ipv6Addr::from);
    match (family, v4, v6) {
        (AF_INET6, _, Some(ip)) => {
            let scope = raw
                .get(24..28)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u32::from_ne_bytes);
            let scope = if scope == 0 {
                String::new()
            } else {
                format!("%{scope}")
            };
            format!("ipv6 [{ip}{scope}]:{port}")
        }
        (AF_INET, Some(ip), _) => format!("ipv4 {ip}:{port}"),
        (AF_INET_SDP, Some(ip), _) => format!("ssocks {ip}:{port}"),
        _ => format!("[unknown af={family}, len={}]", raw.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for (given, shown) in [
            ("ipv4:10.0.0.1:7789", "ipv4 10.0.0.1:7789"),
            ("10.0.0.1", "ipv4 10.0.0.1:7788"),
            ("ipv6:[fe80::1]:7790", "ipv6 [fe80::1]:7790"),
            ("ipv6:[fe80::1%2]:7790", "ipv6 [fe80::1%2]:7790"),
            ("ipv6:fe80::1:7790", "ipv6 [fe80::1]:7790"),
            ("[::1]", "ipv6 [::1]:7788"),
            ("ssocks:10.0.0.1:7789", "ssocks 10.0.0.1:7789"),
        ] {
            let raw = parse_address(given).expect(given);
            assert_eq!(format_address(&raw), shown);
        }
    }

    #[test]
    fn a_port_is_cut_to_16_bits_as_recorded() {
        let raw = parse_address("10.0.0.1:99999").expect("accepted");
        assert_eq!(format_address(&raw), "ipv4 10.0.0.1:34463");
    }

    #[test]
    fn refusals_have_the_recorded_texts() {
        let refusal = parse_address("ipv6:10.0.0.1:7789").expect_err("IPv4 address");
        assert_eq!(
            refusal,
            "interpreting ipv6:10.0.0.1:7789 as ipv6:[10.0.0.1]:7789\n\
             getaddrinfo 10.0.0.1: Address family for hostname not supported"
        );
        assert_eq!(
            parse_address("10.0.0.1:port").expect_err("port"),
            "port is not a valid number"
        );
        for text in ["[::1:7", "[::1]7"] {
            let refusal = parse_address(&format!("ipv6:{text}")).expect_err(text);
            assert_eq!(refusal, format!("unexpected ipv6 format: {text}"));
        }
        assert!(parse_address("")
            .expect_err("empty")
            .starts_with("can not resolve the hostname: gethostbyname()"));
        assert!(parse_address("ipv6:[fe80::1%no/where]:1").is_err());
    }
}
