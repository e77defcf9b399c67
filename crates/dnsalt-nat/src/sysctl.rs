//! What the kernel says of itself under `/proc/sys`; always of the network namespace we run in.

use dnsalt_policy::PortRange;

/// Ports that the administrator has reserved: `net.ipv4.ip_local_reserved_ports`.
pub fn reserved_ports() -> Vec<PortRange> {
    let text = read("net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    text.split(',').filter_map(|range| range.trim().parse().ok()).collect()
}

/// A value, without the end of the line; none where this kernel has no such key.
pub(crate) fn read(key: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/{key}")).ok().map(|text| text.trim().to_owned())
}

/// A value that is a number.
pub(crate) fn number(key: &str) -> Option<u64> {
    read(key)?.parse().ok()
}
