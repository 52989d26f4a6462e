// SPDX-License-Identifier: GPL-2.0
//! Name and addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name of this machine, or the one that `__DRBD_NODE__` pretends.
pub fn name() -> String {
    match std::env::var("__DRBD_NODE__") {
        Ok(pretended) => {
            if !pretended.is_empty() {
                eprintln!("\n   __DRBD_NODE__ is set: going on as if this were >>{pretended}<<\n");
            }
            pretended
        }
        Err(_) => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    }
}

/// Addresses of this machine, of all its interfaces.
pub fn addresses() -> Vec<IpAddr> {
    let routes = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut found = local_ipv4(&routes);
    found.extend(local_ipv6(&interfaces));
    found.sort_unstable();
    found.dedup();
    found
}

/// The address is on this machine; all of 127.0.0.0/8 is.
pub fn has(addresses: &[IpAddr], wanted: IpAddr) -> bool {
    addresses.contains(&wanted) || matches!(wanted, IpAddr::V4(v4) if v4.is_loopback())
}

/// Local host routes of the routing trie: an address line followed by `/32 host LOCAL`.
fn local_ipv4(trie: &str) -> Vec<IpAddr> {
    let mut last: Option<Ipv4Addr> = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last.map(IpAddr::V4));
        }
    }
    found
}

/// First column: 32 hexadecimal digits.
fn local_ipv6(table: &str) -> Vec<IpAddr> {
    let first = table
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    first
        .filter_map(|hex| u128::from_str_radix(hex, 16).ok())
        .map(|bits| IpAddr::V6(Ipv6Addr::from(bits)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_the_tables_of_the_kernel() {
        let trie = "Local:\n  +-- 0.0.0.0/1 2 0 2\n     |-- 10.1.1.0\n        /24 link UNICAST\n     |-- 10.1.1.31\n        /32 host LOCAL\n";
        assert_eq!(local_ipv4(trie), [IpAddr::from([10, 1, 1, 31])]);
        let table = "fe800000000000000000000000000001 02 40 20 80     eth0\n";
        assert_eq!(
            local_ipv6(table),
            ["fe80::1".parse::<IpAddr>().expect("address")]
        );
        assert!(has(&[], IpAddr::from([127, 0, 0, 9])));
    }
}
