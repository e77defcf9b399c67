//! What a host of the race had to do with datagrams, as its kernel counts it.

use std::fs;

use serde::Serialize;

use crate::{Host, LabError};

/// From `/proc/net/snmp` (RFC 4113, RFC 2011).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Datagrams {
    /// Given to a program: `UdpInDatagrams`.
    pub delivered: u64,
    /// Lost, as a program did not read fast enough: `UdpRcvbufErrors`.
    pub overflowed: u64,
    /// Errors "unreachable" that were sent: `IcmpOutDestUnreachs`.
    pub icmp_errors: u64,
}

impl Datagrams {
    pub(super) fn since(&self, before: &Self) -> Self {
        Datagrams {
            delivered: self.delivered.saturating_sub(before.delivered),
            overflowed: self.overflowed.saturating_sub(before.overflowed),
            icmp_errors: self.icmp_errors.saturating_sub(before.icmp_errors),
        }
    }
}

pub(super) fn read(host: &Host) -> Result<Datagrams, LabError> {
    // `/proc/net` would be that of the process, not that of the host.
    let text = host.run(|| fs::read_to_string("/proc/thread-self/net/snmp"));
    let text = text.map_err(|cause| LabError::Host {
        host: host.name().to_owned(),
        operation: "reading its statistics",
        cause,
    })?;
    let value = |protocol: &str, key: &str| {
        // Two lines each: names, then values.
        let mut lines = text.lines().filter(|line| line.starts_with(protocol));
        let (names, values) = (lines.next()?, lines.next()?);
        let place = names.split_whitespace().position(|name| name == key)?;
        values.split_whitespace().nth(place)?.parse().ok()
    };
    Ok(Datagrams {
        delivered: value("Udp:", "InDatagrams").unwrap_or(0),
        overflowed: value("Udp:", "RcvbufErrors").unwrap_or(0),
        icmp_errors: value("Icmp:", "OutDestUnreachs").unwrap_or(0),
    })
}
