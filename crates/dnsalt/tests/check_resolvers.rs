//! Real resolvers in networks of the lab: `dnsalt check` watches at the servers, and says of each what
//! an expert would.

mod common;

use common::judged::{Resolver, assert_broken, names};
use common::network;
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
