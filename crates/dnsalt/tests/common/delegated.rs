//! A zone that is delegated to `dnsalt serve`, and resolvers that find it by themselves.

use std::process::Stdio;
use std::time::{Duration, Instant};

use dnsalt_lab::{Host, Running, link};

use super::{BIN, can_run, eventually};

const PATIENCE: Duration = Duration::from_secs(20);
/// Who asks, for all of them.
const DIG: &str = "dig +short +tries=2 +time=10 @127.0.0.1";

/// A server for t.example, the root that delegates it, and a host for resolvers.
pub(crate) struct Net {
    pub(crate) server: Host,
    pub(crate) client: Host,
    _running: [Running; 2],
}

/// None, with the reason said, where it cannot be made.
pub(crate) fn net(options: &[&str]) -> Option<Net> {
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
    pub(crate) fn bind(&self, options: &str) -> Running {
        let configuration = format!(
            "options {{ directory \"/var/cache/bind\"; listen-on {{ 127.0.0.1; }};
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
        // With one port, BIND may hang for good with what it was asked first: then it starts again.
        for _ in 0..4 {
            let bind = quiet(&self.client, "named", &["-4", "-g", "-c", "/etc/bind/named.conf"]);
            let deadline = Instant::now() + PATIENCE / 4;
            while Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(50));
                if self.answers() {
                    return bind;
                }
            }
        }
        panic!("BIND does not answer");
    }

    pub(crate) fn unbound(&self, lines: &str) -> Running {
        let configuration = format!(
            "server:\n interface: 127.0.0.1\n port: 53\n username: \"\"\n chroot: \"\"\n
            pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n do-ip6: no\n
            directory: \"\"\n module-config: \"iterator\"\n root-hints: \"/run/hints\"\n
             {lines}\n"
        );
        self.client.run(move || std::fs::write("/run/unbound.conf", configuration).unwrap());
        self.ready(quiet(&self.client, "unbound", &["-d", "-c", "/run/unbound.conf"]))
    }

    pub(crate) fn powerdns(&self, program: &str) -> Running {
        self.client.sh("mkdir -p /run/pdns").unwrap();
        let args = [
            "--config-dir=/run/pdns",
            "--socket-dir=/run/pdns",
            "--local-address=127.0.0.1",
            "--local-port=53",
            "--hint-file=/run/hints",
            "--dnssec=off",
            "--daemon=no",
            "--query-local-address=0.0.0.0",
            "--dont-query=",
            "--security-poll-suffix=",
        ];
        self.ready(quiet(&self.client, program, &args))
    }

    pub(crate) fn knot(&self, program: &str) -> Running {
        let configuration = "net.listen('127.0.0.1', 53)\nnet.ipv6 = false\n\
            modules = { 'hints' }\ntrust_anchors.remove('.')\ncache.size = 10 * MB\n\
            modules.unload('priming'); modules.unload('detect_time_skew')\n\
            modules.unload('ta_update'); modules.unload('ta_signal_query')\n\
            hints.root({ ['a.root.example.'] = '10.9.0.2' })\n";
        self.client.sh("mkdir -p /run/knot").unwrap();
        self.client.run(move || std::fs::write("/run/knot/conf", configuration).unwrap());
        self.ready(quiet(&self.client, program, &["-n", "-c", "/run/knot/conf", "/run/knot"]))
    }

    fn ready(&self, resolver: Running) -> Running {
        eventually("the resolver answers", PATIENCE, || self.answers());
        resolver
    }

    fn answers(&self) -> bool {
        self.dig("ns.t.example A +time=1 +tries=1").contains("10.9.0.1")
    }

    pub(crate) fn dig(&self, words: &str) -> String {
        self.client.sh(&format!("{DIG} {words} || true")).unwrap()
    }
}
