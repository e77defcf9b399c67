//! What is left when an interface goes, or when whoever installs is killed: it can be completed, and it
//! can be taken away.

mod common;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::EbpfLoader;
use common::{BPFFS, client, down, installed, network, up, up_on};
use dnsalt_bpf::Hook;
use dnsalt_lab::Host;
use dnsalt_lab::actor::DnsServer;
use dnsalt_lab::topology::Gateway;
use dnsalt_policy::Settings;

/// Where the pins of this network namespace are.
fn folder(host: &Host) -> PathBuf {
    let inode = host.sh("stat -L -c %i /proc/self/ns/net").unwrap();
    Path::new(BPFFS).join("dnsalt").join(format!("net-{}", inode.trim()))
}

fn pinned(host: &Host) -> Vec<String> {
    let folder = folder(host);
    host.run(move || {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    })
}

/// Asks often enough to see that ports change.
fn is_salted(network: &Network<'_>) -> bool {
    let server = network.net.servers_v4[0];
    for n in 0..20 {
        common::ask(&network.client, server, n, &format!("n{n}.test"));
    }
    let seen = network.servers.take_seen();
    seen.iter().filter(|query| query.peer.port() == 44444).count() < 2
}

/// The lab's network with somebody who asks and somebody who answers.
struct Network<'a> {
    net: &'a Gateway,
    servers: DnsServer,
    client: UdpSocket,
}

impl<'a> Network<'a> {
    fn of(net: &'a Gateway) -> Self {
        let servers = DnsServer::start(&net.upstream, &[net.servers_v4[0]]).unwrap();
        Network { net, servers, client: client(net, false) }
    }
}

#[test]
fn maps_that_were_made_and_never_used() {
    static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../dnsalt-ebpf/object/salt.o"
    ));
    let Some(net) = network(&[]) else { return };
    let network = Network::of(&net);
    let gateway = &net.gateway;
    let all = ["CONFIG", "PORTS", "SLOTS", "RANDOM"];
    for some in [&all[..1], &all[1..], &all[..]] {
        let interrupted = || {
            let folder = folder(gateway);
            let names = some.to_vec();
            gateway.run(move || {
                fs::create_dir_all(&folder).unwrap();
                let mut loader = EbpfLoader::new();
                loader.btf(None);
                for name in names {
                    loader.map_pin_path(name, folder.join(name));
                }
                loader.load(OBJECT).unwrap();
            });
            assert_eq!(pinned(gateway).len(), some.len());
            assert_eq!(installed(gateway), None);
        };
        interrupted();
        up(&net, &Settings::default());
        let config = installed(gateway).unwrap().config;
        // A key of zeros is one that everybody knows.
        assert_ne!(config.key, [0, 0]);
        assert_ne!(config.grace_until, 0);
        assert!(is_salted(&network));
        down(gateway);
        interrupted();
        down(gateway);
        assert!(pinned(gateway).is_empty());
        assert!(!is_salted(&network));
    }
}

#[test]
fn a_grace_begins_when_a_program_is_put_in_its_place() {
    let Some(net) = network(&[]) else { return };
    let gateway = &net.gateway;
    let grace = || installed(gateway).unwrap().config.grace_until;
    up(&net, &Settings::default());
    let first = grace();
    std::thread::sleep(Duration::from_millis(100));
    // All programs were there: nothing left without them that an answer could be on its way to.
    up(&net, &Settings { max_identical: Some(2), ..Settings::default() });
    assert_eq!(grace(), first);
    gateway.sh("rm /run/bpf/dnsalt/net-*/link-out-*").unwrap();
    common::eventually(|| installed(gateway).unwrap().interfaces.is_empty());
    up(&net, &Settings::default());
    // It is one of seconds, and not the one in which programs are put in their places.
    let later = grace().wrapping_sub(first);
    assert!((1..3600).contains(&later), "{later} units of 16.8 ms");
}

#[test]
fn a_change_that_fails_leaves_what_works() {
    let Some(net) = network(&[]) else { return };
    let network = Network::of(&net);
    let gateway = &net.gateway;
    let fails = || {
        let policy = Settings::default().resolve().unwrap();
        gateway.run(move || {
            let interfaces = ["wan0", "none0"].map(str::to_owned);
            dnsalt_bpf::install(Path::new(BPFFS), &policy, &interfaces, Hook::of_kernel())
        })
    };
    assert!(fails().is_err());
    assert!(pinned(gateway).is_empty());
    up(&net, &Settings::default());
    let first = installed(gateway).unwrap();
    assert!(fails().is_err());
    let there = installed(gateway).unwrap();
    assert_eq!(there.interfaces, first.interfaces);
    assert!(is_salted(&network));
}

/// Filters of others do not stand in for ours.
#[test]
fn filters_of_others_are_none_of_ours() {
    let Some(net) = network(&["tc"]) else { return };
    let gateway = &net.gateway;
    up_on(gateway, "wan0", Hook::Clsact, &Settings::default());
    let is_there = || installed(gateway).unwrap().interfaces == [("wan0".to_owned(), Hook::Clsact)];
    assert!(is_there());
    let other = "tc filter add dev wan0 ingress prio 8 protocol ip u32 match u32 0 0";
    if let Err(why) = gateway.sh(other) {
        eprintln!("skipped: {why}");
        return;
    }
    assert!(is_there());
    gateway.sh("tc filter delete dev wan0 ingress prio 1").unwrap();
    assert!(!is_there());
    up_on(gateway, "wan0", Hook::Clsact, &Settings::default());
    assert!(is_there());
    // And those of others stay.
    down(gateway);
    assert!(gateway.sh("tc filter show dev wan0 ingress").unwrap().contains("u32"));
}

#[test]
fn an_interface_that_goes_and_comes_back() {
    let Some(net) = network(&[]) else { return };
    let gateway = &net.gateway;
    for hook in [Hook::Tcx, Hook::Clsact] {
        let before = gateway.sh("ls -R /run/bpf; tc qdisc show").unwrap();
        up_on(gateway, "wan0", hook, &Settings::default());
        gateway.sh("ip link delete wan0").unwrap();
        // Nothing of it is told of, nor is it in the way.
        assert_eq!(installed(gateway).unwrap().interfaces, []);
        dnsalt_lab::link((gateway, "wan0"), (&net.upstream, "eth0")).unwrap();
        let stale = pinned(gateway);
        up_on(gateway, "wan0", hook, &Settings::default());
        assert_eq!(installed(gateway).unwrap().interfaces, [("wan0".to_owned(), hook)]);
        let names = |all: &[String]| all.iter().filter(|name| name.contains('-')).count();
        assert_eq!(names(&pinned(gateway)), names(&stale), "those of the dead one are gone");
        down(gateway);
        assert_eq!(gateway.sh("ls -R /run/bpf; tc qdisc show").unwrap(), before);
        // And one that does not come back.
        up_on(gateway, "wan0", hook, &Settings::default());
        gateway.sh("ip link delete wan0").unwrap();
        down(gateway);
        assert!(pinned(gateway).is_empty());
        dnsalt_lab::link((gateway, "wan0"), (&net.upstream, "eth0")).unwrap();
    }
}
