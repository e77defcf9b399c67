//! Real resolvers in networks of the lab: `dnsalt check` watches at the servers, and says of each what
//! an expert would.

mod common;

use common::judged::{assert_broken, names};
use common::network;
use common::resolvers::{self, Resolver};
use common::unpacked::network_with;
use serde_json::Value;

#[track_caller]
fn assert_fair(judgement: &Value) {
    assert!(judgement["verdict"] == "fair" || judgement["verdict"] == "strong", "{judgement:#}");
    assert!(names(judgement).iter().all(|name| *name == "port-per-server"), "{judgement:#}");
}

#[track_caller]
fn assert_fixed(fixed: bool, judgement: &Value) {
    if fixed {
        assert_broken(judgement, &["fixed-port"]);
    } else {
        assert_fair(judgement);
    }
}

#[test]
fn bind_with_a_fixed_port_and_without() {
    let Some(network) = network(&["named", "dig"]) else { return };
    for (fixed, source) in [(true, "query-source address * port 33553;"), (false, "")] {
        let options = format!("{source} forwarders {{ 10.53.2.53 port 53; }};");
        let named = resolvers::bind(&network.net.resolver, &options);
        assert_fixed(fixed, &named.judged(&network, 120));
    }
}

#[test]
fn unbound_with_a_fixed_port_and_without() {
    let Some(network) = network(&["unbound", "dig"]) else { return };
    let port = "outgoing-port-avoid: 0-65535\n outgoing-port-permit: 41000";
    for (fixed, lines) in [(true, port), (false, "")] {
        let unbound = resolvers::unbound(&network.net.resolver, lines);
        assert_fixed(fixed, &unbound.judged(&network, 120));
    }
}

#[test]
fn dnsmasq_with_a_fixed_port_and_without() {
    let Some(network) = network(&["dnsmasq", "dig"]) else { return };
    for (fixed, options) in [(true, &["--query-port=33554"][..]), (false, &[])] {
        let dnsmasq = resolvers::dnsmasq(&network.net.resolver, options);
        assert_fixed(fixed, &dnsmasq.judged(&network, 120));
    }
}

#[test]
fn powerdns_draws_from_all_ports() {
    let program = "/usr/sbin/pdns_recursor";
    let Some(network) = network_with("pdns-recursor", program, &["dig"]) else { return };
    let host = &network.net.resolver;
    let pdns = Resolver::start(
        host,
        resolvers::AT,
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
    let kresd =
        Resolver::start(host, resolvers::AT, program, &["-n", "-c", "/run/kresd.conf", "/run"]);
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
    let program = resolvers::SYSTEMD_RESOLVED;
    let Some(network) = network_with("systemd-resolved", program, &["dig"]) else { return };
    let resolved = resolvers::systemd_resolved(&network.net.resolver);
    assert_fair(&resolved.judged(&network, 120));
}
