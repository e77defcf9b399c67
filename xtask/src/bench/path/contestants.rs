//! What is put in the path.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context as _;
use dnsalt_lab::load::{GATEWAY, Path};

use crate::bench::target;
use crate::bench::userspace::QUEUE;
use crate::step::Step;

/// A protection, or what is used in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contestant {
    Plain,
    Conntrack,
    Masquerade,
    Snat,
    Nat,
    PerQuery,
    Salt,
    SaltAll,
    SaltNat,
    UserSpace,
    Dnsmasq,
    Unbound,
    Dnsdist,
}

/// What was started for it.
pub(super) struct Running {
    kind: Contestant,
    program: Option<dnsalt_lab::Running>,
    /// Kilobytes of conntrack before.
    slab: f64,
    _folder: tempfile::TempDir,
}

impl Contestant {
    pub(super) const ALL: [Contestant; 13] = [
        Contestant::Plain,
        Contestant::Conntrack,
        Contestant::Masquerade,
        Contestant::Snat,
        Contestant::Nat,
        Contestant::PerQuery,
        Contestant::Salt,
        Contestant::SaltAll,
        Contestant::SaltNat,
        Contestant::UserSpace,
        Contestant::Dnsmasq,
        Contestant::Unbound,
        Contestant::Dnsdist,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Contestant::Plain => "plain",
            Contestant::Conntrack => "conntrack",
            Contestant::Masquerade => "masquerade",
            Contestant::Snat => "snat-random",
            Contestant::Nat => "nat",
            Contestant::PerQuery => "nat-per-query",
            Contestant::Salt => "salt",
            Contestant::SaltAll => "salt-all",
            Contestant::SaltNat => "salt-nat",
            Contestant::UserSpace => "user-space",
            Contestant::Dnsmasq => "dnsmasq",
            Contestant::Unbound => "unbound",
            Contestant::Dnsdist => "dnsdist",
        }
    }

    /// What it is, in words.
    pub(super) fn about(self) -> &'static str {
        match self {
            Contestant::Plain => "forwarding, no rules: the limit",
            Contestant::Conntrack => "forwarding, connections are tracked",
            Contestant::Masquerade => "nft masquerade fully-random",
            Contestant::Snat => "iptables SNAT --random, as in 2008",
            Contestant::Nat => "dnsalt up --engine nat",
            Contestant::PerQuery => "dnsalt up --engine nat --per-query",
            Contestant::Salt => "dnsalt up --engine salt --case off: port and ID",
            Contestant::SaltAll => "dnsalt up --engine salt --cookies on --fragments drop",
            Contestant::SaltNat => "dnsalt up --engine salt --source ADDRESS --conntrack off",
            Contestant::UserSpace => "port and ID in user space, by NFQUEUE",
            Contestant::Dnsmasq => "dnsmasq forwards, without a cache",
            Contestant::Unbound => "Unbound forwards, 2 threads",
            Contestant::Dnsdist => "dnsdist forwards",
        }
    }

    /// Whether it is a program that answers in the servers' place.
    pub(super) fn forwards(self) -> bool {
        matches!(self, Contestant::Dnsmasq | Contestant::Unbound | Contestant::Dnsdist)
    }

    /// Why it cannot be measured here.
    pub(super) fn missing(self) -> Option<String> {
        let (program, package) = match self {
            Contestant::Plain | Contestant::Salt | Contestant::SaltAll => return None,
            Contestant::Conntrack
            | Contestant::Masquerade
            | Contestant::Nat
            | Contestant::SaltNat
            | Contestant::PerQuery => ("nft", "nftables"),
            Contestant::Snat | Contestant::UserSpace => ("iptables", "iptables"),
            Contestant::Dnsmasq => ("dnsmasq", "dnsmasq-base"),
            Contestant::Unbound => ("unbound", "unbound"),
            Contestant::Dnsdist if unpacked_dnsdist().is_some() => return None,
            Contestant::Dnsdist => ("dnsdist", "dnsdist"),
        };
        let found = Step::program("sh", &["-c", &format!("command -v {program}")]).works();
        (!found).then(|| format!("{program} is missing: ./x bench path installs {package}"))
    }

    /// Puts it in the path.
    pub(super) fn start(self, path: &Path) -> anyhow::Result<Running> {
        let folder = tempfile::tempdir()?;
        let slab = conntrack_slab();
        let gateway = &path.gateway;
        let dnsalt = std::path::absolute(target().join("release/dnsalt"))?;
        let up = |options: &str| format!("{} up --no-health {options}", dnsalt.display());
        let salt = |options: &str| {
            let up = up(&format!("--engine salt --bpffs /run/bpf {options}"));
            format!("mkdir -p /run/bpf && mount -t bpf bpf /run/bpf\n{up}")
        };
        let script = match self {
            Contestant::Conntrack => "nft add table inet b
                 nft add chain inet b f '{ type filter hook forward priority 0; }'
                 nft add rule inet b f ct state new counter"
                .to_owned(),
            Contestant::Masquerade => "nft add table ip b
                 nft add chain ip b p '{ type nat hook postrouting priority srcnat; }'
                 nft add rule ip b p udp dport 53 masquerade fully-random"
                .to_owned(),
            Contestant::Snat => "iptables -t nat -I POSTROUTING 1 -p udp --dport 53 \
                 -j SNAT --to 10.54.2.1 --random"
                .to_owned(),
            Contestant::Nat => up("--engine nat --backend nft"),
            Contestant::PerQuery => up("--engine nat --backend nft --per-query"),
            Contestant::Salt => salt("--case off"),
            Contestant::SaltAll => salt("--case on --cookies on --fragments drop"),
            // Conntrack is at work for all other traffic, as behind a masquerading gateway.
            Contestant::SaltNat => format!(
                "nft add table inet b
                 nft add chain inet b f '{{ type filter hook forward priority 0; }}'
                 nft add rule inet b f ct state new counter
                 {}",
                salt("--source 10.54.2.1 --conntrack off")
            ),
            Contestant::UserSpace => format!(
                "iptables -A FORWARD -p udp --dport 53 -j NFQUEUE --queue-num {QUEUE}
                 iptables -A FORWARD -p udp --sport 53 -j NFQUEUE --queue-num {QUEUE}"
            ),
            _ => String::new(),
        };
        gateway.sh(&format!(
            "{{ {script}\n}} > /dev/null 2> /run/why || {{ cat /run/why >&2; false; }}"
        )
        .replace("{ \n}", ":"))?;
        let program = if self == Contestant::UserSpace {
            Some(
                path.gateway
                    .command(std::env::current_exe()?)
                    .arg("rewrite-in-user-space")
                    .spawn()?,
            )
        } else if self.forwards() {
            Some(self.program(path, folder.path())?)
        } else {
            None
        };
        Ok(Running { kind: self, program, slab, _folder: folder })
    }

    fn program(self, path: &Path, folder: &std::path::Path) -> anyhow::Result<dnsalt_lab::Running> {
        let file = folder.join("conf");
        let (program, config, args) = match self {
            Contestant::Unbound => (PathBuf::from("unbound"), UNBOUND, vec!["-d", "-c"]),
            Contestant::Dnsdist => {
                let unpacked = unpacked_dnsdist().unwrap_or_else(|| "dnsdist".into());
                (unpacked, DNSDIST, vec!["--supervised", "--disable-syslog", "-C"])
            }
            _ => (PathBuf::from("dnsmasq"), DNSMASQ, vec!["--keep-in-foreground", "-C"]),
        };
        fs::write(&file, config.replace("GATEWAY", &GATEWAY.to_string()))?;
        let libraries = target().join("tools/dnsdist/usr/lib/x86_64-linux-gnu");
        let mut command = path.gateway.command(program).args(args).args([&file]);
        if self == Contestant::Dnsdist && libraries.is_dir() {
            command = command.env("LD_LIBRARY_PATH", std::path::absolute(libraries)?);
        }
        let null = || std::process::Stdio::null();
        command.stdout(null()).stderr(null()).spawn().context("starting it")
    }
}

impl Running {
    /// Whom clients ask, if not the servers.
    pub(super) fn forwarder(&self) -> Option<Ipv4Addr> {
        self.kind.forwards().then_some(GATEWAY)
    }

    pub(super) fn is_alive(&mut self) -> bool {
        let now = std::time::Duration::ZERO;
        self.program.as_mut().is_none_or(|one| matches!(one.wait_timeout(now), Ok(None)))
    }

    /// Megabytes: of a program what is resident, of the kernel's NAT its entries, of the salt engine its
    /// maps.
    pub(super) fn memory(&self) -> Option<f64> {
        if let Some(program) = &self.program {
            let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            return Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1000.0);
        }
        match self.kind {
            Contestant::Plain => None,
            // 524,288 slots of 64 bytes and as many words of 4, 131,072 recent questions of 32.
            Contestant::Salt | Contestant::SaltAll | Contestant::SaltNat => Some(39.8),
            _ => Some((conntrack_slab() - self.slab).max(0.0) / 1000.0),
        }
    }
}

/// Kilobytes of conntrack's entries, of all namespaces.
fn conntrack_slab() -> f64 {
    let text = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("nf_conntrack "));
    let numbers: Vec<f64> =
        line.unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
    // active objects, all objects, bytes of each
    if numbers.len() < 3 { 0.0 } else { numbers[0] * numbers[2] / 1000.0 }
}

/// Where `./x bench` unpacks it.
fn unpacked_dnsdist() -> Option<PathBuf> {
    let path = std::path::absolute(target().join("tools/dnsdist/usr/bin/dnsdist")).ok()?;
    path.exists().then_some(path)
}

const DNSMASQ: &str = "\
port=53
listen-address=GATEWAY
bind-interfaces
no-resolv
no-hosts
server=10.55.0.1
cache-size=0
dns-forward-max=10000
user=root
pid-file=
";

const UNBOUND: &str = "\
server:
  interface: GATEWAY
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  username: \"\"
  chroot: \"\"
  pidfile: \"\"
  use-syslog: no
  module-config: \"iterator\"
  num-threads: 2
  outgoing-range: 8192
  num-queries-per-thread: 4096
  so-rcvbuf: 8m
  so-sndbuf: 8m
forward-zone:
  name: \".\"
  forward-addr: 10.55.0.1
remote-control:
  control-enable: no
";

const DNSDIST: &str = "\
setLocal('GATEWAY:53')
setACL('0.0.0.0/0')
setSecurityPollSuffix('')
setMaxUDPOutstanding(65535)
newServer('10.55.0.1'):setUp()
";
