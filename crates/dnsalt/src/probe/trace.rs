//! A sighting as a line, much as tcpdump writes it.

use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use super::Sighting;

/// `15:04:05.123456 wan0 > 10.53.2.1.9374 > 10.53.2.53.53: 4660+ A? 0-0.9f3a2b1c.test.`
///
/// Times are UTC, as is the rest of what we print.
pub(crate) fn trace_line(sighting: &Sighting) -> String {
    let since = sighting.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = since.as_secs() % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let what = match (sighting.response, sighting.rcode) {
        (false, _) => format!("{}+ A? {}.", sighting.id, sighting.name),
        (true, 0) => format!("{} answer", sighting.id),
        (true, 3) => format!("{} answer, NXDOMAIN", sighting.id),
        (true, rcode) => format!("{} answer, RCODE {rcode}", sighting.id),
    };
    format!(
        "{hour:02}:{minute:02}:{second:02}.{:06} {}{} > {}: {what}",
        since.subsec_micros(),
        if sighting.tcp { "tcp " } else { "" },
        end(sighting.source),
        end(sighting.destination),
    )
}

fn end(end: SocketAddr) -> String {
    format!("{}.{}", end.ip(), end.port())
}
