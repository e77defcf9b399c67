//! Real resolvers in networks of the lab: `dnsalt check` watches at the servers, and says of each what
//! an expert would.

mod common;

use common::judged::{Resolver, assert_broken, names};
use common::network;
use common::unpacked::network_with;
use serde_json::Value;

/// Where the resolvers listen, on their host; for dig.
const AT: &str = "-p 5300 @127.0.0.1";

#[track_caller]
fn assert_fair(judgement: &Value) {
    assert!(judgement["verdict"] == "fair" || judgement["verdict"] == "strong", "{judgement:#}");
    assert!(names(judgement).iter().all(|name| *name == "port-per-server"), "{judgement:#}");
}

#[test]
fn bind_with_a_fixed_port_and_without() {
    let Some(network) = network(&["named", "dig"]) else { return };
    let host = &network.net.resolver;
    host.sh("mount -t tmpfs tmpfs /etc/bind; mount -t tmpfs tmpfs /var/cache/bind").unwrap();
    for (fixed, source) in [(true, "query-source address * port 33553;"), (false, "")] {
        let configuration = format!(
            "options {{ directory \"/var/cache/bind\"; port 5300; listen-on {{ 127.0.0.1; }};
            listen-on-v6 {{ none; }}; {source} forward only; forwarders {{ 10.53.2.53 port 53; }};
            dnssec-validation no; pid-file none; session-keyfile none; }}; controls {{ }};\n"
        );
        host.run(move || std::fs::write("/etc/bind/named.conf", configuration).unwrap());
        let named = Resolver::start(host, AT, "named", &["-g", "-c", "/etc/bind/named.conf"]);
        let judgement = named.judged(&network, 120);
        drop(named);
        if fixed {
            assert_broken(&judgement, &["fixed-port"]);
        } else {
            assert_fair(&judgement);
        }
    }
}

#[test]
fn unbound_with_a_fixed_port_and_without() {
    let Some(network) = network(&["unbound", "dig"]) else { return };
    let host = &network.net.resolver;
    host.sh("mount -t tmpfs tmpfs /etc/unbound").unwrap();
    for (fixed, ports) in
        [(true, "outgoing-port-avoid: 0-65535\n outgoing-port-permit: 41000"), (false, "")]
    {
        let configuration = format!(
            "server:\n interface: 127.0.0.1\n port: 5300\n username: \"\"\n chroot: \"\"\n
            pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n module-config: \"iterator\"\n {ports}\n
            forward-zone:\n name: \".\"\n forward-addr: 10.53.2.53\n"
        );
        host.run(move || std::fs::write("/etc/unbound/unbound.conf", configuration).unwrap());
        let unbound =
            Resolver::start(host, AT, "unbound", &["-d", "-c", "/etc/unbound/unbound.conf"]);
        let judgement = unbound.judged(&network, 120);
        drop(unbound);
        if fixed {
            assert_broken(&judgement, &["fixed-port"]);
        } else {
            assert_fair(&judgement);
        }
    }
}

#[test]
fn dnsmasq_with_a_fixed_port_and_without() {
    let Some(network) = network(&["dnsmasq", "dig"]) else { return };
    let host = &network.net.resolver;
    for (fixed, ports) in [(true, &["--query-port=33554"][..]), (false, &[])] {
        let mut args = vec![
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--user=root",
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--server=10.53.2.53",
            "--port=5300",
        ];
        args.extend(ports);
        let dnsmasq = Resolver::start(host, AT, "dnsmasq", &args);
        let judgement = dnsmasq.judged(&network, 120);
        drop(dnsmasq);
        if fixed {
            assert_broken(&judgement, &["fixed-port"]);
        } else {
            assert_fair(&judgement);
        }
    }
}

#[test]
fn powerdns_draws_from_all_ports() {
    let program = "/usr/sbin/pdns_recursor";
    let Some(network) = network_with("pdns-recursor", program, &["dig"]) else { return };
    let host = &network.net.resolver;
    let pdns = Resolver::start(
        host,
        AT,
        program,
        &[
            "--config-dir=/run",
            "--socket-dir=/run",
            "--daemon=no",
            "--local-address=127.0.0.1",
            "--local-port=5300",
            "--forward-zones-recurse=.=10.53.2.53",
            "--dnssec=off",
            "--security-poll-suffix=",
        ],
    );
    let judgement = pdns.judged(&network, 250);
    drop(pdns);
    assert_fair(&judgement);
    // Farther than the kernel would go by itself.
    assert!(judgement["ports"]["lowest"].as_u64() < Some(8192), "{judgement:#}");
    assert!(judgement["ports"]["highest"].as_u64() > Some(61_000), "{judgement:#}");
}

#[test]
fn knot_mixes_the_case_of_letters() {
    let program = "/usr/sbin/kresd";
    let Some(network) = network_with("knot-resolver", program, &["dig"]) else { return };
    let host = &network.net.resolver;
    let configuration = "net.listen('127.0.0.1', 5300, { kind = 'dns' })
        trust_anchors.remove('.')
        modules.unload('priming'); modules.unload('detect_time_skew')
        modules.unload('ta_update'); modules.unload('ta_signal_query')
        cache.size = 10 * MB
        policy.add(policy.all(policy.FORWARD('10.53.2.53')))\n";
    host.run(move || std::fs::write("/run/kresd.conf", configuration).unwrap());
    let kresd = Resolver::start(host, AT, program, &["-n", "-c", "/run/kresd.conf", "/run"]);
    let judgement = kresd.judged(&network, 120);
    drop(kresd);
    assert_eq!(judgement["verdict"], "strong", "{judgement:#}");
    assert!(names(&judgement).is_empty(), "{judgement:#}");
    assert_eq!(judgement["case"]["mixed"], 1.0, "{judgement:#}");
    // All letters of nameN.letters-of-a-resolver.example: so many that no name is in one case by chance.
    assert_eq!(judgement["case"]["bits"], 29.0, "{judgement:#}");
    assert_eq!(judgement["target"]["case_bits"], 29.0, "{judgement:#}");
}

#[test]
fn systemd_resolved_is_fair() {
    let program = "/usr/lib/systemd/systemd-resolved";
    let Some(network) = network_with("systemd-resolved", program, &["dig"]) else { return };
    let host = &network.net.resolver;
    // It wants a user of its own, whom the machine need not have: the host has lists of its own. The
    // host's /run is its own anyway, and there is no bus on it.
    host.sh("user=systemd-resolve:x:65432:65432::/:/usr/sbin/nologin
         echo $user | cat - /etc/passwd > /run/passwd; mount --bind /run/passwd /etc/passwd
         echo systemd-resolve:x:65432: | cat - /etc/group > /run/group
         mount --bind /run/group /etc/group
         mkdir -p /run/systemd/resolved.conf.d")
        .unwrap();
    // The first DNS= forgets the servers of the machine's own resolved.conf.
    let configuration = "[Resolve]\nDNS=\nDNS=10.53.2.53\nFallbackDNS=\nDomains=~.\nDNSSEC=no\n\
        DNSOverTLS=no\nLLMNR=no\nMulticastDNS=no\nDNSStubListener=udp\n";
    host.run(move || std::fs::write("/run/systemd/resolved.conf.d/lab.conf", configuration))
        .unwrap();
    let resolved = Resolver::start(host, "@127.0.0.53", program, &[]);
    let judgement = resolved.judged(&network, 120);
    drop(resolved);
    assert_fair(&judgement);
}
