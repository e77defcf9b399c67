//! The servers that this machine asks.

use std::fs;
use std::net::IpAddr;

/// The servers of resolv.conf, in order. Where it names only the stub of systemd-resolved on this
/// machine, those that the stub asks.
pub(crate) fn servers() -> Vec<IpAddr> {
    let servers = read("/etc/resolv.conf");
    if !servers.is_empty() && servers.iter().all(IpAddr::is_loopback) {
        let upstream = read("/run/systemd/resolve/resolv.conf");
        if !upstream.is_empty() {
            return upstream;
        }
    }
    servers
}

/// The servers that programs on this machine ask, stub or not.
pub(crate) fn first_hop() -> Vec<IpAddr> {
    read("/etc/resolv.conf")
}

fn read(path: &str) -> Vec<IpAddr> {
    // A comment may be in any encoding.
    parse(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default()))
}

fn parse(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        // A zone (fe80::1%eth0) is beyond what we ask: such a server is passed over.
        words.next()?.parse().ok()
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_read_and_nothing_else() {
        let text = "# nameserver 192.0.2.1\nsearch example.net\nnameserver 192.0.2.53\n\
                    nameserver\t2001:db8::53 # comment\nnameserver fe80::1%eth0\noptions edns0\n";
        let expected: [IpAddr; 2] =
            ["192.0.2.53".parse().unwrap(), "2001:db8::53".parse().unwrap()];
        assert_eq!(parse(text), expected);
    }
}
