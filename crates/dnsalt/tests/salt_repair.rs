//! The salt engine, interrupted: interfaces that go and come back, and `up` and `down`
//! killed at any moment.

mod common;

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{BIN, Network, SALT, dnsalt, eventually, mount_bpffs, network, ports_seen, salt};
use dnsalt_lab::{Host, Running};

/// The network, with a bpffs on the gateway.
fn with_bpffs() -> Option<Network> {
    let network = network(&["tc", "nft"])?;
    mount_bpffs(&network.net.gateway);
    Some(network)
}

/// All that `up` could leave on a host.
fn look(gateway: &Host) -> String {
    gateway
        .sh("tc qdisc show; nft list ruleset; ls -R /run/bpf
             ls /run/dnsalt 2> /dev/null || true")
        .unwrap()
}

/// The names of what is pinned.
fn pinned(gateway: &Host) -> Vec<String> {
    let text = gateway.sh("ls /run/bpf/dnsalt/net-* 2> /dev/null || true").unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Whether the servers see another port with nearly every query.
fn is_salted(network: &Network) -> bool {
    let ports = ports_seen(network, &network.net.resolver, 44444, 20);
    ports.into_iter().collect::<HashSet<_>>().len() > 35
}

fn index(gateway: &Host, interface: &str) -> String {
    gateway.sh(&format!("cat /sys/class/net/{interface}/ifindex")).unwrap().trim().to_owned()
}

/// The outer link goes, and its programs with it.
fn cut(network: &Network) {
    network.net.gateway.sh("ip link delete wan0").unwrap();
}

/// The outer link is made anew, with an index if one is given.
fn mend(network: &Network, index: &str) {
    let (gateway, upstream) = (&network.net.gateway, &network.net.upstream);
    let index = if index.is_empty() { String::new() } else { format!("index {index}") };
    let far = upstream.netns_path();
    gateway
        .sh(&format!(
            "ip link add wan0 {index} type veth peer name eth0 netns {}
             ip address add 10.53.2.1/24 dev wan0; ip address add fd53:2::1/64 dev wan0 nodad
             ip link set wan0 up",
            far.display()
        ))
        .unwrap();
    upstream
        .sh("for last in 53 54; do
                 ip address add 10.53.2.$last/24 dev eth0
                 ip address add fd53:2::$last/64 dev eth0 nodad
             done
             ip link set eth0 up
             ip route add 10.53.1.0/24 via 10.53.2.1; ip route add fd53:1::/64 via fd53:2::1")
        .unwrap();
}

#[test]
fn an_interface_that_goes_and_comes_back() {
    let Some(network) = with_bpffs() else { return };
    let gateway = &network.net.gateway;
    for same_index in [false, true] {
        let before = look(gateway);
        salt(&network, &[]).exits(0);
        let old = index(gateway, "wan0");
        cut(&network);
        let again = if same_index { old.as_str() } else { "" };
        mend(&network, again);
        assert_eq!(index(gateway, "wan0") == old, same_index);
        assert!(!is_salted(&network));
        let status = dnsalt(gateway, &["status"]).exits(1);
        assert!(status.stdout.contains("missing: the programs on wan0"), "{}", status.stdout);
        salt(&network, &[]).exits(0);
        dnsalt(gateway, &["status"]).exits(0);
        assert!(is_salted(&network));
        let stale = ["link-out-", "link-in-"].map(|name| format!("{name}{old}"));
        let kept = pinned(gateway).into_iter().filter(|name| stale.contains(name)).count();
        assert_eq!(kept, if same_index { 2 } else { 0 }, "pins of the interface that is gone");
        dnsalt(gateway, &["down"]).exits(0);
        assert_eq!(look(gateway), before);
        assert!(!is_salted(&network));
    }
}

#[test]
fn an_interface_that_goes_for_good() {
    let Some(network) = with_bpffs() else { return };
    let gateway = &network.net.gateway;
    for named in [&[][..], &["--iface", "lan0,wan0"]] {
        salt(&network, named).exits(0);
        let gone = index(gateway, "wan0");
        cut(&network);
        if named.is_empty() {
            // All there are, are protected.
            dnsalt(gateway, &["status"]).exits(0);
        } else {
            let status = dnsalt(gateway, &["status"]).exits(1);
            assert!(status.stdout.contains("missing: the programs on wan0"), "{}", status.stdout);
            let up = salt(&network, named).exits(2);
            assert!(up.stderr.contains("no interface `wan0`"), "{}", up.stderr);
        }
        dnsalt(gateway, &["down"]).exits(0);
        let left = pinned(gateway);
        assert!(left.is_empty(), "of interface {gone}: {left:?}");
        mend(&network, "");
        assert!(!is_salted(&network));
    }
}

/// Somebody who asks all the time, as resolvers do: again, from another port, when no answer comes.
struct Asking<'a> {
    stop: &'a AtomicBool,
    resolver: &'a Host,
    server: SocketAddr,
}

impl Asking<'_> {
    /// How many answers there were, and how often one did not come at first.
    fn ask(&self) -> (u32, u32) {
        let (mut answers, mut again) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let tries = (1..=3).find(|_| self.gets_an_answer(answers));
            let tries = tries.expect("names do not resolve any more");
            again += tries - 1;
            answers += 1;
            // There are others who need the processor.
            std::thread::sleep(Duration::from_millis(1));
        }
        (answers, again)
    }

    fn gets_an_answer(&self, number: u32) -> bool {
        let socket = self.resolver.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        socket.connect(self.server).unwrap();
        let mut query = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x08".to_vec();
        query.extend(format!("{number:08}").bytes());
        query.extend(b"\x04test\0\0\x01\0\x01");
        query[..2].copy_from_slice(&number.to_be_bytes()[2..]);
        socket.send(&query).unwrap();
        let mut reply = [0; 512];
        socket.recv(&mut reply).is_ok_and(|_| reply[..2] == query[..2])
    }
}

fn start(gateway: &Host, args: &[&str]) -> Running {
    let run = gateway.command(BIN).args(args);
    run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Starts it, and kills it as soon as something is pinned, or is not any more.
fn killed_when(gateway: &Host, args: &[&str], pin: &Path, there: bool) {
    let mut run = start(gateway, args);
    let pin = pin.to_owned();
    gateway.run(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        while pin.exists() != there && Instant::now() < deadline {
            std::hint::spin_loop();
        }
    });
    run.kill();
}

/// Installs the engine, and takes it away: the names of what was pinned, and where.
fn pins(network: &Network, options: &[&str]) -> (PathBuf, Vec<String>) {
    let gateway = &network.net.gateway;
    salt(network, options).exits(0);
    let folder = PathBuf::from(gateway.sh("echo /run/bpf/dnsalt/net-*").unwrap().trim());
    let names = pinned(gateway);
    assert_eq!(names.len(), 24, "{names:?}");
    dnsalt(gateway, &["down"]).exits(0);
    (folder, names)
}

/// After a kill: what there is can be completed, and can be taken away.
fn mends(network: &Network, attempt: usize, options: &[&str], before: &str) {
    let gateway = &network.net.gateway;
    if attempt.is_multiple_of(2) {
        salt(network, options).exits(0);
        dnsalt(gateway, &["status"]).exits(0);
        assert!(is_salted(network), "attempt {attempt}");
    }
    // Every third stays, and has its policy changed by the next.
    if attempt % 6 != 4 {
        dnsalt(gateway, &["down"]).exits(0);
        assert_eq!(look(gateway), before, "attempt {attempt}");
        assert!(!is_salted(network), "attempt {attempt}");
    }
}

/// Does something while somebody asks; whoever asks has to get answers throughout.
fn while_names_resolve(network: &Network, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let asking = Asking {
        stop: &stop,
        resolver: &network.net.resolver,
        server: SocketAddr::new(network.net.servers_v4[1], 53),
    };
    std::thread::scope(|scope| {
        let answers = scope.spawn(|| asking.ask());
        // Also when it fails.
        let stopped = Stop(&stop);
        work();
        drop(stopped);
        let (answers, again) = answers.join().unwrap();
        println!("{answers} answers, {again} of them not at the first try");
    });
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn killed_as_soon_as_each_thing_is_there() {
    let Some(network) = with_bpffs() else { return };
    let gateway = &network.net.gateway;
    let before = look(gateway);
    // Short, so that what lasts is seen.
    let options = ["--lifetime", "1"];
    let (folder, names) = pins(&network, &options);
    let mut halves = 0;
    while_names_resolve(&network, || {
        for (attempt, name) in names.iter().enumerate() {
            let args = [&SALT[..], &options].concat();
            killed_when(gateway, &args, &folder.join(name), true);
            let there = pinned(gateway).len();
            println!("killed with {name}: {there} things were there");
            halves += u32::from((1..names.len()).contains(&there));
            if name.starts_with("link-") {
                std::thread::sleep(Duration::from_millis(1200));
            }
            mends(&network, attempt, &options, &before);
        }
    });
    assert!(halves > 0, "it was never killed half-way");
}

#[test]
fn killed_as_soon_as_each_thing_is_gone() {
    let Some(network) = with_bpffs() else { return };
    let gateway = &network.net.gateway;
    let before = look(gateway);
    let (folder, names) = pins(&network, &["--lifetime", "1"]);
    let mut halves = 0;
    while_names_resolve(&network, || {
        for name in &names {
            salt(&network, &["--lifetime", "1"]).exits(0);
            killed_when(gateway, &["down"], &folder.join(name), false);
            let there = pinned(gateway).len();
            println!("killed without {name}: {there} things were there");
            halves += u32::from((1..names.len()).contains(&there));
            if name.starts_with("link-") {
                std::thread::sleep(Duration::from_millis(1200));
            }
            dnsalt(gateway, &["down"]).exits(0);
            assert_eq!(look(gateway), before);
        }
        // All but the folder above: too short a moment to be met by chance.
        salt(&network, &[]).exits(0);
        gateway.sh("rm -r /run/bpf/dnsalt/net-*").unwrap();
        dnsalt(gateway, &["down"]).exits(0);
        assert_eq!(look(gateway), before);
    });
    assert!(halves > 0, "it was never killed half-way");
}

#[test]
fn killed_at_many_moments() {
    const MOMENTS: u32 = 36;
    let Some(network) = with_bpffs() else { return };
    let gateway = &network.net.gateway;
    let before = look(gateway);
    let begun = Instant::now();
    salt(&network, &[]).exits(0);
    let whole = begun.elapsed();
    dnsalt(gateway, &["down"]).exits(0);
    let mut found = [0, 0, 0];
    while_names_resolve(&network, || {
        for attempt in 0..MOMENTS {
            let identical = if attempt % 2 == 0 { "2" } else { "3" };
            let options = ["--max-identical", identical];
            let mut up = start(gateway, &[&SALT[..], &options].concat());
            // In no order, so that each moment meets all that went before.
            std::thread::sleep(whole * (attempt * 7 % MOMENTS) * 5 / MOMENTS / 4);
            up.kill();
            drop(up);
            let whole = dnsalt(gateway, &["status"]).code == 0;
            found[if whole { 2 } else { usize::from(!pinned(gateway).is_empty()) }] += 1;
            mends(&network, attempt as usize, &options, &before);
        }
    });
    dnsalt(gateway, &["down"]).exits(0);
    eventually("all is gone", Duration::from_secs(10), || look(gateway) == before);
    println!("{MOMENTS} kills within {whole:?}: {found:?} times nothing, some, all of it");
    assert!(found[0] > 0 && found[1] + found[2] > 0, "the moments were not spread: {found:?}");
}
