//! `up --engine salt --conntrack off`: a NAT for DNS without conntrack.

mod common;

use std::collections::HashSet;

use common::{Network, dnsalt, mount_bpffs, network, ports_seen, salt};

const OPTIONS: [&str; 4] = ["--source", "10.53.2.1", "--conntrack", "off"];

/// The network, with clients that nobody outside has a route to, and conntrack at work.
fn private() -> Option<Network> {
    let network = network(&["tc", "nft", "conntrack"])?;
    mount_bpffs(&network.net.gateway);
    network.net.upstream.sh("ip route del 10.53.1.0/24; ip -6 route del fd53:1::/64").unwrap();
    let rules = "nft add table inet fw
        nft add chain inet fw forward '{ type filter hook forward priority filter; policy accept; }'
        nft add rule inet fw forward ct state established,related accept
        nft add chain inet fw input '{ type filter hook input priority filter; policy accept; }'";
    network.net.gateway.sh(rules).unwrap();
    Some(network)
}

fn rules(network: &Network) -> String {
    network.net.gateway.sh("nft list ruleset").unwrap()
}

/// Entries of conntrack for DNS over UDP.
fn tracked(network: &Network) -> usize {
    let list = network.net.gateway.sh("conntrack -L -p udp --dport 53 2> /dev/null").unwrap();
    list.lines().count()
}

#[test]
fn private_clients_are_translated_and_conntrack_sees_none_of_it() {
    let Some(network) = private() else { return };
    let before = rules(&network);
    let up = salt(&network, &OPTIONS).exits(0);
    assert!(up.stdout.contains("tracking off for IPv4 queries, by nftables"), "{}", up.stdout);
    // `up` has asked before there were rules, whether names resolve.
    network.net.gateway.sh("conntrack -F 2> /dev/null").unwrap();
    for host in [&network.net.resolver, &network.net.gateway] {
        let ports = ports_seen(&network, host, 44444, 20);
        assert!(ports.into_iter().collect::<HashSet<_>>().len() > 35);
    }
    assert_eq!(tracked(&network), 0);
    dnsalt(&network.net.gateway, &["status"]).exits(0);
    // With it, each query has an entry that salted ones do not need.
    salt(&network, &["--source", "10.53.2.1"]).exits(0);
    assert_eq!(rules(&network), before);
    ports_seen(&network, &network.net.gateway, 44444, 20);
    assert!(tracked(&network) > 0);
    salt(&network, &OPTIONS).exits(0);
    assert_ne!(rules(&network), before);
    dnsalt(&network.net.gateway, &["down"]).exits(0);
    assert_eq!(rules(&network), before);
}

#[test]
fn a_filter_that_would_drop_replies_is_named_with_its_mend() {
    let Some(network) = private() else { return };
    let gateway = &network.net.gateway;
    let shut = "nft 'chain inet fw forward { policy drop; }'
        nft add rule inet fw forward iifname lan0 accept";
    gateway.sh(shut).unwrap();
    let before = rules(&network);
    let refused = salt(&network, &OPTIONS).exits(3);
    assert!(refused.stderr.contains("chain forward of table inet fw"), "{}", refused.stderr);
    assert_eq!(rules(&network), before);
    assert_eq!(gateway.sh("ls /run/dnsalt").unwrap(), "");
    let mend = "nft insert rule inet fw forward ct state untracked udp sport 53 accept";
    assert!(refused.stderr.contains(mend), "{}", refused.stderr);
    gateway.sh(mend).unwrap();
    salt(&network, &OPTIONS).exits(0);
    assert!(ports_seen(&network, &network.net.resolver, 44444, 5).len() >= 10);
}

#[test]
fn rules_that_somebody_removed_are_missed_and_come_back() {
    let Some(network) = private() else { return };
    let gateway = &network.net.gateway;
    salt(&network, &OPTIONS).exits(0);
    gateway.sh("nft delete table inet dnsalt-notrack").unwrap();
    let status = dnsalt(gateway, &["status"]).exits(1);
    assert!(status.stdout.contains("keep queries out of conntrack"), "{}", status.stdout);
    salt(&network, &OPTIONS).exits(0);
    assert!(rules(&network).contains("table inet dnsalt-notrack"));
}

#[test]
fn who_cannot_do_it_says_so_and_changes_nothing() {
    let Some(network) = private() else { return };
    let gateway = &network.net.gateway;
    let before = rules(&network);
    let nowhere = salt(&network, &["--conntrack", "off"]).exits(2);
    assert!(nowhere.stderr.contains("needs `source`"), "{}", nowhere.stderr);
    let nat = dnsalt(gateway, &["up", "--source", "10.53.2.1", "--conntrack", "off"]).exits(2);
    assert!(nat.stderr.contains("--engine salt"), "{}", nat.stderr);
    let path = common::programs(&[("tc", "tc")]);
    let without = [&common::SALT[..], &OPTIONS].concat();
    let without = common::dnsalt_with_path(gateway, path.path(), &without).exits(3);
    assert!(without.stderr.contains("nft: not found"), "{}", without.stderr);
    assert_eq!(rules(&network), before);
    assert_eq!(gateway.sh("ls /run/bpf/dnsalt 2> /dev/null || true").unwrap(), "");
}

/// A server on the gateway itself is nobody's business: its clients are tracked as ever.
#[test]
fn queries_to_the_gateway_itself_are_tracked() {
    let Some(network) = private() else { return };
    let gateway = &network.net.gateway;
    let own: std::net::IpAddr = "10.53.1.1".parse().unwrap();
    let _server = dnsalt_lab::actor::DnsServer::start(gateway, &[own]).unwrap();
    salt(&network, &OPTIONS).exits(0);
    gateway.sh("conntrack -F 2> /dev/null").unwrap();
    let resolver = &network.net.resolver;
    let seen = resolver.run(move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:44444").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let query = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
        socket.send_to(query, (own, 53)).unwrap();
        socket.recv_from(&mut [0; 512]).unwrap().1.ip()
    });
    assert_eq!((seen, tracked(&network)), (own, 1));
}
