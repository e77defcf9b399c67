//! BIND 9 as the resolver that cannot be patched: `query-source port`, through the protected path.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{Network, dnsalt, eventually, load_foreign, network};
use dnsalt_lab::{Host, Running};

/// BIND refuses to ask from the port that it listens on, so it listens elsewhere.
const LISTENS: u16 = 5300;

/// BIND on a host, asking the lab's servers from a fixed port.
fn bind(host: &Host, query_source: u16) -> Running {
    let configuration = format!(
        "options {{
            directory \"/var/cache/bind\";
            port {LISTENS};
            listen-on {{ 127.0.0.1; }};
            listen-on-v6 {{ none; }};
            query-source address * port {query_source};
            query-source-v6 address * port {query_source};
            forward only;
            forwarders {{ 10.53.2.53 port 53; 10.53.2.54 port 53; fd53:2::53 port 53; }};
            dnssec-validation no;
            empty-zones-enable no;
            pid-file none;
            session-keyfile none;
        }};
        controls {{ }};\n"
    );
    // Over the machine's own, in the host's private mounts: AppArmor lets named read nowhere else.
    host.sh("mount -t tmpfs tmpfs /etc/bind; mount -t tmpfs tmpfs /var/cache/bind").unwrap();
    host.run(move || std::fs::write("/etc/bind/named.conf", configuration).unwrap());
    let named = host
        .command("named")
        .args(["-g", "-c", "/etc/bind/named.conf"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("named answers", Duration::from_secs(20), || resolves(host, "ready.example"));
    named
}

fn resolves(host: &Host, name: &str) -> bool {
    let dig = format!("dig -p {LISTENS} +short +tries=1 +time=5 @127.0.0.1 {name} A || true");
    host.sh(&dig).unwrap().trim() == "192.0.2.80"
}

/// The ports that BIND's queries for some new names left from.
fn ports(network: &Network, host: &Host, round: &str) -> Vec<u16> {
    network.servers.take_seen();
    for i in 0..20 {
        assert!(resolves(host, &format!("n{i}.{round}.example")), "n{i}.{round}");
    }
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
            let _named = bind(host, port);
            let before = ports(&network, host, "before");
            assert!(before.iter().all(|seen| *seen == port), "{before:?}");
            for options in [&["up"][..], &["up", "--per-query"]] {
                dnsalt(&net.gateway, options).exits(0);
                let after = ports(&network, host, &options.join("-").replace("--", ""));
                assert!(after.iter().all(|seen| *seen != port && *seen >= 1024), "{after:?}");
            }
            dnsalt(&net.gateway, &["down"]).exits(0);
            if port == 53 {
                // With other rules that track connections, as a gateway has them, it is seen.
                load_foreign(&net.gateway);
                let _ = ports(&network, host, "between");
                let up = dnsalt(&net.gateway, &["up"]).exits(0);
                assert!(up.stderr.contains("from port 53"), "{}", up.stderr);
                net.gateway.sh("nft delete table inet filter; nft delete table ip nat").unwrap();
            }
            dnsalt(&net.gateway, &["down"]).exits(0);
            let back = ports(&network, host, "back");
            assert!(back.iter().all(|seen| *seen == port), "{back:?}");
        }
    }
}
