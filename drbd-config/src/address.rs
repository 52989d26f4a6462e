// SPDX-License-Identifier: GPL-2.0
//! Network addresses of the configuration.

use crate::diagnostic::Position;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `[family] ADDRESS:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// `ipv4`, `ipv6`, `sdp` or `ssocks`.
    pub family: String,
    /// Address as written, without brackets; IPv6 may carry a zone.
    pub host: String,
    /// Port.
    pub port: u64,
    /// Of the statement.
    pub position: Position,
}

impl Address {
    /// `A:PORT` or `[A6]:PORT`.
    pub fn host_port(&self) -> String {
        if self.family == "ipv6" {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// As drbdsetup wants it: `family:A:PORT`.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.family, self.host_port())
    }

    /// As the name of a floating section: `A:PORT` or `ipv6 [A]:PORT`.
    pub fn floating_name(&self) -> String {
        match self.family.as_str() {
            "ipv6" => format!("ipv6 {}", self.host_port()),
            _ => self.host_port(),
        }
    }

    /// The binary address; `None`: the groups are out of range.
    pub fn ip(&self) -> Option<IpAddr> {
        let bare = self.host.split('%').next().unwrap_or("");
        if self.family == "ipv6" {
            bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        } else {
            let groups: Option<Vec<u8>> = bare.split('.').map(|group| group.parse().ok()).collect();
            let groups: [u8; 4] = groups?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(groups)))
        }
    }

    /// Reachable from this machine only.
    pub fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// Same end point whatever the spelling.
    pub fn same_as(&self, other: &Self) -> bool {
        let hosts = match (self.ip(), other.ip()) {
            (Some(a), Some(b)) => a == b,
            _ => self.host == other.host,
        };
        self.family == other.family && self.port == other.port && hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(family: &str, host: &str) -> Address {
        Address {
            family: family.into(),
            host: host.into(),
            port: 7,
            position: Position::default(),
        }
    }

    #[test]
    fn addresses_compare_by_value() {
        assert!(address("ipv6", "fd01:0::1").same_as(&address("ipv6", "fd01::1")));
        assert!(address("ipv4", "010.1.1.1").same_as(&address("ipv4", "10.1.1.1")));
        assert!(!address("sdp", "10.1.1.1").same_as(&address("ipv4", "10.1.1.1")));
        assert!(address("ipv4", "127.0.0.1").is_loopback() && address("ipv6", "::1").is_loopback());
        assert_eq!(
            address("ipv6", "fe80::1%eth0").endpoint(),
            "ipv6:[fe80::1%eth0]:7"
        );
    }
}
