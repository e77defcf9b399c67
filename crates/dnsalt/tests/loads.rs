//! What `rules` prints is taken by the real programs, for every kind of policy.

mod common;

use std::process::Command;

use common::{BIN, Ended, network};

const POLICIES: [&[&str]; 9] = [
    &[],
    &["--from", "10.0.0.0/8,10.1.0.0/16,2001:db8::/32", "--to", "192.0.2.53,2001:db8:1::/48"],
    &["--iface", "wan0,lan0", "--dns-port", "53,5353", "--proto", "udp"],
    &["--ports", "20000-30000", "--avoid", "none"],
    &["--source", "192.0.2.1"],
    &["--source", "192.0.2.1-192.0.2.9,2001:db8::1-2001:db8::4"],
    &["--source", "keep", "--timeout", "0"],
    &["--proto", "tcp"],
    &["--from", "10.0.0.0/8", "--timeout", "30"],
];

fn rules(firewall: &str, options: &[&str]) -> String {
    let printed = Command::new(BIN).args(["rules", "--for", firewall]).args(options).output();
    Ended::from(printed.unwrap()).exits(0).stdout
}

#[test]
fn nft_takes_its_rules() {
    let Some(network) = network(&["nft"]) else {
        return;
    };
    let per_query: [&[&str]; 2] =
        [&["--per-query"], &["--per-query", "--iface", "wan0", "--source", "keep"]];
    for options in POLICIES.into_iter().chain(per_query) {
        let text = rules("nft", options);
        for args in [&["-c", "-f", "-"][..], &["-f", "-"]] {
            let nft =
                network.net.gateway.command("nft").args(args).output_with_input(text.as_bytes());
            assert_eq!(Ended::from(nft.unwrap()).exits(0).stderr, "", "{options:?}");
        }
    }
}

#[test]
fn both_iptables_take_their_rules() {
    let Some(network) = network(&["iptables-nft", "iptables-legacy", "nfct"]) else {
        return;
    };
    let gateway = &network.net.gateway;
    gateway.sh("nfct timeout add dns4 inet udp unreplied 2 replied 1; nfct timeout add dns6 inet6 udp unreplied 2 replied 1").unwrap();
    for options in POLICIES {
        let text = rules("iptables", options);
        for variant in ["nft", "legacy"] {
            for program in ["iptables", "ip6tables"] {
                for test in [&["--noflush", "--test"][..], &["--noflush"]] {
                    let restore =
                        gateway.command(format!("{program}-{variant}-restore")).args(test);
                    let restored = Ended::from(restore.output_with_input(text.as_bytes()).unwrap());
                    assert_eq!(restored.exits(0).stderr, "", "{variant} {program} {options:?}");
                }
                for table in ["raw", "mangle", "nat"] {
                    gateway.sh(&format!("{program}-{variant} -t {table} -F")).unwrap();
                }
            }
        }
    }
}
