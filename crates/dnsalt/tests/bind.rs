//! BIND 9 as the resolver that cannot be patched: `query-source port`, through the protected path.

mod common;

use common::resolvers::{self, Resolver};
use common::{Network, dnsalt, load_foreign, network};
use dnsalt_lab::Host;

/// BIND on a host, asking the lab's servers from a fixed port.
fn bind(host: &Host, query_source: u16) -> Resolver {
    resolvers::bind(
        host,
        &format!(
            "query-source address * port {query_source};
            query-source-v6 address * port {query_source};
            forwarders {{ 10.53.2.53 port 53; 10.53.2.54 port 53; fd53:2::53 port 53; }};"
        ),
    )
}

/// The ports that BIND's queries for some new names left from.
fn ports(network: &Network, bind: &Resolver, host: &Host, round: &str) -> Vec<u16> {
    network.servers.take_seen();
    let names: Vec<_> = (0..20).map(|i| format!("n{i}.{round}.example")).collect();
    assert_eq!(bind.asked(host, &names, "+short"), "192.0.2.80\n".repeat(20), "{round}");
    let seen = network.servers.take_seen();
    assert!(seen.len() >= 20);
    seen.iter().filter(|query| !query.tcp).map(|query| query.peer.port()).collect()
}

#[test]
fn bind_with_a_fixed_port_is_protected_and_goes_on_resolving() {
    for port in [53, 33333] {
        let Some(network) = network(&["nft", "named", "dig"]) else {
            return;
        };
        let Network { net, .. } = &network;
        // Behind the gateway, and on the gateway itself.
        for host in [&net.resolver, &net.gateway] {
            let named = bind(host, port);
            let before = ports(&network, &named, host, "before");
            assert!(before.iter().all(|seen| *seen == port), "{before:?}");
            for options in [&["up"][..], &["up", "--per-query"]] {
                dnsalt(&net.gateway, options).exits(0);
                let after = ports(&network, &named, host, &options.join("-").replace("--", ""));
                assert!(after.iter().all(|seen| *seen != port && *seen >= 1024), "{after:?}");
            }
            dnsalt(&net.gateway, &["down"]).exits(0);
            if port == 53 {
                // With other rules that track connections, as a gateway has them, it is seen.
                load_foreign(&net.gateway);
                let _ = ports(&network, &named, host, "between");
                let up = dnsalt(&net.gateway, &["up"]).exits(0);
                assert!(up.stderr.contains("from port 53"), "{}", up.stderr);
                net.gateway.sh("nft delete table inet filter; nft delete table ip nat").unwrap();
            }
            dnsalt(&net.gateway, &["down"]).exits(0);
            let back = ports(&network, &named, host, "back");
            assert!(back.iter().all(|seen| *seen == port), "{back:?}");
        }
    }
}
