//! Real resolvers on hosts of the lab. Each listens on an address of its host alone, and forwards to the
//! lab's servers.

use std::process::Stdio;
use std::time::Duration;

use dnsalt_lab::{Host, Running};
use serde_json::Value;

use super::judged::{PATIENCE, watched};
use super::{Network, eventually};

/// Where most of them listen; for dig.
pub(crate) const AT: &str = "-p 5300 @127.0.0.1";

/// A resolver on the host that was asked to start.
pub(crate) struct Resolver {
    /// Where it listens, for dig.
    at: &'static str,
    _running: Running,
}

impl Resolver {
    /// Starts it, and waits until it answers.
    pub(crate) fn start(host: &Host, at: &'static str, program: &str, args: &[&str]) -> Self {
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut running = host
            .command(program)
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::from(said.reopen().unwrap()))
            .spawn()
            .unwrap();
        let dig = format!("dig {at} +short +tries=1 +time=2 ready.example A || true");
        eventually(&format!("{program} answers"), PATIENCE, || {
            if let Some(status) = running.wait_timeout(Duration::ZERO).unwrap() {
                let said = std::fs::read_to_string(said.path()).unwrap();
                panic!("{program} ended, {status}: {said}");
            }
            host.sh(&dig).unwrap().contains("192.0.2.80")
        });
        Resolver { at, _running: running }
    }

    /// What `dig` with these words says of it, asked for the names of a list, one after the other.
    pub(crate) fn asked(&self, host: &Host, names: &[String], words: &str) -> String {
        let list: String = names.iter().map(|name| format!("{name} A\n")).collect();
        let args = format!("dig {} +tries=1 +time=5 {words} -f -", self.at);
        let dig = host.command("sh").args(["-c", &args]).output_with_input(list.as_bytes());
        String::from_utf8(dig.unwrap().stdout).unwrap()
    }

    /// The judgement of it, asked for so many new names: nameN.letters-of-a-resolver.example.
    pub(crate) fn judged(&self, network: &Network, count: usize) -> Value {
        let names: Vec<_> =
            (0..count).map(|i| format!("name{i}.letters-of-a-resolver.example")).collect();
        watched(network, |host| drop(self.asked(host, &names, "")))
    }
}

/// BIND 9, with options of the file's: where to ask is one of them. It refuses to ask from the port that
/// it listens on, so it listens elsewhere.
pub(crate) fn bind(host: &Host, options: &str) -> Resolver {
    let configuration = format!(
        "options {{ directory \"/var/cache/bind\"; port 5300; listen-on {{ 127.0.0.1; }};
        listen-on-v6 {{ none; }}; forward only; dnssec-validation no; empty-zones-enable no;
        pid-file none; session-keyfile none; {options} }}; controls {{ }};\n"
    );
    // Over the machine's own, in the host's private mounts: AppArmor lets named read nowhere else.
    host.sh("mount -t tmpfs tmpfs /etc/bind; mount -t tmpfs tmpfs /var/cache/bind").unwrap();
    host.run(move || std::fs::write("/etc/bind/named.conf", configuration).unwrap());
    Resolver::start(host, AT, "named", &["-g", "-c", "/etc/bind/named.conf"])
}

/// Unbound, with lines of its section `server`.
pub(crate) fn unbound(host: &Host, lines: &str) -> Resolver {
    let configuration = format!(
        "server:\n interface: 127.0.0.1\n port: 5300\n username: \"\"\n chroot: \"\"\n
        pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n module-config: \"iterator\"\n {lines}\n
        forward-zone:\n name: \".\"\n forward-addr: 10.53.2.53\n"
    );
    host.sh("mount -t tmpfs tmpfs /etc/unbound").unwrap();
    host.run(move || std::fs::write("/etc/unbound/unbound.conf", configuration).unwrap());
    Resolver::start(host, AT, "unbound", &["-d", "-c", "/etc/unbound/unbound.conf"])
}

/// dnsmasq, with more options.
pub(crate) fn dnsmasq(host: &Host, options: &[&str]) -> Resolver {
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
    args.extend(options);
    Resolver::start(host, AT, "dnsmasq", &args)
}

/// Where the package has it; see [`super::unpacked`].
pub(crate) const SYSTEMD_RESOLVED: &str = "/usr/lib/systemd/systemd-resolved";

/// systemd-resolved, for programs that ask 127.0.0.53.
pub(crate) fn systemd_resolved(host: &Host) -> Resolver {
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
    Resolver::start(host, "@127.0.0.53", SYSTEMD_RESOLVED, &[])
}
