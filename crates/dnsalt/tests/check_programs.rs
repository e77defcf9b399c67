//! Real programs ask in networks of the lab, `dnsalt check` watches at the servers, and says of each
//! what an expert would.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{BIN, Network, eventually, network};
use dnsalt_lab::{Host, Running};
use serde_json::Value;

const RESOLVER: &str = "10.53.1.2";
/// Where the resolvers under test listen, on the host of the resolver.
const LISTENS: u16 = 5300;

/// Watches at the servers while something asks; the judgement of who asked.
fn watched(network: &Network, ask: impl FnOnce(&Host)) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let mut watch = network
        .net
        .upstream
        .command(BIN)
        .args(["check", "--iface", "eth0", "--json", "--deep"])
        .stdout(Stdio::from(file("report")))
        .stderr(Stdio::from(file("said")))
        .spawn()
        .unwrap();
    let patience = Duration::from_secs(20);
    eventually("it watches", patience, || text("said").contains("Watching eth0 until Ctrl-C."));
    ask(&network.net.resolver);
    // The last packets pass.
    std::thread::sleep(Duration::from_millis(300));
    network.net.upstream.sh(&format!("kill -INT {}", watch.pid())).unwrap();
    assert!(watch.wait_timeout(patience).unwrap().is_some(), "Ctrl-C ends it");
    let report: Value = serde_json::from_str(&text("report")).unwrap();
    assert_eq!(report["dropped"], 0);
    let all = report["resolvers"].as_array().unwrap();
    let one = all.iter().find(|one| one["address"] == RESOLVER);
    one.unwrap_or_else(|| panic!("nobody asked: {report}"))["overall"].clone()
}

fn names(judgement: &Value) -> Vec<&str> {
    let findings = judgement["findings"].as_array().unwrap();
    findings.iter().map(|finding| finding["name"].as_str().unwrap()).collect()
}

#[track_caller]
fn assert_broken(judgement: &Value, expected: &[&str]) {
    assert_eq!(judgement["verdict"], "broken", "{judgement:#}");
    let found = names(judgement);
    assert!(expected.iter().all(|name| found.contains(name)), "{expected:?}: {judgement:#}");
}

#[track_caller]
fn assert_fair(judgement: &Value) {
    assert!(judgement["verdict"] == "fair" || judgement["verdict"] == "strong", "{judgement:#}");
    assert!(names(judgement).iter().all(|name| *name == "port-per-server"), "{judgement:#}");
}

/// Asks a resolver on this host for new names.
fn dig(host: &Host, round: &str, count: usize) {
    let list: String = (0..count).map(|i| format!("n{i}.{round}.example A\\n")).collect();
    host.sh(&format!(
        "printf '{list}' | dig -p {LISTENS} +tries=1 +time=5 @127.0.0.1 -f - > /dev/null"
    ))
    .unwrap();
}

fn resolves(host: &Host) -> bool {
    let dig =
        format!("dig -p {LISTENS} +short +tries=1 +time=2 @127.0.0.1 ready.example A || true");
    host.sh(&dig).unwrap().contains("192.0.2.80")
}

/// A resolver that was started, once it answers.
fn started(host: &Host, program: &str, args: &[&str]) -> Running {
    let running = host
        .command(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(&format!("{program} answers"), Duration::from_secs(20), || resolves(host));
    running
}

#[test]
fn bind_with_a_fixed_port_and_without() {
    let Some(network) = network(&["named", "dig"]) else { return };
    let host = &network.net.resolver;
    host.sh("mount -t tmpfs tmpfs /etc/bind; mount -t tmpfs tmpfs /var/cache/bind").unwrap();
    for (fixed, source) in [(true, "query-source address * port 33553;"), (false, "")] {
        let configuration = format!(
            "options {{ directory \"/var/cache/bind\"; port {LISTENS}; listen-on {{ 127.0.0.1; }};
            listen-on-v6 {{ none; }}; {source} forward only; forwarders {{ 10.53.2.53 port 53; }};
            dnssec-validation no; pid-file none; session-keyfile none; }}; controls {{ }};\n"
        );
        host.run(move || std::fs::write("/etc/bind/named.conf", configuration).unwrap());
        let named = started(host, "named", &["-g", "-c", "/etc/bind/named.conf"]);
        let judgement = watched(&network, |host| dig(host, "bind", 120));
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
            "server:\n interface: 127.0.0.1\n port: {LISTENS}\n username: \"\"\n chroot: \"\"\n
            pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n module-config: \"iterator\"\n {ports}\n
            forward-zone:\n name: \".\"\n forward-addr: 10.53.2.53\n"
        );
        host.run(move || std::fs::write("/etc/unbound/unbound.conf", configuration).unwrap());
        let unbound = started(host, "unbound", &["-d", "-c", "/etc/unbound/unbound.conf"]);
        let judgement = watched(&network, |host| dig(host, "unbound", 120));
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
        let listens = format!("--port={LISTENS}");
        let mut args = vec![
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--user=root",
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--server=10.53.2.53",
            &listens,
        ];
        args.extend(ports);
        let dnsmasq = started(host, "dnsmasq", &args);
        let judgement = watched(&network, |host| dig(host, "dnsmasq", 120));
        drop(dnsmasq);
        if fixed {
            assert_broken(&judgement, &["fixed-port"]);
        } else {
            assert_fair(&judgement);
        }
    }
}

#[test]
fn adns_has_one_port_and_counts() {
    let Some(network) = network(&["adnshost"]) else { return };
    let judgement = watched(&network, |host| {
        let list: String = (0..80).map(|i| format!(" -ta n{i}.adns.example")).collect();
        host.sh(&format!("adnshost{list} > /dev/null")).unwrap();
    });
    assert_broken(&judgement, &["fixed-port", "sequential-id"]);
}

#[test]
fn nmap_has_one_port_and_counts() {
    let Some(network) = network(&["nmap"]) else { return };
    let judgement = watched(&network, |host| {
        host.sh("nmap -sL -R --dns-servers 10.53.2.53 10.99.0.0/28 > /dev/null").unwrap();
    });
    assert_broken(&judgement, &["fixed-port", "sequential-id"]);
}

#[test]
fn perls_net_dns_draws_from_drand48() {
    let Some(network) = network(&["perl"]) else { return };
    if network.net.resolver.sh("perl -MNet::DNS -e 1").is_err() {
        eprintln!("skipped: perl has no Net::DNS");
        return;
    }
    let judgement = watched(&network, |host| {
        host.sh(
            "perl -MNet::DNS -e 'my $r = Net::DNS::Resolver->new(nameservers => [\"10.53.2.53\"]);
             $r->send(\"n$_.perl.example\", \"A\") for 1..60'",
        )
        .unwrap();
    });
    assert_broken(&judgement, &["drand48"]);
}

#[test]
fn the_stub_of_the_c_library_reads_ids_off_the_clock() {
    let Some(network) = network(&["perl"]) else { return };
    let judgement = watched(&network, |host| {
        host.sh("perl -e 'gethostbyname(\"n$_.stub.example\") for 1..400'").unwrap();
    });
    // The GNU C library's or musl's; another would be news.
    assert_eq!(names(&judgement), ["clock-ids"], "{judgement:#}");
    assert_eq!(judgement["verdict"], "weak");
}
