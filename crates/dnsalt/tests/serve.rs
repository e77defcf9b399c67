//! `dnsalt serve`: real resolvers find it by a real delegation, and are told what they are worth.

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::unpacked::{is_there, lay_over};
use common::{BIN, can_run, eventually};
use dnsalt_lab::{Host, Running, link};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// Who asks, for all of them.
const DIG: &str = "dig +short +tries=2 +time=10 -p 5300 @127.0.0.1";

/// A server for t.example, the root that delegates it, and a host for resolvers.
struct Net {
    server: Host,
    client: Host,
    _running: [Running; 2],
}

/// None, with the reason said, where it cannot be made.
fn net(options: &[&str]) -> Option<Net> {
    if !can_run(&["ip", "named", "dig"]) {
        return None;
    }
    let (server, client) = (Host::new("server").unwrap(), Host::new("client").unwrap());
    link((&server, "eth0"), (&client, "eth0")).unwrap();
    for (host, address) in
        [(&server, "10.9.0.1/24"), (&server, "10.9.0.2/24"), (&client, "10.9.0.9/24")]
    {
        host.address("eth0", address).unwrap();
    }
    server
        .sh("mount -t tmpfs tmpfs /etc/bind; mount -t tmpfs tmpfs /var/cache/bind
        cat > /etc/bind/root <<'END'
$TTL 3600
. SOA a.root.example. hostmaster.test. 1 3600 600 86400 60
. NS a.root.example.
a.root.example. A 10.9.0.2
t.example. NS ns.t.example.
ns.t.example. A 10.9.0.1
END
        cat > /etc/bind/named.conf <<'END'
options { directory \"/var/cache/bind\"; listen-on { 10.9.0.2; }; listen-on-v6 { none; };
  recursion no; pid-file none; session-keyfile none; };
zone \".\" { type primary; file \"/etc/bind/root\"; };
controls { };
END")
        .unwrap();
    let root = quiet(&server, "named", &["-4", "-g", "-c", "/etc/bind/named.conf"]);
    let mut args = vec!["serve", "--zone", "t.example", "--listen", "10.9.0.1"];
    args.extend(options);
    let own = quiet(&server, BIN, &args);
    eventually("the server answers", PATIENCE, || {
        client
            .sh("dig +short +tries=1 +time=1 @10.9.0.1 ns.t.example || true")
            .unwrap()
            .contains("10.9.0.1")
            && client
                .sh("dig +tries=1 +time=1 @10.9.0.2 t.example || true")
                .unwrap()
                .contains("ns.t.example")
    });
    client
        .sh("cat > /run/hints <<'END'
. 3600 NS a.root.example.
a.root.example. 3600 A 10.9.0.2
END")
        .unwrap();
    Some(Net { server, client, _running: [root, own] })
}

fn quiet(host: &Host, program: &str, args: &[&str]) -> Running {
    host.command(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Net {
    fn bind(&self, options: &str) -> Running {
        let configuration = format!(
            "options {{ directory \"/var/cache/bind\"; listen-on port 5300 {{ 127.0.0.1; }};
            listen-on-v6 {{ none; }}; dnssec-validation no; empty-zones-enable no;
            pid-file none; session-keyfile none; {options} }};
            zone \".\" {{ type hint; file \"/run/hints\"; }}; controls {{ }};\n"
        );
        self.client
            .sh("mountpoint -q /etc/bind || mount -t tmpfs tmpfs /etc/bind
            mountpoint -q /var/cache/bind || mount -t tmpfs tmpfs /var/cache/bind
            cp /run/hints /etc/bind/hints")
            .unwrap();
        let configuration = configuration.replace("/run/hints", "/etc/bind/hints");
        self.client.run(move || std::fs::write("/etc/bind/named.conf", configuration).unwrap());
        self.ready(quiet(&self.client, "named", &["-4", "-g", "-c", "/etc/bind/named.conf"]))
    }

    fn unbound(&self, lines: &str) -> Running {
        let configuration = format!(
            "server:\n interface: 127.0.0.1\n port: 5300\n username: \"\"\n chroot: \"\"\n
            pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n do-ip6: no\n
            directory: \"\"\n module-config: \"iterator\"\n root-hints: \"/run/hints\"\n
             {lines}\n"
        );
        self.client.run(move || std::fs::write("/run/unbound.conf", configuration).unwrap());
        self.ready(quiet(&self.client, "unbound", &["-d", "-c", "/run/unbound.conf"]))
    }

    fn powerdns(&self, program: &str) -> Running {
        self.client.sh("mkdir -p /run/pdns").unwrap();
        let args = [
            "--config-dir=/run/pdns",
            "--socket-dir=/run/pdns",
            "--local-address=127.0.0.1",
            "--local-port=5300",
            "--hint-file=/run/hints",
            "--dnssec=off",
            "--daemon=no",
            "--query-local-address=0.0.0.0",
            "--dont-query=",
            "--security-poll-suffix=",
        ];
        self.ready(quiet(&self.client, program, &args))
    }

    fn knot(&self, program: &str) -> Running {
        let configuration = "net.listen('127.0.0.1', 5300)\nnet.ipv6 = false\n\
            modules = { 'hints' }\ntrust_anchors.remove('.')\ncache.size = 10 * MB\n\
            modules.unload('priming'); modules.unload('detect_time_skew')\n\
            modules.unload('ta_update'); modules.unload('ta_signal_query')\n\
            hints.root({ ['a.root.example.'] = '10.9.0.2' })\n";
        self.client.sh("mkdir -p /run/knot").unwrap();
        self.client.run(move || std::fs::write("/run/knot/conf", configuration).unwrap());
        self.ready(quiet(&self.client, program, &["-n", "-c", "/run/knot/conf", "/run/knot"]))
    }

    fn ready(&self, resolver: Running) -> Running {
        eventually("the resolver answers", PATIENCE, || {
            self.dig("t.example SOA +time=2 +tries=1").contains("hostmaster.t.example")
        });
        resolver
    }

    fn dig(&self, words: &str) -> String {
        self.client.sh(&format!("{DIG} {words} || true")).unwrap()
    }

    /// What a resolver is told of itself; the alias that stands before it left away.
    fn told(&self, name: &str) -> String {
        let said = self.dig(&format!("{name}.t.example TXT"));
        println!("{said}");
        let text = said.lines().find(|line| line.starts_with('"')).unwrap_or_default().to_owned();
        assert!(!text.is_empty(), "{name}: {said}");
        text
    }

    /// The same as JSON, put together from its pieces.
    fn json(&self) -> Value {
        let told = self.told("check");
        let text = told.trim_matches('"').replace("\" \"", "").replace("\\\"", "\"");
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }
}

/// Queries of the first test, by the words of its answer.
fn queries(told: &str) -> u32 {
    let (_, behind) = told.split_once(": ").unwrap();
    behind.split_once(" queries").unwrap().0.parse().unwrap()
}

#[track_caller]
fn is_great(net: &Net) -> Value {
    let ports = net.told("porttest");
    assert!(ports.starts_with("\"10.9.0.9 is GREAT: ") && queries(&ports) >= 26, "{ports}");
    let ids = net.told("txidtest");
    assert!(ids.contains("10.9.0.9 is GREAT: ") && ids.contains(" txids with std dev "), "{ids}");
    let json = net.json();
    assert!(["fair", "strong"].contains(&json["verdict"].as_str().unwrap()), "{json}");
    assert!(json["port_bits"].as_f64().unwrap() > 11.0 && json["id_bits"].as_f64().unwrap() > 14.0);
    json
}

#[test]
fn bind_is_told_that_it_is_great_and_with_a_fixed_port_that_it_is_poor() {
    let Some(net) = net(&[]) else { return };
    let bind = net.bind("");
    let json = is_great(&net);
    assert_eq!((&json["cookies"], &json["resolver"]), (&true.into(), &"10.9.0.9".into()));
    drop(bind);
    let _bind = net.bind("query-source address * port 33333; send-cookie no;");
    let poor = net.told("porttest");
    assert!(poor.starts_with("\"10.9.0.9 is POOR: ") && queries(&poor) >= 26, "{poor}");
    assert!(poor.contains(" from 1 ports with std dev 0\"") && poor.contains("verdict: broken"));
    assert!(poor.contains("query-source"), "{poor}");
    assert_eq!(net.json()["verdict"], "broken");
    // Whoever watches there sees the same without a test of its own.
    let watch = net.server.command(BIN).args(["check", "--iface", "eth0", "--for", "5s", "--json"]);
    let watch = std::thread::scope(|scope| {
        let watch = scope.spawn(|| watch.output().unwrap());
        std::thread::sleep(Duration::from_secs(2));
        net.told("txidtest");
        watch.join().unwrap()
    });
    let report: Value = serde_json::from_slice(&watch.stdout).unwrap();
    let one = &report["resolvers"][0];
    assert_eq!(
        (&one["address"], &one["overall"]["verdict"]),
        (&"10.9.0.9".into(), &"broken".into())
    );
}

#[test]
fn unbound_is_great_and_its_random_case_is_seen() {
    if !can_run(&["unbound"]) {
        return;
    }
    let Some(net) = net(&[]) else { return };
    let unbound = net.unbound("");
    assert!(is_great(&net)["case_bits"].as_f64().unwrap() < 0.1);
    drop(unbound);
    let unbound = net.unbound("use-caps-for-id: yes");
    assert!(net.json()["case_bits"].as_f64().unwrap() > 10.0);
    // A client's own random case, which a resolver may pass on, is none of the resolver's.
    drop(unbound);
    let _unbound = net.unbound("");
    let told = net.dig("CHecK.t.EXAMPLE TXT");
    assert!(told.contains("case_bits\\\":0.0"), "{told}");
}

#[test]
fn powerdns_recursor_finds_its_way() {
    with_unpacked("pdns-recursor", "/usr/sbin/pdns_recursor", Net::powerdns);
}

#[test]
fn knot_resolver_finds_its_way() {
    with_unpacked("knot-resolver", "/usr/sbin/kresd", Net::knot);
}

fn with_unpacked(package: &str, program: &str, start: fn(&Net, &str) -> Running) {
    if !is_there(package, program) {
        return;
    }
    let Some(net) = net(&[]) else { return };
    if lay_over(&net.client, package, program) {
        let _running = start(&net, program);
        is_great(&net);
    }
}
