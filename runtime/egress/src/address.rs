//! Which internet addresses are public: the pure half of the guard against forged destinations.
//!
//! An envelope or a plugin chooses a host name; a resolver chooses the address. [`Guard`](crate::Guard) asks here about
//! every *resolved* address before anything connects to it. Nothing here does I/O.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use sortie_contract::host::canonical;
use sortie_contract::limit;

/// The IPv4 ranges that are not public, as (network, prefix length), from IANA's special-purpose address registry.
const V4_NOT_PUBLIC: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),       // this network; Linux takes 0.0.0.0 for loopback
    (Ipv4Addr::new(10, 0, 0, 0), 8),      // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),   // carrier-grade NAT; clouds keep metadata services here
    (Ipv4Addr::new(127, 0, 0, 0), 8),     // loopback
    (Ipv4Addr::new(169, 254, 0, 0), 16),  // link-local, with the metadata services of most clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12),   // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),    // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),    // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),  // 6to4 relays: would lead on to an address inside
    (Ipv4Addr::new(192, 168, 0, 0), 16),  // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),   // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),  // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),     // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),     // reserved, broadcast
];

/// The ranges inside the global unicast block `2000::/3` that are not public. What is outside of the block (loopback,
/// unique local, link-local, site-local, multicast, unspecified) is not public to begin with.
const V6_NOT_PUBLIC: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments, Teredo among them
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4: carries an IPv4 address of anybody's choice
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation
];

/// Whether `address` is one that strangers share: not private, loopback, link-local, carrier-grade NAT, multicast,
/// reserved, and no IPv6 form of such an IPv4 address.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => !V4_NOT_PUBLIC.iter().any(|&(network, length)| within_v4(v4, network, length)),
        IpAddr::V6(v6) => {
            let global_unicast = v6.segments()[0] & 0xe000 == 0x2000;
            global_unicast && !V6_NOT_PUBLIC.iter().any(|&(network, length)| within_v6(v6, network, length))
        }
    }
}

/// Addresses that the operator allows although they are not public: a single one (`127.0.0.1`, `::1`) or a network
/// (`10.1.0.0/16`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr, // canonical
    length: u32,
}

impl Network {
    /// Whether `address`, in whatever form it is written, is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (canonical(address), self.address) {
            (IpAddr::V4(address), IpAddr::V4(network)) => within_v4(address, network, self.length),
            (IpAddr::V6(address), IpAddr::V6(network)) => within_v6(address, network, self.length),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Why a text is no [`Network`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotANetwork(String);

impl fmt::Display for NotANetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an IP address such as 127.0.0.1 nor a network such as 10.1.0.0/16", self.0)
    }
}

impl std::error::Error for NotANetwork {}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NotANetwork(limit::clip(text, limit::QUOTE_BYTES_MAX));
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let Some(length) = length else {
            let address = canonical(address);
            return Ok(Self { address, length: if address.is_ipv4() { 32 } else { 128 } });
        };
        // A prefix of an IPv4 address in IPv6 clothes could be meant in two ways.
        let length = length.parse().ok().filter(|&length| length <= bits && canonical(address) == address);
        Ok(Self { address, length: length.ok_or_else(refused)? })
    }
}

/// Whether something may connect to `address`: it is public, or the operator lists it.
pub(crate) fn may_connect(address: IpAddr, allow_private: &[Network]) -> bool {
    is_public(address) || allow_private.iter().any(|network| network.contains(address))
}

fn within_v4(address: Ipv4Addr, network: Ipv4Addr, length: u32) -> bool {
    (u32::from(address) ^ u32::from(network)).leading_zeros() >= length
}

fn within_v6(address: Ipv6Addr, network: Ipv6Addr, length: u32) -> bool {
    (u128::from(address) ^ u128::from(network)).leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_is_what_strangers_share() {
        for text in ["1.1.1.1", "9.255.255.255", "11.0.0.0", "93.184.215.14", "100.63.255.255", "100.128.0.0"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["172.15.255.255", "172.32.0.0", "192.169.0.0", "223.255.255.255", "192.0.1.1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["2606:4700:4700::1111", "2a00:1450:4001:800::200e", "::ffff:1.1.1.1", "64:ff9b::101:101"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn everything_of_the_inside_is_refused() {
        let inside = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254
            172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255
            198.51.100.7 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
            :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b:1::1
            100::1 2001::1 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1";
        for text in inside.split_whitespace() {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn one_address_has_one_canonical_form() {
        for text in ["127.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1"] {
            assert_eq!(canonical(text.parse().unwrap()), IpAddr::V4(Ipv4Addr::LOCALHOST), "{text}");
        }
        assert_eq!(canonical(IpAddr::V6(Ipv6Addr::LOCALHOST)), IpAddr::V6(Ipv6Addr::LOCALHOST));
    }

    #[test]
    fn what_the_operator_lists_is_allowed_in_any_form_and_nothing_beside_it() {
        let listed: Vec<Network> = ["127.0.0.1", "::1", "10.1.0.0/16"].map(|text| text.parse().unwrap()).to_vec();
        for text in ["127.0.0.1", "::ffff:127.0.0.1", "::1", "10.1.255.255", "::ffff:10.1.0.1", "1.1.1.1"] {
            assert!(may_connect(text.parse().unwrap(), &listed), "{text}");
        }
        for text in ["127.0.0.2", "::2", "10.2.0.0", "169.254.169.254", "0.0.0.0"] {
            assert!(!may_connect(text.parse().unwrap(), &listed), "{text}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("169.254.169.254".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "localhost",
            "127.0.0.1:80",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "::1/129",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
