//! What the network tests share: networks of the lab, and this program run on their hosts.
#![allow(dead_code)] // each test file uses its own part of it

pub(crate) mod agent;
pub(crate) mod browser;
pub(crate) mod capture;
pub(crate) mod delegated;
pub(crate) mod documents;
pub(crate) mod faults;
pub(crate) mod forger;
pub(crate) mod judged;
pub(crate) mod resolvers;
pub(crate) mod unpacked;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dnsalt_lab::actor::DnsServer;
use dnsalt_lab::topology::{self, Gateway};
use dnsalt_lab::{Host, require, require_root};

pub(crate) const BIN: &str = env!("CARGO_BIN_EXE_dnsalt");

/// The gateway network with its servers running.
pub(crate) struct Network {
    pub(crate) net: Gateway,
    pub(crate) servers: DnsServer,
}

/// Builds it; says why and gives none where that cannot be done or a program is missing.
pub(crate) fn network(programs: &[&str]) -> Option<Network> {
    if !can_run(programs) {
        return None;
    }
    let net = topology::gateway().unwrap();
    let servers = DnsServer::start(&net.upstream, &net.servers()).unwrap();
    net.gateway.resolv_conf(&net.servers_v4).unwrap();
    net.resolver.resolv_conf(&net.servers_v4).unwrap();
    Some(Network { net, servers })
}

pub(crate) fn can_run(programs: &[&str]) -> bool {
    match require_root().and_then(|()| require(programs)) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("skipped: {why}");
            false
        }
    }
}

/// The end of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Itself, if it ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

impl From<std::process::Output> for Ended {
    fn from(output: std::process::Output) -> Self {
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs this program on a host.
///
/// `up` is asked for the `nat` engine unless it is asked for one: by itself it would take the machine's
/// own bpffs for the salt engine.
pub(crate) fn dnsalt(host: &Host, args: &[&str]) -> Ended {
    host.command(BIN).args(with_engine(args)).output().unwrap().into()
}

/// `up` with the salt engine, on a host that has a bpffs.
pub(crate) const SALT: [&str; 5] = ["up", "--engine", "salt", "--bpffs", "/run/bpf"];

/// Gives a host a bpffs of its own.
pub(crate) fn mount_bpffs(host: &Host) {
    host.sh("mkdir -p /run/bpf && mount -t bpf bpf /run/bpf").unwrap();
}

/// Puts the salt engine on the gateway. Never without a bpffs of the host's own: it would take the
/// machine's.
pub(crate) fn salt(network: &Network, options: &[&str]) -> Ended {
    dnsalt(&network.net.gateway, &[&SALT[..], options].concat())
}

fn with_engine<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut args = args.to_vec();
    if args.first() == Some(&"up") && !args.contains(&"--engine") {
        args.extend(["--engine", "nat"]);
    }
    args
}

/// The same with another PATH.
pub(crate) fn dnsalt_with_path(host: &Host, path: &Path, args: &[&str]) -> Ended {
    host.command(BIN).env("PATH", path).args(with_engine(args)).output().unwrap().into()
}

/// A folder with some programs of this machine and no others, under names of our choice.
pub(crate) fn programs(list: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, target) in list {
        std::os::unix::fs::symlink(find(target), folder.path().join(name)).unwrap();
    }
    folder
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut folders = std::env::split_paths(&path);
    folders.find_map(|folder| Some(folder.join(program)).filter(|file| file.exists())).unwrap()
}

/// Asks every server `count` times from one socket with a fixed port; the source ports that the
/// servers saw, in order.
pub(crate) fn ports_seen(network: &Network, host: &Host, sport: u16, count: usize) -> Vec<u16> {
    network.servers.take_seen();
    let servers = network.net.servers_v4;
    host.run(move || {
        let socket = bind(([0, 0, 0, 0], sport).into());
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut query = *b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
        for id in 0..u8::try_from(count).unwrap() {
            query[1] = id;
            for server in servers {
                socket.send_to(&query, (server, 53)).unwrap();
                let mut reply = [0; 512];
                let (_, peer) = socket.recv_from(&mut reply).unwrap();
                assert_eq!((peer.ip(), reply[1]), (server, id), "the reply came back translated");
            }
        }
    });
    network.servers.take_seen().iter().map(|seen| seen.peer.port()).collect()
}

/// How many of some queries get an answer within so long: each is asked once, at the first server.
pub(crate) fn answered(
    network: &Network,
    host: &Host,
    sport: u16,
    queries: u8,
    patience: Duration,
) -> usize {
    network.servers.take_seen();
    let server = SocketAddr::new(network.net.servers_v4[0], 53);
    host.run(move || {
        let is_answered = |id: &u8| {
            let socket = bind(([0, 0, 0, 0], sport).into());
            socket.set_read_timeout(Some(patience)).unwrap();
            let mut query = *b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
            query[1] = *id;
            // Where conntrack has no room, the kernel tells the program that sends.
            if socket.send_to(&query, server).is_err() {
                return false;
            }
            let mut reply = [0; 512];
            let from = socket.recv_from(&mut reply).ok().map(|(_, peer)| peer);
            from == Some(server) && reply[1] == *id
        };
        (0..queries).filter(is_answered).count()
    })
}

/// A UDP socket on an address that may be taken for a moment more: programs that other tests start
/// hold all sockets until they are loaded.
pub(crate) fn bind(address: SocketAddr) -> UdpSocket {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result.unwrap(),
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, patience: Duration, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !so() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All that a user can see of a host's firewall.
pub(crate) fn ruleset(host: &Host) -> String {
    host.sh("nft list ruleset").unwrap()
}

/// Other people's rules: a stateful filter, NAT as docker makes it, a ct timeout, sets and comments.
pub(crate) const FOREIGN: &str = r#"
table inet filter {
	set friends {
		type ipv4_addr
		flags interval
		elements = { 10.53.0.0/16 }
	}
	ct timeout other {
		protocol udp
		l3proto ip
		policy = { unreplied : 11, replied : 22 }
	}
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iifname "lo" accept
		meta l4proto { icmp, ipv6-icmp } accept
		ip saddr @friends tcp dport 22 accept comment "the administrator"
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "lan0" oifname "wan0" accept
	}
	chain output {
		type filter hook output priority filter; policy accept;
		udp dport 123 ct timeout set "other"
	}
}
table ip nat {
	chain DOCKER {
		iifname "docker0" return
	}
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local jump DOCKER
	}
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
		oifname != "docker0" ip saddr 172.17.0.0/16 masquerade
		oifname "wan0" masquerade
	}
}
"#;

/// Loads other people's rules.
pub(crate) fn load_foreign(host: &Host) {
    let loaded = host.command("nft").args(["-f", "-"]).output_with_input(FOREIGN.as_bytes());
    Ended::from(loaded.unwrap()).exits(0);
}

/// A listing without comments, and with every counter at 0: those go on whatever we do.
pub(crate) fn uncounted(listing: &str) -> String {
    let mut text = String::new();
    for line in listing.lines().filter(|line| !line.starts_with('#')) {
        let mut after_unit = false;
        for word in line.split_inclusive(' ') {
            let counter = word.starts_with('[') && word.contains(':');
            text += if after_unit || counter { "0 " } else { word };
            after_unit = matches!(word, "packets " | "bytes ");
        }
        text.push('\n');
    }
    text
}
