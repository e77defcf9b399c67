//! The resolvers that are attacked: real ones, as their packages set them up but for what is said here,
//! and one of ours.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::legacy::{self, Legacy};
use super::network::{ATTACKER, Network, RESOLVER, ROOT, servers};
use super::zones::{ATTACK, BANK};
use crate::{Host, LabError, Running};

/// How long a resolver may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often it is started until it does.
const STARTS: u8 = 3;

/// What the resolver says, on its host.
const SAID: &str = "/run/resolver.log";

/// The port of those that have one.
pub(super) const FIXED: u16 = legacy::PORT;

/// Which resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// BIND 9 with `query-source ... port 33333`.
    BindFixed,
    /// BIND 9 as it comes.
    Bind,
    /// dnsmasq with `--query-port=33333`.
    Dnsmasq,
    /// Unbound as it comes.
    Unbound,
    /// Ours: port 33333, query IDs that count.
    Legacy,
}

impl Victim {
    /// All of them.
    pub const ALL: [Victim; 5] =
        [Victim::BindFixed, Victim::Bind, Victim::Dnsmasq, Victim::Unbound, Victim::Legacy];

    /// Its name, for people.
    pub fn title(self) -> &'static str {
        match self {
            Victim::BindFixed => "BIND 9, fixed port",
            Victim::Bind => "BIND 9",
            Victim::Dnsmasq => "dnsmasq, fixed port",
            Victim::Unbound => "Unbound",
            Victim::Legacy => "legacy resolver",
        }
    }

    /// The program that has to be installed, if any.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Victim::BindFixed | Victim::Bind => Some("named"),
            Victim::Dnsmasq => Some("dnsmasq"),
            Victim::Unbound => Some("unbound"),
            Victim::Legacy => None,
        }
    }

    /// The ports that it draws from: how many, for the attacker who knows the program.
    pub fn ports(self) -> std::ops::RangeInclusive<u16> {
        match self {
            Victim::BindFixed | Victim::Dnsmasq | Victim::Legacy => FIXED..=FIXED,
            // BIND takes the kernel's range, which hosts of the lab have as it comes.
            Victim::Bind => 32768..=60999,
            // Some five thousand of these it leaves out, as they are registered for something.
            Victim::Unbound => 1024..=65535,
        }
    }

    /// Whether its queries have DNS cookies of its own.
    pub fn has_cookies(self) -> bool {
        matches!(self, Victim::BindFixed | Victim::Bind)
    }

    /// Starts it, and waits until it resolves both zones. BIND that begins on a busy machine has been seen
    /// to hang for good with what it was asked first ("shut down hung fetch"): then it starts again.
    pub(super) fn start(self, network: &Network, count: u8) -> Result<Resolver, LabError> {
        for _ in 0..STARTS {
            let resolver = self.run(network, count)?;
            if resolves(network)? {
                return Ok(resolver);
            }
        }
        let host = &network.resolver;
        let script = format!("{} resolves", self.title());
        let stderr = host.sh(&format!("tail -n 2 {SAID} || true"))?;
        Err(LabError::Script { host: host.name().to_owned(), script, stderr })
    }

    fn run(self, network: &Network, count: u8) -> Result<Resolver, LabError> {
        let host = &network.resolver;
        Ok(match self {
            Victim::BindFixed => {
                let fixed = format!("query-source address * port {FIXED};");
                Resolver::Program(bind(host, &fixed)?)
            }
            Victim::Bind => Resolver::Program(bind(host, "")?),
            Victim::Dnsmasq => Resolver::Program(dnsmasq(host, count)?),
            Victim::Unbound => Resolver::Program(unbound(host)?),
            Victim::Legacy => Resolver::Legacy(Legacy::start(host, count)?),
        })
    }
}

/// Whether it resolves both zones before the patience ends.
fn resolves(network: &Network) -> Result<bool, LabError> {
    let mut client = Client::new(&network.client)?;
    let begun = Instant::now();
    for zone in [BANK, ATTACK] {
        // A new name each time: an error may be kept.
        let mut tries = 0..;
        while client.asks(&format!("ready{}.{zone}", tries.next().unwrap_or(0)))?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// One that runs; it ends when this is dropped.
#[derive(Debug)]
pub(super) enum Resolver {
    Program(#[expect(dead_code, reason = "it runs for as long as it is held")] Running),
    Legacy(#[expect(dead_code, reason = "it runs for as long as it is held")] Legacy),
}

fn bind(host: &Host, options: &str) -> Result<Running, LabError> {
    // Over the machine's own, in the host's private mounts: AppArmor lets named read nowhere else.
    host.sh(&format!(
        "mountpoint -q /etc/bind || mount -t tmpfs tmpfs /etc/bind
        mountpoint -q /var/cache/bind || mount -t tmpfs tmpfs /var/cache/bind
        cat > /etc/bind/root <<'END'
.  3600 NS a.root.test.
a.root.test. 3600 A {ROOT}
END
        cat > /etc/bind/named.conf <<'END'
options {{ directory \"/var/cache/bind\"; listen-on {{ {RESOLVER}; }}; listen-on-v6 {{ none; }};
  recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }}; dnssec-validation no;
  empty-zones-enable no; pid-file none; session-keyfile none; {options} }};
zone \".\" {{ type hint; file \"/etc/bind/root\"; }};
controls {{ }};
END"
    ))?;
    // With IPv4 alone: the lab's network has nothing else.
    quiet(host, "named", &["-4", "-g", "-c", "/etc/bind/named.conf"])
}

fn unbound(host: &Host) -> Result<Running, LabError> {
    host.sh(&format!(
        "mkdir -p /run/unbound
        cat > /run/unbound/root <<'END'
.  3600 NS a.root.test.
a.root.test. 3600 A {ROOT}
END
        cat > /run/unbound/conf <<'END'
server:
  interface: {RESOLVER}
  access-control: 0.0.0.0/0 allow
  username: \"\"
  chroot: \"\"
  pidfile: \"\"
  directory: \"\"
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  module-config: \"iterator\"
  local-zone: \"test.\" nodefault
  root-hints: \"/run/unbound/root\"
END"
    ))?;
    quiet(host, "unbound", &["-d", "-c", "/run/unbound/conf"])
}

fn dnsmasq(host: &Host, count: u8) -> Result<Running, LabError> {
    let mut args: Vec<String> = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--cache-size=10000",
        "--user=root",
        "--pid-file=",
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(format!("--listen-address={RESOLVER}"));
    args.push(format!("--query-port={FIXED}"));
    args.push(format!("--server=/{ATTACK}/{ATTACKER}"));
    args.extend(servers(count).map(|server| format!("--server=/{BANK}/{server}")));
    quiet(host, "dnsmasq", &args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn quiet(host: &Host, program: &str, args: &[&str]) -> Result<Running, LabError> {
    let said = host.run(|| File::create(SAID)).map_err(|cause| LabError::Host {
        host: host.name().to_owned(),
        operation: "keeping what its resolver says",
        cause,
    })?;
    host.command(program).args(args).stdout(Stdio::null()).stderr(Stdio::from(said)).spawn()
}
