//! Real authoritative servers behind the salt engine: each copies the case of letters, those that have cookies
//! bring them back, and clients get back what they sent.

mod common;

use std::net::{IpAddr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use common::judged::PATIENCE;
use common::unpacked::{is_there, lay_over};
use common::{can_run, dnsalt, eventually, mount_bpffs};
use dnsalt_lab::topology::{Gateway, gateway};
use dnsalt_lab::{Host, Running};
use dnsalt_wire::dns::{Message, Query, rrtype, write_query};
use serde_json::Value;

/// Queries to each, over IPv4 and as many over IPv6.
const COUNT: u16 = 200;
/// Letters of each name.
const LETTERS: u64 = 21;

const ZONE: &str = "$TTL 60\n@ SOA ns.case.example. root.case.example. 1 3600 600 86400 60\n\
    @ NS ns.case.example.\nns A 10.53.2.53\n*.names A 192.0.2.80\n";

/// A server: its package where it is not one of the machine, its program and how it is started.
struct Server {
    package: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    /// Whether it has DNS cookies.
    cookies: bool,
    /// Files below /run/server, which is the host's own.
    files: &'static [(&'static str, &'static str)],
}

#[test]
fn bind() {
    keeps_case_and_cookies(&Server {
        package: "",
        program: "/usr/sbin/named",
        // AppArmor lets it read nowhere else.
        args: &["-g", "-c", "/etc/bind/named.conf"],
        cookies: true,
        files: &[(
            "named.conf",
            "options { directory \"/var/cache/bind\"; listen-on-v6 { any; }; pid-file none;
                session-keyfile none; recursion no; }; controls { };
            zone \"case.example\" { type primary; file \"/etc/bind/zone\"; };\n",
        )],
    });
}

#[test]
fn nsd() {
    keeps_case_and_cookies(&Server {
        package: "nsd",
        program: "/usr/sbin/nsd",
        args: &["-d", "-c", "/run/server/nsd.conf"],
        cookies: true,
        files: &[(
            "nsd.conf",
            "server:\n username: \"\"\n zonesdir: /run/server\n pidfile: \"\"\n database: \"\"
 zonelistfile: /run/server/list\n xfrdfile: /run/server/xfrd\n xfrdir: /run/server
 rrl-ratelimit: 0
 answer-cookie: yes
 ip-address: 10.53.2.53
 ip-address: fd53:2::53
remote-control:\n control-enable: no\nzone:\n name: case.example\n zonefile: zone\n",
        )],
    });
}

#[test]
fn knot() {
    keeps_case_and_cookies(&Server {
        package: "knot",
        program: "/usr/sbin/knotd",
        args: &["-c", "/run/server/knot.conf"],
        cookies: true,
        files: &[(
            "knot.conf",
            "server:\n  rundir: /run/server\n  listen: [ 0.0.0.0@53, \"::@53\" ]
database:\n  storage: /run/server/db
mod-cookies:\n  - id: own\ntemplate:\n  - id: default\n    global-module: mod-cookies/own
zone:\n  - domain: case.example\n    storage: /run/server\n    file: zone\n    journal-content: none\n",
        )],
    });
}

#[test]
fn powerdns() {
    keeps_case_and_cookies(&Server {
        package: "pdns-backend-bind",
        program: "/usr/sbin/pdns_server",
        args: &["--config-dir=/run/server", "--daemon=no", "--guardian=no"],
        cookies: true,
        files: &[
            (
                "pdns.conf",
                "launch=bind\nbind-config=/run/server/zones\nsocket-dir=/run/server
local-address=0.0.0.0, ::\nsetuid=\nsetgid=\nquery-cache-ttl=0
edns-cookie-secret=000102030405060708090a0b0c0d0e0f\n",
            ),
            ("zones", "zone \"case.example\" { type master; file \"/run/server/zone\"; };\n"),
        ],
    });
}

#[test]
fn unbound() {
    keeps_case_and_cookies(&Server {
        package: "",
        program: "/usr/sbin/unbound",
        args: &["-d", "-c", "/etc/unbound/unbound.conf"],
        cookies: false,
        files: &[(
            "unbound.conf",
            "server:\n interface: 10.53.2.53\n interface: fd53:2::53\n access-control: 0.0.0.0/0 allow
 access-control: ::/0 allow\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n use-syslog: no
 do-daemonize: no\n module-config: \"iterator\"\n local-zone: names.case.example redirect
 local-data: \"names.case.example A 192.0.2.80\"\n",
        )],
    });
}

#[test]
fn dnsmasq() {
    keeps_case_and_cookies(&Server {
        package: "",
        program: "/usr/sbin/dnsmasq",
        args: &[
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--conf-file=/dev/null",
            "--user=root",
            "--address=/names.case.example/192.0.2.80",
        ],
        cookies: false,
        files: &[],
    });
}

/// Starts it where the lab's own servers would be, and waits until it answers.
fn start(host: &Host, server: &Server) -> Running {
    host.sh("mount -t tmpfs tmpfs /run; mkdir -p /run/server/db
        for dir in /etc/bind /etc/unbound; do
            if [ -d $dir ]; then mount --bind /run/server $dir; fi
        done
        if [ -d /var/cache/bind ]; then mount -t tmpfs tmpfs /var/cache/bind; fi")
        .unwrap();
    let mut files = server.files.to_vec();
    files.push(("zone", ZONE));
    host.run(move || {
        for (name, text) in files {
            std::fs::write(format!("/run/server/{name}"), text).unwrap();
        }
    });
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut running = host
        .command(server.program)
        .args(server.args)
        .stdout(Stdio::null())
        .stderr(Stdio::from(said.reopen().unwrap()))
        .spawn()
        .unwrap();
    for address in ["10.53.2.53", "fd53:2::53"] {
        eventually(&format!("{} answers at {address}", server.program), PATIENCE, || {
            if let Some(status) = running.wait_timeout(Duration::ZERO).unwrap() {
                let said = std::fs::read_to_string(said.path()).unwrap();
                panic!("{} ended, {status}: {said}", server.program);
            }
            let dig =
                format!("dig @{address} +short +tries=1 +time=1 a.names.case.example || true");
            host.sh(&dig).unwrap().contains("192.0.2.80")
        });
    }
    running
}

fn keeps_case_and_cookies(server: &Server) {
    let name = server.program.rsplit('/').next().unwrap();
    let machine =
        if server.package.is_empty() { vec!["tc", "dig", name] } else { vec!["tc", "dig"] };
    if !can_run(&machine) || !server.package.is_empty() && !is_there(server.package, server.program)
    {
        return;
    }
    let network = gateway().unwrap();
    if !server.package.is_empty() && !lay_over(&network.upstream, server.package, server.program) {
        return;
    }
    let _running = start(&network.upstream, server);
    mount_bpffs(&network.gateway);
    dnsalt(&network.gateway, &[&common::SALT[..], &["--case", "on", "--cookies", "on"]].concat())
        .exits(0);
    for address in [network.servers_v4[0], network.servers_v6[0]] {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = network.resolver.run(move || UdpSocket::bind(any).unwrap());
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // Some answer nobody who has no server cookie of theirs yet: that client is sent to TCP.
        ask(&client, address, COUNT);
        client.recv(&mut [0; 1500]).unwrap();
        for id in 0..COUNT {
            gets_back_what_it_sent(&client, address, id);
        }
    }
    let asked = u64::from(COUNT + 1) * 2;
    let salt = &status(&network)["salt"];
    let count = |name: &str| salt["counters"][name].as_u64().unwrap();
    let counted = ["cased", "cased_letters", "wrong_case", "case_learned"];
    assert_eq!(counted.map(count), [asked, asked * LETTERS, 0, 0]);
    assert_eq!(count("restored") + count("truncated"), asked);
    assert!(count("truncated") <= 2);
    let cookies = ["cookied", "cookie_returned", "cookie_missing", "cookie_learned"].map(count);
    assert_eq!(cookies, [asked, if server.cookies { asked } else { 0 }, 0, 0]);
    let bits = salt["case_bits"].as_f64().unwrap();
    assert!((bits - 21.0).abs() < 1e-9, "{bits}");
}

/// Asks for one of the names; what was sent.
fn ask(client: &UdpSocket, server: IpAddr, id: u16) -> Vec<u8> {
    let mut buffer = [0; 512];
    let name = format!("A-Name-{id:03}.Names.CASE.example");
    let query = Query { id, recursion_desired: true, name: &name, qtype: rrtype::A };
    let length = write_query(&mut buffer, &query).unwrap();
    client.send_to(&buffer[..length], (server, 53)).unwrap();
    buffer[..length].to_vec()
}

fn gets_back_what_it_sent(client: &UdpSocket, server: IpAddr, id: u16) {
    let sent = ask(client, server, id);
    let mut answer = [0; 1500];
    let length = client.recv(&mut answer).unwrap_or_else(|why| panic!("{server}, {id}: {why}"));
    let answer = &answer[..length];
    let message = Message::parse(answer).unwrap();
    assert!(message.is_response() && !message.is_truncated());
    assert_eq!((message.id(), &answer[12..sent.len()]), (id, &sent[12..]), "{id}");
    // No OPT record, which it did not ask for.
    assert!(
        !answer.windows(4).any(|bytes| bytes[..3] == [0, 0, 41] && bytes[3] >= 2),
        "{answer:x?}"
    );
    assert!(answer.windows(4).any(|bytes| bytes == [192, 0, 2, 80]), "{id}: {answer:x?}");
}

fn status(network: &Gateway) -> Value {
    let status = dnsalt(&network.gateway, &["status", "--json"]).exits(0);
    serde_json::from_str(&status.stdout).unwrap()
}
