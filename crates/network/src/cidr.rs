//! An IPv4 network: an address and a prefix length.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network such as `10.244.0.0/24`. Its host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

/// A text that is no IPv4 network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an IPv4 network such as 10.244.0.0/24")]
pub struct ParseCidrError {
    text: String,
}

impl Cidr {
    /// The network of `prefix` bits that holds `address`; `None` when the prefix is over 32.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let mask = mask(prefix)?;
        Some(Self {
            base: u32::from(address) & mask,
            prefix,
        })
    }

    /// The first address, whose host bits are zero.
    #[must_use]
    pub fn base(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }

    /// The prefix length, 0 to 32.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// How many addresses the network holds.
    #[must_use]
    pub fn size(self) -> u64 {
        1u64 << (32 - u32::from(self.prefix))
    }

    /// The address at `index`, or `None` past the end.
    #[must_use]
    pub fn nth(self, index: u64) -> Option<Ipv4Addr> {
        let index = u32::try_from(index).ok().filter(|_| index < self.size())?;
        Some(Ipv4Addr::from(self.base + index))
    }

    /// Whether the address lies in the network.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        mask(self.prefix).is_some_and(|mask| u32::from(address) & mask == self.base)
    }
}

fn mask(prefix: u8) -> Option<u32> {
    match prefix {
        0 => Some(0),
        1..=32 => Some(u32::MAX << (32 - u32::from(prefix))),
        _ => None,
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| ParseCidrError {
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_clears_host_bits_and_knows_its_members() {
        let net: Cidr = "10.244.1.77/24".parse().unwrap();
        assert_eq!(net.to_string(), "10.244.1.0/24");
        assert!(net.contains("10.244.1.255".parse().unwrap()));
        assert!(!net.contains("10.244.2.0".parse().unwrap()));
        assert_eq!(net.nth(2), Some("10.244.1.2".parse().unwrap()));
        assert_eq!(net.nth(256), None);
    }

    #[test]
    fn bad_networks_are_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/0",
            "10.0.0.0/-1",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!("0.0.0.0/0".parse::<Cidr>().unwrap().size(), 1 << 32);
    }
}
