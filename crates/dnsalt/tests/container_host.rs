//! A host with containers on a bridge, behind masquerading that keeps ports, as Docker and podman set up.

mod common;

use std::collections::BTreeSet;

use common::{Network, dnsalt, mount_bpffs, network, ports_seen, salt};

/// The fixed port of the container.
const FIXED: u16 = 44444;

/// The gateway as such a host, the resolver as a container.
fn container_host() -> Option<Network> {
    let network = network(&["nft"])?;
    let made = network.net.gateway.sh("ip link add docker0 type bridge
         ip address flush dev lan0
         ip link set lan0 master docker0
         ip address add 10.53.1.1/24 dev docker0
         ip link set docker0 up
         nft add table ip nat
         nft add chain ip nat POSTROUTING '{ type nat hook postrouting priority srcnat; }'
         nft add rule ip nat POSTROUTING ip saddr 10.53.1.0/24 oifname != docker0 masquerade");
    if let Err(why) = made {
        eprintln!("skipped: no bridge: {why}");
        return None;
    }
    Some(network)
}

fn ports(network: &Network) -> BTreeSet<u16> {
    ports_seen(network, &network.net.resolver, FIXED, 20).into_iter().collect()
}

#[test]
fn masquerading_keeps_the_fixed_port_of_a_container() {
    let Some(network) = container_host() else { return };
    assert_eq!(ports(&network), BTreeSet::from([FIXED]));
}

#[test]
fn the_salt_engine_draws_a_port_for_every_query_of_a_container() {
    let Some(network) = container_host() else { return };
    mount_bpffs(&network.net.gateway);
    salt(&network, &[]).exits(0);
    let seen = ports(&network);
    assert!(seen.len() > 15 && !seen.contains(&FIXED), "{seen:?}");
}

#[test]
fn the_nat_engine_draws_before_the_masquerading_of_others() {
    let Some(network) = container_host() else { return };
    dnsalt(&network.net.gateway, &["up", "--per-query"]).exits(0);
    let seen = ports(&network);
    assert!(seen.len() > 15 && !seen.contains(&FIXED), "{seen:?}");
}
